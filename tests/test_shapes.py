"""Functions of shapes against those of torch, and what is not loaded thanks to them."""

import subprocess
import sys

import pytest
import torch

from probmix._shapes import broadcast_shapes, unravel_index

FIT = """
import sys

import numpy as np

from probmix import DensityRegressor
from probmix.scores import crps

X = np.random.default_rng(0).normal(size=(60, 2))
for y in (X[:, 0], np.exp(X[:, 0]), np.floor(np.exp(X[:, 1]))):
    model = DensityRegressor(max_epochs=1, n_members=2, random_state=0).fit(X, y)
    model.predict_interval(X, 0.9)
    crps(model.predict_dist(X), y)
print([name for name in ("sympy", "torch._dynamo") if name in sys.modules])
"""


@pytest.mark.parametrize("shapes", [[()], [(3, 1), (2,)], [(1,), (4, 5, 1), (5, 2)], [(0, 3), (3,)], [torch.Size([2])]])
def test_shapes_are_broadcast_as_by_torch(shapes):
    found = broadcast_shapes(*shapes)
    assert isinstance(found, torch.Size)
    assert found == torch.broadcast_shapes(*shapes)


def test_shapes_that_do_not_go_together_are_refused():
    with pytest.raises(ValueError, match="mismatch"):
        broadcast_shapes((2, 3), (4,))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_a_traced_function_takes_other_sizes():
    example = torch.ones(5), torch.ones(3, 5)
    traced = torch.jit.trace(lambda x, y: x.expand(broadcast_shapes(x.shape, y.shape)), example)
    assert traced(torch.ones(7), torch.ones(4, 7)).shape == (4, 7)


@pytest.mark.parametrize("shape", [(7,), (2, 3), (4, 1, 3), (2, 3, 4, 5), (0, 3)])
def test_places_are_those_of_torch(shape):
    places = torch.randperm(torch.Size(shape).numel()).view(1, -1)
    found, expected = unravel_index(places, shape), torch.unravel_index(places, shape)
    assert len(found) == len(expected) == len(shape)
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_a_fit_and_a_prediction_do_not_load_the_compiler_of_torch():
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", FIT], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
