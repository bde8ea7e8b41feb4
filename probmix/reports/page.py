"""A page that needs nothing else: text, tables that can be sorted, and pictures, as one HTML file."""

import re
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import groupby
from math import floor, isfinite, log10
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import jinja2

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# How a cell begins that is sorted as a number: "1,234", "-0.5 ± 0.1", "< 0.001", "12 %".
_NUMBER = re.compile(r"(?:[<>] )?([-+]?\d[\d,]*(?:\.\d+)?(?:[eE][-+]?\d+)?)(?=$|\s)")
_MISSING = ("", "-", "–")
# Spaces that no line ends with.
_BREAKS, _BREAKS_BEHIND = re.compile(r"(?<=\d) ([%±])"), re.compile(r"(±) (?=\d)")
# Where the width of a PNG file is.
_WIDTH = slice(16, 20)
# Pixels of an inch of a figure, on a wide screen and where it must not get smaller: letters of ten points then have
# thirteen pixels and ten.
_SHOWN, _LEAST = 96, 72
# From here on numbers are written out, with commas.
_LARGE, _HUGE = 1e4, 1e15


def shown(value: float) -> str:
    """A number as tables show it, with four digits or all before the point.

    Examples
    --------
    >>> shown(0.123456), shown(123456.7), shown(12)
    ('0.1235', '123,457', '12')
    """
    return f"{value:,.0f}" if _LARGE <= abs(value) < _HUGE else f"{value:.4g}"


def with_error(value: float, error: float) -> str:
    """A number with its standard error, to two digits of the error.

    Examples
    --------
    >>> with_error(0.123456, 0.01234), with_error(30929.2, 1449.0), with_error(1.5, float("nan"))
    ('0.123 ± 0.012', '30,900 ± 1,400', '1.5')
    """
    if not (isfinite(value) and isfinite(error) and error > 0):
        return shown(value)
    digits = 1 - floor(log10(error))
    return " ± ".join(f"{round(number, digits):,.{max(digits, 0)}f}" for number in (value, error))


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    kind: ClassVar[str] = "text"
    text: str


@dataclass(frozen=True)
class Points:
    """A list of sentences."""

    kind: ClassVar[str] = "points"
    sentences: Sequence[str]


@dataclass(frozen=True)
class Code:
    """Lines of code or of a command line, as they are."""

    kind: ClassVar[str] = "code"
    text: str


@dataclass(frozen=True)
class Settings:
    """Names and what they are set to."""

    kind: ClassVar[str] = "settings"
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Cell:
    """Text of a cell, and whether it stands out: as the best, or as something else that the note explains."""

    text: str
    emphasis: Literal["", "strong", "em"] = ""

    @classmethod
    def of(cls, content: "Cell | str | float | None") -> "Cell":
        """A cell of text, of a number, or of nothing."""
        if isinstance(content, Cell):
            return content
        if content is None or content != content:
            return cls("")
        return cls(content if isinstance(content, str) else shown(content))

    @property
    def is_missing(self) -> bool:
        """Whether there is nothing in it; such cells stay last, however a table is sorted."""
        return self.text.strip() in _MISSING

    @property
    def number(self) -> float | None:
        """The number that the text begins with.

        Examples
        --------
        >>> Cell("1,234.5 ± 0.1").number, Cell("< 0.001").number, Cell("2020-01-01").number
        (1234.5, 0.001, None)
        """
        found = _NUMBER.match(self.text.strip())
        return None if found is None else float(found[1].replace(",", ""))


@dataclass(frozen=True)
class Table:
    """A table that a reader sorts by a column.

    Parameters
    ----------
    columns : sequence of str
        Names.
    rows : sequence of sequences of Cell, str, float or None
        Of one length, that of `columns`.
    caption : str
        What a reader must know, above the table.

    Raises
    ------
    ValueError
        If a row has another length.
    """

    kind: ClassVar[str] = "table"
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell | str | float | None]]
    caption: str = ""

    def __post_init__(self) -> None:
        for number, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise ValueError(
                    f"each row of a table must have one cell for each of its {len(self.columns)} columns; row {number} "
                    f"has {len(row)}."
                )

    @property
    def cells(self) -> list[list[Cell]]:
        """All rows as cells."""
        return [[Cell.of(content) for content in row] for row in self.rows]

    @property
    def numeric(self) -> list[bool]:
        """Which columns hold numbers, and nothing else: they are aligned and sorted as such."""
        columns = [[row[place] for row in self.cells] for place in range(len(self.columns))]
        present = [[cell for cell in column if not cell.is_missing] for column in columns]
        return [bool(column) and all(cell.number is not None for cell in column) for column in present]


@dataclass(frozen=True)
class Picture:
    """A picture with the words below it.

    Parameters
    ----------
    png : bytes
    caption : str
    alt : str
        What is said to those who do not see it.
    inches : float
        Width of the figure. Where a screen is too narrow for its letters, the picture scrolls in its own box.
    """

    kind: ClassVar[str] = "picture"
    png: bytes
    caption: str
    alt: str
    inches: float

    @classmethod
    def of(cls, figure: "Figure", caption: str, alt: str | None = None, dpi: float | Literal["figure"] = 192) -> Self:
        """The picture of a figure, by default at twice the resolution of a plain screen.

        It has room for all that was drawn, also where a title or a legend is wider than the figure.
        """
        content = BytesIO()
        resolution = figure.dpi if dpi == "figure" else dpi
        figure.savefig(content, format="png", dpi=resolution, bbox_inches="tight")
        png = content.getvalue()
        return cls(png, caption, caption if alt is None else alt, int.from_bytes(png[_WIDTH]) / resolution)

    @property
    def uri(self) -> str:
        """The picture in the text of a page."""
        return "data:image/png;base64," + b64encode(self.png).decode()

    @property
    def width(self) -> int:
        """Pixels at which it is shown where there is room."""
        return round(_SHOWN * self.inches)

    @property
    def least_width(self) -> int:
        """Pixels below which letters could not be read."""
        return round(_LEAST * self.inches)


Part = Text | Points | Code | Settings | Table | Picture


@dataclass(frozen=True)
class Section:
    """A heading, and what is below it in its order; pictures that follow each other stand side by side."""

    heading: str
    parts: Sequence[Part]

    @property
    def blocks(self) -> Iterator[tuple[str, list[Part]]]:
        """Parts of one kind that follow each other."""
        for kind, parts in groupby(self.parts, key=lambda part: part.kind):
            yield kind, list(parts)


@dataclass(frozen=True)
class Page:
    """A page with a table of contents.

    Parameters
    ----------
    title : str
    sections : sequence of Section

    Examples
    --------
    >>> from probmix.reports import Page, Section, Table, Text
    >>> table = Table(["model", "CRPS"], [["ours", 0.5], ["theirs", 0.75]])
    >>> page = Page("Two models", [Section("Scores", [Text("Smaller is better."), table])])
    >>> "Smaller is better." in page.html()
    True
    """

    title: str
    sections: Sequence[Section]

    def html(self) -> str:
        """The page: no network, pictures inside, and a script that sorts tables."""
        environment = jinja2.Environment(
            loader=jinja2.PackageLoader("probmix.reports"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.filters["tied"] = _tied
        return environment.get_template("page.html.jinja").render(page=self)


def _tied(text: str) -> str:
    """A number, its unit and its error on one line."""
    return _BREAKS.sub("\N{NO-BREAK SPACE}\\1", _BREAKS_BEHIND.sub("\\1\N{NO-BREAK SPACE}", text))
