"""``model_card.md``: what the encoder is, what it was trained on, and what it is not for."""

from pathlib import Path
from typing import Any

from mflag.config.train import TrainConfig
from mflag.data.manifest import Prepared
from mflag.models.encoder_file import EMBEDDING_DIM
from mflag.runtime.atomic_write import file_sha256, write_text

_CARD = """# {arch} pre-trained with mflag

**Research use only; not a medical device.** Not evaluated for any clinical purpose.

| | |
| --- | --- |
| architecture | torchvision `{arch}` without `fc`; (B, 3, H, W) to (B, {embedding_dim}) |
| parameters | {parameters} |
| input | grey image, three equal channels, {image_size} × {image_size}, (x − 0.5) / 0.5 of 0..1 |
| training data | `{dataset}`, {studies:,} studies of {patients:,} patients in the training split |
| text vectors | {text} |
| losses | alignment weight {alignment_weight}; orthogonality `{norm}`, {balance} |
| optimizer | {optimizer}, learning rate {lr}, schedule {schedule} |
| length | {epochs} epochs of {steps_per_epoch:,} steps, batch {batch_size} × {world_size} ranks |
| seed | {seed} |
| last figures | {figures} |
| encoder.safetensors, sha256 | `{sha256}` |

## Load it

```python
from mflag.models import load_encoder
encoder = load_encoder("encoder.safetensors")
```

## Limits

{limits}
{warnings}"""

_GENERATED = (
    "Trained on generated studies: no real patient was seen, so the features say nothing about "
    "real X-rays until they were measured on them."
)
_REAL = (
    "Trained on the images and reports named above; the licence and the terms of that data bind "
    "the use of these weights. Features may carry the biases of the data (site, view, device, "
    "sex, age)."
)


def write_model_card(
    folder: Path,
    config: TrainConfig,
    prepared: Prepared,
    facts: dict[str, Any],
    last_figures: dict[str, float],
) -> None:
    """Write ``model_card.md`` beside ``encoder.safetensors``.

    Args:
        folder: of the run.
        config: of the run.
        prepared: the training data.
        facts: parameters, text, steps_per_epoch, world_size, lr.
        last_figures: of the last logging point.
    """
    train = prepared.rows("train")
    share = config.loss.orthogonality_share
    balance = (
        f"share {share} of the alignment gradient"
        if share is not None
        else f"weight {config.loss.orthogonality_weight}"
    )
    content = _CARD.format(
        arch=config.model.arch,
        embedding_dim=EMBEDDING_DIM[config.model.arch],
        image_size=config.train.image_size,
        dataset=prepared.info["dataset"],
        studies=len(train),
        patients=len(prepared.column("patient").take(train).unique()),
        alignment_weight=config.loss.alignment_weight,
        norm=config.loss.norm,
        balance=balance,
        optimizer=config.optim.name,
        schedule=config.optim.schedule,
        epochs=config.train.epochs,
        batch_size=config.train.batch_size,
        seed=config.seed,
        figures=", ".join(f"{name} {value:.4g}" for name, value in last_figures.items()),
        sha256=file_sha256(folder / "encoder.safetensors"),
        limits=_GENERATED if prepared.info["dataset"] == "phantom" else _REAL,
        warnings="".join(f"\nWarning from prepare: {w}\n" for w in prepared.warnings),
        **facts,
    )
    write_text(folder / "model_card.md", content)
