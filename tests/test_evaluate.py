"""Several models on the same rows: means, errors and tests against SciPy and bootstrap, and every wrong input."""

import re

import numpy as np
import pandas as pd
import pytest
import scipy.stats as st
import torch
from sklearn.datasets import load_iris
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import BayesianRidge, LinearRegression, LogisticRegression
from sklearn.metrics import accuracy_score, log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from probmix import DensityClassifier, DensityRegressor
from probmix.distributions import Empirical, QuantileFunction
from probmix.scores import (
    brier,
    compare_rows,
    coverage,
    crps,
    crps_samples,
    evaluate,
    nll,
    ranked_probability_score,
    score_rows,
)
from probmix.scores.comparison import RowMean

RNG = np.random.default_rng(0)
Y = RNG.normal(size=40)
CENTRE = 0.6 * Y + 0.2 * RNG.normal(size=40)
WEIGHTS = RNG.integers(0, 4, 40).astype(float)
DRAWS = CENTRE[:, None] + RNG.normal(size=(40, 30))
LEVELS = [0.05, 0.25, 0.5, 0.75, 0.95]


def models():
    return {
        "torch": torch.distributions.Normal(torch.tensor(CENTRE), 1.0),
        "scipy": st.norm(0.0, np.full(40, 1.2)),
        "t": st.t(4, CENTRE),
        "draws": DRAWS,
        "quantiles": QuantileFunction(torch.tensor(np.quantile(DRAWS, LEVELS, axis=1).T), LEVELS),
    }


def raises(kind, message):
    return pytest.raises(kind, match=f"^{re.escape(message)}")


# -- numbers -----------------------------------------------------------------------------------------------------------


def test_rows_hold_the_scores_of_each_prediction():
    y = pd.Series(Y, index=np.arange(100, 140))
    rows = score_rows(models(), None, y)
    assert rows.columns.names == ["score", "model"]
    assert list(rows.columns.get_level_values("score").unique()) == ["nll", "crps", "coverage90"]
    assert list(rows["crps"].columns) == list(models())
    assert (rows.index == y.index).all()
    target = torch.tensor(Y)
    normal = models()["torch"]
    np.testing.assert_array_equal(rows["nll", "torch"], nll(normal, target).numpy())
    np.testing.assert_array_equal(rows["coverage90", "torch"], coverage(normal, target, 0.9).numpy())
    np.testing.assert_allclose(rows["nll", "t"], -st.t(4, CENTRE).logpdf(Y))
    np.testing.assert_allclose(rows["crps", "draws"], crps_samples(torch.tensor(DRAWS), target, fair=False).numpy())
    np.testing.assert_array_equal(rows["crps", "quantiles"], crps(models()["quantiles"], target).numpy())
    assert not rows["crps"].isna().any().any()


def test_table_is_the_paired_t_test():
    table = evaluate(models(), None, Y, scores=["crps", "nll"], baseline="scipy")
    rows = score_rows(models(), None, Y, scores=["crps", "nll"])
    assert list(table.columns) == ["n", "mean", "standard_error", "difference", "difference_error", "p"]
    assert table.index.names == ["score", "model"]
    assert list(table.index.get_level_values("score").unique()) == ["crps", "nll"]
    assert table.attrs["baseline"] == "scipy"
    for score, name in (("crps", "torch"), ("crps", "draws"), ("crps", "t"), ("nll", "torch"), ("nll", "t")):
        line, ours, baseline = table.loc[(score, name)], rows[score, name], rows[score, "scipy"]
        assert line["n"] == 40
        assert line["mean"] == pytest.approx(ours.mean(), rel=1e-12)
        assert line["standard_error"] == pytest.approx(st.sem(ours), rel=1e-12)
        assert line["difference"] == pytest.approx((ours - baseline).mean(), rel=1e-9)
        assert line["difference_error"] == pytest.approx(st.sem(ours - baseline), rel=1e-12)
        assert line["p"] == pytest.approx(st.ttest_rel(ours, baseline).pvalue, rel=1e-9)
    assert table.loc[("crps", "scipy"), ["difference", "difference_error", "p"]].isna().all()
    assert table.loc[("crps", "scipy"), "mean"] == pytest.approx(rows["crps", "scipy"].mean())


