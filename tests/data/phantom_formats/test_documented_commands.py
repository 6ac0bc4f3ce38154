"""The commands of docs/reproduce-paper.md: prepare runs on generated trees, the rest composes."""

import importlib
import re
import shlex
from pathlib import Path

import hydra
import mflag.configs
import pandas as pd
import pytest
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from mflag.config.train import TrainConfig
from mflag.data.manifest import open_prepared
from mflag.training.validate import validate
from tests.models.tiny_bert import write_bert

ROOT = Path(__file__).parents[3]
CONFIGS = Path(mflag.configs.__path__[0])
COMMAND = re.compile(r"^    (?:python|torchrun [^\n]*?) -m mflag\.(\w+) (.+)$", re.MULTILINE)
TEXT = (ROOT / "docs" / "reproduce-paper.md").read_text()
COMMANDS = [(program, shlex.split(line)) for program, line in COMMAND.findall(TEXT)]
PREPARES = [words for program, words in COMMANDS if program == "prepare"]
PLACES = {  # name in the documents: format of the generated tree
    "mimic-cxr-jpg": "mimic_cxr",
    "mimic-cxr": "mimic_cxr",
    "chexpert": "chexpert",
    "nih": "nih",
    "rsna": "rsna",
    "siim": "siim",
}


def test_the_documents_have_commands_of_every_kind():
    assert {p for p, _ in COMMANDS} >= {"prepare", "train", "evaluate", "ablate", "report"}
    assert len(PREPARES) == 6


@pytest.fixture(scope="module")
def raw(trees, tmp_path_factory):
    """A folder with ``RAW`` in it, as the documents ask for, of generated trees."""
    folder = tmp_path_factory.mktemp("paper")
    (folder / "RAW").mkdir()
    for name, kind in PLACES.items():
        (folder / "RAW" / name).symlink_to(trees.raw(kind))
    patients = {
        "MIMIC/testSet_SubjID.csv": pd.read_csv(
            next(trees.raw("mimic_cxr").glob("*metadata.csv*"))
        )["subject_id"],
        "CXP/testSet_SubjID.csv": pd.read_csv(trees.raw("chexpert") / "train.csv")[
            "Path"
        ].str.extract(r"patient(\d+)")[0],
        "NIH/testSet_PatientID.csv": pd.read_csv(
            trees.raw("nih") / "Data_Entry_2017_v2020.csv", index_col=False
        )["Patient ID"],
    }
    for name, column in patients.items():
        path = folder / "RAW" / "chexclusion" / name
        path.parent.mkdir(parents=True)
        ids = column.astype(int).drop_duplicates()[:4]
        path.write_text("".join(f"{one}\n" for one in ids))
    return folder


@pytest.mark.parametrize("words", PREPARES, ids=lambda words: words[-1])
def test_each_prepare_command_runs_as_printed_on_a_generated_tree(words, raw, call, monkeypatch):
    monkeypatch.chdir(raw)
    call("prepare", *words, "workers=1")
    prepared = open_prepared(words[-1].removeprefix("out="))
    assert {"train", "valid", "test"} <= set(prepared.manifest["split"])
    has_text = (prepared.manifest["text"] != "").any()
    assert has_text == (words[-1] == "out=data/mimic")


@pytest.mark.parametrize(
    ("program", "words"), COMMANDS, ids=lambda value: value if isinstance(value, str) else value[-1]
)
def test_every_command_has_keys_and_values_that_the_program_knows(
    program, words, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    config = compose(program, words)
    if isinstance(config, TrainConfig):
        write_bert(Path("RAW/cxr-bert-general"), vocab_size=30_522)
        validate(config)
    for key in ("evaluate", "train"):
        if program == "ablate":
            compose(key, getattr(config, key))


def compose(program, words):
    """The typed configuration, or a skip where the program or the task is not there yet."""
    if not (CONFIGS / f"{program}.yaml").is_file():
        pytest.skip(f"there is no mflag.{program} yet")
    for task in [w.removeprefix("task=") for w in words if w.startswith("task=")]:
        if not (CONFIGS / "task" / f"{task}.yaml").is_file():
            pytest.skip(f"mflag.{program} has no task={task} yet")
    module = importlib.import_module(f"mflag.config.{program}")
    schema = getattr(module, f"{program.title()}Config")
    if program == "ablate":
        words = importlib.import_module("mflag.ablation.command_line").quote_lists(words)
    GlobalHydra.instance().clear()
    with hydra.initialize_config_module("mflag.configs", version_base="1.3"):
        config = hydra.compose(program, overrides=list(words))
    values = OmegaConf.to_container(config)
    return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), values))
