"""From a configuration to the trainings and evaluations it asks for, all checked."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mflag.ablation.pieces import Evaluation, Training
from mflag.ablation.settings import evaluation_settings
from mflag.ablation.variants import RANDOM, Variant, choose_variants
from mflag.config.ablate import AblateConfig
from mflag.config.compose import as_override, compose
from mflag.config.evaluate import EvaluateConfig
from mflag.config.train import TrainConfig
from mflag.data.manifest import open_prepared
from mflag.data.preparing import prepare_phantom
from mflag.downstream import TASKS
from mflag.downstream.draws import check_fractions
from mflag.downstream.request import MIN_STUDIES, check_protocols
from mflag.errors import InputError
from mflag.runtime.atomic_write import check_writable
from mflag.training.validate import validate

_BY_TEXT = ("retrieval", "zero_shot")
_OURS_IN_TRAIN = ("seed", "output_dir", "resume", "overwrite", "data", "data.path")
_OURS_IN_EVALUATE = (
    "task", "encoder", "encoders", "out", "overwrite", "fraction", "seeds", "random", "imagenet",
    "pixels",
)  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """What is compared.

    Attributes:
        out: folder of all runs.
        trainings: seed by seed, each with every variant, so that an early look compares all.
        evaluations: of each training.
        reference: variant that the others are compared with.
        names: of the variants, in the order of the tables.
    """

    out: Path
    trainings: list[Training]
    evaluations: dict[Training, list[Evaluation]]
    reference: str
    names: list[str]


def make_plan(config: AblateConfig) -> Plan:
    """Check everything that can be checked before the first run; generated studies are made.

    Raises:
        InputError: an option cannot be used, or ``out`` holds runs with other settings.
    """
    variants = choose_variants(config.table, config.grid)
    reference = config.reference or variants[0].name
    variants += [Variant(RANDOM, is_trained=False)] if config.random else []
    names = [variant.name for variant in variants]
    if reference not in names:
        raise InputError(f"reference is {reference!r}; choose one of {', '.join(names)}")
    _check_words("train", config.train, _OURS_IN_TRAIN)
    _check_words("evaluate", config.evaluate, _OURS_IN_EVALUATE)
    _check_counts(config)
    out = folder_of(config)
    data = _data_words(config, out)
    shared = (*config.train, *data)
    if config.table == "5":
        shared = _with_language_model(shared)
    configs = {v: _check_training(v, (*shared, *v.overrides)) for v in variants}
    words = {task: _evaluation_words(config, task, data) for task in _check_tasks(config.tasks)}
    asked = {task: _check_evaluation(task, words[task]) for task in words}
    trainings = [
        _training(v, seed, out, configs[v], (*shared, *v.overrides))
        for seed in range(config.seeds)
        for v in variants
    ]
    evaluations = {
        t: [Evaluation(t, task, words[task]) for task in words if _can_answer(t, task)]
        for t in trainings
    }
    plan = Plan(out, trainings, evaluations, reference, names)
    check_writable(out)
    if not config.overwrite:
        _refuse_changes(plan)
    _open_data(config, out, asked)
    return plan


def folder_of(config: AblateConfig) -> Path:
    """Return ``out``, or the default for the table."""
    default = "runs/sweep" if config.table in ("sweep", "none") else f"runs/table{config.table}"
    return Path(config.out or default)


def _check_words(option: str, words: list[str], ours: tuple[str, ...]) -> None:
    for word in words:
        key, equals, _ = word.partition("=")
        if not equals:
            raise InputError(f"{option} has {word!r}; give KEY=VALUE")
        if key.lstrip("+~") in ours:
            raise InputError(f"{option} has {word!r}, which mflag.ablate sets itself; leave it out")


def _check_counts(config: AblateConfig) -> None:
    for name, value in (("seeds", config.seeds), ("draws", config.draws)):
        if value < 1:
            raise InputError(f"{name} is {value}; give 1 or more")
    if config.data.path is None and config.data.source != "phantom":
        raise InputError(
            f"data.source is {config.data.source!r}; use data=phantom or data.path=DIR"
        )
    if config.data.path is None and config.data.size < MIN_STUDIES:
        raise InputError(f"data.size is {config.data.size}; give {MIN_STUDIES} or more")


def _check_tasks(tasks: list[str]) -> list[str]:
    for task in tasks:
        if task not in TASKS:
            raise InputError(f"tasks has {task!r}; choose of {', '.join(TASKS)}")
    if not tasks or len(set(tasks)) < len(tasks):
        raise InputError(f"tasks is {tasks}; name each of {', '.join(TASKS)} at most once")
    return tasks


def _with_language_model(shared: tuple[str, ...]) -> tuple[str, ...]:
    """Table 5 trains text layers, which LSA does not have: MiniLM, unless a model is named."""
    text = compose("train", TrainConfig, shared).text
    return (*shared, "text=minilm") if text.name == "lsa" and text.path is None else shared


def _check_training(variant: Variant, words: tuple[str, ...]) -> TrainConfig:
    config: TrainConfig = compose("train", TrainConfig, words)
    try:
        validate(config)
    except InputError as error:
        raise InputError(f"variant {variant.name}: {error}") from error
    return config


def _training(
    variant: Variant, seed: int, out: Path, config: TrainConfig, words: tuple[str, ...]
) -> Training:
    folder = out / variant.name / f"seed_{seed}"
    seeded = dataclasses.replace(config, seed=seed, output_dir=str(folder))
    return Training(variant, seed, folder, seeded, (*words, f"seed={seed}"))


def _can_answer(training: Training, task: str) -> bool:
    """Tasks of images and texts need the projector that the alignment loss trains."""
    if task not in _BY_TEXT:
        return True
    return training.variant.is_trained and training.config.loss.alignment_weight > 0


def _data_words(config: AblateConfig, out: Path) -> tuple[str, ...]:
    """The data's path; size and seed of generated ones, so that other studies are seen as such."""
    if config.data.path is not None:
        return (as_override("data.path", config.data.path),)
    made = as_override("data.path", str(out / "data"))
    return (made, f"data.size={config.data.size}", f"data.seed={config.data.seed}")


