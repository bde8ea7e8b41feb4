"""What a fit learns of the columns of X, and X as the columns that an estimator stores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from .._told import warn
from ..networks.layout import ColumnLayout
from .dates import DateColumn
from .encoders import Encoder
from .kinds import BOOLEAN, DATE, EMPTY, NUMBER, SPAN, TIME, kind_of
from .levels import LevelColumn
from .listed import listed_columns
from .numbers import NumberColumn
from .tables import Array, Column, Table, as_table, plain, telling

_ENCODERS: dict[str, type[Any]] = {"numbers": NumberColumn, "levels": LevelColumn, "dates": DateColumn}


@dataclass(frozen=True)
class Columns:
    """What a fit learned of the columns of X.

    Numbers stay as they are; their gaps are filled by the median, with an indicator behind them where the fit saw some.
    Truth values are numbers. Text and categories are codes of levels: the 255 most frequent at most, the others share
    one. Dates, also text that spells them as ISO 8601 has them, are days since 1970 with their place in the year, the
    week and the day; spans are days. Columns that are constant or empty are dropped; if all are, the first is kept.

    Parameters
    ----------
    encoders : tuple of (Encoder or None)
        One for each column of X; None for those that are dropped.
    feature_names : tuple of str or None
        Names of the columns of X, if they are text.
    labels : tuple of str or None
        Names that are something else, such as years, as text; those of an array are None.

    Examples
    --------
    >>> import pandas as pd
    >>> X = pd.DataFrame({"age": [30, None, 50], "make": ["a", "b", "a"], "year": [2020, 2020, 2020]})
    >>> columns, stored = Columns.fit(X)
    >>> columns.layout.names
    ('age', 'age is missing', 'make')
    >>> stored.tolist()
    [[30.0, 0.0, 0.0], [40.0, 1.0, 1.0], [50.0, 0.0, 0.0]]
    >>> columns.transform(pd.DataFrame({"make": ["b"], "age": [70], "year": [2021]})).tolist()
    [[70.0, 0.0, 1.0]]
    """

    encoders: tuple[Encoder | None, ...]
    feature_names: tuple[str, ...] | None
    labels: tuple[str, ...] | None = None

    @classmethod
    def fit(
        cls, X: Any, *, categorical_features: Any = "from_dtype", sample_weight: ArrayLike | None = None
    ) -> tuple[Self, Array]:
        """Learn what the columns of a table are.

        Parameters
        ----------
        X : DataFrame of any library, array-like or sparse, (n, F)
        categorical_features : {"from_dtype"}, None, or array-like of str, int or bool
            Which columns are levels: those of text and categories; none; or those of these names, at these positions,
            or where a mask is true. Unless it is "from_dtype" all others must hold numbers or times.
        sample_weight : array-like, (n,), optional
            A row of weight two counts as two rows, one of weight zero not at all.

        Returns
        -------
        columns : Columns
        stored : ndarray, (n, F)
            As `transform` gives it.

        Raises
        ------
        ValueError, TypeError
            For infinite numbers and what is no table of cells, with the name of the column.
        """
        table = as_table(X, "X")
        listed = listed_columns(table, categorical_features)
        weights = _weights(sample_weight, table.n_rows)
        encoders: list[Encoder | None] = []
        parts: list[Array] = []
        for position in range(table.n_columns):
            column = table.column(position)
            encoder = _learn(column, weights, listed)
            encoders.append(encoder)
            if encoder is not None and table.matrix is None:
                parts += encoder.encode(column)
        if not any(encoders):
            column = table.column(0)
            encoders[0] = _learn(column, weights, listed, keep=True)
            parts = []
        columns = cls(tuple(encoders), table.names, table.labels)
        return columns, _joined(parts, table.n_rows) if parts else columns._encode(table, range(table.n_columns))

    def transform(self, X: Any, name: str = "X") -> Array:
        """The stored columns of another table, whose columns go by their names if it has such.

        Parameters
        ----------
        X : DataFrame of any library, array-like or sparse, (n, F)
        name : str
            What messages call it.

        Returns
        -------
        ndarray, (n, F)

        Raises
        ------
        ValueError
            For columns that are missing, unknown or hold something else than in the fit.

        Warns
        -----
        UserWarning
            For levels that the fit has not seen, where they are taken for the most frequent one.
            If only one of this table and that of the fit has names.
        """
        table = as_table(X, name)
        return self._encode(table, self._places(table))

    @cached_property
    def layout(self) -> ColumnLayout:
        """What each stored column is."""
        encoders = ((position, encoder) for position, encoder in enumerate(self.encoders) if encoder is not None)
        stored = [(position, one) for position, encoder in encoders for one in encoder.stored]
        return ColumnLayout(
            kinds=tuple(one.kind for _, one in stored),
            n_levels=tuple(one.n_levels for _, one in stored),
            embedded=tuple(one.embedded for _, one in stored),
            names=tuple(one.name for _, one in stored),
            sources=tuple(position for position, _ in stored),
        )

    @property
    def n_features_in_(self) -> int:
        """How many columns X has."""
        return len(self.encoders)

    @property
    def feature_names_in_(self) -> NDArray[np.object_] | None:
        """The names of the columns of X, if all are text."""
        return None if self.feature_names is None else np.array(self.feature_names, dtype=object)

    @cached_property
    def names(self) -> tuple[str, ...] | None:
        """What the columns of X are called; None where that is only their position."""
        return telling(self.feature_names, self.labels)

    def in_words(self, place: int, value: float) -> str:
        """A number of a stored column as the user knows it: dates as such, spans in days.

        Examples
        --------
        >>> import pandas as pd
        >>> columns, stored = Columns.fit(pd.DataFrame({"sold": pd.to_datetime(["2020-01-01", "2020-03-01"])}))
        >>> columns.in_words(0, stored[0, 0])
        '2020-01-01 00:00:00'
        """
        source = self.layout.sources[place]
        encoder, is_first = self.encoders[source], self.layout.sources.index(source) == place
        if isinstance(encoder, DateColumn) and is_first and encoder.parts[0][0] == "days":
            return str(pd.Timestamp(value, unit="D").round("s"))
        unit = {SPAN: " days", TIME: " hours"}.get(encoder.unit, "") if isinstance(encoder, NumberColumn) else ""
        return f"{value:g}{unit}"

    def state(self) -> dict[str, Any]:
        """All that was learned, as values that JSON keeps exactly."""
        kinds = {kind: name for name, kind in _ENCODERS.items()}
        return {
            "encoders": [one and {"kind": kinds[type(one)], **one.state()} for one in self.encoders],
            "feature_names": None if self.feature_names is None else list(self.feature_names),
            "labels": None if self.labels is None else list(self.labels),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """What a `state` tells."""
        encoders = [
            one and _ENCODERS[one["kind"]].from_state({key: value for key, value in one.items() if key != "kind"})
            for one in state["encoders"]
        ]
        # older files know of no labels
        names = [None if state.get(what) is None else tuple(state[what]) for what in ("feature_names", "labels")]
        return cls(tuple(encoders), *names)

    def _places(self, table: Table) -> Sequence[int]:
        """Where in a table the columns of the fit stand."""
        known, names = self.feature_names or self.labels, table.names or table.labels
        was_named, is_named = self.names is not None, table.telling is not None
        if known is not None and names is not None:
            if None in (self.feature_names, table.names) and set(known) != set(names):
                known, names = (tuple(map(plain, of)) for of in (known, names))
            if set(known) == set(names) and len(set(names)) == len(names):
                places = {name: place for place, name in enumerate(names)}
                return [places[name] for name in known]
            if was_named and is_named:
                raise ValueError(_other_names(known, names))
        if table.n_columns != len(self.encoders):
            # in scikit-learn's words, which its checks of estimators look for
            raise ValueError(
                f"{table.called} has {table.n_columns} features, but it is expecting {len(self.encoders)} features as "
                "input."
            )
        if is_named and not was_named:
            warn(f"{table.called} has feature names, but that of the fit had none")
        elif was_named and not is_named:
            warn(
                f"{table.called} does not have valid feature names, but that of the fit had; its columns are taken in "
                "their order"
            )
        return range(table.n_columns)

    def _encode(self, table: Table, places: Sequence[int]) -> Array:
        """The stored columns of a table, in which the columns of the fit stand at these places."""
        kept = [(place, encoder) for place, encoder in zip(places, self.encoders, strict=True) if encoder is not None]
        if table.matrix is not None and all(isinstance(one, NumberColumn) and one.is_plain for _, one in kept):
            wanted = [place for place, _ in kept]
            matrix = table.matrix if wanted == [*range(table.n_columns)] else table.matrix[:, wanted]
            if np.isfinite(matrix).all():
                return matrix
        names = self.names or [None] * len(self.encoders)
        parts: list[Array] = []
        encoded: list[tuple[Column, Encoder]] = []
        for place, encoder, name in zip(places, self.encoders, names, strict=True):
            if encoder is not None:
                column = table.column(place, name)
                parts += encoder.encode(column)
                encoded.append((column, encoder))
        # behind all errors
        for column, encoder in encoded:
            if isinstance(encoder, LevelColumn | DateColumn):
                encoder.warn_of_strangers(column)
            _warn_of_gaps(column, encoder)
        return _joined(parts, table.n_rows)


def _warn_of_gaps(column: Column, encoder: Encoder) -> None:
    """Warn of gaps where the fit saw none: predictions are as sure as if the cells were known."""
    gaps = column.missing
    if encoder.stand_in is not None and gaps.any():
        warn(
            f"{column.label} of `{column.called}` has gaps in {gaps.sum()} of {len(gaps)} rows, the first at row "
            f"{int(gaps.argmax())}, and had none in the fit: {encoder.stand_in} stands for them."
        )


def _learn(
    column: Column, weights: Array | None, listed: NDArray[np.bool_] | None, keep: bool = False
) -> Encoder | None:
    """What is to be known of a column, None of one that is constant unless it is to be kept."""
    if column.holds == EMPTY:
        return NumberColumn(column.name, EMPTY, 0.0) if keep else None
    is_date = column.holds == DATE or column.spelt_times is not None
    is_number = column.holds in (NUMBER, BOOLEAN, SPAN, TIME)
    if listed is None:
        gaps = column.missing if weights is None else column.missing[weights > 0]
        is_level = column.is_category or not (is_date or is_number) or (column.holds == BOOLEAN and bool(gaps.any()))
    else:
        is_level = bool(listed[column.position])
        if not (is_level or is_date or is_number):
            column.refuse(
                "numbers or times in columns that `categorical_features` does not list",
                lambda cell: kind_of(type(cell)) not in (NUMBER, BOOLEAN),
                "List the column, or leave `categorical_features` at 'from_dtype'.",
            )
    if is_level:
        return LevelColumn.learn(column, weights, keep, listed is not None)
    return DateColumn.learn(column, weights, keep) if is_date else NumberColumn.learn(column, weights, keep)


def _joined(parts: list[Array], n_rows: int) -> Array:
    """Columns as a table; the list is emptied, so that not all are held twice."""
    table = np.empty((n_rows, len(parts)))
    for position in range(len(parts) - 1, -1, -1):
        table[:, position] = parts.pop()
    return table


def _weights(sample_weight: ArrayLike | None, n_rows: int) -> Array | None:
    """Weights of rows, None where they are all the same."""
    if sample_weight is None:
        return None
    weights = np.asarray(sample_weight, dtype=np.float64)
    if weights.shape != (n_rows,):
        raise ValueError(f"`sample_weight` must have shape ({n_rows},), one for each row of `X`; got {weights.shape}.")
    largest = weights.max()
    if not (np.isfinite(weights).all() and weights.min() >= 0 and largest > 0):
        raise ValueError("`sample_weight` must be finite, not negative, and positive for one row at least.")
    return None if weights.min() == largest else weights / largest


def _other_names(known: Sequence[str], names: Sequence[str]) -> str:
    """What is wrong with names of columns, in scikit-learn's words."""
    message = "The feature names should match those that were passed during fit.\n"
    for what, found in (
        ("Feature names unseen at fit time", sorted(set(names) - set(known))),
        ("Feature names seen at fit time, yet now missing", sorted(set(known) - set(names))),
    ):
        if found:
            shown = found[:5] + ["..."] * (len(found) > 5)
            message += f"{what}:\n" + "".join(f"- {name}\n" for name in shown)
    return message
