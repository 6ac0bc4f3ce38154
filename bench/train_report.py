"""train.json as tables and as a plot."""

from pathlib import Path
from typing import Any

from bench.ladder.targets import judge


def ladder_table(content: dict[str, Any]) -> str:
    """A row a rung and peer: images a second, what it gains over the first."""
    rungs, peers = content["rungs"], content["peers"]
    text = content["text"]
    others = [name for name in rungs[-1]["faster_than"] if name != rungs[0]["name"]]
    columns = ["rung", "what changes", "images/s", "step, ms (10 to 90 %)", "data wait", "peak MB",
               f"against {rungs[0]['name']}", *(f"against {name}" for name in others)]  # fmt: skip
    lines = [
        where(content),
        "",
        f"The text encoder: {text['parameters'] / 1e6:.0f} M parameters, {text['weights']} "
        f"weights; reports of {text['mean_tokens']:.0f} tokens on average.",
        "",
        f"| {' | '.join(columns)} |",
        "| --- " * len(columns) + "|",
    ]
    for row in [rungs[0], *peers, *rungs[1:]]:
        low, high = row["spread_ms"]
        ratios = [f"{row['faster_than'][name]:.2f} ×" for name in (rungs[0]["name"], *others)]
        cells = [
            row["name"], row["what"], f"{row['images_per_second']:,.2f}",
            f"{row['step_ms']:,.0f} ({low:,.0f} to {high:,.0f})", f"{row['data_wait']:.1%}",
            f"{row['peak_memory_bytes'] / 1e6:,.0f}", *ratios,
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def where(content: dict[str, Any]) -> str:
    """Say what was typed, on which machine, with which versions."""
    device, versions = content["device"], content["versions"]
    rates = content["rates"]
    products = ", ".join(
        f"{kind} products {rates[f'{kind}_flops_per_second'] / 1e9:,.0f} GFLOP/s"
        for kind in ("float32", "bfloat16")
    )
    return (
        f"`{content['command']}`, {device.get('gpu', device['cpu'])}, {device['threads']} threads, "
        f"torch {versions['torch']}, commit {versions['commit']}, load before "
        f"{device['load_before']}; ResNet-50, {content['image_size']}², batch "
        f"{content['batch_size']}; {content['rungs'][0]['turns']} turns, medians. {products}."
    )


def profile_table(content: dict[str, Any]) -> str:
    """Where the last rung's step goes, what its feed costs, and the MFU."""
    if "profile" not in content:
        return "Not measured."
    real, synthetic = content["synthetic"]["real"], content["synthetic"]["synthetic"]
    parts = content["step_parts"]
    lines = ["| operators | ms a step | share |", "| --- | --- | --- |"]
    lines += [
        f"| {row['group']} | {row['ms']:.1f} | {row['share']:.1%} |" for row in content["profile"]
    ]
    lines += [
        "",
        f"- Losses with projector, forward and backward: {parts['losses_ms']:.1f} ms; optimizer: "
        f"{parts['optimizer_ms']:.1f} ms; together {parts['share']:.1%} of the step.",
        f"- Feed: {real['images_per_second']:,.2f} images/s, {synthetic['images_per_second']:,.2f} "
        f"on tensors that are there already: it costs {content['synthetic']['overhead']:+.1%} "
        f"(median of {real['turns']} pairs), data wait {real['data_wait']:.2%}.",
        f"- {content['model_flops'] / 1e9:.1f} GFLOP an image: {content['mfu']:.0%} of the "
        "measured rate of products.",
    ]
    return "\n".join(lines)


def train_targets(content: dict[str, Any]) -> str:
    """A row a target: what it must reach, what it reaches."""
    lines = ["| what | must | aim | reached | |", "| --- | --- | --- | --- | --- |"]
    for one in judge(content):
        bound = "≥" if one["side"] == "at_least" else "≤"
        value = "" if one["value"] is None else f"{one['value']:.3g}"
        aim = "" if one["aim"] is None else f"{one['aim']:g}"
        lines.append(
            f"| {one['what']} | {bound} {one['must']:g} | {aim} | {value} | {one['verdict']} |"
        )
    return "\n".join(lines)


def document(content: dict[str, Any]) -> str:
    """Return train.md."""
    skipped = [f"- {one['what']}: {one['reason']}" for one in content["skipped"]]
    return "\n\n".join(
        [
            "# Training loops",
            ladder_table(content),
            "## The last rung",
            profile_table(content),
            "## Targets",
            train_targets(content),
            "## Skipped",
            "\n".join(skipped) or "Nothing.",
            "",
        ]
    )


def draw(content: dict[str, Any], path: Path) -> bool:
    """Draw images a second of every rung; return False without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    rungs, peers = content["rungs"], content["peers"]
    rows = [rungs[0], *peers, *rungs[1:]]
    figure = Figure(figsize=(7, 1.2 + 0.32 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    for place, row in enumerate(rows):
        is_slow = row in peers or row is rungs[0]
        axes.barh(place, row["images_per_second"], color="C7" if is_slow else "C0", height=0.75)
        times = row["faster_than"][rungs[0]["name"]]
        axes.annotate(
            f"{row['images_per_second']:,.1f} ({times:.1f} ×)", (row["images_per_second"], place),
            (3, 0), textcoords="offset points", va="center", fontsize=8,
        )  # fmt: skip
    axes.set_yticks(range(len(rows)), [row["name"] for row in rows], fontsize=8)
    axes.invert_yaxis()
    axes.margins(x=0.18)
    axes.set_xlabel(f"images/s; in brackets against {rungs[0]['name']}")
    name = content["device"].get("gpu", content["device"]["cpu"])
    axes.set_title(
        f"{name}: ResNet-50, {content['image_size']}², batch {content['batch_size']}", fontsize=9
    )
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    return True
