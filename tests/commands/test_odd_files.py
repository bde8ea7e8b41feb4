"""Files as they come: odd headers and rows, names with spaces, ids with gaps, and columns that change their type."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from small_files import run

import probmix
import probmix._files
from probmix.commands import tables
from probmix.commands.options import Names
from probmix.estimators import persistence
from probmix.estimators.persistence import remark

FAMILY = ["--family", "gaussian", "--preset", "fast", "--quiet"]
BIG = 2**60 + 1


def rows(n=40):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"id": range(n), "size": rng.normal(size=n), "kind": rng.choice(["x", "y"], n)})
    return frame.assign(code=rng.integers(1, 4, n), y=frame["size"] + rng.normal(size=n))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("odd")
    rows().to_csv(folder / "good.csv", index=False)
    rows().to_parquet(folder / "good.parquet")
    run("fit", folder / "good.csv", "--target", "y", "--drop", "id", *FAMILY, "--out", folder / "model.safetensors")
    return folder


@pytest.fixture(autouse=True)
def _there(folder, monkeypatch):
    monkeypatch.chdir(folder)


def predicted(data, *words):
    run("predict", "model.safetensors", data, *words, "--quiet", "--out", "out.csv")
    return pd.read_csv("out.csv")


def said(*words):
    return " ".join(run(*words, code=2).stderr.removeprefix("Error: ").split())


def test_names_with_line_breaks_and_empty_lines_before_them_lose_no_row(folder):
    body = rows().to_csv(index=False).split("\n", 1)[1]
    (folder / "head.csv").write_text('\n\nid,size,kind,code,"y\nin metres"\n' + body)
    assert predicted("head.csv", "--keep", "id")["id"].tolist() == list(range(40))


@pytest.mark.parametrize("command", ["fit", "predict"])
def test_half_a_row_is_refused(folder, command):
    lines = rows()[["y", "size", "kind", "code", "id"]].to_csv(index=False)
    (folder / "half.csv").write_text(lines + "1.0,2.0,x\n")
    words = {
        "fit": ["half.csv", "--target", "y", *FAMILY, "--out", "half.safetensors"],
        "predict": ["model.safetensors", "half.csv", "--quiet", "--out", "half_out.csv"],
    }[command]
    assert said(command, *words) == (
        "rows of 'half.csv' must have a cell for each of the 5 names of its header; got 3 in row 40 (line 42). Is the "
        "file whole?"
    )
    assert not (folder / "half_out.csv").exists()


def test_gaps_in_the_last_column_are_gaps(folder):
    (folder / "gaps.csv").write_text("size,kind,code\n1.0,x,2\n1.0,x,\n")
    assert len(predicted("gaps.csv")) == 2


def test_a_wrong_cell_behind_a_very_long_one_has_its_row(folder):
    (folder / "long.csv").write_text(f"size,kind,code\n1,{'x' * 140_000},1\nbad,x,1\n")
    assert said("predict", "model.safetensors", "long.csv", "--quiet", "--out", "out.csv") == (
        "features: column 'size' of 'long.csv' must hold numbers; got the text 'bad' in row 1. Mend or drop such rows."
    )


def test_lines_of_spaces_count_as_lines_and_not_as_rows(folder):
    (folder / "spaces.csv").write_text("size,kind,code\n1,x,1\n   \nbad,x,1\n")
    assert "in row 1 (line 4)" in said("predict", "model.safetensors", "spaces.csv", "--quiet", "--out", "out.csv")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a,b", ("a", "b")),
        (" a , b c", ("a", "b c")),
        ('" a","b,c", d', (" a", "b,c", "d")),
        ('"say ""hi"""', ('say "hi"',)),
        ('6" nails,b', ('6" nails', "b")),
    ],
)
def test_names_may_have_commas_and_spaces_in_quotes(text, names):
    assert Names().convert(text, None, None) == names


