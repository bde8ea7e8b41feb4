"""The estimator that recalibrates a model."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from recalibration_cases import QUICK, Known, wide
from scipy import stats
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV, GroupKFold, ShuffleSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from probmix.calibration import Recalibrated, RecalibratedRegressor, fit_pit_map
from probmix.scores import coverage, crps, neg_crps_scorer, neg_nll_scorer, nll, pit


def noisy(n: int, seed: int, scale: float = 2.0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 2))
    return X, X[:, 0] + scale * rng.normal(size=n)


@pytest.mark.parametrize("scale", [0.5, 1.0, 6.0])
def test_a_wrong_spread_is_put_right(scale: float) -> None:
    """The model says N(x, scale), the truth is N(x, 2)."""
    X, y = noisy(2000, 0)
    model = RecalibratedRegressor(FrozenEstimator(Known(scale).fit(X, y)), random_state=0).fit(X, y)
    X, y = noisy(4000, 1)
    before, after, truth, target = Known(scale).predict_dist(X), model.predict_dist(X), Known(2.0), torch.from_numpy(y)
    assert stats.kstest(pit(before, target), "uniform").statistic > 0.12
    assert stats.kstest(pit(after, target), "uniform").statistic < 0.035
    assert coverage(after, target, 0.9).mean().item() == pytest.approx(0.9, abs=0.015)
    ideal = crps(truth.predict_dist(X), target).mean()
    assert crps(after, target).mean() < ideal * 1.003 < crps(before, target).mean()
    assert nll(after, target).mean() < nll(truth.predict_dist(X), target).mean() + 0.02
    assert model.predict(X) == pytest.approx(X[:, 0], abs=0.15)


def test_counts_are_put_right() -> None:
    """The model says Poisson, the truth has more zeros and a longer tail."""
    rng = np.random.default_rng(0)
    X = rng.normal(1, 0.5, (6000, 1))
    y = rng.poisson(np.exp(X[:, 0]) * rng.gamma(1, 1, 6000)).astype(float)
    model = RecalibratedRegressor(FrozenEstimator(Known(law="poisson").fit(X, y)), random_state=0)
    model.fit(X[:2000], y[:2000])
    before, after = Known(law="poisson").predict_dist(X[2000:]), model.predict_dist(X[2000:])
    target = torch.from_numpy(y[2000:])
    assert stats.kstest(pit(after, target), "uniform").statistic < 0.04
    assert nll(after, target).mean() < nll(before, target).mean() - 0.5
    assert crps(after, target).mean() < 0.98 * crps(before, target).mean()
    interval = model.predict_interval(X[2000:], 0.8)
    assert np.array_equal(interval, interval.round())


def test_methods_agree_with_the_distribution() -> None:
    X, y = noisy(300, 0)
    model = RecalibratedRegressor(QUICK, cv=2, random_state=0).fit(X, y)
    distribution = model.predict_dist(X)
    assert isinstance(distribution, Recalibrated)
    np.testing.assert_allclose(model.predict(X), distribution.mean)
    np.testing.assert_allclose(model.log_prob(X, y), distribution.log_prob(torch.from_numpy(y)))
    assert model.score(X, y) == pytest.approx(model.log_prob(X, y).mean())
    weight = np.arange(300)
    assert model.score(X, y, weight) == pytest.approx(np.average(model.log_prob(X, y), weights=weight))
    quantiles = model.predict_quantile(X, [0.05, 0.5, 0.95])
    np.testing.assert_allclose(model.predict_interval(X, 0.9), quantiles[:, [0, 2]])
    np.testing.assert_allclose(model.predict_quantile(X, 0.5), quantiles[:, 1])
    np.testing.assert_allclose(distribution.cdf(torch.from_numpy(quantiles[:, 1])), 0.5, atol=1e-9)
    assert neg_nll_scorer(model, X, y) == pytest.approx(model.score(X, y))
    for call, message in (
        (lambda: model.predict_quantile(X, 1.5), r"levels in \(0, 1\)"),
        (lambda: model.predict_interval(X, 1.0), "coverage"),
        (lambda: model.log_prob(X, y[:5]), r"y must have shape \(300,\)"),
        (lambda: model.sample(X, 0), "n_samples"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_draws_and_fits_follow_the_seed_and_touch_nothing_global() -> None:
    X, y = noisy(60, 0)
    state = np.random.get_state()[1].copy(), torch.get_rng_state()
    first, second = (RecalibratedRegressor(QUICK, random_state=1).fit(X, y) for _ in range(2))
    np.testing.assert_array_equal(first.predict(X), second.predict(X))
    draws = first.sample(X[:2], 5000, random_state=3)
    np.testing.assert_array_equal(draws, second.sample(X[:2], 5000, random_state=3))
    np.testing.assert_allclose(draws.mean(0), first.predict(X[:2]), atol=0.15)
    other = RecalibratedRegressor(QUICK, random_state=2).fit(X, y)
    assert not np.array_equal(other.predict(X), first.predict(X))
    assert np.array_equal(state[0], np.random.get_state()[1])
    assert torch.equal(state[1], torch.get_rng_state())


@pytest.mark.parametrize(("cv", "n_fitted"), [
    (0.25, 30),
    (3, 40),
    (ShuffleSplit(1, test_size=0.5, random_state=0), 20),
    (list(GroupKFold(4).split(np.zeros(40), groups=np.arange(40) // 10)), 40),
], ids=["share", "folds", "one split", "groups"])  # fmt: skip
def test_which_rows_calibrate(cv: object, n_fitted: int) -> None:
    """A model that knows the rows it was fitted to betrays itself by a PIT of 1/2."""

    class Memory(Known):
        def fit(self, X, y):
            self.rows_ = set(X[:, 0])
            return self

        def predict_dist(self, X):
            known = torch.tensor([x in self.rows_ for x in X[:, 0]])
            return torch.distributions.Normal(torch.where(known, 0.0, -1e6).double(), 1.0)

    X, y = np.arange(40.0)[:, None], np.zeros(40)
    model = RecalibratedRegressor(Memory(), cv=cv, random_state=0).fit(X, y)
    assert model.pit_map_(wide(0.999)).item() < 0.6
    assert len(model.estimator_.rows_) == n_fitted


def test_frozen_models_pipelines_and_searches_inside_and_outside() -> None:
    X, y = noisy(80, 0)
    pipeline = make_pipeline(StandardScaler(), QUICK)
    search = GridSearchCV(QUICK, {"mixup": ["erm"]}, scoring=neg_crps_scorer, cv=2)
    for inside in (pipeline, search, FrozenEstimator(clone(pipeline).fit(X, y)), FrozenEstimator(search.fit(X, y))):
        model = RecalibratedRegressor(inside, cv=2, random_state=0).fit(X, y)
        assert np.isfinite(model.score(X, y))
        assert isinstance(model.predict_dist(X), Recalibrated)
    frozen = FrozenEstimator(clone(QUICK).fit(X, y))
    model = RecalibratedRegressor(frozen, random_state=0).fit(X, y)
    assert model.estimator_ is frozen
    expected = fit_pit_map(pit(clone(QUICK).fit(X, y).predict_dist(X), torch.from_numpy(y)))
    torch.testing.assert_close(model.pit_map_.pit_scores, expected.pit_scores)
    outside = make_pipeline(StandardScaler(), RecalibratedRegressor(QUICK, cv=2, random_state=0))
    grid = {"recalibratedregressor__estimator__mixup": ["erm", "probmix"]}
    found = GridSearchCV(outside, grid, scoring=neg_crps_scorer, cv=2).fit(X, y)
    assert np.isfinite(found.best_score_)


def test_pandas_clones_and_pickles() -> None:
    X, y = noisy(60, 0)
    frame, series = pd.DataFrame(X, columns=["speed", "load"]), pd.Series(y, index=np.arange(60) + 7)
    model = RecalibratedRegressor(QUICK, cv=2, random_state=0).fit(frame, series)
    assert (model.n_features_in_, model.feature_names_in_.tolist()) == (2, ["speed", "load"])
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame.rename(columns={"load": "weight"}))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict(frame), model.predict(frame))
    again = clone(model)
    assert again.get_params()["estimator__max_epochs"] == 3
    with pytest.raises(NotFittedError):
        again.predict_dist(frame)
    tensors = RecalibratedRegressor(QUICK, cv=2, random_state=0).fit(torch.from_numpy(X), torch.from_numpy(y))
    np.testing.assert_array_equal(tensors.predict(torch.from_numpy(X)), model.predict(frame))


def test_weights_reach_the_model_and_the_map() -> None:
    X, y = noisy(60, 0)
    weight = np.where(y > X[:, 0], 3.0, 1.0)
    plain, weighted = (RecalibratedRegressor(QUICK, cv=2, random_state=0).fit(X, y, w) for w in (None, weight))
    assert weighted.predict(X).mean() > plain.predict(X).mean() + 0.1
    frozen = RecalibratedRegressor(FrozenEstimator(Known(2.0).fit(X, y)), random_state=0)
    lift = frozen.fit(X, y, weight).predict(X) - X[:, 0]
    assert lift.mean() > (clone(frozen).fit(X, y).predict(X) - X[:, 0]).mean() + 0.3


def test_several_targets() -> None:
    X, y = noisy(200, 0)
    Y = np.column_stack([y, 5 * y[::-1]])
    model = RecalibratedRegressor(QUICK, cv=2, random_state=0).fit(X, Y)
    distribution = model.predict_dist(X)
    assert (distribution.batch_shape, distribution.event_shape) == ((200,), (2,))
    assert model.pit_map_.pit_scores.shape[0] == 2
    u = pit(distribution, torch.from_numpy(Y)).numpy()
    assert max(stats.kstest(column, "uniform").statistic for column in u.T) < 0.12
    joint = distribution.base_dist.log_prob(torch.from_numpy(Y)).sum(-1)
    np.testing.assert_allclose(model.log_prob(X, Y), joint)
    assert model.predict(X).shape == (200, 2)
    assert model.predict_interval(X).shape == (200, 2, 2)
    assert model.sample(X, 3, random_state=0).shape == (3, 200, 2)
    assert np.isfinite(neg_crps_scorer(model, X, Y))
    ensemble = clone(QUICK).set_params(n_members=2)
    with pytest.raises(ValueError, match='pool="log-linear"'):
        model.set_params(estimator=ensemble).fit(X, Y)
    assert not hasattr(model, "pit_map_")
    assert np.isfinite(model.set_params(estimator__pool="log-linear").fit(X, Y).score(X, Y))


@pytest.mark.parametrize(("model", "kind", "message"), [
    (RecalibratedRegressor(LinearRegression()), TypeError, "predict_dist"),
    (RecalibratedRegressor(QUICK, cv=None), ValueError, "`cv` must be a share"),
    (RecalibratedRegressor(QUICK, cv=1), ValueError, "at least 2"),
    (RecalibratedRegressor(QUICK, cv=1.5), ValueError, r"`cv` must be a number in \(0, 1\)"),
    (RecalibratedRegressor(QUICK, cv=61), ValueError, "number of splits"),
    (RecalibratedRegressor(FrozenEstimator(QUICK)), NotFittedError, "not fitted"),
    (RecalibratedRegressor(QUICK, random_state=-1), ValueError, "random_state"),
], ids=["no density", "no cv", "one fold", "more than all", "too few rows", "frozen unfitted", "seed"])  # fmt: skip
def test_a_fit_that_fails_says_why_and_leaves_it_unfitted(model, kind, message: str) -> None:
    X, y = noisy(60, 0)
    model = clone(model)
    wrong = model.get_params(deep=False)
    model.set_params(estimator=QUICK, cv=2, random_state=0).fit(X, y)
    with pytest.raises(kind, match=message):
        model.set_params(**wrong).fit(X, y)
    assert not [name for name in vars(model) if name.endswith("_")]
    with pytest.raises(NotFittedError):
        model.predict(X)


def test_weights_for_a_model_that_takes_none() -> None:
    X, y = noisy(60, 0)
    with pytest.raises(TypeError, match=r"`fit` of Known has no argument `sample_weight`.*FrozenEstimator"):
        RecalibratedRegressor(make_pipeline(StandardScaler(), Known())).fit(X, y, np.ones(60))
    with pytest.raises(ValueError, match=r"[Nn]egative"):
        RecalibratedRegressor(QUICK).fit(X, y, -np.ones(60))


def test_scikit_learns_whole_check_suite() -> None:
    """No expected failures; the one skip is scikit-learn's own, for an array API that is switched off."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the suite provokes warnings on purpose
        results = check_estimator(RecalibratedRegressor(QUICK, cv=2, random_state=0), on_fail=None)
    assert {r["check_name"]: repr(r["exception"]) for r in results if r["status"] == "failed"} == {}
    assert {r["check_name"] for r in results if r["status"] != "passed"} <= {"check_array_api_input"}


@pytest.mark.cuda
def test_cuda_fits_and_predicts_like_the_cpu() -> None:
    X, y = noisy(100, 0)
    models = [
        RecalibratedRegressor(clone(QUICK).set_params(device=device), cv=2, random_state=0).fit(X, y)
        for device in ("cpu", "cuda")
    ]
    assert models[1].predict_dist(X).mean.device.type == "cuda"
    np.testing.assert_allclose(models[1].predict(X), models[0].predict(X), rtol=1e-2, atol=1e-2)
    assert pickle.loads(pickle.dumps(models[1])).predict(X).shape == y.shape
