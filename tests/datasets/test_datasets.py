"""Data sets: simulated ones against their formulas, files against a small folder laid out like the real one."""

import gzip
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_diabetes

from probmix import datasets
from probmix.datasets.named import _EXPOSURES, _LEFT_OUT

VISITS = """gender,age,income,visits
female,0.19,0.5,1
male,,0.9,3
NA,0.4,1.5,0
female,0.3,0.25,
male,0.2,1,2
"""


@pytest.fixture
def folder(tmp_path):
    files = {
        "count/doctor_visits.csv": VISITS,
        "count/rwm5yr.csv": "id,hospvis,age,docvis\n7,0,30,1\n7,,31,4\n8,2,50,0\n",
        "uci/yacht.csv": "x0,x1,y\n1,2,0.1\n3,4,0.2\n",
        "series/lynx.csv": "year,lynx\n1821,269\n",
        "README.md": "not a data set\n",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (tmp_path / "positive").mkdir()
    (tmp_path / "positive" / "diamonds.csv.gz").write_bytes(gzip.compress(b"cut,price\nGood,326\nFair,400\n"))
    return tmp_path


@pytest.fixture(autouse=True)
def _no_variable(monkeypatch, request):
    if "real_data" not in request.fixturenames:
        monkeypatch.delenv("PROBMIX_DATA", raising=False)


# -- simulated ---------------------------------------------------------------------------------------------------------


def test_toy_cubic_is_a_cubic_with_noise_of_variance_nine():
    X, y = datasets.toy_cubic(200_000, random_state=0)
    assert X.shape == (200_000, 1)
    assert y.shape == (200_000,)
    assert -4 <= X.min() < -3.999
    assert 3.999 < X.max() <= 4
    residual = y - X[:, 0] ** 3
    assert residual.mean() == pytest.approx(0, abs=4 * 3 / np.sqrt(200_000))
    assert residual.var() == pytest.approx(9, rel=4 * np.sqrt(2 / 200_000))
    assert np.corrcoef(residual, X[:, 0])[0, 1] == pytest.approx(0, abs=0.01)


def test_toy_cubic_test_band():
    X, _ = datasets.toy_cubic(1000, 4, 6, random_state=0)
    assert 4 <= X.min() < 4.1
    assert 5.9 < X.max() <= 6


def test_overdispersed_counts_have_negative_binomial_moments():
    X, y = datasets.overdispersed_counts(400_000, random_state=0)
    assert X.shape == (400_000, 4)
    assert y.dtype == np.int64
    assert y.min() == 0
    mean = np.exp(1 + X[:, 0] + 0.5 * np.sin(np.pi * X[:, 1]) + X[:, 0] * X[:, 2])
    variance = mean + mean**2 / 3
    standardized = (y - mean) / np.sqrt(variance)
    assert standardized.mean() == pytest.approx(0, abs=4 / np.sqrt(400_000))
    assert standardized.var() == pytest.approx(1, abs=0.02)
    # where the Poisson distribution would have one
    assert ((y - mean) / np.sqrt(mean)).var() > 1.5


@pytest.mark.parametrize("simulate", [datasets.toy_cubic, datasets.overdispersed_counts])
def test_simulated_data_follow_their_seed(simulate):
    first, second = simulate(20, random_state=3), simulate(20, random_state=3)
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])
    assert not np.array_equal(first[0], simulate(20, random_state=4)[0])
    random = np.random.default_rng(3)
    np.testing.assert_array_equal(simulate(20, random_state=random)[1], first[1])
    assert not np.array_equal(simulate(20, random_state=random)[1], first[1])


# -- splits ------------------------------------------------------------------------------------------------------------


def test_uci_splits_are_the_published_ones():
    # the recipe of the repository that published them
    random = np.random.RandomState(1)
    splits = list(datasets.uci_splits(308))
    assert len(splits) == 20
    for train, test in splits:
        permutation = random.choice(range(308), 308, replace=False)
        np.testing.assert_array_equal(train, permutation[:277])
        np.testing.assert_array_equal(test, permutation[277:])


