"""Time every op and backend beside what people run today: ``python -m bench.kernels``."""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import timm.optim
import torch
import torchvision
from rich.console import Console
from rich.table import Table
from torch import Tensor

import mflag
from bench.machine import command_line, describe_machine, describe_versions
from bench.peers.orthogonality import plain_dual, published
from bench.timing import peak_memory, time_in_turns
from mflag.losses import OrthogonalityLoss
from mflag.optim import LARS
from mflag.runtime.atomic_write import write_json

BATCHES, DIM = (128, 512, 1024), 2048
Calls = dict[str, Callable[[], object]]


def main() -> None:
    """Measure, print a table, write DIR/kernels.json."""
    parser = argparse.ArgumentParser(prog="python -m bench.kernels", description=__doc__)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--out", type=Path, default=Path("runs/bench"), help="writes kernels.json")
    parser.add_argument("--seconds", type=float, default=8.0, help="for each op and shape")
    given = parser.parse_args()
    if given.device == "cuda" and not torch.cuda.is_available():
        parser.error("no CUDA device is here; use --device cpu")
    machine = describe_machine(given.device)
    rows = list(_rows(given.device, given.seconds))
    content = {
        "format": 1,
        "device": machine,
        "versions": describe_versions(),
        "command": command_line("bench.kernels"),
        "rows": rows,
    }
    write_json(given.out / "kernels.json", content)
    _print(rows)
    print(f"written: {given.out / 'kernels.json'}")


def _rows(device: str, seconds: float) -> Iterator[dict[str, Any]]:
    able = [name for name in _backends(device) if mflag.backends()[name] is True]
    for batch in BATCHES:
        calls, peers = _orthogonality(batch, able, device)
        yield from _compare("orthogonality", f"{batch}x{DIM}", calls, peers, device, seconds)
    calls, peers = _lars(able, device)
    yield from _compare("lars", "resnet50", calls, peers, device, seconds)


def _backends(device: str) -> tuple[str, ...]:
    return ("reference", "cpu") if device == "cpu" else ("reference", "triton", "cuda")


def _compare(
    op: str, shape: str, ours: Calls, peers: Calls, device: str, seconds: float
) -> Iterator[dict[str, Any]]:
    times = time_in_turns({**ours, **peers}, device, seconds)
    for backend in ours:
        for peer in peers:
            yield {
                "op": op,
                "backend": backend,
                "shape": shape,
                "dtype": "float32",
                "peer": peer,
                "median_ms": float(np.median(times[backend])),
                "peer_median_ms": float(np.median(times[peer])),
                "ratio": float(np.median(times[peer] / times[backend])),
                "spread": [float(q) for q in np.percentile(times[backend], (10, 90))],
                "peer_spread": [float(q) for q in np.percentile(times[peer], (10, 90))],
                "peak_memory_bytes": peak_memory(ours[backend], device),
            }


def _orthogonality(batch: int, able: list[str], device: str) -> tuple[Calls, Calls]:
    """Forward and backward at the latent, in the authors' normalisation, which all peers share."""
    torch.manual_seed(0)
    z = torch.randn(batch, DIM, device=device).relu().requires_grad_()

    def step(loss: Callable[[Tensor], Tensor]) -> Callable[[], object]:
        def run() -> object:
            z.grad = None
            loss(z).backward()
            return z.grad

        return run

    ours = {backend: step(OrthogonalityLoss.preset("authors", backend=backend)) for backend in able}
    return ours, {"published": step(published), "plain_dual": step(plain_dual)}


def _lars(able: list[str], device: str) -> tuple[Calls, Calls]:
    """One step of every parameter of ResNet-50, gradients in place."""
    sgd: dict[str, Any] = {"lr": 1e-4, "momentum": 0.9, "weight_decay": 1e-4}

    def step(build: Callable[[list[Tensor]], torch.optim.Optimizer]) -> Callable[[], object]:
        model = torchvision.models.resnet50().to(device)
        parameters: list[Tensor] = list(model.parameters())
        for parameter in parameters:
            parameter.grad = torch.randn_like(parameter) * 1e-3
        return build(parameters).step

    ours = {}
    for backend in able:
        if backend != "triton":
            ours[backend] = step(
                lambda p, backend=backend: LARS.preset("timm", p, **sgd, backend=backend)  # type: ignore[misc]
            )
    peers = {
        "torch_sgd_fused": step(lambda p: torch.optim.SGD(p, **sgd, fused=True)),
        "torch_sgd_foreach": step(lambda p: torch.optim.SGD(p, **sgd, foreach=True)),
        "timm_lars": step(lambda p: timm.optim.Lars(p, **sgd)),
    }
    return ours, peers


def _print(rows: list[dict[str, Any]]) -> None:
    table = Table("op", "shape", "backend", "ms", "peer", "peer ms", "ratio", show_edge=False)
    for row in rows:
        table.add_row(
            row["op"], row["shape"], row["backend"], f"{row['median_ms']:.3f}", row["peer"],
            f"{row['peer_median_ms']:.3f}", f"{row['ratio']:.2f}",
        )  # fmt: skip
    Console().print(table)


if __name__ == "__main__":
    main()
