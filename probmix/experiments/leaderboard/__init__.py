"""The leaderboard: methods one file each, data sets, measures, ranks, and the experiment that runs them."""

from .experiment import PROTOCOL, LeaderboardExperiment

__all__ = ["PROTOCOL", "LeaderboardExperiment"]
