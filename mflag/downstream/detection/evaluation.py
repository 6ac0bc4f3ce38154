"""A detector on every encoder at every draw of labels."""

from importlib.metadata import version
from typing import Any

import numpy as np

from mflag.config.evaluate import EvaluateConfig
from mflag.data.manifest import SPLITS, Prepared
from mflag.downstream.detection.boxes import TrueBoxes, read_boxes
from mflag.downstream.detection.detector import Detected, detect
from mflag.downstream.detection.matching import IOU_THRESHOLDS
from mflag.downstream.detection.options import check_encoders
from mflag.downstream.detection.pictures import draw_examples
from mflag.downstream.detection.protocols import (
    Judged,
    constant_predictions,
    judge,
    mean_average_precision,
)
from mflag.downstream.detection.pyramid import FeaturePyramids
from mflag.downstream.encoders import NamedEncoder, describe, overlap_notes
from mflag.downstream.plan import Plan, plan_draws
from mflag.downstream.request import Request
from mflag.downstream.results import FORMAT, Scores, merge_notes, provenance
from mflag.downstream.task import Outcome
from mflag.downstream.training import Compute


def run(
    config: EvaluateConfig, request: Request, prepared: Prepared, show_pictures: bool
) -> Outcome:
    """Train a detector on every encoder at every draw of labels, and score it on test.

    Raises:
        InputError: an encoder's input is too small.
    """
    check_encoders(config, request.encoders)
    plan = plan_draws(config, request.fractions, prepared)
    truths = read_boxes(prepared, config.task.finding)
    found = _Evaluation(config, request, plan, truths)
    for encoder in request.encoders:
        found.evaluate(encoder)
    files = [e.name for e in request.encoders if e.origin.startswith("file ")]
    made = provenance("mflag.evaluate")
    made["versions"]["ultralytics"] = version("ultralytics")
    results = {
        "format": FORMAT,
        "task": "detection",
        "rows": found.scores.as_dicts(),
        "summary": found.scores.summary(),
        "differences": found.scores.differences(("map_full", "map_mgca"), files),
        "baselines": [_nothing(), _mean_box(plan, truths)],
        "detectors": found.detectors,
        "encoders": describe(request.encoders),
        "data": _describe_data(config, plan, truths),
        "options": _options(config, request),
        "notes": [
            *(f"warning from prepare: {warning}" for warning in prepared.warnings),
            *overlap_notes(request.encoders, plan.dataset),
            *request.notes,
            *merge_notes(found.notes),
        ],
    } | made
    pictures = (
        draw_examples(prepared, truths, found.shown, config.report.examples)
        if show_pictures
        else []
    )
    return Outcome(results, plan.drawn_ids(), pictures)


