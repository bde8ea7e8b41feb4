"""Quantiles as a distribution: the cdf is linear between them."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints

from ._rows import RowValues, check_table
from .marginals import cdf
from .parts import widen
from .point_masses import atoms
from .scoring import ROUNDING, marginal_crps, marginal_crps_with_bound, marginal_window_crps


class QuantileFunction(dist.TorchDistribution):
    r"""The distribution whose quantile function interpolates given quantiles linearly.

    .. math:: F^{-1}(p) = x_k + \frac{p - \alpha_k}{\alpha_{k+1} - \alpha_k}\,(x_{k+1} - x_k),
              \qquad \alpha_k \le p \le \alpha_{k+1}

    Nothing is known beyond the outer quantiles, and nothing is made up: the mass :math:`\alpha_1` below the first lies
    on it, and the mass :math:`1 - \alpha_Q` above the last lies on that one.

    Parameters
    ----------
    quantiles : Tensor, (*B, Q)
        In float32 or float64, not decreasing along the last axis. The batch shape is B.
    levels : Tensor or sequence of float, (Q,)
        Increasing, between 0 and 1, both excluded; the same for all rows.

    Raises
    ------
    TypeError
        If the quantiles are not float32 or float64.
    ValueError
        If quantiles cross (sort them along the last axis first, which never makes a forecast worse), the levels do not
        increase between 0 and 1, there is not one for each quantile, or anything is not finite.

    Notes
    -----
    The CRPS is exact, see `probmix.scores.crps`; `probmix.scores.crps_quantiles` approximates the score of the unknown
    distribution behind the quantiles instead. With point masses at both ends there is no density, so `nll` raises
    NotImplementedError. The PIT of targets beyond the outer quantiles is 0 or 1; on
    them it is drawn from their mass.

    References
    ----------
    Chernozhukov, Fernández-Val and Galichon (2010), Quantile and probability curves without crossing, Econometrica 78,
    1093-1125.

    Examples
    --------
    >>> import torch
    >>> from probmix.distributions import QuantileFunction
    >>> forecast = QuantileFunction(torch.tensor([[-1.0, 0.0, 2.0]]), [0.1, 0.5, 0.9])
    >>> forecast.cdf(torch.tensor([1.0])), forecast.icdf(torch.tensor([0.3])), forecast.mean
    (tensor([0.7000]), tensor([-0.5000]), tensor([0.3000]))
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {"quantiles": constraints.real_vector}
    support = constraints.real
    has_rsample = True

    def __init__(self, quantiles: Tensor, levels: Tensor | Sequence[float], validate_args: bool | None = None) -> None:
        check_table("quantiles", quantiles, "levels")
        _check_order(quantiles)
        self.quantiles = quantiles
        # no tensor, for the dtype of a distribution is that of its tensors, and 1 - level would lose digits in float32
        self._levels = _checked_levels(levels, quantiles.shape[-1])
        super().__init__(quantiles.shape[:-1], validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        new = self._get_checked_instance(QuantileFunction, _instance)
        new.quantiles, new._levels = self.quantiles.expand(*batch_shape, self.quantiles.shape[-1]), self._levels
        super(QuantileFunction, new).__init__(torch.Size(batch_shape), validate_args=False)
        new._validate_args = self._validate_args
        return new

    @property
    def levels(self) -> Tensor:
        """The levels in float64, (Q,)."""
        return torch.tensor(self._levels, dtype=torch.float64, device=self.quantiles.device)

    @property
    def mean(self) -> Tensor:
        return self._mean().to(self.quantiles.dtype)

    @property
    def variance(self) -> Tensor:
        d = self.quantiles.double() - self._mean().unsqueeze(-1)
        left, right = d[..., :-1], d[..., 1:]
        return self._average((left.square() + left * right + right.square()) / 3, d.square()).to(self.quantiles.dtype)

    def _mean(self) -> Tensor:
        x = self.quantiles.double()
        return self._average(0.5 * (x[..., 1:] + x[..., :-1]), x)

    def _average(self, between: Tensor, at: Tensor) -> Tensor:
        """Mean of a function: `between` holds its means between neighbouring quantiles, `at` its values at them."""
        levels = self.levels
        return (levels.diff() * between).sum(-1) + levels[0] * at[..., 0] + (1 - levels[-1]) * at[..., -1]

    def log_prob(self, value: Tensor) -> Tensor:
        raise NotImplementedError(
            "a distribution between quantiles has point masses at the outer ones and no density, so neither log_prob "
            "nor NLL. Use `crps`."
        )

    def cdf(self, value: Tensor) -> Tensor:
        values = RowValues(value, self.batch_shape)
        y, levels = values.last.double(), self.levels
        x = self.quantiles.double().expand(*values.rows, -1).contiguous()
        above = torch.searchsorted(x.detach(), y.detach(), right=True)
        last = x.shape[-1] - 1
        # clamp gives the maximum where there is a single quantile
        upper = above.clamp(1, last)
        lower = (upper - 1).clamp(min=0)
        low, high = x.gather(-1, lower), x.gather(-1, upper)
        inside = (above > 0) & (above <= last)
        share = torch.where(inside, y - low, 0.0) / torch.where(inside, high - low, 1.0)
        between = torch.lerp(levels[lower], levels[upper], share)
        found = torch.where(inside, between, (above > 0).to(between.dtype))
        return values.back(found).to(self.quantiles.dtype)

    def icdf(self, value: Tensor) -> Tensor:
        q = RowValues(value, self.batch_shape)
        p, levels = q.last.double(), self.levels
        x = self.quantiles.double().expand(*q.rows, -1)
        last = x.shape[-1] - 1
        upper = torch.searchsorted(levels, p.detach()).clamp(max=last)
        lower = (upper - 1).clamp(min=0)
        width = torch.where(upper > lower, levels[upper] - levels[lower], 1.0)
        # a level beyond the outer ones gives the outer quantiles
        share = ((p - levels[lower]) / width).clamp(0, 1)
        low, high = x.gather(-1, lower), x.gather(-1, upper)
        found = torch.where((p >= 0) & (p <= 1), torch.lerp(low, high, share), torch.nan)
        return q.back(found).to(self.quantiles.dtype)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        return self.icdf(torch.rand(shape, dtype=torch.float64, device=self.quantiles.device))


def _checked_levels(levels: Tensor | Sequence[float], count: int) -> tuple[float, ...]:
    values = torch.as_tensor(levels, dtype=torch.float64)
    if values.shape != (count,):
        raise ValueError(
            f"`levels` must hold one number for each of the {count} quantiles on the last axis, "
            f"got shape {tuple(values.shape)}. Pass a sequence of {count}."
        )
    numbers = tuple(values.tolist())
    if not (numbers[0] > 0 and numbers[-1] < 1 and all(a < b for a, b in pairwise(numbers))):
        raise ValueError(
            f"`levels` must increase between 0 and 1, both excluded, got {list(numbers)}. "
            "Sort them, and the quantiles with them; 90 % is 0.9."
        )
    return numbers


def _check_order(quantiles: Tensor) -> None:
    crossing = (quantiles.diff(dim=-1) < 0).any(-1)
    if bool(crossing.any()):
        row = tuple(crossing.nonzero()[0].tolist())
        raise ValueError(
            f"the quantiles must not decrease from level to level, got {quantiles[row].tolist()} at row {row}. "
            "Sort them along the last axis, which never makes the forecast worse."
        )


@atoms.register
def _(distribution: QuantileFunction) -> tuple[Tensor, Tensor]:
    x, levels = distribution.quantiles.double(), distribution.levels
    # the mass beyond the outer quantiles lies on them, and that between two which coincide
    between = torch.where(x.diff() == 0, levels.diff(), 0.0)
    below, above = (torch.full_like(x[..., :1], float(mass)) for mass in (levels[0], 1 - levels[-1]))
    none = torch.zeros_like(between)
    masses = torch.cat([below, between], -1) + torch.cat([none, above], -1)
    return x.movedim(-1, 0), masses.movedim(-1, 0)


@marginal_crps.register
def _(distribution: QuantileFunction, y: Tensor) -> Tensor:
    return piecewise_linear_crps(distribution.quantiles.double(), distribution.levels, y)


@marginal_crps_with_bound.register
def _(distribution: QuantileFunction, y: Tensor) -> tuple[Tensor, Tensor]:
    value = marginal_crps(distribution, y)
    return value, ROUNDING * distribution.quantiles.shape[-1] * value


@marginal_window_crps.register
def _(distribution: QuantileFunction, y: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    # the CRPS of the distribution and the target moved into the window, whose ends are two more quantiles
    wide, ends = widen(distribution), torch.stack([lower, upper], -1)
    x, levels = distribution.quantiles.double().expand(*y.shape, -1), distribution.levels
    inside = torch.minimum(torch.maximum(ends, x[..., :1]), x[..., -1:])
    at_ends = cdf(wide, inside.movedim(-1, 0)).movedim(0, -1).clamp(levels[0], levels[-1])
    x = torch.cat([x, inside], -1).sort(-1).values
    levels = torch.cat([levels.expand(*y.shape, -1), at_ends], -1).sort(-1).values
    x = torch.minimum(torch.maximum(x, lower.unsqueeze(-1)), upper.unsqueeze(-1))
    return piecewise_linear_crps(x, levels, torch.minimum(torch.maximum(y, lower), upper))


def piecewise_linear_crps(quantiles: Tensor, levels: Tensor, y: Tensor) -> Tensor:
    r"""CRPS of a cdf that is linear between quantiles and jumps to 0 and 1 at the outer ones; all in float64.

    .. math:: \max(x_1 - y, 0) + \max(y - x_Q, 0) + \sum_k\Bigl[
              \tfrac{u_k}3(\alpha_k^2 + \alpha_k c_k + c_k^2) + \tfrac{v_k}3(\bar c_k^2 + \bar c_k\bar\alpha_{k+1}
              + \bar\alpha_{k+1}^2)\Bigr]

    where :math:`u_k` and :math:`v_k` are the lengths of the part of :math:`[x_k, x_{k+1}]` below and above y,
    :math:`c_k` is F where they meet and :math:`\bar\alpha = 1 - \alpha`. No term is negative, so nothing cancels.
    """
    x, y = quantiles, y.unsqueeze(-1)
    low, high = x[..., :-1], x[..., 1:]
    meet = torch.minimum(torch.maximum(y, low), high)
    below, above, width = meet - low, high - meet, high - low
    a, b = levels[..., :-1], levels[..., 1:]
    # which of the levels counts does not matter where the width is zero
    at = a + (b - a) * below / torch.where(width > 0, width, 1.0)
    rest, end = 1 - at, 1 - b
    inside = below * (a.square() + a * at + at.square()) + above * (rest.square() + rest * end + end.square())
    outside = (y - torch.minimum(torch.maximum(y, x[..., :1]), x[..., -1:])).abs().squeeze(-1)
    return inside.sum(-1) / 3 + outside
