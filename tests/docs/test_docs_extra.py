"""What `docs/conf.py` needs is in the extra "docs", and pinned."""

import ast
import re
import tomllib

from docs_pages import DOCS, ROOT


def setting(name):
    for statement in ast.parse((DOCS / "conf.py").read_text()).body:
        if isinstance(statement, ast.Assign) and getattr(statement.targets[0], "id", None) == name:
            return ast.literal_eval(statement.value)
    raise AssertionError(f"docs/conf.py has no {name}")


def extra():
    requirements = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["docs"]
    return {re.split(r"[<>=\[]", requirement)[0] for requirement in requirements}


def test_the_extra_has_what_the_site_is_built_with():
    modules = [*setting("extensions"), setting("html_theme")]
    packages = {name.split(".")[0].replace("_", "-") for name in modules if not (DOCS / f"{name}.py").exists()}
    if "linkify" in setting("myst_enable_extensions"):
        packages.add("linkify-it-py")
    assert packages == extra()


def test_the_extra_is_pinned():
    pinned = re.findall(r"^([\w.-]+)==", (ROOT / "constraints.txt").read_text(), flags=re.MULTILINE)
    assert extra() <= {name.lower().replace("_", "-") for name in pinned}
