"""Image files of every kind that users have, and a prepared folder of them."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from mflag.config.prepare import DatasetConfig, PrepareConfig
from mflag.data.manifest import Prepared
from mflag.data.preparing import prepare

# What docs/data.md promises: levels of 255 away from the image's edge, and in the mean over all.
INTERIOR, MEAN = 1, 0.5
COLOUR_INTERIOR = 3


def chest(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Smooth structures and noise over the whole range, (H, W) uint8."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (9, 7), np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.float64)
    return np.clip(smooth + random.normal(0, 4, smooth.shape), 0, 255).astype(np.uint8)


def coloured(height: int, width: int) -> Image.Image:
    return Image.fromarray(np.stack([chest(height, width, seed) for seed in range(3)], -1))


def oriented() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    return saved(Image.fromarray(chest(300, 400)), "JPEG", exif=exif.tobytes())


def saved(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def palette() -> Image.Image:
    return coloured(290, 310).quantize(64)


def sixteen_bits() -> Image.Image:
    return Image.fromarray(chest(300, 500).astype(np.uint16) * 37 + 900)


def with_alpha(mode: str) -> Image.Image:
    image = coloured(280, 300).convert(mode)
    image.putalpha(Image.fromarray(chest(280, 300, 9)))
    return image


FILES = {  # name: (content, levels that may lie between DALI and the cache away from the edge)
    "grey.png": (lambda: saved(Image.fromarray(chest(700, 500)), "PNG"), INTERIOR),
    "small.png": (lambda: saved(Image.fromarray(chest(40, 90)), "PNG"), INTERIOR),
    "thin.png": (lambda: saved(Image.fromarray(chest(2, 900)), "PNG"), INTERIOR),
    "narrow_range.png": (lambda: saved(Image.fromarray(chest(300, 300) // 8), "PNG"), 2 * INTERIOR),
    "colour.png": (lambda: saved(coloured(400, 300), "PNG"), COLOUR_INTERIOR),
    "grey.jpg": (lambda: saved(Image.fromarray(chest(600, 700)), "JPEG"), INTERIOR),
    "progressive.jpg": (
        lambda: saved(Image.fromarray(chest(500, 700)), "JPEG", progressive=True), INTERIOR,
    ),
    "colour.jpg": (lambda: saved(coloured(500, 600), "JPEG"), COLOUR_INTERIOR),
    "turned.jpg": (oriented, INTERIOR),
    "large.jpg": (lambda: saved(Image.fromarray(chest(2500, 2100)), "JPEG"), INTERIOR),
    "cmyk.jpg": (lambda: saved(coloured(300, 300).convert("CMYK"), "JPEG"), 0),
    "rgb.jpg": (lambda: saved(coloured(300, 300), "JPEG", keep_rgb=True), 0),
    "sixteen.png": (lambda: saved(sixteen_bits(), "PNG"), 0),
    "palette.png": (lambda: saved(palette(), "PNG"), 0),
    "alpha.png": (lambda: saved(with_alpha("RGBA"), "PNG"), 0),
    "grey_alpha.png": (lambda: saved(with_alpha("LA"), "PNG"), 0),
    "transparent.png": (lambda: saved(Image.fromarray(chest(90, 90)), "PNG", transparency=5), 0),
    "two_levels.png": (lambda: saved(Image.fromarray(chest(90, 90) > 127), "PNG"), 0),
}  # fmt: skip


def prepare_files(folder: Path, files: dict[str, bytes]) -> Prepared:
    root = folder / "images"
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    table = pd.DataFrame({"image": list(files), "text": "A report.", "split": "train"})
    table.to_csv(folder / "studies.csv", index=False)
    return prepare(
        PrepareConfig(
            dataset=DatasetConfig(
                name="csv", image_column="image", text_column="text", split_column="split"
            ),
            root=str(root), csv=str(folder / "studies.csv"), out=str(folder / "out"), workers=1,
        )
    )  # fmt: skip
