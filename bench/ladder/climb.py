"""Build, warm up and time rungs of one setting; return what train.json holds of them."""

import gc
from typing import Any

import torch

from bench.console import say
from bench.ladder.own_loop import OwnLoop, SyntheticLoop
from bench.ladder.profile import (
    losses_and_optimizer,
    profile_steps,
    training_flops,
    utilisation,
)
from bench.ladder.rungs import Loop, Rung, Setting
from bench.ladder.timing import Timed, paired_ratio, take_turns, warm_up

SYNTHETIC = "synthetic"


def climb(
    rungs: list[Rung], setting: Setting, *, turns: int, turn_s: float, feed_turns: int
) -> dict[str, Any]:
    """Time rungs in turns, then the last one against the same steps without a feed.

    Args:
        rungs: peers and rungs; the last is ours.
        setting: what they share.
        turns: of every rung.
        turn_s: seconds of a turn; at least a step.
        feed_turns: of the last rung beside synthetic tensors.

    Returns:
        ``rungs``, ``peers``, ``synthetic``, ``profile``, ``step_parts``, ``model_flops`` and
        ``skipped`` of train.json.
    """
    loops: dict[str, Loop] = {}
    timed: dict[str, Timed] = {}
    skipped = []
    try:
        for rung in rungs:
            loop, reason = _start(rung, setting, timed)
            if loop is None:
                skipped.append({"what": rung.name, "reason": reason})
            else:
                loops[rung.name] = loop
        take_turns(loops, timed, setting.device, turns=turns, turn_s=turn_s)
        kept = [rung for rung in rungs if rung.name in loops]
        content = _rows(kept, timed, setting.batch_size) | {"skipped": skipped}
        last = loops.get(rungs[-1].name)
        if isinstance(last, OwnLoop):
            others = [loops.pop(name) for name in list(loops) if name != rungs[-1].name]
            for loop in others:
                loop.close()
            del others
            content |= _look_closer(last, setting, feed_turns, turn_s)
        return content
    finally:
        for loop in loops.values():
            loop.close()


def _start(rung: Rung, setting: Setting, timed: dict[str, Timed]) -> tuple[Loop | None, str]:
    """Build a rung and take its first steps; or say why that cannot be."""
    say(f"{rung.name}: {rung.what}")
    try:
        loop = rung.build(setting)
        timed[rung.name] = warm_up(loop, setting.device)
    except torch.OutOfMemoryError as error:
        gc.collect()
        if setting.device == "cuda":
            torch.cuda.empty_cache()
        return None, str(error).split("\n")[0][:200]
    return loop, ""


def _rows(rungs: list[Rung], timed: dict[str, Timed], batch_size: int) -> dict[str, Any]:
    rows: dict[str, list[dict[str, Any]]] = {"rungs": [], "peers": []}
    slow = [r.name for r in rungs if r.is_peer or r is rungs[0]]
    for rung in rungs:
        own = timed[rung.name]
        row = {"name": rung.name, "what": rung.what, **own.figures(batch_size)}
        row["faster_than"] = {name: paired_ratio(timed[name], own) for name in slow}
        rows["peers" if rung.is_peer else "rungs"].append(row)
    return rows


def _look_closer(loop: OwnLoop, setting: Setting, turns: int, turn_s: float) -> dict[str, Any]:
    """The feed's cost, the profile and the parts of the last rung."""
    device = setting.device
    both: dict[str, Loop] = {"real": loop, SYNTHETIC: SyntheticLoop(loop)}
    timed = {name: Timed() for name in both}
    take_turns(both, timed, device, turns=turns, turn_s=turn_s)
    figures = {name: timed[name].figures(setting.batch_size) for name in both}
    ratio = paired_ratio(timed["real"], timed[SYNTHETIC])
    step_ms = figures["real"]["step_ms"]
    arch = loop.run.config.model.arch
    return {
        "synthetic": {**figures, "overhead": ratio - 1},
        "profile": profile_steps(loop, device, 2 if device == "cpu" else 10),
        "step_parts": losses_and_optimizer(loop, device, step_ms),
        "model_flops": training_flops(arch, setting.image_size),
    }


def mfu(content: dict[str, Any]) -> float | None:
    """Return the last rung's share of the measured rate of bf16 (or float32) products."""
    if not content["rungs"] or "model_flops" not in content:
        return None
    rates = content["rates"]
    peak = rates.get("bfloat16_flops_per_second", rates["float32_flops_per_second"])
    rate = content["rungs"][-1]["images_per_second"]
    return utilisation(rate, content["model_flops"], peak)
