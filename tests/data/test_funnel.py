"""The funnel's file and table."""

from io import StringIO

import pytest
from rich.console import Console

from mflag.data.funnel import Funnel, Step


@pytest.fixture
def funnel() -> Funnel:
    funnel = Funnel()
    funnel.add("images", 377_110, 377_110)
    funnel.add("frontal", 243_000, 243_334, "LATERAL 134,110")
    funnel.add("readable", 242_999)
    return funnel


def shown(funnel: Funnel) -> str:
    page = StringIO()
    Console(file=page, width=120).print(funnel.as_table())
    return page.getvalue()


def test_every_step_drops_what_the_one_before_kept_and_it_does_not(funnel):
    assert [(step.kept, step.dropped) for step in funnel.steps] == [
        (377_110, 0), (243_000, 134_110), (242_999, 1),
    ]  # fmt: skip


def test_the_file_gives_the_funnel_back(funnel):
    content = funnel.as_json()
    assert content["format"] == 2 and content["steps"][2]["published"] is None
    assert Funnel.from_json(content) == funnel


def test_a_file_of_format_1_is_still_read():
    old = {"format": 1, "steps": [{"name": "images", "kept": 3, "dropped": 0}]}
    assert Funnel.from_json(old).steps == [Step("images", 3, 0, None, "")]


def test_published_numbers_stand_beside_ours(funnel):
    table = shown(funnel)
    assert "published" in table and "243,334" in table and "LATERAL 134,110" in table


def test_without_published_numbers_there_is_no_column_for_them():
    funnel = Funnel()
    funnel.add("rows", 3)
    assert "published" not in shown(funnel) and "note" not in shown(funnel)
