"""The command line, on a small file of random walks."""

import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from stock_file import TICKERS, write_stocks

from probmix.cli import main
from probmix.experiments import StockExperiment
from probmix.experiments.stocks import PROTOCOL


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_stocks(tmp_path_factory.mktemp("data"))


@pytest.fixture(autouse=True)
def _no_variable(monkeypatch):
    monkeypatch.delenv("PROBMIX_DATA", raising=False)


def arguments(folder, out, **changes):
    options = {
        "data": folder, "out": out, "stocks": "AAA", "encoders": "lstm", "methods": "erm,probmix", "seeds": 1,
        "epochs": 2, "device": "cpu", **changes,
    }  # fmt: skip
    return ["reproduce", "stocks", *(word for name, value in options.items() for word in (f"--{name}", str(value)))]


def invoke(*words):
    return CliRunner().invoke(main, list(words), catch_exceptions=False)


def scores_of(folder):
    return pd.read_csv(folder / "results.csv").drop(columns="seconds")


def test_the_command_writes_results_table_and_figures(data, tmp_path):
    out = tmp_path / "out"
    state = torch.get_rng_state()
    done = invoke(*arguments(data, out, stocks="AAA, BBB,AAA", encoders="lstm,transformer", beta=0.01))
    assert done.exit_code == 0
    assert done.stdout == f"8 of 8 fits are done: {out / 'table.md'}\n"
    table = pd.read_csv(out / "results.csv")
    keys = ["dataset", "encoder", "method", "seed"]
    assert table.columns.tolist() == [*keys, "nll", "crps", "rmse", "coverage90", "best_epoch", "seconds"]
    units = [[stock, encoder, method, 0] for stock in ("AAA", "BBB") for encoder in ("lstm", "transformer")
             for method in ("erm", "probmix")]  # fmt: skip
    assert table[keys].to_numpy().tolist() == units
    assert np.isfinite(table[["nll", "crps", "rmse", "seconds"]]).all(axis=None)
    text = (out / "table.md").read_text()
    command = (
        f"    probmix reproduce stocks --data {data} --stocks AAA,BBB,AAA --encoders lstm,transformer "
        f"--methods erm,probmix --seeds 1 --epochs 2 --alpha 0.2 --beta 0.01 --device cpu --out {out}\n"
    )
    assert command in text
    assert PROTOCOL in text
    assert "beta = 0.01" in text
    for stock in ("AAA", "BBB"):
        for encoder in ("lstm", "transformer"):
            assert (out / "figures" / f"{stock}__{encoder}.png").read_bytes().startswith(b"\x89PNG")
    assert torch.equal(torch.get_rng_state(), state)


def test_killed_and_started_again_it_ends_the_same(data, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    options = {"stocks": "AAA,BBB", "seeds": 3, "epochs": 15}
    # as in a shell: the other process has as many threads as this one
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    command = [sys.executable, "-m", "probmix", *arguments(data, parts, **options)]
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            end = time.monotonic() + 60
            while len(list(parts.glob("units/*.json"))) < 2 and process.poll() is None and time.monotonic() < end:
                time.sleep(0.01)
        finally:
            process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    before = {path: path.read_bytes() for path in parts.glob("units/*.json")}
    assert 2 <= len(before) < 12
    for path in before:
        assert json.loads(path.read_bytes())["scores"]
    assert invoke(*arguments(data, parts, **options)).exit_code == 0
    assert all(path.read_bytes() == content for path, content in before.items())
    assert invoke(*arguments(data, whole, **options)).exit_code == 0
    pd.testing.assert_frame_equal(scores_of(parts), scores_of(whole), check_exact=True)
    assert len(scores_of(parts)) == 12


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("methods", "erm,probmx", "Error: unknown mixup preset 'probmx'; did you mean 'probmix'"),
        ("encoders", "lsmt", "Error: unknown encoder 'lsmt'; did you mean 'lstm'?\n"),
        ("stocks", "goog", "Error: unknown stock 'goog'; did you mean 'GOOG'?\n"),
        ("stocks", "AAA,XYZ", f"Error: unknown stock 'XYZ'; known are {', '.join(map(repr, TICKERS))}.\n"),
        ("methods", ",", "Error: at least one mixup preset must be named; known are "),
        ("data", "nowhere", "Error: the folder of data sets 'nowhere', from the argument `data`, does not exist. "),
        ("epochs", "0", "Invalid value for '--epochs': 0 is not in the range x>=1."),
        ("epoch", "3", "No such option '--epoch'. Did you mean '--epochs'?"),
    ],
)
def test_wrong_options(data, tmp_path, option, value, message):
    out = tmp_path / "out"
    done = invoke(*arguments(data, out, **{option: value}))
    assert done.exit_code != 0
    assert message in done.stderr
    assert not out.exists()


def test_without_a_folder_both_ways_are_named(data, tmp_path, monkeypatch):
    words = ["reproduce", "stocks", "--stocks", "AAA", "--encoders", "lstm", "--methods", "erm", "--seeds", "1",
             "--epochs", "1", "--device", "cpu", "--out", str(tmp_path / "out")]  # fmt: skip
    done = invoke(*words)
    assert done.exit_code == 1
    assert "Pass it as `data`, or set the environment variable PROBMIX_DATA." in done.stderr
    monkeypatch.setenv("PROBMIX_DATA", str(data))
    assert invoke(*words).exit_code == 0


def test_results_of_other_settings_are_an_error(data, tmp_path):
    assert invoke(*arguments(data, tmp_path)).exit_code == 0
    before = (tmp_path / "table.md").read_bytes()
    done = invoke(*arguments(data, tmp_path, epochs=3))
    assert done.exit_code == 1
    assert f"Error: the results in '{tmp_path}' were made with other settings: epochs=2, now 3 (in " in done.stderr
    assert (tmp_path / "table.md").read_bytes() == before


def test_fits_that_fail_are_named_at_the_end(data, tmp_path, monkeypatch):
    work = StockExperiment.work

    def fragile(self, unit):
        if unit["method"] == "probmix":
            raise RuntimeError("training diverged")
        return work(self, unit)

    monkeypatch.setattr(StockExperiment, "work", fragile)
    done = invoke(*arguments(data, tmp_path))
    assert done.exit_code == 1
    assert "failed: AAA lstm probmix 0: training diverged" in done.stderr
    assert scores_of(tmp_path)["method"].tolist() == ["erm"]


def test_help_states_the_protocol_and_the_script_is_declared():
    shown = " ".join(invoke("reproduce", "stocks", "--help").stdout.split())
    assert " ".join(PROTOCOL.split()) in shown
    assert "stocks" in invoke("reproduce", "--help").stdout
    assert "version" in invoke("--version").stdout
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    assert project["scripts"]["probmix"] == "probmix.cli:main"
