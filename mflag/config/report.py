"""Options of ``python -m mflag.report``."""

from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore

from mflag.config.option import group, option


@dataclass
class ContentConfig:
    """What the page shows."""

    embed_images: bool = option(
        False, "put images and report text of real studies into the page; generated ones always are"
    )


@dataclass
class ReportConfig:
    """Everything that ``mflag.report`` reads."""

    runs: Any = option(None, "folders that the programs wrote, with all below: DIR or [DIR,DIR]")
    out: str = option("report.html", "file to write")
    overwrite: bool = option(
        False, "replace out even if it is no page of this program; its own pages always are"
    )
    title: str = option("M-FLAG: what was found", "heading of the page")
    report: ContentConfig = group(ContentConfig, "what the page shows")


ConfigStore.instance().store("report_schema", ReportConfig)
