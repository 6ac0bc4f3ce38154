import pytest

from bench.manifest_folder import make_folder
from bench.manifest_start import prepare, start
from mflag.config.text import TextConfig
from mflag.data.manifest import open_prepared
from mflag.data.text_table import build_text_table

ROWS = 400


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("composed") / "rows"
    make_folder(path, ROWS)
    return path


def test_the_composed_folder_opens_and_its_text_table_is_found(folder, capsys):
    prepared = open_prepared(folder)
    table = build_text_table(prepared, TextConfig())
    assert len(prepared) == len(table.rows) == ROWS
    assert "kept from an earlier run" in capsys.readouterr().out
    assert prepared.manifest["text"].nunique() == ROWS
    assert (folder / "images.u8").stat().st_blocks == 0


def test_a_start_is_timed_part_by_part(folder):
    found = start(folder, 0)
    parts = {k: v for k, v in found["start_up_s"].items() if k not in ("total", "processor time")}
    assert {"open the folder", "text table", "first batch"} < set(parts)
    assert sum(parts.values()) == pytest.approx(found["start_up_s"]["total"])
    assert found["peak_of_start_mib"] > 0 and found["feeds"] == {}


def test_prepare_is_measured_without_any_reader(tmp_path):
    assert prepare(str(tmp_path), 64)["us_a_row"] > 0
    assert list(tmp_path.iterdir()) == []
