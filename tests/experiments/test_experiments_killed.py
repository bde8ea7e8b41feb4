"""Runs that are killed with SIGKILL lose nothing but what they were about, and leave no process behind."""

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


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a pipe with a name tells whether a process is there")
def test_a_killed_board_leaves_no_fit_behind(tmp_path):
    begun = tmp_path / "begun"
    os.mkfifo(begun)
    program = Path(__file__).parents[1] / "support" / "waiting_run.py"
    run = subprocess.Popen([sys.executable, program], env={**os.environ, "BEGUN": str(begun), "OMP_NUM_THREADS": "1"})
    with begun.open("rb", buffering=0) as pipe:
        assert pipe.read(1) == b"1"
        run.kill()
        run.wait()
        # the pipe ends with the last process that has it open
        rest = subprocess.run(["cat"], stdin=pipe, capture_output=True, timeout=HANGS, check=True)
    assert rest.stdout == b""
