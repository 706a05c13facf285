"""Derive the coefficients and constants of the kernels' functions, and write them as a template.

    python tools/coefficients.py           write templates/kernels/_coefficients.py.jinja
    python tools/coefficients.py --check   fail if that file isn't what this script writes

Each polynomial interpolates an exact function at the Chebyshev points of an interval, which is nearly the
best polynomial there; mpmath computes it with 100 digits, and each coefficient is rounded once. The functions
are arranged so that the leading terms, whose rounding would count, are exact and not in the polynomial: e^r
is 1 + r + r^2/2 + r^3 q(r), and q is what is fitted.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
from mpmath import mp, mpf

DIGITS = 100
TARGET = Path(__file__).parents[1] / "templates" / "kernels" / "_coefficients.py.jinja"
HEAD = '''{{ header }}
"""Coefficients and constants of the kernels' functions; tools/coefficients.py derives them.

Polynomials have their lowest power first. Names end in 32 or 64, for float32 and float64.
"""
'''


@dataclass(frozen=True)
class Fit:
    """A polynomial for a function on [low, high] in x - centre; how many coefficients a precision needs."""

    name: str
    formula: str
    function: Callable[[Any], Any]
    low: Any
    high: Any
    single: int = 0
    double: int = 0
    centre: Any = 0


def polynomial(fit: Fit, count: int) -> list[Any]:
    """The interpolating polynomial of `count` coefficients, lowest power first."""

    def shifted(x: Any) -> Any:
        # A function such as (e^r - 1 - r)/r^2 is a limit at 0. Beside it, enough of the digits are left.
        tiny = mpf("1e-20")
        return fit.function(x + fit.centre if abs(x + fit.centre) > tiny else tiny)

    low, high = mpf(fit.low) - fit.centre, mpf(fit.high) - fit.centre
    return mpmath.chebyfit(shifted, [low, high], count)[::-1]


def single(value: Any) -> str:
    """The float32 nearest to a number, as the shortest text that means it."""
    text = str(np.float32(float(mpmath.nstr(value, 25))))
    assert np.float32(float(text)) == np.float32(text)
    return text


def double(value: Any) -> str:
    """The float64 nearest to a number."""
    return repr(float(value))


def parts(value: Any, bits: tuple[int, ...]) -> list[Any]:
    """A number as a sum; each part but the last has so many bits that small multiples of it are exact."""
    found = []
    for count in bits:
        scale = mpf(2) ** (count - mp.mag(value))
        part = mpmath.nint(value * scale) / scale
        found.append(part)
        value -= part
    return [*found, value]


def over_powers(function: Callable[[Any], Any], *leading: Any) -> Callable[[Any], Any]:
    """What is left of a function after its first terms c0 + c1 x + ..., over the next power of x."""

    def rest(x: Any) -> Any:
        return (function(x) - sum(c * x**i for i, c in enumerate(leading))) / x ** len(leading)

    return rest


def odd(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """(f(x) - x)/x^3 of an odd f with f'(0) = 1, as a function of x^2."""

    def rest(square: Any) -> Any:
        x = mpmath.sqrt(square)
        return (function(x) - x) / (x * square)

    return rest


