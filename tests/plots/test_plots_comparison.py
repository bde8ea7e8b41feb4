"""Displays of comparisons and of pools: what is drawn, read back from the axes."""

import matplotlib as mpl
import numpy as np
import pyro.distributions as dist
import pytest
import scipy.stats as st
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy.integrate import trapezoid
from sklearn.linear_model import BayesianRidge

from probmix import DensityRegressor, families
from probmix.distributions import Beta, Categorical, Exponential, Gamma, LogNormal, Poisson
from probmix.plots import FusionDisplay, ScoreComparisonDisplay
from probmix.scores import evaluate

RNG = np.random.default_rng(0)
Y = RNG.normal(size=60)
PREDICTIONS = {
    "base": st.norm(np.zeros(60), 1.0),
    "wide": st.norm(np.zeros(60), 3.0),
    "near": st.norm(0.01 * RNG.normal(size=60), 1.0),
    "draws": RNG.normal(size=(60, 20)),
    "impossible": st.expon(scale=np.ones(60)),
}


@pytest.fixture
def ax():
    return Figure().subplots()


def rendered(ax):
    """The picture as an array: drawing it must raise nothing."""
    canvas = FigureCanvasAgg(ax.figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())


def dots(ax):
    return [line for line in ax.lines if line.get_marker() in ("o", "D")]


def intervals(ax):
    return [line for line in ax.lines if line.get_marker() == "None" and line.get_linestyle() == "-"]


# -- comparison --------------------------------------------------------------------------------------------------------


def test_differences_with_their_intervals(ax):
    display = ScoreComparisonDisplay.from_predictions(PREDICTIONS, Y, ax=ax)
    table = evaluate(PREDICTIONS, None, Y, scores=["nll"]).loc["nll"]
    assert display.ax_ is ax
    assert display.figure_ is ax.figure
    assert display.names == list(PREDICTIONS)
    base, wide, near = dots(ax)
    assert base.get_xydata().tolist() == [[0, 0]]
    assert (base.get_marker(), wide.get_marker()) == ("D", "o")
    assert wide.get_xydata()[0] == pytest.approx([table.loc["wide", "difference"], 1])
    assert near.get_xydata()[0] == pytest.approx([table.loc["near", "difference"], 2])
    half = st.t.ppf(0.975, 59) * table.loc["wide", "difference_error"]
    ends = intervals(ax)[0].get_xydata()
    assert ends == pytest.approx(np.array([[table.loc["wide", "difference"] + side * half, 1] for side in (-1, 1)]))
    assert len(intervals(ax)) == 2
    # filled where the interval is without zero
    assert table.loc["wide", "p"] < 0.05 < table.loc["near", "p"]
    assert wide.get_markerfacecolor() == "C0"
    assert near.get_markerfacecolor() == "white"
    assert [text.get_text() for text in ax.texts] == ["not defined", "infinite"]
    assert [text.get_position()[1] for text in ax.texts] == [3, 4]
    assert [label.get_text() for label in ax.get_yticklabels()] == list(PREDICTIONS)
    assert ax.get_xlabel() == "difference in NLL to base\n(95 % intervals; smaller is better)"
    assert ax.get_ylim()[0] > 4 > 0 > ax.get_ylim()[1]  # from top to bottom
    assert rendered(ax).std() > 0


def test_means_and_another_baseline(ax):
    display = ScoreComparisonDisplay.from_predictions(
        PREDICTIONS, Y, score="crps", baseline="wide", difference=False, confidence=0.5, ax=ax, color="C3"
    )
    table = evaluate(PREDICTIONS, None, Y, scores=["crps"], baseline="wide").loc["crps"]
    assert display.values == pytest.approx(table["mean"].to_numpy())
    assert display.half_widths == pytest.approx(st.t.ppf(0.75, 59) * table["standard_error"].to_numpy())
    assert [dot.get_marker() for dot in dots(ax)] == ["o", "D", "o", "o", "o"]
    # filled by the interval of the difference, which is surer than that of the mean
    assert [dot.get_markerfacecolor() for dot in dots(ax)] == ["C3", "black", "C3", "C3", "C3"]
    (line,) = [line for line in ax.lines if line.get_linestyle() == "--"]
    assert line.get_xdata()[0] == pytest.approx(table.loc["wide", "mean"])
    assert ax.get_xlabel() == "mean CRPS\n(50 % intervals; smaller is better)"
    again = ScoreComparisonDisplay.from_predictions(
        PREDICTIONS, Y, score="crps", baseline="near", ax=Figure().subplots()
    )
    assert again.baseline == "near"
    assert again.values[2] == 0


