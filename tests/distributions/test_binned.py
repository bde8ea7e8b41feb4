"""Binned distributions: density, distribution function, moments and scores against mpmath, SciPy and quadrature."""

import math
from itertools import pairwise

import mpmath
import numpy as np
import pytest
import torch
from scipy import integrate, stats
from score_oracles import DTYPES

from probmix import linear_pool
from probmix.distributions import Binned, Independent, Mixture, atoms, concatenate
from probmix.distributions.scoring import generic_crps, marginal_crps, marginal_window_crps
from probmix.distributions.selection import select
from probmix.scores import crps, crps_with_bound, nll, pit, threshold_weighted_crps

EDGES, TAILS = (-2.0, -0.5, 0.0, 0.25, 3.0), (0.7, 2.0)
PROBS = torch.tensor([[0.1, 0.4, 0.3, 0.2], [0.97, 0.01, 0.01, 0.01], [0.25, 0.0, 0.5, 0.25]], dtype=torch.float64)
PLACES = [-30.0, -3.0, -2.0, -1.9, -0.5, -0.1, 0.0, 0.2, 1.0, 2.9, 3.0, 3.3, 9.0, 40.0]
WINDOWS = [(-math.inf, -2.5), (-math.inf, 0.1), (-3.0, -2.2), (-0.7, 0.1), (0.02, 0.03), (1.0, 8.0), (4.0, math.inf)]


def bars(dtype=torch.float64, rows=None):
    distribution = Binned(PROBS.log().to(dtype), EDGES, TAILS)
    return distribution if rows is None else distribution.expand((rows, 3))


def density(probs, y):
    """Of one row, written down anew."""
    if y < EDGES[0]:
        return 0.1 * probs[0] * stats.halfnorm.pdf(EDGES[0] - y, scale=TAILS[0])
    if y > EDGES[-1]:
        return 0.1 * probs[-1] * stats.halfnorm.pdf(y - EDGES[-1], scale=TAILS[1])
    k = min(np.searchsorted(EDGES, y, side="right") - 1, len(probs) - 1)
    share = 0.9 if k in (0, len(probs) - 1) else 1.0
    return share * probs[k] / (EDGES[k + 1] - EDGES[k])


def below(probs, y):
    pieces = sorted({-math.inf, *EDGES, y, math.inf})
    pieces = [t for t in pieces if t <= y]
    return sum(integrate.quad(lambda t: density(probs, t), a, b, epsabs=1e-14)[0] for a, b in pairwise(pieces))


def squares(row, y, low, high):
    """The integral of (F - 1[x >= y])^2 for one row, by a Gauss rule on many short pieces."""
    low, high = max(low, -80.0), min(high, 120.0)
    steps = np.concatenate([np.arange(-80, -8, 4.0), np.arange(-8, 24, 0.25), np.arange(24, 120, 4.0)])
    pieces = np.unique([low, high, *(t for t in (*steps, *EDGES, y) if low < t < high)])
    nodes, rule = np.polynomial.legendre.leggauss(24)
    x = 0.5 * (pieces[:-1, None] + pieces[1:, None]) + 0.5 * np.diff(pieces)[:, None] * nodes
    f = bars().cdf(torch.from_numpy(x).unsqueeze(-1))[..., row].numpy()
    return (np.square(f - (x > y)) * rule * 0.5 * np.diff(pieces)[:, None]).sum()


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_density_and_the_distribution_function(dtype):
    distribution, y = bars(dtype), torch.tensor(PLACES, dtype=dtype).unsqueeze(-1)
    log_prob, found = distribution.log_prob(y), distribution.cdf(y)
    assert log_prob.dtype == found.dtype == dtype
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    for row, probs in enumerate(PROBS.tolist()):
        for place, one, lower in zip(y[:, 0].tolist(), log_prob[:, row].exp(), found[:, row], strict=True):
            assert one.item() == pytest.approx(density(probs, place), rel=10 * tolerance, abs=1e-30)
            assert lower.item() == pytest.approx(below(probs, place), rel=tolerance, abs=tolerance)
    assert len(atoms(distribution)[0]) == 0


