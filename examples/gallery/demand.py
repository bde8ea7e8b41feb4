"""
Demand in order of time
=======================

How many bicycles will be rented in each hour of the next four weeks? Rows are in order of time, and the last of them
judge the training, ``validation="last"``: like the weeks that are asked for, they come after all hours that train.
"""

import matplotlib.pyplot as plt
from scipy.stats import poisson
from sklearn.ensemble import HistGradientBoostingRegressor

from probmix import DensityRegressor
from probmix.datasets import example
from probmix.plots import PITHistogramDisplay
from probmix.scores import evaluate

hours = example("demand")
print(hours.source)
# the date only grows, so that the weeks to come lie outside of what is learned; the season, month and weekday come back
# the hour is a category: five in the evening has little to do with four
X, y = hours.X.drop(columns="dteday").astype({"hr": "category", "weekday": "category"}), hours.y
cut = len(y) - 4 * 7 * 24

# %%
# Rows that judge say when to stop, and do not train. These are the latest, which tell most about the weeks to come, so
# that their share is small: three weeks.
last = {"validation": "last", "validation_fraction": 0.05}
model = DensityRegressor("negative-binomial", preset="fast", random_state=0, **last).fit(X[:cut], y[:cut])

# %%
# The usual tool is boosted trees with Poisson loss. Their means are even a little better, see the RMSE; but
# counts vary by more than a Poisson distribution with this mean: the CRPS is worse, and intervals are too narrow.
trees = HistGradientBoostingRegressor(loss="poisson", categorical_features="from_dtype", random_state=0)
counts = poisson(trees.fit(X[:cut], y[:cut]).predict(X[cut:]))
forecasts = {"probmix": model, "Poisson trees": counts}
print(evaluate(forecasts, X[cut:], y[cut:], scores=["crps", "coverage90", "rmse"]))

# %%
# The first week of the forecast: 90 % and 50 % of the hours should lie in the bands.
week = slice(cut, cut + 7 * 24)
time = hours.X["dteday"][week] + hours.X["hr"][week].astype("timedelta64[h]")
quantiles = model.predict_quantile(X[week], [0.05, 0.25, 0.5, 0.75, 0.95]).T

figure, ax = plt.subplots(figsize=(10, 4), layout="constrained")
ax.fill_between(time, quantiles[0], quantiles[4], color="#c6dbef", linewidth=0, label="90 %")
ax.fill_between(time, quantiles[1], quantiles[3], color="#6baed6", linewidth=0, label="50 %")
ax.plot(time, quantiles[2], color="C0", label="median")
ax.plot(time, y[week], "k.", markersize=4, label="observed")
ax.set(ylabel="rentals in the hour", ylim=(0, 1.25 * quantiles[4].max()))
ax.legend(ncols=4, loc="upper left")

# %%
# Where the observed counts lie in their distributions, over all four weeks. A forecast that knows how sure it is has
# bars of equal height; those of the trees pile up at both ends, for most counts are far out in a Poisson distribution.
figure, axes = plt.subplots(1, 2, figsize=(10, 3.5), sharey=True, layout="constrained")
for ax, (name, forecast) in zip(axes, forecasts.items(), strict=True):
    distribution = model.predict_dist(X[cut:]) if forecast is model else forecast
    PITHistogramDisplay.from_predictions(distribution, y[cut:], ax=ax)
    ax.set(title=name)
plt.show()
