"""Block sizes and warps per architecture. Fixed: nothing is tuned at run time.

The rows compile without spills (tests/kernels); none of them has been timed on a GPU yet.
"""

from collections.abc import Collection
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


class ColumnTiles(NamedTuple):
    """A tile of ``columns`` that walks down the rows in steps of ``step``."""

    columns: int
    step: int
    warps: int


class GramTiles(NamedTuple):
    """Square tiles of a Gram matrix, and from which side on only strips of its triangle are formed.

    ``strip`` is a multiple of ``side``. Strips of 1,024 rows fill a GPU once they are 2,048 long
    (128 of cuBLAS's tiles of 128 x 128); up to a side of 2,048 they take as many rounds of its
    multiprocessors as the whole square.
    """

    side: int
    warps: int
    strip: int
    strips_from: int


# (compute capability, most rows of a batch): row
ORTHOGONALITY_DUAL = {
    (80, 128): OrthogonalityDual(64, 16, 8, 32, 16, 8),
    (80, 256): OrthogonalityDual(64, 16, 8, 16, 16, 8),
    (90, 128): OrthogonalityDual(64, 16, 8, 32, 16, 8),
    (90, 256): OrthogonalityDual(64, 16, 8, 16, 8, 8),
}


def orthogonality_dual_row(capability: int, rows: int, scales_rows: bool) -> OrthogonalityDual:
    """Return the row of ``capability`` (major · 10 + minor), or of the nearest older one."""
    architecture = _nearest(capability, {known for known, _ in ORTHOGONALITY_DUAL})
    row = ORTHOGONALITY_DUAL[architecture, 128 if rows <= 128 else 256]
    # With factors for the rows, the full depth spills 8 bytes.
    depth = row.depth // 2 if scales_rows else row.depth
    least = _least_depth()
    return row._replace(depth=max(depth, least), step=max(row.step, least))


def _least_depth() -> int:
    """Return how deep a float32 product must be: 16 before Triton 3.8 (torch 2.11 has 3.6).

    Without triton, as for a prediction, the table stands as it is.
    """
    try:
        import triton
    except ImportError:
        return 8
    major, minor = triton.__version__.split(".")[:2]
    return 8 if (int(major), int(minor)) >= (3, 8) else 16


class Alignment(NamedTuple):
    """One row for the alignment loss: columns of a row that stay on chip, and warps a row."""

    width: int
    warps: int


def alignment_row(columns: int) -> Alignment:
    """Return the row for this many columns, the same on every GPU: 8 elements a thread."""
    width = min(4096, 1 << (columns - 1).bit_length())
    return Alignment(width, min(16, max(1, width // 256)))


COLUMN_TILES = {80: ColumnTiles(64, 16, 4), 90: ColumnTiles(64, 16, 4)}
GRAM_TILES = {80: GramTiles(32, 4, 1024, 3072), 90: GramTiles(32, 4, 1024, 3072)}


def column_tiles(capability: int) -> ColumnTiles:
    """Return the row of ``capability``, or of the nearest older one."""
    return COLUMN_TILES[_nearest(capability, COLUMN_TILES)]


def gram_tiles(capability: int) -> GramTiles:
    """Return the row of ``capability``, or of the nearest older one."""
    return GRAM_TILES[_nearest(capability, GRAM_TILES)]


class Augment(NamedTuple):
    """Pixels of a block, and its warps; both launches of the augmentation."""

    tile: int
    warps: int


AUGMENT = {80: Augment(1024, 8), 90: Augment(1024, 8)}  # by compute capability


def augment_row(capability: int) -> Augment:
    """Return the row of ``capability`` (major · 10 + minor), or of the nearest older one."""
    return AUGMENT[_nearest(capability, AUGMENT)]


class Lars(NamedTuple):
    """Warps of the two launches of a LARS step."""

    norms_warps: int
    update_warps: int


# compute capability: row
LARS = {80: Lars(8, 8), 90: Lars(8, 8)}


def lars_row(capability: int) -> Lars:
    """Return the row of ``capability`` (major · 10 + minor), or of the nearest older one."""
    return LARS[_nearest(capability, LARS)]


def _nearest(capability: int, known: Collection[int]) -> int:
    return max((older for older in known if older <= capability), default=min(known))
