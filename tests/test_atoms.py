"""Atoms: the derivative is that of the definition, the kernels' function and the row's loops compute it."""

from __future__ import annotations

import itertools
import math
import random

import mpmath
import numpy as np
import pytest
import sympy
from floats import function, in_floats
from mpmath import mp, mpf
from symloss_kernels import _math
from sympy import Symbol

from symloss import atoms as a
from symloss.index import Entry, Index, Sum
from symloss.oracle import evaluate_expr
from symloss.printers.latex import latex
from symloss.ulp import ulp, ulp_error

POINTS = (-900.0, -30.0, -3.0, -1.5, -0.75, -1e-3, -1e-20, 1e-20, 1e-3, 0.4, 1.0, 2.5, 30.0, 900.0)
ROWS_BY_NAME = {row.name: row for row in a.SCALARS}


def textbook(expr):
    """Without any atom: an atom's derivative may be written in others."""
    while any(isinstance(node, (a.ScalarAtom, a.RowAtom)) for node in sympy.preorder_traversal(expr)):
        expr = a.textbook(expr)
    return expr


def arguments(row: a.Row) -> list[Symbol]:
    return [Symbol(name, real=True) for name in "xyuv"[: row.arity]]


def compiled(expr, symbols):
    return sympy.lambdify(symbols, textbook(expr), "mpmath")


def is_real(value) -> bool:
    """Whether the atom is defined there: a logarithm of a negative number is not."""
    return not isinstance(value, mpmath.mpc) and mp.isfinite(value)


def points(row: a.Row) -> list[tuple[float, ...]]:
    """Arguments at which the definition is real; those of `log_ratio` that say what is known are made up."""
    if row.name == "log_ratio":
        return [(x, y, x - y, -math.inf) for x, y in itertools.product(POINTS, POINTS) if x > 0 and y > 0]
    draw = random.Random(row.name)
    if "gap" in row.name:
        return [(x, y) for x, y in itertools.product(POINTS, POINTS) if x > 0 and y > 0 and x != y]
    if "erfc" in row.name:
        return [(x,) for x in (*POINTS, -5.0, 7.0) if abs(x) < 30]  # e^(-30^2) is no float
    near = [x for x in POINTS if row.arity == 1 or abs(x) < 100]  # 900^900 is no float
    tuples = list(itertools.product(near, repeat=row.arity))
    if row.name == "boxcox1p":
        tuples = [(t, power) for t, power in tuples if t > -1]
    return draw.sample(tuples, min(len(tuples), 60))


@pytest.mark.parametrize("name", ROWS_BY_NAME)
def test_derivatives_are_those_of_the_definition(name):
    row = ROWS_BY_NAME[name]
    symbols = arguments(row)
    define = compiled(row.definition(*symbols), symbols)
    partials = [compiled(partial(*symbols), symbols) for partial in row.partials]
    compared = 0
    with mp.workdps(1500):
        for point in points(row):
            numbers = tuple(map(mpf, point))
            if not is_real(define(*numbers)):
                continue
            for i, partial in enumerate(partials):
                order = tuple(int(i == n) for n in range(row.arity))
                step = max(abs(numbers[i]), mpf("1e-20")) * mpf("1e-100")
                ahead, behind = (
                    tuple(x + s * step * o for x, o in zip(numbers, order, strict=True)) for s in (1, -1)
                )
                wanted = (define(*ahead) - define(*behind)) / (2 * step)
                got = partial(*numbers)
                assert abs(got - wanted) <= mpf("1e-40") * abs(wanted), (point, i)
                compared += 1
    assert compared >= 5


@pytest.mark.parametrize("name", ROWS_BY_NAME)
def test_the_kernels_compute_the_definition(name):
    row = ROWS_BY_NAME[name]
    assert name in _math.__all__
    symbols = arguments(row)
    define, compute, compared = compiled(row.definition(*symbols), symbols), function(name), 0
    for point in points(row):
        with mp.workdps(900):
            exact = define(*map(mpf, point))
            if not is_real(exact):
                continue
            # ((1 + t)^a - 1)/a has the condition a log(1 + t): rounding an exponent costs that much.
            condition = 1.0
            if name.startswith("boxcox1p"):
                condition += abs(point[1] * math.log1p(point[0] if name == "boxcox1p" else point[0] ** 2))
        error = ulp_error(compute(*point), exact, "float64")
        assert error <= 4 * condition, (point, compute(*point))
        compared += 1
    assert compared >= 5


