"""Displays of coverage and of reliability: what is drawn, read back from the axes."""

import io
import re

import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from pyro import distributions as dist
from scipy.stats import binom
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from probmix import DensityClassifier, DensityRegressor
from probmix.distributions import Bernoulli, Categorical, Poisson
from probmix.plots import CoverageDisplay, PITHistogramDisplay, ReliabilityDisplay
from probmix.scores import corp_decomposition, coverage_curve, reliability_curve

SETTINGS = {"max_epochs": 3, "hidden_layer_sizes": (8,), "random_state": 0, "device": "cpu"}


def raises(kind, message):
    return pytest.raises(kind, match=f"^{re.escape(message)}$")


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


@pytest.fixture(scope="module")
def cancer():
    X, y = load_breast_cancer(return_X_y=True)
    names = np.array(["malignant", "benign"])[y]
    model = make_pipeline(StandardScaler(), DensityClassifier(**SETTINGS, preset="plain")).fit(X[::2], names[::2])
    return model, X[1::2], names[1::2]


@pytest.fixture(scope="module")
def iris():
    X, y = load_iris(return_X_y=True)
    names = np.array(["setosa", "versicolor", "virginica"])[y]
    return DensityClassifier(**SETTINGS, preset="plain").fit(X[::2], names[::2]), X[1::2], names[1::2]


