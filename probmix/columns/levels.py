"""Columns of levels, as codes."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from .._told import warn
from .encoders import Stored
from .kinds import MIXED, TEXT, in_words, kind_of
from .spelling import spells_date, spells_number
from .tables import Array, Column

# Gorishniy et al. (2021) and Holzmueller et al. (2024), RealMLP: one-hot up to 9 levels, learned vectors above.
_LARGEST_ONE_HOT = 9
_MOST_CODES = 255
# Levels with a smaller share of the rows have too few to be learned where there are many rows.
_RARE = 1 / 2000
_DIGITS = 12


@dataclass(frozen=True)
class LevelColumn:
    """Levels as codes: those that are frequent in order, then that of gaps and that of all others, if the fit saw such.

    A level that the fit did not see has the code of the rare ones, or else that of gaps, or else that of the most
    frequent level: every code stands for rows that trained. So does a gap where the fit saw none.

    Parameters
    ----------
    name : str
    kinds : tuple of str
        What the cells were.
    levels : tuple of str
        Keys of the levels in the order of their codes.
    n_codes : int
    missing : int
        The code of gaps.
    unknown : int
        The code of all levels that are not in `levels`.
    """

    name: str
    kinds: tuple[str, ...]
    levels: tuple[str, ...]
    n_codes: int
    missing: int
    unknown: int

    @classmethod
    def learn(cls, column: Column, weights: Array | None, keep: bool = False, listed: bool = False) -> Self | None:
        """Learn from a column, or nothing from one that is constant, unless it is to be kept.

        Text that looks like numbers or dates is asked about, unless the user listed the column as one of levels.
        """
        codes, keys = column.levels
        rows = np.bincount(codes + 1, weights, len(keys) + 1)
        shares = np.round(rows / rows.sum(), _DIGITS)
        of_gaps, of_levels = shares[0], dict.fromkeys(keys, 0.0)
        for key, share in zip(keys, shares[1:], strict=True):
            of_levels[key] += share
        of_levels = {key: share for key, share in of_levels.items() if share > 0}
        if not (listed or column.is_category):
            _ask(column, list(of_levels))
        has_gaps = bool(of_gaps > 0)
        kept = _frequent(of_levels, _MOST_CODES - has_gaps)
        has_rare = len(kept) < len(of_levels)
        n_codes = len(kept) + has_gaps + has_rare
        if not n_codes or (n_codes == 1 and not keep):
            return None
        mode = max(range(len(kept)), key=lambda code: of_levels[kept[code]], default=0)
        missing = len(kept) if has_gaps else n_codes - 1 if has_rare else mode
        unknown = n_codes - 1 if has_rare or has_gaps else mode
        return cls(column.name, tuple(sorted(column.kinds)), kept, n_codes, missing, unknown)

    @property
    def stored(self) -> tuple[Stored, ...]:
        """One column of codes."""
        return (Stored("level", self.name, self.n_codes, self.n_codes > _LARGEST_ONE_HOT),)

    @property
    def stand_in(self) -> str | None:
        """The most frequent level, where the fit saw neither gaps nor rare levels."""
        if self.missing >= len(self.levels):
            return None
        return f"the most frequent level ({self.levels[self.missing].split(':', 1)[1]!r})"

    def encode(self, column: Column) -> list[Array]:
        """The codes.

        Raises
        ------
        ValueError
            For cells of a kind that the fit did not see, such as numbers among text.
        """
        column.expect(*self.kinds)
        codes, keys = column.levels
        places = {key: code for code, key in enumerate(self.levels)}
        table = np.array([*(places.get(key, self.unknown) for key in keys), self.missing], dtype=np.float64)
        return [table[codes]]

    def warn_of_strangers(self, column: Column, levels: str = "levels", in_words: Callable[[str], str] = repr) -> None:
        """Warn of levels that the fit has not seen, where it has learned of no others and of no gaps.

        Parameters
        ----------
        column : Column
        levels : str
            What they are.
        in_words : callable
            Of a level as text.
        """
        if self.unknown >= len(self.levels):
            return
        codes, keys = column.levels
        known = set(self.levels)
        strange = [number for number, key in enumerate(keys) if key not in known]
        is_strange = np.isin(codes, strange)
        if is_strange.any():
            row = int(is_strange.argmax())
            what, instead = (in_words(key.split(":", 1)[1]) for key in (keys[codes[row]], self.levels[self.unknown]))
            warn(
                f"{column.label} of `{column.called}` holds {levels} that the fit has not seen, in {is_strange.sum()} "
                f"of {len(codes)} rows, such as {what} at row {row}: they are taken for the most frequent, {instead}."
            )

    def state(self) -> dict[str, Any]:
        """The parameters."""
        return {**asdict(self), "kinds": list(self.kinds), "levels": list(self.levels)}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """The encoder with these parameters."""
        return cls(**{**state, "kinds": tuple(state["kinds"]), "levels": tuple(state["levels"])})


def _order(key: str) -> tuple[str, float, str]:
    kind, text = key.split(":", 1)
    return kind, float(text) if kind == "number" else 0.0, text


def _frequent(shares: dict[str, float], most: int) -> tuple[str, ...]:
    """The levels that have a code of their own, in their order, if there are at most so many codes."""
    levels = sorted(shares, key=_order)
    kept = [level for level in levels if shares[level] >= _RARE]
    if len(kept) < 2:
        # where all are rare, as identifiers are, the most frequent are all there is
        kept = levels
    if len(kept) > most - (len(kept) < len(levels)):
        # one code is that of the others
        kept = sorted(kept, key=lambda level: -shares[level])[: most - 1]
    return tuple(sorted(kept, key=_order))


def _ask(column: Column, levels: list[str]) -> None:
    """Warn of levels that the user may not have meant."""
    if column.holds == MIXED:
        odd = TEXT if TEXT in column.kinds else min(column.kinds)
        row, cell = column.first(lambda one: kind_of(type(one)) == odd)
        warn(
            f"{column.label} of `{column.called}` mixes {' and '.join(sorted(column.kinds))}, such as {in_words(cell)} "
            f"at row {row}; all are taken for levels. Write gaps as None or NaN, or make it a category."
        )
    if column.holds != TEXT or len(levels) <= _LARGEST_ONE_HOT:
        return
    texts = [level.split(":", 1)[1] for level in levels]
    for spells, what, mend in (
        (spells_number, "numbers", "astype(float)"),
        (spells_date, "dates", "pandas.to_datetime with their format"),
    ):
        if all(map(spells, texts)):
            warn(
                f"{column.label} of `{column.called}` is text that spells {what}, such as {texts[0]!r}; it is taken "
                f"for {len(levels)} levels. It becomes {what} by {mend}; make it a category to keep the levels."
            )
