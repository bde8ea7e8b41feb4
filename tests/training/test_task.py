"""What members are trained for, and what `fit` was given."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from training_cases import MEMBERS, make_data, task_of

from probmix.estimators.given import Given
from probmix.training.data import target_scaler


@pytest.mark.parametrize("numbers", [[2], [3, 0], [1, 2, 3]])
def test_some_members_have_their_scaling_of_the_whole_bit_for_bit(numbers):
    task = task_of(make_data(sample_weight=True), "probmix")
    whole, part = target_scaler(task.objective.family, task.data), task.members(torch.tensor(numbers))
    for one in (part, part.members(torch.arange(len(numbers)))):
        assert torch.equal(one.scaler.loc, whole.loc[numbers])
        assert torch.equal(one.scaler.scale, whole.scale[numbers])
        assert torch.equal(one.keys, task.keys[numbers])
        assert torch.equal(one.data.train_rows, task.data.train_rows[numbers])
    assert part.mixup is task.mixup
    assert part.objective is task.objective


def test_a_task_of_other_data_has_a_scaling_of_its_own():
    task = task_of(make_data())
    other = dataclasses.replace(task, data=dataclasses.replace(task.data, rows=task.data.rows))
    assert other.scaler is not task.scaler
    doubled = dataclasses.replace(task.data.rows, y=2 * task.data.rows.y)
    other = dataclasses.replace(task, data=dataclasses.replace(task.data, rows=doubled))
    torch.testing.assert_close(other.scaler.scale, 2 * task.scaler.scale)


def test_a_task_moves_with_all_its_tensors():
    moved = task_of(make_data(sample_weight=True)).to(torch.device("meta"))
    tensors = [*moved.data.rows.present().values(), moved.keys]
    tensors += [moved.data.train_rows, moved.data.validation_rows, moved.data.unit_rows]
    assert {tensor.device.type for tensor in tensors} == {"meta"}
    assert moved.data.device.type == "meta"
    assert len(moved.keys) == MEMBERS


def test_some_rows_of_what_was_given():
    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0]}, index=[7, 8, 9])
    given = Given(frame, [4.0, 5.0, 6.0], groups=np.array(["u", "v", "w"])).indexable().take(np.array([2, 0]))
    assert given.X["a"].tolist() == [3, 1]
    assert given.y == [6, 4]
    assert given.groups.tolist() == ["w", "u"]
    assert given.exposure is None
    assert given.sample_weight is None


def test_columns_of_different_lengths_are_not_indexable():
    with pytest.raises(ValueError, match=r"inconsistent numbers of samples: \[3, 2\]"):
        Given(np.zeros((3, 1)), np.zeros(2)).indexable()
