"""Warnings name the user's line, wherever that is."""

import threading
import warnings
from importlib.machinery import BuiltinImporter

import pytest

from probmix._told import speaking_from_here, warn

PROGRAM = compile("\n\nwarn('that there is something')", "<typed>", "exec")


@pytest.mark.parametrize(
    "given",
    [{"__loader__": BuiltinImporter}, {"__loader__": None, "__spec__": None}, {}],
    ids=["typed", "cell", "bare"],
)
def test_of_programs_that_are_no_file(given):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        exec(PROGRAM, {"warn": warn, "__name__": "__main__", **given})
    assert [(one.filename, one.lineno, str(one.message)) for one in caught] == [
        ("<typed>", 3, "that there is something")
    ]


def test_as_an_error():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match=r"^that there is something$"):
            exec(PROGRAM, {"warn": warn})


def test_once_from_a_line():
    space = {"warn": warn, "__name__": "program"}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(3):
            exec(PROGRAM, space)
    assert len(caught) == 1


def test_of_another_thread():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        other = threading.Thread(target=speaking_from_here(lambda: warn("from there")))
        other.start()
        other.join()
        warn("from here")
    assert [(one.filename, str(one.message)) for one in caught] == [(__file__, "from there"), (__file__, "from here")]
