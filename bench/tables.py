"""Write the tables of the docs from the committed JSON files: ``python -m bench.tables``."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.feed_table import feed_table
from bench.hannover import hannover_table
from bench.kernels_table import kernels_table, skipped_list, targets_table
from bench.manifest_table import manifest_table
from bench.reproduce_table import disk_table, time_table
from bench.scaling_table import (
    assumptions_list,
    cost_table,
    measured_table,
    published_table,
    scaling_table,
)
from bench.sweep_results import sweep_table
from bench.train_report import ladder_table, profile_table, train_targets
from mflag.runtime.atomic_write import write_text

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "results"


def compiled_table(content: dict[str, Any]) -> str:
    """A row a kernel, element type and architecture: the worst over its cases."""
    versions = content["versions"]
    lines = [
        f"`{content['command']}`, triton {versions['triton']}, ptxas {versions['ptxas']}, "
        f"nvcc {versions['nvcc']}; no GPU. The worst over the cases of each row.",
        "",
        "| op | backend | kernel | type | GPU | cases | registers | spilled bytes | shared bytes | "
        "blocks a multiprocessor |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    names = ("op", "backend", "kernel", "dtype", "arch")
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in content["rows"]:
        groups.setdefault(tuple(row[name] for name in names), []).append(row)
    for key, rows in sorted(groups.items()):
        worst = [max(row[name] for row in rows) for name in ("registers", "spills", "shared")]
        cells = [*key, len(rows), *worst, min(row["occupancy"] for row in rows)]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def predictions_table(content: dict[str, Any]) -> str:
    """A row an op and shape; for each GPU the predicted time and ratios to the peers."""
    given = content["assumptions"]
    gpus = list(given["gpus"])
    by_work: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for row in content["rows"]:
        by_work.setdefault((row["op"], row["shape"]), {})[row["gpu"]] = row
    lines = [
        f"`{content['command']}`: {content['kind']}. First launch {given['first_launch_us']:g} µs, "
        f"each further one {given['next_launch_us']:g} µs; {given['bandwidth_share']:.0%} of the "
        f"bandwidth, {given['cublas_share']:.0%} (cuBLAS) and {given['own_share']:.0%} (own "
        "kernels, less where blocks or warps are few) of the float32 peak.",
        "",
        "| op | shape | launches | MB | GFLOP | "
        + " | ".join(f"{name}, µs" for name in gpus)
        + " | peer: predicted ratio on each (must) |",
        "| --- " * (6 + len(gpus)) + "|",
    ]
    for (op, shape), rows in by_work.items():
        first = rows[gpus[0]]
        cells = [op, shape, str(first["launches"]), f"{first['bytes_moved'] / 1e6:.1f}"]
        cells += [f"{first['flops'] / 1e9:.2f}", *(f"{rows[name]['us']:.0f}" for name in gpus)]
        cells.append(
            "; ".join(_predicted_ratios(rows, gpus, i) for i in range(len(first["peers"])))
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _predicted_ratios(rows: dict[str, dict[str, Any]], gpus: list[str], index: int) -> str:
    one = rows[gpus[0]]["peers"][index]
    ratios = " / ".join(f"{rows[name]['peers'][index]['ratio']:.1f}" for name in gpus)
    return f"{one['peer']}: {ratios} ×" + (f" ({one['must']:g})" if one["must"] else "")


def demo_table(content: dict[str, Any]) -> str:
    """Macro AUC and unmentioned R² by encoder and share of labels, with intervals."""
    lines = [
        f"`{content['command']}`, {content['machine']}, torch {content['versions']['torch']}; "
        "mean over label draws, in brackets the 95 % interval over test patients.",
        "",
        "| metric | encoder | labels | value | draws |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in content["summary"]:
        if row["metric"] in ("macro_auc", "unmentioned_r2"):
            lines.append(
                f"| {row['metric']} | {row['encoder']} | {row['n_train']} | {row['value']:.3f} "
                f"({row['ci_low']:.3f} to {row['ci_high']:.3f}) | {row['draws']} |"
            )
    return "\n".join(lines)


def demo_segmentation_table(content: dict[str, Any]) -> str:
    """Dice by encoder in three conventions, the trivial predictors among them."""
    masks = content["segmentation"]
    names = ("dice_positive", "dice_pooled", "dice_all", "empty_specificity")
    lines = [
        f"`{masks['command']}`, as `make demo` runs it; one training seed, one label draw, in "
        "brackets the 95 % interval over test patients.",
        "",
        f"| encoder | labels | {' | '.join(names)} |",
        "| --- " * (2 + len(names)) + "|",
    ]
    scores: dict[str, dict[str, str]] = {}
    labels: dict[str, int] = {}
    for row in masks["summary"]:
        # dice_all_empty_baseline of all_empty is its dice_all
        metric = row["metric"].removesuffix("_baseline").removesuffix(f"_{row['encoder'][4:]}")
        scores.setdefault(row["encoder"], {})[metric] = (
            f"{row['value']:.3f} ({row['ci_low']:.3f} to {row['ci_high']:.3f})"
        )
        labels[row["encoder"]] = row["n_train"]
    for encoder, found in scores.items():
        cells = [found.get(name, "–") for name in names]
        lines.append(f"| {encoder} | {labels[encoder]} | {' | '.join(cells)} |")
    return "\n".join(lines)


def phantom_look_table(content: dict[str, Any]) -> str:
    """Figures of generated images beside those of real ones."""
    sets = dict.fromkeys((row["images"], row["count"]) for row in content["rows"])
    lines = [
        "| figure | " + " | ".join(f"{name} ({count})" for name, count in sets) + " |",
        "| --- |" + " --- |" * len(sets),
    ]
    for figure in dict.fromkeys(row["figure"] for row in content["rows"]):
        cells = [
            f"{row['mean']:.1f} ({row['low']:.1f} to {row['high']:.1f})"
            for row in content["rows"]
            if row["figure"] == figure
        ]
        lines.append(f"| {figure} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def phantom_probe_table(content: dict[str, Any]) -> str:
    """Prevalence and AUC by finding, R² by attribute."""
    counts = [key for key in content["findings"][0] if key.startswith("auc_")]
    lines = [
        f"`{content['command']}`: {content['studies']} studies, {content['normal']:.2f} of them "
        f"without finding; {content['distinct_texts']} distinct texts of {content['words']:.0f} "
        "words on average.",
        "",
        "| finding | share | " + " | ".join(f"AUC, {c[4:]} labels" for c in counts) + " |",
        "| --- | --- |" + " --- |" * len(counts),
    ]
    for row in content["findings"]:
        aucs = " | ".join("none" if row[c] is None else f"{row[c]:.2f}" for c in counts)
        lines.append(f"| {row['finding']} | {row['share']:.2f} | {aucs} |")
    fitted = [[r[c] for r in content["findings"] if r[c] is not None] for c in counts]
    means = [sum(values) / len(values) for values in fitted]
    lines.append("| macro | | " + " | ".join(f"{mean:.2f}" for mean in means) + " |")
    attributes = ", ".join(f"{n} {v:.2f}" for n, v in content["attributes"].items())
    return "\n".join([*lines, "", f"R² of the attributes, 400 labels: {attributes}."])


TABLES: dict[str, tuple[str, str, Callable[[dict[str, Any]], str]]] = {
    "kernels-cpu": ("docs/performance.md", "cpu/kernels.json", kernels_table),
    "targets-cpu": ("docs/performance.md", "cpu/kernels.json", targets_table),
    "skipped-cpu": ("docs/performance.md", "cpu/kernels.json", skipped_list),
    "manifest-cpu": ("docs/performance.md", "cpu/manifest_scale.json", manifest_table),
    "train-cpu": ("docs/performance.md", "cpu/train.json", ladder_table),
    "train-profile-cpu": ("docs/performance.md", "cpu/train.json", profile_table),
    "train-targets-cpu": ("docs/performance.md", "cpu/train.json", train_targets),
    "feed-cpu": ("docs/performance.md", "cpu/feed.json", feed_table),
    "scaling-cpu": ("docs/scaling.md", "cpu/scaling.json", measured_table),
    "scaling": ("docs/scaling.md", "scaling.json", scaling_table),
    "scaling-cost": ("docs/scaling.md", "scaling.json", cost_table),
    "scaling-published": ("docs/scaling.md", "scaling.json", published_table),
    "scaling-assumptions": ("docs/scaling.md", "scaling.json", assumptions_list),
    "reproduce-disk": ("docs/reproduce-paper.md", "reproduce-disk.json", disk_table),
    "reproduce-time": ("docs/reproduce-paper.md", "scaling.json", time_table),
    "compiled": ("docs/performance.md", "compiled.json", compiled_table),
    "predictions": ("docs/performance.md", "predictions.json", predictions_table),
    "phantom-look": ("docs/phantom.md", "phantom-look.json", phantom_look_table),
    "phantom-probe": ("docs/phantom.md", "phantom-probe.json", phantom_probe_table),
    "demo": ("docs/results.md", "demo.json", demo_table),
    "sweep": ("docs/results.md", "sweep.json", sweep_table),
    "demo-segmentation": ("docs/results.md", "demo.json", demo_segmentation_table),
    "hannover": ("docs/results.md", "hannover.json", hannover_table),
}


def render(name: str) -> str:
    """Return the table of a name as it has to stand in its document."""
    _, file, table = TABLES[name]
    return table(json.loads((RESULTS / file).read_text()))


def place(document: str, name: str, table: str) -> str:
    """Return the document with the table between its two marks.

    Raises:
        ValueError: the marks are not there.
    """
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    pattern = re.compile(f"{begin}.*?{end}", re.DOTALL)
    if not pattern.search(document):
        raise ValueError(f"no {begin} … {end} in the document")
    return pattern.sub(lambda _: f"{begin}\n{table}\n{end}", document)


def main() -> None:
    """Rewrite every table in place."""
    for name, (document, _, _) in TABLES.items():
        path = ROOT / document
        write_text(path, place(path.read_text(), name, render(name)))


if __name__ == "__main__":
    main()
