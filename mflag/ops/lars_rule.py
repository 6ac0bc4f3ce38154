"""What one LARS step computes: the numbers and switches that tell the published variants apart."""

import math
from dataclasses import dataclass

from mflag.errors import InputError

NORMS = ("separate", "decayed", "momentum")
ZERO_NORMS = ("keep_decay", "plain")
EXCLUDES = ("none", "ndim<=1", "ndim==1", "all")
_SWITCHES = (
    "nesterov",
    "trust_clip",
    "clip_zero_norm",
    "adapt_without_decay",
    "lr_in_momentum",
    "maximize",
)


@dataclass(frozen=True)
class LarsRule:
    """One LARS step, up to the learning rate.

    With weight w, gradient g, d = g + weight_decay·w, buffer m and learning rate γ::

        q  = trust_coefficient·‖w‖ / (‖g‖ + weight_decay·‖w‖ + eps)    norm="separate"
        q  = trust_coefficient·‖w‖ / (‖d‖ + eps)                       norm="decayed"
        u  = q·d             (γ·q·d with lr_in_momentum, then γ is 1 below)
        m ← momentum·m + (1 − dampening)·u                             first step: m ← u
        w ← w − γ·m          (nesterov: w − γ·(u + momentum·m))

    norm="momentum": m ← momentum·m + (1 − momentum)·d, w ← w − γ·q·m, and ‖m‖ divides in q.

    Attributes:
        momentum: in [0, 1).
        dampening: in [0, 1].
        weight_decay: 0 or more.
        nesterov: look one step ahead.
        trust_coefficient: η, 0 or more.
        eps: added to the denominator of q, 0 or more.
        norm: which norm divides: one of ``NORMS``.
        zero_norm: ``keep_decay``: q = 1 unless both norms are > 0 (so also for NaN).
            ``plain``: u = g unless both norms are != 0 (NaN passes).
        trust_clip: q ← min(q / γ, 1).
        clip_zero_norm: clip also the q = 1 of ``keep_decay``; ``plain`` has nothing to clip.
        exclude: which tensors get u = g, without decay: one of ``EXCLUDES``.
        adapt_without_decay: False: weight_decay = 0 gives u = g.
        lr_in_momentum: γ enters before the buffer.
        maximize: climb instead of descend.
    """

    momentum: float = 0.9
    dampening: float = 0.0
    weight_decay: float = 0.0
    nesterov: bool = False
    trust_coefficient: float = 1e-3
    eps: float = 1e-8
    norm: str = "separate"
    zero_norm: str = "plain"
    trust_clip: bool = False
    clip_zero_norm: bool = False
    exclude: str = "none"
    adapt_without_decay: bool = False
    lr_in_momentum: bool = False
    maximize: bool = False

    def __post_init__(self) -> None:
        """Refuse what has no meaning.

        Raises:
            InputError: a value is out of range, or two switches contradict each other.
        """
        for name in ("weight_decay", "trust_coefficient", "eps"):
            check_number(name, getattr(self, name), "0 or more", lambda x: x >= 0)
        check_number("momentum", self.momentum, "0 or more and less than 1", lambda x: 0 <= x < 1)
        check_number("dampening", self.dampening, "0 to 1", lambda x: 0 <= x <= 1)
        for name, allowed in (("norm", NORMS), ("zero_norm", ZERO_NORMS), ("exclude", EXCLUDES)):
            if getattr(self, name) not in allowed:
                raise InputError(
                    f"{name} is {getattr(self, name)!r}; choose one of {', '.join(allowed)}"
                )
        for name in _SWITCHES:
            if not isinstance(getattr(self, name), bool):
                raise InputError(f"{name} is {getattr(self, name)!r}; give True or False")
        if self.nesterov and (self.momentum == 0 or self.dampening != 0):
            raise InputError("nesterov is True; give a momentum above 0 and dampening 0")
        if self.norm == "momentum" and (self.nesterov or self.lr_in_momentum):
            raise InputError("norm is 'momentum'; leave nesterov and lr_in_momentum False")
        if self.dampening != 0 and (self.norm == "momentum" or self.lr_in_momentum):
            raise InputError(f"dampening is {self.dampening!r}; this variant has none, leave it 0")

    def is_plain(self, ndim: int) -> bool:
        """Whether a tensor of ``ndim`` dimensions gets u = g."""
        excluded = {
            "none": False,
            "ndim<=1": ndim <= 1,
            "ndim==1": ndim == 1,
            "all": True,
        }[self.exclude]
        return excluded or (self.weight_decay == 0 and not self.adapt_without_decay)


def check_number(name, value, allowed, is_allowed) -> None:
    """Refuse a hyper-parameter that is not a finite real number in its range.

    Args:
        name: of the argument, for the message.
        value: what was given.
        allowed: the range in words.
        is_allowed: the range as a predicate.

    Raises:
        InputError: the value is no number, not finite, or out of range.
    """
    try:
        number = float(value)
    except (TypeError, ValueError, RuntimeError):  # a complex tensor: the last
        raise InputError(f"{name} is {value!r}; give a number, {allowed}") from None
    if not math.isfinite(number) or not is_allowed(number):
        raise InputError(f"{name} is {value!r}; give {allowed}")
