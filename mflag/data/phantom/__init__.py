"""Generated chest X-ray studies: images, findings, masks and reports; no patient behind them."""

from mflag.data.phantom.findings import FINDINGS, LABELS, with_implied
from mflag.data.phantom.study import ATTRIBUTES, Lesion, Study, generate_study

__all__ = ["ATTRIBUTES", "FINDINGS", "LABELS", "Lesion", "Study", "generate_study", "with_implied"]
