"""A program that waits for a fit that never ends."""

import numpy as np
import pandas as pd

from probmix.experiments.leaderboard.methods import Method, Training
from probmix.experiments.leaderboard.process import run_alone
from probmix.experiments.leaderboard.sets import Rows

if __name__ == "__main__":
    rows = Rows(pd.DataFrame({"x": [0.0, 1.0]}), np.array([0.0, 1.0]))
    run_alone(Method("waiting", "fake_peers:fit_waiting"), Training(rows, "real", 0), rows)
