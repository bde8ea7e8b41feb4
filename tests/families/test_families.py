"""Densities, moments and links of the families against SciPy and mpmath, over one table of rows."""

import pickle

import numpy as np
import pytest
import torch
from families_table import (
    FAMILIES,
    Row,
    draws,
    exact_log_prob,
    ordinary_params,
    over_families,
    over_ordinary_rows,
    over_rows,
    scipy_log_prob,
    scipy_mean_params,
)

from probmix import families
from probmix.families import Categorical, ExponentialFamily, Gamma, Gaussian, Poisson, TargetScaler


def assert_relative(got: torch.Tensor, want: object, tolerance: float) -> None:
    """|got - want| <= tolerance max(1, |want|)."""
    want = torch.as_tensor(want, dtype=torch.float64)
    error = ((got.double() - want).abs() / want.abs().clamp(min=1)).max().item()
    assert error <= tolerance, f"{got.tolist()} against {want.tolist()}: relative error {error:.2g}"


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)], ids=str)
@over_rows
def test_log_prob_is_exact(row: Row, dtype: torch.dtype, tolerance: float) -> None:
    eta, y = row.tensors(dtype)
    want = [exact_log_prob(row.family, eta[0].tolist(), value) for value in y.tolist()]
    assert_relative(row.family.log_prob(eta, y), want, tolerance)
    assert row.family.log_prob(eta, y).dtype == dtype


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@over_rows
def test_distribution_log_prob_is_that_of_the_family(row: Row, dtype: torch.dtype) -> None:
    eta, y = row.tensors(torch.float64)
    assert_relative(row.family.distribution(eta).log_prob(y), row.family.log_prob(eta, y), 1e-9)
    if row.ordinary:
        eta, y = row.tensors(dtype)
        assert_relative(row.family.distribution(eta).log_prob(y), row.family.log_prob(eta, y), 1e-4)


@over_ordinary_rows
def test_log_prob_agrees_with_scipy(row: Row) -> None:
    eta, y = row.tensors(torch.float64)
    assert_relative(row.family.log_prob(eta, y), scipy_log_prob(row.family, row.eta, y.numpy()), 1e-10)


@over_rows
def test_mean_params_are_expectations_and_the_gradient_of_the_log_normalizer(row: Row) -> None:
    eta = torch.tensor(row.eta, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(row.family.log_normalizer(eta), eta)
    want = scipy_mean_params(row.family, row.eta)
    assert_relative(row.family.mean_params(eta).detach(), want, 1e-12)
    # A of a narrow Gaussian is a difference of large numbers; its gradient keeps 10 digits all the same
    assert_relative(gradient, want, 1e-10)


@over_families
def test_gradcheck_of_the_log_density(family: ExponentialFamily) -> None:
    eta = ordinary_params(family, 4)
    y = draws(family, eta)
    assert torch.autograd.gradcheck(lambda eta: family.log_prob(eta, y), eta.requires_grad_())
    if isinstance(family, Gaussian | Gamma):
        assert torch.autograd.gradcheck(family.log_prob, (eta, (y + 0.1).requires_grad_()))


@over_rows
def test_gradient_of_the_log_density_is_the_residual_statistic(row: Row) -> None:
    eta, y = row.tensors(torch.float64)
    eta = eta.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(row.family.log_prob(eta, y).sum(), eta)
    assert_relative(gradient, row.family.sufficient_statistics(y) - row.family.mean_params(eta.detach()), 1e-8)


@over_rows
def test_residuals_do_not_cancel(row: Row) -> None:
    """Against the gradient that autograd finds through the residual form of the density; at extremes as well."""
    eta, y = row.tensors(torch.float64)
    wide = eta.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(row.family._log_prob(wide, y).sum(), wide)
    assert_relative(row.family.residual(eta, y), gradient, 1e-8)
    single = eta.float().requires_grad_()
    (narrow,) = torch.autograd.grad(row.family.expected_nll(single, row.family.point_label(y)).sum(), single)
    rounded = eta.float().double().requires_grad_()
    (exact,) = torch.autograd.grad(-row.family._log_prob(rounded, y).sum(), rounded)
    assert_relative(narrow.double(), exact, 1e-6)


@over_families
def test_the_gradient_of_the_loss_is_differentiable_and_works_under_torch_func(family: ExponentialFamily) -> None:
    eta = ordinary_params(family, 4)
    y = torch.stack([draws(family, eta), draws(family, eta)], -1)
    label = family.pool_labels(y, torch.full_like(y, 0.5, dtype=torch.float64), pool="linear")

    def loss(eta: torch.Tensor) -> torch.Tensor:
        return family.expected_nll(eta, label)

    assert torch.autograd.gradcheck(loss, eta.clone().requires_grad_())
    assert torch.autograd.gradgradcheck(loss, eta.clone().requires_grad_())
    # one row of natural parameters for many labels
    row = eta[0].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(row).sum(), row)
    torch.testing.assert_close(gradient, torch.func.grad(lambda eta: loss(eta).sum())(row.detach()))
    shifts = torch.linspace(0, 0.1, 3, dtype=torch.float64)
    at_once = torch.func.vmap(torch.func.grad(lambda shift: loss(eta * (1 + shift)).sum()))(shifts)
    for shift, got in zip(shifts, at_once, strict=True):
        want = torch.func.grad(lambda shift: loss(eta * (1 + shift)).sum())(shift)
        torch.testing.assert_close(got, want)


