"""From the image latent to the space of the text vectors."""

from torch import nn

from mflag.errors import InputError


def build_projector(kind: str, embedding_dim: int, hidden_dim: int, text_dim: int) -> nn.Module:
    """Return a projector: (B, embedding_dim) → (B, text_dim).

    Args:
        kind: ``linear`` (the paper), or ``mlp`` (one hidden layer with BatchNorm and ReLU).
        embedding_dim: of the image latent.
        hidden_dim: of the mlp.
        text_dim: of the text vectors.

    Raises:
        InputError: unknown kind, or hidden_dim < 1.
    """
    if kind == "linear":
        return nn.Linear(embedding_dim, text_dim)
    if kind != "mlp":
        raise InputError(f"model.projector is {kind!r}; choose linear or mlp")
    if hidden_dim < 1:
        raise InputError(f"model.projector_hidden_dim is {hidden_dim}; give 1 or more")
    return nn.Sequential(
        nn.Linear(embedding_dim, hidden_dim, bias=False),
        nn.BatchNorm1d(hidden_dim),
        nn.ReLU(inplace=True),
        nn.Linear(hidden_dim, text_dim),
    )
