"""The tables of kernels.json in Markdown."""

from typing import Any

from bench.targets import verdicts

COLUMNS = ("op", "shape", "dtype", "backend", "ms (10 to 90 %)", "forward ms", "of the bound",
           "peak MB", "gradient error", "peer", "peer ms", "peer peak MB", "ratio")  # fmt: skip


def where(content: dict[str, Any]) -> str:
    """Say what was typed, on which machine, with which versions."""
    device, versions = content["device"], content["versions"]
    name = device.get("gpu", device["cpu"])
    return (
        f"`{content['command']}`, {name}, {device['threads']} threads, torch {versions['torch']}, "
        f"commit {versions['commit']}, load before {device['load_before']}; medians."
    )


def kernels_table(content: dict[str, Any]) -> str:
    """A row an op, shape, backend and peer, as times and ratio."""
    rates = content.get("rates")
    lines = [where(content)]
    if rates:
        lines[0] += (
            f" Measured in the same run: copy {rates['copy_bytes_per_second'] / 1e9:.1f} GB/s, "
            f"float32 products {rates['float32_flops_per_second'] / 1e9:,.0f} GFLOP/s."
        )
    lines += ["", f"| {' | '.join(COLUMNS)} |", "| --- " * len(COLUMNS) + "|"]
    lines += [f"| {' | '.join(_cells(row))} |" for row in content["rows"]]
    return "\n".join(lines)


def _cells(row: dict[str, Any]) -> list[str]:
    low, high = row["spread"]
    return [
        row["op"], row["shape"], row["dtype"], row["backend"],
        f"{_three_digits(row['median_ms'])} ({_three_digits(low)} to {_three_digits(high)})",
        _three_digits(row.get("forward_median_ms")),
        _number(row.get("share_of_bound"), "{:.0%}"),
        _megabytes(row.get("peak_memory_bytes")),
        _number(row.get("gradient_error"), "{:.0e}"),
        row["peer"], _three_digits(row["peer_median_ms"]),
        _megabytes(row.get("peer_peak_memory_bytes")),
        f"{row['ratio']:.2f} ×",
    ]  # fmt: skip


def _three_digits(value: float | None) -> str:
    return _number(value, "{:.3g}" if value is not None and value < 999.5 else "{:,.0f}")


def _number(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)


def _megabytes(value: int | None) -> str:
    return "" if value is None else f"{value / 1e6:.2f}"


def targets_table(content: dict[str, Any]) -> str:
    """A row a target: what it must reach, what it reaches."""
    lines = [
        "| op | shape | what | must | aim | backend | reached | |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for one in verdicts(content["device"]["type"], content["rows"], content.get("rates", {})):
        cells = [
            one["op"], one["shape"], one["what"], _number(one["must"], "{:g}"),
            _number(one["aim"], "{:g}"), one["backend"] or "", _number(one["value"], "{:.2f}"),
            one["verdict"],
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def skipped_list(content: dict[str, Any]) -> str:
    """What was not measured, and why; the same reason once."""
    by_reason: dict[str, list[str]] = {}
    for line in content["skipped"]:
        by_reason.setdefault(line["reason"], []).append(line["what"])
    if not by_reason:
        return "Nothing."
    return "\n".join(f"- {', '.join(what)}: {reason}" for reason, what in by_reason.items())
