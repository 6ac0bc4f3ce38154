"""Generated chest studies as a dataset."""

from typing import Any

import numpy as np
import pandas as pd

from mflag.config.prepare import PrepareConfig
from mflag.data.datasets.source import Record, Source, refuse_unread_keys
from mflag.data.funnel import Funnel
from mflag.data.lesions import mask_to_runs
from mflag.data.manifest import ATTRIBUTE_PREFIX, LABEL_PREFIX
from mflag.data.phantom import ATTRIBUTES, LABELS, Lesion, generate_study
from mflag.errors import InputError

# Raised when a study of the same seed and index changes: old folders are then refused.
GENERATOR = 3
LESION_COLUMNS = (
    "id", "finding", "laterality", "zone", "severity", "kind", "size_mm", "x", "y", "width",
    "height", "runs",
)  # fmt: skip


def read(config: PrepareConfig) -> Source:
    """Plan ``dataset.size`` studies of ``dataset.seed``.

    Raises:
        InputError: a key is missing, out of range, or of another dataset.
    """
    refuse_unread_keys(config, {"dataset.size", "dataset.seed"})
    size, seed = read_size_and_seed(config)
    funnel = Funnel()
    funnel.add("studies generated", size)
    names = [f"study {index}" for index in range(size)]
    return Source(
        options={"size": size, "seed": seed, "generator": GENERATOR},
        items=[(seed, index) for index in range(size)],
        rows=range(size),
        files=names,
        load=load,
        build_tables=_build_tables,
        where=f"dataset=phantom dataset.size={size}",
        funnel=funnel,
        prefer="processes",  # on 2 cores 2.2 times as fast as one; threads gain nothing
    )


def read_size_and_seed(config: PrepareConfig) -> tuple[int, int]:
    """``dataset.size`` and ``dataset.seed``.

    Raises:
        InputError: one is missing or out of range.
    """
    size, seed = config.dataset.size, config.dataset.seed
    if size is None or size < 1:
        raise InputError(f"dataset.size is {size}; give 1 or more")
    if seed is None or seed < 0:
        raise InputError(f"dataset.seed is {seed}; give 0 or more")
    return size, seed


def load(item: tuple[int, int]) -> tuple[np.ndarray, Record]:
    """Generate one study: its image, and its record."""
    study = generate_study(*item)
    record = {
        "id": study.id,
        "patient": study.patient,
        "text": study.text,
        "labels": {name: float(study.labels[name]) for name in LABELS},
        "attributes": {name: float(study.attributes[name]) for name in ATTRIBUTES},
        "lesions": [_lesion_row(study.id, lesion) for lesion in study.lesions],
    }
    return study.image, record


def split_of_patient(patient: str) -> str:
    """Return the split of a patient, whatever the number of studies: 80/10/10.

    So what was pre-trained on never comes up as a test study of a larger or smaller set of the
    same seed. Patients are drawn independently, so every tenth is as good as any.
    """
    return {7: "valid", 4: "test"}.get(int(patient.lstrip("p")) % 10, "train")


def _lesion_row(study: str, lesion: Lesion) -> list[Any]:
    place = [lesion.finding, lesion.laterality, lesion.zone, lesion.severity]
    detail = [lesion.kind, lesion.size_mm]
    return [study, *place, *detail, *lesion.box, mask_to_runs(lesion.mask)]


def _build_tables(_: list[int], records: list[Record]) -> dict[str, pd.DataFrame]:
    manifest = pd.DataFrame({key: [r[key] for r in records] for key in ("id", "patient", "text")})
    manifest["split"] = [split_of_patient(patient) for patient in manifest["patient"]]
    for group, prefix, names in (
        ("labels", LABEL_PREFIX, LABELS),
        ("attributes", ATTRIBUTE_PREFIX, ATTRIBUTES),
    ):
        for name in names:
            manifest[prefix + name] = np.array([r[group][name] for r in records], np.float32)
    lesions = pd.DataFrame([row for r in records for row in r["lesions"]], columns=LESION_COLUMNS)
    return {"manifest.parquet": manifest, "lesions.parquet": lesions}
