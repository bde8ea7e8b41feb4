"""Effects of features: what models are asked, and what is drawn, read back from the axes."""

import re

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from pyro import distributions as dist
from scipy import optimize, stats
from sklearn.linear_model import BayesianRidge, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from probmix.distributions import Gamma, Poisson, ZeroAdjusted
from probmix.plots import EffectDisplay
from probmix.plots._effects import pooled_quantiles

FRAME = pd.DataFrame(
    {
        "size": [1.0, 2.0, 4.0, 3.0, np.nan],
        "rooms": [3, 1, 2, 9, 1],
        "city": ["Rome", "Oslo", "Oslo", None, "Rome"],
        "kind": pd.Categorical(["b", "a", "b", "b", "b"], categories=["a", "b", "c"]),
        "garden": [True, True, False, True, True],
        "sold": pd.to_datetime(["2020-01-01", "2020-01-03", "2020-01-05", "2020-02-01", None]),
        "built": ["1999-01-01", "2001-05-31", "2001-05-31", "2011-01-01", "2012-01-01"],
        "wait": pd.to_timedelta([1, 2, 3, 4, 5], unit="D"),
        "stars": pd.array([None, 1, 2, 3, 3], dtype="Int64"),
        "flag": [0, 1, 1, 1, 0],
        "nothing": pd.Series([None] * 5, dtype=object),
    }
)


class Seeing:
    """Predicts N(rooms, 1) and keeps the frames that it sees."""

    def __init__(self):
        self.seen = []

    def predict_dist(self, X):
        self.seen.append(X)
        return dist.Normal(torch.from_numpy(np.array(X["rooms"], dtype=np.float64)), 1.0)


class Strange(torch.distributions.Normal):
    """A Normal that keeps what no rows can be taken of."""

    def __init__(self, loc, scale):
        super().__init__(loc, scale)
        self.notes = {}


@pytest.fixture
def ax():
    return Figure().subplots()


