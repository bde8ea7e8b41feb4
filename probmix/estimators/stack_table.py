"""The table of the candidates of a stack."""

import numpy as np
import pandas as pd

_FORMATS = {"weight": "{:.3f}", "seconds": "{:.1f}"}


class StackTable(pd.DataFrame):
    """A DataFrame of candidates that prints whole, in lines, rounded.

    >>> StackTable({"family": ["gamma"], "mixup": ["erm"], "weight": [0.98765], "nll": [1.234567], "seconds": [2.345]})
      family mixup weight   nll seconds
    0  gamma   erm  0.988 1.235     2.3
    """

    @property
    def _constructor(self) -> "type[StackTable]":
        return StackTable

    def __repr__(self) -> str:
        if not self.columns.is_unique:
            # two stacks side by side
            return super().__repr__()
        numbers = [name for name in self.columns if self[name].dtype == np.float64]
        formatters = {name: _FORMATS.get(name, "{:.4g}").format for name in numbers}
        return self.to_string(formatters=formatters)
