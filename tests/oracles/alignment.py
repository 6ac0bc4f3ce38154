"""The alignment loss, straight from Eq. 2; autograd differentiates it."""

import torch
from torch import Tensor


def alignment(z_a: Tensor, z_t: Tensor, factor: float = 1.0) -> Tensor:
    a, t = (torch.nn.functional.normalize(z, dim=1) for z in (z_a, z_t))
    return factor * (2 - 2 * (a * t).sum(1)).mean()


def value_and_gradients(z_a: Tensor, z_t: Tensor, factor: float = 1.0) -> tuple[Tensor, ...]:
    z_a, z_t = (z.detach().clone().requires_grad_() for z in (z_a, z_t))
    loss = alignment(z_a, z_t, factor)
    return loss.detach(), *torch.autograd.grad(loss, (z_a, z_t))