@pytest.mark.parametrize("name", ROWS_BY_NAME)
def test_declared_signs_and_bounds_hold(name):
    row, compute = ROWS_BY_NAME[name], function(name)
    results = [compute(*point) for point in points(row)]
    if row.sign:
        assert all(result >= 0 or result != result for result in results)
    if row.bounded:
        assert all(
            math.isfinite(compute(*x))
            for x in itertools.product([*POINTS, math.inf, -math.inf], repeat=row.arity)
        )
    atom = getattr(a, name)(*arguments(row))
    assert atom.is_positive is (True if row.sign == "++" else None)
    assert atom.is_real


@pytest.mark.parametrize("name", ROWS_BY_NAME)
def test_scalar_atoms_print(name):
    text = latex(getattr(a, name)(*arguments(ROWS_BY_NAME[name])))
    assert "x" in text
    assert text.count("{") == text.count("}") and "{{" not in text.replace("e^{{", "")


@pytest.mark.parametrize(
    ("expr", "wanted"),
    [
        (a.times0(sympy.S.Zero, Symbol("y")), 0),
        (a.ratio0(sympy.S.Zero, Symbol("y", real=True)), 0),
        (a.ratio0(Symbol("y", real=True), Symbol("y", real=True)), 1),
        (
            a.times0(2 * Symbol("x", real=True), Symbol("y", real=True)),
            2 * a.times0(Symbol("x", real=True), Symbol("y", real=True)),
        ),
        (
            a.ratio0(Symbol("x", real=True), Symbol("y", positive=True)),
            Symbol("x", real=True) / Symbol("y", positive=True),
        ),
    ],
)
def test_products_and_quotients_simplify(expr, wanted):
    assert expr == wanted


# --- rows -------------------------------------------------------------------------------------------------------

z, w = Symbol("z", real=True), Symbol("w", real=True)
k, at = Index("k", "K"), Index("at", "K")
ATOMS = [a.LogSumExp, a.Softmax, a.LogSoftmax, a.SoftmaxComplement, a.SoftmaxCentred, a.Norm, a.Unit,
         a.UnitComplement, a.UnitCentred, a.MaxShare]  # fmt: skip
TWO_BODIES = (a.SoftmaxCentred, a.UnitCentred)
WHOLE = (a.LogSumExp, a.Norm)

DRAW = np.random.default_rng(3)
# Entries whose differences are exact: rounding x - m would cost |x - m| ulp of e^(x - m), whatever one does.
SHAPES = {
    "random": np.round(DRAW.normal(size=5) * 3, 1) // 0.125 * 0.125,
    "one entry": np.array([1.7]),
    "two": np.array([0.25, -1.875]),
    "ascending": np.array([-3.0, -1.0, 0.5, 2.0, 4.0]),
    "descending": np.array([4.0, 2.0, 0.5, -1.0, -3.0]),
    "peak in the middle": np.array([0.125, 30.0, 0.25, 0.375]),
    "dominating": np.array([60.0, 1.0, 2.0, -5.0]),
    "far apart": np.array([700.0, -700.0, 650.0]),
    "ties": np.array([2.0, -1.0, 2.0, 2.0]),
    "all equal": np.array([-3.0, -3.0, -3.0]),
    "small": np.array([1e-9, -3e-9, 2e-10]),
}
EXTREME = {"large": np.array([1e200, -3e200, 2e150]), "tiny": np.array([1e-200, 3e-220, -2e-200]),
           "subnormal": np.array([5e-320, 1e-318, -2e-319])}  # fmt: skip


def row_atom(kind):
    bodies = (Entry(z, k), Entry(w, k)) if kind in TWO_BODIES else Entry(z, k)
    return kind(bodies, k) if kind in WHOLE else kind(bodies, k, at)


def compare(kind, row, bound=8):
    """The loops against the textbook, at every place; rows that mix a second row, relative to its size."""
    atom, other = row_atom(kind), np.linspace(-1, 2, len(row)) ** 2
    point = {"z": row, "w": other}
    for place in range(1 if kind in WHOLE else len(row)):
        exact = evaluate_expr(a.textbook(atom), point, {at: place})
        got = in_floats(atom, point, {at: place})
        if kind in TWO_BODIES:
            assert abs(got - exact) <= bound * ulp(np.max(np.abs(other)), "float64")
        else:
            assert ulp_error(got, exact, "float64") <= bound, (place, got, exact)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ATOMS, ids=lambda kind: kind.__name__)
