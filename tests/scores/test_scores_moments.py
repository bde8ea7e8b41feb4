"""The Dawid-Sebastiani score and the ranked probability score."""

import itertools
import math
import re

import numpy as np
import pyro.distributions as dist
import pytest
import scipy.stats as st
import scoringrules
import torch
from score_oracles import DTYPES, close, normal_mixture

from probmix import linear_pool
from probmix.distributions import Gamma, Poisson
from probmix.scores import crps, dawid_sebastiani, nll, ranked_probability_score

RTOL = {torch.float32: 1e-6, torch.float64: 1e-12}


def raises(kind, message):
    return pytest.raises(kind, match=f"^{re.escape(message)}$")


# -- Dawid-Sebastiani --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("offset", "scale"), [(0.0, 1.0), (1e6, 1.0), (1e6, 1e-3), (0.0, 1e-3), (0.0, 1e30)])
def test_dawid_sebastiani_of_normals(dtype, offset, scale):
    z = torch.tensor([-30.0, -1.0, 0.0, 0.5, 4.0], dtype=torch.float64)
    loc, sd = torch.full((5,), offset, dtype=dtype), torch.full((5,), scale, dtype=dtype)
    y = (offset + scale * z).to(dtype)
    value = dawid_sebastiani(dist.Normal(loc, sd), y)
    assert value.dtype == dtype
    mu, sigma, t = (v.double().numpy() for v in (loc, sd, y))
    close(value, ((t - mu) / sigma) ** 2 + 2 * np.log(sigma), RTOL[dtype])
    wide = dist.Normal(loc.double(), sd.double())
    exact = 2 * nll(wide, y.double()) - math.log(2 * math.pi)
    np.testing.assert_allclose(value.double().numpy(), exact.numpy(), rtol=RTOL[dtype], atol=1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
def test_dawid_sebastiani_of_other_distributions(dtype):
    a, b = torch.tensor([0.3, 2.0, 1e4], dtype=dtype), torch.tensor([2.0, 1.0, 0.1], dtype=dtype)
    y = torch.tensor([0.0, 3.0, 99_000.0], dtype=dtype)
    x, r, t = (v.double().numpy() for v in (a, b, y))

    def expected(reference):
        return (t - reference.mean()) ** 2 / reference.var() + np.log(reference.var())

    close(dawid_sebastiani(Gamma(a, b), y), expected(st.gamma(x, scale=1 / r)), RTOL[dtype])
    close(dawid_sebastiani(Poisson(a), y), expected(st.poisson(x)), RTOL[dtype])
    near = torch.tensor([0.1, 0.2, 1.5], dtype=dtype)
    close(
        dawid_sebastiani(dist.LogNormal(near, near), y + 1),
        (t + 1 - st.lognorm(s=(s := near.double().numpy()), scale=np.exp(s)).mean()) ** 2
        / st.lognorm(s=s, scale=np.exp(s)).var()
        + np.log(st.lognorm(s=s, scale=np.exp(s)).var()),
        RTOL[dtype],
    )
    mixture, weights, loc, scale = normal_mixture(dtype)
    w, m, s = (v.double().numpy() for v in (weights, loc, scale))
    w = w / w.sum(-1, keepdims=True)
    mean = (w * m).sum(-1)
    variance = (w * (s**2 + (m - mean[:, None]) ** 2)).sum(-1)
    t = np.array([0.0, 4.0, 9999.0])
    value = dawid_sebastiani(mixture, torch.tensor(t, dtype=dtype))
    close(value, (t - mean) ** 2 / variance + np.log(variance), RTOL[dtype])


def test_dawid_sebastiani_of_draws_in_scoringrules():
    # the same formula from sample moments
    x = np.random.default_rng(0).normal(3.0, 2.0, (5, 40))
    y = np.arange(5.0)
    normal = dist.Normal(torch.tensor(x.mean(-1)), torch.tensor(x.std(-1)))
    library = scoringrules.dssuv_ensemble(y, x, bias=True, backend="numpy")
    close(dawid_sebastiani(normal, torch.tensor(y)), library, 1e-12)


def test_dawid_sebastiani_of_several_targets_is_the_mean_over_marginals():
    rates, y = torch.tensor([[1.0, 4.0], [2.0, 9.0]]), torch.tensor([[0.0, 3.0], [5.0, 9.0]])
    value = dawid_sebastiani(Poisson(rates).to_event(1), y)
    assert value.shape == (2,)
    torch.testing.assert_close(value, dawid_sebastiani(Poisson(rates), y).mean(-1))


def test_the_expected_dawid_sebastiani_score_is_smallest_at_the_true_moments():
    # skew data, Normal forecasts: only the moments count
    truth = st.gamma(1.5, scale=2.0)
    generator = np.random.default_rng(8)
    y = torch.tensor(truth.rvs(40_000, random_state=generator))
    mean, sd = y.mean(), y.std(correction=0)

    def expected(loc, scale):
        return dawid_sebastiani(dist.Normal(loc, scale).expand((len(y),)), y).mean()

    best = expected(mean, sd)
    for shift, factor in itertools.product((-0.2, 0.0, 0.2), (0.9, 1.0, 1.1)):
        assert (shift, factor) == (0.0, 1.0) or expected(mean + shift, factor * sd) > best + 1e-3
    # at the moments of the distribution the score is what these moments say
    at_truth = expected(torch.tensor(truth.mean()), torch.tensor(truth.std()))
    assert at_truth == pytest.approx(1 + math.log(truth.var()), abs=0.05)


def test_gradients_of_the_dawid_sebastiani_score():
    def variable(*values):
        return torch.tensor(values, dtype=torch.float64, requires_grad=True)

    y = torch.tensor([0.0, 3.0], dtype=torch.float64)
    a, b, logit = variable(0.6, 2.0), variable(1.0, 0.5), variable(0.1, -0.4)
    check = torch.autograd.gradcheck
    assert check(lambda p, q: dawid_sebastiani(dist.Normal(p, q, validate_args=False), y), (a, b))
    assert check(lambda p, q: dawid_sebastiani(Gamma(p, q, validate_args=False), y + 1), (a, b))

    def pooled(p, q, logit):
        w = torch.stack([logit.sigmoid(), 1 - logit.sigmoid()], -1)
        rates = torch.stack([p, p + q], -1)
        return dawid_sebastiani(linear_pool(Poisson(rates, validate_args=False), w), y)

    assert check(pooled, (a, b, logit))


def test_errors_of_the_dawid_sebastiani_score():
    moments = "Use `nll` or `crps` for distributions without moments, `ranked_probability_score` for classes."
    with raises(ValueError, "the mean must be finite; got nan at row 0. " + moments):
        dawid_sebastiani(dist.Cauchy(torch.zeros(2), 1.0), torch.zeros(2))
    with raises(ValueError, "the mean must be finite; got nan at row 0. " + moments):
        dawid_sebastiani(dist.Categorical(torch.ones(2, 3)), torch.zeros(2))
    rule = "the variance must be positive and finite; got "
    mend = ". Bound the scale away from zero."
    with raises(ValueError, rule + "0 at row 1" + mend):
        scale = torch.tensor([1.0, 0.0])
        dawid_sebastiani(dist.Normal(torch.zeros(2), scale, validate_args=False), torch.zeros(2))
    with raises(ValueError, rule + "inf at row 0" + mend):
        dawid_sebastiani(dist.StudentT(torch.full((2,), 1.5)), torch.zeros(2))
    with raises(ValueError, "`y` must be finite; got nan at row 1. Drop or impute these rows."):
        dawid_sebastiani(dist.Normal(torch.zeros(2), 1.0), torch.tensor([0.0, math.nan]))
    with pytest.raises(ValueError, match=r"^`y` must broadcast to .* got shape \(2, 1\)\."):
        dawid_sebastiani(dist.Normal(torch.zeros(2), 1.0), torch.zeros(2, 1))

    class Momentless(torch.distributions.Distribution):
        support = torch.distributions.constraints.real
        arg_constraints = property(lambda self: {})

    message = "the Dawid-Sebastiani score needs the mean and the variance, which Momentless does not have. "
    with raises(NotImplementedError, message + "Use `nll` or `crps`."):
        dawid_sebastiani(Momentless(torch.Size([2])), torch.zeros(2))


# -- ranked probability score ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_ranked_probability_score(dtype):
    generator = torch.Generator().manual_seed(1)
    probs = torch.rand((4, 10, 5), generator=generator, dtype=dtype).softmax(-1)
    y = torch.randint(5, (4, 10), generator=generator)
    value = ranked_probability_score(probs, y)
    assert value.dtype == dtype
    assert value.shape == (4, 10)
    p, k = probs.double().numpy(), y.numpy()
    rtol = 2e-6 if dtype == torch.float32 else 1e-12
    close(value, np.square(p.cumsum(-1) - np.eye(5)[k].cumsum(-1)).sum(-1), rtol)
    close(value, scoringrules.rps_score(k + 1, p, backend="numpy"), rtol)
    categorical = dist.Categorical(probs)
    assert torch.equal(ranked_probability_score(categorical, y), crps(categorical, y))
    several = ranked_probability_score(categorical.to_event(1), y)
    torch.testing.assert_close(several, value.mean(-1))
    weights = torch.tensor([0.3, 0.7], dtype=dtype)
    pair = dist.Categorical(probs[:, :2])
    pooled = (weights.unsqueeze(-1) * probs[:, :2]).sum(-2)
    torch.testing.assert_close(
        ranked_probability_score(linear_pool(pair, weights), y[:, 0]), ranked_probability_score(pooled, y[:, 0])
    )


def test_the_ranked_probability_score_is_proper_and_differentiable():
    truth = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)

    def expected(probs):
        return (truth * ranked_probability_score(probs.expand(3, 3), torch.arange(3))).sum()

    best = expected(truth)
    for i, j in itertools.permutations(range(3), 2):
        other = truth.clone()
        other[i] += 0.05
        other[j] -= 0.05
        assert expected(other) > best + 1e-4
    logits = torch.tensor([[0.3, 1.0, -2.0]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: ranked_probability_score(v.softmax(-1), torch.tensor([1])), (logits,))
    assert ranked_probability_score(torch.ones(2, 1), torch.zeros(2)).tolist() == [0.0, 0.0]
    assert ranked_probability_score(torch.eye(3), torch.tensor([0, 2, 0])).tolist() == [0.0, 1.0, 2.0]


def test_errors_of_the_ranked_probability_score():
    with raises(TypeError, "the ranked probability score needs a Categorical distribution, got Normal. Use `crps`."):
        ranked_probability_score(dist.Normal(0.0, 1.0), torch.tensor(0.0))
    with raises(TypeError, "`probs` must be float32 or float64, got torch.float16. Pass probs.double()."):
        ranked_probability_score(torch.ones(2, 1).half(), torch.zeros(2))
    with raises(ValueError, "`probs` must have the sum 1 in each row; got 1.5 at row 1. Divide by their sum."):
        ranked_probability_score(torch.tensor([[0.5, 0.5], [0.5, 1.0]]), torch.zeros(2))
    with raises(
        ValueError, "`probs` must not be negative; got -0.5 at index (0, 0). For logits pass logits.softmax(-1)."
    ):
        ranked_probability_score(torch.tensor([[-0.5, 1.5]]), torch.zeros(1))
    with raises(ValueError, "`probs` must be finite; got nan at index (0, 0). Drop or impute these rows."):
        ranked_probability_score(torch.full((1, 2), math.nan), torch.zeros(1))
    with raises(
        ValueError,
        "`probs` must hold one probability for each class along the last axis, got shape (2, 0). "
        "Pass shape (rows, classes).",
    ):
        ranked_probability_score(torch.ones(2, 0), torch.zeros(2))
    message = "`y` must be a class index 0 .. 2; got 3 at row 1. "
    with raises(ValueError, message + "Encode the classes first, for example with sklearn's LabelEncoder."):
        ranked_probability_score(torch.eye(3)[:2], torch.tensor([0, 3]))


@pytest.mark.cuda
def test_cuda_scores_moments_and_classes_like_the_cpu():
    loc, y, probs = torch.arange(5.0), torch.tensor([0, 1, 2, 1, 0]), torch.rand(5, 3).softmax(-1)
    value = dawid_sebastiani(dist.Normal(loc.cuda(), 2.0), y.cuda())
    assert value.device.type == "cuda"
    torch.testing.assert_close(value.cpu(), dawid_sebastiani(dist.Normal(loc, 2.0), y))
    value = ranked_probability_score(probs.cuda(), y.cuda())
    torch.testing.assert_close(value.cpu(), ranked_probability_score(probs, y))
