"""Autograd of the ops that return ``(loss, *gradients)``: the backward scales what is saved."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mflag.errors import InputError
from mflag.ops.float32_products import float32_products
from mflag.ops.orthogonality_reference import widen


def register_saved_gradient(
    library: torch.library.Library, name: str, count: int, formula: Callable[..., Tensor]
) -> None:
    """Make the op ``name`` differentiable, twice and more.

    The first derivative is the saved gradient times the incoming scalar, rounded to the dtype of
    the input only then: a scale of 65536, as GradScaler's, overflows float16, and a small gradient
    underflows. A second derivative reaches the gradient outputs; it is a Hessian-vector product by
    differentiating ``formula``.

    Args:
        library: where the op was defined.
        name: ``mflag::x``, an op that returns ``(loss, *gradients)``, the gradients in the dtype of
            the arithmetic.
        count: how many leading arguments are tensors with a gradient, one output each.
        formula: the loss in plain PyTorch, with the arguments of the op.
    """

    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.set_materialize_grads(False)
        # Tensors among the rest (an index) are saved too: torch then refuses one that was changed.
        ctx.rest = [None if isinstance(x, Tensor) else x for x in inputs[count:]]
        ctx.places = [i for i, x in enumerate(inputs[count:]) if isinstance(x, Tensor)]
        others = [inputs[count + i] for i in ctx.places]
        ctx.save_for_backward(*inputs[:count], *output[1:], *others)

    def backward(ctx: Any, loss_gradient: Tensor | None, *gradient_gradients: Tensor | None) -> Any:
        inputs, saved = ctx.saved_tensors[:count], ctx.saved_tensors[count : 2 * count]
        rest = list(ctx.rest)
        for i, tensor in zip(ctx.places, ctx.saved_tensors[2 * count :], strict=True):
            rest[i] = tensor
        wanted = [i for i in range(count) if ctx.needs_input_grad[i]]
        result: list[Tensor | None] = [None] * count
        if loss_gradient is not None:
            for i in wanted:
                if saved[i].shape != inputs[i].shape:
                    raise InputError(f"need_grad is False in {name}; give True to differentiate it")
                result[i] = (loss_gradient * saved[i]).to(inputs[i].dtype)
        given = [i for i in range(count) if gradient_gradients[i] is not None and saved[i].numel()]
        if given:
            vectors = [gradient_gradients[i] for i in given]
            products = _hessian_vector(formula, inputs, rest, wanted, given, vectors)
            for i, product in zip(wanted, products, strict=True):
                first = result[i]
                result[i] = product if first is None else first + product
        return (*result, *[None] * len(rest))

    torch.library.register_autograd(name, backward, setup_context=setup_context, lib=library)


def _hessian_vector(
    formula: Callable[..., Tensor],
    inputs: tuple[Tensor, ...],
    rest: list[Any],
    wanted: list[int],
    given: list[int],
    vectors: list[Any],
) -> tuple[Tensor, ...]:
    again = torch.is_grad_enabled()  # a third derivative was asked for: keep the graph
    device = inputs[0].device.type
    with torch.enable_grad(), torch.autocast(device, enabled=False), float32_products(device):
        x = [widen(t if again else t.detach()) for t in inputs]
        x = x if again else [t.requires_grad_() for t in x]
        vectors = [v.to(x[i].dtype) for i, v in zip(given, vectors, strict=True)]
        first = torch.autograd.grad(
            formula(*x, *rest), [x[i] for i in given], create_graph=True, materialize_grads=True
        )
        second = torch.autograd.grad(
            first, [x[i] for i in wanted], vectors, create_graph=again, materialize_grads=True
        )
        return tuple(v.to(inputs[i].dtype) for i, v in zip(wanted, second, strict=True))
