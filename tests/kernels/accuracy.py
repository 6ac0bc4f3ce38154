"""What a float32 kernel may be off: twice eager float32, or the rounding of the output."""

from typing import Any

import torch

from tests.oracles.orthogonality import unprojected_gradient, value_and_gradient

VALUE_FLOOR, GRADIENT_FLOOR = 2.4e-7, 4e-7


def check_accuracy(
    z: torch.Tensor, loss: torch.Tensor, gradient: torch.Tensor, **formula: Any
) -> None:
    """Compare with the float64 oracle, and with the oracle's formula in float32."""
    value, exact = value_and_gradient(z.double(), **formula)
    eager_value, eager = value_and_gradient(z.float(), **formula)
    error = float((loss.double() - value).abs())
    allowed = 2 * float((eager_value.double() - value).abs()), VALUE_FLOOR * float(value)
    assert error <= max(allowed), f"value: {error:.2g} of {float(value):.3g}"
    size = max(exact.norm(), 0.1 * unprojected_gradient(z.double(), **formula).norm())
    error = float((gradient.double() - exact).norm())
    allowed = 2 * float((eager.double() - exact).norm()), GRADIENT_FLOOR * float(size)
    assert error <= max(allowed), f"gradient: {error:.2g} of {float(size):.3g}"
