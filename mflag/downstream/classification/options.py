"""What a classification refuses, before anything is computed or written."""

import numpy as np

from mflag.config.evaluate import EvaluateConfig, TaskConfig
from mflag.data.augment import check_augment
from mflag.data.label_policy import check_label_policy
from mflag.data.manifest import (
    ATTRIBUTE_PREFIX,
    IMAGE_SIZE,
    LABEL_PREFIX,
    STORED_SIZES,
    Prepared,
)
from mflag.downstream.draws import check_fractions
from mflag.errors import InputError

PROTOCOLS = ("linear", "finetune")
# The smallest input of which a ResNet's last block sees a pixel.
MIN_IMAGE_SIZE = 32


def check(config: EvaluateConfig, protocols: list[str]) -> None:
    """Check the options.

    Raises:
        InputError: one cannot be used.
    """
    check_label_policy(config.task.label_policy)
    penalties = config.task.inverse_penalties
    if not penalties or min(penalties) <= 0:
        raise InputError(f"task.inverse_penalties is {penalties}; give numbers above 0")
    _check_folds(config, protocols)
    if config.pixels and "finetune" in protocols:
        raise InputError("pixels=true has no layers to train; leave finetune out of task.protocol")
    if "finetune" in protocols:
        # generated studies are stored at IMAGE_SIZE
        largest = IMAGE_SIZE if config.data.path is None else max(STORED_SIZES)
        _check_finetuning(config.task, largest)


def check_data(config: EvaluateConfig, prepared: Prepared) -> None:
    """Check the label columns.

    Raises:
        InputError: there are none, none that the label policy keeps, or values that are no labels.
    """
    folder = prepared.path
    if not prepared.labels:
        found = ", ".join(map(str, prepared.manifest.columns))
        raise InputError(
            f"{folder} has no label columns: its columns are {found}, but {LABEL_PREFIX}NAME is "
            "wanted; prepare it from a table with label columns"
        )
    for prefix in (LABEL_PREFIX, ATTRIBUTE_PREFIX):
        if np.isinf(prepared.values(prefix)).any():
            raise InputError(f"{folder} has infinite values in {prefix} columns; leave them empty")
    check_label_policy(config.task.label_policy, prepared.labels)
    labels = prepared.values(LABEL_PREFIX)
    if not (np.isnan(labels) | np.isin(labels, (-1, 0, 1))).all():
        raise InputError(f"{folder} has labels other than 1, 0, -1 and empty; correct its table")
    patients = prepared.manifest["patient"].nunique()
    if config.task.folds is not None and config.task.folds > patients:
        raise InputError(
            f"task.folds is {config.task.folds}, but {folder} holds {patients} patients; give that "
            "or less"
        )


def _check_folds(config: EvaluateConfig, protocols: list[str]) -> None:
    folds = config.task.folds
    if folds is None:
        return
    if folds < 3:  # one is scored, one chooses C, one trains
        raise InputError(f"task.folds is {folds}; give 3 or more, or null")
    if protocols != ["linear"]:
        raise InputError(
            f"task.folds cross-validates the linear probe, but task.protocol is {protocols}; give "
            "task.protocol=linear"
        )
    if check_fractions(config.fraction) != [1.0]:
        raise InputError(
            f"task.folds uses all images, but fraction is {config.fraction}; give fraction=1.0"
        )


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
