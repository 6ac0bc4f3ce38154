"""What a program would be configured with, without starting it."""

import copy
import dataclasses
import functools
import re
from collections.abc import Sequence
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf


def compose(program: str, schema: type, overrides: Sequence[str]) -> Any:
    """Return the configuration that ``python -m mflag.PROGRAM`` makes of its arguments.

    Equal calls of one process compose once, and get objects of their own.

    Args:
        program: name of a file in ``configs/``.
        schema: its dataclass.
        overrides: words of a command line.

    Returns:
        An object of ``schema``.

    Raises:
        HydraException, OmegaConfBaseException: an override is unknown or of the wrong type; the
            program itself would answer the same.
    """
    return copy.deepcopy(_composed(program, schema, tuple(overrides)))


def as_override(key: str, value: Any) -> str:
    """Return ``key=value`` in the words of a command line."""
    return f"{key}={_word(value)}"


def settings_of(config: Any) -> dict[str, Any]:
    """Return a configuration as one flat dict: ``{"loss.norm": "sample", …}``."""
    return flat(dataclasses.asdict(config))


def flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested dicts as one, with keys joined by dots."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        nested = isinstance(value, dict) and value
        found |= flat(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
    return found


def _word(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{','.join(map(_word, value))}]"
    is_plain = re.fullmatch(r"[\w./+@-]+", str(value)) and str(value) not in (
        "null",
        "true",
        "false",
    )
    if isinstance(value, str) and not is_plain:
        escaped = value.replace("\\", "\\\\").replace("'", "\\'")
        return f"'{escaped}'"
    return str(value)


@functools.cache
def _composed(program: str, schema: type, overrides: tuple[str, ...]) -> Any:
    outer = GlobalHydra.instance().hydra  # of the program that asks
    GlobalHydra.instance().clear()
    try:
        with hydra.initialize_config_module("mflag.configs", version_base="1.3"):
            config = hydra.compose(program, overrides=list(overrides))
    finally:
        GlobalHydra.instance().hydra = outer
    values = OmegaConf.to_container(config)
    return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), values))
