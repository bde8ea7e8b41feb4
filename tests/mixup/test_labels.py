"""The label side: pooled labels against their formulas, closed-form losses against quadrature over the latent label."""

import math

import numpy as np
import pytest
import torch
from families_table import draws, ordinary_params, over_families, weights_like

from probmix import log_linear_pool
from probmix.families import Categorical, ExponentialFamily, Gamma, Gaussian, Label, Poisson

Y = torch.tensor([[130.0, -120.0, 4.0], [0.3, 0.1, 2.0]], dtype=torch.float64)
POSITIVE = torch.tensor([[13.0, 0.2, 4.0], [0.3, 0.1, 2.0]], dtype=torch.float64)
COUNTS = torch.tensor([[3.0, 0.0, 17.0], [1.0, 2.0, 2.0]], dtype=torch.float64)
WEIGHTS = torch.tensor([[0.8, 0.15, 0.05], [0.2, 0.5, 0.3]], dtype=torch.float64)


def expected_statistics(family: ExponentialFamily, label: Label) -> torch.Tensor:
    statistics = family.sufficient_statistics(label.value)
    return statistics if label.excess is None else statistics + label.excess


def mean(values: torch.Tensor) -> torch.Tensor:
    return (WEIGHTS * values).sum(-1)


# -- pooled labels -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pool", ["log-linear", "average"])
@pytest.mark.parametrize("spread", [0.0, 0.3])
def test_gaussian_log_linear_label(pool: str, spread: float) -> None:
    label = Gaussian().pool_labels(Y, WEIGHTS, spread, pool)
    want = torch.stack([mean(Y), mean(Y) ** 2 + spread], -1)
    torch.testing.assert_close(expected_statistics(Gaussian(), label), want)


@pytest.mark.parametrize("spread", [0.0, 0.3])
def test_gaussian_linear_label_has_the_moments_of_the_mixture(spread: float) -> None:
    label = Gaussian().pool_labels(Y, WEIGHTS, spread, "linear")
    want = torch.stack([mean(Y), mean(Y**2 + spread)], -1)
    torch.testing.assert_close(expected_statistics(Gaussian(), label), want)


@pytest.mark.parametrize("spread", [0.0, 0.3])
def test_gamma_labels_pool_log_normal_kernels(spread: float) -> None:
    lift = math.exp(spread / 2)
    label = Gamma().pool_labels(POSITIVE, WEIGHTS, spread)
    centre = mean(POSITIVE.log())
    torch.testing.assert_close(expected_statistics(Gamma(), label), torch.stack([centre, centre.exp() * lift], -1))
    label = Gamma().pool_labels(POSITIVE, WEIGHTS, spread, "linear")
    want = torch.stack([centre, mean(POSITIVE) * lift], -1)
    torch.testing.assert_close(expected_statistics(Gamma(), label), want)
    label = Gamma().pool_labels(POSITIVE, WEIGHTS, spread, "average")
    want = torch.stack([mean(POSITIVE).log(), mean(POSITIVE) * lift], -1)
    torch.testing.assert_close(expected_statistics(Gamma(), label), want)


@pytest.mark.parametrize("pool", ["log-linear", "linear", "average"])
@pytest.mark.parametrize("spread", [0.0, 0.3])
def test_poisson_labels_are_means(pool: str, spread: float) -> None:
    label = Poisson().pool_labels(COUNTS, WEIGHTS, spread, pool)
    torch.testing.assert_close(expected_statistics(Poisson(), label), mean(COUNTS).unsqueeze(-1))
    base = Poisson().log_base_measure(label.value) + (label.log_base_excess if label.log_base_excess is not None else 0)
    own_base = Poisson().log_base_measure(mean(COUNTS))
    torch.testing.assert_close(base, own_base if pool == "average" else mean(Poisson().log_base_measure(COUNTS)))


@pytest.mark.parametrize("spread", [1e-300, 1e-32, 0.01, 0.5, 20.0])
def test_categorical_labels_pool_their_kernels(spread: float) -> None:
    y = torch.tensor([[0, 2, 2], [1, 0, 3]])
    kernels = torch.nn.functional.one_hot(y, 4).double() + spread
    log_product = (WEIGHTS.unsqueeze(-1) * kernels.log()).sum(-2)
    label = Categorical(4).pool_labels(y, WEIGHTS, spread)
    torch.testing.assert_close(label.value, log_product.softmax(-1))
    kernels = kernels / kernels.sum(-1, keepdim=True)
    label = Categorical(4).pool_labels(y, WEIGHTS, spread, "linear")
    torch.testing.assert_close(label.value, (WEIGHTS.unsqueeze(-1) * kernels).sum(-2))


def test_categorical_log_linear_label_without_spread_is_the_limit() -> None:
    y = torch.tensor([[0, 2, 2], [1, 0, 3], [0, 1, 1]])
    weights = torch.tensor([[0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.5, 0.25, 0.25]])
    limit = Categorical(4).pool_labels(y, weights, 1e-300).value
    torch.testing.assert_close(Categorical(4).pool_labels(y, weights).value, limit)
    assert Categorical(4).pool_labels(y, weights).value.tolist() == [[1, 0, 0, 0], [1, 0, 0, 0], [0.5, 0.5, 0, 0]]


