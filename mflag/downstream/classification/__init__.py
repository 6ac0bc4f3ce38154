"""Findings, and what no report mentions: linear probes of frozen features, and fine-tuning."""

from mflag.downstream.classification.evaluation import run
from mflag.downstream.classification.options import KEYS, PROTOCOLS, check, check_data
from mflag.downstream.classification.report import build_plots, lead, remarks, sections
from mflag.downstream.task import Task

CLASSIFICATION = Task(PROTOCOLS, KEYS, check, check_data, run, build_plots, lead, sections, remarks)
