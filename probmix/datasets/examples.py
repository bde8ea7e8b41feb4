"""Rows for examples: of real tables where these are at hand, else simulated with their columns."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .._names import unknown_name
from . import _example_rows
from ._example_rows import Rows
from ._folder import data_folder, tables
from .named import load
from .series import load_series

# Of the 73 columns of the Ames houses.
_HOUSE = [
    *("Neighborhood", "Bldg_Type", "House_Style", "Overall_Cond", "Year_Built", "Year_Remod_Add", "Lot_Frontage"),
    *("Lot_Area", "Mas_Vnr_Area", "Foundation", "Total_Bsmt_SF", "Central_Air", "Gr_Liv_Area", "Full_Bath"),
    *("Bedroom_AbvGr", "Fireplaces", "Garage_Type", "Garage_Cars", "Mo_Sold", "Year_Sold", "Sale_Condition"),
    *("Longitude", "Latitude"),
]


@dataclass(frozen=True, eq=False)
class Example:
    """Rows for an example.

    Attributes
    ----------
    X : DataFrame, (n, F)
        Features as they are in the file, with text, dates and gaps.
    y : ndarray, (n,)
        Targets.
    exposure : ndarray, (n,), or None
        Of the claims, the years for which a policy was insured.
    groups : ndarray, (n,), or None
        Of the patients, whose recording a row is.
    source : str
        Which rows of which table these are, or that they are simulated.
    """

    X: pd.DataFrame
    y: NDArray[Any]
    exposure: NDArray[np.float64] | None
    groups: NDArray[Any] | None
    source: str


def example(name: str, data: str | Path | None = None) -> Example:
    """Rows for an example: of a real table if the folder of data sets has it, else simulated with its columns.

    Parameters
    ----------
    name : str
        What the rows are about:

        - "claims": how many claims policies of motor insurance had, with exposures (count/fremtpl2freq);
        - "severities": what a policy insured for a year cost in all, zero for most (count/bemtpl97 and
          positive/bemtpl97_sev);
        - "houses": what houses were sold for, 23 of the table's 73 columns (positive/ames_housing). A lot's frontage
          that is not known, a zero in the file, is a gap;
        - "demand": how many bicycles were rented in an hour, in order of time (count/bike_hour);
        - "patients": a score of the state of patients with Parkinson's disease, from recordings of their voices, in
          groups by patient (regression/parkinsons_updrs);
        - "load": hourly demand for electricity in megawatts, in order of time, with the calendar, the temperature, and
          the load a week before (series/vic_elec);
        - "wine": scores of white wines, whole numbers from 3 to 9 (regression/wine_quality_white).
    data : path, optional
        The folder of data sets; without it the environment variable PROBMIX_DATA names the folder, if it is set.

    Returns
    -------
    Example
        The same rows at each call. Its `source` says which they are; with and without a folder the columns and the
        number of rows are the same.

    Raises
    ------
    ValueError
        For a name that nothing answers to, with the near misses.
    FileNotFoundError
        If a folder is named that does not exist.

    Notes
    -----
    Simulated rows have the columns of the real ones, and look like them, no more: figures from them say nothing about
    policies, houses or patients.

    Examples
    --------
    >>> from probmix.datasets import example
    >>> claims = example("claims")
    >>> claims.X.shape, claims.exposure.max()
    ((12000, 9), np.float64(1.0))
    """
    if name not in _EXAMPLES:
        raise ValueError(unknown_name("example", name, _EXAMPLES))
    kind = _EXAMPLES[name]
    there = tables(data_folder(data), ("count", "positive", "regression", "series"))
    if all(table in there for table in kind.tables):
        rows, source = kind.read(data), f"{kind.rows} of {kind.tables[0]}: {kind.about}"
    else:
        rows = kind.simulate(np.random.default_rng(0))
        source = f"simulated rows, with the columns of {kind.tables[0]}: {kind.about}"
    return Example(rows.X.reset_index(drop=True), rows.y, rows.exposure, rows.groups, source)


def _claims(data: str | Path | None) -> Rows:
    claims = load("count/fremtpl2freq", data, as_is=True)
    assert claims.exposure is not None  # of this table
    # a few are above the one year that the table is about
    exposure = claims.exposure.clip(max=1.0)
    some = _sample(len(claims.y), _example_rows.CLAIMS)
    return Rows(claims.X.iloc[some], claims.y[some], exposure=exposure[some])


def _severities(data: str | Path | None) -> Rows:
    policies, costs = load("count/bemtpl97", data, as_is=True), load("positive/bemtpl97_sev", data, as_is=True)
    # the second table has the policies with claims, in the order of the first, and the mean cost of a claim
    total = np.zeros(len(policies.y))
    total[policies.y > 0] = costs.left_out["nclaims"].to_numpy() * costs.y
    year = np.flatnonzero(policies.exposure == 1)
    some = year[_sample(len(year), _example_rows.SEVERITIES)]
    return Rows(policies.X.iloc[some], total[some])


def _houses(data: str | Path | None) -> Rows:
    houses = load("positive/ames_housing", data, as_is=True)
    some = _sample(len(houses.y), _example_rows.HOUSES)
    X = houses.X[_HOUSE].iloc[some]
    return Rows(X.assign(Lot_Frontage=X["Lot_Frontage"].where(X["Lot_Frontage"] > 0)), houses.y[some].astype(float))


def _demand(data: str | Path | None) -> Rows:
    hours = load("count/bike_hour", data, as_is=True)
    X = hours.X.assign(dteday=pd.to_datetime(hours.left_out["dteday"]))[["dteday", *hours.X.columns]]
    return Rows(X[-_example_rows.DEMAND :], hours.y[-_example_rows.DEMAND :])


def _patients(data: str | Path | None) -> Rows:
    recordings = load("regression/parkinsons_updrs", data, as_is=True)
    some = slice(None, None, 3)
    return Rows(recordings.X[some], recordings.y[some], groups=recordings.left_out["subject"].to_numpy()[some])


def _load(data: str | Path | None) -> Rows:
    # two rows an hour, from the full hour on; the clock of Melbourne
    hours = load_series("series/vic_elec", data)[::2].tz_convert("Australia/Melbourne").tz_localize(None)
    return _example_rows.load_of_hours(hours["Demand"], hours["Temperature"], hours["Holiday"])


def _wine(data: str | Path | None) -> Rows:
    wines = load("regression/wine_quality_white", data, as_is=True)
    some = _sample(len(wines.y), _example_rows.WINE)
    return Rows(wines.X.iloc[some], wines.y[some])


def _sample(n: int, size: int) -> NDArray[np.int64]:
    return np.random.default_rng(0).permutation(n)[:size]


class _Kind(NamedTuple):
    """Where an example comes from: its tables, which rows of the first, what they are, and two ways to them."""

    tables: tuple[str, ...]
    rows: str
    about: str
    read: Callable[[str | Path | None], Rows]
    simulate: Callable[[np.random.Generator], Rows]


_EXAMPLES = {
    "claims": _Kind(
        ("count/fremtpl2freq",),
        f"{_example_rows.CLAIMS:,} random rows",
        "French motor liability insurance, a policy a row",
        _claims,
        _example_rows.claims,
    ),
    "severities": _Kind(
        ("count/bemtpl97", "positive/bemtpl97_sev"),
        f"{_example_rows.SEVERITIES:,} random rows",
        "Belgian motor liability insurance of 1997, a policy insured for the year a row",
        _severities,
        _example_rows.severities,
    ),
    "houses": _Kind(
        ("positive/ames_housing",),
        f"{_example_rows.HOUSES:,} random rows",
        "houses sold in Ames, Iowa, 2006 to 2010",
        _houses,
        _example_rows.houses,
    ),
    "demand": _Kind(
        ("count/bike_hour",),
        f"the last {_example_rows.DEMAND:,} rows",
        "bicycles rented in Washington, an hour a row",
        _demand,
        _example_rows.demand,
    ),
    "patients": _Kind(
        ("regression/parkinsons_updrs",),
        "every third row",
        "patients with Parkinson's disease, a recording of a voice a row",
        _patients,
        _example_rows.patients,
    ),
    "load": _Kind(
        ("series/vic_elec",),
        f"the last {_example_rows.LOAD:,} hours",
        "electricity in Victoria, Australia",
        _load,
        _example_rows.load,
    ),
    "wine": _Kind(
        ("regression/wine_quality_white",),
        f"{_example_rows.WINE:,} random rows",
        "Portuguese white wines, tasted by three or more",
        _wine,
        _example_rows.wine,
    ),
}
