"""Piecewise-linear embeddings of numbers: the formula, bins of the training rows, members, and what goes wrong."""

import copy
from dataclasses import replace
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call, jacrev, vmap

import probmix
from probmix import DensityRegressor, families, fuse_at
from probmix.networks import MLP, DensityNetwork, Periodic, PiecewiseLinear, ResNet, SharedMLP
from probmix.networks.alone import LoneMember
from probmix.random import KeyedRandom, member_keys

MEMBERS, BINS, WIDTH, COLUMNS = 3, 6, 4, 5


def made(dtype=torch.float64):
    """An embedding with bins of its own in each member, some of them empty, and rows to embed."""
    draw = torch.Generator().manual_seed(0)
    module = PiecewiseLinear(BINS, WIDTH).build(MEMBERS, COLUMNS)
    module.initialize_(KeyedRandom(member_keys(0, MEMBERS)))
    bounds = torch.randn(MEMBERS, BINS + 1, COLUMNS, generator=draw).sort(1).values
    bounds[:, 2:4, 1] = bounds[:, 4:5, 1]  # in the middle
    bounds[:, :3, 2] = bounds[:, 3:4, 2]  # at the lower end
    bounds[:, 4:, 3] = bounds[:, 3:4, 3]  # at the upper end
    bounds[:, :, 4] = 0.5  # a constant column
    module.set_bins_(bounds)
    return module.to(dtype), torch.randn(MEMBERS, 40, COLUMNS, generator=draw).mul(1.5).to(dtype)


def by_hand(module, m, x):
    """Member m of the embedding, number by number in plain Python floats: (N, F) -> (N, F width)."""
    rows = []
    for row in x.tolist():
        outputs = []
        for column, number in enumerate(row):
            bounds = module.bounds[m, :, column].tolist()
            bins = [(t, low, high) for t, (low, high) in enumerate(pairwise(bounds)) if low < high]
            total = module.bias[m, column, 0].tolist()
            for t, low, high in bins:
                share = (number - low) / (high - low)
                share = max(share, -1 if t == bins[0][0] else 0)
                share = min(share, 2 if t == bins[-1][0] else 1)
                total = [s + share * w for s, w in zip(total, module.weight[m, column, t].tolist(), strict=True)]
            outputs += [max(s, 0.0) for s in total]
        rows.append(outputs)
    return torch.tensor(rows, dtype=torch.float64)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_the_formula(dtype, tolerance):
    module, x = made(dtype)
    out = module(x)
    assert out.dtype == dtype
    assert out.shape == (MEMBERS, 40, module.out_features) == (MEMBERS, 40, COLUMNS * WIDTH)
    for m in range(MEMBERS):
        torch.testing.assert_close(out[m].double(), by_hand(module, m, x[m]), rtol=tolerance, atol=tolerance)


def test_an_output_is_linear_between_the_bounds_and_continuous():
    """With the weights as steps, what comes before ReLU is the interpolation of their sums."""
    module, _ = made()
    with torch.no_grad():
        module.bias.fill_(100.0)  # ReLU changes nothing
    for column in (0, 1, 2, 3):
        bounds = module.bounds[0, :, column].numpy()
        x = np.linspace(bounds[0], bounds[-1], 201)
        rows = torch.zeros(MEMBERS, len(x), COLUMNS, dtype=torch.float64)
        rows[0, :, column] = torch.from_numpy(x)
        found = module(rows)[0, :, column * WIDTH : (column + 1) * WIDTH].detach().numpy()
        exists = np.diff(bounds) > 0
        for k in range(WIDTH):
            steps = module.weight[0, column, :, k].detach().numpy()
            knots = 100 + np.concatenate([[0], np.where(exists, steps, 0).cumsum()])
            np.testing.assert_allclose(found[:, k], np.interp(x, bounds, knots), rtol=1e-12)


