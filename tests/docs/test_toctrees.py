"""Every page of the documentation is reached from the first one, and no table of contents names what is not there."""

from docs_pages import listed_pages, pages, toctree_entries


def test_all_pages_are_reached_from_the_landing_page():
    texts = pages()
    reached, waiting = {"index"}, ["index"]
    while waiting:
        found, _ = listed_pages(waiting.pop(), texts)
        waiting += found - reached
        reached |= found
    assert set(texts) - reached == set(), "in no toctree"


def test_no_toctree_names_a_page_that_is_gone():
    texts = pages()
    assert {name: lost for name in texts if (lost := listed_pages(name, texts)[1])} == {}


def test_entries_are_read_in_both_markups():
    assert toctree_entries("```{toctree}\n:hidden:\n\nstart/index\nWords <api/index>\n```\n") == [
        "start/index",
        "api/index",
    ]
    assert toctree_entries("Head\n====\n\n.. toctree::\n   :glob:\n\n   *\n   tables/*\n\nText\n") == ["*", "tables/*"]


def test_stars_stay_in_their_folder():
    texts = {"index": "```{toctree}\n:glob:\n\na/*\nb\n```\n", "a/one": "", "a/deep/two": "", "c": ""}
    assert listed_pages("index", texts) == ({"a/one"}, ["b"])


def test_pages_elsewhere_are_found_from_a_folder():
    texts = {"guide/index": "```{toctree}\n../mixup\nframes\n```\n", "mixup": "", "guide/frames": ""}
    assert listed_pages("guide/index", texts) == ({"mixup", "guide/frames"}, [])
