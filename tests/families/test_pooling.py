"""Linear and log-linear pools: values, theorems, invariances, shapes and errors."""

import math

import pytest
import torch
from families_table import FAMILIES, draws, ordinary_params, over_families, weights_like
from hypothesis import given, settings
from hypothesis import strategies as st

from probmix import families, linear_pool, log_linear_pool
from probmix.distributions import Mixture
from probmix.families import Categorical, ExponentialFamily, Gaussian
from probmix.pooling import check_weights

repeatable = settings(derandomize=True, database=None, deadline=None, max_examples=30)
over_members = st.integers(2, 6)
over_seeds = st.integers(0, 2**31)


# -- log-linear --------------------------------------------------------------------------------------------------------


def test_worked_example() -> None:
    """Y = x^3 + (0.5 x^2 + 1) eps at (5, 130), (-5, -120), weight 0.8: the mixed label is 80."""
    gaussian = families.get("gaussian")
    wide = {"dtype": torch.float64}
    weights = torch.tensor([0.8, 0.2], **wide)
    label = gaussian.pool_labels(torch.tensor([130.0, -120.0], **wide), weights)
    assert label.value.item() == pytest.approx(80)

    mixup = torch.distributions.Normal(torch.tensor(27.0, **wide), torch.tensor(30.25, **wide).sqrt())
    assert gaussian.expected_nll(gaussian.natural_params(mixup), label).item() == pytest.approx(49.05, abs=0.005)

    single = torch.distributions.Normal(torch.tensor([125.0, -125.0], **wide), torch.tensor(13.5, **wide))
    pooled = gaussian.distribution(log_linear_pool(gaussian.natural_params(single), weights))
    assert (pooled.mean.item(), pooled.variance.item()) == pytest.approx((75, 182.25))
    assert -pooled.log_prob(label.value).item() == pytest.approx(3.59, abs=0.005)
    assert (-single.log_prob(torch.tensor([130.0, -120.0], **wide))).tolist() == pytest.approx([3.59, 3.59], abs=0.005)


def test_gaussians_are_pooled_by_precision() -> None:
    mean, variance, weights = (
        torch.tensor([1.0, -2.0, 5.0]),
        torch.tensor([0.3, 2.0, 1.0]),
        torch.tensor([0.2, 0.5, 0.3]),
    )
    eta = Gaussian().natural_params(torch.distributions.Normal(mean, variance.sqrt()))
    pooled = Gaussian().distribution(log_linear_pool(eta, weights))
    precision = (weights / variance).sum()
    torch.testing.assert_close(pooled.variance, 1 / precision)
    torch.testing.assert_close(pooled.mean, (weights * mean / variance).sum() / precision)


def test_poisson_rates_are_pooled_geometrically_and_gamma_parameters_linearly() -> None:
    weights = torch.tensor([0.25, 0.75])
    poisson, gamma = families.get("poisson"), families.get("gamma")
    eta = poisson.natural_params(torch.distributions.Poisson(torch.tensor([2.0, 7.0])))
    assert poisson.distribution(log_linear_pool(eta, weights)).rate.item() == pytest.approx(2**0.25 * 7**0.75)
    eta = gamma.natural_params(torch.distributions.Gamma(torch.tensor([2.0, 6.0]), torch.tensor([1.0, 3.0])))
    pooled = gamma.distribution(log_linear_pool(eta, weights))
    assert (pooled.concentration.item(), pooled.rate.item()) == pytest.approx((5.0, 2.5))


@repeatable
@given(over_seeds, over_members)
def test_pool_of_categoricals_is_mixup_of_logits(seed: int, members: int) -> None:
    """Theorem 4.3: the normalised product of powers has the weighted mean of the logits."""
    logits, weights = ordinary_params(Categorical(4), 3, members, seed=seed), weights_like((3, members), seed)
    probabilities = Categorical(4).distribution(log_linear_pool(logits, weights)).probs
    product = (logits.softmax(-1) ** weights.unsqueeze(-1)).prod(-2)
    torch.testing.assert_close(probabilities, product / product.sum(-1, keepdim=True))


