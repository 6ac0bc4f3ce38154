"""What frozen encoders are good for: tasks, scores, intervals."""

from mflag.downstream.classification import CLASSIFICATION
from mflag.downstream.detection import DETECTION
from mflag.downstream.retrieval import RETRIEVAL
from mflag.downstream.segmentation import SEGMENTATION
from mflag.downstream.task import Task
from mflag.downstream.zero_shot import ZERO_SHOT

TASKS: dict[str, Task] = {
    "classification": CLASSIFICATION,
    "segmentation": SEGMENTATION,
    "detection": DETECTION,
    "retrieval": RETRIEVAL,
    "zero_shot": ZERO_SHOT,
}

__all__ = ["TASKS"]
