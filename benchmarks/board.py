"""Go on with the leaderboard where committed results end, and report on what there is without fitting anything.

    python benchmarks/board.py restore docs/results/leaderboard/results.csv OUT --data DIR
    python benchmarks/board.py report OUT --methods fast,default,catboost --splits 3 --uci-splits 20 --data DIR

``restore`` makes of the rows of a results.csv the units that `probmix reproduce leaderboard --out OUT` goes on from.
They count as results of the settings and the data of today, which the file does not know: rows of other settings have
to be taken out of it before. ``report`` renews the tables and pictures in OUT from the units that are there; the sets
and splits that it looks for are those of the options, as in `probmix reproduce`. Then come the pages: pages.py.
"""

import argparse
import os
from pathlib import Path

import pandas as pd
from common import names

from probmix.experiments import Result, ResultStore, report_on
from probmix.experiments.leaderboard.experiment import FOLDERS, LeaderboardExperiment
from probmix.experiments.leaderboard.ranks import SET


def restore(results: Path, out: Path, data: Path | None) -> int:
    """Make a unit of every row; gives how many there are."""
    rows = pd.read_csv(results)
    experiment = LeaderboardExperiment(methods=list(rows["method"].unique()), data=data)
    store, unit_names = ResultStore(out, experiment.settings), [*SET, "method", "split"]
    for row in rows.to_dict("records"):
        unit = {name: row[name] for name in unit_names}
        scores = {
            str(name): float(value)
            for name, value in row.items()
            if name not in (*unit_names, "seconds") and pd.notna(value)
        }
        result = Result(unit, scores, {"chosen": {}}, float(row["seconds"]), "2 CPU cores")
        store.save(unit, [result], experiment.inputs(unit))
    return len(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    restoring = commands.add_parser("restore")
    restoring.add_argument("results", type=Path)
    restoring.add_argument("out", type=Path)
    reporting = commands.add_parser("report")
    reporting.add_argument("out", type=Path)
    reporting.add_argument("--methods", type=names, required=True)
    reporting.add_argument("--datasets", type=names, default=list(FOLDERS))
    reporting.add_argument("--splits", type=int, default=3)
    reporting.add_argument("--uci-splits", type=int, default=20)
    for one in (restoring, reporting):
        one.add_argument("--data", type=Path, default=os.environ.get("PROBMIX_DATA"))
    options = parser.parse_args()
    if options.command == "restore":
        print(f"{restore(options.results, options.out, options.data)} results in {options.out}")
        return
    experiment = LeaderboardExperiment(
        options.datasets, options.methods, options.splits, options.uci_splits, data=options.data
    )
    sets = "" if options.datasets == list(FOLDERS) else f" --datasets {','.join(options.datasets)}"
    command = (
        f"probmix reproduce leaderboard --methods {','.join(options.methods)}{sets} --splits {options.splits} "
        f"--uci-splits {options.uci_splits}"
    )
    print(f"{len(report_on(experiment, options.out, command))} results in {options.out / 'report.html'}")


if __name__ == "__main__":
    main()
