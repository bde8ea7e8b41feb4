"""The table of scores of several models."""

from __future__ import annotations

import numpy as np
import pandas as pd

COLUMNS = ["n", "mean", "standard_error", "difference", "difference_error", "p"]
# Errors stand behind what they are the errors of, so that a line is short.
_HEADER = ["n", "mean", "±", "difference", "±", "p"]


class ScoreTable(pd.DataFrame):
    """A DataFrame of scores that prints whole, rounded to four digits, with ± for the columns of standard errors.

    >>> index = pd.MultiIndex.from_tuples([("crps", "a"), ("crps", "b")], names=["score", "model"])
    >>> ScoreTable([[9, 2.34567, 0.1, np.nan, np.nan, np.nan], [9, 2.3, 0.1, -0.04567, 0.0123, 0.0042]], index, COLUMNS)
                 n  mean    ±  difference      ±      p
    score model
    crps  a      9  2.346  0.1
          b      9    2.3  0.1   -0.04567  0.0123  0.004
    """

    @property
    def _constructor(self) -> type[ScoreTable]:
        return ScoreTable

    def __repr__(self) -> str:
        if list(self.columns) != COLUMNS:
            # a part of it, or something made of it, is a frame like any other
            return super().__repr__()
        formats = [_whole, _rounded, _rounded, _rounded, _rounded, _probability]
        return self.to_string(header=_HEADER, formatters=formats, na_rep="")


def _whole(value: float) -> str:
    return f"{value:.0f}"


def _rounded(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.4g}"


def _probability(value: float) -> str:
    if np.isnan(value):
        return ""
    return "<0.001" if value < 0.001 else f"{value:.3f}"
