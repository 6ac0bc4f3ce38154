"""``--help`` of every program: what it does, what can be chosen, every key with its default."""

import dataclasses
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

KEY_WIDTH, DEFAULT_WIDTH = 32, 18


def print_help(config_name: str, schema: type, overrides: list[str]) -> None:
    """Print the help of ``python -m mflag.<config_name>`` with the given overrides applied."""
    GlobalHydra.instance().clear()
    with hydra.initialize_config_module("mflag.configs", version_base="1.3"):
        config = hydra.compose(config_name, overrides=overrides, return_hydra_config=True)
    print(f"{config.hydra.help.header}\n")
    print(f"usage: python -m mflag.{config_name} key=value ...   (Hydra; --cfg job shows all)")
    print(_choices(config))
    print(f"{'key':{KEY_WIDTH}} {'default':{DEFAULT_WIDTH}} meaning")
    for line in _key_lines(schema, OmegaConf.to_container(config), ""):
        print(line)
    if config.hydra.help.footer:
        print(f"\n{config.hydra.help.footer}")


def _choices(config: DictConfig) -> str:
    lines = []
    for group in config.hydra.runtime.choices:
        folder = _configs() / str(group)
        if folder.is_dir() and not str(group).startswith("hydra"):
            names = sorted(
                str(p.relative_to(folder).with_suffix("")) for p in folder.rglob("*.yaml")
            )
            lines.append(f"  {group}={'|'.join(names)}")
    return "\nchoices\n" + "\n".join(lines) + "\n" if lines else ""


def _configs() -> Path:
    import mflag.configs

    return Path(mflag.configs.__path__[0])


def _key_lines(schema: type, values: Any, prefix: str) -> Iterator[str]:
    for field in dataclasses.fields(schema):
        value = values[field.name]
        if dataclasses.is_dataclass(field.type):
            yield f"\n{prefix}{field.name}: {inspect.getdoc(field.type)}"
            yield from _key_lines(field.type, value, f"{prefix}{field.name}.")  # type: ignore[arg-type]
        else:
            shown = (
                "null"
                if value is None
                else str(value).lower()
                if value is True or value is False
                else value
            )
            help_text = field.metadata.get("help", "")
            yield f"{prefix + field.name:{KEY_WIDTH}} {shown!s:{DEFAULT_WIDTH}} {help_text}"
