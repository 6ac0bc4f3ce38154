"""Everything that ``python -m mflag.train`` reads."""

from dataclasses import dataclass

from hydra.core.config_store import ConfigStore

from mflag.config.compute import ComputeConfig
from mflag.config.data import DataConfig
from mflag.config.feed import AugmentConfig, FeedConfig
from mflag.config.loss import LossConfig
from mflag.config.model import ModelConfig
from mflag.config.optim import OptimConfig
from mflag.config.option import group, option
from mflag.config.text import TextConfig


@dataclass
class LoopConfig:
    """Length and shape of the run."""

    epochs: int = option(100, "passes over the training split")
    batch_size: int = option(128, "studies a step and process")
    micro_batch_size: int | None = option(
        None,
        "embed in parts of this many, one loss over all; BatchNorm sees the parts",
    )
    image_size: int = option(224, "height and width given to the encoder, pixels")


@dataclass
class LogConfig:
    """What people watch."""

    every: int = option(50, "steps between two lines of metrics.jsonl")
    latents: int = option(1024, "latents kept for effective rank and its kin")
    tensorboard: bool = option(True, "write tensorboard/")


@dataclass
class CheckpointConfig:
    """What survives a crash."""

    every: int = option(
        500, "steps between two checkpoints; also one at each signal and at the end"
    )
    keep: int = option(2, "checkpoints kept")


@dataclass
class TrainConfig:
    """Pre-training."""

    output_dir: str = option("runs/train", "where everything goes")
    overwrite: bool = option(False, "replace another run in output_dir")
    resume: str | None = option(
        None, "auto (newest checkpoint of output_dir), or a checkpoint file"
    )
    seed: int = option(0, "of weights, order and augmentation")
    assumed: list[str] = option([], "what the preset assumes where its source is silent; printed")
    data: DataConfig = group(DataConfig)
    model: ModelConfig = group(ModelConfig)
    text: TextConfig = group(TextConfig)
    loss: LossConfig = group(LossConfig)
    optim: OptimConfig = group(OptimConfig)
    train: LoopConfig = group(LoopConfig)
    augment: AugmentConfig = group(AugmentConfig)
    feed: FeedConfig = group(FeedConfig)
    compute: ComputeConfig = group(ComputeConfig)
    log: LogConfig = group(LogConfig)
    checkpoint: CheckpointConfig = group(CheckpointConfig)


ConfigStore.instance().store(name="train_schema", node=TrainConfig)
