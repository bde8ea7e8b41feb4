"""Keyed random numbers: the right law, independent streams, and nothing that depends on who else is there."""

import numpy as np
import pytest
import torch
from scipy import stats

from probmix.random import KeyedRandom, generator_uniform, member_keys


def splitmix64(state: int, n: int) -> list[int]:
    """The published algorithm in Python's unbounded integers."""
    mask, out = 2**64 - 1, []
    for _ in range(n):
        state = (state + 0x9E3779B97F4A7C15) & mask
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        out.append(z ^ (z >> 31))
    return out


def test_bits_are_those_of_splitmix64():
    keys = member_keys(3, 2)
    bits = KeyedRandom(keys).bits((5,)).numpy().view(np.uint64)
    for key, row in zip(keys.numpy().view(np.uint64), bits, strict=True):
        assert row.tolist() == splitmix64(int(key), 5)


def test_uniform_numbers_are_uniform_open_and_uncorrelated():
    draws = KeyedRandom(member_keys(0, 3)).uniform((100_000,)).double().numpy()
    assert draws.min() > 0
    assert draws.max() < 1
    for row in draws:
        assert stats.kstest(row, "uniform").pvalue > 0.001
        assert abs(np.corrcoef(row[:-1], row[1:])[0, 1]) < 0.015
    assert np.abs(np.corrcoef(draws) - np.eye(3)).max() < 0.015


def test_uniform_and_its_complement_are_exact_in_float32():
    draws = KeyedRandom(member_keys(0, 1)).uniform((10_000,))
    assert torch.equal(1 - (1 - draws), draws)


def test_a_member_sees_the_same_numbers_alone():
    joint, alone = KeyedRandom(member_keys(5, 7)), KeyedRandom(member_keys(5, 7)[4:5])
    for _ in range(2):  # the position moves on in the same way
        assert torch.equal(joint.uniform((3, 2))[4], alone.uniform((3, 2))[0])
    assert torch.equal(joint.stream(9).bits((4,))[4], alone.stream(9).bits((4,))[0])


def test_keys_do_not_depend_on_the_number_of_members_but_on_the_seed():
    assert torch.equal(member_keys(0, 100)[:3], member_keys(0, 3))
    assert len(set(member_keys(0, 100).tolist()) | set(member_keys(1, 100).tolist())) == 200


def test_streams_differ_and_draws_move_on():
    random = KeyedRandom(member_keys(0, 1))
    draws = [random.uniform((50,)), random.uniform((50,)), *(random.stream(i).uniform((50,)) for i in (-2, 0, 1, 2))]
    values = torch.cat(draws, 1)
    assert values.unique().numel() == values.numel()


def test_permutations_are_permutations_and_uniform():
    orders = KeyedRandom(member_keys(0, 6000)).permutations(3)
    assert torch.equal(orders.sort(1).values, torch.arange(3).expand(6000, 3))
    codes = (orders * torch.tensor([9, 3, 1])).sum(1)
    counts = codes.unique(return_counts=True)[1]
    assert len(counts) == 6
    assert stats.chisquare(counts.numpy()).pvalue > 0.001


def test_generator_uniform_follows_the_generator_and_never_returns_zero():
    uniform = generator_uniform(torch.Generator().manual_seed(1), torch.device("cpu"))
    again = generator_uniform(torch.Generator().manual_seed(1), torch.device("cpu"))
    first = uniform((1000, 2))
    assert torch.equal(first, again((1000, 2)))
    assert first.min() > 0


@pytest.mark.cuda
def test_cuda_draws_the_same_numbers():
    keys = member_keys(0, 4)
    assert torch.equal(KeyedRandom(keys.cuda()).uniform((100,)).cpu(), KeyedRandom(keys).uniform((100,)))
