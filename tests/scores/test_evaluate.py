"""Tables of scores of several models, and what is compared in them."""

import numpy as np
import pandas as pd
import pytest
import scipy.stats as st
import torch
from evaluate_cases import CENTRE, DRAWS, WEIGHTS, Y, models
from sklearn.datasets import load_iris
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import BayesianRidge, LogisticRegression
from sklearn.metrics import accuracy_score, log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from probmix import DensityClassifier, DensityRegressor
from probmix.distributions import Empirical
from probmix.scores import (
    brier,
    coverage,
    crps,
    crps_samples,
    evaluate,
    nll,
    ranked_probability_score,
    score_rows,
)
from probmix.scores.comparison import RowMean

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
    # 336 shares of 1 / 336 do not sum to one
    assert RowMean.of(np.ones(336), np.ones(336)) == RowMean(1.0, 0.0, 0.0)
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
        "ours": DensityRegressor(**settings, preset="plain").fit(X, y),
        "pipeline": make_pipeline(StandardScaler(), DensityRegressor(**settings, preset="plain")).fit(X, y),
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
        "ours": DensityClassifier(**settings, preset="plain").fit(X, y),
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