def labels(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def line(ax, label):
    (found,) = (one for one in ax.lines if one.get_label() == label)
    return found


def limits(collection, x):
    """Lowest and highest y of a band at x, one of its corners."""
    corners = collection.get_paths()[0].vertices
    at_x = corners[np.isclose(corners[:, 0], x, rtol=0, atol=1e-9), 1]
    return at_x.min(), at_x.max()


def boxes_overlap(first, second):
    return first.x0 < second.x1 and second.x0 < first.x1 and first.y0 < second.y1 and second.y0 < first.y1


def legend_box(ax):
    ax.figure.savefig(io.BytesIO(), format="png")
    return ax.get_legend().get_window_extent().transformed(ax.transData.inverted())


# -- coverage ----------------------------------------------------------------------------------------------------------


def test_coverage_display_draws_curve_diagonal_and_band(ax):
    y = np.random.default_rng(0).normal(size=80) * 1.5
    distribution = dist.Normal(torch.zeros(80), 1.0)
    display = CoverageDisplay.from_predictions(distribution, y, levels=[0.9, 0.5], name="narrow", ax=ax)
    assert display.ax_ is ax
    assert display.figure_ is ax.figure
    curve = coverage_curve(distribution, torch.tensor(y), [0.5, 0.9])
    np.testing.assert_allclose(display.line_.get_xydata(), np.column_stack(curve))
    assert display.line_ is line(ax, "narrow")
    np.testing.assert_array_equal(line(ax, "calibrated").get_xydata(), [[0, 0], [1, 1]])
    (band,) = ax.collections
    for level in (0.0, 0.03, 0.5, 0.95, 1.0):
        expected = binom.ppf([0.025, 0.975], 80, level) / 80 if level else (0, 0)
        assert limits(band, level) == pytest.approx(tuple(expected))
        assert display.band(level) == pytest.approx(tuple(expected))
    assert labels(ax) == ["95 % of cases\nif calibrated,\n80 targets", "calibrated", "narrow"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("nominal coverage of central intervals", "observed coverage")
    assert ax.get_ylim() == (0, 1)


def test_several_models_share_diagonal_and_band_and_differ_without_colour(ax):
    y = np.random.default_rng(0).normal(size=80)
    displays = [
        CoverageDisplay.from_predictions(dist.Normal(torch.zeros(80), scale), y, name=name, ax=ax)
        for scale, name in ((0.5, "narrow"), (1.0, "true"), (2.0, "wide"))
    ]
    assert labels(ax) == ["95 % of cases\nif calibrated,\n80 targets", "calibrated", "narrow", "true", "wide"]
    assert len(ax.collections) == 1
    assert len({display.line_.get_marker() for display in displays}) == 3
    assert [display.line_.get_color() for display in displays] == ["C0", "C1", "C2"]
    narrow, true, wide = (display.coverage for display in displays)
    assert (narrow <= true).all()
    assert (true <= wide).all()
    assert narrow[9] < displays[0].band(0.5)[0] < true[9] < displays[0].band(0.5)[1] < wide[9]
    assert legend_box(ax).x0 > 1  # beside the curves


def test_coverage_of_counts_and_their_generator(ax):
    y = np.random.default_rng(0).poisson(0.7, 4000)
    forecast = Poisson(torch.full((4000,), 0.7))
    display = CoverageDisplay.from_predictions(forecast, y, ax=ax)
    assert np.abs(display.coverage - display.levels).max() < 0.03
    other = CoverageDisplay.from_predictions(forecast, y, generator=torch.Generator().manual_seed(5), ax=ax)
    assert not np.array_equal(other.coverage, display.coverage)
    assert labels(ax)[2:] == ["predictions", "predictions"]


def test_coverage_of_fitted_estimators(ax):
    random = np.random.default_rng(0)
    X = random.normal(size=(60, 2))
    y = X[:, 0] + random.normal(size=60)
    pipeline = make_pipeline(StandardScaler(), DensityRegressor(**SETTINGS, preset="plain")).fit(X, y)
    display = CoverageDisplay.from_estimator(pipeline, X, y, ax=ax, color="C5")
    assert display.line_.get_color() == "C5"
    assert display.line_.get_label() == "Pipeline"
    scaled = pipeline[:-1].transform(X)
    np.testing.assert_allclose(
        display.coverage, coverage_curve(pipeline[-1].predict_dist(scaled), torch.tensor(y)).coverage
    )
    search = GridSearchCV(DensityRegressor(**SETTINGS, preset="plain"), {"batch_size": [8]}, cv=2).fit(X, y)
    display = CoverageDisplay.from_estimator(search, X, y, levels=[0.5], name="found", ax=ax)
    assert display.levels.tolist() == [0.5]
    assert labels(ax)[2:] == ["Pipeline", "found"]


def test_coverage_errors(ax, iris):
    rule = "a coverage curve needs one coverage for each level, and at least one level and one target; got "
    with raises(ValueError, rule + "2 levels, 1 coverages and n=5."):
        CoverageDisplay(np.array([0.5, 0.9]), np.array([0.5]), 5)
    with raises(ValueError, rule + "1 levels, 1 coverages and n=0."):
        CoverageDisplay(np.array([0.5]), np.array([0.5]), 0)
    message = "`levels` must be a sequence of numbers between 0 and 1, both excluded, got 90. For 90 % pass 0.9."
    with raises(ValueError, message):
        CoverageDisplay.from_predictions(Poisson(torch.ones(2)), [0, 1], levels=[90], ax=ax)
    with pytest.raises(TypeError, match="predicts classes"):
        CoverageDisplay.from_estimator(*iris, ax=ax)
    with pytest.raises(ValueError, match=r"one target per row, .* got shape \(2, 3\)"):
        CoverageDisplay.from_predictions(dist.Normal(torch.zeros(2, 3), 1.0), np.zeros((2, 3)), ax=ax)


# -- reliability -------------------------------------------------------------------------------------------------------


def test_reliability_display_draws_curve_band_histogram_and_parts(ax):
    random = np.random.default_rng(0)
    p = np.round(random.uniform(size=400), 2)
    y = random.uniform(size=400) < p**2
    forecast = Bernoulli(torch.tensor(p))
    display = ReliabilityDisplay.from_predictions(forecast, y, ax=ax)
    assert display.ax_ is ax
    assert display.figure_ is ax.figure
    curve = reliability_curve(forecast, torch.tensor(y), level=0.95)
    np.testing.assert_allclose(display.line_.get_xydata(), np.column_stack(curve[:2]))
    np.testing.assert_array_equal(line(ax, "calibrated").get_xydata(), [[0, 0], [1, 1]])
    (band,) = ax.collections
    for k in range(0, len(curve.probability), 9):
        expected = curve.lower[k].item(), curve.upper[k].item()
        assert limits(band, curve.probability[k].item()) == pytest.approx(expected)
    heights = np.array([bar.get_height() for bar in ax.patches])
    counts = np.histogram(p, 20, (0, 1))[0]
    np.testing.assert_allclose(heights / heights.max(), counts / counts.max())
    assert [bar.get_x() for bar in ax.patches] == pytest.approx(list(np.arange(20) / 20))
    # the bars have a strip of their own below the diagram
    assert ax.get_ylim()[0] == ax.patches[0].get_y() < 0
    assert max(bar.get_y() + bar.get_height() for bar in ax.patches) < 0
    assert labels(ax) == ["observed rate", "95 % of cases\nif calibrated", "calibrated", "400 forecasts"]
    parts = corp_decomposition(forecast, torch.tensor(y), "brier")
    assert display.decomposition == pytest.approx(parts)
    assert ax.get_legend().get_title().get_text() == (
        f"Brier score {parts.score:.3f}\nMCB {parts.miscalibration:.3f}\n"
        f"DSC {parts.discrimination:.3f}\nUNC {parts.uncertainty:.3f}"
    )
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("probability of class 1", "observed rate of the event")


@pytest.mark.parametrize("layout", [None, "constrained"])
@pytest.mark.parametrize("columns", [1, 2])
def test_the_legend_of_a_reliability_diagram_is_beside_it(layout, columns):
    figure = Figure((5.5 * columns, 5), layout=layout)
    axes = figure.subplots(1, columns, squeeze=False)[0]
    for ax in axes:
        ReliabilityDisplay.from_predictions(Bernoulli(torch.tensor([0.2, 0.7])), [0, 1], ax=ax)
    for ax in axes:
        assert legend_box(ax).x0 > 1
        whole = ax.get_legend().get_window_extent()
        assert whole.x1 <= figure.bbox.x1
        others = [other.get_window_extent() for other in axes if other is not ax]
        assert not any(boxes_overlap(whole, other) for other in others)


def test_reliability_of_fitted_classifiers(ax, cancer, iris):
    model, X, y = cancer
    display = ReliabilityDisplay.from_estimator(model, X, y, ax=ax)
    assert ax.get_xlabel() == "probability of malignant"
    probs = model.predict_proba(X)
    assert list(model.classes_) == ["benign", "malignant"]
    np.testing.assert_allclose(display.curve.probability, np.unique(probs[:, 1]))
    assert display.decomposition.score == pytest.approx(np.mean((probs[:, 1] - (y == "malignant")) ** 2))
    other = ReliabilityDisplay.from_estimator(model, X, y, pos_label="benign", ax=Figure().subplots(), color="C3")
    assert other.ax_.get_xlabel() == "probability of benign"
    assert other.line_.get_color() == "C3"
    assert other.decomposition == pytest.approx(display.decomposition)
    np.testing.assert_allclose(other.curve.probability, np.unique(probs[:, 0]))
    model, X, y = iris
    probs = model.predict_proba(X)
    display = ReliabilityDisplay.from_estimator(model, X, y, ax=Figure().subplots())
    assert display.ax_.get_xlabel() == "confidence of the most probable class"
    right = model.predict(X) == y
    assert display.decomposition.score == pytest.approx(np.mean((probs.max(1) - right) ** 2))
    display = ReliabilityDisplay.from_estimator(model, X, y, pos_label="virginica", ax=Figure().subplots())
    assert display.ax_.get_xlabel() == "probability of virginica"
    assert display.decomposition.score == pytest.approx(np.mean((probs[:, 2] - (y == "virginica")) ** 2))


def test_reliability_of_a_regressor_of_zeros_and_ones(ax):
    random = np.random.default_rng(0)
    X = random.normal(size=(60, 1))
    y = (X[:, 0] + random.normal(size=60) > 0).astype(float)
    model = DensityRegressor(family="bernoulli", **SETTINGS, preset="plain").fit(X, y)
    display = ReliabilityDisplay.from_estimator(model, X, y, ax=ax)
    assert display.decomposition.score == pytest.approx(np.mean((model.predict(X) - y) ** 2))
    with pytest.raises(ValueError, match="`pos_label` needs an estimator with classes; DensityRegressor"):
        ReliabilityDisplay.from_estimator(model, X, y, pos_label=1, ax=ax)


def test_names_of_events_and_generator(ax):
    forecast, y = Categorical(torch.tensor([[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]])), [2, 1]
    for options, name in (
        ({}, "confidence of the most probable class"),
        ({"event": 0}, "probability of class 0"),
        ({"event": 2, "event_name": "chance of rain"}, "chance of rain"),
    ):
        display = ReliabilityDisplay.from_predictions(forecast, y, ax=Figure().subplots(), **options)
        assert display.ax_.get_xlabel() == name
    p = torch.linspace(0, 1, 30)
    first = ReliabilityDisplay.from_predictions(Bernoulli(p), (p > 0.4).int(), ax=ax).curve.upper
    generator = torch.Generator().manual_seed(3)
    other = ReliabilityDisplay.from_predictions(Bernoulli(p), p > 0.4, generator=generator, ax=Figure().subplots())
    assert not torch.equal(first, other.curve.upper)


def test_a_single_forecast_is_a_point(ax):
    display = ReliabilityDisplay.from_predictions(Bernoulli(torch.full((4,), 0.5)), [0, 1, 1, 1], ax=ax)
    assert display.line_.get_xydata().tolist() == [[0.5, 0.75]]
    assert display.line_.get_marker() == "o"


def test_without_a_band_none_is_drawn(ax):
    forecast, y = Bernoulli(torch.tensor([0.2, 0.7])), torch.tensor([0.0, 1.0])
    display = ReliabilityDisplay(reliability_curve(forecast, y), corp_decomposition(forecast, y, "brier"))
    assert display.plot(ax) is display
    assert len(ax.collections) == 0
    assert ax.get_xlabel() == "probability of the event"


def test_reliability_errors(ax, iris):
    model, X, y = iris
    message = "`pos_label` must be one of the classes ['setosa', 'versicolor', 'virginica']; got 'rose'."
    with raises(ValueError, message):
        ReliabilityDisplay.from_estimator(model, X, y, pos_label="rose", ax=ax)
    with pytest.raises(ValueError, match=r"y contains previously unseen labels: .*'rose'"):
        ReliabilityDisplay.from_estimator(model, X, np.where(y == "setosa", "rose", y), ax=ax)
    with pytest.raises(TypeError, match=r"need a Categorical or a Bernoulli distribution .* got Normal"):
        ReliabilityDisplay.from_predictions(dist.Normal(torch.zeros(2), 1.0), [0, 1], ax=ax)
    with pytest.raises(TypeError, match="must predict distributions by a method `predict_dist`"):
        ReliabilityDisplay.from_estimator(StandardScaler(), X, y, ax=ax)


# -- figures and state -------------------------------------------------------------------------------------------------


def test_without_axes_each_display_makes_one_figure(pyplot):
    one = CoverageDisplay.from_predictions(Poisson(torch.ones(3)), [0, 1, 2])
    other = ReliabilityDisplay.from_predictions(Bernoulli(torch.tensor([0.2, 0.7])), [0, 1])
    assert len(pyplot.get_fignums()) == 2
    assert one.figure_ is not other.figure_
    for display in (one, other):
        display.figure_.canvas.draw()
        again = display.plot(Figure().subplots())
        assert again is display
        assert again.ax_.get_legend() is not None


def test_with_axes_nothing_global_changes(pyplot):
    before, state = dict(mpl.rcParams), torch.get_rng_state()
    CoverageDisplay.from_predictions(Poisson(torch.ones(3)), [0, 1, 2], ax=Figure().subplots())
    ReliabilityDisplay.from_predictions(Bernoulli(torch.tensor([0.2, 0.7])), [0, 1], ax=Figure().subplots())
    assert pyplot.get_fignums() == []
    assert dict(mpl.rcParams) == before
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.cuda
def test_cuda_predictions_are_drawn_like_those_of_the_cpu(ax):
    p, y = torch.linspace(0.1, 0.9, 20), torch.arange(20) % 2
    there = ReliabilityDisplay.from_predictions(Bernoulli(p.cuda()), y, ax=ax)
    here = ReliabilityDisplay.from_predictions(Bernoulli(p), y, ax=Figure().subplots())
    np.testing.assert_allclose(there.line_.get_xydata(), here.line_.get_xydata(), atol=1e-6)
    normal = CoverageDisplay.from_predictions(dist.Normal(p.cuda(), 1.0), y, ax=Figure().subplots())
    expected = CoverageDisplay.from_predictions(dist.Normal(p, 1.0), y, ax=Figure().subplots())
    np.testing.assert_allclose(normal.coverage, expected.coverage)


@pytest.mark.parametrize("display", [PITHistogramDisplay, CoverageDisplay, ReliabilityDisplay])
def test_targets_that_may_not_be_written_to_are_taken_without_a_warning(display):
    """Those of a pandas Series are such."""
    y = np.array([0.0, 1.0, 1.0, 0.0])
    y.flags.writeable = False
    warned = torch.is_warn_always_enabled()
    torch.set_warn_always(True)  # else torch warns once in a process
    try:
        shown = display.from_predictions(Bernoulli(torch.tensor([0.2, 0.9, 0.6, 0.4])), y)
    finally:
        torch.set_warn_always(warned)
    assert shown.ax_ is not None


@pytest.mark.parametrize("kind", [PITHistogramDisplay, CoverageDisplay, ReliabilityDisplay])
def test_targets_may_be_a_tensor(kind):
    chance = torch.distributions.Bernoulli(torch.full((6,), 0.4))
    kind.from_predictions(chance, torch.tensor([0, 1, 0, 0, 1, 0]), ax=Figure().subplots())