def far(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """f(x) as a function of 1/x^2, smooth at 0 by an asymptotic series; at 0 it is taken a little beside."""
    return lambda square: function(1 / mpmath.sqrt(max(square, mpf("1e-12"))))


def middle(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """f(x) as a function of (x - 2)/(x + 2)."""
    return lambda u: function(2 * (1 + u) / (1 - u))


def hazard_rest(t: Any) -> Any:
    """(h - 2x)(1 + x) in t = (x - 5/2)/(x + 5/2): beyond 60 by Laplace's continued fraction."""
    x = mpf(5) / 2 * (1 + t) / (1 - t) if t < 1 else mpf("1e99")
    if x < 60:
        return (2 * mpmath.exp(-x * x) / mpmath.sqrt(mpmath.pi) / mpmath.erfc(x) - 2 * x) * (1 + x)
    rest = mpf(0)
    for k in range(120, 0, -1):
        rest = mpf(k) / 2 / (x + rest)
    return 2 * rest * (1 + x)


def fits() -> list[Fit]:
    """All polynomials."""
    half = mpf(1) / 2
    ln2, half, ninth = mpmath.log(2), mpf(1) / 2, mpf(1) / 9
    # log m for m in [3/4, 3/2) by s = (m - 1)/(m + 1), which is at most 1/5.
    s2 = mpf(1) / 25
    slack = mpf("1.002")  # the rounding of x/log 2 lets a reduced argument lie a little outside
    turn = (mpmath.pi / 4) ** 2 * slack
    third = mpf(1) / 3
    exp_rest = over_powers(mpmath.exp, 1, 1, half)
    log_rest = over_powers(mpmath.log1p, 0, 1, -half)
    atanh_rest = odd(mpmath.atanh)
    return [
        Fit("EXP", "(e^r - 1 - r - r^2/2)/r^3", exp_rest, -ln2 / 2 * slack, mpf("0.415"), single=5),
        Fit("EXP", "(e^r - 1 - r - r^2/2)/r^3", exp_rest, -ln2 / 2 * slack, ln2 / 2 * slack, double=9),
        Fit("LOG", "(log(1 + f) - f + f^2/2)/f^3", log_rest, -half / 2 * slack, half * slack, single=9),
        Fit("ATANH_NEAR", "(2 atanh(s)/s - 2)/s^2 in s^2", lambda z: 2 * atanh_rest(z), 0, s2 * slack, 4, 8),
        Fit("ATANH_WIDE", "(2 atanh(s)/s - 2)/s^2 in s^2", lambda z: 2 * atanh_rest(z), 0, ninth, 0, 11),
        Fit(
            "ATANH_FAR",
            "(2 atanh(s) - 2 s - 2/3 s^3)/s^5 in s^2",
            lambda z: (2 * atanh_rest(z) - 2 * third) / z,
            0,
            s2 * slack,
            double=8,
        ),
        Fit(
            "LOG2_COARSE",
            "log2((1 + s)/(1 - s))/s in s^2, for powers in float32",
            lambda z: (2 + 2 * z * atanh_rest(z)) / ln2,
            0,
            s2 * slack,
            double=5,
        ),
        Fit("EXP_LOOSE", "(e^r - 1)/r", over_powers(mpmath.exp, 1), -ln2 / 2 * slack, ln2 / 2 * slack, 0, 9),
        Fit("ATANH_LOOSE", "2 atanh(s)/s in s^2", lambda z: 2 + 2 * z * atanh_rest(z), 0, s2 * slack, 0, 7),
        Fit("ATANH_FAR_LOOSE", "2 atanh(s)/s in s^2", lambda z: 2 + 2 * z * atanh_rest(z), 0, ninth, 0, 8),
        Fit("EXP2_COARSE", "2^f, for powers in float32", lambda f: mpf(2) ** f, -0.501, 0.501, double=7),
        Fit(
            "LOG1P_UNIT",
            "(log(1 + e) - e + e^2/4)/(e^2/4) in e - 1/2",
            lambda e: 1 - 4 * (e - mpmath.log1p(e)) / e**2,
            0,
            1,
            single=10,
            double=20,
            centre=half,
        ),
        Fit("SINH", "(sinh(x) - x)/x^3 in x^2", odd(mpmath.sinh), 0, 1, single=4, double=8),
        Fit(
            "LOGCOSH",
            "(log cosh(x) - x^2/2)/x^4 in x^2",
            lambda z: (mpmath.log(mpmath.cosh(mpmath.sqrt(z))) - z / 2) / z**2,
            0,
            1,
            double=15,
        ),
        Fit("EXPM1_MINUS", "(e^x - 1 - x - x^2/2)/x^3", exp_rest, -0.7, 0.7, double=12),
        Fit("SIN", "(sin(r) - r)/r^3 in r^2", odd(mpmath.sin), 0, turn, double=6),
        Fit(
            "COS",
            "(cos(r) - 1 + r^2/2)/r^4 in r^2",
            lambda z: (mpmath.cos(mpmath.sqrt(z)) - 1 + z / 2) / z**2,
            0,
            turn,
            double=6,
        ),
        Fit("ATAN", "(atan(t) - t)/t^3 in t^2", odd(mpmath.atan), 0, half**2, double=13),
        Fit("ASIN", "(asin(t) - t)/t^3 in t^2", odd(mpmath.asin), 0, half**2, double=13),
        Fit(
            "ERF",
            "erf(x)/x - 1 in x^2",
            lambda z: mpmath.erf(mpmath.sqrt(z)) / mpmath.sqrt(z) - 1,
            0,
            1,
            double=13,
        ),
        Fit(
            "HAZARD",
            "(h - 2x)(1 + x) in (x - 5/2)/(x + 5/2), for h = 2 e^(-x^2)/(sqrt(pi) erfc(x)), all x > 0",
            hazard_rest,
            -1,
            1,
            double=28,
        ),
        *gammas(),
    ]


def gammas() -> list[Fit]:
    """Those of the gamma functions: each has one for x from 1 to 4, or from 3/2 to 5/2, and one beyond."""
    half, root = mpf(1) / 2, mpmath.findroot(mpmath.digamma, mpf("1.4616321449683622"))

    def stirling(x: Any) -> Any:
        return (x - half) * mpmath.log(x) - x + mpmath.log(2 * mpmath.pi) / 2

    def near(name: str, formula: str, function: Callable[[Any], Any], count: int) -> Fit:
        formula += " in (x - 2)/(x + 2), for x from 1 to 4"
        return Fit(name, formula, middle(function), -mpf(1) / 3, mpf(1) / 3, double=count)

    def beyond(name: str, formula: str, start: int, function: Callable[[Any], Any], count: int) -> Fit:
        formula += f" in 1/x^2, for x > {start}"
        return Fit(name, formula, far(function), 0, mpf(1) / start**2, double=count)

    def digamma_rest(x: Any) -> Any:
        return (mpmath.log(x) - half / x - mpmath.digamma(x)) * x**2

    def trigamma_rest(x: Any) -> Any:
        return (mpmath.psi(1, x) - 1 / x - half / x**2) * x**3

    def tetragamma_rest(x: Any) -> Any:
        return (-mpmath.psi(2, x) - 1 / x**2 - 1 / x**3) * x**4

    return [
        Fit("LGAMMA", "log gamma(2 + y)/y", lambda y: mpmath.loggamma(2 + y) / y, -half, half, double=18),
        beyond(
            "LGAMMA_FAR",
            "(log gamma(x) - Stirling's formula) x",
            3,
            lambda x: (mpmath.loggamma(x) - stirling(x)) * x,
            10,
        ),
        near("DIGAMMA", "digamma(x)/(x - its root)", lambda x: mpmath.digamma(x) / (x - root), 22),
        beyond("DIGAMMA_FAR", "(log(x) - 1/(2x) - digamma(x)) x^2", 4, digamma_rest, 10),
        near("TRIGAMMA", "x trigamma(x)", lambda x: x * mpmath.psi(1, x), 22),
        beyond("TRIGAMMA_FAR", "(trigamma(x) - 1/x - 1/(2x^2)) x^3", 4, trigamma_rest, 11),
        near("TETRAGAMMA", "-x^2 tetragamma(x)", lambda x: -(x**2) * mpmath.psi(2, x), 23),
        beyond("TETRAGAMMA_FAR", "(-tetragamma(x) - 1/x^2 - 1/x^3) x^4", 4, tetragamma_rest, 12),
    ]


def constants() -> list[tuple[str, list[str], str]]:
    """Names, values and what they are."""
    ln2 = mpmath.log(2)
    found = []

    def add(comment: str, **values: str) -> None:
        for name, value in values.items():
            found.append((name, value, comment))
            comment = ""

    add("1/log 2", LOG2_E=double(1 / ln2))
    high, low = parts(ln2, (24,))
    add(
        "log 2 for float32: the first has all bits, and a fused multiply-add takes its multiples exactly",
        LN2_HIGH32=single(high),
        LN2_LOW32=single(low),
    )
    high, low = parts(ln2, (16,))
    add(
        "log 2 for float32: the first has 16 bits, so that its multiples by exponents are exact",
        LN2_SHORT32=single(high),
        LN2_REST32=single(low),
    )
    high, low = parts(ln2, (53,))
    add("log 2 for float64, in the same two ways", LN2_HIGH64=double(high), LN2_LOW64=double(low))
    high, low = parts(ln2, (42,))
    add("", LN2_SHORT64=double(high), LN2_REST64=double(low))
    first, second, third, rest = parts(mpmath.pi / 2, (33, 33, 33))
    add(
        "pi/2: multiples of the first three by whole numbers up to 2^20 are exact",
        HALF_PI_1=double(first),
        HALF_PI_2=double(second),
        HALF_PI_3=double(third),
        HALF_PI_4=double(rest),
    )
    high, low_of_root = parts(mpmath.findroot(mpmath.digamma, mpf("1.4616321449683622")), (53,))
    add("The root of digamma as a sum of two", ROOT=double(high), ROOT_REST=double(low_of_root))
    high, low = parts(mpmath.pi / 2, (53,))
    add("pi/2 as a sum of two", HALF_PI=double(high), HALF_PI_REST=double(low))
    return found


def wrapped(name: str, values: list[str]) -> str:
    """A tuple over lines of at most 110 characters."""
    lines, line = [f"{name} = ("], "   "
    for value in values:
        if len(line) + len(value) + 2 > 110:
            lines.append(line)
            line = "   "
        line += f" {value},"
    return "\n".join([*lines, line, ")"])


def text() -> str:
    """The template."""
    with mp.workdps(DIGITS):
        blocks = [HEAD]
        for name, value, comment in constants():
            blocks.append((f"\n# {comment}\n" if comment else "") + f"{name} = {value}\n")
        for fit in fits():
            where = f" on [{mpmath.nstr(mpf(fit.low), 5)}, {mpmath.nstr(mpf(fit.high), 5)}]"
            blocks.append(f"\n# {fit.formula}{where}\n")
            for count, suffix, write in ((fit.single, "32", single), (fit.double, "64", double)):
                if count:
                    values = [write(c) for c in polynomial(fit, count)]
                    blocks.append(wrapped(fit.name + suffix, values) + "\n")
        return "".join(blocks)


if __name__ == "__main__":
    new = text()
    if sys.argv[1:] == ["--check"]:
        sys.exit(
            0 if TARGET.read_text() == new else f"{TARGET} isn't what tools/coefficients.py writes: run it"
        )
    TARGET.write_text(new)
