"""Everything that ``python -m mflag.prepare`` reads."""

from dataclasses import dataclass

from hydra.core.config_store import ConfigStore

from mflag.config.launcher import LauncherConfig
from mflag.config.option import group, option


@dataclass
class DatasetConfig:
    """What is read; a key that a dataset does not read stays null."""

    name: str = option("phantom", "set by dataset=NAME")
    size: int | None = option(None, "phantom: studies, all splits together")
    seed: int | None = option(None, "phantom: seed of the generated studies")
    image_column: str | None = option(None, "csv: column with the image's path, relative to root")
    text_column: str | None = option(None, "csv: column with the report; null: no reports")
    patient_column: str | None = option(
        None, "csv: column that keeps a patient in one split; without it each image is a patient"
    )
    split_column: str | None = option(
        None, "csv: column with train, valid, test; without it by patient, 80/10/10"
    )
    label_columns: list[str] | None = option(
        None, "csv: columns of 1, 0, -1 (uncertain) or empty; null takes every such other column"
    )
    views: list[str] | None = option(None, "views kept, as the dataset's own table names them")
    split: str | None = option(None, "named split; docs/data.md lists each dataset's")
    test_ids: str | None = option(None, "file of test ids, one a line, for split=id_lists")
    valid_ids: str | None = option(None, "file of valid ids; without it drawn by patient")
    reports_root: str | None = option(None, "folder of the reports; null is root")
    labels: str | None = option(
        None, "whose labels; mimic_cxr: chexpert, negbio; openi: major, automatic"
    )
    sections: list[str] | None = option(None, "report sections that make the text, in order")
    min_words: int | None = option(None, "shortest report kept")
    balance: bool | None = option(None, "siim: as many negatives as positives in train")


@dataclass
class PhantomConfig:
    """Generated studies as a raw dataset."""

    format: str | None = option(
        None,
        "write generated studies as mimic_cxr, chexpert, nih, rsna, siim, openi or csv would be "
        "on disk, instead of preparing them",
    )


@dataclass
class PrepareConfig:
    """From raw images and reports to one table and one memory map."""

    dataset: DatasetConfig = group(DatasetConfig)
    root: str | None = option(None, "folder that the images' paths start from")
    csv: str | None = option(
        None, "csv: file with a row an image; openi: table of the DICOM headers"
    )
    out: str | None = option(None, "folder to write; null is data/NAME of the dataset")
    stored_size: int = option(
        256, "height and width of the stored images, pixels: 224, 256, 320 or 512"
    )
    max_reject_fraction: float = option(0.1, "give up when more of the rows than this is rejected")
    workers: int | None = option(None, "processes; null takes one a CPU, with ray of the cluster")
    launcher: LauncherConfig = group(LauncherConfig)
    overwrite: bool = option(False, "replace what other options left in out")
    phantom: PhantomConfig = group(PhantomConfig)


ConfigStore.instance().store(name="prepare_schema", node=PrepareConfig)
