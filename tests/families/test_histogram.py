"""The histogram family: its bins, its labels, its pools, and fits of it."""

import math
import pickle
import warnings
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import stats

from probmix import DensityRegressor, NaturalHead, families, load, log_linear_pool
from probmix.distributions import Binned
from probmix.distributions.scoring import marginal_crps
from probmix.families import Histogram, Mixture
from probmix.families.bins import Bins, normal_bins
from probmix.mixup import Mixup, mixup_loss, preset_names
from probmix.mixup.objectives import objective
from probmix.scores import crps
from probmix.testing import check_family

FAST = {"hidden_layer_sizes": (16,), "max_epochs": 30, "random_state": 0}
SKEWED = torch.randn(400, generator=torch.Generator().manual_seed(0), dtype=torch.float64).exp()
EDGES, TAILS = (-1.0, 0.0, 0.5, 2.0), (1.0, 3.0)


def two_humps(n=400, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.uniform(-1, 1, (n, 2))
    return X, np.where(rng.random(n) < 0.5, -3, 3) * (1 + 0.3 * X[:, 0]) + 0.3 * rng.normal(size=n)


# -- contracts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", [
    Histogram(2), Histogram(), Histogram(12).for_targets(SKEWED), Histogram(edges=EDGES, tails=TAILS, floor=1e-6),
    Histogram().for_targets(torch.tensor([3.0, 4, 5, 5, 5, 6, 6, 7, 8]).double()),
], ids=["2", "normal", "skewed", "own", "lattice"])  # fmt: skip
def test_it_keeps_the_contracts(family):
    check_family(family)


def test_it_goes_by_its_names_and_pickles():
    assert families.get("bars", n_bins=8) == families.get("histogram", n_bins=8) == Histogram(8)
    family = Histogram(8).for_targets(SKEWED)
    assert pickle.loads(pickle.dumps(family)) == family
    assert families.get(family.name, **{name: getattr(family, name) for name in (
        "n_bins", "edges", "tails", "smoothing", "floor")}) == family  # fmt: skip
    assert repr(family) == "Histogram(n_bins=8, smoothing=0.75, floor=0.0025)"


# -- bins --------------------------------------------------------------------------------------------------------------


def test_bins_lie_between_quantiles():
    family = Histogram(20).for_targets(SKEWED)
    assert family.num_params == 20
    counts, _ = np.histogram(SKEWED.numpy(), family.edges)
    assert counts.min() == counts.max() == 20
    assert family.edges[0] == SKEWED.min().item()
    assert family.edges[-1] == SKEWED.max().item()
    assert family.tails == (family.edges[1] - family.edges[0], family.edges[-1] - family.edges[-2])
    assert not set(family.edges[1:-1]) & set(SKEWED.tolist())
    assert family.for_targets(10 * SKEWED) == family


def test_small_sets_have_few_bins():
    assert Histogram().for_targets(SKEWED[:30]).num_params == 6
    assert Histogram().for_targets(SKEWED[:4]).num_params == 2
    assert Histogram().for_targets(SKEWED).num_params == 64


def test_targets_of_a_lattice_are_in_the_middle_of_bins_as_wide_as_its_step():
    rng = np.random.default_rng(0)
    scores = torch.from_numpy(rng.binomial(8, 0.6, 500).astype(float)) * 0.1 + 0.3
    family = Histogram().for_targets(scores)
    steps = (np.array(family.edges) - 0.25) / 0.1
    np.testing.assert_allclose(steps, steps.round(), atol=1e-9)
    assert np.diff(steps).min() > 0.99
    # no density is narrower than the error of rounding
    eta = family.constrain(100 * torch.eye(family.num_params).double())
    assert (family.distribution(eta).stddev > 0.1 / math.sqrt(12) * 0.999).all()
    # with gaps, and with more points than bins
    gaps = torch.tensor([0.0, 1, 2, 4, 8, 16, 17, 31, 32, 64]).double()
    assert all(edge % 1 == 0.5 for edge in Histogram().for_targets(gaps).edges)
    ages = torch.from_numpy(rng.integers(0, 100, 5000).astype(float))
    family = Histogram().for_targets(ages)
    assert 50 < family.num_params <= 64
    assert all(edge % 1 == 0.5 for edge in family.edges)
    assert Histogram().for_targets(torch.tensor([0.0, 1.0] * 20)).edges == (-0.5, 0.5, 1.5)


