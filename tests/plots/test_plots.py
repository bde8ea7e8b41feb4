"""Displays: what is drawn, read back from the axes."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from pyro import distributions as dist
from scipy.stats import binom, norm
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from probmix import DensityClassifier, DensityRegressor
from probmix.distributions import Poisson
from probmix.plots import PITHistogramDisplay, PredictiveBandDisplay


class Linear:
    """Predicts N(x_0 + 10 x_1, 2^2)."""

    def predict_dist(self, X):
        self.seen = X
        x = torch.from_numpy(np.array(X, dtype=np.float64))
        return dist.Normal(x[:, 0] + (10 * x[:, 1] if x.shape[1] > 1 else 0), 2.0)


@pytest.fixture
def ax():
    return Figure().subplots()


@pytest.fixture
def pyplot():
    before = mpl.get_backend()
    plt.switch_backend("agg")
    yield plt
    plt.close("all")
    plt.switch_backend(before)


def labels(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def polygon_limits(collection, x):
    """Lowest and highest y of a band at x, one of its corners."""
    corners = collection.get_paths()[0].vertices
    at_x = corners[np.isclose(corners[:, 0], x), 1]
    return at_x.min(), at_x.max()


# -- bands -------------------------------------------------------------------------------------------------------------


def test_bands_of_an_estimator_hold_its_quantiles(ax):
    X, y = np.array([[0.0], [3.0], [1.0]]), np.array([1.0, 2.0, 5.0])
    display = PredictiveBandDisplay.from_estimator(Linear(), X, y, resolution=7, ax=ax)
    assert display.ax_ is ax
    assert display.figure_ is ax.figure
    wide, narrow = ax.collections
    for x in (0.0, 1.5, 3.0):
        assert polygon_limits(wide, x) == pytest.approx(norm.ppf([0.05, 0.95], x, 2))
        assert polygon_limits(narrow, x) == pytest.approx(norm.ppf([0.25, 0.75], x, 2))
    assert wide.get_alpha() < narrow.get_alpha()
    mean, data = ax.lines
    np.testing.assert_allclose(mean.get_xydata(), np.repeat(np.linspace(0, 3, 7)[:, None], 2, 1))
    np.testing.assert_array_equal(data.get_xydata(), np.column_stack([X[:, 0], y]))
    assert labels(ax) == ["90 % band", "50 % band", "mean", "data"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("x", "y")


def test_bands_hold_other_features_at_their_medians(ax):
    X = pd.DataFrame({"age": [0.0, 2.0, 4.0], "dose": [1.0, 7.0, 2.0]})
    model = Linear()
    display = PredictiveBandDisplay.from_estimator(model, X, feature="age", limits=(-1, 1), resolution=3, ax=ax)
    assert ax.get_xlabel() == "age"
    assert list(model.seen.columns) == ["age", "dose"]
    np.testing.assert_allclose(display.mean, [-1 + 20, 0 + 20, 1 + 20])
    assert labels(ax) == ["90 % band", "50 % band", "mean"]  # no data without y
    by_number = PredictiveBandDisplay.from_estimator(model, X.to_numpy(), feature=1, resolution=2, ax=ax)
    np.testing.assert_allclose(by_number.mean, [2 + 10, 2 + 70])
    assert ax.get_xlabel() == "feature 1"


def test_bands_of_integer_features_are_not_rounded(ax):
    X = pd.DataFrame({"a": [0, 1], "b": [0, 1]})
    display = PredictiveBandDisplay.from_estimator(Linear(), X, resolution=3, ax=ax)
    np.testing.assert_allclose(display.x, [0, 0.5, 1])
    np.testing.assert_allclose(display.mean, [5, 5.5, 6])


def test_bands_from_predictions_sort_by_x(ax):
    band = np.array([[2.0, 4.0], [0.0, 1.0]])
    display = PredictiveBandDisplay.from_predictions(
        [3, 1], [3, 0.5], {0.8: band}, feature_name="age", target_name="charges", ax=ax
    )
    np.testing.assert_array_equal(display.x, [1, 3])
    np.testing.assert_array_equal(display.bands[0.8], [[0, 1], [2, 4]])
    assert polygon_limits(ax.collections[0], 3) == (2, 4)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("age", "charges")
    assert labels(ax) == ["80 % band", "mean"]


def test_bands_can_be_drawn_again_elsewhere(ax):
    display = PredictiveBandDisplay.from_predictions([0, 1], [0, 1], {0.5: [[0, 1], [1, 2]]}, ax=ax)
    other = Figure().subplots()
    assert display.plot(other, color="C1") is display
    assert display.ax_ is other
    assert len(other.collections) == 1


def test_bands_of_fitted_estimators_in_a_pipeline_and_a_search(ax):
    random = np.random.default_rng(0)
    X = pd.DataFrame(random.normal(size=(40, 2)), columns=["a", "b"])
    y = X["a"].to_numpy() + random.normal(size=40)
    settings = {"max_epochs": 2, "hidden_layer_sizes": (4,), "random_state": 0, "device": "cpu"}
    pipeline = make_pipeline(StandardScaler(), DensityRegressor(**settings, preset="plain")).fit(X, y)
    display = PredictiveBandDisplay.from_estimator(pipeline, X, y, resolution=3, ax=ax)
    grid = pd.DataFrame({"a": np.linspace(X["a"].min(), X["a"].max(), 3), "b": X["b"].median()})
    np.testing.assert_allclose(display.mean, pipeline.predict(grid))
    search = GridSearchCV(DensityRegressor(**settings, preset="plain"), {"batch_size": [8]}, cv=2).fit(X.to_numpy(), y)
    display = PredictiveBandDisplay.from_estimator(search, X.to_numpy(), resolution=3, ax=ax)
    np.testing.assert_allclose(
        display.bands[0.9], search.best_estimator_.predict_interval(grid.to_numpy(copy=True), 0.9)
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"feature": "dose"}, "`feature` is 'dose', but X has the columns age, sex."),
        ({"feature": 2}, "`feature` must be a number from 0 to 1, a column of X; got 2."),
        ({"coverages": [90]}, "every one of `coverages` must lie between 0 and 1; got 90. For 90 % pass 0.9."),
    ],
)
def test_bands_errors(ax, arguments, message):
    X = pd.DataFrame({"age": [0.0, 1.0], "sex": [0.0, 1.0]})
    with pytest.raises(ValueError, match=r"must|but") as caught:
        PredictiveBandDisplay.from_estimator(Linear(), X, ax=ax, **arguments)
    assert str(caught.value) == message


def test_bands_of_the_wrong_shape(ax):
    with pytest.raises(ValueError, match="shape") as caught:
        PredictiveBandDisplay.from_predictions([0, 1, 2], [0, 1, 2], {0.9: np.zeros((2, 3))}, ax=ax)
    assert str(caught.value) == (
        "the band of coverage 0.9 must have shape (3, 2), lower and upper end for each x; got (2, 3)."
    )


def test_displays_want_the_distribution_of_one_number(ax):
    X, y = np.arange(12.0).reshape(6, 2), np.array([0, 1, 0, 1, 0, 1])
    classifier = DensityClassifier(max_epochs=1, device="cpu", random_state=0, preset="plain").fit(X, y)
    with pytest.raises(
        TypeError, match=r"^a display shows the distribution of a number; DensityClassifier\(.*\) predicts classes\.$"
    ):
        PredictiveBandDisplay.from_estimator(classifier, X, ax=ax)
    with pytest.raises(TypeError, match="must predict distributions by a method `predict_dist`; got StandardScaler"):
        PITHistogramDisplay.from_estimator(StandardScaler().fit(X), X, y, ax=ax)
    several = DensityRegressor(max_epochs=1, device="cpu", random_state=0, preset="plain").fit(
        X, np.column_stack([y, y])
    )
    with pytest.raises(ValueError, match=r"one target per row, .* got shape \(6, 2\). Plot the targets one by one"):
        PITHistogramDisplay.from_estimator(several, X, y, ax=ax)


# -- PIT ---------------------------------------------------------------------------------------------------------------


def test_pit_histogram_draws_densities_reference_and_band(ax):
    values = np.array([0.05, 0.06, 0.3, 0.31, 0.32, 0.8, 0.99, 1.0])
    display = PITHistogramDisplay(values, bins=4)
    assert display.plot(ax) is display
    assert display.ax_ is ax
    assert display.figure_ is ax.figure
    assert [bar.get_height() for bar in ax.patches] == [1.0, 1.5, 0.0, 1.5]
    assert [bar.get_x() for bar in ax.patches] == [0.0, 0.25, 0.5, 0.75]
    assert sum(bar.get_height() * bar.get_width() for bar in ax.patches) == pytest.approx(1)
    levels = [line.get_ydata()[0] for line in ax.lines]
    assert levels == pytest.approx([1.0, *(binom.ppf([0.025, 0.975], 8, 0.25) * 4 / 8)])
    assert [line.get_linestyle() for line in ax.lines] == ["-", "--", "--"]
    assert sorted(labels(ax)) == ["8 targets", "95 % of bars if uniform", "uniform"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("probability integral transform", "density")
    assert ax.get_xlim() == (0, 1)
    assert ax.get_ylim()[1] > 1.5


@pytest.mark.parametrize(("n", "bins"), [(1, 10), (50, 10), (442, 10), (5000, 20), (10, 1)])
def test_pit_band_is_that_of_the_binomial_distribution(n, bins):
    display = PITHistogramDisplay(np.full(n, 0.5), bins)
    np.testing.assert_allclose(display.band, binom.ppf([0.025, 0.975], n, 1 / bins) * bins / n)


def test_pit_histogram_of_the_true_distribution_is_flat_and_of_a_narrow_one_u_shaped(ax):
    y = np.random.default_rng(0).normal(size=20_000)
    true = PITHistogramDisplay.from_predictions(dist.Normal(torch.zeros(20_000), 1.0), y, ax=ax)
    assert np.abs(true.heights - 1).max() < 0.1
    narrow = PITHistogramDisplay.from_predictions(dist.Normal(torch.zeros(20_000), 0.5), torch.from_numpy(y), ax=ax)
    assert min(narrow.heights[0], narrow.heights[-1]) > 2 > 1 > narrow.heights[4]


def test_pit_histogram_of_counts_is_flat_also_where_counts_are_few(ax):
    y = np.random.default_rng(0).poisson(0.7, 20_000)
    display = PITHistogramDisplay.from_predictions(Poisson(torch.full((20_000,), 0.7)), y, ax=ax)
    assert np.abs(display.heights - 1).max() < 0.1
    generator = torch.Generator().manual_seed(5)
    other = PITHistogramDisplay.from_predictions(Poisson(torch.full((20_000,), 0.7)), y, generator=generator, ax=ax)
    assert not np.array_equal(other.values, display.values)


def test_pit_of_an_estimator(ax):
    X = np.arange(20.0)[:, None]
    y = X[:, 0] + norm.ppf((np.arange(20) + 0.5) / 20) * 2
    display = PITHistogramDisplay.from_estimator(Linear(), X, y, bins=4, ax=ax)
    np.testing.assert_allclose(display.values, (np.arange(20) + 0.5) / 20)
    np.testing.assert_allclose(display.heights, 1)


@pytest.mark.parametrize(("values", "bins"), [([], 10), ([0.5], 0)])
def test_pit_errors(values, bins):
    with pytest.raises(ValueError, match="at least one bar") as caught:
        PITHistogramDisplay(np.array(values), bins)
    assert str(caught.value) == (
        f"a histogram needs at least one bar and one value; got bins={bins} and {len(values)} values."
    )


# -- figures and state -------------------------------------------------------------------------------------------------


def test_without_axes_each_display_makes_one_figure(pyplot):
    pit = PITHistogramDisplay(np.array([0.2, 0.7])).plot()
    bands = PredictiveBandDisplay.from_predictions([0, 1], [0, 1], {0.5: [[0, 1], [1, 2]]})
    assert len(pyplot.get_fignums()) == 2
    assert pit.ax_.figure is pit.figure_
    assert pit.figure_ is not bands.figure_
    bands.figure_.canvas.draw()
    pit.figure_.canvas.draw()


def test_with_axes_nothing_of_matplotlibs_state_changes(ax, pyplot):
    before, state = dict(mpl.rcParams), torch.get_rng_state()
    PITHistogramDisplay.from_predictions(Poisson(torch.ones(3)), [0, 1, 2], ax=ax)
    PredictiveBandDisplay.from_estimator(Linear(), np.array([[0.0], [1.0]]), ax=ax)
    assert pyplot.get_fignums() == []
    assert dict(mpl.rcParams) == before
    assert torch.equal(torch.get_rng_state(), state)
