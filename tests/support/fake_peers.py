"""Methods of the board that take no time, and some that misbehave; loaded by name in a process of their own."""

import os
import signal
from pathlib import Path

import numpy as np
import torch

from probmix.distributions import QuantileFunction
from probmix.experiments.leaderboard.methods import Fitted

MEBIBYTES = 96


def fit_marginal(training):
    """The Gaussian of the training targets."""
    y = training.rows.y
    law = torch.distributions.Normal
    return Fitted(
        lambda X, exposure: law(torch.full((len(X),), float(y.mean())).double(), float(y.std())),
        {"seed": training.seed},
    )


def fit_wide(training):
    """Twice as wide: worse everywhere."""
    y = training.rows.y
    law = torch.distributions.Normal
    return Fitted(lambda X, exposure: law(torch.full((len(X),), float(y.mean())).double(), 2 * float(y.std())))


def fit_quantiles(training):
    """The quantiles of the training targets."""
    levels = [0.05, 0.5, 0.95]
    quantiles = torch.tensor(np.quantile(training.rows.y, levels))
    return Fitted(lambda X, exposure: QuantileFunction(quantiles.expand(len(X), 3), levels))


def fit_hungry(training):
    """As the marginal, after filling memory that it gives back."""
    np.ones(MEBIBYTES * 2**20 // 8).sum()
    return fit_marginal(training)


def fit_failing(training):
    """Fails."""
    raise ValueError("singular matrix")


def fit_dying(training):
    """Takes its process along."""
    os._exit(3)


def fit_waiting(training):
    """Says that it has begun, and never ends."""
    with Path(os.environ["BEGUN"]).open("wb", buffering=0) as begun:
        begun.write(b"1")
        signal.pause()
