"""A language model whose last layers train, over texts that were tokenised once."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mflag.errors import InputError
from mflag.models.lower_states import LowerStates, run_upper
from mflag.models.text_encoder import TextEncoder, length_batches, pad_tokens, pool
from mflag.models.tokens import Tokens
from mflag.runtime.transfer import send


class TrainedText(nn.Module):
    """Embeds texts with a graph through the last layers.

    The layers below and the embeddings stay frozen, without dropout and without graph. Dropout of
    the trained layers is a function of (seed, step, part, rank), so a step can be repeated bit for
    bit.

    Attributes:
        center: (D,) float32, subtracted from every vector, or None.
        dim: D.
    """

    center: Tensor | None

    def __init__(
        self,
        encoder: TextEncoder,
        tokens: Tokens,
        last: int,
        *,
        seed: int = 0,
        rank: int = 0,
        base: dict[str, str] | None = None,
        keep_lower: bool = False,
    ) -> None:
        """Unfreeze.

        Args:
            encoder: a frozen language model; its last layers are unfrozen in place.
            tokens: of all texts.
            last: how many layers train.
            seed: of dropout.
            rank: of this process; each draws its own dropout.
            base: what the encoder was, kept in the metadata: ``base`` names it.
            keep_lower: compute the frozen layers once, now, where the model is.

        Raises:
            InputError: the model has fewer layers, or none that this class can find, or what
                ``keep_lower`` keeps does not fit.
        """
        super().__init__()
        self.model = encoder.model
        self.tokens = tokens
        self.dim = int(encoder.model.config.hidden_size)
        self._encoder, self._base = encoder, base or {}
        self._seed, self._rank = seed, rank
        self._trained = unfreeze_last(encoder.model, last)
        self.register_buffer("center", None)
        self._lower: LowerStates | None = None
        if keep_lower:
            self._lower = LowerStates(encoder.model.eval(), tokens, last, self._padding())

    def train(self, mode: bool = True) -> "TrainedText":
        """Switch dropout of the trained layers; the frozen ones have none."""
        super().train(False)
        self.training = mode
        for layer in self._trained:
            layer.train(mode)
        return self

    def forward(self, texts: Tensor, step: int) -> Tensor:
        """Return the vectors of texts, in their order, not normalised.

        Args:
            texts: (K,) int64 on the CPU, places in ``tokens``.
            step: from 0; chooses the dropout masks.

        Returns:
            (K, D) float32 on the model's device.
        """
        parts = self._parts(texts)
        if not parts:
            # In the graph all the same: several processes wait for each gradient.
            return torch.empty(0, self.dim, device=self._device()) + 0.0 * sum(
                p.sum() for p in self._trained.parameters()
            )
        found = [self._embed(texts[part], step, number) for number, part in enumerate(parts)]
        return torch.cat(found)[send(torch.cat(parts).argsort(), self._device())]

    def backward(self, texts: Tensor, step: int, gradient: Tensor) -> None:
        """Take the gradient of ``forward``'s result further back, one part in memory at a time.

        Args:
            texts: as in ``forward``, which is repeated with the same dropout masks.
            step: likewise.
            gradient: (K, D).
        """
        for number, part in enumerate(self._parts(texts)):
            vectors = self._embed(texts[part], step, number)
            vectors.backward(gradient[send(part, gradient.device)])

    @torch.no_grad()
    def measure_center(self, texts: Tensor) -> None:
        """Set ``center`` to the mean vector of texts as the model is now, without dropout."""
        was_training = self.training
        self.eval()
        self.center = None
        places, counts = texts.unique(return_counts=True)
        total = torch.zeros(self.dim, dtype=torch.float64)
        for number, part in enumerate(self._parts(places)):
            vectors = self._embed(places[part], 0, number).double().cpu()
            total += (vectors * counts[part, None]).sum(0)
        self.center = (total / len(texts)).float().to(self._device())
        self.train(was_training)

    def metadata(self) -> dict[str, str]:
        """What the weights are: base, trained layers, pooling, max_length, centre as JSON."""
        center = None if self.center is None else self.center.tolist()
        return self._base | {
            "unfreeze_last": str(len(self._trained)),
            "pooling": self._encoder.pooling,
            "max_length": str(self._encoder.max_length),
            "center": json.dumps(center),
        }

    def describe(self) -> str:
        """The base and how many of its layers train, in words."""
        return f"{self._base.get('base', 'model')}, the last {len(self._trained)} layers trained"

    def describe_parameters(self) -> str:
        """How many parameters train, of how many."""
        trained = sum(p.numel() for p in self.model.parameters() if p.requires_grad)
        every = sum(p.numel() for p in self.model.parameters())
        return f"{trained:,} of {every:,} parameters trained"

    def kept(self) -> str:
        """What the states of the frozen layers take, in words; empty when none are kept."""
        size = 0 if self._lower is None else self._lower.size_bytes
        return f", frozen layers' states kept: {size / 1e9:.2f} GB" * bool(size)

    def trained_state(self) -> dict[str, Tensor]:
        """The parameters that train, by name, and the centre."""
        state = {name: p.detach() for name, p in self.model.named_parameters() if p.requires_grad}
        return state if self.center is None else state | {"center": self.center}

    @torch.no_grad()
    def load_trained_state(self, state: dict[str, Tensor]) -> None:
        """Take what ``trained_state`` returned.

        Raises:
            InputError: it is of another number of layers or of another model.
        """
        wanted = dict(self.model.named_parameters())
        wanted = {name: p for name, p in wanted.items() if p.requires_grad}
        if wanted.keys() != state.keys() - {"center"}:
            raise InputError(
                f"the checkpoint holds {len(state)} tensors of trained text layers, this run "
                f"trains {len(wanted)}; give the same text.path and text.unfreeze_last"
            )
        for name, parameter in wanted.items():
            parameter.copy_(state[name])
        center = state.get("center")
        self.center = None if center is None else center.to(self._device())

    def _parts(self, texts: Tensor) -> list[Tensor]:
        """Places of ``texts`` in parts of about equal length."""
        lengths = self.tokens.lengths[texts.numpy()].tolist()
        return [torch.tensor(part) for part in length_batches(lengths)]

    def _embed(self, texts: Tensor, step: int, part: int) -> Tensor:
        token_ids = [self.tokens[int(text)] for text in texts]
        ids, mask = (send(t, self._device()) for t in pad_tokens(token_ids, self._padding()))
        with self._own_random(step, part):
            if self._lower is None:
                hidden = self.model(input_ids=ids, attention_mask=mask).last_hidden_state
            else:
                states = send(self._lower.padded(texts), self._device())
                hidden = run_upper(self.model, self._trained, states, mask)
        vectors = pool(hidden.float(), mask, self._encoder.pooling)
        return vectors if self.center is None else vectors - self.center

    def _padding(self) -> int:
        return self._encoder.tokenizer.pad_token_id or 0

    @contextlib.contextmanager
    def _own_random(self, step: int, part: int) -> Iterator[None]:
        device = self._device()
        devices = [device] if device.type == "cuda" else []
        seed = np.random.SeedSequence([self._seed, step, part, self._rank])
        with torch.random.fork_rng(devices):
            torch.manual_seed(int(seed.generate_state(1, np.uint64)[0]) >> 1)
            yield

    def _device(self) -> torch.device:
        return next(self.model.parameters()).device


def unfreeze_last(model: Any, last: int) -> nn.ModuleList:
    """Let the last transformer layers of a model train and freeze all else; returns the layers.

    Raises:
        InputError: fewer layers than that, or no list of layers.
    """
    layers = getattr(getattr(model, "encoder", None), "layer", None)
    if not isinstance(layers, nn.ModuleList):
        raise InputError(
            f"text.unfreeze_last cannot find the layers of a {type(model).__name__}; give a BERT"
        )
    if not 1 <= last <= len(layers):
        raise InputError(f"text.unfreeze_last is {last}, but there are {len(layers)} layers")
    model.requires_grad_(False)
    return layers[-last:].requires_grad_(True)
