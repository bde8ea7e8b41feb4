"""Families under torch's own fake tensors of a GPU: no mixed devices, and nothing that asks for a number.

Without CUDA these have neither gradients nor Python's indexing, so that no network can be trained under them; the rest
of the contract is that of pretend_device.py.
"""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from probmix import families
from probmix.mixup import preset
from probmix.mixup.objectives import objective
from probmix.pairs import columns

# They are written with indices.
INDEXED = {"histogram", "multivariate-gaussian", "tweedie"}
# Of these torch's own distributions are.
INDEXED_BY_TORCH = {"beta", "beta-mixture", "categorical", "student-t"}


@pytest.mark.parametrize("name", [name for name in families.names() if name not in INDEXED])
@torch.no_grad()
def test_families_work_on_fake_tensors_of_a_gpu(monkeypatch, name):
    # torch looks at the arguments of distributions, which asks for numbers
    monkeypatch.setattr(torch.distributions.Distribution, "_validate_args", False)
    family = families.get(name, **({"num_classes": 3} if name == "categorical" else {}))
    with FakeTensorMode():
        raw, y = torch.randn(5, family.num_raw, device="cuda"), torch.rand(5, device="cuda")
        eta = family.constrain(raw)
        distribution = family.distribution(eta)
        found = [
            eta,
            family.unconstrain(eta),
            family.log_prob(eta, y),
            family.expected_nll(eta, family.point_label(y)),
            family.rescale(eta, family.scaler(y)),
        ]
        if name not in INDEXED_BY_TORCH:
            found += [distribution.mean, distribution.log_prob(y)]
        assert {one.device.type for one in found} == {"cuda"}


EXPONENTIAL = [name for name in families.names() if name not in INDEXED and families.get(
    name, **({"num_classes": 3} if name == "categorical" else {})
).pools_log_linearly]  # fmt: skip


@pytest.mark.parametrize("label_pool", ["log-linear", "average"])
@pytest.mark.parametrize("name", EXPONENTIAL)
@torch.no_grad()
def test_losses_of_erm_and_probmix_work_on_fake_tensors_of_a_gpu(monkeypatch, name, label_pool):
    monkeypatch.setattr(torch.distributions.Distribution, "_validate_args", False)
    family = families.get(name, **({"num_classes": 3} if name == "categorical" else {}))
    mixup = preset("probmix", label_pool=label_pool)
    goal = objective("nll", family)
    with FakeTensorMode():
        eta = family.constrain(torch.randn(5, family.num_raw, device="cuda"))
        y = torch.randint(2, (5,), device="cuda").double() if family.is_discrete else torch.rand(5, device="cuda")
        weights = mixup.weights.sample((5,), lambda shape: torch.rand(shape, device="cuda"))
        # every row is mixed with the next one
        points, pairs = (torch.stack(tuple(columns(one, (1,), 0)), 1) for one in (eta, y))
        found = [
            goal.losses(eta, goal.point_label(y)),
            goal.losses(family.pool_params(points, weights), goal.pool_labels(pairs, weights, mixup)),
        ]
        assert [(one.device.type, tuple(one.shape)) for one in found] == [("cuda", (5,))] * 2
