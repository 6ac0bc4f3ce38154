"""Every encoder at every draw of labelled images."""

from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch

from mflag.config.evaluate import EvaluateConfig
from mflag.data.manifest import SPLITS, Prepared
from mflag.downstream.assemble import assemble
from mflag.downstream.encoders import NamedEncoder
from mflag.downstream.plan import Plan, plan_draws
from mflag.downstream.request import Request
from mflag.downstream.results import Scores, merge_notes
from mflag.downstream.segmentation.decoder import Material, train_decoder
from mflag.downstream.segmentation.dice import (
    METRICS,
    Counts,
    all_empty,
    all_ones,
    resamples,
    score,
)
from mflag.downstream.segmentation.masks import Masks, as_tensor, read_masks, resize_masks
from mflag.downstream.segmentation.options import check_encoders
from mflag.downstream.segmentation.pictures import choose_rows, draw_pictures
from mflag.downstream.segmentation.views import view_counts, view_scores
from mflag.downstream.task import Outcome
from mflag.downstream.training import Compute
from mflag.reporting.gallery import Picture

# Encoders of the rows of trivial predictors, which have neither protocol nor labels.
NO_PROTOCOL = "none"
EMPTY, ONES = "all_empty", "all_ones"
BASELINES = {
    "dice_all_empty_baseline": (EMPTY, "dice_all"),
    "dice_all_ones_baseline": (ONES, "dice_all"),
    "dice_positive_ones_baseline": (ONES, "dice_positive"),
}


def run(
    config: EvaluateConfig, request: Request, prepared: Prepared, show_pictures: bool
) -> Outcome:
    """Train a decoder on every encoder at every draw of labelled images."""
    check_encoders(config, request.encoders)
    found = _Evaluation(config, request, prepared, config.report.examples * show_pictures)
    found.add_baselines()
    for encoder in request.encoders:
        found.evaluate(encoder)
    plan = found.plan
    notes = [*request.notes, *_left_out(plan, found.masks), *merge_notes(found.notes)]
    scores, encoders, library = found.scores, request.encoders, ["segmentation-models-pytorch"]
    results = {
        **assemble("segmentation", scores, METRICS[:3], encoders, prepared, notes, library),
        "training": found.training,
        "views": view_counts(plan, found.masks) | {"within": found.within},
        "data": _describe_data(plan, found.masks),
        "options": _options(config, request, found.protocol),
    }
    return Outcome(results, plan.drawn_ids(), found.pictures)


