"""Every YAML composes, and every value in it has a place in the typed schema."""

import dataclasses
from pathlib import Path

import hydra
import pytest
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from mflag.cli_help import print_help
from mflag.config.ablate import AblateConfig
from mflag.config.analyze import AnalyzeConfig
from mflag.config.evaluate import EvaluateConfig
from mflag.config.export import ExportConfig
from mflag.config.prepare import PrepareConfig
from mflag.config.report import ReportConfig
from mflag.config.train import TrainConfig
from mflag.losses.presets import ORTHOGONALITY_PRESETS
from mflag.models.projector import build_projector
from mflag.training.optimizer import learning_rate_by_step
from mflag.training.validate import validate
from tests.models.tiny_bert import write_bert

CONFIGS = Path(__file__).parents[1] / "configs"
PROGRAMS = {
    "train": TrainConfig,
    "prepare": PrepareConfig,
    "evaluate": EvaluateConfig,
    "analyze": AnalyzeConfig,
    "export": ExportConfig,
    "report": ReportConfig,
    "ablate": AblateConfig,
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


PRESETS = [option for option in OPTIONS if option.startswith("preset=")]


@pytest.mark.parametrize("option", [o for o in PRESETS if "unfreeze" not in o])
def test_every_preset_is_valid(option):
    validate(compose("train", option, "data.path=prepared"))


@pytest.mark.parametrize("last", range(1, 7))
def test_unfreezing_is_recommended_with_the_last_text_layers_trained(last, tmp_path):
    text = f"text.path={write_bert(tmp_path / 'bert', num_hidden_layers=6)}"
    base = compose("train", "preset=recommended", "data.path=prepared", text)
    config = compose("train", f"preset=ablation/unfreeze_{last}", "data.path=prepared", text)
    validate(config)
    assert config.text.unfreeze_last == last
    assert "vision learning rate" in config.assumed[0]
    base.text.unfreeze_last, base.assumed = last, config.assumed
    assert config == base


def test_the_authors_projections_have_the_parameters_of_their_code():
    model = compose("train", "preset=authors").model
    vision, text = (
        build_projector(kind, width, model.projector_hidden_dim, model.projector_dim)
        for kind, width in ((model.projector, 2048), (model.text_projector, 768))
    )
    counts = [sum(p.numel() for p in module.parameters()) for module in (vision, text)]
    assert counts == [6_298_624, 3_677_184]


def test_the_authors_restart_every_2083_steps_of_mimic_cxr():
    optim = compose("train", "preset=authors").optim
    studies, batch = 213_384, 512
    rate = learning_rate_by_step(optim, studies // batch, 51 * 416, studies / batch)
    assert [rate(step) > 0.9 for step in (0, 2082, 2083, 4165, 4166)] == [1, 0, 1, 0, 1]
    assert int(50 * studies // 4 // batch * 0.4) == 2083


def test_the_authors_images_wrap_and_no_others_do():
    wrapping = [o for o in PRESETS if compose("train", o).data.wrap_bug]
    assert wrapping == ["preset=authors"]


@pytest.mark.parametrize("difference", ["bounding box", "glues", "wrap_bug maps 255 to 0"])
def test_the_authors_preset_names_what_it_does_not_reproduce(difference):
    assert any(difference in line for line in compose("train", "preset=authors").assumed)


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
