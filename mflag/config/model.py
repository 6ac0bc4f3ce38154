"""The image side."""

from dataclasses import dataclass

from mflag.config.option import option


@dataclass
class ModelConfig:
    """Encoder and projector."""

    arch: str = option("resnet50", "resnet18, resnet34 or resnet50 of torchvision")
    init: str = option("random", "random, imagenet, or the path of an encoder.safetensors")
    one_channel: str = option(
        "auto",
        "train the first convolution on one grey channel, written as three: true, false, or auto "
        "(on: every prepared image is grey)",
    )
    projector: str = option(
        "mlp", "linear, mlp (hidden layer with BatchNorm and ReLU), or mlp_bn (BatchNorm last too)"
    )
    projector_hidden_dim: int = option(2048, "width of the mlp's hidden layer")
    text_projector: str = option(
        "none", "trained projection of the text vectors: none, linear, mlp or mlp_bn"
    )
    projector_dim: int | None = option(
        None, "where both projections meet; null is the text vectors' own, without text_projector"
    )
