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
    """Run again and again on the same input; return how many different results there were."""
    hashes = {_hash(result()) for _ in range(runs)}
    return {"runs": runs, "distinct": len(hashes), "sha256": sorted(hashes)[0]}


def _hash(tensors: Sequence[Tensor]) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        values = tensor.detach().contiguous().reshape(-1).view(torch.uint8)
        digest.update(values.cpu().numpy().tobytes())
    return digest.hexdigest()
