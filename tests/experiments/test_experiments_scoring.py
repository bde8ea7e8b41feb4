"""Scores of predictions, as numbers."""

import json

import numpy as np
import pytest
import torch

from probmix.experiments.scoring import class_scores, forecast_quantiles, forecast_scores


def test_scores_of_a_forecast_are_means_over_rows():
    y = np.array([1.0, 2.0, 10.0, 4.0])
    distribution = torch.distributions.Normal(torch.tensor([0.0, 2.0, 3.0, 4.5]), 2.0)
    scores = forecast_scores(distribution, y)
    z = (y - np.array([0.0, 2.0, 3.0, 4.5])) / 2
    density, below = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi), np.array([0.6914625, 0.5, 0.9997674, 0.4012937])
    levels = np.arange(1, 20) / 20
    inside = np.abs(below - 0.5)[:, None] <= levels / 2
    assert scores == {
        "nll": pytest.approx(np.mean(z**2 / 2 + np.log(2 * np.sqrt(2 * np.pi))), rel=1e-6),
        "crps": pytest.approx(np.mean(2 * (z * (2 * below - 1) + 2 * density - 1 / np.sqrt(np.pi))), rel=1e-5),
        "rmse": pytest.approx(2 * np.sqrt(np.mean(z**2)), rel=1e-6),
        "coverage90": 0.75,
        "calibration": pytest.approx(np.abs(inside.mean(0) - levels).mean()),
    }
    json.dumps(scores)


def test_scores_of_counts_are_randomised_and_the_same_every_time():
    y = np.random.default_rng(0).poisson(3.0, 2000)
    distribution = torch.distributions.Poisson(torch.full((2000,), 3.0))
    scores = forecast_scores(distribution, y)
    assert scores == forecast_scores(distribution, y)
    assert scores["calibration"] < 0.02
    assert scores["coverage90"] > 0.9


def test_scores_of_classes():
    probs = torch.tensor([[0.7, 0.2, 0.1], [0.3, 0.6, 0.1]])
    scores = class_scores(torch.distributions.Categorical(probs), np.array([0, 2]))
    assert scores == {
        "nll": pytest.approx(-(np.log(0.7) + np.log(0.1)) / 2, rel=1e-6),
        "accuracy": 0.5,
        "brier": pytest.approx((0.09 + 0.04 + 0.01 + 0.09 + 0.36 + 0.81) / 2, rel=1e-5),
    }
    json.dumps(scores)


def test_quantiles_of_a_forecast():
    distribution = torch.distributions.Normal(torch.tensor([0.0, 5.0], dtype=torch.float64), 2.0)
    quantiles = forecast_quantiles(distribution, (0.05, 0.5))
    assert quantiles["0.05"] == pytest.approx([-3.28970725, 5 - 3.28970725])
    assert quantiles["0.5"] == pytest.approx([0, 5])
    json.dumps(quantiles)
