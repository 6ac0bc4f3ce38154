"""Prepare a dataset: ``python -m mflag.prepare dataset=phantom out=data/phantom``."""

import json

from rich.console import Console

from mflag import cli
from mflag.config.prepare import PrepareConfig
from mflag.data.funnel import Funnel
from mflag.data.phantom_formats import write_format
from mflag.data.preparing import prepare


def main(config: PrepareConfig) -> None:
    """Prepare, then show what each filter left; or write generated studies as a raw dataset."""
    if config.phantom.format is not None:
        folder, is_new = write_format(config)
        was = "" if is_new else " already; overwrite=true writes it again"
        print(
            f"{config.dataset.size:,} generated studies as {config.phantom.format} in {folder}{was}"
        )
        return
    prepared = prepare(config)
    funnel = json.loads((prepared.path / "funnel.json").read_text())
    Console().print(Funnel.from_json(funnel).as_table())
    splits = ", ".join(f"{name} {count:,}" for name, count in prepared.split_counts().items())
    print(f"{len(prepared):,} studies in {prepared.path}: {splits}")


if __name__ == "__main__":
    cli.run(main, "prepare", PrepareConfig)
