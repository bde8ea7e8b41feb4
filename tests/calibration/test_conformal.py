"""Conformal prediction intervals: the rule, the promise, and the estimator around them."""

import math
import pickle
import warnings
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV, PredefinedSplit, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from probmix import DensityRegressor
from probmix.calibration import ConformalRegressor, RecalibratedRegressor
from probmix.distributions import Bernoulli, Gamma, Poisson, QuantileFunction

QUICK = DensityRegressor(hidden_layer_sizes=(8,), max_epochs=3, random_state=0, preset="plain")


class Known(BaseEstimator):
    """Predicts a law with parameter x without learning anything; too narrow a Normal, or of counts."""

    def __init__(self, law="normal"):
        self.law = law

    def fit(self, X, y):
        self.fitted_ = True
        return self

    def predict_dist(self, X):
        x = torch.as_tensor(np.asarray(X)[:, 0])
        if self.law == "normal":
            return torch.distributions.Normal(x, torch.full_like(x, 0.5))
        if self.law == "float32":
            return torch.distributions.Normal(x.float(), 0.5)
        return {"gamma": Gamma(torch.ones_like(x), x.exp()), "poisson": Poisson(x.exp())}.get(
            self.law, Bernoulli(probs=x.sigmoid())
        )

    def predict(self, X):
        return self.predict_dist(X).mean.numpy()


def calibrated(law: str, X, y) -> ConformalRegressor:
    return ConformalRegressor(FrozenEstimator(Known(law).fit(X, y))).fit(X, y)


def rank(n: int, coverage: str) -> int:
    return math.floor((n + 1) * (1 - Fraction(coverage)) / 2)


# -- the rule ----------------------------------------------------------------------------------------------------------


def test_the_order_statistics_by_hand() -> None:
    """Nine residuals -4 .. 4 of N(0, 1/2): for 80 % k = floor(10 * 0.1) = 1, for 60 % k = 2, for 50 % still 2."""
    X, y = np.zeros((9, 1)), np.array([3.0, -1.0, 0.0, 4.0, -4.0, 2.0, 1.0, -3.0, -2.0]) / 4
    model = calibrated("normal", X, y)
    new = np.array([[0.0], [10.0]])
    for coverage, reach in ((0.8, 1.0), (0.6, 0.75), (0.5, 0.75), (0.4, 0.5), (0.2, 0.25), (0.1, 0.25)):
        expected = [[-reach, reach], [10 - reach, 10 + reach]]
        np.testing.assert_allclose(model.predict_interval(new, coverage), expected, atol=1e-6)
    for coverage in (0.81, 0.9, 0.999):
        np.testing.assert_array_equal(model.predict_interval(new, coverage), [[-np.inf, np.inf]] * 2)


@pytest.mark.parametrize("coverage", ["0.1", "0.5", "0.7", "0.8", "0.9", "0.95", "0.98", "0.99"])
def test_the_rank_is_that_of_the_decimal_number(coverage: str) -> None:
    """In floats (1 - 0.9) / 2 * 20 is a little less than 1, which would make the interval infinite."""
    rng = np.random.default_rng(0)
    for n in (1, 9, 19, 39, 99, 199, 399):
        y = rng.normal(size=n)
        k = rank(n, coverage)
        low, high = calibrated("normal", np.zeros((n, 1)), y).predict_interval([[0.0]], float(coverage))[0]
        expected = (np.sort(y)[k - 1], np.sort(y)[n - k]) if k else (-np.inf, np.inf)
        np.testing.assert_allclose((low, high), expected, atol=1e-6)


