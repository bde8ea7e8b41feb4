"""The scikit-learn scorers: sign, weights, classes, pickling, and that a grid search keeps the better model."""

import pickle
import re

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from sklearn.base import BaseEstimator
from sklearn.model_selection import GridSearchCV

from probmix.scores import crps, neg_crps_scorer, neg_nll_scorer, nll

SCORERS = [(neg_nll_scorer, nll), (neg_crps_scorer, crps)]


class Shifted(BaseEstimator):
    """Predicts a standard Normal around the feature plus a shift."""

    def __init__(self, shift=0.0):
        self.shift = shift

    def fit(self, X, y):
        return self

    def predict_dist(self, X):
        loc = torch.as_tensor(np.asarray(X, dtype=np.float64)[:, 0]) + self.shift
        return dist.Normal(loc, torch.ones_like(loc))


class Classes(BaseEstimator):
    """Always predicts the same three classes."""

    classes_ = np.array(["high", "low", "mid"])
    probs = (0.2, 0.5, 0.3)

    def predict_dist(self, X):
        return dist.Categorical(torch.tensor([self.probs] * len(X), dtype=torch.float64))


@pytest.mark.parametrize(("scorer", "score"), SCORERS)
def test_scorer_is_minus_the_weighted_mean(scorer, score):
    X, y, weights = np.array([[0.0], [1.0], [2.0]]), [0.5, 1.0, 5.0], [1.0, 2.0, 3.0]
    values = score(Shifted().predict_dist(X), torch.tensor(y)).numpy()
    assert scorer(Shifted(), X, y) == pytest.approx(-values.mean())
    assert scorer(Shifted(), X, y, sample_weight=weights) == pytest.approx(-np.average(values, weights=weights))
    assert isinstance(scorer(Shifted(), X, np.array([0, 1, 2])), float)
    assert scorer(Shifted(), X, y) > scorer(Shifted(5.0), X, y)


@pytest.mark.parametrize(("scorer", "score"), SCORERS)
def test_grid_search_keeps_the_better_model(scorer, score):
    X = np.linspace(0, 1, 30).reshape(-1, 1)
    y = X[:, 0] + np.random.default_rng(0).normal(size=30)
    search = GridSearchCV(Shifted(), {"shift": [-3.0, 0.0, 3.0]}, scoring=scorer, refit=False, cv=3).fit(X, y)
    assert search.best_params_ == {"shift": 0.0}
    assert search.best_score_ < 0


@pytest.mark.parametrize(("scorer", "score"), SCORERS)
def test_classes_are_found_by_label(scorer, score):
    labels = ["mid", "high", "low", "mid"]
    probs = torch.tensor([Classes.probs] * 4, dtype=torch.float64)
    expected = -score(dist.Categorical(probs), torch.tensor([2, 0, 1, 2])).mean().item()
    assert scorer(Classes(), np.zeros((4, 1)), labels) == pytest.approx(expected)
    assert scorer(Classes(), np.zeros((4, 1)), np.array(labels, dtype=object)) == pytest.approx(expected)
    message = "`y` must hold classes that the estimator has seen, ['high', 'low', 'mid']; got 'none'. "
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        scorer(Classes(), np.zeros((2, 1)), ["mid", "none"])
    with pytest.raises(ValueError, match="got 'zzz'"):
        scorer(Classes(), np.zeros((2, 1)), np.array(["mid", "zzz"], dtype=object))


@pytest.mark.parametrize(("scorer", "score"), SCORERS)
def test_scorers_pickle(scorer, score):
    assert pickle.loads(pickle.dumps(scorer)) is scorer


def test_requests_are_those_of_a_copy():
    before = neg_nll_scorer.get_metadata_routing().score.requests
    asked = neg_nll_scorer.set_score_request(exposure=True)
    assert asked is not neg_nll_scorer
    assert asked.get_metadata_routing().score.requests == {"sample_weight": None, "exposure": True}
    assert neg_nll_scorer.get_metadata_routing().score.requests == before == {"sample_weight": None, "exposure": None}


def test_column_targets_are_an_error():
    with pytest.raises(ValueError, match=re.escape("got shape (2, 1). Pass y.reshape((2,)).")):
        neg_nll_scorer(Shifted(), np.zeros((2, 1)), np.zeros((2, 1)))


class Between(Shifted):
    """Predicts a density that is zero below a feature."""

    def predict_dist(self, X):
        low = torch.as_tensor(X[:, 0])
        return dist.Uniform(low, torch.full_like(low, 4), validate_args=False)


def test_a_row_without_weight_may_have_no_density():
    """Fits leave such rows out, and say that dropped rows may be given the weight zero."""
    X, y, weight = np.array([[0.0], [0.5], [0.0]]), np.array([1.0, 0.0, 2.0]), np.array([1.0, 0.0, 3.0])
    assert neg_nll_scorer(Between(), X, y, sample_weight=weight) == pytest.approx(-np.log(4))
