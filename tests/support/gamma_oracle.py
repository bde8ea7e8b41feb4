"""The regularised incomplete gamma functions to any precision, and the points at which tests compare with them."""

import mpmath

SHAPES = (1e-9, 1e-5, 1e-3, 0.03, 0.3, 0.9, 1.0, 1.5, 4.0, 12.0, 50.0, 300.0, 1e4, 1e6, 1e8)


def exact_tails(a: mpmath.mpf, x: mpmath.mpf) -> tuple[mpmath.mpf, mpmath.mpf]:
    """Lower and upper tail; of mpmath's fifty digits at least 25 are right in the smaller tail as well."""
    if x > a and a < 1000:
        # mpmath's own, which does not converge for larger shapes
        upper = mpmath.gammainc(a, x, regularized=True)
        return 1 - upper, upper
    kernel = mpmath.exp(a * mpmath.log(x) - x - mpmath.loggamma(a))
    if x > a + 10 * mpmath.sqrt(a):
        upper = kernel * _fraction(a, x)
        return 1 - upper, upper
    lower = kernel / a * mpmath.hyp1f1(1, a + 1, x, maxterms=10**7)
    return lower, 1 - lower


def _fraction(a: mpmath.mpf, x: mpmath.mpf) -> mpmath.mpf:
    """Legendre's continued fraction (DLMF 8.9.2) by its convergents."""
    before, numerator, below, denominator = mpmath.mpf(0), mpmath.mpf(1), mpmath.mpf(1), x + 1 - a
    value, k = numerator / denominator, 1
    while True:
        partial, slope = k * (a - k), x + 2 * k + 1 - a
        before, numerator = numerator, slope * numerator + partial * before
        below, denominator = denominator, slope * denominator + partial * below
        last, value, k = value, numerator / denominator, k + 1
        if abs(value - last) < mpmath.eps * value:
            return value


def points(a: float) -> list[float]:
    """Values of x from far in the lower tail to far in the upper one, on both sides of every change of method."""
    x = [a + z * a**0.5 for z in (-30, -8, -1, 0, 1e-3, 1, 8, 30)]
    x += [a * t for t in (0.01, 0.69, 0.71, 0.9, 1.42, 1.44, 3.0)]
    if a < 100:
        x += [1e-200, 1e-20, 1e-3, 0.3, 0.999, 1.001, 1.5, 5.0, 40.0, 600.0]
    return sorted(t for t in x if t > 0)
