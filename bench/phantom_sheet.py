"""Contact sheet of generated studies and, given a folder of real radiographs, figures of both.

python -m bench.phantom_sheet --out docs/phantom-contact-sheet.png
python -m bench.phantom_sheet --real FOLDER --out beside-real.png --figures beside-real.json

The second holds real images: keep it out of git.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from bench.machine import command_line
from mflag.data.phantom import Study, generate_study
from mflag.runtime.atomic_write import atomic_write, write_json

SIZE = 256
TILE, CAPTION = 184, 22
COLUMNS = 6
SHORT = {
    "Enlarged Cardiomediastinum": "mediast.",
    "Cardiomegaly": "cardiomeg.",
    "Lung Opacity": "opacity",
    "Edema": "edema",
    "Consolidation": "consol.",
    "Pneumonia": "pneumonia",
    "Atelectasis": "atelect.",
    "Pneumothorax": "pneumoth.",
    "Pleural Effusion": "effusion",
    "Support Devices": "device",
}
Images = NDArray[np.uint8]


def read_real(folder: Path) -> Images:
    """Return (N, 256, 256) uint8: longer side to 256, stretched to 0..255, centred on black."""
    images = []
    for path in sorted(folder.glob("*.png")):
        image = Image.open(path).convert("L")
        scale = SIZE / max(image.size)
        small = image.resize(
            (round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS
        )
        grey = np.asarray(small, dtype=np.float64)
        grey = (grey - grey.min()) * (255.0 / max(1.0, grey.max() - grey.min()))
        square = np.zeros((SIZE, SIZE))
        top, left = (SIZE - grey.shape[0]) // 2, (SIZE - grey.shape[1]) // 2
        square[top : top + grey.shape[0], left : left + grey.shape[1]] = grey
        images.append(np.rint(square).astype(np.uint8))
    return np.array(images)


def percentile(q: int) -> Callable[[Images], float]:
    """Return the function that takes a percentile of an image."""
    return lambda image: float(np.percentile(image, q))


def edge_energy(image: Images) -> float:
    """Return the mean length of the grey-value gradient in the middle of the image."""
    down, across = np.gradient(image.astype(np.float64))
    return float(np.hypot(down, across)[32:224, 32:224].mean())


def spectrum_slope(image: Images) -> float:
    """Return the slope of log power over log frequency, 4 to 79 cycles in the middle 192 pixels."""
    middle = image[32:224, 32:224].astype(np.float64)
    window = np.outer(np.hanning(192), np.hanning(192))
    power = np.abs(np.fft.fft2((middle - middle.mean()) * window)) ** 2
    ring = np.hypot(*np.meshgrid(np.fft.fftfreq(192) * 192, np.fft.fftfreq(192) * 192)).astype(int)
    mean = np.bincount(ring.ravel(), power.ravel()) / np.bincount(ring.ravel())
    cycles = np.arange(4, 80)
    return float(np.polyfit(np.log(cycles), np.log(mean[4:80] + 1e-9), 1)[0])


FIGURES: dict[str, Callable[[Images], float]] = {
    **{f"percentile {q}": percentile(q) for q in (5, 25, 50, 75, 95)},
    "deviation": lambda image: float(image.std()),
    "edge energy": edge_energy,
    "spectrum slope": spectrum_slope,
}


def measure_all(sets: dict[str, Images]) -> list[dict[str, Any]]:
    """Return mean and 10th and 90th percentile of each figure over each set."""
    rows = []
    for figure, measure in FIGURES.items():
        for name, images in sets.items():
            values = [measure(image) for image in images]
            low, high = np.percentile(values, (10, 90))
            rows.append(
                {"figure": figure, "images": name, "count": len(images)}
                | {"mean": float(np.mean(values)), "low": float(low), "high": float(high)}
            )
    return rows


def tile(image: Images, caption: str) -> Images:
    """Return an image with a line of text below it."""
    canvas = Image.new("L", (TILE, TILE + CAPTION), 0)
    canvas.paste(Image.fromarray(image).resize((TILE, TILE), Image.Resampling.LANCZOS))
    ImageDraw.Draw(canvas).text((2, TILE + 3), caption, fill=220)
    return np.asarray(canvas)


def caption_of(study: Study) -> str:
    """Return what was drawn into the study, shortened to the width of a tile."""
    drawn = [SHORT.get(lesion.finding, lesion.kind) for lesion in study.lesions]
    return (", ".join(dict.fromkeys(drawn)) or "no finding")[:36]


def main() -> None:
    """Write the sheet, and the figures of both sets."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, required=True, help="PNG to write")
    parser.add_argument("--real", type=Path, help="folder of real PNGs to set beside")
    parser.add_argument("--figures", type=Path, help="JSON to write with figures of the images")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=240, help="studies to take figures of")
    parser.add_argument("--rows", type=int, default=4)
    chosen = parser.parse_args()
    studies = [generate_study(chosen.seed, index) for index in range(chosen.count)]
    sets = {"generated": np.array([study.image for study in studies])}
    tiles = [tile(study.image, caption_of(study)) for study in studies[: COLUMNS * chosen.rows]]
    if chosen.real:
        sets["real"] = read_real(chosen.real)
        order = np.random.default_rng(0).permutation(len(sets["real"]))
        for place in range(1, len(tiles), 2):
            tiles[place] = tile(sets["real"][order[place]], "real")
    rows = [np.hstack(tiles[first : first + COLUMNS]) for first in range(0, len(tiles), COLUMNS)]
    with atomic_write(chosen.out) as file:
        Image.fromarray(np.vstack(rows)).save(file, format="PNG", optimize=True)
    if chosen.figures:
        content = {"format": 1, "command": command_line("bench.phantom_sheet")}
        write_json(chosen.figures, content | {"rows": measure_all(sets)})


if __name__ == "__main__":
    main()
