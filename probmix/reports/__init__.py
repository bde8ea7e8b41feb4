"""Reports as one self-contained HTML page: parts of a page, and what there is to say of a fitted model."""

from .model import model_report
from .page import Cell, Code, Page, Picture, Points, Section, Settings, Table, Text

__all__ = [
    "Cell",
    "Code",
    "Page",
    "Picture",
    "Points",
    "Section",
    "Settings",
    "Table",
    "Text",
    "model_report",
]
