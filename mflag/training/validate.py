"""What can be refused before anything is read or written."""

import math
import sys

from torch import nn

from mflag.config.model import ModelConfig
from mflag.config.train import TrainConfig
from mflag.data.augment import check_augment
from mflag.data.feeds import check_feed
from mflag.data.manifest import IMAGE_SIZE, STORED_SIZES, Prepared
from mflag.data.text_vectors import check_unfreezing, choose_text_source
from mflag.errors import InputError
from mflag.models.encoder_file import EMBEDDING_DIM
from mflag.models.projector import PROJECTORS, build_projector
from mflag.training.model import PretrainingLoss
from mflag.training.optimizer import build_optimizer, learning_rate_by_step

LARS_WANTS_BATCH = 256


def validate(config: TrainConfig) -> None:
    """Check every value that needs no data.

    Raises:
        InputError: the first key that is wrong, its value and what is allowed.
    """
    _at_least(
        1,
        {
            "train.epochs": config.train.epochs,
            "train.batch_size": config.train.batch_size,
            "train.image_size": config.train.image_size,
            "data.size": config.data.size,
            "log.every": config.log.every,
            "log.latents": config.log.latents,
            "checkpoint.every": config.checkpoint.every,
            "checkpoint.keep": config.checkpoint.keep,
            "loss.share_every": config.loss.share_every,
        },
    )
    _at_least(0, {"seed": config.seed, "data.seed": config.data.seed})
    # generated studies are drawn and stored at this size
    largest = IMAGE_SIZE if config.data.path is None else max(STORED_SIZES)
    if not 32 <= config.train.image_size <= largest:
        raise InputError(f"train.image_size is {config.train.image_size}; give 32 to {largest}")
    if config.model.arch not in EMBEDDING_DIM:
        known = ", ".join(EMBEDDING_DIM)
        raise InputError(f"model.arch is {config.model.arch!r}; choose one of {known}")
    if config.data.source != "phantom" and config.data.path is None:
        raise InputError(
            f"data.source is {config.data.source!r}; use data=phantom or data.path=DIR"
        )
    if not 0 < config.compute.bucket_mb < math.inf:
        raise InputError(f"compute.bucket_mb is {config.compute.bucket_mb}; give a number above 0")
    if config.feed.name == "dali" and config.data.path is None:
        raise InputError(
            "feed=dali decodes image files, but data=phantom makes none; give data.path=DIR of "
            "prepared files, or feed=cache"
        )
    check_feed(config.feed)
    _check_step(config)
    _check_text(config)
    if config.train.batch_size > config.data.size and config.data.path is None:
        raise InputError(
            f"train.batch_size is {config.train.batch_size}, but data.size is {config.data.size}; "
            "give a smaller batch or more studies"
        )
    check_augment(config.augment)
    _check_projectors(config.model)
    _check_micro_batch(config)
    _check_loss(config)
    _check_optim(config)


def check_stored_size(config: TrainConfig, prepared: Prepared) -> None:
    """Refuse to train on images that would have to be enlarged.

    Raises:
        InputError: ``train.image_size`` is above the size of the stored images.
    """
    asked, stored = config.train.image_size, prepared.image_size
    if asked > stored:
        raise InputError(
            f"train.image_size is {asked}, but {prepared.path} stores images of {stored} x {stored}"
            f"; prepare with stored_size={min(s for s in STORED_SIZES if s >= asked)}, or give "
            f"{stored} or less"
        )


def _check_step(config: TrainConfig) -> None:
    if config.model.one_channel not in ("auto", "true", "false"):
        raise InputError(
            f"model.one_channel is {config.model.one_channel!r}; choose auto, true or false"
        )
    changing = {
        "train.micro_batch_size": (config.train.micro_batch_size, "null"),
        "text.unfreeze_last": (config.text.unfreeze_last, "0"),
    }
    for key, (value, off) in changing.items():
        if config.compute.cuda_graph and value:
            raise InputError(
                f"compute.cuda_graph records one step of one batch, but {key} is {value}; set "
                f"{key}={off}, or compute.cuda_graph=false"
            )


