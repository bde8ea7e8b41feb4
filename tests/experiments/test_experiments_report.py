"""Summaries against SciPy and published examples, and what reports say."""

import re
import warnings
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
import torch
from dice import Dice, results_of
from scipy import stats

from probmix.experiments import reproduce
from probmix.experiments.figures import general_pictures
from probmix.experiments.published import STOCKS, TOY_REGRESSION, UCI, Published
from probmix.experiments.report import write_report
from probmix.experiments.summary import average_ranks, critical_difference, paired_difference, summarise


def lines_of(text, heading):
    section = text.split(f"## {heading}")[1].split("##")[0]
    return [line for line in section.splitlines() if line.startswith("|")][2:]


def report_of(experiment, results, folder, command=""):
    write_report(experiment, results, folder, command)
    return (folder / "table.md").read_text()


# -- differences -------------------------------------------------------------------------------------------------------


def test_without_shared_rows_the_test_is_the_paired_t_test():
    random = np.random.default_rng(0)
    ours, baseline = random.normal(size=(2, 9))
    difference = paired_difference(ours, baseline)
    expected = stats.ttest_rel(ours, baseline)
    assert difference.p == pytest.approx(expected.pvalue, rel=1e-12)
    assert difference.mean / difference.error == pytest.approx(expected.statistic, rel=1e-12)


def test_shared_rows_widen_the_standard_error():
    random = np.random.default_rng(1)
    ours, baseline = random.normal(size=(2, 20))
    plain, corrected = (paired_difference(ours, baseline, share) for share in (0.0, 1 / 9))
    # 1/20 + 1/9 in place of 1/20
    assert corrected.error / plain.error == pytest.approx(np.sqrt((1 / 20 + 1 / 9) * 20))
    assert corrected.mean == plain.mean
    assert corrected.p == pytest.approx(2 * stats.t.sf(abs(corrected.mean) / corrected.error, 19))


def test_the_corrected_test_keeps_its_level_where_the_usual_one_does_not():
    """Differences of random splits, correlated by the share of test rows, with no true difference."""
    random = np.random.default_rng(2)
    share, splits, trials = 0.1, 20, 2000
    # a common part of variance rho and parts of their own of 1 - rho
    differences = np.sqrt(share) * random.normal(size=(trials, 1)) + np.sqrt(1 - share) * random.normal(
        size=(trials, splits)
    )
    zero = np.zeros(splits)
    rates = [
        np.mean([paired_difference(one, zero, correction).p < 0.05 for one in differences])
        for correction in (0.0, share / (1 - share))
    ]
    assert rates[0] > 0.2
    assert rates[1] == pytest.approx(0.05, abs=0.02)


@pytest.mark.parametrize(
    ("ours", "baseline", "expected"),
    [
        ([], [], (np.nan, np.nan, np.nan)),
        ([1.0], [0.5], (0.5, np.nan, np.nan)),
        ([1.0, 2.0], [1.0, 2.0], (0.0, 0.0, 1.0)),
        ([2.0, 3.0], [1.0, 2.0], (1.0, 0.0, 0.0)),
        ([1.0, np.inf], [1.0, 2.0], (np.nan, np.nan, np.nan)),
    ],
)
def test_differences_at_the_edge(ours, baseline, expected):
    difference = paired_difference(np.array(ours), np.array(baseline))
    np.testing.assert_equal((difference.mean, difference.error, difference.p), expected)


