"""Reliability curves, and errors of decompositions."""

import math

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from corp_cases import DTYPES, SCORES, case, decompose, fit, raises

from probmix.distributions import Bernoulli, Categorical
from probmix.scores import corp_decomposition, reliability_curve


@pytest.fixture
def few_thresholds(monkeypatch):
    monkeypatch.setattr("probmix.scores.corp._THRESHOLDS", 100)


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
