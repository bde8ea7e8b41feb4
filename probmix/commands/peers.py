"""Predictions of other libraries from files, as distributions."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
import pyro.distributions as dist
import torch

from ..distributions import QuantileFunction
from .cells import check_at_least, numbers
from .errors import InputError
from .tables import Source, open_table

_QUANTILE = re.compile(r"q(0?\.\d+)$")
_END = re.compile(r"(lower|upper)(0?\.\d+)$")
_SAMPLE = re.compile(r"sample\d+$")
_FORMS = (
    "mean and sd (a Gaussian), q0.1, q0.5, ... (quantiles), sample1, sample2, ... (draws), lower0.9, upper0.9 (ends "
    "of intervals), or mean alone (a point)"
)


@dataclass(frozen=True)
class Peer:
    """A file of predictions for the rows of a table, and what its columns say.

    Attributes
    ----------
    name : str
    source : Source
    columns : tuple of str
    form : str
        What the columns stand for, in words.
    """

    name: str
    source: Source
    columns: tuple[str, ...]
    form: str

    def blocks(self, size: int) -> Iterator[pd.DataFrame]:
        """So many rows at a time."""
        return self.source.blocks(self.columns, size)

    def predicted(self, block: pd.DataFrame) -> Any:
        """The distributions of some rows, or an array of points."""
        what = f"--predictions {self.name}"
        table = np.stack([numbers(self.source, block[name], what) for name in self.columns], 1)
        if self.form == "a point":
            return table[:, 0]
        if self.form == "draws":
            return table
        if self.form == "a Gaussian":
            check_at_least(self.source, table[:, 1], "sd", what, 0.0, strictly=True, first=int(block.index[0]))
            mean, sd = torch.from_numpy(table).unbind(-1)
            return dist.Normal(mean, sd)
        crossing = (np.diff(table, axis=1) < 0).any(1)
        if crossing.any():
            row = int(block.index[int(crossing.argmax())])
            raise InputError(
                f"{what}: quantiles of {self.source.name!r} must not fall as their levels rise; they do in "
                f"{self.source.at(row)}. Sort them in each row, which never makes a forecast worse."
            )
        return QuantileFunction(torch.from_numpy(table), [_level(name) for name in self.columns])


def open_peer(name: str, path: Path) -> Peer:
    """The predictions in a file.

    Raises
    ------
    InputError
        If columns do not say what they are, or say several things.
    """
    source = open_table(path)
    quantiles = sorted((one for one in source.columns if _QUANTILE.match(one)), key=_level)
    samples = [one for one in source.columns if _SAMPLE.match(one)]
    found: dict[str, list[str]] = {}
    if "sd" in source.columns:
        source.check("mean", f"--predictions {name}")
        found["a Gaussian"] = ["mean", "sd"]
    if quantiles:
        found["quantiles"] = quantiles
    if samples:
        found["draws"] = samples
    if not found and (ends := [one for one in source.columns if _END.match(one)]):
        # as `probmix predict` writes them, also beside what is found
        found["ends of intervals"] = sorted(ends, key=_level)
        click.echo(
            f"warning: --predictions {name}: what is known of {str(path)!r} are the ends of intervals alone. Their "
            "coverage and interval scores are those of the forecast; all other scores take it for even between them"
            + (", and leave the mean aside" if "mean" in source.columns else "")
            + ". For these write quantiles, by predict --quantiles.",
            err=True,
        )
    if not found and "mean" in source.columns:
        found["a point"] = ["mean"]
    if len(found) != 1:
        got = " and ".join(found) if found else f"none of them among {', '.join(map(repr, source.columns))}"
        raise InputError(f"--predictions {name}: {str(path)!r} must hold predictions of one form, {_FORMS}; got {got}.")
    form, columns = next(iter(found.items()))
    if form in ("quantiles", "ends of intervals"):
        for one, other in pairwise(columns):
            if (level := _level(one)) == _level(other):
                raise InputError(
                    f"--predictions {name}: {one!r} and {other!r} of {str(path)!r} are both the quantile {level:g}. "
                    "Drop one of them."
                )
    return Peer(name, source, tuple(columns), form)


def _level(column: str) -> float:
    """The level of a quantile by its column: ``lower0.9`` and ``upper0.9``, say, are those at 0.05 and 0.95."""
    end = _END.match(column)
    if end is None:
        return float(column.removeprefix("q"))
    share = float(end[2])
    # 1 - 0.9 is not 0.1 in binary
    return round((1 - share) / 2 if end[1] == "lower" else (1 + share) / 2, 12)