def _check_text(config: TrainConfig) -> None:
    if config.loss.alignment_weight:
        choose_text_source(config.text)  # refuses a missing package, folder or weights
        check_unfreezing(config.text)
    elif config.text.unfreeze_last:
        raise InputError(
            f"text.unfreeze_last is {config.text.unfreeze_last}, but loss.alignment_weight is 0 "
            "and no text is read; set text.unfreeze_last=0"
        )


def _check_projectors(model: ModelConfig) -> None:
    build_projector(model.projector, 1, model.projector_hidden_dim, 1)
    if model.text_projector not in ("none", *PROJECTORS):
        raise InputError(
            f"model.text_projector is {model.text_projector!r}; choose one of none, "
            f"{', '.join(PROJECTORS)}"
        )
    if model.projector_dim is None:
        return
    _at_least(1, {"model.projector_dim": model.projector_dim})
    if model.text_projector == "none":
        raise InputError(
            f"model.projector_dim is {model.projector_dim}, but without model.text_projector the "
            "images meet the text vectors in their own dimension; set one, or the other to null"
        )


def _check_micro_batch(config: TrainConfig) -> None:
    micro, batch = config.train.micro_batch_size, config.train.batch_size
    if micro is not None and (micro < 1 or batch % micro):
        raise InputError(
            f"train.micro_batch_size is {micro}; give a divisor of train.batch_size={batch}"
        )


def _check_loss(config: TrainConfig) -> None:
    loss = config.loss
    share, weight = loss.orthogonality_share, loss.orthogonality_weight
    _finite({"loss.alignment_weight": loss.alignment_weight, "loss.orthogonality_weight": weight})
    if share is not None and weight is not None:
        raise InputError(
            f"loss.orthogonality_share is {share} and loss.orthogonality_weight is {weight}; "
            "give one and set the other to null"
        )
    if share is None and weight is None:
        raise InputError(
            "loss.orthogonality_share and loss.orthogonality_weight are both null; give one"
        )
    if share is not None and not 0 < share < math.inf:
        raise InputError(f"loss.orthogonality_share is {share}; give a number above 0, or null")
    if share is not None and loss.alignment_weight == 0:
        raise InputError(
            "loss.orthogonality_share needs the alignment loss, but loss.alignment_weight is 0; "
            "set loss.orthogonality_share=null loss.orthogonality_weight=1"
        )
    if loss.alignment_weight == 0 and weight == 0:
        raise InputError("both losses have weight 0; nothing would be learnt")
    PretrainingLoss(loss, None, None)  # refuses an unknown norm, scale, precision


def _check_optim(config: TrainConfig) -> None:
    optim = config.optim
    _finite({"optim.lr": optim.lr, "optim.weight_decay": optim.weight_decay})
    if optim.name not in ("adamw", "lars"):
        raise InputError(f"optim.name is {optim.name!r}; choose adamw or lars")
    if optim.lr <= 0:
        raise InputError(f"optim.lr is {optim.lr}; give a number above 0")
    if optim.lr_batch_size is not None:
        _at_least(1, {"optim.lr_batch_size": optim.lr_batch_size})
    _at_least(
        0,
        {
            "optim.weight_decay": optim.weight_decay,
            "optim.warmup_epochs": optim.warmup_epochs,
            "optim.min_lr": optim.min_lr,
            "optim.restart_epochs": optim.restart_epochs,
        },
    )
    _finite(
        {
            "optim.warmup_epochs": optim.warmup_epochs,
            "optim.restart_epochs": optim.restart_epochs,
        }
    )
    build_optimizer([nn.Linear(1, 1)], optim, 1)
    learning_rate_by_step(optim, 1, 1, 1.0)


def warn_small_lars_batch(config: TrainConfig, global_batch_size: int) -> None:
    """Say on stderr that LARS is made for large batches, when this one is not."""
    if config.optim.name == "lars" and global_batch_size < LARS_WANTS_BATCH:
        print(
            f"warning: LARS at a batch of {global_batch_size}: below {LARS_WANTS_BATCH} AdamW "
            "learns faster; add optim=adamw",
            file=sys.stderr,
        )


def _at_least(low: float, values: dict[str, float]) -> None:
    for key, value in values.items():
        if not value >= low:
            raise InputError(f"{key} is {value}; give {low} or more")


def _finite(values: dict[str, float | None]) -> None:
    for key, value in values.items():
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise InputError(f"{key} is {value}; give a finite number, 0 or more")
