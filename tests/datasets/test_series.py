"""Series by name from a small folder laid out like the real one."""

import gzip
import os
from pathlib import Path

import pandas as pd
import pytest

from probmix import datasets


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.delenv("PROBMIX_DATA", raising=False)
    files = {
        "series/lynx.csv": "time,value\n1821,269\n1822,321\n",
        "series/births.csv": "Date,Births\n1959-01-01,35\n1959-01-02,\n",
        "series/sunspots.csv": "Month,Sunspots\n1749-01,58.0\n1749-02,62.6\n",
        "series/rates.csv": "australia,britain\n0.78,1.6\n",
        "series/stocks.csv": "Ticker,Date,Close\nNA,2019-01-02,1.5\nGME,2019-01-02,2.5\n",
        "series/broken.csv": "Date,Close\n2019-01-02,1\nyesterday,2\n",
        "uci/yacht.csv": "x0,y\n1,2\n",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (tmp_path / "series" / "demand.csv.gz").write_bytes(gzip.compress(b"Time,Demand\n2011-12-31T13:00:00Z,4.5\n"))
    return tmp_path


def test_times_become_the_index(folder):
    births = datasets.load_series("series/births", folder)
    assert births.index.tolist() == [pd.Timestamp("1959-01-01"), pd.Timestamp("1959-01-02")]
    assert list(births.columns) == ["Births"]
    assert births["Births"].isna().tolist() == [False, True]  # a series keeps its gaps
    assert datasets.load_series("series/sunspots", folder).index[1] == pd.Timestamp("1749-02-01")
    assert datasets.load_series("series/lynx", folder).index.tolist() == [1821, 1822]
    assert datasets.load_series("series/demand", folder).index[0] == pd.Timestamp("2011-12-31 13:00", tz="UTC")


def test_other_columns_stay_as_they_are(folder):
    stocks = datasets.load_series("series/stocks", folder)
    assert stocks["Ticker"].tolist() == ["NA", "GME"]
    assert stocks.index.name == "Date"
    rates = datasets.load_series("series/rates", folder)
    assert rates.index.tolist() == [0]
    assert list(rates.columns) == ["australia", "britain"]


def test_the_folder_comes_from_the_environment_unless_it_is_given(folder, monkeypatch):
    monkeypatch.setenv("PROBMIX_DATA", str(folder))
    assert len(datasets.load_series("series/lynx")) == 2
    assert datasets.series_names() == datasets.series_names(str(folder))


def test_names(folder):
    stems = ["births", "broken", "demand", "lynx", "rates", "stocks", "sunspots"]
    assert datasets.series_names(folder) == [f"series/{stem}" for stem in stems]
    assert datasets.series_names() == []


@pytest.mark.parametrize("name", ["series/lynx", "lynx"])
def test_no_folder_is_an_error_that_names_both_ways(folder, name):
    with pytest.raises(FileNotFoundError) as caught:
        datasets.load_series(name)
    assert str(caught.value) == (
        f"the series {name!r} is read from a folder of data sets, and none was named. "
        "Pass it as `data`, or set the environment variable PROBMIX_DATA."
    )


def test_unknown_name_is_an_error_with_near_misses(folder):
    with pytest.raises(ValueError, match="unknown") as caught:
        datasets.load_series("series/links", folder)
    assert str(caught.value) == (
        f"unknown series 'series/links'; did you mean 'series/lynx' or 'series/stocks' or 'series/births'? "
        f"(the folder searched is '{folder}'; name another with `data` or the environment variable PROBMIX_DATA.)"
    )


def test_what_is_no_series_has_no_name(folder):
    with pytest.raises(ValueError, match="unknown series"):
        datasets.load_series("uci/yacht", folder)


def test_text_that_is_no_time_is_an_error(folder):
    with pytest.raises(ValueError, match="must hold dates or times") as caught:
        datasets.load_series("series/broken", folder)
    assert "the column 'Date' of the series 'series/broken'" in str(caught.value)
    assert "yesterday" in str(caught.value)


def test_the_real_files_load():
    folder = Path(os.environ.get("PROBMIX_DATA") or Path(__file__).parents[3] / "shared" / "data")
    if not folder.is_dir():
        pytest.skip("the real data sets are not here: set PROBMIX_DATA to their folder")
    stocks = datasets.load_series("series/stocks_2019_2020", folder)
    assert stocks.groupby("Ticker").size().to_dict() == dict.fromkeys(("GME", "GOOG", "NVDA", "RCL"), 505)
    for name in datasets.series_names(folder):
        assert len(datasets.load_series(name, folder)) > 100
