"""The report of an experiment: tables in Markdown, and one HTML page with everything in it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pandas as pd

from .._files import write_atomically
from ..reports import Cell, Code, Page, Points, Section, Text
from ..reports import Picture as PagePicture
from ..reports import Table as PageTable
from ..reports.versions import versions
from .base import Experiment, Picture
from .figures import general_pictures
from .store import Result, file_stem
from .summary import average_ranks, summarise
from .tables import Table, all_tables

_MARKS = {"": "", "strong": "**", "em": "*"}


@dataclass(frozen=True)
class Drawing:
    """A picture as it is stored: its file in the folder of figures, and the picture of the page."""

    file: str
    picture: PagePicture


@dataclass(frozen=True)
class Report:
    """All that is said about the results of an experiment.

    Attributes
    ----------
    title, command : str
    facts : list of str
        Date, machines, versions, repeats, settings.
    protocol : str
    tables : list of Table
    drawings : list of Drawing
    """

    title: str
    command: str
    facts: Sequence[str]
    protocol: str
    tables: Sequence[Table]
    drawings: Sequence[Drawing]

    def markdown(self) -> str:
        """The report in Markdown, with pictures as links to their files."""
        parts = [f"# {self.title}", f"    {self.command}" if self.command else "", *self.facts, self.protocol]
        for table in self.tables:
            parts += [f"## {table.heading}", table.note, _markdown(table)]
        parts += [f"![{drawing.picture.caption}](figures/{drawing.file})" for drawing in self.drawings]
        return "\n\n".join(part for part in parts if part) + "\n"

    def html(self) -> str:
        """The report as one page that needs nothing else: no network, pictures inside."""
        made = [Code(self.command)] if self.command else []
        tables = [Section(table.heading, [PageTable(table.columns, table.rows, table.note)]) for table in self.tables]
        pictures = [Section("Pictures", [drawing.picture for drawing in self.drawings])] if self.drawings else []
        protocol = [Text(" ".join(part.split())) for part in self.protocol.split("\n\n")]
        sections = [
            Section("How it was made", [*made, Points(self.facts)]),
            *tables,
            *pictures,
            Section("Protocol", protocol),
        ]
        return Page(self.title, sections).html()


def write_report(experiment: Experiment, results: Sequence[Result], folder: Path, command: str = "") -> None:
    """Write ``summary.csv``, ``table.md``, ``figures/`` and ``report.html`` into a folder."""
    summary = summarise(experiment, results)
    ranks = average_ranks(experiment, summary)
    figures = folder / "figures"
    figures.mkdir(exist_ok=True)
    drawings = []
    for picture in [*general_pictures(experiment, summary, ranks), *experiment.pictures(results)]:
        drawing = _drawn(picture)
        write_atomically(figures / drawing.file, drawing.picture.png)
        drawings.append(drawing)
    report = Report(
        experiment.title,
        command,
        _facts(experiment, results),
        experiment.protocol,
        [*experiment.own_tables(results), *all_tables(experiment, summary, ranks)],
        drawings,
    )
    write_atomically(folder / "summary.csv", summary.to_csv(index=False).encode())
    write_atomically(folder / "table.md", report.markdown().encode())
    write_atomically(folder / "report.html", report.html().encode())


def _drawn(picture: Picture) -> Drawing:
    drawn = PagePicture.of(picture.figure, picture.caption, dpi="figure")
    return Drawing(f"{file_stem({'name': picture.name})}.png", drawn)


def _facts(experiment: Experiment, results: Sequence[Result]) -> list[str]:
    repeats = pd.DataFrame(list(experiment.units()))[experiment.repeat].unique()
    number = f"{len(repeats)} {experiment.repeat}s" if len(repeats) > 1 else f"one {experiment.repeat}"
    spread = f"Mean ± standard error over {number}" if len(repeats) > 1 else f"Mean over {number}"
    machines = "; ".join(sorted({result.machine for result in results})) or "no results"
    used = [f"{name} {number}" for name, number in versions().items()]
    return [
        f"{date.today().isoformat()}; {machines}; {', '.join(used)}.",
        f"{spread} ({', '.join(map(str, repeats))}); bold is the best mean of a row. A cell says how many "
        f"{experiment.repeat}s it has if not all.",
        "Settings: " + ", ".join(f"{name} = {value}" for name, value in experiment.settings.items()) + ".",
        *experiment.remarks,
    ]


def _markdown(table: Table) -> str:
    lines = [table.columns, ["---"] * len(table.columns), *([_marked(cell) for cell in row] for row in table.rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _marked(cell: Cell) -> str:
    mark = _MARKS[cell.emphasis]
    return f"{mark}{cell.text}{mark}" if cell.text else ""
