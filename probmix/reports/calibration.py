"""Whether predictions may be taken at their word."""

from dataclasses import dataclass
from math import sqrt

import numpy as np
import torch

from ..plots import CoverageDisplay, PITHistogramDisplay, ReliabilityDisplay
from ..scores import coverage_curve
from .figures import new_axes
from .page import Picture, Points, Section, Table
from .subject import Subject

_LEVELS = (0.5, 0.8, 0.9, 0.95, 0.99)
# Classes that have a diagram of their own.
_DIAGRAMS = 4


@dataclass(frozen=True)
class Coverage:
    """The share of n targets in central intervals of a level."""

    level: float
    share: float
    n: int

    @property
    def error(self) -> float:
        """Standard error of the share where it should be the level."""
        return sqrt(self.level * (1 - self.level) / self.n)

    @property
    def verdict(self) -> str:
        """Whether chance explains how far it is from the level, and else what is wrong.

        Examples
        --------
        >>> Coverage(0.9, 0.91, 100).verdict, Coverage(0.9, 0.99, 1000).verdict
        ('as it should be', 'too wide')
        """
        if abs(self.share - self.level) <= 2 * self.error:
            return "as it should be"
        return "too wide" if self.share > self.level else "too narrow"


def coverages(subject: Subject) -> list[Coverage]:
    """Shares of targets in intervals; values that have a probability of their own count in part, by chance."""
    with torch.no_grad():
        curve = coverage_curve(subject.distribution, subject.targets.double(), _LEVELS)
    n = len(subject.y)
    return [Coverage(level, float(share), n) for level, share in zip(_LEVELS, curve.coverage, strict=True)]


def coverage_in_words(subject: Subject, at: Coverage) -> str:
    """The coverage at a level, in a sentence."""
    verdict = {
        "as it should be": "as it should be",
        "too wide": "more than they should: intervals are too wide",
        "too narrow": "less than they should: intervals are too narrow",
    }
    return (
        f"{100 * at.level:g} % intervals hold {100 * at.share:.1f} % ± {100 * at.error:.1f} % of the targets, "
        f"{verdict[at.verdict]}."
    )


def calibration_section(subject: Subject) -> Section:
    """PIT histogram and coverage, or reliability diagrams of classes."""
    return _of_classes(subject) if subject.of_classes else _of_numbers(subject)


def _of_numbers(subject: Subject) -> Section:
    found = coverages(subject)
    said = [
        coverage_in_words(subject, next(one for one in found if one.level == 0.9)),
        "Calibrated predictions have a flat histogram and a coverage on the diagonal, but for chance, which the bands "
        "show. A hump in the histogram means that predictions are too wide, a U that they are too narrow, a slope that "
        "they are too low or too high.",
    ]
    if subject.has_masses:
        said.append(
            "Some values have a probability of their own, so that no interval holds exactly 90 %. Such a value at the "
            "end of an interval counts as inside with the probability that makes up the level."
        )
    rows = [
        [f"{100 * one.level:g} %", f"{100 * one.share:.1f} %", f"{100 * one.error:.1f} %", one.verdict] for one in found
    ]
    table = Table(["interval", "holds", "± by chance", "verdict"], rows)
    y = np.asarray(subject.targets, dtype=np.float64)
    histogram, ax = new_axes()
    PITHistogramDisplay.from_predictions(subject.distribution, y, ax=ax)
    curve, square = new_axes()
    CoverageDisplay.from_predictions(subject.distribution, y, name="model", ax=square)
    pictures = [
        Picture.of(histogram, "Where targets fall in their predicted distributions, from 0, below all of it, to 1."),
        Picture.of(curve, "Share of targets in intervals, over the share that they should hold."),
    ]
    return Section("Calibration", [Points(said), table, *pictures])


def _of_classes(subject: Subject) -> Section:
    assert subject.classes is not None
    counts = torch.bincount(subject.targets, minlength=len(subject.classes))
    places = subject.targets.numpy()
    events = [1] if len(subject.classes) == 2 else counts.argsort(descending=True)[:_DIAGRAMS].tolist()
    pictures = []
    for event in events:
        figure, ax = new_axes()
        name = f"probability of {subject.classes[event]}"
        ReliabilityDisplay.from_predictions(subject.distribution, places, event=event, event_name=name, ax=ax)
        pictures.append(
            Picture.of(figure, f"How often {subject.classes[event]} happened, over its predicted probability.")
        )
    said = [
        "On the diagonal an event that is predicted with 30 % happens in 30 % of cases, but for chance, which the band "
        "shows. Where the curve is flatter than the diagonal, predictions are too sure of themselves, where it is "
        "steeper they are not sure enough. The bars below show how often each probability was predicted."
    ]
    if len(events) < len(subject.classes) and len(subject.classes) > 2:
        said.append(f"The {len(events)} most frequent classes are shown.")
    return Section("Calibration", [Points(said), *pictures])
