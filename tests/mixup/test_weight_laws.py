"""The laws of the weights: their distributions against SciPy's, extreme parameters, and errors."""

import re

import numpy as np
import pytest
import torch
from scipy import stats

from probmix.mixup import (
    BetaWeights,
    DirichletWeights,
    FixedWeights,
    FoldedBetaWeights,
    LearnedWeights,
    Mixup,
    SimilarityWeights,
    TwoPointWeights,
    UniformWeights,
    WWeights,
)
from probmix.random import KeyedRandom, generator_uniform, member_keys

DRAWS = 20_000
LAWS = [
    BetaWeights(0.3), DirichletWeights(2.0), FoldedBetaWeights(0.3), WWeights(0.5), UniformWeights(0.5, 1.0),
    UniformWeights(), FixedWeights(0.7), TwoPointWeights(), LearnedWeights(),
]  # fmt: skip
OF_GROUPS = [law for law in LAWS if law not in (WWeights(0.5), UniformWeights(0.5, 1.0))]


def uniform(seed=0):
    return generator_uniform(torch.Generator().manual_seed(seed), torch.device("cpu"))


def first(law, order=2, **given):
    return law.sample((DRAWS,), uniform(2), order, **given)[:, 0].double().numpy()


def p_value(sample, cdf):
    return stats.kstest(sample, cdf).pvalue


@pytest.mark.parametrize("alpha", [0.05, 0.5, 1.0, 7.0])
def test_a_dirichlet_of_two_is_a_beta(alpha):
    # by the smaller weight, which float32 resolves
    smaller = DirichletWeights(alpha).sample((DRAWS,), uniform(2)).amin(-1).double().numpy()
    assert p_value(smaller, lambda t: 2 * stats.beta(alpha, alpha).cdf(np.minimum(t, 0.5))) > 1e-3
    assert torch.equal(DirichletWeights(alpha).sample((5,), uniform()), BetaWeights(alpha).sample((5,), uniform()))


@pytest.mark.parametrize("order", [3, 4, 5, 8])
@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_each_weight_of_a_dirichlet_is_a_beta_and_pairs_have_its_covariance(alpha, order):
    weights = BetaWeights(alpha).sample((DRAWS,), uniform(5), order).double().numpy()
    assert np.abs(weights.sum(1) - 1).max() < 1e-6
    for k in (0, order - 1):
        assert p_value(weights[:, k], stats.beta(alpha, alpha * (order - 1)).cdf) > 1e-3
    law = stats.dirichlet(np.full(order, alpha))
    products = (weights[:, 0] - 1 / order) * (weights[:, 1] - 1 / order)
    error = products.std() / np.sqrt(DRAWS)
    assert abs(products.mean() - law.cov()[0, 1]) < 4 * error


def test_folded_weights_have_the_largest_on_the_row_itself():
    weights = FoldedBetaWeights(0.7).sample((DRAWS,), uniform(), 2).double().numpy()
    beta = stats.beta(0.7, 0.7)
    assert p_value(weights[:, 0], lambda t: np.clip(beta.cdf(t) - beta.cdf(1 - t), 0, 1)) > 1e-3
    groups = FoldedBetaWeights(0.7).sample((100,), uniform(), 5)
    assert torch.equal(groups[:, 0], groups.amax(-1))


def test_w_weights_are_two_betas_of_half_the_width():
    beta = stats.beta(0.5, 0.5)
    sample = first(WWeights(0.5))
    assert p_value(sample, lambda t: 0.5 * (1 - beta.cdf(1 - 2 * t)) + 0.5 * beta.cdf(2 * t - 1)) > 1e-3


def test_uniform_fixed_and_two_point_weights():
    assert p_value(first(UniformWeights(0.6, 0.9)), stats.uniform(0.6, 0.3).cdf) > 1e-3
    assert p_value(first(UniformWeights(), 4), stats.beta(1, 3).cdf) > 1e-3
    assert FixedWeights(0.7).sample((2,), uniform(), 3).tolist() == [pytest.approx([0.7, 0.15, 0.15])] * 2
    weights = TwoPointWeights(0.5, 0.9, 0.25).sample((DRAWS,), uniform(), 3)
    assert weights[:, 0].unique().tolist() == pytest.approx([0.5, 0.9])
    assert abs((weights[:, 0] == 0.5).double().mean().item() - 0.25) < 4 * np.sqrt(0.25 * 0.75 / DRAWS)
    assert torch.equal(weights[:, 1], weights[:, 2])


