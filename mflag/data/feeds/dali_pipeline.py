"""The DALI pipeline: encoded files to images by the rule of ``square_image``.

The one file that imports DALI; ``dali.py`` imports it when the feed is opened.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from nvidia.dali import fn, math, pipeline_def
from nvidia.dali.types import DALIDataType, DALIImageType, DALIInterpType

from mflag.data.images import square_geometry


class EncodedBatch(NamedTuple):
    """What the pipeline takes, a list entry an image.

    Attributes:
        files: (k,) uint8, a whole file.
        shapes: (2,) float32, height and width that the image is scaled to.
        corners: (2,) int32, where the square begins, seen from the scaled image: 0 or less.
    """

    files: list[np.ndarray]
    shapes: list[np.ndarray]
    corners: list[np.ndarray]

    def add(self, content: bytes, height: int, width: int, size: int) -> None:
        """Append a file of a (height, width) image that becomes (size, size)."""
        top, left, high, wide = square_geometry(height, width, size)
        self.files.append(np.frombuffer(content, np.uint8))
        self.shapes.append(np.array([high, wide], np.float32))
        self.corners.append(np.array([-top, -left], np.int32))


def build_pipeline(
    source: Callable[[], Iterator[EncodedBatch]],
    *,
    device: torch.device,
    batch_size: int,
    size: int,
    threads: int,
    prefetch: int,
) -> Any:
    """Build a pipeline whose ``run()`` returns the next batch, (B, size, size, 1) uint8.

    Grey values are spread after the scaling, which commutes with it up to rounding: the full image
    then stays in bytes, not in floats.

    Args:
        source: batches of files, of any length up to ``batch_size``.
        device: CUDA decodes by nvJPEG where it can, else the CPU does all.
        batch_size: the largest batch.
        size: height and width of the result, pixels.
        threads: of the CPU's part.
        prefetch: batches under way.
    """
    pipeline = _square(
        source,
        "mixed" if device.type == "cuda" else "cpu",
        size,
        batch_size=batch_size,
        num_threads=threads,
        device_id=_device_number(device),
        prefetch_queue_depth=prefetch,
    )
    pipeline.build()
    return pipeline


def _device_number(device: torch.device) -> int | None:
    if device.type != "cuda":
        return None
    return torch.cuda.current_device() if device.index is None else device.index


@pipeline_def
def _square(source: Callable[[], Iterator[EncodedBatch]], decoder: str, size: int) -> Any:
    files, shapes, corners = fn.external_source(source=source(), num_outputs=3, batch=True)
    # as Pillow: what Exif says of the orientation is not applied
    grey = fn.decoders.image(
        files, device=decoder, output_type=DALIImageType.GRAY, adjust_orientation=False
    )
    low, high = (
        fn.cast(reduce(grey, axes=(0, 1, 2), keep_dims=True), dtype=DALIDataType.FLOAT)
        for reduce in (fn.reductions.min, fn.reductions.max)
    )
    scaled = fn.resize(
        grey,
        size=shapes,
        dtype=DALIDataType.FLOAT,
        interp_type=DALIInterpType.INTERP_LINEAR,
        antialias=True,
    )
    spread = fn.cast((scaled - low) * (255 / math.max(high - low, 1)), dtype=DALIDataType.UINT8)
    return fn.slice(
        spread,
        start=corners,
        shape=[size, size],
        axes=(0, 1),
        out_of_bounds_policy="pad",
        fill_values=0,
    )
