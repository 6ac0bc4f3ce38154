"""One optimizer step of every parameter of ResNet-50."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from bench.peers.installed import installed
from bench.workloads.resnet50 import PARAMETER_SHAPES
from bench.workloads.workload import Call, Workload
from mflag.optim import LARS

SGD: dict[str, Any] = {"lr": 1e-4, "momentum": 0.9, "weight_decay": 1e-4}
Build = Callable[[list[Tensor]], torch.optim.Optimizer]


def workloads(device: str) -> Iterator[Workload]:
    """Yield the step in timm's formula; float32, gradients there already."""
    torch.manual_seed(0)
    start = [0.1 * torch.randn(shape, device=device) for shape in PARAMETER_SHAPES]
    gradients = [1e-3 * torch.randn_like(tensor) for tensor in start]
    values = sum(tensor.numel() for tensor in start)
    # Five streams: w, g, m read, w, m written; two norms and the update.
    work = Workload("lars", "resnet50", "float32", bytes_moved=5 * 4 * values, flops=10 * values)
    work.add_ours(
        device,
        lambda backend: _step(
            lambda p: LARS.preset("timm", p, **SGD, backend=backend), start, gradients
        ),
    )
    for name, build in PEERS.items():
        work.add_peer(name, lambda build=build: _step(build, start, gradients))  # type: ignore[misc]
    yield work


def _step(build: Build, start: Sequence[Tensor], gradients: Sequence[Tensor]) -> Call:
    def fresh() -> tuple[list[Tensor], torch.optim.Optimizer]:
        parameters = [tensor.clone().requires_grad_() for tensor in start]
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient.clone()
        return parameters, build(parameters)

    def two_steps() -> list[Tensor]:
        parameters, optimizer = fresh()
        optimizer.step()
        optimizer.step()
        return [parameter.detach() for parameter in parameters]

    return Call(fresh()[1].step, result=two_steps)


PEERS: dict[str, Build] = {
    "torch_sgd_fused": lambda p: torch.optim.SGD(p, **SGD, fused=True),
    "torch_sgd_foreach": lambda p: torch.optim.SGD(p, **SGD, foreach=True),
    "timm_lars": lambda p: installed("timm.optim", "Lars")(p, **SGD),
    "lightly_lars": lambda p: installed("lightly.utils.lars", "LARS")(p, **SGD),
    "apex_fused_lars": lambda p: installed("apex.optimizers.fused_lars", "FusedLARS")(p, **SGD),
    "apex_larc": lambda p: installed("apex.parallel.LARC", "LARC")(torch.optim.SGD(p, **SGD)),
}
