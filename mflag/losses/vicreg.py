"""VICReg for two views: a drop-in for the class of the same name in lightly."""

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.functional import mse_loss, relu

from mflag.errors import InputError
from mflag.losses.gathered_orthogonality import gather_rows, loss_of_gathered
from mflag.ops.arguments import check_backend, check_not_negative, check_tensor
from mflag.ops.orthogonality import DTYPES, orthogonality_loss
from mflag.ops.orthogonality_reference import Formula, OwnRows, widen


class VICRegLoss(nn.Module):
    """λ · invariance + μ · variance + ν · covariance of two views (Bardes et al., ICLR 2022).

        invariance  mean (z_a − z_b)²
        variance    ½ Σ over the views of mean_i max(0, 1 − √(var_i + ε)), var unbiased
        covariance  Σ over the views of Σ_{i≠j} cov_ij² / N, cov = x̃ᵀx̃/(B − 1)

    With B < N no N × N matrix is formed. Values and gradients are those of lightly. solo-learn
    does not halve the variance term: ``mu_param=50`` here is its 25.

    Args:
        lambda_param: λ.
        mu_param: μ.
        nu_param: ν.
        gather_distributed: take variance and covariance over the rows of all ranks; every rank
            needs as many. The gradient is times the world size, as in lightly, because the
            framework averages over the ranks.
        eps: ε.
        backend: a name from ``mflag.backends()`` for the covariance; None takes the fastest that
            runs here.

    Raises:
        InputError: a weight or ε is negative or no finite number, an unknown backend, or
            gather_distributed and this torch has no torch.distributed.
    """

    def __init__(
        self,
        lambda_param: float = 25.0,
        mu_param: float = 25.0,
        nu_param: float = 1.0,
        gather_distributed: bool = False,
        eps: float = 0.0001,
        backend: str | None = None,
    ) -> None:
        """Check and keep the arguments."""
        super().__init__()
        weights = {"lambda_param": lambda_param, "mu_param": mu_param, "nu_param": nu_param}
        for name, value in (weights | {"eps": eps}).items():
            check_not_negative(name, value)
        check_backend(backend, exists=True)
        if gather_distributed and not dist.is_available():
            raise InputError("gather_distributed is True; this torch has no torch.distributed")
        self.lambda_param = lambda_param
        self.mu_param = mu_param
        self.nu_param = nu_param
        self.gather_distributed = gather_distributed
        self.eps = eps
        self.backend = backend

    def forward(self, z_a: Tensor, z_b: Tensor) -> Tensor:
        """Return the loss: () float32, float64 for float64 input, also under autocast.

        Args:
            z_a: (B, ..., N) projections of the first view, any float dtype. With dimensions in
                between, the mean over their positions is taken.
            z_b: (B, ..., N) projections of the second view.

        Raises:
            InputError: shapes or dtypes do not fit, or there is a single row.
        """
        _check(z_a, z_b)
        with torch.autocast(z_a.device.type, enabled=False):
            z_a, z_b = widen(z_a), widen(z_b)
            variances, covariances = zip(*map(self._terms, (z_a, z_b)), strict=True)
            return (
                self.lambda_param * mse_loss(z_a, z_b)
                + self.mu_param * 0.5 * (variances[0] + variances[1])
                + self.nu_param * (covariances[0] + covariances[1])
            )

    def extra_repr(self) -> str:
        """Return the arguments for ``repr``."""
        return (
            f"lambda_param={self.lambda_param}, mu_param={self.mu_param}, "
            f"nu_param={self.nu_param}, gather_distributed={self.gather_distributed}"
        )

    def _terms(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return the variance and the covariance term of one view."""
        if self.gather_distributed and dist.is_initialized() and dist.get_world_size() > 1:
            everything, own = gather_rows(z)
            covariance = torch.stack(
                [
                    loss_of_gathered(
                        own_rows,
                        rows,
                        own,
                        dist.get_world_size(),
                        _covariance_of(rows),
                        backend=self.backend,
                    )
                    for own_rows, rows in zip(_positions(z), _positions(everything), strict=True)
                ]
            ).mean()
            return self._variance(_with_own_rows(everything, z, own)), covariance
        covariances = [
            orthogonality_loss(rows, **_covariance_of(rows)._asdict(), backend=self.backend)
            for rows in _positions(z)
        ]
        return self._variance(z), torch.stack(covariances).mean()

    def _variance(self, z: Tensor) -> Tensor:
        return relu(1 - (z.var(0) + self.eps).sqrt()).mean()


def _check(z_a: Tensor, z_b: Tensor) -> None:
    for name, z in (("z_a", z_a), ("z_b", z_b)):
        check_tensor(name, z)
        if z.dtype not in DTYPES:
            raise InputError(
                f"{name} has dtype {z.dtype}; give float16, bfloat16, float32 or float64"
            )
        if z.ndim < 2 or z.numel() == 0 or z.shape[0] < 2:
            raise InputError(f"{name} has shape {tuple(z.shape)}; give (B, ..., N) with B above 1")
    if z_a.shape != z_b.shape:
        raise InputError(
            f"z_a is {tuple(z_a.shape)} but z_b is {tuple(z_b.shape)}; give two views of one shape"
        )


def _positions(z: Tensor) -> tuple[Tensor, ...]:
    """Return the (B, N) latents of every position in between."""
    return (z,) if z.ndim == 2 else z.flatten(1, -2).unbind(1)


def _covariance_of(z: Tensor) -> Formula:
    return Formula("center", z.shape[0] - 1, 0.0, 1.0, 1 / z.shape[1], 0.0, 0.0)


def _with_own_rows(everything: Tensor, z: Tensor, own: OwnRows) -> Tensor:
    """Return all rows; this rank's have a graph, their gradient times the world size."""
    fixed = z.detach()
    scaled = fixed + dist.get_world_size() * (z - fixed)
    return torch.cat([everything[: own.first], scaled, everything[own.first + own.length :]])
