"""Where studies come from."""

from dataclasses import dataclass

from mflag.config.option import option


@dataclass
class DataConfig:
    """Prepared data, or generated studies."""

    source: str = option("phantom", "what is made when data.path is null: phantom")
    path: str | None = option(None, "folder of mflag.prepare; wins over data=phantom")
    size: int = option(256, "generated studies, all splits together")
    seed: int = option(0, "seed of the generated studies")
    wrap_bug: bool = option(
        False, "white becomes black, as the authors' x 256 in 8 bits makes it (training only)"
    )
