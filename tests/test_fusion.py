"""fuse_at over a zoo of architectures: the activations at the layer really meet, and nothing else is changed."""

from collections import namedtuple
from dataclasses import dataclass

import pytest
import torch
from torch import nn
from torch.nn.functional import relu

from probmix import fuse_at

ROWS, FEATURES = 6, 8
PARTNERS = torch.tensor([3, 3, 0, 5, 1, 2])
SHARE = torch.linspace(0, 1, ROWS)
WEIGHTS = torch.stack([1 - SHARE, SHARE], -1)


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.block, self.last = (nn.Linear(FEATURES, FEATURES) for _ in range(3))

    def forward(self, x):
        hidden = relu(self.first(x))
        return self.last(hidden + self.block(hidden))


class Recurrent(nn.Module):
    def __init__(self, kind, batch_first):
        super().__init__()
        self.batch_first = batch_first
        self.rnn = kind(FEATURES, 5, batch_first=batch_first)
        self.last = nn.Linear(5, 2)

    def forward(self, x):  # (B, T, F)
        output = self.rnn(x if self.batch_first else x.transpose(0, 1))[0]
        return self.last(output[:, -1] if self.batch_first else output[-1])


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(FEATURES, 2, batch_first=True)
        self.last = nn.Linear(FEATURES, 2)

    def forward(self, x):
        return self.last(self.attention(x, x, x)[0].mean(1))


class Dictionary(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleDict({"one": nn.Linear(FEATURES, 4), "two": nn.Linear(4, 2)})

    def forward(self, x):
        return self.layers["two"](relu(self.layers["one"](x)))


@dataclass
class Output:
    hidden: torch.Tensor
    extra: int


Named = namedtuple("Named", ["extra", "hidden"])


class Structured(nn.Module):
    """A layer that wraps its output."""

    def __init__(self, kind):
        super().__init__()
        self.inner, self.last, self.kind = Wrapping(kind), nn.Linear(4, 2), kind

    def forward(self, x):
        out = self.inner(x)
        return self.last(out["hidden"] if self.kind is dict else out.hidden)


class Wrapping(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.linear, self.kind = nn.Linear(FEATURES, 4), kind

    def forward(self, x):
        return self.kind(hidden=self.linear(x), extra=1)


class Tied(nn.Module):
    """One layer under two names, run twice."""

    def __init__(self):
        super().__init__()
        self.first = self.second = nn.Linear(FEATURES, FEATURES)

    def forward(self, x):
        return self.second(relu(self.first(x)))


def seeded(build):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build()


def sequential(*layers):
    return lambda: nn.Sequential(*(layer() for layer in layers))


VECTOR, WINDOW = (ROWS, FEATURES), (ROWS, 7, FEATURES)
# builder, shape of the input, layer, options
ZOO = {
    "MLP": (sequential(lambda: nn.Linear(FEATURES, 5), nn.ReLU, lambda: nn.Linear(5, 2)), VECTOR, "1", {}),
    "residual block": (Residual, VECTOR, "block", {}),
    "Conv1d with BatchNorm": (
        sequential(
            lambda: nn.Conv1d(7, 4, 3), lambda: nn.BatchNorm1d(4), nn.ReLU, nn.Flatten, lambda: nn.Linear(24, 2)
        ), WINDOW, "1", {},
    ),
    "Conv2d with BatchNorm": (
        sequential(
            lambda: nn.Conv2d(3, 4, 3), lambda: nn.BatchNorm2d(4), nn.ReLU, nn.Flatten, lambda: nn.Linear(64, 2)
        ), (ROWS, 3, 6, 6), "0", {},
    ),
    "LSTM": (lambda: Recurrent(nn.LSTM, True), WINDOW, "rnn", {"element": 0}),
    "LSTM, sequence first": (lambda: Recurrent(nn.LSTM, False), WINDOW, "rnn", {"element": 0, "batch_dim": 1}),
    "GRU": (lambda: Recurrent(nn.GRU, True), WINDOW, "rnn", {"element": 0}),
    "transformer encoder": (
        lambda: nn.TransformerEncoder(
            nn.TransformerEncoderLayer(FEATURES, 2, 16, dropout=0.0, batch_first=True), 2, enable_nested_tensor=False
        ), WINDOW, "layers.0", {},
    ),
    "attention": (Attention, WINDOW, "attention", {"element": 0}),
    "ModuleDict": (Dictionary, VECTOR, "layers.one", {}),
    "dict output": (lambda: Structured(dict), VECTOR, "inner", {"element": "hidden"}),
    "dataclass output": (lambda: Structured(Output), VECTOR, "inner", {"element": "hidden"}),
    "named tuple output": (lambda: Structured(Named), VECTOR, "inner", {"element": 1}),
    "tied, first call": (Tied, VECTOR, "first", {"call": 0}),
    "tied, second call": (Tied, VECTOR, "second", {"call": 1}),
    "input": (Residual, VECTOR, "input", {}),
    "output": (Residual, VECTOR, "output", {}),
}  # fmt: skip


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
def test_rows_meet_at_the_layer_and_everything_else_stays(case, training):
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


def test_a_compiled_module_meets_at_its_ends_only(monkeypatch):
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
    message = r"^the layer '_orig_mod\.block' is inside a compiled module, whose graph knows no new hooks\. Meet at"
    for layer in ("_orig_mod.block", module.block):
        with pytest.raises(ValueError, match=message), fuse_at(compiled, layer, PARTNERS, WEIGHTS):
            pass


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


def test_a_layer_must_run_once_or_say_which_call_meets():
    with pytest.raises(RuntimeError, match=r"^the layer 'first' runs more than once in a forward pass; say which"):
        run("first", seeded(Tied))
    message = r"^nothing met: the layer 'first' runs 2 time\(s\), and call=2 is asked for in the forward pass\.$"
    with pytest.raises(RuntimeError, match=message):
        run("first", seeded(Tied), call=2)
    unused = seeded(Residual)
    unused.spare = nn.Linear(1, 1)
    with pytest.raises(RuntimeError, match=r"^nothing met: the layer 'spare' does not run in the forward pass\.$"):
        run("spare", unused)


def test_an_output_that_is_no_tensor_must_say_which_element_meets():
    recurrent, windows = seeded(ZOO["LSTM"][0]), inputs(WINDOW)
    with pytest.raises(TypeError, match=r"^the layer 'rnn' gives a tuple of 2 \(Tensor, tuple\), not a tensor\."):
        run("rnn", recurrent, windows)
    with pytest.raises(TypeError, match=r"^`element` 2 is not in what the layer gives, a tuple of 2 \(Tensor, tuple\)"):
        run("rnn", recurrent, windows, element=2)
    with pytest.raises(TypeError, match=r"^the layer 'inner' gives a dict with the keys 'hidden', 'extra', not a"):
        run("inner", seeded(ZOO["dict output"][0]))
    with pytest.raises(ValueError, match=r"^the layer 'rnn' gives 6 rows along dim 0, fewer than the 8 that meet\."):
        run("rnn", recurrent, windows, torch.zeros(8, dtype=torch.int64), element=0)