def test_the_mass_is_one_and_far_tails_have_their_density():
    with mpmath.workdps(40):
        # no density underflows: its logarithm is that of a normal far out
        z = mpmath.mpf(10_000) / 2
        want = mpmath.log(0.1 * mpmath.mpf("0.2")) + mpmath.log(mpmath.sqrt(2 / mpmath.pi) / 2) - z**2 / 2
    assert bars().log_prob(torch.tensor(10_003.0))[0].item() == pytest.approx(float(want), rel=1e-14)
    for probs in PROBS.tolist():
        assert below(probs, 60.0) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
def test_quantiles_are_the_inverse(dtype):
    distribution = bars(dtype)
    levels = torch.tensor([1e-12, 1e-3, 0.0099, 0.0101, 0.3, 0.5, 0.75, 0.9, 0.98, 0.9999], dtype=dtype)
    y = distribution.icdf(levels.unsqueeze(-1))
    assert y.dtype == dtype
    assert (y.diff(dim=0) >= 0).all()
    rtol, atol = (1e-11, 1e-15) if dtype == torch.float64 else (1e-4, 1e-6)
    torch.testing.assert_close(distribution.cdf(y), levels.unsqueeze(-1).expand_as(y), rtol=rtol, atol=atol)
    ends = distribution.icdf(torch.tensor([[0.0], [1.0], [-0.1]], dtype=dtype))
    assert ends[0].tolist() == [-math.inf] * 3
    assert ends[1].tolist() == [math.inf] * 3
    assert ends[2].isnan().all()


def test_moments_and_draws():
    distribution = bars()
    for row, probs in enumerate(PROBS.tolist()):
        mean, square = (
            sum(
                integrate.quad(lambda t, k=k, p=probs: t**k * density(p, t), a, b, epsabs=1e-13)[0]
                for a, b in pairwise([-math.inf, *EDGES, math.inf])
            )
            for k in (1, 2)
        )
        assert distribution.mean[row].item() == pytest.approx(mean, rel=1e-10)
        assert distribution.variance[row].item() == pytest.approx(square - mean**2, rel=1e-10)
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        draws = distribution.sample((4000,))
    for row in range(3):
        level = distribution.cdf(draws)[:, row].numpy()
        assert stats.kstest(level, "uniform").pvalue > 1e-4
    logits = PROBS[:2].log().requires_grad_()
    (gradient,) = torch.autograd.grad(Binned(logits, EDGES, TAILS).rsample((5,)).sum(), logits)
    assert gradient.isfinite().all()
    assert gradient.any()


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_crps_is_the_integral(dtype):
    distribution, y = bars(dtype, len(PLACES)), torch.tensor(PLACES, dtype=dtype).unsqueeze(-1)
    found = crps(distribution, y.expand(-1, 3))
    value, bound = crps_with_bound(distribution, y.expand(-1, 3))
    torch.testing.assert_close(value, found)
    wide = Binned(distribution.logits.double(), EDGES, TAILS)
    for row in range(3):
        for place, one in zip(y[:, 0].tolist(), found[:, row], strict=True):
            want = squares(row, place, -math.inf, math.inf)
            assert one.item() == pytest.approx(want, rel=1e-10 if dtype == torch.float64 else 1e-5)
    general = generic_crps(wide, y.double().expand(-1, 3))
    assert ((value - general).abs() <= bound + 1e-8 * general).all()


@pytest.mark.parametrize("window", WINDOWS)
def test_windows_are_the_integral_and_add_up(window):
    distribution, y = bars(rows=len(PLACES)), torch.tensor(PLACES, dtype=torch.float64).unsqueeze(-1).expand(-1, 3)
    found = threshold_weighted_crps(distribution, y, *window)
    for row in range(3):
        for place, one in zip(y[:, 0].tolist()[::3], found[::3, row], strict=True):
            want = squares(row, place, *window)
            assert one.item() == pytest.approx(want, rel=1e-9, abs=1e-13)
    cuts = [-math.inf, *window, math.inf]
    pieces = [(a, b) for a, b in pairwise(cuts) if a < b]
    total = sum(threshold_weighted_crps(distribution, y, *piece) for piece in pieces)
    torch.testing.assert_close(total, crps(distribution, y), rtol=1e-12, atol=1e-14)


