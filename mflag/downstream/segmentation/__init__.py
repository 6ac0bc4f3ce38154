"""Pixels of lesions: a U-Net on a frozen encoder."""

from mflag.downstream.segmentation.evaluation import run
from mflag.downstream.segmentation.options import KEYS, PROTOCOLS, check, check_data
from mflag.downstream.segmentation.report import build_plots, lead, remarks, sections
from mflag.downstream.task import Task

SEGMENTATION = Task(PROTOCOLS, KEYS, check, check_data, run, build_plots, lead, sections, remarks)
