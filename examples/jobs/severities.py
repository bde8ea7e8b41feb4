"""What a claim will cost: 8,000 claims of Belgian motor insurance, one in a hundred thirty times the median or more.

    python examples/jobs/severities.py --data DIR [--rows 8000]

The estimator takes the frame as it is. Beside it are the usual tools: a Gamma GLM with its shape, which is a density,
and eleven models of scikit-learn's histogram gradient boosting, one for each quantile, which have no density. All are
judged by CRPS, NLL and coverage on 30 % of the rows. Four costs of ten are amounts that recur, by convention: a mixture
can have narrow components for them, and a part of its lead in NLL may be from these.
"""

import argparse
import os
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy import stats
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import GammaRegressor
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, SplineTransformer
from torch.distributions import Gamma

from probmix import DensityRegressor, datasets
from probmix.distributions import QuantileFunction
from probmix.scores import evaluate

LEVELS = (0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99)


def main(data: Path, rows: int) -> pd.DataFrame:
    """Print and give the scores, in euro."""
    claims = datasets.load("positive/bemtpl97_sev", data, as_is=True)
    used = np.random.RandomState(0).permutation(len(claims.y))[:rows]
    train, test = train_test_split(used, test_size=0.3, random_state=0)
    print(f"{len(train)} rows train, {len(test)} are judged")
    X, y = claims.X, claims.y.astype(float)

    model = DensityRegressor(random_state=0).fit(X.iloc[train], y[train])

    text, numbers = make_column_selector(dtype_exclude="number"), make_column_selector(dtype_include="number")
    encoder = make_column_transformer(
        (SplineTransformer(), numbers), (OneHotEncoder(handle_unknown="ignore", min_frequency=20), text)
    )
    glm = make_pipeline(encoder, GammaRegressor(alpha=1e-3, max_iter=10_000)).fit(X.iloc[train], y[train])
    # the shape by maximum likelihood: by Pearson's residuals, as GLMs have it, the largest claims would rule it
    shape, _, scale = stats.gamma.fit(y[train] / glm.predict(X.iloc[train]), floc=0)
    mean = torch.tensor(glm.predict(X.iloc[test]))

    frame = X.astype(dict.fromkeys(text(X), "category"))
    trees = [
        HistGradientBoostingRegressor(
            loss="quantile", quantile=level, categorical_features="from_dtype", random_state=0
        ).fit(frame.iloc[train], y[train])
        for level in LEVELS
    ]
    quantiles = np.sort(np.column_stack([one.predict(frame.iloc[test]) for one in trees]), axis=1)

    predicted = {
        "probmix": model,
        "Gamma GLM": Gamma(torch.tensor(shape), 1 / (scale * mean)),
        "eleven quantiles": QuantileFunction(torch.tensor(quantiles), LEVELS),
    }
    table = evaluate(predicted, X.iloc[test], y[test], scores=["crps", "nll", "coverage90"])
    print(table)
    print(model.stack_)
    return table


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("PROBMIX_DATA"))
    parser.add_argument("--rows", type=int, default=8_000)
    main(**vars(parser.parse_args()))
