"""Contrast by WCAG 2.2: 4.5 to 1 for text, 3 to 1 for marks of a plot."""

import re

import pytest

from mflag.reporting.style import DARK, LIGHT, PAGE_STYLE

THEMES = {"light": LIGHT, "dark": DARK}
TEXT = [
    ("ink", "paper"), ("ink", "soft"), ("quiet", "paper"), ("quiet", "soft"), ("accent", "paper"),
    ("accent", "soft"), ("note", "note-soft"), ("note", "paper"),
]  # fmt: skip
MARKS = [name for name in LIGHT if re.fullmatch(r"s\d|random|imagenet", name)]


def luminance(colour):
    channels = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_black_on_white_is_21_to_1():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize(("text", "ground"), TEXT)
def test_text_can_be_read(theme, text, ground):
    assert contrast(THEMES[theme][text], THEMES[theme][ground]) >= 4.5


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("mark", MARKS)
def test_marks_can_be_seen(theme, mark):
    assert contrast(THEMES[theme][mark], THEMES[theme]["paper"]) >= 3


def test_both_themes_name_the_same_colours_and_every_colour_used_is_named():
    used = set(re.findall(r"var\(--([\w-]+)\)", PAGE_STYLE))
    assert set(LIGHT) == set(DARK)
    assert used <= set(LIGHT)


def test_colours_of_a_theme_are_written_out():
    assert all(re.fullmatch(r"#[0-9a-f]{6}", c) for t in THEMES.values() for c in t.values())


def test_paper_is_always_light():
    assert "screen and (prefers-color-scheme:dark)" in PAGE_STYLE
