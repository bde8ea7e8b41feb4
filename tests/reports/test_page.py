"""A page: what is in it, how tables are read, and that it needs nothing else."""

import re
from html.parser import HTMLParser

import pytest
from matplotlib.figure import Figure

from probmix.reports import Cell, Code, Page, Picture, Points, Section, Settings, Table, Text


def picture(width=4.8):
    figure = Figure(figsize=(width, 2.0))
    figure.subplots().plot([0, 1], [1, 0])
    return Picture.of(figure, "A line that falls.")


def page():
    table = Table(
        ["model", "CRPS"], [["ours", 0.5], [Cell("<theirs>", "strong"), "1,234.5 ± 0.1"], ["none", None]], "note"
    )
    parts = [Text("5 < 6 & 7"), Points(["one", "two"]), Code("probmix fit 'a'"), Settings({"seed": 3}), table]
    return Page("A page & its title", [Section("First", parts), Section("Second", [picture(), picture(8.0)])])


class Reader(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.open, self.attributes = [], [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attributes]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_all_parts_are_there_and_text_is_text():
    text = page().html()
    for part in (
        "<title>A page &amp; its title</title>",
        "<p>5 &lt; 6 &amp; 7</p>",
        "<li>two</li>",
        "<code>probmix fit &#39;a&#39;</code>",
        "<dt>seed</dt><dd>3</dd>",
        "<strong>&lt;theirs&gt;</strong>",
        '<p class="note">note</p>',
        "<figcaption>A line that falls.</figcaption>",
    ):
        assert part in text
    reader = Reader()
    reader.feed(text)
    assert reader.open == []
    assert reader.tags.count("figure") == 2
    # pictures that follow each other stand side by side
    assert text.count('<div class="pictures">') == 1


def test_the_page_needs_nothing_else():
    text = page().html()
    reader = Reader()
    reader.feed(text)
    assert not {"link", "iframe", "object"} & set(reader.tags)
    sources = [(tag, value) for tag, name, value in reader.attributes if name in ("src", "href")]
    assert all(value.startswith("data:image/png;base64,iVBOR") for tag, value in sources if tag == "img")
    assert [value for tag, value in sources if tag == "a"] == ["#section-1", "#section-2"]
    assert not re.search(r"https?://|@import|url\(", text)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1,234.5 ± 0.1", 1234.5), ("-0.5", -0.5), ("1.2e-05", 1.2e-5), ("< 0.001", 0.001), ("12 %", 12.0),
        ("0.3 (2 of 5)", 0.3), ("2020-01-01", None), ("3rd", None), ("", None), ("ours", None),
    ],
)  # fmt: skip
def test_numbers_at_the_beginning_of_cells(text, number):
    assert Cell(text).number == number


def test_columns_of_numbers_are_told_from_text():
    rows = [["a", "1 ± 2", "2020-01-01", None], ["b", "-", "2021-01-01", ""], ["7", 3.0, "x", float("nan")]]
    table = Table(["name", "number", "date", "empty"], rows)
    assert table.numeric == [False, True, False, False]
    assert [row[3].is_missing for row in table.cells] == [True, True, True]
    text = Page("title", [Section("heading", [table])]).html()
    assert '<td class="number" data-value="1.0">1 ± 2</td>' in text
    assert '<td class="number" data-missing>-</td>' in text
    assert '<th scope="col" class="number">number</th>' in text


def test_rows_of_another_length_are_refused():
    message = r"^each row of a table must have one cell for each of its 2 columns; row 1 has 1\.$"
    with pytest.raises(ValueError, match=message):
        Table(["a", "b"], [[1, 2], [3]])


def test_a_picture_knows_how_wide_it_is_shown():
    one = picture(5.0)
    pixels = int.from_bytes(one.png[16:20], "big")
    assert one.inches == pixels / 192
    # all but the empty margins of the figure
    assert 0.85 * 5 < one.inches < 5
    assert (one.width, one.least_width, one.alt) == (round(pixels / 2), round(pixels * 3 / 8), "A line that falls.")
    assert f"--width: {one.width}px; --least: {one.least_width}px" in Page("t", [Section("s", [one])]).html()


def test_nothing_that_is_drawn_is_cut_off():
    figure = Figure(figsize=(2.0, 2.0))
    figure.suptitle("a title that is far wider than its figure " * 3)
    assert Picture.of(figure, "").inches > 6
