"""Tables 2 to 5 of the paper, figure by figure.

Liu et al., M-FLAG: Medical Vision-Language Pre-training with Frozen Language Models and Latent
Space Geometry Optimization, MICCAI 2023. AUC, Dice and mAP in %, parameters in millions.
"""

from dataclasses import dataclass, field

FRACTIONS = (0.01, 0.1, 1.0)


@dataclass(frozen=True)
class PaperColumn:
    """A dataset and its score.

    Attributes:
        title: as a reader knows it.
        task: of ``mflag.evaluate``.
        dataset: of ``mflag.prepare``.
        metric: of ours that is meant to be the same.
    """

    title: str
    task: str
    dataset: str
    metric: str


@dataclass(frozen=True)
class PaperRow:
    """A method or a variant.

    Attributes:
        name: as printed.
        parameters: trainable ones, in millions; None where none are printed.
        cells: by column, a value for each fraction of the table.
        bold: by column, the places in ``cells`` that are printed bold.
        bold_parameters: the number of parameters is printed bold.
    """

    name: str
    parameters: float | None
    cells: dict[str, tuple[float, ...]]
    bold: dict[str, tuple[int, ...]] = field(default_factory=dict)
    bold_parameters: bool = False


@dataclass(frozen=True)
class PaperTable:
    """One table.

    Attributes:
        number: in the paper.
        title: what it compares.
        fractions: shares of the labels.
        columns: keys of ``COLUMNS``.
        rows: in the order of the paper.
    """

    number: int
    title: str
    fractions: tuple[float, ...]
    columns: tuple[str, ...]
    rows: tuple[PaperRow, ...]


COLUMNS = {
    "mimic": PaperColumn("MIMIC-CXR, AUC", "classification", "mimic_cxr", "macro_auc"),
    "chexpert": PaperColumn("CheXpert, AUC", "classification", "chexpert", "macro_auc"),
    "nih": PaperColumn("NIH (“CXR14”), AUC", "classification", "nih", "macro_auc"),
    "siim": PaperColumn("SIIM, Dice", "segmentation", "siim", "dice_all"),
    "rsna": PaperColumn("RSNA, Dice", "segmentation", "rsna", "dice_all"),
    "rsna_map": PaperColumn("RSNA, mAP", "detection", "rsna", "map_mgca"),
}


def _row(
    name: str,
    parameters: float | None,
    bold: dict[str, tuple[int, ...]] | None = None,
    bold_parameters: bool = False,
    **cells: tuple[float, ...],
) -> PaperRow:
    return PaperRow(name, parameters, cells, bold or {}, bold_parameters)


