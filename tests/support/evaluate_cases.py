"""What the tests of evaluate share."""

import re

import numpy as np
import pytest
import scipy.stats as st
import torch

from probmix.distributions import QuantileFunction

RNG = np.random.default_rng(0)
Y = RNG.normal(size=40)
CENTRE = 0.6 * Y + 0.2 * RNG.normal(size=40)
WEIGHTS = RNG.integers(0, 4, 40).astype(float)
DRAWS = CENTRE[:, None] + RNG.normal(size=(40, 30))
LEVELS = [0.05, 0.25, 0.5, 0.75, 0.95]


def models():
    return {
        "torch": torch.distributions.Normal(torch.tensor(CENTRE), 1.0),
        "scipy": st.norm(0.0, np.full(40, 1.2)),
        "t": st.t(4, CENTRE),
        "draws": DRAWS,
        "quantiles": QuantileFunction(torch.tensor(np.quantile(DRAWS, LEVELS, axis=1).T), LEVELS),
    }


def raises(kind, message):
    return pytest.raises(kind, match=f"^{re.escape(message)}")
