"""The image side."""

from dataclasses import dataclass

from mflag.config.option import option


@dataclass
class ModelConfig:
    """Encoder and projector."""

    arch: str = option("resnet50", "resnet18, resnet34 or resnet50 of torchvision")
    init: str = option("random", "random, imagenet, or the path of an encoder.safetensors")
    projector: str = option("mlp", "linear, or mlp (hidden layer with BatchNorm and ReLU)")
    projector_hidden_dim: int = option(2048, "width of the mlp's hidden layer")
