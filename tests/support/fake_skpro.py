"""Stand-ins for skpro with its documented interface, for where it cannot be installed beside a newer pandas.

They mirror what skpro 2.16 does: a distribution is a table of cells (rows, targets) with `shape`, `index`, `columns`,
`get_params` and `get_tag`; its functions take one value for each cell and return a DataFrame of that shape. The classes
here claim skpro's modules, by which its objects are told. `test_adapters.py` runs the same cases with the real ones
where these are installed.
"""

import numpy as np
import pandas as pd
import scipy.stats as st


class BaseDistribution:
    __module__ = "skpro.distributions.base._base"
    measure = "continuous"
    needs = ()

    def __init__(self, index=None, columns=None, **parameters):
        self._parameters = parameters
        cells = np.broadcast_arrays(*(np.asarray(parameters[name]) for name in self.needs)) if self.needs else []
        self.shape = cells[0].shape if cells else (len(index), len(columns))
        self.index = pd.RangeIndex(self.shape[0]) if index is None else index
        self.columns = pd.RangeIndex(self.shape[1]) if columns is None else columns

    def get_params(self, deep=True):
        return {"index": self.index, "columns": self.columns, **self._parameters}

    def get_tag(self, name):
        return {"distr:measuretype": self.measure}[name]

    def _table(self, values):
        return pd.DataFrame(np.broadcast_to(values, self.shape), index=self.index, columns=self.columns)

    def _ask(self, name, x):
        assert np.shape(x) == self.shape, f"skpro takes one value for each cell, {self.shape}; got {np.shape(x)}"
        return self._table(getattr(self.scipy(), name)(np.asarray(x)))

    def scipy(self):
        return self._scipy(**{name: np.asarray(self._parameters[name], dtype=float) for name in self.needs})

    def cdf(self, x):
        return self._ask("cdf", x)

    def ppf(self, p):
        return self._ask("ppf", p)

    def log_pdf(self, x):
        if self.measure == "discrete":
            return self._table(-np.inf)
        return self._ask("logpdf", x)

    def log_pmf(self, x):
        return self._ask("logpmf", x)

    def mean(self):
        return self._table(self.scipy().mean())

    def var(self):
        return self._table(self.scipy().var())


def _distribution(name, needs, scipy, measure="continuous"):
    members = {
        "__module__": f"skpro.distributions.{name.lower()}",
        "needs": needs,
        "measure": measure,
        "_scipy": staticmethod(scipy),
    }
    return type(name, (BaseDistribution,), members)


Normal = _distribution("Normal", ("mu", "sigma"), lambda mu, sigma: st.norm(mu, sigma))
Laplace = _distribution("Laplace", ("mu", "scale"), lambda mu, scale: st.laplace(mu, scale))
LogNormal = _distribution("LogNormal", ("mu", "sigma"), lambda mu, sigma: st.lognorm(sigma, scale=np.exp(mu)))
Gamma = _distribution("Gamma", ("alpha", "beta"), lambda alpha, beta: st.gamma(alpha, scale=1 / beta))
Exponential = _distribution("Exponential", ("rate",), lambda rate: st.expon(scale=1 / rate))
Beta = _distribution("Beta", ("alpha", "beta"), lambda alpha, beta: st.beta(alpha, beta))
InverseGaussian = _distribution("InverseGaussian", ("mu", "scale"), lambda mu, scale: st.invgauss(mu, scale=scale))
TDistribution = _distribution("TDistribution", ("mu", "sigma", "df"), lambda mu, sigma, df: st.t(df, mu, sigma))
Poisson = _distribution("Poisson", ("mu",), lambda mu: st.poisson(mu), "discrete")
NegativeBinomial = _distribution(
    "NegativeBinomial", ("mu", "alpha"), lambda mu, alpha: st.nbinom(alpha, alpha / (alpha + mu)), "discrete"
)
Binomial = _distribution("Binomial", ("n", "p"), lambda n, p: st.binom(n, p), "discrete")


class Empirical(BaseDistribution):
    __module__ = "skpro.distributions.empirical"
    measure = "discrete"

    def __init__(self, spl, weights=None):
        super().__init__(index=spl.index.get_level_values(-1).unique(), columns=spl.columns, spl=spl, weights=weights)


class ResidualDouble:
    """A regressor: the line through the origin with the residuals' standard deviation."""

    __module__ = "skpro.regression.residual"

    def fit(self, X, y):
        x, y = np.asarray(X, dtype=float)[:, :1], np.asarray(y, dtype=float).reshape(-1, 1)
        self.slope = (x * y).sum() / (x * x).sum()
        self.sigma = (y - self.slope * x).std()
        return self

    def predict(self, X):
        return self.predict_proba(X).mean()

    def predict_proba(self, X):
        return Normal(mu=self.slope * np.asarray(X, dtype=float)[:, :1], sigma=self.sigma)
