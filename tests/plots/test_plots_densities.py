"""Densities of single rows: what is drawn, read back from the axes."""

import re

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from pyro import distributions as dist
from scipy import sparse, stats

from probmix.distributions import Gamma, Poisson, ZeroAdjusted
from probmix.plots import DensityDisplay
from probmix.plots._curves import Density


@pytest.fixture
def ax():
    return Figure().subplots()


def labels(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def names(ax):
    return [text.get_text() for text in ax.get_yticklabels()]


def ticks(ax):
    """Places of the observed targets, and the baselines of their rows."""
    (lines,) = [one for one in ax.collections if isinstance(one, LineCollection)]
    return [tuple(segment[0]) for segment in lines.get_segments()]


def curves(ax):
    return [line.get_xydata() for line in ax.lines if line.get_label().startswith("_") and len(line.get_xydata()) > 2]


def test_each_row_is_scaled_to_its_own_highest_point(ax):
    loc, scale = np.array([0.0, 1.0, 5.0]), np.array([1.0, 3.0, 0.1])
    display = DensityDisplay.from_predictions(stats.norm(loc, scale), [0.5, -8.0, 5.0], rows=[2, 0], ax=ax)
    assert (display.ax_, display.figure_) == (ax, ax.figure)
    assert names(ax) == ["row 2", "row 0"]
    for row, place, (x, height), base in zip(display.rows, (2, 0), (c.T for c in curves(ax)), (0, -1), strict=True):
        expected = stats.norm.pdf(row.values, loc[place], scale[place])
        np.testing.assert_allclose(row.density, expected, rtol=1e-9)
        np.testing.assert_array_equal(x, row.values)
        np.testing.assert_allclose(height, base + 0.8 * expected / expected.max())
        np.testing.assert_allclose(x[[0, -1]], stats.norm.ppf([0.002, 0.998], loc[place], scale[place]))
        assert np.trapezoid(row.density, row.values) == pytest.approx(0.996, abs=1e-4)
        assert row.masses.shape == (0, 2)
    assert ticks(ax) == [(5.0, 0.0), (0.5, -1.0)]
    assert labels(ax) == ["density", "observed"]
    assert ax.get_xlabel() == "y"


def test_counts_have_bars(ax):
    y = pd.Series([0, 9], name="claims")
    display = DensityDisplay.from_predictions(Poisson(torch.tensor([0.5, 7.0])), y, ax=ax)
    first, second = ax.containers
    assert [bar.get_x() + bar.get_width() / 2 for bar in first] == pytest.approx([0, 1, 2, 3])
    heights = np.array([bar.get_height() for bar in second])
    expected = stats.poisson.pmf(display.rows[1].values, 7.0)
    np.testing.assert_allclose(display.rows[1].density, expected, rtol=1e-6)
    np.testing.assert_allclose(heights, 0.8 * expected / expected.max(), rtol=1e-6)
    assert all(bar.get_y() == -1 for bar in second)
    assert labels(ax) == ["probability", "observed"]
    assert ax.get_xlabel() == "claims"


def test_large_counts_are_a_line_of_whole_numbers(ax):
    display = DensityDisplay.from_predictions(Poisson(torch.tensor([1e6], dtype=torch.float64)), ax=ax)
    x = display.rows[0].values
    assert (x == x.round()).all()
    assert not ax.containers
    np.testing.assert_allclose(display.rows[0].density, stats.poisson.pmf(x, 1e6), rtol=1e-8)
    assert labels(ax) == ["probability"]


def test_point_masses_are_stems_with_their_probability(ax):
    gamma = Gamma(torch.full((3,), 2.0, dtype=torch.float64), torch.ones(3, dtype=torch.float64))
    gates = torch.tensor([-1.0, 8.0, 60.0], dtype=torch.float64)
    display = DensityDisplay.from_predictions(ZeroAdjusted(gamma, gates), [0.0, 0.0, 1.0], ax=ax)
    zero = torch.sigmoid(gates).numpy()
    for row, mass in zip(display.rows, zero, strict=True):
        np.testing.assert_allclose(row.masses, [[0.0, mass]])
        assert (row.values > 0).all()
        np.testing.assert_allclose(row.density, (1 - mass) * stats.gamma.pdf(row.values, 2.0), rtol=1e-6)
    assert len(display.rows[1].values) > 100
    assert len(display.rows[2].values) == 0
    assert [text.get_text() for text in ax.texts] == ["26.9 % at 0", "100.0 % at 0", "100.0 % at 0"]
    tops = [line.get_ydata()[-1] for line in ax.lines if line.get_marker() == "s"]
    np.testing.assert_allclose(tops, 0.8 * zero - np.arange(3))
    assert labels(ax) == ["density", "point mass", "observed"]


def test_estimators_are_asked_about_those_rows_only(ax):
    class Rate:
        fitted_with_exposure_ = True

        def predict_dist(self, X, exposure):
            self.seen = X
            return Poisson(torch.from_numpy(np.asarray(X, dtype=np.float64)[:, 0] * exposure))

    model = Rate()
    frame, exposure = pd.DataFrame({"x": [1.0, 2.0, 3.0]}), [1.0, 2.0, 4.0]
    display = DensityDisplay.from_estimator(model, frame, [1, 5, 9], rows=[2, 1], exposure=exposure, ax=ax)
    assert model.seen["x"].tolist() == [3.0, 2.0]
    np.testing.assert_allclose(display.rows[0].density, stats.poisson.pmf(display.rows[0].values, 12.0), rtol=1e-8)
    assert names(ax) == ["row 2", "row 1"]
    assert [place for place, _ in ticks(ax)] == [9, 5]
    with pytest.raises(ValueError, match=r"^the model was fitted with exposures"):
        DensityDisplay.from_estimator(model, frame, ax=ax)
    words = "`exposure` must hold one number for each of the 3 rows; got shape (2,)."
    with pytest.raises(ValueError, match=f"^{re.escape(words)}$"):
        DensityDisplay.from_estimator(model, frame, exposure=[1, 2], ax=ax)


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array, torch.as_tensor, list])
def test_rows_of_any_table(kind, ax):
    class Linear:
        def predict_dist(self, X):
            values = X.toarray() if sparse.issparse(X) else np.asarray(X)
            return dist.Normal(torch.from_numpy(values[:, 0]), 1.0)

    X = kind([[float(i)] for i in range(6)])
    display = DensityDisplay.from_estimator(Linear(), X, names=["a", "b", "c", "d"], ax=ax)
    assert names(ax) == ["a", "b", "c", "d"]
    modes = [row.values[row.density.argmax()] for row in display.rows]
    np.testing.assert_allclose(modes, [0, 1, 2, 3], atol=0.02)


