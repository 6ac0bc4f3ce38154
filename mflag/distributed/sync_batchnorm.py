"""BatchNorm over the batch of all ranks."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mflag.distributed.reductions import has_peers, sum_over_ranks


def synchronise_batchnorm(module: nn.Module, device: torch.device) -> nn.Module:
    """Return the module with every BatchNorm over all ranks; names in its state stay.

    Args:
        module: changed in place, unless it is a BatchNorm itself.
        device: where it trains: torch's own class on a GPU, ours elsewhere, where torch has none.
    """
    if device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(module)
    if isinstance(module, _BatchNorm):
        return _replaced(module)
    for name, child in module.named_children():
        module.add_module(name, synchronise_batchnorm(child, device))
    return module


def _replaced(layer: _BatchNorm) -> "GlobalBatchNorm":
    new = GlobalBatchNorm(
        layer.num_features, layer.eps, layer.momentum, layer.affine, layer.track_running_stats
    )
    for like in (*layer.parameters(), *layer.buffers()):
        if like.is_floating_point():
            new.to(like.device, like.dtype)
    new.load_state_dict(layer.state_dict())
    return new.train(layer.training)


class GlobalBatchNorm(_BatchNorm):
    """Normalises by mean and variance over the rows of all ranks; in eval mode as torch's."""

    def _check_input_dim(self, input: Tensor) -> None:
        """Any (B, C, ...) will do."""

    def forward(self, input: Tensor) -> Tensor:
        """Return (B, C, ...) normalised, of the input's dtype; statistics in float32 or wider."""
        if not (self.training and has_peers()):
            return super().forward(input)
        normalised, mean, variance, count = _Normalise.apply(input, self.eps)
        if self.track_running_stats:
            self._move_statistics(mean, variance * count / (count - 1))
        shape = (1, -1) + (1,) * (input.ndim - 2)
        if self.affine:
            normalised = normalised * self.weight.view(shape) + self.bias.view(shape)
        return normalised.to(input.dtype)

    @torch.no_grad()
    def _move_statistics(self, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None and self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        share = self.momentum
        if share is None:
            share = 1 / int(self.num_batches_tracked)
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_(variance.to(self.running_var.dtype), share)


class _Normalise(torch.autograd.Function):
    """(x − mean) / √(var + ε) by channel; two all_reduces forward, one backward."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        x = input.to(torch.promote_types(input.dtype, torch.float32))
        axes = [0, *range(2, x.ndim)]
        rows = x.new_tensor([x.numel() / x.shape[1]])
        sums = sum_over_ranks(torch.cat([x.sum(axes), rows]))
        count = sums[-1]
        mean = sums[:-1] / count
        centred = x - mean.view(_shape(x))
        variance = sum_over_ranks(centred.square().sum(axes)) / count
        scale = (variance + eps).rsqrt()
        normalised = centred * scale.view(_shape(x))
        ctx.save_for_backward(normalised, scale, count)
        ctx.dtype = input.dtype
        ctx.mark_non_differentiable(mean, variance, count)
        return normalised, mean, variance, count

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor, *_: Any) -> tuple[Tensor, None]:
        normalised, scale, count = ctx.saved_tensors
        axes = [0, *range(2, gradient.ndim)]
        local = torch.cat([gradient.sum(axes), (gradient * normalised).sum(axes)])
        means = (sum_over_ranks(local) / count).view(2, -1)
        mean, product = (part.view(_shape(gradient)) for part in means)
        result = (gradient - mean - normalised * product) * scale.view(_shape(gradient))
        return result.to(ctx.dtype), None


def _shape(x: Tensor) -> tuple[int, ...]:
    return (1, x.shape[1]) + (1,) * (x.ndim - 2)