def test_float32_labels_are_pooled_in_float64() -> None:
    label = Gaussian().pool_labels(Y.float(), WEIGHTS.float(), 0.1, "linear")
    assert label.value.dtype == label.excess.dtype == label.log_base_excess.dtype == torch.float64


@over_families
def test_unknown_label_pool(family: ExponentialFamily) -> None:
    with pytest.raises(ValueError, match="label pool") as error:
        family.pool_labels(torch.ones(1, 2), torch.full((1, 2), 0.5), pool="liner")
    assert str(error.value) == "unknown label pool 'liner'; did you mean 'linear' or 'log-linear'?"


# -- losses ------------------------------------------------------------------------------------------------------------

NODES, NODE_WEIGHTS = (torch.from_numpy(a) for a in np.polynomial.hermite_e.hermegauss(60))
NODE_WEIGHTS = NODE_WEIGHTS / NODE_WEIGHTS.sum()


def latent(family: ExponentialFamily, centre: torch.Tensor, spread: float) -> torch.Tensor:
    """Quadrature points (*B, 60) of the label kernel around `centre`."""
    steps = math.sqrt(spread) * NODES
    return centre.unsqueeze(-1) * steps.exp() if family == Gamma() else centre.unsqueeze(-1) + steps


@pytest.mark.parametrize("spread", [0.01, 0.7])
@pytest.mark.parametrize("family", [Gaussian(), Gamma()], ids=repr)
def test_closed_form_loss_is_the_expectation_over_the_latent_label(family: ExponentialFamily, spread: float) -> None:
    eta = ordinary_params(family, 2)
    y = POSITIVE

    def expected(centre: torch.Tensor) -> torch.Tensor:
        points = latent(family, centre, spread)
        parameters = eta.reshape(2, *(1,) * (points.ndim - 1), 2)
        return -(NODE_WEIGHTS * family.log_prob(parameters.expand(*points.shape, 2), points)).sum(-1)

    centre = mean(y) if family == Gaussian() else mean(y.log()).exp()
    for pool, want in (
        ("log-linear", expected(centre)),
        ("average", expected(mean(y))),
        ("linear", mean(expected(y))),
    ):
        got = family.expected_nll(eta, family.pool_labels(y, WEIGHTS, spread, pool))
        torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("pool", ["log-linear", "linear"])
def test_categorical_loss_is_the_cross_entropy_of_the_label(pool: str) -> None:
    eta = ordinary_params(Categorical(4), 2)
    label = Categorical(4).pool_labels(torch.tensor([[0, 2, 2], [1, 0, 3]]), WEIGHTS, 0.2, pool)
    want = -sum(
        label.value[:, k] * Categorical(4).log_prob(eta, torch.full((2,), k, dtype=torch.float64)) for k in range(4)
    )
    torch.testing.assert_close(Categorical(4).expected_nll(eta, label), want)


@pytest.mark.parametrize("pool", ["log-linear", "linear", "average", "calibrated"])
def test_losses_of_narrow_gaussians_are_accurate_in_float32(pool: str) -> None:
    """The whole path in float32 (link, pool, loss) at a standard deviation of 1e-3 in standardised units."""
    generator = torch.Generator().manual_seed(0)
    raw = torch.stack([2 * torch.randn(5000, 2, generator=generator), torch.full((5000, 2), -40.0)], -1)
    raw[:, 1, 0] = raw[:, 0, 0] + 1e-3 * torch.randn(5000, generator=generator)
    y = raw[..., 0] + 1e-3 * torch.randn(5000, 2, generator=generator)
    share = torch.rand(5000, 1, generator=generator)
    weights = torch.cat([share, 1 - share], -1)

    def loss(raw: torch.Tensor, weights: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        points = Gaussian().constrain(raw)
        eta = log_linear_pool(points, weights)
        if pool == "calibrated":
            label = Gaussian().calibrated_label(y, weights, eta, eta_points=points)
        else:
            label = Gaussian().pool_labels(y, weights, 1e-8, pool)
        return Gaussian().expected_nll(eta, label)

    single, double = loss(raw, weights, y), loss(raw.double(), weights.double(), y.double())
    assert single.dtype == torch.float32
    assert (single - double).abs().max() < 1e-3
    # given the rounded parameters, only the result is rounded
    eta = Gaussian().constrain(raw)[:, 0]
    label = Gaussian().pool_labels(y, weights, 1e-8, "linear")
    torch.testing.assert_close(
        Gaussian().expected_nll(eta, label).double(), Gaussian().expected_nll(eta.double(), label), rtol=1e-6, atol=1e-6
    )


@over_families
def test_labels_of_identical_points_are_the_point(family: ExponentialFamily) -> None:
    eta = ordinary_params(family, 5)
    y = draws(family, eta)
    same = y.unsqueeze(-1).expand(5, 3)
    for pool in ("log-linear", "linear", "average"):
        loss = family.expected_nll(eta, family.pool_labels(same, weights_like((5, 3)), pool=pool))
        torch.testing.assert_close(loss, -family.log_prob(eta, y))
