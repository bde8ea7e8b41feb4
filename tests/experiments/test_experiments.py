"""The general machinery of experiments: results on disk, and runs that go on; with work that takes no time."""

import pandas as pd
import pytest
from dice import Dice

from probmix.experiments import Result, ResultStore, reproduce


def scores_of(folder):
    return pd.read_csv(folder / "results.csv").drop(columns="seconds")


def keys_of(experiment):
    return [tuple(unit.values()) for unit in experiment.units()]


# -- store -------------------------------------------------------------------------------------------------------------


def test_results_come_back_exactly(tmp_path):
    store = ResultStore(tmp_path, {"lengths": (1, 2)})
    unit = {"dataset": "BRK/B é", "alpha": 0.1, "seed": 0}
    result = Result(unit, {"nll": 0.1 + 0.2, "crps": float("inf")}, {"mean": [1 / 3]}, 0.5, "2 CPU cores")
    other = Result({**unit, "seed": 1}, {}, {}, 0.5, "2 CPU cores")
    assert store.load(unit) is None
    store.save({"dataset": "BRK/B é"}, [result, other], {"data": (1,)})
    for one in (store, ResultStore(tmp_path, {"lengths": (1, 2)})):
        assert one.load(unit, {"data": (1,)}) == result
        assert one.load({**unit, "seed": 1}, {"data": (1,)}) == other
        assert one.load({**unit, "seed": 2}) is None
    assert len(list(tmp_path.rglob("*.json"))) == 1


def test_more_units_of_a_job_are_another_file(tmp_path):
    store = ResultStore(tmp_path, {})
    for seed in (0, 1):
        store.save({"method": "erm"}, [Result({"method": "erm", "seed": seed}, {"nll": float(seed)}, {}, 0.5, "")])
    names = sorted(path.name for path in tmp_path.rglob("*.json"))
    assert len(names) == 2
    assert all(name.startswith("erm__") for name in names)
    again = ResultStore(tmp_path, {})
    assert [again.load({"method": "erm", "seed": seed}).scores["nll"] for seed in (0, 1)] == [0.0, 1.0]


def test_a_file_is_whole_or_not_there(tmp_path, monkeypatch):
    store = ResultStore(tmp_path, {})
    result = Result({"seed": 0}, {"nll": 1.0}, {}, 0.5, "")
    store.save({"seed": 0}, [result])

    def killed(*_):
        raise KeyboardInterrupt

    # all is written, but the file has not got its name yet
    monkeypatch.setattr("probmix._files.os.fsync", killed)
    for seed in (0, 1):
        with pytest.raises(KeyboardInterrupt):
            store.save({"seed": seed}, [Result({"seed": seed}, {"nll": 2.0}, {}, 0.5, "")])
    assert ResultStore(tmp_path, {}).load({"seed": 0}) == result
    assert ResultStore(tmp_path, {}).load({"seed": 1}) is None
    assert len(list(tmp_path.rglob("*"))) == 2  # the folder, and one file in it


def test_what_a_kill_left_of_a_file_is_no_result(tmp_path):
    units = tmp_path / "units"
    units.mkdir()
    (units / ".0.json.x8k2").write_text('{"settings": {')
    assert ResultStore(tmp_path, {}).load({"seed": 0}) is None


@pytest.mark.parametrize(
    "content",
    ["", '{"settings": {}', "[1]", '{"settings": {}}', '{"settings": {}, "inputs": {}, "results": [1]}',
     '{"settings": {}, "inputs": {}, "results": [{"unit": {}}]}', '{"settings": 1, "inputs": {}, "results": []}'],
)  # fmt: skip
def test_a_file_that_holds_no_results(tmp_path, content):
    path = tmp_path / "units" / "0.json"
    path.parent.mkdir()
    path.write_text(content)
    with pytest.raises(ValueError, match="no results") as caught:
        ResultStore(tmp_path, {})
    assert str(caught.value) == f"'{path}' holds no results of an experiment. Remove it, and they are made again."


def test_other_settings(tmp_path):
    reproduce(Dice(datasets=("a",), methods=("erm",), seeds=1), tmp_path, verbose=False)
    before = (tmp_path / "results.csv").read_bytes()
    (file,) = (tmp_path / "units").iterdir()
    other = Dice(seeds=2, epochs=4, alpha=0.1)
    with pytest.raises(ValueError, match="other settings") as caught:
        reproduce(other, tmp_path, verbose=False)
    assert str(caught.value) == (
        f"the results in '{tmp_path}' were made with other settings: epochs=3, now 4, alpha=None, now 0.1 "
        f"(in {file.name}). Pass the same settings, or choose another folder."
    )
    changed = Dice(data="2")
    with pytest.raises(ValueError, match=r"other settings: data='1', now '2' \(in a__erm"):
        reproduce(changed, tmp_path, verbose=False)
    assert other.worked == changed.worked == []
    assert (tmp_path / "results.csv").read_bytes() == before


