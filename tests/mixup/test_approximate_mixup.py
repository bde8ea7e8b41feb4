"""Approximate mixup as the criterion of a `Mixup`: in loops of one's own and in the estimators."""

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from mixup_cases import FixedWeights, generator
from training_cases import MEMBERS, OPTIONS, make_data, run

import probmix
from probmix import DensityClassifier, DensityRegressor, NaturalHead, families
from probmix.mixup import BetaWeights, Mixup, NearestNeighbours, mixup_loss
from probmix.mixup.drawing import draw_partners, draw_weights
from probmix.mixup.losses import Losses
from probmix.mixup.objectives import objective
from probmix.mixup.quadratic import Centring, quadratic_losses
from probmix.mixup.terms import Groups, Inputs, Term
from probmix.networks import MLP, DensityNetwork
from probmix.random import generator_uniform

APPROXIMATE = Mixup(at="input", weights=BetaWeights(1.0), label_pool="linear", criterion="quadratic")
X = torch.randn(8, 2, generator=generator(3), dtype=torch.float64)
Y = torch.randn(8, generator=generator(4), dtype=torch.float64).exp()


def network(family="gaussian", dtype=torch.float64):
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.Tanh(), NaturalHead(family, 4)).to(dtype)


@pytest.mark.parametrize("order", [2, 3])
def test_the_loss_is_that_of_the_draws_with_the_heavier_row_first(order):
    family, module = families.get("gamma"), network("gamma")
    mixup = replace(APPROXIMATE, order=order, weights=FixedWeights(0.2))
    found = mixup_loss(module, family, X, Y, mixup, generator=generator())
    uniform = generator_uniform(generator(), X.device)
    partners = draw_partners(mixup, family, X, Y, uniform)
    weights, of_labels = draw_weights(mixup, (8,), uniform, None)
    assert of_labels is weights or torch.equal(of_labels, weights)
    assert (weights.diff(dim=-1) <= 0).all()
    groups = torch.cat([torch.arange(8).unsqueeze(-1), partners], -1)
    label = family.pool_labels(Y[groups], weights, 0.0, "linear")
    largest = max(0.2, 0.8 / (order - 1))
    expected = quadratic_losses(module, family, (X,), Y, label, partners, weights, Centring(largest))
    torch.testing.assert_close(found, expected.mean(), rtol=1e-12, atol=1e-12)


def test_labels_with_weights_of_their_own_follow_the_order_of_the_rows():
    mixup = replace(APPROXIMATE, weights=FixedWeights(0.1), label_weights=FixedWeights(0.3))
    weights, of_labels = draw_weights(mixup, (4,), generator_uniform(generator(), X.device), None)
    torch.testing.assert_close(weights[0], torch.tensor([0.9, 0.1], dtype=torch.float64))
    torch.testing.assert_close(of_labels[0], torch.tensor([0.7, 0.3], dtype=torch.float64))
    assert mixup_loss(network("gamma"), "gamma", X, Y, mixup, generator=generator()).isfinite()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("pool", ["linear", "average", "log-linear"])
def test_it_trains_a_network_of_ones_own(pool, dtype):
    x = torch.linspace(-1, 1, 64, dtype=dtype).unsqueeze(-1).repeat(1, 2)
    y = torch.poisson(torch.exp(1 + 2 * x[:, 0]), generator=generator())
    module = network("poisson", dtype)
    optimizer, draws = torch.optim.Adam(module.parameters(), 0.05), generator()
    before = mixup_loss(module, "poisson", x, y, "erm")
    for _ in range(60):
        optimizer.zero_grad()
        mixup_loss(module, "poisson", x, y, replace(APPROXIMATE, label_pool=pool), generator=draws).backward()
        optimizer.step()
    assert mixup_loss(module, "poisson", x, y, "erm") < before - 2


def test_sample_weights_and_exposures_are_taken():
    y = Y.round()
    weight = torch.tensor([0.0, 1, 2, 3, 1, 1, 2, 0], dtype=torch.float64)
    exposure = torch.linspace(0.5, 2, 8, dtype=torch.float64)
    arguments = {"sample_weight": weight, "exposure": exposure, "generator": generator()}
    loss = mixup_loss(network("poisson"), "poisson", X, y, APPROXIMATE, **arguments)
    # rows of weight zero count for nothing, neither as rows nor in the means
    other_x, other_y = X.clone(), y.clone()
    other_x[[0, 7]], other_y[[0, 7]] = 100.0, 5.0
    arguments["generator"] = generator()
    other = mixup_loss(network("poisson"), "poisson", other_x, other_y, APPROXIMATE, **arguments)
    torch.testing.assert_close(loss, other, rtol=1e-12, atol=1e-12)