def test_labels_of_a_loss_may_want_a_gradient() -> None:
    y = torch.tensor([1.0, -2.0], dtype=torch.float64, requires_grad=True)
    eta = torch.tensor([[0.5, -0.5], [1.0, -2.0]], dtype=torch.float64, requires_grad=True)
    family = families.get("gaussian")
    found = torch.autograd.grad(family.expected_nll(eta, family.point_label(y)).sum(), (eta, y))
    want = torch.autograd.grad(-family.log_prob(eta, y).sum(), (eta, y))
    torch.testing.assert_close(found, want)


def test_shapes_follow_the_law() -> None:
    for family in FAMILIES:
        eta = ordinary_params(family, 3, 2)
        y = draws(family, eta)
        assert eta.shape == (3, 2, family.num_params)
        assert family.distribution(eta).batch_shape == y.shape == family.log_prob(eta, y).shape == (3, 2)
        assert family.mean_params(eta).shape == family.sufficient_statistics(y).shape == eta.shape
        assert family.marginal_params(y, dim=0).shape == (1, 2, family.num_params)
        assert family.marginal_params(y, dim=-1).shape == (3, 1, family.num_params)


@over_families
def test_families_compare_by_value_and_pickle(family: ExponentialFamily) -> None:
    assert pickle.loads(pickle.dumps(family)) == family
    assert len({family, pickle.loads(pickle.dumps(family))}) == 1
    assert Categorical(2) != Categorical(3)


def test_links_reach_their_documented_limits() -> None:
    raw = torch.tensor([[-3e38, -3e38], [3e38, 3e38], [0.0, 0.0]])
    gaussian = Gaussian().distribution(Gaussian().constrain(raw))
    torch.testing.assert_close(gaussian.mean[:2], torch.tensor([-1e6, 1e6]))
    torch.testing.assert_close(gaussian.stddev[:2], torch.tensor([1e-3, 1e6]))
    torch.testing.assert_close(
        Poisson().constrain(raw[:, :1]), torch.tensor([[-20.0], [30.0], [0.0]]), atol=1e-6, rtol=0
    )
    gamma = Gamma().distribution(Gamma().constrain(raw))
    torch.testing.assert_close(gamma.mean[:2].log(), torch.tensor([-30.0, 30.0]), atol=1e-5, rtol=0)
    torch.testing.assert_close(gamma.concentration[:2], torch.tensor([1e6, 1e-2]), rtol=1e-4, atol=0)
    assert Categorical(2).constrain(raw)[:2].tolist() == [[-1e6, -1e6], [1e6, 1e6]]


