"""The expected calibration error of classes."""

import itertools
import math

import numpy as np
import pytest
import torch
from calibration_cases import DTYPES
from sklearn.isotonic import IsotonicRegression

from probmix.distributions import Bernoulli
from probmix.scores import expected_calibration_error

# -- classes -----------------------------------------------------------------------------------------------------------


def ece_oracle(probs, y, weights, bins, quantile=False):
    confidence, right = probs.max(1), probs.argmax(1) == y
    edges = np.arange(bins + 1) / bins
    if quantile:
        ordered = np.sort(np.repeat(confidence, weights))
        edges = np.array([0.0] + [ordered[math.ceil(len(ordered) * b / bins) - 1] for b in range(1, bins)] + [1.0])
    error = 0.0
    for low, high in itertools.pairwise(edges):
        inside = (low < confidence) & (confidence <= high)
        w = weights * inside
        if w.sum():
            gap = np.average(right, weights=w) - np.average(confidence, weights=w)
            error += w.sum() / weights.sum() * abs(gap)
    return error


@pytest.mark.parametrize("strategy", ["uniform", "quantile"])
@pytest.mark.parametrize("bins", [1, 4, 15])
@pytest.mark.parametrize("dtype", DTYPES)
def test_expected_calibration_error_is_the_sum_over_bins(dtype, bins, strategy):
    random = np.random.default_rng(0)
    probs = random.dirichlet([0.7, 1, 2], 300)
    probs[:60] = probs[0]  # ties
    probs = torch.tensor(probs, dtype=dtype)
    probs = torch.distributions.Categorical(probs).probs.double()
    y, weights = random.integers(0, 3, 300), random.integers(0, 4, 300)
    categorical = torch.distributions.Categorical(probs.to(dtype))
    value = expected_calibration_error(categorical, torch.tensor(y), bins, strategy=strategy)
    assert value.dtype == dtype
    tolerance = 1e-6 if dtype == torch.float32 else 1e-12
    expected = ece_oracle(probs.numpy(), y, np.ones(300, dtype=int), bins, strategy == "quantile")
    assert value.item() == pytest.approx(expected, abs=tolerance)
    value = expected_calibration_error(
        categorical, torch.tensor(y), bins, strategy=strategy, sample_weight=torch.tensor(weights)
    )
    assert value.item() == pytest.approx(
        ece_oracle(probs.numpy(), y, weights, bins, strategy == "quantile"), abs=tolerance
    )


def test_bins_are_closed_on_the_right():
    forecast = torch.distributions.Bernoulli(torch.tensor([0.8, 0.81], dtype=torch.float64))
    y = torch.tensor([0.0, 1.0])
    assert expected_calibration_error(forecast, y, 5).item() == pytest.approx((0.8 + 0.19) / 2)
    assert expected_calibration_error(forecast, y, 4).item() == pytest.approx(abs(0.8 - 0.19) / 2)


def test_bins_of_equal_weight_have_one_row_each_where_there_are_as_many():
    # 0.07 * 100 and others round up
    p = torch.linspace(0.51, 1, 100, dtype=torch.float64)
    y = torch.arange(100) % 2
    value = expected_calibration_error(Bernoulli(p), y, 100, strategy="quantile")
    assert value.item() == pytest.approx((p - y).abs().mean().item())


def test_two_classes_are_one_event():
    random = np.random.default_rng(1)
    p = torch.tensor(random.uniform(size=50))
    y = torch.tensor(random.integers(0, 2, 50))
    of_two = torch.distributions.Categorical(torch.stack([1 - p, p], -1))
    for bins in (10, None):
        expected = expected_calibration_error(of_two, y, bins)
        torch.testing.assert_close(expected_calibration_error(Bernoulli(p), y.double(), bins), expected)
        torch.testing.assert_close(expected_calibration_error(Bernoulli(logits=p.logit()), y, bins), expected)
        square = torch.distributions.Bernoulli(p.reshape(5, 10))
        torch.testing.assert_close(expected_calibration_error(square, y.reshape(5, 10), bins), expected)


def test_without_bins_the_accuracy_is_an_isotonic_regression():
    random = np.random.default_rng(0)
    probs = random.dirichlet([1, 1, 2], 200)
    probs[50:90] = probs[7]
    y, weights = random.integers(0, 3, 200), random.integers(0, 3, 200)
    categorical = torch.distributions.Categorical(torch.tensor(probs))
    probs = categorical.probs.numpy()
    confidence, right = probs.max(1), (probs.argmax(1) == y).astype(float)
    fitted = IsotonicRegression().fit_transform(confidence, right)
    value = expected_calibration_error(categorical, torch.tensor(y), bins=None)
    assert value.item() == pytest.approx(np.abs(confidence - fitted).mean(), abs=1e-12)
    value = expected_calibration_error(categorical, torch.tensor(y), None, sample_weight=torch.tensor(weights))
    used = weights > 0
    fitted = IsotonicRegression().fit_transform(confidence[used], right[used], sample_weight=weights[used])
    assert value.item() == pytest.approx(
        np.average(np.abs(confidence[used] - fitted), weights=weights[used]), abs=1e-12
    )


def test_what_calibrated_classes_have_by_chance():
    generator = torch.Generator().manual_seed(0)
    n, bins, errors = 3000, 10, []
    p = 0.5 + 0.5 * torch.rand(n, dtype=torch.float64, generator=generator)
    for _ in range(300):
        y = torch.bernoulli(p, generator=generator)
        errors.append(expected_calibration_error(Bernoulli(p), y, bins).item())
    places = (p * bins).ceil()
    roots = sum((p * (1 - p))[places == b].sum().sqrt().item() for b in range(1, bins + 1))
    assert np.mean(errors) == pytest.approx(math.sqrt(2 / math.pi) * roots / n, rel=0.05)
    assert np.mean(errors) < 0.4 * math.sqrt(bins / n)
    # a constant prediction of the frequency
    assert expected_calibration_error(Bernoulli(torch.full((4,), 0.75)), torch.tensor([1.0, 1, 0, 1])).item() == 0
