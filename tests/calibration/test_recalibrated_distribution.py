"""Recalibrated distributions."""

import math
from typing import ClassVar

import numpy as np
import pyro
import pytest
import torch
from recalibration_cases import bent_map, line, wide
from scipy import stats

from probmix import linear_pool
from probmix.adapters import as_distribution
from probmix.calibration import PITMap, Recalibrated, fit_pit_map
from probmix.distributions import Blend, Gamma, Independent, LogNormal, Poisson, ZeroInflated, cdf, icdf, is_discrete
from probmix.random import seeded
from probmix.scores import coverage, crps, crps_with_bound, nll, pit


@pytest.fixture(scope="module")
def bent() -> PITMap:
    return bent_map()


BASES = {
    "normal": torch.distributions.Normal(wide(1.0, -3.0), wide(0.3, 4.0)),
    "gamma": Gamma(wide(1.5, 40.0), wide(2.0, 3.0)),
    "lognormal": LogNormal(wide(0.0, 1.0), wide(0.5, 0.2)),
    "mixture of normals": linear_pool(torch.distributions.Normal(wide(-1.0, 4.0).expand(2, 2), wide(0.5, 2.0))),
    "poisson": Poisson(wide(0.7, 30.0)),
    "mixture of poissons": linear_pool(Poisson(torch.stack([wide(1.0, 9.0), wide(3.0, 40.0)]))),
}
CONTINUOUS = [name for name in BASES if "poisson" not in name]
COUNTS = [name for name in BASES if "poisson" in name]


