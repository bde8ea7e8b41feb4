"""How many claims a policy will have: 50,000 policies of French motor insurance, each insured for a part of a year.

    python examples/jobs/claims.py --data DIR [--rows 50000]

The estimator takes the frame as it is and the exposures, and finds a density of counts. Beside it are the usual tools,
a Poisson GLM and LightGBM with Poisson loss, which say a rate. All are judged by the Poisson deviance of the frequency,
weighted by exposure, on 30 % of the rows; the estimator also by the NLL and the coverage of its intervals.
"""

import argparse
import os
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.linear_model import PoissonRegressor
from sklearn.metrics import mean_poisson_deviance
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, OneHotEncoder

from probmix import DensityRegressor, datasets
from probmix.scores import coverage


def main(data: Path, rows: int) -> dict[str, float]:
    """Print and give the deviances."""
    claims = datasets.load("count/fremtpl2freq", data, as_is=True)
    assert claims.exposure is not None  # of this data set
    used = np.random.RandomState(0).permutation(len(claims.y))[:rows]
    train, test = train_test_split(used, test_size=0.3, random_state=0)
    X, y, exposure = claims.X, claims.y.astype(float), claims.exposure

    model = DensityRegressor(random_state=0)
    model.fit(X.iloc[train], y[train], exposure=exposure[train])
    predicted = {"probmix": model.predict(X.iloc[test], exposure=exposure[test])}

    # the others take a frequency, and the exposure as its weight
    frequency = y / exposure
    text, numbers = make_column_selector(dtype_exclude="number"), make_column_selector(dtype_include="number")
    encoder = make_column_transformer(
        (KBinsDiscretizer(10, quantile_method="averaged_inverted_cdf"), numbers),
        (OneHotEncoder(handle_unknown="ignore", min_frequency=20), text),
    )
    glm = make_pipeline(encoder, PoissonRegressor(alpha=1e-4, max_iter=1000))
    glm.fit(X.iloc[train], frequency[train], poissonregressor__sample_weight=exposure[train])
    predicted["GLM"] = glm.predict(X.iloc[test]) * exposure[test]
    if find_spec("lightgbm") is not None:
        from lightgbm import LGBMRegressor

        categories = X.astype(dict.fromkeys(text(X), "category"))
        trees = LGBMRegressor(objective="poisson", n_estimators=200, learning_rate=0.03, num_leaves=15, verbose=-1)
        trees.fit(categories.iloc[train], frequency[train], sample_weight=exposure[train])
        predicted["LightGBM"] = trees.predict(categories.iloc[test]) * exposure[test]

    weight = exposure[test]
    deviance = {
        name: mean_poisson_deviance(frequency[test], mean / weight, sample_weight=weight)
        for name, mean in predicted.items()
    }
    print(pd.Series(deviance, name="deviance").round(4).to_string())
    print(model.stack_)
    distribution = model.predict_dist(X.iloc[test], exposure=weight)
    nll = -model.log_prob(X.iloc[test], y[test], exposure=weight).mean()
    print(f"NLL {nll:.4f}; 90 % intervals cover {float(coverage(distribution, y[test], 0.9).mean()):.3f}")
    return deviance


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("PROBMIX_DATA"))
    parser.add_argument("--rows", type=int, default=50_000)
    main(**vars(parser.parse_args()))
