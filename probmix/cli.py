"""The command line: ``probmix fit``, ``predict``, ``evaluate`` and ``report`` of files, and ``reproduce``."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import Any, Literal

import click

from . import __version__
from .commands.evaluate import evaluate
from .commands.fit import fit
from .commands.predict import predict
from .commands.report import report
from .experiments import (
    Experiment,
    counts,
    leaderboard,
    reproduce,
    stocks,
    theory,
    toy_classification,
    toy_regression,
    uci,
)
from .experiments.methods import Strength

_FULL: Literal["full"] = "full"


class _Names(click.ParamType[tuple[str, ...]]):
    """Names with commas between them."""

    name = "names"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        names = value.split(",") if isinstance(value, str) else value
        return tuple(word for word in (str(name).strip() for name in names) if word)


class _Strength(click.ParamType[Strength]):
    """A number, or "auto"."""

    name = "number|auto"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Strength:
        if value == "auto":
            return "auto"
        try:
            return float(value)
        except ValueError:
            self.fail(f"{value!r} is neither a number nor 'auto'.", param, ctx)


class _Strengths(click.ParamType[tuple[Strength, ...]]):
    """Numbers, or "auto", with commas between them."""

    name = "numbers|auto"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[Strength, ...]:
        parts = _Names().convert(value, param, ctx)
        return tuple(_Strength().convert(part, param, ctx) for part in parts)


class _BatchSize(click.ParamType[int | Literal["full"]]):
    """A number of rows, or "full"."""

    name = "integer|full"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | Literal["full"]:
        return _FULL if value == _FULL else click.IntRange(min=2).convert(value, param, ctx)


_AT_LEAST_ONE = click.IntRange(min=1)
# By the argument of the experiment: names of the option, its type, and its help.
_OPTIONS: dict[str, tuple[list[str], Any, str]] = {
    "data": (
        ["--data"],
        click.Path(path_type=Path),
        "Folder of data sets.  [default: the variable PROBMIX_DATA]",
    ),
    "datasets": (["--datasets"], _Names(), ""),
    "stocks": (["--stocks", "--datasets"], _Names(), ""),
    "encoders": (["--encoders"], _Names(), ""),
    "methods": (["--methods"], _Names(), "Presets, or with a pool as in m-probmix:linear."),
    "parts": (["--parts"], _Names(), ""),
    "n_splits": (["--splits"], _AT_LEAST_ONE, "Number of splits into training and test rows."),
    "uci_splits": (["--uci-splits"], _AT_LEAST_ONE, "Number of published splits of the sets of uci/."),
    "time_limit": (["--time-limit"], click.FloatRange(min=0, min_open=True), 'Seconds of a fit of "best".'),
    "cap": (["--cap"], click.IntRange(min=20), "Most rows of a set outside uci/."),
    "n_seeds": (["--seeds"], _AT_LEAST_ONE, "Number of fits per cell."),
    "epochs": (["--epochs"], _AT_LEAST_ONE, ""),
    "alpha": (["--alpha"], _Strength(), "Mixing weights are Beta(alpha, alpha)."),
    "beta": (["--beta"], _Strength(), "Width of the label kernel, as a variance."),
    "alphas": (["--alpha"], _Strengths(), "Mixing weights are Beta(alpha, alpha)."),
    "betas": (["--beta"], _Strengths(), "Width of the label kernel."),
    "batch_size": (["--batch-size"], _BatchSize(), "Rows of a step."),
    "device": (["--device"], click.Choice(["auto", "cpu", "cuda"]), ""),
}


@click.group()
@click.version_option(__version__)
def main() -> None:
    """Conditional densities with neural networks, regularised by probabilistic mixup."""


for _command_on_files in (fit, predict, evaluate, report):
    main.add_command(_command_on_files)


@main.group("reproduce")
def reproduce_group() -> None:
    """Make a table of the papers, with its figures.

    What is done is on disk at once: the same command goes on where a run was stopped or killed, and one with more data
    sets, methods, splits or seeds adds to what is there. The folder --out then has results.csv, with a row for each
    fit; summary.csv, table.md and figures; and all of it as one page, report.html.
    """


def _add(
    name: str,
    build: Callable[..., Experiment],
    protocol: str,
    short_help: str,
    quick: Mapping[str, Any],
    texts: Mapping[str, str] | None = None,
) -> None:
    """Add the command of an experiment, with an option for each of its arguments and the same default.

    `texts` are the help of options that mean something else here.
    """

    def choose(ctx: click.Context, param: click.Parameter, value: str) -> str:
        if value == "quick":
            ctx.default_map = {**quick}
        return value

    @click.pass_context
    def command(ctx: click.Context, /, preset: str, out: Path, jobs: int, **settings: Any) -> None:
        if settings.get("batch_size") == _FULL:
            settings["batch_size"] = None
        _reproduce(ctx, lambda: build(**settings), out, jobs)

    presets = f"Defaults: those below, or for a first look {_as_options(quick)}."
    options = [
        click.Option(
            ["--preset"],
            type=click.Choice(["paper", "quick"]),
            default="paper",
            show_default=True,
            help=presets,
            callback=choose,
            is_eager=True,
        )
    ]
    for argument, parameter in signature(build).parameters.items():
        words, kind, text = _OPTIONS[argument]
        text = (texts or {}).get(argument, text)
        default = _FULL if argument == "batch_size" and parameter.default is None else _as_text(parameter.default)
        options.append(
            click.Option([*words, argument], type=kind, default=default, show_default=default is not None, help=text)
        )
    folder = click.Path(path_type=Path, file_okay=False)
    at_once = "Processes that work at the same time, each with its share of the cores."
    options.append(click.Option(["--jobs"], type=_AT_LEAST_ONE, default=1, show_default=True, help=at_once))
    options.append(click.Option(["--out"], type=folder, default=f"out/{name}", show_default=True))
    reproduce_group.add_command(
        click.Command(name, callback=command, params=[*options], help=protocol, short_help=short_help)
    )


def _reproduce(ctx: click.Context, build: Callable[[], Experiment], out: Path, jobs: int) -> None:
    """Run an experiment, its errors as those of the command line."""
    try:
        experiment = build()
        for remark in experiment.remarks:
            click.echo(remark)
        results, failures = reproduce(experiment, out, jobs=jobs, command=_command(ctx))
    except (ValueError, FileNotFoundError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{len(results)} of {len(experiment.units())} results are done: {out / 'report.html'}")
    for name, reason in failures.items():
        click.echo(f"failed: {name}: {reason}", err=True)
    if failures:
        ctx.exit(1)


def _command(ctx: click.Context) -> str:
    """The command with all its options spelled out, so that it says the same when a default has changed."""
    # whatever the program was started as
    words = ["probmix", *ctx.command_path.split()[1:]]
    for parameter in ctx.command.params:
        value = ctx.params.get(parameter.name or "")
        # the preset is only the defaults of the others, and the results are the same from any number of processes
        if isinstance(parameter, click.Option) and value is not None and parameter.name not in ("preset", "jobs"):
            words += [parameter.opts[0], shlex.quote(_as_text(value) or "")]
    return " ".join(words)


def _as_text(value: Any) -> str | None:
    """A value as it is written on the command line."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ",".join(f"{one}" for one in value)
    return None if value is None else str(value)


