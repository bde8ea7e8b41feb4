"""Renew the tables of README.md, docs/index.md and docs/results/leaderboard.md that come from committed results.

    python benchmarks/pages.py

The results are docs/results/leaderboard/results.csv and docs/results/best/results.csv. A table is found by its head; a
test says where a page and the results differ. Sentences with figures are not renewed: what they need is printed.
"""

import re
from pathlib import Path

import numpy as np
import pandas as pd

from probmix.experiments.leaderboard.ranks import SET, common_means, ranking
from probmix.experiments.leaderboard.sets import kind_of

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("README.md", "docs/index.md", "docs/results/leaderboard.md")
METHODS = {
    "default": "probmix, default",
    "fast": "probmix, fast",
    "plain-ensemble": "our plain ensemble (ERM)",
    "lightgbm-quantiles": "LightGBM, 13 quantiles",
    "quantile-forest": "quantile forest",
    "ngboost": "NGBoost",
    "catboost": "CatBoost, mean and variance",
    "glm": "GLM",
}
DENSITIES = ["default", "plain-ensemble", "catboost", "ngboost"]
# The lowest NLL that we know of; the page says where each is from.
PUBLISHED = {
    "bostonHousing": "2.35",
    "concrete": "2.83",
    "energy": "0.53 (0.26 in one rerun)",
    "kin8nm": "-1.29",
    "naval-propulsion-plant": "-6.47 (-7.54 unchecked)",
    "power-plant": "2.54",
    "protein-tertiary-structure": "1.93",
    "wine-quality-red": "0.89",
    "yacht": "0.16",
}
# Its CRPS has no digits in its own unit.
THOUSANDTHS = "naval-propulsion-plant"

# Tables by their heads, which have as many cells as the rows.
Tables = dict[tuple[str, ...], list[list[str]]]


def read(name: str) -> pd.DataFrame:
    """Committed results, CRPS of naval-propulsion-plant in thousandths."""
    results = pd.read_csv(ROOT / "docs/results" / name / "results.csv")
    results.loc[results["dataset"].eq(THOUSANDTHS), "crps"] *= 1000
    return results


def summary(results: pd.DataFrame) -> pd.DataFrame:
    """A row for each method: ranks, sets on which it is ahead of the default, coverage, the worst row, seconds."""
    found = pd.DataFrame(index=[name for name in METHODS if name in set(results["method"])])
    for score in ("nll", "crps"):
        means = common_means(results, score, list(METHODS))
        found[score] = ranking(means).ranks
        found[f"ahead_{score}"] = means.lt(means["default"], axis=0).sum()
    by_set = results.groupby(["method", *SET])
    found["coverage"] = 100 * by_set["coverage90"].mean().groupby("method").mean()
    found["worst"] = results.groupby("method")["worst_nll"].max()
    found["seconds"] = by_set["fit_seconds"].mean().groupby("method").median()
    return found


def summary_tables(results: pd.DataFrame) -> Tables:
    """That of the leaderboard's page, and that of the first pages."""
    found, long, short = summary(results), [], []
    sets = len(results[SET].drop_duplicates())
    for name, row in found.iterrows():
        ranks = [_bold(f"{row[score]:.2f}", row[score] == found[score].min()) for score in ("nll", "crps")]
        ahead = [f"{row[f'ahead_{score}']:.0f}" for score in ("nll", "crps")]
        label, seconds = _bold(METHODS[str(name)], name == "default"), _two_digits(row["seconds"])
        has_density = not np.isnan(row["nll"])
        if not has_density:
            ranks[0] = ahead[0] = "-"
        compared = "-" if name == "default" else ", ".join(ahead)
        worst = f"{row['worst']:.0f}" if has_density else "-"
        long.append([label, *ranks, compared, f"{row['coverage']:.1f}", worst, seconds])
        label = label.replace(" (ERM)", ", without mixing")
        short.append([label, ranks[0] if has_density else "no density", ranks[1], seconds])
    return {
        (
            "method",
            "mean rank, NLL",
            "mean rank, CRPS",
            "ahead of the default in NLL, CRPS",
            "coverage of 90 % intervals",
            "worst test row, nats",
            "median fit, s",
        ): long,
        (f"on {sets} tables", "mean rank by NLL", "by CRPS", "median seconds of a fit"): short,
    }


def uci_tables(results: pd.DataFrame) -> Tables:
    """NLL and CRPS of the standard sets, of the methods with a density, and with quantiles of trees."""
    uci = results[results["folder"].eq("uci")]
    tables: Tables = {}
    for score, methods, digits in (
        ("nll", DENSITIES, 2),
        ("crps", [*DENSITIES, "lightgbm-quantiles", "quantile-forest"], 3),
    ):
        rows = []
        for dataset, published in PUBLISHED.items():
            of_set = uci[uci["dataset"].eq(dataset)].groupby("method")[score]
            means, counts = of_set.mean(), of_set.count()
            splits = counts["default"]
            cells = [
                _mean(of_set.get_group(one), digits, means[one] == means[methods].min(), splits) for one in methods
            ]
            rows.append([dataset, str(splits), *cells, *([published] if score == "nll" else [])])
        head = ["set", "splits", *(METHODS[one] for one in methods), *(["published"] if score == "nll" else [])]
        tables[tuple(head)] = rows
    return tables


