"""Sample weights of rows that are mixed: a group weighs what its rows do."""

import pytest
import torch
from mixup_cases import Counting, FixedWeights, generator, true_model
from torch import nn

from probmix import NaturalHead
from probmix.mixup import Mixup, mixup_loss, preset


def test_a_pair_weighs_the_product_of_its_points():
    x, y = torch.randn(3, 1), torch.randn(3)
    weight = torch.tensor([1.0, 2.0, 0.5])
    partners = torch.tensor([1, 2, 0])
    mixup = preset("probmix", weights=FixedWeights(0.3))
    single = [
        mixup_loss(true_model, "gaussian", x[[i, int(j)]], y[[i, int(j)]], mixup, partners=torch.tensor([1]))
        for i, j in enumerate(partners)
    ]
    pair_weight = weight * weight[partners]
    expected = (pair_weight * torch.stack(single)).sum() / pair_weight.sum()
    loss = mixup_loss(true_model, "gaussian", x, y, mixup, partners=partners, sample_weight=weight)
    torch.testing.assert_close(loss, expected, check_dtype=False)


def test_weighted_pairs_are_the_pairs_of_repeated_rows():
    """All pairs of rows with their weights, and all pairs of the rows written out so often, have one mean loss."""
    x, y, copies = torch.randn(4, 1), torch.randn(4), torch.tensor([1, 3, 2, 1])
    mixup = preset("probmix", weights=FixedWeights(0.3))

    def over_all_pairs(rows, weight=None):
        first, second = (index.flatten() for index in torch.meshgrid(rows, rows, indexing="ij"))
        stacked = torch.cat([first, second])
        weights = None if weight is None else weight[stacked]
        partners = torch.arange(len(first), len(stacked))
        return mixup_loss(
            true_model, "gaussian", x[stacked], y[stacked], mixup, partners=partners, sample_weight=weights
        )

    repeated = over_all_pairs(torch.arange(4).repeat_interleave(copies))
    torch.testing.assert_close(over_all_pairs(torch.arange(4), copies.float()), repeated)


@pytest.mark.parametrize("name", ["erm", "mixup", "probmix"])
def test_equal_sample_weights_change_nothing(name):
    x, y = torch.randn(16, 1), torch.randn(16)
    plain = mixup_loss(true_model, "gaussian", x, y, name, generator=generator())
    weighted = mixup_loss(true_model, "gaussian", x, y, name, sample_weight=torch.full((16,), 3.0),
                          generator=generator())  # fmt: skip
    torch.testing.assert_close(plain, weighted)


@pytest.mark.parametrize("at", ["output", "input"])
@pytest.mark.parametrize("clean", [0.0, 0.25])
def test_a_batch_in_which_no_row_of_weight_meets_another_has_clean_rows_only(at, clean):
    """Whether it does is left to chance where rows are masked by weights of zero."""
    x, y = torch.randn(4, 2), torch.randn(4)
    weight, partners = torch.tensor([0.0, 3.0, 0.0, 1.0]), torch.tensor([1, 0, 3, 2])
    model = nn.Sequential(nn.Linear(2, 4), NaturalHead("gaussian", 4))
    loss = mixup_loss(model, "gaussian", x, y, Mixup(at=at, clean=clean), partners=partners, sample_weight=weight)
    expected = clean * (0.75 * mixup_loss(model, "gaussian", x[1:2], y[1:2], "erm")
                        + 0.25 * mixup_loss(model, "gaussian", x[3:], y[3:], "erm"))  # fmt: skip
    torch.testing.assert_close(loss, expected)
    gradients = [torch.autograd.grad(one, [*model.parameters()]) for one in (loss, expected)]
    for found, wanted in zip(*gradients, strict=True):
        torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("name", ["erm", "mixup", "probmix"])
def test_no_positive_weight_is_an_error_before_any_work(name):
    model = Counting()
    with pytest.raises(ValueError, match=r"^`sample_weight` must leave a row of positive weight; all are zero\. Skip"):
        mixup_loss(model, "gaussian", torch.randn(2, 2), torch.randn(2), name, sample_weight=torch.zeros(2))
    assert model.rows == []


@pytest.mark.parametrize("name", ["erm", "probmix", "mixup"])
@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.float16])
def test_weights_of_any_type_are_weights(name, dtype):
    x, y = torch.randn(6, 2, generator=generator(0)), torch.randn(6, generator=generator(1))
    model = nn.Sequential(nn.Linear(2, 4), NaturalHead("gaussian", 4))
    weight = torch.tensor([1, 0, 1, 1, 0, 1])
    losses = [
        mixup_loss(model, "gaussian", x, y, name, sample_weight=one, generator=generator(2))
        for one in (weight.to(dtype), weight.float())
    ]
    torch.testing.assert_close(losses[0], losses[1])
