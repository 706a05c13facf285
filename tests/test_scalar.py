"""The scalar printer: what it writes, in which order, and that the text means the expression."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sympy
from floats import function
from sympy import (
    Abs,
    And,
    Eq,
    Expr,
    Integer,
    Not,
    Or,
    Piecewise,
    Rational,
    S,
    Symbol,
    besseli,
    cosh,
    digamma,
    erf,
    exp,
    log,
    loggamma,
    pi,
    polygamma,
    sign,
    sqrt,
)
from sympy.core.parameters import distribute

from symloss import atoms as a
from symloss.errors import UnsupportedError
from symloss.index import Entry, Index, Size
from symloss.printers.scalar import FUNCTIONS, ScalarPrinter
from symloss.program import gap, scale_of, scaled, shift

r, s, t = (Symbol(name, real=True) for name in "rst")
beta = Symbol("beta", positive=True)
k = Index("k", "K")
K = Size("K")


def text(expr) -> str:
    return ScalarPrinter().text(expr)


WRITTEN = [
    # numbers: floats all, the sign binds like a product
    (Integer(3), "3.0"),
    (-S.Half, "-0.5"),
    (S.NaN, "nan"),
    (S.Infinity, "inf"),
    (S.NegativeInfinity, "-inf"),
    (pi, repr(math.pi)),
    (Rational(1, 3), repr(1 / 3)),
    # sums: terms with a minus sign and numbers last
    (r - s, "r - s"),
    (1 + r, "r + 1.0"),
    (1 - r, "1.0 - r"),
    (-r - s, "-r - s"),
    # products
    (2 * r, "2.0 * r"),
    (-r * s, "-r * s"),
    (r / 2, "0.5 * r"),
    (r / 3, "r / 3.0"),
    (2 * r / 3, "2.0 / 3.0 * r"),
    # powers: a square is on both sides of what it multiplies, so that it isn't formed first
    (r**2, "r * r"),
    (r**3, "r * r * r"),
    (1 / r, "1.0 / r"),
    (r**-2, "1.0 / r / r"),
    (sqrt(r), "sqrt(r)"),
    (1 / sqrt(beta), "1.0 / sqrt(beta)"),
    (beta ** Rational(3, 2), "beta * sqrt(beta)"),
    (beta**r, "power(beta, r)"),
    (beta ** Rational(1, 3), f"power(beta, {1 / 3!r})"),
    # relations and cases
    (Piecewise((r, r > 0), (s, True)), "select(r > 0.0, r, s)"),
    (Piecewise((r, r > 0), (s, s < 1)), "select(r > 0.0, r, select(s < 1.0, s, nan))"),
    (1 + Piecewise((r, r > 0), (s, True)), "select(r > 0.0, r, s) + 1.0"),
    (Eq(r, s), "r == s"),
    (And(r > 0, s <= 1), "(r > 0.0) & (s <= 1.0)"),
    (Or(r > 0, s <= 1), "(r > 0.0) | (s <= 1.0)"),
    # functions
    (Abs(r), "abs(r)"),
    (sign(r - s), "sign(r - s)"),
    (log(r + 1), "log(r + 1.0)"),
    (loggamma(r), "lgamma(r)"),
    (digamma(r), "digamma(r)"),
    (polygamma(1, r), "trigamma(r)"),
    (besseli(2, r), "besseli2(r)"),
    (sympy.Max(r, s), "larger(r, s)"),
    (sympy.Min(r, s), "smaller(r, s)"),
    (a.softplus(-r), "softplus(-r)"),
    (a.times0(r, log(s)), "times0(r, log(s))"),
    (shift(r, s), "shift(r, s)"),
    (gap(r, s), "(r - s)"),
    (scaled(r, s), "(r * s)"),
    (scale_of(r), "scale_of(r)"),
    (Entry(r, k), "r[k]"),
    (K, "K"),
    (r / K, "r / K"),
]


@pytest.mark.parametrize(("expr", "wanted"), WRITTEN, ids=[wanted for _, wanted in WRITTEN])
def test_text(expr, wanted):
    with distribute(False):
        assert text(expr) == wanted


VALUES = {"r": 0.7, "s": -1.3, "t": 2.1, "beta": 0.4}
EXPRESSIONS = [
    r**2 / (2 * beta), (r - s) ** 2 * (r + t) / (beta * t**2), -(r - s) * (s - t), r - (s - t), r - s * t / beta,
    -(r**2), (-r) ** 3, r / (s / t), r / (s * t), (r / s) / t, (r * s) ** -2, 1 / (r + s) ** 2, -Rational(2, 3) * r / s,
    (r + s) * (t - s) / (r - t), exp(-(r**2)) / sqrt(2 * pi), beta ** (r - 1) * log(beta), sqrt(beta) ** -3 * r,
    Piecewise((r, r > s), (s, True)) * Piecewise((t, Not(And(t > 0, s > 0))), (1, True)),
    r * (s - Piecewise((r, Or(r > 1, s < -1)), (t, True))), 2 * (r - Rational(1, 2) * (s + t)), -(-r - s) - t, 3 * -r * -s,
    K * r / (K - 1) - r / K**2, sign(s) * Abs(s) ** beta, a.sigmoid(-r) * (1 - a.sigmoid(s)) + erf(t) - cosh(r - s) / t,
    r**9, r**-9, (r + s) ** 10, sympy.Max(r, s, t) - sympy.Min(r, s, t), beta ** Rational(-5, 2), r**2 * s**3 / t**3,
]  # fmt: skip


@pytest.mark.parametrize("expr", EXPRESSIONS, ids=[str(expr) for expr in EXPRESSIONS])
def test_the_text_means_the_expression(expr: Expr):
    printer = ScalarPrinter()
    source = printer.text(expr)
    names = VALUES | {"K": 5} | {name: function(name) for name in printer.used}
    wanted = expr.subs({symbol: (VALUES | {"K": 5})[symbol.name] for symbol in expr.free_symbols})
    got = eval(source, {}, names)
    wanted = float(
        sympy.N(wanted.replace(lambda e: isinstance(e, a.ScalarAtom), lambda e: e.definition(*e.args)), 30)
    )
    assert got == pytest.approx(wanted, rel=1e-14), source


@pytest.mark.parametrize(
    ("expr", "values"),
    [
        (r**2 / (2 * beta), {"r": 1e200, "beta": 1e150}),
        (r**2 * s**2, {"r": 1e200, "s": 1e-200}),
        (r**2 / s**2, {"r": 1e200, "s": 1e180}),
        (r**2 / s**2, {"r": 1e-200, "s": 1e-180}),
        (r * s / t, {"r": 1e200, "s": 1e200, "t": 1e200}),
        (r * s / t / beta, {"r": 1e-200, "s": 1e-200, "t": 1e-200, "beta": 1e-200}),
        (r**-2 * s, {"r": 1e-200, "s": 1e-200}),
        (r**3 / s**2, {"r": 1e150, "s": 1e150}),
        (r**4 / s**3, {"r": 1e150, "s": 1e180}),
    ],
)
def test_no_intermediate_leaves_the_floats_where_the_result_does_not(expr, values):
    """No r * r first: products and quotients take turns."""
    with np.errstate(all="raise", under="ignore"):
        got = eval(text(expr), {}, {name: np.float64(value) for name, value in values.items()})
    exact = expr.subs({Symbol(name, real=True): Rational(value) for name, value in values.items()}).subs(
        {Symbol("beta", positive=True): Rational(values.get("beta", 1))}
    )
    assert math.isfinite(got)
    assert got == pytest.approx(float(exact), rel=1e-14)


def test_what_is_used_is_remembered_for_the_imports():
    printer = ScalarPrinter()
    printer.text(
        a.softplus(exp(r)) + sqrt(beta) + Piecewise((r, r > 0), (S.Infinity, s > 0)) + Abs(r) + beta**r
    )
    assert printer.used == {"softplus", "exp", "sqrt", "inf", "nan", "power", "select"}


def test_unknown_functions_are_refused_by_name():
    with pytest.raises(UnsupportedError, match="zeta"):
        text(sympy.zeta(r))


@pytest.mark.parametrize("kind", FUNCTIONS, ids=lambda kind: kind.__name__)
def test_every_function_has_one_in_the_kernels(kind):
    name = FUNCTIONS[kind]
    assert name == "abs" or callable(function(name))
