"""What every display needs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch.distributions import Categorical, Distribution

from .._models import check_exposure_is_given
from .._numbers import finite_numbers
from ..distributions.parts import innermost
from ..scores.prediction import predicted_distribution

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def new_axes() -> "Axes":
    """Axes of a new pyplot figure, which notebooks show."""
    # here and not above: importing probmix.plots must not choose a backend
    from matplotlib import pyplot as plt

    _, ax = plt.subplots(layout="constrained")
    return ax


def legend_with_last(ax: "Axes", last: Sequence[str], **look: Any) -> None:
    """A small legend in which some entries come last, whatever kinds of things matplotlib puts first."""
    handles, names = ax.get_legend_handles_labels()
    order = sorted(range(len(names)), key=lambda place: names[place] in last)
    usual: dict[str, Any] = {"frameon": False, "fontsize": "small", "loc": "upper left", "borderaxespad": 0.2}
    ax.legend([handles[place] for place in order], [names[place] for place in order], **(usual | look))


def predicted_number(estimator: Any, X: Any, exposure: Any = None) -> Distribution:
    """The distribution of a single number per row that the estimator predicts, for these exposures if it has such.

    Raises
    ------
    TypeError
        If nothing in there predicts distributions, or it is one of classes.
    ValueError
        If there are several targets, or the estimator was fitted with exposures and there are none.
    """
    check_exposure_is_given(estimator, exposure)
    distribution = predicted_distribution(estimator, X, **({} if exposure is None else {"exposure": exposure}))
    if hasattr(estimator, "classes_"):
        raise TypeError(f"a display shows the distribution of a number; {estimator!r} predicts classes.")
    check_is_number(distribution, repr(estimator))
    check_single_target(distribution)
    return distribution


def check_is_number(distribution: Distribution, whose: str) -> None:
    """Raise for a distribution of classes, which `whose` predicts."""
    if isinstance(innermost(distribution), Categorical):
        raise TypeError(f"a display shows the distribution of a number; {whose} predicts classes.")


def check_single_target(distribution: Distribution) -> None:
    """Raise unless there is one number per row."""
    if len(distribution.batch_shape) != 1 or distribution.event_shape:
        shape = tuple(distribution.batch_shape + distribution.event_shape)
        mend = "Fit it to np.ravel(y)." if shape[1:] == (1,) else "Plot the targets one by one."
        raise ValueError(f"a display shows one target per row, a distribution of shape (n,); got shape {shape}. {mend}")


def check_coverages(coverages: Sequence[float]) -> None:
    """Raise unless these are coverages of intervals."""
    if len(coverages) == 0 or not all(0 < coverage < 1 for coverage in coverages):
        raise ValueError(
            f"`coverages` must be one or more numbers between 0 and 1; got {tuple(coverages)}. For 90 % pass 0.9."
        )


def numbers_of_rows(values: Any, name: str, n: int) -> NDArray[np.float64]:
    """Numbers of which each row must have one."""
    numbers = finite_numbers(values, name)
    if numbers.shape != (n,):
        mend = f" Pass np.ravel({name})." if numbers.shape == (n, 1) else ""
        raise ValueError(f"`{name}` must hold one number for each of the {n} rows; got shape {numbers.shape}.{mend}")
    return numbers