def labels(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def ticks(ax):
    return [text.get_text() for text in ax.get_yticklabels()]


def mixture_quantile(locs, scale, q):
    return optimize.brentq(lambda y: stats.norm.cdf(y, locs, scale).mean() - q, -50, 50, xtol=1e-12)


def test_the_fan_holds_quantiles_of_the_pool_over_rows(ax):
    X = np.array([[0.0, 5.0], [1.0, -1.0], [2.0, 0.0]])
    display = EffectDisplay.from_estimator(Linear(), X, feature=0, ax=ax)
    assert (display.ax_, display.figure_) == (ax, ax.figure)
    np.testing.assert_array_equal(display.values, [0, 1, 2])
    for place, value in enumerate([0.0, 1.0, 2.0]):
        expected = [mixture_quantile(value + X[:, 1], 2.0, q) for q in (0.05, 0.25, 0.5, 0.75, 0.95)]
        found = [*display.intervals[0.9][place], *display.intervals[0.5][place], display.median[place]]
        assert sorted(found) == pytest.approx(expected, abs=1e-9)
    np.testing.assert_allclose(display.mean, np.array([0, 1, 2]) + X[:, 1].mean())
    wide, narrow = ax.collections
    assert wide.get_alpha() < narrow.get_alpha()
    corners = wide.get_paths()[0].vertices
    at_one = corners[corners[:, 0] == 1.0, 1]
    np.testing.assert_allclose([at_one.min(), at_one.max()], display.intervals[0.9][1])
    median, mean = ax.lines
    np.testing.assert_array_equal(median.get_xydata(), np.column_stack([display.values, display.median]))
    np.testing.assert_array_equal(mean.get_xydata(), np.column_stack([display.values, display.mean]))
    assert median.get_linestyle() != mean.get_linestyle()
    assert sorted(labels(ax)) == ["3 rows", "50 % interval", "90 % interval", "mean", "median"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("feature 0", "y")


class Linear:
    """Predicts N(x_0 + x_1, 2^2)."""

    def predict_dist(self, X):
        assert isinstance(X, np.ndarray)
        return dist.Normal(torch.from_numpy(X.sum(1)), 2.0)


def test_all_rows_get_one_value_and_keep_the_rest(ax):
    model = Seeing()
    EffectDisplay.from_estimator(model, FRAME, feature="city", ax=ax)
    (seen,) = model.seen
    assert len(seen) == 3 * 5
    for value, part in zip(["Rome", "Oslo", None], np.split(np.arange(15), 3), strict=True):
        some = seen.iloc[part].reset_index(drop=True)
        assert (some["city"].isna() if value is None else some["city"] == value).all()
        pd.testing.assert_frame_equal(some.drop(columns="city"), FRAME.drop(columns="city"))
    assert seen.dtypes.equals(FRAME.dtypes)
    assert FRAME["city"].tolist()[:3] == ["Rome", "Oslo", "Oslo"]


@pytest.mark.parametrize(
    ("feature", "names"),
    [
        ("city", ["Rome (40.0 %)", "Oslo (40.0 %)", "missing (20.0 %)"]),
        ("kind", ["b (80.0 %)", "a (20.0 %)"]),
        ("garden", ["True (80.0 %)", "False (20.0 %)"]),
        ("flag", ["1 (60.0 %)", "0 (40.0 %)"]),
    ],
)
def test_levels_are_bars_the_most_frequent_on_top(feature, names, ax):
    model = Seeing()
    display = EffectDisplay.from_estimator(model, FRAME, feature=feature, target_name="price", ax=ax)
    assert ticks(ax) == names
    assert ax.get_ylim()[0] > ax.get_ylim()[1]
    assert model.seen[0][feature].dtype == FRAME[feature].dtype
    wide, narrow = ax.containers
    for bars, coverage in ((wide, 0.9), (narrow, 0.5)):
        ends = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in bars]
        np.testing.assert_allclose(ends, display.intervals[coverage])
    median, mean = ax.lines
    np.testing.assert_array_equal(median.get_xdata(), display.median)
    np.testing.assert_allclose(mean.get_xdata(), FRAME["rooms"].mean())
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("price", feature)


def test_of_many_levels_the_most_frequent_are_shown(ax):
    texts = ["a rather long description of house 1", "another", "a rather long description of house 2", "b"]
    frame = pd.DataFrame({"rooms": range(8), "text": [texts[i] for i in (0, 1, 2, 2, 2, 0, 3, 3)]})
    EffectDisplay.from_estimator(Seeing(), frame, feature="text", max_levels=3, ax=ax)
    assert ticks(ax) == ["a rathe…house 2 (37.5 %)", "a rathe…house 1 (25.0 %)", "b (25.0 %)"]
    assert ax.get_ylabel() == "text\n(3 most frequent of 4)"


def test_dates_have_a_grid_of_dates_that_are_there(ax):
    model = Seeing()
    display = EffectDisplay.from_estimator(model, FRAME, feature="sold", ax=ax)
    np.testing.assert_array_equal(display.values, np.sort(FRAME["sold"].dropna().to_numpy()))
    assert model.seen[0]["sold"].dtype == FRAME["sold"].dtype
    assert ax.get_xlabel() == "sold\n(20.0 % missing)"
    ax.figure.draw_without_rendering()
    assert "2020" in " ".join(text.get_text() for text in ax.get_xticklabels())
    days = pd.Series(pd.date_range("2020-01-01", periods=400, tz="Europe/Oslo"))
    frame = pd.DataFrame({"rooms": 1, "sold": days})
    display = EffectDisplay.from_estimator(Seeing(), frame, feature="sold", n_values=5, ax=Figure().subplots())
    steps = np.diff(display.values) / np.timedelta64(1, "D")
    assert len(display.values) == 5
    np.testing.assert_allclose(steps, 98, atol=1)
    assert set(display.values) <= set(days.dt.tz_localize(None))


def test_text_that_spells_dates_stays_as_it_is_written(ax):
    model = Seeing()
    display = EffectDisplay.from_estimator(model, FRAME, feature="built", ax=ax)
    assert display.values.dtype.kind == "M"
    assert set(model.seen[0]["built"]) == set(FRAME["built"])
    assert display.levels is None


def test_spans_of_time_are_days(ax):
    display = EffectDisplay.from_estimator(Seeing(), FRAME, feature="wait", ax=ax)
    np.testing.assert_array_equal(display.values, [1, 2, 3, 4, 5])
    assert ax.get_xlabel() == "wait\n(days)"


def test_whole_numbers_stay_whole_and_missing_ones_are_left_out(ax):
    model = Seeing()
    display = EffectDisplay.from_estimator(model, FRAME, feature="stars", ax=ax)
    np.testing.assert_array_equal(display.values, [1, 2, 3])
    assert model.seen[0]["stars"].dtype == FRAME["stars"].dtype
    frame = pd.DataFrame({"rooms": np.arange(1000, dtype=np.int16)})
    display = EffectDisplay.from_estimator(model, frame, feature="rooms", n_values=4, max_rows=3, ax=ax)
    np.testing.assert_array_equal(display.values, np.round(np.linspace(9, 989, 4)))
    np.testing.assert_allclose(display.mean, display.values)
    assert model.seen[-1]["rooms"].dtype == np.int16


def test_the_histogram_says_where_there_are_data(ax):
    display = EffectDisplay.from_estimator(Seeing(), FRAME, feature="rooms", ax=ax)
    (bars,) = ax.containers
    heights = np.array([bar.get_height() for bar in bars])
    centres = [bar.get_x() + bar.get_width() / 2 for bar in bars]
    np.testing.assert_allclose(centres, display.values)
    np.testing.assert_allclose(heights / heights.max(), [1, 0.5, 0.5, 0.5])
    # all of it below the fan
    bottom = min(ends[:, 0].min() for ends in display.intervals.values())
    top_of_bars = ax.transAxes.transform((0, heights.max()))[1]
    assert top_of_bars < ax.transData.transform((0, bottom))[1]


@pytest.mark.parametrize("size", [(4.0, 3.0), (6.4, 4.8)])
@pytest.mark.parametrize("feature", ["rooms", "city"])
def test_the_legend_covers_nothing(size, feature):
    ax = Figure(size, layout="constrained").subplots()
    EffectDisplay.from_estimator(Seeing(), FRAME, feature=feature, ax=ax)
    ax.figure.draw_without_rendering()
    legend = ax.get_legend().get_window_extent()
    assert legend.x1 < ax.get_window_extent().x1
    drawn = [*ax.collections, *ax.lines, *(bar for bars in ax.containers for bar in bars)]
    assert max(one.get_window_extent().y1 for one in drawn) < legend.y0


def test_of_many_rows_some_stand_for_all(ax):
    frame = pd.DataFrame({"rooms": np.arange(500.0), "city": ["Oslo", "Rome"] * 250})
    model = Seeing()
    one, same, other = (
        EffectDisplay.from_estimator(model, frame, feature="city", max_rows=20, random_state=seed, ax=ax)
        for seed in (0, 0, 1)
    )
    assert [len(seen) for seen in model.seen] == [40] * 3
    np.testing.assert_array_equal(one.mean, same.mean)
    assert one.mean[0] != other.mean[0]
    np.testing.assert_array_equal(one.data, [0.5, 0.5])


def test_models_are_asked_in_blocks(ax, monkeypatch):
    monkeypatch.setattr("probmix.plots._effects._BLOCK", 12)
    model = Seeing()
    blocks = EffectDisplay.from_estimator(model, FRAME, feature="rooms", ax=ax)
    assert [len(seen) for seen in model.seen] == [10, 10]
    monkeypatch.undo()
    whole = EffectDisplay.from_estimator(model, FRAME, feature="rooms", ax=ax)
    assert len(model.seen[-1]) == 20
    np.testing.assert_array_equal(blocks.median, whole.median)


def test_pools_of_any_class_have_quantiles():
    levels = [0.05, 0.5, 0.95]
    loc = torch.linspace(-1, 2, 6, dtype=torch.float64) ** 3
    plain = pooled_quantiles(dist.Normal(loc, 0.5), 3, levels)
    np.testing.assert_allclose(pooled_quantiles(Strange(loc, 0.5), 3, levels), plain, atol=1e-9)
    rate = torch.tensor([0.1, 0.5, 3.0, 1.0, 1.0, 1.0], dtype=torch.float64)
    counts = pooled_quantiles(Poisson(rate), 3, levels)
    np.testing.assert_array_equal(counts[1], stats.poisson.ppf(levels, 1.0))
    zeros = ZeroAdjusted(Gamma(torch.full((6,), 2.0), torch.ones(6)), torch.tensor([9.0, 0, 0, 9, 9, 9]))
    # two thirds of the first pool are zeros, and all of the second
    found = pooled_quantiles(zeros, 3, levels)
    np.testing.assert_array_equal(found == 0, [[True, True, False], [True, True, True]])


class Rate:
    """Predicts Poisson counts with the rate x per exposure."""

    fitted_with_exposure_ = True

    def predict_dist(self, X, exposure):
        return Poisson(torch.from_numpy(X["x"].to_numpy() * exposure))


def test_exposures_are_kept(ax):
    frame = pd.DataFrame({"x": [1.0, 2.0, 3.0]})
    one = EffectDisplay.from_estimator(Rate(), frame, feature="x", exposure=[1.0, 2.0, 6.0], ax=ax)
    np.testing.assert_allclose(one.mean, 3 * np.array([1, 2, 3]))
    same = EffectDisplay.from_estimator(Rate(), frame, feature="x", exposure=2, ax=ax)
    np.testing.assert_allclose(same.mean, 2 * np.array([1, 2, 3]))
    words = "`exposure` must be one number, or one for each of the 3 rows of X; got shape (2,)."
    with pytest.raises(ValueError, match=f"^{re.escape(words)}$"):
        EffectDisplay.from_estimator(Rate(), frame, feature="x", exposure=[1, 2], ax=ax)
    with pytest.raises(ValueError, match=r"^the model was fitted with exposures"):
        EffectDisplay.from_estimator(Rate(), frame, feature="x", ax=ax)


def test_models_of_other_libraries_and_pipelines(ax):
    X, y = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 5.0], [3.0, 1.0]]), np.array([0.0, 1.0, 2.1, 3.2])
    model = make_pipeline(StandardScaler(), BayesianRidge()).fit(X, y)
    display = EffectDisplay.from_estimator(model, X, feature=0, ax=ax)
    expected = [model.predict(np.column_stack([np.full(4, value), X[:, 1]])).mean() for value in (0, 1, 2, 3)]
    np.testing.assert_allclose(display.mean, expected)
    with pytest.raises(TypeError, match=r"^a display shows the distribution of a number; .* predicts classes\.$"):
        EffectDisplay.from_estimator(LogisticRegression().fit(X, [0, 0, 1, 1]), X, feature=0, ax=ax)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"feature": "town"}, f"`feature` is 'town', but X has the columns {', '.join(FRAME.columns)}."),
        ({"feature": 11}, "`feature` must be a number from 0 to 10, a column of X; got 11."),
        ({"feature": 0.5}, "`feature` must be a number from 0 to 10, a column of X; got 0.5."),
        ({"feature": "nothing"}, "`feature` must be a column with values; those of 'nothing' are all missing."),
        ({"coverages": [90]}, "`coverages` must be one or more numbers between 0 and 1; got (90,). For 90 % pass 0.9."),
        ({"n_values": 1}, "`n_values` must be an integer of at least 2; got 1."),
        ({"max_levels": 0}, "`max_levels` must be an integer of at least 1; got 0."),
        ({"max_rows": 0.5}, "`max_rows` must be an integer of at least 1; got 0.5."),
    ],
)
def test_what_cannot_be_drawn_is_refused(params, words, ax):
    model = Seeing()
    with pytest.raises(ValueError, match=f"^{re.escape(words)}$"):
        EffectDisplay.from_estimator(model, FRAME, **({"feature": "rooms"} | params), ax=ax)
    assert not model.seen
