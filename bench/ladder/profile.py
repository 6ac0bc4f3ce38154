"""Where a step's time goes: operators in groups, losses and optimizer alone, and the MFU."""

import re
from typing import Any

import torch
import torchvision
from torch.utils.flop_counter import FlopCounterMode

from bench.ladder.own_loop import OwnLoop
from bench.timing import time_in_turns

# The first that matches the operator's name takes its time.
GROUPS = (
    ("losses", r"mflag.*(alignment|orthogonality)"),
    ("augmentation", r"mflag.*augment"),
    ("optimizer", r"adam|lars|multi_tensor|Optimizer"),
    ("convolution", r"conv|cudnn|implicit|xmma|wgrad|dgrad"),
    ("BatchNorm", r"batch_?norm|bn_"),
    ("matrix products", r"mm$|addmm|linear|gemm|matmul|cutlass"),
    ("ReLU, add, pooling", r"relu|threshold|add_?$|max_pool|pool|mean|elementwise"),
    ("fused by the compiler", r"triton_"),
    ("copies and casts", r"copy|_to_|contiguous|clone|cat$|Memcpy|memcpy"),
)
_OTHER = "everything else"


def group_of(operator: str) -> str:
    """Return the group of an operator or GPU kernel."""
    for group, pattern in GROUPS:
        if re.search(pattern, operator, re.IGNORECASE):
            return group
    return _OTHER


def profile_steps(loop: OwnLoop, device: str, steps: int) -> list[dict[str, Any]]:
    """Return the milliseconds a step and the share of every group, the largest first."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    if device == "cuda":
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=activities) as profile:
        for _ in range(steps):
            loop.step()
        if device == "cuda":
            torch.cuda.synchronize()
    spent: dict[str, float] = {}
    for event in profile.key_averages():
        on_gpu = getattr(event, "self_device_time_total", 0.0)
        time_us = on_gpu if device == "cuda" else event.self_cpu_time_total
        is_kernel = str(getattr(event, "device_type", "")).endswith("CUDA")
        if device == "cuda" and not is_kernel:  # an operator repeats the time of its kernels
            continue
        group = group_of(event.key)
        spent[group] = spent.get(group, 0.0) + time_us / steps / 1e3
    total = sum(spent.values()) or 1.0
    ordered = sorted(spent.items(), key=lambda item: -item[1])
    return [{"group": name, "ms": ms, "share": ms / total} for name, ms in ordered if ms]


def losses_and_optimizer(loop: OwnLoop, device: str, step_ms: float) -> dict[str, float]:
    """Time losses (with projector, forward and backward) and optimizer alone.

    Returns:
        ``losses_ms``, ``optimizer_ms`` and their share of a step.
    """
    run = loop.run
    rows = run.stream.positions(0)
    text_rows = run.text_rows[torch.from_numpy(run.prepared.rows("train")[rows])]
    z = torch.randn(len(rows), 2048, device=run.compute.device).requires_grad_()
    enabled = run.compute.dtype != torch.float32
    for weight in run.encoder.parameters():
        weight.grad = torch.zeros_like(weight)

    index, loss = text_rows.to(z.device), run.loss

    def losses() -> None:
        with torch.autocast(z.device.type, run.compute.dtype, enabled=enabled):
            assert loss.projector is not None
            alignment = loss.alignment(loss.projector(z), loss.table, index=index)
            total = alignment + loss.orthogonality(z)
        total.backward()

    calls = {"losses": losses, "optimizer": lambda: run.optimizer.step()}
    losses()
    times = time_in_turns(calls, device, 3.0)
    found = {f"{name}_ms": float(torch.tensor(times[name]).median()) for name in calls}
    return found | {"share": sum(found.values()) / step_ms}


def training_flops(arch: str, size: int) -> int:
    """Return the FLOPs of forward and backward of one image, a multiply-add counted as two."""
    with torch.device("meta"):
        encoder = getattr(torchvision.models, arch)()
        image = torch.empty(2, 3, size, size)
    with FlopCounterMode(display=False) as counter:
        encoder(image).sum().backward()
    return counter.get_total_flops() // 2


def utilisation(images_per_second: float, flops: int, peak: float) -> float:
    """Return the MFU: the model's FLOPs a second over those of measured matrix products."""
    return images_per_second * flops / peak
