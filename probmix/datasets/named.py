"""Data sets with a target, by name: scikit-learn's bundled diabetes data, and files in a folder of the user's."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.datasets import load_diabetes

from ._folder import data_folder, find_table, read_table, tables

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
# Of counts: for how long, or among how many, they were counted. Each is among the columns that are left out.
_EXPOSURES = {
    "count/aus_private_auto": "Exposure",
    "count/bemtpl97": "expo",
    "count/fremtpl2freq": "Exposure",
    "count/insurance_claims": "Holders",
    "count/ship_incidents": "service",
    "count/singapore_auto": "Exp_weights",
}


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set for supervised learning.

    Attributes
    ----------
    name : str
    X : DataFrame, (n, F)
        Features as floats, text one-hot encoded; or as they are.
    y : ndarray, (n,)
        Targets, or class labels.
    left_out : DataFrame, (n, C)
        Columns of the file that are no features, as they are in the file: ids, by which repeated measurements are kept
        on one side of a split, exposures, second targets. Often without columns.
    exposure : ndarray, (n,), or None
        Of counts with an exposure, the column among those that are left out that has it.
    """

    name: str
    X: pd.DataFrame
    y: NDArray[Any]
    left_out: pd.DataFrame
    exposure: NDArray[np.float64] | None = None


def load(name: str, data: str | Path | None = None, *, as_is: bool = False) -> Dataset:
    """Load a data set by name.

    Parameters
    ----------
    name : str
        "diabetes", bundled with scikit-learn, or "folder/stem" such as "count/affairs" for the file
        ``folder/stem.csv`` or ``folder/stem.csv.gz`` in the folder of data sets. The file has a header, the target is
        its last column, and an empty cell is a missing value.
    data : path, optional
        The folder of data sets; without it the environment variable PROBMIX_DATA names the folder.
    as_is : bool
        Whether features are to be as they are in the file, with text and missing cells.

    Returns
    -------
    Dataset
        Rows in the order of the file. Unless `as_is` rows with a missing cell, in the target or in a feature, are
        dropped, and a text column becomes one column of zeros and ones per value, by `pandas.get_dummies`. Rows without
        a target are always dropped.

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
    table = read_table(find_table("data set", name, data, _FOLDERS, bundled=["diabetes"]))
    left_out = list(_LEFT_OUT.get(name, ()))
    used = table.drop(columns=left_out)
    complete = used.iloc[:, -1].notna() if as_is else used.notna().all(axis=1)
    used = used[complete].reset_index(drop=True)
    X = used.iloc[:, :-1] if as_is else pd.get_dummies(used.iloc[:, :-1], dtype=float).astype(float)
    others = table.loc[complete, left_out].reset_index(drop=True)
    exposure = others[_EXPOSURES[name]].to_numpy(dtype=np.float64) if name in _EXPOSURES else None
    return Dataset(name, X, used.iloc[:, -1].to_numpy(), others, exposure)


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
    return sorted(["diabetes", *tables(data_folder(data), _FOLDERS)])
