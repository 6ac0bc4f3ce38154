"""Options of ``python -m mflag.analyze``."""

from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore

from mflag.config.data import DataConfig
from mflag.config.option import group, option


@dataclass
class AnalyzeComputeConfig:
    """Where and how encoders run."""

    device: str = option("auto", "auto, cpu, cuda or cuda:N; auto takes a GPU when there is one")
    threads: int | None = option(None, "CPU threads; null leaves torch's choice")
    batch_size: int = option(64, "images a forward pass")


@dataclass
class AnalyzeConfig:
    """Everything that ``mflag.analyze`` reads."""

    data: DataConfig = group(DataConfig, "where studies come from")
    encoder: str | None = option(None, "encoder.safetensors of mflag.train")
    # Not dict[str, str]: Hydra refuses new keys in a typed mapping.
    encoders: Any = option(None, "several: {NAME:FILE,NAME:FILE}, instead of encoder=")
    random: bool = option(True, "add a randomly initialised encoder of the first one's arch")
    imagenet: str = option(
        "auto", "add torchvision's ImageNet weights: auto (when already downloaded), true, false"
    )
    split: str = option("test", "images: of test, valid, train or all")
    limit: int | None = option(4096, "most images, drawn with seed 0; null takes all")
    points: int = option(600, "images shown in the three-dimensional picture")
    runs: Any = option(
        None, "training runs: {NAME:FOLDER,...}; null: those of the encoder files; {}: none"
    )
    checkpoints: int = option(5, "kept checkpoints of a run that are measured too, evenly chosen")
    out: str | None = option(None, "folder of the results; null: analysis beside the encoder")
    overwrite: bool = option(False, "replace the results that out holds")
    compute: AnalyzeComputeConfig = group(AnalyzeComputeConfig, "where and how encoders run")


ConfigStore.instance().store("analyze_schema", AnalyzeConfig)
