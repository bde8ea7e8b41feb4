"""Shared by all tests."""

import sys

import numpy as np
import pytest
import torch
from hypothesis import settings
from sklearn.datasets import load_iris

# what tests import by name is not to be imported once more, as modules with doctests are
collect_ignore_glob = ["support/*"]

# a slow example is no failure: machines are busy at times
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")


def pytest_collection_modifyitems(items):
    if torch.cuda.is_available():
        return
    for item in items:
        if "cuda" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture(autouse=True)
def _nothing_global_changes():
    """No test, and so nothing that a test calls, may leave a trace in torch's process-wide state."""
    before = (torch.get_default_dtype(), torch.get_num_threads(), torch.distributions.Distribution._validate_args)
    yield
    assert before == (
        torch.get_default_dtype(),
        torch.get_num_threads(),
        torch.distributions.Distribution._validate_args,
    )


@pytest.fixture(autouse=True)
def _no_figure_stays_open():
    """The figures of a test are not those of the next one."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture
def several():
    """A process in which torch has three threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield 3
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def problem():
    """Features and positive counts."""
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (240, 2))
    return X, rng.poisson(np.exp(1.5 + X[:, 0])) + 1.0


@pytest.fixture(scope="session")
def classes():
    """Features and named classes."""
    X, y = load_iris(return_X_y=True)
    return X, np.array(["setosa", "versicolor", "virginica"])[y]
