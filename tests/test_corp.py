"""Recalibration by isotonic regression, decompositions of mean scores, and reliability curves."""

import math
import re

import numpy as np
import pyro.distributions as dist
import pytest
import scipy.stats as st
import torch
from scipy.special import xlogy
from sklearn.isotonic import IsotonicRegression

from probmix import linear_pool
from probmix.distributions import Bernoulli, Categorical, Poisson, icdf
from probmix.scores import brier, corp_decomposition, crps, nll, quantile_score, reliability_curve
from probmix.scores._isotonic import isotonic_mean, isotonic_quantile

DTYPES = [torch.float32, torch.float64]
SCORES = ["brier", "log", "squared_error", "quantile", "crps"]


def raises(kind, message):
    return pytest.raises(kind, match=f"^{re.escape(message)}$")


def pinball(q, y, level):
    return np.where(y > q, level * (y - q), (1 - level) * (q - y))


def fit(forecast, y, weights=None):
    """Isotonic means by their formula: at i the largest over a <= i of the smallest over b >= i of the mean of a..b."""
    distinct, ties = np.unique(forecast, return_inverse=True)
    weights = np.ones(len(y)) if weights is None else weights
    total = np.append(0, np.cumsum(np.bincount(ties, weights)))
    target = np.append(0, np.cumsum(np.bincount(ties, weights * y)))
    a, b = np.triu_indices(len(distinct))
    means = np.full((len(distinct),) * 2, np.inf)
    means[a, b] = (target[b + 1] - target[a]) / (total[b + 1] - total[a])
    smallest = np.minimum.accumulate(means[:, ::-1], 1)[:, ::-1]
    return np.where(np.tri(len(distinct)).T > 0, smallest, -np.inf).max(0)[ties]


def case(score, n=60, seed=0, dtype=torch.float64):
    """Forecasts that are neither calibrated nor useless, with ties, and targets."""
    random = np.random.default_rng(seed)
    x = np.round(random.normal(size=n), 1)
    if score in ("brier", "log"):
        p = 1 / (1 + np.exp(-2.5 * x))
        y = (random.uniform(size=n) < 1 / (1 + np.exp(-x - 0.4))).astype(float)
        return torch.distributions.Bernoulli(torch.tensor(p, dtype=dtype)), torch.tensor(y)
    scale = np.round(random.uniform(0.3, 2, n), 1)
    y = 0.7 * x + 0.5 + 1.3 * scale * random.normal(size=n)
    return dist.Normal(torch.tensor(x, dtype=dtype), torch.tensor(scale, dtype=dtype)), torch.tensor(y)


def decompose(score, distribution, y, **options):
    return corp_decomposition(distribution, y, score, level=0.8 if score == "quantile" else None, **options)


@pytest.fixture
def few_thresholds(monkeypatch):
    monkeypatch.setattr("probmix.scores.corp._THRESHOLDS", 100)


# -- isotonic regression -----------------------------------------------------------------------------------------------


def least_quantile_score(forecast, y, weights, level):
    """Least sum over all increasing functions of the forecast with values among y, by dynamic programming."""
    values = np.unique(y)
    best = np.zeros(len(values))
    for x in np.unique(forecast):
        rows = forecast == x
        here = [(weights[rows] * pinball(v, y[rows], level)).sum() for v in values]
        best = np.minimum.accumulate(best) + here
    return best.min()


