"""Run one function on several processes with gloo, and give back what each returned."""

import multiprocessing
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist


def run_on_ranks(
    work: Callable[..., Any], world_size: int, folder: Any, *arguments: Any
) -> list[Any]:
    """Return ``work(rank, *arguments)`` of every rank; ``folder`` is for the rendezvous."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(world_size) as pool:
        calls = [
            (work, rank, world_size, f"file://{folder}/rendezvous", arguments)
            for rank in range(world_size)
        ]
        return pool.starmap_async(_on_rank, calls, chunksize=1).get(timeout=120)


def _on_rank(work, rank, world_size, address, arguments):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=address, rank=rank, world_size=world_size)
    try:
        return work(rank, *arguments)
    finally:
        dist.destroy_process_group()
