"""Pre-training from the first step to the files that a run leaves."""

import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import mflag
from mflag.analysis.collapse import collapse_figures
from mflag.config.train import TrainConfig
from mflag.data.augment import draw_parameters
from mflag.data.feeds import Batch, BatchReader, Feed, open_feed
from mflag.data.text_table import save_text_table
from mflag.distributed import (
    Session,
    StopAgreement,
    gather_over_ranks,
    max_over_ranks,
    read_ranks,
)
from mflag.errors import NonFiniteError
from mflag.models.encoder_file import save_encoder
from mflag.optim.schedule import set_learning_rate
from mflag.runtime.checkpoint_writer import CheckpointWriter
from mflag.runtime.folder_lock import FolderLock
from mflag.runtime.progress import Advance, progress
from mflag.runtime.signals import StopRequest
from mflag.training.finite import check_finite_state
from mflag.training.model import StepLosses
from mflag.training.model_card import write_model_card
from mflag.training.pace import Pace
from mflag.training.run import Run, build_run, try_compute
from mflag.training.run_folder import plain, prepare_folder
from mflag.training.run_log import RunLog
from mflag.training.step import TrainingStep
from mflag.training.text_files import describe_parameters, describe_text, save_text_side
from mflag.training.together import claim_together, facts_of_all
from mflag.training.validate import validate

DROWNED_SHARE = 10.0  # above it the orthogonality gradient drowns the alignment


def train(config: TrainConfig) -> bool:
    """Pre-train an encoder; see DESIGN §2.5 for the files it leaves.

    Args:
        config: of ``python -m mflag.train``.

    Returns:
        Whether the run is finished; False when a signal stopped it, with a checkpoint.

    Raises:
        InputError: bad configuration, data or folder; nothing is left on disk.
        NonFiniteError: a loss became NaN or infinite.
    """
    lock = FolderLock(config.output_dir, "mflag.train")
    with Session(read_ranks(), config.compute.timeout_s) as session, lock:
        session.agree(lambda: validate(config))
        if not session.ranks.is_alone:  # it reads every source file
            session.require_equal(facts_of_all(config))
        session.connect(session.agree(lambda: try_compute(config, session.ranks)).device)
        session.agree(lambda: lock.acquire() if session.ranks.is_first else None)
        claim = claim_together(config, session)
        if claim.is_finished:
            if session.ranks.is_first:
                print(f"{config.output_dir} is finished: nothing to do", file=sys.stderr)
            return True
        run = build_run(config, claim.state, session)
        done = 0 if claim.state is None else int(claim.state["step"])
        if session.ranks.is_first:
            _begin_folder(run, None if claim.state is None else done)
        return TrainingLoop(run, done, session).run()


def _begin_folder(run: Run, done: int | None) -> None:
    config = run.config
    prepare_folder(config, done, run.ranks.world_size)
    for line in config.assumed:
        print(f"assumed: {line}", file=sys.stderr)
    if run.text is not None:
        save_text_table(Path(config.output_dir) / "text_embeddings.safetensors", run.text)


