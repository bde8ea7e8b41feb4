"""Families under torch's own fake tensors of a GPU: no mixed devices, and nothing that asks for a number.

Without CUDA these have neither gradients nor Python's indexing, so that no network can be trained under them; the rest
of the contract is that of pretend_device.py.
"""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from probmix import families

# They are written with indices.
INDEXED = {"multivariate-gaussian", "tweedie"}
# Of these torch's own distributions are.
INDEXED_BY_TORCH = {"beta", "categorical", "student-t"}


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
