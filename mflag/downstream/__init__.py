"""What frozen encoders are good for: tasks, scores, intervals."""

from mflag.downstream.classification import CLASSIFICATION
from mflag.downstream.task import Task

TASKS: dict[str, Task] = {"classification": CLASSIFICATION}

__all__ = ["TASKS"]
