"""The alignment loss as people write it."""

from torch import Tensor
from torch.nn.functional import normalize


def eager_alignment(z: Tensor, table: Tensor, index: Tensor) -> Tensor:
    """mean_b (2 − 2 cos): gather, normalise both, multiply, sum.

    Args:
        z: (B, D) image embeddings.
        table: (M, D) frozen text embeddings.
        index: (B,) int64 rows of the table.

    Returns:
        () the loss.
    """
    text = table[index]
    return (2 - 2 * (normalize(z, dim=1) * normalize(text, dim=1)).sum(dim=1)).mean()
