"""Feed ``torch``: a DataLoader, one batch a task; runs anywhere."""

import signal
from collections.abc import Iterator

from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mflag.config.feed import FeedConfig
from mflag.data.feeds.batch import Batch, BatchReader
from mflag.runtime.signals import STOP_SIGNALS


class _Steps(Dataset[tuple[Tensor, Tensor]]):
    """Batches by step number."""

    def __init__(self, reader: BatchReader) -> None:
        self._reader = reader

    def __getitem__(self, step: int) -> tuple[Tensor, Tensor]:
        batch = self._reader.read(step)
        return batch.images, batch.rows


def _ignore_stop_signals(worker: int) -> None:
    """A signal to the whole process group must leave the workers until the loop has saved."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


class TorchFeed:
    """Reads by ``feed.workers`` processes; 0 reads in the loop itself."""

    def __init__(self, reader: BatchReader, steps: range, config: FeedConfig) -> None:
        """Prepare the loader; its processes start with the first batch."""
        self._loader: DataLoader[tuple[Tensor, Tensor]] | None = DataLoader(
            _Steps(reader),
            batch_size=None,
            sampler=steps,
            num_workers=config.workers,
            pin_memory=reader.pins,
            worker_init_fn=_ignore_stop_signals,
        )

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches in order."""
        if self._loader is not None:
            for images, rows in self._loader:
                yield Batch(images, rows)

    def close(self) -> None:
        """Let the processes go."""
        self._loader = None
