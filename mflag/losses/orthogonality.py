"""The orthogonality loss as a module."""

from typing import Any, Self

import torch.distributed
from torch import Tensor, nn

from mflag.errors import InputError
from mflag.losses.gathered_orthogonality import REDUCTIONS, gathered_orthogonality_loss
from mflag.losses.presets import ORTHOGONALITY_PRESETS
from mflag.ops.arguments import check_backend
from mflag.ops.orthogonality import check_formula, orthogonality_loss
from mflag.ops.orthogonality_reference import Formula


class OrthogonalityLoss(nn.Module):
    """L = a[δ Σ_i (d_i − t)² + λ Σ_{i≠j} C_ij²], C = xᵀx/s, d_i = C_ii, x = z normalised.

    Args:
        norm: ``none``, ``center`` (columns of zero mean), ``sample`` (unit rows), ``feature`` (unit
            columns) or ``standardize`` (columns of zero mean and unit biased variance, 1e-5 inside
            the root).
        scale: s, a number above 0, or ``"batch"`` (or None): the number of rows of the Gram in each
            call.
        target: t of the diagonal.
        offdiag_weight: λ, 0 or more.
        factor: a.
        eps: smallest norm to divide by, as in ``torch.nn.functional.normalize``.
        gather: take the loss over the global batch of the default process group; every rank must
            give the same number of rows. The value is global on every rank.
        precision: ``highest``, or ``tf32`` to allow TF32 products on a GPU.
        backend: a name from ``mflag.backends()``; None takes the fastest that runs here.
        gradient_reduction: with ``gather``, what the framework does with the gradients of the
            ranks: ``mean`` (DistributedDataParallel) or ``sum``.
        diagonal_weight: δ; 0 leaves the covariance term of VICReg.
        equal_rows: with ``gather``: True when the caller makes sure that every rank gives as many
            rows; the ranks then do not ask each other in every call.

    Raises:
        InputError: a parameter is not one of the above.
    """

    def __init__(
        self,
        norm: str = "standardize",
        scale: float | str | None = "batch",
        target: float = 1.0,
        offdiag_weight: float = 0.0051,
        factor: float = 0.5,
        eps: float = 1e-12,
        gather: bool = False,
        precision: str = "highest",
        backend: str | None = None,
        gradient_reduction: str = "mean",
        diagonal_weight: float = 1.0,
        equal_rows: bool = False,
    ) -> None:
        """Check and keep the arguments."""
        super().__init__()
        scale = "batch" if scale is None else scale
        number = None if isinstance(scale, str) and scale == "batch" else scale
        formula = Formula(norm, number, target, offdiag_weight, factor, eps, diagonal_weight)  # type: ignore[arg-type]
        check_formula(formula, precision)
        check_backend(backend, exists=True)
        if gradient_reduction not in REDUCTIONS:
            raise InputError(
                f"gradient_reduction is {gradient_reduction!r}; "
                f"choose one of {', '.join(REDUCTIONS)}"
            )
        self.norm = norm
        self.scale = scale
        self.target = target
        self.offdiag_weight = offdiag_weight
        self.factor = factor
        self.eps = eps
        self.gather = gather
        self.precision = precision
        self.backend = backend
        self.gradient_reduction = gradient_reduction
        self.diagonal_weight = diagonal_weight
        self.equal_rows = equal_rows

    @classmethod
    def preset(cls, name: str, **overrides: Any) -> Self:
        """Return the loss of ``paper``, ``authors``, ``barlow`` or ``recommended``.

        Args:
            name: the preset (``mflag/losses/presets.py`` says what each one is).
            overrides: arguments of the constructor that replace the preset's.

        Raises:
            InputError: the preset or an argument does not exist.
        """
        if not isinstance(name, str) or name not in ORTHOGONALITY_PRESETS:
            raise InputError(
                f"preset {name!r} is unknown; choose one of {', '.join(ORTHOGONALITY_PRESETS)}"
            )
        return cls(**ORTHOGONALITY_PRESETS[name] | overrides)

    def forward(self, z: Tensor) -> Tensor:
        """Return the loss of latents ``z`` (B, N): () float32, float64 for float64."""
        scale = None if self.scale == "batch" else float(self.scale)
        formula = Formula(
            self.norm, scale, self.target, self.offdiag_weight, self.factor, self.eps,
            self.diagonal_weight,
        )  # fmt: skip
        is_gathered = self.gather and torch.distributed.is_initialized()
        if is_gathered and torch.distributed.get_world_size() > 1:
            return gathered_orthogonality_loss(
                z,
                self.gradient_reduction,
                formula,
                self.precision,
                self.backend,
                self.equal_rows,
            )
        return orthogonality_loss(
            z, **formula._asdict(), precision=self.precision, backend=self.backend
        )

    def extra_repr(self) -> str:
        """Return the formula's parameters for ``repr``, rare ones only where they were set."""
        rare = {
            "diagonal_weight": 1.0,
            "eps": 1e-12,
            "precision": "highest",
            "backend": None,
            "gradient_reduction": "mean",
            "equal_rows": False,
        }
        given = {key: getattr(self, key) for key in rare if getattr(self, key) != rare[key]}
        return (
            f"norm={self.norm!r}, scale={self.scale!r}, target={self.target}, "
            f"offdiag_weight={self.offdiag_weight}, factor={self.factor}, gather={self.gather}"
            + "".join(f", {key}={value!r}" for key, value in given.items())
        )
