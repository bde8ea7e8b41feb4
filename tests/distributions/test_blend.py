"""Mixtures of distributions of different kinds, against SciPy, sums and integrals."""

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from blend_cases import LEVELS, WEIGHTS, A, B, Blended, C, D, N, blended_case, even, members, three
from recalibration_cases import bent_map
from scipy import optimize, stats
from score_oracles import integral_oracle, sum_oracle
from third_party import GumbelDistribution

from probmix.adapters import as_distribution
from probmix.calibration import Recalibrated
from probmix.distributions import (
    Blend,
    Gamma,
    LogNormal,
    NegativeBinomial,
    Poisson,
    QuantileFunction,
    StudentT,
    ZeroAdjusted,
    atoms,
    blend,
    cdf,
    cdf_below,
    has_atoms,
    is_discrete,
)
from probmix.distributions.normal_scores import from_normal_score, normal_score
from probmix.scores import crps, crps_with_bound, nll, pit, threshold_weighted_crps
from probmix.testing.distribution_contracts import DISTRIBUTION_CONTRACTS

# -- against SciPy, row by row -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("i", range(N))
def test_density_cdf_quantiles_and_moments_are_those_of_the_parts(i):
    blended, parts, w = three(), members(i), WEIGHTS[i].numpy()
    y = np.array([-30.0, -1.0, 0.0, 1e-3, 0.7, 2.0, 55.0])
    values = torch.tensor(y)[:, None].expand(-1, N)
    density, below = (sum(v * getattr(m, f)(y) for v, m in zip(w, parts, strict=True)) for f in ("pdf", "cdf"))
    np.testing.assert_allclose(blended.log_prob(values)[:, i], np.log(density), rtol=1e-11)
    np.testing.assert_allclose(blended.cdf(values)[:, i], below, rtol=1e-11)
    levels = LEVELS[:, None].expand(-1, N)
    for q, found in zip(LEVELS.tolist(), blended.icdf(levels)[:, i].tolist(), strict=True):
        ends = [m.ppf(q) for m in parts]
        want = optimize.brentq(
            lambda t, q=q: sum(v * m.cdf(t) for v, m in zip(w, parts, strict=True)) - q,
            min(ends),
            max(ends),
            xtol=1e-14,
        )
        assert found == pytest.approx(want, rel=1e-10, abs=1e-10)
    means, variances = (np.array([getattr(m, f)() for m in parts]) for f in ("mean", "var"))
    mean = w @ means
    assert blended.mean[i].item() == pytest.approx(mean, rel=1e-12)
    assert blended.variance[i].item() == pytest.approx(w @ (variances + (means - mean) ** 2), rel=1e-12)


@pytest.mark.parametrize("shift", [-9.0, 0.4, 30.0])
def test_crps_is_the_integral(shift):
    blended, y = three(), torch.full((N,), shift, dtype=torch.float64)
    value, bound = crps_with_bound(blended, y)
    want = [integral_oracle(WEIGHTS[i].numpy(), members(i), shift) for i in range(N)]
    np.testing.assert_allclose(value, want, rtol=1e-8)
    assert (bound < 1e-8 * value).all()
    assert ((value - torch.tensor(want)).abs() <= bound + 1e-11 * value).all()
    parts = [threshold_weighted_crps(blended, y, *w) for w in ((-np.inf, 0.5), (0.5, 2.0), (2.0, np.inf))]
    torch.testing.assert_close(sum(parts), value, rtol=1e-9, atol=0)


def counts():
    return Blend(WEIGHTS, [Poisson(3 * A), NegativeBinomial.from_mean(5 * B, C), Poisson(400 * D)])


def count_members(i):
    mean, dispersion = 5 * B[i].item(), C[i].item()
    return [
        stats.poisson(3 * A[i].item()),
        stats.nbinom(1 / dispersion, 1 / (1 + dispersion * mean)),
        stats.poisson(400 * D[i].item()),
    ]