@pytest.mark.parametrize("law", ["normal", "gamma", "poisson", "bernoulli"])
def test_the_interval_holds_exactly_the_targets_of_middle_rank(law: str) -> None:
    """By definition: y with F(y) >= the k-th smallest F(y_i) and F(y-) <= the k-th largest F(y_i-)."""
    rng = np.random.default_rng(1)
    n, X = 60, rng.normal(size=(60, 1))
    draw = {"normal": rng.normal(size=n), "gamma": rng.exponential(size=n), "poisson": rng.poisson(3, n) * 1.0}
    y = draw.get(law, (rng.uniform(size=n) < 0.4) * 1.0)
    new = np.linspace(-2, 2, 9)[:, None]
    scipy = {
        "normal": lambda x: stats.norm(x, 0.5),
        "gamma": lambda x: stats.gamma(1, scale=np.exp(-x)),
        "poisson": lambda x: stats.poisson(np.exp(x)),
        "bernoulli": lambda x: stats.bernoulli(1 / (1 + np.exp(-x))),
    }[law]
    counts = law in ("poisson", "bernoulli")
    upper = np.sort(scipy(X[:, 0]).cdf(y))
    lower = np.sort(scipy(X[:, 0]).cdf(y - counts))
    for coverage in ("0.5", "0.9"):
        k = rank(n, coverage)
        interval = calibrated(law, X, y).predict_interval(new, float(coverage))
        candidates = np.arange(0, 2 if law == "bernoulli" else 60) if counts else np.linspace(-4, 12, 1601)
        for (low, high), x in zip(interval, new[:, 0], strict=True):
            F, below = scipy(x).cdf(candidates), scipy(x).cdf(candidates - counts)
            inside = (upper[k - 1] - 1e-9 <= F) & (below <= lower[n - k] + 1e-9) & (F > 0)
            ours = (low - 1e-6 <= candidates) & (candidates <= high + 1e-6)
            if inside.any():
                np.testing.assert_array_equal(ours & (F > 0), inside)
            else:
                assert low <= high


def test_a_row_like_a_calibration_row_is_not_lost_to_rounding() -> None:
    """Ties: half of all rows are alike, and meet the end of the interval exactly."""
    for law in ("normal", "poisson", "gamma"):
        X, y = np.log(np.repeat([[3.0], [5.0]], 10, axis=0)), np.repeat([1.0, 3.0], 10)
        low, high = calibrated(law, X, y).predict_interval(X, 0.8).T
        assert ((low <= y + 1e-8) & (y <= high + 1e-8)).all()
    # whole numbers are met exactly
    low, high = calibrated("poisson", X, y).predict_interval(X, 0.8).T
    assert ((low <= y) & (y <= high)).all()


# -- the promise -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("coverage", ["0.5", "0.8", "0.9"])
@pytest.mark.parametrize("n", [10, 19, 40])
def test_the_coverage_over_many_repetitions_is_the_exact_one(n: int, coverage: str) -> None:
    """The model is biased and much too narrow; the truth N(sin x, 1 + |x|)."""
    rng, repetitions = np.random.default_rng([n, int(float(coverage) * 100)]), 400
    inside = np.empty(repetitions)
    new = np.linspace(-2.99, 2.99, 300)
    truth = stats.norm(np.sin(new), 1 + np.abs(new))
    for repetition in range(repetitions):
        x = rng.uniform(-3, 3, n)
        model = calibrated("normal", x[:, None], rng.normal(np.sin(x), 1 + np.abs(x)))
        low, high = model.predict_interval(new[:, None], float(coverage)).T
        inside[repetition] = np.mean(truth.cdf(high) - truth.cdf(low))
    exact = 1 - 2 * rank(n, coverage) / (n + 1)
    assert exact >= float(coverage)
    error = inside.std() / math.sqrt(repetitions)
    assert inside.mean() == pytest.approx(exact, abs=4 * error + 2e-3)


@pytest.mark.parametrize("law", ["poisson", "bernoulli"])
def test_counts_are_covered_at_least_as_often_as_promised(law: str) -> None:
    rng, repetitions, n = np.random.default_rng(0), 80, 49
    inside = []
    for _ in range(repetitions):
        x = rng.choice([-1.0, 0.0, 1.0], n + 50)
        y = rng.poisson(2 * np.exp(0.3 * x)) if law == "poisson" else rng.binomial(1, 1 / (1 + np.exp(1 + 2 * x)))
        model = calibrated(law, x[:n, None], y[:n] * 1.0)
        low, high = model.predict_interval(x[n:, None], 0.8).T
        inside.append(np.mean((low <= y[n:]) & (y[n:] <= high)))
        assert np.array_equal(low, low.round())
        assert (low <= high).all()
    assert np.mean(inside) > 0.8 - 3 * np.std(inside) / math.sqrt(repetitions)


def test_rows_beyond_the_digits_of_a_cdf_are_covered_all_the_same() -> None:
    y = np.repeat([100.0, 200.0], 20)
    for law, expected in (("normal", (100, 200)), ("gamma", (0, np.inf)), ("poisson", (0, np.inf))):
        low, high = calibrated(law, np.zeros((40, 1)), y).predict_interval([[0.0]], 0.8)[0]
        assert low <= 100
        assert high >= 200
        assert high == pytest.approx(expected[1])
    low, high = calibrated("normal", np.zeros((40, 1)), -y).predict_interval([[0.0]], 0.8)[0]
    assert (low, high) == pytest.approx((-200, -100))


