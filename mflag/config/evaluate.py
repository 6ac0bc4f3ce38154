"""Options of ``python -m mflag.evaluate``."""

from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore

from mflag.config.data import DataConfig
from mflag.config.feed import AugmentConfig
from mflag.config.option import group, option


@dataclass
class AffineConfig:
    """Random zoom and rotation of a training image and its mask, both about the centre."""

    scale: float = option(0.1, "largest relative change of size")
    rotation_degrees: float = option(10.0, "largest rotation")
    probability: float = option(0.5, "share of the images that are changed")


@dataclass
class TaskConfig:
    """What is asked of the encoders; a key that task.name does not read is refused."""

    name: str = option(
        "classification",
        "classification, segmentation, detection (extra under AGPL-3.0), retrieval, zero_shot",
    )
    protocol: Any = option(
        ["linear"],
        "classification: linear (probe of frozen features), finetune (all layers train), or both; "
        "segmentation, detection: frozen",
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
    patience: int = option(
        10,
        "stop after so many epochs without a better macro AUC (segmentation: Dice, detection: mAP) "
        "on valid",
    )
    prompts: str | None = option(
        None, "zero_shot: YAML file of sentences by label; null: those of docs/analysis.md"
    )
    augment: AugmentConfig = group(AugmentConfig, "random change of the training images")
    finding: str | None = option(
        None, "which lesions count, as one class; null: all, and Lung Opacity in generated studies"
    )
    batchnorm: str = option(
        "frozen", "segmentation: frozen, or update (the frozen encoder's running statistics move)"
    )
    loss: str = option("focal_dice", "segmentation: focal_dice (as MGCA) or cross_entropy_dice")
    affine: AffineConfig = group(AffineConfig, "segmentation: random change of image and mask")


@dataclass
class EvaluateComputeConfig:
    """Where and how encoders run."""

    device: str = option("auto", "auto, cpu, cuda or cuda:N; auto takes a GPU when there is one")
    threads: int | None = option(None, "CPU threads; null takes every core this process may use")
    batch_size: int = option(64, "images a forward pass without gradient")
    precision: str = option(
        "auto",
        "of fine-tuning and segmentation: auto (bf16 where the chip has it), fp32, bf16; features "
        "of probes and of detection are fp32",
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
