"""Permutation importance: what models are asked, and what is drawn, read back from the axes."""

import re

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from pyro import distributions as dist
from scipy import sparse, stats
from sklearn.linear_model import BayesianRidge, LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from probmix.distributions import Empirical, Poisson
from probmix.plots import ImportanceDisplay
from probmix.scores import crps, nll

RNG = np.random.default_rng(0)
N = 60
FRAME = pd.DataFrame(
    {
        "nothing": RNG.normal(size=N),
        "size": RNG.normal(size=N),
        "city": RNG.choice(["Oslo", "Rome"], N),
        "spread": RNG.uniform(0.2, 3.0, N),
    }
)
LOC = (FRAME["size"] + 3 * (FRAME["city"] == "Rome")).to_numpy()
Y = LOC + FRAME["spread"].to_numpy() * RNG.normal(size=N)


class Truth:
    """Predicts N(size + 3 [city is Rome], spread^2) and keeps the frames that it sees."""

    def __init__(self):
        self.seen = []

    def predict_dist(self, X):
        self.seen.append(X)
        loc = X["size"] + 3 * (X["city"] == "Rome")
        return dist.Normal(torch.tensor(loc.to_numpy()), torch.tensor(X["spread"].to_numpy()))


@pytest.fixture
def ax():
    return Figure().subplots()


def names(ax):
    return [text.get_text() for text in ax.get_yticklabels()]


def test_importances_are_paired_means_with_the_errors_of_their_rows(ax):
    model = Truth()
    display = ImportanceDisplay.from_estimator(model, FRAME, Y, score="crps", n_repeats=3, random_state=5, ax=ax)
    assert (display.ax_, display.figure_) == (ax, ax.figure)
    generator = np.random.default_rng(5)
    permutations = [generator.permutation(N) for _ in range(3)]
    before = crps(Truth().predict_dist(FRAME), Y).numpy()
    assert display.baseline == pytest.approx(before.mean())
    for name, value, error in zip(display.names, display.values, display.errors, strict=True):
        losses = []
        for order in permutations:
            shuffled = FRAME.assign(**{name: FRAME[name].to_numpy()[order]})
            losses.append(crps(Truth().predict_dist(shuffled), Y).numpy() - before)
        mean = np.mean(losses, 0)
        assert value == pytest.approx(mean.mean(), rel=1e-9, abs=1e-15)
        assert error == pytest.approx(stats.sem(mean), rel=1e-9, abs=1e-15)
    assert display.names[0] == "city"
    assert set(display.names[:3]) == {"city", "size", "spread"}
    assert display.names[3] == "nothing"
    assert [FRAME.columns[place] for place in display.positions] == display.names
    assert (display.values[3], display.errors[3]) == (0, 0)
    np.testing.assert_allclose(display.half_widths, stats.t.ppf(0.975, N - 1) * display.errors)


def test_bars_are_sorted_and_have_their_intervals(ax):
    display = ImportanceDisplay.from_estimator(Truth(), FRAME, Y, score="crps", ax=ax)
    assert names(ax) == display.names
    assert ax.get_ylim()[0] > ax.get_ylim()[1]
    bars = [bar for container in ax.containers for bar in container]
    np.testing.assert_allclose([bar.get_width() for bar in bars], display.values)
    assert (np.diff(display.values) <= 0).all()
    intervals = [line.get_xdata() for line in ax.lines if line.get_gid() == "interval"]
    np.testing.assert_allclose([high - low for low, high in intervals], 2 * display.half_widths, atol=1e-12)
    assert bars[0].get_alpha() > bars[-1].get_alpha()
    assert ax.get_xlabel() == "increase in mean CRPS\nwhen shuffled (95 % intervals)"
    other = Figure().subplots()
    assert display.plot(other, max_features=2) is display
    assert names(other) == display.names[:2]
    assert other.get_ylabel() == "2 of 4 features"


def test_columns_are_shuffled_as_they_are(ax):
    frame = FRAME.assign(
        kind=pd.Categorical(["a", "b", "c"] * 20), sold=pd.date_range("2020-01-01", periods=N), gap=[None, 1] * 30
    )
    model = Truth()
    ImportanceDisplay.from_estimator(model, frame, Y, n_repeats=2, ax=ax)
    assert len(model.seen) == 1 + len(frame.columns)
    for place, seen in enumerate(model.seen[1:]):
        assert seen.dtypes.equals(frame.dtypes)
        assert len(seen) == 2 * N
        for name in frame:
            for part in (seen.iloc[:N], seen.iloc[N:]):
                same = part[name].reset_index(drop=True).equals(frame[name])
                assert same == (name != frame.columns[place])
                assert sorted(map(str, part[name])) == sorted(map(str, frame[name]))


def test_models_are_asked_in_blocks(ax, monkeypatch):
    whole = ImportanceDisplay.from_estimator(Truth(), FRAME, Y, ax=ax)
    monkeypatch.setattr("probmix.plots._permutation._BLOCK", 2 * N)
    model = Truth()
    blocks = ImportanceDisplay.from_estimator(model, FRAME, Y, ax=ax)
    assert [len(seen) for seen in model.seen[:4]] == [N, 2 * N, N, 2 * N]
    np.testing.assert_allclose(blocks.values, whole.values, rtol=1e-12, atol=1e-15)


def test_of_many_rows_some_are_used(ax):
    model = Truth()
    display = ImportanceDisplay.from_estimator(model, FRAME, pd.Series(Y, index=range(5, 5 + N)), max_rows=20, ax=ax)
    assert display.n == 20 == len(model.seen[0])
    same, other = (
        ImportanceDisplay.from_estimator(Truth(), FRAME, Y, max_rows=20, random_state=seed, ax=ax) for seed in (0, 1)
    )
    np.testing.assert_array_equal(same.values, display.values)
    assert not np.array_equal(other.values, display.values)


