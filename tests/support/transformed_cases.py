"""Laws, maps and comparisons for the tests of transformed targets."""

import numpy as np
import torch
from sklearn.preprocessing import FunctionTransformer

from probmix.distributions import MonotoneMap

LOC, SCALE = torch.tensor([0.0, 1.0, -2.0, 3.0]).double(), torch.tensor([1.0, 0.2, 0.01, 2.0]).double()
NORMAL = torch.distributions.Normal(LOC, SCALE)
LOG = MonotoneMap(np.log, np.exp, y_range=(0.0, np.inf), name="log")


def functions(func, inverse):
    """A fitted transformer of two functions."""
    return FunctionTransformer(func, inverse, check_inverse=False).fit(np.ones((3, 1)))


def close(ours, theirs, rtol=1e-9, atol=0.0):
    """Raise unless both are equal to so much."""
    torch.testing.assert_close(ours, theirs, rtol=rtol, atol=atol)
