"""The encoders that are compared: files, and the two baselines."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

from mflag.data.leaks import known_overlap
from mflag.errors import InputError
from mflag.models.encoder import build_encoder
from mflag.models.load import load_encoder

BASELINES = ("random", "imagenet", "pixels")
PIXEL_SIDE = 32
IMAGENET_MEAN = [0.485, 0.456, 0.406]
IMAGENET_STD = [0.229, 0.224, 0.225]


@dataclass(frozen=True)
class NamedEncoder:
    """A frozen network and what its input looks like.

    Attributes:
        name: how rows and plots call it.
        module: (B, 3, H, W) → (B, embedding_dim).
        arch: name in torchvision.
        image_size: height and width of the input, pixels.
        mean: subtracted from grey values 0 to 1, a number a channel.
        std: divides the rest, a number a channel.
        origin: where the weights come from, in words.
        dataset: name of what they were trained on; None where it is not known.
        file: of the weights; None for baselines.
    """

    name: str
    module: nn.Module
    arch: str
    image_size: int
    mean: list[float]
    std: list[float]
    origin: str
    dataset: str | None = None
    file: Path | None = None


def encoder_files(encoder: str | None, encoders: Any) -> dict[str, str]:
    """Return the files by name that ``encoder=`` or ``encoders=`` give.

    Raises:
        InputError: both are given, or ``encoders`` is no mapping.
    """
    if encoders is None:
        return {"encoder": encoder} if encoder else {}
    if encoder:
        raise InputError("encoder and encoders are both given; name all files in encoders={...}")
    if not isinstance(encoders, dict):
        raise InputError(f"encoders is {encoders!r}; give {{NAME:FILE,NAME:FILE}}")
    return {str(name): str(file) for name, file in encoders.items()}


def check_imagenet(imagenet: str) -> None:
    """Refuse an ``imagenet=`` that is no answer.

    Raises:
        InputError: it is not auto, true or false.
    """
    if imagenet.lower() not in ("auto", "true", "false"):
        raise InputError(f"imagenet is {imagenet!r}; give auto, true or false")


def add_baselines(
    encoders: list[NamedEncoder], random: bool, imagenet: str
) -> tuple[list[NamedEncoder], list[str]]:
    """Add the random and the ImageNet encoder, as far as they are wanted and can be had.

    Args:
        encoders: the first gives architecture and image size.
        random: whether the random one is wanted.
        imagenet: ``auto``, ``true`` or ``false``.

    Returns:
        all encoders, and remarks on what cannot be had.
    """
    found, notes = list(encoders), []
    if random:
        found.append(random_encoder(encoders[0]))
    if imagenet.lower() != "false":
        baseline = imagenet_encoder(encoders[0], imagenet.lower())
        if isinstance(baseline, str):
            notes.append(baseline)
        else:
            found.append(baseline)
    return found, notes


def load_encoders(files: dict[str, str]) -> list[NamedEncoder]:
    """Read every encoder file.

    Raises:
        InputError: no file is given, one cannot be used, or a name belongs to a baseline.
    """
    if not files:
        raise InputError(
            "no encoder is given; add encoder=FILE (the encoder.safetensors of mflag.train)"
        )
    for name in BASELINES:
        if name in files:
            raise InputError(f"encoders names one {name!r}, which is a baseline; choose other name")
    return [_from_file(name, path) for name, path in files.items()]


def random_encoder(like: NamedEncoder) -> NamedEncoder:
    """The same architecture with the weights of torch seed 0."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = build_encoder(like.arch)
    origin = "random initialisation, torch seed 0"
    return NamedEncoder(
        "random", module, like.arch, like.image_size, like.mean, like.std, origin
    )  # fmt: skip


def pixel_encoder(like: NamedEncoder) -> NamedEncoder:
    """No network: the image, averaged over boxes to 32 x 32, as 1,024 features."""
    module = nn.Sequential(nn.AdaptiveAvgPool2d(PIXEL_SIDE), GreyChannel(), nn.Flatten())
    origin = f"no network: pixels averaged to {PIXEL_SIDE} x {PIXEL_SIDE}"
    return NamedEncoder(
        "pixels", module, "pixels", like.image_size, like.mean, like.std, origin
    )  # fmt: skip


class GreyChannel(nn.Module):
    """The first of three equal channels."""

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) → (B, 1, H, W)."""
        return images[:, :1]


def imagenet_encoder(like: NamedEncoder, wanted: str) -> NamedEncoder | str:
    """The same architecture with torchvision's ImageNet weights, or why there is none.

    Args:
        like: gives architecture and image size.
        wanted: ``auto`` reads torchvision's download cache only; ``true`` may download.
    """
    if wanted == "auto" and not imagenet_file(like.arch).is_file():
        return (
            f"no ImageNet row: the weights of {like.arch} are not in torchvision's download cache; "
            "imagenet=true downloads them"
        )
    try:
        module = build_encoder(like.arch, "imagenet")
    except InputError as error:
        return f"no ImageNet row: {error}"
    origin = "torchvision's ImageNet weights"
    return NamedEncoder(
        "imagenet", module, like.arch, like.image_size, IMAGENET_MEAN, IMAGENET_STD, origin
    )  # fmt: skip


def imagenet_file(arch: str) -> Path:
    """Where torchvision keeps the ImageNet weights of ``arch`` once they are downloaded."""
    url = torchvision.models.get_model_weights(arch).DEFAULT.url
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(url).name


def describe(encoders: list[NamedEncoder]) -> list[dict[str, Any]]:
    """What ``results.json`` says of the encoders."""
    return [
        {
            "name": encoder.name,
            "arch": encoder.arch,
            "image_size": encoder.image_size,
            "origin": encoder.origin,
            "dataset": encoder.dataset,
        }
        for encoder in encoders
    ]


def overlap_notes(encoders: list[NamedEncoder], dataset: str) -> list[str]:
    """Remarks on encoders that were trained on images of the data under other ids."""
    known = {e.name: known_overlap(e.dataset, dataset) for e in encoders if e.dataset}
    trained = {e.name: e.dataset for e in encoders}
    return [
        f"warning: {name} was trained on {trained[name]}, and these data are {dataset}: {overlap}"
        for name, overlap in known.items()
        if overlap
    ]


def _from_file(name: str, path: str) -> NamedEncoder:
    module = load_encoder(path)
    metadata: dict[str, Any] = module.metadata  # type: ignore[assignment]
    return NamedEncoder(
        name,
        module,
        metadata["arch"],
        metadata["image_size"],
        metadata["mean"],
        metadata["std"],
        f"file {Path(path).name}",
        metadata["dataset"],
        Path(path),
    )