def test_uci_splits_round_to_even_as_published_and_partition_the_rows():
    ((train, test),) = datasets.uci_splits(45, n_splits=1)
    assert len(train) == 40  # 40.5
    assert sorted([*train, *test]) == list(range(45))


def test_first_uci_splits_do_not_depend_on_their_number():
    few, many = list(datasets.uci_splits(50, 2)), list(datasets.uci_splits(50, 5))
    np.testing.assert_array_equal(few[1][0], many[1][0])


# -- files -------------------------------------------------------------------------------------------------------------


def test_load_encodes_text_and_drops_rows_with_gaps(folder):
    dataset = datasets.load("count/doctor_visits", folder)
    assert dataset.name == "count/doctor_visits"
    expected = pd.DataFrame(
        {
            "age": [0.19, 0.4, 0.2],
            "income": [0.5, 1.5, 1.0],
            "gender_NA": [0.0, 1.0, 0.0],  # a word, not a gap
            "gender_female": [1.0, 0.0, 0.0],
            "gender_male": [0.0, 0.0, 1.0],
        }
    )
    pd.testing.assert_frame_equal(dataset.X, expected)
    np.testing.assert_array_equal(dataset.y, [1, 0, 2])
    assert dataset.left_out.shape == (3, 0)


def test_load_leaves_features_as_they_are(folder):
    dataset = datasets.load("count/doctor_visits", folder, as_is=True)
    encoded = datasets.load("count/doctor_visits", folder)
    assert list(dataset.X.columns) == ["gender", "age", "income"]
    assert dataset.X.isna().any(axis=None)
    assert "NA" in dataset.X["gender"].tolist()
    assert len(dataset.y) == len(dataset.X) == len(dataset.left_out) > len(encoded.y)
    assert not pd.isna(dataset.y).any()


def test_load_leaves_ids_and_second_targets_out(folder):
    dataset = datasets.load("count/rwm5yr", folder)
    assert list(dataset.X.columns) == ["age"]
    assert dataset.X["age"].dtype == np.float64
    assert dataset.left_out["id"].tolist() == [7, 7, 8]
    # a gap in what is left out costs no row
    assert dataset.left_out["hospvis"].isna().tolist() == [False, True, False]
    assert dataset.y.tolist() == [1, 4, 0]


@pytest.mark.parametrize("as_is", [False, True])
def test_load_gives_the_exposure_of_counts(tmp_path, as_is):
    (tmp_path / "count").mkdir()
    (tmp_path / "count" / "bemtpl97.csv").write_text("expo,age,nclaims\n1,30,0\n0.5,40,2\n0.25,50,\n")
    dataset = datasets.load("count/bemtpl97", tmp_path, as_is=as_is)
    assert list(dataset.X.columns) == ["age"]
    assert dataset.exposure.tolist() == [1.0, 0.5]
    assert datasets.load("diabetes").exposure is None


def test_load_reads_compressed_files(folder):
    dataset = datasets.load("positive/diamonds", folder)
    assert list(dataset.X.columns) == ["cut_Fair", "cut_Good"]
    assert dataset.y.tolist() == [326, 400]


def test_load_takes_the_folder_from_the_environment_unless_it_is_given(folder, monkeypatch, tmp_path):
    other = tmp_path / "other"
    (other / "uci").mkdir(parents=True)
    (other / "uci" / "yacht.csv").write_text("x0,y\n5,6\n")
    monkeypatch.setenv("PROBMIX_DATA", str(folder))
    assert datasets.load("uci/yacht").y.tolist() == [0.1, 0.2]
    assert datasets.load("uci/yacht", str(other)).y.tolist() == [6]


def test_load_diabetes_needs_no_folder():
    dataset = datasets.load("diabetes")
    X, y = load_diabetes(return_X_y=True)
    np.testing.assert_array_equal(dataset.X, X)
    np.testing.assert_array_equal(dataset.y, y)
    assert dataset.left_out.shape == (442, 0)


