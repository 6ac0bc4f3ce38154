"""Pre-train an encoder: ``python -m mflag.train preset=smoke``."""

import sys

from mflag import cli
from mflag.config.train import TrainConfig
from mflag.distributed import read_ranks
from mflag.training.loop import train


def main(config: TrainConfig) -> None:
    """Train, and say what to do next."""
    if train(config) and read_ranks().is_first:
        encoder = f"encoder={config.output_dir}/encoder.safetensors"
        data = config.data.path or f"{config.output_dir}/data"
        print(f"next: python -m mflag.evaluate {encoder} data.path={data}", file=sys.stderr)


if __name__ == "__main__":
    cli.run(main, "train", TrainConfig)
