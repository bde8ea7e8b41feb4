"""The Laplace distribution, torch's own: its cdf and quantiles serve, and scores go by quadrature."""

import pyro.distributions as dist

from .origins import Parameters, parametrised, scipy_name, skpro_name


@scipy_name("laplace")
def _(p: Parameters) -> dist.Laplace:
    return parametrised(dist.Laplace, loc=p["loc"], scale=p["scale"])


@skpro_name("Laplace")
def _(p: Parameters) -> dist.Laplace:
    return parametrised(dist.Laplace, loc=p["mu"], scale=p["scale"])