def test_the_first_model_is_the_baseline():
    table = evaluate(models(), None, Y, scores=["crps"])
    assert np.isnan(table.loc[("crps", "torch"), "difference"])
    assert table.attrs["baseline"] == "torch"


def test_whole_weights_repeat_rows_in_the_mean():
    weighted = evaluate(models(), None, Y, scores=["crps"], sample_weight=WEIGHTS)
    rows = score_rows(models(), None, Y, scores=["crps"])
    repeated = rows.loc[np.repeat(np.arange(40), WEIGHTS.astype(int))]
    np.testing.assert_allclose(weighted["mean"], repeated.mean(), rtol=1e-12)
    difference = (repeated["crps", "t"] - repeated["crps", "torch"]).mean()
    assert weighted.loc[("crps", "t"), "difference"] == pytest.approx(difference, rel=1e-9)
    assert (weighted["n"] == (WEIGHTS > 0).sum()).all()
    scaled = evaluate(models(), None, Y, scores=["crps"], sample_weight=7 * WEIGHTS)
    pd.testing.assert_frame_equal(scaled, weighted)
    equal = evaluate(models(), None, Y, scores=["crps"], sample_weight=np.full(40, 3.0))
    pd.testing.assert_frame_equal(equal, evaluate(models(), None, Y, scores=["crps"]))


def test_the_error_of_a_weighted_mean_is_that_over_repeated_samples():
    rng = np.random.default_rng(1)
    weights = rng.exponential(size=(4000, 50))
    values = rng.normal(size=(4000, 50)) * np.sqrt(weights)
    found = [RowMean.of(v, w) for v, w in zip(values, weights, strict=True)]
    spread = np.std([f.mean for f in found])
    assert np.sqrt(np.mean([f.error**2 for f in found])) == pytest.approx(spread, rel=0.05)
    # of no difference the p-value is uniform
    assert np.mean([f.p < 0.05 for f in found]) == pytest.approx(0.05, abs=0.02)


def test_means_without_an_error():
    assert RowMean.of(np.array([2.0]), np.ones(1)).mean == 2
    assert np.isnan([RowMean.of(np.array([2.0]), np.ones(1)).error, RowMean.of(np.array([2.0]), np.ones(1)).p]).all()
    assert RowMean.of(np.zeros(3), np.ones(3)) == RowMean(0.0, 0.0, 1.0)
    assert RowMean.of(np.full(4, 2.0), np.ones(4)) == RowMean(2.0, 0.0, 0.0)
    infinite = RowMean.of(np.array([1.0, np.inf]), np.ones(2))
    assert (infinite.mean, np.isnan(infinite.error)) == (np.inf, True)


def test_infinite_scores_are_no_error():
    y = np.array([0.5, 1.0, -1.0])
    table = evaluate(
        {"a": st.norm(np.zeros(3), 1), "b": st.expon(scale=np.ones(3)), "c": st.gamma(np.ones(3))}, None, y
    )
    assert table.loc[("nll", "b"), "mean"] == np.inf
    assert table.loc[("nll", "b"), "difference"] == np.inf
    assert table.loc[("nll", "b"), ["standard_error", "difference_error", "p"]].isna().all()
    assert np.isfinite(table.loc[("crps", "b"), "p"])
    both = evaluate({"b": st.expon(scale=np.ones(3)), "c": st.gamma(np.ones(3))}, None, y, scores=["nll"])
    assert np.isnan(both.loc[("nll", "c"), "difference"])
    # a row without weight does not count, though its score is infinite
    kept = evaluate({"b": st.expon(scale=np.ones(3))}, None, y, scores=["nll"], sample_weight=[1, 1, 0])
    assert kept.loc[("nll", "b"), "mean"] == pytest.approx(0.75)


