import re
from html.parser import HTMLParser

import pytest

from mflag.reporting.markup import Markup, html, join, tag
from mflag.reporting.page import DISCLAIMER, Section, paragraph, render_page
from mflag.reporting.plots import dots_plot, estimates_plot, lines_plot
from mflag.reporting.tables import estimate, number, percent, span, table

ATTACK = "<script>alert(1)</script>"
VOID = {"meta", "br", "img", "link", "input"}


class Balance(HTMLParser):
    """Every element that opens closes, in order."""

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, name, attrs):
        if name not in VOID:
            self.open.append(name)

    def handle_endtag(self, name):
        assert self.open.pop() == name


def make_page():
    point = {"x": 10, "value": 0.8, "ci_low": 0.7, "ci_high": 0.9, "draws": [0.75, 0.85]}
    plots = [
        estimates_plot("a", "Estimates", {"one & two": [point]}, {"x": "labels", "y": "AUC"}),
        dots_plot("b", "Dots", ["rotation $x"], {"random": [(0.5, None, None)]}, "R²"),
        lines_plot("c", "Lines", {"imagenet": [0.6, 0.4, 0.0]}, {"x": "k", "y": "share"}),
    ]
    body = join(table(ATTACK, ["name", "value"], [[ATTACK, 1]]), *[p.inline("x") for p in plots])
    return render_page(ATTACK, paragraph("lead"), [Section("all", "All", body)])


def test_page_escapes_a_script_tag():
    assert "<script" not in make_page()


def test_page_fetches_nothing():
    page = make_page()
    assert not re.search(r"https?:|//[a-z]|@import|url\((?!#)|<link|<script|\bsrc=", page)


def test_page_elements_are_balanced():
    balance = Balance()
    balance.feed(make_page())
    assert balance.open == []


def test_page_has_the_disclaimer_and_both_colour_schemes():
    page = make_page()
    assert DISCLAIMER in page
    assert "prefers-color-scheme:dark" in page


def test_ids_are_unique():
    found = re.findall(r'\bid="([^"]+)"', make_page())
    assert len(found) == len(set(found))


def test_plot_in_the_page_takes_its_colours_from_the_page():
    svg = lines_plot("c", "Lines", {"mflag": [0.6, 0.4]}, {"x": "k", "y": "share"}).inline("x")
    assert "var(--s0)" in svg
    assert "#0072b2" not in svg


def test_plot_is_named_for_screen_readers():
    svg = lines_plot("c", "Falling <lines>", {"a": [1.0]}, {"x": "k", "y": "s"}).inline("x")
    assert 'role="img" aria-label="Falling &lt;lines&gt;"' in svg


def test_equal_plots_have_equal_bytes():
    plots = [lines_plot("c", "L", {"a": [1.0]}, {"x": "k", "y": "s"}) for _ in range(2)]
    assert (plots[0].svg, plots[0].png) == (plots[1].svg, plots[1].png)


def test_table_names_its_rows_and_columns():
    text = table("scores", ["encoder", "AUC"], [["random", "0.5"]])
    assert '<th scope="col">AUC</th>' in text
    assert '<th scope="row">random</th><td>0.5</td>' in text


def test_attributes_are_escaped():
    assert tag("a", "x", title='"<') == '<a title="&quot;&lt;">x</a>'


def test_markup_is_not_escaped_twice():
    assert html(Markup("<b>")) == "<b>"


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (number(0.12345), "0.123"),
        (number(-0.5, 1, sign=True), "−0.5"),
        (number(None), "–"),
        (percent(0.01), "1\u00a0%"),
        (span(0.1, 0.2), "0.100–\u20600.200"),
        (span(-0.1, 0.2), "−0.100 to 0.200"),
        (span(0.1, 0.2, sign=True), "+0.100 to +0.200"),
        (span(None, None), "–"),
        (estimate(None, None, None), "–"),
    ],
)
def test_numbers_are_written_as_people_read_them(written, expected):
    assert written == expected
