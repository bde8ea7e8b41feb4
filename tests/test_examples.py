"""What the examples print is true."""

import importlib.util
import re
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import matplotlib.image
import numpy as np
import pandas as pd
import pyro
import pyro.poutine
import pytest
import scoringrules
import torch
from scipy import stats
from sklearn.datasets import load_diabetes
from sklearn.linear_model import BayesianRidge
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
def test_rows_are_mixed_in_the_pyro_model(own, place):
    data = own.split(0)
    x, y, partners = data.x[:ROWS], data.y[:ROWS], torch.arange(ROWS).flip(0)
    share = torch.linspace(0.1, 0.9, ROWS)[:, None]
    groups = None if place is None else (partners, torch.cat([1 - share, share], -1))
    with own.seeded(0), pyro.get_param_store().scope():
        network = own.ResidualNetwork(x.shape[1])
        trace = pyro.poutine.trace(own.BayesianNetwork(network, place)).get_trace(x, y, groups)
    weight, bias = (trace.nodes[f"network.head.linear.{name}"]["value"] for name in ("weight", "bias"))
    assert float(trace.nodes["network.head.linear.weight"]["fn"].base_dist.variance[0, 0]) == pytest.approx(
        1 / own.WIDTH
    )

    def mix(rows, at):
        return rows if at != place else (1 - share) * rows + share * rows[partners]

    hidden = network.blocks.upper(mix(network.blocks.lower(network.stem(x)), "blocks.lower"))
    eta = mix(own.FAMILY.constrain(hidden @ weight.T + bias), "output")
    labels = y if place is None else mix(y[:, None], place)[:, 0]
    expected = stats.norm(-0.5 * eta[:, 0].detach() / eta[:, 1].detach(), (-0.5 / eta[:, 1].detach()).sqrt())
    trace.compute_log_prob()
    np.testing.assert_allclose(trace.nodes["y"]["log_prob"].detach(), expected.logpdf(labels), rtol=1e-4)


PICTURES = ("bands", "coverage", "fusion", "pit", "reliability", "scores")


@pytest.fixture(scope="module")
def evaluation():
    return example("evaluation")


@pytest.fixture(scope="module")
def evaluated(evaluation, tmp_path_factory):
    """Tables, what was printed, and the folder of pictures, after few epochs."""
    out, printed = tmp_path_factory.mktemp("out") / "new", StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed):
        patch.delenv("PROBMIX_DATA", raising=False)
        # it takes seconds to import, and may not be there
        patch.setattr(evaluation, "find_spec", lambda name: None)
        tables = evaluation.main(["--out", str(out), "--epochs", "8", "--seed", "1"])
    return tables, printed.getvalue(), out


@pytest.fixture(scope="module")
def ridge():
    """What scikit-learn itself predicts for the test rows of the evaluation, as location, scale, and the targets."""
    X, X_test, y, y_test = train_test_split(*load_diabetes(return_X_y=True), test_size=0.5, random_state=1)
    return *BayesianRidge().fit(X, y).predict(X_test, return_std=True), y_test


def test_the_evaluation_prints_its_tables_and_draws_six_pictures(evaluated):
    tables, printed, out = evaluated
    assert re.findall(r"^wrote (.*)$", printed, re.M) == [str(out / f"evaluation_{name}.png") for name in PICTURES]
    for name in PICTURES:
        picture = matplotlib.image.imread(out / f"evaluation_{name}.png")
        assert picture[..., :3].min() < 0.1
        assert picture[..., :3].mean() < 0.99
    assert "simulated claims: 2000 test rows" in printed
    for name in ("positive", "counts", "classes"):
        for mean in tables[name]["mean"]:
            assert f" {mean:.3f}" in printed or f" {mean:.4f}" in printed
        p = tables[name]["p"].dropna()
        assert p.between(0, 1).all()
        assert len(p) > 3


def test_the_evaluation_scores_another_librarys_model(evaluated, ridge):
    tables, (loc, scale, y) = evaluated[0], ridge
    scores = tables["positive"].xs("BayesianRidge", level="model")["mean"]
    assert scores["nll"] == pytest.approx(-stats.norm(loc, scale).logpdf(y).mean())
    assert scores["crps"] == pytest.approx(scoringrules.crps_normal(y, loc, scale).mean())
    above = np.linspace(200, 1000, 20001)
    squares = (stats.norm.cdf(above, loc[:, None], scale[:, None]) - (above >= y[:, None])) ** 2
    assert scores["crps above 200"] == pytest.approx(np.trapezoid(squares, above).mean(), rel=1e-3)
    low, high = stats.norm(loc, scale).interval(0.9)
    interval = tables["intervals"].loc["BayesianRidge"]
    assert interval["coverage"] == pytest.approx(scores["coverage90"]) == np.mean((low <= y) & (y <= high))
    outside = 20 * (np.maximum(low - y, 0) + np.maximum(y - high, 0))
    assert interval["interval score"] == pytest.approx(np.mean(high - low + outside))


def test_the_evaluation_takes_scores_apart(evaluated):
    tables = evaluated[0]
    for name, of, score in (("positive parts", "positive", "crps"), ("class parts", "classes", "brier")):
        parts = tables[name]
        np.testing.assert_allclose(parts["score"], tables[of].loc[score, "mean"])
        total = parts["miscalibration"] - parts["discrimination"] + parts["uncertainty"]
        np.testing.assert_allclose(total, parts["score"])
        assert parts["uncertainty"].nunique() == 1
    # a map of the PIT keeps the order of the rows, and takes away most of the miscalibration of a family that is wrong
    wrong, mended = (tables["positive parts"].loc[name] for name in ("exponential", "exponential, recalibrated"))
    assert mended["discrimination"] == pytest.approx(wrong["discrimination"], rel=1e-6)
    assert mended["miscalibration"] < 0.7 * wrong["miscalibration"]
    intervals = tables["intervals"]
    assert intervals["mean width"]["exponential, conformal"] < 0.9 * intervals["mean width"]["exponential"]
    assert intervals["coverage"]["exponential, conformal"] > 0.8


def test_the_evaluation_tells_predictions_the_exposure(evaluation, tmp_path):
    rng = np.random.default_rng(0)
    exposure = np.linspace(0.1, 1, 300)
    x = rng.uniform(-1, 1, 300)
    table = pd.DataFrame({"Exposure": exposure, "x": x, "ClaimNb": rng.poisson(5 * exposure)})
    (tmp_path / "count").mkdir()
    table.to_csv(tmp_path / f"{evaluation.COUNTS}.csv", index=False)
    study = evaluation.claims(tmp_path, 2, 0)
    assert study.name == evaluation.COUNTS
    assert list(study.X.columns) == ["x"]
    own = table.set_index("x")["Exposure"][study.X["x"]].to_numpy()
    np.testing.assert_array_equal(table.set_index("x")["ClaimNb"][study.X["x"]], study.y)
    for name in ("poisson", "negative-binomial", "PoissonRegressor"):
        rate = study.models[name].predict(study.X)
        np.testing.assert_allclose(study.predictions[name].mean, own * rate, rtol=1e-12)
    blind = study.predictions["poisson, no exposure"]
    np.testing.assert_allclose(blind.mean, study.models["poisson, no exposure"].predict(study.X))
