"""Rows for examples: the same at each call, and with the same columns simulated and real."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from pandas.api.types import is_datetime64_any_dtype, is_integer_dtype, is_numeric_dtype

from probmix import datasets

NAMES = ("claims", "severities", "houses", "demand", "patients", "load", "wine")
WORDS = {
    "claims": ["Area", "VehBrand", "VehGas", "Region"],
    "severities": ["coverage", "sex", "fuel", "use"],
    "houses": [
        *("Neighborhood", "Bldg_Type", "House_Style", "Overall_Cond", "Foundation", "Central_Air"),
        *("Garage_Type", "Sale_Condition"),
    ],
    "load": ["weekday"],
}
TIMES = {"demand": ["dteday"], "load": ["time"]}


@pytest.fixture(scope="module")
def simulated():
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PROBMIX_DATA", raising=False)
        return {name: datasets.example(name) for name in NAMES}


@pytest.fixture(scope="module")
def real():
    folder = Path(os.environ.get("PROBMIX_DATA") or Path(__file__).parents[3] / "shared" / "data")
    if not folder.is_dir():
        pytest.skip("the real data sets are not here: set PROBMIX_DATA to their folder")
    return {name: datasets.example(name, folder) for name in NAMES}


def check(examples):
    """What holds for simulated and for real rows."""
    for name, one in examples.items():
        n = len(one.y)
        assert n >= 1000
        assert one.X.index.equals(pd.RangeIndex(n))
        assert [c for c in one.X if is_datetime64_any_dtype(one.X[c])] == TIMES.get(name, [])
        others = one.X.drop(columns=TIMES.get(name, []))
        assert [c for c in others if not is_numeric_dtype(others[c])] == WORDS.get(name, [])
        gaps = one.X.columns[one.X.isna().any()].tolist()
        assert gaps == (["Lot_Frontage"] if name == "houses" else [])
        assert one.y.shape == (n,)
        assert np.isfinite(one.y).all()
        assert (one.exposure is not None) == (name == "claims")
        assert (one.groups is not None) == (name == "patients")
    exposure = examples["claims"].exposure
    assert exposure.min() > 0
    assert exposure.max() == 1
    assert exposure.mean() == pytest.approx(0.55, abs=0.1)
    for name in ("claims", "demand", "wine"):
        assert is_integer_dtype(examples[name].y)
    assert (examples["claims"].y == 0).mean() == pytest.approx(0.94, abs=0.03)
    assert (examples["severities"].y == 0).mean() == pytest.approx(0.88, abs=0.03)
    assert (examples["severities"].y >= 0).all()
    assert set(examples["wine"].y) <= set(range(3, 10))
    assert len(set(examples["patients"].groups)) == 42
    gaps = examples["houses"].X["Lot_Frontage"].isna()
    assert gaps.mean() == pytest.approx(0.17, abs=0.03)
    assert examples["demand"].X["dteday"].is_monotonic_increasing
    load = examples["load"]
    np.testing.assert_array_equal(load.X["week_before"][168:], load.y[:-168])


def test_simulated_rows_look_like_those_of_the_tables(simulated):
    check(simulated)
    for one in simulated.values():
        assert one.source.startswith("simulated rows, with the columns of ")


def test_real_rows_do_too(real):
    check(real)
    assert real["claims"].source == (
        "12,000 random rows of count/fremtpl2freq: French motor liability insurance, a policy a row"
    )
    assert not any("simulated" in one.source for one in real.values())


def test_simulated_and_real_rows_have_the_same_columns_and_kinds(simulated, real):
    for name in NAMES:
        assert simulated[name].X.columns.equals(real[name].X.columns)
        assert len(simulated[name].y) == len(real[name].y)
        for column in real[name].X:
            one, other = simulated[name].X[column].dtype.kind, real[name].X[column].dtype.kind
            # numbers that are whole in the file may have gaps, or a point
            assert one == other or {one, other} == {"i", "f"}, column


def test_rows_are_the_same_at_each_call_and_no_generator_is_touched(simulated, monkeypatch):
    monkeypatch.delenv("PROBMIX_DATA", raising=False)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    for name, one in simulated.items():
        again = datasets.example(name)
        pd.testing.assert_frame_equal(again.X, one.X)
        np.testing.assert_array_equal(again.y, one.y)
    assert torch.equal(torch.get_rng_state(), before[0])
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])


def test_a_folder_without_the_table_gives_simulated_rows(simulated, tmp_path):
    found = datasets.example("wine", tmp_path)
    assert found.source == (
        "simulated rows, with the columns of regression/wine_quality_white: "
        "Portuguese white wines, tasted by three or more"
    )
    pd.testing.assert_frame_equal(found.X, simulated["wine"].X)


def test_unknown_examples_and_folders_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"^unknown example 'claim'; did you mean 'claims'\?$"):
        datasets.example("claim")
    with pytest.raises(FileNotFoundError, match=r"from the argument `data`, does not exist"):
        datasets.example("claims", tmp_path / "nowhere")