@repeatable
@given(over_seeds, over_members, st.floats(0.01, 100))
def test_pool_of_homoscedastic_gaussians_is_mixup_of_means(seed: int, members: int, sd: float) -> None:
    """Theorem 4.4."""
    mean, weights = ordinary_params(Gaussian(), 3, members, seed=seed)[..., 0], weights_like((3, members), seed)
    eta = Gaussian().natural_params(torch.distributions.Normal(mean, sd))
    pooled = Gaussian().distribution(log_linear_pool(eta, weights))
    torch.testing.assert_close(pooled.mean, (weights * mean).sum(-1))
    torch.testing.assert_close(pooled.stddev, torch.full_like(pooled.mean, sd))


@over_families
@repeatable
@given(seed=over_seeds, members=over_members)
def test_pool_of_identical_points_is_the_point(family: ExponentialFamily, seed: int, members: int) -> None:
    eta = ordinary_params(family, 3, seed=seed)
    same = eta.unsqueeze(-2).expand(3, members, -1)
    torch.testing.assert_close(log_linear_pool(same, weights_like((3, members), seed)), eta)


@over_families
@repeatable
@given(seed=over_seeds, members=over_members)
def test_the_order_of_the_points_does_not_matter(family: ExponentialFamily, seed: int, members: int) -> None:
    eta, weights = ordinary_params(family, 3, members, seed=seed), weights_like((3, members), seed)
    order = torch.randperm(members, generator=torch.Generator().manual_seed(seed))
    permuted = log_linear_pool(eta[:, order], weights[:, order])
    torch.testing.assert_close(permuted, log_linear_pool(eta, weights))


@over_families
@repeatable
@given(seed=over_seeds, members=over_members)
def test_the_pool_never_leaves_the_domain(family: ExponentialFamily, seed: int, members: int) -> None:
    extreme = 1e4 * (ordinary_params(Gaussian(), 3, members, family.num_raw, seed=seed)[..., 0]).sign()
    pooled = log_linear_pool(family.constrain(extreme.float()), weights_like((3, members), seed).float())
    family.distribution(pooled)  # validates its arguments
    assert bool(family.log_normalizer(pooled.double()).isfinite().all())


def test_pools_of_pools_are_pools() -> None:
    eta, weights = ordinary_params(Gaussian(), 5), weights_like((5,))
    left = log_linear_pool(eta[:2], weights[:2] / weights[:2].sum())
    right = log_linear_pool(eta[2:], weights[2:] / weights[2:].sum())
    nested = log_linear_pool(torch.stack([left, right]), torch.stack([weights[:2].sum(), weights[2:].sum()]))
    torch.testing.assert_close(nested, log_linear_pool(eta, weights))


def test_weights_broadcast_over_leading_axes() -> None:
    eta, weights = ordinary_params(Gaussian(), 4, 3), weights_like((3,))
    torch.testing.assert_close(log_linear_pool(eta, weights)[2], log_linear_pool(eta[2], weights))
    eta, weights = ordinary_params(Gaussian(), 5, 5, 3), weights_like((5, 3))
    torch.testing.assert_close(log_linear_pool(eta, weights)[2, 4], log_linear_pool(eta[2, 4], weights[4]))
    torch.testing.assert_close(log_linear_pool(eta[0, 0], weights)[4], log_linear_pool(eta[0, 0], weights[4]))


# -- linear ------------------------------------------------------------------------------------------------------------


@over_families
def test_linear_pool_is_the_mixture(family: ExponentialFamily) -> None:
    eta, weights = ordinary_params(family, 6, 3), weights_like((6, 3))
    y = draws(family, eta)[:, 0]
    want = (weights.log() + family.log_prob(eta, y.unsqueeze(-1).expand(6, 3))).logsumexp(-1)
    pooled = linear_pool(family.distribution(eta), weights)
    assert pooled.batch_shape == (6,)
    torch.testing.assert_close(pooled.log_prob(y), want)


