import re
from pathlib import Path

import pytest
import torch

from mflag import backends
from mflag.ops.huge_pages import zeros_like_on_huge_pages
from mflag.optim import LARS

pytestmark = pytest.mark.skipif(backends()["cpu"] is not True, reason="no native library")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize(
    "x",
    [torch.ones(3 << 20), torch.ones(300, 50, 9, 9).to(memory_format=torch.channels_last),
     torch.ones(2000, 3000).T, torch.ones(5), torch.ones(()), torch.ones(0)],
    ids=["flat", "channels-last", "transposed", "small", "0-d", "empty"],
)  # fmt: skip
def test_zeros_have_the_layout_of_their_model(x, dtype):
    x = x.to(dtype)
    zeros, expected = zeros_like_on_huge_pages(x), torch.zeros_like(x)
    assert torch.equal(zeros, expected) and zeros.stride() == expected.stride()
    assert zeros.dtype == dtype and zeros.untyped_storage().nbytes() == x.nbytes


def test_zeros_outlive_their_model_and_are_saved_like_any_tensor(tmp_path):
    zeros = zeros_like_on_huge_pages(torch.ones(3 << 20))
    zeros += 1
    torch.save(zeros, tmp_path / "x")
    assert torch.equal(torch.load(tmp_path / "x", weights_only=True), torch.ones(3 << 20))


def test_meta_weights_get_meta_zeros():
    assert zeros_like_on_huge_pages(torch.empty(3 << 20, device="meta")).is_meta


def test_the_momentum_of_a_large_weight_asks_for_huge_pages():
    switch = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    if not switch.exists() or "[never]" in switch.read_text():
        pytest.skip("this system has no transparent huge pages")
    w = torch.zeros(4 << 20, requires_grad=True)
    w.grad = torch.ones_like(w)
    optimizer = LARS([w], lr=0.1)
    optimizer.step()
    assert is_advised(optimizer.state[w]["momentum_buffer"].data_ptr())


def is_advised(address: int) -> bool:
    """Whether the mapping that holds ``address`` asks for huge pages."""
    lines = Path("/proc/self/smaps").read_text().splitlines()
    starts = [i for i, line in enumerate(lines) if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line)]
    for begin, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        low, high = (int(x, 16) for x in lines[begin].split()[0].split("-"))
        if low <= address < high:
            flags = next(line for line in lines[begin:end] if line.startswith("VmFlags"))
            return "hg" in flags.split()
    return False
