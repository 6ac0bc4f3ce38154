"""Options of ``python -m mflag.evaluate``."""

from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore

from mflag.config.data import DataConfig
from mflag.config.feed import AugmentConfig
from mflag.config.option import group, option


@dataclass
class TaskConfig:
    """What is asked of the encoders; epochs to augment concern fine-tuning alone."""

    name: str = option("classification", "classification")
    protocol: Any = option(
        ["linear"], "linear (probe of frozen features), finetune (all layers train), or both"
    )
    label_policy: str = option(
        "zeros",
        "what -1 and blank labels count as: zeros, ones, ignore, mixed or nan (docs/evaluation.md)",
    )
    inverse_penalties: list[float] = option(
        [0.01, 0.1, 1.0, 10.0], "C of the logistic regression; the valid split chooses one"
    )
    folds: int | None = option(
        None,
        "cross-validate the linear probe over all images, split by patient into so many parts; "
        "seeds repeats it with other parts; null: the table's own splits",
    )
    resamples: int = option(1000, "bootstrap resamples of the test patients")
    epochs: int = option(50, "at most; an epoch is all drawn images, or 10 steps if that is more")
    lr: float = option(1e-4, "peak learning rate of AdamW; 5 % warm-up, then a cosine to 0")
    weight_decay: float = option(0.01, "of AdamW, on weights that are no biases and no BatchNorm")
    batch_size: int = option(32, "images a training step, 2 or more")
    image_size: int | None = option(None, "pixels; null: the size that the encoder was trained at")
    patience: int = option(10, "stop after so many epochs without a better macro AUC on valid")
    augment: AugmentConfig = group(AugmentConfig, "random change of the training images")


@dataclass
class EvaluateComputeConfig:
    """Where and how encoders run."""

    device: str = option("auto", "auto, cpu, cuda or cuda:N; auto takes a GPU when there is one")
    threads: int | None = option(None, "CPU threads; null takes every core this process may use")
    batch_size: int = option(64, "images a forward pass without gradient")
    precision: str = option(
        "auto",
        "of fine-tuning: auto (bf16 where the chip has it), fp32, bf16; frozen features are fp32",
    )


@dataclass
class ReportConfig:
    """What ``report.html`` shows."""

    embed_images: bool = option(
        False, "put images and report text of real studies into the page; generated ones always are"
    )
    examples: int = option(4, "number of example studies")


@dataclass
class EvaluateConfig:
    """Everything that ``mflag.evaluate`` reads."""

    task: TaskConfig = group(TaskConfig, "what is asked of the encoders")
    data: DataConfig = group(DataConfig, "where studies come from")
    encoder: str | None = option(None, "encoder.safetensors of mflag.train")
    # Not dict[str, str]: Hydra refuses new keys in a typed mapping.
    encoders: Any = option(None, "several: {NAME:FILE,NAME:FILE}, instead of encoder=")
    random: bool = option(True, "add a randomly initialised encoder of the first one's arch")
    pixels: bool = option(False, "add averaged pixels as features (classification, linear)")
    imagenet: str = option(
        "auto", "add torchvision's ImageNet weights: auto (when already downloaded), true, false"
    )
    fraction: Any = option([0.01, 0.1, 1.0], "shares of the labelled training rows, in (0, 1]")
    seeds: int = option(5, "label draws for each fraction below 1: seeds 0 to n-1")
    out: str | None = option(None, "folder of the results; null: evaluation beside the encoder")
    overwrite: bool = option(False, "replace the results that out holds")
    compute: EvaluateComputeConfig = group(EvaluateComputeConfig, "where and how encoders run")
    report: ReportConfig = group(ReportConfig, "what report.html shows")


ConfigStore.instance().store("evaluate_schema", EvaluateConfig)
