"""The tables of scaling.json."""

from typing import Any


def scaling_table(content: dict[str, Any]) -> str:
    """A row a cluster and rate: where a step's time goes, images/s together."""
    lines = [
        f"`{content['command']}`: {content['kind']}. Batch 128 a GPU; times of a step in ms.",
        "",
        "| GPUs | rate of one, images/s | compute | all-reduce (visible) | gather of Z | products "
        "of Z | images/s together | against GPUs × one |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for one in content["rows"]:
        ms = one["step_ms"]
        lines.append(
            f"| {one['gpus']} × {one['gpu']} | {one['rate']:,.0f} ({one['rate_source']}) | "
            f"{ms['compute']:.1f} | {ms['all_reduce']:.2f} ({ms['exposed_all_reduce']:.2f}) | "
            f"{ms['gather']:.2f} | {ms['products']:.2f} | {one['images_per_second']:,.0f} | "
            f"{one['efficiency']:.1%} |"
        )
    return "\n".join(lines)


def cost_table(content: dict[str, Any]) -> str:
    """What the paper's run takes on each: hours, GPU-hours, kWh, bytes a second to feed."""
    images = content["assumptions"]["images"]
    lines = [
        f"The paper's {images / 1e6:.1f} M images (213,384 studies, 100 epochs); "
        f"{content['kind']}.",
        "",
        "| GPUs | rate of one | minutes | GPU-hours | kWh, at most | feed a GPU, GB/s | of its "
        "PCIe |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for one in content["rows"]:
        lines.append(
            f"| {one['gpus']} × {one['gpu']} | {one['rate_source']} | {60 * one['hours']:,.1f} | "
            f"{one['gpu_hours']:.2f} | {one['kwh']:.1f} | "
            f"{one['feed_bytes_per_second'] / 1e9:.2f} | {one['feed_share_of_host']:.1%} |"
        )
    return "\n".join(lines)


def assumptions_list(content: dict[str, Any]) -> str:
    """Every number that the model takes as given, with its source."""
    given = content["assumptions"]
    lines = [
        f"- Gradients: {given['gradient_bytes'] / 1e6:.0f} MB in float32 (ResNet-50 without `fc`, "
        f"projector), buckets of {given['bucket_bytes'] >> 20} MiB.",
        f"- The backward is {given['backward_share']:.0%} of a step and hides the all-reduce of "
        "every bucket but the last.",
        f"- Products of the orthogonality loss: {given['orthogonality_share']:.0%} of the float32 "
        "peak.",
    ]
    for name, gpu in given["gpus"].items():
        lines.append(
            f"- {name}: bus {gpu['bus'] / 1e9:.0f} GB/s, network {gpu['network'] / 1e9:.1f} GB/s a "
            f"GPU, float32 {gpu['float32_flops'] / 1e12:.1f} TFLOP/s, "
            f"{gpu['node_watts'] / 1e3:.1f} kW a node of {gpu['per_node']}."
        )
    lines += [f"- {name}: {source}." for name, source in given["sources"].items()]
    return "\n".join(lines)


def published_table(content: dict[str, Any]) -> str:
    """The model beside what others published for eight GPUs (without orthogonality loss)."""
    lines = [
        "| 8 GPUs | rate of one | published, images/s | model, images/s | model / published |",
        "| --- | --- | --- | --- | --- |",
    ]
    for one in content["published"]:
        ratio = one["predicted"] / one["published"]
        lines.append(
            f"| {one['gpu']} | {one['rate_source']} | {one['published']:,} | "
            f"{one['predicted']:,.0f} | {ratio:.2f} |"
        )
    return "\n".join(lines)


def measured_table(content: dict[str, Any]) -> str:
    """A row a number of gloo processes: images/s together and against as many times one."""
    machine = content["machine"]
    lines = [
        f"`{content['command']}`: {machine['cpu']}, {machine['cores']} cores, "
        "one thread a process, "
        f"{content['arch']} at {content['image_size']}², batch {content['batch_size']} a process, "
        f"torch {content['versions']['torch']}; median (lowest to highest).",
        "",
        "| processes | images/s together | against processes × one |",
        "| --- | --- | --- |",
    ]
    for row in content["rows"]:
        lines.append(
            f"| {row['processes']} | {row['images_per_second']:.2f} ({row['low']:.2f} to "
            f"{row['high']:.2f}) | {row['efficiency']:.0%} |"
        )
    return "\n".join(lines)
