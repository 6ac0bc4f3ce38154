"""How long a plan of launches takes on a GPU that is not here: a model, no measurement.

A launch takes ``NEXT_LAUNCH_US`` beside its work (the first ``FIRST_LAUNCH_US``), as replayed from
a CUDA graph: the host's time is not in it. Its work takes the longer of its bytes, at 90 % of the
data sheet's bandwidth, and its FLOPs, at a share of the data sheet's peak:

- cuBLAS products: 80 %, in float32 without tensor cores.
- own products: 60 %, times the share of multiprocessors that have a block (in the last round too),
  times resident warps over 8 where fewer are resident; blocks on a multiprocessor are those that
  the compiled registers and shared memory allow (bench/results/compiled.json).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

FIRST_LAUNCH_US, NEXT_LAUNCH_US = 5.0, 2.0
BANDWIDTH_SHARE, CUBLAS_SHARE, OWN_SHARE = 0.9, 0.8, 0.6
ENOUGH_WARPS = 8


class Gpu(NamedTuple):
    """Peaks of a data sheet; dense float32 without tensor cores."""

    capability: int
    multiprocessors: int
    bytes_per_second: float
    float32_flops: float


GPUS = {
    "A100 80GB": Gpu(80, 108, 2.039e12, 19.5e12),
    "H100 SXM": Gpu(90, 132, 3.35e12, 66.9e12),
    "H200 SXM": Gpu(90, 132, 4.8e12, 66.9e12),
}


class Step(NamedTuple):
    """One launch: bytes that pass the memory, FLOPs, and of our kernels name and blocks."""

    what: str
    bytes_moved: float
    flops: float = 0
    products: Literal["cublas", "own"] = "cublas"
    kernel: str | None = None
    blocks: int | None = None


class Occupancy(NamedTuple):
    """Blocks of a kernel on a multiprocessor, and threads of each."""

    blocks: int
    threads: int


def occupancies(compiled: Mapping[str, Any], op: str, arch: int) -> dict[str, Occupancy]:
    """Return the least occupancy of every float32 kernel of an op, from compiled.json."""
    found: dict[str, Occupancy] = {}
    for row in compiled["rows"]:
        if (row["op"], row["arch"], row["dtype"]) == (op, f"sm_{arch}", "fp32"):
            one = Occupancy(row["occupancy"], row["threads"])
            found[row["kernel"]] = min(one, found.get(row["kernel"], one))
    return found


def predict_us(
    steps: Sequence[Step], gpu: Gpu, resident: Mapping[str, Occupancy], launches: int | None = None
) -> float:
    """Return the microseconds of a plan; ``launches`` when steps stand for more than one each."""
    count = len(steps) if launches is None else launches
    work = sum(_work_us(step, gpu, resident) for step in steps)
    return FIRST_LAUNCH_US + (count - 1) * NEXT_LAUNCH_US + work


def _work_us(step: Step, gpu: Gpu, resident: Mapping[str, Occupancy]) -> float:
    memory = step.bytes_moved / (BANDWIDTH_SHARE * gpu.bytes_per_second)
    share = CUBLAS_SHARE if step.products == "cublas" else _own_share(step, gpu, resident)
    return 1e6 * max(memory, step.flops / (share * gpu.float32_flops))


def _own_share(step: Step, gpu: Gpu, resident: Mapping[str, Occupancy]) -> float:
    if step.kernel is None or step.blocks is None or step.kernel not in resident:
        raise ValueError(f"{step.what}: its kernel {step.kernel} is not in compiled.json")
    limit, threads = resident[step.kernel]
    each = -(-step.blocks // gpu.multiprocessors)  # of the busiest multiprocessor
    busy = step.blocks / (each * gpu.multiprocessors)
    warps = min(each, limit) * threads // 32
    return OWN_SHARE * busy * min(1.0, warps / ENOUGH_WARPS)
