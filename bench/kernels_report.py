"""kernels.json as a Markdown page and as a plot."""

from pathlib import Path
from typing import Any

from bench.kernels_table import kernels_table, skipped_list, targets_table
from bench.targets import FASTEST, TARGETS


def document(content: dict[str, Any]) -> str:
    """Return kernels.md: machine, versions, command, every row, targets, what was skipped."""
    machine = ", ".join(f"{name} {value}" for name, value in content["device"].items())
    versions = ", ".join(f"{name} {value}" for name, value in content["versions"].items())
    return "\n\n".join(
        [
            "# Kernels",
            f"Machine: {machine}.",
            f"Versions: {versions}.",
            kernels_table(content),
            "## Targets",
            targets_table(content),
            "## Skipped",
            skipped_list(content),
            "",
        ]
    )


def draw(content: dict[str, Any], path: Path) -> bool:
    """Draw the ratio to every peer by op and shape; return False without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    device = content["device"]["type"]
    rows = _fastest(content["rows"], device)
    peers = list(dict.fromkeys(row["peer"] for row in rows))
    groups = list(dict.fromkeys((row["op"], row["shape"], row["dtype"]) for row in rows))
    figure = Figure(figsize=(9, 1.6 + 0.24 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    place, ticks = 0.0, {}
    colors = {peer: f"C{index % 10}" for index, peer in enumerate(peers)}
    for group in groups:
        own = [row for row in rows if (row["op"], row["shape"], row["dtype"]) == group]
        for row in own:
            label = f"{' '.join(group)}  {row['backend']} / {row['peer']}"
            ticks[place] = label
            # A bar starts at 1, on a log axis; left of it we are slower.
            axes.barh(place, row["ratio"] - 1, left=1, height=0.75, color=colors[row["peer"]])
            side, anchor = (3, "left") if row["ratio"] >= 1 else (-3, "right")
            axes.annotate(f"{row['ratio']:.2f}", (row["ratio"], place), (side, 0), ha=anchor,
                          textcoords="offset points", va="center", fontsize=7)  # fmt: skip
            for target in _ratio_targets(row, device):
                axes.plot([target, target], [place - 0.45, place + 0.45], "k", lw=1.5)
            place += 1
        place += 0.6
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.axvline(1, color="k", lw=0.8)
    axes.set_yticks(list(ticks), list(ticks.values()), fontsize=7)
    axes.invert_yaxis()
    axes.margins(x=0.12, y=0.01)
    axes.set_xlabel("time of the peer / time of ours, log scale; black mark: what it must reach")
    name = content["device"].get("gpu", content["device"]["cpu"])
    axes.set_title(f"{name}: forward and backward, or one step", fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    return True


def _fastest(rows: list[dict[str, Any]], device: str) -> list[dict[str, Any]]:
    """Of every op, shape and dtype the rows of the backend that the library would choose."""
    chosen: dict[tuple[str, ...], str] = {}
    for backend in reversed(FASTEST[device]):
        for row in rows:
            if row["backend"] == backend:
                chosen[row["op"], row["shape"], row["dtype"]] = backend
    return [row for row in rows if chosen[row["op"], row["shape"], row["dtype"]] == row["backend"]]


def _ratio_targets(row: dict[str, Any], device: str) -> list[float]:
    """The least ratio of a row, from its targets in time."""
    if row["dtype"] != "float32":
        return []
    key = (device, row["op"], row["shape"], row["peer"])
    own = [t for t in TARGETS if (t.device, t.op, t.shape, t.peer) == key and t.must is not None]
    ratios = [t.must for t in own if t.measure == "ratio" and t.must is not None]
    return ratios + [1 / t.must for t in own if t.measure == "time" and t.must is not None]
