"""LARS as a torch optimizer: one class, every published variant."""

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from mflag.errors import InputError
from mflag.ops.arguments import check_backend
from mflag.ops.huge_pages import zeros_like_on_huge_pages
from mflag.ops.lars import lars_step_
from mflag.ops.lars_carried import can_carry, lars_step_carried_
from mflag.ops.lars_rule import LarsRule, check_number
from mflag.optim.lars_exchange import (
    STATE_KEYS,
    buffer_factor,
    merged_group,
    renamed_state,
    with_foreign_names,
)
from mflag.optim.lars_presets import preset_options
from mflag.optim.weight_norms import WeightNorms

_RULE = tuple(field.name for field in fields(LarsRule))


class GradientError(InputError, RuntimeError):
    """A gradient of a kind that LARS does not take; a RuntimeError as in torch's optimizers."""


class LARS(torch.optim.Optimizer):
    """Layer-wise adaptive rate scaling (You, Gitman, Ginsburg 2017), in any published variant.

    Without options this is lightly's formula with momentum 0.9, where lightly's own default is 0:
    a group with weight decay 0 is plain SGD (pass ``adapt_without_decay=True`` to adapt it too).
    :meth:`preset` gives the others.
    The formula of every option stands in :class:`mflag.ops.lars_rule.LarsRule`.

    Every option may also be set per parameter group. The state holds ``momentum_buffer`` (``mu``
    for ``fair`` and ``authors``) and nothing else. Works with GradScaler: a step with non-finite
    gradients writes nothing.
    """

    _step_supports_amp_scaling = True

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor,
        momentum: float = 0.9,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        trust_coefficient: float = 1e-3,
        eps: float = 1e-8,
        *,
        norm: str = "separate",
        zero_norm: str = "plain",
        trust_clip: bool = False,
        clip_zero_norm: bool = False,
        exclude: str = "none",
        adapt_without_decay: bool = False,
        lr_in_momentum: bool = False,
        state_key: str = "momentum_buffer",
        maximize: bool = False,
        foreach: bool | None = None,
        carry_weight_norms: bool = False,
        backend: str | None = None,
    ) -> None:
        """Take the parameters and the options.

        Args:
            params: tensors, named tensors, or dicts of parameter groups.
            lr: γ, 0 or more; a number or a tensor of one element.
            momentum: in [0, 1).
            dampening: in [0, 1]; the first step of a parameter is never damped.
            weight_decay: 0 or more.
            nesterov: look one step ahead; needs momentum and no dampening.
            trust_coefficient: η.
            eps: ε in the denominator of the trust ratio.
            norm: ``separate`` | ``decayed`` | ``momentum``: what the trust ratio divides by.
            zero_norm: ``plain`` | ``keep_decay``: the step of a tensor with a zero norm.
            trust_clip: cap the trust ratio at 1 / γ's worth: min(q / γ, 1).
            clip_zero_norm: cap it for a zero norm too.
            exclude: ``none`` | ``ndim<=1`` | ``ndim==1`` | ``all``: tensors that get plain SGD.
            adapt_without_decay: adapt groups with weight decay 0.
            lr_in_momentum: γ enters before the momentum buffer.
            state_key: ``momentum_buffer`` | ``mu``: the buffer's name in the state.
            maximize: climb instead of descend.
            foreach: True is ``backend="foreach"``, torch's foreach operations. False and None leave
                the choice to ``backend``.
            carry_weight_norms: keep ‖w‖ from one step for the next instead of reading w for it.
                Only with norm ``separate``, and only the Triton kernels do so, which ``backend``
                None then takes on a GPU: six streams instead of seven, with one launch more.
                Elsewhere nothing changes: the CPU kernel reads a weight once for its norm and its
                update. Writes by others between steps are found before the weight is updated: the
                step is taken with the right norm (parts of a tensor that had begun with the wrong
                one go back first, exact up to rounding), a warning follows at the next step, and
                nothing is carried any more. See :class:`mflag.optim.weight_norms.WeightNorms`.
            backend: a name from ``mflag.backends()``; None takes the fastest that runs here.

        Raises:
            InputError: an option is out of range; the message names it.
        """
        defaults = {
            name: value
            for name, value in locals().items()
            if name in (*_RULE, "lr", "state_key", "carry_weight_norms", "backend")
        }
        _take_foreach(defaults, foreach)
        self._started: dict[Tensor, Tensor] = {}
        self._norms = WeightNorms()
        super().__init__(params, defaults)

    @classmethod
    def preset(cls, name: str, params: ParamsT, *, lr: float | Tensor, **overrides: Any) -> "LARS":
        """Build a published variant.

        Args:
            name: ``paper2017``, ``lamb_paper``, ``apex_larc``, ``timm``, ``fair``, ``solo``,
                ``lightly``, ``mlperf`` or ``authors``; see :mod:`mflag.optim.lars_presets`.
            params: as in the constructor.
            lr: as in the constructor.
            **overrides: keyword arguments of the constructor, or the source's names for them
                (timm's ``always_adapt``, apex's ``clip``, ...).

        Raises:
            InputError: an unknown preset, or an option out of range.
        """
        return cls(params, lr=lr, **preset_options(name, overrides))

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a parameter group; options that it leaves out are the optimizer's.

        Raises:
            InputError: an option is out of range; the message names it.
        """
        _take_foreach(param_group, param_group.pop("foreach", None))
        _check_options(self.defaults | param_group)
        self._norms.forget()
        super().add_param_group(param_group)

    @torch.no_grad()
    def step(  # type: ignore[override]
        self, closure: Callable[[], float] | None = None
    ) -> float | None:
        """Update every parameter that has a gradient.

        Args:
            closure: evaluates the model again and returns the loss.

        Returns:
            What ``closure`` returned, or None.

        Raises:
            GradientError: a gradient is sparse or complex; nothing was written.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        found_inf = getattr(self, "found_inf", None)
        # Elsewhere the device decides, without a read-back; here it costs nothing to look.
        if found_inf is not None and found_inf.device.type == "cpu" and bool(found_inf):
            return loss
        rows = [
            [(i, p, g) for i, p in enumerate(group["params"]) if (g := p.grad) is not None]
            for group in self.param_groups
        ]
        for number, (group, taken) in enumerate(zip(self.param_groups, rows, strict=True)):
            _check_gradients(number, group, taken)
        if any(group["carry_weight_norms"] for group in self.param_groups):
            self._norms.look()
        for group, taken in zip(self.param_groups, rows, strict=True):
            self._step_group(group, [p for _, p, _ in taken], [g for _, _, g in taken])
        return loss

    def _step_group(self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor]) -> None:
        buffers, started = self._buffers(group, params)
        options = {name: group[name] for name in ("lr", *_RULE)} | {
            name: getattr(self, name, None) for name in ("grad_scale", "found_inf")
        }
        if not (group["carry_weight_norms"] and self._norms.is_on):
            lars_step_(params, grads, buffers, started=started, backend=group["backend"], **options)
            return
        rows: dict[torch.device | None, list[int]] = {}
        for i, p in enumerate(params):
            carries = can_carry([p, grads[i], *buffers[i : i + 1]], group["backend"])
            rows.setdefault(p.device if carries else None, []).append(i)
        for device, chosen in rows.items():
            w, g, m, flags = (
                [x[i] for i in chosen] if x else [] for x in (params, grads, buffers, started)
            )
            if device is None:
                lars_step_(w, g, m, started=flags, backend=group["backend"], **options)
            else:
                sums = [self._norms.sums_for(p) for p in w]
                flag = self._norms.flag_of(device)
                lars_step_carried_(w, g, m, sums, flag, started=flags, **options)
                self._norms.note(w)

    def _buffers(
        self, group: dict[str, Any], params: list[Tensor]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Momentum buffers and, where the first step differs, whether each has seen one."""
        key = group["state_key"]
        # The sources with ``mu`` create it without momentum too.
        if group["momentum"] == 0 and group["norm"] != "momentum" and key != "mu":
            return [], []
        buffers: list[Tensor] = []
        started: list[Tensor] = []
        is_damped = group["dampening"] != 0
        for p in params:
            state = self.state[p]
            m = state.get(key)
            is_new = m is None
            if is_new:
                m = state[key] = zeros_like_on_huge_pages(p)
            buffers.append(m)
            if is_damped:
                if p not in self._started:
                    flag = torch.full((), not is_new, dtype=torch.float32, device=p.device)
                    self._started[p] = flag
                started.append(self._started[p])
        return buffers, started

    def state_dict(self) -> dict[str, Any]:
        """Return the state, with group options also under the names that timm and others read.

        A buffer that no step has written, because GradScaler skipped them all, is left out.
        """
        saved = super().state_dict()
        groups = [with_foreign_names(group) for group in saved["param_groups"]]
        unwritten = {p for p, started in self._started.items() if not started}
        ids = [i for group in groups for i in group["params"]]
        params = [p for group in self.param_groups for p in group["params"]]
        skipped = {i for i, p in zip(ids, params, strict=True) if p in unwritten}
        state = {i: value for i, value in saved["state"].items() if i not in skipped}
        return {**saved, "state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: dict[str, Any], *, convert: str | None = None) -> None:
        """Load a state of ours, of timm's Lars, of lightly's LARS or of FAIR's.

        The variant stays this optimizer's; learning rate, momentum and the like are the file's.
        Buffers are copied and keep the file's dtype.

        Args:
            state_dict: not changed.
            convert: ``"lr"`` multiplies or divides buffers by the saved learning rate where the
                file's variant keeps it on the other side of the buffer.

        Raises:
            InputError: the saved momentum means something else in this variant.
            ValueError: groups or their sizes differ.
        """
        if convert not in (None, "lr"):
            raise InputError(f"convert is {convert!r}; give None or 'lr'")
        for key in ("state", "param_groups"):
            if not isinstance(state_dict, dict) or key not in state_dict:
                raise InputError(f"state_dict has no {key!r}; give what an optimizer's has")
        translated = self._translated(state_dict, convert)
        self._norms.forget()
        super().load_state_dict(translated)
        ids = [i for group in translated["param_groups"] for i in group["params"]]
        params = [p for group in self.param_groups for p in group["params"]]
        for i, p in zip(ids, params, strict=True):
            for key in STATE_KEYS:  # torch has cast them to the parameter's dtype
                if key in (saved := translated["state"].get(i, {})):
                    self.state[p][key] = saved[key].to(p.device)

    def _translated(self, state_dict: dict[str, Any], convert: str | None) -> dict[str, Any]:
        """A state dict in our names and this optimizer's variant."""
        groups, state = [], dict(state_dict["state"])
        if len(state_dict["param_groups"]) != len(self.param_groups):
            raise InputError(
                f"the state has {len(state_dict['param_groups'])} parameter groups; "
                f"this optimizer has {len(self.param_groups)}"
            )
        for own, saved in zip(self.param_groups, state_dict["param_groups"], strict=True):
            ids = [i for i in saved["params"] if i in state]
            factor = buffer_factor(own, saved, convert) if ids else 1.0
            for i in ids:
                state[i] = renamed_state(state[i], own["state_key"], factor)
            groups.append(merged_group(own, saved) | {"params": saved["params"]})
        return {**state_dict, "state": state, "param_groups": groups}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore from a pickle or a copy: a buffer that exists has seen a step."""
        super().__setstate__(state)
        self._started = {}
        if "_norms" not in self.__dict__:  # a copy; load_state_dict comes here too
            self._norms = WeightNorms()
        self._norms.forget()
        for group in self.param_groups:
            group.setdefault("carry_weight_norms", False)  # of a pickle that has none


def _take_foreach(options: dict[str, Any], foreach: bool | None) -> None:
    """Torch's name for one of our backends."""
    if not foreach:
        return
    if options.get("backend") not in (None, "foreach"):
        raise InputError(f"foreach is True and backend {options['backend']!r}; give one of them")
    options["backend"] = "foreach"


def _check_options(options: dict[str, Any]) -> None:
    lr = options["lr"]
    if isinstance(lr, Tensor) and lr.numel() != 1:
        raise InputError(f"lr has shape {tuple(lr.shape)}; give a tensor of one element")
    check_number("lr", lr, "0 or more", lambda x: x >= 0)
    LarsRule(**{name: options[name] for name in _RULE})
    check_backend(options["backend"], exists=True)
    if options["carry_weight_norms"] and options["norm"] != "separate":
        raise InputError(
            f"carry_weight_norms is True and norm {options['norm']!r}; "
            "that needs the weight itself, leave it False"
        )
    if options["state_key"] not in STATE_KEYS:
        raise InputError(
            f"state_key is {options['state_key']!r}; choose one of {', '.join(STATE_KEYS)}"
        )


def _check_gradients(
    number: int, group: dict[str, Any], taken: list[tuple[int, Tensor, Tensor]]
) -> None:
    if {g.layout for _, _, g in taken} <= {torch.strided} and not any(
        dtype.is_complex for dtype in {g.dtype for _, _, g in taken}
    ):
        return
    i, p, g = next(row for row in taken if row[2].layout != torch.strided or row[2].is_complex())
    name = f"parameter {i} of group {number}, shape {tuple(p.shape)}"
    if "param_names" in group:
        name = f"parameter {group['param_names'][i]!r}"
    kind = "complex" if g.is_complex() else "sparse"
    raise GradientError(f"the gradient of {name} is {kind}; LARS takes dense, real gradients")
