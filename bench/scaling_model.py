"""How many images a second several GPUs train: a model of published rates, no measurement.

    python -m bench.scaling_model        writes bench/results/scaling.json

A step of b images takes b / rate, the rate of one GPU. Its backward is 2/3 of that; the gradients'
all-reduce hides behind it, bucket by bucket, but for the last bucket, whose gradients come last.
What stays visible: that bucket, what does not fit into the backward, the gather of Z in the
forward with the products over all rows, and the wait for the slowest rank.
Inside a node collectives run at the bus bandwidth of nccl-tests; between nodes in three levels
(scatter inside, all-reduce of an eighth by each network card, gather inside).
"""

import argparse
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.machine import command_line
from bench.workloads.resnet50 import PARAMETER_SHAPES
from mflag.runtime.atomic_write import write_json

RESULTS = Path(__file__).parents[1] / "bench" / "results"
LATENT, HIDDEN, TEXT = 2048, 2048, 768
IMAGES = 213_384 * 100  # the paper's studies and epochs
BACKWARD_SHARE = 2 / 3
BUCKET_BYTES = 50 << 20
ORTHOGONALITY_SHARE = 0.6  # of the float32 peak
STRAGGLER_SHARE = 0.01  # of a step, waiting for the slowest rank
IMAGE_BYTES = 256 * 256  # uint8 in the cache


@dataclass(frozen=True)
class Gpu:
    """What is assumed of one GPU and its node; bytes and FLOPs a second, seconds, watts.

    Attributes:
        rates: images/s of one GPU by name of their source; published for ResNet-50 at 224².
        bus: of an all-reduce inside a node (nccl-tests ``busbw``, large messages).
        network: of one card, one a GPU: what of the line rate is reached.
        node_watts: most of a node of eight, by its data sheet.
    """

    rates: dict[str, float]
    bus: float
    network: float
    float32_flops: float
    node_watts: float
    host: float
    per_node: int = 8
    hop_s: float = 3e-6
    network_hop_s: float = 8e-6


GPUS = {
    "A100": Gpu(
        rates={"DeepLearningExamples": 2470, "MLPerf": 3574},
        bus=230e9, network=0.85 * 25e9, float32_flops=19.5e12, node_watts=6500, host=20e9,
    ),
    "H100": Gpu(
        rates={"must of this project": 4000, "MLPerf": 7162},
        bus=460e9, network=0.85 * 50e9, float32_flops=66.9e12, node_watts=10200, host=45e9,
    ),
}  # fmt: skip
SOURCES = {
    "rates": "NVIDIA DeepLearningExamples (PyTorch ResNet-50 v1.5, A100, AMP) and MLPerf training "
    "(MXNet), ResNet-50 at 224²; 4,000 on an H100 is this project's own must, not measured",
    "bus": "lower end of nccl-tests busbw on 8 GPUs, large messages, as published by a cloud "
    "(docs.alayanew.com, NCCL-tests in practice): 230 to 250 GB/s (A100), 460 to 480 GB/s (H100)",
    "network": "85 % of 200 Gb/s (A100) and 400 Gb/s (H100), one card a GPU, as in a DGX",
    "float32_flops": "data sheets, without tensor cores",
    "node_watts": "data sheets: DGX A100 6.5 kW, DGX H100 10.2 kW, at most",
    "host": "PCIe 4 and 5, 16 lanes, about 70 to 80 % of the line rate",
    "hop_s": "assumed: 3 µs a step of a ring inside a node, 8 µs between nodes",
    "straggler": "assumed: 1 % of a step",
}
# Published for eight GPUs, beside what the model says of the same: images/s.
PUBLISHED = (
    ("A100", "DeepLearningExamples", 16621),
    ("A100", "MLPerf", 28591),
    ("H100", "MLPerf", 57295),
)
CLUSTERS = (("A100", 1), ("A100", 8), ("H100", 1), ("H100", 8), ("H100", 64))


def gradient_bytes() -> int:
    """Return the bytes of the float32 gradients: ResNet-50 without ``fc``, and the projector."""
    values = 0
    for shape in PARAMETER_SHAPES[:-2]:
        size = 1
        for length in shape:
            size *= length
        values += size
    return 4 * (values + LATENT * HIDDEN + 2 * HIDDEN + (HIDDEN + 1) * TEXT)