def test_names(folder):
    in_folder = ["count/doctor_visits", "count/rwm5yr", "diabetes", "positive/diamonds", "uci/yacht"]
    assert datasets.names(folder) == in_folder
    assert datasets.names() == ["diabetes"]


# -- errors ------------------------------------------------------------------------------------------------------------


def test_no_folder_is_an_error_that_names_both_ways():
    with pytest.raises(FileNotFoundError) as caught:
        datasets.load("uci/yacht")
    assert str(caught.value) == (
        "the data set 'uci/yacht' is read from a folder of data sets, and none was named. "
        "Pass it as `data`, or set the environment variable PROBMIX_DATA."
    )


@pytest.mark.parametrize("by_argument", [True, False])
def test_missing_folder_is_an_error_that_says_who_named_it(tmp_path, monkeypatch, by_argument):
    missing = tmp_path / "nowhere"
    monkeypatch.setenv("PROBMIX_DATA", str(missing))
    source = "the argument `data`" if by_argument else "the environment variable PROBMIX_DATA"
    with pytest.raises(FileNotFoundError) as caught:
        datasets.load("uci/yacht", missing if by_argument else None)
    assert str(caught.value) == (
        f"the folder of data sets '{missing}', from {source}, does not exist. "
        "Pass another as `data`, or set the environment variable PROBMIX_DATA."
    )


def test_unknown_name_is_an_error_with_near_misses(folder):
    with pytest.raises(ValueError, match="unknown") as caught:
        datasets.load("uci/yatch", folder)
    assert str(caught.value) == (
        f"unknown data set 'uci/yatch'; did you mean 'uci/yacht'? (the folder searched is '{folder}'; "
        "name another with `data` or the environment variable PROBMIX_DATA.)"
    )


def test_unknown_name_without_a_folder():
    with pytest.raises(ValueError, match="unknown") as caught:
        datasets.load("diabetis")
    assert str(caught.value) == (
        "unknown data set 'diabetis'; did you mean 'diabetes'? (no folder of data sets was searched; "
        "name another with `data` or the environment variable PROBMIX_DATA.)"
    )


@pytest.mark.parametrize("name", ["series/lynx", "README", "../uci/yacht", "uci/yacht.csv", "uci"])
def test_what_is_no_data_set_with_a_target_has_no_name(folder, name):
    with pytest.raises(ValueError, match="unknown data set"):
        datasets.load(name, folder)


# -- the real files, where they are ------------------------------------------------------------------------------------


@pytest.fixture
def real_data():
    folder = Path(os.environ.get("PROBMIX_DATA") or Path(__file__).parents[3] / "shared" / "data")
    if not folder.is_dir():
        pytest.skip("the real data sets are not here: set PROBMIX_DATA to their folder")
    return folder


def test_real_files_have_the_rows_and_features_of_their_description(real_data):
    shapes = {
        "count/doctor_visits_aus": (5190, 17),  # five words of two values, and `gender`
        "count/insurance_claims": (64, 9),
        "positive/insurance_charges": (1338, 11),
        "regression/auto_mpg": (392, 7),
        "classification/vowel": (990, 9),
        "uci/yacht": (308, 6),
        "uci/energy": (768, 8),
    }
    for name, shape in shapes.items():
        dataset = datasets.load(name, real_data)
        assert dataset.X.shape == shape
        assert len(dataset.y) == len(dataset.left_out) == shape[0]
        assert np.isfinite(dataset.X.to_numpy()).all()


def test_columns_to_leave_out_exist_in_the_real_files(real_data):
    present = set(datasets.names(real_data))
    checked = 0
    for name, columns in _LEFT_OUT.items():
        if name in present:
            path = next((real_data / name).parent.glob(f"{Path(name).name}.csv*"))
            header = pd.read_csv(path, nrows=0).columns
            assert set(columns) <= set(header[:-1])
            checked += 1
    assert checked > 0
    assert all(column in _LEFT_OUT[name] for name, column in _EXPOSURES.items())