def test_scores_that_do_not_exist_are_nan_with_a_reason():
    table = evaluate(models(), None, Y)
    assert table.loc[[("nll", "draws"), ("nll", "quantiles")]].drop(columns="n").isna().all(axis=None)
    assert table.loc["nll"].drop(["draws", "quantiles"])["mean"].notna().all()
    assert set(table.attrs["missing"]) == {("nll", "draws"), ("nll", "quantiles")}
    assert table.attrs["missing"]["nll", "draws"].startswith("draws have no density")
    assert evaluate({"t": st.t(3, np.zeros(40))}, None, Y).attrs["missing"] == {}


def test_a_coverage_is_not_tested():
    table = evaluate(models(), None, Y)
    assert table.loc["coverage90", "p"].isna().all()
    assert table.loc["coverage90", "difference_error"].iloc[1:].notna().all()
    assert table.loc[("coverage90", "torch"), "mean"] == (st.norm.ppf(0.95) ** 2 >= (Y - CENTRE) ** 2).mean()


# -- models ------------------------------------------------------------------------------------------------------------


def test_models_of_several_libraries_in_one_call():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 2))
    y = 2 * X[:, 0] + rng.normal(size=80)
    settings = {"max_epochs": 2, "hidden_layer_sizes": (4,), "random_state": 0, "device": "cpu"}
    fitted = {
        "ours": DensityRegressor(**settings).fit(X, y),
        "pipeline": make_pipeline(StandardScaler(), DensityRegressor(**settings)).fit(X, y),
        "ridge": BayesianRidge().fit(X, y),
        "prediction": st.norm(2 * X[:, 0], 1.0),
    }
    table = evaluate(fitted, X, y, baseline="ridge")
    log_density = fitted["ours"].log_prob(X, y)
    assert table.loc[("nll", "ours"), "mean"] == pytest.approx(-log_density.mean())
    mean, scale = fitted["ridge"].predict(X, return_std=True)
    assert table.loc[("nll", "ridge"), "mean"] == pytest.approx(-st.norm(mean, scale).logpdf(y).mean())
    assert len(table) == 12
    frame = evaluate(fitted, pd.DataFrame(X).to_numpy(), torch.tensor(y), baseline="ridge")
    pd.testing.assert_frame_equal(frame, table)


def test_classifiers():
    X, y = load_iris(return_X_y=True)
    y = np.array(["setosa", "versicolor", "virginica"])[y]
    settings = {"max_epochs": 2, "hidden_layer_sizes": (4,), "random_state": 0, "device": "cpu"}
    logistic = LogisticRegression(C=0.01).fit(X, y)
    fitted = {
        "logistic": logistic,
        "dummy": DummyClassifier().fit(X, y),
        "ours": DensityClassifier(**settings).fit(X, y),
        "prediction": torch.distributions.Categorical(torch.tensor(logistic.predict_proba(X))),
    }
    table = evaluate(fitted, X, y)
    assert list(table.index.get_level_values("score").unique()) == ["nll", "brier", "rps", "accuracy"]
    probs = torch.distributions.Categorical(torch.tensor(logistic.predict_proba(X)))
    index = torch.tensor(np.searchsorted(logistic.classes_, y))
    expected = {
        "nll": log_loss(y, logistic.predict_proba(X)),
        "brier": brier(probs, index).mean().item(),
        "rps": ranked_probability_score(probs, index).mean().item(),
        "accuracy": accuracy_score(y, logistic.predict(X)),
    }
    for score, value in expected.items():
        for name in ("logistic", "prediction"):
            assert table.loc[(score, name), "mean"] == pytest.approx(value, rel=1e-9)
    accuracy = accuracy_score(y, fitted["ours"].predict(X))
    assert table.loc[("accuracy", "ours"), "mean"] == pytest.approx(accuracy)
    assert table.loc[("accuracy", "dummy"), "p"] < 1e-6


def test_several_targets():
    y = np.column_stack([Y, 2 * Y])
    normal = torch.distributions.Independent(torch.distributions.Normal(torch.zeros(40, 2).double(), 1.0), 1)
    rows = score_rows({"normal": normal}, None, y)
    np.testing.assert_allclose(rows["nll", "normal"], -st.norm(0, 1).logpdf(y).sum(1))
    inside = np.abs(y) <= st.norm.ppf(0.95)
    np.testing.assert_array_equal(rows["coverage90", "normal"], inside.mean(1))


