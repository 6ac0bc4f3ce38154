"""A prepared folder of any number of rows, with composed reports and images that are holes."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from mflag.config.text import TextConfig
from mflag.data.manifest import FORMAT, IMAGE_SIZE, LABEL_PREFIX, SPLITS, open_prepared
from mflag.data.text_table import TextTable, kept_path, save_text_table, table_key
from mflag.runtime.atomic_write import file_sha256, write_json

SITES = ("left", "right", "bilateral")
ZONES = ("upper", "mid", "lower", "basal", "perihilar", "apical", "retrocardiac")
DEGREES = ("minimal", "mild", "small", "moderate", "large", "marked", "subtle", "extensive")
FINDINGS = (
    "atelectasis", "cardiomegaly", "consolidation", "edema", "pleural effusion", "nodule",
    "opacity", "pneumonia", "pneumothorax", "fracture", "hernia", "infiltration", "mass",
    "emphysema",
)  # fmt: skip
CHANGES = ("new", "unchanged", "increased", "decreased", "resolved", "more conspicuous")
DEVICES = (
    "endotracheal tube", "central venous catheter", "nasogastric tube", "pacemaker", "chest tube",
)  # fmt: skip
_PATIENT_ROWS = 3


def make_folder(folder: Path, rows: int, seed: int = 0) -> None:
    """Write ``manifest.parquet``, a sparse ``images.u8``, ``prepared.json`` and a text table.

    The file of images takes no disk: it is truncated to rows · 65,536 bytes and reads as zeros.
    """
    folder.mkdir(parents=True)
    generator = np.random.default_rng(seed)
    manifest = _manifest(rows, generator)
    table = folder / "manifest.parquet"
    content = pa.Table.from_pandas(manifest, preserve_index=False).replace_schema_metadata(None)
    pq.write_table(content, table, compression="zstd")
    with open(folder / "images.u8", "wb") as file:
        file.truncate(rows * IMAGE_SIZE * IMAGE_SIZE)
    counts = manifest["split"].value_counts()
    info: dict[str, Any] = {
        "format": FORMAT,
        "dataset": "composed",
        "options": {"rows": rows, "seed": seed},
        "count": rows,
        "patients": int(manifest["patient"].nunique()),
        "image_size": IMAGE_SIZE,
        "splits": {name: int(counts[name]) for name in SPLITS},
        "labels": list(FINDINGS),
        "attributes": [],
        "rejected": 0,
        "hashes": {table.name: file_sha256(table), "images.u8": "holes, not hashed"},
    }
    write_json(folder / "prepared.json", info)
    _keep_random_vectors(folder, rows, generator)


def _keep_random_vectors(folder: Path, rows: int, generator: np.random.Generator) -> None:
    """Keep a table of unit vectors where training looks for that of ``text=lsa``."""
    prepared, config = open_prepared(folder), TextConfig()
    vectors = generator.standard_normal((rows, config.dim), np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    key = table_key(prepared, config)
    about = {"dim": str(config.dim), "mean_pairwise_cosine": "0.000000"}
    about |= {"truncated_share": "0.000000", "without_vector": "0"}
    table = TextTable(torch.from_numpy(vectors).half(), torch.arange(rows), key | about)
    save_text_table(kept_path(prepared, key), table)


def _manifest(rows: int, generator: np.random.Generator) -> pd.DataFrame:
    numbers = np.arange(rows)
    patients = numbers // _PATIENT_ROWS
    labels = generator.random((rows, len(FINDINGS)), np.float32)
    return pd.DataFrame(
        {
            "id": pd.Series(numbers).map("image-{:08}".format),
            "patient": pd.Series(patients).map("p{:07}".format),
            "study": pd.Series(numbers // 2).map("s{:08}".format),
            "split": np.array(SPLITS)[np.array([0] * 8 + [1, 2])[patients % 10]],
            "text": compose_reports(rows, generator),
            "view": np.array(["PA", "AP"])[numbers % 2],
            **{
                LABEL_PREFIX + name: np.where(labels[:, k] < 0.1, np.float32(1), np.float32(0))
                for k, name in enumerate(FINDINGS)
            },
        }
    )


def compose_reports(count: int, generator: np.random.Generator) -> np.ndarray:
    """Compose reports of five sentences with a measure, nearly all distinct; (count,) of str."""

    def pick(words: tuple[str, ...]) -> np.ndarray:
        return np.array(words, object)[generator.integers(len(words), size=count)]

    text = np.full(count, "Frontal view of the chest. There is ", object)
    text += pick(DEGREES) + " " + pick(SITES) + " " + pick(ZONES) + " " + pick(FINDINGS)
    text += ", measuring "
    text += np.char.mod("%.1f", generator.uniform(0.3, 12, count)).astype(object)
    text += " cm, " + pick(CHANGES) + " since the prior study. The " + pick(DEVICES)
    text += " ends in " + pick(ZONES) + " position. " + pick(FINDINGS)
    text += " of the " + pick(SITES) + " lung is " + pick(CHANGES) + ". No evidence of "
    text += pick(FINDINGS) + " or " + pick(DEGREES) + " " + pick(FINDINGS)
    return text + ". Clinical correlation is recommended."
