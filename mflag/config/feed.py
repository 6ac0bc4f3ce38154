"""How images reach the model."""

from dataclasses import dataclass

from mflag.config.option import option


@dataclass
class FeedConfig:
    """Who reads the images; every feed yields the same batches."""

    name: str = option(
        "cache", "cache (decoded images, read ahead), torch (DataLoader) or dali (original files)"
    )
    workers: int = option(2, "processes of the torch feed, threads of the dali feed")
    prefetch: int = option(2, "batches read ahead by the cache and dali feeds")
    root: str | None = option(
        None, "dali: folder of the original images; null is where they were prepared"
    )
    resident: str = option(
        "auto",
        "cache: hold the training split where training computes: true, false (read ahead), or auto "
        "(on a GPU where it fits; on a CPU the page cache holds it)",
    )
    reserve_gb: float = option(
        16.0, "cache: GPU memory that resident=auto leaves to the model, in 10^9 bytes"
    )


@dataclass
class AugmentConfig:
    """Random change of every image, a function of (seed, epoch, study) alone."""

    scale_min: float = option(0.6, "smallest share of the image's area in the random crop")
    rotation_degrees: float = option(10.0, "largest rotation")
    brightness: float = option(0.2, "largest relative change")
    contrast: float = option(0.2, "largest relative change")
    flip: bool = option(False, "mirror half of the images; reports name sides, so off")