def test_the_command_that_a_model_remembers_can_be_given_again(folder):
    frame = rows().rename(columns={"id": " id", "code": "a,b"})
    frame.to_csv(folder / "names.csv", index=False)
    words = ["--target", "y", "--drop", '" id","a,b"', "--validation", "0.3", *FAMILY, "--out", "names.safetensors"]
    run("fit", "names.csv", *words)
    memory = json.loads(remark(folder / "names.safetensors", "command"))
    assert memory["left_out"] == [" id", "a,b"]
    command = memory["command"]
    assert "--validation 0.3 " in command
    assert """--drop '" id","a,b"' """ in command


@pytest.mark.parametrize(("rule", "told"), [("last", "last"), ("folds", "folds")])
def test_rules_of_validation_are_remembered_as_they_were_given(rule, told):
    run("fit", "good.csv", "--target", "y", "--validation", rule, *FAMILY, "--out", "rule.safetensors")
    assert f"--validation {told} " in json.loads(remark("rule.safetensors", "command"))["command"]


def test_categories_that_are_numbers_are_the_same_in_csv_and_parquet(folder):
    words = ["--target", "y", "--drop", "id", "--text", "code", *FAMILY]
    found = []
    for end in ("csv", "parquet"):
        run("fit", f"good.{end}", *words, "--out", "text.safetensors")
        with_gaps = rows().astype({"code": "Int64"})
        with_gaps.loc[3, "code"] = pd.NA
        with_gaps.to_parquet("gaps.parquet")
        with_gaps.to_csv("gaps.csv", index=False)
        for data in ("gaps.csv", "gaps.parquet"):
            run("predict", "text.safetensors", data, "--quiet", "--out", "out.csv")
            found.append((folder / "out.csv").read_text())
    assert len(set(found)) == 1


def test_columns_that_are_kept_have_all_their_digits(folder):
    frame = rows().assign(id=pd.array([None, *range(BIG, BIG + 39)], dtype="Int64"), at=1700000000.1234567)
    frame.to_parquet(folder / "ids.parquet")
    run("predict", "model.safetensors", "ids.parquet", "--keep", "id,at", "--quiet", "--out", "out.csv")
    assert (folder / "out.csv").read_text().splitlines()[2].startswith(f"{BIG},1700000000.1234567,")
    run("predict", "model.safetensors", "ids.parquet", "--keep", "id", "--quiet", "--out", "out.parquet")
    assert pd.read_parquet("out.parquet", dtype_backend="numpy_nullable")["id"].tolist()[1] == BIG


def test_probabilities_are_none_below_zero(monkeypatch):
    # as the cdf of a mixture is, whose weights are rounded
    monkeypatch.setattr("probmix.commands.predict.cdf", lambda distribution, y: torch.full_like(y, 1 + 2.3e-16))
    assert (predicted("good.csv", "--above", "20")["above20"] == 0).all()


def test_names_of_small_levels_are_read_again_and_no_two_are_the_same():
    assert list(predicted("good.csv", "--quantiles", ".00001,.5")) == ["q0.00001", "q0.5"]
    words = ["--quantiles", ".1,.1000000000001", "--quiet", "--out", "out.csv"]
    assert (
        said("predict", "model.safetensors", "good.csv", *words)
        == "two of the predictions would be called 'q0.1'. Ask for one of them."
    )


@pytest.mark.parametrize(
    "words",
    [
        ["predict", "model.safetensors", "new.csv", "--out", "out.csv"],
        ["evaluate", "new.csv", "--model", "model.safetensors"],
    ],
)
def test_warnings_say_in_which_rows_of_the_file(monkeypatch, words):
    monkeypatch.setattr(tables, "BLOCK", 30)
    monkeypatch.setattr(tables, "_FEWEST", 1)
    frame = rows()
    frame.loc[35, "kind"] = "new"
    frame.to_csv("new.csv", index=False)
    told = run(*words, "--quiet").stderr
    assert "warning: in rows 30 to 39, counted from 30: column 'kind' (1) of `X` holds levels" in told


