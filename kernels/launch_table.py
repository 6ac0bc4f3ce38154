"""Block sizes and warps per architecture. Fixed: nothing is tuned at run time.

The rows compile without spills (tests/kernels); none of them has been timed on a GPU yet.
"""

from typing import NamedTuple


class OrthogonalityDual(NamedTuple):
    """One row for the two launches of the orthogonality loss.

    ``side``, ``depth``: a block of K, and the columns of one of its products.
    ``columns``, ``step``: a tile of the gradient, and the rows of one of its products.
    """

    side: int
    depth: int
    gram_warps: int
    columns: int
    step: int
    gradient_warps: int


# (compute capability, most rows of a batch): row
ORTHOGONALITY_DUAL = {
    (80, 128): OrthogonalityDual(64, 16, 8, 32, 16, 8),
    (80, 256): OrthogonalityDual(64, 16, 8, 16, 16, 8),
    (90, 128): OrthogonalityDual(64, 16, 8, 32, 16, 8),
    (90, 256): OrthogonalityDual(64, 16, 8, 16, 8, 8),
}


def orthogonality_dual_row(capability: int, rows: int, scales_rows: bool) -> OrthogonalityDual:
    """Return the row of ``capability`` (major · 10 + minor), or of the nearest older one."""
    known = {architecture for architecture, _ in ORTHOGONALITY_DUAL}
    older = [architecture for architecture in known if architecture <= capability]
    architecture = max(older, default=min(known))
    row = ORTHOGONALITY_DUAL[architecture, 128 if rows <= 128 else 256]
    # With factors for the rows, the full depth spills 8 bytes.
    return row._replace(depth=row.depth // 2) if scales_rows else row


class Lars(NamedTuple):
    """Warps of the two launches of a LARS step."""

    norms_warps: int
    update_warps: int


# compute capability: row
LARS = {80: Lars(8, 8), 90: Lars(8, 8)}


def lars_row(capability: int) -> Lars:
    """Return the row of ``capability`` (major · 10 + minor), or of the nearest older one."""
    older = [architecture for architecture in LARS if architecture <= capability]
    return LARS[max(older, default=min(LARS))]
