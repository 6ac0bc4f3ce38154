"""One training and its evaluations: where they lie, what is done, what has changed."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from mflag.ablation.settings import (
    Settings,
    changes,
    command_words,
    evaluation_settings,
    read_training_settings,
    training_settings,
)
from mflag.ablation.variants import Variant
from mflag.config.train import TrainConfig
from mflag.errors import InputError
from mflag.training.run_folder import ARTEFACTS

UNTRAINED = "untrained"  # in the config.yaml of random weights
UNTRAINED_KIND = "random weights"


@dataclass(frozen=True, eq=False)
class Training:
    """A variant with one seed.

    Attributes:
        variant: what is trained.
        seed: of weights, order and augmentation.
        folder: ``OUT/VARIANT/seed_K``, output_dir of mflag.train.
        config: of mflag.train.
        words: overrides of mflag.train, without those of the folder.
    """

    variant: Variant
    seed: int
    folder: Path
    config: TrainConfig
    words: tuple[str, ...]

    @property
    def kind(self) -> str:
        """What is done here."""
        return "training" if self.variant.is_trained else UNTRAINED_KIND

    @property
    def settings(self) -> Settings:
        """What decides its outcome."""
        settings = training_settings(self.config)
        return settings if self.variant.is_trained else settings | {UNTRAINED: True}

    @property
    def name(self) -> str:
        """What progress and errors call it."""
        return f"{self.variant.name} seed {self.seed}"

    @property
    def encoder(self) -> Path:
        """The file it leaves."""
        return self.folder / "encoder.safetensors"

    @property
    def log(self) -> Path:
        """What its programs print."""
        return self.folder.with_name(f"{self.folder.name}.log")

    @property
    def is_finished(self) -> bool:
        """Whether its encoder is there; mflag.train writes the model card last."""
        last = self.folder / "model_card.md" if self.variant.is_trained else self.encoder
        return last.is_file() and self.encoder.is_file()

    def changes(self) -> list[str]:
        """What sets the run that the folder holds apart from this one; none where it is empty."""
        before = read_training_settings(self.folder)
        if before is not None:
            return changes(before, self.settings)
        held = [name for name in ARTEFACTS if (self.folder / name).exists()]
        return [f"it holds {held[0]} but no config.yaml"] if held else []

    def forget_evaluations(self) -> None:
        """Remove evaluations of an encoder that is about to be replaced."""
        for results in evaluations_in(self.folder):
            shutil.rmtree(results.parent)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """One task, asked of one encoder.

    Attributes:
        training: that made the encoder.
        task: name of a downstream task.
        words: overrides of mflag.evaluate, without those of files.
    """

    training: Training
    task: str
    words: tuple[str, ...]

    @property
    def kind(self) -> str:
        """What is done here."""
        return "evaluation"

    @property
    def name(self) -> str:
        """What progress and errors call it."""
        return f"{self.training.name}, {self.task}"

    @property
    def folder(self) -> Path:
        """Where its results lie; classification's folder has no suffix."""
        suffix = "" if self.task == "classification" else f"_{self.task}"
        return self.training.folder / f"evaluation{suffix}"

    @property
    def is_finished(self) -> bool:
        """Whether it has results, which are written last."""
        return (self.folder / "results.json").is_file()

    def changes(self) -> list[str]:
        """What sets the results in the folder apart from these; none where there are none."""
        if not self.is_finished:
            return []
        words = command_words(read_results(self.folder / "results.json"))
        try:
            before = evaluation_settings(words)
        except (HydraException, OmegaConfBaseException):
            return ["its command is not one of this version"]
        return changes(before, evaluation_settings(self.words))


def evaluations_in(folder: Path) -> list[Path]:
    """Return the ``results.json`` of every evaluation of a run."""
    return sorted(folder.glob("evaluation*/results.json"))


def read_results(path: Path) -> dict[str, Any]:
    """Return the content of a ``results.json``.

    Raises:
        InputError: it is damaged, or of another format.
    """
    try:
        content = json.loads(path.read_text())
        is_known = content["format"] == 1 and bool(content["rows"]) and bool(content["command"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is damaged ({error!r}); delete it to evaluate again") from error
    if not is_known:
        raise InputError(f"{path} holds no rows of format 1; delete it to evaluate again")
    return dict(content)
