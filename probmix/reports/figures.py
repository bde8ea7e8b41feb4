"""Figures of one size, whose letters can be read on a telephone as well."""

from typing import TYPE_CHECKING

from matplotlib.figure import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def new_axes(height: float = 3.5) -> "tuple[Figure, Axes]":
    """A figure of its own, not one of pyplot, and its axes; the height is in inches."""
    figure = Figure(figsize=(4.8, height), layout="constrained")
    return figure, figure.subplots()
