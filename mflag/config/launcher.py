"""Who runs the tasks of ``prepare``."""

from dataclasses import dataclass

from mflag.config.option import option


@dataclass
class LauncherConfig:
    """Where the images are read; a key that a launcher does not read stays null."""

    name: str = option("joblib", "joblib (this machine) or ray (a cluster); set by launcher=NAME")
    address: str | None = option(
        None, "ray: HOST:PORT of the cluster; null takes RAY_ADDRESS, else starts Ray here"
    )
    retries: int | None = option(None, "ray: how often a part is redone when its worker dies")
