"""What is read of a prepared folder, and when."""

import numpy as np
import pytest

from mflag.data.manifest import LABEL_PREFIX, Prepared, open_prepared
from mflag.data.preparing import prepare
from mflag.errors import InputError


@pytest.fixture
def prepared(csv_dataset):
    config = csv_dataset(40, pneumonia=[1, 0, "", 1] * 10)
    prepare(config)
    return open_prepared(config.out)


def test_rows_and_counts_are_those_of_the_whole_table(prepared):
    for split, count in prepared.split_counts().items():
        expected = np.flatnonzero(prepared.manifest["split"].to_numpy() == split)
        assert np.array_equal(prepared.rows(split), expected)
        assert count == len(expected)


def test_labels_are_those_of_the_whole_table(prepared):
    expected = prepared.manifest[[LABEL_PREFIX + name for name in prepared.labels]]
    assert prepared.labels == ["pneumonia"] and prepared.attributes == []
    np.testing.assert_array_equal(prepared.values(LABEL_PREFIX), expected.to_numpy(np.float32))


def test_training_reads_no_whole_table(prepared, monkeypatch):
    def refuse(self):
        raise AssertionError("the whole table was read")

    monkeypatch.setattr(Prepared, "manifest", property(refuse))
    assert len(prepared) == 40 and len(prepared.rows("train")) > 0
    assert len(prepared.column("text")) == 40


def test_a_split_that_is_not_there_is_refused(prepared):
    with pytest.raises(InputError, match="split 'dev' of .* is empty; its splits"):
        prepared.rows("dev")


@pytest.mark.parametrize("harm", ["replaced", "removed"])
def test_a_table_that_changed_after_it_was_opened_is_refused(prepared, harm):
    table = prepared.path / "manifest.parquet"
    table.write_bytes(b"other") if harm == "replaced" else table.unlink()
    with pytest.raises(InputError, match="altered after prepare|cannot be read"):
        prepared.column("text")
