"""The bounds of parameters: as documented, wide enough for heavy tails, and told where the targets lie beyond."""

import math
import warnings

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning

from probmix import DensityRegressor, families

FAST = {"hidden_layer_sizes": (4,), "max_epochs": 2, "random_state": 0}


def spread(sd: float, n: int = 500) -> np.ndarray:
    return np.exp(sd * np.random.default_rng(0).normal(size=n))


def coefficient_of_variation(family: families.Family, raw: torch.Tensor) -> torch.Tensor:
    distribution = family.distribution(family.constrain(raw))
    return distribution.stddev / distribution.mean


@pytest.mark.parametrize(("name", "low", "high"), [("inverse-gaussian", 1e-3, 1e6), ("gamma", 1e-3, 10.0)])
def test_bounds_of_the_coefficient_of_variation(name, low, high):
    raw = torch.tensor([[0.0, -1e6], [0.0, 1e9]], dtype=torch.float64)
    got = coefficient_of_variation(families.get(name), raw)
    torch.testing.assert_close(got, torch.tensor([low, high], dtype=torch.float64), rtol=1e-3, atol=0)
    assert f"{'10' if high == 10 else '1e6'}" in type(families.get(name)).__doc__


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_inverse_gaussians_of_any_width_are_finite_with_finite_gradients(dtype):
    family = families.get("inverse-gaussian")
    means, widths = torch.meshgrid(torch.linspace(-40, 40, 9), torch.tensor([-50.0, 0, 1e3, 1e6, 1e12]), indexing="ij")
    raw = torch.stack([means, widths], -1).reshape(-1, 2).to(dtype).requires_grad_()
    for y in (1e-3, 1.0, 1e3):
        eta = family.constrain(raw)
        loss = family.expected_nll(eta, family.point_label(torch.full((len(raw),), y, dtype=dtype)))
        (gradient,) = torch.autograd.grad(loss.sum(), raw)
        assert loss.isfinite().all()
        assert gradient.isfinite().all()


def test_a_log_sd_of_four_costs_an_inverse_gaussian_no_sixty_nats():
    y = spread(4.0, 1000)
    X = np.random.default_rng(1).normal(size=(1000, 3))
    family, targets = families.get("inverse-gaussian"), torch.from_numpy(y)
    eta = family.marginal_params(targets)
    # the parameters of largest likelihood, in closed form
    mean = targets.mean()
    shape = 1 / (1 / targets - 1 / mean).mean()
    torch.testing.assert_close(eta[0], torch.stack([-shape / (2 * mean**2), -shape / 2]), rtol=1e-9, atol=0)
    constant = family.log_prob(eta, targets).mean().item()
    model = DensityRegressor(
        "inverse-gaussian", "erm", hidden_layer_sizes=(16,), max_epochs=20, random_state=0, preset="plain"
    )
    assert constant > -6
    assert model.fit(X[:700], y[:700]).score(X[700:], y[700:]) > constant - 1


@pytest.mark.parametrize(("family", "y", "message"), [
    ("inverse-gaussian", spread(8.0), "a coefficient of variation of 3.1e+09, above its largest, 1e+06"),
    ("inverse-gaussian", spread(1e-5), "a coefficient of variation of 1.01e-05, below its smallest, 0.001"),
    ("gamma", spread(1e-5), "a coefficient of variation of 1.01e-05, below its smallest, 0.001"),
    ("gamma", np.array([1e-300, 1e-200, 1.0]), "a coefficient of variation of 19.6, above its largest, 10"),
    ("lognormal", spread(20.0), "a standard deviation of log y of 20.3, above its largest, 10"),
    ("lognormal", spread(1e-5), "a standard deviation of log y of 1.01e-05, below its smallest, 0.001"),
    ("beta", np.array([0.5, 0.50001, 0.4999, 0.5]),
     "a standard deviation, relative to the largest at its mean, of 8.99e-05, below its smallest, 0.001"),
    ("beta", np.array([2e-26, 1e-26, 3e-26]), "a mean of 2e-26, below its smallest, 3.06e-07"),
    ("negative-binomial", np.array([0.0] * 20000 + [1000.0]), "a dispersion of 2e+04, above its largest, 2.98e+03"),
    ("zero-inflated-poisson", np.array([3e13, 4e13]), "a mean of 3.5e+13, above its largest, 1.07e+13"),
    ("student-t", np.random.default_rng(0).standard_t(0.7, 3000),
     "tails heavier than those of 1.05 degrees of freedom, its fewest"),
])  # fmt: skip
def test_targets_beyond_the_bounds_are_told(family, y, message):
    assert families.get(family).beyond_bounds(torch.from_numpy(y)) == [message]


def test_fit_warns_once_and_says_of_what():
    X, y = np.linspace(-1, 1, 500)[:, None], spread(8.0)
    with pytest.warns(UserWarning, match="cannot follow") as caught:
        DensityRegressor("inverse-gaussian", "erm", **FAST, preset="plain").fit(X, y)
    told = [one for one in caught if "cannot follow" in str(one.message)]
    assert [str(one.message) for one in told] == [
        "the family 'inverse-gaussian' cannot follow the targets: they have a coefficient of variation of 3.1e+09, "
        "above its largest, 1e+06. Another family may."
    ]
    assert told[0].filename == __file__
    weights = np.ones(500)
    weights[np.argsort(y)[:100]] = 0
    weights[np.argsort(y)[-100:]] = 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ConvergenceWarning)
        DensityRegressor("inverse-gaussian", "erm", **FAST, preset="plain").fit(X, y, sample_weight=weights)


def test_constant_targets_lie_nowhere():
    for name in ("inverse-gaussian", "gamma", "lognormal", "student-t"):
        assert families.get(name).beyond_bounds(torch.full((9,), 0.1)) == []


@pytest.mark.parametrize("name", sorted(set(families.names()) - {"categorical", "multivariate-gaussian"}))
def test_ordinary_targets_lie_within(name):
    family = families.get(name)
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        y = family.distribution(family.constrain(torch.zeros(2, family.num_raw))).sample((500,)).double()
    assert family.beyond_bounds(y) == []
    assert family.beyond_bounds(y, torch.rand(500, 1, generator=generator)) == []
    assert math.isfinite(family.log_prob(family.marginal_params(y), y).sum().item())