class _Evaluation:
    """Collects rows, remarks and pictures, an encoder after the other."""

    def __init__(
        self, config: EvaluateConfig, request: Request, prepared: Prepared, examples: int
    ) -> None:
        self.config, self.request = config, request
        self.masks = read_masks(prepared, config.task.finding)
        self.plan = plan_draws(config, request.fractions, prepared, self.masks.known)
        shown = choose_rows(self.plan.test, self.masks.is_positive, examples)
        self.material = Material(prepared, self.masks, self.plan.valid, self.plan.test, shown)
        self.protocol = config.task.batchnorm
        self.scores = Scores()
        self.training: list[dict[str, Any]] = []
        self.within: list[dict[str, Any]] = []
        self.notes: list[tuple[str, float, int]] = []
        self.pictures: list[Picture] = []

    def add_baselines(self) -> None:
        """Score predictors that mark nothing, or everything, at the first encoder's size."""
        size = self.config.task.image_size or self.request.encoders[0].image_size
        true = _true_pixels(self.masks, self.plan.test, size, self.config.compute.batch_size)
        has_mask = self.masks.is_positive[self.plan.test]
        trivial = {EMPTY: all_empty(true, has_mask), ONES: all_ones(true, has_mask, size**2)}
        fields: dict[str, Any] = {
            "task": "segmentation",
            "dataset": self.plan.dataset,
            "protocol": NO_PROTOCOL,
            "fraction": 0.0,
            "seed": 0,
            "n_train": 0,
            "n_test": len(self.plan.test),
        }
        for metric, (encoder, of) in BASELINES.items():
            counts = trivial[encoder]
            samples = resamples(counts, of, self.plan.weights)
            value = score(counts, of)
            self.scores.add(samples, metric=metric, encoder=encoder, value=value, **fields)
        self.empty_dice = score(trivial[EMPTY], "dice_all")

    def evaluate(self, encoder: NamedEncoder) -> None:
        for draw in self.plan.draws:
            self.notes += [(remark, *draw) for remark in self._train(encoder, draw)]

    def _train(self, encoder: NamedEncoder, draw: tuple[float, int]) -> list[str]:
        """Add the rows of a trained decoder; return what went wrong, in words."""
        request, rows = self.request, self.plan.draws[draw]
        compute = Compute(request.device, request.dtype, self.config.compute.batch_size)
        is_pictured = not self.pictures and draw[0] == max(request.fractions)
        material = self.material if is_pictured else replace(
            self.material, pictured=np.zeros(0, np.int64)
        )  # fmt: skip
        found = train_decoder(material, rows, encoder, self.config.task, compute, draw[1])
        course = found.course
        of_draw = {"encoder": encoder.name, "fraction": draw[0], "seed": draw[1]}
        self.training.append(
            of_draw
            | {"epochs": course.epochs, "best_epoch": course.best_epoch}
            | {"valid_dice_pooled": course.valid}
        )
        notes = []
        if not self.masks.is_positive[rows].any():
            notes.append(f"none of the labelled images has a mask of {self.masks.finding}")
        if course.diverged:
            notes.append(
                f"the decoder on {encoder.name} diverged (NaN or infinite loss) in epoch "
                f"{course.epochs}; give a smaller task.lr"
            )
        if not course.best_epoch:
            return notes
        if not course.valid:
            notes.append("no image of valid has a mask: the last epoch was kept")
        self._score(found.counts, encoder, draw)
        if is_pictured:
            self.pictures = draw_pictures(self.material, found.pictured, encoder.name, draw[0])
        return notes

    def _score(self, counts: Counts, encoder: NamedEncoder, draw: tuple[float, int]) -> None:
        named = {"task": "segmentation", "encoder": encoder.name, "protocol": self.protocol}
        fields = named | self.plan.fields_of(draw)
        for metric in METRICS:
            value = score(counts, metric)
            if np.isnan(value):
                continue
            note = ""
            if metric == "dice_all" and value < self.empty_dice:
                note = f"below the all-empty predictor's {self.empty_dice:.4f}"
            samples = resamples(counts, metric, self.plan.weights)
            self.scores.add(samples, metric=metric, value=value, note=note, **fields)
        if draw == (max(self.request.fractions), 0):
            self.within += [named | row for row in view_scores(self.plan, counts)]


def _true_pixels(masks: Masks, rows: np.ndarray, size: int, batch: int) -> np.ndarray:
    """(n,) int64 pixels of each mask at a size."""
    parts = [
        resize_masks(as_tensor(masks.of(rows[k : k + batch]), torch.device("cpu")), size)
        .flatten(1)
        .sum(1)
        .numpy()
        for k in range(0, len(rows), batch)
    ]
    return np.concatenate(parts)


def _describe_data(plan: Plan, masks: Masks) -> dict[str, Any]:
    rows = {split: plan.prepared.rows(split) for split in SPLITS}
    return {
        "dataset": plan.dataset,
        "studies": plan.prepared.split_counts(),
        "test_patients": plan.test_patients,
        "finding": masks.finding,
        "lesions": masks.names,
        "foreground": {
            split: {
                "positive": int(masks.is_positive[r].sum()),
                "empty": int((masks.known[r] & ~masks.is_positive[r]).sum()),
                "unknown": int((~masks.known[r]).sum()),
            }
            for split, r in rows.items()
        },
    }


def _options(config: EvaluateConfig, request: Request, protocol: str) -> dict[str, Any]:
    task = config.task
    names = (
        "epochs", "lr", "weight_decay", "batch_size", "image_size", "patience", "loss", "batchnorm",
        "finding", "resamples",
    )  # fmt: skip
    return {
        "fraction": request.fractions,
        "seeds": config.seeds,
        "protocol": [protocol],
        **{name: getattr(task, name) for name in names},
        "affine": asdict(task.affine),
        "precision": str(request.dtype).removeprefix("torch."),
    }


def _left_out(plan: Plan, masks: Masks) -> list[str]:
    count = int((~masks.known).sum())
    if not count:
        return []
    return [
        f"{count:,} images are labelled {masks.finding} but nothing is drawn in them: they are in "
        "no split"
    ]