def test_coverages_are_compared_with_their_level(ax):
    many = {name: PREDICTIONS[name] for name in ("base", "wide")}
    ScoreComparisonDisplay.from_predictions(many, Y, score="coverage90", difference=False, ax=ax)
    (line,) = [line for line in ax.lines if line.get_linestyle() == "--"]
    assert line.get_xdata()[0] == 0.9
    assert [dot.get_markerfacecolor() for dot in dots(ax)] == ["white", "C0"]
    assert ax.get_xlabel() == "mean coverage of the 90 % interval\n(95 % intervals; best at 0.9)"


def test_weights_and_estimators(ax):
    X = RNG.normal(size=(60, 2))
    model = BayesianRidge().fit(X, Y)
    weights = np.arange(60.0)
    given = {"ridge": model, **PREDICTIONS}
    display = ScoreComparisonDisplay.from_estimators(given, X, Y, score="crps", sample_weight=weights, ax=ax)
    table = evaluate(given, X, Y, scores=["crps"], sample_weight=weights).loc["crps"]
    assert display.values[1:] == pytest.approx(table["difference"].to_numpy()[1:])
    assert display.baseline == "ridge"


def test_one_row_has_no_interval(ax):
    one = {"a": st.norm([0.0], 1.0), "b": st.norm([0.0], 2.0)}
    display = ScoreComparisonDisplay.from_predictions(one, [0.3], ax=ax)
    assert np.isnan(display.half_widths).all()
    assert not intervals(ax)
    assert len(dots(ax)) == 2
    rendered(ax)


def test_a_baseline_without_a_score(ax):
    display = ScoreComparisonDisplay.from_predictions(PREDICTIONS, Y, baseline="draws", ax=ax)
    assert np.isnan(display.values).all()
    assert [text.get_text() for text in ax.texts] == ["not defined"] * 5
    rendered(ax)


def test_comparison_of_a_table():
    table = evaluate(PREDICTIONS, None, Y, baseline="wide")
    display = ScoreComparisonDisplay(table, "crps").plot(Figure().subplots())
    assert display.baseline == "wide"
    other = Figure().subplots()
    assert display.plot(other).ax_ is other
    with pytest.raises(ValueError, match=r"^unknown score 'cprs'; did you mean 'crps'\?$"):
        ScoreComparisonDisplay(table, "cprs")
    with pytest.raises(ValueError, match=r"^`confidence` must lie between 0 and 1, got 95. For 95 % pass 0.95.$"):
        ScoreComparisonDisplay(table, "crps", confidence=95)


# -- fusion ------------------------------------------------------------------------------------------------------------

TWO = {
    "gaussian": dist.Normal(torch.tensor([0.0, 3.0]), torch.tensor([1.0, 0.5])),
    "gaussian-narrow": dist.Normal(torch.tensor([0.0, 6.0]), torch.tensor([1.0, 0.01])),
    "gamma": Gamma(torch.tensor([2.0, 9.0]), torch.tensor([2.0, 1.0])),
    "exponential": Exponential(torch.tensor([2.0, 0.3])),
    "lognormal": LogNormal(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 0.4])),
    "beta": Beta(torch.tensor([3.0, 9.0]), torch.tensor([9.0, 2.0])),
    "poisson": Poisson(torch.tensor([1.0, 4.0])),
    "poisson-many": Poisson(torch.tensor([10.0, 40.0])),
    "categorical": Categorical(torch.tensor([[0.7, 0.2, 0.1], [0.05, 0.15, 0.8]])),
}


