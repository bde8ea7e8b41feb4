"""The divergence of densities of one family, and densities as labels, against torch, sums and many quantiles."""

import pytest
import torch
from families_table import FAMILIES as EXPONENTIAL
from torch.distributions import kl_divergence

from probmix import families
from probmix.distributions import cdf, icdf
from probmix.families import Family, Mixture, MultivariateGaussian, ZeroAdjusted, divergence
from probmix.families.density_points import density_points

# of a histogram other bins are among the exponential ones, and the general oracle knows no jumps
OTHERS = [
    families.get(name) for name in families.names() if name not in ("categorical", "histogram", "multivariate-gaussian")
]
OTHERS = [one for one in OTHERS if one not in EXPONENTIAL]


def params(family: Family, seed: int, size: float = 1.0) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    return family.constrain(size * torch.randn(7, family.num_raw, generator=draw, dtype=torch.float64))


@pytest.mark.parametrize("family", EXPONENTIAL, ids=repr)
@pytest.mark.parametrize("size", [0.3, 1.5])
def test_it_is_that_of_torch_where_torch_has_one(family, size):
    teacher, student = params(family, 0, size), params(family, 1, size)
    try:
        expected = kl_divergence(family.distribution(teacher), family.distribution(student))
    except NotImplementedError:
        expected = None
    found = divergence(family, teacher, student)
    if expected is not None:
        torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-10)
    statistics = family.mean_params(teacher)
    bregman = family.log_normalizer(student) - family.log_normalizer(teacher)
    bregman = bregman - (statistics * (student - teacher)).sum(-1)
    torch.testing.assert_close(found, bregman, rtol=1e-6, atol=1e-7)


def test_vectors():
    family = MultivariateGaussian(2)
    teacher, student = params(family, 0), params(family, 1)
    expected = kl_divergence(family.distribution(teacher), family.distribution(student))
    torch.testing.assert_close(divergence(family, teacher, student), expected, rtol=1e-8, atol=1e-10)


def by_sum(family: Family, teacher: torch.Tensor, student: torch.Tensor) -> torch.Tensor:
    """The mean of the log-ratio over whole numbers."""
    y = torch.arange(4_000, dtype=torch.float64).unsqueeze(1)
    log_prob = family.log_prob(teacher, y)
    torch.testing.assert_close(log_prob.exp().sum(0), torch.ones(len(teacher), dtype=torch.float64))
    return (log_prob.exp() * (log_prob - family.log_prob(student, y))).sum(0)


def by_levels(family: Family, teacher: torch.Tensor, student: torch.Tensor) -> torch.Tensor:
    """The mean of the log-ratio over quantiles whose levels are logistic, which reaches far into both tails."""
    place = torch.linspace(-14, 14, 401, dtype=torch.float64)
    density = family.distribution(teacher.unsqueeze(1))
    zero = cdf(density, torch.zeros(1, dtype=torch.float64)) if family.has_atoms else torch.zeros(7, 1).double()
    shares = (1 - zero) * place.sigmoid() * (-place).sigmoid() * (place[1] - place[0])
    y = icdf(density, zero + (1 - zero) * place.sigmoid())
    if family.has_atoms:
        y, shares = torch.cat([0 * zero, y], 1), torch.cat([zero, shares], 1)
    ratio = family.log_prob(teacher.unsqueeze(1), y) - family.log_prob(student.unsqueeze(1), y)
    return (shares * ratio).sum(1)


@pytest.mark.parametrize("family", OTHERS, ids=repr)
@pytest.mark.parametrize("size", [0.4, 1.5])
def test_it_is_the_mean_of_the_log_ratio(family, size):
    teacher, student = params(family, 0, size), params(family, 1, size)
    expected = (by_sum if family.is_discrete else by_levels)(family, teacher, student)
    # far out the ratio of mixtures bends where another component takes over
    rtol = 0.03 if isinstance(family, Mixture) else 0.01
    torch.testing.assert_close(divergence(family, teacher, student), expected, rtol=rtol, atol=1e-3)


