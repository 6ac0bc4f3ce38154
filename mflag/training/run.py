"""Everything a run consists of, built from its configuration."""

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mflag.config.train import TrainConfig
from mflag.data.index_stream import IndexStream
from mflag.data.manifest import Prepared, open_prepared
from mflag.data.preparing import prepare_phantom
from mflag.data.text_table import TextTable, build_text_table
from mflag.errors import InputError
from mflag.models.encoder import build_encoder
from mflag.models.encoder_file import EMBEDDING_DIM
from mflag.models.projector import build_projector
from mflag.runtime.device import Compute, choose_compute
from mflag.training.model import PretrainingLoss
from mflag.training.optimizer import build_optimizer, learning_rate_by_step
from mflag.training.validate import check_stored_size, warn_small_lars_batch


@dataclass
class Run:
    """The parts of a run.

    Attributes:
        text: vectors of the reports, or None without alignment loss.
        text_rows: (n,) int64 on the CPU, by manifest row: row of the text table, or -1.
        rate: from step, from 0, to the factor of the peak learning rate.
    """

    config: TrainConfig
    compute: Compute
    prepared: Prepared
    stream: IndexStream
    text: TextTable | None
    text_rows: Tensor
    encoder: nn.Module
    projector: nn.Module | None
    loss: PretrainingLoss
    optimizer: torch.optim.Optimizer
    rate: Callable[[int], float]

    @property
    def total_steps(self) -> int:
        """Steps of the whole run."""
        return self.config.train.epochs * self.stream.steps_per_epoch

    def state(self) -> dict[str, Any]:
        """Weights, statistics, optimizer and balance: all that a step changes."""
        return {
            "encoder": self.encoder.state_dict(),
            "loss": self.loss.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Take what ``state`` returned."""
        self.encoder.load_state_dict(state["encoder"])
        self.loss.load_state_dict(state["loss"])
        self.optimizer.load_state_dict(state["optimizer"])


def build_run(config: TrainConfig, state: dict[str, Any] | None) -> Run:
    """Open or generate the data, embed the texts, build model, losses and optimizer.

    A run that is refused on the way leaves no generated data behind.

    Args:
        config: validated.
        state: of the checkpoint to go on from, or None.

    Raises:
        InputError: see ``open_prepared``, ``build_text_table``, ``build_encoder``; or the
            checkpoint was trained on other data.
    """
    folder = Path(config.output_dir)
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        run = _build(config, None if state is None else state["data"])
    except InputError:
        if missing:
            shutil.rmtree(missing[-1], ignore_errors=True)
        raise
    if state is not None:
        run.load_state(state["state"])
    return run


def _build(config: TrainConfig, data_hashes: dict[str, str] | None) -> Run:
    compute = choose_compute(config.compute)
    _try_losses(config, compute)
    torch.manual_seed(config.seed)
    encoder = build_encoder(config.model.arch, config.model.init)
    prepared = _open_data(config)
    check_stored_size(config, prepared)
    if data_hashes not in (None, prepared.info["hashes"]):
        raise InputError(
            f"cannot resume: {prepared.path} holds other data than the checkpoint was trained on; "
            "prepare the same data, or start anew with overwrite=true"
        )
    size = len(prepared.rows("train"))
    stream = IndexStream(size, config.train.batch_size, config.seed)
    warn_small_lars_batch(config, stream.global_batch_size)
    text = None
    if config.loss.alignment_weight:
        text = build_text_table(prepared, config.text, device=str(compute.device))
    projector = None if text is None else _projector(config, text)
    loss = PretrainingLoss(config.loss, None if text is None else text.embeddings, projector)
    encoder.to(compute.device, memory_format=compute.memory_format)  # type: ignore[call-overload]
    loss.to(compute.device)
    optimizer = build_optimizer([encoder, loss], config.optim, stream.global_batch_size)
    total = config.train.epochs * stream.steps_per_epoch
    return Run(
        config=config,
        compute=compute,
        prepared=prepared,
        stream=stream,
        text=text,
        text_rows=torch.full((len(prepared),), -1) if text is None else text.rows,
        encoder=encoder.train(),
        projector=projector,
        loss=loss.train(),
        optimizer=optimizer,
        rate=learning_rate_by_step(config.optim, stream.steps_per_epoch, total),
    )


def _try_losses(config: TrainConfig, compute: Compute) -> None:
    """Run both losses once on a few numbers: a forced backend that cannot is refused here."""
    table, projector = torch.eye(2), nn.Linear(4, 2)
    loss = PretrainingLoss(config.loss, table, projector).to(compute.device)
    z = torch.ones(2, 4, device=compute.device, requires_grad=True)
    loss(z, torch.arange(2), 0).total.backward()


def _open_data(config: TrainConfig) -> Prepared:
    if config.data.path is not None:
        return open_prepared(config.data.path)
    folder = Path(config.output_dir) / "data"
    print(f"generating {config.data.size} studies into {folder}", file=sys.stderr)
    size, seed = config.data.size, config.data.seed
    return prepare_phantom(folder, size, seed, replace_other=config.overwrite)


def _projector(config: TrainConfig, text: TextTable) -> nn.Module:
    return build_projector(
        config.model.projector,
        EMBEDDING_DIM[config.model.arch],
        config.model.projector_hidden_dim,
        text.embeddings.shape[1],
    )
