"""The text side of a run when text layers train: reports tokenised, layers unfrozen."""

import sys

import torch
from torch import Tensor

from mflag.config.text import TextConfig
from mflag.data.manifest import Prepared
from mflag.data.text_vectors import find_language_model
from mflag.errors import InputError
from mflag.models.text_encoder import load_text_encoder
from mflag.models.text_folder import weights_sha256
from mflag.models.tokens import Tokens
from mflag.models.trained_text import TrainedText


def build_trained_text(
    prepared: Prepared,
    config: TextConfig,
    *,
    seed: int,
    device: torch.device,
    measure_center: bool = True,
) -> tuple[TrainedText, Tensor]:
    """Load the language model, unfreeze its last layers, tokenise the training reports.

    Args:
        prepared: the studies.
        config: which encoder; ``unfreeze_last`` is 1 or more.
        seed: of dropout.
        device: where it trains.
        measure_center: False when a checkpoint brings the centre along.

    Returns:
        the module, and (n,) int64 by manifest row: its place among the texts, -1 for rows outside
        of the training split and for empty reports.

    Raises:
        InputError: the encoder is missing or broken, or every training report is empty.
    """
    model = find_language_model(config)
    assert model is not None  # refused with the configuration
    name, folder = model
    encoder = load_text_encoder(
        folder, config.pooling, config.max_length, cache=prepared.path / "text"
    )
    texts = prepared.manifest["text"].tolist()
    place: dict[str, int] = {}
    places = torch.full((len(texts),), -1)
    for row in prepared.rows("train").tolist():
        if texts[row].strip():
            places[row] = place.setdefault(texts[row], len(place))
    if not place:
        raise InputError("no training report has any text; check the text column")
    encoder.model.to(device)
    trained = TrainedText(
        encoder,
        Tokens(encoder, list(place)),
        config.unfreeze_last,
        seed=seed,
        keep_lower=config.keep_lower,
        base={"base": name, "base_sha256": weights_sha256(folder)},
    ).to(device)
    if config.center and measure_center:
        trained.measure_center(places[places >= 0])
    print(_line(trained, int((places >= 0).sum())), file=sys.stderr)
    return trained, places


def _line(trained: TrainedText, count: int) -> str:
    share = trained.tokens.truncated / len(trained.tokens)
    return (
        f"text {trained.describe()}: {count:,} training texts, {len(trained.tokens):,} unique, "
        f"dim {trained.dim}, {share:.1%} truncated, {trained.describe_parameters()}{trained.kept()}"
    )
