"""Linear probes of findings, and of what no report mentions, on frozen features."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from mflag.config.evaluate import EvaluateConfig
from mflag.data.manifest import ATTRIBUTE_PREFIX, LABEL_PREFIX, Prepared
from mflag.downstream.bootstrap import auc_resamples, mean_over, patient_weights, r2_resamples
from mflag.downstream.draws import draw_rows, draws_of
from mflag.downstream.encoders import NamedEncoder
from mflag.downstream.features import embed
from mflag.downstream.geometry import latent_geometry
from mflag.downstream.probe import (
    Standardised,
    available_threads,
    fit_probe,
    fit_ridge,
    standardise,
)
from mflag.downstream.request import Request
from mflag.downstream.results import FORMAT, Scores, merge_notes, provenance
from mflag.downstream.scores import class_aucs, is_two_sided, r_squared

PROTOCOL = "linear"


@dataclass(frozen=True)
class _Study:
    """The data of one evaluation: who is labelled in which draw, and how test is resampled."""

    prepared: Prepared
    labels: np.ndarray
    attributes: np.ndarray
    draws: dict[tuple[float, int], np.ndarray]
    weights: np.ndarray

    @property
    def dataset(self) -> str:
        return str(self.prepared.info.get("dataset", "prepared"))


def run(config: EvaluateConfig, request: Request, prepared: Prepared) -> dict[str, Any]:
    """Probe every encoder at every draw of labels.

    Returns:
        The content of ``results.json``.
    """
    train, test = prepared.rows("train"), prepared.rows("test")
    labels = prepared.values(LABEL_PREFIX)
    labels = np.where(labels == -1, np.nan, labels)  # uncertain: masked like unknown
    pairs = draws_of(request.fractions, config.seeds)
    study = _Study(
        prepared,
        labels,
        prepared.values(ATTRIBUTE_PREFIX),
        {(fraction, seed): draw_rows(train, fraction, seed) for fraction, seed in pairs},
        patient_weights(prepared.manifest["patient"].to_numpy()[test], config.task.resamples),
    )
    scores, geometry = Scores(), {}
    notes: list[tuple[str, float, int]] = []
    for encoder in request.encoders:
        features = _features(config, request, study, encoder)
        geometry[encoder.name] = latent_geometry(features[test])
        for fraction, seed in pairs:
            remarks = _probe_draw(config, study, encoder, features, (fraction, seed), scores)
            notes += [(remark, fraction, seed) for remark in remarks]
    files = [e.name for e in request.encoders if e.origin.startswith("file ")]
    return {
        "format": FORMAT,
        "rows": scores.as_dicts(),
        "summary": scores.summary(),
        "differences": scores.differences(("macro_auc", "unmentioned_r2"), files),
        "geometry": geometry,
        "encoders": [_describe(encoder) for encoder in request.encoders],
        "data": _count(study),
        "options": {
            "fraction": request.fractions,
            "seeds": config.seeds,
            "inverse_penalties": config.task.inverse_penalties,
            "resamples": config.task.resamples,
        },
        "notes": request.notes + merge_notes(notes),
    } | provenance("mflag.evaluate")


def _features(
    config: EvaluateConfig, request: Request, study: _Study, encoder: NamedEncoder
) -> np.ndarray:
    """(n, N) float32; rows that no draw and no split needs stay 0."""
    prepared = study.prepared
    needed = [*study.draws.values(), prepared.rows("valid"), prepared.rows("test")]
    rows = np.unique(np.concatenate(needed))
    values = embed(prepared.images, rows, encoder, request.device, config.compute.batch_size)
    features = np.zeros((len(prepared), values.shape[1]), np.float32)
    features[rows] = values
    return features


def _probe_draw(
    config: EvaluateConfig,
    study: _Study,
    encoder: NamedEncoder,
    features: np.ndarray,
    draw: tuple[float, int],
    scores: Scores,
) -> list[str]:
    """Add the rows of one encoder and one draw; return what was left out, in words."""
    rows = study.draws[draw]
    valid, test = study.prepared.rows("valid"), study.prepared.rows("test")
    scaled = standardise(features[rows], features[valid], features[test])
    fields = {
        "task": "classification",
        "dataset": study.dataset,
        "encoder": encoder.name,
        "protocol": PROTOCOL,
        "fraction": draw[0],
        "seed": draw[1],
        "n_train": len(rows),
        "n_test": len(test),
    }
    notes = _probe_labels(config, study, scaled, rows, fields, scores)
    notes += _probe_attributes(study, scaled, rows, fields, scores)
    return notes


def _probe_labels(
    config: EvaluateConfig,
    study: _Study,
    scaled: Standardised,
    rows: np.ndarray,
    fields: dict[str, Any],
    scores: Scores,
) -> list[str]:
    valid, test = study.prepared.rows("valid"), study.prepared.rows("test")
    truth, names = study.labels[test], study.prepared.labels
    threads = available_threads(config.compute.threads)
    penalties = config.task.inverse_penalties
    probe = fit_probe(scaled, study.labels[rows], study.labels[valid], penalties, threads)
    predicted = probe.scores(scaled.test)
    used = probe.fitted & is_two_sided(truth)
    values = np.where(used, class_aucs(predicted, truth), np.nan)
    undrawn = [n for n, fitted in zip(names, probe.fitted, strict=True) if not fitted]
    untested = [n for n, two in zip(names, is_two_sided(truth), strict=True) if not two]
    reasons = []
    if undrawn:
        reasons.append(f"no positive or no negative among the drawn labels: {', '.join(undrawn)}")
    if untested:
        reasons.append(f"no positive or no negative on test: {', '.join(untested)}")
    note = f"left out, {'; '.join(reasons)}" if reasons else ""
    notes = [note] if note else []
    if probe.unconverged:
        notes.append(
            f"{fields['encoder']}: {probe.unconverged} logistic regressions stopped before they "
            "converged"
        )
    if not used.any():
        return [*notes, "no macro AUC, because no class is left"]
    indices = np.flatnonzero(used)
    resampled = np.stack(
        [auc_resamples(predicted[:, k], truth[:, k], study.weights) for k in indices]
    )
    macro = float(values[used].mean())
    scores.add(mean_over(resampled, 0), metric="macro_auc", value=macro, note=note, **fields)
    for k, samples in zip(indices, resampled, strict=True):
        scores.add(samples, metric=f"auc/{names[k]}", value=float(values[k]), **fields)
    return notes


def _probe_attributes(
    study: _Study, scaled: Standardised, rows: np.ndarray, fields: dict[str, Any], scores: Scores
) -> list[str]:
    if not study.prepared.attributes:
        return []
    truth = study.attributes[study.prepared.rows("test")]
    predicted = fit_ridge(scaled, study.attributes[rows])
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


def _describe(encoder: NamedEncoder) -> dict[str, Any]:
    return {
        "name": encoder.name,
        "arch": encoder.arch,
        "image_size": encoder.image_size,
        "origin": encoder.origin,
    }


def _count(study: _Study) -> dict[str, Any]:
    """Sizes of the splits, and positives, negatives and unknowns of each label."""
    prepared = study.prepared
    counts = {}
    for k, name in enumerate(prepared.labels):
        counts[name] = {
            split: {
                "positive": int((study.labels[prepared.rows(split), k] == 1).sum()),
                "negative": int((study.labels[prepared.rows(split), k] == 0).sum()),
                "unknown": int(np.isnan(study.labels[prepared.rows(split), k]).sum()),
            }
            for split in ("train", "valid", "test")
        }
    test_patients = prepared.manifest["patient"].to_numpy()[prepared.rows("test")]
    return {
        "dataset": study.dataset,
        "studies": prepared.split_counts(),
        "test_patients": len(set(test_patients.tolist())),
        "labels": counts,
        "attributes": prepared.attributes,
    }
