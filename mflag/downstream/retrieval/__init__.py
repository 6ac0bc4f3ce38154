"""From an image to its report: where the right one stands among all reports of the test split."""

from mflag.downstream.request import SHARED_KEYS
from mflag.downstream.retrieval.evaluation import check, check_data, run
from mflag.downstream.retrieval.report import build_plots, lead, remarks, sections
from mflag.downstream.task import Task

PROTOCOLS = ("ranking",)
KEYS = SHARED_KEYS | {"label_policy"}
RETRIEVAL = Task(PROTOCOLS, KEYS, check, check_data, run, build_plots, lead, sections, remarks)
