"""Every rule of the section parser, on invented reports."""

import pytest

from mflag.data.report_names import MISPLACED, SLICES
from mflag.data.report_sections import (
    check_sections,
    compose_text,
    count_words,
    report_sections,
    section_name,
    split_report,
)
from mflag.errors import InputError

REPORT = """\
                                 FINAL REPORT
 EXAMINATION:  CHEST (PA AND LAT)

 INDICATION:  ___ year old with cough.

 FINDINGS:  The heart is normal
 in size.  No effusion.

 IMPRESSION:  No acute
 disease.
"""


def test_headers_cut_a_report_into_stripped_sections():
    assert report_sections(REPORT) == {
        "preamble": "FINAL REPORT",
        "examination": "CHEST (PA AND LAT)",
        "indication": "___ year old with cough.",
        "findings": "The heart is normal\n in size.  No effusion.",
        "impression": "No acute\n disease.",
    }


def test_a_report_without_headers_is_one_section():
    assert split_report("Lungs are clear. Heart: normal.") == [
        ("full report", "Lungs are clear. Heart: normal.")
    ]


@pytest.mark.parametrize(
    "line",
    ["FINDINGS: x", " Findings: x", " FINDINGS x", " FINDINGS:x", " F1NDINGS: x"],
    ids=["no blank", "lower case", "no colon", "nothing after colon", "digit"],
)
def test_other_lines_are_no_headers(line):
    assert [name for name, _ in split_report(f"Title\n{line}\nmore")] == ["full report"]


def test_what_looks_like_a_header_on_the_same_line_is_text():
    assert report_sections("\n IMPRESSION: see\n NOTE: later") == {
        "preamble": "", "impression": "see", "note": "later",
    }  # fmt: skip
    # A header that ends its line hides the next line's: the published parser does so too.
    hidden = report_sections("\n EXAMINATION:\n FINDINGS: clear\n IMPRESSION: none")
    assert hidden == {"preamble": "", "examination": "FINDINGS: clear", "impression": "none"}


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("CONCLUSION", "impression"),
        ("FINDINGS AND IMPRESSION", "impression"),
        ("FINDINGS/IMPRESSION", "impression"),
        ("IMPERSSION", "impression"),
        ("NDICATION", "impression"),
        ("IDICATION", "indication"),
        ("CHEST, TWO VIEWS", "findings"),
        ("FINDNINGS", "findings"),
        ("REFERENCE FINDINGS", "findings"),
        ("REASON FOR EXAM", "indication"),
        ("CLINICAL INFORMATION", "history"),
        ("PFI", "history"),
        ("COMPARISON FILM", "comparison"),
        ("REFERENCE EXAM", "comparison"),
        ("RECOMMENDATION(S)", "recommendations"),
        ("WETREAD", "wet read"),
        (" FINDINGS ", "findings"),
    ],
)
def test_headers_and_their_misspellings_have_a_name(header, name):
    assert section_name(header) == name


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("FINAL IMPRESSION", "impression"),
        ("FINDINGS WITH IMPRESSION", "impression"),
        ("PORTABLE CHEST FINDINGS", "findings"),
        ("PAST HISTORY AND COMPARISON", "history"),
        ("OLDER COMPARISON", "comparison"),
        ("FIRST ADDENDUM", "addendum"),
    ],
)
def test_a_name_inside_an_unknown_header_counts_in_a_fixed_order(header, name):
    assert section_name(header) == name


@pytest.mark.parametrize(
    "header",
    [
        "CHEST, PA AND LAT",
        "UPRIGHT AP VIEW",
        "PORTABLE SEMI-ERECT FILM",
        "LEFT RIBS",
        "BONE WINDOW",
    ],
)
def test_a_header_that_names_a_view_stands_above_findings(header):
    assert section_name(header) == "findings"


def test_an_unknown_header_stays_itself():
    assert section_name("NURSE PHONED") == "nurse phoned"


def test_the_last_of_equal_sections_wins():
    assert report_sections("\n IMPRESSION: old\n IMPRESSION: new\n")["impression"] == "new"


