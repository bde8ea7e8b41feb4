"""Curves of training: what is drawn, read back from the axes."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.figure import Figure
from sklearn.linear_model import BayesianRidge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from probmix import DensityClassifier, DensityRegressor
from probmix.plots import TrainingDisplay

TRAINING = np.array([[2.0, 2.1], [1.5, 1.4], [1.2, np.nan]])
VALIDATION = np.array([[1.9, 2.0], [1.7, 2.2], [1.8, np.nan]])
NONE = np.empty((3, 0))

FAST = {
    "max_epochs": 4, "learning_rate": 0.05, "hidden_layer_sizes": (4,), "random_state": 0, "device": "cpu",
    "preset": "plain",
}  # fmt: skip
RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 2))
Y = X[:, 0] + RNG.normal(size=60)


@pytest.fixture
def ax():
    return Figure().subplots()


def labels(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_each_member_has_its_lines_and_its_best_epoch(ax):
    display = TrainingDisplay(TRAINING, VALIDATION, np.array([2, 1]), "mean NLL").plot(ax)
    assert (display.ax_, display.figure_) == (ax, ax.figure)
    *curves, best = ax.lines
    assert len(curves) == 4
    for line, column in zip(curves, (*TRAINING.T, *VALIDATION.T), strict=True):
        np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3])
        np.testing.assert_array_equal(line.get_ydata(), column)
    assert {line.get_linestyle() for line in curves[:2]} != {line.get_linestyle() for line in curves[2:]}
    np.testing.assert_array_equal(best.get_xydata(), [[2, 1.7], [1, 2.0]])
    assert labels(ax) == ["training", "validation", "best epoch"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", "mean NLL")


def test_members_without_a_best_epoch_are_counted(ax):
    TrainingDisplay(TRAINING, VALIDATION, np.array([2, 0])).plot(ax)
    np.testing.assert_array_equal(ax.lines[-1].get_xydata(), [[2, 1.7]])
    assert labels(ax)[-1] == "best epoch\n(1 has none)"


def test_one_of_the_curves_is_enough(ax):
    TrainingDisplay(TRAINING, NONE, np.array([3, 3]), mixed=True).plot(ax)
    assert labels(ax) == ["training\n(mixed rows)"]
    other = Figure().subplots()
    TrainingDisplay(NONE, VALIDATION, np.array([2, 1])).plot(other)
    assert labels(other) == ["validation", "best epoch"]
    words = (
        "there must be losses of training or of validation rows, or both, with a column for each of the 2 members; got "
        "shapes (3, 0) and (3, 0)."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(words)}$"):
        TrainingDisplay(NONE, NONE, np.array([2, 1]))
    with pytest.raises(ValueError, match=r"with a column for each of the 3 members"):
        TrainingDisplay(TRAINING, VALIDATION, np.array([2, 1, 1]))


def test_a_member_that_diverges_hides_no_other(ax):
    curve = np.linspace(2, 1, 100)[:, None] * np.ones((1, 3))
    curve[-1, 0] = 1e6
    TrainingDisplay(np.empty((100, 0)), curve, np.array([99, 100, 100])).plot(ax)
    low, high = ax.get_ylim()
    assert low < 1 < 2 < high < 3


@pytest.mark.parametrize("size", [(4.0, 3.0), (6.4, 4.8)])
def test_the_legend_covers_nothing(size):
    ax = Figure(size, layout="constrained").subplots()
    TrainingDisplay(TRAINING, VALIDATION, np.array([2, 0]), mixed=True).plot(ax)
    ax.figure.draw_without_rendering()
    legend = ax.get_legend().get_window_extent()
    assert legend.x1 < ax.get_window_extent().x1
    assert max(line.get_window_extent().y1 for line in ax.lines) < legend.y0


def test_fitted_estimators_are_drawn_as_they_were_trained(ax):
    model = DensityRegressor("gaussian", "probmix", n_members=2, **FAST)
    pipeline = make_pipeline(StandardScaler(), model).fit(X, Y)
    display = TrainingDisplay.from_estimator(pipeline, ax=ax)
    np.testing.assert_array_equal(display.training, pipeline[-1].training_curve_)
    np.testing.assert_array_equal(display.validation, pipeline[-1].validation_curve_)
    assert labels(ax)[:2] == ["training\n(mixed rows)", "validation"]
    assert ax.get_ylabel() == "mean NLL"
    model = DensityRegressor("gaussian", "erm", loss="crps", validation_fraction=0.0, **FAST).fit(X, Y)
    display = TrainingDisplay.from_estimator(model, ax=(other := Figure().subplots()))
    assert labels(other) == ["training"]
    assert other.get_ylabel() == "mean CRPS"
    display = TrainingDisplay.from_estimator(DensityClassifier(mixup="erm", **FAST).fit(X, Y > 0), ax=ax)
    assert display.loss_name == "mean NLL"


def test_what_was_not_trained_is_refused(ax):
    words = (
        "a display of training needs a fitted DensityRegressor or DensityClassifier, with `validation_curve_`; got "
        "BayesianRidge."
    )
    with pytest.raises(TypeError, match=f"^{re.escape(words)}$"):
        TrainingDisplay.from_estimator(BayesianRidge().fit(X, Y), ax=ax)
    stack = SimpleNamespace(candidates_=[DensityRegressor("gaussian", "erm", **FAST).fit(X, Y)])
    words = (
        "a stack has no training of its own, only its candidates have. Pass one of them, such as model.candidates_[0]; "
        "model.stack_ says which is which."
    )
    with pytest.raises(TypeError, match=f"^{re.escape(words)}$"):
        TrainingDisplay.from_estimator(stack, ax=ax)
    assert TrainingDisplay.from_estimator(stack.candidates_[0], ax=ax).validation.shape[1] > 0
