"""Autograd of the ops that return ``(loss, *gradients)``: the backward scales what is saved."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mflag.errors import InputError


def register_saved_gradient(
    library: torch.library.Library, name: str, count: int, formula: Callable[..., Tensor]
) -> None:
    """Make the op ``name`` differentiable, twice and more.

    The first derivative is the saved gradient times the incoming scalar. A second derivative
    reaches the gradient outputs; it is a Hessian-vector product by differentiating ``formula``.

    Args:
        library: where the op was defined.
        name: ``mflag::x``, an op that returns ``(loss, *gradients)``.
        count: how many leading arguments are tensors with a gradient, one output each.
        formula: the loss in plain PyTorch, with the arguments of the op.
    """

    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.set_materialize_grads(False)
        ctx.rest = inputs[count:]
        ctx.save_for_backward(*inputs[:count], *output[1:])

    def backward(ctx: Any, loss_gradient: Tensor | None, *gradient_gradients: Tensor | None) -> Any:
        inputs, saved = ctx.saved_tensors[:count], ctx.saved_tensors[count:]
        wanted = [i for i in range(count) if ctx.needs_input_grad[i]]
        result: list[Tensor | None] = [None] * count
        if loss_gradient is not None:
            for i in wanted:
                if saved[i].shape != inputs[i].shape:
                    raise InputError(f"need_grad is False in {name}; give True to differentiate it")
                result[i] = loss_gradient * saved[i]
        given = [i for i in range(count) if gradient_gradients[i] is not None and saved[i].numel()]
        if given:
            vectors = [gradient_gradients[i] for i in given]
            products = _hessian_vector(formula, inputs, ctx.rest, wanted, given, vectors)
            for i, product in zip(wanted, products, strict=True):
                first = result[i]
                result[i] = product if first is None else first + product
        return (*result, *[None] * len(ctx.rest))

    torch.library.register_autograd(name, backward, setup_context=setup_context, lib=library)


def _hessian_vector(
    formula: Callable[..., Tensor],
    inputs: tuple[Tensor, ...],
    rest: tuple[Any, ...],
    wanted: list[int],
    given: list[int],
    vectors: list[Any],
) -> tuple[Tensor, ...]:
    again = torch.is_grad_enabled()  # a third derivative was asked for: keep the graph
    with torch.enable_grad(), torch.autocast(inputs[0].device.type, enabled=False):
        x = inputs if again else tuple(t.detach().requires_grad_() for t in inputs)
        first = torch.autograd.grad(
            formula(*x, *rest), [x[i] for i in given], create_graph=True, materialize_grads=True
        )
        return torch.autograd.grad(
            first, [x[i] for i in wanted], vectors, create_graph=again, materialize_grads=True
        )