def test_rows(kind, shape):
    compare(kind, SHAPES[shape])


@pytest.mark.parametrize("shape", EXTREME)
@pytest.mark.parametrize(
    "kind", [a.Norm, a.Unit, a.UnitComplement, a.UnitCentred, a.MaxShare], ids=lambda kind: kind.__name__
)
def test_rows_whose_squares_leave_the_floats(kind, shape):
    compare(kind, EXTREME[shape])


def test_every_row_atom_is_tested():
    assert set(a.RowAtom.__subclasses__()) == set(ATOMS)


def test_centring_keeps_what_a_share_near_one_leaves():
    """The entry with nearly all the share: its own part cancels exactly, and the others remain."""
    row, other = np.array([60.0, 1.0, 2.0]), np.array([1.0, 3.0, 4.0])
    atom, point = row_atom(a.SoftmaxCentred), {"z": row, "w": other}
    exact = evaluate_expr(a.textbook(atom), point, {at: 0})
    assert abs(exact) < 1e-24
    assert ulp_error(in_floats(atom, point, {at: 0}), exact, "float64") <= 8


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        (a.Norm, 0),
        (a.Unit, 0),
        (a.UnitComplement, 1),
        (a.UnitCentred, 0.25),
        (a.Softmax, 1 / 3),
        (a.MaxShare, 1 / 3),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_rows_of_zeros(kind, wanted):
    point = {"z": np.zeros(3), "w": np.array([0.25, 0.5, 1.0])}
    assert in_floats(row_atom(kind), point, {at: 0}) == wanted


@pytest.mark.parametrize(
    ("kind", "row", "wanted"),
    [
        (a.LogSumExp, [-math.inf, -math.inf], -math.inf + math.log(2)),
        (a.LogSumExp, [1.0, math.inf], math.inf),
        (a.Softmax, [-math.inf, 0.0], 0.0),
        (a.Softmax, [math.inf, 0.0], 1.0),
        (a.SoftmaxComplement, [math.inf, 0.0], 0.0),
        (a.LogSoftmax, [-math.inf, 0.0], -math.inf),
        (a.LogSumExp, [math.nan, 0.0], math.nan),
        (a.Softmax, [math.nan, 0.0], math.nan),
        (a.Norm, [math.inf, 1.0], math.inf),
        (a.Norm, [math.nan, 1.0], math.nan),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_rows_with_infinities_and_nan(kind, row, wanted):
    np.testing.assert_equal(in_floats(row_atom(kind), {"z": np.array(row)}, {at: 0}), wanted)


@pytest.mark.parametrize("kind", ATOMS, ids=lambda kind: kind.__name__)
def test_row_atoms_print(kind):
    text = latex(row_atom(kind))
    assert "z" in text and text.count("{") == text.count("}")


def test_textbook_leaves_no_row_atom():
    expr = a.textbook(a.Norm(a.Softmax(Entry(z, k), k, at), at) + Sum(a.sigmoid(Entry(z, k)), k))
    assert not any(isinstance(node, (a.RowAtom, a.ScalarAtom)) for node in sympy.preorder_traversal(expr))


@pytest.mark.parametrize(
    ("expr", "finite"),
    [
        (a.sigmoid(z), True),
        (a.softplus(z), False),
        (sympy.log(z), False),
        (1 / z, False),
        (z**2 + 3 * sympy.tanh(z), True),
        (sympy.exp(z), False),
        (Sum(a.Softmax(Entry(z, k), k, k) * Entry(w, k), k), True),
        (Sum(sympy.log(Entry(z, k)), k), False),
        (sympy.Abs(z) * a.MaxShare(Entry(z, k), k, at), True),
    ],
)
def test_what_is_surely_finite(expr, finite):
    assert a.is_finite(expr) is finite


def test_zero_products_take_their_best_form():
    x, y = Symbol("x", real=True), Symbol("y", real=True)
    assert a.zero_product(x, 3 / y) == 3 * a.ratio0(x, y)
    assert a.zero_product(x, y**-2) == a.ratio0(a.ratio0(x, y), y)
    assert a.zero_product(x, a.sigmoid(y)) == x * a.sigmoid(y)
    assert a.zero_product(x, sympy.log(y)) == a.times0(x, sympy.log(y))
    assert a.zero_product(x, sympy.log(y) + 1 / y) == a.times0(x, sympy.log(y)) + a.ratio0(x, y)
