"""Out-of-fold scores against those of new rows, on four data sets.

    python benchmarks/out_of_fold.py --data FOLDER [--members 5] [--seed 0] [--rows 4000]

A model with ``validation="folds"`` is fitted to some of the rows, chosen at random, and the others are new to it. Each
row of the fit has its out-of-fold NLL, by the one member that was not trained by it. What is comparable is the NLL of a
new row by one member: the mean of those of the members, and not that of the ensemble, which is lower. The last columns
are the difference and its standard error, from the spread of both kinds of rows.
"""

import argparse

import numpy as np
import torch

from probmix import DensityRegressor
from probmix.datasets import load

SETS = {
    "regression/airfoil": "gaussian",
    "regression/wine_quality_white": "gaussian",
    "positive/belgian_wages": "gamma",
    "count/abalone": "negative-binomial",
}
LINE = "{:28s}{:>18s}{:>7}{:>7}{:>13}{:>11}{:>12}{:>12}{:>8}"


def compare(name: str, data: str | None, members: int, seed: int, rows: int) -> tuple[int, int, float, float, float]:
    """Rows of the fit and new ones, both mean NLL, and the standard error of their difference."""
    table = load(name, data)
    X, y = table.X.to_numpy(), table.y.astype(float)
    order = np.random.default_rng(seed).permutation(len(y))
    fitted, new = order[: min(rows, len(y) // 2)], order[min(rows, len(y) // 2) :]
    model = DensityRegressor(SETS[name], validation="folds", n_members=members, random_state=seed, preset="plain")
    own = -model.fit(X[fitted], y[fitted]).oof_log_prob_
    single = model.family_.distribution(model.predict_natural_params(X[new]))
    others = -single.log_prob(torch.from_numpy(y[new])).mean(0).numpy()
    error = np.hypot(own.std(ddof=1) / np.sqrt(len(own)), others.std(ddof=1) / np.sqrt(len(others)))
    return len(own), len(others), own.mean(), others.mean(), error


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", help="folder of data sets; without it that of PROBMIX_DATA")
    parser.add_argument("--members", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", type=int, default=4000, help="of the fit, at most, and at most half of all")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(LINE.format("data", "family", "rows", "new", "out of fold", "new rows", "difference", "std. error", "ratio"))
    for name, family in SETS.items():
        n, m, own, others, error = compare(name, options.data, options.members, options.seed, options.rows)
        figures = (
            f"{own:.4f}",
            f"{others:.4f}",
            f"{own - others:+.4f}",
            f"{error:.4f}",
            f"{(own - others) / error:+.2f}",
        )
        print(LINE.format(name, family, n, m, *figures), flush=True)


if __name__ == "__main__":
    main()
