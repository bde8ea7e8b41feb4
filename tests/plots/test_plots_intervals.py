"""Intervals against targets: what is drawn, read back from the axes."""

import re

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from pyro import distributions as dist
from scipy import stats

from probmix.distributions import Gamma, Poisson, ZeroAdjusted
from probmix.plots import IntervalDisplay

LOC = np.array([3.0, 0.0, 1.0, 2.0])
Y = np.array([3.1, -4.0, 3.0, 2.9])


@pytest.fixture
def ax():
    return Figure().subplots()


def labels(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def bars(container):
    """Lower and upper ends of the bars, (rows, 2)."""
    return np.array([[bar.get_y(), bar.get_y() + bar.get_height()] for bar in container])


def points(ax, marker):
    """Places and values of the points of a shape."""
    return [tuple(pair) for line in ax.lines if line.get_marker() == marker for pair in line.get_xydata()]


def test_rows_are_sorted_by_their_medians_and_misses_have_a_shape_of_their_own(ax):
    display = IntervalDisplay.from_predictions(stats.norm(LOC, 1.0), Y, ax=ax)
    assert (display.ax_, display.figure_) == (ax, ax.figure)
    np.testing.assert_array_equal(display.rows_, [1, 2, 3, 0])
    wide, narrow = ax.containers
    np.testing.assert_allclose(bars(wide), np.arange(4)[:, None] + stats.norm.ppf([0.05, 0.95]))
    np.testing.assert_allclose(bars(narrow), np.arange(4)[:, None] + stats.norm.ppf([0.25, 0.75]))
    assert wide[0].get_alpha() < narrow[0].get_alpha()
    assert points(ax, "o") == [(2, 2.9), (3, 3.1)]
    assert points(ax, "v") == [(0, -4.0)]
    assert points(ax, "^") == [(1, 3.0)]
    median = next(line for line in ax.lines if line.get_label() == "predicted median")
    np.testing.assert_allclose(median.get_ydata(), [0, 1, 2, 3], atol=1e-12)
    assert display.covered == {0.5: 0.25, 0.9: 0.5}
    assert labels(ax) == [
        "90 % interval: holds 50.0 %",
        "50 % interval: holds 25.0 %",
        "predicted median",
        "observed",
        "observed, outside of 90 %",
    ]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("4 rows,\nsorted by predicted median", "y")


def test_of_many_rows_some_are_drawn_and_all_are_counted(ax):
    random = np.random.default_rng(0)
    loc = random.normal(size=500)
    y = pd.Series(loc + random.normal(size=500), name="price")
    display = IntervalDisplay.from_predictions(dist.Normal(torch.from_numpy(loc), 1.0), y, max_rows=50, ax=ax)
    assert len(set(display.rows_)) == 50 == len(ax.containers[0])
    assert (np.diff(display.median[display.rows_]) >= 0).all()
    assert display.covered[0.9] == (np.abs(y - loc) <= stats.norm.ppf(0.95)).mean()
    assert ax.get_xlabel() == "50 of 500 rows, taken at random,\nsorted by predicted median"
    assert ax.get_ylabel() == "price"
    rows = display.rows_
    np.testing.assert_array_equal(display.plot(Figure().subplots(), max_rows=50).rows_, rows)
    assert set(display.plot(Figure().subplots(), max_rows=50, random_state=1).rows_) != set(rows)
    assert len(display.plot(Figure().subplots(), max_rows=500).rows_) == 500


@pytest.mark.parametrize("size", [(4.0, 3.0), (6.4, 4.8)])
def test_the_legend_covers_no_row(size):
    random = np.random.default_rng(0)
    ax = Figure(size, layout="constrained").subplots()
    # hardly any difference between rows, so that they take up the whole height all along
    IntervalDisplay.from_predictions(stats.norm(random.normal(0, 0.1, 80), 1.0), random.normal(size=80), ax=ax)
    ax.figure.draw_without_rendering()
    legend = ax.get_legend().get_window_extent()
    assert legend.x1 < ax.get_window_extent().x1
    highest = max(bar.get_window_extent().y1 for container in ax.containers for bar in container)
    dots = [ax.transData.transform(line.get_xydata()) for line in ax.lines]
    under = np.concatenate(dots)
    assert highest < legend.y0
    assert under[under[:, 0] < legend.x1, 1].max() < legend.y0


def test_counts_are_units_and_say_what_their_intervals_should_hold(ax):
    rate = torch.tensor([0.1, 4.0, 0.2], dtype=torch.float64)
    display = IntervalDisplay.from_predictions(Poisson(rate), [0, 3, 2], coverages=[0.8], ax=ax)
    # medians 0, 4, 0, and upper ends at 90 % of 0, 7, 1
    np.testing.assert_array_equal(display.rows_, [0, 2, 1])
    np.testing.assert_array_equal(bars(ax.containers[0]), [[-0.5, 0.5], [-0.5, 1.5], [1.5, 7.5]])
    assert points(ax, "^") == [(1, 2)]
    ends = [(0, 0), (2, 7), (0, 1)]
    expected = np.mean(
        [sum(stats.poisson.pmf(range(low, high + 1), r)) for (low, high), r in zip(ends, rate, strict=True)]
    )
    assert display.expected[0.8] == pytest.approx(expected, rel=1e-9)
    assert labels(ax)[0] == f"80 % interval: holds 66.7 %, should {100 * expected:.1f} %"


def test_point_masses_count_as_part_of_their_intervals(ax):
    gamma = Gamma(torch.full((2,), 2.0, dtype=torch.float64), torch.ones(2, dtype=torch.float64))
    mostly_zero = ZeroAdjusted(gamma, torch.tensor([3.0, -3.0], dtype=torch.float64))
    display = IntervalDisplay.from_predictions(mostly_zero, [0.0, 1.5], coverages=[0.5], ax=ax)
    zero = torch.sigmoid(torch.tensor([3.0, -3.0], dtype=torch.float64)).numpy()
    shares = sorted([zero[0], 1 - zero[0]])
    first = display.intervals[0.5][0]
    assert tuple(first) == (0.0, 0.0)
    assert max(shares) == pytest.approx(2 * display.expected[0.5] - 0.5)
    assert display.covered == {0.5: 1.0}


@pytest.mark.parametrize("y", [[1, 2, 3], np.zeros((4, 1)), [1.0, np.nan, 0.0, 0.0]])
def test_targets_that_do_not_fit_are_refused(y, ax):
    with pytest.raises(ValueError, match=r"^`y` must "):
        IntervalDisplay.from_predictions(stats.norm(LOC, 1.0), y, ax=ax)
    assert not ax.containers


@pytest.mark.parametrize("coverages", [(), (0.5, 90), (0.0,)])
def test_coverages_lie_between_0_and_1(coverages, ax):
    words = f"`coverages` must be one or more numbers between 0 and 1; got {coverages}. For 90 % pass 0.9."
    with pytest.raises(ValueError, match=f"^{re.escape(words)}$"):
        IntervalDisplay.from_predictions(stats.norm(LOC, 1.0), Y, coverages=coverages, ax=ax)


def test_what_has_no_intervals_is_refused(ax):
    classes = dist.Categorical(torch.full((4, 3), 1 / 3))
    with pytest.raises(
        TypeError, match=r"^a display shows the distribution of a number; Categorical predicts classes\.$"
    ):
        IntervalDisplay.from_predictions(classes, [0, 1, 2, 0], ax=ax)
    several = dist.Normal(torch.zeros(4, 2), 1.0).to_event(1)
    with pytest.raises(ValueError, match=r"^a display shows one target per row, .* got shape \(4, 2\)\. "):
        IntervalDisplay.from_predictions(several, np.zeros((4, 2)), ax=ax)
    with pytest.raises(ValueError, match=r"^`max_rows` must be an integer of at least 1; got 0\.$"):
        IntervalDisplay.from_predictions(stats.norm(LOC, 1.0), Y, max_rows=0, ax=ax)


def test_arrays_that_do_not_fit_are_refused():
    words = (
        "there must be a median and two ends of each interval for each of the 2 targets; got 2 medians, and at the "
        "coverage 0.9 ends of shape (2,)."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(words)}$"):
        IntervalDisplay(np.zeros(2), np.zeros(2), {0.9: np.zeros(2)})
    words = "intervals against targets need at least one coverage and one row; got 0 coverages and 2 rows."
    with pytest.raises(ValueError, match=f"^{re.escape(words)}$"):
        IntervalDisplay(np.zeros(2), np.zeros(2), {})


class Rate:
    """Predicts Poisson counts with the rate x per exposure."""

    fitted_with_exposure_ = True

    def predict_dist(self, X, exposure):
        return Poisson(torch.from_numpy(np.asarray(X)[:, 0] * exposure))


def test_estimators_are_asked_with_their_exposures(ax):
    X, exposure = np.array([[1.0], [2.0]]), np.array([3.0, 5.0])
    display = IntervalDisplay.from_estimator(Rate(), X, [2, 9], exposure=exposure, target_name="claims", ax=ax)
    np.testing.assert_array_equal(display.median, stats.poisson.median(X[:, 0] * exposure))
    assert ax.get_ylabel() == "claims"
    with pytest.raises(ValueError, match=r"^the model was fitted with exposures"):
        IntervalDisplay.from_estimator(Rate(), X, [2, 9], ax=ax)
