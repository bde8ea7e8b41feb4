"""What text spells: dates, which are taken for such, and numbers, which are asked about."""

import re
from collections.abc import Sequence

import pandas as pd

_ISO = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d.*)?$", re.ASCII)
_OFFSET = re.compile(r"\d{4}-\d\d-\d\d[T ].*?(Z|[+-]\d\d(:?\d\d)?)$", re.ASCII)
_OTHER_DATE = re.compile(r"\d{1,4}([./-])\d{1,2}\1\d{1,4}([ T]|$)", re.ASCII)


def iso_times(texts: Sequence[str]) -> pd.DatetimeIndex | None:
    """The dates that texts spell as ISO 8601 has them, or None if one of them does not, or if only some have an offset.

    Of several offsets, as local times have where clocks are changed, the times are in UTC.

    Examples
    --------
    >>> iso_times(["2020-01-31", "2020-02-30"]) is None
    True
    >>> iso_times(["2020-01-31 12:00"]).hour.tolist()
    [12]
    >>> iso_times(["2024-03-31T01:00+01:00", "2024-03-31T03:00+02:00"]).hour.tolist()
    [0, 1]
    """
    if not texts or not all(map(_ISO.match, texts)):
        return None
    offsets = {found and found[1] for found in map(_OFFSET.match, texts)}
    if None in offsets and len(offsets) > 1:
        return None
    try:
        times = pd.to_datetime(list(texts), format="ISO8601", errors="coerce", utc=len(offsets) > 1)
    except (ValueError, TypeError):
        # times that pandas cannot hold
        return None
    return None if times.isna().any() else times


def spells_date(text: str) -> bool:
    """Whether a text may be a date that is written otherwise, such as 31/12/2020, where the month may come first."""
    return _OTHER_DATE.match(text) is not None


def spells_number(text: str) -> bool:
    """Whether a text is that of a number: one with leading zeros is a code.

    Examples
    --------
    >>> spells_number("2.5"), spells_number("02139")
    (True, False)
    """
    try:
        float(text)
    except ValueError:
        return False
    return not re.match(r"0\d", text)
