"""What a detection refuses, before anything is computed or written."""

from mflag.config.evaluate import EvaluateConfig
from mflag.data.manifest import SPLITS, Prepared
from mflag.downstream.detection.boxes import read_boxes
from mflag.downstream.detection.head import check_ultralytics
from mflag.downstream.detection.pyramid import MIN_IMAGE_SIZE, STRIDES
from mflag.downstream.encoders import NamedEncoder
from mflag.downstream.request import SHARED_KEYS
from mflag.downstream.training import TRAINING_KEYS, check_training
from mflag.errors import InputError

PROTOCOLS = ("frozen",)
KEYS = SHARED_KEYS | TRAINING_KEYS | {"finding"}


def check(config: EvaluateConfig, protocols: list[str]) -> None:
    """Check the options, and that ultralytics is there.

    Raises:
        InputError: one cannot be used, or the extra is not installed.
    """
    check_training(config)
    size = config.task.image_size
    if size is not None and not _is_fit(size):
        raise InputError(
            f"task.image_size is {size}; give a multiple of {max(STRIDES)} from {MIN_IMAGE_SIZE} "
            "on: the feature maps have strides 8, 16 and 32"
        )
    check_ultralytics()


def check_data(config: EvaluateConfig, prepared: Prepared) -> None:
    """Check the boxes.

    Raises:
        InputError: there are none to learn or to score, or they are damaged.
    """
    boxes = read_boxes(prepared, config.task.finding)
    for split in SPLITS:
        counts = boxes.counts(prepared.rows(split))
        if not counts["images"] or (split != "valid" and not counts["boxes"]):
            raise InputError(
                f"no image of split {split!r} of {prepared.path} has a box of {boxes.finding}; "
                "choose another task.finding, or prepare more studies"
            )


def check_encoders(config: EvaluateConfig, encoders: list[NamedEncoder]) -> None:
    """Check the size of the encoders' input.

    Raises:
        InputError: one has a size that gives no three feature maps.
    """
    for encoder in encoders:
        size = config.task.image_size or encoder.image_size
        if not _is_fit(size):
            raise InputError(
                f"encoder {encoder.name!r} was trained at {size} pixels; detection needs a "
                f"multiple of {max(STRIDES)} from {MIN_IMAGE_SIZE} on: give task.image_size"
            )


def _is_fit(size: int) -> bool:
    return size >= MIN_IMAGE_SIZE and size % max(STRIDES) == 0
