"""Draws as a distribution: the same weight on every draw of a row."""

from functools import partial
from typing import Any, ClassVar

import numpy as np
import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import MixtureSameFamily, constraints

from .._blocks import in_blocks, is_plain
from ._rows import RowValues, check_table
from .inversion import with_ends
from .origins import Parameters, skpro_name
from .point_masses import atoms
from .scoring import (
    ROUNDING,
    marginal_crps,
    marginal_crps_with_bound,
    marginal_window_crps,
    mixture_crps,
    mixture_crps_with_bound,
    mixture_window_crps,
)


class Empirical(dist.TorchDistribution):
    r"""The empirical distribution of m draws in each row, :math:`F(y) = \frac1m \#\{i : x_i \le y\}`.

    For forecasts that are draws: of a posterior, a bootstrap, an ensemble, a simulator.

    Parameters
    ----------
    samples : Tensor, (*B, m)
        The draws along the last axis, in any order, in float32 or float64; kept sorted. The batch shape is B.

    Raises
    ------
    TypeError
        If the draws are not float32 or float64.
    ValueError
        If there are no draws, or one is not finite.

    Notes
    -----
    Its CRPS is `probmix.scores.crps_samples` with ``fair=False``, the score of this very distribution. Where the draws
    only stand for the distribution they come from, take the fair one, which does not favour many draws over few. It has
    no density, so `nll` raises NotImplementedError. Mean and variance are those of the draws (divided by m, not m - 1).
    The PIT takes the m + 1 values k/m, and is drawn between two of them where a target equals a draw: for a histogram
    have many more draws than bars.

    Examples
    --------
    >>> import torch
    >>> from probmix.distributions import Empirical
    >>> draws = Empirical(torch.tensor([[3.0, 0.0, 1.0, 2.0]]))
    >>> draws.cdf(torch.tensor([1.5])), draws.icdf(torch.tensor([0.5])), draws.mean
    (tensor([0.5000]), tensor([1.]), tensor([1.5000]))
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {"samples": constraints.real_vector}
    support = constraints.real

    def __init__(self, samples: Tensor, validate_args: bool | None = None) -> None:
        check_table("samples", samples, "draws")
        self.samples = samples.sort(-1).values
        super().__init__(samples.shape[:-1], validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        new = self._get_checked_instance(Empirical, _instance)
        new.samples = self.samples.expand(*batch_shape, self.samples.shape[-1])
        super(Empirical, new).__init__(torch.Size(batch_shape), validate_args=False)
        new._validate_args = self._validate_args
        return new

    @property
    def mean(self) -> Tensor:
        return self.samples.double().mean(-1).to(self.samples.dtype)

    @property
    def variance(self) -> Tensor:
        return self.samples.double().var(-1, correction=0).to(self.samples.dtype)

    def log_prob(self, value: Tensor) -> Tensor:
        raise NotImplementedError(
            "draws have no density, so neither log_prob nor NLL. Use `crps`, or fit a density to the draws; class "
            "probabilities have rows with the sum 1, and are a Categorical distribution."
        )

    def cdf(self, value: Tensor) -> Tensor:
        values = RowValues(value, self.batch_shape)
        dtype = torch.promote_types(value.dtype, self.samples.dtype)
        draws = self.samples.detach().expand(*values.rows, -1).to(dtype).contiguous()
        count = torch.searchsorted(draws, values.last.to(dtype), right=True)
        return values.back((count.double() / draws.shape[-1]).to(self.samples.dtype))

    def icdf(self, value: Tensor) -> Tensor:
        q = RowValues(value, self.batch_shape)
        m = self.samples.shape[-1]
        # k / m as a literal level is rounded: 0.07 finds the 7th of 100 draws, which rounding up 0.07 * 100 would not
        steps = (torch.arange(1, m + 1, dtype=torch.float64, device=q.last.device) / m).to(q.last.dtype)
        place = torch.searchsorted(steps, q.last).clamp(max=m - 1)
        found = self.samples.expand(*q.rows, -1).gather(-1, place)
        return q.back(with_ends(found, q.last, self.samples[..., :1], self.samples[..., -1:]))

    def sample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        with torch.no_grad():
            # any place would do in `RowValues`; the draws are looked up by their number
            place = torch.randint(self.samples.shape[-1], shape, device=self.samples.device)
            numbers = RowValues(place, self.batch_shape)
            return numbers.back(self.samples.gather(-1, numbers.last))


@atoms.register
def _(distribution: Empirical) -> tuple[Tensor, Tensor]:
    places = distribution.samples.double().movedim(-1, 0)
    return places, torch.full_like(places, 1 / len(places))


@marginal_crps.register
def _(distribution: Empirical, y: Tensor) -> Tensor:
    return draws_crps(distribution.samples.double(), y, fair=False)


@marginal_crps_with_bound.register
def _(distribution: Empirical, y: Tensor) -> tuple[Tensor, Tensor]:
    distances = (distribution.samples.double() - y.unsqueeze(-1)).abs()
    return marginal_crps(distribution, y), ROUNDING * distances.sum(-1)


@marginal_window_crps.register
def _(distribution: Empirical, y: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    # the CRPS of draws and a target that are all moved into the window
    draws = distribution.samples.double()
    draws = torch.minimum(torch.maximum(draws, lower.unsqueeze(-1)), upper.unsqueeze(-1))
    return draws_crps(draws, torch.minimum(torch.maximum(y, lower), upper), fair=False)


@mixture_crps.register
def _(component: Empirical, mixture: MixtureSameFamily, y: Tensor) -> Tensor:
    return step_crps(*_members(component, mixture), y)


@mixture_crps_with_bound.register
def _(component: Empirical, mixture: MixtureSameFamily, y: Tensor) -> tuple[Tensor, Tensor]:
    draws, weights = _members(component, mixture)
    return step_crps(draws, weights, y), ROUNDING * draws.shape[-1] * (draws - y.unsqueeze(-1)).abs().amax(-1)


@mixture_window_crps.register
def _(component: Empirical, mixture: MixtureSameFamily, y: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    draws, weights = _members(component, mixture)
    draws = torch.minimum(torch.maximum(draws, lower.unsqueeze(-1)), upper.unsqueeze(-1))
    return step_crps(draws, weights, torch.minimum(torch.maximum(y, lower), upper))


def _members(component: Empirical, mixture: MixtureSameFamily) -> tuple[Tensor, Tensor]:
    """All draws of all members, and the weight of each, (*batch, *event, M m)."""
    places, masses = (t.movedim(0, -1) for t in atoms(mixture))
    return places, masses


@skpro_name("Delta")
def _(p: Parameters) -> Empirical:
    return Empirical(torch.tensor(p["c"]).unsqueeze(-1))


def draws_crps(samples: Tensor, y: Tensor, fair: bool) -> Tensor:
    """CRPS of draws along the last axis, (*B, m) and (*B,) to (*B,); see `probmix.scores.crps_samples`."""
    flat = samples.expand(*y.shape, samples.shape[-1]).reshape(-1, samples.shape[-1])
    return in_blocks(partial(_crps, fair=fair), flat, y.reshape(-1)).reshape(y.shape)


def step_crps(draws: Tensor, weights: Tensor, y: Tensor) -> Tensor:
    """CRPS of draws of any weights that sum to one, in float64: the integral of the square of a step function."""
    draws, order = draws.sort(-1)
    weights = weights.expand_as(draws).gather(-1, order)
    low, high = draws[..., :-1], draws[..., 1:]
    # 1 - F as a sum of its own keeps its digits where F is nearly one
    below = weights.cumsum(-1)[..., :-1]
    above = weights.flip(-1).cumsum(-1).flip(-1)[..., 1:]
    meet = torch.minimum(torch.maximum(y.unsqueeze(-1), low), high)
    inside = (meet - low) * below.square() + (high - meet) * above.square()
    return inside.sum(-1) + (y - torch.minimum(torch.maximum(y, draws[..., 0]), draws[..., -1])).abs()


def _crps(samples: Tensor, y: Tensor, fair: bool) -> Tensor:
    """(n, m) and (n,) to (n,)."""
    # the targets go first: far from zero the distances are exact, sums of the draws would not be
    error = _sorted(samples - y.unsqueeze(-1))
    zero = error.new_zeros(())
    # `minimum` and `maximum` split the gradient at zero evenly between their sides, `clamp` does not
    below, above = torch.minimum(error, zero), torch.maximum(error, zero)
    m, k = error.shape[-1], int(fair)
    rank = torch.arange(1, m, dtype=torch.float64, device=error.device)
    lower = (rank / m * (rank - k) / (m - k)).to(error.dtype)
    parts = torch.addcmul(lower * below.diff(dim=-1), lower.flip(-1), above.diff(dim=-1))
    return parts.sum(-1) + (above[..., 0] - below[..., -1])


def _sorted(values: Tensor) -> Tensor:
    if not is_plain(values):
        return values.sort(-1).values
    # NumPy sorts short rows some thirty times as fast as torch, which sorts their indices as well
    return torch.from_numpy(np.sort(values.numpy(), -1))
