"""Every figure in the docs is that of its committed JSON."""

import pytest

from bench.tables import ROOT, TABLES, place, render


@pytest.mark.parametrize("name", TABLES)
def test_the_docs_show_the_committed_figures(name):
    document = (ROOT / TABLES[name][0]).read_text()
    assert place(document, name, render(name)) == document


def test_a_document_without_marks_is_refused():
    with pytest.raises(ValueError, match="begin demo"):
        place("no marks", "demo", "table")