class _Evaluation:
    """Collects rows and remarks, an encoder after the other."""

    def __init__(
        self, config: EvaluateConfig, request: Request, plan: Plan, truths: TrueBoxes
    ) -> None:
        self.config, self.plan, self.truths = config, plan, truths
        self.compute = Compute(request.device, request.dtype, config.compute.batch_size)
        self.scores = Scores()
        self.detectors: list[dict[str, Any]] = []
        self.notes: list[tuple[str, float, int]] = []
        self.shown: dict[str, Judged] = {}  # by encoder: seed 0 of the largest fraction

    def evaluate(self, encoder: NamedEncoder) -> None:
        prepared, draws = self.plan.prepared, self.plan.draws
        size = self.config.task.image_size or encoder.image_size
        pyramids = FeaturePyramids(prepared.images, encoder, size, self.compute)
        pyramids.remember([prepared.rows("valid"), *draws.values(), prepared.rows("test")])
        for draw in draws:
            self.notes += [(remark, *draw) for remark in self._detect(encoder, pyramids, draw)]

    def _detect(
        self, encoder: NamedEncoder, pyramids: FeaturePyramids, draw: tuple[float, int]
    ) -> list[str]:
        """Add the rows of a detector; return what was left out, in words."""
        prepared, rows = self.plan.prepared, self.plan.draws[draw]
        counts = self.truths.counts(rows)
        if not counts["boxes"]:
            return [f"none of the {len(rows)} drawn images has a box: nothing was trained"]
        found = detect(
            prepared, self.truths, rows, encoder, pyramids, self.config.task, self.compute, draw[1]
        )
        course, notes = found.course, []
        if course.diverged:
            notes.append(
                f"the detector on {encoder.name} diverged (NaN or infinite loss) in epoch "
                f"{course.epochs}; give a smaller task.lr"
            )
        if course.best_epoch and not course.valid:
            notes.append("no image of valid has a box: the last epoch was kept")
        return notes + self._score(encoder, found, draw, counts)

    def _score(
        self,
        encoder: NamedEncoder,
        found: Detected,
        draw: tuple[float, int],
        counts: dict[str, int],
    ) -> list[str]:
        if found.predictions is None:
            return []
        test = self.plan.prepared.rows("test")
        judged = judge(found.predictions, self.truths.of(test))
        if draw == (max(self.plan.draws)[0], 0):
            self.shown[encoder.name] = judged
        course = found.course
        self.detectors.append(
            {"encoder": encoder.name, "fraction": draw[0], "seed": draw[1]}
            | {"epochs": course.epochs, "best_epoch": course.best_epoch}
            | {"valid_map_full": course.valid, "n_kept": judged.kept, "n_test": len(test)}
            | {"n_train_positive": counts["positive"], "n_train_boxes": counts["boxes"]}
        )
        named = {"task": "detection", "encoder": encoder.name, "protocol": "frozen"}
        fields = named | self.plan.fields_of(draw)
        kept = f"{judged.kept} of {len(test)} test images kept"
        for metric, matches, note in (
            ("map_full", judged.full, ""),
            ("map_mgca", judged.mgca, kept),
        ):
            values = mean_average_precision(matches)[0]
            samples = mean_average_precision(matches, self.plan.weights)
            parts = ("", *(f"/{threshold:.2f}" for threshold in IOU_THRESHOLDS))
            for part, value, sample in zip(parts, values, samples.T, strict=True):
                self.scores.add(
                    sample, metric=metric + part, value=float(value), note=note, **fields
                )
        if judged.kept:
            return []
        return [
            f"{encoder.name}: no test image with a box has a prediction of 0.5 or more, so "
            "map_mgca keeps none and is counted as 0"
        ]


def _nothing() -> dict[str, Any]:
    """Who never predicts a box."""
    return {"name": "no prediction", "map_full": 0.0, "map_mgca": 0.0, "n_kept": 0}


def _mean_box(plan: Plan, truths: TrueBoxes) -> dict[str, Any]:
    """The same box in every image, without a look at it: the mean of all training boxes.

    Its score is the share of training images with a box.
    """
    train, test = plan.prepared.rows("train"), plan.prepared.rows("test")
    counts = truths.counts(train)
    box = np.concatenate(truths.of(train)).mean(0)
    score = counts["positive"] / counts["images"]
    judged = judge(constant_predictions(len(test), box, score), truths.of(test))
    full, mgca = (float(mean_average_precision(m)[0, 0]) for m in (judged.full, judged.mgca))
    return {
        "name": "mean box", "map_full": full, "map_mgca": mgca, "n_kept": judged.kept,
        "box": [round(float(side), 4) for side in box], "score": score,
    }  # fmt: skip


def _describe_data(config: EvaluateConfig, plan: Plan, truths: TrueBoxes) -> dict[str, Any]:
    prepared = plan.prepared
    return {
        "dataset": plan.dataset,
        "studies": prepared.split_counts(),
        "test_patients": plan.test_patients,
        "finding": config.task.finding,
        "findings": truths.findings,
        "boxes": {split: truths.counts(prepared.rows(split)) for split in SPLITS},
    }


def _options(config: EvaluateConfig, request: Request) -> dict[str, Any]:
    names = ("epochs", "lr", "weight_decay", "batch_size", "image_size", "patience", "resamples")
    return {
        "fraction": request.fractions,
        "seeds": config.seeds,
        "protocol": request.protocols,
    } | {name: getattr(config.task, name) for name in names}
