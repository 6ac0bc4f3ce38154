"""Every encoder's images beside the sentences of each label."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from mflag.config.evaluate import EvaluateConfig
from mflag.data.label_policy import check_label_policy
from mflag.data.manifest import Prepared
from mflag.downstream.assemble import assemble, options_without_draws
from mflag.downstream.classification.label_scores import score_labels
from mflag.downstream.classification.options import check_data
from mflag.downstream.classification.study import Study, plan_study
from mflag.downstream.features import embed
from mflag.downstream.image_text import ImageText, spaces_of
from mflag.downstream.request import Request
from mflag.downstream.results import Scores
from mflag.downstream.run_text import RunText, open_run_text
from mflag.downstream.task import Outcome
from mflag.downstream.zero_shot.prompts import Prompts, read_prompts
from mflag.errors import InputError

CHANCE = "chance"

__all__ = ["CHANCE", "check", "check_data", "run"]


def check(config: EvaluateConfig, protocols: list[str]) -> None:
    """Check the options and the sentences.

    Raises:
        InputError: one cannot be used.
    """
    check_label_policy(config.task.label_policy)
    read_prompts(config.task.prompts)


def run(
    config: EvaluateConfig, request: Request, prepared: Prepared, show_pictures: bool
) -> Outcome:
    """Score every label of the test split by its sentences."""
    prompts = read_prompts(config.task.prompts)
    spaces, notes = spaces_of(request.encoders)
    study, silent = _with_prompts(plan_study(config, [1.0], prepared), prompts)
    if silent:
        notes.append(f"left out, no sentences in task.prompts: {', '.join(silent)}")
    encoders = [e for e in request.encoders if e.name in spaces]
    scores, test = Scores(), prepared.rows("test")
    for encoder in encoders:
        space = spaces[encoder.name]
        features = embed(prepared.images, test, encoder, request.device, config.compute.batch_size)
        text = open_run_text(space, prepared, request.device)
        predicted, spoken = prompt_scores(space.of_images(features), space, text, study, prompts)
        if not spoken.all():
            names = ", ".join(np.array(study.names)[~spoken])
            notes.append(f"{encoder.name}: left out, the text encoder knows no word of: {names}")
        heard = _only(study, spoken)
        fields = _fields(encoder.name, study)
        left = score_labels(
            heard, predicted[:, spoken], np.ones(int(spoken.sum()), bool), fields, scores
        )
        notes += [note for note in left if note not in notes]
    none = np.full(len(study.weights), np.nan)
    scores.add(none, metric="macro_auc", value=0.5, **_fields(CHANCE, study))
    results = {
        **assemble("zero_shot", scores, ["macro_auc"], encoders, prepared, notes),
        "data": study.counts(),
        "prompts": {n: vars(prompts[n]) for n in study.names},
        "options": options_without_draws(config, request),
    }
    return Outcome(results)


def prompt_scores(
    images: Tensor, space: ImageText, text: RunText, study: Study, prompts: dict[str, Prompts]
) -> tuple[np.ndarray, np.ndarray]:
    """Return how much closer each image is to a label's affirmation than to its denial.

    Args:
        images: (t, E) unit rows.
        space: of the encoder.
        text: of the same run.
        study: names the labels, K of them.
        prompts: of at least these labels.

    Returns:
        (t, K) cosine with the mean of the positive sentences minus that with the mean of the
        negative ones, and (K,) bool: False where no positive sentence has a vector.
    """
    sides = [prompts[name] for name in study.names]
    sentences = list(dict.fromkeys(s for p in sides for s in (*p.positive, *p.negative)))
    vectors, has_vector = text.embed(sentences)
    found = space.of_texts(vectors)
    place = {sentence: k for k, sentence in enumerate(sentences)}

    def centre(wanted: list[str]) -> Tensor | None:
        places = [place[s] for s in wanted if has_vector[place[s]]]
        return normalize(found[places].mean(0), dim=0) if places else None

    scores = np.zeros((len(images), len(sides)), np.float64)
    spoken = np.zeros(len(sides), bool)
    for k, side in enumerate(sides):
        positive, negative = centre(side.positive), centre(side.negative)
        if positive is None:
            continue
        spoken[k] = True
        direction = positive if negative is None else positive - negative
        with torch.inference_mode():
            scores[:, k] = (images @ direction).double().numpy()
    return scores, spoken


def _with_prompts(study: Study, prompts: dict[str, Prompts]) -> tuple[Study, list[str]]:
    """The study of the labels that have sentences, and the names of the others."""
    has = np.array([name in prompts for name in study.names])
    if not has.any():
        raise InputError(
            f"none of the labels {', '.join(study.names)} has sentences in task.prompts; give "
            "task.prompts=FILE with LABEL: {positive: [...], negative: [...]}"
        )
    return _only(study, has), [n for n, keep in zip(study.names, has, strict=True) if not keep]


def _only(study: Study, keep: np.ndarray) -> Study:
    names = [name for name, wanted in zip(study.names, keep, strict=True) if wanted]
    return replace(study, names=names, labels=study.labels[:, keep])


def _fields(name: str, study: Study) -> dict[str, Any]:
    return {
        "task": "zero_shot",
        "dataset": study.dataset,
        "encoder": name,
        "protocol": "prompts",
        "fraction": 0.0,
        "seed": 0,
        "n_train": 0,
        "n_test": len(study.prepared.rows("test")),
    }
