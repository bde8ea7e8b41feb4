"""A small folder of data sets, laid out like the real one: three of UCI, one of counts, one of positive targets."""

import numpy as np
import pandas as pd


def write_tables(folder, rows=60):
    """Write CSV files into a folder of data sets, and return the folder."""
    random = np.random.default_rng(0)
    for name, size in {"uci/yacht": rows, "uci/energy": rows + 7, "uci/protein-tertiary-structure": rows}.items():
        X = random.normal(size=(size, 2))
        write(folder, name, X, X[:, 0] + 0.3 * random.normal(size=size))
    X = random.normal(size=(rows, 2))
    write(folder, "count/visits", X, random.poisson(np.exp(0.5 * X[:, 0] + 1)))
    write(folder, "positive/wages", X, random.gamma(3.0, np.exp(0.5 * X[:, 0])))
    return folder


def write(folder, name, X, y):
    path = folder / f"{name}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame({"x0": X[:, 0], "x1": X[:, 1], "y": y}).to_csv(path, index=False)