@pytest.mark.parametrize("level", [0.05, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("n", [1, 2, 7, 40, 150])
def test_isotonic_quantiles_have_the_least_score(n, level):
    for seed in range(6):
        random = np.random.default_rng(seed)
        forecast = random.normal(size=n).round(1 if seed % 2 else 9)
        y = (forecast + 2 * random.normal(size=n)).round(1 if seed % 3 else 9)
        weights = random.integers(1, 4, n).astype(float) if seed % 2 else np.ones(n)
        fitted = isotonic_quantile(forecast, y, weights, level)
        order = np.argsort(forecast, kind="stable")
        assert (np.diff(fitted[order]) >= 0).all()
        assert (np.diff(fitted[order])[np.diff(forecast[order]) == 0] == 0).all()
        score = (weights * pinball(fitted, y, level)).sum()
        assert score == pytest.approx(least_quantile_score(forecast, y, weights, level), rel=1e-12, abs=1e-12)


def test_isotonic_quantiles_by_hand():
    x, ones = np.arange(5.0), np.ones(5)
    np.testing.assert_array_equal(isotonic_quantile(x, np.array([1.0, 5, 4, 2, 9]), ones, 0.5), [1, 4, 4, 4, 9])
    np.testing.assert_array_equal(isotonic_quantile(-x, x[::-1], ones, 0.5), x[::-1])
    y = np.array([4.0, 1, 3, 2, 5])
    np.testing.assert_array_equal(
        isotonic_quantile(0 * x, y, ones, 0.3), np.full(5, np.quantile(y, 0.3, method="inverted_cdf"))
    )


def test_isotonic_means_are_those_of_scikit_learn():
    random = np.random.default_rng(0)
    forecast = random.normal(size=200).round(1)
    y, weights = forecast + random.normal(size=200), random.uniform(0.1, 3, 200)
    model = IsotonicRegression().fit(forecast, y, sample_weight=weights)
    np.testing.assert_allclose(isotonic_mean(forecast, y, weights), model.predict(forecast), rtol=1e-12)
    np.testing.assert_allclose(fit(forecast, y, weights), model.predict(forecast), rtol=1e-9)
    # scikit-learn takes forecasts within 1e-15 for equal ones
    tiny = np.array([1e-18, 2e-18, 3e-18])
    np.testing.assert_array_equal(isotonic_mean(tiny, np.array([0.0, 0.0, 1.0]), np.ones(3)), [0, 0, 1])


# -- decompositions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_brier_and_log_score_of_an_event(dtype):
    forecast, y = case("brier", dtype=dtype)
    p, z = forecast.probs.double().numpy(), y.numpy()
    fitted, r = fit(p, z), z.mean()
    tolerance = {"rel": 1e-6 if dtype == torch.float32 else 1e-12}
    expected = [np.mean((q - z) ** 2) for q in (p, fitted, r)]
    parts = corp_decomposition(forecast, y, "brier")
    assert all(isinstance(part, float) for part in parts)
    score, after, constant = expected
    assert parts == pytest.approx((score, score - after, constant - after, r * (1 - r)), **tolerance)
    assert parts.score == pytest.approx(crps(forecast, y).mean().item(), rel=1e-6)
    expected = [-np.mean(xlogy(z, q) + xlogy(1 - z, 1 - q)) for q in (p, fitted, r)]
    score, after, constant = expected
    parts = corp_decomposition(forecast, y, "log")
    assert parts == pytest.approx((score, score - after, constant - after, st.entropy([r, 1 - r])), **tolerance)
    assert parts.score == pytest.approx(nll(forecast, y.to(dtype)).mean().item(), rel=1e-6)


def test_brier_score_of_classes_is_decomposed_class_by_class():
    random = np.random.default_rng(0)
    probs = random.dirichlet([1, 2, 3], 80)
    y = np.array([random.choice(3, p=q) for q in probs**0.5 / (probs**0.5).sum(1, keepdims=True)])
    forecast = Categorical(torch.tensor(probs))
    parts = corp_decomposition(forecast, torch.tensor(y), "brier")
    after = constant = 0.0
    for k in range(3):
        after += np.mean((fit(probs[:, k], y == k) - (y == k)) ** 2)
        constant += np.mean(y == k) * np.mean(y != k)
    score = brier(forecast, torch.tensor(y)).mean().item()
    assert parts == pytest.approx((score, score - after, constant - after, constant))
    # two classes have twice the score of the event, and the same log score
    event, z = case("brier")
    pair = Categorical(torch.stack([1 - event.probs, event.probs], -1))
    assert corp_decomposition(pair, z, "brier") == pytest.approx([2 * p for p in corp_decomposition(event, z, "brier")])
    assert corp_decomposition(pair, z, "log") == pytest.approx(corp_decomposition(event, z, "log"))


@pytest.mark.parametrize("dtype", DTYPES)
def test_squared_error_and_quantile_score(dtype):
    forecast, y = case("crps", dtype=dtype)
    mean, t = forecast.mean.double().numpy(), y.numpy()
    tolerance = {"rel": 1e-6 if dtype == torch.float32 else 1e-12}
    score, after = np.mean((mean - t) ** 2), np.mean((fit(mean, t) - t) ** 2)
    parts = corp_decomposition(forecast, y, "squared_error")
    assert parts == pytest.approx((score, score - after, t.var() - after, t.var()), **tolerance)
    for level in (0.1, 0.5, 0.8):
        q = icdf(dist.Normal(forecast.loc.double(), forecast.scale.double()), torch.tensor(level, dtype=torch.float64))
        after = least_quantile_score(q.numpy(), t, np.ones(len(t)), level) / len(t)
        constant = pinball(np.quantile(t, level, method="inverted_cdf"), t, level).mean()
        score = quantile_score(q.unsqueeze(-1), y, [level]).mean().item()
        parts = corp_decomposition(forecast, y, "quantile", level=level)
        assert parts == pytest.approx((score, score - after, constant - after, constant), **tolerance)


def crps_oracle(cdf, y, thresholds, lengths):
    """DSC, and MCB and UNC from their own integrals, by a rule over thresholds."""
    sums = np.zeros(3)
    for z, length in zip(thresholds, lengths, strict=True):
        happened, forecast = (y <= z).astype(float), cdf(z)
        fitted, r = fit(forecast, happened), happened.mean()
        before, after = np.mean((forecast - happened) ** 2), np.mean((fitted - happened) ** 2)
        sums += length * np.array([before - after, r * (1 - r) - after, r * (1 - r)])
    return sums


def test_crps_of_counts_is_decomposed_exactly():
    random = np.random.default_rng(0)
    rates = random.uniform(0.2, 9, 70)
    y = random.poisson(0.6 * rates + 1)
    grid = np.arange(0, 60)
    mcb, dsc, unc = crps_oracle(lambda z: st.poisson(rates).cdf(z), y, grid, np.ones(60))
    forecast = Poisson(torch.tensor(rates))
    parts = corp_decomposition(forecast, torch.tensor(y), "crps")
    score = crps(forecast, torch.tensor(y)).mean().item()
    assert parts == pytest.approx((score, mcb, dsc, unc), rel=1e-7)
    assert unc == pytest.approx(0.5 * np.abs(y[:, None] - y).mean())


def test_crps_of_ordered_densities_is_decomposed_exactly():
    random = np.random.default_rng(0)
    loc = random.normal(size=50)
    y = 0.5 * loc + random.normal(size=50)
    ends = np.sort(y)
    # one threshold between neighbours will do, as the order of the rows is the same at all
    _, dsc, unc = crps_oracle(lambda z: st.norm(loc, 0.7).cdf(z), y, (ends[1:] + ends[:-1]) / 2, np.diff(ends))
    forecast = dist.Normal(torch.tensor(loc), 0.7)
    score = crps(forecast, torch.tensor(y)).mean().item()
    parts = corp_decomposition(forecast, torch.tensor(y), "crps")
    assert parts == pytest.approx((score, score + dsc - unc, dsc, unc), rel=1e-10)


@pytest.mark.parametrize("n", [12, 60])
def test_crps_of_crossing_densities_is_decomposed_closely(n):
    forecast, y = case("crps", n)
    ends = np.sort(y.numpy())
    fine = ends[:-1] + np.diff(ends) * (np.arange(50)[:, None] + 0.5) / 50
    lengths = np.broadcast_to(np.diff(ends) / 50, fine.shape)
    law = st.norm(forecast.loc.numpy(), forecast.scale.numpy())
    _, dsc, unc = crps_oracle(law.cdf, y.numpy(), fine.ravel(), lengths.ravel())
    parts = corp_decomposition(forecast, y, "crps")
    assert parts.discrimination == pytest.approx(dsc, abs=1e-3 * unc)
    assert parts.uncertainty == pytest.approx(unc)


def test_crps_of_more_values_than_thresholds():
    n = 1300
    random = np.random.default_rng(0)
    # heavy tails: a few rows have most of the range
    loc, y = random.standard_t(3, n), random.standard_t(2.5, n)
    y += 0.8 * loc
    parts = corp_decomposition(dist.Normal(torch.tensor(loc), 1.0), torch.tensor(y), "crps")
    ends = np.sort(y)
    forecast = st.norm(loc, 1).cdf
    sums = np.zeros(2)
    for z, length in zip((ends[1:] + ends[:-1]) / 2, np.diff(ends), strict=True):
        happened = (y <= z) * 1.0
        fitted = isotonic_mean(forecast(z), happened, np.ones(n))
        sums += length * np.array([((fitted - happened.mean()) ** 2).mean(), happened.mean() * (1 - happened.mean())])
    dsc, unc = sums
    assert parts.uncertainty == pytest.approx(unc)
    assert parts.discrimination == pytest.approx(dsc, abs=1e-3 * unc)
    spread = Poisson(torch.tensor(np.exp(random.normal(6, 1, 100))))
    counts = torch.tensor(random.poisson(spread.rate.numpy()))
    assert counts.max() - counts.min() > 1000
    rough = corp_decomposition(spread, counts, "crps")
    assert rough.uncertainty == pytest.approx(0.5 * (counts[:, None] - counts).abs().double().mean().item())
    assert 0.8 * rough.uncertainty < rough.discrimination < rough.uncertainty


def test_the_crps_of_an_event_is_its_brier_score():
    forecast, y = case("brier")
    assert corp_decomposition(forecast, y, "crps") == pytest.approx(corp_decomposition(forecast, y, "brier"), rel=1e-9)


@pytest.mark.usefixtures("few_thresholds")
@pytest.mark.parametrize("score", SCORES)
def test_parts_sum_to_the_score_and_are_not_negative(score):
    for seed in range(2):
        parts = decompose(score, *case(score, seed=seed))
        assert parts.score == pytest.approx(parts.miscalibration - parts.discrimination + parts.uncertainty, rel=1e-12)
        assert min(parts) > 0


@pytest.mark.usefixtures("few_thresholds")
@pytest.mark.parametrize("score", SCORES)
def test_weights_count_like_repeated_rows(score):
    forecast, y = case(score)
    repeats = torch.tensor(np.random.default_rng(5).integers(0, 4, len(y)))
    index = torch.repeat_interleave(torch.arange(len(y)), repeats)
    if score in ("brier", "log"):
        repeated = torch.distributions.Bernoulli(forecast.probs[index])
    else:
        repeated = dist.Normal(forecast.loc[index], forecast.scale[index])
    weighted = decompose(score, forecast, y, sample_weight=repeats)
    assert weighted == pytest.approx(decompose(score, repeated, y[index]), rel=1e-9)
    assert weighted != pytest.approx(decompose(score, forecast, y), rel=1e-3)


def test_a_recalibrated_forecast_has_no_miscalibration():
    forecast, y = case("brier")
    p = forecast.probs.numpy()
    again = torch.distributions.Bernoulli(torch.tensor(fit(p, y.numpy())))
    for score in ("brier", "log"):
        before, after = corp_decomposition(forecast, y, score), corp_decomposition(again, y, score)
        assert after.miscalibration == pytest.approx(0, abs=1e-12)
        assert after[2:] == pytest.approx(before[2:])
    forecast, y = case("crps")
    law = dist.Normal(torch.tensor(fit(forecast.loc.numpy(), y.numpy())), 1.0)
    assert corp_decomposition(law, y, "squared_error").miscalibration == pytest.approx(0, abs=1e-12)
    fitted = isotonic_quantile(forecast.loc.numpy(), y.numpy(), np.ones(60), 0.5)
    law = dist.Normal(torch.tensor(fitted), 1.0)
    assert corp_decomposition(law, y, "quantile", level=0.5).miscalibration == pytest.approx(0, abs=1e-12)


def test_an_increasing_function_of_the_forecast_changes_the_miscalibration_only():
    forecast, y = case("log")
    other = torch.distributions.Bernoulli(0.3 * forecast.probs**2)
    for score in ("brier", "log"):
        before, after = corp_decomposition(forecast, y, score), corp_decomposition(other, y, score)
        assert after[2:] == pytest.approx(before[2:])
        assert after.miscalibration != pytest.approx(before.miscalibration, rel=0.1)


def test_a_constant_forecast_of_the_frequencies_has_uncertainty_alone():
    y = torch.tensor([0, 1, 1, 2, 0, 1, 1, 0, 1, 2])
    frequencies = torch.bincount(y) / 10
    forecast = Categorical(frequencies.double().expand(10, 3))
    for score in ("brier", "crps"):
        parts = corp_decomposition(forecast, y, score)
        assert parts.discrimination == pytest.approx(0, abs=1e-15)
        assert parts.miscalibration == pytest.approx(0, abs=1e-7)
        assert parts.score == pytest.approx(parts.uncertainty, abs=1e-7)
    for score in SCORES:
        forecast, y = case(score)
        constant = Bernoulli(forecast.probs[:1]) if score in ("brier", "log") else dist.Normal(forecast.loc[:1], 1.0)
        parts = decompose(score, constant.expand((len(y),)), y)
        assert parts.discrimination == 0
        assert parts.miscalibration > 0


def test_impossible_events_that_happen_cost_infinitely_much():
    forecast = Categorical(logits=torch.tensor([[0.0, -math.inf], [0.0, 0.0], [0.0, 1.0]], dtype=torch.float64))
    parts = corp_decomposition(forecast, torch.tensor([1, 0, 1]), "log")
    assert parts[:2] == (math.inf, math.inf)
    assert parts.uncertainty == pytest.approx(st.entropy([1 / 3, 2 / 3]))
    # sure and right: nothing is lost
    sure = Bernoulli(torch.tensor([0.0, 1.0, 1.0], dtype=torch.float64))
    assert corp_decomposition(sure, torch.tensor([0.0, 1, 1]), "brier")[:2] == (0, 0)


@pytest.mark.usefixtures("few_thresholds")
def test_mixtures_and_scalar_targets():
    pool = linear_pool(dist.Normal(torch.tensor([[0.0, 1.0], [2.0, 5.0], [1.0, 1.0]]).double(), 1.0))
    y = torch.tensor([0.5, 3.0, 2.0]).double()
    for score in ("squared_error", "quantile", "crps"):
        parts = decompose(score, pool, y)
        assert parts.discrimination == pytest.approx(parts.uncertainty)  # in the right order
        assert parts.score == pytest.approx(parts.miscalibration)
    single = decompose("crps", dist.Normal(torch.zeros(1), 1.0), torch.ones(1))
    assert single[2:] == (0, 0)
    assert single.score == pytest.approx(crps(dist.Normal(0.0, 1.0), torch.tensor(1.0)).item())


# -- reliability curves ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_reliability_curve_is_an_isotonic_regression(dtype):
    forecast, y = case("brier", 200, dtype=dtype)
    weights = torch.tensor(np.random.default_rng(3).integers(0, 3, 200))
    curve = reliability_curve(forecast, y)
    p = forecast.probs.double().numpy()
    distinct, first, counts = np.unique(p, return_index=True, return_counts=True)
    assert curve.probability.dtype == curve.event_rate.dtype == dtype
    np.testing.assert_allclose(curve.probability, distinct, rtol=1e-7)
    np.testing.assert_allclose(curve.event_rate, fit(p, y.numpy())[first], atol=1e-7)
    np.testing.assert_array_equal(curve.weight, counts)
    assert torch.equal(curve.event_rate, reliability_curve(forecast, y > 0.5).event_rate)
    assert curve.lower is None
    assert curve.upper is None
    weighted = reliability_curve(forecast, y, sample_weight=weights)
    used = weights.numpy() > 0
    fitted = fit(p[used], y.numpy()[used], weights.numpy()[used])
    distinct, first = np.unique(p[used], return_index=True)
    np.testing.assert_allclose(weighted.probability, distinct, rtol=1e-7)
    np.testing.assert_allclose(weighted.event_rate, fitted[first], atol=1e-7)
    assert weighted.weight.sum() == weights.sum()


def test_events_of_classes():
    random = np.random.default_rng(0)
    probs = torch.tensor(random.dirichlet([1, 1, 1], 50))
    y = torch.tensor(random.integers(0, 3, 50))
    forecast = Categorical(probs)

    def same(first, second):
        return all(torch.allclose(a, b, rtol=1e-14, atol=0) for a, b in zip(first[:3], second[:3], strict=True))

    for k in range(3):
        assert same(reliability_curve(forecast, y, k), reliability_curve(Bernoulli(forecast.probs[:, k]), (y == k) * 1))
    confidence, top = forecast.probs.max(-1)
    assert same(reliability_curve(forecast, y), reliability_curve(Bernoulli(confidence), (top == y) * 1))
    pair = Categorical(probs[:, :2])
    binary = torch.tensor(random.integers(0, 2, 50))
    assert same(reliability_curve(pair, binary), reliability_curve(pair, binary, 1))
    rates = reliability_curve(pair, binary, 0).event_rate
    np.testing.assert_allclose(rates.flip(0), 1 - reliability_curve(pair, binary, 1).event_rate, atol=1e-12)


def test_the_consistency_band_holds_calibrated_curves():
    generator = torch.Generator().manual_seed(0)
    p = torch.rand(300, dtype=torch.float64, generator=generator).round(decimals=2)
    forecast = Bernoulli(p)
    before = torch.get_rng_state()
    band = reliability_curve(forecast, torch.bernoulli(p, generator=generator), level=0.9)
    assert torch.equal(before, torch.get_rng_state())
    assert (band.lower <= band.upper).all()
    inside = torch.zeros(300)
    for i in range(300):
        curve = reliability_curve(forecast, torch.bernoulli(p, generator=generator))
        inside[i] = ((band.lower <= curve.event_rate) & (curve.event_rate <= band.upper)).double().mean()
    assert 0.88 < inside.mean() < 0.96  # rates are discrete
    wider = reliability_curve(forecast, torch.zeros(300), level=0.99)
    assert (wider.lower <= band.lower).all()
    assert (wider.upper >= band.upper).all()
    assert (wider.upper > band.upper).double().mean() > 0.5


def test_the_band_depends_on_forecasts_weights_and_generator_alone():
    forecast, y = case("brier", 40)

    def ends(y, **options):
        return torch.stack(reliability_curve(forecast, y, level=0.9, **options)[3:])

    band = ends(y)
    assert torch.equal(band, ends(1 - y))
    assert not torch.equal(band, ends(y, generator=torch.Generator().manual_seed(1)))
    assert not torch.equal(band, ends(y, sample_weight=1 + 50 * y))


def test_a_band_of_very_many_forecasts_is_interpolated():
    p = torch.linspace(0, 1, 2001, dtype=torch.float64)
    curve = reliability_curve(Bernoulli(p), (p > 0.5).double(), level=0.5)
    assert curve.lower.shape == (2001,)
    assert (curve.lower.diff() >= 0).all()
    assert ((curve.lower <= p) & (p <= curve.upper)).double().mean() > 0.9
    assert curve.upper[0] == 0
    assert curve.lower[-1] == 1


# -- errors ------------------------------------------------------------------------------------------------------------


def test_decomposition_errors():
    normal, y = dist.Normal(torch.zeros(3), 1.0), torch.zeros(3)
    message = "`score` must be one of 'brier', 'log', 'squared_error', 'crps', 'quantile'; got 'rmse'."
    with raises(ValueError, message):
        corp_decomposition(normal, y, "rmse")
    rule = "`level` is needed for the score 'quantile' and for no other; got level="
    with raises(ValueError, rule + "None for 'quantile'."):
        corp_decomposition(normal, y, "quantile")
    with raises(ValueError, rule + "0.9 for 'crps'."):
        corp_decomposition(normal, y, "crps", level=0.9)
    with raises(ValueError, "`level` must lie between 0 and 1, both excluded, got 90. For 90 % pass 0.9."):
        corp_decomposition(normal, y, "quantile", level=90)
    message = "a decomposition needs one target per row; got event shape (2,). Decompose the scores of the targets "
    with raises(ValueError, message + "one by one."):
        corp_decomposition(dist.Normal(torch.zeros(3, 2), 1.0).to_event(1), torch.zeros(3, 2), "crps")
    message = "classes or events need a Categorical or a Bernoulli distribution with one target per row, got Normal."
    for score in ("brier", "log"):
        with raises(TypeError, message):
            corp_decomposition(normal, y, score)
    message = "the log score is decomposed for two classes, got 3. Take 'brier', or a Bernoulli of one class against "
    with raises(ValueError, message + "the others."):
        corp_decomposition(Categorical(torch.ones(2, 3)), torch.zeros(2), "log")
    for score in SCORES:
        with raises(ValueError, "`y` must be finite; got nan at row 0. Drop or impute these rows."):
            decompose(score, case(score, 3)[0], torch.full((3,), math.nan))
    with raises(ValueError, "`sample_weight` must be positive in at least one row; got zeros only."):
        corp_decomposition(normal, y, "crps", sample_weight=y)


def test_reliability_errors():
    three = Categorical(torch.ones(2, 3))
    with raises(ValueError, "`event` must be a class index 0 .. 2, got 3."):
        reliability_curve(three, torch.zeros(2), 3)
    with raises(ValueError, "`level` must lie between 0 and 1, both excluded, got 95. For 95 % pass 0.95."):
        reliability_curve(three, torch.zeros(2), level=95)
    with raises(ValueError, "`y` must be 0 or 1; got 2 at row 1. Encode the two classes first."):
        reliability_curve(Bernoulli(torch.ones(2) / 2), torch.tensor([1.0, 2.0]))


@pytest.mark.cuda
@pytest.mark.usefixtures("few_thresholds")
def test_cuda_decomposes_like_the_cpu():
    for score in SCORES:
        forecast, y = case(score)
        if score in ("brier", "log"):
            there = torch.distributions.Bernoulli(forecast.probs.cuda())
        else:
            there = dist.Normal(forecast.loc.cuda(), forecast.scale.cuda())
        assert decompose(score, there, y.cuda()) == pytest.approx(decompose(score, forecast, y), rel=1e-9)
    forecast, y = case("brier")
    curve = reliability_curve(torch.distributions.Bernoulli(forecast.probs.cuda()), y.cuda(), level=0.9)
    assert {values.device.type for values in curve} == {"cuda"}
    torch.testing.assert_close(curve.event_rate.cpu(), reliability_curve(forecast, y).event_rate)
