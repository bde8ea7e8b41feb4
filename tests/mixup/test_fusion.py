"""fuse_at over a zoo of architectures: the activations at the layer really are mixed, and nothing else is changed."""

import pytest
import torch
from fusion_zoo import ROWS, VECTOR, WINDOW, ZOO, Output, Residual, Tied, seeded
from torch import nn
from torch.utils.checkpoint import checkpoint

from probmix import fuse_at

PARTNERS = torch.tensor([3, 3, 0, 5, 1, 2])
SHARE = torch.linspace(0, 1, ROWS)
WEIGHTS = torch.stack([1 - SHARE, SHARE], -1)


def inputs(shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def element_of(output, element):
    if element is None:
        return output
    return getattr(output, element) if isinstance(output, Output) else output[element]


def hooks(module):
    return sum(len(one._forward_hooks) + len(one._forward_pre_hooks) for one in module.modules())


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("case", ZOO)
def test_rows_are_mixed_at_the_layer_and_everything_else_stays(case, training):
    build, shape, layer, options = ZOO[case]
    module, x = seeded(build).train(training), inputs(shape)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    plain = module(x)
    module.load_state_dict(before)  # batch statistics moved
    target = module if layer in ("input", "output") else module.get_submodule(layer)
    plain_calls, fused_calls = [], []

    def record(calls):
        def hook(_, arguments, output):
            calls.append(arguments[0] if layer == "input" else element_of(output, options.get("element")))

        return hook

    handle = target.register_forward_hook(record(plain_calls))
    module(x)
    handle.remove()
    module.load_state_dict(before)
    keys, number = list(module.state_dict()), hooks(module)
    with fuse_at(module, layer, PARTNERS, WEIGHTS, **options):
        handle = target.register_forward_hook(record(fused_calls))
        fused = module(x)
        handle.remove()
    axis, call = options.get("batch_dim", 0), options.get("call", 0)
    activation = plain_calls[call].movedim(axis, 0)
    share = SHARE.reshape(-1, *[1] * (activation.ndim - 1))
    expected = ((1 - share) * activation + share * activation[PARTNERS]).movedim(0, axis)
    torch.testing.assert_close(fused_calls[call], expected)
    assert len(fused_calls) == len(plain_calls)
    assert not torch.allclose(fused, plain)
    assert (list(module.state_dict()), hooks(module), module.training) == (keys, number, training)
    module.load_state_dict(before)
    assert torch.equal(module(x), plain)


@pytest.mark.parametrize("case", [case for case in ZOO if case != "input"])
def test_rows_are_mixed_as_densities_at_the_layer_and_everything_else_stays(case):
    """Of equal variances the means are those of points; a draw adds the noise of the pooled precision."""
    build, shape, layer, options = ZOO[case]
    module, x = seeded(build).eval(), inputs(shape)
    before, number, plain = (
        {name: value.clone() for name, value in module.state_dict().items()},
        hooks(module),
        module(x),
    )
    target = module if layer == "output" else module.get_submodule(layer)
    given, outputs = [], []

    def precise(mean, first_argument):
        given.append(first_argument)
        return torch.full_like(mean, 4.0)

    for arguments in ({}, {"embedding": precise}, {"embedding": precise, "noise": torch.ones}):
        with fuse_at(module, layer, PARTNERS, WEIGHTS, **arguments, **options):
            calls = []
            handle = target.register_forward_hook(
                lambda _, __, output, calls=calls: calls.append(element_of(output, options.get("element")))
            )
            module(x)
            handle.remove()
        outputs.append(calls[options.get("call", 0)])
    points, means, drawn = outputs
    torch.testing.assert_close(means, points)
    torch.testing.assert_close(drawn, points + 0.5)
    assert all(one is x for one in given)
    assert hooks(module) == number
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name])
    assert torch.equal(module(x), plain)


def test_partners_from_outside_the_batch_fold_at_the_layer():
    module, x = seeded(Residual), inputs(VECTOR)
    # a skip connection past the layer still has all rows
    with pytest.raises(RuntimeError, match="size of tensor"), fuse_at(module, "block", torch.arange(3, 6), WEIGHTS[:3]):
        module(x)
    sequential_module = seeded(ZOO["MLP"][0])
    with fuse_at(sequential_module, "1", torch.arange(3, 6), WEIGHTS[:3]):
        fused = sequential_module(x)
    hidden = sequential_module[:2](x)
    torch.testing.assert_close(fused, sequential_module[2](torch.lerp(hidden[:3], hidden[3:], SHARE[:3, None])))