def _as_options(settings: Mapping[str, Any]) -> str:
    return " ".join(f"{_OPTIONS[argument][0][0]} {_as_text(value)}" for argument, value in settings.items())


_FEW_METHODS = ("erm", "mixup", "probmix", "m-probmix")

_add(
    "uci",
    uci.UCIExperiment,
    uci.PROTOCOL,
    "UCI regression: NLL and RMSE of eleven methods.",
    quick={
        "datasets": ("yacht", "bostonHousing", "energy"),
        "methods": _FEW_METHODS,
        "n_splits": 3,
        "epochs": 200,
        "alpha": 0.2,
        "beta": 0.0,
    },
)
_add(
    "toy-regression",
    toy_regression.ToyRegressionExperiment,
    toy_regression.PROTOCOL,
    "A cubic, in and out of distribution.",
    quick={"methods": _FEW_METHODS, "n_seeds": 3, "alphas": (0.1, 0.5)},
)
_add(
    "toy-classification",
    toy_classification.ToyClassificationExperiment,
    toy_classification.PROTOCOL,
    "Three noisy rings.",
    quick={"methods": _FEW_METHODS, "n_seeds": 3, "epochs": 300, "alphas": (0.5,), "betas": (0.01,)},
)
_add(
    "stocks",
    stocks.StockExperiment,
    stocks.PROTOCOL,
    "Stock forecasting with LSTM and transformer.",
    quick={"stocks": ("GOOG",), "encoders": ("lstm",), "methods": _FEW_METHODS, "n_seeds": 1, "epochs": 100},
)
_add(
    "counts",
    counts.CountsExperiment,
    counts.PROTOCOL,
    "Counts and positive targets, under their families and a Gaussian.",
    quick={
        "datasets": ("count/horseshoe_crabs", "count/quine", "positive/airquality_ozone"),
        "n_splits": 3,
        "epochs": 50,
    },
)
_add(
    "leaderboard",
    leaderboard.LeaderboardExperiment,
    leaderboard.PROTOCOL,
    "Our estimators beside those of others, on all tables.",
    quick={
        "datasets": ("uci/yacht", "positive/airquality_ozone", "count/quine"),
        "n_splits": 2,
        "uci_splits": 2,
    },
    texts={
        "datasets": "Folders of data sets, or single ones such as uci/yacht.",
        "methods": "Those whose packages or weights are not on the machine are left out.",
        "n_splits": "Number of splits of the sets outside uci/.",
    },
)
_add(
    "theory",
    theory.TheoryExperiment,
    theory.PROTOCOL,
    "What the works on mixup claim, each in a small problem.",
    quick={"n_seeds": 1},
)
