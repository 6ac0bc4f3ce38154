"""Optimizer and learning-rate schedule."""

from dataclasses import dataclass

from mflag.config.option import option


@dataclass
class OptimConfig:
    """How weights move."""

    name: str = option("adamw", "adamw or lars")
    lr: float = option(1e-3, "peak learning rate")
    lr_batch_size: int | None = option(
        None, "lr is meant for this batch and scaled to the global one; null takes lr as it is"
    )
    weight_decay: float = option(0.01, "L2 (lars) or decoupled (adamw)")
    decay_1d: bool = option(False, "decay biases and BatchNorm too")
    momentum: float = option(0.9, "of lars")
    lars_preset: str = option("fair", "published variant of lars, see mflag.optim.LARS.preset")
    trust_coefficient: float | None = option(None, "η of lars; null takes the preset's own")
    schedule: str = option("cosine", "by step: constant, cosine, or cosine_restarts")
    warmup_epochs: float = option(0.0, "linear warm-up, epochs")
    restart_epochs: float = option(1.0, "period of cosine_restarts, epochs")
    min_lr: float = option(0.0, "where the cosine ends, as a share of lr")
