"""Figures of the paper, against sums and cells that were read off a second time."""

import pytest

from mflag.data.datasets import READERS
from mflag.downstream import TASKS
from mflag.summary.paper_tables import (
    ALL_EMPTY_DICE,
    COLUMNS,
    DENSE,
    LOSSES,
    TABLES,
    UNFROZEN,
    column_of,
    table_of,
)

# Sum over the rows of a column, by fraction.
SUMS = {
    "mimic": (394.6, 432.2, 478.1),
    "chexpert": (380.2, 423.5, 466.3),
    "nih": (359.5, 415.6, 465.3),
    "siim": (183.8, 284.9, 370.7),
    "rsna": (284.6, 324.6, 358.6),
    "rsna_map": (51.0, 78.0, 117.6),
}


@pytest.mark.parametrize("key", SUMS)
def test_columns_of_tables_2_and_3_add_up(key):
    rows = table_of(key).rows
    sums = [round(sum(row.cells[key][k] for row in rows), 1) for k in range(3)]
    assert sums == list(SUMS[key])


def test_tables_4_and_5_add_up():
    sums = {t.number: round(sum(c[0] for r in t.rows for c in r.cells.values()), 1)
            for t in (LOSSES, UNFROZEN)}  # fmt: skip
    assert sums == {4: 768.4, 5: 1772.7}


@pytest.mark.parametrize("table", TABLES, ids=lambda table: f"table {table.number}")
def test_every_row_has_every_cell(table):
    for row in table.rows:
        assert set(row.cells) == set(table.columns)
        assert {len(cells) for cells in row.cells.values()} == {len(table.fractions)}
        assert all(0 < value < 100 for cells in row.cells.values() for value in cells)


@pytest.mark.parametrize("table", [LOSSES, UNFROZEN], ids=["table 4", "table 5"])
def test_the_whole_method_has_equal_figures_in_all_tables(table):
    ours = table.rows[-1]
    for key, (value,) in ours.cells.items():
        assert value == table_of(key).rows[-1].cells[key][0]


def test_bold_cells_are_the_best_of_their_column_and_one_row_has_ties():
    ties = 0
    for table in TABLES[:2]:
        for key in table.columns:
            for k in range(3):
                bold = [r.cells[key][k] for r in table.rows if k in r.bold.get(key, ())]
                best = max(r.cells[key][k] for r in table.rows)
                assert bold == [best]
                ties += sum(r.cells[key][k] == best for r in table.rows) > 1
    assert ties == 2


def test_every_dice_is_below_that_of_a_predictor_that_marks_nothing():
    for key in ("siim", "rsna"):
        assert max(max(row.cells[key]) for row in DENSE.rows) < ALL_EMPTY_DICE[key]


def test_columns_name_datasets_that_can_be_prepared():
    assert {column.dataset for column in COLUMNS.values()} <= set(READERS)


def test_metrics_of_columns_are_those_of_the_tasks():
    assert {c.task for c in COLUMNS.values()} == {"classification", "segmentation", "detection"}
    assert "classification" in TASKS


@pytest.mark.parametrize(
    ("task", "dataset", "key"),
    [
        ("classification", "nih", "nih"),
        ("segmentation", "rsna", "rsna"),
        ("detection", "rsna", "rsna_map"),
        ("classification", "rsna", None),
        ("classification", "phantom", None),
        ("segmentation", "csv", None),
    ],
)
def test_only_the_same_images_and_task_have_a_column(task, dataset, key):
    assert column_of(task, dataset) == key
