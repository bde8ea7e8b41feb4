"""Modules whose input is passed by its name: rows are mixed as they are of `module(x)`."""

import pytest
import torch
from fusion_zoo import VECTOR, Residual, seeded
from mixup_cases import generator
from torch import nn

from probmix import GaussianEmbedding, fuse_at

X = torch.randn(VECTOR, generator=generator())
PARTNERS, WEIGHTS = torch.tensor([3, 3, 0, 5, 1, 2]), torch.tensor([[0.25, 0.75]]).expand(6, 2)


class Masked(nn.Module):
    """With a second argument, and no place for the first one but its name."""

    def __init__(self):
        super().__init__()
        self.inner = seeded(Residual)

    def forward(self, *, x, mask=None):
        return self.inner(x if mask is None else x * mask)


class ByAnyName(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = seeded(Residual)

    def forward(self, **named):
        return self.inner(**named)


@pytest.mark.parametrize("layer", ["input", "block", "output"])
def test_the_input_may_be_passed_by_its_name(layer):
    module = seeded(Residual)
    with fuse_at(module, layer, PARTNERS, WEIGHTS):
        assert torch.equal(module(x=X), module(X))


def test_the_input_is_the_first_argument_of_a_module_and_not_of_a_call():
    module, mask = Masked(), torch.arange(VECTOR[1])
    with fuse_at(module, "input", PARTNERS, WEIGHTS):
        found = module(mask=mask, x=X)
    torch.testing.assert_close(found, module(x=0.25 * X + 0.75 * X[PARTNERS], mask=mask))


@pytest.mark.parametrize("kind", ["gaussian", "gaussian-separate"])
def test_a_variance_network_sees_it(kind):
    module, embedding = seeded(Residual), GaussianEmbedding(VECTOR[1], kind, VECTOR[1])
    with fuse_at(module, "block", PARTNERS, WEIGHTS, embedding=embedding):
        assert torch.equal(module(x=X), module(X))


def test_an_input_that_is_not_found_is_an_error_where_it_is_needed():
    module = ByAnyName()
    message = r"^rows are mixed at the input, and none came first\. Call the module as in `module\(x\)`\.$"
    with pytest.raises(TypeError, match=message), fuse_at(module, "input", PARTNERS, WEIGHTS):
        module(x=X)
    with fuse_at(module, "inner.block", PARTNERS, WEIGHTS):
        found = module(x=X)
    with fuse_at(module.inner, "block", PARTNERS, WEIGHTS):
        assert torch.equal(found, module.inner(X))
    embedding = GaussianEmbedding(VECTOR[1], "gaussian-separate", VECTOR[1])
    message = r"^a separate variance network looks at the input, which must be a tensor .*; got none\.$"
    with (
        pytest.raises(TypeError, match=message),
        fuse_at(module, "inner.block", PARTNERS, WEIGHTS, embedding=embedding),
    ):
        module(x=X)
    with pytest.raises(TypeError, match=r"got a dict\.$"):
        embedding(X, {"x": X})
