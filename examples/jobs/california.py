"""What houses cost in a block of California: 8,000 blocks, a density against LightGBM's quantiles.

    python examples/jobs/california.py --data DIR [--rows 8000]

Beside the estimator are models of LightGBM, one for each of thirteen quantiles, with their number of rounds chosen by a
fifth of the training rows and then fitted again to all, as `probmix reproduce leaderboard` fits them: the extra
``probmix[bench]`` has LightGBM. Both are judged by the CRPS on a fifth of the rows.
"""

import argparse
import os
from pathlib import Path

import numpy as np
import pandas as pd

from probmix import DensityRegressor, datasets
from probmix.experiments.leaderboard import lightgbm_peer
from probmix.experiments.leaderboard.methods import Training
from probmix.experiments.leaderboard.sets import Rows, split_rows
from probmix.scores import evaluate


def main(data: Path, rows: int) -> pd.DataFrame:
    """Print and give the scores, in dollars."""
    blocks = datasets.load("regression/california_housing", data, as_is=True)
    used = np.random.RandomState(0).permutation(len(blocks.y))[:rows]
    table = Rows(blocks.X, blocks.y.astype(float)).take(used)
    train, test = split_rows("regression/california_housing", table, 0)

    model = DensityRegressor(random_state=0).fit(train.X, train.y)
    trees = lightgbm_peer.fit(Training(train, "real", seed=0))
    predicted = {"probmix": model, "LightGBM": trees.predict(test.X, None)}
    table = evaluate(predicted, test.X, test.y, scores=["crps", "coverage90"])
    print(table)
    print(f"NLL {-model.score(test.X, test.y):.3f}")
    print(model.stack_)
    return table


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("PROBMIX_DATA"))
    parser.add_argument("--rows", type=int, default=8_000)
    main(**vars(parser.parse_args()))
