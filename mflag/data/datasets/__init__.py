"""Readers of datasets: one file a format, each with ``read(config) -> Source``."""

from collections.abc import Callable

from mflag.config.prepare import PrepareConfig
from mflag.data.datasets import chexpert, mimic_cxr, nih, openi, phantom, plain_csv, rsna, siim
from mflag.data.datasets.source import Source

READERS: dict[str, Callable[[PrepareConfig], Source]] = {
    "chexpert": chexpert.read,
    "csv": plain_csv.read,
    "mimic_cxr": mimic_cxr.read,
    "nih": nih.read,
    "openi": openi.read,
    "phantom": phantom.read,
    "rsna": rsna.read,
    "siim": siim.read,
}

__all__ = ["READERS", "Source"]
