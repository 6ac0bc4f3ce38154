"""The table of docs/performance.md that shows manifest_scale.json."""

from typing import Any


def manifest_table(content: dict[str, Any]) -> str:
    """A line a figure, a column a size of the manifest; then what prepare costs a row."""
    sizes = content["rows"]
    device, versions = content["device"], content["versions"]
    lines = [
        f"`{content['command']}`, {device['cpu']}, {device['threads']} threads, commit "
        f"{versions['commit']}, load before {device['load_before']}.",
        "",
        "| | " + " | ".join(f"{size['rows']:,} rows" for size in sizes) + " |",
        "| --- |" + " --- |" * len(sizes),
    ]

    def line(name: str, cells: list[str]) -> None:
        lines.append(f"| {name} | " + " | ".join(cells) + " |")

    for part in sizes[0]["start_up_s"]:
        line(f"start-up: {part}, s", [f"{size['start_up_s'][part]:.2f}" for size in sizes])
    line("resident after it, MiB", [f"{size['after_start_mib']:.0f}" for size in sizes])
    line("peak until then, MiB", [f"{size['peak_of_start_mib']:.0f}" for size in sizes])
    for feed in sizes[0]["feeds"]:
        read = [size["feeds"][feed] for size in sizes]
        line(f"feed `{feed}`: images/s", [f"{found['images_per_second']:,.0f}" for found in read])
        line(
            f"feed `{feed}`: memory grew by, MiB", [f"{found['growth_mib']:+.1f}" for found in read]
        )
    lines.append("")
    for found in content["prepare"]:
        lines.append(
            f"- `prepare` of {found['rows']:,} constant images: {found['us_a_row']:.0f} µs a row."
        )
    return "\n".join(lines)