@pytest.mark.parametrize("place", [0.0, 0.7])
def test_no_bin_is_a_spike_on_a_target_that_comes_up_often(place):
    y = torch.cat([torch.full((300,), place), torch.rand(700, generator=torch.Generator().manual_seed(0))]).double()
    family = Histogram(20).for_targets(y)
    (index,) = family.point_label(torch.tensor([place])).value.argmax(-1).tolist()
    assert family.edges[index + 1] - family.edges[index] > 0.03
    assert family.num_params > 10


def test_equal_targets_and_few_different_ones_have_bins():
    for constant in (0.0, 7.0, -1e-300, 1e300):
        family = Histogram().for_targets(torch.full((9,), constant, dtype=torch.float64))
        assert family.num_params == 3
        assert family.point_label(torch.tensor([constant], dtype=torch.float64)).value.tolist() == [[0, 1, 0]]
    # heavy values that are no lattice
    y = torch.tensor([1.0, 2.5, 7.1, 7.3]).repeat_interleave(torch.tensor([40, 30, 20, 10])).double()
    assert Histogram().for_targets(y).num_params >= 2
    for scale in (1e-12, 1e12):
        torch.testing.assert_close(
            torch.tensor(Histogram(9).for_targets(scale * SKEWED).edges),
            scale * torch.tensor(Histogram(9).for_targets(SKEWED).edges),
        )


def test_a_target_of_weight_two_is_two_targets():
    counts = torch.randint(0, 4, (400,), generator=torch.Generator().manual_seed(1))
    for y in (SKEWED, SKEWED.mul(3).round()):
        weighted = Histogram(16).for_targets(y, counts.double())
        repeated = Histogram(16).for_targets(y.repeat_interleave(counts))
        assert weighted == repeated
        assert Histogram(16).for_targets(y, 0.125 * counts) == weighted


def test_before_a_fit_bins_are_those_of_a_normal_distribution():
    family = Histogram(10)
    bins = normal_bins(10)
    np.testing.assert_allclose(stats.norm.cdf(bins.edges[1:-1]), np.arange(1, 10) / 10)
    assert stats.norm.cdf(bins.edges[0]) == pytest.approx(0.01)
    distribution = family.distribution(family.constrain(torch.zeros(10).double()))
    assert distribution.mean.item() == pytest.approx(0, abs=1e-12)
    assert distribution.stddev.item() == pytest.approx(1, abs=0.1)


# -- parameters --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_no_bin_is_without_its_share_of_the_floor(dtype):
    family = Histogram(8).for_targets(SKEWED)
    raw = torch.tensor([[3e38, -3e38, 0, 1e4, -1e4, 1, 2, 3], [1e4, 0, 0, 0, 0, 0, 0, 0]], dtype=dtype)
    probs = family.constrain(raw).softmax(-1)
    assert family.floor == 1 / 400
    assert (probs >= 0.999 * family.floor / 8).all()
    # the worst row costs log n and the logarithm of the number of bins
    y = torch.tensor(family.edges)[1:-1]
    loss = -(family.log_prob(family.constrain(raw)[1].double(), y) - family.log_base_measure(y))
    assert loss.max().item() == pytest.approx(math.log(400 * 8), rel=1e-3)


def test_the_marginal_is_the_frequency_of_the_bins():
    family = Histogram(edges=EDGES, tails=TAILS, floor=1e-6)
    y = torch.tensor([[-5.0, -0.5, 0.2, 1.0, 9.0], [0.1, 0.2, 0.3, 0.4, 0.45]]).double()
    weights = torch.tensor([[1.0, 1, 2, 1, 1]]).double()
    got = family.marginal_params(y, weights, dim=1)
    assert got.shape == (2, 1, 3)
    want = torch.tensor([[[2, 2, 2.0]], [[0, 6, 0]]]).double() / 6
    torch.testing.assert_close(got.exp(), want, atol=3e-6, rtol=0)
    torch.testing.assert_close(family.marginal_params(y.T, weights.T).transpose(0, 1), got)