# -- the estimator -----------------------------------------------------------------------------------------------------


def problem(n: int = 120):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 2))
    return X, X[:, 0] + rng.exponential(size=n)


def test_the_held_out_rows_calibrate_and_the_others_fit() -> None:
    X, y = problem()
    fold = np.where(np.arange(120) < 30, 0, -1)
    model = ConformalRegressor(QUICK, cv=PredefinedSplit(fold)).fit(X, y)
    alone = clone(QUICK).fit(X[30:], y[30:])
    np.testing.assert_array_equal(model.predict(X), alone.predict(X))
    frozen = ConformalRegressor(FrozenEstimator(alone)).fit(X[:30], y[:30])
    np.testing.assert_array_equal(frozen.predict_interval(X), model.predict_interval(X))
    assert model.upper_scores_.shape == (30,)
    share = ConformalRegressor(QUICK, cv=0.5, random_state=0).fit(X, y)
    assert share.upper_scores_.shape == (60,)
    assert share.score(X, y) == pytest.approx(1 - np.sum((y - share.predict(X)) ** 2) / np.sum((y - y.mean()) ** 2))


def test_a_float32_model_is_evaluated_in_float64() -> None:
    X, y = np.zeros((99, 1)), np.linspace(-2, 2, 99)
    low, high = calibrated("float32", X, y).predict_interval([[0.0]], 0.98)[0]
    np.testing.assert_allclose((low, high), (-2, 2), atol=1e-5)


def test_several_targets_are_covered_each_by_itself() -> None:
    X, y = problem()
    Y = np.column_stack([y, -3 * y[::-1]])
    model = ConformalRegressor(QUICK, random_state=0).fit(X, Y)
    assert model.predict(X).shape == (120, 2)
    interval = model.predict_interval(X, 0.5)
    assert interval.shape == (120, 2, 2)
    inside = np.mean((interval[..., 0] <= Y) & (interval[..., 1] >= Y), axis=0)
    assert (inside > 0.3).all()
    assert (inside < 0.8).all()


def test_pipelines_searches_and_recalibrated_models() -> None:
    X, y = problem()
    pipeline = make_pipeline(StandardScaler(), QUICK)
    search = GridSearchCV(QUICK, {"mixup": ["erm"]}, cv=2)
    recalibrated = RecalibratedRegressor(QUICK, cv=2, random_state=0)
    for inside in (pipeline, search, recalibrated, FrozenEstimator(clone(pipeline).fit(X, y))):
        interval = ConformalRegressor(inside, random_state=0).fit(X, y).predict_interval(X, 0.8)
        assert np.isfinite(interval).all()
    outside = make_pipeline(StandardScaler(), ConformalRegressor(QUICK, random_state=0))
    assert np.isfinite(cross_val_score(outside, X, y, cv=2)).all()
    found = GridSearchCV(outside, {"conformalregressor__estimator__mixup": ["erm", "probmix"]}, cv=2).fit(X, y)
    assert found.best_estimator_[-1].predict_interval(X).shape == (120, 2)


def test_pandas_seeds_clones_and_pickles() -> None:
    X, y = problem()
    frame = pd.DataFrame(X, columns=["speed", "load"])
    state = np.random.get_state()[1].copy(), torch.get_rng_state()
    model = ConformalRegressor(QUICK, random_state=0).fit(frame, pd.Series(y))
    assert (model.n_features_in_, model.feature_names_in_.tolist()) == (2, ["speed", "load"])
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(model)).predict_interval(frame), model.predict_interval(frame)
    )
    interval = model.predict_interval(frame)
    again, other = (clone(model).set_params(random_state=seed).fit(X, y) for seed in (0, 1))
    np.testing.assert_array_equal(again.predict_interval(X), interval)
    assert not np.array_equal(other.predict_interval(X), interval)
    assert np.array_equal(state[0], np.random.get_state()[1])
    assert torch.equal(state[1], torch.get_rng_state())
    with pytest.raises(NotFittedError):
        clone(model).predict_interval(X)


