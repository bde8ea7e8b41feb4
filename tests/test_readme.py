"""What the README and the guides in docs show runs, in the order in which it is shown, and their table is true."""

import os
import re
import sys
import warnings
from pathlib import Path
from types import ModuleType

import matplotlib as mpl
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning

from probmix import families, mixup
from probmix.families import ExponentialFamily
from probmix.mixup import preset, preset_names

README = Path(__file__).parents[1] / "README.md"
DOCS = README.parent / "docs"


def run_blocks(page, monkeypatch):
    """All code of a page, in one namespace: that of a module, for classes are pickled by its name."""
    pyplot = pytest.importorskip("matplotlib.pyplot")
    monkeypatch.setitem(mpl.rcParams, "backend", "agg")
    module = ModuleType("page")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for block in code_blocks(page):
        exec(compile(block, str(page), "exec"), vars(module))
    pyplot.close("all")
    return vars(module)


def code_blocks(page):
    return re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.DOTALL)


def test_the_readme_runs(monkeypatch):
    assert len(code_blocks(README)) == 10
    namespace = run_blocks(README, monkeypatch)
    assert namespace["search"].best_score_ < 0


def test_the_guide_to_evaluation_runs(monkeypatch):
    assert len(code_blocks(DOCS / "evaluation.md")) == 7
    namespace = run_blocks(DOCS / "evaluation.md", monkeypatch)
    assert set(namespace["table"].attrs["missing"]) == {("nll", "draws"), ("nll", "quantiles")}


def test_the_guide_to_families_runs(monkeypatch):
    assert len(code_blocks(DOCS / "families.md")) == 4
    monkeypatch.setattr("probmix.families.registry._FAMILIES", dict(families.registry._FAMILIES))
    namespace = run_blocks(DOCS / "families.md", monkeypatch)
    assert "fixed-weibull" in families.names()
    # the routed exposure reaches the score: without it, a year is taken for every policy
    search, rates = namespace["search"], namespace["rates"]
    assert search.best_score_ > rates.score(namespace["X"][:1000], namespace["claims"], exposure=[1.0] * 1000) + 0.05


def test_the_guide_to_mixup_runs(monkeypatch):
    assert len(code_blocks(DOCS / "mixup.md")) == 7
    monkeypatch.setattr("probmix.mixup.registry._PARTS", dict(mixup.registry._PARTS))
    namespace = run_blocks(DOCS / "mixup.md", monkeypatch)
    assert namespace["by_name"].mixup == "c-probmix"


@pytest.mark.skipif("PROBMIX_DATA" not in os.environ, reason="needs the folder of data sets, PROBMIX_DATA")
def test_the_guide_to_tables_runs(monkeypatch):
    assert len(code_blocks(DOCS / "tables.md")) == 5
    monkeypatch.setitem(mpl.rcParams, "backend", "agg")
    with warnings.catch_warnings():
        # few epochs, so that it is quick
        warnings.simplefilter("ignore", ConvergenceWarning)
        namespace = run_blocks(DOCS / "tables.md", monkeypatch)
    assert len(namespace["houses"].X.columns) == 73
    layout = namespace["model"].columns_.layout
    assert dict(zip(layout.names, layout.kinds, strict=True))["Mas_Vnr_Type"] == "level"
    assert namespace["by_name"].columns_.layout.kinds == ("level", "level", "number")
    assert namespace["stack"].stack_["weight"].sum() == pytest.approx(1)


def test_the_table_of_mixup_is_true():
    text = (DOCS / "mixup.md").read_text()
    rows = [line.split("|")[1:3] for line in text.splitlines() if line.startswith("| `")]
    presets = [(re.findall(r"`([\w-]+)`", names), fields) for names, fields in rows if "=" not in names]
    assert sorted(name for names, _ in presets for name in names) == preset_names()
    for names, fields in presets:
        for name, code in zip(names, re.findall("`([^`]+)`", fields) * 2, strict=False):
            changes = eval(f"dict({code})", dict(vars(mixup)))
            for field, value in changes.items():
                assert getattr(preset(name), field) == value, (name, field)


def test_the_table_of_families_is_true():
    lines = re.findall(r"^\| `([\w-]+)` \|(.*)\|$", (DOCS / "families.md").read_text(), flags=re.MULTILINE)
    table = {name: [cell.strip() for cell in cells.split("|")] for name, cells in lines}
    assert sorted(table) == families.names()
    options = {"categorical": {"num_classes": 3}, "multivariate-gaussian": {"num_targets": 2}}
    for name, (targets, _, natural, pools, exposure, _) in table.items():
        family = families.get(name, **options.get(name, {}))
        assert natural == ("yes" if isinstance(family, ExponentialFamily) else "no"), name
        assert pools == ("log-linearly" if family.pools_log_linearly else "linearly"), name
        eta = family.constrain(torch.zeros(family.num_raw))
        try:
            family.expose(eta, torch.zeros(()))
        except ValueError:
            assert exposure == "", name
        else:
            assert exposure == "yes", name
        assert family.is_discrete == (targets in ("counts", "classes", "0 and 1")), name


@pytest.mark.parametrize("page", [README, *sorted(DOCS.glob("*.md"))], ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        assert target.startswith("https://") or (page.parent / target).exists(), target


def test_the_readme_names_its_two_commands():
    makefile = (README.parent / "Makefile").read_text()
    for command in ("demo", "test"):
        assert f"make {command}" in README.read_text()
        assert f"\n{command}:" in makefile
