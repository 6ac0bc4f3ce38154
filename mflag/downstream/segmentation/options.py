"""What a segmentation refuses, before anything is computed or written."""

from mflag.config.evaluate import EvaluateConfig
from mflag.data.manifest import SPLITS, Prepared
from mflag.downstream.encoders import NamedEncoder
from mflag.downstream.request import SHARED_KEYS
from mflag.downstream.segmentation.affine import check_affine
from mflag.downstream.segmentation.losses import LOSSES
from mflag.downstream.segmentation.masks import read_masks
from mflag.downstream.segmentation.unet import STRIDE, require_smp
from mflag.downstream.training import TRAINING_KEYS, check_training
from mflag.errors import InputError

PROTOCOLS = ("frozen",)
KEYS = SHARED_KEYS | TRAINING_KEYS | {"finding", "batchnorm", "loss", "affine"}
BATCHNORM = ("frozen", "update")


def check(config: EvaluateConfig, protocols: list[str]) -> None:
    """Check the options.

    Raises:
        InputError: one cannot be used, or segmentation_models_pytorch is not installed.
    """
    task = config.task
    check_training(config, smallest_batch=1)
    check_affine(task.affine)
    for name, value, known in (
        ("batchnorm", task.batchnorm, BATCHNORM),
        ("loss", task.loss, tuple(LOSSES)),
    ):
        if value not in known:
            raise InputError(f"task.{name} is {value!r}; give {' or '.join(known)}")
    if task.image_size is not None:
        _check_size(task.image_size, "task.image_size is")
    require_smp()


def check_encoders(config: EvaluateConfig, encoders: list[NamedEncoder]) -> None:
    """Check that a U-Net takes the encoders' images.

    Raises:
        InputError: the size of an encoder, which ``task.image_size`` leaves in place.
    """
    for encoder in encoders if config.task.image_size is None else []:
        _check_size(encoder.image_size, f"encoder {encoder.name!r} was trained at")


def check_data(config: EvaluateConfig, prepared: Prepared) -> None:
    """Check the lesions.

    Raises:
        InputError: there are none to learn or to score, or they are damaged.
    """
    masks = read_masks(prepared, config.task.finding)
    for split in SPLITS:
        rows = prepared.rows(split)
        if not masks.known[rows].any():
            raise InputError(
                f"no image of split {split!r} of {prepared.path} has a known mask of "
                f"{masks.finding}; choose another task.finding"
            )
        if split != "valid" and not masks.is_positive[rows].any():
            raise InputError(
                f"no image of split {split!r} of {prepared.path} has a mask of {masks.finding}; "
                "choose another task.finding, or prepare more studies"
            )


def _check_size(size: int, what: str) -> None:
    if size % STRIDE:
        raise InputError(
            f"{what} {size} pixels, but a U-Net halves an image five times; give "
            f"task.image_size={max(1, round(size / STRIDE)) * STRIDE} or another multiple of "
            f"{STRIDE}"
        )
