"""Options that several commands have, and the types of their values."""

import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])
PATH = click.Path(path_type=Path)
# A name up to the next comma; in double quotes it may have commas, and spaces at its ends.
_NAME = re.compile(r'\s*(?:"((?:[^"]|"")+)"|([^,]*?))\s*(,|$)')
_NEEDS_QUOTES = re.compile(r'^\s|\s$|,|^"')


class Names(click.ParamType[tuple[str, ...]]):
    """Names with commas between them; those that have commas, or spaces at their ends, in double quotes."""

    name = "names"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        if not isinstance(value, str):
            return tuple(value)
        names, rest = [], value
        while match := _NAME.match(rest):
            quoted, plain, comma = match.groups()
            names.append(plain if quoted is None else quoted.replace('""', '"'))
            rest = rest[match.end() :]
            if not comma:
                break
        if "" in names:
            self.fail(f"{value!r} names nothing before or after a comma.", param, ctx)
        return tuple(names)


class Numbers(click.ParamType[tuple[float, ...]]):
    """Numbers with commas between them, each in an open interval."""

    name = "numbers"

    def __init__(self, low: float, high: float) -> None:
        self._low, self._high = low, high

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        if not isinstance(value, str):
            return tuple(value)
        numbers = []
        for word in value.split(","):
            try:
                number = float(word)
            except ValueError:
                self.fail(f"{word.strip()!r} is no number.", param, ctx)
            if not self._low < number < self._high:
                self.fail(f"{word.strip()} does not lie between {self._low:g} and {self._high:g}.", param, ctx)
            numbers.append(number)
        return tuple(dict.fromkeys(numbers))


class NamedPath(click.ParamType[tuple[str, Path]]):
    """A file with a name, NAME=FILE; without one that of the file is taken."""

    name = "name=file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, Path]:
        if not isinstance(value, str):
            name, path = value
            return name, path
        name, mark, path = value.partition("=")
        # folders may have the mark in their names
        if not mark or "/" in name or Path(value).exists():
            return Path(value).name.split(".")[0], Path(value)
        if not name or not path:
            self.fail(f"{value!r} should be NAME=FILE.", param, ctx)
        return name, Path(path)


def quiet_option(command: F) -> F:
    """Say nothing of the progress."""
    return click.option("--quiet", is_flag=True, help="Say nothing but warnings and errors.")(command)


def exposure_option(command: F) -> F:
    """Name the column of exposures of rows to predict."""
    text = "Column of exposures, if it has another name than in the fit."
    return click.option("--exposure", metavar="COLUMN", help=text)(command)


def command_line(ctx: click.Context) -> str:
    """The command as it can be typed again, with the options that were given."""
    words = ["probmix", *ctx.command_path.split()[1:]]
    for parameter in ctx.command.params:
        value = ctx.params.get(parameter.name or "")
        source = ctx.get_parameter_source(parameter.name or "")
        if value is None or source is None or source.name.startswith("DEFAULT"):
            continue
        if isinstance(parameter, click.Argument):
            words.append(shlex.quote(str(value)))
        elif isinstance(parameter, click.Option) and parameter.is_flag:
            words.append(parameter.opts[0])
        elif parameter.multiple:
            words += [word for one in value for word in (parameter.opts[0], shlex.quote(_as_text(one)))]
        else:
            words += [parameter.opts[0], shlex.quote(_as_text(value))]
    return " ".join(words)


def _in_quotes(name: str) -> str:
    """A name among others, which `Names` reads."""
    return '"' + name.replace('"', '""') + '"' if _NEEDS_QUOTES.search(name) else name


def _as_text(value: Any) -> str:
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], Path):
        return f"{value[0]}={value[1]}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ",".join(_in_quotes(f"{one}") for one in value)
    return str(value)
