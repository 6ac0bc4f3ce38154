"""What frozen encoders are good for: tasks, scores, intervals."""

from mflag.downstream import classification

TASKS = {"classification": classification.run}

__all__ = ["TASKS"]
