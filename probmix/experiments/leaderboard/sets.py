"""The data sets of the board, with their splits."""

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from ...datasets import load, names, uci_splits

Kind = Literal["real", "positive", "count"]
# What users are taken to know of the targets of a folder.
KINDS: dict[str, Kind] = {"uci": "real", "regression": "real", "positive": "positive", "count": "count"}
TEST_SHARE = 0.2
# Of the data sets of uci/ with fewer published splits than 20.
_PUBLISHED_SPLITS = {"uci/protein-tertiary-structure": 5}


@dataclass(frozen=True, eq=False)
class Rows:
    """Some rows of a data set.

    Attributes
    ----------
    X : DataFrame, (n, F)
        With text and gaps.
    y : ndarray, (n,)
    exposure : ndarray, (n,), or None
    """

    X: pd.DataFrame
    y: NDArray[np.float64]
    exposure: NDArray[np.float64] | None = None

    def take(self, rows: NDArray[np.int64]) -> "Rows":
        """The rows of these numbers."""
        exposure = None if self.exposure is None else self.exposure[rows]
        return Rows(self.X.iloc[rows].reset_index(drop=True), self.y[rows], exposure)

    @property
    def digest(self) -> str:
        """Hash of the data: of equal ones the results are equal."""
        found = hashlib.sha256(repr((self.X.shape, list(self.X.columns))).encode())
        for column in self.X:
            found.update(pd.util.hash_pandas_object(self.X[column], index=False).to_numpy().tobytes())
        found.update(self.y.tobytes() + (b"" if self.exposure is None else self.exposure.tobytes()))
        return found.hexdigest()[:16]


def kind_of(name: str) -> Kind:
    """What the targets of a data set are, by its folder."""
    return KINDS[name.split("/")[0]]


def known_sets(data: str | Path | None) -> list[str]:
    """Names of all data sets of the board that there are in the folder, folder by folder."""
    found = names(data)
    return [name for folder in KINDS for name in found if name.startswith(f"{folder}/")]


@lru_cache(maxsize=4)
def load_rows(name: str, cap: int, data: str | Path | None) -> Rows:
    """The rows of a data set.

    Those of uci/ as they are in the file; of others at most `cap`, in an order that `numpy.random.RandomState(0)`
    draws, of those with a positive exposure and, of positive targets, those above zero: with a probability at zero a
    NLL would be no density's, and could not be compared.
    """
    table = load(name, data, as_is=True)
    rows = Rows(table.X, table.y.astype(np.float64), table.exposure)
    if name.startswith("uci/"):
        return rows
    used = np.ones(len(rows.y), dtype=bool) if kind_of(name) != "positive" else rows.y > 0
    if rows.exposure is not None:
        used &= rows.exposure > 0
    kept = np.flatnonzero(used)
    return rows.take(kept[np.random.RandomState(0).permutation(len(kept))[:cap]])


def number_of_splits(name: str, n_splits: int, uci_splits: int) -> int:
    """How many splits a data set has on the board."""
    if name.startswith("uci/"):
        return min(uci_splits, _PUBLISHED_SPLITS.get(name, uci_splits))
    return n_splits


def split_rows(name: str, rows: Rows, split: int) -> tuple[Rows, Rows]:
    """Training and test rows: of uci/ the published ones, else 80 to 20 %, the number of the split being the seed."""
    train, test = _split(name, len(rows.y), split)
    return rows.take(train), rows.take(test)


def rows_without_test(name: str, rows: Rows, n_splits: int) -> Rows:
    """The rows that none of the first `n_splits` splits tests by, in their order.

    Splits overlap: what is a training row of one may be a test row of another.
    """
    tested = np.concatenate([_split(name, len(rows.y), split)[1] for split in range(n_splits)])
    return rows.take(np.setdiff1d(np.arange(len(rows.y)), tested))


def _split(name: str, n: int, split: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Numbers of the training and of the test rows."""
    if name.startswith("uci/"):
        *_, found = uci_splits(n, split + 1)
        return found
    train, test = train_test_split(np.arange(n), test_size=TEST_SHARE, random_state=split)
    return train, test
