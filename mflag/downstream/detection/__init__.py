"""Boxes around findings: a YOLOv3 head on frozen feature maps (extra ``detection``, AGPL-3.0)."""

from mflag.downstream.detection.evaluation import run
from mflag.downstream.detection.options import KEYS, PROTOCOLS, check, check_data
from mflag.downstream.detection.report import build_plots, lead, remarks, sections
from mflag.downstream.task import Task

DETECTION = Task(PROTOCOLS, KEYS, check, check_data, run, build_plots, lead, sections, remarks)
