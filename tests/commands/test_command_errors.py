"""What the commands say of wrong uses and inputs, word for word, and how they end."""

import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pandas as pd
import pytest
from small_files import FIT, claims, run, write_claims

import probmix
from probmix.commands import needed
from probmix.estimators import DensityRegressor
from probmix.training import DivergenceError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wrong")
    write_claims(folder / "good.csv")
    run("fit", folder / "good.csv", *FIT, "--out", folder / "model.safetensors")
    return folder


@pytest.fixture(autouse=True)
def _there(folder, monkeypatch):
    monkeypatch.chdir(folder)


def said(*words, code=2):
    lines = run(*words, code=code).stderr.splitlines()
    return " ".join(line.removeprefix("Error: ") for line in lines if line and not line.startswith(("Usage", "Try")))


def fit_of(frame, *words):
    frame.to_csv("bad.csv", index=False)
    return said("fit", "bad.csv", *FIT, *words, "--out", "bad.safetensors")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.csv", None, "there is no file 'missing.csv'."),
        ("god.csv", None, "there is no file 'god.csv'; did you mean 'good.csv'?"),
        ("data.xlsx", b"PK", "the name of a table must end with .csv, .csv.gz or .parquet; got 'data.xlsx'."),
        ("empty.csv", b"", "'empty.csv' is empty."),
        ("head.csv", b"age,claims,years,id\n", "'head.csv' has a header and no rows."),
        (
            "semi.csv",
            b"age;claims\n1;2\n",
            "'semi.csv' has semicolons between its cells, and a csv file has commas. Write it again with these, say by "
            "pandas.read_csv(..., sep=';').",
        ),
        (
            "packed.csv",
            b"\x1f\x8b\x08\x00",
            "the name of 'packed.csv' ends with .csv, and it is a gzip file. Rename it, or write it again.",
        ),
        (
            "plain.csv.gz",
            b"age,claims\n1,2\n",
            "the name of 'plain.csv.gz' ends with .csv.gz, and it is something else. Rename it, or write it again.",
        ),
        (
            "text.parquet",
            b"age,claims\n1,2\n",
            "the name of 'text.parquet' ends with .parquet, and it is something else. Rename it, or write it again.",
        ),
        (
            "twice.csv",
            b"age,age,claims\n1,2,3\n",
            "columns of 'twice.csv' must have different names; got 'age' more than once.",
        ),
        ("long.csv", b"id,years,age,claims\n1,1,1,2\n1,1,2,3,4\n", "'long.csv' is not a whole csv file: "),
        (
            "wide.csv",
            b"id,years,age,claims\n1,1,1,2,5\n1,1,2,3,4\n",
            "rows of 'wide.csv' have more cells than its header",
        ),
        ("latin.csv", b"id,years,age,claims\n1,1,1,\xe9\n", "'latin.csv' is not in UTF-8: "),
    ],
)
def test_files_that_cannot_be_read(folder, name, content, message):
    if content is not None:
        (folder / name).write_bytes(content)
    assert said("fit", name, *FIT, "--out", "bad.safetensors").startswith(message)
    assert not (folder / "bad.safetensors").exists()


def test_cells_that_are_wrong():
    good, mend = claims(), "Mend or drop such rows."
    numbers = "must hold numbers; got"
    wrong = good.astype({"claims": object})
    wrong.loc[4, "claims"] = "many"
    of_target = "--target: column 'claims' of 'bad.csv'"
    assert fit_of(wrong) == f"{of_target} {numbers} the text 'many' in row 4 (line 6). {mend}"
    wrong.loc[4, "claims"] = np.nan
    assert fit_of(wrong) == f"{of_target} {numbers} an empty cell in row 4 (line 6). {mend}"
    wrong = good.assign(years=good["years"].where(good.index != 7, -1.0))
    assert fit_of(wrong) == (
        f"--exposure: column 'years' of 'bad.csv' must be positive; got -1 in row 7 (line 9). {mend}"
    )
    wrong = good.assign(age=good["age"].where(good.index != 2, np.inf))
    assert fit_of(wrong) == f"features: column 'age' of 'bad.csv' {numbers} infinity in row 2 (line 4). {mend}"
    wrong = good.assign(g=pd.Series("a", good.index).where(good.index != 1))
    assert fit_of(wrong, "--groups", "g") == (
        "--groups: column 'g' of 'bad.csv' must name a group in each row; got an empty cell in row 1 (line 3). " + mend
    )
    # what the family says
    assert "-5.5" in fit_of(good.assign(claims=good["claims"].where(good.index != 3, -5.5)))


