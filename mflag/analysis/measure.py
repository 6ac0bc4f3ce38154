"""Latents of images, measured for every encoder and for what training kept on its way."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from mflag.analysis.geometry import latent_geometry, log10_spectrum
from mflag.analysis.groups import groupings
from mflag.analysis.projection import principal_components
from mflag.analysis.request import MIN_IMAGES, RECOMMENDED_IMAGES, AnalysisRequest
from mflag.analysis.spread import alignment
from mflag.analysis.trajectory import (
    checkpoint_encoders,
    load_checkpoint_encoder,
    read_trajectory,
)
from mflag.config.analyze import AnalyzeConfig
from mflag.data.manifest import SPLITS, Prepared
from mflag.downstream.encoders import NamedEncoder, add_baselines, overlap_notes
from mflag.downstream.features import embed
from mflag.downstream.image_text import PROJECTOR, load_image_text
from mflag.downstream.results import provenance
from mflag.downstream.run_text import report_vectors
from mflag.errors import InputError
from mflag.reporting.places import without_places

FORMAT = 1
# What a curve over checkpoints shows.
CHECKPOINT_FIGURES = (
    "rankme", "effective_rank_centred", "participation_ratio", "top_share", "uniformity",
    "offdiag_mean",
)  # fmt: skip
Embed = Callable[[NamedEncoder], np.ndarray]


def analyse(config: AnalyzeConfig, request: AnalysisRequest, prepared: Prepared) -> dict[str, Any]:
    """Measure every encoder on the same images.

    Returns:
        The content of ``analysis.json``.

    Raises:
        InputError: too few images, a run that cannot be read, or features that are not finite.
    """
    rows, available = choose_rows(prepared, config.split, config.limit)
    runs = {name: read_trajectory(folder) for name, folder in request.runs.items()}
    encoders, notes = add_baselines(request.encoders, config.random, config.imagenet)
    shown = _shown(len(rows), config.points)

    def embedded(encoder: NamedEncoder) -> np.ndarray:
        batch = config.compute.batch_size
        return embed(prepared.images, rows, encoder, request.device, batch)

    measured, clouds = [], {}
    for encoder in encoders:
        features = embedded(encoder)
        row, cloud = _measure(encoder, features, prepared, rows, request.device)
        measured.append(row)
        clouds[encoder.name] = _short(cloud[shown])
    return {
        "format": FORMAT,
        "rows": measured,
        "points": {
            "coordinates": clouds,
            "groups": [group.as_dict() for group in groupings(prepared, rows[shown])],
        },
        "trajectory": {"runs": runs, "checkpoints": _checkpoints(config, request, embedded)},
        "data": {
            "dataset": str(prepared.info.get("dataset", "prepared")),
            "split": config.split,
            "available": available,
            "n": len(rows),
            "limit": config.limit,
        },
        "notes": [*_notes(encoders, prepared, config.split, len(rows), measured), *notes],
    } | provenance("mflag.analyze")


def choose_rows(prepared: Prepared, split: str, limit: int | None) -> tuple[np.ndarray, int]:
    """Return the row numbers that are looked at, ascending, and how many there were to choose from.

    Raises:
        InputError: the split is empty, or too small for three components.
    """
    if split == "all":
        counts = prepared.split_counts()
        rows = np.sort(np.concatenate([prepared.rows(s) for s in SPLITS if counts[s]]))
    else:
        rows = prepared.rows(split)
    if len(rows) < MIN_IMAGES:
        raise InputError(
            f"split {split!r} of {prepared.path} has {len(rows)} images, but three components need "
            f"{MIN_IMAGES}; choose split=all or another one"
        )
    if limit is None or len(rows) <= limit:
        return rows, len(rows)
    return np.sort(np.random.default_rng(0).choice(rows, limit, replace=False)), len(rows)


def _shown(count: int, points: int) -> np.ndarray:
    """Places of the images that the picture shows, ascending; the same for every encoder."""
    return np.sort(np.random.default_rng(1).permutation(count)[:points])


def _measure(
    encoder: NamedEncoder,
    features: np.ndarray,
    prepared: Prepared,
    rows: np.ndarray,
    device: torch.device,
) -> tuple[dict[str, Any], np.ndarray]:
    geometry = latent_geometry(features)
    projection = principal_components(features)
    value, pairs, why = _align(encoder, features, prepared, rows, device)
    about = {
        "encoder": encoder.name,
        "arch": encoder.arch,
        "image_size": encoder.image_size,
        "origin": encoder.origin,
    }
    aligned = {"alignment": value, "alignment_pairs": pairs, "alignment_note": why}
    spectrum = {
        "log10_spectrum": log10_spectrum(geometry),
        "pca_shares": [round(float(share), 6) for share in projection.shares],
    }
    return about | geometry | aligned | spectrum, projection.coordinates


def _align(
    encoder: NamedEncoder,
    features: np.ndarray,
    prepared: Prepared,
    rows: np.ndarray,
    device: torch.device,
) -> tuple[float | None, int, str]:
    """Alignment of the pairs with a report, their number, or why there is none."""
    if encoder.file is None:
        return None, 0, "no projector: a baseline"
    if not (encoder.file.parent / PROJECTOR).is_file():
        return None, 0, f"no {PROJECTOR} beside the encoder"
    try:
        space = load_image_text(encoder.file)
        texts, known = report_vectors(space, prepared, rows, device)
        images = space.of_images(features)
    except InputError as error:
        return None, 0, without_places(error)
    if not known.any():
        return None, 0, "no image has a report"
    keep = torch.from_numpy(known)
    return alignment(images[keep], texts[keep]), int(known.sum()), ""


def _checkpoints(
    config: AnalyzeConfig, request: AnalysisRequest, embedded: Embed
) -> dict[str, list[dict[str, float]]]:
    """Figures of the encoders in each run's kept checkpoints, by step."""
    found: dict[str, list[dict[str, float]]] = {}
    for name, folder in request.runs.items():
        for step, path in checkpoint_encoders(folder, config.checkpoints):
            encoder = load_checkpoint_encoder(f"{name}, step {step}", path)
            geometry = latent_geometry(embedded(encoder))
            point = {"step": step} | {figure: geometry[figure] for figure in CHECKPOINT_FIGURES}
            found.setdefault(name, []).append(point)
    return found


def _short(values: np.ndarray) -> list[list[float]]:
    """Coordinates with four digits: more cannot be seen."""
    return [[float(f"{value:.4g}") for value in row] for row in values]


def _notes(
    encoders: list[NamedEncoder],
    prepared: Prepared,
    split: str,
    count: int,
    measured: list[dict[str, Any]],
) -> list[str]:
    notes = [f"warning from prepare: {warning}" for warning in prepared.warnings]
    notes += overlap_notes(encoders, str(prepared.info.get("dataset", "")))
    if split in ("train", "all"):
        notes.append(f"split={split}: an encoder may have been trained on these images")
    largest = max(row["dimensions"] for row in measured)
    if count < RECOMMENDED_IMAGES or count < 2 * largest:
        notes.append(
            f"{count:,} images: no rank can exceed min(n, N); figures settle from "
            f"{max(RECOMMENDED_IMAGES, 2 * largest):,} images on (split=all, or a larger set)"
        )
    for row in measured:
        if row["alignment"] is None and not row["alignment_note"].endswith("a baseline"):
            notes.append(f"no alignment for {row['encoder']}: {row['alignment_note']}")
    return notes
