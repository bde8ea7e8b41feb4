"""What is wrong with a network of the user's own, or with the rows for it, is said before any work is done."""

import re
from functools import partial

import numpy as np
import pytest
import torch
from own_zoo import Recurrent, conv1d, flat_mlp, rows
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted
from torch import nn

from probmix import DensityRegressor, Mixup
from probmix.estimators import base
from probmix.mixup import preset

FAST = {"max_epochs": 2, "batch_size": 16, "random_state": 0}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


class Calls(nn.Module):
    """A layer that runs twice, one that never runs, and one that puts the rows second."""

    def __init__(self):
        super().__init__()
        self.twice, self.never, self.turned = nn.Linear(3, 3), nn.Linear(3, 3), nn.Flatten(0, 0)

    def forward(self, x):
        return self.turned(self.twice(self.twice(x)).T).T


class TimeFirst(nn.Module):
    """A recurrent layer that has the rows second, as torch's have by default."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(3, 5)

    def forward(self, x):
        return self.rnn(x.transpose(0, 1))[0][-1]


class NoCopy(nn.Linear):
    def __deepcopy__(self, memo):
        raise RuntimeError("there is only one of me")


def unlike(shape):
    return nn.Linear(3, int(torch.randint(3, 1000, ())))


def thawed(shape):
    network = nn.Linear(3, 4)
    network.bias.requires_grad_(bool(torch.rand(()) < 0.5))
    return network


manifold, densities = partial(preset, "manifold-mixup"), partial(preset, "m-probmix")
CASES = {
    "no callable": (
        {"network": 3}, (3,), TypeError,
        r"^`network` must be an nn\.Module or build one from the shape of a row; got 3\.$",
    ),
    "builder of nothing": (
        {"network": lambda shape: None}, (3,), TypeError,
        r"^`network` must be an nn\.Module, or build one from the shape of a row; for the shape \(3,\) it gave None\.$",
    ),
    "builder of a function": (
        {"network": lambda shape: np.sin}, (6, 3), TypeError, r"for the shape \(6, 3\) it gave <ufunc 'sin'>\.$",
    ),
    "builder with an error of its own": (
        {"network": lambda shape: nn.Linear(shape[1], 3)}, (3,), IndexError, r"^tuple index out of range$",
    ),
    "network for other rows": (
        {"network": nn.Linear(4, 3)}, (3,), RuntimeError, r"mat1 and mat2 shapes cannot be multiplied \(2x3 and 4x3\)",
    ),
    "a map of features": (
        {"network": nn.Conv1d(2, 4, 3)}, (2, 6), ValueError,
        r"^`network` must map rows \(N, 2, 6\) to features \(N, d\), on which the estimator puts the head; for N = 2 "
        r"it gave shape \(2, 4, 4\)\. End it in nn\.Flatten\(\), for example\.$",
    ),
    "a tuple of features": (
        {"network": nn.LSTM(3, 4, batch_first=True)}, (6, 3), ValueError, r"for N = 2 it gave a tuple\. End it in",
    ),
    "one number a row": (
        {"network": nn.Sequential(nn.Linear(3, 1), nn.Flatten(0))}, (3,), ValueError,
        r"for N = 2 it gave shape \(2,\)\.",
    ),
    "rows that are mixed up with time": (
        {"network": nn.Flatten(0, 1)}, (6, 3), ValueError, r"for N = 2 it gave shape \(12, 3\)\.",
    ),
    "two features for any number of rows": (
        {"network": nn.AdaptiveAvgPool2d((2, 4))}, (6, 3), ValueError, r"for N = 2 it gave shape \(2, 2, 4\)\.",
    ),
    "no copy": (
        {"network": NoCopy(3, 4)}, (3,), ValueError,
        r"^`network` must be a module that copy\.deepcopy can copy; a NoCopy came for which it fails\. "
        r"Pass a function that builds the module from the shape of a row\.$",
    ),
    "members unlike each other": (
        {"network": unlike, "n_members": 3}, (3,), ValueError,
        r"^`network` must build the same architecture for every member, since they are trained as one; "
        r"'weight' differs\. Draw weights at random, but no sizes\.$",
    ),
    "one member frozen": ({"network": thawed, "n_members": 9}, (3,), ValueError, r"; 'bias' differs\."),
    "unknown layer": (
        {"network": flat_mlp, "mixup": manifold(at="encodr.1")}, (3,), ValueError,
        r"^unknown layer 'encodr\.1'; did you mean 'encoder\.1' or 'encoder\.0' or 'encoder'\?$",
    ),
    "unknown layer of densities": (
        {"network": flat_mlp, "mixup": densities(at="lst")}, (3,), ValueError,
        r"^unknown layer 'lst'; did you mean 'last'",
    ),
    "no near miss": (
        {"network": nn.Linear(3, 4), "mixup": manifold(at="hidden.0")}, (3,), ValueError,
        r"^unknown layer 'hidden\.0'; known are 'input', 'output'\.$",
    ),
    "our own prefix": (
        {"network": flat_mlp, "mixup": manifold(at="network.last")}, (3,), ValueError,
        r"^unknown layer 'network\.last'",
    ),
    "one of several layers unknown": (
        {"network": flat_mlp, "mixup": Mixup(at=("last", "encoder.5"))}, (3,), ValueError,
        r"^unknown layer 'encoder\.5'; did you mean 'encoder",
    ),
    "a layer with a tuple": (
        {"network": Recurrent(), "mixup": manifold(at="rnn")}, (6, 3), ValueError,
        r"^the layer 'rnn' gives a tuple of 2 \(Tensor, tuple\), not a tensor\. Say which element is mixed with "
        r"`element`\. In a mixup the element is part of the name, as in at='rnn\[0\]'\.$",
    ),
    "the wrong element": (
        {"network": Recurrent(), "mixup": densities(at="rnn[1]")}, (6, 3), ValueError,
        r"^the layer 'rnn' gives a tuple of 2",
    ),
    "an element that is not there": (
        {"network": Recurrent(), "mixup": manifold(at="rnn[7]")}, (6, 3), ValueError,
        r"^`element` 7 is not in what the layer gives, a tuple of 2",
    ),
    "a layer that runs twice": (
        {"network": Calls(), "mixup": manifold(at="twice")}, (3,), ValueError,
        r"^rows are mixed at a layer that runs once in a forward pass; 'twice' does not\. Name another layer\.$",
    ),
    "a layer that never runs": (
        {"network": Calls(), "mixup": densities(at="never")}, (3,), ValueError,
        r"^rows are mixed at .* 'never' does not\.",
    ),
    "rows along another axis": (
        {"network": Calls(), "mixup": manifold(at="turned")}, (3,), ValueError,
        r"^rows are mixed at a layer whose output has them along the first axis; 'turned' gives shape \(3, 2\) for 2 "
        r"rows\. Name another layer\.$",
    ),
    "as many rows as time steps": (
        {"network": TimeFirst(), "mixup": manifold(at="rnn[0]")}, (2, 3), ValueError,
        r"'rnn\[0\]' gives shape \(2, 3, 5\) for 3 rows\. Name another layer\.$",
    ),
    "densities over a map": (
        {"network": nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten()), "mixup": densities(at="0")}, (2, 5, 6), ValueError,
        r"^rows are mixed as densities at layers that give features \(N, d\) or \(N, T, d\); '0' gives \(N, 3, 3, 4\)"
        r"\. Choose a layer behind the flattening\.$",
    ),
    "rows of three dimensions without a network": (
        {}, (6, 3), ValueError,
        r"^X must be a table \(n, F\) for a built-in network; got shape \(48, 6, 3\)\. Pass a `network` that "
        r"takes such rows, or flatten them\.$",
    ),
}  # fmt: skip


@pytest.fixture
def _no_training(monkeypatch):
    def train(*args):
        pytest.fail("training started")

    monkeypatch.setattr(base, "train", train)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.usefixtures("_no_training")
def test_an_error_before_training(case):
    params, shape, kind, message = CASES[case]
    with pytest.raises(kind, match=message):
        DensityRegressor(**FAST | params, preset="plain").fit(*rows(shape))


@pytest.mark.parametrize("case", CASES)
def test_a_failed_fit_leaves_the_estimator_unfitted(case):
    params, shape, kind, message = CASES[case]
    model = DensityRegressor(**FAST, preset="plain").fit(*rows((3,)))
    before = torch.get_rng_state()
    with pytest.raises(kind, match=message):
        model.set_params(**params).fit(*rows(shape))
    with pytest.raises(NotFittedError):
        check_is_fitted(model)
    assert [name for name in vars(model) if name.endswith("_")] == []
    assert torch.equal(torch.get_rng_state(), before)


ROW_SHAPES = {"other time steps": (4, 2, 7), "other channels": (4, 3, 6), "a table": (4, 12), "one row": (12,)}


@pytest.mark.parametrize("wrong", ROW_SHAPES)
def test_rows_of_another_shape_after_the_fit(wrong):
    X, y = rows((2, 6))
    model, shape = DensityRegressor(network=conv1d, **FAST, preset="plain").fit(X, y), ROW_SHAPES[wrong]
    message = rf"^X must have shape \(n, 2, 6\), as X in the fit; got {re.escape(str(shape))}\.$"
    for method in (model.predict, model.predict_dist, lambda X: model.log_prob(X, np.zeros(len(X)))):
        with pytest.raises(ValueError, match=message):
            method(np.zeros(shape))
    with pytest.raises(ValueError, match=r"^`X` must be finite; got NaN at index \(0, 0, 0\)"):
        model.predict(np.full((4, 2, 6), np.nan))


def test_tables_of_another_shape_after_the_fit():
    model = DensityRegressor(network=flat_mlp, **FAST, preset="plain").fit(*rows((3,)))
    with pytest.raises(ValueError, match="X has 5 features, but DensityRegressor is expecting 3"):
        model.predict(np.zeros((4, 5)))
    with pytest.raises(ValueError, match="Found array with dim 3"):
        model.predict(np.zeros((4, 3, 2)))
