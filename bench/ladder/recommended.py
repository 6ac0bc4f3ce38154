"""``preset=recommended`` as the command line composes it, and what a rung takes back of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from mflag.config.train import TrainConfig


@dataclass(frozen=True)
class Switch:
    """A key that costs nothing in accuracy and is one rung: on in ``recommended``, off before."""

    name: str
    key: str
    off: str
    what: str
    auto: tuple[str, ...] = ()  # the devices on which ``auto`` is on


SWITCHES = (
    Switch(
        "one-channel stem",
        "model.one_channel",
        "false",
        "the first convolution reads grey",
        ("cpu", "cuda"),
    ),
    Switch("compiled step", "compute.compile", "false", "torch.compile", ("cuda",)),
    Switch("CUDA graph", "compute.cuda_graph", "false", "the whole step is replayed"),
)


def compose_recommended(overrides: Sequence[str] = ()) -> TrainConfig:
    """Return the configuration of ``python -m mflag.train preset=recommended OVERRIDES``."""
    GlobalHydra.instance().clear()
    with hydra.initialize_config_module("mflag.configs", version_base="1.3"):
        config = hydra.compose("train", ["preset=recommended", *overrides])
    values = OmegaConf.to_container(config)
    made: Any = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(TrainConfig), values))
    return made


def switches_on(device: str) -> tuple[list[Switch], list[dict[str, str]]]:
    """Return the switches that ``recommended`` has on, and why the others are no rungs."""
    config, rungs, skipped = compose_recommended(), [], []
    for switch in SWITCHES:
        group, name = switch.key.split(".")
        value = getattr(getattr(config, group), name, None)
        if value is None:
            skipped.append({"what": switch.name, "reason": f"there is no {switch.key}"})
        elif str(value).lower() == "true" or (value == "auto" and device in switch.auto):
            rungs.append(switch)
        else:
            reason = f"{switch.key}={value} is off on {device} in preset=recommended"
            skipped.append({"what": switch.name, "reason": reason})
    return rungs, skipped
