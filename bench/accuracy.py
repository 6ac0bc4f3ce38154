"""Beside its time: how exact a call is, and whether it repeats its bits."""

import hashlib
from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def relative_errors(found: Sequence[Tensor], exact: Sequence[Tensor]) -> dict[str, float]:
    """Return the relative error of the value and (Frobenius) the largest of the gradients."""
    errors = [
        float((a.double() - b).norm() / b.norm().clamp(min=1e-300))
        for a, b in zip(found, exact, strict=True)
    ]
    return {"value_error": errors[0], "gradient_error": max(errors[1:])}


def distinct_bits(result: Callable[[], Sequence[Tensor]], runs: int) -> dict[str, object]:
    """Run again and again on the same input; return how many different results there were.

    They are compared where they are; the first one's hash tells two machines apart.
    """
    found: list[list[Tensor]] = []
    for _ in range(runs):
        bits = [_bytes(tensor) for tensor in result()]
        if not any(all(map(torch.equal, bits, other)) for other in found):
            found.append(bits)
    digest = hashlib.sha256()
    for tensor in found[0]:
        digest.update(tensor.cpu().numpy().tobytes())
    return {"runs": runs, "distinct": len(found), "sha256": digest.hexdigest()}


def _bytes(tensor: Tensor) -> Tensor:
    """A copy, of NaN too."""
    return tensor.detach().clone(memory_format=torch.contiguous_format).view(-1).view(torch.uint8)