def test_a_constant_column_says_nothing():
    module, x = made()
    out = module(x)[:, :, -WIDTH:]
    assert torch.equal(out, module.bias[:, -1].relu().expand_as(out))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_bounds_that_nearly_meet_and_rows_far_away(dtype):
    module = PiecewiseLinear(3, 2).build(1, 1).to(dtype)
    nn.init.ones_(module.weight)
    tiny = torch.finfo(dtype).smallest_normal / 4
    module.set_bins_(torch.tensor([0.0, tiny, 1.0, 1.0 + torch.finfo(dtype).eps], dtype=dtype).view(1, 4, 1))
    x = torch.tensor([-1e30, -1.0, 0.0, tiny, 0.5, 1.0, 2.0, 1e30], dtype=dtype).view(1, -1, 1).requires_grad_()
    out = module(x)
    out.sum().backward()
    assert torch.isfinite(x.grad).all()
    # the first bin to -1, which is nothing behind ReLU; the last one to 2
    assert out[0, [0, 1], 0].tolist() == [0.0, 0.0]
    assert out[0, 6:, 0].tolist() == [4.0, 4.0]
    assert 1.5 <= out[0, 4, 0] <= 1.5 + 1e-6


def test_gradients():
    module, x = made()
    leaves = [module.weight, module.bias]
    assert torch.autograd.gradcheck(lambda x, *leaves: module(x), (x[:, :6].requires_grad_(), *leaves))


def test_a_member_alone_is_that_of_the_joint_run():
    module, x = made()
    out = module(x)
    for m in range(MEMBERS):
        alone = copy.deepcopy(module)
        alone.weight, alone.bias = (nn.Parameter(p[m : m + 1]) for p in (module.weight, module.bias))
        alone.bounds = module.bounds[m : m + 1]
        assert torch.equal(alone(x[m : m + 1])[0], out[m])
        lone = PiecewiseLinear(BINS, WIDTH).build(1, COLUMNS)
        lone.initialize_(KeyedRandom(member_keys(0, MEMBERS)[m : m + 1]))
        assert torch.equal(lone.weight[0].double(), module.weight[m])
        assert torch.equal(lone.bias[0].double(), module.bias[m])


def test_the_first_weights():
    module = PiecewiseLinear(40, 50).build(2, 30)
    module.initialize_(KeyedRandom(member_keys(1, 2)))
    bound = 40**-0.5
    for parameter in (module.weight, module.bias):
        assert parameter.abs().max() <= bound
        assert abs(parameter.mean()) < 0.1 * bound
        assert abs(parameter.std() / bound - 3**-0.5) < 0.02
    assert torch.equal(module.bounds[1, :, 7], torch.linspace(-1, 1, 41))


def test_transforms_of_functions_and_half_precision():
    module, x = made()
    state = dict(module.named_parameters()) | dict(module.named_buffers())
    call = partial(functional_call, module, state)
    out = module(x)
    stacked = vmap(lambda shift: call((x + shift,)))(torch.tensor([0.0, 0.25], dtype=torch.float64))
    torch.testing.assert_close(stacked[0], out)
    torch.testing.assert_close(stacked[1], module(x + 0.25))
    # of a row, all its derivatives at once
    slopes = vmap(jacrev(lambda row: call((row.expand(MEMBERS, 1, -1),)).sum((0, 1))))(x[0])
    assert slopes.shape == (40, COLUMNS * WIDTH, COLUMNS)
    of_one = x[0, :1].clone().requires_grad_()
    module(of_one.expand(MEMBERS, 1, -1))[..., 0].sum().backward()
    torch.testing.assert_close(slopes[0, 0], of_one.grad[0])
    module, x = made(torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        half = module(x)
    torch.testing.assert_close(half.float(), module(x), rtol=0.03, atol=0.03)


def test_bins_must_fit():
    module = PiecewiseLinear(3).build(2, 2)
    for wrong in (torch.zeros(2, 3, 2), torch.tensor([1.0, 0.0, 2.0, 3.0]).view(1, 4, 1).repeat(2, 1, 2)):
        with pytest.raises(ValueError, match=r"`quantiles` must be \(2, 4, 2\) and ascending along their second axis"):
            module.set_bins_(wrong)


@pytest.mark.parametrize("name", ["n_bins", "width"])
@pytest.mark.parametrize("wrong", [0, 2.5, True, "3"])
def test_what_the_specification_refuses(name, wrong):
    with pytest.raises((ValueError, TypeError), match=f"`{name}` must be an integer"):
        PiecewiseLinear(**{name: wrong})


def test_a_specification_is_a_value():
    assert PiecewiseLinear() == PiecewiseLinear(n_bins=48, width=16)
    assert hash(PiecewiseLinear(3)) == hash(PiecewiseLinear(3))


def fitted(X, y, **options):
    network = MLP((8,), embedding=PiecewiseLinear(5, 2))
    model = DensityRegressor(network=network, n_members=2, max_epochs=3, random_state=0, **options, preset="plain")
    return model.fit(X, y)


def test_bins_are_quantiles_of_the_members_training_rows():
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=101), rng.integers(0, 2, 101), rng.exponential(size=101) ** 2])
    order = rng.permutation(101)
    splits = [(order[30:], order[:30]), (order[:61], order[61:])]  # no quantile at a tie
    model = fitted(X, X[:, 0], validation=splits)
    (bounds,) = (b for name, b in model.network_.named_buffers() if name.endswith("numbers.bounds"))
    z = model.network_.standardize(torch.from_numpy(X)).double().numpy()
    for m, (rows, _) in enumerate(splits):
        expected = np.quantile(z[m, rows], np.linspace(0, 1, 6), axis=0, method="averaged_inverted_cdf")
        np.testing.assert_allclose(bounds[m], expected, rtol=0, atol=1e-6)


