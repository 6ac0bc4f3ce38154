"""Weigh one loss by its gradient's share of another's, on one latent."""

import torch
import torch.distributed as dist
from torch import Tensor, nn

from mflag.errors import InputError
from mflag.ops.arguments import check_tensor, is_finite


class GradientShare(nn.Module):
    """reference + w · balanced, with w such that ‖w g_balanced‖ ≈ share · ‖g_reference‖.

    g are the gradients with respect to one latent. Every ``every`` calls,
    w ← smoothing · w + (1 − smoothing) · share · ‖g_reference‖ / ‖g_balanced‖; at the first
    measurement without smoothing. A zero or non-finite norm keeps w. Until the first measurement w
    is 0: the balanced loss joins when its balance is known. Nothing leaves the device.

    Attributes:
        weight: () float32, w.
        measured_share: () float32, w‖g_balanced‖ / ‖g_reference‖ at the last measurement.
        calls: how many training calls there were; in the state dict, like the two tensors.

    Args:
        share: wanted ratio of the gradient norms, above 0.
        smoothing: part of the old weight that stays, from 0 to below 1.
        every: calls from one measurement to the next.

    Raises:
        InputError: a number is out of its range.
    """

    weight: Tensor
    measured_share: Tensor

    def __init__(self, share: float = 0.1, smoothing: float = 0.9, every: int = 10) -> None:
        """Check and keep the arguments."""
        super().__init__()
        if not (is_finite(share) and share > 0):
            raise InputError(f"share is {share!r}; give a number above 0")
        if not (is_finite(smoothing) and 0 <= smoothing < 1):
            raise InputError(f"smoothing is {smoothing!r}; give a number from 0 to below 1")
        if not isinstance(every, int) or every < 1:
            raise InputError(f"every is {every!r}; give an integer of 1 or more")
        self.share = share
        self.smoothing = smoothing
        self.every = every
        self.calls = 0
        self.register_buffer("weight", torch.zeros(()))
        self.register_buffer("measured_share", torch.zeros(()))

    def forward(self, reference_loss: Tensor, balanced_loss: Tensor, latent: Tensor) -> Tensor:
        """Return ``reference_loss + w · balanced_loss``; measure first when it is time to.

        Args:
            reference_loss: () the loss that sets the scale.
            balanced_loss: () the loss that gets the weight.
            latent: the tensor that both were computed from, part of their graph.
        """
        check_tensor("latent", latent)
        if torch.is_grad_enabled() and latent.requires_grad:
            if self.is_due():
                losses = (reference_loss, balanced_loss)
                self.update(*(_gradient(loss, latent) for loss in losses))
            else:
                self.calls += 1
        return reference_loss + self.weight * balanced_loss

    def is_due(self) -> bool:
        """Whether the next call measures."""
        return self.calls % self.every == 0

    @torch.no_grad()
    def update(self, reference_gradient: Tensor, balanced_gradient: Tensor) -> None:
        """Set the weight by two gradients with respect to one latent; counts as a call.

        Args:
            reference_gradient: gradient of the unweighted reference loss, this rank's rows.
            balanced_gradient: gradient of the unweighted balanced loss, this rank's rows.
        """
        self.calls += 1
        self.measure(reference_gradient, balanced_gradient)

    @torch.no_grad()
    def measure(self, reference_gradient: Tensor, balanced_gradient: Tensor) -> None:
        """Do what ``update`` does without counting a call: device work alone, as in a CUDA graph.

        Args:
            reference_gradient: as in ``update``.
            balanced_gradient: likewise.
        """
        squares = torch.stack(
            [
                torch.linalg.vector_norm(gradient, dtype=torch.float64).square()
                for gradient in (reference_gradient, balanced_gradient)
            ]
        )
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(squares)
        ratio = (squares[0] / squares[1]).sqrt()
        is_measured = (ratio > 0) & ratio.isfinite()
        wanted = self.share * ratio.to(self.weight.dtype)
        smooth = self.smoothing * self.weight + (1 - self.smoothing) * wanted
        weight = torch.where(self.weight == 0, wanted, smooth)
        self.weight.copy_(torch.where(is_measured, weight, self.weight))
        share = self.weight / ratio.to(self.weight.dtype)
        self.measured_share.copy_(torch.where(is_measured, share, self.measured_share))

    def extra_repr(self) -> str:
        """Return the arguments for ``repr``."""
        return f"share={self.share}, smoothing={self.smoothing}, every={self.every}"

    def get_extra_state(self) -> Tensor:
        """Return the number of calls for the state dict."""
        return torch.tensor(self.calls)

    def set_extra_state(self, state: Tensor) -> None:
        """Take the number of calls from a state dict."""
        self.calls = int(state)


def _gradient(loss: Tensor, latent: Tensor) -> Tensor:
    return torch.autograd.grad(loss, latent, retain_graph=True, materialize_grads=True)[0]