def best_table(results: pd.DataFrame) -> Tables:
    """The preset best beside the default, over the splits that both have."""
    wide = results.pivot(index=["dataset", "split"], columns="method", values=["nll", "crps"]).dropna()
    rows = []
    for dataset, both in wide.groupby(level="dataset"):
        nll, crps = both["nll"], both["crps"]
        difference = nll["best"] - nll["default"]
        relative = 100 * (crps["best"].mean() / crps["default"].mean() - 1)
        pairs = [
            [_bold(f"{means[one]:.{digits}f}", means[one] == means.min()) for one in ("default", "best")]
            for means, digits in ((nll.mean(), 2), (crps.mean(), 3))
        ]
        error = f" ± {difference.sem():.3f}" if len(both) > 1 else ""
        label = f"{dataset} (CRPS in thousandths)" if dataset == THOUSANDTHS else str(dataset)
        paired = f"{difference.mean():.3f}{error}"
        rows.append([label, str(len(both)), *pairs[0], paired, *pairs[1], f"{relative:.1f}"])
    head = "set, splits, default; NLL, best; NLL, difference, default; CRPS, best; CRPS, difference; %"
    return {tuple(cell.replace(";", ",") for cell in head.split(", ")): rows}


def refill(text: str, tables: Tables) -> str:
    """The text with those tables renewed that it has."""
    lines = text.split("\n")
    for head, rows in tables.items():
        key = _without_numbers(_line(head))
        for start in [number for number, line in enumerate(lines) if _without_numbers(line) == key]:
            end = start + 1
            while end < len(lines) and lines[end].startswith("|"):
                end += 1
            lines[start:end] = [_line(head), "|" + "---|" * len(head), *map(_line, rows)]
    return "\n".join(lines)


def pages() -> dict[Path, str]:
    """What each page is with its tables renewed."""
    results = read("leaderboard")
    tables = summary_tables(results) | uci_tables(results) | best_table(read("best"))
    return {path: refill(path.read_text(encoding="utf-8"), tables) for path in (ROOT / name for name in PAGES)}


def for_sentences(results: pd.DataFrame) -> str:
    """Figures of the default that the pages tell in words."""
    own = results[results["method"].eq("default")]
    kinds = own.assign(kind=[kind_of(f"{folder}/{name}") for folder, name in own[SET].itertuples(index=False)])
    covered = 100 * own.groupby(SET)["coverage90"].mean()
    by_kind = 100 * kinds.groupby(["kind", *SET])["coverage90"].mean().groupby("kind").mean()
    lines = [
        f"coverage by kind: {by_kind.round(1).to_dict()}",
        f"lowest coverage: {covered.nsmallest(3).round(1).to_dict()}",
        f"worst rows: {own.groupby(SET)['worst_nll'].max().nlargest(3).round(1).to_dict()}",
        f"largest mean in largest targets: {own['mean_ratio'].max():.2f}",
        f"splits of sets outside of uci/: {own[own['folder'].ne('uci')].groupby(SET).size().value_counts().to_dict()}",
    ]
    for score in ("nll", "crps", "rmse"):
        means = common_means(results, score, [name for name in METHODS if name != "fast"])
        others = means.drop(columns="default").min(axis=1)
        behind = means["default"] - others if score == "nll" else means["default"] / others - 1
        behind = behind[behind > 0].sort_values(ascending=False).round(3)
        lines.append(f"{score}, {len(behind)} behind the best other but fast: {behind.to_dict()}")
    return "\n".join(lines)


def _bold(text: str, whether: bool) -> str:
    return f"**{text}**" if whether else text


def _two_digits(value: float) -> str:
    """2.1, 0.20, 26."""
    return f"{value:.0f}" if value >= 9.95 else f"{value:.1f}" if value >= 0.995 else f"{value:.2f}"


def _mean(values: "pd.Series[float]", digits: int, is_best: bool, usual: int) -> str:
    error = f" ± {_not_zero(values.sem(), digits)}" if len(values) > 1 else ""
    number = f" ({len(values)})" if len(values) != usual else ""
    return _bold(f"{values.mean():.{digits}f}{error}", is_best) + number


def _not_zero(value: float, digits: int) -> str:
    """With one digit more where it would be zero."""
    text = f"{value:.{digits}f}"
    return text if float(text) or not value else f"{value:.{digits + 1}f}"


def _without_numbers(line: str) -> str:
    """A head that counts tables is found whatever their number was."""
    return re.sub(r"\d+", "#", line)


def _line(cells: "tuple[str, ...] | list[str]") -> str:
    return f"| {' | '.join(cells)} |"


def main() -> None:
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
    print(for_sentences(read("leaderboard")))


if __name__ == "__main__":
    main()
