"""What `help` says of a public name can be read: types are named, not spelt out."""

import inspect

from docs_pages import docs_module

public_names = docs_module("public_names").public_names

# characters of a signature; those of the estimators have some twenty parameters
LONGEST = 1300


def signatures():
    """Of all public functions, classes and methods, by their names."""
    for path, thing in public_names().items():
        if not callable(thing):
            continue
        members = inspect.getmembers(thing, inspect.isfunction) if inspect.isclass(thing) else []
        for name, member in [(path, thing), *((f"{path}.{one}", way) for one, way in members if one[0] != "_")]:
            try:
                yield name, str(inspect.signature(member))
            except (ValueError, TypeError):  # of what is written in C
                continue


def test_signatures_can_be_read():
    found = dict(signatures())
    assert len(found) > 500
    assert not [name for name, text in found.items() if len(text) > LONGEST or "_NestedSequence" in text]
