"""A detector on every encoder at every draw of labels."""

from typing import Any

import numpy as np

from mflag.config.evaluate import EvaluateConfig
from mflag.data.manifest import SPLITS, Prepared
from mflag.downstream.assemble import assemble
from mflag.downstream.detection.boxes import TrueBoxes, read_boxes
from mflag.downstream.detection.detector import Detected, detect
from mflag.downstream.detection.matching import IOU_THRESHOLDS, Predictions
from mflag.downstream.detection.options import check_encoders
from mflag.downstream.detection.pictures import draw_examples
from mflag.downstream.detection.protocols import (
    Judged,
    constant_predictions,
    judge,
    mean_average_precision,
)
from mflag.downstream.detection.pyramid import FeaturePyramids
from mflag.downstream.encoders import NamedEncoder
from mflag.downstream.plan import Plan, plan_draws
from mflag.downstream.request import Request
from mflag.downstream.results import Scores, merge_notes
from mflag.downstream.task import Outcome
from mflag.downstream.training import Compute

NO_PROTOCOL = "none"


def run(
    config: EvaluateConfig, request: Request, prepared: Prepared, show_pictures: bool
) -> Outcome:
    """Train a detector on every encoder at every draw of labels, and score it on test.

    Raises:
        InputError: an encoder's input is too small.
    """
    check_encoders(config, request.encoders)
    truths = read_boxes(prepared, config.task.finding)
    plan = plan_draws(config, request.fractions, prepared, truths.known)
    found = _Evaluation(config, request, plan, truths)
    baselines = [
        found.add_baseline("no_prediction", _nothing()),
        found.add_baseline("mean_box", _mean_box(plan, truths)),
    ]
    for encoder in request.encoders:
        found.evaluate(encoder)
    notes = [*request.notes, *_left_out(truths), *merge_notes(found.notes)]
    scores, encoders, compared = found.scores, request.encoders, ("map_full", "map_mgca")
    results = {
        **assemble("detection", scores, compared, encoders, prepared, notes, ["ultralytics"]),
        "baselines": baselines,
        "detectors": found.detectors,
        "data": _describe_data(plan, truths),
        "options": _options(config, request),
    }
    pictures = (
        draw_examples(plan, truths, found.shown, config.report.examples) if show_pictures else []
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

    def add_baseline(self, name: str, predictions: Predictions) -> dict[str, Any]:
        """Score who does not look at the images."""
        judged = judge(predictions, self.truths.of(self.plan.test))
        fields = {"task": "detection", "encoder": name, "protocol": NO_PROTOCOL, "fraction": 0.0}
        fields |= {"dataset": self.plan.dataset, "seed": 0, "n_train": 0}
        fields["n_test"] = len(self.plan.test)
        values = self._add_rows(judged, f"_{name}_baseline", fields)
        return {"name": name.replace("_", " "), "n_kept": judged.kept} | values

    def evaluate(self, encoder: NamedEncoder) -> None:
        plan, draws = self.plan, self.plan.draws
        size = self.config.task.image_size or encoder.image_size
        pyramids = FeaturePyramids(plan.prepared.images, encoder, size, self.compute)
        pyramids.remember([plan.valid, *draws.values(), plan.test])
        for draw in draws:
            self.notes += [(remark, *draw) for remark in self._detect(encoder, pyramids, draw)]

    def _detect(
        self, encoder: NamedEncoder, pyramids: FeaturePyramids, draw: tuple[float, int]
    ) -> list[str]:
        """Add the rows of a detector; return what was left out, in words."""
        rows = self.plan.draws[draw]
        counts = self.truths.counts(rows)
        if not counts["boxes"]:
            return [f"none of the {len(rows)} drawn images has a box: nothing was trained"]
        found = detect(
            self.plan, self.truths, rows, encoder, pyramids, self.config.task, self.compute, draw[1]
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
        test = self.plan.test
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
        self._add_rows(judged, "", fields)
        if judged.kept:
            return []
        return [
            f"{encoder.name}: no test image with a box has a prediction of 0.5 or more, so "
            "map_mgca keeps none and is counted as 0"
        ]

    def _add_rows(self, judged: Judged, suffix: str, fields: dict[str, Any]) -> dict[str, float]:
        """Add mAP in both protocols, and AP by IoU; return the two."""
        kept = f"{judged.kept} of {len(self.plan.test)} test images kept"
        found = {}
        for metric, matches, note in (
            ("map_full", judged.full, ""),
            ("map_mgca", judged.mgca, kept),
        ):
            values = mean_average_precision(matches)[0]
            samples = mean_average_precision(matches, self.plan.weights)
            parts = ("", *(f"/{threshold:.2f}" for threshold in IOU_THRESHOLDS))
            for part, value, sample in zip(parts, values, samples.T, strict=True):
                name = metric + suffix + part
                self.scores.add(sample, metric=name, value=float(value), note=note, **fields)
            found[metric] = float(values[0])
        return found


def _nothing() -> Predictions:
    """Of who never predicts a box."""
    return constant_predictions(0, np.zeros(4), 0.0)


def _mean_box(plan: Plan, truths: TrueBoxes) -> Predictions:
    """The same box in every image, without a look at it: the mean of all training boxes.

    Its score is the share of training images with a box.
    """
    train = plan.prepared.rows("train")
    counts = truths.counts(train)
    box = np.concatenate(truths.of(train)).mean(0)
    return constant_predictions(len(plan.test), box, counts["positive"] / counts["images"])


def _left_out(truths: TrueBoxes) -> list[str]:
    count = int((~truths.known).sum())
    if not count:
        return []
    return [f"{count:,} images are labelled {truths.finding} but have no box: they are in no split"]


def _describe_data(plan: Plan, truths: TrueBoxes) -> dict[str, Any]:
    prepared = plan.prepared
    return {
        "dataset": plan.dataset,
        "studies": prepared.split_counts(),
        "test_patients": plan.test_patients,
        "finding": truths.finding,
        "lesions": truths.names,
        "boxes": {split: truths.counts(prepared.rows(split)) for split in SPLITS},
    }


def _options(config: EvaluateConfig, request: Request) -> dict[str, Any]:
    names = ("epochs", "lr", "weight_decay", "batch_size", "image_size", "patience", "resamples")
    return {
        "fraction": request.fractions,
        "seeds": config.seeds,
        "protocol": request.protocols,
    } | {name: getattr(config.task, name) for name in names}
