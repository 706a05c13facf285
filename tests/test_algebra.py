"""Rational simplification: the same number, no symbol that wasn't there, and it says no where it must."""

from __future__ import annotations

import numpy as np
import pytest
from mpmath import mpf
from sympy import S, Symbol, exp, log
from sympy.core.parameters import distribute

from symloss import atoms as a
from symloss.algebra import cancels_to, one_sign_fraction
from symloss.index import Entry, Index, Max, Sum
from symloss.oracle import evaluate_expr

x, y = Symbol("x", nonnegative=True), Symbol("y", nonnegative=True)
power = Symbol("power", real=True)
z, w = Symbol("z", real=True), Symbol("w", real=True)
k, m, t = Index("k", "K"), Index("m", "K"), Index("t", "K")
SHARE = a.Softmax(Entry(z, k), k, t)
POINT = {"x": 0.3, "y": 1.7, "power": 0.6, "z": np.array([0.5, -1.25, 2.0]), "w": np.array([1.5, 0.25, -3.0])}


# What isn't rational, entries within rows within functions included, must come back as it was.
RATIONAL = {
    "numbers": (x**2 - y**2) / (x - y),
    "an entry": (Entry(z, t) ** 2 - 1) / (Entry(z, t) - 1),
    "a row": SHARE / (SHARE + 1) + 1 / (SHARE + 1) + x,
    "a row and its entry": SHARE - Entry(z, t) + 1,
    "sums": Sum((Entry(z, k) - Entry(w, k)) ** 2, k) - Sum(Entry(w, k) ** 2, k),
    "a sum of rows": Sum(a.Softmax(Entry(z, k), k, m) * Entry(w, m), m) - a.LogSumExp(Entry(z, k), k),
    "a function of a row": log(SHARE + 1) - exp(SHARE) + SHARE * Entry(z, t),
    "a function of functions": exp(log(x + 1) * Entry(z, t)) - exp(x) + log(x + 1),
    "a sum within a sum": Sum(Entry(z, k) * Max(Entry(w, m) - Entry(z, k), m), k) - Max(Entry(w, m), m),
    "a power": (1 - SHARE**power) / power - 1,
    "a quotient of zeros": a.ratio0(x, x + y) + a.ratio0(y, x + y) + Entry(z, t),
}


@pytest.mark.parametrize("what", RATIONAL)
def test_what_is_not_rational_comes_back_as_it_was(what):
    before = RATIONAL[what]
    with distribute(False):
        after = cancels_to(before)
    assert after.free_symbols <= before.free_symbols
    wanted, got = (evaluate_expr(expr, POINT, {t: 1}) for expr in (before, after))
    assert abs(wanted - got) <= abs(wanted) * mpf("1e-24")


def test_common_factors_cancel():
    assert cancels_to((x**2 - y**2) / (x - y)) == x + y
    assert cancels_to(SHARE / (SHARE + 1) + 1 / (SHARE + 1)) == 1
    assert cancels_to(x - (x + y) / 2).expand() == x / 2 - y / 2


def test_one_fraction_of_a_row_has_no_symbol_of_its_own():
    length = a.Norm(Entry(z, k), k)
    fraction = one_sign_fraction(1 / (1 + length) - 1 / (1 + length + x))
    assert fraction.free_symbols == {z, x}
    exact = evaluate_expr(1 / (1 + length) - 1 / (1 + length + x), POINT)
    assert abs(evaluate_expr(fraction, POINT) - exact) <= exact * mpf("1e-24")


@pytest.mark.parametrize("expr", [x + y, x - y, 1 / (1 + x) - y, x / (1 + y) - y / (1 + x)])
def test_what_can_cancel_over_one_denominator_too_is_left_alone(expr):
    assert one_sign_fraction(expr) is None


def test_a_constant_is_found():
    with distribute(False):
        assert cancels_to(a.ratio0(x, x + y) + a.ratio0(y, x + y) - 1) == S.Zero