def test_scores_may_be_functions(ax):
    named = ImportanceDisplay.from_estimator(Truth(), FRAME, Y, score="nll", ax=ax)
    own = ImportanceDisplay.from_estimator(Truth(), FRAME, Y, score=nll, ax=ax)
    np.testing.assert_allclose(own.values, named.values, rtol=1e-12)
    assert own.score_name == "nll"
    words = "`score` must give one value for each of the 60 rows; got shape (). Leave out the mean."
    with pytest.raises(ValueError, match=f"^{re.escape(words)}$"):
        ImportanceDisplay.from_estimator(Truth(), FRAME, Y, score=lambda d, y: nll(d, y).mean(), ax=ax)


def test_classes_and_pipelines(ax):
    X = RNG.normal(size=(N, 3))
    y = np.where(X[:, 2] > 0, "yes", "no")
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    for given in (X, sparse.csr_array(X), torch.from_numpy(X)):
        display = ImportanceDisplay.from_estimator(model, given, y, score="brier", ax=ax)
        assert display.names[0] == "feature 2"
    display = ImportanceDisplay.from_estimator(BayesianRidge().fit(X, X[:, 1]), X, X[:, 1], score="rmse", ax=ax)
    assert display.names[0] == "feature 1"
    assert display.score_name == "squared error"


class Rate:
    """Predicts Poisson counts with the rate x per exposure."""

    fitted_with_exposure_ = True

    def predict_dist(self, X, exposure):
        return Poisson(torch.from_numpy(X["x"].to_numpy() * exposure))


@pytest.mark.parametrize("score", ["nll", nll])
def test_exposures_are_kept(score, ax):
    frame, exposure = pd.DataFrame({"x": RNG.uniform(1, 5, N)}), RNG.uniform(0.5, 2, N)
    y = RNG.poisson(frame["x"] * exposure)
    display = ImportanceDisplay.from_estimator(Rate(), frame, y, score=score, exposure=exposure, ax=ax)
    expected = -stats.poisson.logpmf(y, frame["x"] * exposure).mean()
    assert display.baseline == pytest.approx(expected, rel=1e-9)
    with pytest.raises(ValueError, match=r"^the model was fitted with exposures"):
        ImportanceDisplay.from_estimator(Rate(), frame, y, score=score, ax=ax)


def test_infinite_importances_are_said_in_words(ax):
    display = ImportanceDisplay(
        ["a", "b", "c"], np.array([1.0, np.inf, np.nan]), np.array([0.1, np.nan, np.nan]), 0.0, 9
    )
    display.plot(ax)
    assert names(ax) == ["b", "a", "c"]
    assert [text.get_text() for text in ax.texts] == ["infinite", "not defined"]


def test_long_names_are_shortened_and_legible_in_small():
    ax = Figure((4.0, 3.0), layout="constrained").subplots()
    long = FRAME.rename(columns={"nothing": "a column with a name that nobody wants to read"})
    model = Truth()
    ImportanceDisplay.from_estimator(model, long, Y, ax=ax)
    assert names(ax)[-1] == "a column…s to read"
    ax.figure.draw_without_rendering()
    assert ax.get_window_extent().width > 0.4 * 400
    assert ax.get_tightbbox().x0 >= 0
    assert ax.get_tightbbox().x1 <= 400


SMALLER = "`score` must be one of which smaller is better; got '{}'. Pass 'nll' or 'crps'."


@pytest.mark.parametrize(
    ("params", "words"),
    [
        (
            {"score": "accuracy"},
            "`score` must be one of which smaller is better; got 'accuracy'. Pass 'nll' or 'crps'.",
        ),
        (
            {"score": "coverage90"},
            "`score` must be one of which smaller is better; got 'coverage90'. Pass 'nll' or 'crps'.",
        ),
        ({"score": "crsp"}, "unknown score 'crsp'; did you mean 'crps'?"),
        ({"n_repeats": 0}, "`n_repeats` must be an integer of at least 1; got 0."),
        ({"max_rows": 1}, "`max_rows` must be an integer of at least 2; got 1."),
        ({"y": Y[:-1]}, "`y` must hold a target for each of the 60 rows of X; got 59."),
        ({"exposure": [1.0]}, "`exposure` must hold one number for each of the 60 rows; got shape (1,)."),
    ],
)
def test_what_cannot_be_told_is_refused(params, words, ax):
    with pytest.raises(ValueError, match=f"^{re.escape(words)}$"):
        ImportanceDisplay.from_estimator(Truth(), FRAME, **({"y": Y} | params), ax=ax)


class NoDensity:
    """Predicts two draws."""

    def predict_dist(self, X):
        return Empirical(torch.tensor(X.to_numpy()))


def test_predictions_without_the_score_are_refused(ax):
    X = FRAME[["size", "spread"]]

    draws = NoDensity()
    for model, reason in (
        (draws, "draws have no density"),
        (LinearRegression().fit(X, Y), "a point prediction has no"),
    ):
        with pytest.raises(ValueError, match=f"^the predictions have no score 'nll': {reason}"):
            ImportanceDisplay.from_estimator(model, X, Y, ax=ax)


def test_a_table_without_rows_is_refused():
    with pytest.raises(ValueError, match=r"^`X` must have at least one row; got none\.$"):
        ImportanceDisplay.from_estimator(BayesianRidge(), FRAME[:0], LOC[:0])