@pytest.mark.parametrize(("model", "kind", "message"), [
    (ConformalRegressor(LinearRegression()), TypeError, "predict_dist"),
    (ConformalRegressor(QUICK, cv=5), ValueError, "hold out one part of the rows.*5 splits"),
    (ConformalRegressor(QUICK, cv=0.0), ValueError, r"`cv` must be a number in \(0, 1\)"),
    (ConformalRegressor(QUICK, cv=0.99), ValueError, "sample"),
    (ConformalRegressor(FrozenEstimator(clone(QUICK))), NotFittedError, "not fitted"),
], ids=["no density", "folds", "nothing held out", "nothing to fit", "frozen unfitted"])  # fmt: skip
def test_a_fit_that_fails_says_why_and_leaves_it_unfitted(model, kind, message: str) -> None:
    X, y = problem(40)
    model = clone(model)
    wrong = model.get_params(deep=False)
    model.set_params(estimator=QUICK, cv=0.5, random_state=0).fit(X, y)
    with pytest.raises(kind, match=message):
        model.set_params(**wrong).fit(X, y)
    assert not [name for name in vars(model) if name.endswith("_")]


def test_what_is_rejected() -> None:
    X, y = problem(40)
    with pytest.raises(
        TypeError, match=r"takes no `sample_weight`, for .* Fit the model with weights first, and pass "
    ):
        ConformalRegressor(QUICK).fit(X, y, sample_weight=np.ones(40))
    with pytest.raises(TypeError, match=r"^`fit` of ConformalRegressor has no argument `weights`\.$"):
        ConformalRegressor(QUICK).fit(X, y, weights=np.ones(40))
    model = ConformalRegressor(QUICK, random_state=0).fit(X, y)
    for coverage in (0.0, 1.0, 90, "0.9"):
        with pytest.raises(ValueError, match="`coverage` must be a number"):
            model.predict_interval(X, coverage)
    with pytest.raises(ValueError, match="n_samples=1"):
        model.fit(X[:1], y[:1])


def test_scikit_learns_whole_check_suite() -> None:
    """No expected failures; the one skip is scikit-learn's own, for an array API that is switched off."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the suite provokes warnings on purpose
        results = check_estimator(ConformalRegressor(QUICK, random_state=0), on_fail=None)
    assert {r["check_name"]: repr(r["exception"]) for r in results if r["status"] == "failed"} == {}
    assert {r["check_name"] for r in results if r["status"] != "passed"} <= {"check_array_api_input"}


@pytest.mark.cuda
def test_cuda_gives_the_intervals_of_the_cpu() -> None:
    X, y = problem()
    cpu, cuda = (
        ConformalRegressor(clone(QUICK).set_params(device=device), random_state=0).fit(X, y)
        for device in ("cpu", "cuda")
    )
    np.testing.assert_allclose(cuda.predict_interval(X, 0.8), cpu.predict_interval(X, 0.8), rtol=1e-2, atol=1e-2)


class Narrow(Known):
    """Quantiles whose outer ones hold the rest of the mass: a support that targets leave."""

    def predict_dist(self, X):
        places = torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64)
        return QuantileFunction(places.expand(len(X), 3), [0.1, 0.5, 0.9])


@pytest.mark.parametrize("n", [15, 39, 999])
def test_targets_outside_of_the_support_are_covered_as_promised(n: int) -> None:
    rng = np.random.default_rng(n)
    y, X = 2 * rng.normal(size=n), np.zeros((n, 1))
    model = ConformalRegressor(FrozenEstimator(Narrow().fit(X, y))).fit(X, y)
    assert (model.n_below_, model.n_above_) == ((y < -1).sum(), (y > 1).sum())
    low, high = model.predict_interval(X[:1], coverage=0.9)[0]
    assert (low, high) == (-np.inf, np.inf)
    if n == 999:
        # of the middle fifth no target is missing in the support, and the ends are order statistics
        low, high = model.predict_interval(X[:1], coverage=0.2)[0]
        k = rank(n, "0.2")
        np.testing.assert_allclose([low, high], [np.sort(y)[k - 1], np.sort(y)[-k]], atol=1e-9)
    one_sided = np.abs(y)
    model = ConformalRegressor(FrozenEstimator(Narrow().fit(X, y))).fit(X, one_sided)
    low, high = model.predict_interval(X[:1], coverage=0.9)[0]
    assert low >= -1
    assert high == np.inf
