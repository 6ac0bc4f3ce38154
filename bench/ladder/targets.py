"""What the whole loop has to reach, judged by one run."""

from dataclasses import dataclass
from typing import Any, Literal

from bench.ladder.rungs import PUBLISHED, TUNED


@dataclass(frozen=True)
class LadderTarget:
    """One figure of train.json; ``at_least`` or at most ``must``."""

    what: str
    must: float
    aim: float | None = None
    side: Literal["at_least", "at_most"] = "at_least"

    def judge(self, value: float | None) -> dict[str, Any]:
        """Return value, limits and verdict."""
        verdict = "not measured"
        if value is not None:
            holds = value >= self.must if self.side == "at_least" else value <= self.must
            verdict = "PASS" if holds else "FAIL"
        return {
            "what": self.what, "side": self.side, "must": self.must, "aim": self.aim,
            "value": value, "verdict": verdict,
        }  # fmt: skip


# Of ResNet-50 at 224², images/s; by a word of the GPU's name.
RATES = {"H200": (5000, 7200), "H100": (4000, 6500), "A100": (2470, 2900)}


def judge(content: dict[str, Any]) -> list[dict[str, Any]]:
    """Judge train.json: ratios of the last rung, the feed's overhead, on known GPUs the rate."""
    device, rungs = content["device"], content["rungs"]
    last = rungs[-1] if rungs else {}
    ratios: dict[str, float] = last.get("faster_than", {})
    found = []
    if device["type"] == "cpu":
        must, aim = (8, 18) if device.get("bf16") else (5, None)
        found.append(
            LadderTarget(f"× faster than {PUBLISHED}", must, aim).judge(ratios.get(PUBLISHED))
        )
        found.append(LadderTarget(f"× faster than {TUNED}", 4).judge(ratios.get(TUNED)))
    for word, (must, aim) in RATES.items():
        if word in device.get("gpu", ""):
            target = LadderTarget("images/s", must, aim)
            found.append(target.judge(last.get("images_per_second")))
            break
    overhead = (content.get("synthetic") or {}).get("overhead")
    target = LadderTarget("of the step is the real feed's cost", 0.03, side="at_most")
    return [*found, target.judge(overhead)]


def line(verdict: dict[str, Any]) -> str:
    """Return one line for the terminal."""
    value = "-" if verdict["value"] is None else f"{verdict['value']:.3g}"
    bound = "at least" if verdict["side"] == "at_least" else "at most"
    aim = "" if verdict["aim"] is None else f", aim {verdict['aim']:g}"
    return (
        f"{verdict['verdict']:12} train: {value} {verdict['what']} "
        f"({bound} {verdict['must']:g}{aim})"
    )
