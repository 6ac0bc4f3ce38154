"""Keep float32 products float32, whatever the program has set globally."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch


@dataclass
class _Setting:
    """What the users of a device type agree on: torch's setting is one for all threads."""

    users: int = 0
    wanted: str = ""
    before: str | None = None


_SETTINGS = {"cuda": _Setting(), "cpu": _Setting()}
_FREE = threading.Condition()


@contextmanager
def float32_products(device: str, precision: str = "highest") -> Iterator[None]:
    """Run torch's float32 products with IEEE arithmetic, or with TF32 when ``tf32`` is asked for.

    The global setting is left alone where it says so already. Otherwise it is put back afterwards,
    inherited if it was inherited. Threads that want the same run side by side; one that wants the
    other precision waits for them.

    Args:
        device: the device type of the tensors.
        precision: ``highest`` or ``tf32``; there is no TF32 on a CPU.
    """
    is_cuda = device == "cuda"
    setting = _SETTINGS["cuda" if is_cuda else "cpu"]
    matmul: Any = (torch.backends.cuda if is_cuda else torch.backends.mkldnn).matmul  # type: ignore[attr-defined]
    wanted = "tf32" if is_cuda and precision == "tf32" else "ieee"
    with _FREE:
        _FREE.wait_for(lambda: setting.users == 0 or setting.wanted == wanted)
        if setting.users == 0:
            setting.wanted, setting.before = wanted, _set(matmul, wanted)
        setting.users += 1
    try:
        yield
    finally:
        with _FREE:
            setting.users -= 1
            if setting.users == 0:
                if setting.before is not None:
                    matmul.fp32_precision = setting.before
                _FREE.notify_all()


def _set(matmul: Any, wanted: str) -> str | None:
    """Set what is wanted; return what to put back, None for nothing."""
    before = matmul.fp32_precision
    if before == wanted or (wanted == "ieee" and before == "none"):
        return None
    # What is read may come from the backend's setting or from the general one.
    matmul.fp32_precision = "none"
    own = "none" if matmul.fp32_precision == before else before
    matmul.fp32_precision = wanted
    return own