class Strange(torch.distributions.Normal):
    """A Normal that keeps what no rows can be taken of."""

    def __init__(self, loc, scale):
        super().__init__(loc, scale)
        self.notes = {}


def test_rows_of_any_class(ax):
    loc = torch.tensor([0.0, 1.0, 2.0], dtype=torch.float64)
    plain, strange = (
        DensityDisplay.from_predictions(kind(loc, 1.0), rows=[2], ax=ax).rows[0] for kind in (dist.Normal, Strange)
    )
    np.testing.assert_allclose(strange.values, plain.values, rtol=1e-9)
    np.testing.assert_allclose(strange.density, plain.density, rtol=1e-9)


@pytest.mark.parametrize("size", [(4.0, 3.0), (6.4, 4.8)])
@pytest.mark.parametrize("rows", [1, 4, 8])
def test_the_legend_covers_nothing(size, rows):
    ax = Figure(size, layout="constrained").subplots()
    gamma = Gamma(torch.full((rows,), 2.0), torch.ones(rows))
    DensityDisplay.from_predictions(
        ZeroAdjusted(gamma, torch.full((rows,), 5.0)), [0.5] * rows, rows=range(rows), ax=ax
    )
    ax.figure.draw_without_rendering()
    legend = ax.get_legend().get_window_extent()
    assert legend.x1 < ax.get_window_extent().x1
    assert max(one.get_window_extent().y1 for one in (*ax.collections, *ax.lines, *ax.texts)) < legend.y0


@pytest.mark.parametrize("rows", [[], [0] * 9, [3], [-1], [0.5], 1, [True, False, True]])
def test_rows_that_do_not_exist_are_refused(rows, ax):
    words = f"`rows` must be one to 8 numbers of rows, from 0 to 2; got {rows!r}."
    with pytest.raises(ValueError, match=f"^{re.escape(words)}$"):
        DensityDisplay.from_predictions(stats.norm(np.zeros(3), 1.0), rows=rows, ax=ax)


def test_what_has_no_density_is_refused(ax):
    words = "a display shows the distribution of a number; Categorical predicts classes."
    with pytest.raises(TypeError, match=f"^{re.escape(words)}$"):
        DensityDisplay.from_predictions(dist.Categorical(torch.full((4, 3), 1 / 3)), ax=ax)
    with pytest.raises(NotImplementedError, match=r"^draws have no density"):
        DensityDisplay.from_predictions(np.zeros((3, 5)), ax=ax)
    with pytest.raises(ValueError, match=r"^`y` must be a whole number for a discrete distribution; "):
        DensityDisplay.from_predictions(Poisson(torch.ones(3)), [0.5, 1, 2], ax=ax)
    words = "`y` must hold one number for each of the 3 rows; got shape (2,)."
    with pytest.raises(ValueError, match=f"^{re.escape(words)}$"):
        DensityDisplay.from_predictions(Poisson(torch.ones(3)), [1, 2], ax=ax)
    words = (
        "there must be at least one row, with a name and, if there are any, a target for each; got 1 rows, 2 names and "
        "no targets."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(words)}$"):
        DensityDisplay([Density(np.zeros(1), np.zeros(1), np.zeros((0, 2)))], ["a", "b"])
