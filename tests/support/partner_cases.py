"""Targets, sources of random numbers and exact tables by which laws of partners are tested."""

import numpy as np
import torch
from scipy import stats

from probmix.random import KeyedRandom, member_keys


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def random_of(members=1, seed=0):
    return KeyedRandom(member_keys(seed, members))


def drawn(law, x, y, draws, seed=0):
    """Partners of all rows of one member, (n, draws)."""
    prepared = law.prepare([x], [y])
    return prepared.draw(torch.arange(len(x)).unsqueeze(0), random_of(1, seed).uniform, draws)[0]


def frequencies(partners, n):
    """How often each row was drawn by each: (n, draws) -> (n, n)."""
    times = torch.zeros(len(partners), n, dtype=torch.float64)
    return times.scatter_add_(1, partners, torch.ones_like(partners, dtype=torch.float64)).numpy()


def pvalue_of(partners, table):
    """Of the chi-square test of drawn partners, (n, draws), against the probabilities of all rows, (n, n).

    Cells that expect fewer than five draws are one for each row.
    """
    observed, n = frequencies(partners, table.shape[1]), partners.shape[1]
    expected = n * table / table.sum(1, keepdims=True)
    assert observed[table == 0].sum() == 0
    rare = expected < 5
    rest = (np.where(rare, observed, 0).sum(1), np.where(rare, expected, 0).sum(1))
    statistic = (np.where(rare, 0, (observed - expected) ** 2 / np.where(rare, 1, expected))).sum()
    kept = rest[1] >= 1
    statistic += ((rest[0] - rest[1])[kept] ** 2 / rest[1][kept]).sum()
    freedom = (~rare).sum() + kept.sum() - len(table)
    return stats.chi2.sf(statistic, freedom) if freedom > 0 else 1.0
