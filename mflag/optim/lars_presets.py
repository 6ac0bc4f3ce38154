"""The published LARS variants: what each fixes, what its source calls it, where it is from.

A preset fixes the formula. Momentum is 0.9 and weight decay 0 in every preset unless passed,
whatever the source's own constructor would take.
"""

from typing import Any

from mflag.errors import InputError

# Paper: the ratio of Algorithm 1; q = 1 at a zero norm from NVCaffe's SGDSolver::GetLocalRate.
# Learning rate inside the buffer. You, Gitman, Ginsburg 2017, arXiv 1708.03888.
_PAPER2017 = {
    "eps": 0.0,
    "norm": "separate",
    "zero_norm": "keep_decay",
    "adapt_without_decay": True,
    "lr_in_momentum": True,
}
# The momentum's norm divides, the first step moves ‖w‖·γ. The paper leaves a zero norm undefined;
# here q = 1. You et al. 2019, arXiv 1904.00962, Algorithm 1.
_LAMB_PAPER = {
    "trust_coefficient": 1.0,
    "eps": 0.0,
    "norm": "momentum",
    "zero_norm": "keep_decay",
    "adapt_without_decay": True,
}
# NVIDIA/apex:apex/parallel/LARC.py around torch's SGD.
_APEX_LARC = {
    "trust_coefficient": 0.02,
    "eps": 1e-8,
    "zero_norm": "plain",
    "trust_clip": True,
    "adapt_without_decay": True,
}
# timm:timm/optim/lars.py 1.0.31.
_TIMM = {"eps": 1e-8, "zero_norm": "keep_decay", "clip_zero_norm": True}
# facebookresearch/moco-v3:moco/optimizer.py and mae:util/lars.py.
_FAIR = {
    "eps": 0.0,
    "norm": "decayed",
    "zero_norm": "keep_decay",
    "exclude": "ndim<=1",
    "adapt_without_decay": True,
    "state_key": "mu",
}
# vturrisi/solo-learn:solo/utils/lars.py.
_SOLO = {"eps": 1e-8, "zero_norm": "plain", "adapt_without_decay": True}
# lightly:lightly/utils/lars.py 1.6.0.
_LIGHTLY = {"eps": 1e-8, "zero_norm": "plain", "adapt_without_decay": False}
# mlcommons/training:image_classification/tensorflow2/lars_optimizer.py, whose skip list by name
# (batch normalisation, biases) is here: at most 1 dimension. For others, exclude="all" in a group.
_MLPERF = {**_PAPER2017, "exclude": "ndim<=1"}
# cheliu-computation/M-FLAG-MICCAI2023:utils/utils_optimizer.py, both filters off as there. The
# authors' pretrain/main.py trains with AdamW and does not use it.
_AUTHORS = {**_FAIR, "exclude": "none"}

PRESETS: dict[str, dict[str, Any]] = {
    "paper2017": _PAPER2017,
    "lamb_paper": _LAMB_PAPER,
    "apex_larc": _APEX_LARC,
    "timm": _TIMM,
    "fair": _FAIR,
    "solo": _SOLO,
    "lightly": _LIGHTLY,
    "mlperf": _MLPERF,
    "authors": _AUTHORS,
}

# preset -> the source's keyword -> ours, with a translation of values where they differ.
_ONE_D = {True: "ndim==1", False: "none"}
SOURCE_NAMES: dict[str, dict[str, tuple[str, dict[Any, Any] | None]]] = {
    "apex_larc": {"clip": ("trust_clip", None)},
    "timm": {
        "trust_coeff": ("trust_coefficient", None),
        "always_adapt": ("adapt_without_decay", None),
    },
    "solo": {
        "eta": ("trust_coefficient", None),
        "clip_lars_lr": ("trust_clip", None),
        "exclude_bias_n_norm_lars": ("exclude", _ONE_D),
    },
    "authors": {"eta": ("trust_coefficient", None)},
}


def preset_options(name: str, overrides: dict[str, Any]) -> dict[str, Any]:
    """Return the keyword arguments of a preset, with the caller's own on top.

    Args:
        name: a key of ``PRESETS``.
        overrides: keyword arguments of ``LARS``, or the source's own names for them.

    Raises:
        InputError: the preset is unknown, or one thing is given under two names.
    """
    if not isinstance(name, str) or name not in PRESETS:
        raise InputError(f"LARS preset is {name!r}; choose one of {', '.join(PRESETS)}")
    given: dict[str, Any] = {}
    for key, value in overrides.items():
        ours, values = SOURCE_NAMES.get(name, {}).get(key, (key, None))
        if ours in given:
            raise InputError(f"{ours} is given twice; leave out {key!r}")
        given[ours] = value if values is None else values[bool(value)]
    return PRESETS[name] | given
