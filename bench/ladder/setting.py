"""Generated studies, a text encoder and the published feed, for all rungs."""

from pathlib import Path

import numpy as np
import torch

from bench.ladder.rungs import Setting
from bench.ladder.text_model import TextModel, write_text_model
from bench.peers.published_loop import PublishedData, PublishedFeed
from mflag.data.manifest import IMAGE_SIZE
from mflag.data.preparing import prepare_phantom

STUDIES = {"cpu": 160, "cuda": 4096}
_MOST_WORKERS = 16


def make_setting(
    work: Path,
    device: str,
    batch_size: int,
    *,
    image_size: int = 224,
    studies: int | None = None,
    layers: int = 12,
    overrides: tuple[str, ...] = (),
) -> Setting:
    """Make what is not in ``work`` yet, and load it.

    Args:
        work: folder of data and text encoder; another call goes on with them.
        device: cpu or cuda.
        batch_size: images a step.
        image_size: height and width given to the encoder.
        studies: generated; None: enough for the device's batches.
        layers: of the text encoder; 12 is BERT-base.
        overrides: see ``Setting``.
    """
    studies = studies or STUDIES[device]
    prepared = prepare_phantom(work / f"phantom-{studies}", studies, 0)
    rows = prepared.rows("train")
    reports = prepared.column("text").to_pylist()
    folder = work / f"bert-{layers}-{studies}"
    if not (folder / "model.safetensors").is_file():
        write_text_model(folder, reports, layers)
    texts = [reports[row] for row in rows]
    images = np.memmap(prepared.path / "images.u8", np.uint8, "r").reshape(
        -1, IMAGE_SIZE, IMAGE_SIZE
    )
    data = PublishedData(
        images[rows[0] : rows[-1] + 1] if _is_run(rows) else images[rows], texts, image_size
    )
    workers = min(torch.get_num_threads(), _MOST_WORKERS)
    return Setting(
        device=device,
        batch_size=batch_size,
        image_size=image_size,
        prepared=prepared.path,
        text_folder=folder,
        text=TextModel(folder, texts, device),
        feed=PublishedFeed(data, batch_size, workers, pins=device == "cuda"),
        out=work / "run",
        overrides=overrides,
    )


def _is_run(rows: np.ndarray) -> bool:
    """Whether rows follow each other, so that the map can be cut instead of copied."""
    return bool((np.diff(rows) == 1).all())
