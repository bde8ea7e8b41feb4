"""Weight laws, partner laws, presets."""

import dataclasses
import pickle

import numpy as np
import pytest
import torch
from scipy import stats

from probmix.families import Gaussian
from probmix.mixup import BetaWeights, Mixup, NearestNeighbours, UniformPartners, preset, preset_names
from probmix.mixup.drawing import draw_partners
from probmix.random import generator_uniform

GAUSSIAN = Gaussian()


def uniform(seed=0):
    return generator_uniform(torch.Generator().manual_seed(seed), torch.device("cpu"))


@pytest.mark.parametrize("alpha", [0.05, 0.2, 0.5, 1.0, 5.0, 1000.0])
def test_beta_weights_follow_scipys_beta_law(alpha):
    weights = BetaWeights(alpha).sample((50_000,), uniform(3)).double().numpy()
    law = stats.beta(alpha, alpha)
    # the smaller weight keeps its relative accuracy in float32 where the larger one rounds to 1
    smaller, tiny = weights.min(1), 1e-30
    floor, half = law.cdf(tiny), 0.5
    conditional = stats.kstest(smaller[smaller > tiny], lambda w: (law.cdf(w) - floor) / (half - floor))
    assert conditional.pvalue > 0.001
    assert stats.binomtest(int((weights[:, 0] < 0.5).sum()), len(weights)).pvalue > 0.001
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-6)


def test_beta_weights_at_the_limits():
    collapsed = BetaWeights(1e-32).sample((1000,), uniform())
    assert set(collapsed.unique().tolist()) == {0.0, 1.0}
    assert torch.allclose(BetaWeights(1e8).sample((1000,), uniform()), torch.tensor(0.5), atol=1e-3)


@pytest.mark.parametrize("alpha", [0.0, -1.0, float("nan"), float("inf")])
def test_beta_weights_reject_an_alpha_without_law(alpha):
    message = rf"^`alpha` of BetaWeights must be finite and at least 1e-32; got {alpha}\. Use the preset 'erm' for no"
    with pytest.raises(ValueError, match=message):
        BetaWeights(alpha)


def test_neighbours_are_the_nearest_other_rows():
    x = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
    distance = torch.cdist(x, x)
    distance.fill_diagonal_(float("inf"))
    expected = distance.argsort(1)[:, :5].sort(1).values
    assert torch.equal(NearestNeighbours(5).table(x).sort(1).values, expected)


def test_neighbours_of_equal_rows_are_other_rows():
    neighbours = NearestNeighbours(2).table(torch.zeros(4, 1))
    assert not bool((neighbours == torch.arange(4).unsqueeze(1)).any())


def test_too_few_rows_for_neighbours():
    message = (
        r"^NearestNeighbours\(k=5\) needs at least 6 rows to find partners among; got 5\. "
        r"Use a smaller k, more rows, or UniformPartners\(\)\.$"
    )
    with pytest.raises(ValueError, match=message):
        NearestNeighbours(5).table(torch.zeros(5, 2))
    with pytest.raises(ValueError, match=r"^`k` of NearestNeighbours must be at least 1; got 0\.$"):
        NearestNeighbours(0)


def test_uniform_partners_are_a_permutation():
    partners = draw_partners(preset("probmix"), GAUSSIAN, torch.zeros(50, 1), torch.zeros(50), uniform())
    assert torch.equal(partners.squeeze(-1).sort().values, torch.arange(50))


def test_drawn_neighbours_are_neighbours_and_all_of_them_occur():
    x = torch.randn(30, 2, generator=torch.Generator().manual_seed(0))
    draw = uniform()
    drawn = torch.stack(
        [draw_partners(preset("local-probmix"), GAUSSIAN, x, x[:, 0], draw).squeeze(-1) for _ in range(200)], 1
    )
    for row, neighbours in enumerate(NearestNeighbours(5).table(x)):
        assert set(drawn[row].tolist()) == set(neighbours.tolist())


def test_presets_are_what_the_papers_call_them():
    assert preset_names() == [
        "c-mixup",
        "c-probmix",
        "early-stopped-mixup",
        "early-stopped-probmix",
        "erm",
        "local-m-probmix",
        "local-m-probmix-star",
        "local-manifold-mixup",
        "local-mixup",
        "local-probmix",
        "m-probmix",
        "m-probmix-star",
        "manifold-mixup",
        "meta-mixup",
        "meta-probmix",
        "mixup",
        "probmix",
        "regmixup",
        "regprobmix",
        "similarity-mixup",
        "similarity-probmix",
    ]
    assert preset("erm").at is None
    assert (preset("mixup").at, preset("mixup").partners) == ("input", UniformPartners())
    assert (preset("m-probmix").at, preset("m-probmix").embedding) == ("embedding", "gaussian")
    assert preset("local-m-probmix-star").embedding == "gaussian-separate"
    assert preset("local-m-probmix-star").partners == NearestNeighbours(5)
    assert (preset("local-probmix").at, preset("local-probmix").partners) == ("output", NearestNeighbours(5))
    changed = preset("probmix", alpha=0.7, label_spread=0.01)
    assert changed == Mixup(at="output", weights=BetaWeights(0.7), label_spread=0.01)


def test_rows_of_erm_are_not_mixed():
    with pytest.raises(
        ValueError, match=r"^under the preset 'erm' rows are not mixed; got at='2'\. Use another preset\.$"
    ):
        preset("erm", at="2")


def test_alpha_and_weights_of_a_preset_are_one_of_both():
    """One of them was dropped in silence."""
    message = (
        r"^`alpha` is short for weights=BetaWeights\(alpha\); got alpha=0\.5 beside weights=BetaWeights\(alpha=2\.0\)\."
    )
    for name in ("probmix", "similarity-mixup"):
        with pytest.raises(ValueError, match=message):
            preset(name, alpha=0.5, weights=BetaWeights(2.0))
        assert preset(name, weights=BetaWeights(2.0)).weights == BetaWeights(2.0)


def test_unknown_names_are_answered_with_near_misses():
    message = r"^unknown mixup preset 'probmx'; did you mean 'probmix' or 'm-probmix' or 'c-probmix'\?$"
    with pytest.raises(ValueError, match=message):
        preset("probmx")
    for at in ("", (), ("input", 3), 3):
        with pytest.raises(ValueError, match=r"^`at` must be 'output', 'input', the name of a layer, a tuple of "):
            Mixup(at=at)
    with pytest.raises(ValueError, match=r"^unknown label pool 'calibrate'; did you mean 'calibrated'\?$"):
        Mixup(label_pool="calibrate")
    with pytest.raises(ValueError, match=r"^`label_spread` must be non-negative and finite; got -1\.$"):
        Mixup(label_spread=-1)
    with pytest.raises(TypeError, match=r"^`weights` must be a WeightLaw; got 0\.2\.$"):
        Mixup(weights=0.2)
    with pytest.raises(TypeError, match=r"^`partners` must be a PartnerLaw; got 'uniform'\.$"):
        Mixup(partners="uniform")


def test_a_mixup_is_a_value():
    one = preset("local-probmix", alpha=0.3)
    assert pickle.loads(pickle.dumps(one)) == one
    assert hash(one) == hash(preset("local-probmix", alpha=0.3))
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.at = "input"