def test_a_summary_pairs_what_belongs_together_and_adjusts_within_a_row():
    random = np.random.default_rng(3)
    experiment = Dice(datasets=("a",), methods=("probmix", "erm", "mixup"), seeds=6)
    values = {method: random.normal(size=6) for method in ("probmix", "erm", "mixup")}
    results = results_of({("a", method): [{"nll": one} for one in values[method]] for method in values})
    # the baseline lacks a seed, and results come in another order
    results = [one for one in results[::-1] if one.unit != {"dataset": "a", "method": "erm", "seed": 2}]
    lines = summarise(experiment, results).query("score == 'nll'").set_index("method")
    assert lines.index.tolist() == ["probmix", "erm", "mixup"]
    kept = [0, 1, 3, 4, 5]
    p = {}
    for method in ("probmix", "mixup"):
        expected = stats.ttest_rel(values[method][kept], values["erm"][kept])
        p[method] = expected.pvalue
        assert lines["p"][method] == pytest.approx(expected.pvalue)
        assert lines["difference"][method] == pytest.approx(np.mean((values[method] - values["erm"])[kept]))
        assert lines["median"][method] == np.median(values[method])
        assert lines["mean"][method] == pytest.approx(values[method].mean())
        assert lines["standard_error"][method] == pytest.approx(stats.sem(values[method]))
    adjusted = stats.false_discovery_control(list(p.values()))
    assert lines["p_adjusted"][list(p)].tolist() == pytest.approx(adjusted.tolist())
    assert lines.loc["erm", ["n", "wanted"]].tolist() == [5, 6]
    assert np.isnan(lines["p"]["erm"])


# -- ranks -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    # table 5 of Demšar (2006)
    ("methods", "q"),
    [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (6, 2.850), (10, 3.164)],
)
def test_the_critical_difference_has_the_published_quantiles(methods, q):
    blocks = 14
    expected = q * np.sqrt(methods * (methods + 1) / (6 * blocks))
    assert critical_difference(methods, blocks) == pytest.approx(expected, rel=5e-4)


def test_ranks_are_averaged_over_complete_data_sets():
    experiment = Dice(datasets=("a", "b", "c"), methods=("erm", "mixup", "probmix"), seeds=1)
    nll = {"a": (3.0, 2.0, 1.0), "b": (1.0, 1.0, 5.0), "c": (1.0, 2.0, None)}
    results = results_of(
        {
            (name, method): [{"nll": value, "accuracy": -value, "coverage90": 0.9}]
            for name, values in nll.items()
            for method, value in zip(("erm", "mixup", "probmix"), values, strict=True)
            if value is not None
        }
    )
    ranks = average_ranks(experiment, summarise(experiment, results))
    for score in ("nll", "accuracy"):
        lines = ranks[ranks["score"].eq(score)].set_index("method")
        assert lines["rank"].tolist() == [(3 + 1.5) / 2, (2 + 1.5) / 2, (1 + 3) / 2]
        assert lines["blocks"].unique().tolist() == [2]
        assert lines["critical_difference"].iloc[0] == critical_difference(3, 2)
    assert set(ranks["score"]) == {"nll", "accuracy"}  # coverage has no better and worse by itself


def test_there_are_no_ranks_of_one_data_set_or_where_they_mean_nothing():
    one = Dice(datasets=("a",))
    assert average_ranks(one, summarise(one, reproduce_in_memory(one))).empty
    two = Dice()
    assert not average_ranks(two, summarise(two, reproduce_in_memory(two))).empty
    two.ranked_over = None
    assert average_ranks(two, summarise(two, reproduce_in_memory(two))).empty


def reproduce_in_memory(experiment):
    units = experiment.units()
    outcomes = experiment.work(units)
    scores = {}
    for unit, outcome in zip(units, outcomes, strict=True):
        scores.setdefault((unit["dataset"], unit["method"]), []).append(outcome.scores)
    return results_of(scores)


# -- reports -----------------------------------------------------------------------------------------------------------


