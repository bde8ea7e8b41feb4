"""Decompositions of scores by isotonic regression."""

import math

import numpy as np
import pyro.distributions as dist
import pytest
import scipy.stats as st
import torch
from corp_cases import DTYPES, SCORES, case, decompose, fit, pinball
from scipy.special import xlogy
from sklearn.isotonic import IsotonicRegression

from probmix import linear_pool
from probmix.distributions import Bernoulli, Categorical, Poisson, icdf
from probmix.scores import brier, corp_decomposition, crps, nll, quantile_score
from probmix.scores._isotonic import isotonic_mean, isotonic_quantile


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
