"""Every encoder at every draw of labels."""

from typing import Any

import numpy as np

from mflag.analysis.geometry import latent_geometry
from mflag.config.evaluate import EvaluateConfig
from mflag.data.manifest import Prepared
from mflag.downstream.assemble import assemble
from mflag.downstream.bootstrap import r2_resamples
from mflag.downstream.classification.crossval import probe_out_of_fold, ridge_out_of_fold
from mflag.downstream.classification.finetune import finetune
from mflag.downstream.classification.label_scores import score_labels
from mflag.downstream.classification.probe import (
    available_threads,
    fit_probe,
    fit_ridge,
    standardise,
)
from mflag.downstream.classification.shortcuts import Shortcuts
from mflag.downstream.classification.study import Study, plan_study
from mflag.downstream.encoders import NamedEncoder
from mflag.downstream.examples import choose_examples
from mflag.downstream.features import embed
from mflag.downstream.request import Request
from mflag.downstream.results import Scores, merge_notes
from mflag.downstream.scores import is_two_sided, r_squared
from mflag.downstream.task import Outcome
from mflag.downstream.training import Compute


def run(
    config: EvaluateConfig, request: Request, prepared: Prepared, show_pictures: bool
) -> Outcome:
    """Probe and fine-tune every encoder at every draw of labels."""
    study = plan_study(config, request.fractions, prepared)
    found = _Evaluation(config, request, study)
    for encoder in request.encoders:
        found.evaluate(encoder)
    left = f"label policy {config.task.label_policy} leaves nothing of: {', '.join(study.masked)}"
    notes = [
        *_seen_notes(request.encoders, study),
        *request.notes,
        *[left] * bool(study.masked),
        *merge_notes(found.notes),
    ]
    compared = ("macro_auc", "unmentioned_r2")
    results = {
        **assemble("classification", found.scores, compared, request.encoders, prepared, notes),
        "geometry": found.geometry,
        "finetuning": found.finetuning,
        "shortcuts": found.shortcuts.results(),
        "data": study.counts(),
        "options": _options(config, request),
    }
    pictures = choose_examples(prepared, config.report.examples) if show_pictures else []
    return Outcome(results, study.drawn_ids(), pictures)


def _seen_notes(encoders: list[NamedEncoder], study: Study) -> list[str]:
    """With folds every image is scored, those that an encoder was pre-trained on among them."""
    names = [e.name for e in encoders if e.dataset is not None and e.dataset == study.dataset]
    return [
        f"warning: {name} was pre-trained on {study.dataset}; task.folds scores its training "
        "images too"
        for name in names
        if study.folds
    ]


