"""The leaderboard: methods one file each, data sets, measures, ranks, and the experiment that runs them.

A method is a function in a file of its own, of a `Training` to a `Fitted`, and a line in `METHODS`.
"""

from .experiment import PROTOCOL, LeaderboardExperiment

__all__ = ["PROTOCOL", "LeaderboardExperiment"]
