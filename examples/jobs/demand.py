"""How many bicycles will be rented in an hour: two years of hours, the last fifth of which is to be forecast.

    python examples/jobs/demand.py --data DIR

The rows are in order of time. The estimator takes the frame with its dates as it is; beside it is a Poisson regression
of scikit-learn's histogram gradient boosting, whose counts vary too little. Both are judged by CRPS and coverage.
"""

import argparse
import os
from pathlib import Path

import pandas as pd
import torch
from sklearn.ensemble import HistGradientBoostingRegressor
from torch.distributions import Poisson

from probmix import DensityRegressor, datasets
from probmix.scores import evaluate


def main(data: Path) -> pd.DataFrame:
    """Print and give the scores, in bicycles."""
    hours = datasets.load("count/bike_hour", data, as_is=True)
    X, y = hours.X, hours.y.astype(float)
    cut = int(0.8 * len(y))

    model = DensityRegressor(random_state=0).fit(X[:cut], y[:cut])
    frame = X.assign(**{name: pd.to_datetime(X[name]).astype("int64") for name in X.select_dtypes(exclude="number")})
    trees = HistGradientBoostingRegressor(loss="poisson", random_state=0).fit(frame[:cut], y[:cut])

    predicted = {
        "probmix": model,
        "Poisson trees": Poisson(torch.tensor(trees.predict(frame[cut:]))),
    }
    table = evaluate(predicted, X[cut:], y[cut:], scores=["crps", "coverage90"])
    print(table)
    print(f"NLL {-model.score(X[cut:], y[cut:]):.3f}")
    print(model.stack_)
    return table


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("PROBMIX_DATA"))
    main(**vars(parser.parse_args()))