def test_members_that_no_longer_mix_have_the_loss_of_their_rows():
    family = families.get("gaussian")
    model = DensityNetwork(family, 2, MLP((5,)), None, 2).double()
    torch.manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    x, y = X.expand(2, 8, 2), Y.expand(2, 8)
    mixing = torch.tensor([True, False])
    drawn = torch.tensor([0.7, 0.3], dtype=torch.float64).expand(1, 8, 2)
    alone = torch.tensor([1.0, 0.0], dtype=torch.float64)
    weights = torch.where(mixing.view(-1, 1, 1), drawn, alone)
    targets = torch.stack([y, y.roll(-3, 1)], -1)
    label = family.pool_labels(targets, weights, 0.0, "linear")
    centring = Centring(torch.where(mixing, 0.75, 1.0))
    losses = Losses(model, objective("nll", family), APPROXIMATE, Inputs(x, 1))
    found = losses.of(Term(targets, label, Groups("input", (3,), weights, centring)))
    clean = family.expected_nll(model(x), family.point_label(y))
    torch.testing.assert_close(found[1], clean[1], rtol=1e-9, atol=1e-9)
    assert not torch.allclose(found[0], clean[0])


@pytest.mark.parametrize("options", [OPTIONS, replace(OPTIONS, batch_size=None)], ids=["mini", "full"])
def test_members_train_as_if_alone(options):
    joint, _, result = run(make_data(), APPROXIMATE, options=options)
    x = make_data().rows.x[:20]
    for m in range(MEMBERS):
        own = slice(m, m + 1)
        alone, _, single = run(make_data(members=own), APPROXIMATE, options=options, members=own)
        torch.testing.assert_close(alone(x)[0], joint(x)[m], rtol=2e-3, atol=2e-3)
        assert single.best_epoch[0] == result.best_epoch[m]


@dataclass(frozen=True)
class _Case:
    family: str
    y: np.ndarray
    exposure: np.ndarray | None = None


_RNG = np.random.default_rng(0)
_X = _RNG.normal(size=(120, 3))
_COUNTS = _RNG.poisson(np.exp(0.5 + 0.5 * _X[:, 0])).astype(float)
_CASES = [
    _Case("gaussian", _X[:, 0] + _RNG.normal(size=120)),
    _Case("gaussian", _X[:, :2] + _RNG.normal(size=(120, 2))),
    _Case("multivariate-gaussian", _X[:, :2] + _RNG.normal(size=(120, 2))),
    _Case("poisson", _COUNTS),
    _Case("poisson", _COUNTS, _RNG.uniform(0.5, 2, 120)),
    _Case("fixed-negative-binomial", _COUNTS),
    _Case("bernoulli", (_COUNTS > 1).astype(float)),
    _Case("beta", _RNG.beta(2, 3, 120)),
    *(_Case(name, np.exp(_X[:, 1])) for name in ("gamma", "exponential", "lognormal", "inverse-gaussian")),
    _Case("zero-adjusted-gamma", np.where(_COUNTS > 1, np.exp(_X[:, 1]), 0.0)),
]


@pytest.mark.parametrize("case", _CASES, ids=lambda case: f"{case.family}-{case.y.ndim}-{case.exposure is not None}")
def test_estimators_of_every_exponential_family_learn(case):
    model = DensityRegressor(case.family, APPROXIMATE, n_members=2, max_epochs=6, random_state=0, preset="plain")
    model.fit(_X, case.y, exposure=case.exposure)
    assert np.isfinite(model.score(_X, case.y, exposure=case.exposure))
    assert np.isfinite(model.validation_curve_[: model.best_epoch_.max()]).all()
    assert (model.best_epoch_ > 0).any()


def test_classes_and_weights_and_files(tmp_path):
    classes = np.array(["a", "b", "c"])[_RNG.integers(0, 3, 120)]
    model = DensityClassifier(APPROXIMATE, max_epochs=4, batch_size=None, random_state=0, preset="plain")
    model.fit(_X, classes, sample_weight=_RNG.integers(0, 3, 120))
    model.save(tmp_path / "model.safetensors")
    loaded = probmix.load(tmp_path / "model.safetensors")
    assert loaded.mixup_ == APPROXIMATE
    np.testing.assert_array_equal(loaded.predict_proba(_X), model.predict_proba(_X))


