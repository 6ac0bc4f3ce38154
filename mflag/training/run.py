"""Everything a run consists of, built from its configuration."""

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import torch
from torch import Tensor, nn

from mflag.config.train import TrainConfig
from mflag.data.feeds import check_feed_data
from mflag.data.index_stream import IndexStream
from mflag.data.manifest import Prepared, open_prepared
from mflag.data.preparing import prepare_phantom
from mflag.data.text_table import TextTable
from mflag.distributed import Ranks, Session, synchronise_batchnorm
from mflag.distributed.ranks import ALONE
from mflag.errors import InputError
from mflag.models.encoder import build_encoder
from mflag.models.encoder_file import EMBEDDING_DIM
from mflag.models.grey_stem import find_grey_stem, to_one_channel
from mflag.models.projector import build_projector
from mflag.models.trained_text import TrainedText
from mflag.runtime.device import Compute, choose_compute
from mflag.training.model import PretrainingLoss
from mflag.training.optimizer import build_optimizer, learning_rate_by_step
from mflag.training.text_side import build_text
from mflag.training.validate import check_stored_size, warn_small_lars_batch

_TEXTS_AT_A_TIME = 4096


@dataclass
class Run:
    """The parts of a run.

    Attributes:
        text: vectors of the reports, or None without alignment loss or with trained text.
        trained_text: the text encoder when its last layers train, else None.
        text_rows: (n,) int64 on the CPU, by manifest row: row of the text table, or place among
            the texts of ``trained_text``, or -1.
        rate: from step, from 0, to the factor of the peak learning rate.
    """

    config: TrainConfig
    compute: Compute
    prepared: Prepared
    stream: IndexStream
    text: TextTable | None
    trained_text: TrainedText | None
    text_rows: Tensor
    encoder: nn.Module
    projector: nn.Module | None
    loss: PretrainingLoss
    optimizer: torch.optim.Optimizer
    rate: Callable[[int], float]
    ranks: Ranks = ALONE
    texts_of_train: np.ndarray | None = None  # (n,) bool, only where a text is missing

    @property
    def total_steps(self) -> int:
        """Steps of the whole run."""
        return self.config.train.epochs * self.stream.steps_per_epoch

    def set_text_share(self, step: int) -> None:
        """Tell the loss which share of a step's texts are this process's, where that may differ.

        The order of all processes is known to each, so nobody has to ask.
        """
        if self.texts_of_train is None or self.loss.text_share is None:
            return
        streams = (replace(self.stream, rank=rank) for rank in range(self.ranks.world_size))
        counts = [int(self.texts_of_train[s.positions(step)].sum()) for s in streams]
        counts = [count if count >= self.loss.least_texts else 0 for count in counts]
        total = sum(counts)
        mean = total / self.ranks.world_size
        self.loss.text_share.fill_(counts[self.ranks.rank] / mean if total else 0.0)

    @property
    def has_gaps(self) -> bool:
        """Whether a training study lacks a text."""
        return bool((self.text_rows[torch.from_numpy(self.prepared.rows("train"))] < 0).any())

    def state(self) -> dict[str, Any]:
        """Weights, statistics, optimizer and balance: all that a step changes."""
        state = {
            "encoder": self.encoder.state_dict(),
            "loss": self.loss.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        if self.trained_text is not None:
            state["text"] = self.trained_text.trained_state()
        return state

    def load_state(self, state: dict[str, Any]) -> None:
        """Take what ``state`` returned."""
        self.encoder.load_state_dict(state["encoder"])
        self.loss.load_state_dict(state["loss"])
        if self.trained_text is not None:
            self.trained_text.load_trained_state(state["text"])
        self.optimizer.load_state_dict(state["optimizer"])


def build_run(
    config: TrainConfig, state: dict[str, Any] | None, session: Session | None = None
) -> Run:
    """Open or generate the data, embed the texts, build model, losses and optimizer.

    A run that is refused on the way leaves no generated data behind.

    Args:
        config: validated.
        state: of the checkpoint to go on from, or None.
        session: with the other processes; None is alone.

    Raises:
        InputError: see ``open_prepared``, ``build_text_table``, ``build_encoder``; or the
            checkpoint was trained on other data.
    """
    session = session or Session(ALONE, config.compute.timeout_s)
    folder = Path(config.output_dir)
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        run = _build(config, None if state is None else state["data"], session)
    except InputError:
        if missing and session.ranks.is_first:
            shutil.rmtree(missing[-1], ignore_errors=True)
        raise
    if state is not None:
        run.load_state(state["state"])
    return run


def _build(config: TrainConfig, data_hashes: dict[str, str] | None, session: Session) -> Run:
    ranks = session.ranks
    compute = choose_compute(config.compute, ranks)
    torch.manual_seed(config.seed)
    encoder = session.in_turn(lambda: build_encoder(config.model.arch, config.model.init))
    if config.model.one_channel != "false":
        to_one_channel(encoder)
    prepared = session.in_turn(lambda: _open_data(config, ranks))
    session.require_equal({"data": prepared.info["hashes"]})
    session.agree(lambda: _check_data(config, prepared))
    if data_hashes not in (None, prepared.info["hashes"]):
        raise InputError(
            f"cannot resume: {prepared.path} holds other data than the checkpoint was trained on; "
            "prepare the same data, or start anew with overwrite=true"
        )
    size = len(prepared.rows("train"))
    stream = IndexStream(size, config.train.batch_size, config.seed, ranks.rank, ranks.world_size)
    if ranks.is_first:
        warn_small_lars_batch(config, stream.global_batch_size)
    text, trained_text, text_rows = build_text(
        prepared, config, session, compute.device, measure_center=data_hashes is None
    )
    projector, text_projector = _projectors(config, text, trained_text)
    table = None if text is None else text.embeddings
    loss = PretrainingLoss(config.loss, table, projector, text_projector)
    has_text = text_rows.numpy()[prepared.rows("train")] >= 0
    if config.compute.sync_batchnorm and not ranks.is_alone:
        _synchronise(encoder, loss, compute, int((~has_text).sum()))
    has_gaps = not ranks.is_alone and not has_text.all()
    if has_gaps and projector is not None:
        loss.text_share = torch.ones(())
    encoder.to(compute.device, memory_format=compute.memory_format)  # type: ignore[call-overload]
    loss.to(compute.device)
    modules = [encoder, loss, *([] if trained_text is None else [trained_text])]
    optimizer = build_optimizer(
        modules, config.optim, stream.global_batch_size, grey_stem=find_grey_stem(encoder)
    )
    total = config.train.epochs * stream.steps_per_epoch
    return Run(
        config=config,
        compute=compute,
        prepared=prepared,
        stream=stream,
        text=text,
        trained_text=None if trained_text is None else trained_text.train(),
        text_rows=text_rows,
        encoder=encoder.train(),
        projector=projector,
        loss=loss.train(),
        optimizer=optimizer,
        rate=learning_rate_by_step(
            config.optim, stream.steps_per_epoch, total, size / stream.global_batch_size
        ),
        ranks=ranks,
        texts_of_train=has_text if has_gaps else None,
    )


def _check_data(config: TrainConfig, prepared: Prepared) -> None:
    check_feed_data(config.feed, prepared)
    check_stored_size(config, prepared)


def try_compute(config: TrainConfig, ranks: Ranks) -> Compute:
    """Resolve ``auto``, and run both losses on a few numbers: a backend that cannot is refused.

    Args:
        config: of the run.
        ranks: which process this is; the others are not asked yet.

    Raises:
        InputError: a device or a backend that does not run here.
    """
    compute = choose_compute(config.compute, ranks)
    table, projector = torch.eye(2), nn.Linear(4, 2)
    loss = PretrainingLoss(config.loss, table, projector).to(compute.device)
    z = torch.ones(2, 4, device=compute.device, requires_grad=True)
    loss(z, torch.arange(2), 0).total.backward()
    return compute


def _synchronise(
    encoder: nn.Module, loss: PretrainingLoss, compute: Compute, without_text: int
) -> None:
    """Take BatchNorm over all ranks.

    Raises:
        InputError: a rank could have no text to project while the others wait for its statistics.
    """
    if loss.text_projector is not None and without_text:
        raise InputError(
            f"compute.sync_batchnorm is true, but {without_text:,} training studies have no text, "
            "so a process may have none to project; set it to false"
        )
    synchronise_batchnorm(encoder, compute.device)
    synchronise_batchnorm(loss, compute.device)


def _open_data(config: TrainConfig, ranks: Ranks) -> Prepared:
    if config.data.path is not None:
        prepared = open_prepared(config.data.path)
        if config.loss.alignment_weight:
            _refuse_without_reports(prepared)
        return prepared
    folder = Path(config.output_dir) / "data"
    if not ranks.is_first:  # rank 0 has made it
        return open_prepared(folder)
    print(f"generating {config.data.size} studies into {folder}", file=sys.stderr)
    size, seed = config.data.size, config.data.seed
    return prepare_phantom(folder, size, seed, replace_other=config.overwrite)


def _refuse_without_reports(prepared: Prepared) -> None:
    """Say what a set of images alone can be used for.

    Raises:
        InputError: no training study has a report.
    """
    texts, is_training = prepared.column("text"), np.zeros(len(prepared), bool)
    is_training[prepared.rows("train")] = True
    for begin in range(0, len(prepared), _TEXTS_AT_A_TIME):  # the first report ends it
        part = pc.utf8_trim_whitespace(texts.slice(begin, _TEXTS_AT_A_TIME))
        has_text = pc.not_equal(part, "").to_numpy()
        if (has_text & is_training[begin : begin + len(has_text)]).any():
            return
    raise InputError(
        f"{prepared.path} has no reports in its {is_training.sum():,} training studies, which the "
        "alignment loss needs; add preset=ablation/orth_only to train on images alone, or "
        "pre-train on a dataset with reports and use this one in mflag.evaluate"
    )


def _projectors(
    config: TrainConfig, text: TextTable | None, trained: TrainedText | None
) -> tuple[nn.Module | None, nn.Module | None]:
    """The projector of the images, and that of the texts or None."""
    if text is not None:
        text_dim = text.embeddings.shape[1]
    elif trained is not None:
        text_dim = trained.dim
    else:
        return None, None
    model = config.model
    meet, hidden = model.projector_dim or text_dim, model.projector_hidden_dim
    projector = build_projector(model.projector, EMBEDDING_DIM[model.arch], hidden, meet)
    if model.text_projector == "none":
        return projector, None
    return projector, build_projector(model.text_projector, text_dim, hidden, meet)
