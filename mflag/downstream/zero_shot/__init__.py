"""Labels by sentences that affirm and deny them, without a labelled image."""

from mflag.downstream.request import SHARED_KEYS
from mflag.downstream.task import Task
from mflag.downstream.zero_shot.evaluation import check, check_data, run
from mflag.downstream.zero_shot.report import build_plots, lead, remarks, sections

PROTOCOLS = ("prompts",)
KEYS = SHARED_KEYS | {"label_policy", "prompts"}
ZERO_SHOT = Task(PROTOCOLS, KEYS, check, check_data, run, build_plots, lead, sections, remarks)
