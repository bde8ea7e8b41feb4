"""Figures that the paper reports, to be shown beside ours and marked as the paper's.

El-Laham et al. (2025), Mixup Regularization: A Probabilistic Perspective, UAI. They are for orientation only: batch
size, alpha and beta of the paper are not known, and its column of empirical risk minimisation is no baseline for our
methods, which are compared with our own.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

from .methods import METHODS


@dataclass(frozen=True)
class Published:
    """A table of a paper.

    Attributes
    ----------
    cells : dict of tuple to dict
        Text by the values of the keys that name a row, and by method.
    note : str
        Which table it is, and what its numbers mean.
    source : str
        What to call the source in a table.
    """

    cells: Mapping[tuple[Hashable, ...], Mapping[str, str]]
    note: str
    source: str = "paper"

    def row(self, key: tuple[Hashable, ...]) -> Mapping[str, str]:
        """Text by method in a row; nothing where the paper has no such row."""
        return self.cells.get(key, {})


_Cells = dict[tuple[Hashable, ...], dict[str, str]]

_UCI_NLL = """
bostonHousing 3.37 3.32 3.46 3.72 3.31 3.21 3.26 3.12 3.09 2.57 2.52
energy 1.24 1.14 1.08 1.25 1.00 0.77 0.82 0.74 0.93 1.38 1.13
wine-quality-red 1.96 1.84 1.70 1.87 1.99 1.50 1.37 1.26 1.15 1.16 1.12
concrete 4.50 3.71 3.75 3.81 3.69 3.50 3.67 3.35 3.37 3.13 3.07
power-plant 2.86 2.82 2.84 2.84 2.85 2.79 2.84 2.82 2.84 2.85 2.86
yacht 0.44 1.70 0.78 0.49 0.32 1.39 1.45 0.27 0.26 0.92 1.07
kin8nm -1.14 -1.01 -1.14 -1.16 -1.07 -1.12 -1.15 -1.20 -1.18 -1.17 -1.14
naval-propulsion-plant -5.89 -6.15 -6.46 -6.28 -6.47 -6.36 -6.12 -6.13 -5.44 -5.03 -4.92
"""

_UCI_NLL_DEVIATIONS = """
bostonHousing 0.47 1.17 0.76 2.32 0.68 1.07 0.66 0.56 0.70 0.41 0.21
energy 1.37 1.00 1.18 1.52 0.88 0.32 0.52 0.42 0.65 0.18 0.17
wine-quality-red 2.08 1.19 1.43 2.18 2.01 0.57 0.32 0.24 0.18 0.63 0.22
concrete 2.72 0.64 0.77 0.95 1.14 0.58 0.71 0.48 0.47 0.22 0.16
power-plant 0.18 0.11 0.09 0.12 0.09 0.06 0.16 0.06 0.07 0.05 0.05
yacht 0.94 0.63 0.38 0.66 0.29 0.42 0.88 0.36 0.25 0.24 0.28
kin8nm 0.10 0.13 0.11 0.09 0.13 0.10 0.08 0.07 0.05 0.05 0.05
naval-propulsion-plant 0.88 0.13 0.45 0.49 0.44 0.63 0.89 0.30 0.63 0.04 0.06
"""

# kin8nm and naval are printed times 100 there
_UCI_RMSE = """
bostonHousing 5.77 4.68 5.25 4.65 4.72 4.27 5.00 4.54 3.93 3.27 3.23
energy 0.44 0.51 0.45 0.46 0.45 0.47 0.48 0.48 0.49 1.04 0.76
wine-quality-red 0.76 0.72 0.72 0.77 0.71 0.75 0.74 0.77 0.72 0.66 0.66
concrete 5.88 5.10 5.19 5.76 5.73 5.47 5.08 5.90 5.88 5.48 5.43
power-plant 3.91 3.93 3.96 3.93 3.97 3.85 3.96 4.09 4.13 4.21 4.24
yacht 1.26 1.96 1.37 0.70 0.73 0.92 1.21 0.68 0.70 1.41 1.73
kin8nm 0.0741 0.0773 0.0753 0.0728 0.0762 0.0752 0.0754 0.0766 0.0773 0.0801 0.0812
naval-propulsion-plant 0.0021 0.0006 0.0009 0.0005 0.0004 0.0004 0.0009 0.0006 0.0017 0.0012 0.0013
"""

_STOCKS_NLL = """
GME lstm 158.7 106.5 505.3 171.0 541.3 257.7 411.6 67.3 143.8
GOOG lstm 36.5 148.7 110.1 102.0 80.3 141.3 52.1 5.8 11.1
NVDA lstm 3.17 5.43 49.8 9.06 61.4 5.19 61.3 1.67 1.11
RCL lstm 14.2 0.74 128.3 61.6 55.2 18.3 56.4 2.22 6.22
GME transformer 684.8 507.6 650.7 788.6 551.8 389.5 466.8 374.2 399.0
GOOG transformer 114.3 147.9 57.4 164.2 64.8 203.4 35.2 111.3 86.9
NVDA transformer 2.29 1.32 3.23 2.38 1.90 7.77 1.78 0.91 1.81
RCL transformer 10.0 -0.05 10.3 8.46 4.85 7.46 4.82 3.46 4.36
"""

# without empirical risk minimisation; its row at a vanishing alpha is left out
_TOY_NLL = """
0.01 98.6 110.7 162.5 147.9 78.1 132.7 27.5 18.6
0.05 176.3 167.1 136.2 147.1 117.8 157.2 31.0 16.9
0.1 258.9 202.1 148.5 177.8 173.1 258.4 25.9 32.8
0.25 270.3 207.5 140.3 204.3 302.0 120.2 22.9 19.1
0.5 306.0 219.1 136.4 202.4 313.6 176.2 47.7 16.9
1 310.3 256.7 134.1 186.3 370.1 117.4 37.1 23.8
"""


def _cells(means: str, keys: int, methods: tuple[str, ...], deviations: str = "") -> _Cells:
    """Cells of a table as text, its first columns being keys; with deviations where the table has them."""
    spread = {tuple(line.split()[:keys]): line.split()[keys:] for line in deviations.strip().splitlines()}
    cells: _Cells = {}
    for line in means.strip().splitlines():
        key, values = tuple(line.split()[:keys]), line.split()[keys:]
        if spread:
            values = [f"{value} ± {deviation}" for value, deviation in zip(values, spread[key], strict=True)]
        cells[key] = dict(zip(methods, values, strict=True))
    return cells


UCI = {
    "nll": Published(
        _cells(_UCI_NLL, 1, METHODS, _UCI_NLL_DEVIATIONS), "its table 1, mean ± standard deviation over splits"
    ),
    "rmse": Published(_cells(_UCI_RMSE, 1, METHODS), "its table 6, means"),
}
STOCKS = {
    "nll": Published(
        _cells(_STOCKS_NLL, 2, METHODS[:9]),
        "its table 2, on prices scaled in another way: only the order within a row can be compared",
    )
}
# of points out of distribution, by alpha, at a vanishing beta
TOY_REGRESSION = {
    "nll": Published(
        {("outside", float(str(key[0])), 0.0): row for key, row in _cells(_TOY_NLL, 1, METHODS[1:9]).items()},
        "its table 5, means",
    )
}
