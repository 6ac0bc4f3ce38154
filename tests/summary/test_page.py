"""The whole page of a folder with hostile names, without a browser."""

import itertools
import json
import re

import pytest

from mflag.errors import InputError
from mflag.reporting.page import DISCLAIMER
from mflag.summary.compose import compose_page, pictures_of_real_studies
from mflag.summary.found import find
from tests.page_outline import Outline
from tests.summary.written_runs import (
    ATTACK,
    copy_evaluation,
    write,
    write_ablation,
    write_data,
    write_log,
)


def page_of(*folders, embed_images=False):
    return compose_page(find(list(folders)), "All of it", embed_images)


@pytest.fixture(scope="module")
def page(lab):
    return page_of(lab)


@pytest.fixture(scope="module")
def outline(page):
    return Outline(page)


def test_ids_are_unique_and_every_link_leads_to_one(outline):
    assert len(outline.ids) == len(set(outline.ids))
    assert outline.targets and set(outline.targets) <= set(outline.ids)


def test_headings_go_down_one_level_at_a_time(outline):
    levels = [level for level, _ in outline.headings]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert all(text.strip() for _, text in outline.headings)


def test_every_table_has_a_caption_and_a_region_that_the_keyboard_reaches(outline):
    assert outline.tables > 30
    assert len(outline.captions) == outline.tables == len(outline.regions)
    assert all(caption.strip() for caption in outline.captions)
    assert all(r["tabindex"] == "0" and len(r["aria-label"]) > 7 for r in outline.regions)
    assert outline.headers_without_scope == 0


def test_every_picture_says_what_it_shows(outline):
    assert outline.images
    assert all(image["alt"].strip() for image in outline.images)


def test_landmarks_are_one_of_each_and_lists_of_contents_are_named(outline):
    names = [name for name, _ in outline.landmarks]
    assert [names.count(n) for n in ("header", "main", "footer")] == [1, 1, 1]
    labels = [label for name, label in outline.landmarks if name == "nav"]
    assert all(labels) and len(labels) == len(set(labels))
    assert outline.targets[0] == "main"


def test_nothing_is_fetched_and_no_text_becomes_a_script(outline, page):
    assert all(load.startswith("data:image/png;base64,") for load in outline.loads)
    assert outline.handlers == []
    assert not re.search(r"@import|url\((?!#)|<link|<base", page)
    assert len([1 for kind, code in outline.scripts if "alert(1)" in code and not kind]) == 0
    assert ATTACK in outline.shown


def test_sections_come_in_a_sensible_order(outline):
    found = [text for level, text in outline.headings if level == 2]
    assert found[:3] == ["Scores at a glance", "Data", "Pre-training"]
    assert found[-3:] == ["Ablation, table4", "The paper's tables", "Where it comes from"]
    assert "Latents, generated studies (analyses/first)" in found
    assert "Classification, NIH ChestX-ray14" in found
    assert "Classification, generated studies (evaluations/two)" in found


def test_research_use_is_said_first_and_last(outline):
    assert outline.shown.count(DISCLAIMER) == 2


def test_every_file_is_listed_with_its_command(outline, lab):
    for item in find([lab]).items:
        assert f"{item.name}/{item.path.name}" in outline.shown
    assert "python -m mflag.evaluate" in outline.shown


def test_what_is_left_out_is_said(outline):
    assert "bench/kernels.json" in outline.shown
    assert "task 'diagnosis', which this version does not know" in outline.shown
    assert "table4 is an ablation: 2 runs and evaluations" in outline.shown


def test_no_place_of_the_machine_comes_from_settings(outline):
    assert "/home/someone" not in outline.shown


# Data


def test_the_same_data_in_two_folders_are_shown_once(outline):
    titles = [text for level, text in outline.headings if level == 3 and "(data)" in text]
    assert titles == ["Generated studies (data)"]
    assert "data, other/data" in outline.shown


def test_the_funnel_has_counts_shares_and_published_ones(outline):
    assert "frontal lateral 10 100 10 – 90.9 %" in outline.shown
    assert "cannot be decoded 2" in outline.shown and "a.png" not in outline.shown


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("funnel.json", '{"format": 2, "steps": [{"nam'),
        ("funnel.json", '{"format": 2}'),
        ("funnel.json", '{"format": 2, "steps": [{"name": "x"}]}'),
        ("rejected.csv", "a,b\n1,2\n"),
    ],
)
def test_a_damaged_companion_of_data_is_an_error_that_names_it(tmp_path, name, content):
    write_data(tmp_path)
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=f"{name} is .*mflag.prepare again"):
        page_of(tmp_path)


# Runs


def test_curves_and_settings_of_runs_are_shown(outline):
    assert "First and last value: mflag 1.99 to 1; other/x" in outline.shown
    assert "train.epochs 3" in outline.shown


def test_a_line_that_is_still_written_is_left_out(tmp_path):
    lines = '{"step": 1, "loss": 1.99}\n{"step": 2, "loss": 1}\n{"step": 150, "loss": 0.1'
    write(tmp_path / "run" / "metrics.jsonl", lines)
    assert "1.99 to 1." in page_of(tmp_path)


@pytest.mark.parametrize("line", ['{"loss": 1}', "{", "[]", '{"step": "x"}'])
def test_a_damaged_log_is_an_error_that_names_the_line(tmp_path, line):
    write_log(tmp_path / "run")
    with (tmp_path / "run/metrics.jsonl").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(InputError, match=r"metrics\.jsonl is damaged in line 4"):
        page_of(tmp_path)


