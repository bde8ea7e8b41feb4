"""``probmix predict``: from a model and a table to a table of what is predicted for each row."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path

import click
import numpy as np
import pandas as pd
import torch
from torch.distributions import Distribution
from tqdm import tqdm

from .._answers import interval_levels, mean_of, quantiles_of
from ..distributions import cdf, icdf
from ..random import KeyedRandom, fine, member_keys
from .cells import Numbers
from .errors import FailedError, InputError, ends_clearly
from .memory import load_model
from .options import PATH, Names, exposure_option, quiet_option
from .options import Numbers as NumbersType
from .rows import exposure_column, needed_columns, predictions
from .tables import block_size, open_table
from .writing import check_out, table_writer

_DEFAULT_COVERAGE = 0.9
_HELP = """Predict the distribution of the target for each row of DATA, and write a table.

MODEL is a file of probmix fit, DATA a table, .csv, .csv.gz or .parquet, with the columns of the features under their
names; other columns are left alone. Rows keep their order. Without any of --mean, --quantiles, --interval, --above and
--samples the mean and the central 90 % interval are written. However many rows there are, memory stays the same.

\b
Columns of the table:
  mean                of --mean
  q0.1, q0.5          of --quantiles .1,.5
  lower0.9, upper0.9  of --interval .9, the quantiles 0.05 and 0.95
  above10             of --above 10, the probability of more than 10
  sample1, sample2    of --samples 2

\b
Examples:
  probmix predict claims.safetensors new.csv --out predictions.csv
  probmix predict claims.safetensors new.csv --quantiles .1,.5,.9 --keep id --out predictions.csv.gz
  probmix predict load.safetensors next.parquet --samples 100 --seed 1 --out draws.parquet
"""


@dataclass(frozen=True)
class _Wanted:
    """What is to be told of each distribution."""

    mean: bool
    quantiles: Sequence[float]
    intervals: Sequence[float]
    above: Sequence[float]
    samples: int

    @property
    def is_nothing(self) -> bool:
        """Whether nothing is asked for."""
        return not (self.mean or self.quantiles or self.intervals or self.above or self.samples)

    @property
    def names(self) -> list[str]:
        """Of the columns, in their order."""
        return [
            *["mean"] * self.mean,
            *(f"q{_written(level)}" for level in self.quantiles),
            *(f"{end}{_written(coverage)}" for coverage in self.intervals for end in ("lower", "upper")),
            *(f"above{threshold:.10g}" for threshold in self.above),
            *(f"sample{number + 1}" for number in range(self.samples)),
        ]

    @torch.no_grad()
    def of(self, predicted: Distribution, draws: KeyedRandom) -> list[Numbers]:
        """The columns of some rows; each row has the next key of `draws`."""
        columns: list[Numbers] = [mean_of(predicted)] if self.mean else []
        levels = [*self.quantiles, *(level for one in self.intervals for level in interval_levels(one))]
        if levels:
            columns += list(quantiles_of(predicted, levels).T)
        for threshold in self.above:
            at = torch.full(predicted.batch_shape, threshold, dtype=torch.float64)
            # rounding may leave a cdf above one
            columns.append((1 - cdf(predicted, at).double()).clamp(0, 1).numpy())
        if self.samples:
            keys = draws.bits((predicted.batch_shape[0],))[0]
            # by the quantile function, so that a draw is that of its row whatever rows come with it
            shares = fine(KeyedRandom(keys).uniform, (self.samples,))
            columns += [icdf(predicted, one).double().numpy() for one in shares.unbind(-1)]
        return columns


def _written(share: float) -> str:
    """Ten digits, never with an exponent."""
    return np.format_float_positional(share, 10, fractional=False, trim="-")


@click.command("predict", short_help="Predict a table by a model.", help=_HELP)
@click.argument("model", type=PATH)
@click.argument("data", type=PATH)
@click.option("--out", type=PATH, required=True, help="Table to write, .csv, .csv.gz or .parquet.")
@click.option("--mean", is_flag=True, help="The mean.")
@click.option("--quantiles", metavar="LEVELS", type=NumbersType(0, 1), default=(), help="Quantiles at these levels.")
@click.option("--interval", metavar="COVERAGES", type=NumbersType(0, 1), default=(), help="Ends of central intervals.")
@click.option("--above", metavar="NUMBERS", type=NumbersType(-inf, inf), default=(), help="Probabilities of more.")
@click.option("--samples", type=click.IntRange(min=0), default=0, help="How many draws.")
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the draws: of each row its own."
)
@click.option("--keep", metavar="COLUMNS", type=Names(), default=(), help="Columns of DATA to copy, such as an id.")
@exposure_option
@quiet_option
@ends_clearly
def predict(
    model: Path,
    data: Path,
    out: Path,
    mean: bool,
    quantiles: tuple[float, ...],
    interval: tuple[float, ...],
    above: tuple[float, ...],
    samples: int,
    seed: int,
    keep: tuple[str, ...],
    exposure: str | None,
    quiet: bool,
) -> None:
    """Predict a table by a model."""
    check_out(out, data, model)
    wanted = _Wanted(mean, quantiles, interval, above, samples)
    if wanted.is_nothing:
        wanted = _Wanted(True, (), (_DEFAULT_COVERAGE,), (), 0)
    twice = [name for name in wanted.names if wanted.names.count(name) > 1]
    if twice:
        raise InputError(f"two of the predictions would be called {twice[0]!r}. Ask for one of them.")
    source = open_table(data)
    for name in keep:
        source.check(name, "--keep")
        if name in wanted.names:
            raise InputError(f"--keep: the column {name!r} would be there twice; a prediction is called so as well.")
    fitted = load_model(model)
    exposures = exposure_column(fitted, source, exposure)
    columns = needed_columns(fitted, source, exposures, *keep)
    draws = KeyedRandom(member_keys(seed, 1))
    try:
        with (
            table_writer(out, source, keep) as write,
            tqdm(desc="predicting", unit="row", unit_scale=True, disable=quiet) as bar,
        ):
            for block in source.blocks(columns, block_size(fitted.estimator)):
                predicted = predictions(fitted, source, block, exposures)
                answers = dict(zip(wanted.names, wanted.of(predicted, draws), strict=True))
                write(pd.DataFrame({**{name: block[name] for name in keep}, **answers}))
                bar.update(len(block))
    except OSError as error:
        raise FailedError(f"{str(out)!r} cannot be written: {error.strerror or error}.") from error
