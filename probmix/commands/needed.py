"""Packages that only some files need."""

from importlib import import_module
from typing import Any

from .errors import InputError


def pyarrow(module: str = "pyarrow") -> Any:
    """A module of pyarrow, for parquet files.

    Raises
    ------
    InputError
        If it is not installed.
    """
    try:
        return import_module(module)
    except ImportError:
        raise InputError("parquet files need pyarrow: pip install 'probmix[files]', or use csv.") from None
