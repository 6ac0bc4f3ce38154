"""The text side of a run: the frozen table, or reports tokenised and layers unfrozen."""

import json
import sys
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import torch
from safetensors.torch import load, save
from torch import Tensor

from mflag.config.text import TextConfig
from mflag.config.train import TrainConfig
from mflag.data.manifest import Prepared
from mflag.data.text_table import TextTable, build_text_table
from mflag.data.text_vectors import find_language_model
from mflag.distributed import Session
from mflag.distributed.reductions import share_bytes
from mflag.errors import InputError
from mflag.models.text_encoder import load_text_encoder
from mflag.models.text_folder import weights_sha256
from mflag.models.text_hub import published_lower_case
from mflag.models.tokens import Tokens
from mflag.models.trained_text import TrainedText


def build_text(
    prepared: Prepared,
    config: TrainConfig,
    session: Session,
    device: torch.device,
    *,
    measure_center: bool,
) -> tuple[TextTable | None, TrainedText | None, Tensor]:
    """Return the table or the text layers in training, and (n,) int64 by manifest row.

    The rows are those of the table or places of the trained texts; -1 where there is none. With
    several processes rank 0 embeds and the others get its table.

    Args:
        prepared: the studies.
        config: of the run.
        session: with the other processes.
        device: where a language model runs.
        measure_center: False when a checkpoint brings the centre along.

    Raises:
        InputError: see ``build_text_table`` and ``build_trained_text``.
    """
    if not config.loss.alignment_weight:
        return None, None, torch.full((len(prepared),), -1)
    if not config.text.unfreeze_last:
        table = _shared(
            lambda: build_text_table(prepared, config.text, device=str(device)), session
        )
        return table, None, table.rows
    trained, places = session.in_turn(
        lambda: build_trained_text(
            prepared,
            config.text,
            seed=config.seed,
            rank=session.ranks.rank,
            device=device,
            measure_center=measure_center,
        )
    )
    return None, trained, places


def _shared(build: Callable[[], TextTable], session: Session) -> TextTable:
    """Rank 0's table: machines may round differently, and not all can keep it beside the data."""
    if session.ranks.is_alone:
        return build()
    built = session.agree(lambda: build() if session.ranks.is_first else None)
    content: bytes | memoryview = b""
    if built is not None:
        tensors = {"embeddings": built.embeddings, "rows": built.rows}
        content = save(tensors, built.metadata)
    content = share_bytes(content)
    if built is not None:
        return built
    size = int.from_bytes(content[:8], "little")
    metadata = json.loads(bytes(content[8 : 8 + size]))["__metadata__"]
    return TextTable(**load(bytes(content)), metadata=metadata)


def build_trained_text(
    prepared: Prepared,
    config: TextConfig,
    *,
    seed: int,
    rank: int = 0,
    device: torch.device,
    measure_center: bool = True,
) -> tuple[TrainedText, Tensor]:
    """Load the language model, unfreeze its last layers, tokenise the training reports.

    Args:
        prepared: the studies.
        config: which encoder; ``unfreeze_last`` is 1 or more.
        seed: of dropout.
        rank: of this process, of dropout too; rank 0 says what was built.
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
        folder,
        config.pooling,
        config.max_length,
        cache=prepared.path / "text",
        lower_case=published_lower_case(config.name),
    )
    texts, places = _training_texts(prepared)
    if not texts:
        raise InputError("no training report has any text; check the text column")
    encoder.model.to(device)
    trained = TrainedText(
        encoder,
        Tokens(encoder, texts),
        config.unfreeze_last,
        seed=seed,
        rank=rank,
        keep_lower=config.keep_lower,
        base={"base": name, "base_sha256": weights_sha256(folder)},
    ).to(device)
    if config.center and measure_center:
        trained.measure_center(places[places >= 0])
    if rank == 0:
        print(_line(trained, int((places >= 0).sum())), file=sys.stderr)
    return trained, places


def _training_texts(prepared: Prepared) -> tuple[list[str], Tensor]:
    """Distinct training texts as they first come, and (n,) int64 by row: place there or -1.

    Only distinct texts become Python strings: a million rows stay Arrow's.
    """
    rows = prepared.rows("train")
    column = prepared.column("text").cast(pa.large_string()).take(pa.array(rows))
    encoded = column.combine_chunks().dictionary_encode()  # numbered as they first come
    unique = encoded.dictionary.to_pylist()
    has_text = np.array([bool(text.strip()) for text in unique])
    new_place = np.where(has_text, np.cumsum(has_text) - 1, -1)
    places = torch.full((len(prepared),), -1)
    places[torch.from_numpy(rows)] = torch.from_numpy(new_place[encoded.indices.to_numpy()])
    return [text for text in unique if text.strip()], places


def _line(trained: TrainedText, count: int) -> str:
    share = trained.tokens.truncated / len(trained.tokens)
    return (
        f"text {trained.describe()}: {count:,} training texts, {len(trained.tokens):,} unique, "
        f"dim {trained.dim}, {share:.1%} truncated, {trained.describe_parameters()}{trained.kept()}"
    )
