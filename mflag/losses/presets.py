"""The published forms of the orthogonality loss, one dict each."""

from typing import Any

ORTHOGONALITY_PRESETS: dict[str, dict[str, Any]] = {
    # Eq. 3 of the paper: L2-normalised latents, C compared with the identity.
    "paper": {
        "norm": "sample",
        "scale": 1.0,
        "target": 1.0,
        "offdiag_weight": 1.0,
        "factor": 1.0,
    },
    # The released code (utils/utils_trainer.py): no normalisation, the Barlow Twins weight.
    "authors": {
        "norm": "none",
        "scale": "batch",
        "target": 1.0,
        "offdiag_weight": 0.0051,
        "factor": 0.5,
    },
    # Barlow Twins (Zbontar et al., 2021) with both views the same.
    "barlow": {
        "norm": "standardize",
        "scale": "batch",
        "target": 1.0,
        "offdiag_weight": 0.0051,
        "factor": 1.0,
    },
    # The form that helped at every label fraction in our prototype, at a gradient share near 0.1:
    # use it with GradientShare(0.1), not with a weight of 1.
    "recommended": {
        "norm": "standardize",
        "scale": "batch",
        "target": 1.0,
        "offdiag_weight": 0.0051,
        "factor": 0.5,
    },
}