@pytest.mark.parametrize("name", TWO)
def test_pools_by_their_definitions(name, ax):
    two, weight = TWO[name], 0.3
    display = FusionDisplay.from_predictions(two, weight=weight, ax=ax)
    y, p = display.y, display.densities
    first, second = two.log_prob(torch.tensor(y)[:, None].float()).exp().double().numpy().T
    np.testing.assert_allclose(p["first"], first, rtol=1e-3, atol=1e-7)
    np.testing.assert_allclose(p["second"], second, rtol=1e-3, atol=1e-7)
    np.testing.assert_allclose(p["linear pool"], weight * p["first"] + (1 - weight) * p["second"], rtol=1e-9)
    product = p["first"] ** weight * p["second"] ** (1 - weight)
    ratio = p["log-linear pool"][product > 1e-200] / product[product > 1e-200]
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-6)
    discrete = name.startswith(("poisson", "categorical"))
    assert display.discrete == discrete
    for density in p.values():
        mass = density.sum() if discrete else trapezoid(density, y)
        assert mass == pytest.approx(1, abs=0.005)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("y", "probability" if discrete else "density")
    assert ax.get_ylim()[1] > max(density.max() for density in p.values())
    legend = [text.get_text() for text in ax.get_legend().get_texts()]
    assert legend == ["first, weight 0.3", "second, weight 0.7", "linear pool", "log-linear pool"]
    assert rendered(ax).std() > 0


def test_lines_are_told_apart_without_colour(ax):
    display = FusionDisplay.from_predictions(TWO["gaussian"], ax=ax)
    for line, density in zip(ax.lines, display.densities.values(), strict=True):
        np.testing.assert_array_equal(line.get_ydata(), density)
    assert len({line.get_linestyle() for line in ax.lines}) == 4
    stems = Figure().subplots()
    FusionDisplay.from_predictions(TWO["categorical"], ax=stems)
    assert len({line.get_marker() for line in stems.lines}) == 4
    assert len(stems.collections) == 4
    assert len({line.get_xdata()[0] for line in stems.lines}) == 4  # beside each other
    assert stems.get_xticks().tolist() == [0, 1, 2]
    steps = Figure().subplots()
    FusionDisplay.from_predictions(TWO["poisson-many"], ax=steps)
    assert {line.get_drawstyle() for line in steps.lines} == {"steps-mid"}


def test_a_pole_at_the_end_of_the_support_does_not_flatten_the_rest(ax):
    display = FusionDisplay.from_predictions(Gamma(torch.tensor([0.3, 6.0]), torch.tensor([0.5, 1.0])), ax=ax)
    assert display.densities["first"].max() > 100
    assert ax.get_ylim()[1] < 10
    # a steep end that is no pole stays whole
    other = Figure().subplots()
    display = FusionDisplay.from_predictions(TWO["exponential"], ax=other)
    assert other.get_ylim()[1] > display.densities["first"].max()


@pytest.mark.parametrize("name", ["gaussian", "gamma", "poisson", "categorical"])
def test_natural_parameters_with_their_family(name, ax):
    two = TWO[name]
    options = {"num_classes": 3} if name == "categorical" else {}
    family = families.get(name, **options)
    expected = FusionDisplay.from_predictions(two, weight=0.2, ax=ax)
    eta = family.natural_params(two)
    for given in (family, name):
        display = FusionDisplay.from_predictions(eta, weight=0.2, family=given, ax=Figure().subplots())
        np.testing.assert_allclose(display.y, expected.y, rtol=1e-5)
        for density, other in zip(display.densities.values(), expected.densities.values(), strict=True):
            np.testing.assert_allclose(density, other, rtol=1e-3, atol=1e-5)
    same = FusionDisplay.from_predictions(two, weight=0.2, family=name, ax=Figure().subplots())
    np.testing.assert_array_equal(same.densities["log-linear pool"], expected.densities["log-linear pool"])


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_all_weight_on_one_point(weight, ax):
    display = FusionDisplay.from_predictions(TWO["gaussian"], weight=weight, ax=ax)
    only = display.densities["first" if weight else "second"]
    np.testing.assert_allclose(display.densities["linear pool"], only, atol=1e-12)
    np.testing.assert_allclose(display.densities["log-linear pool"], only, atol=1e-12)


