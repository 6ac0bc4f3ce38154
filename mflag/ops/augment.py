"""Fused augmentation: schema, checks, choice of backend."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from mflag.errors import InputError
from mflag.ops.augment_reference import augment_reference
from mflag.ops.backend import choose_by_name, names_on

DTYPES = (torch.float32, torch.bfloat16)
CHANNELS = (1, 3)
LONGEST_SIDE = 16384  # pixels; offsets into an image and its zero border fit 32 bits

_LIBRARY = torch.library.Library("mflag", "FRAGMENT")
_LIBRARY.define(
    "augment(Tensor images, Tensor theta, Tensor brightness, Tensor contrast, int size, "
    "float mean, float std, int channels, ScalarType dtype, str? backend) -> Tensor"
)


def augment_images(
    images: Tensor,
    theta: Tensor,
    brightness: Tensor,
    contrast: Tensor,
    *,
    size: int,
    mean: float,
    std: float,
    channels: int = 3,
    dtype: torch.dtype = torch.float32,
    backend: str | None = None,
) -> Tensor:
    """Crop, rotate, resize, change contrast and brightness, normalise, and repeat the channel.

    x = images/255 sampled bilinearly where ``theta`` says, 0 outside (``align_corners=False``),
    m = the mean of x over the size² pixels of the image,
    y = clamp(((x − m)·contrast + m)·brightness, 0, 1), result (y − mean)/std in every channel.

    The kernels know a source coordinate to size·2⁻³² pixels; up to 1024² their float32 results are
    within 2e-6/std of the formula. The ``reference`` rounds coordinates to float32.

    Args:
        images: (B, 1, H, W) uint8, any strides; H and W at most 16384.
        theta: (B, 2, 3) float32, output to input coordinates as ``F.affine_grid`` takes them. An
            image whose coordinates are not finite, or pass 2³⁰ pixels, becomes NaN.
        brightness: (B,) float32 factor.
        contrast: (B,) float32 factor.
        size: height and width of the result, pixels; at most 16384.
        mean: of all channels.
        std: of all channels.
        channels: 1 or 3, all equal.
        dtype: float32, or bfloat16 (the float32 result rounded once).
        backend: a name from ``mflag.backends()``; None takes the fastest that runs here.

    Returns:
        (B, channels, size, size) in ``channels_last``, without gradient.

    Raises:
        InputError: a shape, dtype, device or number is not one of the above, a parameter requires a
            gradient, or the forced backend cannot run here.
    """
    if torch.is_grad_enabled():
        for name, given in (("theta", theta), ("brightness", brightness), ("contrast", contrast)):
            if given.requires_grad:
                raise InputError(f"{name} requires a gradient; the op has none, detach it")
    return torch.ops.mflag.augment(
        images, theta, brightness, contrast, size, mean, std, channels, dtype, backend
    )


def _check_tensors(images: Tensor, theta: Tensor, brightness: Tensor, contrast: Tensor) -> None:
    if images.dtype != torch.uint8:
        raise InputError(f"images has dtype {images.dtype}; give torch.uint8")
    shape = tuple(images.shape)
    if len(shape) != 4 or shape[1] != 1 or images.numel() == 0:
        raise InputError(f"images has shape {shape}; give (B, 1, H, W) with all above 0")
    if max(shape[2:]) > LONGEST_SIDE:
        raise InputError(f"images has shape {shape}; give H and W of at most {LONGEST_SIDE}")
    per_image = (shape[0],)
    for name, given, wanted in (
        ("theta", theta, (*per_image, 2, 3)),
        ("brightness", brightness, per_image),
        ("contrast", contrast, per_image),
    ):
        if given.dtype != torch.float32 or given.shape != wanted:
            found = f"{given.dtype} of shape {tuple(given.shape)}"
            raise InputError(f"{name} is {found}; give torch.float32 of shape {wanted}")
        if given.device != images.device:
            raise InputError(f"{name} is on {given.device}; give it on {images.device}, as images")


def _check_numbers(size: int, mean: float, std: float, channels: int, dtype: torch.dtype) -> None:
    if not 1 <= size <= LONGEST_SIDE:
        raise InputError(f"size is {size!r}; give 1 to {LONGEST_SIDE}")
    if not math.isfinite(mean):
        raise InputError(f"mean is {mean!r}; give a finite number")
    if not 0 < std < math.inf:
        raise InputError(f"std is {std!r}; give a finite number above 0")
    if channels not in CHANNELS:
        raise InputError(f"channels is {channels!r}; give 1 or 3")
    if dtype not in DTYPES:
        raise InputError(f"dtype is {dtype}; give torch.float32 or torch.bfloat16")


Implementation = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, float, float], None]


def _native(
    images: Tensor,
    theta: Tensor,
    brightness: Tensor,
    contrast: Tensor,
    out: Tensor,
    mean: float,
    std: float,
) -> None:
    torch.ops.mflag_native.augment(
        _plain_rows(images),
        theta.contiguous(),
        brightness.contiguous(),
        contrast.contiguous(),
        out,
        mean,
        std,
    )


def _triton(
    images: Tensor,
    theta: Tensor,
    brightness: Tensor,
    contrast: Tensor,
    out: Tensor,
    mean: float,
    std: float,
) -> None:
    from mflag.kernels.augment import augment

    parameters = (theta.contiguous(), brightness.contiguous(), contrast.contiguous())
    augment(_plain_rows(images), *parameters, out, mean, std)


def _plain_rows(images: Tensor) -> Tensor:
    """The kernels take any strides but that of neighbours in a row."""
    return images if images.stride(3) == 1 else images.contiguous()


_BACKENDS: dict[str, Implementation] = {
    "cuda": _native,
    "triton": _triton,
    "cpu": _native,
    "reference": augment_reference,
}


def _empty_result(images: Tensor, size: int, channels: int, dtype: torch.dtype) -> Tensor:
    shape = (images.shape[0], channels, size, size)
    layout = torch.channels_last
    return torch.empty(shape, dtype=dtype, device=images.device, memory_format=layout)


@torch.library.impl(_LIBRARY, "augment", "CompositeExplicitAutograd")
def _augment(
    images: Tensor,
    theta: Tensor,
    brightness: Tensor,
    contrast: Tensor,
    size: int,
    mean: float,
    std: float,
    channels: int,
    dtype: torch.dtype,
    backend: str | None,
) -> Tensor:
    _check_tensors(images, theta, brightness, contrast)
    _check_numbers(size, mean, std, channels, dtype)
    device = images.device.type
    name = choose_by_name(backend, device, names_on(device, _BACKENDS))
    out = _empty_result(images, size, channels, dtype)
    with torch.autocast(device, enabled=False):
        _BACKENDS[name](images, theta, brightness, contrast, out, mean, std)
    return out


@torch.library.register_fake("mflag::augment", lib=_LIBRARY)
def _fake(
    images: Tensor,
    theta: Tensor,
    brightness: Tensor,
    contrast: Tensor,
    size: int,
    mean: float,
    std: float,
    channels: int,
    dtype: torch.dtype,
    backend: str | None,
) -> Tensor:
    _check_tensors(images, theta, brightness, contrast)
    _check_numbers(size, mean, std, channels, dtype)
    return _empty_result(images, size, channels, dtype)