def _own(shape):
    return torch.nn.Sequential(
        torch.nn.Linear(*shape, 8), torch.nn.BatchNorm1d(8), torch.nn.GELU(), torch.nn.Dropout(0.1)
    )


@pytest.mark.parametrize("n_members", [1, 2])
def test_networks_of_ones_own_learn_also_with_dropout_and_batch_statistics(n_members):
    y = _X[:, 0] + 0.1 * _RNG.normal(size=120)
    model = DensityRegressor(
        "gaussian", APPROXIMATE, network=_own, n_members=n_members, max_epochs=30, random_state=0, preset="plain"
    )
    model.fit(_X, y)
    assert model.score(_X, y) > DensityRegressor("gaussian", max_epochs=1, random_state=0, preset="plain").fit(
        _X, y
    ).score(_X, y)


def test_threads_may_fit_at_the_same_time():
    y = _X[:, 0]
    model = DensityRegressor("gaussian", APPROXIMATE, max_epochs=3, random_state=0, preset="plain")
    expected = model.fit(_X, y).predict(_X)

    def predicted(_):
        return (
            DensityRegressor("gaussian", APPROXIMATE, max_epochs=3, random_state=0, preset="plain")
            .fit(_X, y)
            .predict(_X)
        )

    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(predicted, range(4)):
            np.testing.assert_array_equal(found, expected)


def test_mixing_may_end_early_and_leave_a_clean_share():
    y = _X[:, 0] + _RNG.normal(size=120)
    for until in (0.5, "validation"):
        mixup = replace(APPROXIMATE, until=until, clean=0.25)
        model = DensityRegressor(
            "gaussian", mixup, n_members=2, max_epochs=8, patience=2, random_state=0, preset="plain"
        ).fit(_X, y)
        assert (model.mixup_until_ >= 1).all()
        assert np.isfinite(model.score(_X, y))


RULE = (
    "criterion='quadratic' expands the loss around the mean of a mixed row, which is known for rows that are mixed at "
    "the input with any others alike: {}. Change it, or use criterion='expected-log'."
)


@dataclass(frozen=True)
class _Near(FixedWeights):
    needs_distances = True

    def sample(self, shape, uniform, order=2, distances=None):
        return super().sample(shape, uniform, order)


@pytest.mark.parametrize(
    ("changes", "which"),
    [
        ({"at": "output"}, "`at` must be 'input'; got 'output'"),
        ({"at": None}, "`at` must be 'input'; got None"),
        ({"pool": "linear"}, "`pool` must be 'log-linear'; got 'linear'"),
        ({"label_pool": "calibrated"}, "`label_pool` must be 'linear', 'average' or 'log-linear'; got 'calibrated'"),
        (
            {"partners": NearestNeighbours(3)},
            "`partners` must be UniformPartners(); got NearestNeighbours(k=3)",
        ),
        (
            {"weights": _Near(0.5)},
            "`weights` must be a law that is the same for all groups; got _Near(first=0.5)",
        ),
    ],
)
def test_settings_without_a_mean_to_expand_around_are_refused(changes, which):
    with pytest.raises(ValueError, match=f"^{re.escape(RULE.format(which))}$"):
        replace(APPROXIMATE, **changes)


@pytest.mark.parametrize("name", ["student-t", "negative-binomial", "tweedie", "zero-inflated-poisson"])
def test_families_that_are_not_exponential_are_refused(name):
    message = (
        f"criterion='quadratic' needs the log-normalizer of an exponential family; the family {name!r} is none. Use "
        "criterion='expected-log'."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        DensityRegressor(name, APPROXIMATE, preset="plain").fit(_X, _COUNTS)


def test_the_crps_and_given_partners_are_refused():
    with pytest.raises(ValueError, match=r"or other criterion than 'expected-log'; got 'linear', 0\.0 and 'quadratic'"):
        DensityRegressor("gaussian", APPROXIMATE, loss="crps", preset="plain").fit(_X, _X[:, 0])
    message = "criterion='quadratic' needs partners that are any rows of the batch alike; leave `partners` out."
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        mixup_loss(network(), "gaussian", X, Y, APPROXIMATE, partners=torch.arange(8))