def test_fusion_of_estimators(ax):
    X = RNG.normal(size=(60, 2))
    ridge = BayesianRidge().fit(X, Y)
    display = FusionDisplay.from_estimator(ridge, X[:2], weight=0.25, target_name="dose", ax=ax)
    (first, second), (s, t) = ridge.predict(X[:2], return_std=True)
    precision = 0.25 / s**2 + 0.75 / t**2
    pool = st.norm((0.25 * first / s**2 + 0.75 * second / t**2) / precision, precision**-0.5)
    np.testing.assert_allclose(display.densities["log-linear pool"], pool.pdf(display.y), rtol=1e-9, atol=1e-12)
    assert ax.get_xlabel() == "dose"
    ours = DensityRegressor(max_epochs=1, hidden_layer_sizes=(4,), device="cpu", random_state=0, preset="plain").fit(
        X, Y
    )
    display = FusionDisplay.from_estimator(ours, X[:2], ax=Figure().subplots())
    normal = ours.predict_dist(X[:2])
    np.testing.assert_allclose(display.densities["first"], st.norm(normal.mean[0], normal.stddev[0]).pdf(display.y))
    ensemble = DensityRegressor(
        n_members=2, max_epochs=1, hidden_layer_sizes=(4,), device="cpu", random_state=0, preset="plain"
    )
    with pytest.raises(
        TypeError, match=r"^Mixture belongs to no registered exponential family, .* draw a single member"
    ):
        FusionDisplay.from_estimator(ensemble.fit(X, Y), X[:2], ax=Figure().subplots())


@pytest.mark.parametrize(
    ("prediction", "options", "kind", "message"),
    [
        (
            TWO["gaussian"],
            {"weight": 1.2},
            ValueError,
            r"^`weight` must lie between 0 and 1, got 1.2. It is the weight",
        ),
        (
            torch.zeros(2, 2),
            {},
            TypeError,
            "^natural parameters mean nothing without their family. Pass family=, such as",
        ),
        (
            dist.Normal(torch.zeros(3), 1.0),
            {},
            ValueError,
            r"two points of one target; got the shape \(3,\). Pass two row",
        ),
        (dist.Normal(torch.zeros(2, 2), 1.0), {}, ValueError, r"two points of one target; got the shape \(2, 2\)"),
        (
            st.logistic([3.0, 4.0]),
            {},
            TypeError,
            "^SciPyDistribution belongs to no registered exponential family, whose log-linear pools have a "
            "closed form: bernoulli, beta, exponential, fixed-negative-binomial, gamma, gaussian, histogram, "
            "inverse-gaussian, lognormal, poisson, zero-adjusted-gamma, zero-adjusted-lognormal. An ensemble",
        ),
        (TWO["gamma"], {"family": "gaussian"}, TypeError, "must be a Normal, got Gamma"),
        (TWO["gaussian"], {"family": "gausian"}, ValueError, "unknown family 'gausian'; did you mean 'gaussian'"),
        (TWO["gaussian"], {"family": "categorical"}, TypeError, "must be a Categorical, got Normal"),
    ],
    ids=["weight", "no-family", "three", "targets", "t", "other-family", "misspelt", "not-categorical"],
)
def test_fusion_errors(prediction, options, kind, message):
    with pytest.raises(kind, match=message):
        FusionDisplay.from_predictions(prediction, **options, ax=Figure().subplots())


@pytest.mark.cuda
def test_cuda_points_are_drawn(ax):
    two = dist.Normal(torch.tensor([0.0, 3.0]).cuda(), torch.tensor([1.0, 0.5]).cuda())
    display = FusionDisplay.from_predictions(two, ax=ax)
    expected = FusionDisplay.from_predictions(TWO["gaussian"], ax=Figure().subplots())
    np.testing.assert_allclose(display.densities["log-linear pool"], expected.densities["log-linear pool"], atol=1e-6)


# -- state -------------------------------------------------------------------------------------------------------------


def test_nothing_global_changes(ax):
    before, state = dict(mpl.rcParams), torch.get_rng_state()
    FusionDisplay.from_predictions(TWO["poisson"], ax=ax)
    ScoreComparisonDisplay.from_predictions(PREDICTIONS, Y, ax=ax)
    assert dict(mpl.rcParams) == before
    assert torch.equal(torch.get_rng_state(), state)
