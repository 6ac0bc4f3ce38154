"""Trains and evaluates what a plan asks for and is not done yet."""

import contextlib
import fcntl
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from omegaconf import OmegaConf

from mflag.ablation.child import describe_exit, last_error, run_program
from mflag.ablation.pieces import UNTRAINED, UNTRAINED_KIND, Evaluation, Training
from mflag.ablation.plan import Plan
from mflag.config.compose import as_override
from mflag.errors import InputError
from mflag.models.encoder import build_encoder
from mflag.models.encoder_file import save_encoder
from mflag.runtime.atomic_write import write_text
from mflag.runtime.signals import StopRequest
from mflag.training.run_folder import plain

Piece = Training | Evaluation


@dataclass(frozen=True)
class Failure:
    """A piece that did not come to its end.

    Attributes:
        variant: of the run.
        seed: of the run.
        piece: ``training``, or the task of an evaluation.
        reason: exit code and last words.
        log: file with the rest, relative to the folder of all runs.
    """

    variant: str
    seed: int
    piece: str
    reason: str
    log: str


class Sweep:
    """Works through a plan, one program at a time."""

    def __init__(self, plan: Plan, request: StopRequest, lock: int | None = None) -> None:
        """Start with what the folder lacks.

        Args:
            plan: the trainings and evaluations.
            request: entered; its signal stops the work after the program at hand has saved.
            lock: see ``lock_folder``.
        """
        self._plan, self._request, self._lock = plan, request, lock
        self.failures: list[Failure] = []
        self._todo: list[Piece] = []
        for training in plan.trainings:
            trains = not training.is_finished or bool(training.changes())
            self._todo += [training] * trains
            self._todo += [
                e for e in plan.evaluations[training] if trains or not e.is_finished or e.changes()
            ]
        count = len(plan.trainings) + sum(map(len, plan.evaluations.values()))
        self._total, self._done = count, count - len(self._todo)
        self._seconds: dict[str, list[float]] = {}
        self._lost: set[Training] = set()

    def run(self) -> bool:
        """Do everything; returns whether the end was reached, failures or not."""
        if self._done:
            self._say(f"{self._done} of {self._total} pieces are done already")
        for place, piece in enumerate(self._todo):
            if self._request.received is not None:
                break
            training = piece if isinstance(piece, Training) else piece.training
            if training in self._lost:
                continue
            self._say(
                f"[{self._done + place + 1}/{self._total}] {piece.kind} of {piece.name}"
                f"{self._time_left(place)}"
            )
            began = time.monotonic()
            if not self._take(piece, training):
                break
            self._seconds.setdefault(piece.kind, []).append(time.monotonic() - began)
        return self._request.received is None

    def _take(self, piece: Piece, training: Training) -> bool:
        """Do one piece; returns whether to go on."""
        if isinstance(piece, Evaluation):
            code = self._evaluate(piece)
        elif training.variant.is_trained:
            code = self._train(training)
        else:
            training.forget_evaluations()
            write_random_encoder(training)
            code = 0
        if self._request.received is not None:
            return False
        if code == 0 and piece.is_finished:
            return True
        self._note_failure(piece, training, code)
        return True

    def _note_failure(self, piece: Piece, training: Training, code: int) -> None:
        ending = describe_exit(code) if code else "stopped before its end"
        reason = f"{ending}; {last_error(training.log)}"
        if isinstance(piece, Training):
            self._lost.add(piece)
        self.failures.append(
            Failure(
                training.variant.name,
                training.seed,
                piece.kind if isinstance(piece, Training) else piece.task,
                reason,
                str(training.log.relative_to(self._plan.out)),
            )
        )
        self._say(f"failed: {piece.kind} of {piece.name}: {reason}")

    def _train(self, training: Training) -> int:
        training.forget_evaluations()
        fresh = bool(training.changes())
        words = [
            *training.words,
            as_override("output_dir", str(training.folder)),
            "overwrite=true" if fresh else "resume=auto",
        ]
        return run_program("mflag.train", words, training.log, self._request, self._lock)

    def _evaluate(self, evaluation: Evaluation) -> int:
        words = [
            *evaluation.words,
            as_override("encoder", str(evaluation.training.encoder)),
            as_override("out", str(evaluation.folder)),
            "overwrite=true",
        ]
        (evaluation.folder / "results.json").unlink(missing_ok=True)  # if this fails, no old scores
        log = evaluation.training.log
        return run_program("mflag.evaluate", words, log, self._request, self._lock)

    def _time_left(self, place: int) -> str:
        """What is left, from the mean time of each kind; nothing before each kind was seen."""
        kinds = [p.kind for p in self._todo[place:] if p.kind != UNTRAINED_KIND]
        if not set(kinds) <= self._seconds.keys():
            return ""
        means = {kind: sum(s) / len(s) for kind, s in self._seconds.items()}
        minutes = sum(means[kind] for kind in kinds) / 60
        return f", about {minutes:,.0f} min left" if minutes >= 1 else ", less than a minute left"

    def _say(self, text: str) -> None:
        print(f"ablate: {text}", file=sys.stderr, flush=True)


def write_random_encoder(training: Training) -> None:
    """Write weights as torch draws them with the training's seed; nothing is trained."""
    config = training.config
    settings = plain(config) | {UNTRAINED: True}
    write_text(training.folder / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(settings)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(training.seed)
        module = build_encoder(config.model.arch)
    save_encoder(training.encoder, module, config.model.arch, config.train.image_size)


@contextlib.contextmanager
def lock_folder(out: Path) -> Iterator[int]:
    """Keep a second ablation, and a training that outlived a killed one, from the same folder.

    Yields:
        The descriptor that holds the lock.

    Raises:
        InputError: another process holds it.
    """
    made = [folder for folder in (out, *out.parents) if not folder.exists()]
    try:
        out.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(out, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise InputError(f"cannot write into {out}: {error.strerror}; give another out=") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f"another mflag.ablate, or a program that one started, works in {out}; wait for "
                "its end, or give another out="
            ) from error
        yield descriptor
    finally:
        os.close(descriptor)
        for folder in made:
            with contextlib.suppress(OSError):  # not empty
                folder.rmdir()