def test_names_that_are_wrong():
    fit = ["fit", "good.csv", "--out", "bad.safetensors"]
    assert said(*fit, "--target", "claim") == "--target, in 'good.csv': unknown column 'claim'; did you mean 'claims'?"
    # of what is not that near all are listed
    assert said(*fit, "--target", "maker_id") == (
        "--target, in 'good.csv': unknown column 'maker_id'; known are 'age', 'claims', 'id', 'make', "
        "'new', 'sold', 'years'."
    )
    assert said(*fit, "--target", "claims", "--drop", "claims") == (
        "--target and --drop both name the column 'claims'; a column has one role."
    )
    assert said(*fit, "--target", "claims", "--family", "gama") == "unknown family 'gama'; did you mean 'gamma'?"
    assert "'slow' is not one of" in said(*fit, "--target", "claims", "--preset", "slow")
    assert "'first' is neither 'folds', 'random', 'last' nor a share between 0 and 1." in said(
        *fit, "--target", "claims", "--validation", "first"
    )
    assert said("fit", "good.csv", "--target", "claims", "--out", "good.csv") == (
        "--out: the file of a model must end with .safetensors; got 'good.csv'."
    )
    assert said(*fit, "--target", "claims", "--checkpoint", "c", "--time-limit", "5").endswith("Leave out either.")


def test_predictions_that_cannot_be_made(folder):
    predict, good = ["predict", "model.safetensors", "bad.csv", "--quiet", "--out", "p.csv"], claims()
    good.drop(columns="make").rename(columns={"age": "Age"}).to_csv("bad.csv", index=False)
    assert said(*predict) == (
        "feature 'age' of 'model.safetensors', in 'bad.csv': unknown column 'age'; did you mean 'Age'?"
    )
    good.drop(columns="years").to_csv("bad.csv", index=False)
    assert said(*predict) == (
        "'model.safetensors' was fitted with the exposures 'years', and 'bad.csv' has no such column. Name another by "
        "--exposure; a column of ones gives predictions for an exposure of one."
    )
    wrong = good.astype({"age": object})
    wrong.loc[[11, 15], "age"] = "old"
    wrong.to_csv("bad.csv", index=False)
    # what is not whole does not take the place of what was there
    (folder / "p.csv").write_text("before")
    assert said(*predict) == (
        "features: column 'age' of 'bad.csv' must hold numbers; got the text 'old' in row 11 (line 13). Mend or drop "
        "such rows."
    )
    assert (folder / "p.csv").read_text() == "before"
    assert not list(folder.glob(".probmix-*"))
    assert said("predict", "model.safetensors", "good.csv", "--out", "good.csv") == (
        "--out: 'good.csv' is the file that is read; name another."
    )
    assert said("predict", "good.csv", "good.csv", "--out", "p.csv").startswith("'good.csv' is not a safetensors file:")
    good.assign(mean=1.0).to_csv("bad.csv", index=False)
    assert said(*predict, "--mean", "--keep", "mean") == (
        "--keep: the column 'mean' would be there twice; a prediction is called so as well."
    )


def test_comparisons_that_cannot_be_made():
    evaluate = ["evaluate", "good.csv", "--model", "model.safetensors", "--predictions", "peer.csv", "--quiet"]
    pd.DataFrame({"mean": np.zeros(59)}).to_csv("peer.csv", index=False)
    assert said(*evaluate) == "--predictions peer: 'peer.csv' must have a row for each of 'good.csv'; got 59 for 60."
    pd.DataFrame({"mu": np.zeros(60)}).to_csv("peer.csv", index=False)
    assert said(*evaluate) == (
        "--predictions peer: 'peer.csv' must hold predictions of one form, mean and sd (a Gaussian), q0.1, q0.5, ... "
        "(quantiles), sample1, sample2, ... (draws), lower0.9, upper0.9 (ends of intervals), or mean alone (a point); "
        "got none of them among 'mu'."
    )
    pd.DataFrame({"q0.1": [1.0] * 60, "q0.9": [1.0] * 59 + [0.5]}).to_csv("peer.csv", index=False)
    assert said(*evaluate) == (
        "--predictions peer: quantiles of 'peer.csv' must not fall as their levels rise; they do in row 59 (line 61). "
        "Sort them in each row, which never makes a forecast worse."
    )
    pd.DataFrame({"q0.5": [1.0] * 60, "q.5": [1.0] * 60}).to_csv("peer.csv", index=False)
    assert said(*evaluate) == (
        "--predictions peer: 'q0.5' and 'q.5' of 'peer.csv' are both the quantile 0.5. Drop one of them."
    )
    pd.DataFrame({"mean": np.zeros(60), "sd": np.zeros(60)}).to_csv("peer.csv", index=False)
    assert said(*evaluate) == (
        "--predictions peer: column 'sd' of 'peer.csv' must be positive; got 0 in row 0 (line 2). Mend or drop such "
        "rows."
    )
    assert said("evaluate", "good.csv") == "name at least one --model or --predictions."
    models = ["--model", "model.safetensors"]
    assert said("evaluate", "good.csv", *models, *models) == (
        "two of the models and predictions are called 'model'. Name them, as NAME=FILE."
    )
    # before anything is predicted
    assert "'crp'" in said("evaluate", "good.csv", *models, "--scores", "crp")
    assert said("evaluate", "good.csv", *models, "--baseline", "modell") == (
        "--baseline: unknown model 'modell'; did you mean 'model'?"
    )


