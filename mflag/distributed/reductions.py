"""Small collectives of the default group; with one process they return what they were given."""

import torch
import torch.distributed as dist
from torch import Tensor


def has_peers() -> bool:
    """Whether a process group of more than one process is up."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def sum_over_ranks(values: Tensor) -> Tensor:
    """Return the sum of every rank's tensor, on every rank; shapes are equal."""
    return _reduce(values, dist.ReduceOp.SUM) if has_peers() else values


def max_over_ranks(values: Tensor) -> Tensor:
    """Return the largest of every rank's values, elementwise, on every rank."""
    return _reduce(values, dist.ReduceOp.MAX) if has_peers() else values


def gather_over_ranks(values: Tensor) -> Tensor:
    """Return every rank's tensor, (...) to (world_size, ...), on every rank; shapes are equal."""
    if not has_peers():
        return values[None]
    everything = values.new_empty(dist.get_world_size(), *values.shape)
    all_gather(everything, values.detach().contiguous()[None])
    return everything


def all_gather(everything: Tensor, own: Tensor) -> None:
    """Fill ``everything``, (world_size · B, ...), with every rank's ``own``, (B, ...), in order."""
    # torch renamed it in 2.14.
    gather = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor
    gather(everything, own)


def share_bytes(content: bytes | memoryview) -> bytes | memoryview:
    """Return rank 0's bytes on every rank; what the others give is not looked at."""
    if not has_peers():
        return content
    size = torch.tensor([len(content)])
    dist.broadcast(size, 0)
    received = torch.empty(int(size), dtype=torch.uint8)
    if dist.get_rank() == 0 and len(content):
        received.copy_(torch.frombuffer(bytearray(content), dtype=torch.uint8))
    dist.broadcast(received, 0)
    return received.numpy().tobytes()


def _reduce(values: Tensor, operation: "dist.ReduceOp.RedOpType") -> Tensor:
    total = values.detach().clone()
    dist.all_reduce(total, operation)
    return total
