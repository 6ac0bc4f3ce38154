import pytest

from mflag.reporting.markup import Markup, tag
from mflag.reporting.page import Section, render_page
from mflag.reporting.parts import deeper, nested, own_ids, slug
from mflag.reporting.plots import lines_plot
from tests.page_outline import Outline


def inner(style="", script=""):
    plot = lines_plot("c", "Lines", {"a": [0.6, 0.4]}, {"x": "k", "y": "share"}).inline("x")
    body = Markup(f"<h3>Inside</h3>{tag('a', 'up', href='#top')}{plot}")
    return Section("top", "Part", body, style, script)


def test_the_same_report_twice_has_ids_of_its_own_and_links_that_lead_somewhere():
    parts = [nested(name, name, Markup(""), [inner()]) for name in ("one", "two")]
    outline = Outline(render_page("t", Markup(""), parts))
    assert len(outline.ids) == len(set(outline.ids)) > 10
    assert set(outline.targets) <= set(outline.ids)


def test_headings_of_a_part_are_one_level_deeper():
    part = nested("one", "One", Markup("<h3>intro</h3>"), [inner()])
    outline = Outline(render_page("t", Markup(""), [part]))
    assert [tuple(h) for h in outline.headings] == [
        (1, "t"), (2, "One"), (4, "intro"), (3, "Part"), (4, "Inside"),
    ]  # fmt: skip


def test_rules_and_scripts_of_parts_come_once():
    sections = [inner("b{color:red}", "go()"), inner("b{color:red}", "go()")]
    parts = [nested(name, name, Markup(""), sections) for name in ("one", "two")]
    page = render_page("t", Markup(""), parts)
    assert page.count("b{color:red}") == 1 and page.count("go()") == 1


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('<p id="a">', '<p id="x-a">'),
        ('<a href="#a">', '<a href="#x-a">'),
        ('<use href="#a">', '<use href="#x-a">'),
        ('<g style="clip-path: url(#b)">', '<g style="clip-path: url(#x-b)">'),
        ('<p data-id="a" title="#a">', '<p data-id="a" title="#a">'),
        ('<a href="https://example.org/#a">', '<a href="https://example.org/#a">'),
        ("text id=&quot;a&quot;", "text id=&quot;a&quot;"),
    ],
)  # fmt: skip
def test_only_ids_and_references_to_them_change(before, after):
    assert own_ids(Markup(before), "x") == after


def test_text_that_looks_like_a_heading_stays():
    assert deeper(tag("p", "<h3>no</h3>")) == "<p>&lt;h3&gt;no&lt;/h3&gt;</p>"


def test_slugs_are_readable_and_never_the_same():
    taken: set[str] = set()
    assert [slug(t, taken) for t in ("Wörter, 2 & mehr", "worter 2 mehr", "<>")] == [
        "worter-2-mehr", "worter-2-mehr-2", "part",
    ]  # fmt: skip
