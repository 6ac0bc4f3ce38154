"""The table of feed.json."""

from typing import Any


def feed_table(content: dict[str, Any]) -> str:
    """A row a feed or peer and file size; against what training consumes."""
    device, versions = content["device"], content["versions"]
    used = content["consumption"]
    lines = [
        f"`{content['command']}`, {device.get('gpu', device['cpu'])}, {device['threads']} threads, "
        f"{content['workers']} workers, batch {content['batch_size']}, {content['files']} files of "
        f"each size, commit {versions['commit']}, load before {device['load_before']}; medians.",
        "",
        "| feed | files | cold, images/s | warm, images/s (10 to 90 %) | warm against training |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in content["rows"]:
        low, high = row["warm_spread"]
        warm = row["warm_images_per_second"]
        lines.append(
            f"| {row['name']}{' (peer)' if row['is_peer'] else ''} | {row['side']}² | "
            f"{row['cold_images_per_second']:,.0f} | {warm:,.0f} ({low:,.0f} to {high:,.0f}) | "
            f"{'' if used is None else f'{warm / used:,.1f} ×'} |"
        )
    lines.append("")
    if used is not None:
        lines.append(f"- Training takes {used:,.1f} images/s: the last rung of bench.train.")
    for one in content["prepare"]:
        lines.append(
            f"- JPEG of {one['side']}²: {one['mean_bytes'] / 1e3:,.0f} kB a file; `prepare` "
            f"decodes and stores {one['images_per_second']:,.0f} images/s, once."
        )
    by_reason: dict[str, list[str]] = {}
    for one in content["skipped"]:
        by_reason.setdefault(one["reason"], []).append(one["what"])
    lines += [f"- Skipped: {', '.join(what)}: {reason}" for reason, what in by_reason.items()]
    return "\n".join(lines)
