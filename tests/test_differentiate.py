"""Derivatives in index notation against finite differences at many digits, and their shape."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
import sympy
from mpmath import mp, mpf
from sympy import (
    Abs,
    Eq,
    Expr,
    Piecewise,
    Symbol,
    asin,
    atan,
    besseli,
    cos,
    cosh,
    digamma,
    erf,
    erfc,
    exp,
    gamma,
    log,
    loggamma,
    polygamma,
    sign,
    sin,
    sinh,
    sqrt,
    tan,
    tanh,
)

from symloss import atoms as a
from symloss.differentiate import contract, diagonal, differentiate, direction, partial, times, total, written
from symloss.index import Bound, Delta, Entry, Index, Max, Min, Product, Sum, rewrite, walk
from symloss.oracle import evaluate_expr
from symloss.roles import LabelIndex

z, w, f, g = (Symbol(name, real=True) for name in "zwfg")
x = Symbol("x", real=True)
vz, vx = Symbol("vector_z", real=True), Symbol("vector_x", real=True)
k, j, i = Index("k", "K"), Index("j", "K"), Index("i", "K")
m, n = Index("m", "K"), Index("n", "K")
c, e = Index("c", "C"), Index("e", "C")
label = LabelIndex("label", "K")
power = Symbol("power", positive=True)


def Z(*at):
    return Entry(z, *at)


def W(*at):
    return Entry(w, *at)


def F(*at):
    return Entry(f, *at)


POINT: dict[str, Any] = {
    "z": np.array([0.375, -1.25, 2.0]),
    "w": np.array([0.5, 0.875, -0.75]),
    "f": np.array([[0.5, -1.0, 2.0], [1.5, 0.25, -0.625]]),
    "x": 0.625,
    "power": 1.5,
    "label": 2,
    "vector_z": np.array([0.5, -2.0, 1.25]),
    "vector_x": -1.5,
}
DIGITS = 120


def number(expr: Expr, point: dict[str, Any], at: dict[Index, int] | None = None) -> Any:
    used = {symbol.name for symbol in expr.atoms(Symbol)}
    return evaluate_expr(
        plain(expr), {name: value for name, value in point.items() if name in used}, at, DIGITS
    )


def plain(expr: Expr) -> Expr:
    """Products and quotients instead of those that know 0 log 0 and 0/0: no point has a zero."""

    def multiply(node: Expr) -> Expr:
        if isinstance(node, a.times0):
            return node.args[0] * node.args[1]
        return node.args[0] / node.args[1] if isinstance(node, a.ratio0) else node

    return rewrite(expr, multiply)


def moved(point: dict[str, Any], name: str, at: tuple[int, ...], step: Any) -> dict[str, Any]:
    """The point with one element moved, as an exact number."""
    array = np.array(point[name], dtype=object)
    array[at] = mpf(float(array[at])) + step
    return point | {name: array if array.ndim else array[()]}


def difference(expr: Expr, name: str, at: tuple[int, ...], free: dict[Index, int] | None = None) -> Any:
    """d expr / d name[at], by a central difference with a step of 1e-25: right to about 50 digits."""
    with mp.workdps(2 * DIGITS):
        step = mpf("1e-25")
        ahead, behind = (number(expr, moved(POINT, name, at, s * step), free) for s in (1, -1))
        return (ahead - behind) / (2 * step)


def assert_close(got: Any, wanted: Any) -> None:
    assert mp.isfinite(wanted)
    with mp.workdps(60):
        assert abs(got - wanted) <= mpf("1e-24") * max(1, abs(wanted)), (
            mp.nstr(got, 25),
            mp.nstr(wanted, 25),
        )


class Case(NamedTuple):
    """A formula, and the input that it is differentiated in."""

    name: str
    expr: Expr
    wrt: Symbol = z


def softmax(at):
    return exp(Z(at)) / Sum(exp(Z(k)), k)


ROWS = [
    Case("sum", Sum(Z(k) ** 2 * W(k), k)),
    Case("a sum in a sum", Sum(exp(Z(k) * Sum(Z(j) * W(j), j)), k)),
    Case("a double sum", Sum(F(c, k) * Z(k) ** 2, c, k)),
    Case("its matrix", Sum(F(c, k) ** 3 * Z(k), c, k), f),
    Case("a Gram matrix", Sum((Sum(F(c, k) * F(e, k), k)) ** 2, c, e), f),
    Case("an entry of a label", Z(label) ** 3 * Sum(Z(k), k)),
    Case("textbook softmax", log(softmax(label))),
    Case("logsumexp", a.LogSumExp(Z(k) * W(k), k)),
    Case("logsumexp of rows", Sum(a.LogSumExp(F(c, k), k) ** 2, c), f),
    Case("softmax", a.Softmax(Z(k) ** 2, k, label)),
    Case("softmax summed", Sum(a.Softmax(Z(k), k, j) * W(j), j)),
    Case("softmax of a plain prediction", a.Softmax(x * Z(k), k, label), x),
    Case("log softmax", a.LogSoftmax(Z(k), k, label)),
    Case("log softmax of a plain prediction", Sum(W(j) * a.LogSoftmax(x * Z(k), k, j), j), x),
    Case("softmax complement", a.SoftmaxComplement(Z(k), k, label) ** power),
    Case("softmax centred", a.SoftmaxCentred((Z(k), Z(k) ** 2 + W(k)), k, label)),
    Case("norm", a.Norm(Z(k) - W(k), k)),
    Case("norm of a plain prediction", a.Norm(x * Z(k) - W(k), k), x),
    Case("unit", a.Unit(Z(k), k, label)),
    Case("unit summed", Sum(a.Unit(Z(k), k, j) * W(j), j)),
    Case("unit of a plain prediction", a.Unit(x * Z(k) + W(k), k, label), x),
    Case("unit complement's meaning", 1 - a.Unit(Z(k), k, label) ** 2),
    Case("unit centred", a.UnitCentred((Z(k), Z(k) ** 2 + W(k)), k, label)),
    Case("max", Max(Z(k) * W(k), k) ** 2),
    Case("min", exp(Min(Z(k) * W(k), k))),
    Case("max of rows", Sum(Max(F(c, k), k) ** 2, c), f),
    Case("product", Product(Z(k) + W(k), k)),
    Case("product in a sum", Sum(Product(F(c, k), k) ** 2, c), f),
    Case("a branch for each entry", Sum(Piecewise((Z(k) ** 2, Abs(Z(k)) < 1), (2 * Abs(Z(k)) - 1, True)), k)),
    Case("a branch for the label", Sum(Piecewise((Z(k) ** 3, Eq(k, label)), (-Z(k), True)), k)),
    Case("absolute values", Sum(Abs(Z(k) - W(k)), k)),
    Case("a ratio of sums", 2 * Sum(Z(k) * W(k), k) / (Sum(Z(k) ** 2, k) + Sum(W(k) ** 2, k))),
    Case(
        "standardised",
        Sum(((Z(k) - Sum(Z(j), j) / k.size) * W(k)), k) / sqrt(Sum((Z(k) - Sum(Z(j), j) / k.size) ** 2, k)),
    ),
]
SCALARS = [
    Case(str(expr), expr, x)
    for expr in (
        x**3, 1 / x, x**power, 2**x, sqrt(x), exp(x), log(x), Abs(x - 1), sign(x) * x, sin(x), cos(x), tan(x), asin(x),
        atan(x), sinh(x), cosh(x), tanh(x), erf(x), erfc(x), loggamma(x), gamma(x), digamma(x), polygamma(1, x),
        besseli(0, x), besseli(1, x), besseli(2, x), log(besseli(0, x)), log(erfc(x)),
        a.times0(x**2, log(x)), a.ratio0(x, 1 + x**2), a.log_ratio(x, 1 + x, -1, 0),
        Piecewise((x**2, x < 1), (x, True)), Piecewise((x**2, x > 1), (x**3, x > 0.5), (x, True)),
        *(getattr(a, row.name)(x if row.name != "log1mexp" else -x) for row in a.SCALARS if row.arity == 1),
        a.boxcox1p(x, power), a.boxcox1p(x, x),
    )
]  # fmt: skip
CASES = ROWS + SCALARS


def free(wrt: Symbol) -> tuple[Index, ...]:
    return {f: (Index("p", "C"), m), z: (m,), x: ()}[wrt]


def places(wrt: Symbol):
    return np.ndindex(np.shape(POINT[wrt.name]))


def textbook(expr: Expr) -> Expr:
    while expr.has(a.ScalarAtom, a.RowAtom):
        expr = a.textbook(expr)
    return expr


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_gradients(case):
    gradient = written(differentiate(case.expr, partial(case.wrt, free(case.wrt))))
    for at in places(case.wrt):
        wanted = difference(textbook(case.expr), case.wrt.name, at)
        assert_close(number(gradient, POINT, dict(zip(free(case.wrt), at, strict=True))), wanted)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_second_derivatives(case):
    """The diagonal of the Hessian is the difference of the gradient (a maximum's share of 1 has none)."""
    first = free(case.wrt)
    second = tuple(Index.fresh(index.dim) for index in first)
    gradient = written(differentiate(case.expr, partial(case.wrt, first)))
    curvature = written(diagonal(differentiate(gradient, partial(case.wrt, second)), second, first))
    for at in places(case.wrt):
        place = dict(zip(first, at, strict=True))
        assert_close(number(curvature, POINT, place), difference(gradient, case.wrt.name, at, place))


@pytest.mark.parametrize(
    "case", [c for c in CASES if c.wrt in (z, x)], ids=[c.name for c in CASES if c.wrt in (z, x)]
)
def test_directional_derivatives_are_the_gradient_times_the_vector(case):
    vector = {z: vz, x: vx}[case.wrt]
    along = written(differentiate(case.expr, direction({case.wrt: vector})))
    gradient = written(differentiate(case.expr, partial(case.wrt, free(case.wrt))))
    with mp.workdps(60):
        wanted = mp.fsum(
            number(gradient, POINT, dict(zip(free(case.wrt), at, strict=True)))
            * mpf(float(np.asarray(POINT[vector.name])[at]))
            for at in places(case.wrt)
        )
        assert_close(number(along, POINT), wanted)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_every_delta_over_a_bound_index_is_contracted(case):
    gradient = written(differentiate(case.expr, partial(case.wrt, free(case.wrt))))
    for node in walk(gradient):
        if isinstance(node, Delta) and not case.expr.has(
            Product
        ):  # a product leaves out one factor by a test
            assert not any(isinstance(index, Bound) for index in node.args)
    assert not any(
        type(node).__name__ in ("DiracDelta", "Heaviside", "Derivative", "Subs") for node in walk(gradient)
    )


def test_mixed_directions():
    """Along several inputs at once, each contributes."""
    expr = Sum(exp(x * Z(k)), k)
    both = written(differentiate(expr, direction({z: vz, x: vx})))
    with mp.workdps(60):
        parts = [
            number(written(differentiate(expr, direction({s: v}))), POINT) for s, v in ((z, vz), (x, vx))
        ]
        assert_close(number(both, POINT), parts[0] + parts[1])


# --- the shape of what comes out ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expr", "wanted"),
    [
        (Sum(Z(k) ** 2, k), 2 * Z(m)),
        (Sum(Z(k) * W(k), k), W(m)),
        (Z(label), Delta(label, m)),
        (Sum(Z(k), k) * W(label), W(label)),
        (a.LogSumExp(Z(k), k), a.Softmax(Z(k), k, m)),
        (a.LogSoftmax(Z(k), k, label), Delta(label, m) - a.Softmax(Z(k), k, m)),
        (a.Norm(Z(k), k), a.Unit(Z(k), k, m)),
        (Max(Z(k), k), a.MaxShare(Z(k), k, m)),
        (W(label) ** 2 + x, 0),
        (Sum(Abs(Z(k)), k), sign(Z(m))),
    ],
)
def test_gradients_are_written_without_needless_loops(expr, wanted):
    assert written(differentiate(expr, partial(z, (m,)))) == wanted