def test_counts_by_sums():
    blended, k = counts(), np.array([0, 1, 7, 300, 900])
    assert is_discrete(blended)
    assert blended.support is torch.distributions.constraints.nonnegative_integer
    values = torch.tensor(k).double()[:, None].expand(-1, N)
    found, below, quantiles = blended.log_prob(values), blended.cdf(values), blended.icdf(LEVELS[:, None].expand(-1, N))
    before = blended.cdf(values + 0.5)
    assert torch.equal(before, below)
    torch.testing.assert_close(cdf_below(blended, values), blended.cdf(values - 1))
    score = torch.stack([crps(blended, row) for row in values])
    for i in range(N):
        w, parts = WEIGHTS[i].numpy(), count_members(i)
        mixed = sum(v * m.pmf(k) for v, m in zip(w, parts, strict=True))
        np.testing.assert_allclose(found[:, i], np.log(mixed), rtol=1e-9)
        np.testing.assert_allclose(below[:, i], sum(v * m.cdf(k) for v, m in zip(w, parts, strict=True)), rtol=1e-10)
        np.testing.assert_allclose(score[:, i], [sum_oracle(w, parts, t) for t in k], rtol=1e-8)
        grid = np.arange(5000)
        total = sum(v * m.cdf(grid) for v, m in zip(w, parts, strict=True))
        np.testing.assert_array_equal(quantiles[:, i], np.searchsorted(total, LEVELS.numpy()))
        assert blended.mean[i].item() == pytest.approx(sum(v * m.mean() for v, m in zip(w, parts, strict=True)))


def test_zeros_beside_densities():
    gate = torch.tensor([-1.0, 0.0, 0.5, 2.0, -30.0]).double()
    one, other = ZeroAdjusted(Gamma(A, B), gate_logits=gate), ZeroAdjusted(LogNormal(A, B), gate_logits=-gate)
    blended = Blend(WEIGHTS, [one, other, Gamma(C, D)])
    zero = WEIGHTS[:, 0] * gate.sigmoid() + WEIGHTS[:, 1] * (-gate).sigmoid()
    assert has_atoms(blended)
    torch.testing.assert_close(atoms(blended)[1].sum(0), zero)
    # of a zero the probability, to which the density of a Gamma there adds nothing
    none = torch.zeros(N).double()
    torch.testing.assert_close(blended.log_prob(none), zero.log())
    torch.testing.assert_close(blended.cdf(none), zero)
    assert (cdf_below(blended, none) == 0).all()
    assert (blended.icdf(0.9 * zero) == 0).all()
    assert (blended.icdf(zero + 1e-9) > 0).all()
    y = torch.tensor([0.3, 1.0, 2.0, 0.0, 5.0]).double()
    value, bound = crps_with_bound(blended, y)
    for i in range(N):
        scale = [stats.gamma(A[i].item(), scale=1 / B[i].item()), stats.lognorm(B[i].item(), scale=np.exp(A[i].item())),
                 stats.gamma(C[i].item(), scale=1 / D[i].item())]  # fmt: skip
        above = WEIGHTS[i].numpy() * np.array([1 - gate[i].sigmoid().item(), gate[i].sigmoid().item(), 1.0])
        edges = np.unique(np.concatenate([[0.0, y[i]], *(m.ppf(np.linspace(1e-9, 1 - 1e-9, 60)) for m in scale),
                                          *(m.isf(np.geomspace(1e-13, 1e-2, 40)) for m in scale)]))  # fmt: skip
        t, rule = np.polynomial.legendre.leggauss(40)
        middle, half = (edges[1:] + edges[:-1]) / 2, (edges[1:] - edges[:-1]) / 2
        x = middle[:, None] + half[:, None] * t
        tail = sum(v * m.sf(x) for v, m in zip(above, scale, strict=True))
        square = np.where(x < y[i].item(), 1 - tail, tail) ** 2
        want = (half[:, None] * rule * square).sum()
        assert value[i].item() == pytest.approx(want, rel=1e-8)
        assert abs(value[i].item() - want) <= bound[i].item() + 1e-10 * want


