import json

import numpy as np
import pandas as pd
import pytest

from mflag.data.lesion_table import read_lesions
from mflag.data.lesions import box_lesion, lesion_table, mask_lesion
from mflag.data.manifest import FORMAT, open_prepared
from mflag.errors import InputError
from mflag.runtime.atomic_write import file_sha256

SQUARE = np.zeros((256, 256), bool)
SQUARE[3:5, 7:9] = True


@pytest.fixture
def make_folder(tmp_path):
    """Three black images a, b, c and a table of lesions; ``known`` keeps its hash."""

    def make(lesions, known=False):
        manifest = pd.DataFrame({"id": list("abc"), "patient": list("abc"), "split": "test"})
        manifest.assign(text="").to_parquet(tmp_path / "manifest.parquet")
        (tmp_path / "images.u8").write_bytes(bytes(3 * 256 * 256))
        if lesions is not None:
            lesions.to_parquet(tmp_path / "lesions.parquet")
        names = ["manifest.parquet", "images.u8", *["lesions.parquet"] * known]
        hashes = {name: file_sha256(tmp_path / name) for name in names}
        info = {"format": FORMAT, "dataset": "csv", "count": 3, "image_size": 256, "hashes": hashes}
        (tmp_path / "prepared.json").write_text(json.dumps(info))
        return open_prepared(tmp_path)

    return make


def one(**changes):
    return lesion_table([mask_lesion("b", "spot", SQUARE)]).assign(**changes)


def test_rows_of_the_manifest_runs_and_boxes_come_back(make_folder):
    rows = [box_lesion("c", "box", [1, 2, 3.5, 4], (256, 256)), mask_lesion("a", "spot", SQUARE)]
    table = read_lesions(make_folder(lesion_table(rows), known=True))
    assert table["row"].tolist() == [2, 0]
    assert table[["x", "y", "width", "height"]].iloc[0].tolist() == [1, 2, 3.5, 4]
    assert [r.tolist() for r in table["runs"]] == [[], [3 * 256 + 7, 2, 4 * 256 + 7, 2]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": "stranger"}, "a lesion of 'stranger', which is not in the manifest"),
        ({"width": -3.0}, "a box of 'b' .* has no area .*width -3"),
        ({"height": np.nan}, "a box of 'b' .* has no area"),
        ({"x": 255.0}, "a box of 'b' .* lies outside of its image .*x 255"),
        ({"y": -1.0}, "lies outside of its image"),
        ({"x": "left"}, "cannot be read"),
        ({"runs": [[1, 2, 3]]}, "a mask of 'b' .* has 3 numbers"),
        ({"runs": [[-5, 2]]}, "negative offset"),
        ({"runs": [[5, 0]]}, "without length"),
        ({"runs": [[65530, 100]]}, "ends at pixel 65,630 of 65,536"),
    ],
)
def test_damaged_lesion_is_refused_by_name(make_folder, changes, message):
    with pytest.raises(InputError, match=message):
        read_lesions(make_folder(one(**changes)))


def test_folder_without_lesions_is_refused(make_folder):
    with pytest.raises(InputError, match="csv came without masks or boxes"):
        read_lesions(make_folder(None))


def test_column_that_is_missing_is_refused(make_folder):
    with pytest.raises(InputError, match="cannot be read.*runs"):
        read_lesions(make_folder(one().drop(columns="runs")))


def test_table_that_was_altered_is_refused(make_folder):
    prepared = make_folder(one(), known=True)
    one(finding="other").to_parquet(prepared.path / "lesions.parquet")
    with pytest.raises(InputError, match="was altered after prepare"):
        read_lesions(prepared)