def test_similar_pairs_are_mixed_more():
    law, near = SimilarityWeights(0.8, 0.5), torch.tensor([0.5, 1.0, 1.5])
    distances = near.repeat(DRAWS, 1)
    weights = law.sample((DRAWS, 3), uniform(7), distances=distances)[..., 0].double().numpy()
    for column, distance in zip(weights.T, near.tolist(), strict=True):
        t = 0.8 * np.exp(-(distance - 1) / (2 * 0.25))
        assert p_value(column, stats.beta(t, t).cdf) > 1e-3
    # the unit of the distances is nothing to it, nor is a mean of zero
    one, other = (law.sample((4,), uniform(), distances=scale * torch.arange(4.0)) for scale in (1.0, 1e6))
    torch.testing.assert_close(one, other)
    assert law.sample((4,), uniform(), distances=torch.zeros(4)).isfinite().all()
    assert law.sample((4,), uniform(), distances=torch.tensor([0.0, 0.0, 0.0, 1e30])).isfinite().all()


def test_similarity_weights_of_members_are_those_of_each_alone():
    distances = torch.rand(3, 50, generator=torch.Generator().manual_seed(0))
    shared = KeyedRandom(member_keys(0, 1))
    joint = SimilarityWeights().sample((50,), shared.stream(1).uniform, distances=distances)
    alone = SimilarityWeights().sample((50,), shared.stream(1).uniform, distances=distances[1:2])
    assert torch.equal(joint[1], alone[0])


@pytest.mark.parametrize("law", LAWS, ids=repr)
@pytest.mark.parametrize("order", [2, 3, 7])
def test_weights_are_on_the_simplex(law, order):
    if law not in OF_GROUPS and order > 2:
        with pytest.raises(ValueError, match=rf"is a law of pairs; got order={order}"):
            law.sample((4,), uniform(), order)
        with pytest.raises(ValueError, match=rf"is a law of pairs; got order={order}"):
            Mixup(weights=law, order=order)
        return
    for source, leading in ((uniform(), ()), (KeyedRandom(member_keys(0, 3)).uniform, (3,))):
        weights = law.sample((4, 5), source, order)
        assert weights.shape == (*leading, 4, 5, order)
        assert bool((weights >= 0).all())
        torch.testing.assert_close(weights.sum(-1), torch.ones(*leading, 4, 5))


@pytest.mark.parametrize("alpha", [1e-32, 1e-3, 1e6, 1e30])
@pytest.mark.parametrize("law", [BetaWeights, DirichletWeights, FoldedBetaWeights])
@pytest.mark.parametrize("order", [2, 3, 5])
def test_extreme_concentrations(law, alpha, order):
    weights = law(alpha).sample((1000,), uniform(), order)
    assert weights.isfinite().all()
    if alpha < 1e-2:
        assert (weights.amax(-1) > 0.99).double().mean() > 0.97
    else:
        torch.testing.assert_close(weights, torch.full_like(weights, 1 / order), atol=3e-3, rtol=0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: DirichletWeights(0.0), "`alpha` of DirichletWeights must be finite and at least 1e-32; got 0.0. Use "),
        (lambda: WWeights(float("inf")), "`alpha` of WWeights must be finite and at least 1e-32; got inf."),
        (lambda: FixedWeights(1.1), "`share` of FixedWeights must be from 0 to 1; got 1.1."),
        (lambda: UniformWeights(0.5, 0.5), "`low` and `high` of UniformWeights must be 0 <= low < high <= 1; got 0.5 "),
        (
            lambda: TwoPointWeights(0.9, 0.1),
            "TwoPointWeights must have 0 <= low <= high <= 1 and a probability from 0 ",
        ),
        (lambda: SimilarityWeights(t_std=0.0), "`t_std` of SimilarityWeights must be positive and finite; got 0.0."),
        (lambda: SimilarityWeights().sample((2,), uniform()), "SimilarityWeights depend on `distances` of the pairs; "),
        (lambda: LearnedWeights(rate=-1.0), "`rate` of LearnedWeights must be positive and finite; got -1.0."),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        call()


def test_a_start_that_is_no_law_of_its_own_is_an_error():
    with pytest.raises(
        TypeError, match=r"^`start` of LearnedWeights must be a law of weights that needs no distances; "
    ):
        LearnedWeights(start=SimilarityWeights())
