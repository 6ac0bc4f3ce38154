"""``python -m mflag.report`` as people call it."""

import pytest

from mflag.config.report import ReportConfig
from mflag.report import main
from tests.evaluate_program import call_program
from tests.summary.written_runs import write, write_data


def call(*arguments):
    return call_program(arguments, ("report", main, ReportConfig))


@pytest.fixture
def runs(tmp_path):
    """A folder with prepared data alone: a page that is made at once."""
    write_data(tmp_path / "runs" / "data")
    return tmp_path / "runs"


def test_one_file_is_written_and_named(runs, capsys):
    out = runs / "report.html"
    assert call(f"runs={runs}", f"out={out}", "title=Our lab") == 0
    assert "<h1>Our lab</h1>" in out.read_text()
    assert f"report: {out}" in capsys.readouterr().out
    assert [path.name for path in runs.iterdir() if path.is_file()] == ["report.html"]


def test_several_folders_and_a_new_folder_for_the_page(runs, tmp_path):
    write_data(tmp_path / "more" / "data", "nih")
    out = tmp_path / "new" / "page.html"
    assert call(f"runs=[{runs},{tmp_path / 'more'}]", f"out={out}") == 0
    assert "NIH ChestX-ray14 (more/data)" in out.read_text()


def test_its_own_page_is_replaced_without_a_word(runs):
    out = runs / "report.html"
    assert call(f"runs={runs}", f"out={out}") == 0
    assert call(f"runs={runs}", f"out={out}", "title=Second") == 0
    assert "<h1>Second</h1>" in out.read_text()


def test_equal_calls_give_equal_pages(runs, tmp_path):
    out = tmp_path / "page.html"
    pages = []
    for _ in range(2):
        assert call(f"runs={runs}", f"out={out}") == 0
        pages.append(out.read_text())
    assert pages[0] == pages[1]


def test_another_file_is_not_replaced_unless_asked(runs, capsys):
    out = runs / "evaluation.html"
    out.write_text("<!doctype html> of another program")
    assert call(f"runs={runs}", f"out={out}") == 2
    assert "is no page of mflag.report" in capsys.readouterr().err
    assert out.read_text().endswith("another program")
    assert call(f"runs={runs}", f"out={out}", "overwrite=true") == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "no folders are given; add runs=DIR"),
        (["runs=[]"], "no folders are given"),
        (["runs=missing"], "runs names 'missing', which is missing"),
        (["runs=RUNS", "out=RUNS"], "which is a folder; give a file"),
        (["runs=RUNS", "out=/proc/x/report.html"], "cannot write into"),
        (["runs=RUNS", "embed_images=true"], "embed_images"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(runs, capsys, monkeypatch, words, message):
    monkeypatch.chdir(runs.parent)
    assert call(*[word.replace("RUNS", str(runs)) for word in words]) == 2
    printed = capsys.readouterr().err.splitlines()
    assert len(printed) == 1 and printed[0].startswith("error:") and message in printed[0]
    assert not list(runs.parent.rglob("*.html"))


def test_a_damaged_file_is_named_and_leaves_nothing(runs, capsys):
    write(runs / "evaluation" / "results.json", '{"format": 1, "rows": [')
    assert call(f"runs={runs}", f"out={runs / 'report.html'}") == 2
    assert "evaluation/results.json is cut short" in capsys.readouterr().err
    assert not (runs / "report.html").exists()


def test_pictures_of_real_studies_bring_a_warning(lab, tmp_path, capsys):
    words = [f"runs={lab / 'evaluations/nih'}", f"out={tmp_path / 'page.html'}"]
    assert call(*words) == 0
    assert capsys.readouterr().err == ""
    assert call(*words, "report.embed_images=true") == 0
    warning = capsys.readouterr().err
    assert warning.startswith("warning:") and "real studies (three)" in warning
