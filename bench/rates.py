"""What the machine reaches: copies and matrix products, to compare the kernels with."""

import math
from typing import Any

import numpy as np
import torch

from bench.timing import time_in_turns

COPY_BYTES = 256 << 20
GEMM_SIDE = {"cpu": 2048, "cuda": 8192}


def measure_rates(device: str, seconds: float = 2.0) -> dict[str, float]:
    """Return the bandwidth of a copy of 256 MiB (read and written) and the fp32 GEMM rate."""
    source = torch.ones(COPY_BYTES // 4, device=device)
    target = torch.zeros_like(source)
    side = GEMM_SIDE[device]
    a, b = (torch.randn(side, side, device=device) for _ in range(2))
    out = torch.empty_like(a)
    times = time_in_turns(
        {"copy": lambda: target.copy_(source), "gemm": lambda: torch.mm(a, b, out=out)},
        device, seconds,
    )  # fmt: skip
    copy, gemm = (1e-3 * float(np.median(times[name])) for name in ("copy", "gemm"))
    return {
        "copy_bytes_per_second": 2 * COPY_BYTES / copy,
        "float32_flops_per_second": 2 * side**3 / gemm,
    }


def measure_bf16_products(device: str, seconds: float = 1.0) -> dict[str, float]:
    """Return the rate of bfloat16 matrix products."""
    side = GEMM_SIDE[device]
    a, b = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    times = time_in_turns({"gemm": lambda: torch.mm(a, b)}, device, seconds)
    return {"bfloat16_flops_per_second": 2 * side**3 / (1e-3 * float(np.median(times["gemm"])))}


def bound(bytes_moved: int, flops: int, rates: dict[str, float]) -> float:
    """Return the milliseconds that the slower of the two takes: the roofline."""
    by_memory = bytes_moved / rates["copy_bytes_per_second"]
    return 1e3 * max(by_memory, flops / rates["float32_flops_per_second"])


def against_bound(
    milliseconds: float, bytes_moved: int, flops: int, rates: dict[str, float]
) -> dict[str, Any]:
    """Return what was achieved, and its share of the bound; data in the cache can pass 1."""
    least = bound(bytes_moved, flops, rates)
    seconds = milliseconds / 1e3
    return {
        "bytes_per_second": bytes_moved / seconds,
        "flops_per_second": flops / seconds,
        "bound_ms": least,
        "share_of_bound": least / milliseconds if math.isfinite(milliseconds) else 0.0,
    }
