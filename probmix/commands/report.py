"""``probmix report``: a page on a model and the rows of a table."""

from pathlib import Path

import click
import numpy as np
import pandas as pd

from .._files import write_atomically
from ..reports import model_report
from .errors import FailedError, InputError, ends_clearly
from .judging import judged
from .memory import Memory
from .options import PATH, NamedPath, exposure_option, quiet_option

_HELP = """Write a page on MODEL and the rows of DATA: one .html file that opens in any browser, without a network.

DATA is a table, .csv, .csv.gz or .parquet, with the target and the features; its rows should not have trained the
model. The page tells what the data are, what was chosen and why, scores against the distribution of the target without
features and against predictions of others, calibration, and how to repeat the fit. See probmix evaluate for files of
predictions.

\b
Examples:
  probmix report claims.safetensors test.csv --out report.html
  probmix report claims.safetensors test.csv --predictions ngboost=preds.csv --title "Claims of 2024" --out report.html
"""


@click.command("report", short_help="Write a page on a model.", help=_HELP)
@click.argument("model", type=PATH)
@click.argument("data", type=PATH)
@click.option("--out", type=PATH, required=True, help="Page to write, .html.")
@click.option("--target", metavar="COLUMN", help="Column of the target.  [default: that of the model]")
@exposure_option
@click.option(
    "--predictions", metavar="[NAME=]FILE", type=NamedPath(), multiple=True, help="A table of predictions; repeatable."
)
@click.option("--title", help="Of the page.  [default: the target and the file]")
@click.option(
    "--max-rows", type=click.IntRange(min=2), default=10_000, show_default=True,
    help="Of more rows so many are taken, at random; the page says so.",
)  # fmt: skip
@quiet_option
@ends_clearly
def report(
    model: Path,
    data: Path,
    out: Path,
    target: str | None,
    exposure: str | None,
    predictions: tuple[tuple[str, Path], ...],
    title: str | None,
    max_rows: int,
    quiet: bool,
) -> None:
    """Write a page on a model."""
    if out.suffix != ".html":
        raise InputError(f"--out: the name of a page must end with .html; got {str(out)!r}.")
    if out.is_dir():
        raise InputError(f"--out: {str(out)!r} is a folder; name a file.")
    given = judged(data, [("model", model)], predictions, target, exposure, None)
    fitted = given.models["model"]
    if not quiet:
        given.tell()
    targets, rows, exposures = [], [], []
    for block in given.own_blocks():
        targets.append(given.targets(block))
        X, of_rows = given.features("model", block)
        rows.append(X)
        exposures.append(of_rows)
    y = pd.Series(np.concatenate(targets), name=given.target)
    known = [one for one in exposures if one is not None]
    page = model_report(
        fitted.estimator,
        pd.concat(rows, ignore_index=True),
        y,
        exposure=np.concatenate(known) if known else None,
        title=title or f"{given.target} of {data.name}",
        peers=given.all_peers(len(y)),
        settings=_settings(fitted.memory, model, data),
        target_name=given.target,
        max_rows=max_rows,
    )
    try:
        write_atomically(out, page.html().encode())
    except OSError as error:
        raise FailedError(f"{str(out)!r} cannot be written: {error.strerror or error}.") from error
    if not quiet:
        click.echo(str(out), err=True)


def _settings(memory: Memory, model: Path, data: Path) -> dict[str, str]:
    """What the file of the model remembers."""
    told = {
        "command of the fit": memory.command,
        "fitted on": memory.created,
        "rows of the fit": None if memory.rows is None else f"{memory.rows:,}",
        "exposure": memory.exposure,
        "groups": memory.groups,
        "weights": memory.weights,
        "versions of the fit": ", ".join(f"{name} {version}" for name, version in memory.versions.items()) or None,
    }
    files = {"file of the model": str(model), "file of these rows": str(data)}
    return {**{name: value for name, value in told.items() if value is not None}, **files}
