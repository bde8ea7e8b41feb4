"""
What a stack chose, and why
===========================

You have a table and no idea which distribution its target has, or whether mixing rows would help. List the candidates:
the stack fits them all, scores each row by networks that have not seen it, and weighs the candidates by these scores.
"""

# %%
# Progression of diabetes within a year, a positive number, from ten measurements. Three families, each trained by
# plain maximum likelihood and with ProbMix, are six candidates. ``mixup="auto"`` stands for these two: "erm", and a
# loss of which one half is ProbMix and the other half the rows as they are.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split

from probmix import DensityRegressor
from probmix.scores import evaluate

X, y = load_diabetes(return_X_y=True, as_frame=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.3, random_state=0)
families = ["gamma", "lognormal", "gaussian-mixture"]
model = DensityRegressor(families, "auto", preset="fast", max_epochs=20, random_state=0)
model = model.fit(X_train, y_train)

# %%
# ``stack_`` has a line for each candidate. ``nll`` is the out-of-fold score, and ``nll_error`` the standard error of
# the difference to the best candidate, row by row. A weight of zero does not mean that a candidate is bad: it may say
# the same as another one that is a little better.
print(model.stack_[["family", "mixup", "weight", "nll", "nll_error"]])

# %%
# What did ProbMix earn? Each family has two candidates, which scored the same rows; so we look at the differences row
# by row. To the left of the line ProbMix is better; where an interval holds the line, these rows cannot tell. The bars
# on the right are the weights in the stack.
labels = [f"{family}, {mixup}" for family in families for mixup in ("erm", "ProbMix")]
scores = -np.stack([candidate.oof_log_prob_ for candidate in model.candidates_])
difference = scores[1::2] - scores[0::2]
error = difference.std(1, ddof=1) / np.sqrt(len(y_train))

_, (left, right) = plt.subplots(1, 2, figsize=(11, 3.4), layout="constrained")
left.errorbar(difference.mean(1), families, xerr=1.96 * error, fmt="ko", capsize=4)
left.axvline(0.0, color="0.5", linestyle="--")
left.set(xlabel="out-of-fold NLL: ProbMix less erm, with 95 % interval", ylim=(2.5, -0.5))
bars = right.barh(labels, model.stack_["weight"], color=["0.75", "C0"] * 3)
right.bar_label(bars, fmt=" {:.2f}")
right.set(xlabel="weight in the stack", xlim=(0, 1))
right.invert_yaxis()
plt.show()

# %%
# Rows that nobody has seen are the judge in the end: the stack and its candidates on the test rows. The stack is the
# first line and the baseline; candidates with a positive ``difference`` are worse.
models = {"stack": model, **dict(zip(labels, model.candidates_, strict=True))}
print(evaluate(models, X_test, y_test, scores=["nll", "crps"]))
