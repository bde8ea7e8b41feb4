"""Normal scores of mixtures and quantiles at them, far beyond where a cdf rounds to one, against mpmath."""

import mpmath
import numpy as np
import pytest
import torch
from scipy import special

from probmix import linear_pool
from probmix.distributions import Blend, Gamma, LogNormal, Mixture, Poisson, StudentT
from probmix.distributions.normal_scores import from_normal_score, normal_score
from probmix.distributions.pooled_scores import pooled_score

WEIGHTS = torch.tensor([0.7, 0.2999, 1e-4, 0.0], dtype=torch.float64)
LOC = torch.tensor([0.0, 1.0, -2.0, 0.0], dtype=torch.float64)
# what has no weight would have a say far out, if it were asked
SCALE = torch.tensor([0.5, 0.1, 2.0, 100.0], dtype=torch.float64)
FAR = [-1000.0, -60.0, -37.0, -9.0, -5.0, -1.0, 0.0, 2.0, 4.9, 5.1, 8.3, 36.9, 38.5, 200.0, 3000.0]


def wide(*values):
    return torch.tensor(values, dtype=torch.float64)


def of(kind):
    weights = torch.distributions.Categorical(WEIGHTS)
    normals = torch.distributions.Normal(LOC, SCALE)
    if kind == "normals":
        return Mixture(weights, normals)
    if kind == "lognormals":
        return Mixture(weights, LogNormal(LOC, SCALE.clamp(max=2)))
    if kind == "students":
        return Mixture(weights, StudentT(torch.full_like(LOC, 5.0), LOC, SCALE))
    if kind == "nested":
        return linear_pool(Mixture(torch.distributions.Categorical(WEIGHTS.expand(2, 4)), normals.expand((2, 4))))
    return Blend(wide(0.4, 0.6), [Mixture(weights, normals), torch.distributions.Normal(wide(3.0)[0], wide(0.2)[0])])


def exact(scores, weights):
    """The score of a mixture, from the smaller tail."""
    parts = [(mpmath.mpf(float(w)), mpmath.mpf(float(z))) for w, z in zip(weights, scores, strict=True)]
    with mpmath.workdps(60):
        tails = {sign: mpmath.fsum(w * mpmath.ncdf(sign * z) for w, z in parts) for sign in (1, -1)}
        sign = min(tails, key=tails.get)
        log_p = mpmath.log(tails[sign])
        start = special.ndtri_exp(float(log_p))
        return sign * float(
            mpmath.findroot(lambda z: mpmath.log(mpmath.ncdf(z)) - log_p, start, tol=1e-30, verify=False)
        )


@pytest.mark.parametrize("y", [-2000.0, -80.0, -6.0, -1.0, 0.3, 1.0, 2.0, 7.0, 90.0, 500.0])
def test_scores_of_mixtures_of_normals(y):
    z = (y - LOC) / SCALE
    found = normal_score(of("normals"), wide(y))
    assert found.item() == pytest.approx(exact(z.numpy(), WEIGHTS.numpy()), rel=2e-13, abs=1e-13)


@pytest.mark.parametrize("kind", ["normals", "lognormals", "students", "nested", "blend"])
def test_quantiles_are_the_inverse_of_scores_far_out(kind):
    score = wide(*(FAR if kind not in ("students", "lognormals") else [z for z in FAR if abs(z) < 37]))
    distribution = of(kind)
    y = from_normal_score(distribution, score)
    assert y.isfinite().all()
    assert (y.diff() > 0).all()
    torch.testing.assert_close(normal_score(distribution, y), score, rtol=1e-9, atol=1e-9)


def test_of_one_part_the_score_is_its_own():
    z = wide(*FAR)
    torch.testing.assert_close(pooled_score(wide(1.0, 0.0), torch.stack([z, 0 * z], -1), -1), z, rtol=1e-13, atol=1e-13)


def test_rows_and_levels_broadcast():
    rows = Mixture(
        torch.distributions.Categorical(WEIGHTS.expand(3, 4)),
        torch.distributions.Normal(LOC + wide(0.0, 10.0, 20.0)[:, None], SCALE),
    )
    score = wide(-20.0, 0.5, 30.0)
    y = from_normal_score(rows, score.unsqueeze(-1))
    assert y.shape == (3, 3)
    one = from_normal_score(of("normals"), score)
    torch.testing.assert_close(y, one.unsqueeze(-1) + wide(0.0, 10.0, 20.0), rtol=1e-10, atol=1e-10)


def test_targets_that_are_mixed_together_have_scores_of_their_own():
    weights = torch.distributions.Categorical(WEIGHTS)
    pairs = torch.distributions.Normal(torch.stack([LOC, 5 * LOC], -1), torch.stack([SCALE, 5 * SCALE], -1))
    pairs = torch.distributions.Independent(pairs, 1)
    both = from_normal_score(Mixture(weights, pairs), wide(-40.0, 40.0))
    torch.testing.assert_close(both, from_normal_score(of("normals"), wide(-40.0, 40.0)) * wide(1.0, 5.0))


def test_infinite_scores_are_the_ends_of_the_support():
    for kind, low in (("normals", -np.inf), ("lognormals", 0.0), ("blend", -np.inf)):
        assert from_normal_score(of(kind), wide(-np.inf, np.inf)).tolist() == [low, np.inf]


def test_parts_whose_cdf_rounds_to_one_are_as_far_as_that_tells():
    mixture = Mixture(torch.distributions.Categorical(wide(0.5, 0.5)), Gamma(wide(2.0, 3.0), wide(1.0, 1.0)))
    y = from_normal_score(mixture, wide(6.0, 8.0, 30.0))
    assert y.isfinite().all()
    assert (y.diff() >= 0).all()
    torch.testing.assert_close(normal_score(mixture, y[:1]), wide(6.0), rtol=1e-7, atol=0)


def test_a_part_without_weight_whose_quantile_is_infinite_is_not_asked():
    parts = StudentT(wide(50.0, 1.05), wide(0.0, 0.0), wide(1.0, 1e200))
    assert from_normal_score(parts, wide(-30.0)).isinf().tolist() == [False, True]
    found = from_normal_score(Mixture(torch.distributions.Categorical(wide(1.0, 0.0)), parts), wide(-30.0))
    torch.testing.assert_close(found, from_normal_score(parts, wide(-30.0))[:1], rtol=1e-9, atol=0)


def test_counts_are_as_before():
    counts = linear_pool(Poisson(wide(1.0, 4.0)))
    k = torch.arange(9, dtype=torch.float64)
    expected = special.ndtri(0.5 * (special.gammaincc(k.numpy() + 1, 1.0) + special.gammaincc(k.numpy() + 1, 4.0)))
    np.testing.assert_allclose(normal_score(counts, k).numpy(), expected, rtol=1e-12)
    assert from_normal_score(counts, wide(7.0)).item() == from_normal_score(counts, wide(7.0)).round().item()


def test_gradients_are_finite_everywhere():
    y = wide(-1e3, -8.0, 0.0, 9.0, 1e3, 1e200).requires_grad_()
    normal_score(of("normals"), y).sum().backward()
    assert y.grad.isfinite().all()
    step = 1e-3
    for number in range(5):
        ends = normal_score(of("normals"), y[number].detach() + wide(-step, step))
        assert y.grad[number].item() == pytest.approx(ends.diff().item() / (2 * step), rel=1e-6)
