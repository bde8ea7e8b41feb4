"""``probmix evaluate``: scores of models and of predictions on the same rows."""

from pathlib import Path

import click
import numpy as np
import pandas as pd
from tqdm import tqdm

from .._names import unknown_name
from ..scores._named import named_score
from ..scores.comparison import compare_rows
from ..scores.evaluate import score_rows
from ..scores.table import ScoreTable
from .errors import FailedError, InputError, ends_clearly
from .judging import Judged, judged
from .options import PATH, NamedPath, Names, quiet_option
from .rows import predictions
from .tables import block_size
from .writing import check_out, table_writer

_HELP = """Score models, and predictions of others, by the target of each row of DATA.

DATA is a table, .csv, .csv.gz or .parquet, with the target and the features. The table that is printed has a line for
each score and model: its mean over rows with a standard error, and the difference to the first model, with the error
and p-value of the paired differences row by row. Of nll and crps smaller is better.

Files of predictions have a row for each of DATA, in the same order, and columns of one form: mean and sd, which are
taken for a Gaussian; quantiles q0.1, q0.5, ...; draws sample1, sample2, ...; the ends lower0.9, upper0.9 of an
interval; or mean alone, a point.

\b
Scores:
  nll, crps, rmse, mae, coverage90, interval90, quantile90 (or other levels in percent)

\b
Examples:
  probmix evaluate test.csv --model claims.safetensors
  probmix evaluate test.csv --model a=first.safetensors --model b=second.safetensors --predictions ngboost=preds.csv
  probmix evaluate test.csv --model a.safetensors --scores crps,coverage50,coverage90 --out scores.csv
"""


@click.command("evaluate", short_help="Score models on a table.", help=_HELP)
@click.argument("data", type=PATH)
@click.option("--model", "models", metavar="[NAME=]FILE", type=NamedPath(), multiple=True, help="A model; repeatable.")
@click.option(
    "--predictions", metavar="[NAME=]FILE", type=NamedPath(), multiple=True, help="A table of predictions; repeatable."
)
@click.option("--target", metavar="COLUMN", help="Column of the target.  [default: that of the models]")
@click.option("--exposure", metavar="COLUMN", help="Column of exposures.  [default: that of each model]")
@click.option("--weights", metavar="COLUMN", help="Column of weights of the rows.  [default: all weigh the same]")
@click.option("--scores", metavar="NAMES", type=Names(), help="Which scores.  [default: nll,crps,coverage90]")
@click.option("--baseline", metavar="NAME", help="With which the others are compared.  [default: the first]")
@click.option("--out", type=PATH, help="Table of the same figures to write as well, unrounded.")
@quiet_option
@ends_clearly
def evaluate(
    data: Path,
    models: tuple[tuple[str, Path], ...],
    predictions: tuple[tuple[str, Path], ...],
    target: str | None,
    exposure: str | None,
    weights: str | None,
    scores: tuple[str, ...] | None,
    baseline: str | None,
    out: Path | None,
    quiet: bool,
) -> None:
    """Score models on a table."""
    if not models and not predictions:
        raise InputError("name at least one --model or --predictions.")
    if out is not None:
        check_out(out, data, *(path for _, path in (*models, *predictions)))
    given = judged(data, models, predictions, target, exposure, weights)
    names = [*given.models, *given.peers]
    if baseline is not None and baseline not in names:
        raise InputError(f"--baseline: {unknown_name('model', baseline, names)}")
    for one in scores or ():
        named_score(one, of_classes=False)
    if not quiet:
        given.tell()
    table = _table(given, scores, baseline, quiet)
    click.echo(str(table))
    for (score, name), reason in table.attrs["missing"].items():
        click.echo(f"no {score} of {name}: {reason}", err=True)
    if out is not None:
        try:
            with table_writer(out) as write:
                write(pd.DataFrame(table.reset_index()))
        except OSError as error:
            raise FailedError(f"{str(out)!r} cannot be written: {error.strerror or error}.") from error


def _table(given: Judged, scores: tuple[str, ...] | None, baseline: str | None, quiet: bool) -> ScoreTable:
    """Scores block by block, and then what is told of them."""
    parts, weights = [], []
    with tqdm(desc="scoring", unit="row", unit_scale=True, disable=quiet) as bar:
        for block, peers in given.blocks(block_size(*(one.estimator for one in given.models.values()))):
            y = given.targets(block)
            predicted = {
                name: predictions(model, given.source, block, given.exposures[name])
                for name, model in given.models.items()
            }
            try:
                parts.append(score_rows({**predicted, **peers}, None, y, scores=scores))
            except ValueError as error:
                first, last = block.index[0], block.index[-1]
                place = f"in rows {first} to {last}, counted from {first}: " if first else ""
                raise InputError(f"{place}{error}") from error
            weights.append(given.weighted(block))
            bar.update(len(block))
    rows = pd.concat(parts, ignore_index=True)
    rows.attrs["missing"] = {key: reason for part in parts for key, reason in part.attrs["missing"].items()}
    of_rows = None if given.weights is None else np.concatenate([one for one in weights if one is not None])
    return compare_rows(rows, baseline=baseline, sample_weight=of_rows)