def test_a_target_of_classes_is_sent_to_the_classifier():
    assert said("fit", "good.csv", "--target", "kind", *FAMILY, "--out", "kind.safetensors") == (
        f"--target: column 'kind' of 'good.csv' must hold numbers; it holds text, such as {rows()['kind'][0]!r} in row "
        "0 (line 2). To predict classes, use probmix.DensityClassifier in Python."
    )


def test_columns_of_lists_are_refused_by_name():
    rows().assign(parts=[[1, 2]] * 40).to_parquet("lists.parquet")
    assert said("fit", "lists.parquet", "--target", "y", *FAMILY, "--out", "lists.safetensors") == (
        "features: column 'parts' of 'lists.parquet' must hold numbers, text, truth values or dates; got cells such as "
        "ndarray. Leave it out by --drop."
    )


def test_where_no_model_can_be_written_is_known_before_the_fit(monkeypatch):
    def fails(*_, **__):
        raise AssertionError

    monkeypatch.setattr("probmix.commands.fit.DensityRegressor", fails)
    found = run("fit", "good.csv", "--target", "y", *FAMILY, "--out", "good.csv/model.safetensors", code=1).stderr
    assert "'good.csv/model.safetensors' cannot be written: 'good.csv' is a file and no folder" in found


def test_a_look_whether_a_file_can_be_written_leaves_nothing(tmp_path):
    probmix._files.check_can_be_written(tmp_path / "new" / "model.safetensors")
    assert list((tmp_path / "new").iterdir()) == []


def test_a_time_limit_that_is_no_number_is_refused():
    assert said("fit", "good.csv", "--target", "y", "--time-limit", "nan", *FAMILY, "--out", "n.safetensors") == (
        "--time-limit must be a finite number of seconds; got nan. For none leave it out."
    )


def test_large_ids_with_gaps_are_the_same_in_a_fit_and_after_it(folder):
    """Floats would round them, and neighbours would be one level."""
    ids = pd.array([BIG + 2 * (row % 3) for row in range(60)], dtype="Int64")
    frame = pd.DataFrame({"id": ids, "y": 5.0 * (np.arange(60) % 3) + 0.1 * np.sin(np.arange(60))})
    frame.loc[::10, "id"] = pd.NA
    frame.to_parquet("gaps.parquet")
    run("fit", "gaps.parquet", "--target", "y", "--text", "id", *FAMILY, "--out", "gaps.safetensors")
    model = probmix.load("gaps.safetensors")
    levels = [f"text:{BIG + step}" for step in (0, 2, 4)]
    assert model.columns_.encoders[0].levels == tuple(levels)
    run("predict", "gaps.safetensors", "gaps.parquet", "--quiet", "--out", "out.csv")
    known = frame["id"].notna()
    assert np.abs(pd.read_csv("out.csv")["mean"] - frame["y"])[known].max() < 1


DAY = pd.Timestamp("2024-01-01")


@pytest.mark.parametrize("cells", [[DAY] * 40, [DAY - DAY] * 40], ids=["dates", "spans"])
@pytest.mark.parametrize("option", ["--target", "--weights", "--exposure"])
def test_dates_are_no_numbers(folder, cells, option):
    frame = rows().assign(day=pd.Series(cells) + pd.to_timedelta(np.arange(40), unit="D"))
    frame.to_parquet("days.parquet")
    target = [] if option == "--target" else ["--target", "y"]
    found = said("fit", "days.parquet", *target, option, "day", *FAMILY, "--out", "days.safetensors")
    assert found.startswith(f"{option}: column 'day' of 'days.parquet' must hold numbers; got the type ")


