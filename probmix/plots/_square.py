"""The square that calibration diagrams are drawn in."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Width of the axes in widths of the square.
_WIDTH = 1.65


def square_with_legend(
    ax: "Axes", x_label: str, y_label: str, *, bottom: float = 0.0, title: str | None = None
) -> None:
    """Make the left of the axes a unit square with labels, and put the legend on the right, beside all that is drawn.

    Inside the square, curves and bands of some predictions would run through the legend; outside the axes, it would be
    cut off or cover other axes, except in figures with a suitable layout engine.
    """
    ax.set(xlim=(0.0, _WIDTH), ylim=(bottom, 1.0), aspect="equal")
    ax.set(xticks=np.linspace(0.0, 1.0, 6), yticks=np.linspace(0.0, 1.0, 6))
    ax.spines["right"].set_position(("data", 1.0))
    for side in ("top", "bottom"):
        ax.spines[side].set_bounds(0.0, 1.0)
    ax.set_xlabel(x_label, x=0.5 / _WIDTH)
    ax.set_ylabel(y_label)
    ax.legend(title=title, frameon=False, loc="upper right", borderaxespad=0.0, alignment="left")
