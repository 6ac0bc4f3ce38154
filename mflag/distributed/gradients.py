"""Gradients averaged over the ranks: overlapped with the backward, or all at its end."""

import inspect
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from mflag.config.compute import ComputeConfig
from mflag.distributed.reductions import has_peers


def wrap_module(module: nn.Module, config: ComputeConfig) -> nn.Module:
    """Return the module as DistributedDataParallel, or as it is with one process.

    The weights and buffers of rank 0 become those of all. Buffers then stay each rank's own:
    BatchNorm's running statistics are not used in training, and rank 0's are what is saved.

    Args:
        module: everything that trains; its forward uses every parameter in every step.
        config: buckets and static graph.
    """
    if not has_peers():
        return module
    # torch renamed it in 2.14.
    is_new = "forward_sync_buffers" in inspect.signature(DistributedDataParallel).parameters
    options: dict[str, Any] = {"forward_sync_buffers" if is_new else "broadcast_buffers": False}
    return DistributedDataParallel(
        module,
        **options,
        bucket_cap_mb=config.bucket_mb,
        static_graph=config.static_graph,
        gradient_as_bucket_view=config.gradient_as_bucket_view,
    )


@torch.no_grad()
def copy_from_first(module: nn.Module) -> None:
    """Give every rank the weights and buffers of rank 0."""
    if has_peers():
        for tensor in (*module.parameters(), *module.buffers()):
            dist.broadcast(tensor, 0)


@torch.no_grad()
def average_gradients(module: nn.Module, bucket_mb: float) -> None:
    """Average all gradients over the ranks, in buckets; a missing gradient counts as zero.

    For steps of several backwards, which DistributedDataParallel cannot follow.

    Args:
        module: what trains.
        bucket_mb: largest bucket, MiB; a larger tensor is a bucket of its own.
    """
    if not has_peers():
        return
    gradients = []
    for parameter in module.parameters():
        if parameter.requires_grad:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            gradients.append(parameter.grad)
    started = [
        (bucket, *_start_sum(bucket)) for bucket in _buckets(gradients, int(bucket_mb * 2**20))
    ]
    for bucket, total, work in started:
        work.wait()
        parts = (total / dist.get_world_size()).split([part.numel() for part in bucket])
        for gradient, part in zip(bucket, parts, strict=True):
            gradient.copy_(part.view(gradient.shape))


def _start_sum(bucket: list[Tensor]) -> tuple[Tensor, dist.Work]:
    total = torch.cat([gradient.flatten() for gradient in bucket])
    work = dist.all_reduce(total, async_op=True)
    assert work is not None
    return total, work


def _buckets(gradients: list[Tensor], size_bytes: int) -> list[list[Tensor]]:
    buckets: list[list[Tensor]] = []
    room = -1
    for gradient in gradients:
        size = gradient.numel() * gradient.element_size()
        if not buckets or size > room or gradient.dtype != buckets[-1][0].dtype:
            buckets.append([])
            room = size_bytes
        buckets[-1].append(gradient)
        room -= size
    return buckets
