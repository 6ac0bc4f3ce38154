"""What an analysis was asked for, checked before anything is computed or written."""

from dataclasses import dataclass
from pathlib import Path

import torch

from mflag.analysis.trajectory import METRICS
from mflag.config.analyze import AnalyzeConfig
from mflag.config.compute import ComputeConfig
from mflag.data.manifest import SPLITS
from mflag.downstream.encoders import NamedEncoder, check_imagenet, encoder_files, load_encoders
from mflag.downstream.request import check_out
from mflag.errors import InputError
from mflag.runtime.device import choose_compute

RESULT_FILES = ("analysis.json", "analysis.html", "plots")
# Three components and their mean need as many.
MIN_IMAGES = 4
# A tenth of generated studies is for test.
MIN_STUDIES = 30
# As many images as ranks of 2,048 dimensions ask for.
RECOMMENDED_IMAGES = 2048


@dataclass(frozen=True)
class AnalysisRequest:
    """A checked configuration.

    Attributes:
        encoders: of the files, in their order.
        runs: folders of training runs by name.
        device: where encoders run.
        out: folder of the results; nothing is in it yet, or it may be replaced.
    """

    encoders: list[NamedEncoder]
    runs: dict[str, Path]
    device: torch.device
    out: Path


def check_analysis(config: AnalyzeConfig) -> AnalysisRequest:
    """Read the encoders and check every option; the data come later.

    Raises:
        InputError: something cannot be used.
    """
    files = encoder_files(config.encoder, config.encoders)
    encoders = load_encoders(files)
    check_imagenet(config.imagenet)
    _check_numbers(config)
    runs = _runs(config, files)
    compute = choose_compute(
        ComputeConfig(device=config.compute.device, threads=config.compute.threads)
    )
    beside = Path(next(iter(files.values()))).parent / "analysis"
    out = Path(config.out) if config.out else beside
    check_out(out, RESULT_FILES, config.overwrite)
    return AnalysisRequest(encoders, runs, compute.device, out)


def _runs(config: AnalyzeConfig, files: dict[str, str]) -> dict[str, Path]:
    if config.runs is None:
        folders = {name: Path(file).parent for name, file in files.items()}
        return {name: folder for name, folder in folders.items() if (folder / METRICS).is_file()}
    if not isinstance(config.runs, dict):
        raise InputError(f"runs is {config.runs!r}; give {{NAME:FOLDER,NAME:FOLDER}}")
    found = {str(name): Path(str(folder)) for name, folder in config.runs.items()}
    for folder in found.values():
        if not (folder / METRICS).is_file():
            raise InputError(f"{folder / METRICS} is missing; give the output_dir of mflag.train")
    return found


def _check_numbers(config: AnalyzeConfig) -> None:
    for name, value, least in (
        ("limit", config.limit, MIN_IMAGES),
        ("points", config.points, 1),
        ("checkpoints", config.checkpoints, 0),
        ("compute.batch_size", config.compute.batch_size, 1),
    ):
        if value is not None and value < least:
            raise InputError(f"{name} is {value}; give {least} or more")
    if config.split not in (*SPLITS, "all"):
        raise InputError(f"split is {config.split!r}; choose one of {', '.join(SPLITS)}, all")
    if config.data.path is None and config.data.source != "phantom":
        raise InputError(
            f"data.source is {config.data.source!r}; use data=phantom or data.path=DIR"
        )
    if config.data.path is None and config.data.size < MIN_STUDIES:
        raise InputError(f"data.size is {config.data.size}; give {MIN_STUDIES} or more")