def test_parquet_without_its_package(monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(needed, "import_module", missing)
    assert said("predict", "model.safetensors", "good.csv", "--out", "p.parquet") == (
        "parquet files need pyarrow: pip install 'probmix[files]', or use csv."
    )


def test_lines_are_those_of_the_file_and_doubts_are_told(folder):
    cells = "\n".join(f'{number},{"three" if number == 3 else number % 5},"x\ny"' for number in range(30))
    (folder / "lines.csv").write_text(f"a,y,t\n\n{cells}\n")
    assert said("fit", "lines.csv", "--target", "y", "--out", "bad.safetensors") == (
        "--target: column 'y' of 'lines.csv' must hold numbers; got the text 'three' in row 3 (line 10). Mend or drop "
        "such rows."
    )
    frame = claims().astype({"age": object})
    frame.loc[9, "age"] = "old"
    frame.to_csv("bad.csv", index=False)
    assert (
        "warning: column 'age' of 'bad.csv' holds numbers but for 1 of 50 cells, such as 'old' in row 9 (line 11), and "
        "is taken for text. Empty such cells, or say --text age."
    ) in run("fit", "bad.csv", *FIT, "--out", "doubts.safetensors").stderr


def test_codes_that_begin_with_zero_are_told(folder):
    codes = [f"{place % 3:02d}139" for place in range(60)]
    frame = claims().assign(place=codes, number=range(60), text="007")
    frame.loc[7, "text"] = "none"
    frame.to_csv("codes.csv", index=False)
    words = ["codes.csv", *FIT, "--quiet"]
    found = run("fit", *words, "--out", "codes.safetensors").stderr
    assert (
        "warning: column 'place' of 'codes.csv' holds numbers that begin with zero, such as '00139' in row 0 (line 2), "
        "and is taken for numbers. If these are codes, say --text place."
    ) in found
    assert found.count("begin with zero") == 1
    # nor is there any other doubt of what is to be text
    frame.assign(number=[f"{day}/01/2024" for day in range(60)]).to_csv("codes.csv", index=False)
    words += ["--text", "place,number,text", "--out", "codes.safetensors"]
    assert "warning" not in run("fit", *words).stderr
    layout = probmix.load("codes.safetensors").columns_.layout
    kinds = dict(zip(layout.names, layout.kinds, strict=True))
    assert [kinds[name] for name in ("place", "number", "text")] == ["level"] * 3


def test_a_fit_that_fails_ends_with_one(folder, monkeypatch):
    def diverge(*args, **kwargs):
        raise DivergenceError("training diverged.")

    monkeypatch.setattr(DensityRegressor, "fit", diverge)
    assert said("fit", "good.csv", *FIT, "--out", "failed.safetensors", code=1) == "training diverged."
    assert not (folder / "failed.safetensors").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_fit_with_nothing_written(folder, monkeypatch, number):
    before, plain = signal.getsignal(number), DensityRegressor._take_over

    def stopped(*args):
        os.kill(os.getpid(), number)
        return plain(*args)

    monkeypatch.setattr(DensityRegressor, "_take_over", stopped)
    told = said("fit", "good.csv", *FIT, "--out", "stopped.safetensors", code=128 + number)
    assert told == f"stopped by {number.name}; nothing was written."
    assert not (folder / "stopped.safetensors").exists()
    assert signal.getsignal(number) is before


def test_predictions_that_are_killed_leave_what_was_there(folder):
    program = """
        import signal
        from probmix.cli import main
        from probmix.commands import predict, tables

        tables.BLOCK, tables._FEWEST = 20, 1
        plain, blocks = predict._Wanted.of, []

        def of(*args):
            blocks.append(0)
            if len(blocks) == 3:
                print("begun", flush=True)
                signal.pause()
            return plain(*args)

        predict._Wanted.of = of
        main(["predict", "model.safetensors", "good.csv", "--out", "killed.csv", "--quiet"])
    """
    (folder / "killed.csv").write_text("before")
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "begun\n"
    process.kill()
    process.communicate()
    assert (folder / "killed.csv").read_text() == "before"