def _evaluation_words(config: AblateConfig, task: str, data: tuple[str, ...]) -> tuple[str, ...]:
    return (
        as_override("task", task),
        *data,
        as_override("fraction", check_fractions(config.fraction)),
        as_override("seeds", config.draws),
        "random=false",
        "imagenet=false",
        *config.evaluate,
    )


def _check_evaluation(task: str, words: tuple[str, ...]) -> EvaluateConfig:
    config: EvaluateConfig = compose("evaluate", EvaluateConfig, words)
    protocols = check_protocols(config.task.protocol, TASKS[task].protocols)
    TASKS[task].check(config, protocols)
    evaluation_settings(words)
    return config


def _refuse_changes(plan: Plan) -> None:
    pieces: list[Any] = [*plan.trainings, *[e for t in plan.trainings for e in plan.evaluations[t]]]
    for piece in pieces:
        found = piece.changes()
        if found:
            raise InputError(
                f"{piece.folder} holds a {piece.kind} with other settings: "
                f"{'; '.join(found[:3])}; give the same values, another out=, or overwrite=true to "
                "replace it"
            )


def _open_data(config: AblateConfig, out: Path, asked: dict[str, EvaluateConfig]) -> None:
    """Make generated studies, and refuse data that a task cannot use."""
    folder = config.data.path or str(out / "data")
    if config.data.path is None:
        size, seed = config.data.size, config.data.seed
        prepare_phantom(folder, size, seed, replace_other=config.overwrite)
    prepared = open_prepared(folder)
    for task, evaluation in asked.items():
        if evaluation.data.path == folder:  # evaluate=[data.path=...] may name another
            TASKS[task].check_data(evaluation, prepared)
