"""An experiment whose work takes no time: scores follow from the unit."""

import numpy as np

from probmix.experiments import Experiment, Outcome, Result


class Dice(Experiment):
    """Counts its work, and fails or is stopped where it is told to; all seeds of a method are one job where `joint`."""

    title = "Dice"
    protocol = "Throw them.\n\nTwice."
    rows = ("dataset",)
    repeat = "seed"
    ranked_over = "dataset"

    def __init__(
        self, datasets=("a", "b"), methods=("erm", "probmix"), seeds=2, fail=(), stop=None, joint=False, data="1",
        **settings,
    ):  # fmt: skip
        self.settings = {"sides": (6, 20), "epochs": 3, **settings}
        self.parts = datasets, methods, seeds
        self.fail, self.stop, self.joint, self.data = fail, stop, joint, data
        self.worked, self.jobs = [], 0

    def units(self):
        datasets, methods, seeds = self.parts
        return [
            {"dataset": dataset, "method": method, "seed": seed}
            for seed in range(seeds)
            for dataset in datasets
            for method in methods
        ]

    def job(self, unit):
        return {key: unit[key] for key in ("dataset", "method")} if self.joint else unit

    def inputs(self, unit):
        return {"data": self.data}

    def work(self, units):
        if self.jobs == self.stop:
            raise KeyboardInterrupt
        self.jobs += 1
        keys = [tuple(unit.values()) for unit in units]
        self.worked += keys
        if set(keys) & set(self.fail):
            raise RuntimeError("training diverged")
        return [self.outcome(*key) for key in keys]

    def outcome(self, dataset, method, seed):
        random = np.random.default_rng([ord(dataset), len(method), seed])
        return Outcome({"nll": random.normal() / 3, "rmse": random.normal() * 1e6}, {"mean": [0.1 + 0.2]})


def results_of(scores):
    """Results of {(dataset, method): values over seeds}."""
    return [
        Result({"dataset": dataset, "method": method, "seed": seed}, value, {}, 2.0, "2 CPU cores")
        for (dataset, method), values in scores.items()
        for seed, value in enumerate(values)
    ]
