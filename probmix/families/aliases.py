"""Other names of the families: those of textbooks and of neighbouring libraries."""

# In lower case, with hyphens; `plain` brings a name into this form.
ALIASES: dict[str, str] = {
    "normal": "gaussian",
    "norm": "gaussian",
    "gauss": "gaussian",
    "multivariate-normal": "multivariate-gaussian",
    "multinormal": "multivariate-gaussian",
    "mvn": "multivariate-gaussian",
    "t": "student-t",
    "student": "student-t",
    "studentt": "student-t",
    "students-t": "student-t",
    "t-distribution": "student-t",
    "log-normal": "lognormal",
    "lognorm": "lognormal",
    "wald": "inverse-gaussian",
    "inverse-normal": "inverse-gaussian",
    "inversegaussian": "inverse-gaussian",
    "invgauss": "inverse-gaussian",
    "expon": "exponential",
    "binary": "bernoulli",
    "multinomial": "categorical",
    "multinoulli": "categorical",
    "softmax": "categorical",
    "pois": "poisson",
    "nb": "negative-binomial",
    "nb2": "negative-binomial",
    "nbinom": "negative-binomial",
    "negbin": "negative-binomial",
    "negbinomial": "negative-binomial",
    "negativebinomial": "negative-binomial",
    "gamma-hurdle": "zero-adjusted-gamma",
    "hurdle-gamma": "zero-adjusted-gamma",
    "zero-inflated-gamma": "zero-adjusted-gamma",
    "zaga": "zero-adjusted-gamma",
    "lognormal-hurdle": "zero-adjusted-lognormal",
    "hurdle-lognormal": "zero-adjusted-lognormal",
    "hurdle-log-normal": "zero-adjusted-lognormal",
    "zero-inflated-lognormal": "zero-adjusted-lognormal",
    "zero-inflated-log-normal": "zero-adjusted-lognormal",
    "delta-lognormal": "zero-adjusted-lognormal",
    "ziln": "zero-adjusted-lognormal",
    "compound-poisson": "tweedie",
    "compound-poisson-gamma": "tweedie",
    "hist": "histogram",
    "bars": "histogram",
    "quantile-bins": "histogram",
    "zip": "zero-inflated-poisson",
    "zinb": "zero-inflated-negative-binomial",
}

# Names that several families go by.
AMBIGUOUS: dict[str, tuple[str, ...]] = {
    "binomial": ("bernoulli", "negative-binomial"),
    "count": ("poisson", "negative-binomial"),
    "counts": ("poisson", "negative-binomial"),
    "hurdle": ("hurdle-poisson", "hurdle-negative-binomial", "zero-adjusted-gamma", "zero-adjusted-lognormal"),
    "logistic": ("bernoulli", "categorical"),
    "zero-adjusted": ("zero-adjusted-gamma", "zero-adjusted-lognormal"),
    "zero-inflated": ("zero-inflated-poisson", "zero-inflated-negative-binomial"),
}


def plain(name: str) -> str:
    """A name in lower case, with hyphens for underscores and spaces.

    >>> plain("Student's t"), plain("NEGATIVE_BINOMIAL")
    ('students-t', 'negative-binomial')
    """
    return "-".join(name.lower().replace("'", "").replace("_", " ").replace("-", " ").split())
