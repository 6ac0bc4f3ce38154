"""What ``train.micro_batch_size`` is for: the graph of a part, not of the batch."""

import json
import weakref
from pathlib import Path

import torch

from tests.training.test_compiled_step import B, build, eager, take

COMMITTED = Path(__file__).parents[2] / "bench/results/micro_batch_memory.json"


class Saved:
    """Counts the bytes that autograd holds for the backward pass."""

    def __init__(self):
        self.now = self.peak = 0

    def pack(self, tensor):
        size = tensor.numel() * tensor.element_size()
        self.now += size
        self.peak = max(self.peak, self.now)
        box = Box(tensor)
        weakref.finalize(box, self._gone, size)
        return box

    def _gone(self, size):
        self.now -= size


class Box:
    """What can be watched going away."""

    def __init__(self, tensor):
        self.tensor = tensor


def peak_bytes(micro):
    step, _, _ = build(eager("fp32"), micro=micro, arch="resnet18")
    saved = Saved()
    with torch.autograd.graph.saved_tensors_hooks(saved.pack, lambda box: box.tensor):
        take(step, 1)
    return saved.peak


def test_a_part_holds_its_share_of_the_batchs_activations():
    whole, parts = peak_bytes(None), peak_bytes(2)
    _, encoder, _ = build(eager("fp32"), arch="resnet18")
    weights = sum(p.numel() * p.element_size() for p in encoder.parameters())  # held either way
    assert (parts - weights) / (whole - weights) < 1.1 * 2 / B


def test_the_committed_figures_fall_with_the_part():
    cases = json.loads(COMMITTED.read_text())["cases"]
    found = [case["step_bytes"] for case in cases]
    assert cases[0]["micro_batch_size"] is None
    assert found == sorted(found, reverse=True) and found[-1] < found[0] / 3
