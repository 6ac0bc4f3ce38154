"""State dicts of LARS that other classes read, and theirs read by ours."""

from typing import Any

from torch import Tensor

from mflag.errors import InputError
from mflag.optim.lars_presets import PRESETS

STATE_KEYS = ("momentum_buffer", "mu")
# What makes a variant what it is: always the constructor's, never the file's.
_STRUCTURE = (
    "norm",
    "zero_norm",
    "clip_zero_norm",
    "exclude",
    "adapt_without_decay",
    "lr_in_momentum",
    "state_key",
)
_OF_A_MACHINE = ("backend", "carry_weight_norms")
_TUNABLE = ("trust_coefficient", "eps", "trust_clip")
_FOREIGN = ("trust_coeff", "eta", "always_adapt", "weight_decay_filter", "lars_adaptation_filter")


def with_foreign_names(group: dict[str, Any]) -> dict[str, Any]:
    """Return a group's options under our names and those that timm, Barlow Twins and others read.

    The forced backend stays out: it belongs to a machine, not to a run. So do carried norms.
    """
    written = {key: value for key, value in group.items() if key not in _OF_A_MACHINE}
    is_filtered = group["exclude"] != "none"
    return written | {
        "trust_coeff": group["trust_coefficient"],
        "eta": group["trust_coefficient"],
        "always_adapt": group["adapt_without_decay"],
        "weight_decay_filter": is_filtered,
        "lars_adaptation_filter": is_filtered,
    }


def merged_group(own: dict[str, Any], saved: dict[str, Any]) -> dict[str, Any]:
    """Return the options to go on with: the file's, in the formula of the optimizer.

    Learning rate, momentum and the like come from the file. η, ε and clipping do too if the file
    was written by the same variant; the variant itself is the optimizer's.
    """
    saved = _in_our_names(saved)
    same = all(saved.get(key, own[key]) == own[key] for key in _STRUCTURE if key != "state_key")
    kept = {*_OF_A_MACHINE, *_STRUCTURE} | (set() if same else set(_TUNABLE))
    return own | {key: value for key, value in saved.items() if key not in kept}


def buffer_factor(own: dict[str, Any], saved: dict[str, Any], convert: str | None) -> float:
    """Return what saved momentum buffers are multiplied by to mean the same here.

    Args:
        own: the optimizer's group.
        saved: the file's group.
        convert: ``"lr"`` to move the learning rate of the last step into or out of the buffer.

    Raises:
        InputError: the buffers mean something else here.
    """
    saved = _in_our_names(saved)
    if (saved.get("norm") == "momentum") != (own["norm"] == "momentum"):
        raise InputError(
            f"the saved momentum is of norm={saved.get('norm', 'separate')!r}, this optimizer has "
            f"norm={own['norm']!r}; start without the saved state"
        )
    was_inside = saved.get("lr_in_momentum", False)
    if was_inside == own["lr_in_momentum"]:
        return 1.0
    if convert != "lr":
        raise InputError(
            f"the saved momentum has lr_in_momentum={was_inside}, this optimizer has "
            f"{own['lr_in_momentum']}; pass convert='lr' (exact while lr is constant)"
        )
    lr = float(saved["lr"])
    if lr == 0:
        raise InputError("the saved lr is 0; momentum cannot be converted by it")
    return 1 / lr if was_inside else lr


def renamed_state(state: dict[str, Any], key: str, factor: float) -> dict[str, Any]:
    """Return one parameter's saved state with its buffer under ``key``, copied and scaled."""
    renamed = {}
    for name, value in state.items():
        if name in STATE_KEYS and isinstance(value, Tensor):
            renamed[key] = value.clone() if factor == 1.0 else value * factor
        elif name not in STATE_KEYS:  # an absent buffer may be saved as None
            renamed[name] = value
    return renamed


def _in_our_names(saved: dict[str, Any]) -> dict[str, Any]:
    """A group of our own file, of timm's Lars, of lightly's LARS or of another, as ours."""
    if "norm" in saved:
        return {key: value for key, value in saved.items() if key not in _FOREIGN}
    shared = {key: value for key, value in saved.items() if key not in (*_FOREIGN, "foreach")}
    if "trust_coeff" in saved:
        return _formula("timm") | shared | {
            "trust_coefficient": saved["trust_coeff"],
            "adapt_without_decay": saved["always_adapt"],
        }  # fmt: skip
    if "trust_coefficient" in saved and "eps" in saved:
        return _formula("lightly") | shared
    if "eta" in saved:
        shared["trust_coefficient"] = saved["eta"]
    return shared


def _formula(preset: str) -> dict[str, Any]:
    plain = {"norm": "separate", "clip_zero_norm": False, "exclude": "none",
             "adapt_without_decay": False, "lr_in_momentum": False}  # fmt: skip
    return plain | PRESETS[preset]
