"""What a network is told of the columns of a table."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ColumnLayout:
    """What each stored column is: a number, whether one is missing, or the level of a category.

    Attributes
    ----------
    kinds : tuple of {"number", "indicator", "level"}
    n_levels : tuple of int
        Of a column of levels, whose codes are whole numbers from 0; 0 for others.
    embedded : tuple of bool
        Of a column of levels, whether a network learns a vector for each, in place of a one-hot.
    names : tuple of str
        For messages.
    sources : tuple of int
        Which of the user's columns each comes from.

    Examples
    --------
    >>> from probmix.networks import ColumnLayout
    >>> ColumnLayout.plain(2).kinds
    ('number', 'number')
    """

    kinds: tuple[str, ...]
    n_levels: tuple[int, ...]
    embedded: tuple[bool, ...]
    names: tuple[str, ...]
    sources: tuple[int, ...]

    @classmethod
    def plain(cls, count: int) -> "ColumnLayout":
        """That of a table of so many numbers."""
        names = tuple(f"column {number}" for number in range(count))
        return cls(("number",) * count, (0,) * count, (False,) * count, names, tuple(range(count)))

    @property
    def n_numbers(self) -> int:
        """How many columns are numbers."""
        return self.kinds.count("number")
