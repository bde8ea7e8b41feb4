"""Rows as named columns."""

from dataclasses import dataclass, field, fields, replace

import numpy as np
import pytest
import torch
from torch import Tensor
from training_cases import rows_of

from probmix.training import Rows
from probmix.training.data import TrainingData
from probmix.training.rows import Columns

FULL = rows_of(
    np.arange(6.0).reshape(3, 2),
    np.arange(3.0),
    weight=np.array([0.5, 1.0, 1.5]),
    log_exposure=np.arange(3.0),
    group=[4, 4, 9],
)


def test_every_column_is_taken_moved_and_counted():
    assert len(FULL) == len(Rows(x=FULL.x, y=FULL.y)) == 3
    for which in (np.array([2, 0]), torch.tensor([2, 0])):
        for name, values in FULL.take(which).present().items():
            assert torch.equal(values, getattr(FULL, name)[[2, 0]])
    assert FULL.take(np.array([True, False, True])).group.tolist() == [4, 9]
    moved = FULL.to(torch.device("meta")).present()
    assert moved.keys() == {one.name for one in fields(Rows)}
    assert {values.device.type for values in moved.values()} == {"meta"}


def test_columns_that_are_absent_stay_so():
    bare = Rows(x=FULL.x, y=FULL.y)
    for same in (bare.take(np.arange(3)), bare.to(torch.device("cpu")), Rows.joined([bare, bare])):
        assert same.present().keys() == {"x", "y"}


def test_rows_are_joined_column_by_column():
    both = Rows.joined([FULL, FULL.take(np.array([1]))])
    for name, values in both.present().items():
        assert torch.equal(values, torch.cat([getattr(FULL, name), getattr(FULL, name)[1:2]]))


@pytest.mark.parametrize("first", [True, False])
def test_rows_without_weights_weigh_one_each_beside_others(first):
    tables = [FULL, replace(FULL, weight=None)]
    weight = Rows.joined(tables if first else tables[::-1]).weight
    assert weight.dtype == torch.float64
    assert weight.tolist() == ([0.5, 1, 1.5, 1, 1, 1] if first else [1, 1, 1, 0.5, 1, 1.5])


@pytest.mark.parametrize("name", ["log_exposure", "group"])
def test_a_column_that_says_something_else_where_it_is_absent_is_not_invented(name):
    with pytest.raises(ValueError, match="column") as error:
        Rows.joined([FULL, replace(FULL, **{name: None})])
    assert str(error.value) == f"either all rows have the column {name!r}, or none; got some of both."


def test_what_tells_rows_apart_and_what_training_sees():
    assert [*FULL.telling_apart()] == ["group", "x", "y", "log_exposure"]
    assert FULL.for_training().present().keys() == {"x", "y", "weight", "log_exposure"}
    assert all(a is b for a, b in zip(FULL.to_hash(), FULL.for_training().to_hash(), strict=True))


def test_the_hash_of_a_run_is_over_the_columns_as_ever():
    """Files of killed runs go on under the same name: their hash is that of these tensors in this order."""
    parts = torch.tensor([[0, 1]]), torch.tensor([[2]])
    data = TrainingData(FULL.for_training(), *parts, parts[0])
    for a, b in zip(data.to_hash(), (FULL.x, FULL.y, FULL.weight, FULL.log_exposure, *parts), strict=True):
        assert a is b
    bare = replace(data, rows=Rows(x=FULL.x, y=FULL.y))
    assert bare.to_hash()[2:4] == (None, None)


def test_a_table_with_columns_of_its_own():
    """Such as one without targets: all that is done to rows is there for it."""

    @dataclass(frozen=True)
    class Places(Columns):
        x: Tensor
        altitude: Tensor | None = field(default=None, metadata={"absent": 0.0})

    low = Places(torch.zeros(2, 1))
    both = Places.joined([low, Places(torch.ones(1, 1), torch.ones(1))])
    assert both.altitude.tolist() == [0, 0, 1]
    assert both.take(np.array([2])).x.tolist() == [[1]]
