"""How the commands end: 0 when all is done, 2 for a wrong use or input, 1 for a failure, 128 + n by signal n."""

import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, NoReturn, ParamSpec

import click
from sklearn.exceptions import ConvergenceWarning

P = ParamSpec("P")


class InputError(click.ClickException):
    """What the user gave cannot be used."""

    exit_code = 2


class FailedError(click.ClickException):
    """The work has failed."""

    exit_code = 1


class Interrupted(BaseException):
    """A signal asks the command to end; no handler of other exceptions may go on."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def ends_clearly(command: Callable[P, None]) -> Callable[P, None]:
    """A command whose errors and warnings are messages, and which a signal ends with nothing half written."""

    @wraps(command)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            with _told_signals(), _told_warnings():
                command(*args, **kwargs)
        except (ValueError, TypeError, NotImplementedError) as error:
            raise InputError(str(error)) from error
        except MemoryError as error:
            raise FailedError("there is not enough memory.") from error
        except (RuntimeError, OSError) as error:
            if isinstance(error, click.exceptions.Exit | click.Abort):
                raise
            raise FailedError(str(error)) from error
        except Interrupted as stop:
            click.echo(f"stopped by {signal.Signals(stop.number).name}; nothing was written.", err=True)
            raise click.exceptions.Exit(128 + stop.number) from None

    return guarded


@contextmanager
def _told_signals() -> Iterator[None]:
    """Ctrl-C and a request to end stop whatever runs; training would otherwise keep what it has, and go on."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: Any) -> NoReturn:
        raise Interrupted(number)

    before = {one: signal.signal(one, stop) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


@contextmanager
def _told_warnings() -> Iterator[None]:
    """Warnings as lines of their own, without the place in the program."""
    told: set[str] = set()

    def tell(message: Warning | str, *args: Any, **kwargs: Any) -> None:
        # there are no options for what the advice names
        text = str(message).partition(". ")[0] + "." if isinstance(message, ConvergenceWarning) else str(message)
        if text not in told:
            told.add(text)
            click.echo(f"warning: {text}", err=True)

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        # deprecations are for programmers
        for category in (DeprecationWarning, PendingDeprecationWarning, FutureWarning):
            warnings.simplefilter("ignore", category)
        warnings.showwarning = tell
        yield
