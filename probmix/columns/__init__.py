"""Columns of data frames as the numbers that a network takes."""

from .columns import Columns

__all__ = ["Columns"]