# -- the contracts of distributions ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names",
    [
        ("gaussian", "student-t", "lognormal"),
        ("gamma", "lognormal", "inverse-gaussian"),
        ("zero-adjusted-gamma", "zero-adjusted-lognormal"),
        ("poisson", "negative-binomial", "zero-inflated-poisson", "hurdle-negative-binomial"),
    ],
    ids=["real", "positive", "zeros", "counts"],
)
@pytest.mark.parametrize("contract", DISTRIBUTION_CONTRACTS)
def test_contracts_of_distributions_hold(names, contract):
    weights = tuple(np.random.default_rng(1).dirichlet(np.ones(len(names))).tolist())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        case = blended_case(Blended(names, weights), 6, 500)
        assert type(case.family.distribution(case.eta)) is Blend
        DISTRIBUTION_CONTRACTS[contract](case)


# -- weights, precision, parts of any make -----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_part_without_weight_says_nothing(dtype):
    one = torch.ones(3, dtype=dtype)
    normal, wild = dist.Normal(0 * one, one), LogNormal(80 * one, 3 * one)
    y = torch.tensor([-1.0, 0.0, 2.0], dtype=dtype)
    for weights in ([1.0, 0.0, 0.0], [0.0, 1.0, 0.0]):
        alone = Blend(torch.tensor(weights, dtype=dtype), [normal, dist.Laplace(0 * one, one), wild])
        want = normal if weights[0] else dist.Laplace(0 * one, one)
        torch.testing.assert_close(alone.log_prob(y), want.log_prob(y))
        torch.testing.assert_close(alone.cdf(y), want.cdf(y))
        torch.testing.assert_close(alone.mean, want.mean)
        torch.testing.assert_close(alone.variance, want.variance)
        torch.testing.assert_close(alone.icdf(one / 4), want.icdf(one / 4))
        torch.testing.assert_close(crps(alone, y), crps(want, y), rtol=1e-6 if dtype == torch.float32 else 1e-9, atol=0)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            assert alone.sample((50,)).abs().amax() < 40
    # where no part has any density
    nothing = Blend(even(2, dtype), [LogNormal(0 * one, one), Gamma(one, one)])
    assert (nothing.log_prob(-one) == -torch.inf).all()
    assert (nothing.cdf(-one) == 0).all()


def test_gradients_are_finite_also_without_weight():
    logits = torch.tensor([0.3, -torch.inf, 0.1]).double().requires_grad_()
    loc = A.clone().requires_grad_()
    blended = Blend(logits.softmax(-1), [dist.Normal(loc, B), LogNormal(loc, B), StudentT(3 + A, loc, B)])
    y = torch.tensor([-1.0, 0.0, 1.0, 2.0, 3.0]).double()
    for score in (blended.log_prob(y), crps(blended, y), blended.cdf(y)):
        gradients = torch.autograd.grad(score.sum(), (logits, loc), retain_graph=True)
        assert all(g.isfinite().all() for g in gradients)
    # of the score against differences
    step = 1e-5

    def total(shift):
        parts = [dist.Normal(A + shift, B), LogNormal(A + shift, B), StudentT(3 + A, A + shift, B)]
        return crps(Blend(logits.detach().softmax(-1), parts), y).sum().item()

    (gradient,) = torch.autograd.grad(crps(blended, y).sum(), loc)
    assert gradient.sum().item() == pytest.approx((total(step) - total(-step)) / (2 * step), rel=1e-5)


def test_float32():
    single, double, y = three(torch.float32), three(), torch.tensor([-1.0, 0.0, 0.5, 1.0, 4.0])
    for function in (nll, crps, lambda d, y: d.cdf(y), lambda d, y: d.mean, lambda d, y: d.variance,
                     lambda d, y: d.icdf(torch.full((N,), 0.3)), lambda d, y: crps_with_bound(d, y)[0]):  # fmt: skip
        found = function(single, y)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found.double(), function(double, y.double()), rtol=1e-5, atol=1e-5)
    with torch.random.fork_rng(devices=[]):
        assert single.sample((3,)).dtype == torch.float32
    # double weights do not make double parts
    assert Blend(WEIGHTS[:, :2] / WEIGHTS[:, :2].sum(-1, keepdim=True), [*single.parts[:2]]).mean.dtype == torch.float32


