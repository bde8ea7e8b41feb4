"""The command line: ``probmix reproduce EXPERIMENT``."""

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from . import __version__
from .experiments import Experiment, reproduce, stocks


class _Names(click.ParamType[tuple[str, ...]]):
    """Names with commas between them."""

    name = "names"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        names = value.split(",") if isinstance(value, str) else value
        return tuple(name.strip() for name in names if name.strip())


_NAMES = _Names()


@click.group()
@click.version_option(__version__)
def main() -> None:
    """Conditional densities with neural networks, regularised by probabilistic mixup."""


@main.group("reproduce")
def reproduce_group() -> None:
    """Make a table of the papers, with its figures.

    Each fit is on disk as soon as it is done: the same command goes on where a run was stopped or killed.
    """


@reproduce_group.command("stocks", help=stocks.PROTOCOL, short_help="Stock forecasting with LSTM and transformer.")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help=f"Folder of data sets with {stocks.SERIES}.csv.  [default: the variable PROBMIX_DATA]",
)
@click.option("--stocks", type=_NAMES, default=",".join(stocks.STOCKS), show_default=True)
@click.option("--encoders", type=_NAMES, default=",".join(stocks.ENCODERS), show_default=True)
@click.option("--methods", type=_NAMES, default=",".join(stocks.METHODS), show_default=True)
@click.option("--seeds", type=click.IntRange(min=1), default=5, show_default=True, help="Number of fits per cell.")
@click.option("--epochs", type=click.IntRange(min=1), default=2000, show_default=True)
@click.option("--alpha", type=float, default=0.2, show_default=True, help="Mixing weights are Beta(alpha, alpha).")
@click.option("--beta", type=float, default=0.0, show_default=True, help="Variance of the label kernel.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path("out/stocks"), show_default=True)
@click.pass_context
def stocks_command(ctx: click.Context, /, seeds: int, out: Path, **settings: Any) -> None:
    """Stock forecasting; the help is the protocol."""
    _reproduce(ctx, lambda: stocks.StockExperiment(n_seeds=seeds, **settings), out)


def _reproduce(ctx: click.Context, build: Callable[[], Experiment], out: Path) -> None:
    """Run an experiment, its errors as those of the command line."""
    try:
        experiment = build()
        results, failures = reproduce(experiment, out, command=_command(ctx))
    except (ValueError, FileNotFoundError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{len(results)} of {len(experiment.units())} fits are done: {out / 'table.md'}")
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
        if isinstance(parameter, click.Option) and value is not None:
            text = ",".join(value) if isinstance(value, Sequence) and not isinstance(value, str) else str(value)
            words += [parameter.opts[0], shlex.quote(text)]
    return " ".join(words)