@pytest.mark.parametrize("name", ["IMPRESSION", "FINDINGS"])
def test_empty_main_sections_are_dropped(name):
    assert set(report_sections(f"\n {name}:  \n \n HISTORY: cough")) == {"preamble", "history"}
    filled = report_sections(f"\n {name}: seen\n \n {name}: \n")
    assert filled == {"preamble": "", name.lower(): "seen"}


def test_the_last_paragraph_is_what_follows_the_last_sections_first_blank_line():
    report = "\n HISTORY: cough\n \n INDICATION: fever\n \n Lungs clear.\n \n Heart normal."
    found = report_sections(report)
    assert found["indication"] == "fever"
    assert found["last_paragraph"] == "Lungs clear.\n \n Heart normal."
    assert report_sections("Title\n \n Clear.")["last_paragraph"] == "Clear."


def test_there_is_no_last_paragraph_beside_a_main_section_or_without_a_blank_line():
    assert "last_paragraph" not in report_sections("\n FINDINGS: a\n \n HISTORY: b\n \n c")
    assert "last_paragraph" not in report_sections("\n HISTORY: b\n c")


def test_54_studies_have_rules_of_their_own():
    assert (len(MISPLACED), len(SLICES)) == (23, 31)
    assert sum(span == (0, 0) for span in SLICES.values()) == 8
    assert not set(MISPLACED) & set(SLICES)
    assert all(study.isdigit() and len(study) == 8 for study in [*MISPLACED, *SLICES])


def test_a_misplaced_conclusion_becomes_the_impression():
    report = "\n FINDINGS: left\n RECOMMENDATION(S): The conclusion.\n"
    assert report_sections(report, "50913680") == {"impression": "The conclusion."}
    assert report_sections(report, "50000001")["findings"] == "left"


def test_a_misplaced_section_that_is_not_there_leaves_the_usual_rules():
    assert report_sections("\n IMPRESSION: usual", "50913680")["impression"] == "usual"


def test_a_slice_becomes_the_impression():
    start, stop = SLICES["50525523"]
    report = "x" * start + "y" * (stop - start) + "z" * 50
    assert report_sections(report, "50525523") == {"impression": "y" * 148}
    assert report_sections(report, "58235663") == {}
    assert report_sections("short", "50525523") == {}


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        (["impression", "findings"], "No acute disease. The heart is normal in size. No effusion."),
        (["findings", "impression"], "The heart is normal in size. No effusion. No acute disease."),
        (["impression"], "No acute disease."),
        (["comparison", "indication"], "___ year old with cough."),
        (["comparison"], ""),
        ([], ""),
    ],
)
def test_the_text_is_the_wanted_sections_on_one_line(wanted, text):
    assert compose_text(report_sections(REPORT), wanted) == text


def test_the_last_paragraph_stands_in_for_missing_main_sections_only():
    sections = report_sections("\n HISTORY: cough\n \n Lungs\n clear.")
    assert compose_text(sections, ["impression", "findings"]) == "Lungs clear."
    assert compose_text(sections, ["comparison"]) == ""
    assert compose_text(report_sections("\n FINDINGS: a b"), ["impression"]) == ""


@pytest.mark.parametrize(
    ("text", "words"), [("", 0), ("___ / -- .", 0), ("No acute disease.", 3), ("2.5 cm ___", 3)]
)
def test_words_are_runs_of_letters_and_digits(text, words):
    assert count_words(text) == words


@pytest.mark.parametrize(
    "report",
    ["", "\n", "\n A:", "A" * 500_000, "\n A: " * 100_000, "\n " + "A " * 200_000,
     "\n \n" * 100_000, "\0\ufffd" * 1000],
    ids=["empty", "line break", "bare header", "no line break", "headers only", "endless header",
         "blank lines", "control characters"],
)  # fmt: skip
def test_hostile_reports_only_give_sections(report):
    sections = report_sections(report)
    assert sum(map(len, sections.values())) <= len(report)
    assert "\n" not in compose_text(sections, ["impression", "findings"])


def test_a_section_name_that_no_report_has_is_refused():
    check_sections(["impression", "last_paragraph"])
    with pytest.raises(InputError, match="dataset.sections has 'impresions'; choose from"):
        check_sections(["impresions"])