def test_a_report_has_means_standard_errors_and_the_best_in_bold(tmp_path):
    results = results_of(
        {
            ("a", "erm"): [{"nll": 1.0, "coverage90": 0.85}, {"nll": 3.0, "coverage90": 0.91}],
            ("a", "probmix"): [{"nll": 1.5, "coverage90": 0.96}, {"nll": 1.7, "coverage90": 0.88}],
            ("b", "erm"): [{"nll": 0.5, "coverage90": 1.0}, {"nll": 0.5, "coverage90": 1.0}],
            ("b", "probmix"): [{"nll": 0.50001, "coverage90": 1.0}, {"nll": 0.50001, "coverage90": 0.9}],
        }
    )
    text = report_of(Dice(), results, tmp_path, "probmix reproduce dice --sides 6")
    assert lines_of(text, "NLL") == [
        "| a | 2.000 ± 1.000 | **1.600 ± 0.100** |",
        "| b | **0.500 ± 0.000** | **0.500 ± 0.000** |",  # no difference that one could see
    ]
    assert lines_of(text, "Coverage") == [
        "| a | **0.880 ± 0.030** | **0.920 ± 0.040** |",  # as far from 0.9
        "| b | 1.000 ± 0.000 | **0.950 ± 0.050** |",
    ]
    assert lines_of(text, "Seconds")[0] == "| a | 2.000 | 2.000 |"
    assert "| dataset | erm | probmix |" in text
    for part in (
        "# Dice\n\n    probmix reproduce dice --sides 6\n\n",
        "2 CPU cores; Python ",
        f"torch {torch.__version__}",
        "Mean ± standard error over 2 seeds (0, 1)",
        "Throw them.\n\nTwice.",
        "sides = (6, 20), epochs = 3",
    ):
        assert part in text


def test_a_report_of_a_single_seed_and_of_what_is_missing(tmp_path):
    results = results_of({("a", "erm"): [{"nll": 1.0}], ("b", "probmix"): [{"nll": 123456.7}]})
    text = report_of(Dice(seeds=1), results, tmp_path)
    assert "Mean over one seed (0)" in text
    assert "±" not in text
    assert lines_of(text, "NLL") == ["| a | **1.000** | - |", "| b | - | **1.235e+05** |"]
    results = results_of({("a", "erm"): [{"nll": 1.0}], ("a", "probmix"): [{"nll": 5.0}, {"nll": 6.0}]})
    assert lines_of(report_of(Dice(), results, tmp_path), "NLL")[0] == "| a | 1.000 (1 of 2) | **5.500 ± 0.500** |"
    assert "no results" in report_of(Dice(), [], tmp_path)


def test_small_units_keep_their_digits(tmp_path):
    results = results_of({("a", "erm"): [{"rmse": 0.00052}], ("a", "probmix"): [{"rmse": 0.00048}]})
    text = report_of(Dice(datasets=("a",), seeds=1), results, tmp_path)
    assert lines_of(text, "RMSE") == ["| a | 0.000520 | **0.000480** |"]


def test_differences_are_marked_where_they_are_significant(tmp_path):
    methods = ("erm", "mixup", "probmix", "m-probmix")
    scores = {
        "erm": (1.0, 1.1, 0.9),
        "mixup": (2.0, 2.11, 1.9),
        "probmix": (0.5, 0.6, 0.41),
        "m-probmix": (0.0, 2, 1.1),
    }
    results = results_of({("a", name): [{"nll": one, "accuracy": -one} for one in scores[name]] for name in methods})
    text = report_of(Dice(datasets=("a",), methods=methods, seeds=3), results, tmp_path)
    worse, better, unclear = lines_of(text, "Difference to erm: NLL")[0].strip("| ").split(" | ")[1:]
    assert worse == "*1.003 ± 0.003, p < 0.001*"
    assert better == "**-0.497 ± 0.003, p < 0.001**"
    assert unclear.startswith("0.033 ± ")
    # larger is better
    worse, better, _ = lines_of(text, "Difference to erm: accuracy")[0].strip("| ").split(" | ")[1:]
    assert (worse[0], worse[:2] == "**", better[:2]) == ("*", False, "**")


def test_the_paper_s_figures_stand_beside_ours_and_are_never_the_best(tmp_path):
    experiment = Dice(seeds=1)
    experiment.published = {"nll": Published({("a",): {"erm": "0.10 ± 0.01", "other": "0.00"}}, "its table 9")}
    results = results_of({(name, method): [{"nll": 2.0}] for name in "ab" for method in ("erm", "probmix")})
    text = report_of(experiment, results, tmp_path)
    assert lines_of(text, "NLL") == [
        "| a | here | **2.000** | **2.000** |",
        "| *a* | *paper* | *0.10 ± 0.01* |  |",
        "| b | here | **2.000** | **2.000** |",
    ]
    assert "Rows in italics are the paper's figures (its table 9), not made here." in text
    page = (tmp_path / "report.html").read_text()
    assert '<td class="number" data-value="0.1"><em>0.10 ± 0.01</em></td>' in page


