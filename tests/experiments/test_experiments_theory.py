"""The theory of mixup in numbers: short forms of the parts against what they are to show, and the experiment of all."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from probmix import families, scores, theory
from probmix.experiments import TheoryExperiment, reproduce
from probmix.experiments.theory import (
    AlternatingLine,
    Crossover,
    Expansions,
    LinearLayers,
    RareFeatures,
    Strengths,
    alternating_line,
    crossover,
    expansions,
    perceptron,
    rare_features,
    strengths,
)
from probmix.mixup import BetaWeights
from probmix.random import generator_uniform


def means(part, n_seeds=1, **keys):
    """Mean scores over seeds by case and method."""
    units = [unit for unit in part.units(n_seeds) if all(unit[key] == value for key, value in keys.items())]
    lines = [{**unit, **part.work([unit])[0].scores} for unit in units]
    return pd.DataFrame(lines).drop(columns="seed").groupby(["case", "method"]).mean()


# -- rare features -----------------------------------------------------------------------------------------------------


def test_patches_have_the_features_of_their_classes():
    generator = torch.Generator().manual_seed(0)
    x, y = rare_features.patches(500, 200, 0.1, generator)
    assert x.shape == (500, 3, 200)
    rows = torch.arange(500)
    common, rare = x[rows, 0, y] == 1, x[rows, 0, y + 2] == 1
    assert (common ^ rare).all()
    assert rare.sum() == 50
    assert (x[:, 0].sum(1) == 1).all()
    assert ((x[:, 1, :2] == 0.3).sum(1) == 1).all()
    assert (x[:, 1].count_nonzero(dim=1) == 1).all()
    # half of the clutter is of the other class
    assert (x[rows, 1, y] > 0).double().mean().item() == pytest.approx(0.5, abs=0.07)
    assert (x[:, 2, :4] == 0).all()
    assert x[:, 2, 4:].std().item() == pytest.approx(0.15, rel=0.02)


def test_the_logits_are_sums_of_squares_over_patches_and_filters():
    generator = torch.Generator().manual_seed(0)
    network, x = rare_features.PatchNetwork(7, generator), torch.randn(5, 3, 7, generator=generator)
    filters = network.filters.detach().numpy().reshape(7, 2, 10)
    expected = (np.einsum("npd,dkr->npkr", x.numpy(), filters) ** 2).sum((1, 3))
    np.testing.assert_allclose(network(x).detach().numpy(), expected, rtol=1e-5)


def test_rare_features_are_learned_only_if_labels_are_mixed():
    methods = ("erm", "mixup", "inputs only")
    short = RareFeatures(n=100, num_inputs=400, steps=900, methods=methods)
    found = means(short).droplevel("case")
    assert (found["common"] == 1).all()
    assert found["rare"]["erm"] == pytest.approx(0.49, abs=0.06)
    assert found["rare"]["inputs only"] == pytest.approx(0.49, abs=0.06)
    assert found["rare"]["mixup"] > 0.8


# -- alternating line --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("alpha", "share"), [(1.0, 0.17), (32.0, 0.60), (128.0, 0.65)])
def test_labels_near_the_middle_of_the_line(alpha, share):
    """The shares of the theory, and by simulation."""
    found = alternating_line.share_near(alpha, 1.0, 0.14)
    assert found == pytest.approx(share, abs=0.015)
    random = np.random.default_rng(0)
    first, second = random.integers(3, size=(2, 400_000))
    weights = random.beta(alpha, alpha, 400_000)
    label = weights * (first != 1) + (1 - weights) * (second != 1)
    near = abs(weights * first + (1 - weights) * second - 1) <= 0.14
    assert found == pytest.approx(label[near].mean(), abs=0.005)


def test_a_network_cannot_fit_the_middle_of_the_line_under_midpoint_like_mixup():
    found = means(AlternatingLine(), method="network").droplevel("method")["middle"]
    assert found["alpha = 1"] == pytest.approx(0.17, abs=0.07)
    assert found["alpha = 32"] == pytest.approx(0.60, abs=0.07)
    assert found["alpha = 128"] == pytest.approx(0.65, abs=0.07)


# -- crossover ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [0.2, 0.5, 1.0, 5.0])
def test_mixup_shrinks_the_mean(alpha):
    """The shrinkage by its formula, and that of mixed points."""
    assert crossover.shrinkage(alpha) == pytest.approx((alpha + 1) / (2 * alpha + 1), rel=1e-9)
    generator = torch.Generator().manual_seed(0)
    uniform = generator_uniform(generator, torch.device("cpu"))
    weights = BetaWeights(alpha).sample((400_000,), uniform)
    y = torch.where(torch.arange(400_000) % 2 == 0, 1.0, -1.0)
    x = 1.5 * y + torch.randn(400_000, generator=generator)
    other = torch.randperm(400_000, generator=generator)
    mixed = [weights[:, 0] * rows + weights[:, 1] * rows[other] for rows in (x, y)]
    assert (mixed[0] * mixed[1]).mean().item() == pytest.approx(crossover.shrinkage(alpha) * 1.5, abs=0.02)


def test_the_calibration_error_is_that_of_drawn_points():
    random = np.random.default_rng(0)
    means_ = Crossover(training_sets=1).estimates(5, 50, 3)
    y = random.integers(2, size=200_000)
    x = random.normal(size=(200_000, 5))
    x[:, 0] += 1.5 * (2 * y - 1)
    for factor in (1.0, 0.6):
        probability = torch.sigmoid(torch.tensor(2 * factor * (x @ means_[0])))
        predicted = torch.stack([1 - probability, probability], 1)
        drawn = scores.expected_calibration_error(predicted, y, bins=20, strategy="quantile")
        assert crossover.calibration_error(means_, factor)[0] == pytest.approx(drawn.item(), abs=0.004)


def test_mixup_hurts_calibration_in_few_dimensions_and_helps_in_many():
    found = means(Crossover())["ece"]
    reference = {"p = 5, n = 50": ".009 .010 .019 .031 .054", "p = 200, n = 100": ".064 .052 .040 .029 .011"}
    for case, texts in reference.items():
        values = [found[case, f"alpha = {alpha:g}"] for alpha in crossover.ALPHAS]
        assert values == pytest.approx([float(text) for text in texts.split()], abs=0.01)
        assert values == sorted(values, reverse=case.startswith("p = 200"))


# -- linearity ---------------------------------------------------------------------------------------------------------


def test_layers_of_a_network_and_its_speed():
    part = LinearLayers(n=50, steps=60)
    units = [unit for unit in part.units(1) if unit["method"] == "both"]
    assert len({tuple(part.job(unit).items()) for unit in units}) == 1
    by_case = {unit["case"]: outcome for unit, outcome in zip(units, part.work(units), strict=True)}
    whole = by_case.pop("network")
    assert list(by_case) == ["hidden1", "hidden2", "hidden3", "hidden4", "output"]
    assert all(0 < outcome.scores["nonlinearity"] < 1 for outcome in by_case.values())
    assert len(whole.details["accuracy"]) == 6
    assert whole.scores["accuracy"] == whole.details["accuracy"][-1] > 0.3
    assert whole.scores["steps"] in range(10, 61, 10)


def test_supervised_mixup_makes_layers_less_linear():
    part = LinearLayers(steps=400)
    erm, mixup = ([unit for unit in part.units(1) if unit["method"] == method] for method in ("erm", "mixup"))
    plain, mixed = ([one.scores.get("nonlinearity") for one in part.work(units)][1:5] for units in (erm, mixup))
    assert np.mean(mixed) > 1.4 * np.mean(plain)


def test_a_perceptron_of_one_s_own_follows_its_seed_and_leaves_the_generator_alone():
    state = torch.get_rng_state()
    first, again, other = (perceptron((3, 4, 2), nn.Tanh, seed) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert [name for name, _ in first.named_children()] == ["linear1", "hidden1", "linear2"]
    assert torch.equal(first.linear1.weight, again.linear1.weight)
    assert not torch.equal(first.linear1.weight, other.linear1.weight)


# -- expansion ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", expansions.LOSSES)
def test_the_expansion_stands_beside_the_exact_risk(loss):
    part = Expansions(steps=20)
    for state in ("untrained", "alpha = 0.5"):
        units = [unit for unit in part.units(1) if unit["case"] == f"{loss}, {state}"]
        risks = {unit["method"]: outcome.scores["risk"] for unit, outcome in zip(units, part.work(units), strict=True)}
        assert list(risks) == list(expansions.QUANTITIES)
        assert abs(risks["expansion"] - risks["exact"]) < 0.03 * risks["exact"]
        if loss == "squared":
            # nearer than its first part alone
            assert abs(risks["expansion"] - risks["exact"]) < 0.3 * abs(risks["moved points"] - risks["exact"])


def test_risks_are_those_of_the_theory():
    part = Expansions(steps=0)
    units = [unit for unit in part.units(1) if unit["case"] == "classes, alpha = 0.5"]
    found = {unit["method"]: outcome.scores["risk"] for unit, outcome in zip(units, part.work(units), strict=True)}
    x, y = expansions.simulated("classes", 0)
    network = perceptron((2, 16, 16, 3), nn.Tanh, 0).double()
    expanded = theory.quadratic_expansion(network, x, y, BetaWeights(0.5), family=families.Categorical(3))
    assert found["expansion"] == pytest.approx(expanded.risk, rel=1e-9)
    assert found["without R2"] == pytest.approx((expanded.rows - expanded.r2).mean(), rel=1e-9)
    assert found["no mixing"] == pytest.approx(nn.functional.cross_entropy(network(x), y).item(), rel=1e-9)


# -- strength ----------------------------------------------------------------------------------------------------------


def test_strengths_are_those_of_the_reference():
    found = means(Strengths())["moment"]
    assert len(found) == len(strengths.LAWS) * 4
    for case, row in strengths.REFERENCE.items():
        for method, text in row.items():
            digits = len(text.partition(".")[2])
            assert found[case, method] == pytest.approx(float(text), abs=0.51 * 10.0**-digits), (case, method)


# -- all of it ---------------------------------------------------------------------------------------------------------


def test_a_run_has_sections_with_tables_of_their_own_and_goes_on(tmp_path):
    parts = (Crossover(training_sets=20), RareFeatures(n=20, num_inputs=50, steps=4, methods=("erm", "mixup")))
    experiment = TheoryExperiment(parts, 2)
    results, failures = reproduce(TheoryExperiment(parts[:1], 2), tmp_path, verbose=False)
    assert failures == {}
    stored = {path: path.read_bytes() for path in tmp_path.glob("units/*.json")}
    assert len(stored) == len(results) == 2 * 5 * 2
    results, _ = reproduce(experiment, tmp_path, verbose=False)
    assert len(results) == len(experiment.units()) == 20 + 4
    assert all(path.read_bytes() == content for path, content in stored.items())
    table = pd.read_csv(tmp_path / "results.csv")
    assert table.columns.tolist() == ["part", "case", "method", "seed", "ece", "seconds", "rare", "common"]
    text = (tmp_path / "table.md").read_text()
    headings = [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")]
    assert [heading.partition(":")[0] for heading in headings] == ["crossover"] + ["rare-features"] * 2
    section = text.split("## crossover: Expected")[1].split("##")[0]
    assert "Rows in italics are the reference's figures (" in section
    assert "| crossover | p = 5, n = 50 | here | " in section
    assert "| *crossover* | *p = 5, n = 50* | *reference* | *.009* | *.010* | *.019* | *.031* | *.054* |" in section
    assert "alpha = 5" not in text.split("## rare-features: Accuracy")[1]
    figures = {path.name for path in (tmp_path / "figures").iterdir()}
    assert figures == {"crossover.png", "rare-features.png"}


def test_what_has_no_seeds_is_whole_and_moments_are_not_judged(tmp_path):
    reproduce(TheoryExperiment([AlternatingLine(epochs=1), Strengths()], 2), tmp_path, verbose=False)
    text = (tmp_path / "table.md").read_text()
    assert " of 2)" not in text
    line, strength = (text.split(f"## {name}: ")[1].split("##")[0] for name in ("alternating-line", "strength"))
    assert "| **0." in line
    assert "**" not in strength
    assert "| strength | Beta(0.5) | here | 0.8183 | 0.0237 | 0.0354 | 0.1200 |" in strength


def test_settings_of_a_part_are_those_of_its_results(tmp_path):
    reproduce(TheoryExperiment([Crossover(training_sets=20)], 1), tmp_path, verbose=False)
    with pytest.raises(ValueError, match=r"were made with other settings: training_sets=20, now 10 \(in "):
        reproduce(TheoryExperiment([Crossover(training_sets=10)], 1), tmp_path, verbose=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((["rare-feature"],), "unknown part 'rare-feature'; did you mean 'rare-features'?"),
        (([],), "at least one part must be named; known are 'rare-features', "),
        ((["crossover"], 0), "`n_seeds` must be an integer of at least 1; got 0."),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(ValueError, match=r".") as caught:
        TheoryExperiment(*arguments)
    assert message in str(caught.value)


def test_every_part_has_pictures_that_close_by_themselves(tmp_path):
    parts = (AlternatingLine(epochs=2), LinearLayers(n=20, steps=20), Expansions(steps=1))
    for part in parts:
        experiment = TheoryExperiment([part], 1)
        results, failures = reproduce(experiment, tmp_path / part.name, verbose=False)
        assert failures == {}
        assert (tmp_path / part.name / "figures" / f"{part.name}.png").read_bytes().startswith(b"\x89PNG")
        assert len(results) == len(experiment.units())