def test_contraction_takes_chains_of_deltas():
    form = {frozenset({Delta(k, j), Delta(j, m)}): Z(k) * W(j)}
    assert contract(form, (k, j)) == {frozenset(): Z(m) * W(m)}
    assert contract({frozenset({Delta(k, label)}): Z(k)}, (k,)) == {frozenset(): Z(label)}
    assert contract({frozenset({Delta(n, label)}): Z(k)}, (k,)) == {
        frozenset({Delta(n, label)}): Sum(Z(k), k)
    }


def test_forms_add_and_vanish():
    form = {frozenset(): Z(k)}
    assert total(form, times(form, sympy.Integer(-1))) == {}
    assert total(form, form) == {frozenset(): 2 * Z(k)}
    assert written({}) == 0


def test_a_label_entry_beside_a_sum_keeps_its_delta():
    gradient = differentiate(Z(label) * Sum(Z(k), k), partial(z, (m,)))
    assert gradient == {frozenset({Delta(label, m)}): Sum(Z(k), k), frozenset(): Z(label)}


@pytest.mark.parametrize(
    ("expr", "at", "wanted"),
    [
        (Abs(x), 0.0, 0.0),
        (Abs(x) ** 2, 0.0, 0.0),
        (sign(x), 0.0, 0.0),
        (a.times0(x, log(2 + x)), 0.0, float(np.log(2))),
    ],
)
def test_subgradients_at_kinks(expr, at, wanted):
    gradient = written(differentiate(expr, partial(x, ())))
    assert float(evaluate_expr(gradient, {"x": at})) == pytest.approx(wanted, abs=1e-15)


def test_ties_of_a_maximum_share_its_gradient():
    gradient = written(differentiate(Max(Z(k), k), partial(z, (m,))))
    point = {"z": np.array([2.0, -1.0, 2.0])}
    assert [float(evaluate_expr(gradient, point, {m: n})) for n in range(3)] == [0.5, 0.0, 0.5]


def test_the_gradient_of_a_product_survives_zeros():
    gradient = written(differentiate(Product(Z(k), k), partial(z, (m,))))
    point = {"z": np.array([0.0, 3.0, -2.0])}
    assert [float(evaluate_expr(gradient, point, {m: n})) for n in range(3)] == [-6.0, 0.0, 0.0]
