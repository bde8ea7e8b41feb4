"""The command line, on small files."""

import json
import os
import shlex
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from stock_file import TICKERS, write_stocks
from tables_folder import write_tables

from probmix.cli import main
from probmix.experiments import (
    StockExperiment,
    counts,
    leaderboard,
    stocks,
    theory,
    toy_classification,
    toy_regression,
    uci,
)
from probmix.experiments.stocks import PROTOCOL

MODULES = {
    "counts": counts,
    "leaderboard": leaderboard,
    "stocks": stocks,
    "theory": theory,
    "toy-classification": toy_classification,
    "toy-regression": toy_regression,
    "uci": uci,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_tables(write_stocks(tmp_path_factory.mktemp("data")))


@pytest.fixture(autouse=True)
def _no_variable(monkeypatch):
    monkeypatch.delenv("PROBMIX_DATA", raising=False)


def arguments(folder, out, **changes):
    options = {
        "data": folder, "out": out, "stocks": "AAA", "encoders": "lstm", "methods": "erm,probmix", "seeds": 1,
        "epochs": 2, "device": "cpu", **changes,
    }  # fmt: skip
    return ["reproduce", "stocks", *as_words(options)]


def as_words(options):
    return [word for name, value in options.items() for word in (f"--{name}", str(value))]


def invoke(*words):
    return CliRunner().invoke(main, list(words), catch_exceptions=False)


def scores_of(folder):
    return pd.read_csv(folder / "results.csv").drop(columns="seconds")


def test_the_command_writes_results_table_and_figures(data, tmp_path):
    out = tmp_path / "out"
    state = torch.get_rng_state()
    done = invoke(*arguments(data, out, stocks="AAA, BBB,AAA", encoders="lstm,transformer", beta=0.01))
    assert done.exit_code == 0
    assert done.stdout == f"8 of 8 results are done: {out / 'report.html'}\n"
    table = pd.read_csv(out / "results.csv")
    keys = ["dataset", "encoder", "method", "seed"]
    scores = ["nll", "crps", "rmse", "coverage90", "calibration", "best_epoch", "seconds"]
    assert table.columns.tolist() == [*keys, *scores, "chosen_alpha", "chosen_beta"]
    units = [[stock, encoder, method, 0] for stock in ("AAA", "BBB") for encoder in ("lstm", "transformer")
             for method in ("erm", "probmix")]  # fmt: skip
    assert table[keys].to_numpy().tolist() == units
    assert np.isfinite(table[["nll", "crps", "rmse", "seconds"]]).all(axis=None)
    text = (out / "table.md").read_text()
    command = (
        "    probmix reproduce stocks --stocks AAA,BBB,AAA --encoders lstm,transformer --methods erm,probmix --seeds 1 "
        f"--epochs 2 --alpha 0.2 --beta 0.01 --batch-size full --device cpu --data {data} --out {out}\n"
    )
    assert command in text
    assert PROTOCOL in text
    assert "beta = 0.01" in text
    page = (out / "report.html").read_text()
    assert command.strip() in page
    for stock in ("AAA", "BBB"):
        for encoder in ("lstm", "transformer"):
            assert (out / "figures" / f"{stock}__{encoder}.png").read_bytes().startswith(b"\x89PNG")
    assert torch.equal(torch.get_rng_state(), state)


# the process itself says when it is killed: no clock, and no machine however slow, decides how far it gets
KILLED_AFTER_TWO = """
import os, signal, sys
from probmix.cli import main
from probmix.experiments import ResultStore

save, saved = ResultStore.save, []

def save_and_die(self, *args):
    save(self, *args)
    saved.append(1)
    if len(saved) == 2:
        os.kill(os.getpid(), signal.SIGKILL)

ResultStore.save = save_and_die
main(sys.argv[1:])
"""


def test_killed_and_started_again_it_ends_the_same(data, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    options = {"stocks": "AAA,BBB", "seeds": 3, "epochs": 15}
    # as in a shell: the other process has as many threads as this one
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    command = [sys.executable, "-c", KILLED_AFTER_TWO, *arguments(data, parts, **options)]
    process = subprocess.run(command, env=environment, stderr=subprocess.DEVNULL, check=False)
    assert process.returncode == -signal.SIGKILL
    before = {path: path.read_bytes() for path in parts.glob("units/*.json")}
    assert len(before) == 2
    for path in before:
        assert json.loads(path.read_bytes())["results"]
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
        ("alpha", "much", "Invalid value for '--alpha': 'much' is neither a number nor 'auto'."),
        ("batch-size", "1", "Invalid value for '--batch-size': 1 is not in the range x>=2."),
        ("preset", "fast", "Invalid value for '--preset': 'fast' is not one of 'paper', 'quick'."),
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

    def fragile(self, units):
        if units[0]["method"] == "probmix":
            raise RuntimeError("training diverged")
        return work(self, units)

    monkeypatch.setattr(StockExperiment, "work", fragile)
    done = invoke(*arguments(data, tmp_path))
    assert done.exit_code == 1
    assert "failed: AAA lstm probmix 0: training diverged" in done.stderr
    assert scores_of(tmp_path)["method"].tolist() == ["erm"]


SMALL = {
    "uci": {"datasets": "yacht", "methods": "erm,m-probmix:linear", "splits": 2, "alpha": "auto", "beta": 0},
    "counts": {"datasets": "count/visits", "methods": "erm", "splits": 2},
    "toy-regression": {"methods": "erm,probmix", "seeds": 2, "alpha": "0.1,auto", "beta": "0"},
    "toy-classification": {"methods": "erm", "seeds": 1, "alpha": 0.5, "beta": "0,0.01"},
}


@pytest.mark.parametrize("name", SMALL)
def test_every_experiment_has_a_command(data, tmp_path, monkeypatch, name):
    monkeypatch.setenv("PROBMIX_DATA", str(data))
    out = tmp_path / "out"
    options = {**SMALL[name], "epochs": 1, "batch-size": 50, "device": "cpu", "out": out}
    done = invoke("reproduce", name, *as_words(options))
    assert done.exit_code == 0
    table = pd.read_csv(out / "results.csv")
    assert done.stdout == f"{len(table)} of {len(table)} results are done: {out / 'report.html'}\n"
    assert f"probmix reproduce {name} " in (out / "table.md").read_text()
    assert "batch_size = 50" in (out / "table.md").read_text()
    if name == "uci":
        chosen = table[["method", "chosen_alpha", "chosen_beta"]]
        assert chosen[chosen["method"].eq("erm")].iloc[:, 1:].isna().all(axis=None)
        assert set(chosen["chosen_alpha"].dropna()) <= {0.01, 0.05, 0.1, 0.5, 1.0}
        assert set(chosen["chosen_beta"].dropna()) == {0.0}


def test_the_theory_has_a_command(tmp_path):
    done = invoke("reproduce", "theory", "--parts", "crossover, strength", "--seeds", "2", "--out", str(tmp_path))
    assert done.exit_code == 0
    table = pd.read_csv(tmp_path / "results.csv")
    assert done.stdout == f"{len(table)} of {len(table)} results are done: {tmp_path / 'report.html'}\n"
    assert table["part"].unique().tolist() == ["crossover", "strength"]
    command = f"    probmix reproduce theory --parts crossover,strength --seeds 2 --out {tmp_path}\n"
    assert command in (tmp_path / "table.md").read_text()
    wrong = invoke("reproduce", "theory", "--parts", "crosover", "--out", str(tmp_path))
    assert wrong.exit_code == 1
    assert "Error: unknown part 'crosover'; did you mean 'crossover'?\n" in wrong.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "--splits 20 --epochs 1000 --alpha auto --beta auto --batch-size full "),
        (["--preset", "quick"], "--splits 3 --epochs 200 --alpha 0.2 --beta 0.0 --batch-size full "),
        (["--epochs", "7", "--preset", "quick"], "--splits 3 --epochs 7 --alpha 0.2 --beta 0.0 --batch-size full "),
    ],
)
def test_a_preset_is_the_defaults_of_what_is_not_said(data, monkeypatch, words, said):
    commands = []

    def stop(experiment, out, jobs, command):
        commands.append(command)
        raise ValueError("enough")

    monkeypatch.setattr("probmix.cli.reproduce", stop)
    done = invoke("reproduce", "uci", *words, "--datasets", "yacht", "--data", str(data))
    assert done.stderr == "Error: enough\n"
    assert said in commands[0]
    # what is printed gives the same without the preset
    again = invoke(*shlex.split(commands[0])[1:])
    assert again.stderr == "Error: enough\n"
    assert commands[1] == commands[0]


def test_help_states_the_protocol_and_the_script_is_declared():
    for name, module in MODULES.items():
        shown = " ".join(invoke("reproduce", name, "--help").stdout.split())
        # lines may break at a hyphen
        assert " ".join(module.PROTOCOL.split()).replace("- ", "-") in shown.replace("- ", "-")
        assert name in invoke("reproduce", "--help").stdout
    assert "version" in invoke("--version").stdout
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert project["scripts"]["probmix"] == "probmix.cli:main"
