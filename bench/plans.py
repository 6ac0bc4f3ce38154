"""The launches of our GPU kernels and of the peers, with what each moves and computes; float32."""

from collections.abc import Iterator
from math import ceil
from typing import NamedTuple

from bench.prediction import Step
from bench.workloads.alignment import SHAPES as ALIGNMENT_SHAPES
from bench.workloads.augment import BATCH, SIDE, SIZE
from bench.workloads.barlow_twins import SHAPES as TWO_VIEW_SHAPES
from bench.workloads.orthogonality import SHAPES
from bench.workloads.resnet50 import PARAMETER_SHAPES

MOST_SLOTS = 32  # of columns, in the first launch at B <= 256
HALVED_FROM = 1024  # rows of a Gram matrix in CUDA: products of its lower triangle alone
STRIP, STRIPS_FROM = 1024, 3072  # long Gram matrices: strips of the lower triangle alone


class Plan(NamedTuple):
    """The launches of one side; ``launches`` when a step stands for more than one."""

    steps: list[Step]
    launches: int | None = None


class Work(NamedTuple):
    """One op and shape: ours, and peers by name."""

    op: str
    shape: str
    ours: Plan
    peers: dict[str, Plan]


def works(capability: int) -> Iterator[Work]:
    """Yield every op and shape as it runs on an architecture."""
    for rows, columns in SHAPES["cuda"]:
        small = rows <= 256 and rows < columns
        ours = _dual(rows, columns, capability) if small else _large(rows, columns)
        yield Work("orthogonality", f"{rows}x{columns}", ours, _published(rows, columns))
    for rows, columns in TWO_VIEW_SHAPES:
        one = _large(rows, columns).steps
        yield Work("barlow_twins", f"{rows}x{columns}", _two_views(rows, columns), {})
        # Beside two covariances: difference, variances and their gradients, eager.
        eager = [Step("eager passes", 4 * 2 * rows * columns) for _ in range(12)]
        yield Work("vicreg", f"{rows}x{columns}", Plan([*one, *one, *eager]), {})
    for rows, columns in ALIGNMENT_SHAPES:
        step = Step("alignment", 12 * rows * columns)  # far below the FLOPs of any GPU
        yield Work("alignment", f"{rows}x{columns}", Plan([step]), {})
    yield _lars()
    grey, out = BATCH * SIDE**2, 4 * 3 * BATCH * SIZE**2
    yield Work(
        "augment",
        f"{BATCH}x{SIDE}-{SIZE}",
        Plan([Step("mean", grey), Step("write", grey + out)]),
        {},
    )


def _dual(rows: int, columns: int, capability: int) -> Plan:
    """Two launches; the second holds all rows of a tile of columns."""
    from mflag.kernels.launch_table import orthogonality_dual_row

    row = orthogonality_dual_row(capability, rows, False)
    side, values = row.side, rows * columns
    blocks = ceil(rows / side)
    pairs = blocks * (blocks + 1) // 2
    span = ceil(ceil(columns / MOST_SLOTS) / side) * side
    slots, tiles = ceil(columns / span), ceil(columns / row.columns)
    padded = max(16, 1 << (rows - 1).bit_length())
    return Plan(
        [
            Step("K", 4 * values + 8 * slots * pairs * side**2, 2 * pairs * side**2 * columns,
                 "own", "gram_kernel", pairs * slots),
            Step("gradient", 8 * values + 4 * rows**2, 2 * padded**2 * columns,
                 "own", "gradient_kernel", tiles),
        ]
    )  # fmt: skip


def _large(rows: int, columns: int) -> Plan:
    """torch's products between fused passes; the Gram matrix of the shorter side."""
    values, least = rows * columns, min(rows, columns)
    product = 2 * least * values
    strips = ceil(least / STRIP) if least >= STRIPS_FROM else 1
    triangle = (strips + 1) / (2 * strips)
    return Plan(
        [
            Step("statistics", 4 * values),
            Step("Gram matrix", 4 * values + 4 * least**2, triangle * product),
            Step("weights", 8 * least**2),
            Step("loss", 8 * least),
            Step("product", 8 * values + 4 * least**2, product),
            Step("backward", 12 * values),
        ]
    )


def _two_views(rows: int, columns: int) -> Plan:
    """Three passes around torch's products: two Gram matrices and two, or xᵀy and two."""
    values, least = rows * columns, min(rows, columns)
    product, square = 2 * least * values, 4 * least**2
    grams = 2 if rows < columns else 1
    halvings = min(2, rows // HALVED_FROM) if rows < columns else 0  # csrc/cuda/products.h
    share, calls = (1 + 2**-halvings) / 2, 2 ** (halvings + 1) - 1
    return Plan(
        [
            Step("statistics", 16 * values),
            Step("Gram matrices", 8 * values + grams * square, share * grams * product),
            Step("sums", grams * square),
            Step("products", 2 * (8 * values + square), 2 * product),
            Step("backward", 24 * values),
        ],
        5 + grams * calls,
    )


def _published(rows: int, columns: int) -> dict[str, Plan]:
    """Three products, and passes over N × N: 17 streams eager, 6 when compiled."""
    flops, square = 6 * rows * columns**2, 4 * columns**2
    products = Step("three products", 3 * (8 * rows * columns + square), flops)
    return {
        "published": Plan([products, Step("eager passes", 17 * square)], 25),
        "published_compiled": Plan([products, Step("fused passes", 6 * square)], 8),
    }


def _lars() -> Work:
    values = 0
    for shape in PARAMETER_SHAPES:
        size = 1
        for length in shape:
            size *= length
        values += size
    stream, tensors = 4 * values, len(PARAMETER_SHAPES)
    peers = {
        "torch_sgd_fused": Plan([Step("step", 5 * stream)], 4),
        "timm_lars": Plan([Step("passes", 15 * stream)], 12 * tensors),
    }
    return Work(
        "lars", "resnet50", Plan([Step("norms", 2 * stream), Step("update", 5 * stream)]), peers
    )
