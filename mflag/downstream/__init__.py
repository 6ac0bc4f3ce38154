"""What frozen encoders are good for: tasks, scores, intervals."""

from mflag.downstream.classification import CLASSIFICATION
from mflag.downstream.detection import DETECTION
from mflag.downstream.segmentation import SEGMENTATION
from mflag.downstream.task import Task

TASKS: dict[str, Task] = {
    "classification": CLASSIFICATION,
    "segmentation": SEGMENTATION,
    "detection": DETECTION,
}

__all__ = ["TASKS"]