def test_the_pool_is_the_product_of_powers():
    family = Histogram(6).for_targets(SKEWED)
    draw = torch.Generator().manual_seed(0)
    eta = family.constrain(2 * torch.randn(3, 6, generator=draw).double())
    weights = torch.tensor([0.5, 0.2, 0.3], dtype=torch.float64)
    pooled = family.distribution(log_linear_pool(eta, weights))
    # mass of the product in each piece, in which it is a constant times the density of the piece
    y = [-1.0, *[0.5 * (a + b) for a, b in pairwise(family.edges)], 60.0]
    y = torch.tensor(y, dtype=torch.float64)
    single = family.distribution(eta).log_prob(y.unsqueeze(-1))
    product = (weights * single).sum(-1).exp()
    ratio = pooled.log_prob(y).exp() / product
    torch.testing.assert_close(ratio, ratio[:1].expand(len(y)), rtol=1e-12, atol=0)


# -- labels ------------------------------------------------------------------------------------------------------------


def test_labels_that_train_are_normal_on_the_line_of_bins():
    family = Histogram(edges=EDGES, tails=TAILS, smoothing=0.75)
    y = torch.tensor([-3.0, -1.0, -0.25, 0.3, 2.0, 5.0], dtype=torch.float64)
    # -2, 0, 0.75, 1.6, 3, 4 bins from the first edge, in units of the tails beyond
    u = np.array([-2.0, 0, 0.75, 1.6, 3, 4])[:, None]
    np.testing.assert_allclose(Bins(EDGES, TAILS).coordinate(y), u[:, 0])
    np.testing.assert_allclose(Bins(EDGES, TAILS).at_coordinate(torch.from_numpy(u[:, 0])), y, atol=1e-14)
    # of three bins a twenty-fourth is an eighth of a bin
    want = np.diff(stats.norm.cdf(([-np.inf, 1, 2, np.inf] - u) / 0.125), axis=1)
    got = family.for_training().point_label(y)
    np.testing.assert_allclose(got.value, want, rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(got.value.sum(-1), 1)
    assert Histogram(edges=EDGES, smoothing=0.0).for_training().point_label(y).value.sum(0).tolist() == [3, 1, 2]
    wider = family.for_training().pool_labels(y.unsqueeze(-1), torch.ones(6, 1).double(), spread=0.5)
    want = np.diff(stats.norm.cdf(([-np.inf, 1, 2, np.inf] - u) / math.sqrt(0.125**2 + 0.5)), axis=1)
    np.testing.assert_allclose(wider.value, want, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize(("count", "sd"), [(6, 0.25), (18, 0.75), (64, 0.75)])
def test_labels_are_spread_over_neighbours_and_not_over_all(count, sd):
    family = Histogram(edges=range(count + 1)).for_training()
    u = torch.tensor([0.1, 0.5 * count + 0.3], dtype=torch.float64)
    inner = np.arange(1, count)
    want = np.diff(stats.norm.cdf((np.array([-np.inf, *inner, np.inf]) - u.numpy()[:, None]) / sd), axis=1)
    np.testing.assert_allclose(family.point_label(u).value, want, rtol=1e-7, atol=1e-12)


def test_labels_of_several_points():
    family = Histogram(edges=EDGES, tails=TAILS)
    soft = family.for_training()
    y, weights = torch.tensor([[-0.5, 1.0]]).double(), torch.tensor([[0.25, 0.75]]).double()
    each = soft.point_label(y).value
    linear = soft.pool_labels(y, weights, pool="linear").value
    torch.testing.assert_close(linear, 0.25 * each[:, 0] + 0.75 * each[:, 1])
    average = soft.pool_labels(y, weights, pool="average").value
    torch.testing.assert_close(average, soft.point_label(torch.tensor([0.625]).double()).value)
    # 0.5 and 2 1/3 bins from the first edge: 1.875 on average
    centre = soft.pool_labels(y, weights, pool="log-linear").value
    torch.testing.assert_close(centre, soft.point_label(torch.tensor([0.4375]).double()).value)
    with pytest.raises(ValueError, match="unknown label pool 'nonsense'"):
        family.pool_labels(y, weights, pool="nonsense")
    eta = torch.randn(1, 2, 3, generator=torch.Generator().manual_seed(0)).double()
    fused = (weights.unsqueeze(-1) * eta).sum(1)
    calibrated = family.calibrated_label(y, weights, fused, eta_points=eta).value
    hard = torch.tensor([[[1.0, 0, 0], [0, 0, 1]]]).double()
    want = fused.softmax(-1) + (weights.unsqueeze(-1) * (hard - eta.softmax(-1))).sum(1)
    torch.testing.assert_close(calibrated, want)


def test_a_density_as_a_label_has_the_expectation_of_the_loss():
    family = Histogram(edges=EDGES, tails=TAILS)
    teacher, student = torch.randn(2, 1, 3, generator=torch.Generator().manual_seed(0)).double()
    label = family.density_label(teacher.unsqueeze(1), torch.ones(1, 1).double())
    levels = (torch.arange(400_000).double() + 0.5) / 400_000
    y = family.distribution(teacher).icdf(levels)
    want = -family.log_prob(student, y).mean()
    assert family.expected_nll(student, label).item() == pytest.approx(want.item(), rel=1e-5)


def test_what_judges_is_not_smoothed():
    family = Histogram(edges=EDGES, tails=TAILS)
    goal = objective("nll", family)
    y = torch.tensor([[-0.5, 0.7]]).double()
    eta = torch.randn(1, 2, 3, generator=torch.Generator().manual_seed(0)).double()
    scaler = family.scaler(y, dim=1)
    torch.testing.assert_close(goal.validation(eta, y, scaler), -family.distribution(eta).log_prob(y))
    assert (goal.point_label(y).value < 1).all()
    assert family.point_label(y).value.amax(-1).eq(1).all()
    mixup = Mixup(label_pool="linear")
    both = goal.pool_labels(y, torch.tensor([[0.5, 0.5]]).double(), mixup)
    torch.testing.assert_close(both.value, goal.point_label(y).value.mean(1))


# -- fits --------------------------------------------------------------------------------------------------------------


def test_it_finds_two_humps_and_is_saved_with_its_bins(tmp_path):
    X, y = two_humps(600)
    model = DensityRegressor("histogram", n_members=2, **FAST, preset="plain").fit(X[:400], y[:400])
    gaussian = DensityRegressor("gaussian", n_members=2, **FAST, preset="plain").fit(X[:400], y[:400])
    assert model.score(X[400:], y[400:]) > gaussian.score(X[400:], y[400:]) + 0.5
    assert 55 < model.family_.num_params <= 64
    predicted = model.predict_dist(X[400:])
    assert isinstance(predicted, Binned)
    assert crps(predicted, torch.from_numpy(y[400:])).mean() < crps(gaussian.predict_dist(X[400:]), y[400:]).mean()
    model.save(tmp_path / "model")
    loaded = load(tmp_path / "model")
    assert loaded.family_ == model.family_
    np.testing.assert_array_equal(loaded.log_prob(X, y), model.log_prob(X, y))


@pytest.mark.parametrize("scale", [1e-6, 1e9])
def test_units_do_not_matter(scale):
    X, y = two_humps(100)
    one, other = (DensityRegressor("histogram", **FAST, preset="plain").fit(X, factor * y) for factor in (1, scale))
    np.testing.assert_allclose(other.log_prob(X, scale * y), one.log_prob(X, y) - math.log(scale), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("mixup", preset_names())
def test_every_preset_trains_it(mixup):
    X, y = two_humps(60)
    model = DensityRegressor("histogram", mixup, **FAST | {"max_epochs": 3}, preset="plain").fit(X, y)
    assert np.isfinite(model.log_prob(X, y)).all()


def test_the_crps_trains_it():
    X, y = two_humps()
    model = DensityRegressor("histogram", "erm", loss="crps", **FAST, preset="plain").fit(X, y)
    marginal = model.family_.distribution(model.family_.marginal_params(torch.from_numpy(y)))
    got = crps(model.predict_dist(X), torch.from_numpy(y)).mean()
    assert got < crps(marginal.expand((len(y),)), torch.from_numpy(y)).mean()


def test_several_targets_have_bins_of_their_own(tmp_path):
    X, y = two_humps(150)
    both = np.stack([y, np.round(np.exp(X[:, 1]), 1)], 1)
    model = DensityRegressor("histogram", n_members=2, **FAST, preset="plain").fit(X, both)
    family = model.family_
    assert [len(edges) for edges in family.edges] != [65, 65]
    assert len(family.edges) == len(family.tails) == 2
    predicted = model.predict_dist(X)
    assert (predicted.batch_shape, predicted.event_shape) == ((150,), (2,))
    np.testing.assert_allclose(predicted.log_prob(torch.from_numpy(both)), model.log_prob(X, both), rtol=1e-6)
    single = DensityRegressor("histogram", **FAST, preset="plain").fit(X, both)
    eta = single.predict_natural_params(X)
    alone = [Histogram(edges=edges, tails=tails) for edges, tails in zip(family.edges, family.tails, strict=True)]
    parts = eta.split([one.num_params for one in alone], -1)
    columns = torch.from_numpy(both).unbind(-1)
    want = sum(one.log_prob(part, column) for one, part, column in zip(alone, parts, columns, strict=True))
    np.testing.assert_allclose(single.log_prob(X, both), want, rtol=1e-5, atol=1e-6)
    change = family.natural_params(family.distribution(eta)) - eta
    torch.testing.assert_close(change, torch.zeros_like(change), atol=1e-12, rtol=0)
    # each column by itself
    for column in range(2):
        got = marginal_crps(single.predict_dist(X), torch.from_numpy(both))[:, column]
        want = marginal_crps(alone[column].distribution(parts[column]), columns[column])
        torch.testing.assert_close(got, want)
    single.save(tmp_path / "model")
    loaded = load(tmp_path / "model")
    assert loaded.family_ == family
    np.testing.assert_array_equal(loaded.log_prob(X, both), single.log_prob(X, both))
    for at in ("input", "output"):
        for label_pool in ("linear", "average", "log-linear", "calibrated"):
            mixup = Mixup(at=at, label_pool=label_pool)
            DensityRegressor("histogram", mixup, **FAST | {"max_epochs": 1}, preset="plain").fit(X[:40], both[:40])
    with pytest.raises(ValueError, match=r"must be \(n, 2\); got shape \(3,\)"):
        family.check_targets(torch.zeros(3))


# -- errors ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("options", "message"), [
    ({"n_bins": 1}, "`n_bins` must be an integer of at least 2, got 1."),
    ({"n_bins": 2.5}, "`n_bins` must be an integer of at least 2, got 2.5."),
    ({"smoothing": -1.0}, "`smoothing` must be a number of bins, zero or positive, got -1.0."),
    ({"floor": 0.0}, "`floor` must be a share between 0 and 1, both excluded, got 0.0."),
    ({"tails": (1.0, 1.0)}, "`tails` are those of `edges`, which are missing. Pass both or none."),
    ({"edges": [0, 1]}, "`edges` must be at least three finite numbers in increasing order, got 2 from 0.0 to 1.0. "
     "Sort them, and drop repeated ones."),
    ({"edges": [[0, 1, 2], [0, 1, 1]]}, "`edges` must be at least three finite numbers in increasing order, got 3 from "
     "0.0 to 1.0. Sort them, and drop repeated ones."),
    ({"edges": [0, 1, 2], "tails": (1, 0)}, "`tails` must be two positive numbers, got (1.0, 0.0)."),
    ({"edges": [0, 1, 2], "tails": ((1, 1), (1, 1))},
     "`tails` must be a pair for each target, as `edges` are one sequence for each."),
])  # fmt: skip
def test_what_is_no_histogram_is_refused(options, message):
    with pytest.raises(ValueError, match=r"must be|missing") as error:
        Histogram(**options)
    assert str(error.value) == message


def test_edges_that_are_no_numbers_are_refused():
    with pytest.raises(TypeError, match="`edges` must be a sequence of numbers, or one for each target; got 'abc'"):
        Histogram(edges="abc")
    with pytest.raises(ValueError, match="Histogram targets must be finite; got nan at row 1"):
        Histogram().check_targets(torch.tensor([0.0, math.nan]))


def test_targets_beyond_bins_that_were_never_set_are_told_once():
    y = 150 + 50 * torch.randn(64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    family = families.get("histogram")

    def a_loop(family, y):
        network = NaturalHead(family, 1)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("default")
            for rows in y.float().split(16):
                mixup_loss(network, family, torch.ones(len(rows), 1), rows, "probmix")
        return [str(one.message) for one in told if "bins" in str(one.message)]

    low, high = stats.norm.ppf(0.1 / 64), stats.norm.ppf(1 - 0.1 / 64)
    for one in (family, Mixture(family, 2)):
        (message,) = a_loop(one, y)
        assert message == (
            "most targets are beyond the bins of Histogram(n_bins=64, smoothing=0.75, floor=0.001), which without "
            f"`edges` are those of the standard normal distribution, from {low:.3g} to {high:.3g}. Take "
            "`family.for_targets(y)`, whose bins are those of the targets, or pass `edges`."
        )
        assert a_loop(one.for_targets(y), y) == []
        assert a_loop(one, (y - y.mean()) / y.std()) == []
    # edges that are somebody's choice
    assert a_loop(Histogram(edges=(-1, 0, 1)), y) == []
