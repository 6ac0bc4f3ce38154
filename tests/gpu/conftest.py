import pytest
import torch


@pytest.fixture(autouse=True)
def a_gpu_is_here():
    """`make gpu` asks for a GPU: without one these tests fail, they are not skipped."""
    assert torch.cuda.is_available(), "no CUDA device: make gpu needs one"
