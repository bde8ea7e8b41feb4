"""Test NLL on the 20 standard splits of a UCI set, with the network and schedule of the ProbMix paper.

    PROBMIX_DATA=... python benchmarks/uci.py [--dataset bostonHousing] [--methods erm,probmix] [--splits 20]

MLP of 128 and 32 hidden units, full batches, AdamW without decay at a rate of 0.005, 1000 epochs, 20 % of the training
part for choosing the epoch. The seed of a split is its number. Means with standard errors over splits, and the paired
difference to ERM.
"""

import argparse
import time

import numpy as np
from tqdm import tqdm

from probmix import DensityRegressor
from probmix.datasets import load, uci_splits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=None, help="folder of the data sets; default: the variable PROBMIX_DATA")
    parser.add_argument("--dataset", default="bostonHousing")
    parser.add_argument("--methods", default="erm,probmix")
    parser.add_argument("--splits", type=int, default=20)
    arguments = parser.parse_args()
    data = load(f"uci/{arguments.dataset}", arguments.data)
    X, y = data.X.to_numpy(), data.y
    splits = list(uci_splits(len(y)))[: arguments.splits]

    nll: dict[str, np.ndarray] = {}
    for method in arguments.methods.split(","):
        start, scores = time.perf_counter(), []
        for seed, (train, test) in enumerate(tqdm(splits, desc=method, leave=False)):
            model = DensityRegressor(
                "gaussian", method, hidden_layer_sizes=(128, 32), batch_size=None, learning_rate=0.005,
                weight_decay=0.0, max_epochs=1000, patience=None, random_state=seed,
            )  # fmt: skip
            scores.append(-model.fit(X[train], y[train]).score(X[test], y[test]))
        nll[method] = np.array(scores)
        print(f"{method:22s} NLL {described(nll[method])}, {time.perf_counter() - start:.0f} s", end="")
        print(f", minus ERM {described(nll[method] - nll['erm'])}" if "erm" in nll and method != "erm" else "")


def described(values: np.ndarray) -> str:
    error = values.std(ddof=1) / len(values) ** 0.5
    return f"{values.mean():.3f} +- {error:.3f}"


if __name__ == "__main__":
    main()
