"""Pre-train an encoder: ``python -m mflag.train preset=smoke``."""

import sys

from mflag import cli
from mflag.config.train import TrainConfig
from mflag.training.loop import train


def main(config: TrainConfig) -> None:
    """Train, and say how long it took."""
    if train(config):
        print(
            f"next: python -m mflag.evaluate encoder={config.output_dir}/encoder.safetensors",
            file=sys.stderr,
        )


if __name__ == "__main__":
    cli.run(main, "train", TrainConfig)
