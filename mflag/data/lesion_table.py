"""Reading ``lesions.parquet`` of prepared data, checked row by row."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from mflag.data.manifest import IMAGE_SIZE, Prepared
from mflag.errors import InputError
from mflag.runtime.atomic_write import file_sha256

LESIONS = "lesions.parquet"
SIDES = ("x", "y", "width", "height")
_PIXELS = IMAGE_SIZE**2
# Published boxes are scaled to the stored grid, which rounds.
_TOLERANCE = 1e-3


def read_lesions(prepared: Prepared) -> pd.DataFrame:
    """Read all lesions.

    Args:
        prepared: the folder.

    Returns:
        ``row`` (of the manifest), ``id``, ``finding``; ``x``, ``y``, ``width``, ``height`` (float
        pixels of the 256 x 256 image); ``runs`` (int64, as ``mask_to_runs``; empty for a box).

    Raises:
        InputError: no table, an altered or damaged one, an unknown image, a box that leaves its
            image or has no area, runs that are malformed or leave it.
    """
    path = prepared.path / LESIONS
    if not path.is_file():
        dataset = prepared.info.get("dataset", "these data")
        raise InputError(
            f"{path} is missing: {dataset} came without masks or boxes; prepare a dataset with "
            "them, such as dataset=rsna, dataset=siim or dataset=phantom"
        )
    known = prepared.info["hashes"].get(LESIONS)
    if known is not None and file_sha256(path) != known:
        raise InputError(f"{path} was altered after prepare; run mflag.prepare again")
    try:
        table = pd.read_parquet(path, columns=["id", "finding", *SIDES, "runs"])
        table[list(SIDES)] = table[list(SIDES)].astype(np.float64)
        runs = [np.asarray([] if r is None else r, np.int64) for r in table["runs"]]
        table["runs"] = pd.Series(runs, table.index, dtype=object)
    except (OSError, ValueError, TypeError) as error:  # pyarrow's errors are ValueErrors
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path} cannot be read ({reason}); run mflag.prepare again") from error
    table["id"], table["finding"] = table["id"].astype(str), table["finding"].astype(str)
    table.insert(0, "row", _rows(prepared, table["id"]))
    _check_boxes(table, prepared)
    for image, runs in zip(table["id"], table["runs"], strict=True):
        reason = _wrong_runs(runs)
        if reason:
            raise InputError(
                f"a mask of {image!r} in {path} {reason}; correct the dataset's masks and prepare "
                "again"
            )
    return table


def _rows(prepared: Prepared, images: pd.Series) -> np.ndarray:
    ids = prepared.column("id").to_pandas().astype(str)
    rows = pd.Series(np.arange(len(ids)), ids).reindex(images)
    if rows.isna().any():
        stranger = images.iloc[int(rows.isna().to_numpy().argmax())]
        raise InputError(
            f"{prepared.path / LESIONS} has a lesion of {stranger!r}, which is not in the "
            "manifest; prepare again"
        )
    return rows.to_numpy(np.int64)


def _check_boxes(table: pd.DataFrame, prepared: Prepared) -> None:
    sides = table[list(SIDES)].to_numpy()
    far = sides[:, :2] + sides[:, 2:]
    near, limit = sides[:, :2], IMAGE_SIZE + _TOLERANCE
    is_inside = np.all((near >= -_TOLERANCE) & (far <= limit), axis=1)
    has_area = np.all(sides[:, 2:] > 0, axis=1)
    is_wrong = ~(is_inside & has_area)
    if is_wrong.any():
        first = int(is_wrong.argmax())
        values = ", ".join(f"{name} {v:g}" for name, v in zip(SIDES, sides[first], strict=True))
        what = "lies outside of its image" if has_area[first] else "has no area"
        raise InputError(
            f"a box of {table['id'].iloc[first]!r} in {prepared.path / LESIONS} {what} ({values} "
            f"on {IMAGE_SIZE} x {IMAGE_SIZE}; {int(is_wrong.sum())} such boxes); correct the "
            "dataset's boxes and prepare again"
        )


def _wrong_runs(runs: Sequence[int] | np.ndarray) -> str:
    """Why these runs are none of a 256 x 256 mask, or nothing."""
    values = np.asarray(runs)
    if len(values) % 2:
        return f"has {len(values)} numbers, which are no pairs of offset and length"
    offsets, lengths = values[::2], values[1::2]
    if (offsets < 0).any() or (lengths < 1).any():
        return "has a run with a negative offset or without length"
    end = int((offsets + lengths).max(initial=0))
    if end > _PIXELS:
        return f"ends at pixel {end:,} of {_PIXELS:,} ({IMAGE_SIZE} x {IMAGE_SIZE})"
    return ""
