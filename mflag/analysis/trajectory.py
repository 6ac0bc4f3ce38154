"""What a training run left of its way: figures by step, and encoders in its checkpoints."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from mflag.downstream.encoders import NamedEncoder
from mflag.errors import InputError
from mflag.models.encoder import build_encoder, load_strictly
from mflag.models.encoder_file import IMAGE_MEAN, IMAGE_STD, in_float32
from mflag.models.grey_stem import on_three_channels
from mflag.runtime.checkpoint import list_checkpoints, read_checkpoint, step_of

METRICS = "metrics.jsonl"
FIGURES = (
    "loss", "loss_alignment", "loss_orthogonality", "orthogonality_share", "effective_rank",
    "effective_rank_cap", "top_singular_share", "offdiag_mean", "dimension_std", "lr",
)  # fmt: skip
# Points of a curve; a plot of 16 cm shows no more.
MOST_POINTS = 500


def read_trajectory(folder: Path) -> dict[str, list[float | None]]:
    """Return ``step`` and each figure that the run logged, by name, at most ``MOST_POINTS`` each.

    Args:
        folder: of the run.

    Raises:
        InputError: it holds no ``metrics.jsonl``, or one that is damaged.
    """
    path = folder / METRICS
    if not path.is_file():
        raise InputError(f"{path} is missing; give the output_dir of mflag.train")
    points = [_point(path, k, line) for k, line in enumerate(_lines(path), 1)]
    if not points:
        raise InputError(f"{path} is empty; the run has logged nothing yet")
    kept = evenly(points, MOST_POINTS)
    names = [name for name in FIGURES if any(point.get(name) is not None for point in kept)]
    return {name: [point.get(name) for point in kept] for name in ("step", *names)}


def checkpoint_encoders(folder: Path, most: int) -> list[tuple[int, Path]]:
    """Return steps and files of the checkpoints that a run kept, at most ``most``, evenly."""
    paths = list_checkpoints(folder / "checkpoints")[::-1]
    return evenly([(step_of(path), path) for path in paths], most)


def load_checkpoint_encoder(name: str, path: Path) -> NamedEncoder:
    """Return the image encoder of a checkpoint, in eval mode.

    Raises:
        InputError: it is damaged, or holds no encoder that this version knows.
    """
    checkpoint = read_checkpoint(path)
    try:
        settings, state = checkpoint["config"], checkpoint["state"]["encoder"]
        arch, size = settings["model"]["arch"], int(settings["train"]["image_size"])
    except (KeyError, TypeError) as error:
        raise InputError(f"{path} holds no encoder ({error}); train again") from error
    module = build_encoder(arch)
    load_strictly(module, on_three_channels(in_float32(state)), str(path))
    return NamedEncoder(
        name, module.eval(), arch, size, [IMAGE_MEAN] * 3, [IMAGE_STD] * 3,
        f"checkpoint {path.name}",
    )  # fmt: skip


def evenly(items: list[Any], most: int) -> list[Any]:
    """Return at most ``most`` of the items, evenly spaced, the first and the last among them."""
    if len(items) <= most:
        return items
    places = np.linspace(0, len(items) - 1, most).round().astype(int) if most > 1 else [-1][:most]
    return [items[place] for place in places]


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read ({error})") from error
    # A run that is still going may be in the middle of its last line.
    return [line for line in text.splitlines(keepends=True) if line.endswith("\n")]


def _point(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        point = json.loads(line)
        step, figures = point["step"], {name: point.get(name) for name in FIGURES}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is damaged in line {number} ({error})") from error
    values = [step, *figures.values()]
    wanted = (int, float)
    if any(not isinstance(v, wanted) or isinstance(v, bool) for v in values if v is not None):
        raise InputError(f"{path} is damaged in line {number}: a figure is no number")
    return {"step": step} | figures
