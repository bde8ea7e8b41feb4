"""Further scores of evaluate, point models, exposures, and how its table prints."""

import re

import numpy as np
import pandas as pd
import pytest
import scipy.stats as st
import torch
from evaluate_cases import CENTRE, DRAWS, WEIGHTS, Y, models, raises
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import BayesianRidge, LinearRegression, LogisticRegression, PoissonRegressor, RidgeClassifier
from sklearn.metrics import (
    accuracy_score,
    mean_absolute_error,
    mean_pinball_loss,
    root_mean_squared_error,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from probmix import ConformalRegressor, DensityRegressor
from probmix.scores import compare_rows, evaluate, interval_score, score_rows
from probmix.scores.table import ScoreTable

# -- further scores ----------------------------------------------------------------------------------------------------


def test_errors_of_points_are_those_of_scikit_learn():
    table = evaluate(models(), None, Y, scores=["rmse", "mae", "pinball10", "quantile97.5"])
    means = {"torch": CENTRE, "scipy": np.zeros(40), "draws": DRAWS.mean(1), "t": CENTRE}
    for name, mean in means.items():
        assert table.loc[("rmse", name), "mean"] == pytest.approx(root_mean_squared_error(Y, mean))
        median = np.sort(DRAWS)[:, 14] if name == "draws" else mean
        assert table.loc[("mae", name), "mean"] == pytest.approx(mean_absolute_error(Y, median))
    for score, level in (("pinball10", 0.1), ("quantile97.5", 0.975)):
        quantile = st.t(4, CENTRE).ppf(level)
        expected = mean_pinball_loss(Y, quantile, alpha=level)
        assert table.loc[(score, "t"), "mean"] == pytest.approx(expected, rel=1e-6)
    assert table["mean"].notna().all()


def test_scores_with_a_level_of_their_own():
    table = evaluate(models(), None, Y, scores=["interval80", "coverage50", "coverage80"])
    low, high = st.t(4, CENTRE).interval(0.8)
    assert table.loc[("interval80", "t"), "mean"] == pytest.approx(interval_score(low, high, Y, 0.8).mean().item())
    for level in (50, 80):
        low, high = st.norm(CENTRE, 1).interval(level / 100)
        assert table.loc[(f"coverage{level}", "torch"), "mean"] == ((low <= Y) & (high >= Y)).mean()
        assert table.loc[f"coverage{level}", "p"].isna().all()
    assert table.loc["interval80", "p"].iloc[1:].notna().all()


def test_the_error_of_an_rmse_is_that_over_repeated_samples():
    rng = np.random.default_rng(0)
    errors, others = rng.normal(size=(4000, 200)), 1.2 * rng.standard_t(9, size=(4000, 200))
    columns = pd.MultiIndex.from_tuples([("rmse", "a"), ("rmse", "b")], names=["score", "model"])
    tables = [
        compare_rows(pd.DataFrame(np.square(np.stack(pair, 1)), columns=columns)).loc["rmse"]
        for pair in zip(errors[:400], others[:400], strict=True)
    ]
    roots = [np.sqrt(np.square(one).mean(1)) for one in (errors, others)]
    first = [np.sqrt(np.square(errors[i]).mean()) for i in range(400)]
    np.testing.assert_allclose([table.loc["a", "mean"] for table in tables], first)
    for column, name, spread in (
        ("standard_error", "a", roots[0].std()),
        ("standard_error", "b", roots[1].std()),
        ("difference_error", "b", (roots[1] - roots[0]).std()),
    ):
        assert np.mean([table.loc[name, column] for table in tables]) == pytest.approx(spread, rel=0.05), column


def test_an_rmse_without_errors_or_with_infinite_ones():
    perfect = evaluate({"a": Y, "b": st.norm(Y, 1.0)}, None, Y, scores=["rmse"])
    assert (perfect[["mean", "standard_error"]] == 0).all(axis=None)
    heavy = evaluate({"a": st.t(0.8, np.zeros(40))}, None, Y, scores=["rmse"])
    assert not np.isfinite(heavy.loc[("rmse", "a"), "mean"])
    # a row of weight two is the row twice
    table = evaluate(models(), None, Y, scores=["rmse"], sample_weight=WEIGHTS)
    rows = score_rows(models(), None, Y, scores=["rmse"])["rmse", "draws"].to_numpy()
    expected = np.sqrt(np.average(rows, weights=WEIGHTS))
    assert table.loc[("rmse", "draws"), "mean"] == pytest.approx(expected)


def test_several_targets_have_the_mean_of_theirs():
    both, y = np.stack([CENTRE, -CENTRE], 1), np.stack([Y, Y], 1)
    normal = torch.distributions.Independent(torch.distributions.Normal(torch.tensor(both), 1.0), 1)
    rows = score_rows({"a": normal}, None, y, scores=["rmse", "mae", "interval90", "quantile10", "coverage50"])
    np.testing.assert_allclose(rows["rmse", "a"], np.square(y - both).mean(1))
    np.testing.assert_allclose(rows["mae", "a"], np.abs(y - both).mean(1))
    low, high = st.norm(both, 1).interval(0.9)
    np.testing.assert_allclose(rows["interval90", "a"], interval_score(low, high, y, 0.9).mean(1), rtol=1e-7)


@pytest.mark.parametrize(
    ("score", "message"),
    [
        (
            "coverage0",
            "the level in 'coverage0' must lie between 0 and 100 %, both excluded. Pass 'coverage90' for",
        ),
        ("interval100", "the level in 'interval100' must lie between 0 and 100 %, both excluded. Pass 'interval90'"),
        (
            "coverage0.9",
            "the level in 'coverage0.9' must be at least 1: levels are in percent. Pass 'coverage90' for 90 %.",
        ),
        (
            "quantile0.975",
            "the level in 'quantile0.975' must be at least 1: levels are in percent. Pass 'quantile97.5'",
        ),
        ("interval", "unknown score 'interval'; did you mean 'interval90'?"),
        ("RMSE", "unknown score 'RMSE'; did you mean 'rmse'?"),
        ("accuracy", "the score 'accuracy' is for predictions of classes; there are 'nll', 'crps', 'rmse', 'mae', "),
    ],
)
def test_names_of_scores(score, message):
    with raises(ValueError, message):
        evaluate(models(), None, Y, scores=[score])


# -- point predictions -------------------------------------------------------------------------------------------------

MISSING = (
    "a point prediction has no distribution and so no 'nll'. It has 'rmse', 'mae' and 'crps', which is the absolute "
    "error; of a class it has 'accuracy'."
)


def test_models_that_predict_a_number():
    X = np.stack([CENTRE, np.ones(40)], 1)
    points = {
        "ridge": BayesianRidge().fit(X, Y),
        "line": LinearRegression().fit(X, Y),
        "pipeline": make_pipeline(StandardScaler(), DummyRegressor()).fit(X, Y),
        "array": CENTRE,
        "series": pd.Series(CENTRE, index=np.arange(40)[::-1]),
        "list": CENTRE.tolist(),
        "tensor": torch.tensor(CENTRE, dtype=torch.float32),
    }
    table = evaluate(points, X, Y, scores=["nll", "crps", "rmse", "mae", "coverage90", "interval90", "quantile50"])
    for name in list(points)[1:]:
        predicted = points[name].predict(X) if hasattr(points[name], "predict") else CENTRE
        rel = 1e-6
        assert table.loc[("mae", name), "mean"] == pytest.approx(mean_absolute_error(Y, predicted), rel=rel)
        # all the mass lies on the point
        assert table.loc[("crps", name), "mean"] == pytest.approx(mean_absolute_error(Y, predicted), rel=rel)
        assert table.loc[("rmse", name), "mean"] == pytest.approx(root_mean_squared_error(Y, predicted), rel=rel)
        for score in ("nll", "coverage90", "interval90", "quantile50"):
            assert np.isnan(table.loc[(score, name), "mean"])
            assert table.attrs["missing"][score, name] == MISSING.replace("nll", score)
    assert table.xs("ridge", level="model")["mean"].notna().all()


def test_models_that_predict_a_class():
    X = np.stack([CENTRE, np.ones(40)], 1)
    labels = np.where(Y > 0, "yes", "no")
    classifiers = {"logistic": LogisticRegression().fit(X, labels), "ridge": RidgeClassifier().fit(X, labels)}
    table = evaluate(classifiers, X, labels)
    for name, model in classifiers.items():
        assert table.loc[("accuracy", name), "mean"] == pytest.approx(accuracy_score(labels, model.predict(X)))
    assert np.isnan(table.loc[("brier", "ridge"), "mean"])
    assert table.attrs["missing"]["brier", "ridge"] == MISSING.replace("nll", "brier")


def test_a_conformal_regressor_is_a_point_model():
    X = CENTRE[:, None]
    settings = {"max_epochs": 2, "hidden_layer_sizes": (4,), "random_state": 0, "device": "cpu"}
    conformal = ConformalRegressor(DensityRegressor(**settings, preset="plain"), random_state=0).fit(X, Y)
    table = evaluate({"conformal": conformal}, X, Y, scores=["rmse", "nll"])
    assert table.loc[("rmse", "conformal"), "mean"] == pytest.approx(root_mean_squared_error(Y, conformal.predict(X)))
    with raises(TypeError, "'conformal' is a model and needs rows to predict, but `X` is None."):
        evaluate({"conformal": conformal}, None, Y)


def test_a_column_of_numbers_is_a_point_prediction():
    class Column:
        def predict(self, X):
            return CENTRE[:, None]

    columns = {
        "array": CENTRE[:, None],
        "tensor": torch.tensor(CENTRE)[:, None],
        "frame": pd.DataFrame({"a": CENTRE}),
        "list": CENTRE[:, None].tolist(),
        "model": Column(),
        "line": LinearRegression().fit(CENTRE[:, None], CENTRE[:, None]),
    }
    table = evaluate(
        {"flat": CENTRE} | columns, CENTRE[:, None], Y, scores=["nll", "crps", "rmse", "mae", "interval90"]
    )
    for name in columns:
        found, flat = (table.xs(one, level="model")["mean"] for one in (name, "flat"))
        np.testing.assert_allclose(found, flat, rtol=1e-12)
        assert table.attrs["missing"]["nll", name] == MISSING
    # the targets may be a column, too
    both = evaluate(columns, CENTRE[:, None], Y[:, None], scores="mae")
    np.testing.assert_allclose(both["mean"], mean_absolute_error(Y, CENTRE), rtol=1e-12)


# -- exposures ---------------------------------------------------------------------------------------------------------

RNG = np.random.default_rng(0)
ROWS, EXPOSURE = RNG.uniform(-1, 1, (200, 1)), RNG.uniform(0.1, 5.0, 200)
COUNTS = RNG.poisson(EXPOSURE * np.exp(1 + ROWS[:, 0]))


def counter(**exposure):
    settings = {"hidden_layer_sizes": (4,), "max_epochs": 3, "random_state": 0, "device": "cpu"}
    return DensityRegressor("poisson", "erm", **settings, preset="plain").fit(ROWS, COUNTS, **exposure)


def test_exposures_go_to_the_models_that_were_fitted_with_them():
    exposed, plain = counter(exposure=EXPOSURE), counter()
    given = {
        "exposed": exposed,
        "plain": plain,
        "point": PoissonRegressor().fit(ROWS, COUNTS),
        "prediction": exposed.predict_dist(ROWS, exposure=EXPOSURE),
    }
    with pytest.warns(
        UserWarning, match=r"^'plain', 'point' take no exposures: what is predicted is compared with y as it is\."
    ):
        table = evaluate(given, ROWS, COUNTS, exposure=EXPOSURE)
    for name, exposure in (("exposed", EXPOSURE), ("plain", None)):
        score = given[name].score(ROWS, COUNTS, exposure=exposure)
        assert table.loc[("nll", name), "mean"] == pytest.approx(-score)
    assert table.loc[("nll", "prediction"), "mean"] == pytest.approx(table.loc[("nll", "exposed"), "mean"])
    with raises(ValueError, "the model was fitted with exposures, and without those of these rows each would"):
        evaluate(given, ROWS, COUNTS)
    message = "`exposure` was passed, and none of the models was fitted with exposures. Fit with them, or leave it out."
    for others in ({"plain": plain}, {"point": given["point"]}, {"prediction": given["prediction"]}):
        with raises(ValueError, message):
            evaluate(others, ROWS, COUNTS, exposure=EXPOSURE)


def test_models_of_ones_own_are_given_exposures_where_they_take_them():
    class Rate:
        def predict_dist(self, X, exposure=None):
            return torch.distributions.Poisson(torch.tensor(np.ones(len(X)) if exposure is None else exposure))

    found = evaluate({"rate": Rate()}, ROWS, COUNTS, exposure=EXPOSURE, scores=["nll"])
    assert found.loc[("nll", "rate"), "mean"] == pytest.approx(-st.poisson(EXPOSURE).logpmf(COUNTS).mean())


# -- rows without a score, and equal ones ------------------------------------------------------------------------------


def test_means_that_are_nan_for_single_rows_have_a_reason():
    columns = pd.MultiIndex.from_product([["crps"], ["a", "b", "c"]], names=["score", "model"])
    rows = pd.DataFrame([[1.0, np.nan, np.inf], [2.0, np.nan, -np.inf], [3.0, 1.0, 0.0]], columns=columns)
    assert compare_rows(rows).attrs["missing"] == {
        ("crps", "b"): "the score of 2 of 3 rows is no number",
        ("crps", "c"): "some rows score inf and others -inf, and their mean is no number",
    }
    # rows without weight do not count
    assert compare_rows(rows, sample_weight=[0, 0, 1]).attrs["missing"] == {}
    scale = torch.where(torch.arange(40) < 7, torch.nan, 1.0).double()
    broken = torch.distributions.Normal(torch.tensor(CENTRE), scale, validate_args=False)
    table = evaluate({"good": st.norm(CENTRE, 1.0), "broken": broken}, None, Y, scores=["nll", "crps"])
    reason = "the score of 7 of 40 rows is no number"
    assert table.attrs["missing"] == {("nll", "broken"): reason, ("crps", "broken"): reason}


def test_differences_of_rounding_are_none():
    columns = pd.MultiIndex.from_product([["crps", "rmse"], ["a", "b"]], names=["score", "model"])
    # one score is near zero by cancellation
    scores = np.append(np.random.default_rng(0).uniform(0.5, 2.0, 39), 1e-9)
    rows = np.stack([scores, scores - 7.5e-17 - 2e-16 * scores] * 2, 1)
    table = compare_rows(pd.DataFrame(rows, columns=columns)).xs("b", level="model")
    assert (table[["difference", "difference_error"]] == 0).all(axis=None)
    assert (table["p"] == 1).all()
    # small differences that are no rounding stay, also beside a score that is huge
    small = np.stack([scores, scores + 1e-9 * scores] * 2, 1)
    small[0] = 1e9
    table = compare_rows(pd.DataFrame(small, columns=columns)).loc[("crps", "b")]
    assert table["difference"] == pytest.approx((small[:, 1] - small[:, 0]).mean(), rel=1e-12)
    assert table["p"] < 0.001
    equal = evaluate({"a": st.norm(CENTRE, 1.0), "b": st.norm(CENTRE, 1.0 + 1e-16)}, None, Y)
    assert (equal.loc[[("nll", "b"), ("crps", "b")], "p"] == 1).all()


def test_a_string_names_one_score():
    pd.testing.assert_frame_equal(
        evaluate(models(), None, Y, scores="crps"), evaluate(models(), None, Y, scores=["crps"])
    )
    assert list(score_rows(models(), None, Y, scores="nll").columns.levels[0]) == ["nll"]


# -- the table ---------------------------------------------------------------------------------------------------------


def test_the_table_prints_whole():
    table = evaluate(models(), None, Y, scores=["nll", "crps", "coverage90", "interval90", "rmse"])
    with pd.option_context("display.width", 80, "display.max_columns", 4, "display.max_rows", 5):
        text = repr(table)
    lines = text.splitlines()
    assert "..." not in text
    assert len(lines) == 2 + len(table)
    assert max(map(len, lines)) <= 80
    assert lines[0].split() == ["n", "mean", "±", "difference", "±", "p"]
    words = dict(line.removeprefix("nll").split(maxsplit=1) for line in lines[2:7])
    line = table.loc[("nll", "scipy")]
    assert words["scipy"].split() == ["40", *(f"{line[name]:.4g}" for name in line.index[1:5]), "<0.001"]
    assert line["p"] < 0.001
    assert words["draws"].split() == ["40"]
    assert str(table) == text
    assert repr(table.loc["crps"]).splitlines()[0].split()[-1] == "p"


def test_the_table_is_a_frame_like_any_other():
    table = evaluate(models(), None, Y)
    assert isinstance(table, ScoreTable)
    assert isinstance(table, pd.DataFrame)
    part = table[["mean", "difference"]]
    assert repr(part) == repr(pd.DataFrame(part))
    assert isinstance(table.round(2), ScoreTable)
    assert repr(pd.DataFrame(table)) != repr(table)
    small = table.copy()
    small["p"] = 1e-9
    assert re.search(r"<0\.001$", repr(small).splitlines()[3])