def test_a_number_of_places_is_a_partner_so_far_on():
    module, x = seeded(Residual), inputs(VECTOR)
    results = []
    for partners in (2, torch.tensor([2, 3, 4, 5, 0, 1])):
        with fuse_at(module, "block", partners, WEIGHTS):
            results.append(module(x))
    assert torch.equal(*results)


def test_hooks_go_also_after_an_exception():
    module = seeded(Residual)
    with pytest.raises(ZeroDivisionError), fuse_at(module, "block", PARTNERS, WEIGHTS):
        raise ZeroDivisionError
    assert hooks(module) == 0
    with pytest.raises(RuntimeError), fuse_at(module, "block", PARTNERS, WEIGHTS):
        module(torch.zeros(2, 3))
    assert hooks(module) == 0


def test_the_submodule_itself_is_a_layer():
    module, x = seeded(Residual), inputs(VECTOR)
    results = []
    for layer in ("block", module.block):
        with fuse_at(module, layer, PARTNERS, WEIGHTS):
            results.append(module(x))
    assert torch.equal(*results)


@pytest.mark.parametrize(
    ("case", "place"), [("LSTM", "rnn[0]"), ("dict output", "inner[hidden]"), ("named tuple output", "inner[-1]")]
)
def test_a_place_may_carry_the_element(case, place):
    build, shape, layer, options = ZOO[case]
    module, x, results = seeded(build), inputs(shape), []
    for name, arguments in ((place, {}), (layer, options)):
        with fuse_at(module, name, PARTNERS, WEIGHTS, **arguments):
            results.append(module(x))
    assert torch.equal(*results)
    with pytest.raises(ValueError, match=r"^unknown layer 'inn'"), fuse_at(module, "inn[0]", PARTNERS, WEIGHTS):
        pass


def test_gradients_flow_to_both_rows():
    module, x = seeded(Residual), inputs(VECTOR).requires_grad_()
    with fuse_at(module, "block", PARTNERS, WEIGHTS):
        (gradient,) = torch.autograd.grad(module(x)[1].sum(), x)
    assert gradient[[1, 3]].abs().sum(1).min() > 0
    assert gradient[[0, 2, 4, 5]].abs().max() == 0


def test_several_passes_in_one_context():
    module, x = seeded(Residual), inputs(VECTOR)
    with fuse_at(module, "block", PARTNERS, WEIGHTS):
        assert torch.equal(module(x), module(x))


def test_a_compiled_module_mixes_at_its_ends_only(monkeypatch):
    # torch.compile switches the validation of distributions off; put it back afterwards
    validation = torch.distributions.Distribution._validate_args
    monkeypatch.setattr(torch.distributions.Distribution, "_validate_args", validation)
    module, x = seeded(Residual), inputs(VECTOR)
    compiled = torch.compile(module, backend="eager")
    for layer in ("input", "output"):
        with fuse_at(compiled, layer, PARTNERS, WEIGHTS):
            fused = compiled(x)
        with fuse_at(module, layer, PARTNERS, WEIGHTS):
            torch.testing.assert_close(fused, module(x))
    message = r"^the layer '_orig_mod\.block' is inside a compiled module, whose graph knows no new hooks\. Mix at"
    for layer in ("_orig_mod.block", module.block):
        with pytest.raises(ValueError, match=message), fuse_at(compiled, layer, PARTNERS, WEIGHTS):
            pass
    # it answers to the names of the original as well, and mixes there only if it was not called before
    inside = nn.Sequential(compiled)
    for layer, outer in (("block", compiled), ("0.block", inside), ("0._orig_mod.block", inside)):
        with pytest.raises(ValueError, match="is inside a compiled module"), fuse_at(outer, layer, PARTNERS, WEIGHTS):
            pass
    with fuse_at(inside, "0", PARTNERS, WEIGHTS):
        torch.testing.assert_close(inside(x), fused)


class Checkpointed(nn.Module):
    def __init__(self, use_reentrant):
        super().__init__()
        self.stem, self.use_reentrant = nn.Linear(VECTOR[1], 4), use_reentrant
        self.block = nn.Sequential(nn.Linear(4, 4), nn.Tanh())

    def forward(self, x):
        return checkpoint(self.block, self.stem(x), use_reentrant=self.use_reentrant)


