"""Features as the peers' users give them: one-hot or native categories, medians in gaps, the log of an exposure."""

from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

MISSING = "missing"
_LOG_EXPOSURE = "log exposure"


def is_category(column: "pd.Series[Any]") -> bool:
    """Whether a column is no number."""
    return not pd.api.types.is_numeric_dtype(column)


def with_exposure(X: pd.DataFrame, exposure: NDArray[np.float64] | None) -> pd.DataFrame:
    """The log of an exposure as one more feature, for methods that know no offset."""
    return X if exposure is None else X.assign(**{_LOG_EXPOSURE: np.log(exposure)})


class OneHot:
    """Numbers with the training median in gaps, and a column of zeros and ones for each level of a category.

    A gap in a category is a level of its own; levels that the training rows do not have are zero everywhere.

    Parameters
    ----------
    X : DataFrame
        Training rows.
    drop_first : bool
        Leave out the first level of each category, and columns that are constant, as linear models need it.

    Examples
    --------
    >>> import pandas as pd
    >>> train = pd.DataFrame({"size": [1.0, None, 3.0, 8.0], "kind": ["a", "b", None, "a"]})
    >>> OneHot(train)(pd.DataFrame({"size": [None], "kind": ["b"]}))
    array([[3., 0., 1., 0.]])
    """

    def __init__(self, X: pd.DataFrame, drop_first: bool = False) -> None:
        self._medians: dict[Hashable, float] = {}
        self._levels: dict[Hashable, list[str]] = {}
        for name in X:
            column = X[name]
            if is_category(column):
                self._levels[name] = sorted(set(as_text(column)))[int(drop_first) :]
            else:
                median = column.astype(float).median()
                self._medians[name] = 0.0 if np.isnan(median) else float(median)
        self._kept: NDArray[np.bool_] | None = None
        if drop_first:
            values = self(X)
            self._kept = values.min(axis=0) < values.max(axis=0)

    def __call__(self, X: pd.DataFrame) -> NDArray[np.float64]:
        """Rows as numbers, (n, columns)."""
        columns = []
        for name in X:
            if name in self._medians:
                columns.append(X[name].astype(float).fillna(self._medians[name]).to_numpy())
            else:
                text = as_text(X[name])
                columns += [(text == level).astype(float) for level in self._levels[name]]
        values: NDArray[np.float64] = np.column_stack(columns)
        return values if self._kept is None else values[:, self._kept]


class Categories:
    """Columns of text as pandas' categories of the training rows, with gaps as they are: as LightGBM takes them."""

    def __init__(self, X: pd.DataFrame) -> None:
        self._levels = {name: sorted(X[name].dropna().unique()) for name in X if is_category(X[name])}

    def __call__(self, X: pd.DataFrame) -> pd.DataFrame:
        """Rows with categories."""
        # names with special signs are refused by some peers
        names = [f"x{place}" for place in range(X.shape[1])]
        columns = [self._coded(X[name], self._levels[name]) if name in self._levels else X[name] for name in X]
        return pd.DataFrame(dict(zip(names, columns, strict=True)), index=X.index)

    @staticmethod
    def _coded(column: "pd.Series[Any]", levels: list[Any]) -> pd.Categorical:
        # what the training rows do not have is a gap
        return pd.Categorical(column.where(column.isin(levels)), levels)


def as_text(column: "pd.Series[Any]") -> NDArray[np.object_]:
    """A category as text, a gap as a word."""
    values = column.astype(object)
    text: NDArray[np.object_] = values.where(values.notna(), MISSING).astype(str).to_numpy(dtype=object)
    return text
