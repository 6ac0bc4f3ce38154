"""``model_card.md``: what the encoder is, what it was trained on, and what it is not for."""

import importlib.metadata
import platform
from pathlib import Path
from typing import Any

import mflag
from mflag.config.train import TrainConfig
from mflag.data.manifest import Prepared
from mflag.models.encoder_file import EMBEDDING_DIM, IMAGE_MEAN, IMAGE_STD
from mflag.runtime.atomic_write import file_sha256, write_text
from mflag.training.card_terms import GENERATED_LIMITS, INTENDED_USE, REAL_LIMITS, data_terms
from mflag.training.run_folder import plain

_CARD = """# {arch} pre-trained with mflag

**Research use only; not a medical device.** Not evaluated for any clinical purpose.

| | |
| --- | --- |
| architecture | torchvision `{arch}` without `fc`; (B, 3, H, W) to (B, {embedding_dim}) |
| parameters | {parameters} |
| input | grey, three equal channels, {image_size} × {image_size}, (x − {mean}) / {std} of 0..1 |
| training data | `{dataset}`, {studies:,} studies of {patients:,} patients in the training split |
| its table, sha256 | `{manifest}` |
| initial weights | {init} |
| text vectors | {text} |
| losses | alignment weight {alignment_weight}; orthogonality `{norm}`, {balance} |
| optimizer | {optimizer}, learning rate {lr}, schedule {schedule} |
| length | {epochs} epochs of {steps_per_epoch:,} steps, batch {batch_size} × {world_size} ranks |
| seed | {seed} |
| config.yaml, sha256 | `{config_sha256}` |
| encoder.safetensors, sha256 | `{sha256}` |
| made with | {versions} |

## Intended use

{intended_use}

## Load it

```python
from mflag.models import load_encoder
encoder = load_encoder("encoder.safetensors")
```

For other libraries: `python -m mflag.export encoder=encoder.safetensors format=...`

## Metrics

Of the last logging point of the training. Tasks are measured by `python -m mflag.evaluate`.

{figures}

## Settings

`config.yaml` has all; these differ from the program's defaults. Paths are cut to their last part.

{settings}
{assumed}
## Licence

Code: Apache-2.0. {terms}

## Limits

{limits}
{warnings}"""

# Of one machine or one call; the rest decides what the weights are.
_NOT_SETTINGS = ("output_dir", "overwrite", "resume", "assumed", "data.path")
_PATHS = ("text.path", "model.init")


def write_model_card(
    folder: Path,
    config: TrainConfig,
    prepared: Prepared,
    facts: dict[str, Any],
    last_figures: dict[str, float],
) -> None:
    """Write ``model_card.md`` beside ``encoder.safetensors`` and ``config.yaml``.

    Args:
        folder: of the run.
        config: of the run.
        prepared: the training data.
        facts: parameters, text, steps_per_epoch, world_size, lr.
        last_figures: of the last logging point.
    """
    train = prepared.rows("train")
    dataset = prepared.info["dataset"]
    content = _CARD.format(
        arch=config.model.arch,
        embedding_dim=EMBEDDING_DIM[config.model.arch],
        image_size=config.train.image_size,
        mean=IMAGE_MEAN,
        std=IMAGE_STD,
        dataset=dataset,
        studies=len(train),
        patients=len(prepared.column("patient").take(train).unique()),
        manifest=prepared.info["hashes"]["manifest.parquet"],
        init=_short("model.init", config.model.init),
        alignment_weight=config.loss.alignment_weight,
        norm=config.loss.norm,
        balance=_balance(config),
        optimizer=config.optim.name,
        schedule=config.optim.schedule,
        epochs=config.train.epochs,
        batch_size=config.train.batch_size,
        seed=config.seed,
        config_sha256=file_sha256(folder / "config.yaml"),
        sha256=file_sha256(folder / "encoder.safetensors"),
        versions=_versions(),
        intended_use=INTENDED_USE,
        figures=_figures(last_figures),
        settings="\n".join(f"    {line}" for line in changed_settings(config)) or "None.",
        assumed=_assumed(config.assumed),
        terms=data_terms(dataset, config.model.init),
        limits=GENERATED_LIMITS if dataset == "phantom" else REAL_LIMITS,
        warnings="".join(f"\nWarning from prepare: {w}\n" for w in prepared.warnings),
        **facts,
    )
    write_text(folder / "model_card.md", content)


def changed_settings(config: TrainConfig) -> list[str]:
    """``key=value`` of what differs from the defaults, without the paths of this machine."""
    defaults = dict(_leaves(plain(TrainConfig())))
    return [
        f"{key}={_short(key, value)}"
        for key, value in _leaves(plain(config))
        if key not in _NOT_SETTINGS and value != defaults[key]
    ]


def _leaves(values: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []
    for name, value in values.items():
        if isinstance(value, dict):
            pairs += _leaves(value, f"{prefix}{name}.")
        else:
            pairs.append((f"{prefix}{name}", value))
    return pairs


def _short(key: str, value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return Path(value).name if key in _PATHS else str(value)


def _balance(config: TrainConfig) -> str:
    share = config.loss.orthogonality_share
    if share is not None:
        return f"share {share} of the alignment gradient"
    return f"weight {config.loss.orthogonality_weight}"


def _figures(figures: dict[str, float]) -> str:
    if not figures:
        return "None was logged."
    rows = [f"| {name} | {value:.4g} |" for name, value in figures.items()]
    return "\n".join(["| figure | value |", "| --- | --- |", *rows])


def _assumed(lines: list[str]) -> str:
    if not lines:
        return ""
    return "\nAssumed, where the preset's source is silent:\n\n" + "".join(
        f"- {x}\n" for x in lines
    )


def _versions() -> str:
    packages = ", ".join(f"{n} {importlib.metadata.version(n)}" for n in ("torch", "torchvision"))
    return f"mflag {mflag.__version__}, {packages}, Python {platform.python_version()}"
