"""What an evaluation was asked for, checked before anything is computed or written."""

import os
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch

from mflag.config.compute import ComputeConfig
from mflag.config.evaluate import EvaluateConfig, TaskConfig
from mflag.data.manifest import (
    Prepared,
    open_prepared,
)
from mflag.data.preparing import prepare_phantom
from mflag.downstream.draws import check_fractions
from mflag.downstream.encoders import (
    NamedEncoder,
    add_baselines,
    check_imagenet,
    encoder_files,
    load_encoders,
    pixel_encoder,
)
from mflag.errors import InputError
from mflag.runtime.device import choose_compute

# A tenth is for test and a tenth for valid.
MIN_STUDIES = 30
# Of ``task``, read for every task.
SHARED_KEYS = frozenset({"name", "protocol", "resamples"})
RESULT_FILES = ("results.json", "report.html", "drawn_ids.parquet", "plots", "pictures")
_DEFAULTS = TaskConfig()


@dataclass(frozen=True)
class Request:
    """A checked configuration.

    Attributes:
        encoders: in the order of the report: files first, then the baselines.
        fractions: ascending.
        protocols: of the task, in its order.
        device: where encoders run.
        dtype: of activations in fine-tuning and segmentation.
        out: folder of the results; nothing is in it yet, or it may be replaced.
        notes: what was asked for and cannot be done.
    """

    encoders: list[NamedEncoder]
    fractions: list[float]
    protocols: list[str]
    device: torch.device
    dtype: torch.dtype
    out: Path
    notes: list[str]


def check_request(config: EvaluateConfig, protocols: list[str]) -> Request:
    """Read the encoders and check the options of every task; the data come later.

    Args:
        config: of the program.
        protocols: of ``check_protocols``.

    Raises:
        InputError: something cannot be used.
    """
    files = encoder_files(config.encoder, config.encoders)
    encoders = load_encoders(files)
    fractions = check_fractions(config.fraction)
    _check_numbers(config)
    wanted = config.compute
    compute = choose_compute(
        ComputeConfig(device=wanted.device, threads=wanted.threads, precision=wanted.precision)
    )
    beside = Path(next(iter(files.values()))).parent / "evaluation"
    out = Path(config.out) if config.out else beside
    check_out(out, RESULT_FILES, config.overwrite)
    return Request(encoders, fractions, protocols, compute.device, compute.dtype, out, [])


def refuse_unread_keys(task: TaskConfig, read: frozenset[str]) -> None:
    """Refuse keys of another task, as far as they are not at their default.

    Args:
        task: what was asked for.
        read: the keys that ``task.name`` reads.

    Raises:
        InputError: naming the first such key.
    """
    for field in fields(TaskConfig):
        if field.name not in read and getattr(task, field.name) != getattr(_DEFAULTS, field.name):
            raise InputError(
                f"task.{field.name} is given, which task={task.name} does not read; leave it out"
            )


def check_protocols(wanted: Any, known: tuple[str, ...]) -> list[str]:
    """Return the protocols that are asked for, in the order of ``known``.

    Raises:
        InputError: none is, or one that the task does not have.
    """
    given = wanted if isinstance(wanted, list) else [wanted]
    if not given or not set(map(str, given)) <= set(known):
        both = f" or [{','.join(known)}]" if len(known) > 1 else ""
        raise InputError(f"task.protocol is {wanted!r}; give {', '.join(known)}{both}")
    return [name for name in known if name in given]


def with_baselines(config: EvaluateConfig, request: Request) -> Request:
    """Add the random and the ImageNet encoder, as far as they are wanted and can be had."""
    encoders, notes = add_baselines(request.encoders, config.random, config.imagenet)
    if config.pixels:
        encoders.append(pixel_encoder(encoders[0]))
    return replace(request, encoders=encoders, notes=[*request.notes, *notes])


def open_data(config: EvaluateConfig, out: Path) -> Prepared:
    """Open the prepared data, or prepare generated studies into ``out/data``.

    Raises:
        InputError: no prepared data, images smaller than asked for, or an empty split.
    """
    if config.data.path is None:
        folder = out / "data"
        size, seed = config.data.size, config.data.seed
        prepare_phantom(folder, size, seed, replace_other=config.overwrite)
    else:
        folder = Path(config.data.path)
    prepared = open_prepared(folder)
    if (config.task.image_size or 0) > prepared.image_size:
        raise InputError(
            f"task.image_size is {config.task.image_size}, but {folder} stores images of "
            f"{prepared.image_size} x {prepared.image_size}; give that or less, or prepare with a "
            "larger stored_size"
        )
    for split in ("train", "valid", "test"):
        prepared.rows(split)
    return prepared


def check_out(out: Path, files: tuple[str, ...], overwrite: bool) -> None:
    """Refuse a folder that holds other results or cannot be written.

    Raises:
        InputError: with what to do.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"out is {str(out)!r}, which is a file; give a folder")
    for name in files:
        if (out / name).exists() and not overwrite:
            raise InputError(
                f"{out / name} exists; add overwrite=true to replace it, or give another out="
            )
    folder = out.absolute()
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise InputError(f"out is {str(out)!r} but {folder} cannot be written; give another out=")


def _check_numbers(config: EvaluateConfig) -> None:
    for name, value in (
        ("seeds", config.seeds),
        ("compute.batch_size", config.compute.batch_size),
        ("task.resamples", config.task.resamples),
    ):
        if value < 1:
            raise InputError(f"{name} is {value}; give 1 or more")
    if config.data.path is None and config.data.source != "phantom":
        raise InputError(
            f"data.source is {config.data.source!r}; use data=phantom or data.path=DIR"
        )
    if config.data.path is None and config.data.size < MIN_STUDIES:
        raise InputError(f"data.size is {config.data.size}; give {MIN_STUDIES} or more")
    if config.report.examples < 0:
        raise InputError(f"report.examples is {config.report.examples}; give 0 or more")
    if config.pixels and config.task.name != "classification":
        raise InputError(f"pixels=true serves classification, but task is {config.task.name}")
    check_imagenet(config.imagenet)
