"""Data sets: simulated, named ones of scikit-learn or a folder of the user's, rows for examples, windows of series."""

from .examples import Example, example
from .named import Dataset, load, names
from .series import load_series, series_names
from .simulated import overdispersed_counts, three_rings, toy_cubic
from .splits import uci_splits
from .windowing import WindowPart, Windows, windows

__all__ = [
    "Dataset",
    "Example",
    "WindowPart",
    "Windows",
    "example",
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
