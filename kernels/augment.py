"""Augmentation: two launches; the first sums the resampled pixels, the second writes the result.

Contrast needs the mean of a whole image, and an image is more than a block holds (200 KB at 224²).
Keeping the resampled pixels between the launches would write and read 4 bytes a pixel beside the 12
of the result; resampling again reads 256² bytes an image once more, from the L2 cache: 2 MB for 32
images, where an A100 has 40 MB. So DRAM sees each source byte once and each result byte once.
"""

import torch
import triton
import triton.language as tl
from mflag.kernels.launch_table import augment_row
from torch import Tensor

MAX_SLOTS = 64  # partial sums of an image; one block reads them all


@triton.jit
def _fixed(pixels):
    """Fixed point with 32 bits of fraction, as csrc/shared/augment_map.h: adding is exact."""
    return tl.floor(pixels * 4294967296.0 + 0.5).to(tl.int64)


@triton.jit
def _axis(theta, is_usable, side, SIZE: tl.constexpr):
    """One row of theta: coordinate of output pixel (0, 0), its step by column and by row."""
    by_column = tl.where(is_usable, tl.load(theta), 0).to(tl.float64)
    by_row = tl.where(is_usable, tl.load(theta + 1), 0).to(tl.float64)
    shift = tl.where(is_usable, tl.load(theta + 2), 0).to(tl.float64)
    half = tl.cast(side, tl.float64) / 2  # a side of 1 is a Python integer here
    size = tl.full((), SIZE, tl.float64)
    first = (by_column + by_row) * (1 / size - 1) + shift
    start = (first + 1) * half - 0.5
    step = 2 / size
    return _fixed(start), _fixed(by_column * step * half), _fixed(by_row * step * half)


@triton.jit
def _is_usable(theta, H, W):
    """Whether no coordinate passes 2³⁰ pixels; NaN does."""
    side = tl.maximum(H, W).to(tl.float32)
    reach_x = tl.abs(tl.load(theta)) + tl.abs(tl.load(theta + 1)) + tl.abs(tl.load(theta + 2))
    reach_y = tl.abs(tl.load(theta + 3)) + tl.abs(tl.load(theta + 4)) + tl.abs(tl.load(theta + 5))
    return (reach_x * side < 1073741824.0) & (reach_y * side < 1073741824.0)


