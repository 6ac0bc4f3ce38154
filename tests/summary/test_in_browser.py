"""The whole page in a headless Chromium; skipped where there is none."""

import itertools

import pytest

from mflag.summary.compose import compose_page
from mflag.summary.found import find
from tests.browser import chromium, need_chromium

pytestmark = pytest.mark.slow
WIDTHS = [390, 768, 1280]
TAB, ENTER = ("Tab", 9), ("Enter", 13)
# Elements whose text has too little contrast with the nearest background, by WCAG's formula.
FAINT = """
(() => {
  const parse = c => (c.match(/[\\d.]+/g) || []).map(Number);
  const channel = v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const ground = e => {
    for (; e; e = e.parentElement) {
      const c = parse(getComputedStyle(e).backgroundColor);
      if (c.length === 3 || c[3] === 1) return c;
    }
    return [255, 255, 255];
  };
  return [...document.querySelectorAll("body *")].filter(e => {
    const own = [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
    if (!own || e.closest("svg") || !e.getClientRects().length) return false;
    const [a, b] = [luminance(parse(getComputedStyle(e).color)), luminance(ground(e))];
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) < 4.5;
  }).map(e => `${e.tagName} ${e.textContent.slice(0, 40)}`);
})()
"""
BEYOND_THE_EDGE = """
[...document.querySelectorAll("body *")].filter(e =>
  e.getBoundingClientRect().right > innerWidth + 1 && !e.closest(".scroll") && !e.closest("svg")
  && !e.closest(".skip")
).map(e => `${e.tagName}.${e.className} ${e.textContent.slice(0, 40)}`)
"""


@pytest.fixture(scope="module")
def tab():
    need_chromium()
    with chromium() as page:
        yield page


@pytest.fixture(scope="module")
def file(lab, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(compose_page(find([lab]), "All of it", False))
    return path


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_goes_wrong_nothing_is_fetched_nothing_overflows(tab, file, width, dark):
    tab.open(file, width, dark)
    assert tab.problems == []
    assert tab.requests == [file.as_uri()]
    assert tab.run("innerWidth") == width
    assert tab.run("document.documentElement.scrollWidth") == width
    assert tab.run(BEYOND_THE_EDGE) == []


def test_every_picture_loads_and_every_table_and_plot_has_a_size(tab, file):
    tab.open(file, 1280)
    tab.run("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert tab.run("document.images.length") == 2
    assert tab.run("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    for kind in ("table", "figure svg"):
        found = f"[...document.querySelectorAll('main {kind}')]"
        assert tab.run(f"{found}.length") > 10
        assert tab.run(f"{found}.filter(e => e.getBoundingClientRect().height < 20).length") == 0


def test_the_document_that_the_browser_built_has_unique_ids_and_ordered_headings(tab, file):
    tab.open(file, 1280)
    ids = tab.run("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))
    levels = tab.run("[...document.querySelectorAll('h1,h2,h3,h4,h5,h6')].map(e => +e.tagName[1])")
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert tab.run("document.querySelectorAll('h6').length") == 0


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_all_text_has_enough_contrast(tab, file, dark):
    tab.open(file, 1280, dark)
    tab.run("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert tab.run(FAINT) == []


def test_the_first_tab_stop_leads_past_the_contents(tab, file):
    tab.open(file, 1280)
    tab.press(*TAB)
    assert tab.run("document.activeElement.textContent") == "Skip to the content"
    assert tab.run("document.activeElement.getBoundingClientRect().left") >= 0
    assert tab.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    tab.press(*ENTER)
    assert tab.run("location.hash") == "#main"


def test_a_wide_table_scrolls_by_keyboard_in_its_own_box(tab, file):
    tab.open(file, 390)
    wide = "[...document.querySelectorAll('.scroll')].find(e => e.scrollWidth > e.clientWidth)"
    assert tab.run(f"!!{wide}")
    tab.run(f"{wide}.focus()")
    assert tab.run(f"document.activeElement === {wide}")
    assert tab.run(f"getComputedStyle({wide}).overflowX") == "auto"


def test_the_contents_stay_beside_the_text_on_a_desk_and_above_it_on_a_phone(tab, file):
    top = "document.querySelector('.columns > nav').getBoundingClientRect()"
    main = "document.querySelector('main').getBoundingClientRect()"
    tab.open(file, 1280)
    assert tab.run(f"{top}.right <= {main}.left")
    tab.open(file, 390)
    assert tab.run(f"{top}.bottom <= {main}.top + 1")


def test_paper_shows_what_is_folded_and_no_contents(tab, file):
    tab.open(file, 800, dark=True, media="print")
    assert tab.run("getComputedStyle(document.querySelector('nav')).display") == "none"
    assert tab.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    folded = "[...document.querySelectorAll('details table')]"
    assert tab.run(f"{folded}.length") > 4
    assert tab.run(f"{folded}.every(t => t.getBoundingClientRect().height > 20)")


def test_clouds_of_every_analysis_turn(tab, file):
    tab.open(file, 1280)
    boxes = "[...document.querySelectorAll('[data-explore=clouds]')]"
    assert tab.run(f"{boxes}.length") == 2
    assert tab.run(f"{boxes}.every(b => !b.hidden && b.querySelectorAll('canvas').length > 1)")
