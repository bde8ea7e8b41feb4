"""Encoders of sequences: against torch's own layers, and under torch.func."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, stack_module_state, vmap

from probmix.networks import LSTMEncoder, TransformerEncoder

SHAPE = (7, 3)
SMALL = {
    "lstm": lambda **changes: LSTMEncoder(SHAPE, **{"hidden_size": 6, "embedding_size": 5, **changes}),
    "transformer": lambda **changes: TransformerEncoder(SHAPE, **{"hidden_size": 6, "embedding_size": 5, **changes}),
}


@pytest.fixture(autouse=True)
def _seed():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.fixture(params=SMALL)
def encoder(request):
    return SMALL[request.param]()


@pytest.fixture
def x():
    return torch.randn(4, *SHAPE, generator=torch.Generator().manual_seed(1))


# -- both --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("builder", [LSTMEncoder, TransformerEncoder])
def test_the_paper_s_sizes_are_the_defaults(builder):
    encoder = builder((42, 4))
    assert encoder(torch.zeros(2, 42, 4)).shape == (2, 64)
    assert encoder.compress.weight.shape == (64, 42 * 64)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rows_are_embedded_one_by_one_in_the_dtype_of_the_weights(encoder, x, dtype):
    encoder, x = encoder.to(dtype), x.to(dtype)
    embedding = encoder(x)
    assert embedding.shape == (4, 5)
    assert embedding.dtype == dtype
    single = torch.cat([encoder(row[None]) for row in x])
    torch.testing.assert_close(single, embedding)


def test_the_embedding_sees_every_channel_at_every_step(encoder, x):
    x.requires_grad_()
    encoder(x).square().sum().backward()
    assert (x.grad != 0).all()


def test_float64_agrees_with_float32(encoder, x):
    torch.testing.assert_close(encoder(x), copy.deepcopy(encoder).double()(x.double()).float(), atol=1e-5, rtol=1e-5)


def test_training_evaluation_and_no_grad_agree_without_dropout(encoder, x):
    state = torch.get_rng_state()
    training = encoder.train()(x)
    torch.testing.assert_close(encoder.train()(x), training, rtol=0, atol=0)
    evaluated = encoder.eval()(x)
    torch.testing.assert_close(evaluated, training)
    with torch.no_grad():
        torch.testing.assert_close(encoder(x), evaluated)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", SMALL)
def test_weights_follow_the_seed(name):
    def build(seed):
        torch.manual_seed(seed)
        return nn.utils.parameters_to_vector(SMALL[name]().parameters())

    assert torch.equal(build(3), build(3))
    assert not torch.equal(build(3), build(4))


def test_pickle_copy_and_state_dict(encoder, x):
    expected = encoder(x)
    for same in (pickle.loads(pickle.dumps(encoder)), copy.deepcopy(encoder)):
        assert torch.equal(same(x), expected)
    other = copy.deepcopy(encoder)
    for parameter in other.parameters():
        nn.init.normal_(parameter)
    assert not torch.equal(other(x), expected)
    other.load_state_dict(encoder.state_dict())
    assert torch.equal(other(x), expected)


# -- LSTM --------------------------------------------------------------------------------------------------------------


def test_lstm_flattens_the_outputs_of_all_steps(x):
    encoder = SMALL["lstm"]()
    cell = nn.LSTMCell(3, 6)
    cell.load_state_dict({name.removesuffix("_l0"): value for name, value in encoder.lstm.state_dict().items()})
    hidden, state, outputs = torch.zeros(4, 6), torch.zeros(4, 6), []
    for step in range(7):
        hidden, state = cell(x[:, step], (hidden, state))
        outputs.append(hidden)
    torch.testing.assert_close(encoder(x), encoder.compress(torch.cat(outputs, 1)))


def test_lstm_under_vmap_is_what_its_notes_say(x):
    encoder = SMALL["lstm"]()
    parameters = {name: value[None] for name, value in encoder.named_parameters()}
    with pytest.raises(RuntimeError, match=r"Batching rule not implemented for aten::lstm\.input"):
        vmap(lambda parameters: functional_call(encoder, parameters, (x,)))(parameters)


# -- transformer -------------------------------------------------------------------------------------------------------


def test_transformer_is_torch_s_own_after_projection_and_positions(x):
    encoder = TransformerEncoder(SHAPE, hidden_size=8, embedding_size=5, n_heads=4, n_layers=3, feedforward_size=11)
    h = encoder.project(x) + encoder.positions
    for layer in encoder.layers:
        own = nn.TransformerEncoderLayer(8, 4, dim_feedforward=11, dropout=0.0, batch_first=True)
        own.self_attn.in_proj_weight, own.self_attn.in_proj_bias = layer.attend.weight, layer.attend.bias
        own.self_attn.out_proj.load_state_dict(layer.merge.state_dict())
        own.linear1, own.linear2 = layer.perceptron[0], layer.perceptron[2]
        own.norm1, own.norm2 = layer.norm_attention, layer.norm_perceptron
        h = own(h)
    torch.testing.assert_close(encoder(x), encoder.compress(h.flatten(1)))


def test_positions_are_sines_and_cosines():
    positions = TransformerEncoder((50, 3), hidden_size=6).positions.numpy()
    for t in (0, 1, 49):
        for k in range(3):
            angle = t / 10_000 ** (2 * k / 6)
            np.testing.assert_allclose(positions[t, 2 * k : 2 * k + 2], [np.sin(angle), np.cos(angle)], atol=1e-6)


def test_layers_see_the_order_of_steps_by_the_positions_alone(x):
    encoder = SMALL["transformer"]()
    turned = x.flip(1)

    def last_outputs(x):
        return encoder.layers(encoder.project(x) + encoder.positions)

    assert not torch.allclose(last_outputs(turned).flip(1), last_outputs(x), atol=1e-2)
    encoder.positions.zero_()
    torch.testing.assert_close(last_outputs(turned).flip(1), last_outputs(x))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("gradients", [True, False])
def test_transformers_run_as_one_under_vmap(x, training, gradients):
    # a warning that vmap falls back to a loop would be an error here
    members = [SMALL["transformer"]().train(training) for _ in range(3)]
    parameters, buffers = stack_module_state(members)
    with torch.set_grad_enabled(gradients):
        together = vmap(lambda state, extra: functional_call(members[0], (state, extra), (x,)))(parameters, buffers)
        torch.testing.assert_close(together, torch.stack([member(x) for member in members]))


def test_gradients_under_vmap(x):
    members = [SMALL["transformer"]() for _ in range(3)]
    parameters, buffers = stack_module_state(members)

    def loss(state, extra):
        return functional_call(members[0], (state, extra), (x,)).square().sum()

    together = vmap(grad(loss))(parameters, buffers)
    for index, member in enumerate(members):
        member(x).square().sum().backward()
        for name, parameter in member.named_parameters():
            torch.testing.assert_close(together[name][index], parameter.grad)


def test_dropout_acts_in_training_only(x):
    encoder = SMALL["transformer"](dropout=0.5)
    assert not torch.equal(encoder.train()(x), encoder(x))
    assert torch.equal(encoder.eval()(x), encoder(x))


# -- errors ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("shape", [(5,), (5, 0), (2, 3, 4)])
def test_shapes_that_are_no_sequences(name, shape):
    with pytest.raises(ValueError, match="time steps") as caught:
        {"lstm": LSTMEncoder, "transformer": TransformerEncoder}[name](shape)
    assert str(caught.value) == (
        f"`input_shape` must be (T, C), time steps and channels; got {shape}. "
        "Pass X of shape (n, T, C), as from probmix.datasets.windows."
    )


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("lstm", {"hidden_size": 0}, "`hidden_size` must be an integer of at least 1; got 0."),
        ("lstm", {"embedding_size": 2.0}, "`embedding_size` must be an integer of at least 1; got 2.0."),
        ("transformer", {"n_heads": True}, "`n_heads` must be an integer of at least 1; got True."),
        ("transformer", {"n_layers": -1}, "`n_layers` must be an integer of at least 1; got -1."),
        ("transformer", {"feedforward_size": 0}, "`feedforward_size` must be an integer of at least 1; got 0."),
        (
            "transformer",
            {"n_heads": 4},
            "`hidden_size` must be even and a multiple of `n_heads`; got hidden_size=6 and n_heads=4.",
        ),
        ("transformer", {"dropout": 1.0}, "`dropout` must be a number in [0, 1); got 1.0."),
    ],
)
def test_sizes_that_do_not_exist(name, changes, message):
    with pytest.raises(ValueError, match="must be") as caught:
        SMALL[name](**changes)
    assert str(caught.value) == message
