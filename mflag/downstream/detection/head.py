"""A YOLOv3 neck and head made of ultralytics' parts (AGPL-3.0)."""

import functools
import importlib.util
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from mflag.downstream.detection.pyramid import STRIDES
from mflag.errors import InputError
from mflag.models.ultralytics_parts import ultralytics_parts

# Widths of ultralytics' yolov3.yaml at P5/32 belong to a C5 of so many channels.
_FULL_WIDTH_C5 = 2048
# Of yolov3.yaml's training: weights of the box, class and distribution losses.
_GAINS = {"box": 7.5, "cls": 0.5, "dfl": 1.5}


def check_ultralytics() -> None:
    """Refuse to start without ultralytics, or with one that does not load.

    Raises:
        InputError: with the command that installs it.
    """
    if importlib.util.find_spec("ultralytics") is None:
        raise InputError(
            "task=detection needs ultralytics, which is not installed (it is under AGPL-3.0, "
            "therefore an extra); install it: pip install 'mflag[detection]'"
        )
    try:
        ultralytics_parts()
    except ImportError as error:
        raise InputError(
            f"ultralytics cannot be imported ({error}); where a library of the display is missing, "
            "put opencv-python-headless in the place of opencv-python"
        ) from error


class YoloHead(nn.Module):
    """Neck and head of ultralytics' ``yolov3.yaml`` on feature maps of strides 8, 16 and 32.

    One class. The widths of the published model go with ResNet-50; other encoders get them in
    proportion to their C5.
    """

    def __init__(self, channels: list[int], seed: int) -> None:
        """Build it.

        Args:
            channels: of C3, C4, C5.
            seed: of its weights.
        """
        super().__init__()
        parts = ultralytics_parts()
        conv, bottleneck = parts.Conv, parts.Bottleneck
        c3, c4, c5 = channels
        wide = max(32, 1024 * c5 // _FULL_WIDTH_C5)
        half, quarter, eighth = wide // 2, wide // 4, wide // 8
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.large = nn.Sequential(
                bottleneck(c5, wide, False), conv(wide, half, 1, 1), conv(half, wide, 3, 1),
                conv(wide, half, 1, 1),
            )  # fmt: skip
            self.large_out = conv(half, wide, 3, 1)
            self.to_medium = nn.Sequential(conv(half, quarter, 1, 1), nn.Upsample(scale_factor=2))
            self.medium = nn.Sequential(
                bottleneck(quarter + c4, half, False), bottleneck(half, half, False),
                conv(half, quarter, 1, 1),
            )  # fmt: skip
            self.medium_out = conv(quarter, half, 3, 1)
            self.to_small = nn.Sequential(conv(quarter, eighth, 1, 1), nn.Upsample(scale_factor=2))
            self.small_out = nn.Sequential(
                bottleneck(eighth + c3, quarter, False), bottleneck(quarter, quarter, False),
                bottleneck(quarter, quarter, False),
            )  # fmt: skip
            self.join = parts.Concat(1)
            self.detect = _whole_convolutions()(1, ch=(quarter, half, wide))
        self.detect.stride = torch.tensor(STRIDES, dtype=torch.float32)
        self.detect.xyxy = True
        self.detect.bias_init()

    @property
    def model(self) -> list[nn.Module]:
        """What ultralytics' loss looks at: the last one is the head."""
        return [self.detect]

    @property
    def args(self) -> SimpleNamespace:
        """Hyper-parameters that ultralytics' loss reads."""
        return SimpleNamespace(**_GAINS)

    def forward(self, maps: list[Tensor]) -> Any:
        """Return what ultralytics' ``Detect`` does.

        Args:
            maps: C3, C4, C5, (B, channels, h, w) float32.

        Returns:
            While training the raw outputs for ``detection_loss``; else the same as second of two,
            the first being (B, 5, anchors): left, top, right, bottom in pixels, and the score.
        """
        small, medium, large = maps
        large = self.large(large)
        medium = self.medium(self.join([self.to_medium(large), medium]))
        small = self.small_out(self.join([self.to_small(medium), small]))
        return self.detect([small, self.medium_out(medium), self.large_out(large)])


def detection_loss(head: YoloHead) -> Any:
    """Return ultralytics' loss: called with outputs and a batch, it gives box, class and DFL loss.

    The batch is ``batch_idx`` (m,) ascending, ``cls`` (m,) and ``bboxes`` (m, 4): centre, width and
    height in shares of the image.
    """
    return ultralytics_parts().v8DetectionLoss(head)


@functools.cache
def _whole_convolutions() -> Any:
    """``Detect`` with whole convolutions, as in YOLOv3; YOLO11 made them separable."""

    class PlainDetect(ultralytics_parts().Detect):  # type: ignore[misc]
        legacy = True

    return PlainDetect