def test_links_are_inverted_over_their_range() -> None:
    raw = torch.tensor([-6.0, -1.0, 0.0, 3.0, 25.0, 1e3, 1e5], dtype=torch.float64)
    raw = torch.cartesian_prod(raw, raw)
    torch.testing.assert_close(Gaussian().unconstrain(Gaussian().constrain(raw)), raw, rtol=1e-6, atol=1e-6)
    raw = raw.clamp(max=20)
    torch.testing.assert_close(Gamma().unconstrain(Gamma().constrain(raw)), raw, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(Poisson().unconstrain(Poisson().constrain(raw[:, :1])), raw[:, :1], rtol=1e-6, atol=1e-6)


# -- target units ------------------------------------------------------------------------------------------------------


def test_gaussian_targets_are_standardised() -> None:
    y = torch.tensor([1.0, 3.0, 8.0]).double()
    scaler = Gaussian().scaler(y)
    assert scaler.loc.item() == pytest.approx(4.0)
    assert scaler.scale.item() == pytest.approx(np.std([1, 3, 8]))
    torch.testing.assert_close(scaler.transform(y).std(correction=0), torch.tensor(1.0).double())
    # constant targets have the unit of their size
    assert Gaussian().scaler(torch.full((5,), -7.0)).scale.item() == 7
    assert Gaussian().scaler(torch.zeros(5)).scale.item() == 1


def test_gamma_targets_are_divided_by_their_mean() -> None:
    scaler = Gamma().scaler(torch.tensor([1.0, 3.0, 8.0]))
    assert (scaler.loc.item(), scaler.scale.item()) == (0.0, 4.0)


@pytest.mark.parametrize("family", [Poisson(), Categorical(3)], ids=repr)
def test_counts_and_classes_keep_their_unit(family: ExponentialFamily) -> None:
    scaler = family.scaler(torch.tensor([0.0, 1.0, 2.0]))
    assert (scaler.loc.item(), scaler.scale.item()) == (0.0, 1.0)


@over_families
def test_sample_weights_count_rows(family: ExponentialFamily) -> None:
    eta = ordinary_params(family, 1).expand(20, -1)
    y = draws(family, eta)
    counts = torch.arange(20) % 4
    repeated = y.repeat_interleave(counts)
    weighted, plain = family.scaler(y, counts), family.scaler(repeated)
    torch.testing.assert_close((weighted.loc, weighted.scale), (plain.loc, plain.scale))
    torch.testing.assert_close(family.marginal_params(y, counts), family.marginal_params(repeated))


def test_rescaled_means_may_lie_far_from_zero() -> None:
    """A mean 1e7 standard deviations from zero: 1e-3 of a training unit at a location of 1e4 units."""
    scaler = TargetScaler(torch.tensor([1e6]).double(), torch.tensor([1e2]).double())
    eta = Gaussian().constrain(torch.tensor([[0.25, -100.0]]))
    distribution = Gaussian().distribution(Gaussian().rescale(eta, scaler))
    assert distribution.mean.dtype == torch.float64
    assert distribution.mean.item() == pytest.approx(1e6 + 25, abs=1e-4)
    assert distribution.stddev.item() == pytest.approx(0.1, rel=1e-6)


def test_rescale_broadcasts_scalers_against_parameters() -> None:
    scaler = TargetScaler(torch.zeros(1, 2).double(), torch.tensor([[2.0, 5.0]]).double())
    for family in (Gaussian(), Gamma()):
        rescaled = family.rescale(ordinary_params(family, 2), scaler)
        assert rescaled.shape == (1, 2, 2)
        ratio = family.distribution(rescaled).stddev[0] / family.distribution(ordinary_params(family, 2)).stddev
        torch.testing.assert_close(ratio, scaler.scale[0])


@pytest.mark.parametrize(
    ("family", "y", "message"),
    [
        (
            Gaussian(),
            [0.0, float("inf")],
            "Gaussian targets must be finite; got inf at row 1. Drop or impute these rows.",
        ),
        (
            Poisson(),
            [1.0, 2.5],
            "Poisson targets must be non-negative integers; got 2.5 at row 1. Use counts, or a family for real targets "
            "such as 'gamma' or 'gaussian'.",
        ),
        (
            Gamma(),
            [[1.0, 2.0], [0.0, 3.0]],
            "Gamma targets must be positive; got 0 at index (1, 0). For targets with exact zeros take "
            "'zero-adjusted-gamma' or 'tweedie'.",
        ),
        (
            Categorical(3),
            [0.0, 3.0, 1.0],
            "Categorical targets must be class indices 0 .. 2; got 3 at row 1. Encode the classes first, for example "
            "with sklearn.preprocessing.LabelEncoder.",
        ),
    ],
    ids=lambda value: value.name if isinstance(value, ExponentialFamily) else "",
)
def test_targets_outside_the_support(family: ExponentialFamily, y: list[float], message: str) -> None:
    with pytest.raises(ValueError, match="must be") as error:
        family.check_targets(torch.tensor(y))
    assert str(error.value) == message


def test_integer_targets_are_targets() -> None:
    for family in (Poisson(), Categorical(3)):
        family.check_targets(torch.tensor([0, 1, 2]))
        assert family.log_prob(ordinary_params(family, 3), torch.tensor([0, 1, 2])).shape == (3,)


# -- the registry ------------------------------------------------------------------------------------------------------


def test_families_are_found_by_name() -> None:
    assert families.names() == [
        "bernoulli",
        "beta",
        "beta-mixture",
        "categorical",
        "exponential",
        "fixed-negative-binomial",
        "gamma",
        "gamma-mixture",
        "gaussian",
        "gaussian-mixture",
        "histogram",
        "hurdle-negative-binomial",
        "hurdle-poisson",
        "inverse-gaussian",
        "lognormal",
        "lognormal-mixture",
        "multivariate-gaussian",
        "negative-binomial",
        "negative-binomial-mixture",
        "poisson",
        "poisson-mixture",
        "student-t",
        "tweedie",
        "zero-adjusted-gamma",
        "zero-adjusted-lognormal",
        "zero-inflated-negative-binomial",
        "zero-inflated-poisson",
    ]
    assert families.get("gamma") == Gamma()
    assert families.get("categorical", num_classes=4) == Categorical(4)
    family = Categorical(2)
    assert families.get(family) is family


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gausian", "unknown family 'gausian'; did you mean 'gaussian' or 'inverse-gaussian' or 'gaussian-mixture'?"),
        ("Gama", "unknown family 'Gama'; did you mean 'gamma'?"),
        ("zipf", f"unknown family 'zipf'; known are {', '.join(map(repr, families.names()))}."),
    ],
)
def test_unknown_family(name: str, message: str) -> None:
    with pytest.raises(ValueError, match="unknown family") as error:
        families.get(name)
    assert str(error.value) == message


def test_taken_names() -> None:
    families.register("gaussian", Gaussian)  # the same again is no conflict
    with pytest.raises(
        ValueError, match=r"the family name 'gaussian' is taken by .*Gaussian'>\. Choose another name\."
    ):
        families.register("gaussian", Gamma)


def test_categorical_needs_two_classes() -> None:
    with pytest.raises(ValueError, match=r"`num_classes` must be at least 2, got 1\."):
        Categorical(1)


def test_categorical_parameters_come_from_categoricals_only() -> None:
    with pytest.raises(TypeError, match=r"`distribution` must be a Categorical, got Normal\."):
        Categorical(2).natural_params(torch.distributions.Normal(0.0, 1.0))
