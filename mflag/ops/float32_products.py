"""Keep float32 products float32, whatever the program has set globally."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

# The setting is one for all threads: a second thread waits until the first has put it back.
_LOCK = threading.RLock()


@contextmanager
def float32_products(device: str, precision: str = "highest") -> Iterator[None]:
    """Run torch's float32 products with IEEE arithmetic, or with TF32 when ``tf32`` is asked for.

    The global setting is left alone where it says so already. Otherwise it is put back afterwards,
    inherited if it was inherited.

    Args:
        device: the device type of the tensors.
        precision: ``highest`` or ``tf32``; there is no TF32 on a CPU.
    """
    matmul: Any = (torch.backends.cuda if device == "cuda" else torch.backends.mkldnn).matmul  # type: ignore[attr-defined]
    with _LOCK:
        before = matmul.fp32_precision
        is_tf32 = precision == "tf32" and device == "cuda"
        if before in (("tf32",) if is_tf32 else ("ieee", "none")):
            yield
            return
        # What is read may come from the backend's setting or from the general one.
        matmul.fp32_precision = "none"
        own = "none" if matmul.fp32_precision == before else before
        matmul.fp32_precision = "tf32" if is_tf32 else "ieee"
        try:
            yield
        finally:
            matmul.fp32_precision = own
