"""Files as they come: odd headers and rows, names with spaces, ids with gaps, and columns that change their type."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from small_files import run

import probmix._files
from probmix.commands import tables
from probmix.commands.options import Names
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
