"""What every op and module answers to bad input: one line with argument, value, what is allowed."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad

from mflag.errors import InputError
from mflag.losses import (
    AlignmentLoss,
    BarlowTwinsLoss,
    GradientShare,
    MFLAGLoss,
    OrthogonalityLoss,
)
from mflag.ops import alignment_loss, barlow_twins_loss, lars_step_, orthogonality_loss
from mflag.optim import LARS
from mflag.optim.lars_presets import PRESETS

Z = torch.ones(3, 4)
ROWS = torch.tensor([0, 1, 2])
# What stands in for one (B, N) argument -> what the message says of it.
NO_LATENTS: dict[str, tuple[Any, str]] = {
    "list": ([[1.0]], "is of type list; give a tensor"),
    "array": (np.ones((3, 4)), "is of type ndarray; give a tensor"),
    "None": (None, "is of type NoneType; give a tensor"),
    "number": (1.0, "is of type float; give a tensor"),
    "0-d": (torch.ones(()), r"has shape \(\); give \(B, N\) with B and N above 0"),
    "1-d": (torch.ones(3), r"has shape \(3,\); give \(B, N\)"),
    "3-d": (torch.ones(3, 4, 1), r"has shape \(3, 4, 1\); give \(B, N\)"),
    "no rows": (torch.ones(0, 4), r"has shape \(0, 4\); give \(B, N\) with B and N above 0"),
    "no columns": (torch.ones(3, 0), r"has shape \(3, 0\); give \(B, N\) with B and N above 0"),
    "int64": (torch.ones(3, 4, dtype=torch.int64), "has dtype torch.int64; give float16, bfloat16"),
    "bool": (torch.ones(3, 4, dtype=torch.bool), "has dtype torch.bool; give float16"),
    "complex": (torch.ones(3, 4, dtype=torch.complex64), "has dtype torch.complex64; give"),
    "float8": (Z.to(torch.float8_e4m3fn), "has dtype torch.float8_e4m3fn; give float16"),
    "sparse": (Z.to_sparse(), "has layout torch.sparse_coo; give a tensor, dense"),
}
LATENTS: dict[str, tuple[str, Callable[[Any], object]]] = {
    "orthogonality_loss": ("z", orthogonality_loss),
    "OrthogonalityLoss": ("z", lambda z: OrthogonalityLoss()(z)),
    "alignment_loss-images": ("z_a", lambda z: alignment_loss(z, Z)),
    "alignment_loss-texts": ("z_t", lambda z: alignment_loss(Z, z)),
    "alignment_loss-table": ("z_t", lambda z: alignment_loss(Z, z, ROWS)),
    "AlignmentLoss": ("z_a", lambda z: AlignmentLoss()(z, Z)),
    "barlow_twins_loss-first": ("z_a", lambda z: barlow_twins_loss(z, Z)),
    "barlow_twins_loss-second": ("z_b", lambda z: barlow_twins_loss(Z, z)),
    "BarlowTwinsLoss": ("z_b", lambda z: BarlowTwinsLoss()(Z, z)),
    "MFLAGLoss-latents": ("z", lambda z: MFLAGLoss()(z, Z, Z)),
    "MFLAGLoss-images": ("z_a", lambda z: MFLAGLoss()(Z, z, Z)),
    "MFLAGLoss-texts": ("z_t", lambda z: MFLAGLoss()(Z, Z, z)),
}


def refused(message: str, call: Callable[..., object], *arguments: Any, **named: Any) -> None:
    with pytest.raises(InputError, match=message) as error:
        call(*arguments, **named)
    text = str(error.value)
    assert "\n" not in text and len(text) < 200 and "; " in text


@pytest.mark.parametrize("what", NO_LATENTS)
@pytest.mark.parametrize("where", LATENTS)
def test_what_is_no_batch_of_latents_is_named(where, what):
    (name, call), (value, message) = LATENTS[where], NO_LATENTS[what]
    refused(f"^{name} {message}", call, value)


INDICES: dict[str, tuple[Any, str]] = {
    "list": ([0, 1, 2], "index is of type list; give an int64 tensor"),
    "tuple": ((0, 1, 2), "index is of type tuple; give an int64 tensor"),
    "number": (1, "index is of type int; give an int64 tensor"),
    "array": (np.arange(3), "index is of type ndarray; give an int64 tensor"),
    "int32": (ROWS.int(), r"index is \(3,\) torch.int32; give \(3,\) torch.int64"),
    "float": (ROWS.float(), r"index is \(3,\) torch.float32; give \(3,\) torch.int64"),
    "2-d": (ROWS[None], r"index is \(1, 3\) torch.int64; give \(3,\) torch.int64"),
    "short": (ROWS[:2], r"index is \(2,\) torch.int64; give \(3,\) torch.int64"),
    "empty": (ROWS[:0], r"index is \(0,\) torch.int64; give \(3,\) torch.int64"),
    "too high": (ROWS + 1, "index holds 3; the table has rows 0 to 2"),
    "negative": (ROWS - 1, "index holds -1; the table has rows 0 to 2"),
    "extreme": (ROWS - 2**63, r"index holds -\d+; the table has rows 0 to 2"),
    "meta": (ROWS.to("meta"), "inputs are on cpu, cpu, meta; give all of them on one device"),
}


@pytest.mark.parametrize("where", LATENTS)
def test_a_forward_mode_tangent_is_refused_and_not_dropped(where):
    name, call = LATENTS[where]
    with forward_ad.dual_level():
        message = f"{name} has a forward-mode tangent; differentiate by backward"
        refused(message, call, forward_ad.make_dual(Z, Z))


@pytest.mark.parametrize("what", INDICES)
@pytest.mark.parametrize(
    "call",
    [alignment_loss, AlignmentLoss(), lambda a, t, i: MFLAGLoss()(Z, a, t, i)],
    ids=["alignment_loss", "AlignmentLoss", "MFLAGLoss"],
)
def test_what_is_no_index_of_the_table_is_named(call, what):
    index, message = INDICES[what]
    refused(message, call, Z, Z, index)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: alignment_loss(Z, torch.ones(9, 3), ROWS), "z_a has 4 columns but z_t has 3"),
        (lambda: alignment_loss(Z, torch.ones(9, 5), ROWS), "z_a has 4 columns but z_t has 5"),
        (lambda: alignment_loss(Z, torch.ones(2, 4)), "z_a has 3 rows but z_t has 2; give"),
        (lambda: alignment_loss(Z, Z.to("meta")), "inputs are on cpu, meta; give all of them"),
        (lambda: barlow_twins_loss(Z, Z.to("meta")), "z_a is on cpu but z_b is on meta; give both"),
        (lambda: barlow_twins_loss(Z, Z.double()), r"z_b is \(3, 4\) torch.float64; give two"),
        (lambda: barlow_twins_loss(Z, Z[:2]), r"z_b is \(2, 4\) torch.float32; give two views"),
        (
            lambda: alignment_loss(Z, Z.clone().requires_grad_(), ROWS),
            "table requires a gradient; give a frozen one",
        ),
    ],
)  # fmt: skip
def test_tensors_that_do_not_fit_each_other_are_named(call, message):
    refused(message, call)


NO_NUMBERS = ("x", None, [1.0], 1j, math.nan, math.inf, -math.inf, torch.ones(2))
NEGATIVE = (*NO_NUMBERS, -1e-9)
CHOICES = ("x", "", None, 3, ["cpu"], b"cpu")
PARAMETERS: list[tuple[str, Callable[..., object], str, tuple[Any, ...], str]] = [
    ("orthogonality_loss", lambda **k: orthogonality_loss(Z, **k), name, values, allowed)
    for name, values, allowed in (
        ("target", NO_NUMBERS, "give a finite number"),
        ("factor", NO_NUMBERS, "give a finite number"),
        ("offdiag_weight", NEGATIVE, "give a finite number of 0 or more"),
        ("diagonal_weight", NEGATIVE, "give a finite number of 0 or more"),
        ("eps", NEGATIVE, "give a finite number of 0 or more"),
        ("scale", tuple(v for v in (*NEGATIVE, 0, 0.0) if v is not None), "give a number above 0"),
        ("norm", CHOICES, "choose one of none, center, sample, feature, standardize"),
        ("precision", CHOICES, "choose one of highest, tf32"),
    )
]
PARAMETERS += [
    ("OrthogonalityLoss", OrthogonalityLoss, *row[2:])
    for row in PARAMETERS
]  # fmt: skip
PARAMETERS += [
    ("OrthogonalityLoss", OrthogonalityLoss, "gradient_reduction", CHOICES, "choose one of mean"),
    ("alignment_loss", lambda **k: alignment_loss(Z, Z, **k), "factor", NO_NUMBERS, "give"),
    ("AlignmentLoss", AlignmentLoss, "factor", NO_NUMBERS, "give a finite number"),
    ("BarlowTwinsLoss", BarlowTwinsLoss, "lambda_param", NEGATIVE, "give a finite number of 0"),
    ("barlow_twins_loss", lambda **k: barlow_twins_loss(Z, Z, **k), "offdiag_weight", NEGATIVE,
     "give a finite number of 0 or more"),
    ("MFLAGLoss", MFLAGLoss, "orthogonality_weight", NO_NUMBERS, "give a finite number"),
    ("MFLAGLoss", MFLAGLoss, "alignment_weight", NO_NUMBERS, "give a finite number"),
    ("MFLAGLoss", MFLAGLoss, "orthogonality", ("paper", 2.0, OrthogonalityLoss), "give a loss"),
    ("MFLAGLoss", MFLAGLoss, "alignment", ("paper", 2.0, AlignmentLoss), "give a loss module"),
    ("GradientShare", GradientShare, "share", (*NEGATIVE, 0.0), "give a number above 0"),
    ("GradientShare", GradientShare, "smoothing", (*NEGATIVE, 1.0), "give a number from 0 to"),
    ("GradientShare", GradientShare, "every", (0, -1, 1.5, "x", None), "give an integer of 1"),
]  # fmt: skip


def lars(**options: Any) -> LARS:
    return LARS([torch.nn.Parameter(Z.clone())], **{"lr": 0.1, **options})


def lars_step(**options: Any) -> None:
    w, g, m = Z.clone(), Z.clone(), Z.clone()
    try:
        lars_step_([w], [g], [m], **{"lr": 0.1, **options})
    finally:
        assert torch.equal(w, Z) and torch.equal(m, Z), "something was written"


NO_SWITCHES = ("x", None, 1, 0.0)
LARS_OPTIONS: list[tuple[str, tuple[Any, ...], str]] = [
    ("lr", (*NO_NUMBERS[:-1], -0.1, torch.tensor(-1.0), torch.tensor(1j)), "give .*0 or more"),
    ("lr", (torch.ones(2), torch.ones(0)), "give a tensor of one element"),
    ("momentum", (*NEGATIVE, 1.0, 1.5), "give .*0 or more and less than 1"),
    ("dampening", (*NEGATIVE, 1.5), "give .*0 to 1"),
    ("weight_decay", NEGATIVE, "give .*0 or more"),
    ("trust_coefficient", NEGATIVE, "give .*0 or more"),
    ("eps", NEGATIVE, "give .*0 or more"),
    ("norm", CHOICES, "choose one of separate, decayed, momentum"),
    ("zero_norm", CHOICES, "choose one of keep_decay, plain"),
    ("exclude", CHOICES, "choose one of none, ndim<=1, ndim==1, all"),
    *[
        (name, NO_SWITCHES, "give True or False")
        for name in ("nesterov", "trust_clip", "clip_zero_norm", "adapt_without_decay",
                     "lr_in_momentum", "maximize")
    ],
]  # fmt: skip
PARAMETERS += [
    (name, call, *row)
    for name, call in (("LARS", lars), ("lars_step_", lars_step))
    for row in LARS_OPTIONS
    if name == "LARS" or row[1] is not NO_SWITCHES
]
PARAMETERS += [
    ("LARS", lars, "state_key", CHOICES, "choose one of momentum_buffer, mu"),
    ("lars_step_", lars_step, "nesterov", ("x",), "give True or False"),
    ("lars_step_", lars_step, "grad_scale", (2.0, "x"), "give a tensor of one element, or None"),
    ("lars_step_", lars_step, "found_inf", (True, 1.0), "give a tensor of one element, or None"),
    ("lars_step_", lars_step, "found_inf", (torch.ones(2),), "give a tensor of one element"),
]
CASES = [
    pytest.param(call, name, value, allowed, id=f"{where}-{name}-{value!r}".replace("\n", ""))
    for where, call, name, values, allowed in PARAMETERS
    for value in values
]


@pytest.mark.parametrize("call, name, value, allowed", CASES)
def test_a_parameter_out_of_its_range_is_named(call, name, value, allowed):
    refused(f"^{name} (is|has shape) .*; {allowed}", call, **{name: value})


BACKEND_TAKERS: dict[str, Callable[[Any], object]] = {
    "orthogonality_loss": lambda backend: orthogonality_loss(Z, backend=backend),
    "alignment_loss": lambda backend: alignment_loss(Z, Z, backend=backend),
    "barlow_twins_loss": lambda backend: barlow_twins_loss(Z, Z, backend=backend),
    "lars_step_": lambda backend: lars_step(backend=backend),
    "OrthogonalityLoss": lambda backend: OrthogonalityLoss(backend=backend),
    "AlignmentLoss": lambda backend: AlignmentLoss(backend=backend),
    "LARS": lambda backend: lars(backend=backend),
    "LARS group": lambda backend: LARS(
        [{"params": [torch.nn.Parameter(Z.clone())], "backend": backend}], lr=0.1
    ),
}


@pytest.mark.parametrize("backend", ["tpu", 3, ["cpu"]], ids=repr)
@pytest.mark.parametrize("where", BACKEND_TAKERS)
def test_an_unknown_backend_is_named(where, backend):
    expected = r"^backend .* is unknown; choose one of reference, foreach, cpu, triton, cuda"
    refused(expected, BACKEND_TAKERS[where], backend)


@pytest.mark.parametrize("name", ["x", None, ["timm"], 3], ids=repr)
def test_an_unknown_preset_is_named(name):
    refused(r"^preset .* is unknown; choose one of paper", OrthogonalityLoss.preset, name)
    params = [torch.nn.Parameter(Z.clone())]
    refused(r"^LARS preset is .*; choose one of paper2017", LARS.preset, name, params, lr=0.1)


@pytest.mark.parametrize("call", [lars, lars_step, OrthogonalityLoss, AlignmentLoss])
def test_an_unknown_argument_is_named(call):
    with pytest.raises(TypeError, match="unexpected keyword argument 'momentun'"):
        call(momentun=0.9)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_refuses_what_the_class_refuses(preset):
    params = [torch.nn.Parameter(Z.clone())]
    refused("momentum is 1.0; give", LARS.preset, preset, params, lr=0.1, momentum=1.0)


def changed(place: int, tensor: Any) -> tuple[list[Any], ...]:
    given: tuple[list[Any], ...] = ([Z.clone()], [Z.clone()], [Z.clone()])
    given[place][0] = tensor
    return given


LISTS = ("params", "grads", "momentum_buffers")
NO_TENSORS: dict[str, tuple[Callable[[Tensor], Any], str]] = {
    "list": (Tensor.tolist, "is of type list; give a tensor"),
    "None": (lambda x: None, "is of type NoneType; give a tensor"),
    "int64": (Tensor.long, "is torch.int64; give real floats"),
    "complex": (lambda x: x * 1j, "is torch.complex64; give real floats"),
    "sparse": (Tensor.to_sparse, "is torch.sparse_coo; give a dense tensor"),
}


@pytest.mark.parametrize("what", NO_TENSORS)
@pytest.mark.parametrize("place", range(3), ids=LISTS)
def test_what_is_no_tensor_of_a_step_is_named(place, what):
    change, message = NO_TENSORS[what]
    refused(rf"^{LISTS[place]}\[0\] {message}", lars_step_, *changed(place, change(Z)), lr=0.1)


@pytest.mark.parametrize("place", [1, 2], ids=LISTS[1:])
def test_a_tensor_that_does_not_fit_its_weight_is_named(place):
    name = rf"^{LISTS[place]}\[0\]"
    refused(rf"{name} is \(4, 3\); give \(3, 4\)", lars_step_, *changed(place, Z.T), lr=0.1)
    refused(rf"{name} is on meta; give it", lars_step_, *changed(place, Z.to("meta")), lr=0.1)


@pytest.mark.parametrize("value", [Z, None, 1.0], ids=["tensor", "None", "number"])
@pytest.mark.parametrize("place", range(3), ids=LISTS)
def test_what_is_no_list_of_a_step_is_named(place, value):
    given: list[Any] = [[Z.clone()] for _ in range(3)]
    given[place] = value
    refused(f"^{LISTS[place]} is of type .*; give a list of tensors", lars_step_, *given, lr=0.1)


@pytest.mark.parametrize("state", [{}, None, [], {"state": {}}], ids=repr)
def test_what_is_no_state_of_an_optimizer_is_named(state):
    refused("^state_dict has no '.*'; give", lars().load_state_dict, state)


def test_the_latent_of_a_share_is_a_tensor():
    refused("^latent is of type list; give", GradientShare(), Z.sum(), Z.sum(), [[1.0]])
