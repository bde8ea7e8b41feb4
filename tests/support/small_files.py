"""A small table of claims in files, and the command line on it."""

import numpy as np
import pandas as pd
from click.testing import CliRunner

from probmix.cli import main

FIT = ["--target", "claims", "--exposure", "years", "--drop", "id"]
FIT += ["--family", "poisson", "--preset", "fast", "--quiet"]


def claims(rows=60, seed=0):
    """Rows with gaps, text, truth values and dates."""
    rng = np.random.default_rng(seed)
    age = rng.integers(18, 80, rows).astype(float)
    frame = pd.DataFrame(
        {
            "id": [f"{number:05d}" for number in range(rows)],
            "age": np.where(rng.uniform(size=rows) < 0.2, np.nan, age),
            "make": rng.choice(["a", "b", "c"], rows),
            "new": rng.choice([True, False], rows),
            "sold": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 900, rows), "D"),
            "years": rng.uniform(0.2, 1.0, rows).round(3),
        }
    )
    frame["claims"] = rng.poisson(frame["years"] * np.exp(age / 40))
    return frame


def write_claims(path, rows=60, seed=0):
    claims(rows, seed).to_csv(path, index=False)
    return path


def run(*words, code=0):
    """What a command says, on both streams; the exit code is checked."""
    result = CliRunner().invoke(main, [str(word) for word in words])
    if result.exit_code != code:
        raise AssertionError(f"exit code {result.exit_code}: {result.output}") from result.exception
    return result
