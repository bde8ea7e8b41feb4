"""Inputs are scaled robustly and clipped smoothly; weights are copies."""

import numpy as np
import pytest
import torch

from probmix import DensityRegressor
from probmix.networks.inputs import smooth_clip
from probmix.training.units import robust_units

FAST = {"max_epochs": 5, "random_state": 0}


def table(n=400):
    """A normal column, heavy tails, few values, a rare indicator, a constant, one that is all but constant."""
    rng = np.random.default_rng(0)
    rare, steady = np.zeros(n), np.full(n, 5.0)
    rare[3], steady[7] = 1.0, -112.0
    drawn = [rng.normal(3, 2, n), np.exp(3 * rng.normal(size=n)), rng.integers(0, 3, n)]
    return np.stack([*drawn, rare, np.full(n, 0.1), steady], 1)


def units_of(x, share):
    units = robust_units(torch.from_numpy(x), torch.from_numpy(np.atleast_2d(share / share.sum())))
    return {name: value[0, 0].numpy() for name, value in vars(units).items()}


def equal(n):
    return np.ones(n)


def test_scales_are_those_of_numpys_quantiles():
    x = table()
    units = units_of(x, equal(len(x)))
    levels = [0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99]
    q = np.quantile(x, levels, axis=0, method="averaged_inverted_cdf")
    spread = np.max([q[4] - q[2], (q[5] - q[1]) / 2.4387, (q[6] - q[0]) / 3.4490], axis=0)
    np.testing.assert_allclose(units["loc"], q[3], rtol=1e-15)
    np.testing.assert_allclose(units["scale"][:3], spread[:3], rtol=1e-14)
    np.testing.assert_array_equal(units["scale"][3:], [0.5, 1.0, 58.5])
    np.testing.assert_array_equal(units["low"], x.min(0))
    np.testing.assert_array_equal(units["high"], x.max(0))


def test_the_three_ranges_of_a_normal_column_agree():
    from scipy.stats import norm

    from probmix.training.units import _RANGES

    lengths = [2 * norm.ppf(1 - tail) for tail, _ in _RANGES]
    np.testing.assert_allclose([length / lengths[0] for length in lengths], [one for _, one in _RANGES], rtol=1e-4)


@pytest.mark.parametrize("unit", [1.0, 0.1, 1e-7, 3.0])
def test_weights_are_copies_and_have_no_unit(unit):
    x = table(200)
    copies = np.random.default_rng(1).integers(1, 4, len(x))
    weighted = units_of(x, copies * unit)
    copied = units_of(np.repeat(x, copies, axis=0), equal(copies.sum()))
    for name, value in copied.items():
        np.testing.assert_array_equal(weighted[name], value, err_msg=name)


def test_each_member_has_the_units_of_its_rows():
    x = table(300)
    share = torch.zeros(2, 300, dtype=torch.float64)
    share[0, ::2] = 1 / 150
    share[1, 100:] = 1 / 200
    units = robust_units(torch.from_numpy(x), share)
    for m, rows in enumerate((slice(0, None, 2), slice(100, None))):
        alone = units_of(x[rows], equal(len(x[rows])))
        for name, value in vars(units).items():
            np.testing.assert_array_equal(value[m, 0].numpy(), alone[name], err_msg=name)


def test_turning_a_column_round_turns_what_the_network_sees():
    x = table()
    one, other = (units_of(sign * x, equal(len(x))) for sign in (1, -1))
    np.testing.assert_array_equal(one["loc"], -other["loc"])
    np.testing.assert_array_equal(one["scale"], other["scale"])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_clip_is_smooth_monotone_and_finite(dtype):
    z = torch.cat([torch.linspace(-30, 30, 601), torch.tensor([1e20, 1e38])]).to(dtype)
    limit = torch.tensor(3.0, dtype=dtype)
    clipped = smooth_clip(z, limit)
    exact = z.double() / torch.hypot(torch.ones(()).double(), z.double() / 3)
    torch.testing.assert_close(clipped.double(), exact, rtol=4 * torch.finfo(dtype).eps, atol=0)
    assert bool((clipped.diff() >= 0).all())
    assert bool((clipped.abs() <= 3 * (1 + torch.finfo(dtype).eps)).all())
    assert smooth_clip(torch.tensor([-torch.inf, torch.inf], dtype=dtype), limit).tolist() == pytest.approx([-3, 3])
    ordinary = torch.tensor([-7.0, 1e6], dtype=dtype)
    assert torch.equal(smooth_clip(ordinary, torch.tensor(torch.inf, dtype=dtype)), ordinary)


@pytest.mark.parametrize("own", [False, True])
def test_tables_are_clipped_for_built_in_and_own_networks(own):
    x = table(60)
    network = (lambda shape: torch.nn.Linear(*shape, 4)) if own else None
    model = DensityRegressor(network=network, mixup="erm", **FAST, preset="plain").fit(x, x[:, 0])
    # the constant column is none
    x = np.delete(x, 4, axis=1)
    units = units_of(x, equal(60))
    z = (x - units["loc"]) / units["scale"]
    seen = model.network_.standardize(torch.from_numpy(x))[0].double().numpy()
    np.testing.assert_allclose(seen, z / np.hypot(1, z / 3), rtol=1e-6, atol=1e-7)
    assert np.abs(seen).max() < 3


def test_sequences_are_not_clipped():
    x = np.random.default_rng(0).normal(size=(50, 6, 2))
    x[0, 0] = 400.0
    model = DensityRegressor(network=lambda shape: torch.nn.Flatten(), mixup="erm", **FAST, preset="plain").fit(
        x, x[:, 0, 0]
    )
    assert model.network_.standardize(torch.from_numpy(x)).max() > 10


def test_mixing_at_the_input_mixes_what_the_network_sees():
    x = np.delete(table(40), 4, axis=1)
    network = DensityRegressor(mixup="mixup", **FAST, preset="plain").fit(x, x[:, 0]).network_
    rows, partners = torch.from_numpy(x[:20]).unsqueeze(0), torch.arange(20).flip(0).unsqueeze(0)
    share = torch.rand(1, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    mixed = network.fused(rows, "input", partners, torch.stack([1 - share, share], -1), None)
    z = network.standardize(rows)
    expected = network.trunk(torch.lerp(z, z.flip(1), share.unsqueeze(-1)))
    torch.testing.assert_close(mixed, network.family.constrain(expected))