def test_settings_that_are_no_yaml_are_an_error(tmp_path):
    write_log(tmp_path / "run")
    (tmp_path / "run/config.yaml").write_text("a: [1, 2\nb: {")
    with pytest.raises(InputError, match=r"config\.yaml is cut short or damaged"):
        page_of(tmp_path)


def test_an_empty_log_makes_a_page(tmp_path):
    write(tmp_path / "run" / "metrics.jsonl", "")
    assert "No run has logged a figure yet." in page_of(tmp_path)


def test_many_runs_keep_colours_of_their_own(tmp_path):
    for k in range(8):
        write(tmp_path / f"run{k}" / "metrics.jsonl", '{"step": 1, "loss": 2}\n')
    outline = Outline(page_of(tmp_path))
    assert "run6 to run7 Loss" in outline.shown
    assert len(outline.ids) == len(set(outline.ids))


# Evaluations


def test_scores_stand_at_a_glance_by_task_and_score(outline):
    assert "Macro AUC." in outline.captions
    assert "mflag linear, NIH ChestX-ray14, evaluations/nih/three" in outline.shown


def test_a_baseline_that_is_a_score_of_its_own_stands_among_the_encoders(made, tmp_path):
    copy_evaluation(made, tmp_path, pictures=False)
    content = json.loads((tmp_path / "results.json").read_text())
    row = next(r for r in content["summary"] if r["metric"] == "macro_auc")
    empty = {"encoder": "all_empty", "protocol": "none", "fraction": 0.0, "value": 0.7656}
    content["summary"] += [
        row | empty | {"metric": "dice_all_empty_baseline"}, row | {"metric": "dice_all"},
    ]  # fmt: skip
    write(tmp_path / "results.json", content)
    page = page_of(tmp_path)
    table = next(t for t in re.findall(r"<table>.*?</table>", page, re.S) if ">Dice over all" in t)
    assert "no labels" in table and "all_empty" in table and "0.766" in table and "mflag" in table
    assert "dice_all_empty_baseline" not in page


def test_pictures_and_text_of_real_studies_are_left_out_and_this_is_said(page):
    assert "study of phantom" in page and "Text of phantom" in page
    assert "study of nih" not in page and "Text of nih" not in page
    assert "report.embed_images=true shows them" in page


def test_pictures_of_real_studies_come_on_demand(lab):
    page = page_of(lab / "evaluations/nih", embed_images=True)
    assert "study of nih" in page and "Text of nih" in page


def test_whose_pictures_need_consent_is_known(lab):
    found = pictures_of_real_studies(find([lab]))
    assert [item.name for item in found] == ["evaluations/nih/three"]


def test_results_of_another_layout_are_an_error_that_names_the_file(made, tmp_path):
    copy_evaluation(made, tmp_path)
    path = tmp_path / "results.json"
    path.write_text(path.read_text().replace('"geometry"', '"geography"'))
    with pytest.raises(InputError, match=r"results\.json: not as this version.*mflag\.evaluate"):
        page_of(tmp_path)


# The paper


def paper_tables(outline):
    return [caption for caption in outline.captions if "paper" in caption]


def test_all_four_tables_of_the_paper_are_called_the_papers(outline):
    for number in (2, 3, 4, 5):
        assert any(c.startswith(f"The paper's Table {number}.") for c in paper_tables(outline))


def test_ours_and_the_papers_stand_in_tables_of_their_own(page):
    tables = re.findall(r"<table>.*?</table>", page, re.S)
    papers = [t for t in tables if re.search("<caption>The paper('|&#x27;)s", t)]
    assert len(papers) == 6  # four whole ones, a column beside NIH, one beside the ablation
    assert not any("mflag" in t or "align_only" in t for t in papers)
    ours = [t for t in tables if t not in papers]
    assert not any("GLoRIA" in t or "ConVIRT" in t for t in ours)


def test_only_the_same_images_get_a_column_of_the_paper(outline):
    beside = [text for _, text in outline.headings if text == "Beside the paper"]
    assert len(beside) == 2
    assert "The paper's Table 2, NIH (“CXR14”), AUC in %. Bold as printed." in outline.captions


def test_without_the_papers_images_its_tables_are_for_orientation(made, tmp_path):
    copy_evaluation(made, tmp_path)
    page = page_of(tmp_path)
    assert "Beside the paper" not in page
    assert "orientation" in page and "cannot be compared" in page


def test_the_paper_is_read_with_care(outline):
    assert "neither seeds nor a spread" in outline.shown
    assert "0.7656 on RSNA, 0.7786 on SIIM" in outline.shown


def test_bold_in_the_papers_tables_is_as_printed(page):
    table = next(t for t in re.findall(r"<table>.*?</table>", page, re.S) if "Table 2." in t)
    row = next(r for r in re.findall(r"<tr>.*?</tr>", table) if ">MGCA<" in r)
    assert re.findall(r"<strong>([\d.]+)", row) == ["72.1"]
    row = next(r for r in re.findall(r"<tr>.*?</tr>", table) if ">M-FLAG<" in r)
    assert re.findall(r"<span>([\d.]+)", row) == ["71.4"]


def test_an_ablation_of_the_papers_images_stands_beside_its_table(tmp_path):
    write_ablation(tmp_path, "mimic_cxr")
    outline = Outline(page_of(tmp_path))
    assert any(c.startswith("The paper's Table 4: ") for c in outline.captions)
    assert "both 61.0" in outline.shown and "only L_align 69.3" in outline.shown
