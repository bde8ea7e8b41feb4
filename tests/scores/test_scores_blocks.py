"""Blocks of rows: the same scores, gradients and errors as of all rows at once, and a thread for each share."""

import math
import threading
from functools import partial

import pytest
import torch
from score_oracles import DTYPES
from torch.autograd import forward_ad

from probmix import _blocks
from probmix._blocks import in_blocks
from probmix._targets import check_finite
from probmix.distributions import empirical as module
from probmix.scores import crps, crps_samples

ROWS = 1000


@pytest.fixture(params=[1, 3], autouse=True)
def workers(request, monkeypatch):
    """Small blocks, on one thread and on three."""
    monkeypatch.setattr(_blocks, "_ELEMENTS", 64)
    monkeypatch.setattr(torch, "get_num_threads", lambda: request.param)
    return request.param


def columns(*shapes, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for shape in shapes]


def product(x, y):
    return x.square() * y


# -- the blocks --------------------------------------------------------------------------------------------------------


def test_blocks_are_small_and_shared_among_threads(workers):
    sizes, threads = [], set()

    def recorded(x, y):
        sizes.append(len(x))
        threads.add(threading.get_ident())
        assert x.shape == (len(y), 4)
        assert not torch.is_grad_enabled()
        return x.sum(-1) * y

    x, y = columns((ROWS, 4), (ROWS,))
    value = in_blocks(recorded, x, y)
    torch.testing.assert_close(value, x.sum(-1) * y, rtol=0, atol=0)
    # one block is evaluated twice: the first gives the dtype
    assert sum(sizes) == ROWS + 16
    assert max(sizes) == 16
    assert (threading.get_ident() in threads) or workers > 1
    assert workers == 1 or len(threads) > 1


def test_rows_wider_than_a_block_come_one_by_one():
    (x,) = columns((5, 200))
    torch.testing.assert_close(in_blocks(partial(torch.sum, dim=-1), x), x.sum(-1))


@pytest.mark.parametrize("rows", [0, 1, 64, 65])
def test_few_rows(rows):
    x, y = columns((rows,), (rows,))
    torch.testing.assert_close(in_blocks(product, x, y), product(x, y), rtol=0, atol=0)


def test_an_error_in_a_block_is_raised():
    def refuse(x):
        if x[0] > 500:
            raise ValueError("no")
        return x

    with pytest.raises(ValueError, match="no"):
        in_blocks(refuse, torch.arange(1000.0))


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.* is deprecated:DeprecationWarning")
def test_gradients_and_transforms_see_all_rows():
    x, y = columns((ROWS,), (ROWS,))
    slope, ones = 2 * x * y, torch.ones_like(x)
    blocks = partial(in_blocks, product)
    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(blocks(leaf, y).sum(), leaf)
    torch.testing.assert_close(gradient, slope)
    assert not blocks(leaf.detach(), y).requires_grad
    with torch.no_grad():
        assert not blocks(leaf, y).requires_grad
    value, tangent = torch.func.jvp(lambda t: blocks(t, y), (x,), (ones,))
    torch.testing.assert_close((value, tangent), (product(x, y), slope))
    torch.testing.assert_close(torch.func.grad(lambda t: blocks(t, y).sum())(x), slope)
    torch.testing.assert_close(torch.func.vmap(lambda t: blocks(t, y))(x.expand(2, -1)), product(x, y).expand(2, -1))
    with forward_ad.dual_level():
        dual = forward_ad.unpack_dual(blocks(forward_ad.make_dual(x, ones), y))
        torch.testing.assert_close(dual.tangent, slope)


def test_inference_mode():
    with torch.inference_mode():
        x, y = columns((ROWS,), (ROWS,))
        value = in_blocks(product, x, y)
        assert value.is_inference()
    torch.testing.assert_close(in_blocks(product, x, y), value.clone(), rtol=0, atol=0)


# -- the scores that use them ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_crps_of_normals_is_the_same_in_blocks(dtype):
    loc, y = columns((4, 250), (250,), dtype=dtype)
    for scale in (torch.tensor(1.5, dtype=dtype), loc.abs() + 0.1, (loc.abs() + 0.1).T.contiguous().T):
        value = crps(torch.distributions.Normal(loc, scale), y)
        traced = crps(torch.distributions.Normal(loc.clone().requires_grad_(), scale), y)
        assert value.dtype == dtype
        assert traced.requires_grad
        torch.testing.assert_close(value, traced.detach(), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("fair", [True, False])
def test_the_crps_of_draws_is_the_same_in_blocks(dtype, fair, monkeypatch):
    samples, y = columns((10, 60, 7), (60,), dtype=dtype)
    for given in (samples, samples.flip(-1), samples.mT.contiguous().mT):
        value = crps_samples(given, y, fair=fair)
        traced = crps_samples(given.clone().requires_grad_(), y, fair=fair)
        assert value.shape == (10, 60)
        torch.testing.assert_close(value, traced.detach(), rtol=0, atol=0)
    # the given draws stay in their order
    assert not (samples.diff(dim=-1) >= 0).all()
    monkeypatch.setattr(module, "is_plain", lambda *_: False)
    torch.testing.assert_close(crps_samples(samples, y, fair=fair), value, rtol=0, atol=0)


# -- finite values -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64, torch.int64, torch.bool])
def test_finite_values_pass(dtype):
    check_finite("y", torch.tensor([0, 1], dtype=dtype))
    check_finite("y", torch.zeros(0, 3, dtype=dtype))
    if dtype.is_floating_point:
        largest = torch.finfo(dtype).max
        check_finite("y", torch.tensor([-largest, largest], dtype=dtype))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [0, 500, 998])
def test_a_value_that_is_not_finite_is_named(value, place):
    y = torch.zeros(999)
    y[place] = value
    message = rf"^`y` must be finite; got {value:g} at row {place}\. Drop or impute these rows\.$"
    with pytest.raises(ValueError, match=message):
        check_finite("y", y.requires_grad_())


@pytest.mark.cuda
def test_cuda_rows_are_one_block():
    x, y = (t.cuda() for t in columns((ROWS,), (ROWS,)))
    sizes = []
    in_blocks(lambda a, b: (sizes.append(len(a)), product(a, b))[1], x, y)
    assert sizes == [ROWS]
    with pytest.raises(ValueError, match="must be finite"):
        check_finite("y", torch.tensor([0.0, math.nan]).cuda())
