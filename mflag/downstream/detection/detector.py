"""A YOLOv3 head that learns on the feature maps of a frozen encoder."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mflag.config.evaluate import TaskConfig
from mflag.data.feeds.batch import Batch
from mflag.downstream.detection.boxes import TrueBoxes
from mflag.downstream.detection.head import YoloHead, detection_loss
from mflag.downstream.detection.matching import Predictions
from mflag.downstream.detection.protocols import judge, mean_average_precision, suppress
from mflag.downstream.detection.pyramid import FeaturePyramids
from mflag.downstream.encoders import NamedEncoder
from mflag.downstream.plan import Plan
from mflag.downstream.training import Compute, Course, Training, repeatable


@dataclass(frozen=True)
class Detected:
    """What a trained detector found.

    Attributes:
        predictions: of the test images, in shares of the image; None where training never gave
            finite numbers.
        course: how training went; ``valid`` is ``map_full``.
    """

    predictions: Predictions | None
    course: Course


def detect(
    plan: Plan,
    truths: TrueBoxes,
    rows: np.ndarray,
    encoder: NamedEncoder,
    pyramids: FeaturePyramids,
    config: TaskConfig,
    compute: Compute,
    seed: int,
) -> Detected:
    """Train a head on labelled rows, and predict boxes of the test images.

    Equal arguments give equal results on the CPU. The encoder is not trained and stays bit by bit
    as it was, BatchNorm's statistics included. Images are not augmented.

    Args:
        plan: images, and which of them choose and are scored.
        truths: boxes of all images.
        rows: (k,) labelled rows of the train split; one at least has a box.
        encoder: how its input is normalised, and its name.
        pyramids: its feature maps.
        config: rates, sizes and when to stop.
        compute: where.
        seed: of the head's weights and the order of the images.

    Raises:
        InputError: the GPU's memory does not hold a step.
    """
    with repeatable(config, compute.device):
        return _Detector(plan, truths, rows, encoder, pyramids, config, compute, seed).run()


class _Detector:
    """One training."""

    def __init__(
        self,
        plan: Plan,
        truths: TrueBoxes,
        rows: np.ndarray,
        encoder: NamedEncoder,
        pyramids: FeaturePyramids,
        config: TaskConfig,
        compute: Compute,
        seed: int,
    ) -> None:
        self.plan, self.truths, self.encoder = plan, truths, encoder
        self.pyramids, self.compute = pyramids, compute
        self.head = YoloHead(pyramids.channels, seed).to(compute.device)
        self.loss = detection_loss(self.head)
        self.training = Training(
            self.head, encoder, plan.prepared, rows, config, compute, seed, reads_images=False
        )

    def run(self) -> Detected:
        valid = self.plan.valid
        wanted = self.truths.of(valid)
        chooses = any(len(boxes) for boxes in wanted)
        course = self.training.run(
            f"detector on {self.encoder.name}",
            self._loss_of,
            (lambda: self._map(valid, wanted)) if chooses else None,
            "valid mAP",
        )
        return Detected(self._predict(self.plan.test) if course.best_epoch else None, course)

    def _loss_of(self, batch: Batch, step: int) -> Tensor:
        rows = batch.rows.numpy()
        loss, _ = self.loss(self.head(self.pyramids.of(rows)), targets_of(self.truths.of(rows)))
        return loss.sum() / len(rows)  # type: ignore[no-any-return]

    def _map(self, rows: np.ndarray, wanted: list[np.ndarray]) -> float:
        """``map_full``; NaN where a prediction is."""
        found = self._predict(rows)
        if found is None:
            return float("nan")
        return float(mean_average_precision(judge(found, wanted).full)[0, 0])

    def _predict(self, rows: np.ndarray) -> Predictions | None:
        """None where a number is not finite."""
        self.head.eval()
        with torch.inference_mode():
            parts = [self.head(maps)[0].cpu().numpy() for maps in self.pyramids.batches(rows)]
        raw = np.concatenate(parts).transpose(0, 2, 1)
        if not np.isfinite(raw).all():
            return None
        boxes = np.clip(raw[..., :4] / self.training.size, 0, 1)
        return suppress(np.ascontiguousarray(boxes), np.ascontiguousarray(raw[..., 4]))


def targets_of(boxes: list[np.ndarray]) -> dict[str, Tensor]:
    """Return the boxes of a batch as ultralytics' loss wants them.

    Args:
        boxes: B arrays (g, 4): left, top, right, bottom in shares of the image.

    Returns:
        ``batch_idx`` (m,) ascending, ``cls`` (m,) zeros, ``bboxes`` (m, 4) float32 copies: centre,
        width, height in shares of the image.
    """
    corners = torch.from_numpy(np.concatenate([np.zeros((0, 4)), *boxes])).float()
    low, high = corners[:, :2], corners[:, 2:]
    image = torch.repeat_interleave(torch.tensor([len(b) for b in boxes]))
    return {
        "batch_idx": image.float(),
        "cls": torch.zeros(len(corners)),
        "bboxes": torch.cat([(low + high) / 2, high - low], 1),
    }