def all_reduce_s(gpu: Gpu, gpus: int, size_bytes: float) -> float:
    """Return the seconds of one all-reduce of ``size_bytes`` over ``gpus``."""
    if gpus == 1:
        return 0.0
    inside = min(gpus, gpu.per_node)
    nodes = -(-gpus // gpu.per_node)
    seconds = 2 * (inside - 1) / inside * size_bytes / gpu.bus + 2 * (inside - 1) * gpu.hop_s
    if nodes > 1:
        part = size_bytes / inside
        seconds += 2 * (nodes - 1) / nodes * part / gpu.network
        seconds += 2 * (nodes - 1) * gpu.network_hop_s
    return seconds


def all_gather_s(gpu: Gpu, gpus: int, own_bytes: float) -> float:
    """Return the seconds until every GPU has the ``own_bytes`` of all."""
    if gpus == 1:
        return 0.0
    inside = min(gpus, gpu.per_node)
    nodes = -(-gpus // gpu.per_node)
    seconds = 0.0
    if nodes > 1:  # cards of equal place exchange, then the node shares what came
        seconds += (nodes - 1) * (own_bytes / gpu.network + gpu.network_hop_s)
    seconds += (inside - 1) * (nodes * own_bytes / gpu.bus + gpu.hop_s)
    return seconds


def product_flops(gpus: int, batch: int) -> int:
    """Return the FLOPs of the orthogonality loss on each GPU, over the gathered rows.

    Fewer rows than features: this rank's rows of K, and K x. Else every rank forms the whole
    covariance, and its own rows times it.
    """
    rows = gpus * batch
    if rows < LATENT:
        return 4 * batch * rows * LATENT
    return 2 * (rows + batch) * LATENT**2


@dataclass(frozen=True)
class Step:
    """Seconds of one step on every GPU."""

    compute: float
    all_reduce: float
    exposed_all_reduce: float
    gather: float
    products: float
    straggler: float

    @property
    def total(self) -> float:
        """What the clock sees."""
        return self.compute + self.exposed_all_reduce + self.gather + self.products + self.straggler


def predict(gpu: Gpu, gpus: int, rate: float, batch: int = 128) -> Step:
    """Return the parts of a step.

    Args:
        gpu: what one can.
        gpus: all together; nodes are full.
        rate: images/s of one, everything on it included.
        batch: images a GPU.
    """
    compute = batch / rate
    if gpus == 1:
        return Step(compute, 0.0, 0.0, 0.0, 0.0, 0.0)
    total = gradient_bytes()
    whole = [BUCKET_BYTES] * (total // BUCKET_BYTES)
    buckets = [*whole, total - sum(whole)]
    times = [all_reduce_s(gpu, gpus, size) for size in buckets]
    hidden = BACKWARD_SHARE * compute
    exposed = times[-1] + max(0.0, sum(times[:-1]) - hidden)
    flops = product_flops(gpus, batch) - product_flops(1, batch)  # the rate holds one GPU's own
    return Step(
        compute=compute,
        all_reduce=sum(times),
        exposed_all_reduce=exposed,
        gather=all_gather_s(gpu, gpus, 4 * batch * LATENT),
        products=flops / (ORTHOGONALITY_SHARE * gpu.float32_flops),
        straggler=STRAGGLER_SHARE * compute,
    )


def row(name: str, gpus: int, source: str, batch: int = 128) -> dict[str, Any]:
    """Return one line of scaling.json."""
    gpu = GPUS[name]
    rate = gpu.rates[source]
    step = predict(gpu, gpus, rate, batch)
    together = gpus * batch / step.total
    hours = IMAGES / together / 3600
    return {
        "gpu": name,
        "gpus": gpus,
        "rate_source": source,
        "rate": rate,
        "batch": batch,
        "step_ms": {key: 1e3 * value for key, value in asdict(step).items()},
        "images_per_second": together,
        "efficiency": together / (gpus * rate),
        "hours": hours,
        "gpu_hours": hours * gpus,
        "kwh": hours * gpu.node_watts / gpu.per_node * gpus / 1e3,
        "feed_bytes_per_second": together / gpus * IMAGE_BYTES,
        "feed_share_of_host": together / gpus * IMAGE_BYTES / gpu.host,
    }


def main() -> None:
    """Write scaling.json."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.scaling_model",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    content = {
        "format": 1,
        "kind": "prediction, not measurement",
        "command": command_line("bench.scaling_model"),
        "assumptions": {
            "gradient_bytes": gradient_bytes(),
            "images": IMAGES,
            "backward_share": BACKWARD_SHARE,
            "bucket_bytes": BUCKET_BYTES,
            "orthogonality_share": ORTHOGONALITY_SHARE,
            "straggler_share": STRAGGLER_SHARE,
            "gpus": {name: asdict(gpu) for name, gpu in GPUS.items()},
            "sources": SOURCES,
        },
        "rows": [row(name, gpus, source) for name, gpus in CLUSTERS for source in GPUS[name].rates],
        "published": [
            {
                "gpu": name,
                "rate_source": source,
                "published": together,
                "predicted": row(name, 8, source)["images_per_second"],
            }
            for name, source, together in PUBLISHED
        ],
    }
    write_json(given.out / "scaling.json", content)
    print(f"written: {given.out / 'scaling.json'}")


if __name__ == "__main__":
    main()
