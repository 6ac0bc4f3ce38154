"""Which settings decide what a run or an evaluation finds, and whether two are the same."""

import functools
import hashlib
import json
import shlex
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from mflag.config.compose import compose, flat, settings_of
from mflag.config.evaluate import EvaluateConfig
from mflag.config.train import TrainConfig
from mflag.downstream.draws import check_fractions
from mflag.training.run_folder import FREE_KEYS

# Where an evaluation ran, what else it scored, and what its report shows.
_FREE_OF_EVALUATION = (
    "out", "overwrite", "encoder", "encoders", "random", "imagenet", "pixels", "report",
    "compute.device", "compute.threads", "compute.batch_size",
)  # fmt: skip
_OWN_FILES = ("encoder=", "encoders=", "out=")

Settings = dict[str, Any]


def training_settings(config: TrainConfig) -> Settings:
    """Return what decides the outcome of a training, the seed too, by dotted key."""
    return _without(settings_of(config), FREE_KEYS)


def read_training_settings(folder: Path) -> Settings | None:
    """Return the same of the run that a folder holds, from its ``config.yaml``; None without."""
    written = folder / "config.yaml"
    if not written.is_file():
        return None
    return dict(_read(written, written.stat().st_mtime_ns))


def evaluation_settings(words: tuple[str, ...]) -> Settings:
    """Return what decides the outcome of ``python -m mflag.evaluate WORDS``, by dotted key.

    Raises:
        HydraException, OmegaConfBaseException: mflag.evaluate knows no such words.
    """
    asked = [word for word in words if not word.startswith(_OWN_FILES)]
    config = compose("evaluate", EvaluateConfig, asked)
    config.fraction = check_fractions(config.fraction)
    return _without(settings_of(config), _FREE_OF_EVALUATION)


def command_words(results: dict[str, Any]) -> tuple[str, ...]:
    """Return the overrides of the command that a ``results.json`` came from."""
    return tuple(shlex.split(results["command"])[3:])  # after python -m mflag.evaluate


def changes(before: Settings, now: Settings) -> list[str]:
    """Return ``KEY was X, is Y`` for every difference."""
    keys = sorted(before.keys() | now.keys())
    return [
        f"{key} was {before.get(key)!r}, is {now.get(key)!r}"
        for key in keys
        if before.get(key) != now.get(key)
    ]


def fingerprint(settings: Settings) -> str:
    """Return twelve hexadecimal digits that stand for settings, whatever the seed."""
    counted = {key: value for key, value in settings.items() if key != "seed"}
    text = json.dumps(counted, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@functools.cache  # asked for again at each step of the way, and slow to parse
def _read(written: Path, changed_at: int) -> Settings:
    content = OmegaConf.to_container(OmegaConf.load(written))
    assert isinstance(content, dict)
    return _without(flat({str(key): value for key, value in content.items()}), FREE_KEYS)


def _without(settings: Settings, keys: tuple[str, ...]) -> Settings:
    return {
        key: value
        for key, value in settings.items()
        if key not in keys and key.split(".")[0] not in keys
    }