def test_normal_scores_keep_their_digits_in_both_tails():
    blended = Blend(even(2), [dist.Normal(A, B), LogNormal(A, 0.1 * B)])
    far = A + 20 * B
    want = stats.norm.isf(0.5 * stats.norm.sf(20.0) + 0.5 * stats.lognorm.sf(far, 0.1 * B, scale=A.exp()))
    np.testing.assert_allclose(normal_score(blended, far), want, rtol=1e-9)
    y = torch.tensor([0.2, 0.7, 1.0, 2.0, 5.0]).double()
    torch.testing.assert_close(from_normal_score(blended, normal_score(blended, y)), y)


def test_distributions_of_any_make_are_parts():
    host = as_distribution(stats.genextreme(0.1, A.numpy(), B.numpy()))
    parts = [
        host,
        GumbelDistribution(A, B),
        QuantileFunction(torch.stack([A, A + B], -1), [0.2, 0.7]),
        dist.Normal(A, B),
    ]
    weights = even(4)
    found = blend(weights, parts)
    assert len(found.parts) == 4
    y = torch.tensor([0.0, 1.0, 2.0, 3.0, 9.0]).double()
    torch.testing.assert_close(found.cdf(y), sum(0.25 * cdf(part, y) for part in parts))
    q = torch.tensor([0.02, 0.3, 0.5, 0.9, 0.999]).double()
    at = found.icdf(q)
    above, below = found.cdf(at + 1e-9), found.cdf(at - 1e-9)
    assert ((below <= q) & (q <= above)).all()
    both = blend(even(2), [host, GumbelDistribution(A, B)])
    want = (both.cdf(y + 1e-5) - both.cdf(y - 1e-5)) / 2e-5
    torch.testing.assert_close(both.log_prob(y).exp(), want, rtol=1e-5, atol=1e-9)
    value, bound = crps_with_bound(both, y)
    grid = torch.linspace(-60, 200, 400_001).double()
    squares = (both.cdf(grid[:, None]) - (grid[:, None] >= y).double()).square()
    torch.testing.assert_close(value, torch.trapezoid(squares, grid, dim=0), rtol=1e-3, atol=0)
    assert (bound < 1e-6 * value).all()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        draws = found.sample((4000,))
    values = pit(both, y)
    assert ((values > 0) & (values < 1)).all()
    share = (draws <= y).double().mean(0)
    assert (share - found.cdf(y)).abs().amax() < 0.05


def test_quantiles_where_rows_cannot_be_taken():
    host = as_distribution(stats.genextreme(0.1, A.numpy(), B.numpy()))
    found = blend(even(2), [host, LogNormal(A, B)])
    q = LEVELS[:, None].expand(-1, N)
    torch.testing.assert_close(found.cdf(found.icdf(q)), q, rtol=1e-10, atol=1e-12)
    whole = blend(even(2), [as_distribution(stats.betabinom(12, A.numpy(), B.numpy())), Poisson(A)])
    k = whole.icdf(q)
    assert ((whole.cdf(k) >= q) & (whole.cdf(k - 1) < q)).all()


def test_levels_at_the_ends_alone_and_empty_batches():
    recalibrated = Recalibrated(dist.Normal(torch.zeros(2).double(), 1.0), bent_map())
    blended = blend(torch.tensor([0.5, 0.5]).double(), [recalibrated, dist.Laplace(torch.zeros(2).double(), 1.0)])
    ends = torch.tensor([0.0, 1.0]).double()
    assert blended.icdf(ends).tolist() == [-np.inf, np.inf]
    assert from_normal_score(blended, torch.tensor([-np.inf, np.inf]).double()).tolist() == [-np.inf, np.inf]
    assert torch.isnan(blended.icdf(torch.full((2,), np.nan).double())).all()
    nothing = torch.zeros(0).double()
    for parts in (
        [dist.Normal(nothing, 1.0), LogNormal(nothing, 1.0)],
        [Recalibrated(dist.Normal(nothing, 1.0), bent_map()), dist.Laplace(nothing, 1.0)],
    ):
        empty = blend(torch.tensor([0.5, 0.5]).double(), parts)
        assert empty.icdf(nothing).shape == nll(empty, nothing).shape == crps(empty, nothing).shape == (0,)
