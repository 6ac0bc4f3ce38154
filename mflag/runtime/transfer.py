"""Copies from the host that the host does not wait for."""

import torch
from torch import Tensor


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor to a device; to a GPU through pinned memory, else the copy would wait.

    Args:
        tensor: anywhere; already on ``device`` it is returned as it is.
        device: where it is needed.
    """
    if device.type == "cuda" and tensor.device.type == "cpu" and not tensor.is_pinned():
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)
