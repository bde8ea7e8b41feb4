"""What a house will be sold for: the Ames table as it is in the file, 73 columns, 40 of them text.

    python examples/jobs/houses.py --data DIR

The estimator takes the frame as it is. Beside it is the usual tool: eleven models of scikit-learn's histogram gradient
boosting, one for each quantile, which have no density but a CRPS. Both are judged on a fifth of the rows.
"""

import argparse
import os
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.model_selection import train_test_split

from probmix import DensityRegressor, datasets
from probmix.distributions import QuantileFunction
from probmix.scores import evaluate

LEVELS = (0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99)


def main(data: Path) -> pd.DataFrame:
    """Print and give the scores, in dollars."""
    houses = datasets.load("positive/ames_housing", data, as_is=True)
    X_train, X_test, y_train, y_test = train_test_split(houses.X, houses.y.astype(float), test_size=0.2, random_state=0)
    model = DensityRegressor(random_state=0).fit(X_train, y_train)

    frame = houses.X.astype(dict.fromkeys(houses.X.select_dtypes(exclude="number"), "category"))
    trees = [
        HistGradientBoostingRegressor(
            loss="quantile", quantile=level, categorical_features="from_dtype", random_state=0
        ).fit(frame.loc[X_train.index], y_train)
        for level in LEVELS
    ]
    quantiles = np.sort(np.column_stack([one.predict(frame.loc[X_test.index]) for one in trees]), axis=1)
    predicted = {"probmix": model, "eleven quantiles": QuantileFunction(torch.tensor(quantiles), LEVELS)}

    table = evaluate(predicted, X_test, y_test, scores=["crps", "coverage90"])
    print(table)
    print(f"NLL {-model.score(X_test, y_test):.3f}")
    print(model.stack_)
    return table


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("PROBMIX_DATA"))
    main(**vars(parser.parse_args()))