def test_published_figures_are_those_of_the_paper():
    # some of each table, by hand
    assert UCI["nll"].cells[("yacht",)]["local-m-probmix"] == "0.26 ± 0.25"
    assert UCI["nll"].cells[("naval-propulsion-plant",)]["local-manifold-mixup"] == "-6.47 ± 0.44"
    assert UCI["rmse"].cells[("kin8nm",)]["erm"] == "0.0741"
    assert STOCKS["nll"].cells[("RCL", "transformer")]["mixup"] == "-0.05"
    assert TOY_REGRESSION["nll"].cells[("outside", 0.25, 0.0)]["m-probmix"] == "22.9"
    assert [len(table.cells) for table in (*UCI.values(), *STOCKS.values(), *TOY_REGRESSION.values())] == [8, 8, 8, 6]


class Page(HTMLParser):
    """What a page asks for, and its tables."""

    def __init__(self):
        super().__init__()
        self.tags, self.sources, self.open = [], [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.sources += [value for name, value in attributes if name == "src"]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_needs_nothing_else(tmp_path):
    experiment = Dice(datasets=("a", "<b>"), seeds=2)
    experiment.outcome = lambda dataset, method, seed: Dice.outcome(experiment, dataset[0], method, seed)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reproduce(experiment, tmp_path, command="probmix reproduce dice --name 'a & b'", verbose=False)
    text = (tmp_path / "report.html").read_text()
    page = Page()
    page.feed(text)
    assert page.open == []
    assert not {"link", "iframe"} & set(page.tags)
    assert page.sources
    assert all(source.startswith("data:image/png;base64,iVBOR") for source in page.sources)
    assert not re.search(r"https?://|@import|url\(", text)
    for part in (
        "probmix reproduce dice --name &#39;a &amp; b&#39;",
        "&lt;b&gt;",
        "<strong>",
        "Throw them.",
        "Python 3",
    ):
        assert part in text
    # and one each for how it was made, for pictures and for the protocol
    assert page.tags.count("table") == page.tags.count("h2") - 3
    pictures = sorted(path.name for path in (tmp_path / "figures").iterdir())
    assert pictures == ["nll.png", "ranks__nll.png", "ranks__rmse.png", "rmse.png"]
    assert len(page.sources) == len(pictures)
    summary = pd.read_csv(tmp_path / "summary.csv")
    assert {"mean", "standard_error", "difference", "p", "p_adjusted"} <= set(summary.columns)


def test_long_titles_of_pictures_have_several_lines():
    experiment = Dice(datasets=("a",), seeds=1)
    experiment.title = "A title of an experiment that is a good deal longer than one picture is wide"
    experiment.ranked_over = None
    summary = summarise(experiment, reproduce_in_memory(experiment))
    picture = next(iter(general_pictures(experiment, summary, average_ranks(experiment, summary))))
    title = picture.figure.get_suptitle()
    assert title.replace("\n", " ") == f"{experiment.title}: NLL, nats"
    assert 1 < len(title.splitlines()) < 4
    picture.figure.draw_without_rendering()
    box = picture.figure._suptitle.get_window_extent()
    assert box.x0 > 0
    assert box.x1 < picture.figure.bbox.width


def test_rows_without_results_have_no_panel():
    experiment = Dice(seeds=1)
    results = results_of({("a", method): [{"nll": 1.0}] for method in ("erm", "probmix")})
    summary = summarise(experiment, results)
    (picture,) = general_pictures(experiment, summary, average_ranks(experiment, summary))
    assert [ax.get_title() for ax in picture.figure.axes] == ["a"]
