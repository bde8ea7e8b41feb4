"""
House prices with text and gaps
===============================

What will a house be sold for, and how sure is that? The frame goes in as it is, with text, gaps and years, and with
nothing set the model finds the family of its density by itself.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.model_selection import train_test_split

from probmix import DensityRegressor
from probmix.datasets import example
from probmix.plots import EffectDisplay, IntervalDisplay

houses = example("houses")
print(houses.source)
X, X_test, y, y_test = train_test_split(houses.X, houses.y, test_size=0.25, random_state=0)
print(X.iloc[:3, :8])

# %%
# Fit, and ask for a range that should hold nine prices of ten.
model = DensityRegressor(preset="fast", random_state=0).fit(X, y)
low, high = model.predict_interval(X_test, coverage=0.9).T
print(model.stack_)

# %%
# The usual way to such a range is two models of boosted trees, one for each end. The interval score counts the width,
# and what a miss is off by, twenty times; smaller is better. Trees see categories, which they must be told of.
frame = houses.X.astype(dict.fromkeys(houses.X.select_dtypes(exclude="number"), "category"))
ends = [
    HistGradientBoostingRegressor(loss="quantile", quantile=level, categorical_features="from_dtype", random_state=0)
    .fit(frame.loc[X.index], y)
    .predict(frame.loc[X_test.index])
    for level in (0.05, 0.95)
]
for name, (lower, upper) in {"probmix": (low, high), "boosted trees": ends}.items():
    inside, width = np.mean((lower <= y_test) & (y_test <= upper)), np.mean(upper - lower)
    score = width + 20 * np.mean(np.maximum(lower - y_test, 0) + np.maximum(y_test - upper, 0))
    print(f"{name}: covers {inside:.0%}, {width:,.0f} wide, interval score {score:,.0f}")

# %%
# Each column of the picture is a house, the cheapest first. Triangles were sold outside of their 90 % range.
figure, ax = plt.subplots(figsize=(9, 4.5), layout="constrained")
_ = IntervalDisplay.from_estimator(model, X_test, y_test, target_name="price, dollars", ax=ax)

# %%
# How prices change with a number, and with a word: the predicted distributions of houses, averaged, while one column is
# set to each of its values in turn. Which columns matter most, ImportanceDisplay tells, see :doc:`../guide/pictures`.
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
price = "price, dollars"
EffectDisplay.from_estimator(model, X_test, feature="Gr_Liv_Area", target_name=price, ax=left)
EffectDisplay.from_estimator(model, X_test, feature="Neighborhood", max_levels=8, target_name=price, ax=right)
plt.show()
