"""Families of counts in the estimators: negative binomial, zero-inflated, hurdle; linear pools."""

import math

import numpy as np
import pytest
import torch
from families_table import draws

import probmix
from probmix import DensityRegressor, NaturalHead, families, linear_pool
from probmix.families import ExponentialFamily, FixedNegativeBinomial, Hurdle, NegativeBinomial, ZeroInflated
from probmix.mixup import Mixup, mixup_loss, preset
from probmix.scores import crps, nll
from probmix.testing import check_family

LINEAR = ["negative-binomial", "zero-inflated-poisson", "zero-inflated-negative-binomial", "hurdle-poisson"]
LINEAR += ["hurdle-negative-binomial"]
NAMES = [*LINEAR, "fixed-negative-binomial"]
over_names = pytest.mark.parametrize("name", NAMES)
FAST = {"hidden_layer_sizes": (8,), "max_epochs": 4, "random_state": 0}


def simulate(name: str, n: int = 200, targets: tuple[int, ...] = ()) -> tuple[np.ndarray, np.ndarray]:
    family = families.get(name)
    x = np.random.default_rng(0).uniform(-1, 1, (n, 1))
    raw = torch.zeros(n, *targets, family.num_raw, dtype=torch.float64)
    place = 1 if isinstance(family, ZeroInflated | Hurdle) else 0
    raw[..., place] = 1 + torch.from_numpy(x).reshape(-1, *(1 for _ in targets))
    return x, draws(family, family.constrain(raw)).numpy()


# -- the families themselves -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", [*NAMES, "poisson"])
def test_contracts(name, seed):
    check_family(families.get(name), seed)


@pytest.mark.parametrize("dispersion", [1e-6, 1e-3, 3.0, 20.0])
def test_contracts_of_fixed_dispersions(dispersion):
    check_family(FixedNegativeBinomial(dispersion))


@pytest.mark.parametrize("base", [FixedNegativeBinomial(0.5), NegativeBinomial()])
def test_any_family_of_counts_can_have_zeros_of_its_own(base):
    check_family(ZeroInflated(base))
    check_family(Hurdle(base))


def test_families_made_of_others_are_saved(tmp_path):
    x, y = simulate("negative-binomial")
    for family in (ZeroInflated(FixedNegativeBinomial(0.5)), Hurdle(FixedNegativeBinomial(0.5))):
        model = DensityRegressor(family, **FAST, preset="plain").fit(x, y)
        model.save(tmp_path / family.name)
        loaded = probmix.load(tmp_path / family.name)
        assert loaded.family_ == family
        np.testing.assert_array_equal(loaded.predict(x), model.predict(x))
    assert families.get("hurdle-fixed-negative-binomial") == Hurdle(FixedNegativeBinomial(1.0))


@over_names
def test_only_families_with_natural_parameters_pool_log_linearly(name):
    family = families.get(name)
    assert family.pools_log_linearly is isinstance(family, ExponentialFamily) is (name not in LINEAR)
    assert family.is_discrete
    assert not families.get("gamma").is_discrete


def test_the_pool_of_fixed_dispersions_is_the_product_of_powers():
    family = FixedNegativeBinomial(0.7)
    eta, weights = family.constrain(torch.tensor([[1.0], [3.0]]).double()), torch.tensor([0.3, 0.7]).double()
    k = torch.arange(2000, dtype=torch.float64).unsqueeze(-1)
    product = (weights * family.log_prob(eta.expand(2000, 2, 1), k.expand(2000, 2))).sum(-1).softmax(0)
    pooled = probmix.log_linear_pool(eta, weights)
    torch.testing.assert_close(family.log_prob(pooled.expand(2000, 1), k[:, 0]).exp(), product, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: FixedNegativeBinomial(0.0), "`dispersion` must be positive and finite; got 0.0. For 0 use the family"),
        (
            lambda: families.get("negative-binomial").check_targets(torch.tensor([1.0, -1.0])),
            "negative binomial targets",
        ),
        (lambda: families.get("hurdle-poisson").check_targets(torch.tensor([0.5])), "hurdle-poisson targets must be"),
        (lambda: families.get("hurdle-poisson").expose(torch.zeros(1, 2), torch.zeros(1)), "the family 'hurdle-"),
        (lambda: families.get("gamma").expose(torch.zeros(1, 2), torch.zeros(1)), "an exposure belongs to counts"),
        (
            lambda: families.get("negative-binomial").pool_labels(torch.ones(1, 2), torch.ones(1, 2) / 2, spread=0.1),
            "the family 'negative-binomial' has no label kernel: `label_spread` must be 0, got 0.1",
        ),
    ],
)
def test_errors_of_families(call, message):
    with pytest.raises(ValueError, match=r"must|belongs|exposure") as error:
        call()
    assert str(error.value).startswith(message)


# -- estimators --------------------------------------------------------------------------------------------------------


