"""Generated studies as the raw files of real datasets, so that every reader runs without them."""

from itertools import count, islice
from pathlib import Path

from mflag.config.prepare import PrepareConfig
from mflag.data.datasets import phantom
from mflag.data.datasets.source import refuse_unread_keys
from mflag.data.phantom_formats import chexpert, mimic_cxr, nih, openi, plain_csv, rsna, siim
from mflag.data.phantom_formats.facts import first_study
from mflag.data.phantom_formats.tree import Format, write_tree
from mflag.errors import InputError

FORMATS: dict[str, Format] = {
    "mimic_cxr": mimic_cxr.FORMAT,
    "chexpert": chexpert.FORMAT,
    "nih": nih.FORMAT,
    "rsna": rsna.FORMAT,
    "siim": siim.FORMAT,
    "openi": openi.FORMAT,
    "csv": plain_csv.FORMAT,
}


def write_format(config: PrepareConfig) -> tuple[Path, bool]:
    """Write ``dataset.size`` generated studies as ``phantom.format`` would be on disk.

    Args:
        config: all keys of ``python -m mflag.prepare``; ``out`` null is data/phantom_FORMAT.

    Returns:
        The folder, and whether anything was written: False when the same tree is there already.

    Raises:
        InputError: an unknown format, another dataset, keys that are not read here, or ``out``
            holds something else.
    """
    name = config.phantom.format
    if name not in FORMATS:
        raise InputError(f"phantom.format is {name!r}; choose one of {', '.join(FORMATS)}")
    if config.dataset.name != "phantom":
        raise InputError(
            f"phantom.format is {name!r}, but dataset={config.dataset.name} generates nothing; "
            "leave one of them out"
        )
    refuse_unread_keys(config, {"dataset.size", "dataset.seed", "phantom.format"})
    size, seed = phantom.read_size_and_seed(config)
    out = Path(config.out or f"data/phantom_{name}")
    request = {
        "generated": "drawn studies, no patient stands behind any",
        "phantom.format": name,
        "dataset.size": size,
        "dataset.seed": seed,
        "generator": phantom.GENERATOR,
    }
    is_new = write_tree(
        out,
        FORMATS[name],
        [(seed, index) for index in plan_studies(name, seed, size)],
        request,
        workers=config.workers,
        overwrite=config.overwrite,
    )
    return out, is_new


def plan_studies(name: str, seed: int, size: int) -> list[int]:
    """The indices of the studies that a format's tree of ``size`` studies holds, in its order."""
    kind = FORMATS[name]
    if not kind.one_study_a_patient:
        return list(range(size))
    taken = (number for number in count() if kind.takes(seed, number))
    return [first_study(seed, number) for number in islice(taken, size)]


__all__ = ["FORMATS", "plan_studies", "write_format"]
