"""Bands over frames with text, categories, truth values and dates, and displays of models with exposures."""

import re

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from pyro import distributions as dist
from torch import from_numpy

from probmix import DensityRegressor
from probmix.plots import CoverageDisplay, PITHistogramDisplay, PredictiveBandDisplay, ScoreComparisonDisplay

FRAME = pd.DataFrame(
    {
        "size": [1.0, 2.0, 4.0, 3.0],
        "rooms": [3, 1, 2, 9],
        "city": ["Rome", "Oslo", "Oslo", "Paris"],
        "kind": pd.Categorical(["b", "a", "b", "b"], categories=["a", "b", "c"]),
        "garden": [True, True, False, True],
        "sold": pd.to_datetime(["2020-01-01", "2020-01-03", "2020-01-05", "2020-02-01"]),
        "price": pd.array([None, 1.0, 2.0, 3.0], dtype="Float64"),
        "nothing": pd.Series([None] * 4, dtype=object),
    }
)


class Seeing:
    """Predicts N(size, 1) and keeps the frame."""

    def predict_dist(self, X):
        self.seen = X
        return dist.Normal(from_numpy(np.array(X["size"], dtype=np.float64)), 1.0)


@pytest.fixture
def ax():
    return Figure().subplots()


def test_each_kind_of_column_is_held_at_its_middle(ax):
    model = Seeing()
    display = PredictiveBandDisplay.from_estimator(model, FRAME, [1, 2, 3, 4], feature="size", resolution=5, ax=ax)
    seen = model.seen
    assert list(seen.columns) == list(FRAME.columns)
    np.testing.assert_allclose(seen["size"], np.linspace(1, 4, 5))
    held = {"rooms": 2.5, "city": "Oslo", "kind": "b", "garden": True, "sold": pd.Timestamp("2020-01-04"), "price": 2.0}
    for name, value in held.items():
        assert (seen[name] == value).all(), name
    assert seen["nothing"].isna().all()
    for name in ("city", "kind", "garden"):
        assert seen[name].dtype == FRAME[name].dtype
    assert seen["sold"].dtype.kind == "M"
    np.testing.assert_allclose(display.mean, np.linspace(1, 4, 5))
    assert FRAME["size"].tolist() == [1, 2, 4, 3]


def test_missing_values_of_the_feature_are_left_out_of_its_range(ax):
    frame = FRAME[["price", "size"]]
    display = PredictiveBandDisplay.from_estimator(Seeing(), frame, feature="price", resolution=3, ax=ax)
    np.testing.assert_allclose(display.x, [1, 2, 3])


@pytest.mark.parametrize("feature", ["city", "kind", "sold", "nothing"])
def test_bands_run_along_numbers(feature, ax):
    with pytest.raises(ValueError, match=r"^`feature` must be a column of numbers; ") as error:
        PredictiveBandDisplay.from_estimator(Seeing(), FRAME, feature=feature, ax=ax)
    assert str(error.value) == (
        f"`feature` must be a column of numbers; {feature!r} is of the type {FRAME[feature].dtype} or empty. Columns "
        "of numbers: size, rooms, garden, price."
    )


def test_no_text_holds_whole_arrays(ax):
    frame = pd.DataFrame({"x": np.arange(1000.0), "name": ["a long name"] * 1000})
    model = DensityRegressor(max_epochs=1, random_state=0, preset="plain").fit(frame[["x"]], frame["x"])
    for given in (frame, frame.to_numpy()):
        with pytest.raises(ValueError, match=r".") as error:
            PredictiveBandDisplay.from_estimator(model, given, ax=ax)
        assert len(str(error.value)) < 500


# -- exposures ---------------------------------------------------------------------------------------------------------

RNG = np.random.default_rng(0)
X = RNG.uniform(-1, 1, (120, 1))
EXPOSURE = RNG.uniform(0.1, 5.0, 120)
Y = RNG.poisson(EXPOSURE * np.exp(1 + X[:, 0]))


@pytest.fixture(scope="module")
def counter():
    settings = {"hidden_layer_sizes": (4,), "max_epochs": 3, "random_state": 0, "device": "cpu"}
    return DensityRegressor("poisson", "erm", **settings, preset="plain").fit(X, Y, exposure=EXPOSURE)


def test_displays_pass_exposures_on_and_ask_for_them(counter, ax):
    predicted = counter.predict_dist(X, exposure=EXPOSURE)
    for kind, shown in ((CoverageDisplay, "coverage"), (PITHistogramDisplay, "values")):
        with pytest.raises(ValueError, match=re.escape("the model was fitted with exposures")):
            kind.from_estimator(counter, X, Y, ax=ax)
        display = kind.from_estimator(counter, X, Y, exposure=EXPOSURE, ax=Figure().subplots())
        expected = kind.from_predictions(predicted, Y, ax=Figure().subplots())
        np.testing.assert_array_equal(getattr(display, shown), getattr(expected, shown))
    models = {"model": counter, "prediction": predicted}
    with pytest.raises(ValueError, match=re.escape("the model was fitted with exposures")):
        ScoreComparisonDisplay.from_estimators(models, X, Y, ax=ax)
    display = ScoreComparisonDisplay.from_estimators(models, X, Y, exposure=EXPOSURE, ax=ax)
    np.testing.assert_allclose(display.values, 0, atol=1e-12)


def test_bands_are_for_one_exposure(counter, ax):
    with pytest.raises(ValueError, match=re.escape("the model was fitted with exposures")):
        PredictiveBandDisplay.from_estimator(counter, X, ax=ax)
    one, three = (PredictiveBandDisplay.from_estimator(counter, X, exposure=e, ax=Figure().subplots()) for e in (1, 3))
    np.testing.assert_allclose(three.mean, 3 * one.mean, rtol=1e-6)
    words = (
        "`exposure` must be one number, the exposure that the bands are for on a grid of the feature; got shape "
        "(120,). Pass a typical one, such as the median of those of the rows."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(words)}$"):
        PredictiveBandDisplay.from_estimator(counter, X, Y, exposure=EXPOSURE, ax=ax)


@pytest.mark.parametrize(
    ("score", "difference", "label"),
    [
        ("coverage50", False, "mean coverage of the 50 % interval\n(95 % intervals; best at 0.5)"),
        (
            "coverage99.5",
            True,
            "difference in coverage of the 99.5 % interval to a\n(95 % intervals; neither side is better)",
        ),
        ("interval80", False, "mean score of the 80 % interval\n(95 % intervals; smaller is better)"),
        ("pinball10", True, "difference in quantile score at 10 % to a\n(95 % intervals; smaller is better)"),
        ("rmse", False, "mean RMSE\n(95 % intervals; smaller is better)"),
    ],
)
def test_scores_with_a_level_are_drawn_in_words(score, difference, label, ax):
    models = {"a": dist.Normal(from_numpy(X[:, 0]), 1.0), "b": X[:, 0]}
    display = ScoreComparisonDisplay.from_predictions(models, X[:, 0], score=score, difference=difference, ax=ax)
    assert display.ax_.get_xlabel() == label
    if score == "coverage50":
        assert display.reference == 0.5
