"""What the kernels have to reach: ratios of one run, printed and tabled with PASS or FAIL."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

FASTEST = {"cpu": ("cpu", "reference"), "cuda": ("cuda", "triton", "reference")}


@dataclass(frozen=True)
class Target:
    """One figure of one row.

    ``ratio``: the peer's time over ours. ``time``: ours over the peer's. ``memory``: peak over the
    bytes of Z and K. ``copy``: achieved over copied bytes a second. The first and the last have to
    be at least ``must``, the others at most. ``must`` is None where there is only an aim.
    """

    device: Literal["cpu", "cuda"]
    op: str
    shape: str
    peer: str
    must: float | None
    aim: float | None
    measure: Literal["ratio", "time", "memory", "copy"] = "ratio"

    def value(self, row: dict[str, Any], rates: dict[str, float]) -> float | None:
        """Return the figure, or None when the row lacks it."""
        if self.measure == "ratio":
            return row["ratio"]
        if self.measure == "time":
            return 1 / row["ratio"]
        if self.measure == "memory":
            unit = row.get("unit_bytes")
            return row["peak_memory_bytes"] / unit if unit else None
        achieved = row.get("bytes_per_second")
        return achieved / rates["copy_bytes_per_second"] if achieved else None

    def holds(self, value: float, limit: float) -> bool:
        """Return whether a value is on the right side of a limit."""
        return value >= limit if self.measure in ("ratio", "copy") else value <= limit


TARGETS = [
    Target("cpu", "orthogonality", "128x2048", "published", 40, 60),
    Target("cpu", "orthogonality", "512x2048", "published", 6.5, 8.5),
    Target("cpu", "orthogonality", "1024x2048", "published", 4, 5.5),
    Target("cpu", "orthogonality", "128x2048", "plain_dual", 1, 1.3),
    Target("cpu", "orthogonality", "512x2048", "plain_dual", 1.1, 1.3),
    Target("cpu", "orthogonality", "1024x2048", "plain_dual", 1.1, 1.3),
    Target("cpu", "orthogonality", "1024x2048", "published", 2, None, "memory"),
    Target("cpu", "lars", "resnet50", "torch_sgd_fused", 1.25, 1.05, "time"),
    Target("cpu", "augment", "32x256-224", "torchvision_pil", 5, 10),
    Target("cpu", "augment", "32x256-224", "torchvision_batched", 2, 3),
    Target("cuda", "orthogonality", "128x2048", "published", 8, 15),
    Target("cuda", "orthogonality", "128x2048", "published_compiled", 3, 5),
    Target("cuda", "orthogonality", "1024x2048", "published", 3, 5),
    Target("cuda", "orthogonality", "4096x512", "published", 1.5, 2),
    Target("cuda", "orthogonality", "1024x2048", "published", 2, None, "memory"),
    Target("cuda", "lars", "resnet50", "timm_lars", 10, None),
    Target("cuda", "lars", "resnet50", "torch_sgd_fused", 1.25, None, "time"),
    Target("cuda", "lars", "resnet50", "torch_sgd_fused", None, 0.9, "copy"),
]
UNITS = {
    "ratio": "× faster than {peer}",
    "time": "× the time of {peer}",
    "memory": "× the bytes of Z and K at the peak",
    "copy": "of the measured copy bandwidth",
}


def verdicts(
    device: str, rows: Iterable[dict[str, Any]], rates: dict[str, float]
) -> list[dict[str, Any]]:
    """Judge every target of a device by the row of the fastest backend, in float32."""
    rows = list(rows)
    found = []
    for target in TARGETS:
        if target.device != device:
            continue
        row = _row(target, rows)
        value = target.value(row, rates) if row else None
        verdict = "not measured"
        if value is not None:
            limit = next(one for one in (target.must, target.aim) if one is not None)
            verdict = "PASS" if target.holds(value, limit) else "FAIL"
        found.append(
            {
                "op": target.op,
                "shape": target.shape,
                "what": UNITS[target.measure].format(peer=target.peer),
                "backend": row["backend"] if row else None,
                "value": value,
                "must": target.must,
                "aim": target.aim,
                "verdict": verdict,
            }
        )
    return found


def _row(target: Target, rows: list[dict[str, Any]]) -> dict[str, Any] | None:
    for backend in FASTEST[target.device]:
        for row in rows:
            key = (row["op"], row["shape"], row["peer"], row["dtype"], row["backend"])
            if key == (target.op, target.shape, target.peer, "float32", backend):
                return row
    return None


def verdict_line(verdict: dict[str, Any]) -> str:
    """Return one line for the terminal."""
    limits = [f"{name} {verdict[name]:g}" for name in ("must", "aim") if verdict[name] is not None]
    value = "-" if verdict["value"] is None else f"{verdict['value']:.2f}"
    return (
        f"{verdict['verdict']:12} {verdict['op']} {verdict['shape']}: {value} {verdict['what']} "
        f"({', '.join(limits)}; {verdict['backend'] or 'no row'})"
    )
