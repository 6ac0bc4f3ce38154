"""The output folder of a run: may it be used, and where does the run go on."""

import dataclasses
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from mflag.config.train import TrainConfig
from mflag.errors import InputError
from mflag.runtime.atomic_write import check_writable, remove_leftovers, write_text
from mflag.runtime.checkpoint import list_checkpoints, newest_checkpoint, read_checkpoint, step_of

# May differ between a run and its continuation.
FREE_KEYS = ("output_dir", "overwrite", "resume", "assumed", "compute", "feed", "log", "checkpoint")
ARTEFACTS = (
    "encoder.safetensors", "projector.safetensors", "text_embeddings.safetensors",
    "text_projector.safetensors", "text_encoder.safetensors", "model_card.md",
    "metrics.jsonl", "config.yaml", "checkpoints", "tensorboard",
)  # fmt: skip


@dataclass(frozen=True)
class Claim:
    """What a folder allows.

    Attributes:
        state: of the checkpoint to go on from; None starts the run.
        is_finished: the folder holds the finished run already.
    """

    state: dict[str, Any] | None = None
    is_finished: bool = False


def claim_folder(config: TrainConfig, world_size: int = 1) -> Claim:
    """Decide whether the run starts, goes on, or is done; changes nothing on disk.

    Args:
        config: of the run.
        world_size: number of processes; a run goes on with another number when the batch of all
            processes together stays.

    Raises:
        InputError: the folder holds a run and neither ``resume`` nor ``overwrite`` is given; the
            run to resume has another configuration; the checkpoint is missing or damaged.
    """
    folder = Path(config.output_dir)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"output_dir {folder} is a file; give a folder")
    check_writable(folder)
    if config.resume is None:
        held = _held(folder)
        if held and not config.overwrite:
            raise InputError(
                f"output_dir {folder} holds a run already ({held[0].name}); go on with "
                "resume=auto, replace it with overwrite=true, or give another output_dir"
            )
        return Claim()
    now = plain(config) | {"world_size": world_size}
    _check_same(folder, now)
    if config.resume == "auto":
        if (folder / "model_card.md").exists():  # written last
            return Claim(is_finished=True)
        newest = newest_checkpoint(folder / "checkpoints")
        state = None if newest is None else newest[1]
    else:
        state = read_checkpoint(Path(config.resume))
    if state is not None:
        before = state["config"] | {"world_size": state.get("world_size", 1)}
        _refuse_difference(before, now, str(config.resume))
    return Claim(state)


def prepare_folder(config: TrainConfig, done: int | None, world_size: int = 1) -> None:
    """Make the folder and write ``config.yaml``.

    Args:
        config: of the run.
        done: steps of the checkpoint to go on from, after which nothing stays; None starts the
            run and removes the one before.
        world_size: number of processes, kept beside the settings when there are several.

    Raises:
        InputError: the folder cannot be written.
    """
    folder = Path(config.output_dir)
    for path in _held(folder) if done is None else ():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for path in list_checkpoints(folder / "checkpoints"):
        if done is not None and step_of(path) > done:
            path.unlink()
    settings = plain(config) | ({"world_size": world_size} if world_size > 1 else {})
    write_text(folder / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(settings)))
    remove_leftovers(folder)
    remove_leftovers(folder / "checkpoints")


def plain(config: TrainConfig) -> dict[str, Any]:
    """The configuration as dicts, lists and scalars."""
    return dataclasses.asdict(config)


def _held(folder: Path) -> list[Path]:
    return [folder / name for name in ARTEFACTS if (folder / name).exists()]


def _check_same(folder: Path, now: dict[str, Any]) -> None:
    """Refuse to go on in a folder that holds another run."""
    written = folder / "config.yaml"
    held = _held(folder)
    if held and not written.is_file():
        raise InputError(
            f"output_dir {folder} holds {held[0].name} but no config.yaml, so it is no run to "
            "resume; give another output_dir, or overwrite=true without resume"
        )
    if written.is_file():
        before = OmegaConf.to_container(OmegaConf.load(written))
        assert isinstance(before, dict)
        settings = {"world_size": 1} | {str(k): v for k, v in before.items()}
        _refuse_difference(settings, now, str(written))


def _refuse_difference(before: dict[str, Any], now: dict[str, Any], source: str) -> None:
    sizes = [side["train"]["batch_size"] * side["world_size"] for side in (before, now)]
    if before["world_size"] != now["world_size"] and sizes[0] != sizes[1]:
        raise InputError(
            f"cannot resume from {source}: the batch of all {before['world_size']} processes was "
            f"{sizes[0]}, that of {now['world_size']} is {sizes[1]}; give a train.batch_size that, "
            f"times {now['world_size']}, is {sizes[0]}"
        )
    free: tuple[str, ...] = FREE_KEYS
    if before["world_size"] != now["world_size"]:
        free = (*free, "world_size", "train.batch_size", "train.micro_batch_size")
    different = sorted(
        f"{key} was {old!r}, is {new!r}"
        for key, (old, new) in _pairs(before, now).items()
        if not {key, key.split(".")[0]} & set(free) and old != new
    )
    if different:
        raise InputError(
            f"cannot resume from {source}: {'; '.join(different[:3])}; give the same values, or "
            "start anew with overwrite=true"
        )


def _pairs(before: Any, now: Any, prefix: str = "") -> dict[str, tuple[Any, Any]]:
    pairs: dict[str, tuple[Any, Any]] = {}
    for key in dict.fromkeys([*before, *now]):
        old, new, name = before.get(key), now.get(key), f"{prefix}{key}"
        if isinstance(old, dict) and isinstance(new, dict):
            pairs |= _pairs(old, new, f"{name}.")
        else:
            pairs[name] = (old, new)
    return pairs
