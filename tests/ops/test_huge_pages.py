import re
from pathlib import Path

import pytest
import torch

from mflag import backends
from mflag.ops.huge_pages import prefer_huge_pages
from mflag.optim import LARS

pytestmark = pytest.mark.skipif(backends()["cpu"] is not True, reason="no native library")


def test_values_and_address_stay():
    x = torch.arange(3 << 20, dtype=torch.float32)
    before, place = x.clone(), x.data_ptr()
    prefer_huge_pages(x)
    assert torch.equal(x, before) and x.data_ptr() == place


@pytest.mark.parametrize(
    "x",
    [
        torch.zeros(5),
        torch.zeros(0),
        torch.zeros(4096, 4096).T,
        torch.zeros(2 << 20, device="meta"),
    ],
    ids=["small", "empty", "transposed", "elsewhere"],
)
def test_what_has_no_page_of_its_own_is_left_alone(x):
    prefer_huge_pages(x)
    assert x.is_meta or not x.any()


def test_the_native_op_says_how_many_bytes_whole_pages_hold():
    x = torch.zeros(4 << 20)
    held = torch.ops.mflag_native.prefer_huge_pages(x)
    assert held % (2 << 20) == 0 and x.nbytes - (4 << 20) < held <= x.nbytes
    assert torch.ops.mflag_native.prefer_huge_pages(torch.zeros(1000)) == 0


def test_buffers_and_weights_of_a_step_lie_on_them_where_the_system_has_any():
    switch = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    if not switch.exists() or "[never]" in switch.read_text():
        pytest.skip("this system has no transparent huge pages")
    w = torch.zeros(4 << 20, requires_grad=True)
    w.grad = torch.ones_like(w)
    optimizer = LARS([w], lr=0.1)
    optimizer.step()
    for x in (w, optimizer.state[w]["momentum_buffer"]):
        assert advised(x.data_ptr() + x.nbytes // 2)


def advised(address: int) -> bool:
    """Whether the mapping that holds ``address`` asks for huge pages."""
    lines = Path("/proc/self/smaps").read_text().splitlines()
    starts = [i for i, line in enumerate(lines) if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line)]
    for begin, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        low, high = (int(x, 16) for x in lines[begin].split()[0].split("-"))
        if low <= address < high:
            flags = next(line for line in lines[begin:end] if line.startswith("VmFlags"))
            return "hg" in flags.split()
    return False