class _Evaluation:
    """Collects rows, remarks and latent geometry, an encoder after the other."""

    def __init__(self, config: EvaluateConfig, request: Request, study: Study) -> None:
        self.config, self.request, self.study = config, request, study
        self.scores, self.shortcuts = Scores(), Shortcuts(study)
        self.geometry: dict[str, Any] = {}
        self.finetuning: list[dict[str, Any]] = []
        self.notes: list[tuple[str, float, int]] = []

    def evaluate(self, encoder: NamedEncoder) -> None:
        features = self._features(encoder)
        self.geometry[encoder.name] = latent_geometry(features[self.study.test])
        evaluated = {
            "linear": lambda draw: self._probe(encoder, features, draw),
            "finetune": lambda draw: self._finetune(encoder, draw),
        }
        for protocol in self.request.protocols:
            for draw in self.study.draws:
                self.notes += [(remark, *draw) for remark in evaluated[protocol](draw)]

    def _features(self, encoder: NamedEncoder) -> np.ndarray:
        """(n, N) float32; rows that no draw and no split needs stay 0."""
        prepared, batch = self.study.prepared, self.config.compute.batch_size
        needed = [self.study.test]
        if "linear" in self.request.protocols:
            needed += [*self.study.draws.values(), prepared.rows("valid")]
        rows = np.unique(np.concatenate(needed))
        values = embed(prepared.images, rows, encoder, self.request.device, batch)
        features = np.zeros((len(prepared), values.shape[1]), np.float32)
        features[rows] = values
        return features

    def _probe(
        self, encoder: NamedEncoder, features: np.ndarray, draw: tuple[float, int]
    ) -> list[str]:
        """Add the rows of a linear probe; return what was left out, in words."""
        study, task = self.study, self.config.task
        fields = self._fields(encoder, "linear", draw)
        threads = available_threads(self.config.compute.threads)
        labels = study.labels
        if study.folds:
            fold_of = study.folds[draw[1]]
            crossed = probe_out_of_fold(features, labels, fold_of, task.inverse_penalties, threads)
            notes = self._score(crossed.scores, crossed.fitted, fields)
            unconverged = crossed.unconverged
            attributes = ridge_out_of_fold(features, study.attributes, fold_of)
        else:
            rows, valid = study.draws[draw], study.prepared.rows("valid")
            scaled = standardise(features[rows], features[valid], features[study.test])
            probe = fit_probe(scaled, labels[rows], labels[valid], task.inverse_penalties, threads)
            notes = self._score(probe.scores(scaled.test), probe.fitted, fields)
            unconverged = probe.unconverged
            attributes = fit_ridge(scaled, study.attributes[rows])
        if unconverged:
            notes.append(
                f"{encoder.name}: {unconverged} logistic regressions stopped before they converged"
            )
        return notes + _score_attributes(study, attributes, fields, self.scores)

    def _finetune(self, encoder: NamedEncoder, draw: tuple[float, int]) -> list[str]:
        """Add the rows of a fine-tuned encoder; return what was left out, in words."""
        study, rows = self.study, self.study.draws[draw]
        fields = self._fields(encoder, "finetune", draw)
        trained = is_two_sided(study.labels[rows])
        if not trained.any():
            return self._score(np.zeros((0, len(trained))), trained, fields)
        compute = Compute(
            self.request.device, self.request.dtype, self.config.compute.batch_size
        )  # fmt: skip
        tuned = finetune(
            study.prepared, study.labels, rows, encoder, self.config.task, compute, draw[1]
        )
        of_draw = {"encoder": encoder.name, "fraction": draw[0], "seed": draw[1]}
        self.finetuning.append(
            of_draw
            | {
                "epochs": tuned.epochs,
                "best_epoch": tuned.best_epoch,
                "valid_macro_auc": tuned.valid_auc,
            }
        )
        notes = []
        if tuned.diverged:
            notes.append(
                f"fine-tuning {encoder.name} diverged (NaN or infinite loss) in epoch "
                f"{tuned.epochs}; give a smaller task.lr"
            )
        if not tuned.best_epoch:
            return notes
        if not tuned.valid_auc:
            notes.append("no class has positives and negatives on valid: the last epoch was kept")
        return notes + self._score(tuned.scores, tuned.trained, fields)

    def _score(
        self, predicted: np.ndarray, trained: np.ndarray, fields: dict[str, Any]
    ) -> list[str]:
        self.shortcuts.keep(predicted, trained, fields)
        return score_labels(self.study, predicted, trained, fields, self.scores)

    def _fields(
        self, encoder: NamedEncoder, protocol: str, draw: tuple[float, int]
    ) -> dict[str, Any]:
        named = {"task": "classification", "encoder": encoder.name, "protocol": protocol}
        return named | self.study.fields_of(draw)


def _score_attributes(
    study: Study, predicted: np.ndarray, fields: dict[str, Any], scores: Scores
) -> list[str]:
    if not study.prepared.attributes:
        return []
    truth = study.attributes[study.test]
    found: dict[str, tuple[float, np.ndarray]] = {}
    left_out = []
    for k, name in enumerate(study.prepared.attributes):
        value = r_squared(predicted[:, k], truth[:, k])
        if np.isnan(value):
            left_out.append(name)
            continue
        found[name] = (value, r2_resamples(predicted[:, k], truth[:, k], study.weights))
    note = f"left out, too few or constant values: {', '.join(left_out)}" if left_out else ""
    if found:
        values, samples = zip(*found.values(), strict=True)
        mean_samples = np.stack(samples).mean(0)
        mean = float(np.mean(values))
        scores.add(mean_samples, metric="unmentioned_r2", value=mean, note=note, **fields)
    for name, (value, resampled) in found.items():
        scores.add(resampled, metric=f"unmentioned_r2/{name}", value=value, **fields)
    return [f"attributes {note}"] if note else []


def _options(config: EvaluateConfig, request: Request) -> dict[str, Any]:
    task = config.task
    options = {
        "fraction": request.fractions,
        "seeds": config.seeds,
        "protocol": request.protocols,
        "label_policy": task.label_policy,
        "inverse_penalties": task.inverse_penalties,
        "resamples": task.resamples,
        "folds": task.folds,
    }
    if "finetune" in request.protocols:
        names = ("epochs", "lr", "weight_decay", "batch_size", "image_size", "patience")
        options["finetune"] = {name: getattr(task, name) for name in names} | {
            "augment": {**vars(task.augment)},
            "precision": str(request.dtype).removeprefix("torch."),
        }
    return options