def test_row_labels_of_pandas_are_no_feature(folder):
    rows()[rows()["code"] < 3].to_parquet("some.parquet")
    words = ["some.parquet", "--target", "y", "--drop", "id", *FAMILY, "--out", "some.safetensors"]
    assert run("fit", *words).stderr == (
        "warning: the column '__index_level_0__' of 'some.parquet' holds row labels, and is left out.\n"
    )
    assert probmix.load("some.safetensors").feature_names_in_.tolist() == ["size", "kind", "code"]
    # one that has a role keeps it
    frame = rows()
    frame.index = frame["y"].to_numpy()
    frame.drop(columns="y").to_parquet("labelled.parquet")
    words = ["labelled.parquet", "--target", "__index_level_0__", *FAMILY, "--out", "some.safetensors"]
    assert not run("fit", *words).stderr


def test_groups_that_are_lists_are_refused(folder):
    rows().assign(parts=[[1, 2]] * 40).to_parquet("lists.parquet")
    found = said("fit", "lists.parquet", "--target", "y", "--groups", "parts", *FAMILY, "--out", "lists.safetensors")
    assert found == (
        "--groups: column 'parts' of 'lists.parquet' must hold numbers, text or dates; got cells such as ndarray."
    )


OTHERWISE = "holds numbers that are written otherwise, such as {!r}, and is taken for text. Write them with digits "
BUT_FOR = "holds dates but for 1 of 40 cells, such as 'unknown' in row 7 (line 9), and is taken for text. Empty such "
DAYS = pd.date_range("2024-01-01", periods=40)


@pytest.mark.parametrize(
    ("cells", "remark"),
    [
        ([f"{1000 + row:,}" for row in range(40)], OTHERWISE.format("1,000")),
        ([str(row) if row % 2 else f"1,{row:03d},000" for row in range(40)], OTHERWISE.format("1,000,000")),
        ([f"{row}.5 %" for row in range(40)], OTHERWISE.format("0.5 %")),
        ([f"{row},5" for row in range(40)], OTHERWISE.format("0,5")),
        (["unknown" if row == 7 else f"{day:%Y-%m-%d}" for row, day in enumerate(DAYS)], BUT_FOR),
        (["unknown" if row == 7 else f"{day:%d.%m.%Y}" for row, day in enumerate(DAYS)], BUT_FOR),
        ([f"{row} rooms" for row in range(40)], None),
        ([f"{day:%Y-%m-%d}" for day in DAYS], None),
    ],
    ids=["thousands", "some thousands", "percent", "comma", "dates", "other dates", "text", "all dates"],
)
def test_what_may_have_been_meant_for_numbers_or_dates_is_asked_about(folder, cells, remark):
    frame = rows().drop(columns="y").assign(odd=cells, y=rows()["y"])
    frame.to_csv("doubts.csv", index=False)
    words = ["doubts.csv", "--target", "y", "--drop", "id", *FAMILY, "--out", "doubts.safetensors"]
    found = run("fit", *words).stderr
    assert ("column 'odd' of 'doubts.csv'" in found) == (remark is not None)
    if remark is not None:
        assert remark in found


def test_folders_may_have_the_mark_of_names_in_theirs(folder):
    (folder / "year=2024").mkdir(exist_ok=True)
    (folder / "year=2024" / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    for given in ("year=2024/model.safetensors", "this=year=2024/model.safetensors"):
        found = run("evaluate", "good.csv", "--model", given, "--target", "y", "--quiet").stdout
        assert ("this" in found) == given.startswith("this")


@pytest.mark.parametrize("header", ["{}", "{", None])
def test_a_model_whose_header_is_damaged_is_named(folder, header):
    metadata = {"format": persistence._FORMAT} | ({} if header is None else {"estimator": header})
    save_file({"loc": torch.zeros(1)}, folder / "damaged.safetensors", metadata)
    assert "'damaged.safetensors' is damaged: " in said(
        "predict", "damaged.safetensors", "good.csv", "--out", "out.csv"
    )