class TrainingLoop:
    """Steps, figures, checkpoints, and the end."""

    def __init__(self, run: Run, done: int, session: Session) -> None:
        """Go on after ``done`` steps, with the other processes of ``session``."""
        self._session, self._is_first = session, session.ranks.is_first
        self._run, self._config, self._done = run, run.config, done
        self._folder = Path(run.config.output_dir)
        self._step = TrainingStep(
            run.encoder,
            run.loss,
            run.optimizer,
            run.compute,
            run.config,
            run.trained_text,
            has_gaps=run.has_gaps,
        )
        batch_size = run.stream.global_batch_size
        self._latents: deque[Tensor] = deque(maxlen=-(-run.config.log.latents // batch_size))
        self._log: RunLog | None = None
        if self._is_first:
            self._log = RunLog(self._folder, done, run.config.log.tensorboard)
        self._agreement = None if session.ranks.is_alone else StopAgreement()
        self._last: dict[str, float] = {}
        self._pace = Pace(batch_size)
        self._writer = CheckpointWriter(self._folder / "checkpoints", run.config.checkpoint.keep)
        self._warned = False

    def run(self) -> bool:
        """Train to the end, or to a signal; returns whether the end was reached."""
        run, total = self._run, self._run.total_steps
        size = self._config.train.image_size
        reader = BatchReader(run.prepared, run.stream, size, device=run.compute.device)
        feed = open_feed(self._config.feed, reader, range(self._done, total))
        try:
            with (
                StopRequest() as request,
                progress("train", "steps", total, self._done, shown=self._is_first) as advance,
            ):
                self._steps(feed, advance, request)
                if self._done < total:
                    self._stop(request)
                    return False
                self._save_checkpoint()
                self._writer.wait()
                self._finish()
                return True
        finally:
            feed.close()
            self._writer.close()
            if self._log is not None:
                self._log.close()

    def _steps(self, feed: Feed, advance: Advance, request: StopRequest) -> None:
        batches = iter(feed)
        while self._done < self._run.total_steps and self._goes_on(request):
            epoch = self._run.stream.epoch_of(self._done)
            losses = self._take_step(batches, epoch)
            if self._step.has_compiled:
                self._set_apart()
            else:
                self._pace.step()
            figures = self._report(losses, epoch) if self._is_logging_point() else None
            advance(1, figures)
            self._writer.check()
            if self._done % self._config.checkpoint.every == 0:
                self._save_checkpoint()
        self._session.reached(None)
        if self._agreement is not None:
            self._agreement.close()

    def _goes_on(self, request: StopRequest) -> bool:
        """Whether nobody was told to stop; with several processes, asked a step ago."""
        if self._agreement is not None:
            request.received = self._agreement.ask(request.received)
        return request.received is None

    def _take_step(self, batches: Iterator[Batch], epoch: int) -> StepLosses:
        """The next batch and its step; here the host never waits for the device."""
        self._session.reached(self._done)
        self._began = before = time.perf_counter()
        batch = next(batches)
        self._pace.wait(time.perf_counter() - before)
        self._session.reached(self._done, has_images=True)
        rows, step = batch.rows, self._done
        self._run.set_text_share(step)
        set_learning_rate(self._run.optimizer, self._run.rate(step))
        parameters = draw_parameters(self._config.augment, self._config.seed, epoch, rows.numpy())
        losses = self._step.run(batch, parameters, self._run.text_rows[rows], step)
        self._latents.append(self._step.latents)
        self._done += 1
        return losses

    def _set_apart(self) -> None:
        """The step compiled: its time, to the end of its work on the device, is not the speed's."""
        if self._run.compute.device.type == "cuda":
            torch.cuda.synchronize(self._run.compute.device)
        self._pace.compiled(time.perf_counter() - self._began)

    def _is_logging_point(self) -> bool:
        every = self._config.log.every
        return self._done in (1, self._run.total_steps) or self._done % every == 0

    def _report(self, losses: StepLosses, epoch: int) -> dict[str, str] | None:
        self._check_finite()
        losses, pace, latents = self._of_all_ranks(losses, self._pace.figures())
        if self._log is None:
            return None
        share = float(self._run.loss.measured_share)
        has_both = self._run.projector is not None and self._run.loss.has_orthogonality
        figures: dict[str, Any] = {
            "epoch": epoch,
            "loss": float(losses.total),
            "loss_alignment": None if self._run.projector is None else float(losses.alignment),
            "loss_orthogonality": (
                float(losses.orthogonality) if self._run.loss.has_orthogonality else None
            ),
            "orthogonality_share": share if has_both else None,
            "orthogonality_weight": float(self._run.loss.weight),
            "lr": float(self._run.optimizer.param_groups[0]["lr"]),
            **pace,
            **collapse_figures(latents),
        }
        self._log.write(self._done, figures)
        self._last = {name: value for name, value in figures.items() if value is not None}
        if share > DROWNED_SHARE and has_both and not self._warned:
            self._warned = True
            print(
                f"warning: the orthogonality gradient is {share:.0f} times the alignment's, which "
                "drowns it; set loss.orthogonality_weight=null loss.orthogonality_share=0.1",
                file=sys.stderr,
            )
        speed = figures["images_per_second"]
        return {
            "images/s": "compiled" if speed is None else f"{speed:.0f}",
            "data-wait": f"{100 * figures['data_wait']:.0f}%",
            "loss": f"{figures['loss']:.4f}",
            "align": f"{float(losses.alignment):.4f}",
            "orth": f"{float(losses.orthogonality):.4g}",
            "share": f"{share:.3f}",
            "rank": f"{figures['effective_rank']:.0f}",
        }

    def _of_all_ranks(
        self, losses: StepLosses, pace: dict[str, float | None]
    ) -> tuple[StepLosses, dict[str, float | None], Tensor]:
        """Mean losses, the longest wait, and the newest latents in the order of the global batch.

        Returns:
            losses, this rank's pace with the largest ``data_wait`` of all, and (n, N) latents,
            n at most ``log.latents``.
        """
        means = gather_over_ranks(torch.stack(losses)).mean(0)
        wait = max_over_ranks(torch.tensor(pace["data_wait"], dtype=torch.float64))
        latents = gather_over_ranks(torch.stack(list(self._latents))).transpose(0, 1)
        newest = latents.flatten(0, 2)[-self._config.log.latents :]
        return StepLosses(*means), {**pace, "data_wait": float(wait)}, newest

    def _check_finite(self) -> None:
        if bool(max_over_ranks(self._step.is_finite.logical_not().byte())):
            raise NonFiniteError(
                f"a loss became NaN or infinite at or before step {self._done}; lower optim.lr or "
                "set compute.precision=fp32; the checkpoints on disk are from before"
            )

    def _save_checkpoint(self) -> None:
        """Begin to write one; see ``CheckpointWriter``."""
        self._check_finite()
        if not self._is_first:
            return
        check_finite_state(self._run.state(), self._done)
        state = {
            "step": self._done,
            "config": plain(self._config),
            "data": self._run.prepared.info["hashes"],
            "version": mflag.__version__,
            "world_size": self._run.ranks.world_size,
            "state": self._run.state(),
        }
        self._writer.save(self._done, state)

    def _stop(self, request: StopRequest) -> None:
        self._save_checkpoint()
        self._session.agree(self._writer.wait)  # no process leaves before it is on disk
        assert request.received is not None
        if self._is_first:
            print(
                f"{request.received.name}: saved after step {self._done}; go on with the same "
                "command and resume=auto",
                file=sys.stderr,
            )
        if request.received.name == "SIGINT":
            raise KeyboardInterrupt

    def _finish(self) -> None:
        if not self._is_first:
            return
        config, run = self._config, self._run
        save_text_side(self._folder, run)
        encoder = self._folder / "encoder.safetensors"
        save_encoder(
            encoder,
            run.encoder,
            config.model.arch,
            config.train.image_size,
            run.prepared.info["dataset"],
        )
        facts = {
            "parameters": describe_parameters(run),
            "text": describe_text(run),
            "steps_per_epoch": run.stream.steps_per_epoch,
            "world_size": run.stream.world_size,
            "lr": run.optimizer.param_groups[0].get("initial_lr", config.optim.lr),
        }
        write_model_card(self._folder, config, run.prepared, facts, self._last)
        print(f"encoder: {encoder}", file=sys.stderr)
