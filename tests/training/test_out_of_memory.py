import pytest
import torch

from mflag.config.train import TrainConfig
from mflag.training.out_of_memory import (
    OutOfMemoryError,
    is_out_of_memory,
    largest_that_fits,
    names_what_fits,
)
from tests.training.test_compiled_step import build, eager, take

ON_THE_CPU = "[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory: x"


def fits_up_to(limit, tried=None):
    def attempt(size):
        if tried is not None:
            tried.append(size)
        if size > limit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    return attempt


@pytest.mark.parametrize(
    "batch, below, limit, expected",
    [
        (1024, 1024, 300, 256),
        (96, 96, 47, 32),
        (128, 32, 127, 16),
        (7, 7, 6, None),
        (8, 8, 1, None),
    ],
)
def test_the_largest_divisor_that_fits_is_found(batch, below, limit, expected):
    tried: list[int] = []
    assert largest_that_fits(fits_up_to(limit, tried), batch, below) == expected
    assert all(batch % size == 0 and size < below for size in tried)


def test_an_error_of_another_kind_is_not_swallowed():
    def broken(size):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1"):
        largest_that_fits(broken, 8, 8)
    with (
        pytest.raises(RuntimeError, match="mat1"),
        names_what_fits(fits_up_to(1), 8, TrainConfig()),
    ):
        broken(8)


@pytest.mark.parametrize(
    "error", [RuntimeError(ON_THE_CPU), MemoryError(), torch.OutOfMemoryError("CUDA out of memory")]
)
def test_errors_of_every_allocator_are_known(error):
    assert is_out_of_memory(error)
    with pytest.raises(OutOfMemoryError, match="train.micro_batch_size=32, which fits"):
        with names_what_fits(fits_up_to(40), 128, TrainConfig()):
            raise error


def test_the_message_names_batch_size_and_pixels():
    config = TrainConfig()
    config.train.micro_batch_size = 32
    with pytest.raises(OutOfMemoryError) as caught:
        with names_what_fits(fits_up_to(10), 128, config):
            raise torch.OutOfMemoryError("CUDA out of memory.\nlong story")
    message = str(caught.value)
    assert "train.batch_size=128 in parts of 32 at 224 pixels" in message
    assert "set train.micro_batch_size=8, which fits" in message and "\n" not in message


def test_where_nothing_fits_it_says_so():
    with pytest.raises(OutOfMemoryError, match="two images do not fit either"):
        with names_what_fits(fits_up_to(0), 8, TrainConfig()):
            raise torch.OutOfMemoryError("")


def test_a_step_that_does_not_fit_is_tried_in_parts(monkeypatch):
    step, encoder, _ = build(eager())
    before, plain = encoder.conv1.weight.detach().clone(), type(encoder).forward

    def small_memory(self, x):
        if len(x) > 2:
            raise RuntimeError(ON_THE_CPU)
        return plain(self, x)

    monkeypatch.setattr(type(encoder), "forward", small_memory)
    with pytest.raises(OutOfMemoryError, match=r"batch_size=4 at 32 pixels.*micro_batch_size=2"):
        take(step, 0)
    assert torch.equal(encoder.conv1.weight, before)
