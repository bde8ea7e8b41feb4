"""Tables of the pages are those of the committed results, and a board goes on from these."""

import importlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tables_folder import write_tables

from probmix.experiments import LeaderboardExperiment, report_on, reproduce
from probmix.experiments.leaderboard.methods import METHODS, Method

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module


def test_tables_of_the_pages_are_those_of_the_committed_results(script):
    for path, text in script("pages").pages().items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name}: run `python benchmarks/pages.py`"


def test_every_table_of_results_is_on_a_page(script):
    pages = script("pages")
    results = pages.read("leaderboard")
    tables = pages.summary_tables(results) | pages.uci_tables(results) | pages.best_table(pages.read("best"))
    texts = "\n".join((ROOT / name).read_text(encoding="utf-8") for name in pages.PAGES)
    assert len(tables) == 5
    for head in tables:
        assert f"| {' | '.join(head)} |" in texts, head


def test_a_table_is_renewed_with_its_head_and_nothing_else(script):
    rest = "| other | mean |\n|---|---|\n| kept | 3 |\n"
    text = f"one\n\n| on 2 tables | mean |\n|---|---|\n| old | 1 |\n| old | 2 |\n\n{rest}"
    renewed = script("pages").refill(text, {("on 3 tables", "mean"): [["new", "4"]]})
    assert renewed == f"one\n\n| on 3 tables | mean |\n|---|---|\n| new | 4 |\n\n{rest}"
    assert script("pages").refill(text, {("on 3 tables", "sd"): [["a", "b"]]}) == text


def test_means_have_their_errors_and_the_number_of_splits_where_it_is_another(script):
    mean = script("pages")._mean
    assert mean(pd.Series([1.0, 2.0, 3.0]), 2, True, 3) == f"**2.00 ± {1 / np.sqrt(3):.2f}**"
    assert mean(pd.Series([1.0, 3.0]), 1, False, 3) == "2.0 ± 1.0 (2)"
    assert mean(pd.Series([1.0]), 3, False, 1) == "1.000"
    assert mean(pd.Series([1.0, 1.004]), 2, False, 2) == "1.00 ± 0.002"
    assert mean(pd.Series([1.0, 1.0]), 2, False, 2) == "1.00 ± 0.00"


def test_a_board_goes_on_from_its_table(tmp_path, monkeypatch, script):
    monkeypatch.setattr(LeaderboardExperiment, "baseline", "marginal")
    for name in ("marginal", "quantiles"):
        monkeypatch.setitem(METHODS, name, Method(name, f"fake_peers:fit_{name}"))
    data = write_tables(tmp_path / "data")
    experiment = LeaderboardExperiment(("uci/yacht",), ("marginal", "quantiles"), uci_splits=2, data=data)
    found, _ = reproduce(experiment, tmp_path / "first", verbose=False)
    assert script("board").restore(tmp_path / "first/results.csv", tmp_path / "second", data) == len(found) == 4
    monkeypatch.setattr(experiment, "work", lambda units: pytest.fail("it was there"))
    again, failures = reproduce(experiment, tmp_path / "second", verbose=False)
    assert not failures
    assert [(one.unit, one.scores) for one in again] == [(one.unit, one.scores) for one in found]


def test_what_there_is_can_be_reported_on_without_more(tmp_path, monkeypatch):
    monkeypatch.setattr(LeaderboardExperiment, "baseline", "marginal")
    monkeypatch.setitem(METHODS, "marginal", Method("marginal", "fake_peers:fit_marginal"))
    data = write_tables(tmp_path / "data")
    found, _ = reproduce(
        LeaderboardExperiment(("uci/yacht",), ("marginal",), uci_splits=1, data=data), tmp_path / "out", verbose=False
    )
    wider = LeaderboardExperiment(("uci/yacht",), ("marginal",), uci_splits=3, data=data)
    monkeypatch.setattr(wider, "work", lambda units: pytest.fail("nothing is done"))
    assert report_on(wider, tmp_path / "out", "as before") == found
    assert "as before" in (tmp_path / "out/table.md").read_text()
