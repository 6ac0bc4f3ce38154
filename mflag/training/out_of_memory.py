"""What to do about a step that does not fit: found by trying, said in one line."""

import contextlib
import gc
from collections.abc import Callable, Iterator

import torch

from mflag.config.train import TrainConfig
from mflag.errors import InputError

# Of torch's allocator on the CPU, of C++, and of oneDNN.
_ON_THE_CPU = ("allocate memory", "bad_alloc", "out of memory")


class OutOfMemoryError(InputError):
    """A step needs more memory than there is."""


@contextlib.contextmanager
def names_what_fits(
    attempt: Callable[[int], None], batch_size: int, config: TrainConfig
) -> Iterator[None]:
    """Turn an out-of-memory error into one that says which ``train.micro_batch_size`` fits.

    Args:
        attempt: embeds so many images, forward and backward; raises what torch raises.
        batch_size: images of the step.
        config: of the run.

    Raises:
        OutOfMemoryError: the block ran out of memory.
    """
    try:
        yield
        return
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        reason = str(error).splitlines()[0][:160] if str(error) else "no memory left"
    # Outside of the handler: the error's traceback holds the step's tensors.
    size = min(config.train.micro_batch_size or batch_size, batch_size)
    fits = largest_that_fits(attempt, batch_size, size)
    size_px = config.train.image_size
    step = f"a step of train.batch_size={batch_size} in parts of {size} at {size_px} pixels"
    if size == batch_size:
        step = f"a step of train.batch_size={batch_size} at {size_px} pixels"
    advice = (
        f"set train.micro_batch_size={fits}, which fits"
        if fits
        else "two images do not fit either; give a smaller train.image_size or model.arch"
    )
    raise OutOfMemoryError(f"out of memory in {step}; {advice} ({reason})")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of torch, of either device, says that memory ran out."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(s in str(error) for s in _ON_THE_CPU)


def largest_that_fits(attempt: Callable[[int], None], batch_size: int, below: int) -> int | None:
    """Return the largest divisor of ``batch_size`` under ``below`` that ``attempt`` survives.

    From 2 on: BatchNorm has nothing to normalise by in one image.

    Args:
        attempt: raises an out-of-memory error for a size that is too large.
        batch_size: what a micro-batch divides.
        below: a size that is known to be too large.
    """
    for size in range(min(below - 1, batch_size // 2), 1, -1):
        if batch_size % size:
            continue
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        try:
            attempt(size)
            return size
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
    return None
