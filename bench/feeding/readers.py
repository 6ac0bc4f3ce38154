"""What is timed: a reader yields batches of images, and names the files that it reads."""

import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from bench.feeding.files import Files
from bench.peers.installed import installed
from mflag.config.feed import FeedConfig
from mflag.data.feeds import FEEDS, BatchReader, open_feed
from mflag.data.index_stream import IndexStream

EPOCHS = 10_000  # a stream that does not end while it is timed


@dataclass
class Reader:
    """One feed or peer at work.

    Attributes:
        batches: without end; each is anything with a batch of images.
        reads: files that are read while it runs.
        close: stops threads and processes.
    """

    batches: Iterator[Any]
    reads: list[Path]
    close: Callable[[], None]


@dataclass(frozen=True)
class Asked:
    """What every reader is asked for."""

    files: Files
    batch_size: int
    size: int
    workers: int
    device: torch.device
    work: Path


def open_own(name: str, asked: Asked, **keys: Any) -> Reader:
    """Open a feed of ``mflag.data.feeds`` as training does; ``keys`` are of its configuration."""
    prepared = asked.files.prepared
    stream = IndexStream(len(prepared.rows("train")), asked.batch_size, 0)
    reader = BatchReader(prepared, stream, asked.size, device=asked.device)
    steps = range(EPOCHS * stream.steps_per_epoch)
    feed = open_feed(FeedConfig(name, workers=asked.workers, **keys), reader, steps)
    reads = asked.files.paths if name == "dali" else [prepared.path / "images.u8"]
    return Reader(iter(feed), reads, feed.close)


class _Jpegs(Dataset[Tensor]):
    def __init__(self, paths: list[Path], size: int) -> None:
        self._paths, self._transform = paths, _transform(size)

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, row: int) -> Tensor:
        with Image.open(self._paths[row]) as image:
            found: Tensor = self._transform(image.convert("L"))
            return found


def _transform(size: int) -> v2.Compose:
    """Down to 256, then crop: what a loader does to reach the encoder's size."""
    return v2.Compose([v2.Resize(256), v2.RandomCrop(size), v2.PILToTensor()])


def open_pil(asked: Asked) -> Reader:
    """DataLoader and PIL: each JPEG is decoded whole, resized and cropped in a worker."""
    loader = DataLoader(
        _Jpegs(asked.files.paths, asked.size),
        asked.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=asked.workers,
        persistent_workers=asked.workers > 0,
        pin_memory=asked.device.type == "cuda",
        worker_init_fn=_one_thread,
    )
    return _from_loader(loader, asked.files.paths)


def open_webdataset(asked: Asked) -> Reader:
    """A tar shard a worker, read in order and shuffled in a buffer.

    Raises:
        ImportError: webdataset is not installed.
    """
    build: Any = installed("webdataset", "WebDataset")
    shards = []
    for worker in range(max(asked.workers, 1)):
        shard = asked.work / f"shard-{asked.files.side}-{worker}.tar"
        with tarfile.open(shard, "w") as archive:
            for path in asked.files.paths[worker :: max(asked.workers, 1)]:
                archive.add(path, arcname=path.name)
        shards.append(shard)
    data = build([str(shard) for shard in shards], shardshuffle=False).repeat()
    data = data.shuffle(asked.batch_size).decode("pill").to_tuple("jpg")
    data = data.map_tuple(_transform(asked.size)).batched(asked.batch_size, partial=False)
    loader = DataLoader(data, batch_size=None, num_workers=asked.workers)
    return _from_loader(loader, shards)


def open_ffcv(asked: Asked) -> Reader:
    """Decoded pixels in one mapped file, by ffcv.

    Raises:
        ImportError: ffcv is not installed.
    """
    loader, writer = installed("ffcv.loader", "Loader"), installed("ffcv.writer", "DatasetWriter")
    fields, to_tensor = installed("ffcv", "fields"), installed("ffcv.transforms", "ToTensor")
    path = asked.work / f"{asked.files.side}.beton"
    images = _Pixels(asked.files.paths)
    writer(
        str(path), {"image": fields.NDArrayField(images.dtype, (256, 256))}
    ).from_indexed_dataset(images)
    decode = installed("ffcv.fields.decoders", "NDArrayDecoder")
    ready = loader(
        str(path),
        batch_size=asked.batch_size,
        num_workers=max(asked.workers, 1),
        order=installed("ffcv.loader", "OrderOption").RANDOM,
        drop_last=True,
        pipelines={"image": [decode(), to_tensor()]},
    )
    return _from_loader(ready, [path])


class _Pixels:
    """256² arrays, as a dataset that ffcv writes."""

    def __init__(self, paths: list[Path]) -> None:
        self._paths = paths
        self.dtype: Any = self[0][0].dtype

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, row: int) -> tuple[Any]:
        with Image.open(self._paths[row]) as image:
            resized = v2.functional.pil_to_tensor(image.convert("L").resize((256, 256)))
        return (resized[0].numpy(),)


def _from_loader(loader: Any, reads: list[Path]) -> Reader:
    def batches() -> Iterator[Any]:
        while True:
            yield from loader

    endless = batches()
    return Reader(endless, reads, endless.close)  # type: ignore[attr-defined]


def _one_thread(worker: int) -> None:
    torch.set_num_threads(1)


def readers() -> dict[str, Callable[[Asked], Reader]]:
    """Return every feed that is there, and the peers."""

    def own(name: str, **keys: str) -> Callable[[Asked], Reader]:
        return lambda asked: open_own(name, asked, **keys)

    feeds = {name: own(name) for name in FEEDS}
    if hasattr(FeedConfig(), "resident"):
        feeds["cache, resident"] = own("cache", resident="true")
        feeds["cache, streamed"] = own("cache", resident="false")
    return feeds | {"PIL": open_pil, "webdataset": open_webdataset, "ffcv": open_ffcv}


PEERS = ("PIL", "webdataset", "ffcv")
