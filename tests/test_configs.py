"""Every YAML composes, and every value in it has a place in the typed schema."""

import dataclasses
from pathlib import Path

import hydra
import pytest
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from mflag.cli_help import print_help
from mflag.config.evaluate import EvaluateConfig
from mflag.config.export import ExportConfig
from mflag.config.prepare import PrepareConfig
from mflag.config.train import TrainConfig
from mflag.losses.presets import ORTHOGONALITY_PRESETS
from mflag.training.validate import validate

CONFIGS = Path(__file__).parents[1] / "configs"
PROGRAMS = {
    "train": TrainConfig,
    "prepare": PrepareConfig,
    "evaluate": EvaluateConfig,
    "export": ExportConfig,
}
GROUPS = {  # group: a program that reads it
    "data": "train", "text": "train", "loss": "train", "optim": "train", "feed": "train",
    "preset": "train", "dataset": "prepare", "launcher": "prepare",
    "task": "evaluate",
}  # fmt: skip
OPTIONS = sorted(
    f"{path.relative_to(CONFIGS).parts[0]}={Path(*path.relative_to(CONFIGS).parts[1:]).with_suffix('')}"
    for path in CONFIGS.rglob("*.yaml")
    if path.parent != CONFIGS
)


def compose(program, *overrides):
    GlobalHydra.instance().clear()
    with hydra.initialize_config_module("mflag.configs", version_base="1.3"):
        config = hydra.compose(program, overrides=list(overrides))
    values = OmegaConf.to_container(config)
    return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(PROGRAMS[program]), values))


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_composes(option):
    config = compose(GROUPS[option.split("=")[0]], option)
    assert isinstance(config, tuple(PROGRAMS.values()))


def help_by_key(schema, prefix=""):
    for field in dataclasses.fields(schema):
        if dataclasses.is_dataclass(field.type):
            yield from help_by_key(field.type, f"{prefix}{field.name}.")
        else:
            yield prefix + field.name, field.metadata.get("help", "")


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_explains_every_key(program, capsys):
    print_help(program, PROGRAMS[program], [])
    shown = capsys.readouterr().out
    for key, meaning in help_by_key(PROGRAMS[program]):
        assert meaning and any(
            line.startswith(f"{key} ") and line.endswith(meaning) for line in shown.splitlines()
        ), key


@pytest.mark.parametrize("option", [o for o in OPTIONS if o.startswith("preset=")])
def test_every_preset_is_valid(option):
    validate(compose("train", option, "data.path=prepared"))


def test_the_paper_takes_a_trust_coefficient_of_one_and_says_that_it_is_assumed():
    config = compose("train", "preset=paper")
    assert (config.optim.name, config.optim.trust_coefficient) == ("lars", 1.0)
    assert config.loss.target == 1.0
    assert any("trust coefficient 1" in line for line in config.assumed)


def test_an_ablation_is_recommended_with_one_loss_off():
    base, alone = (
        compose("train", "preset=recommended"),
        compose("train", "preset=ablation/align_only"),
    )
    assert alone.loss.orthogonality_weight == 0
    alone.loss = base.loss
    assert alone == base


def test_the_command_line_wins_over_the_preset():
    assert compose("train", "preset=paper", "train.epochs=3").train.epochs == 3


@pytest.mark.parametrize("name", ["recommended", "paper", "authors"])
def test_a_loss_group_is_the_loss_preset_of_the_same_name(name):
    config = compose("train", f"loss={name}").loss
    preset = ORTHOGONALITY_PRESETS[name]
    assert {key: getattr(config, key) for key in preset} == preset
