"""The learning rate where a recorded step reads it: on the device, or in Python."""

import torch


def keep_lr_on(optimizer: torch.optim.Optimizer, device: torch.device | None) -> None:
    """Make each group's ``lr`` a () float32 tensor, or a number again.

    A CUDA graph repeats the numbers that it saw, so what changes must be read from memory. A state
    that was loaded brings the kind of the run that wrote it: call this after loading.

    Args:
        optimizer: AdamW, LARS, or any that takes both kinds.
        device: of the tensor; None gives numbers.
    """
    for group in optimizer.param_groups:
        lr = float(group["lr"])
        group["initial_lr"] = float(group.get("initial_lr", lr))
        is_tensor = device is not None
        group["lr"] = torch.tensor(lr, dtype=torch.float32, device=device) if is_tensor else lr
        if "capturable" in group:
            group["capturable"] = is_tensor
