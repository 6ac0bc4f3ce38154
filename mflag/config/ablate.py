"""Options of ``python -m mflag.ablate``."""

from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore

from mflag.config.data import DataConfig
from mflag.config.option import group, option


@dataclass
class AblateConfig:
    """Which runs are compared, by what, and where they lie."""

    table: str = option(
        "4",
        "of the paper: 4 (both, align_only, orth_only) or 5 (both, unfreeze_1 to unfreeze_6); or "
        "sweep (norm x share x batch beside the single losses), or none with grid=",
    )
    # Not dict[str, Any]: Hydra refuses new keys in a typed mapping.
    grid: Any = option(
        None, "values by key of mflag.train, every combination: {loss.norm:[sample,none]}"
    )
    data: DataConfig = group(DataConfig, "where studies come from")
    train: list[str] = option(
        ["preset=demo"], "overrides of mflag.train for every run: [preset=demo,train.epochs=3]"
    )
    evaluate: list[str] = option(
        [], "overrides of mflag.evaluate for every evaluation: [task.resamples=200]"
    )
    tasks: list[str] = option(["classification"], "of mflag.evaluate, each in a folder of its own")
    fraction: Any = option([0.01, 0.1, 1.0], "shares of the labelled training rows, in (0, 1]")
    draws: int = option(3, "label draws for each fraction below 1")
    seeds: int = option(5, "training seeds: 0 to n-1")
    random: bool = option(True, "add untrained encoders, one a seed, as the variant random")
    reference: str | None = option(
        None, "variant that the others are compared with; null: both, or the first"
    )
    out: str | None = option(None, "folder of all runs; null: runs/table4, runs/table5, runs/sweep")
    overwrite: bool = option(False, "train and evaluate again what has other settings")
    collect_only: bool = option(False, "run nothing; read every run that out holds")


ConfigStore.instance().store("ablate_schema", AblateConfig)