_ALL = (0, 1, 2)
CLASSIFICATION = PaperTable(
    2, "Classification, by share of the labels", FRACTIONS, ("mimic", "chexpert", "nih"),
    (
        _row("Random", 38.3, mimic=(53.6, 66.5, 78.2), chexpert=(62.6, 69.0, 76.9),
             nih=(56.4, 67.1, 76.9)),
        _row("ImageNet", 38.3, mimic=(67.8, 70.5, 79.3), chexpert=(63.7, 70.7, 77.7),
             nih=(59.7, 68.9, 78.1)),
        _row("ConVIRT", 110.3, mimic=(67.8, 73.4, 80.1), chexpert=(63.2, 71.3, 77.7),
             nih=(60.0, 69.0, 76.6)),
        _row("GLoRIA", 113.1, mimic=(67.5, 72.6, 80.1), chexpert=(62.9, 69.0, 77.8),
             nih=(60.1, 71.2, 77.7)),
        _row("MGCA", 113.4, {"chexpert": (1,)}, mimic=(68.4, 74.4, 80.2),
             chexpert=(63.4, 72.1, 78.1), nih=(61.1, 67.8, 77.3)),
        _row("M-FLAG", 25.6, {"mimic": _ALL, "chexpert": (0, 2), "nih": _ALL}, True,
             mimic=(69.5, 74.8, 80.2), chexpert=(64.4, 71.4, 78.1), nih=(62.2, 71.6, 78.7)),
    ),
)  # fmt: skip
DENSE = PaperTable(
    3, "Segmentation and detection, by share of the labels", FRACTIONS,
    ("siim", "rsna", "rsna_map"),
    (
        _row("Random", 38.3, siim=(9.0, 28.6, 54.3), rsna=(6.9, 10.6, 18.5),
             rsna_map=(1.0, 4.0, 8.9)),
        _row("ImageNet", 38.3, siim=(10.2, 35.5, 63.5), rsna=(34.8, 39.9, 64.0),
             rsna_map=(3.6, 8.0, 15.7)),
        _row("ConVIRT", 110.3, siim=(25.0, 43.2, 59.9), rsna=(55.0, 67.4, 67.5),
             rsna_map=(8.2, 15.6, 17.9)),
        _row("GLoRIA", 113.1, siim=(37.4, 57.1, 64.0), rsna=(60.3, 68.7, 68.3),
             rsna_map=(11.6, 16.1, 24.8)),
        _row("MGCA", 113.4, siim=(49.7, 59.3, 64.2), rsna=(63.0, 68.3, 69.8),
             rsna_map=(12.9, 16.8, 24.9)),
        _row("M-FLAG", 25.6, {"siim": _ALL, "rsna": _ALL, "rsna_map": _ALL}, True,
             siim=(52.5, 61.2, 64.8), rsna=(64.6, 69.7, 70.5), rsna_map=(13.7, 17.5, 25.4)),
    ),
)  # fmt: skip
_AT_ONE_PERCENT = ("mimic", "chexpert", "nih", "siim", "rsna_map")


def _variant(name: str, parameters: float | None, *values: float) -> PaperRow:
    cells: dict[str, tuple[float, ...]] = {
        key: (value,) for key, value in zip(_AT_ONE_PERCENT, values, strict=True)
    }
    return PaperRow(name, parameters, cells)


LOSSES = PaperTable(
    4, "Without one of the losses, at 1 % of the labels", (0.01,), _AT_ONE_PERCENT,
    (
        _variant("only L_align", None, 69.3, 62.6, 61.4, 45.7, 12.1),
        _variant("only L_orth", None, 68.6, 61.5, 61.2, 50.5, 13.2),
        _variant("M-FLAG", None, 69.5, 64.4, 62.2, 52.5, 13.7),
    ),
)  # fmt: skip
UNFROZEN = PaperTable(
    5, "With the last layers of the text encoder trained, at 1 % of the labels", (0.01,),
    _AT_ONE_PERCENT,
    (
        _variant("unfreeze 1", 32.6, 67.8, 63.1, 59.7, 47.2, 12.5),
        _variant("unfreeze 2", 39.7, 68.7, 63.3, 60.6, 48.9, 12.3),
        _variant("unfreeze 3", 46.8, 68.8, 63.7, 60.7, 45.8, 10.7),
        _variant("unfreeze 4", 53.9, 68.7, 62.6, 60.1, 50.3, 11.4),
        _variant("unfreeze 5", 60.9, 68.2, 64.1, 59.2, 46.8, 11.8),
        _variant("unfreeze 6", 68.1, 68.2, 63.7, 59.9, 50.1, 11.5),
        _variant("M-FLAG", 25.6, 69.5, 64.4, 62.2, 52.5, 13.7),
    ),
)  # fmt: skip
TABLES = (CLASSIFICATION, DENSE, LOSSES, UNFROZEN)
# Score of a predictor that marks nothing, where an image without lesion then counts 1, in %.
ALL_EMPTY_DICE = {"rsna": 76.56, "siim": 77.86}


def column_of(task: str, dataset: str) -> str | None:
    """Return the column of the paper that has this task and set of images, or None."""
    return next((key for key, c in COLUMNS.items() if (c.task, c.dataset) == (task, dataset)), None)


def table_of(key: str) -> PaperTable:
    """Return the table, 2 or 3, that compares methods in this column."""
    return next(table for table in TABLES[:2] if key in table.columns)
