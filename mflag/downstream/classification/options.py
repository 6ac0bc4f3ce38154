"""What a classification refuses, before anything is computed or written."""

import numpy as np

from mflag.config.evaluate import EvaluateConfig
from mflag.data.augment import check_augment
from mflag.data.label_policy import check_label_policy
from mflag.data.manifest import (
    ATTRIBUTE_PREFIX,
    LABEL_PREFIX,
    Prepared,
)
from mflag.downstream.draws import check_fractions
from mflag.downstream.request import SHARED_KEYS
from mflag.downstream.training import TRAINING_KEYS, check_training
from mflag.errors import InputError

PROTOCOLS = ("linear", "finetune")
KEYS = SHARED_KEYS | TRAINING_KEYS | {"label_policy", "inverse_penalties", "augment", "folds"}


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
        check_training(config)
        check_augment(config.task.augment)


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
