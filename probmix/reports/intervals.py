"""Prediction intervals of single rows against what was observed."""

from ..plots import IntervalDisplay
from .figures import new_axes
from .page import Picture, Section, Text
from .subject import Subject

# Rows of a picture that is as wide as a telephone.
_ROWS = 80
# What the wide bars should hold, where no single value has a probability of its own, and where some have.
_SHARE = {
    False: "Of ten targets about nine should be inside of the wide bars,",
    True: "As single values have a probability of their own, bars should hold more than 50 % and 90 %; how much, the "
    "legend says. They should do so",
}


def intervals_section(subject: Subject) -> Section | None:
    """A picture of some rows, sorted by their predicted medians; None of classes."""
    if subject.of_classes:
        return None
    figure, ax = new_axes(4.2)
    IntervalDisplay.from_predictions(
        subject.distribution, subject.targets, max_rows=_ROWS, target_name=subject.target_name, ax=ax
    )
    n = len(subject.y)
    rows = f"{_ROWS} rows, taken at random," if n > _ROWS else f"all {n} rows,"
    caption = f"Intervals of {rows} and what was observed. The shares in the legend are those of all {n:,} rows."
    said = (
        "Each row has a bar for its 50 % interval and one for its 90 % interval; rows are sorted by their predicted "
        f"medians. {_SHARE[subject.has_masses]} on the left as well as on the right. "
        "Short bars are better as long as that holds, and bars of different lengths mean that the model tells rows of "
        "which it is sure from others."
    )
    return Section("Intervals against observed targets", [Text(said), Picture.of(figure, caption)])
