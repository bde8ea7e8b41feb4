"""The scripts of the gallery run as they are, on any machine, and draw."""

import runpy
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pyro
import pytest
import torch
from matplotlib import pyplot as plt

EXAMPLES = Path(__file__).parents[1] / "examples"
SCRIPTS, JOBS = (sorted((EXAMPLES / folder).glob("*.py")) for folder in ("gallery", "jobs"))


def global_state():
    """What a script could leave changed behind it; torch's dtype and threads are looked at for all tests."""
    return {
        "torch's generator": torch.get_rng_state().tolist(),
        "NumPy's generator": np.random.get_state()[1].tolist(),
        "settings of matplotlib": dict(mpl.rcParams),
        "Pyro's parameters": list(pyro.get_param_store().keys()),
    }


@pytest.fixture
def headless(monkeypatch):
    """No folder of data sets, and no window."""
    monkeypatch.delenv("PROBMIX_DATA", raising=False)
    # with a display that is not there it would warn
    monkeypatch.setattr(plt, "show", lambda: None)
    before = plt.get_backend()
    plt.switch_backend("agg")
    yield
    plt.close("all")
    plt.switch_backend(before)


def test_the_gallery_is_found():
    assert len(SCRIPTS) >= 12
    assert len(JOBS) >= 5


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_script_of_the_gallery_draws_and_leaves_nothing_changed(script, headless, capsys):
    before = global_state()
    runpy.run_path(str(script), run_name="__main__")
    assert global_state() == before
    printed = capsys.readouterr().out
    assert printed
    if "example(" in script.read_text(encoding="utf-8"):
        assert printed.startswith("simulated rows, with the columns of ")
    assert plt.get_fignums()
    for number in plt.get_fignums():
        figure = plt.figure(number)
        figure.canvas.draw()
        picture = np.asarray(figure.canvas.buffer_rgba())[..., :3]
        # neither black nor empty
        assert picture.min() < 60
        assert 0.5 < picture.mean() / 255 < 0.995


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_script_of_the_gallery_begins_with_a_title_and_a_summary(script):
    title, line, empty, *rest = script.read_text().split('"""')[1].strip().splitlines()
    assert line == "=" * len(title)
    assert not empty
    assert len(rest) >= 2


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.stem)
def test_a_job_says_how_it_is_run(job):
    said = runpy.run_path(str(job))["__doc__"]
    assert f"python examples/jobs/{job.name} --data DIR" in said
