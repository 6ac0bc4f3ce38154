"""Optimizers and learning-rate schedules."""

from mflag.optim.lars import LARS
from mflag.optim.schedule import learning_rate_factor, set_learning_rate

__all__ = ["LARS", "learning_rate_factor", "set_learning_rate"]