def test_counts():
    y = np.array([0, 3, 2, 8])
    table = evaluate({"poisson": st.poisson(np.full(4, 2.0)), "wide": st.nbinom(np.full(4, 2.0), 0.5)}, None, y)
    assert table.loc[("nll", "poisson"), "mean"] == pytest.approx(-st.poisson(2).logpmf(y).mean())
    assert table.loc[("nll", "wide"), "difference"] == pytest.approx(
        (st.poisson(2).logpmf(y) - st.nbinom(2, 0.5).logpmf(y)).mean()
    )


def test_nothing_global_changes_and_the_arguments_stay():
    y, state, given = Y.copy(), torch.get_rng_state(), models()
    legacy = np.random.get_state()[1].copy()
    first, second = (evaluate(given, None, y) for _ in range(2))
    pd.testing.assert_frame_equal(first, second)
    np.testing.assert_array_equal(y, Y)
    assert torch.equal(state, torch.get_rng_state())
    np.testing.assert_array_equal(legacy, np.random.get_state()[1])


@pytest.mark.cuda
def test_cuda_predictions_beside_those_of_the_host():
    cuda = {
        "torch": torch.distributions.Normal(torch.tensor(CENTRE).cuda(), torch.ones(40).double().cuda()),
        "draws": Empirical(torch.tensor(DRAWS).cuda()),
        "scipy": st.t(4, CENTRE),
    }
    host = {"torch": models()["torch"], "draws": DRAWS, "scipy": st.t(4, CENTRE)}
    pd.testing.assert_frame_equal(evaluate(cuda, None, Y), evaluate(host, None, Y), rtol=1e-9)


# -- errors ------------------------------------------------------------------------------------------------------------


class Labels:
    def __init__(self, *classes):
        self.classes_ = list(classes)

    def predict_proba(self, X):
        return np.full((len(X), len(self.classes_)), 1 / len(self.classes_))


CATEGORICAL = torch.distributions.Categorical(torch.full((40, 2), 0.5))
NORMAL = st.norm(np.zeros(40), 1.0)


