"""Generated chest X-ray studies: images, findings, masks and reports; no patient behind them."""

from mflag.data.phantom.patient import FINDINGS
from mflag.data.phantom.study import ATTRIBUTES, Lesion, Study, generate_study

__all__ = ["ATTRIBUTES", "FINDINGS", "Lesion", "Study", "generate_study"]
