"""Runs that are killed with SIGKILL at random moments lose nothing but what they were about."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

KILLS = 20
# a guard against hanging, and no measure of speed: it takes about a minute on a busy machine
HANGS = 1800


@pytest.mark.skipif(not hasattr(os, "fork"), reason="runs are started by forking")
def test_twenty_kills_lose_nothing_but_the_unfinished(tmp_path):
    program = Path(__file__).parents[1] / "support" / "killed_runs.py"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, program, tmp_path, str(KILLS)],
        env=environment, capture_output=True, text=True, timeout=HANGS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["killed"] == KILLS
    # at most the job that was being done is begun again
    assert seen["begun_again"] <= KILLS
    assert seen["begun"] > KILLS
    # not all at the same place
    assert len(set(seen["places"])) > 5
    assert seen["equal"]
    assert seen["results"] == 2 * 21 * 2
