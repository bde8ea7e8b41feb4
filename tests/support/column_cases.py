"""What tests of columns share."""

import pandas as pd

from probmix.columns import Columns


def fit_column(values, **options):
    """Columns and the stored table of a frame with one column."""
    return Columns.fit(pd.DataFrame({"a": values}), **options)
