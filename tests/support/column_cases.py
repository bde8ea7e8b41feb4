"""What tests of columns share."""

import json

import numpy as np
import pandas as pd

from probmix.columns import Columns


def fit_column(values, **options):
    """Columns and the stored table of a frame with one column."""
    return Columns.fit(pd.DataFrame({"a": values}), **options)


def check_kept(X, columns, stored):
    """A state through JSON is the same encoder, and gives the same table."""
    assert stored.dtype == np.float64
    assert stored.shape == (np.shape(X)[0], len(columns.layout.kinds))
    np.testing.assert_array_equal(columns.transform(X), stored)
    kept = Columns.from_state(json.loads(json.dumps(columns.state(), allow_nan=False)))
    assert kept == columns
    assert kept.layout == columns.layout
    np.testing.assert_array_equal(kept.transform(X), stored)
