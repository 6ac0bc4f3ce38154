"""The optimizer and its schedule, from the configuration."""

from collections.abc import Callable, Iterable

import torch
from torch import nn

from mflag.config.optim import OptimConfig
from mflag.optim import LARS
from mflag.optim.schedule import learning_rate_factor


def build_optimizer(
    modules: Iterable[nn.Module],
    config: OptimConfig,
    global_batch_size: int,
    *,
    grey_stem: nn.Parameter | None = None,
) -> torch.optim.Optimizer:
    """Return AdamW or LARS over all parameters, biases and BatchNorm in a group without decay.

    Args:
        modules: encoder and projector.
        config: hyper-parameters.
        global_batch_size: studies a step over all ranks; scales lr when ``lr_batch_size`` is set.
        grey_stem: one of the parameters that stands for the sum of three equal ones. AdamW gives it
            three times the rate and a third of the decay, which moves it as their sum would move
            (docs/decisions/0007-*); LARS goes by its norm and needs neither.

    Raises:
        InputError: a hyper-parameter or LARS preset that is not allowed.
    """
    parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
    stands_for_three = [p for p in parameters if p is grey_stem and config.name == "adamw"]
    matrices = [p for p in parameters if p.ndim > 1 and not any(p is q for q in stands_for_three)]
    vectors = [p for p in parameters if p.ndim <= 1]
    decay_1d = config.weight_decay if config.decay_1d else 0.0
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": vectors, "weight_decay": decay_1d},
    ]
    lr = config.lr
    if config.lr_batch_size is not None:
        lr *= global_batch_size / config.lr_batch_size
    if stands_for_three:
        decay = config.weight_decay / 3
        groups.append({"params": stands_for_three, "weight_decay": decay, "lr": 3 * lr})
    if config.name == "adamw":
        return torch.optim.AdamW(groups, lr=lr, fused=True)
    given = {"momentum": config.momentum}
    if config.trust_coefficient is not None:
        given["trust_coefficient"] = config.trust_coefficient
    return LARS.preset(config.lars_preset, groups, lr=lr, **given)


def learning_rate_by_step(
    config: OptimConfig, steps_per_epoch: int, total_steps: int, batches_per_epoch: float
) -> Callable[[int], float]:
    """Return the function from step (from 0) to the factor of the peak learning rate.

    Args:
        config: schedule and its lengths in epochs.
        steps_per_epoch: whole batches an epoch.
        total_steps: of the run.
        batches_per_epoch: studies over batch, not rounded: what a restart's period is made of, so
            that the authors' T_0 comes out to the step.

    Raises:
        InputError: unknown schedule, or a warm-up longer than the run.
    """
    restarts = config.schedule == "cosine_restarts"
    period = max(1, int(config.restart_epochs * batches_per_epoch)) if restarts else total_steps
    warmup = round(config.warmup_epochs * steps_per_epoch)

    def factor(step: int) -> float:
        return learning_rate_factor(
            step, period, min(warmup, total_steps), config.schedule, config.min_lr
        )

    factor(0)  # a wrong value is refused now, not in the first step
    return factor
