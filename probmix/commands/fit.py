"""``probmix fit``: from a table to the file of a model."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from time import perf_counter
from typing import Any

import click
import numpy as np
import pandas as pd

from .._files import check_can_be_written
from ..estimators import DensityRegressor
from ..estimators.presets import PRESETS
from ..families import get
from .cells import Numbers, check_at_least, doubts, is_text, number_of, numbers
from .errors import FailedError, InputError, ends_clearly
from .memory import Memory, save_model
from .options import PATH, Names, command_line, quiet_option
from .tables import Source, is_row_label, open_table

SUFFIX = ".safetensors"
_VALIDATIONS = ("folds", "random", "last")

_HELP = """Fit the distribution of a column of DATA given all others, and write the model to a file.

DATA is a table, .csv, .csv.gz or .parquet, with names of columns in its first line. Columns of numbers, text,
truth values and dates are used as they are, with gaps. Empty cells of the target are an error.

\b
Examples:
  probmix fit claims.csv --target claims --exposure years --out claims.safetensors
  probmix fit visits.csv --target days --groups patient --drop visit --out visits.safetensors
  probmix fit load.parquet --target load --validation last --time-limit 600 --out load.safetensors
"""


@dataclass(frozen=True)
class _Rule:
    """How rows that judge are chosen, None as the preset has it, and their share."""

    name: str | None
    share: float | None = None

    def __str__(self) -> str:
        """As it is written in a command."""
        return str(self.name) if self.share is None else f"{self.share:g}"


class _Validation(click.ParamType[_Rule]):
    """How rows that judge are chosen, and their share."""

    name = "folds|random|last|share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> _Rule:
        if value in _VALIDATIONS:
            return _Rule(value)
        try:
            share = float(value)
        except ValueError:
            share = 0.0
        if not 0 < share < 1:
            self.fail(f"{value!r} is neither 'folds', 'random', 'last' nor a share between 0 and 1.", param, ctx)
        return _Rule("random", share)


@dataclass(frozen=True)
class _Given:
    """What a fit is given."""

    X: pd.DataFrame
    y: Numbers
    exposure: Numbers | None
    weights: Numbers | None
    groups: Any


@click.command("fit", short_help="Fit a model to a table.", help=_HELP)
@click.argument("data", type=PATH)
@click.option("--target", metavar="COLUMN", required=True, help="Column of numbers to predict.")
@click.option("--exposure", metavar="COLUMN", help="Column of exposures: over how much each count or total was taken.")
@click.option("--groups", metavar="COLUMN", help="Column of groups, which train or judge a member.")
@click.option("--weights", metavar="COLUMN", help="Column of weights: a row of weight two counts as two rows.")
@click.option("--drop", metavar="COLUMNS", type=Names(), default=(), help="Columns that are no features, such as ids.")
@click.option(
    "--text",
    metavar="COLUMNS",
    type=Names(),
    default=(),
    help="Columns of numbers that are categories.",
)
@click.option(
    "--family", "families", metavar="NAMES", type=Names(), default=(),
    help="A family, several to choose among, or 'auto'.  [default: those of the preset]",
)  # fmt: skip
@click.option("--preset", type=click.Choice(list(PRESETS)), default="default", show_default=True)
@click.option(
    "--time-limit", metavar="SECONDS", type=click.FloatRange(min=0, min_open=True),
    help="How long all may take, about, with reading.  [default: no limit]",
)  # fmt: skip
@click.option(
    "--validation", type=_Validation(), metavar="RULE",
    help="Rows that judge: folds, random, last (of rows in order of time), or a share, drawn at random."
    "  [default: that of the preset, folds]",
)  # fmt: skip
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Same seed, same model.")
@click.option("--checkpoint", type=PATH, help="File from which the same command goes on after it was killed.")
@click.option("--out", type=PATH, required=True, help="File of the model, MODEL.safetensors.")
@quiet_option
@click.pass_context
@ends_clearly
def fit(
    ctx: click.Context,
    data: Path,
    target: str,
    exposure: str | None,
    groups: str | None,
    weights: str | None,
    drop: tuple[str, ...],
    text: tuple[str, ...],
    families: tuple[str, ...],
    preset: str,
    time_limit: float | None,
    validation: _Rule | None,
    seed: int,
    checkpoint: Path | None,
    out: Path,
    quiet: bool,
) -> None:
    """Fit a model to a table."""
    start = perf_counter()
    _check_out(out, data)
    if time_limit is not None and checkpoint is not None:
        raise InputError(
            "--checkpoint keeps a fit that goes on as it began, and with --time-limit its length is another each time. "
            "Leave out either."
        )
    if time_limit is not None and not isfinite(time_limit):
        raise InputError(f"--time-limit must be a finite number of seconds; got {time_limit}. For none leave it out.")
    for one in families:
        if one != "auto":
            get(one)
    source = open_table(data)
    roles = {"--target": target, "--exposure": exposure, "--groups": groups, "--weights": weights}
    left_out = _check_roles(source, roles, drop, text)
    given = _read(source, roles, left_out, text)
    for remark in doubts(source, given.X, text):
        click.echo(f"warning: {remark}", err=True)
    if not quiet:
        click.echo(f"{len(given.X)} rows of {given.X.shape[1]} features, {perf_counter() - start:.1f} s", err=True)
    left = None if time_limit is None else max(1e-3, time_limit - (perf_counter() - start))
    family: Any = None if not families else families[0] if len(families) == 1 else list(families)
    rule = validation or _Rule(None)
    estimator = DensityRegressor(
        family, preset=preset, validation=rule.name, validation_fraction=rule.share or 0.2, random_state=seed,
        time_limit=left, checkpoint=checkpoint, verbose=not quiet,
    )  # fmt: skip
    estimator.fit(given.X, given.y, sample_weight=given.weights, exposure=given.exposure, groups=given.groups)
    estimator.set_params(time_limit=time_limit, checkpoint=None, verbose=False)
    memory = Memory.of_now(
        target=target, exposure=exposure, groups=groups, weights=weights, left_out=left_out,
        command=command_line(ctx), data=str(data), rows=len(given.X),
    )  # fmt: skip
    try:
        save_model(estimator, out, memory)
    except OSError as error:
        raise FailedError(f"{str(out)!r} cannot be written: {error.strerror}.") from error
    if not quiet:
        click.echo(f"{_told(estimator)}, {perf_counter() - start:.1f} s: {out}", err=True)


def _check_out(out: Path, data: Path) -> None:
    if out.suffix != SUFFIX:
        raise InputError(f"--out: the file of a model must end with {SUFFIX}; got {str(out)!r}.")
    if out.is_dir():
        raise InputError(f"--out: {str(out)!r} is a folder; name a file.")
    try:
        # before a fit, which may take hours
        check_can_be_written(out)
    except OSError as error:
        raise FailedError(f"{str(out)!r} cannot be written: {error.strerror}.") from error


def _check_roles(
    source: Source, roles: dict[str, str | None], drop: Sequence[str], text: Sequence[str]
) -> tuple[str, ...]:
    """The columns that are no features; raises unless all are there, and each has one role."""
    taken: dict[str, str] = {}
    for option, name in [*roles.items(), *(("--drop", name) for name in drop)]:
        if name is None:
            continue
        source.check(name, option)
        if name in taken:
            raise InputError(f"{taken[name]} and {option} both name the column {name!r}; a column has one role.")
        taken[name] = option
    for name in text:
        if source.check(name, "--text") in taken:
            raise InputError(f"{taken[name]} and --text both name the column {name!r}, which is no feature.")
    left_out = [name for name, option in taken.items() if option != "--target"]
    for name in filter(is_row_label, source.columns):
        if name not in taken:
            what = (
                f"the column {name!r} of {source.name!r} holds row labels"
                if name
                else (f"a column of {source.name!r} has no name, as that of row numbers has")
            )
            click.echo(f"warning: {what}, and is left out.", err=True)
            left_out.append(name)
    if len(left_out) + 1 >= len(source.columns):
        raise InputError(f"{source.name!r} has no column that is left to predict from.")
    return tuple(left_out)


def _read(source: Source, roles: dict[str, str | None], left_out: Sequence[str], text: Sequence[str]) -> _Given:
    """All rows, checked."""
    used = [name for name in roles.values() if name is not None]
    wanted = [name for name in source.columns if name in used or name not in left_out]
    frame = source.read(wanted, text)
    _check_target(source, frame[roles["--target"]])
    found: dict[str, Numbers] = {}
    for option in ("--target", "--exposure", "--weights"):
        if (name := roles[option]) is not None:
            found[option] = numbers(source, frame.pop(name), option)
    if (name := roles["--exposure"]) is not None:
        check_at_least(source, found["--exposure"], name, "--exposure", 0.0, strictly=True)
    if (name := roles["--weights"]) is not None:
        check_at_least(source, found["--weights"], name, "--weights", 0.0, strictly=False)
    groups = None
    if (name := roles["--groups"]) is not None:
        column = frame.pop(name)
        if column.isna().any():
            row = int(column.isna().to_numpy().argmax())
            raise InputError(
                f"--groups: column {name!r} of {source.name!r} must name a group in each row; got an empty cell in "
                f"{source.at(row)}. Mend or drop such rows."
            )
        try:
            groups = pd.factorize(column)[0]
        except TypeError:
            raise InputError(
                f"--groups: column {name!r} of {source.name!r} must hold numbers, text or dates; got cells such as "
                f"{type(column.iloc[0]).__name__}."
            ) from None
    for name in frame.columns:
        if pd.api.types.is_numeric_dtype(frame[name]) and np.isinf(frame[name].to_numpy(float, na_value=np.nan)).any():
            # says where
            numbers(source, frame[name], "features", gaps=True)
    # levels, whatever the text spells
    frame = frame.astype(dict.fromkeys(text, "category"))
    return _Given(frame, found["--target"], found.get("--exposure"), found.get("--weights"), groups)


def _check_target(source: Source, column: "pd.Series[Any]") -> None:
    """Raise for a column of text without a single number, which names classes."""
    if not is_text(column) or column.isna().all():
        return
    if all(number_of(str(text)) is None for text in column.dropna().unique()):
        row = int(column.notna().to_numpy().argmax())
        raise InputError(
            f"--target: column {column.name!r} of {source.name!r} must hold numbers; it holds text, such as "
            f"{str(column.iloc[row])!r} in {source.at(row)}. To predict classes, use "
            "probmix.DensityClassifier in Python."
        )


def _told(estimator: DensityRegressor) -> str:
    """What was fitted, in a line."""
    if not hasattr(estimator, "stack_"):
        return f"{estimator.family_.name}, {estimator.n_members_} members"
    used = estimator.stack_.groupby("family", sort=False)["weight"].sum()
    told = " + ".join(f"{weight:.2f} {family}" for family, weight in used.items() if weight > 0)
    return f"{told}, {estimator.n_members_} members"
