"""What the examples print is true."""

import importlib.util
import re
from pathlib import Path

import numpy as np
import pyro
import pyro.poutine
import pytest
import torch
from scipy import stats
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split

EXAMPLES = Path(__file__).parents[1] / "examples"
ROWS = 7


def example(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def own():
    return example("own_network")


def generator():
    return torch.Generator().manual_seed(3)


def constant_nll(seed):
    """Test NLL of one normal distribution for all rows."""
    y, y_test = train_test_split(load_diabetes().target, random_state=seed)
    return -stats.norm(y.mean(), y.std()).logpdf(y_test).mean()


def test_own_network_prints_its_table(own, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["own_network.py", "--epochs", "4", "--seed", "2"])
    monkeypatch.setattr(own, "SPLITS", 2)
    monkeypatch.setattr(own, "DRAWS", 20)
    pyro.get_param_store().clear()
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    own.main()
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()
    assert not pyro.get_param_store().keys()

    printed = capsys.readouterr().out
    first, last = (
        re.search(rf"^with {way} +(\S+) +(\S+)$", printed, re.M).groups() for way in ("mixup_loss", "fuse.*")
    )
    assert first == last
    lines = re.findall(r"^(?:PyTorch|Pyro)? +([\w-]+)((?: +\d+\.\d{3}){4})$", printed, re.M)
    assert [name for name, _ in lines] == ["erm", "manifold-mixup", "m-probmix", "erm", "manifold-mixup", "probmix"]
    table = np.array([numbers.split() for _, numbers in lines], dtype=float)
    constant = np.mean([constant_nll(2), constant_nll(3)])
    assert (table[:, 0] < constant - 0.1).all()
    assert (table[:, 0] > 5).all()
    # errors of standard deviation s have a mean CRPS of s / sqrt(pi) at best, and here s is 55 or so
    assert ((table[:, 2] > 25) & (table[:, 2] < 45)).all()
    assert (table[:, [1, 3]] > 0).all()


def test_the_loss_by_hand_trains_as_mixup_loss_does(own):
    data, mixup = own.split(0), own.METHODS["m-probmix"]
    fit, by_hand = (own.train(data, mixup, 2, 0, loss) for loss in (own.mixup_loss, own.loss_by_hand))
    assert fit.losses == by_hand.losses
    for one, other in zip(fit.embedding.parameters(), by_hand.embedding.parameters(), strict=True):
        assert torch.equal(one, other)
    with own.seeded(0):
        own.ResidualNetwork(data.x.shape[1])
        fresh = own.GaussianEmbedding(own.WIDTH)
    assert not torch.equal(fit.embedding.output.weight, fresh.output.weight)
    assert len({tuple(own.train(data, one, 1, 0).losses) for one in own.METHODS.values()}) == len(own.METHODS)


def test_m_probmix_predicts_at_draws_from_the_unfused_embedding(own):
    data = own.split(0)
    fit, x = own.train(data, own.METHODS["m-probmix"], 1, 0), data.x_test[:ROWS]
    eta, network, noise = own.predict(fit, x, generator()), fit.network, generator()
    assert eta.shape == (ROWS, own.DRAWS, 2)
    hidden = network.blocks.lower(network.stem(x))
    for draw in range(3):
        z = hidden + torch.randn(hidden.shape, generator=noise) / fit.embedding(hidden, x).sqrt()
        torch.testing.assert_close(eta[:, draw], network.head(network.blocks.upper(z)))
    # the equal mixture of normal distributions, in the units of y
    mean, sd = (-0.5 * eta[..., 0] / eta[..., 1]).double(), (-0.5 / eta[..., 1]).double().sqrt()
    scaled = stats.norm(data.scaler.loc + data.scaler.scale * mean, data.scaler.scale * sd)
    expected = -np.log(scaled.pdf(data.y_test[:ROWS, None].numpy()).mean(1)).mean()
    scores = own.scores(eta, data._replace(y_test=data.y_test[:ROWS]))
    assert scores["NLL"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("place", [None, "blocks.lower", "output"])
def test_rows_meet_in_the_pyro_model(own, place):
    data = own.split(0)
    x, y, partners = data.x[:ROWS], data.y[:ROWS], torch.arange(ROWS).flip(0)
    share = torch.linspace(0.1, 0.9, ROWS)[:, None]
    meeting = None if place is None else (partners, torch.cat([1 - share, share], -1))
    with own.seeded(0), pyro.get_param_store().scope():
        network = own.ResidualNetwork(x.shape[1])
        trace = pyro.poutine.trace(own.BayesianNetwork(network, place)).get_trace(x, y, meeting)
    weight, bias = (trace.nodes[f"network.head.linear.{name}"]["value"] for name in ("weight", "bias"))
    assert float(trace.nodes["network.head.linear.weight"]["fn"].base_dist.variance[0, 0]) == pytest.approx(
        1 / own.WIDTH
    )

    def meet(rows, at):
        return rows if at != place else (1 - share) * rows + share * rows[partners]

    hidden = network.blocks.upper(meet(network.blocks.lower(network.stem(x)), "blocks.lower"))
    eta = meet(own.FAMILY.constrain(hidden @ weight.T + bias), "output")
    labels = y if place is None else meet(y[:, None], place)[:, 0]
    expected = stats.norm(-0.5 * eta[:, 0].detach() / eta[:, 1].detach(), (-0.5 / eta[:, 1].detach()).sqrt())
    trace.compute_log_prob()
    np.testing.assert_allclose(trace.nodes["y"]["log_prob"].detach(), expected.logpdf(labels), rtol=1e-4)
