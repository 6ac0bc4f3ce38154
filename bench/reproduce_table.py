"""The tables of docs/reproduce-paper.md: disk, and predicted time on one GPU."""

from typing import Any

EMBED_TWICE = 4 / 3  # micro-batches: one more forward beside a forward and a backward of twice that
IMAGE_GFLOP = 24.5  # ResNet-50 at 224², forward and backward
TOKENS = 80  # of a report, on average
TEXT_PARAMETERS = 12 * 7_087_872  # the layers of a BERT-base
TEXT_LAYERS = 12


def disk_table(content: dict[str, Any]) -> str:
    """A row a prepared folder: raw download, images at most, size of the memory map."""
    lines = [
        f"{content['kind']}: {content['image_bytes']:,} bytes an image (256 × 256, uint8).",
        "",
        "| folder | raw download | raw, GB | images, at most | `images.u8`, GB |",
        "| --- | --- | --- | --- | --- |",
    ]
    total_raw = total_prepared = 0.0
    for row in content["rows"]:
        prepared = row["images"] * content["image_bytes"] / 1e9
        total_raw, total_prepared = total_raw + row["raw_gb"], total_prepared + prepared
        raw = f"{row['raw_gb']:.1f}" if row["raw_gb"] else "–"
        lines.append(
            f"| `{row['folder']}` | {row['raw']} | {raw} | {row['images']:,} | {prepared:.1f} |"
        )
    lines.append(f"| together | | {total_raw:.0f} | | {total_prepared:.1f} |")
    return "\n".join(lines)


def text_in_the_loop(unfrozen: int) -> float:
    """Time of a step with the text encoder in it, in steps of the image encoder alone."""
    forward = 2e-9 * TEXT_PARAMETERS * TOKENS
    return 1 + (forward + 2 * forward * unfrozen / TEXT_LAYERS) / IMAGE_GFLOP


def time_table(content: dict[str, Any]) -> str:
    """Hours of pre-training on one GPU: one run, and the runs of Tables 4 and 5."""
    lines = [
        f"One seed; {content['kind']}, from the rates of `bench/results/scaling.json` "
        f"({content['assumptions']['images'] / 1e6:.1f} M images a run).",
        "",
        "| GPU | rate of one, images/s | one run | in micro-batches of 128 | Table 4, 3 runs | "
        "Table 5, 7 runs |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    table5 = 1 + sum(text_in_the_loop(k) for k in range(1, 7))
    for row in content["rows"]:
        if row["gpus"] == 1:
            once = row["hours"]
            hours = (once, EMBED_TWICE * once, 3 * EMBED_TWICE * once, table5 * EMBED_TWICE * once)
            lines.append(
                f"| {row['gpu']} | {row['rate']:,} ({row['rate_source']}) | "
                + " | ".join(f"{value:.1f} h" for value in hours)
                + " |"
            )
    return "\n".join(lines)
