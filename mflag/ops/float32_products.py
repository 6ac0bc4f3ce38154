"""Keep float32 products float32, whatever the program has set globally."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def float32_products(device: str, precision: str = "highest") -> Iterator[None]:
    """Run torch's float32 products with IEEE arithmetic, or with TF32 when ``tf32`` is asked for.

    Args:
        device: the device type of the tensors.
        precision: ``highest`` or ``tf32``; there is no TF32 on a CPU.
    """
    matmul: Any = (torch.backends.cuda if device == "cuda" else torch.backends.mkldnn).matmul  # type: ignore[attr-defined]
    before = matmul.fp32_precision
    wanted = "tf32" if precision == "tf32" and device == "cuda" else "ieee"
    if before == wanted:
        yield
        return
    matmul.fp32_precision = wanted
    try:
        yield
    finally:
        matmul.fp32_precision = before
