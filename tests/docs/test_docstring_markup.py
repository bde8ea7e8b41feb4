"""Docstrings keep their plain text where the markup of the site would take it for something else."""

import pytest
from docs_pages import docs_module

docstrings = docs_module("docstrings")


@pytest.mark.parametrize(
    ("line", "mended"),
    [
        ("eta : Tensor, (*B, M, K)", r"eta : Tensor, (\*B, M, K)"),
        ("Of shape (N, *shape), or (*B, *S).", r"Of shape (N, \*shape), or (\*B, \*S)."),
        ("A *word* stays.", "A *word* stays."),
        ("Code ``(*B, M)`` and `*x` stay.", "Code ``(*B, M)`` and `*x` stay."),
        (r"As does :math:`a *b`, and \*this.", r"As does :math:`a *b`, and \*this."),
        (">>> f(*x)", ">>> f(*x)"),
        ("**parts", "**parts"),
    ],
)
def test_stars_of_shapes_are_no_emphasis(line, mended):
    lines = [line]
    docstrings.mend(None, "function", "f", None, None, lines)
    assert lines == [mended]


def test_lists_of_parameters_go_on_after_a_backslash():
    lines = ["pool, patience, \\", "device", "    As there.", "a \\", "b"]
    docstrings.mend(None, "class", "C", None, None, lines)
    assert lines == ["pool, patience, device", "    As there.", "a \\", "b"]