@over_names
@pytest.mark.parametrize(
    "params",
    [{}, {"mixup": "mixup"}, {"mixup": "m-probmix", "n_draws": 3}, {"mixup": "local-probmix", "n_members": 2}],
    ids=["probmix", "mixup", "m-probmix", "two members"],
)
def test_regressors_fit_predict_and_persist(tmp_path, name, params):
    x, y = simulate(name)
    model = DensityRegressor(name, **FAST, **params, preset="plain").fit(x, y)
    mean, interval = model.predict(x), model.predict_interval(x, 0.9)
    assert np.isfinite(mean).all()
    assert (interval[:, 0] <= interval[:, 1]).all()
    families.get(name).check_targets(torch.from_numpy(model.sample(x, 2, random_state=0)))
    assert math.isfinite(model.score(x, y))
    distribution = model.predict_dist(x)
    assert crps(distribution, torch.from_numpy(y)).isfinite().all()
    np.testing.assert_allclose(-nll(distribution, torch.from_numpy(y)).numpy(), model.log_prob(x, y), rtol=1e-9)
    model.save(tmp_path / "model")
    loaded = probmix.load(tmp_path / "model")
    assert loaded.family_ == model.family_
    np.testing.assert_array_equal(loaded.predict(x), mean)


@over_names
def test_regressors_learn(name):
    family = families.get(name)
    x, y = simulate(name, 600)
    settings = {"hidden_layer_sizes": (), "max_epochs": 25, "learning_rate": 0.02, "random_state": 0}
    model = DensityRegressor(name, "probmix", **settings, preset="plain").fit(x, y)
    marginal = family.distribution(family.marginal_params(torch.from_numpy(y)))
    assert model.score(x, y) > marginal.log_prob(torch.from_numpy(y)).mean().item() + 0.02


def test_several_targets():
    x, y = simulate("negative-binomial", targets=(2,))
    model = DensityRegressor("negative-binomial", **FAST, preset="plain").fit(x, y)
    assert model.predict_interval(x).shape == (200, 2, 2)


def test_a_dispersion_is_found():
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (3000, 1))
    mean = np.exp(1 + x[:, 0])
    y = rng.negative_binomial(2.0, 2 / (2 + mean))
    settings = {"hidden_layer_sizes": (), "max_epochs": 20, "learning_rate": 0.02, "random_state": 0}
    model = DensityRegressor("negative-binomial", "erm", **settings, preset="plain").fit(x, y)
    dispersion = model.predict_natural_params([[0.0]])[0, 1].exp().item()
    assert dispersion == pytest.approx(0.5, rel=0.15)
    poisson = DensityRegressor("poisson", "erm", **settings, preset="plain").fit(x, y)
    assert model.score(x, y) > poisson.score(x, y) + 0.2


@pytest.mark.parametrize("name", LINEAR)
def test_densities_without_natural_parameters_pool_to_a_mixture(name):
    """The loss of ProbMix is that of the mixture at either label; with label "average" that of their mean."""
    family, draw = families.get(name), torch.Generator().manual_seed(0)
    x, y = torch.randn(12, 3, generator=draw), torch.randint(0, 5, (12,), generator=draw).float()
    network = NaturalHead(name, 3)
    partners, weights = torch.randperm(12, generator=draw), preset("probmix").weights
    generator = torch.Generator().manual_seed(1)
    loss = mixup_loss(network, name, x, y, "probmix", partners=partners, generator=generator)
    w = weights.sample((12,), lambda shape: torch.rand(shape, generator=torch.Generator().manual_seed(1)))
    eta = network(x)
    mixture = linear_pool(family.distribution(torch.stack([eta, eta[partners]], 1).double()), w.double())
    want = (w * torch.stack([nll(mixture, y), nll(mixture, y[partners])], -1)).sum(-1).mean()
    torch.testing.assert_close(loss.double(), want, rtol=1e-5, atol=0)
    generator = torch.Generator().manual_seed(1)
    averaged = Mixup(at="output", label_pool="average")
    loss = mixup_loss(network, name, x, y, averaged, partners=partners, generator=generator)
    label = (w * torch.stack([y, y[partners]], -1)).sum(-1)
    single = torch.stack([family.log_prob(one.double(), label.double()) for one in (eta, eta[partners])], -1)
    torch.testing.assert_close(loss.double(), -(w.log() + single).logsumexp(-1).mean(), rtol=1e-5, atol=0)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"pool": "log-linear"}, "`pool` is 'log-linear', but the family 'negative-binomial' is no exponential family"),
        (
            {"mixup": preset("probmix", label_pool="calibrated")},
            "the family 'negative-binomial' is no exponential family and has neither calibrated labels nor a label",
        ),
        ({"mixup": preset("probmix", label_spread=0.1)}, "the family 'negative-binomial' is no exponential family and"),
    ],
)
def test_what_needs_an_exponential_family(params, message):
    x, y = simulate("negative-binomial")
    with pytest.raises(ValueError, match="exponential family") as error:
        DensityRegressor("negative-binomial", **FAST, **params, preset="plain").fit(x, y)
    assert str(error.value).startswith(message)
