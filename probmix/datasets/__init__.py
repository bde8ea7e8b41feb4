"""Data sets: simulated ones, named ones from scikit-learn and a folder of the user's, and windows of series."""

from .named import Dataset, load, names
from .series import load_series, series_names
from .simulated import overdispersed_counts, three_rings, toy_cubic
from .splits import uci_splits
from .windowing import WindowPart, Windows, windows

__all__ = [
    "Dataset",
    "WindowPart",
    "Windows",
    "load",
    "load_series",
    "names",
    "overdispersed_counts",
    "series_names",
    "three_rings",
    "toy_cubic",
    "uci_splits",
    "windows",
]
