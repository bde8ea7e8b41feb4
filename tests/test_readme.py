"""What the README and the pages of docs show runs, in the order in which it is shown, and their tables are true."""

import os
import re
import sys
from pathlib import Path
from types import ModuleType

import matplotlib as mpl
import pytest
import torch

from probmix import families, mixup
from probmix.estimators.candidates import AUTO_FAMILIES
from probmix.estimators.presets import PRESETS
from probmix.families import ExponentialFamily
from probmix.mixup import preset, preset_names

README = Path(__file__).parents[1] / "README.md"
DOCS = README.parent / "docs"
FAMILIES = DOCS / "guide" / "families.md"  # has the tables of families
MIXING = DOCS / "guide" / "mixing.md"  # has the table of presets
SCORES = DOCS / "guide" / "scores.md"

FOLDERS = [DOCS, DOCS / "start", DOCS / "guide", DOCS / "results"]
PAGES = [README, *(page for folder in FOLDERS for page in sorted(folder.glob("*.md")))]
NEEDS_DATA = "% needs: PROBMIX_DATA"  # on top of a page whose blocks read the folder of data sets


def name_of(page):
    return page.relative_to(README.parent).as_posix()


def code_blocks(page):
    return re.findall(r"^```python\n(.*?)^```", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def run_blocks(page, monkeypatch):
    """All code of a page, in one namespace: that of a module, for classes are pickled by its name."""
    pyplot = pytest.importorskip("matplotlib.pyplot")
    monkeypatch.setitem(mpl.rcParams, "backend", "agg")
    # a page that registers something does so for itself
    monkeypatch.setattr("probmix.families.registry._FAMILIES", dict(families.registry._FAMILIES))
    monkeypatch.setattr("probmix.mixup.registry._PARTS", dict(mixup.registry._PARTS))
    module = ModuleType("page")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for block in code_blocks(page):
        exec(compile(block, str(page), "exec"), vars(module))
    pyplot.close("all")
    return vars(module)


def check_readme(namespace):
    lower, upper = namespace["model"].predict_interval(namespace["X_new"], coverage=0.9).T
    assert 0.8 < ((lower <= namespace["y_new"]) & (namespace["y_new"] <= upper)).mean() < 0.98


def check_scores(namespace):
    assert set(namespace["table"].attrs["missing"]) == {("nll", "draws"), ("nll", "quantiles")}


def check_families(namespace):
    assert "fixed-weibull" in families.names()


def check_exposure(namespace):
    # the routed exposure reaches the score: without it, a year is taken for every policy
    search, rates = namespace["search"], namespace["rates"]
    assert search.best_score_ > rates.score(namespace["X"], namespace["claims"], exposure=[1.0] * 1000) + 0.05


def check_mixing(namespace):
    assert list(namespace["models"]) == ["erm", "mixup", "probmix", "m-probmix"]


def check_frame(namespace):
    # the model is better than the prices without the cars, and covers what it says
    difference, error = namespace["table"].loc[("crps", "model"), ["difference", "difference_error"]]
    assert difference < -3 * error
    assert abs(namespace["table"].loc[("coverage90", "model"), "mean"] - 0.9) < 0.1


def check_frames(namespace):
    layout = namespace["model"].columns_.layout
    assert dict(zip(layout.names, layout.kinds, strict=True))["Lot_Frontage is missing"] == "indicator"
    assert namespace["by_name"].columns_.layout.kinds == ("level", "level", "number")


def check_stacking(namespace):
    weights = namespace["stack"].stack_.set_index("family")["weight"]
    assert weights.sum() == pytest.approx(1)
    assert weights.idxmax() == "lognormal"


# what the namespace of a page says when its blocks have run, where that is more than that they run
CHECKS = {
    README: check_readme,
    SCORES: check_scores,
    FAMILIES: check_families,
    MIXING: check_mixing,
    DOCS / "start" / "frame.md": check_frame,
    DOCS / "guide" / "frames.md": check_frames,
    DOCS / "guide" / "exposure.md": check_exposure,
    DOCS / "guide" / "stacking.md": check_stacking,
}


@pytest.mark.parametrize("page", [page for page in PAGES if code_blocks(page)], ids=name_of)
def test_the_code_of_a_page_runs(page, monkeypatch):
    if NEEDS_DATA in page.read_text().splitlines()[:3] and "PROBMIX_DATA" not in os.environ:
        pytest.skip("needs the folder of data sets, PROBMIX_DATA")
    namespace = run_blocks(page, monkeypatch)
    CHECKS.get(page, lambda namespace: None)(namespace)


@pytest.mark.parametrize("page", CHECKS, ids=name_of)
def test_a_page_that_is_checked_has_code(page):
    assert code_blocks(page)


def test_the_table_of_mixup_is_true():
    rows = [line.split("|")[1:3] for line in MIXING.read_text().splitlines() if line.startswith("| `")]
    presets = [(re.findall(r"`([\w-]+)`", names), fields) for names, fields in rows if "=" not in names]
    assert sorted(name for names, _ in presets for name in names) == preset_names()
    for names, fields in presets:
        for name, code in zip(names, re.findall("`([^`]+)`", fields) * 2, strict=False):
            changes = eval(f"dict({code})", dict(vars(mixup)))
            for field, value in changes.items():
                assert getattr(preset(name), field) == value, (name, field)


def test_the_table_of_what_is_taken_for_which_targets_is_true():
    head, rows = '| targets | the default compares | `"auto"` stands for |\n', {}
    for line in FAMILIES.read_text().partition(head)[2].splitlines()[1:]:
        if not line.startswith("|"):
            break
        targets, *named = [cell.strip() for cell in line.strip("|").split("|")]
        rows[targets] = [set(re.findall(r"[a-z]+(?:-[a-z]+)*", names.partition(";")[0])) for names in named]
    fields = ("real", "positive", "totals", "shares", "counts", "binary")
    assert len(rows) == len(fields)
    default = PRESETS["default"].family
    for field, (compared, auto) in zip(fields, rows.values(), strict=True):
        assert compared == set(getattr(default, field)), field
        assert auto == set(getattr(AUTO_FAMILIES, field)), field


def test_the_table_of_families_is_true():
    lines = re.findall(r"^\| `([\w-]+)` \|(.*)\|$", FAMILIES.read_text(), flags=re.MULTILINE)
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


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        # pictures are drawn when the site is built, see test_pictures.py
        drawn = target.startswith("../_static/made/")
        assert drawn or target.startswith("https://") or (page.parent / target).exists(), target


def test_the_readme_names_its_two_commands():
    makefile = (README.parent / "Makefile").read_text()
    for command in ("demo", "test", "docs"):
        assert f"make {command}" in README.read_text()
        assert f"\n{command}:" in makefile