def test_linear_pool_of_categoricals_is_categorical() -> None:
    eta, weights = ordinary_params(Categorical(5), 6, 3), weights_like((6, 3))
    weights[0] = torch.tensor([0.0, 1.0, 0.0])
    pooled = linear_pool(Categorical(5).distribution(eta), weights)
    assert isinstance(pooled, torch.distributions.Categorical)
    torch.testing.assert_close(pooled.probs, (weights.unsqueeze(-1) * eta.softmax(-1)).sum(-2))


@over_families
def test_linear_pool_of_several_targets(family: ExponentialFamily) -> None:
    """The members share one component for all targets of a row, but a categorical has no dependence to keep."""
    eta, weights = ordinary_params(family, 6, 3, 2), weights_like((6, 3))
    y = draws(family, eta)[:, 0]
    pooled = linear_pool(family.distribution(eta).to_event(1), weights)
    assert (pooled.batch_shape, pooled.event_shape) == ((6,), (2,))
    single = family.log_prob(eta, y.unsqueeze(1).expand(6, 3, 2))
    if isinstance(family, Categorical):
        want = (weights.log().unsqueeze(-1) + single).logsumexp(1).sum(-1)
    else:
        assert isinstance(pooled, Mixture)
        want = (weights.log() + single.sum(-1)).logsumexp(-1)
    torch.testing.assert_close(pooled.log_prob(y), want)


def test_vertex_weights_select_a_component() -> None:
    for family in FAMILIES:
        eta = ordinary_params(family, 6, 3)
        y = draws(family, eta)[:, 1]
        pooled = linear_pool(family.distribution(eta), torch.tensor([0.0, 1.0, 0.0]).double())
        torch.testing.assert_close(pooled.log_prob(y), family.log_prob(eta[:, 1], y), rtol=1e-6, atol=1e-6)


# -- errors ------------------------------------------------------------------------------------------------------------

SUM = "`weights` must sum to 1 over dim -1; largest |sum - 1| was {}. Pass softmax(w)."
SIGN = "`weights` must be non-negative; smallest was {}. Pass softmax(w)."
SHAPE = (
    "the last axis of `weights` must match the axis of the points; got weights of shape {} for points of shape (4, 2)."
)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([0.5, 0.7], SUM.format("0.2")),
        ([0.0, 0.0], SUM.format("1")),
        ([1.25, -0.25], SIGN.format("-0.25")),
        ([math.nan, 1.0], SIGN.format("nan")),
        ([math.inf, 0.0], SUM.format("inf")),
        ([0.2, 0.3, 0.5], SHAPE.format("(3,)")),
        (1.0, SHAPE.format("()")),
    ],
)
def test_weights_off_the_simplex(weights: list[float] | float, message: str) -> None:
    eta = ordinary_params(Gaussian(), 4, 2)
    for pool in (
        lambda: log_linear_pool(eta, torch.tensor(weights)),
        lambda: linear_pool(Gaussian().distribution(eta), torch.tensor(weights)),
    ):
        with pytest.raises(ValueError, match="weights") as error:
            pool()
        assert str(error.value) == message


def test_float32_rounding_is_on_the_simplex() -> None:
    check_weights(torch.randn(1000, 50, generator=torch.Generator().manual_seed(0)).softmax(-1))
    check_weights(torch.empty(0, 3))


@pytest.mark.parametrize("several", [False, True])
@over_families
def test_weights_are_equal_by_default(family: ExponentialFamily, several: bool) -> None:
    eta = ordinary_params(family, 4, 3)
    equal = torch.full((4, 3), 1 / 3, dtype=eta.dtype)
    torch.testing.assert_close(log_linear_pool(eta), log_linear_pool(eta, equal))
    distribution = family.distribution(eta.unsqueeze(-2).expand(4, 3, 2, -1) if several else eta)
    if several:
        distribution = torch.distributions.Independent(distribution, 1)
    one, other = linear_pool(distribution), linear_pool(distribution, equal)
    y = other.sample()
    torch.testing.assert_close(one.log_prob(y), other.log_prob(y))


def test_a_pool_without_points_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"^a pool needs a batch axis of points; the distribution has none\.$"):
        linear_pool(torch.distributions.Normal(0.0, 1.0))
