"""What the LARS kernels share: the table of tensors, chunks, sums of squares, the trust ratio."""

import triton
import triton.language as tl

LANES = tl.constexpr(256)
SEPARATE, DECAYED, MOMENTUM = (tl.constexpr(code) for code in range(3))
# The table: five numbers as float64, then one row a tensor.
HEADER, WIDTH = tl.constexpr(5), tl.constexpr(8)


@triton.jit
def number(table, index):
    """A number of the table's header."""
    return tl.load(table + index).to(tl.float64, bitcast=True)


@triton.jit
def place_of(table, chunk_rows, chunk, CHUNK: tl.constexpr):
    """The row of a chunk's tensor in the table, where the chunk starts, and the values left."""
    row = tl.load(chunk_rows + chunk)
    entry = table + HEADER + row * WIDTH
    start = (chunk - tl.load(entry + 5)) * CHUNK
    return row, entry, start, tl.load(entry + 4) - start


@triton.jit
def pointer_to(address, start, TYPE: tl.constexpr, IS_ALIGNED: tl.constexpr):
    """Where a chunk starts; IS_ALIGNED: the tensor lies at a multiple of 16 bytes."""
    pointer = address.to(tl.pointer_type(TYPE))
    if IS_ALIGNED:
        pointer = tl.multiple_of(pointer, 16)
    return pointer + start


@triton.jit
def load_chunk(pointer, left, COMPUTE: tl.constexpr, CHUNK: tl.constexpr):
    """A chunk; without a mask where it is whole, so that loads take 16 bytes."""
    i = tl.arange(0, CHUNK)
    if left >= CHUNK:
        value = tl.load(pointer + i)
    else:
        value = tl.load(pointer + i, i < left, 0)
    return value.to(COMPUTE)


@triton.jit
def store_chunk(pointer, value, left, CHUNK: tl.constexpr):
    """Write a chunk, up to the tensor's end."""
    i = tl.arange(0, CHUNK)
    if left >= CHUNK:
        tl.store(pointer + i, value)
    else:
        tl.store(pointer + i, value, i < left)


@triton.jit
def grad_factor(grad_scale, MAXIMIZE: tl.constexpr):
    """What a gradient is multiplied by, in float64."""
    factor = tl.full((), 1, tl.float64)
    if grad_scale is not None:
        factor = factor / tl.load(grad_scale).to(tl.float64)
    return -factor if MAXIMIZE else factor


@triton.jit
def squares(value):
    """Σ value², in float64: neither overflow nor the order counts."""
    wide = value.to(tl.float64)
    return tl.sum(wide * wide, 0)


@triton.jit
def total_of(partial, first, count):
    """The sum of every second value of a tensor's partial sums, in a fixed order."""
    lane = tl.arange(0, LANES)
    total = tl.zeros((LANES,), tl.float64)
    for start in range(0, count, LANES):
        place = partial + 2 * (first + start + lane)
        total += tl.load(place, start + lane < count, 0, cache_modifier=".cg")
    return tl.sum(total, 0)


@triton.jit
def trust_ratio(
    table, sum_w, sum_x, lr,
    NORM: tl.constexpr, ZERO_IS_PLAIN: tl.constexpr,
    TRUST_CLIP: tl.constexpr, CLIP_ZERO_NORM: tl.constexpr,
):  # fmt: skip
    """q, 1 where a norm is zero by the variant's own test; and that test."""
    w_norm, x_norm = tl.sqrt(sum_w), tl.sqrt(sum_x)
    divisor = x_norm + number(table, 4)
    if NORM == SEPARATE:
        divisor += number(table, 2) * w_norm
    if ZERO_IS_PLAIN:
        is_zero = (w_norm == 0) | (x_norm == 0)
    else:
        is_zero = ((w_norm > 0) & (x_norm > 0)) == 0  # so also for NaN
    q = number(table, 3) * w_norm / divisor
    q = tl.where(is_zero, 1, q)
    if TRUST_CLIP:
        clipped = q / lr
        clipped = tl.where(clipped > 1, 1, clipped)  # NaN stays
        q = clipped if CLIP_ZERO_NORM and not ZERO_IS_PLAIN else tl.where(is_zero, q, clipped)
    return q, is_zero
