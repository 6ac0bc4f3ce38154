"""Ultralytics without its side effects: the one file that imports it (AGPL-3.0)."""

import functools
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import torch

from mflag.runtime.environment import environment

# No look-up in the network, no installing, no banner.
_QUIET = {"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false", "YOLO_VERBOSE": "false"}


@functools.cache
def ultralytics_parts() -> SimpleNamespace:
    """Return ``Bottleneck``, ``Concat``, ``Conv``, ``Detect``, ``DetectionModel``, the loss class.

    Raises:
        ImportError: it is not installed, or a library that it needs is not.
    """
    with _without_side_effects():
        from ultralytics.nn.modules import Bottleneck, Concat, Conv, Detect
        from ultralytics.nn.tasks import DetectionModel
        from ultralytics.utils import SETTINGS
        from ultralytics.utils.loss import v8DetectionLoss

        if SETTINGS["sync"]:
            SETTINGS["sync"] = False
    return SimpleNamespace(
        Bottleneck=Bottleneck, Concat=Concat, Conv=Conv, Detect=Detect,
        DetectionModel=DetectionModel, v8DetectionLoss=v8DetectionLoss,
    )  # fmt: skip


@contextmanager
def _without_side_effects() -> Iterator[None]:
    """Settings in a folder that goes away; no network; environment and torch.save as before."""
    save = torch.save
    with tempfile.TemporaryDirectory() as folder, environment(YOLO_CONFIG_DIR=folder, **_QUIET):
        try:
            yield
        finally:
            torch.save = save
