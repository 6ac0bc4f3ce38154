"""The rungs: what each changes, and how its loop is built."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from bench.ladder.own_loop import OwnLoop
from bench.ladder.recommended import compose_recommended, switches_on
from bench.ladder.text_model import TextModel
from bench.peers.published_loop import LoopSettings, PublishedFeed, PublishedLoop

PUBLISHED, TUNED, SHORT = "published", "published_tuned", "published_tuned_short"


class Loop(Protocol):
    """What is timed."""

    def step(self) -> float:
        """Train on one batch; return the seconds that the batch was waited for."""
        ...

    def drain(self) -> None:
        """Drop what was read ahead."""
        ...

    def close(self) -> None:
        """Let go of the feed."""
        ...


@dataclass(frozen=True)
class Setting:
    """What all rungs share.

    Attributes:
        device: cpu or cuda.
        batch_size: images a step.
        prepared: folder of ``mflag.prepare``.
        text_folder: of the text encoder.
        text: the same, loaded.
        feed: of the published loop.
        out: where runs put their files.
    """

    device: str
    batch_size: int
    image_size: int
    prepared: Path
    text_folder: Path
    text: TextModel
    feed: PublishedFeed
    out: Path
    overrides: tuple[str, ...] = ()  # of the command line, for all rungs that are ours


@dataclass(frozen=True)
class Rung:
    """One way to train; ``is_peer`` stands beside the ladder."""

    name: str
    what: str
    build: Callable[[Setting], Loop]
    is_peer: bool = False


def rungs(device: str) -> tuple[list[Rung], list[dict[str, str]]]:
    """Return peers and rungs from the published loop to ``recommended``; and what is left out."""
    switches, skipped = switches_on(device)
    off = [f"{switch.key}={switch.off}" for switch in switches]
    steps = [
        _published(PUBLISHED, "reports through BERT-base in every step, PIL, fp32 (GPU: fp16)"),
        _published(
            TUNED, "the same in bf16, channels_last", peer=True,
            dtype=torch.bfloat16, channels_last=True,
        ),
        _published(
            SHORT, "also padded to the longest report of the batch", peer=True,
            dtype=torch.bfloat16, channels_last=True, padding="longest",
        ),
        _published("text table", "each report embedded once", text_table=True),
        _published("bf16", "autocast to bfloat16", text_table=True, dtype=torch.bfloat16),
        _published(
            "channels_last", "NHWC images and weights",
            text_table=True, dtype=torch.bfloat16, channels_last=True,
        ),
        _own(
            "cache feed", "decoded uint8 from a memory map, our batched augmentation",
            off, eager_losses=True, plain_optimizer=True,
        ),
        _own(
            "fused losses", "our losses, with the balance of recommended",
            off, plain_optimizer=True,
        ),
        _own("fused optimizer", "AdamW in one pass", off),
    ]  # fmt: skip
    for done, switch in enumerate(switches, start=1):
        steps.append(_own(switch.name, switch.what, off[done:]))
    return steps, skipped


def _published(name: str, what: str, *, peer: bool = False, **settings: Any) -> Rung:
    def build(setting: Setting) -> Loop:
        given = LoopSettings(**settings)
        return PublishedLoop(given, setting.feed, setting.text, setting.device)

    return Rung(name, what, build, peer)


def _own(name: str, what: str, overrides: list[str], **keys: bool) -> Rung:
    def build(setting: Setting) -> Loop:
        return OwnLoop(compose_recommended([*placed(setting), *overrides]), **keys)

    return Rung(name, what, build)


def placed(setting: Setting) -> list[str]:
    """Return the overrides that say where things are; none changes what a step computes.

    The batch is the benchmark's, and the text vectors come from the published loop's encoder.
    """
    return [
        f"data.path={setting.prepared}",
        f"output_dir={setting.out}",
        f"text.path={setting.text_folder}",
        "text.pooling=cls",
        f"train.batch_size={setting.batch_size}",
        f"train.image_size={setting.image_size}",
        "train.epochs=10000",  # a run that does not end while it is timed
        f"compute.device={setting.device}",
        *setting.overrides,
    ]