def panels(edges: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Nodes and weights, (N, 2), of 60-point Gauss rules between sorted edges, (E, 2)."""
    x, weight = map(torch.from_numpy, np.polynomial.legendre.leggauss(60))
    middle, half = (edges[1:] + edges[:-1]) / 2, (edges[1:] - edges[:-1]) / 2
    nodes = middle.unsqueeze(1) + half.unsqueeze(1) * x.reshape(-1, 1)
    return nodes.flatten(0, 1), (half.unsqueeze(1) * weight.reshape(-1, 1)).flatten(0, 1)


@pytest.mark.parametrize("name", CONTINUOUS)
def test_density_cdf_moments_and_crps_agree_by_quadrature(bent: PITMap, name: str) -> None:
    recalibrated = Recalibrated(BASES[name], bent)
    y = recalibrated.icdf(wide(0.03, 0.8))
    # between the knots of the map everything is smooth
    levels = torch.cat([wide(1e-9, 1e-6, 1e-4, 1 - 1e-4, 1 - 1e-6, 1 - 1e-9), torch.special.ndtr(bent.scores)])
    edges = torch.cat([recalibrated.icdf(levels.unsqueeze(-1)), y.unsqueeze(0)]).sort(0).values
    x, weight = panels(edges)
    density = recalibrated.log_prob(x).exp()
    torch.testing.assert_close((weight * density).sum(0), torch.ones(2, dtype=torch.float64), atol=1e-7, rtol=0)
    mean = (weight * density * x).sum(0)
    torch.testing.assert_close(recalibrated.mean, mean, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(recalibrated.variance, (weight * density * (x - mean) ** 2).sum(0), rtol=1e-5, atol=0)
    square = (recalibrated.cdf(x) - (x > y).double()).square()
    torch.testing.assert_close(crps(recalibrated, y), (weight * square).sum(0), rtol=1e-6, atol=0)
    below = (weight * density * (x < y)).sum(0)
    torch.testing.assert_close(recalibrated.cdf(y), below, rtol=0, atol=1e-7)


@pytest.mark.parametrize("name", COUNTS)
def test_probabilities_of_counts_are_those_of_the_cdf(bent: PITMap, name: str) -> None:
    recalibrated = Recalibrated(BASES[name], bent)
    k = torch.arange(400.0, dtype=torch.float64).unsqueeze(-1)
    probability, below = recalibrated.log_prob(k).exp(), recalibrated.cdf(k)
    torch.testing.assert_close(probability.sum(0), torch.ones(2, dtype=torch.float64), atol=3e-6, rtol=0)
    torch.testing.assert_close(probability.cumsum(0), below, atol=3e-6, rtol=0)
    torch.testing.assert_close(recalibrated.mean, (k * probability).sum(0), rtol=1e-4, atol=0)
    mean = recalibrated.mean
    torch.testing.assert_close(recalibrated.variance, ((k - mean) ** 2 * probability).sum(0), rtol=1e-3, atol=0)
    y = wide(2.0, 35.0)
    torch.testing.assert_close(crps(recalibrated, y), (below - (k >= y).double()).square().sum(0), rtol=1e-6, atol=0)
    assert is_discrete(recalibrated)
    assert bool((recalibrated.cdf(wide(-1.0)) == 0).all())


@pytest.mark.parametrize("name", COUNTS)
def test_quantiles_of_counts_are_the_smallest_that_suffice(bent: PITMap, name: str) -> None:
    recalibrated = Recalibrated(BASES[name], bent)
    q = torch.linspace(0.001, 0.999, 999, dtype=torch.float64).unsqueeze(-1)
    k = recalibrated.icdf(q)
    assert bool((recalibrated.cdf(k) >= q).all())
    assert bool((recalibrated.cdf(k - 1) < q).all())
    # also where a level is met exactly
    k = torch.arange(0.0, 25.0, dtype=torch.float64).unsqueeze(-1) + wide(0.0, 15.0)
    k = k[(recalibrated.cdf(k) < 1 - 1e-6).all(-1)]
    torch.testing.assert_close(recalibrated.icdf(recalibrated.cdf(k)), k)
    just_above = recalibrated.cdf(k).nextafter(torch.ones((), dtype=torch.float64))
    torch.testing.assert_close(recalibrated.icdf(just_above), k + 1)


@pytest.mark.parametrize("name", CONTINUOUS)
def test_quantiles_and_cdf_are_inverse(bent: PITMap, name: str) -> None:
    recalibrated = Recalibrated(BASES[name], bent)
    q = torch.tensor([1e-6, 0.01, 0.3, 0.5, 0.9, 1 - 1e-6], dtype=torch.float64).unsqueeze(-1).expand(6, 2)
    torch.testing.assert_close(recalibrated.cdf(recalibrated.icdf(q)), q, atol=1e-10, rtol=0)
    # the definition
    y = icdf(BASES[name], wide(0.2))
    torch.testing.assert_close(recalibrated.cdf(y), bent(cdf(BASES[name], y)))
    q = q[1:-1]
    torch.testing.assert_close(recalibrated.icdf(q), icdf(BASES[name], bent.inverse(q)), rtol=1e-8, atol=1e-8)
    low, high = recalibrated.icdf(wide(0.0, 1.0).unsqueeze(-1))
    assert bool((low <= 0).all() and (high == torch.inf).all())


@pytest.mark.parametrize("name", BASES)
def test_draws_follow_the_cdf(bent: PITMap, name: str) -> None:
    recalibrated = Recalibrated(BASES[name], bent)
    with seeded(1):
        draws = recalibrated.sample((4000,))
    assert draws.shape == (4000, 2)
    u = pit(recalibrated.expand((4000, 2)), draws).numpy()
    assert min(stats.kstest(column, "uniform").pvalue for column in u.T) > 1e-3
    assert coverage(recalibrated.expand((4000, 2)), draws, 0.9).mean(0).numpy() == pytest.approx(
        0.9, abs=0.02 if name in CONTINUOUS else 0.1
    )


@pytest.mark.parametrize("slope", [0.2, 0.5, 1.0, 3.0])
def test_a_normal_of_the_wrong_scale_becomes_the_right_one_in_the_tails_too(slope: float) -> None:
    base = torch.distributions.Normal(wide(2.0), wide(0.7))
    recalibrated, right = Recalibrated(base, line(slope, 0.4)), stats.norm(2 - 0.7 * 0.4 / slope, 0.7 / slope)
    y = np.linspace(-25, 25, 101) * 0.7
    np.testing.assert_allclose(recalibrated.log_prob(torch.from_numpy(y)), right.logpdf(y), rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(recalibrated.cdf(torch.from_numpy(y)), right.cdf(y), rtol=1e-9, atol=1e-300)
    assert recalibrated.mean.item() == pytest.approx(right.mean(), rel=1e-10)
    assert recalibrated.stddev.item() == pytest.approx(right.std(), rel=1e-10)
    np.testing.assert_allclose(crps(recalibrated, wide(3.0)), crps(torch.distributions.Normal(*map(wide, (
        right.mean(), right.std()))), wide(3.0)), rtol=1e-6)  # fmt: skip


def test_a_lognormal_of_the_wrong_scale_becomes_the_right_one() -> None:
    recalibrated = Recalibrated(LogNormal(wide(1.0), wide(0.1)), line(0.25))
    y = np.geomspace(1e-3, 1e3, 31)
    np.testing.assert_allclose(
        recalibrated.log_prob(torch.from_numpy(y)), stats.lognorm(0.4, scale=np.e).logpdf(y), rtol=1e-10
    )
    assert recalibrated.mean.item() == pytest.approx(np.exp(1 + 0.08), rel=1e-9)
    assert recalibrated.cdf(wide(-1.0)).item() == 0


@pytest.mark.parametrize("name", BASES)
def test_the_likelihood_is_finite_wherever_that_of_the_model_is(bent: PITMap, name: str) -> None:
    base = BASES[name].expand((5, 2))
    y = torch.tensor([0.0, 1.0, 5.0, 100.0, 700.0], dtype=torch.float64).unsqueeze(-1).expand(5, 2)
    y = (y + (0 if is_discrete(base) else 0.5)).requires_grad_()
    value = Recalibrated(base, bent).log_prob(y)
    assert bool(value.isfinite().all())
    (slope,) = torch.autograd.grad(value.sum(), y, allow_unused=True)
    assert slope is None or bool(slope.isfinite().all())
    torch.testing.assert_close(nll(Recalibrated(base, bent), y.detach()), -value.detach())


def test_float32_comes_back_as_float32(bent: PITMap) -> None:
    for base in (torch.distributions.Normal(torch.zeros(2), 1.0), Poisson(torch.ones(2))):
        recalibrated = Recalibrated(base, bent)
        y = torch.tensor([1.0, 2.0])
        results = recalibrated.cdf(y), recalibrated.icdf(torch.tensor([0.1, 0.9])), recalibrated.log_prob(y)
        results += (recalibrated.sample(), recalibrated.mean, recalibrated.variance)
        results += (crps(recalibrated, y), nll(recalibrated, y), pit(recalibrated, y))
        assert {result.dtype for result in results} == {torch.float32}
    # at 7 standard deviations a cdf in float32 is one
    single = Recalibrated(torch.distributions.Normal(torch.zeros(1), 1.0), line(0.5))
    assert single.log_prob(torch.tensor([7.0])).item() == pytest.approx(stats.norm(0, 2).logpdf(7), rel=1e-5)


def test_pyro_samples_scores_and_expands_it(bent: PITMap) -> None:
    recalibrated = Recalibrated(BASES["normal"], bent)
    with pyro.plate("rows", 2):
        value = pyro.sample("y", recalibrated)
        assert value.shape == (2,)
        torch.testing.assert_close(pyro.sample("z", recalibrated, obs=wide(0.0, 1.0)), wide(0.0, 1.0))
    assert recalibrated.to_event(1).log_prob(value).shape == ()
    expanded = recalibrated.expand((5, 2))
    assert expanded.batch_shape == (5, 2)
    torch.testing.assert_close(expanded.mean, recalibrated.mean.expand(5, 2))
    assert not is_discrete(recalibrated)
    with pytest.raises(ValueError, match="support"):
        Recalibrated(BASES["gamma"], bent).log_prob(wide(-1.0, 1.0))


def test_what_cannot_be_recalibrated(bent: PITMap) -> None:
    with pytest.raises(ValueError, match=r"no event axes; got event shape \(2,\)"):
        Recalibrated(Independent(BASES["normal"], 1), bent)
    with pytest.raises(ValueError, match="is of 3 targets"):
        Recalibrated(BASES["normal"], fit_pit_map(np.full((5, 3), 0.5)))


@pytest.mark.cuda
@pytest.mark.parametrize("name", BASES)
def test_cuda_gives_what_the_cpu_gives(bent: PITMap, name: str) -> None:
    moved = {
        "normal": lambda: torch.distributions.Normal(wide(1.0, -3.0).cuda(), wide(0.3, 4.0).cuda()),
        "gamma": lambda: Gamma(wide(1.5, 40.0).cuda(), wide(2.0, 3.0).cuda()),
        "poisson": lambda: Poisson(wide(0.7, 30.0).cuda()),
    }
    if name not in moved:
        pytest.skip("its components are tried")
    cpu, cuda = Recalibrated(BASES[name], bent), Recalibrated(moved[name](), bent.to(torch.device("cuda")))
    y = wide(1.0, 2.0)
    for result in ("log_prob", "cdf"):
        value = getattr(cuda, result)(y.cuda())
        assert value.device.type == "cuda"
        torch.testing.assert_close(value.cpu(), getattr(cpu, result)(y))
    torch.testing.assert_close(crps(cuda, y.cuda()).cpu(), crps(cpu, y))
    torch.testing.assert_close(cuda.mean.cpu(), cpu.mean)
    torch.testing.assert_close(cuda.icdf(wide(0.3).cuda()).cpu(), cpu.icdf(wide(0.3)))
    assert cuda.sample((3,)).device.type == "cuda"


class Tosses(torch.distributions.Distribution):
    """Geometric counts whose quantile is infinite from the level 1 - 1e-14 on, where their cdf rounds to 1."""

    arg_constraints: ClassVar[dict] = {}
    support = torch.distributions.constraints.nonnegative_integer

    def expand(self, batch_shape, _instance=None):
        return Tosses(torch.Size(batch_shape), validate_args=False)

    def cdf(self, value):
        p = 1 - 0.5 ** (value.double().floor() + 1).clamp(min=0)
        return torch.where(p >= 1 - 1e-14, 1.0, p).expand(torch.broadcast_shapes(value.shape, self.batch_shape))

    def icdf(self, q):
        q = q.double().expand(torch.broadcast_shapes(q.shape, self.batch_shape))
        k = (-torch.log2(1 - q) - 1 - 1e-9).ceil().clamp(min=0)
        return torch.where(q >= 1 - 1e-14, torch.inf, k)

    def log_prob(self, value):
        return -(value.double() + 1) * math.log(2)


def test_counts_whose_last_quantiles_are_infinite_are_cut_at_the_last_finite_one(bent):
    coarse = Recalibrated(Tosses(torch.Size((2,)), validate_args=False), bent)
    # the same law with quantiles all the way
    fine = Recalibrated(as_distribution(stats.geom(np.full(2, 0.5), loc=-1)), bent)
    y = wide(0.0, 5.0)
    torch.testing.assert_close(coarse.mean.double(), fine.mean, rtol=1e-6, atol=0)
    torch.testing.assert_close(coarse.variance.double(), fine.variance, rtol=1e-4, atol=0)
    torch.testing.assert_close(crps(coarse, y).double(), crps(fine, y), rtol=1e-6, atol=0)
    value, bound = crps_with_bound(coarse, y)
    assert ((value - crps(fine, y)).abs() <= bound).all()


class Rounded(torch.distributions.Distribution):
    """A standard exponential whose quantile is infinite from the level 1 - 1e-14 on, where its cdf rounds to 1."""

    arg_constraints: ClassVar[dict] = {}
    support = torch.distributions.constraints.nonnegative

    def expand(self, batch_shape, _instance=None):
        return Rounded(torch.Size(batch_shape), validate_args=False)

    def cdf(self, value):
        p = -torch.expm1(-value.double().clamp(min=0))
        return torch.where(p >= 1 - 1e-14, 1.0, p).expand(torch.broadcast_shapes(value.shape, self.batch_shape))

    def icdf(self, q):
        q = q.double().expand(torch.broadcast_shapes(q.shape, self.batch_shape))
        return torch.where(q >= 1 - 1e-14, torch.inf, -torch.log1p(-q))

    def log_prob(self, value):
        return -value.double()


def test_a_base_whose_last_quantiles_are_infinite_is_cut_at_the_last_finite_one(bent):
    coarse = Recalibrated(Rounded(torch.Size((2,)), validate_args=False), bent)
    fine = Recalibrated(Gamma(wide(1.0, 1.0), wide(1.0, 1.0)), bent)
    y = wide(0.3, 5.0)
    torch.testing.assert_close(coarse.mean.double(), fine.mean, rtol=1e-6, atol=0)
    torch.testing.assert_close(coarse.variance.double(), fine.variance, rtol=1e-5, atol=0)
    torch.testing.assert_close(crps(coarse, y).double(), crps(fine, y), rtol=1e-6, atol=0)


class Slightly(Rounded):
    """A standard exponential whose cdf is above 1 by rounding, far out."""

    def cdf(self, value):
        p = -torch.expm1(-value.double().clamp(min=0)) * (1 + 4e-16)
        return p.expand(torch.broadcast_shapes(value.shape, self.batch_shape))

    def icdf(self, q):
        return super().icdf(q).clamp(max=50)


def test_a_cdf_that_is_above_one_by_rounding_is_one(bent):
    base = Slightly(torch.Size((2,)), validate_args=False)
    assert (base.cdf(wide(40.0, 40.0)) > 1).all()
    fine = Recalibrated(Gamma(wide(1.0, 1.0), wide(1.0, 1.0)), bent)
    torch.testing.assert_close(Recalibrated(base, bent).mean.double(), fine.mean, rtol=1e-6, atol=0)
    torch.testing.assert_close(Recalibrated(base, bent).variance.double(), fine.variance, rtol=1e-5, atol=0)


@pytest.mark.parametrize("kind", ["mixture", "blend", "zeros"])
def test_weights_that_add_up_to_more_than_one_by_rounding_leave_the_cdf_at_one(bent, kind):
    """Means and variances were NaN for rows whose weights do so."""
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(500, 7, generator=generator, dtype=torch.float64)
    components = LogNormal(torch.randn(500, 7, generator=generator, dtype=torch.float64), 0.2 + logits.sigmoid())
    mixture = torch.distributions.MixtureSameFamily(torch.distributions.Categorical(logits=logits), components)
    far = torch.full((500,), 1e12, dtype=torch.float64)
    # otherwise there is nothing to see here
    assert (mixture.mixture_distribution.probs.sum(-1) > 1).any()
    if kind == "zeros":
        gate = torch.linspace(-3, 3, 500, dtype=torch.float64)
        base = ZeroInflated(Poisson(torch.full_like(gate, 2.0)), gate_logits=gate)
    else:
        parts = [mixture, Gamma(far / far, far / far), LogNormal(0 * far, far / far)]
        base = mixture if kind == "mixture" else Blend(logits[:, :3].softmax(-1), parts)
        # each part is one there, and the weights of some rows are more
        assert kind == "mixture" or (base.shares().sum(0) > 1).any()
    assert (cdf(base, far) <= 1).all()
    recalibrated = Recalibrated(base, bent)
    torch.testing.assert_close(recalibrated.cdf(far), torch.ones_like(far), rtol=1e-6, atol=0)
    assert recalibrated.mean.isfinite().all()
    assert (recalibrated.variance > 0).all()


@pytest.mark.parametrize("slope", [0.1, 0.01])
def test_a_mixture_that_is_much_too_sure_is_widened_all_the_way(slope: float) -> None:
    """Its cdf rounds to one 8.2 of its deviations out, where its quantiles stopped."""
    line_of = PITMap(wide(-1.0, 1.0) / slope, wide(-1.0, 1.0), torch.full((2,), slope, dtype=torch.float64))
    narrow = torch.distributions.Normal(wide(0.0, 3.0).unsqueeze(-1), wide(0.02, 0.3).unsqueeze(-1)).expand((2, 2))
    recalibrated = Recalibrated(linear_pool(narrow), line_of)
    # of two that are one, it is this
    expected = torch.distributions.Normal(wide(0.0, 3.0), wide(0.02, 0.3) / slope)
    q = wide(1e-6, 0.01, 0.3, 0.5, 0.9, 0.999, 1 - 1e-9).unsqueeze(-1)
    torch.testing.assert_close(recalibrated.icdf(q), expected.icdf(q), rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(recalibrated.cdf(expected.icdf(q)), q.expand(-1, 2), rtol=1e-9, atol=1e-12)
    y = expected.icdf(wide(0.002, 0.98))
    torch.testing.assert_close(recalibrated.log_prob(y), expected.log_prob(y), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(recalibrated.mean, expected.mean, rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(recalibrated.stddev, expected.stddev, rtol=1e-6, atol=0)
    torch.testing.assert_close(crps(recalibrated, y), crps(expected, y), rtol=1e-7, atol=0)


def test_the_density_of_a_widened_mixture_is_one_in_all() -> None:
    line_of = PITMap(wide(-30.0, 20.0), wide(-1.5, 1.0), wide(0.05, 0.05))
    mixture = linear_pool(torch.distributions.Normal(wide(0.0, 0.5), wide(0.02, 0.05)))
    recalibrated = Recalibrated(mixture, line_of)
    levels = torch.cat([torch.special.ndtr(torch.linspace(-7, 7, 57, dtype=torch.float64)), torch.tensor([0.5])])
    edges = recalibrated.icdf(levels).sort().values
    x, weight = (t[:, 0] for t in panels(edges.unsqueeze(-1).expand(-1, 2)))
    assert (weight * recalibrated.log_prob(x).exp()).sum().item() == pytest.approx(1, rel=2e-6)
    draws = recalibrated.sample((100,))
    assert len(draws.unique()) == 100


@pytest.mark.parametrize(
    ("base", "y"),
    [
        (torch.distributions.Exponential(wide(1.0, 3.0), validate_args=False), -2.0),
        (torch.distributions.Gamma(wide(1.0, 3.0), wide(1.0, 3.0), validate_args=False), -2.0),
        (torch.distributions.Bernoulli(wide(0.3, 0.9), validate_args=False), 2.0),
        (Poisson(wide(0.3, 0.9), validate_args=False), -1.0),
    ],
    ids=["exponential", "gamma", "bernoulli", "poisson"],
)
def test_targets_outside_of_the_support_have_no_density(base, y, bent):
    ours = Recalibrated(base, bent, validate_args=False)
    assert ours.log_prob(wide(y, y)).tolist() == [-np.inf, -np.inf]
    assert nll(ours, wide(y, y)).tolist() == [np.inf, np.inf]