@pytest.mark.parametrize(
    "name", ["hurdle-poisson", "zero-inflated-poisson", "negative-binomial", "hurdle-negative-binomial"]
)
@pytest.mark.parametrize("mean", [0.05, 5.0, 20.0, 60.0, 300.0])
def test_counts_of_every_size(name, mean):
    family = families.get(name)
    y = torch.poisson(torch.full((4000,), mean, dtype=torch.float64), generator=torch.Generator().manual_seed(0))
    y[:1000] *= 2 if name == "negative-binomial" else 0
    teacher = family.marginal_params(y)
    student = family.constrain(family.unconstrain(teacher) + 0.1)
    expected = by_sum(family, teacher, student)
    torch.testing.assert_close(divergence(family, teacher, student), expected, rtol=0.03, atol=1e-4)


@pytest.mark.parametrize("family", [*EXPONENTIAL, *OTHERS], ids=repr)
def test_points_have_the_moments_of_the_density(family):
    density = family.distribution(params(family, 0, 0.5).unsqueeze(-2))
    points, weights = density_points(density, torch.device("cpu"))
    weights = weights.expand_as(points)
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(-1), torch.ones(7, dtype=torch.float64))
    if family.is_discrete:
        assert torch.equal(points, points.round())
    if hasattr(family, "num_classes"):
        return
    mean = density.mean[..., 0]
    torch.testing.assert_close((weights * points).sum(-1), mean, rtol=0.01, atol=0.01)


@pytest.mark.parametrize("family", EXPONENTIAL, ids=repr)
def test_near_equality_it_is_half_the_square_of_the_step(family):
    teacher = params(family, 0, 0.5).float().double()
    student = family.constrain(family.unconstrain(teacher) + 1e-4)
    step = student - teacher
    # the derivative of the mean parameters, times the step
    change = (family.mean_params(teacher + step) - family.mean_params(teacher - step)) / 2
    expected = 0.5 * (step * change).sum(-1)
    found = divergence(family, teacher.float(), student)
    torch.testing.assert_close(found, expected, rtol=5e-3, atol=1e-14)


@pytest.mark.parametrize("family", [*EXPONENTIAL, *OTHERS, MultivariateGaussian(2)], ids=repr)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_is_zero_at_equality_and_grows_from_there(family, dtype):
    teacher = params(family, 2).to(dtype)
    student = teacher.clone().requires_grad_()
    found = divergence(family, teacher, student)
    assert found.dtype == dtype
    assert (found == 0).all()
    (gradient,) = torch.autograd.grad(found.sum(), student)
    # of a rule the teacher is not quite the best student
    small = 1e-6 if family in EXPONENTIAL or isinstance(family, (MultivariateGaussian, ZeroAdjusted)) else 3e-3
    assert gradient.abs().max() <= small * (1 + teacher.abs().max())
    raw = family.unconstrain(teacher.double())
    for sign in (-1, 1):
        moved = divergence(family, teacher.double(), family.constrain(raw + 0.3 * sign))
        # a rule has an error
        assert (moved > (-1e-9 if small < 1e-3 else -1e-3)).all()


@pytest.mark.parametrize("family", [*EXPONENTIAL, MultivariateGaussian(2), *OTHERS], ids=repr)
def test_a_mixture_as_a_label_has_the_mean_loss_of_its_densities(family):
    eta = torch.stack([params(family, 0, 0.5), params(family, 1, 0.5), params(family, 2, 0.5)], -2)
    weights = torch.rand(7, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64).softmax(-1)
    student = params(family, 3, 0.5)
    alone = torch.ones(7, 1, dtype=torch.float64)

    def difference(label):
        # what does not depend on the parameters may differ
        return family.expected_nll(student, label) - family.expected_nll(eta[:, 0], label)

    expected = sum(weights[:, k] * difference(family.density_label(eta[:, k : k + 1], alone)) for k in range(3))
    torch.testing.assert_close(difference(family.density_label(eta, weights)), expected, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("family", [*EXPONENTIAL, *OTHERS], ids=repr)
@pytest.mark.parametrize("raw", [-30.0, 30.0])
def test_extreme_densities(family, raw):
    teacher = family.constrain(torch.full((1, family.num_raw), raw))
    student = family.constrain(torch.zeros(1, family.num_raw)).requires_grad_()
    found = divergence(family, teacher, student)
    assert found.isfinite().all()
    (gradient,) = torch.autograd.grad(found.sum(), student)
    assert gradient.isfinite().all()
    points, weights = density_points(family.distribution(teacher.double().unsqueeze(-2)), torch.device("cpu"))
    assert points.isfinite().all()
    torch.testing.assert_close(weights.sum(-1).reshape(-1), torch.ones(1, dtype=torch.float64))
