"""
A fan chart of energy load
==========================

How much electricity will be needed in each hour of the next week, and how much at most? A density for each hour gives
all quantiles at once; they do not cross, and lie far apart where the weather makes them so.
"""

import matplotlib.pyplot as plt
import numpy as np

from probmix import DensityRegressor
from probmix.datasets import example
from probmix.scores import evaluate

load = example("load")
print(load.source)
# the time is for the picture: it only grows, and tells a model nothing of the weeks to come
X, y, time = load.X.drop(columns="time").astype({"hour": "category"}), load.y, load.X["time"]
cut = len(y) - 4 * 7 * 24

# %%
# The rows are in order of time, the last four weeks are to be forecast, and the last of the rest judge the training.
model = DensityRegressor("gaussian-mixture", preset="fast", validation="last", random_state=0)
model = model.fit(X[:cut], y[:cut])

# %%
# A simple forecast to beat: the load of the week before. Its CRPS is its absolute error.
forecasts = {"probmix": model, "week before": X["week_before"][cut:]}
print(evaluate(forecasts, X[cut:], y[cut:], scores=["crps", "coverage90"]))

# %%
# The first week as a fan: eight quantiles, darker towards the median. Below is the temperature, which the model is
# given, as if its forecast were perfect.
week = slice(cut, cut + 7 * 24)
levels = np.array([0.01, 0.05, 0.1, 0.25, 0.75, 0.9, 0.95, 0.99])
quantiles = model.predict_quantile(X[week], levels).T

figure, (ax, below) = plt.subplots(2, figsize=(10, 5), height_ratios=(3, 1), sharex=True, layout="constrained")
for inner, shade in enumerate(plt.colormaps["Blues"]([0.15, 0.3, 0.45, 0.65])):
    low, high, share = quantiles[inner], quantiles[-1 - inner], levels[-1 - inner] - levels[inner]
    ax.fill_between(time[week], low, high, color=shade, linewidth=0, label=f"{share:.0%}")
ax.plot(time[week], y[week], color="k", linewidth=1.2, label="observed")
ax.set(ylabel="load, MW", ylim=(None, 1.12 * quantiles[-1].max()))
ax.legend(ncols=5, loc="upper left")
below.plot(time[week], X["temperature"][week], color="0.4")
below.set(ylabel="°C")
plt.show()
