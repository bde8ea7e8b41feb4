"""Which rows train a member and which judge it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    LeaveOneGroupOut,
    PredefinedSplit,
    ShuffleSplit,
    StratifiedKFold,
    TimeSeriesSplit,
)
from training_cases import rows_of

from probmix.estimators.validation import judged_parts
from probmix.random import member_keys

N, MEMBERS = 103, 4


def table(n=N, seed=0):
    rng = np.random.default_rng(seed)
    return rows_of(rng.normal(size=(n, 2)), rng.integers(0, 3, n).astype(float))


def parts_of(rows, validation, share=0.2, members=MEMBERS, has_classes=False):
    """The parts of each member as row numbers of the user."""

    def strata(y):
        return y.long() if has_classes else None

    parts = judged_parts(rows, validation, share, member_keys(0, members), strata)
    assert all(len(own) == len(own.unique()) for side in (parts.train, parts.validation) for own in side)
    return [
        [set(np.flatnonzero(np.isin(parts.place, own))) for own in side] for side in (parts.train, parts.validation)
    ]


def grouped(rows, group):
    return replace(rows, group=torch.as_tensor(group))


def repeated(rows, times):
    return rows.take(np.random.default_rng(5).permutation(np.repeat(np.arange(len(rows.x)), times)))


GROUPS = np.random.default_rng(3).choice(23, N, p=np.arange(1, 24) / 276)


@pytest.mark.parametrize("validation", ["random", "folds", "last", GroupKFold(MEMBERS)])
def test_groups_are_on_one_side(validation):
    # groups in order of time, as far as the last rows judge
    groups = np.sort(GROUPS) if validation == "last" else GROUPS
    train, judges = parts_of(grouped(table(), groups), validation)
    for own, others in zip(train, judges, strict=True):
        assert own
        assert others
        assert not {groups[row] for row in own} & {groups[row] for row in others}
        if validation != "last":
            assert own | others == set(range(N))
    if validation == "random":
        assert len({frozenset(one) for one in judges}) == MEMBERS
        assert all(10 <= len(one) <= 32 for one in judges)


def test_a_share_of_a_few_groups_is_one_of_them():
    for seed in range(10):
        rows = grouped(table(seed=seed), np.arange(N) // 52)
        train, judges = parts_of(rows, "random", 0.01)
        assert {len(one) for one in train + judges} == {51, 52}


@pytest.mark.parametrize("n", [103, 104, 8])
def test_folds_are_a_partition(n):
    train, judges = parts_of(table(n), "folds")
    assert sorted(row for fold in judges for row in fold) == list(range(n))
    assert max(map(len, judges)) - min(map(len, judges)) <= 1
    assert all(own == set(range(n)) - fold for own, fold in zip(train, judges, strict=True))


def test_classes_have_their_share_of_each_fold():
    rows = table()
    _, judges = parts_of(rows, "folds", has_classes=True)
    counts = np.array([[(rows.y[list(fold)] == c).sum() for c in range(3)] for fold in judges])
    assert (np.ptp(counts, axis=0) <= 1).all()
    assert np.ptp(counts.sum(1)) <= 1


def test_folds_of_groups_have_as_many_rows_as_whole_groups_allow():
    sizes = np.array([len(fold) for fold in parts_of(grouped(table(), GROUPS), "folds")[1]])
    best = [len(test) for _, test in GroupKFold(MEMBERS).split(np.zeros(N), groups=GROUPS)]
    assert np.ptp(sizes) <= np.ptp(best)


@pytest.mark.parametrize("validation", ["random", "folds", KFold(MEMBERS), "last"])
def test_copies_are_on_one_side(validation):
    rows = table(30)
    rows = rows.take(np.r_[np.arange(30), np.arange(0, 30, 7)])
    same = {30 + k: 7 * k for k in range(5)}
    for own, others in zip(*parts_of(rows, validation), strict=True):
        assert not {same.get(row, row) for row in own} & {same.get(row, row) for row in others}


@pytest.mark.parametrize("share", [0.2, 0.1, 0.55, 1e-9])
def test_the_last_rows_judge(share):
    train, judges = parts_of(table(100), "last", share)
    first = 100 - max(1, round(100 * share))
    assert judges == [set(range(first, 100))] * MEMBERS
    assert train == [set(range(first))] * MEMBERS


def test_a_weight_of_the_last_rows_is_the_row_so_many_times():
    rng = np.random.default_rng(1)
    rows, times = table(60), rng.integers(0, 5, 60)
    weighted = replace(rows, weight=torch.from_numpy(times / 3.0))
    where = np.repeat(np.arange(60), times)
    expected = parts_of(rows.take(where), "last", 0.3)
    for found, copies in zip(parts_of(weighted, "last", 0.3), expected, strict=True):
        assert found[0] == {where[row] for row in copies[0]}


def test_groups_that_judge_last_do_not_train():
    label = np.arange(N) // 10
    train, judges = parts_of(grouped(table(), label), "last")
    assert judges[0] == set(range(82, N))
    assert train[0] == set(range(80))
    with pytest.raises(ValueError, match="'last'") as error:
        parts_of(grouped(table(), np.arange(N) % 5), "last")
    assert str(error.value) == (
        "`validation` is 'last', and no sample(s) of positive weight that are of other groups are left for training in "
        "front of the share 0.2 that judges. Pass more rows or a smaller `validation_fraction`."
    )


SPLITTERS = {
    "KFold": KFold(MEMBERS),
    "shuffled": KFold(MEMBERS, shuffle=True, random_state=0),
    "fewer than members": KFold(2),
    "more than members": KFold(9),
    "TimeSeriesSplit": TimeSeriesSplit(MEMBERS),
    "ShuffleSplit": ShuffleSplit(MEMBERS, test_size=0.2, train_size=0.5, random_state=0),
    "StratifiedKFold": StratifiedKFold(3),
    "GroupKFold": GroupKFold(3),
    "LeaveOneGroupOut": LeaveOneGroupOut(),
    "PredefinedSplit": PredefinedSplit(np.r_[np.zeros(20), np.ones(30), -np.ones(N - 50)]),
    "pairs": [(np.arange(50), np.arange(60, 70)), (range(20, 40), [1, 2])],
    "mask": [(np.arange(N) < 50, np.arange(N) > 60)],
    "in both": [(np.arange(N), np.arange(20))],
}


@pytest.mark.parametrize("name", SPLITTERS)
def test_members_take_the_splits_of_a_splitter(name):
    splitter, rows = SPLITTERS[name], table()
    splits = splitter if isinstance(splitter, list) else list(splitter.split(rows.x, rows.y, groups_for(name)))
    rows = rows if groups_for(name) is None else grouped(rows, groups_for(name))
    train, judges = parts_of(rows, splitter)
    for m in range(MEMBERS):
        own, others = (set(np.arange(N)[np.asarray(part)]) for part in splits[m % len(splits)])
        assert judges[m] == others
        assert train[m] == own - others


def groups_for(name):
    return GROUPS if "Group" in name else None


def test_copies_count_only_where_a_split_has_them():
    """Three copies: one trains, one is left out, or all judge; weights follow."""
    rows = table(20)
    copies = rows.take(np.r_[np.arange(20), 5, 5])
    splits = [(np.r_[0:10, 20], [15]), (np.r_[0:5, 6:10], [21]), (np.r_[0:10, 20, 21], [11])]
    parts = judged_parts(copies, splits, 0.2, member_keys(0, 3), lambda _: None)
    weight = parts.rows.weight / parts.rows.weight.min()
    is_copy = (parts.rows.x == rows.x[5]).all(1)
    for side, expected in ((parts.train, [2, 0, 3]), (parts.validation, [0, 1, 0])):
        assert [weight[own][is_copy[own]].sum() for own in side] == expected


ERRORS = {
    "no splits": ([], "`validation` gave no splits. Pass a splitter that gives at least one, or a list of them."),
    "twice": ([([1, 2, 2], [3])], "split 0 of `validation` names row 2 more than once. Name it once, and give it its "
              "weight by `sample_weight`."),
    "beyond": ([([1], [3]), ([1, 103], [2])],
               "split 1 of `validation` must hold two vectors of row numbers below 103; got [1, 103]."),
    "from the end": ([([-1], [3])],
                     "split 0 of `validation` must hold two vectors of row numbers below 103; got [-1]."),
    "no numbers": ([([0.5], [3])],
                   "split 0 of `validation` must hold two vectors of row numbers below 103; got [0.5]."),
    "no judge": ([([1], [])], "split 0 of `validation` leaves no validation rows of positive weight; rows that are "
                 "equal to one that judges do not train. Pass other splits."),
    "all judge": ([([1], [2]), ([4], [4])], "split 1 of `validation` leaves no training rows of positive weight; rows "
                  "that are equal to one that judges do not train. Pass other splits."),
}  # fmt: skip


@pytest.mark.parametrize("case", ERRORS)
def test_bad_splits(case):
    splits, message = ERRORS[case]
    with pytest.raises(ValueError, match="`validation`") as error:
        parts_of(table(), splits)
    assert str(error.value) == message


def test_too_few_rows_or_groups():
    with pytest.raises(ValueError, match="'folds'") as error:
        parts_of(repeated(table(3), 2), "folds")
    assert str(error.value) == (
        "`validation` is 'folds', one for each of 4 members; got 3 different sample(s) of positive weight. Pass more "
        "rows or fewer `n_members`."
    )
    for validation, least in (("folds", 4), ("random", 2)):
        with pytest.raises(ValueError, match="`groups`") as error:
            parts_of(grouped(table(), np.arange(N) % (least - 1)), validation)
        assert str(error.value) == (
            f"`groups` must name at least {least} different groups among the rows of positive weight, of which some "
            f"train a member and others judge it; got {least - 1}. Pass more groups, or fewer `n_members`."
        )


def test_observations_of_a_table_are_in_all_folds():
    """A table of four different rows: those of the user are spread over the folds, and each fold is like the whole."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2, (2000, 1)).astype(float)
    rows = rows_of(x, (rng.random(2000) < 0.2 + 0.5 * x[:, 0]).astype(float))
    parts = judged_parts(rows, "folds", 0.2, member_keys(0, MEMBERS), lambda _: None)
    assert len(parts.rows.x) == pytest.approx(1000, abs=5)
    fold = np.empty(len(parts.rows.x), dtype=int)
    for m in range(MEMBERS):
        own = parts.validation[m].numpy()
        fold[own] = m
        weight = parts.rows.weight[own]
        for a in (0, 1):
            here = parts.rows.x[own, 0] == a
            share = np.average(parts.rows.y[own][here].numpy(), weights=weight[here].numpy())
            assert share == pytest.approx(rows.y[x[:, 0] == a].mean().item(), abs=0.01)
    assert np.bincount(fold[parts.place]).min() > 400
    np.testing.assert_array_equal(parts.rows.x[parts.place], rows.x)
    np.testing.assert_array_equal(parts.rows.y[parts.place], rows.y)