def test_the_crps_against_draws():
    scoringrules = pytest.importorskip("scoringrules")
    distribution, y = bars(), torch.tensor([-2.5, 0.1, 5.0], dtype=torch.float64)
    levels = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    ensemble = distribution.icdf(levels.unsqueeze(-1)).T.numpy()
    want = scoringrules.crps_ensemble(y.numpy(), ensemble)
    np.testing.assert_allclose(crps(distribution, y).numpy(), want, rtol=1e-3)


def test_its_gradients_are_those_of_finite_differences():
    y = torch.tensor([-3.0, 0.1, 7.0], dtype=torch.float64)
    logits = PROBS[:2].log()[:, None].expand(2, 3, 4).clone().requires_grad_()
    window = torch.tensor([-1.0, -1.0, 1.0], dtype=torch.float64), torch.tensor([0.2, 0.2, 9.0], dtype=torch.float64)

    def scores(logits):
        distribution = Binned(logits, EDGES, TAILS)
        windows = (end.expand(2, 3) for end in window)
        y_all = y.expand(2, 3)
        return (
            marginal_crps(distribution, y_all),
            marginal_window_crps(distribution, y_all, *windows),
            distribution.log_prob(y_all),
            distribution.cdf(y_all),
            distribution.icdf(torch.tensor([0.012, 0.4, 0.995], dtype=torch.float64).expand(2, 3)),
        )

    assert torch.autograd.gradcheck(scores, logits)