@triton.jit
def _resampled(source, theta, pixels, H, W, row_stride, SIZE: tl.constexpr):
    """Bilinear samples, 0 to 255, of output pixels of one image; 0 from SIZE² on."""
    is_usable = _is_usable(theta, H, W)
    x, x_column, x_row = _axis(theta, is_usable, W, SIZE)
    y, y_column, y_row = _axis(theta + 3, is_usable, H, SIZE)
    row, column = (pixels // SIZE).to(tl.int64), (pixels % SIZE).to(tl.int64)
    x += row * x_row + column * x_column
    y += row * y_row + column * y_column
    left, top = (x >> 32).to(tl.int32), (y >> 32).to(tl.int32)
    right_weight = (x.to(tl.uint32) >> 8).to(tl.float32) * (1.0 / 16777216)
    down_weight = (y.to(tl.uint32) >> 8).to(tl.float32) * (1.0 / 16777216)

    own = pixels < SIZE * SIZE
    has_left, has_right = own & (left >= 0) & (left < W), own & (left >= -1) & (left < W - 1)
    has_top, has_bottom = (top >= 0) & (top < H), (top >= -1) & (top < H - 1)
    above = source + top.to(tl.int64) * row_stride + left
    below = above + row_stride
    a = tl.load(above, has_left & has_top, 0).to(tl.float32)
    b = tl.load(above + 1, has_right & has_top, 0).to(tl.float32)
    c = tl.load(below, has_left & has_bottom, 0).to(tl.float32)
    d = tl.load(below + 1, has_right & has_bottom, 0).to(tl.float32)
    upper, lower = a + (b - a) * right_weight, c + (d - c) * right_weight
    value = upper + (lower - upper) * down_weight
    return tl.where(is_usable, value, float("nan"))


@triton.jit
def sum_kernel(
    images, theta, partial, H, W, image_stride, row_stride, slots, span,
    SIZE: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """The sum of the resampled pixels in one slot of one image."""
    image, slot = tl.program_id(0) // slots, tl.program_id(0) % slots
    source = images + image.to(tl.int64) * image_stride
    total = tl.zeros((TILE,), tl.float32)
    for tile in range(slot * span, slot * span + span):
        pixels = tile * TILE + tl.arange(0, TILE)
        value = _resampled(source, theta + 6 * image, pixels, H, W, row_stride, SIZE)
        total += value
    tl.store(partial + image * slots + slot, tl.sum(total, 0))


@triton.jit
def write_kernel(
    images, theta, brightness, contrast, partial, out, H, W, image_stride, row_stride, slots, tiles,
    scale, offset, SIZE: tl.constexpr, CHANNELS: tl.constexpr, TILE: tl.constexpr,
    SLOTS: tl.constexpr,
):  # fmt: skip
    """Contrast, brightness and normalisation of one tile of one image."""
    image, tile = tl.program_id(0) // tiles, tl.program_id(0) % tiles
    source = images + image.to(tl.int64) * image_stride
    pixels = tile * TILE + tl.arange(0, TILE)
    value = _resampled(source, theta + 6 * image, pixels, H, W, row_stride, SIZE)

    slot = tl.arange(0, SLOTS)
    sums = tl.load(partial + image * slots + slot, slot < slots, 0).to(tl.float64)
    grey = tl.sum(sums, 0) / (SIZE * SIZE)
    by_contrast = tl.load(contrast + image).to(tl.float64)
    by_brightness = tl.load(brightness + image).to(tl.float64) / 255
    factor = (by_contrast * by_brightness).to(tl.float32)
    shift = ((1 - by_contrast) * grey * by_brightness).to(tl.float32)
    value = value * factor + shift
    value = tl.where(value < 0, 0, value)  # NaN stays
    value = tl.where(value > 1, 1, value)
    value = value * scale + offset

    # Neighbouring threads store neighbouring addresses, which cross pixels: channels are innermost.
    first = out + image.to(tl.int64) * SIZE * SIZE * CHANNELS
    for part in tl.static_range(CHANNELS):
        element = part * TILE + tl.arange(0, TILE)
        repeated = value
        if CHANNELS > 1:
            repeated = tl.gather(value, element // CHANNELS, 0)
        place = tile.to(tl.int64) * TILE * CHANNELS + element
        mask = place < SIZE * SIZE * CHANNELS
        tl.store(first + place, repeated.to(out.dtype.element_ty), mask)


def augment(
    images: Tensor,
    theta: Tensor,
    brightness: Tensor,
    contrast: Tensor,
    out: Tensor,
    mean: float,
    std: float,
) -> None:
    """Write the augmented images into ``out``; see ``mflag.ops.augment_images``.

    Args:
        images: (B, 1, H, W) uint8 with unit stride along W.
        theta: (B, 2, 3) float32, contiguous.
        brightness: (B,) float32, contiguous.
        contrast: (B,) float32, contiguous.
        out: (B, channels, size, size) float32 or bfloat16 in ``channels_last``.
        mean: subtracted last.
        std: divided by last.
    """
    batch, _, height, width = images.shape
    channels, size = out.shape[1:3]
    device = images.device
    capability = torch.cuda.get_device_capability(device) if device.type == "cuda" else (8, 0)
    row = augment_row(capability[0] * 10 + capability[1])
    tiles = triton.cdiv(size * size, row.tile)
    span = triton.cdiv(tiles, MAX_SLOTS)
    slots = triton.cdiv(tiles, span)
    partial = torch.empty(batch, slots, dtype=torch.float32, device=device)
    strides = images.stride(0), images.stride(2)
    with torch.cuda.device_of(images):
        sum_kernel[(batch * slots,)](
            images, theta, partial, height, width, *strides, slots, span,
            SIZE=size, TILE=row.tile, num_warps=row.warps,
        )  # fmt: skip
        write_kernel[(batch * tiles,)](
            images, theta, brightness, contrast, partial, out, height, width, *strides, slots,
            tiles, 1 / std, -mean / std, SIZE=size, CHANNELS=channels, TILE=row.tile,
            SLOTS=MAX_SLOTS, num_warps=row.warps,
        )  # fmt: skip