@pytest.mark.parametrize("use_reentrant", [True, False])
def test_a_layer_inside_an_activation_checkpoint_is_refused(use_reentrant):
    """Its second run, in the backward pass, would be without the mixing, and gradients would be others."""
    module, x = Checkpointed(use_reentrant), inputs(VECTOR)
    for layer in ("block", "block.0"):
        with (
            pytest.raises(RuntimeError, match=rf"^the layer '{layer}' runs inside an activation checkpoint"),
            fuse_at(module, layer, PARTNERS, WEIGHTS),
        ):
            module(x)
    for layer in ("input", "stem", "output"):
        with fuse_at(module, layer, PARTNERS, WEIGHTS):
            module(x).sum().backward()
        found = module.stem.weight.grad.clone()
        module.zero_grad()
        plain = Checkpointed(use_reentrant)
        plain.load_state_dict(module.state_dict())
        plain.forward = lambda x, plain=plain: plain.block(plain.stem(x))
        with fuse_at(plain, layer, PARTNERS, WEIGHTS):
            plain(x).sum().backward()
        torch.testing.assert_close(found, plain.stem.weight.grad)
    # a checkpoint of all of it runs all of it again

    def whole(x):
        with fuse_at(plain, "block", PARTNERS, WEIGHTS):
            return plain(x)

    x.requires_grad_()
    assert torch.equal(checkpoint(whole, x, use_reentrant=use_reentrant), whole(x))


def test_rows_of_whole_numbers_have_no_means():
    module, x = nn.Sequential(nn.Embedding(5, 3)), torch.arange(ROWS) % 5
    with pytest.raises(
        TypeError, match=r"^rows of whole numbers, torch\.int64, .* Mix at 'output', or at a layer behind"
    ):
        run("input", module, x)
    run("0", module, x)


def run(layer, net=None, data=None, partners=PARTNERS, **options):
    net = seeded(Residual) if net is None else net
    with fuse_at(net, layer, partners, torch.full((len(partners), 2), 0.5), **options):
        net(inputs(VECTOR) if data is None else data)


def test_unknown_layers_are_answered_with_near_misses():
    with pytest.raises(ValueError, match=r"^unknown layer 'blok'; did you mean 'block'\?$"):
        run("blok")
    message = r"^unknown layer 'head'; known are 'block', 'first', 'input', 'last', 'output'\.$"
    with pytest.raises(ValueError, match=message):
        run("head")
    with pytest.raises(ValueError, match=r"^`layer` must be a submodule of `module` itself, not a copy; got a Linear"):
        run(nn.Linear(2, 2))


def test_a_layer_must_run_once_or_say_which_call_is_mixed():
    with pytest.raises(RuntimeError, match=r"^the layer 'first' runs more than once in a forward pass; say which"):
        run("first", seeded(Tied))
    message = r"^nothing was mixed: the layer 'first' runs 2 time\(s\), and call=2 is asked for in the forward pass\.$"
    with pytest.raises(RuntimeError, match=message):
        run("first", seeded(Tied), call=2)
    unused = seeded(Residual)
    unused.spare = nn.Linear(1, 1)
    with pytest.raises(
        RuntimeError, match=r"^nothing was mixed: the layer 'spare' does not run in the forward pass\.$"
    ):
        run("spare", unused)


def test_an_output_that_is_no_tensor_must_say_which_element_is_mixed():
    recurrent, windows = seeded(ZOO["LSTM"][0]), inputs(WINDOW)
    with pytest.raises(TypeError, match=r"^the layer 'rnn' gives a tuple of 2 \(Tensor, tuple\), not a tensor\."):
        run("rnn", recurrent, windows)
    with pytest.raises(TypeError, match=r"^`element` 2 is not in what the layer gives, a tuple of 2 \(Tensor, tuple\)"):
        run("rnn", recurrent, windows, element=2)
    with pytest.raises(TypeError, match=r"^the layer 'inner' gives a dict with the keys 'hidden', 'extra', not a"):
        run("inner", seeded(ZOO["dict output"][0]))
    with pytest.raises(
        ValueError, match=r"^the layer 'rnn' gives 6 rows along dim 0, fewer than the 8 that are mixed\."
    ):
        run("rnn", recurrent, windows, torch.zeros(8, dtype=torch.int64), element=0)