# -- runs --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("joint", [False, True])
def test_a_run_does_every_unit_once_and_a_rerun_none(tmp_path, joint):
    first = Dice(joint=joint)
    results, failures = reproduce(first, tmp_path, verbose=False)
    assert sorted(first.worked) == sorted(keys_of(first))
    assert first.jobs == len(list((tmp_path / "units").iterdir())) == (4 if joint else 8)
    assert failures == {}
    assert [tuple(result.unit.values()) for result in results] == keys_of(first)
    assert all(result.seconds >= 0 for result in results)
    table = pd.read_csv(tmp_path / "results.csv")
    assert list(table.columns) == ["dataset", "method", "seed", "nll", "rmse", "seconds"]
    assert table["nll"].tolist() == [result.scores["nll"] for result in results]
    before = (tmp_path / "results.csv").read_bytes()
    again = Dice(joint=joint)
    assert reproduce(again, tmp_path, verbose=False) == (results, {})
    assert again.worked == []
    assert (tmp_path / "results.csv").read_bytes() == before


def test_jobs_and_single_units_give_the_same_results(tmp_path):
    for joint in (False, True):
        reproduce(Dice(joint=joint), tmp_path / str(joint), verbose=False)
    pd.testing.assert_frame_equal(scores_of(tmp_path / "False"), scores_of(tmp_path / "True"), check_exact=True)


@pytest.mark.parametrize("stop", [0, 1, 3])
@pytest.mark.parametrize("joint", [False, True])
def test_a_run_that_was_stopped_goes_on(tmp_path, stop, joint):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    reproduce(Dice(joint=joint), whole, verbose=False)
    stopped = Dice(stop=stop, joint=joint)
    with pytest.raises(KeyboardInterrupt):
        reproduce(stopped, parts, verbose=False)
    if stop:
        assert len(scores_of(parts)) == len(stopped.worked) == stop * (2 if joint else 1)  # at once, not at the end
    rest = Dice(joint=joint)
    reproduce(rest, parts, verbose=False)
    assert sorted(stopped.worked + rest.worked) == sorted(keys_of(rest))
    pd.testing.assert_frame_equal(scores_of(parts), scores_of(whole), check_exact=True)


@pytest.mark.parametrize("joint", [False, True])
def test_more_units_use_what_is_there_and_the_report_is_of_those_asked_for(tmp_path, joint):
    reproduce(Dice(datasets=("a",), seeds=1, joint=joint), tmp_path, verbose=False)
    more = Dice(datasets=("b", "a"), seeds=3, joint=joint)
    reproduce(more, tmp_path, verbose=False)
    assert len(more.worked) == 12 - 2
    fewer = Dice(datasets=("b",), methods=("erm",), seeds=1, joint=joint)
    reproduce(fewer, tmp_path, verbose=False)
    assert fewer.worked == []
    assert scores_of(tmp_path)[["dataset", "method", "seed"]].to_numpy().tolist() == [["b", "erm", 0]]


def test_a_job_that_fails_stops_nothing_and_is_tried_again(tmp_path):
    results, failures = reproduce(Dice(fail=[("a", "erm", 1)], joint=True), tmp_path, verbose=False)
    assert failures == {"a erm": "training diverged"}
    assert len(results) == len(scores_of(tmp_path)) == 6
    assert "| a | - |" in (tmp_path / "table.md").read_text()
    again = Dice(joint=True)
    _, failures = reproduce(again, tmp_path, verbose=False)
    assert again.worked == [("a", "erm", 0), ("a", "erm", 1)]
    assert failures == {}
    assert "| - |" not in (tmp_path / "table.md").read_text()


def test_progress_counts_results_and_estimates_the_time_left(tmp_path, capsys):
    reproduce(Dice(seeds=1), tmp_path, verbose=False)
    assert capsys.readouterr().err == ""
    reproduce(Dice(seeds=2, joint=True), tmp_path)
    shown = capsys.readouterr().err
    assert "4/8 results, a erm |" in shown
    assert "8/8 results |" in shown
    assert "b probmix |" in shown
    assert " left" in shown
    # nothing left
    reproduce(Dice(seeds=2), tmp_path)
    assert capsys.readouterr().err == ""