@pytest.mark.parametrize(
    ("arguments", "changes", "kind", "message"),
    [
        ({}, {}, ValueError, "`models` must hold at least one model or prediction. Pass a dict of name to model."),
        (
            {"a": LinearRegression()},
            {"X": Y[:, None]},
            TypeError,
            "the estimator must predict distributions by a method `predict_dist`; got LinearRegression().",
        ),
        (
            {"a": BayesianRidge()},
            {},
            TypeError,
            "'a' is a model and needs rows to predict, but `X` is None. Pass X, or its predictions.",
        ),
        (
            {"a": NORMAL, "b": CATEGORICAL},
            {},
            ValueError,
            "models must predict all classes or all numbers; 'b' predicts classes, 'a' numbers. Evaluate them apart; "
            "pass class probabilities as a Categorical distribution.",
        ),
        ({"a": NORMAL}, {"scores": ["crsp"]}, ValueError, "unknown score 'crsp'; did you mean 'crps'?"),
        (
            {"a": NORMAL},
            {"scores": ["nll", "brier"]},
            ValueError,
            "the score 'brier' is for predictions of classes; there are 'nll', 'crps', 'coverage90' for these.",
        ),
        (
            {"a": CATEGORICAL},
            {"scores": ["coverage90"], "y": np.zeros(40, int)},
            ValueError,
            "the score 'coverage90' is for predictions of numbers; there are 'nll', 'brier', 'rps', 'accuracy' for "
            "these.",
        ),
        ({"a": NORMAL}, {"scores": []}, ValueError, "`scores` must name at least one score, such as 'nll'."),
        ({"a": NORMAL}, {"baseline": "b"}, ValueError, "unknown baseline 'b'; known are 'a'."),
        (
            {"a": NORMAL},
            {"y": Y[:3]},
            ValueError,
            "`y` must hold one target, or one row of targets, for each predicted row, at least one; 'a' predicts shape "
            "(40,), `y` has (3,).",
        ),
        (
            {"a": NORMAL, "one": st.norm(0, 1)},
            {},
            ValueError,
            "`y` must hold one target, or one row of targets, for each predicted row, at least one; 'one' predicts "
            "shape (), `y` has (40,).",
        ),
        (
            {"a": st.norm(np.zeros(0), 1.0)},
            {"y": []},
            ValueError,
            "`y` must hold one target, or one row of targets, for each predicted row, at least one; 'a' predicts shape "
            "(0,), `y` has (0,).",
        ),
        ({"a": NORMAL}, {"y": np.where(Y > 1, np.nan, Y)}, ValueError, "`y` must be finite; got nan at row"),
        (
            {"a": NORMAL},
            {"sample_weight": np.ones(3)},
            ValueError,
            "`sample_weight` must hold one weight for each of the 40 rows; got shape (3,).",
        ),
        (
            {"a": NORMAL},
            {"sample_weight": np.arange(40) - 1.0},
            ValueError,
            "`sample_weight` must be finite, not negative and not all zero; smallest was -1, largest 38.",
        ),
        (
            {"a": NORMAL},
            {"sample_weight": np.zeros(40)},
            ValueError,
            "`sample_weight` must be finite, not negative and not all zero; smallest was 0, largest 0.",
        ),
        (
            {"a": Labels("no", "yes"), "b": Labels("no", "maybe")},
            {"X": Y[:, None], "y": ["no"] * 40},
            ValueError,
            "all models must know the same classes in the same order; 'a' has ['no', 'yes'] and 'b' ['no', 'maybe']. "
            "Fit them on the same labels.",
        ),
        (
            {"a": Labels("no", "yes")},
            {"X": Y[:, None], "y": ["no"] * 39 + ["maybe"]},
            ValueError,
            "`y` must hold classes that the estimator has seen, ['no', 'yes']; got 'maybe'.",
        ),
        (
            {"a": CATEGORICAL},
            {"y": ["no"] * 40},
            ValueError,
            "`y` must hold numbers where no model knows its classes; got np.str_('no'). Pass class indices.",
        ),
    ],
    ids=[
        "none",
        "point",
        "no-X",
        "mixed",
        "misspelt",
        "of-classes",
        "of-numbers",
        "no-score",
        "baseline",
        "short",
        "scalar",
        "empty",
        "nan",
        "weights-short",
        "weights-negative",
        "weights-zero",
        "classes-differ",
        "class-unseen",
        "no-classes",
    ],
)
def test_errors(arguments, changes, kind, message):
    given = {"X": None, "y": Y, **changes}
    with raises(kind, message):
        evaluate(arguments, given.pop("X"), given.pop("y"), **given)


def test_classes_need_not_be_sorted():
    model = Labels("yes", "no", "maybe")
    model.predict_proba = lambda X: np.tile([0.2, 0.3, 0.5], (len(X), 1))
    rows = score_rows({"a": model}, np.zeros((3, 1)), ["maybe", "yes", "no"], scores=["nll"])
    np.testing.assert_allclose(np.exp(-rows["nll", "a"]), [0.5, 0.2, 0.3])


def test_rows_of_any_origin_can_be_compared():
    columns = pd.MultiIndex.from_product([["mae"], ["a", "b"]], names=["score", "model"])
    table = compare_rows(pd.DataFrame([[1.0, 2.0], [3.0, 2.5]], columns=columns))
    assert table.loc[("mae", "b"), "difference"] == 0.25
    with raises(ValueError, "there must be at least one row to compare; got none."):
        compare_rows(pd.DataFrame(np.zeros((0, 2)), columns=columns))


def test_rows_need_their_levels():
    rows = pd.DataFrame({("nll", "one"): [1.0, 2.0]})
    with raises(ValueError, "`rows` must have columns with the levels 'score' and 'model', as from `score_rows`"):
        compare_rows(rows)
