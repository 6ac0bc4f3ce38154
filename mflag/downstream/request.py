"""What an evaluation was asked for, checked before anything is computed or written."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mflag.config.compute import ComputeConfig
from mflag.config.evaluate import EvaluateConfig, TaskConfig
from mflag.data.augment import check_augment
from mflag.data.label_policy import check_label_policy
from mflag.data.manifest import (
    ATTRIBUTE_PREFIX,
    IMAGE_SIZE,
    LABEL_PREFIX,
    STORED_SIZES,
    Prepared,
    open_prepared,
)
from mflag.data.preparing import prepare_phantom
from mflag.downstream.draws import check_fractions
from mflag.downstream.encoders import (
    NamedEncoder,
    imagenet_encoder,
    load_encoders,
    random_encoder,
)
from mflag.errors import InputError
from mflag.runtime.device import choose_compute

# A tenth is for test and a tenth for valid.
MIN_STUDIES = 30
RESULT_FILES = ("results.json", "report.html", "drawn_ids.parquet", "plots")
PROTOCOLS = ("linear", "finetune")
# The smallest input of which a ResNet's last block sees a pixel.
MIN_IMAGE_SIZE = 32


@dataclass(frozen=True)
class Request:
    """A checked configuration.

    Attributes:
        encoders: in the order of the report: files first, then the baselines.
        fractions: ascending.
        protocols: ``linear``, ``finetune`` or both, in this order.
        device: where encoders run.
        dtype: of fine-tuning's activations.
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


def check_request(config: EvaluateConfig) -> Request:
    """Read the encoders and check every option; the data come later.

    Raises:
        InputError: something cannot be used.
    """
    files = _encoder_files(config)
    encoders = load_encoders(files)
    fractions = check_fractions(config.fraction)
    _check_numbers(config)
    protocols = _protocols(config.task.protocol)
    check_label_policy(config.task.label_policy)
    if "finetune" in protocols:
        # generated studies are stored at IMAGE_SIZE
        largest = IMAGE_SIZE if config.data.path is None else max(STORED_SIZES)
        _check_finetuning(config.task, largest)
    wanted = config.compute
    compute = choose_compute(
        ComputeConfig(device=wanted.device, threads=wanted.threads, precision=wanted.precision)
    )
    beside = Path(next(iter(files.values()))).parent / "evaluation"
    out = Path(config.out) if config.out else beside
    check_out(out, RESULT_FILES, config.overwrite)
    return Request(encoders, fractions, protocols, compute.device, compute.dtype, out, [])


def with_baselines(config: EvaluateConfig, request: Request) -> Request:
    """Add the random and the ImageNet encoder, as far as they are wanted and can be had."""
    encoders, notes = list(request.encoders), list(request.notes)
    if config.random:
        encoders.append(random_encoder(encoders[0]))
    if config.imagenet.lower() != "false":
        baseline = imagenet_encoder(encoders[0], config.imagenet.lower())
        if isinstance(baseline, str):
            notes.append(baseline)
        else:
            encoders.append(baseline)
    return replace(request, encoders=encoders, notes=notes)


def open_data(config: EvaluateConfig, out: Path) -> Prepared:
    """Open the prepared data, or prepare generated studies into ``out/data``.

    Raises:
        InputError: no prepared data, no label columns, none that the label policy keeps, an empty
            split, or no patients.
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
    if not prepared.labels:
        found = ", ".join(map(str, prepared.manifest.columns))
        raise InputError(
            f"{folder} has no label columns: its columns are {found}, but {LABEL_PREFIX}NAME is "
            "wanted; prepare it from a table with label columns"
        )
    for split in ("train", "valid", "test"):
        prepared.rows(split)
    for prefix in (LABEL_PREFIX, ATTRIBUTE_PREFIX):
        if np.isinf(prepared.values(prefix)).any():
            raise InputError(f"{folder} has infinite values in {prefix} columns; leave them empty")
    check_label_policy(config.task.label_policy, prepared.labels)
    labels = prepared.values(LABEL_PREFIX)
    if not (np.isnan(labels) | np.isin(labels, (-1, 0, 1))).all():
        raise InputError(f"{folder} has labels other than 1, 0, -1 and empty; correct its table")
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


def _encoder_files(config: EvaluateConfig) -> dict[str, str]:
    if config.encoders is None:
        return {"encoder": config.encoder} if config.encoder else {}
    if config.encoder:
        raise InputError("encoder and encoders are both given; name all files in encoders={...}")
    if not isinstance(config.encoders, dict):
        raise InputError(f"encoders is {config.encoders!r}; give {{NAME:FILE,NAME:FILE}}")
    return {str(name): str(file) for name, file in config.encoders.items()}


def _protocols(wanted: Any) -> list[str]:
    given = wanted if isinstance(wanted, list) else [wanted]
    if not given or not set(map(str, given)) <= set(PROTOCOLS):
        raise InputError(
            f"task.protocol is {wanted!r}; give linear, finetune or [linear,finetune]"
        )  # fmt: skip
    return [name for name in PROTOCOLS if name in given]


def _check_finetuning(task: TaskConfig, largest: int) -> None:
    for name, smallest in (("epochs", 1), ("patience", 1), ("batch_size", 2)):
        value = getattr(task, name)
        if value < smallest:  # BatchNorm needs two images
            raise InputError(f"task.{name} is {value}; give {smallest} or more")
    if not 0 < task.lr < float("inf"):
        raise InputError(f"task.lr is {task.lr}; give a number above 0")
    if not 0 <= task.weight_decay < float("inf"):
        raise InputError(f"task.weight_decay is {task.weight_decay}; give 0 or more")
    if task.image_size is not None and not MIN_IMAGE_SIZE <= task.image_size <= largest:
        raise InputError(
            f"task.image_size is {task.image_size}; give {MIN_IMAGE_SIZE} to {largest}, or null "
            "for the encoder's own"
        )
    check_augment(task.augment)


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
    penalties = config.task.inverse_penalties
    if not penalties or min(penalties) <= 0:
        raise InputError(f"task.inverse_penalties is {penalties}; give numbers above 0")
    if config.imagenet.lower() not in ("auto", "true", "false"):
        raise InputError(f"imagenet is {config.imagenet!r}; give auto, true or false")