def test_files_keep_bins(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 2))
    model = fitted(X, np.abs(X[:, 0]))
    model.save(tmp_path / "model")
    loaded = probmix.load(tmp_path / "model")
    assert loaded.network == model.network
    assert torch.equal(loaded.predict_natural_params(X), model.predict_natural_params(X))
    again = fitted(X, np.abs(X[:, 0]))
    assert torch.equal(again.predict_natural_params(X), model.predict_natural_params(X))
    weighted = fitted(X, np.abs(X[:, 0])).fit(X, np.abs(X[:, 0]), sample_weight=np.where(X[:, 1] > 0, 1.0, 0.0))
    assert torch.isfinite(weighted.predict_natural_params(X)).all()


@pytest.mark.parametrize(
    "network", [MLP((5,)), ResNet(5, 1), SharedMLP((5,), k=2)], ids=lambda spec: type(spec).__name__
)
@pytest.mark.parametrize("embedding", [PiecewiseLinear(4, 2), Periodic(3, 2), Periodic(3, 2, form="pbld")], ids=str)
def test_one_member_as_a_plain_module_and_rows_that_are_mixed_behind_the_embedding(network, embedding):
    members = DensityNetwork(families.get("gaussian"), 3, replace(network, embedding=embedding), None, 2)
    members.trunk.initialize_(KeyedRandom(member_keys(0, 2)), torch.zeros(2, 1, 2))
    nn.init.normal_(members.trunk.output.weight, generator=torch.Generator().manual_seed(0))
    members.eval()
    x, share = torch.randn(6, 3, generator=torch.Generator().manual_seed(1)), torch.linspace(0.1, 0.6, 6)
    weights = torch.stack([1 - share, share], -1)
    k = members.n_predictions
    eta = members(x)
    mixed = members.fused(x.expand(2, -1, -1), "input_embedding", 2, weights.expand(2 * k, -1, -1), None)
    for number in range(2 * k):
        lone = LoneMember(members, number)
        z = lone.standardize(x)
        torch.testing.assert_close(lone(z), eta[number], rtol=2e-5, atol=2e-5)
        with fuse_at(lone, lone.places["input_embedding"], 2, weights):
            torch.testing.assert_close(lone(z), mixed[number], rtol=2e-5, atol=2e-5)
        # row by row, as theory looks at it
        slopes = vmap(jacrev(lambda row, lone=lone: lone(row.unsqueeze(0)).squeeze(0)))(z)
        leaf = z.clone().requires_grad_()
        lone(leaf)[:, 0].sum().backward()
        torch.testing.assert_close(slopes[:, 0], leaf.grad, rtol=2e-5, atol=1e-3)
