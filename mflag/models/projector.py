"""From the image latent to the space of the text vectors."""

from torch import nn

from mflag.errors import InputError

PROJECTORS = ("linear", "mlp", "mlp_bn")


def build_projector(kind: str, embedding_dim: int, hidden_dim: int, text_dim: int) -> nn.Module:
    """Return a projector: (B, embedding_dim) → (B, text_dim).

    Args:
        kind: ``linear`` (the paper), ``mlp`` (one hidden layer with BatchNorm and ReLU), or
            ``mlp_bn`` (the authors' code: biases before BatchNorm, which also ends it, without
            weights).
        embedding_dim: of the image latent.
        hidden_dim: of the mlp.
        text_dim: of the text vectors.

    Raises:
        InputError: unknown kind, or hidden_dim < 1.
    """
    if kind == "linear":
        return nn.Linear(embedding_dim, text_dim)
    if kind not in PROJECTORS:
        raise InputError(f"model.projector is {kind!r}; choose one of {', '.join(PROJECTORS)}")
    if hidden_dim < 1:
        raise InputError(f"model.projector_hidden_dim is {hidden_dim}; give 1 or more")
    ends_normalised = kind == "mlp_bn"
    layers = [
        nn.Linear(embedding_dim, hidden_dim, bias=ends_normalised),
        nn.BatchNorm1d(hidden_dim),
        nn.ReLU(inplace=True),
        nn.Linear(hidden_dim, text_dim),
    ]
    if ends_normalised:
        layers.append(nn.BatchNorm1d(text_dim, affine=False))
    return nn.Sequential(*layers)