def test_a_linear_pool_is_one_distribution():
    weights = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
    pooled, y = linear_pool(bars(), weights), torch.tensor(PLACES, dtype=torch.float64)
    assert isinstance(pooled, Binned)
    mixture = Mixture(torch.distributions.Categorical(weights), bars(), validate_args=False)
    for function in ("log_prob", "cdf"):
        torch.testing.assert_close(getattr(pooled, function)(y), getattr(mixture, function)(y), rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(pooled.mean, mixture.mean)
    torch.testing.assert_close(pooled.variance, mixture.variance)
    mixture, pooled = mixture.expand((len(y),)), pooled.expand((len(y),))
    torch.testing.assert_close(crps(mixture, y), crps(pooled, y), rtol=1e-12, atol=0)
    torch.testing.assert_close(
        threshold_weighted_crps(mixture, y, -1.0, 2.0), threshold_weighted_crps(pooled, y, -1.0, 2.0)
    )
    value, bound = crps_with_bound(mixture, y)
    assert ((value - generic_crps(mixture, y)).abs() <= bound + 1e-8 * value).all()
    levels = torch.linspace(0.01, 0.99, 9, dtype=torch.float64).unsqueeze(-1)
    torch.testing.assert_close(mixture.icdf(levels), pooled.icdf(levels), rtol=1e-9, atol=1e-9)


def test_bins_of_each_rows_own():
    edges = torch.tensor([[0.0, 1.0, 2.0, 4.0, 8.0], [-10.0, -1.0, -1.0, 0.0, 5.0]], dtype=torch.float64)
    tails = torch.tensor([[1.0, 2.0], [3.0, 0.5]], dtype=torch.float64)
    probs = torch.tensor([[0.1, 0.4, 0.3, 0.2], [0.5, 0.0, 0.3, 0.2]], dtype=torch.float64)
    both = Binned(probs.log(), edges, tails)
    kept = [0, 2, 3]
    alone = [
        Binned(probs[0].log(), edges[0], tails[0]),
        # the bin of no width left out
        Binned(probs[1, kept].log(), edges[1, [0, 1, 3, 4]], tails[1]),
    ]
    y = torch.tensor([[-1.0, -12.0], [0.5, -1.0], [3.0, -0.5], [9.0, 7.0]], dtype=torch.float64)
    windows = (torch.full_like(y, -1.5), torch.full_like(y, 3.0))
    for row, single in enumerate(alone):
        for function in ("log_prob", "cdf"):
            torch.testing.assert_close(getattr(both, function)(y)[:, row], getattr(single, function)(y[:, row]))
        levels = torch.tensor([0.001, 0.2, 0.6, 0.9999], dtype=torch.float64)
        torch.testing.assert_close(both.icdf(levels.unsqueeze(-1))[:, row], single.icdf(levels))
        torch.testing.assert_close(both.mean[row], single.mean)
        torch.testing.assert_close(both.variance[row], single.variance)
        torch.testing.assert_close(marginal_crps(both, y)[:, row], marginal_crps(single, y[:, row]))
        torch.testing.assert_close(
            marginal_window_crps(both, y, *windows)[:, row],
            marginal_window_crps(single, y[:, row], *(t[:, row] for t in windows)),
        )
    vectors = Independent(both, 1)
    torch.testing.assert_close(vectors.log_prob(y), both.log_prob(y).sum(-1))
    # members of different bins are a mixture, of the same bins of each coordinate in closed form
    weights = torch.tensor([0.3, 0.7], dtype=torch.float64)
    assert isinstance(linear_pool(both, weights), Mixture)
    torch.testing.assert_close(
        linear_pool(both, weights).cdf(y[:, 0]), (weights * both.cdf(y[:, :1])).sum(-1), rtol=1e-12, atol=0
    )
    pair = Mixture(torch.distributions.Categorical(weights), Independent(both.expand((2, 2)), 1), validate_args=False)
    y = y[:2]
    torch.testing.assert_close(marginal_crps(pair, y), marginal_crps(vectors, y), rtol=1e-12, atol=0)


def test_rows_are_taken_and_joined():
    distribution = bars()
    taken = select(distribution, torch.tensor([2, 0]), 1)
    torch.testing.assert_close(taken.logits, distribution.logits[[2, 0]])
    joined = concatenate([distribution, taken])
    assert isinstance(joined, Binned)
    assert joined.batch_shape == (5,)
    assert joined.edges == EDGES
    assert distribution.expand((2, 3)).sample((4,)).shape == (4, 2, 3)
    level = pit(distribution, torch.tensor([0.1, -1.0, 2.0], dtype=torch.float64))
    assert ((level > 0) & (level < 1)).all()
    torch.testing.assert_close(nll(distribution, torch.zeros(3).double()), -distribution.log_prob(torch.zeros(3)))
    assert repr(distribution) == "Binned(4 bins, batch shape (3,))"


@pytest.mark.parametrize("scale", [1e-150, 1e-9, 1e9, 1e150])
def test_units_of_any_size(scale):
    edges, y = [scale * edge for edge in EDGES], torch.tensor([-3.0, 0.1, 5.0], dtype=torch.float64)
    want = bars().log_prob(y) - math.log(scale)
    distribution = Binned(PROBS.log(), edges, [scale * tail for tail in TAILS])
    torch.testing.assert_close(distribution.log_prob(scale * y), want, rtol=1e-12, atol=0)
    torch.testing.assert_close(crps(distribution, scale * y) / scale, crps(bars(), y), rtol=1e-12, atol=0)
    # edges that float32 cannot tell apart are apart
    near = Binned(PROBS.float().log(), [1e9 + edge for edge in EDGES], TAILS)
    torch.testing.assert_close(near.log_prob(1e9 + y), bars().log_prob(y).float(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("logits", "edges", "tails", "message"), [
    (torch.zeros(1), [0.0, 1.0], [1.0, 1.0], "a Binned needs the logits of at least two bins, one edge more than bins, "
     "and two scales of tails; got the shapes (1,), (2,) and (2,)."),
    (torch.zeros(3), [0.0, 1.0, 2.0], [1.0, 1.0], "a Binned needs the logits of at least two bins, one edge more than "
     "bins, and two scales of tails; got the shapes (3,), (3,) and (2,)."),
    (torch.zeros(2), [0.0, 1.0, 1.0], [1.0, 1.0],
     "the `edges` of a Binned must be finite and increase. Sort them, and drop repeated ones."),
    (torch.zeros(2), [0.0, 1.0, math.inf], [1.0, 1.0],
     "the `edges` of a Binned must be finite and increase. Sort them, and drop repeated ones."),
    (torch.zeros(2), [0.0, 1.0, 2.0], [0.0, 1.0],
     "the `tails` of a Binned, scales of what lies beyond the bins, must be finite and positive."),
    (torch.tensor([0.0, math.nan]), [0.0, 1.0, 2.0], [1.0, 1.0], "the `logits` of a Binned must not be NaN."),
])  # fmt: skip
def test_what_is_no_histogram_is_refused(logits, edges, tails, message):
    with pytest.raises(ValueError, match="Binned") as error:
        Binned(logits, edges, tails, validate_args=True)
    assert str(error.value) == message
