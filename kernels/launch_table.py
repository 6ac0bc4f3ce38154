"""Block sizes and warps per architecture. Fixed: nothing is tuned at run time.

The rows compile without spills (tests/kernels); no row has been timed on a GPU yet.
"""

from typing import NamedTuple


class OrthogonalityDual(NamedTuple):
    """One row for the two launches of the orthogonality loss.

    ``side``, ``depth``: a block of K, and the columns of one of its products. ``columns``, ``step``:
    a tile of the gradient, and the rows of one of its products.
    """

    side: int
    depth: int
    gram_warps: int
    columns: int
    step: int
    gradient_warps: int


ORTHOGONALITY_DUAL = {  # compute capability: row
    80: OrthogonalityDual(64, 32, 4, 32, 16, 8),
    90: OrthogonalityDual(64, 32, 4, 32, 16, 8),
}


def row_for(table: dict[int, OrthogonalityDual], capability: int) -> OrthogonalityDual:
    """Return the row of ``capability`` (major · 10 + minor), or that of the nearest older one."""
    older = [known for known in table if known <= capability]
    return table[max(older, default=min(table))]
