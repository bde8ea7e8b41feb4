"""The multivariate Gaussian family with unknown mean and full covariance."""

import math
from dataclasses import dataclass

import pyro.distributions as dist
import torch
from torch import Tensor

from .bounds import LEAST_SHARE
from .exponential_family import ExponentialFamily
from .gaussian import Gaussian
from .label import Label, TargetScaler
from .links import inverse_square, inverse_square_inverse, soft_limit, soft_limit_inverse
from .tools import check_kind, check_support, stretched, weighted_mean

_MEAN_LIMIT, _SLOPE_LIMIT = 1e6, 1e3
# The floor is that of Gaussian, here of the standard deviation of a target given the others.
_SD_FLOOR, _LEAST_PRECISION = 1e-3, 1e-12
# At least this share of a target's precision is its own, whatever the others say: precision >= share * its diagonal as
# matrices. Log-linear pools keep that, and the Cholesky factor of a float32 matrix needs it.
_OWN_SHARE = 1e-4
_SHRINKAGE = 0.01


@dataclass(frozen=True)
class MultivariateGaussian(ExponentialFamily):
    r"""Gaussian family of d targets jointly, of mean :math:`\mu` and precision matrix :math:`\Lambda`.

    .. math:: \eta = (\Lambda\mu,\ -\tfrac12\Lambda_{ii},\ -\Lambda_{ij}),\quad T(y) = (y,\ y_i y_j)_{i \ge j},\quad
        A(\eta) = \tfrac12\mu^T\Lambda\mu - \tfrac12\log|\Lambda|,\quad h(y) = (2\pi)^{-d/2}

    Entries of matrices are those of the lower triangle, row by row. Log-linear pooling weights by precision matrices.
    A target of this family is a vector: parameters are (*B, K) with :math:`K = d + d(d + 1)/2`, targets (*B, d), and
    wherever `Family` says (*B,) of a target it is (*B, d) here, (*B, d, M) of several points. The label kernel is
    :math:`N(y, \beta I)`. Targets are standardised one by one for training; in these units the standard deviation of a
    target given the others lies between 1e-3 and 1e6, its mean within 1e6 of zero.

    Parameters
    ----------
    num_targets : int
        d; estimators that are given none take the number of columns of y.

    Examples
    --------
    >>> import torch
    >>> from probmix.families import MultivariateGaussian
    >>> pair = torch.distributions.MultivariateNormal(torch.zeros(2), torch.tensor([[1.0, 0.5], [0.5, 1.0]]))
    >>> eta = MultivariateGaussian(2).natural_params(pair)
    >>> MultivariateGaussian(2).distribution(eta).covariance_matrix
    tensor([[1.0000, 0.5000],
            [0.5000, 1.0000]])
    """

    num_targets: int = 1

    def __post_init__(self) -> None:
        if not isinstance(self.num_targets, int) or self.num_targets < 1:
            raise ValueError(f"`num_targets` must be a positive integer, the columns of y; got {self.num_targets!r}.")

    @property
    def name(self) -> str:
        return "multivariate-gaussian"

    @property
    def event_dim(self) -> int:
        return 1

    @property
    def num_params(self) -> int:
        d = self.num_targets
        return d + d * (d + 1) // 2

    def for_targets(self, y: Tensor, weights: Tensor | None = None) -> "MultivariateGaussian":
        return MultivariateGaussian(y.shape[1]) if y.ndim == 2 and self.num_targets == 1 else self

    # -- links ---------------------------------------------------------------------------------------------------------

    def constrain(self, raw: Tensor) -> Tensor:
        d = self.num_targets
        raw_mean, raw_sd, slopes = raw.split([d, d, d * (d - 1) // 2], -1)
        mean = soft_limit(raw_mean, _MEAN_LIMIT)
        root = inverse_square(raw_sd, _SD_FLOOR, _LEAST_PRECISION).sqrt()
        # rows of length one of a lower triangle: its square is a matrix of ones on the diagonal
        triangle = torch.zeros(*raw.shape[:-1], d, d, dtype=raw.dtype, device=raw.device)
        rows, columns = torch.tril_indices(d, d, -1, device=raw.device)
        triangle[..., rows, columns] = soft_limit(slopes, _SLOPE_LIMIT)
        triangle = triangle + torch.eye(d, dtype=raw.dtype, device=raw.device)
        triangle = triangle / triangle.norm(dim=-1, keepdim=True)
        shape = _OWN_SHARE * torch.eye(d, dtype=raw.dtype, device=raw.device)
        shape = shape + (1 - _OWN_SHARE) * triangle @ triangle.mT
        return _pack(mean, root.unsqueeze(-1) * shape * root.unsqueeze(-2))

    def unconstrain(self, eta: Tensor) -> Tensor:
        precision = self._precision(eta)
        mean = self._mean(eta)
        diagonal = precision.diagonal(dim1=-2, dim2=-1)
        shape = precision * diagonal.rsqrt().unsqueeze(-1) * diagonal.rsqrt().unsqueeze(-2)
        eye = torch.eye(self.num_targets, dtype=eta.dtype, device=eta.device)
        triangle = torch.linalg.cholesky((shape - _OWN_SHARE * eye) / (1 - _OWN_SHARE))
        slopes = triangle / triangle.diagonal(dim1=-2, dim2=-1).unsqueeze(-1)
        rows, columns = torch.tril_indices(self.num_targets, self.num_targets, -1, device=eta.device)
        raw_sd = inverse_square_inverse(diagonal, _SD_FLOOR, _LEAST_PRECISION)
        raw_slopes = soft_limit_inverse(slopes[..., rows, columns], _SLOPE_LIMIT)
        return torch.cat([soft_limit_inverse(mean, _MEAN_LIMIT), raw_sd, raw_slopes], -1)

    # -- distributions -------------------------------------------------------------------------------------------------

    def distribution(self, eta: Tensor) -> dist.TorchDistribution:
        return dist.MultivariateNormal(self._mean(eta), precision_matrix=self._precision(eta))

    def natural_params(self, distribution: torch.distributions.Distribution) -> Tensor:
        distribution = check_kind(distribution, torch.distributions.MultivariateNormal)
        return _pack(distribution.mean, distribution.precision_matrix)

    # -- the exponential-family form -----------------------------------------------------------------------------------

    def sufficient_statistics(self, y: Tensor) -> Tensor:
        return torch.cat([y, _lower(y.unsqueeze(-1) * y.unsqueeze(-2))], -1)

    def log_base_measure(self, y: Tensor) -> Tensor:
        return torch.full_like(y[..., 0], -0.5 * self.num_targets * math.log(2 * math.pi))

    def log_normalizer(self, eta: Tensor) -> Tensor:
        root, scale = self._factor(eta)
        z = (root.mT @ (self._mean(eta) / scale).unsqueeze(-1)).squeeze(-1)
        return 0.5 * z.square().sum(-1) - self._half_log_det(root, scale)

    def mean_params(self, eta: Tensor) -> Tensor:
        mean = self._mean(eta)
        second = self._covariance(eta) + mean.unsqueeze(-1) * mean.unsqueeze(-2)
        return torch.cat([mean, _lower(second)], -1)

    def _log_prob(self, eta: Tensor, y: Tensor) -> Tensor:
        root, scale = self._factor(eta)
        z = (root.mT @ ((y - self._mean(eta)) / scale).unsqueeze(-1)).squeeze(-1)
        return self.log_base_measure(z) + self._half_log_det(root, scale) - 0.5 * z.square().sum(-1)

    def residual(self, eta: Tensor, y: Tensor) -> Tensor:
        return self._statistics_of(y - self._mean(eta), eta)

    # -- the label side ------------------------------------------------------------------------------------------------

    def kernel_excess(self, y: Tensor, spread: float) -> Tensor:
        eye = torch.eye(self.num_targets, dtype=y.dtype, device=y.device)
        return torch.cat([torch.zeros_like(y), _lower(spread * eye).expand(*y.shape[:-1], -1)], -1)

    def averaging_excess(self, eta: Tensor, concentration: Tensor) -> Tensor:
        missing = (1 - concentration).unsqueeze(-1).unsqueeze(-1) * self._covariance(eta)
        return torch.cat([torch.zeros_like(missing[..., 0]), _lower(missing)], -1)

    def transported_residuals(self, y: Tensor, eta_points: Tensor, eta: Tensor) -> Tensor:
        # whitened residuals z keep their law in every location and covariance
        root_points, scale_points = self._factor(eta_points)
        root, scale = self._factor(eta)
        z = root_points.mT @ ((y.mT - self._mean(eta_points)) / scale_points).unsqueeze(-1)
        whitened = torch.linalg.solve_triangular(root.mT.unsqueeze(-3), z, upper=True).squeeze(-1)
        first = scale.unsqueeze(-2) * whitened
        return self._statistics_of(first, eta.unsqueeze(-2))

    def pool_labels(self, y: Tensor, weights: Tensor, spread: float = 0.0, pool: str = "log-linear") -> Label:
        if pool != "linear":
            return super().pool_labels(y, weights, spread, pool)
        y, weights = y.double(), weights.double()
        mean = (weights * y).sum(-1)
        points = self.sufficient_statistics(y.mT) - self.sufficient_statistics(mean).unsqueeze(-2)
        excess = (weights[..., 0, :].unsqueeze(-1) * points).sum(-2)
        return Label(mean, excess + self.kernel_excess(mean, spread))

    def calibrated_label(
        self, y: Tensor, weights: Tensor, eta: Tensor, spread: float = 0.0, eta_points: Tensor | None = None
    ) -> Label:
        y, weights, eta = y.double(), weights.double(), eta.detach().double()
        mean, kernel = (weights * y).sum(-1), self.kernel_excess(y[..., 0], spread)
        weights = weights[..., 0, :]
        if eta_points is None:
            return Label(mean, self.averaging_excess(eta, weights.square().sum(-1)) + kernel)
        residual = self.transported_residuals(y, eta_points.detach().double(), eta) + kernel.unsqueeze(-2)
        pooled = (weights.unsqueeze(-1) * residual).sum(-2)
        return Label(mean, pooled + (self.mean_params(eta) - self.sufficient_statistics(mean)))

    # -- target units --------------------------------------------------------------------------------------------------

    def scaler(self, y: Tensor, weights: Tensor | None = None, dim: int = 0) -> TargetScaler:
        return Gaussian().scaler(y, weights, dim)

    def rescale(self, eta: Tensor, scaler: TargetScaler) -> Tensor:
        eta = eta.double()
        precision = self._precision(eta) / (scaler.scale.unsqueeze(-1) * scaler.scale.unsqueeze(-2))
        return _pack(scaler.loc + scaler.scale * self._mean(eta), precision)

    def stretch(self, eta: Tensor, marginal: Tensor, factor: float) -> Tensor:
        eta = eta.double()
        mean = stretched(self._mean(eta), self._mean(marginal.double()), factor)
        precision = self._precision(eta) / factor**2
        return _pack(mean, precision.expand(*mean.shape, self.num_targets))

    def marginal_params(self, y: Tensor, weights: Tensor | None = None, dim: int = 0) -> Tensor:
        y = y.double()
        mean = weighted_mean(y, weights, dim)
        centred = y - mean
        outer = centred.unsqueeze(-1) * centred.unsqueeze(-2)
        covariance = weighted_mean(outer, None if weights is None else weights.unsqueeze(-1), dim)
        variance = covariance.diagonal(dim1=-2, dim2=-1)
        # enough for any correlations to leave each target its own share, which `unconstrain` needs
        shrinkage = max(_SHRINKAGE, 2 * _OWN_SHARE * (self.num_targets + 1))
        covariance = (1 - shrinkage) * covariance
        covariance = covariance + torch.diag_embed(shrinkage * variance + (10 * _SD_FLOOR) ** 2)
        return _pack(mean, torch.linalg.inv(covariance))

    def raw_bounds(
        self, y: Tensor, weights: Tensor | None = None, dim: int = 0, least: float = LEAST_SHARE
    ) -> tuple[Tensor, Tensor]:
        y = y.double()
        # the scale of a target given the others is at most that of the target alone, and may be as small
        low, high = (end.mT.flatten(-2) for end in Gaussian().raw_bounds(y, weights, dim, least))
        free = low.new_full((*low.shape[:-1], self.num_raw - low.shape[-1]), torch.inf)
        return torch.cat([low, -free], -1), torch.cat([high, free], -1)

    def check_targets(self, y: Tensor) -> None:
        if y.ndim < 2 or y.shape[-1] != self.num_targets:
            raise ValueError(
                f"targets of MultivariateGaussian({self.num_targets}) must be (n, {self.num_targets}), a vector for "
                f"each row; got shape {tuple(y.shape)}. Use 'gaussian' for a single target."
            )
        check_support(y, y.isfinite(), "Gaussian targets must be finite", "Drop or impute these rows.")

    # -- matrices ------------------------------------------------------------------------------------------------------

    def _precision(self, eta: Tensor) -> Tensor:
        d = self.num_targets
        precision = torch.zeros(*eta.shape[:-1], d, d, dtype=eta.dtype, device=eta.device)
        rows, columns = torch.tril_indices(d, d, device=eta.device)
        precision[..., rows, columns] = -eta[..., d:]
        return precision + precision.mT

    def _factor(self, eta: Tensor) -> tuple[Tensor, Tensor]:
        """Lower factor of the precision matrix with ones on its diagonal, and the scales that make it so."""
        precision = self._precision(eta)
        scale = precision.diagonal(dim1=-2, dim2=-1).rsqrt()
        return torch.linalg.cholesky(scale.unsqueeze(-1) * precision * scale.unsqueeze(-2)), scale

    @staticmethod
    def _half_log_det(root: Tensor, scale: Tensor) -> Tensor:
        """Half of the log-determinant of the precision matrix."""
        return (root.diagonal(dim1=-2, dim2=-1).log() - scale.log()).sum(-1)

    def _mean(self, eta: Tensor) -> Tensor:
        root, scale = self._factor(eta)
        return scale * torch.cholesky_solve((scale * eta[..., : self.num_targets]).unsqueeze(-1), root).squeeze(-1)

    def _covariance(self, eta: Tensor) -> Tensor:
        root, scale = self._factor(eta)
        return scale.unsqueeze(-1) * torch.cholesky_inverse(root) * scale.unsqueeze(-2)

    def _statistics_of(self, difference: Tensor, eta: Tensor) -> Tensor:
        """T(y) - grad A from the difference of y to the mean, without cancellation."""
        mean = self._mean(eta)
        cross = difference.unsqueeze(-1) * mean.unsqueeze(-2)
        square = difference.unsqueeze(-1) * difference.unsqueeze(-2) + cross + cross.mT
        return torch.cat([difference, _lower(square - self._covariance(eta))], -1)


def _pack(mean: Tensor, precision: Tensor) -> Tensor:
    """Natural parameters of a mean and a precision matrix."""
    halves = precision - 0.5 * torch.diag_embed(precision.diagonal(dim1=-2, dim2=-1))
    first = (precision @ mean.unsqueeze(-1)).squeeze(-1)
    return torch.cat([first, -_lower(halves)], -1)


def _lower(matrix: Tensor) -> Tensor:
    """The lower triangle, row by row: (*B, d, d) -> (*B, d (d + 1) / 2)."""
    rows, columns = torch.tril_indices(matrix.shape[-1], matrix.shape[-1], device=matrix.device)
    return matrix[..., rows, columns]
