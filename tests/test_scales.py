"""Which largest entries a kernel of float32 data can do without, and that it then does, with the same results."""

from __future__ import annotations

import numpy as np
import pytest
import symloss_kernels as sk
from sympy import Abs, Integer, Max, Mul, Symbol, exp, sqrt

from symloss.derive import derive
from symloss.index import Index, Size
from symloss.losses import contrastive, l2_normalized_mse, standardized_mse
from symloss.lower import lower
from symloss.printers.lanes import Body
from symloss.program import Accumulator, Assign, If, Load, Reduce, gap, scale_of, scaled
from symloss.scales import idle, spared

D, SIZE = Index("d", "D"), Size("D")


def real(name: str) -> Symbol:
    return Symbol(name, real=True)


X_D, T_D, MEAN, TOP, UNIT, VALUE, P = map(real, ("x_d", "t_d", "mean", "top", "unit", "value", "p"))
LOADS = (Load(X_D, "x", (D,)), Load(T_D, "t", (D,)))


def scaled_by(term, *more) -> list:
    """A sum of entries, their mean, the largest of some terms, and its scale."""
    total = real("total")
    return [
        Reduce((D,), LOADS, (Accumulator("sum", total, X_D),)),
        Assign(MEAN, total / SIZE),
        Reduce((D,), LOADS, (Accumulator("max", TOP, term),)),
        Assign(UNIT, scale_of(TOP)),
        Assign(VALUE, scaled(X_D, UNIT)),
        *more,
    ]


@pytest.mark.parametrize(
    "term",
    [X_D, Abs(X_D), Abs(X_D - T_D), gap(X_D, MEAN), 3 * X_D / SIZE, sqrt(SIZE) * (X_D - MEAN), Max(X_D, -T_D)],
    ids=str,
)
def test_sums_of_entries_need_no_scale(term):
    assert spared(scaled_by(Abs(term))) == {TOP}


@pytest.mark.parametrize(
    "term",
    [X_D**2, X_D * T_D, exp(X_D), P * X_D, X_D / MEAN, Integer(1), X_D + P, UNIT * X_D, 1 / X_D],
    ids=str,
)
def test_what_may_leave_the_range_of_float32_data_needs_one(term):
    """Powers, products and functions do, and so do parameters, which are float64."""
    assert spared(scaled_by(Abs(term))) == set()


def test_what_something_else_needs_is_not_idle():
    body = scaled_by(Abs(X_D))
    assert idle(body, spared(body)) == {TOP}
    for more in (Assign(P, TOP + 1), If(((Symbol("test") > TOP, ()), (None, ())))):
        assert idle([*body, more], {TOP}) == set()
    at = Reduce((D,), LOADS, (Accumulator("max", TOP, Abs(X_D), None, real("at")),))
    assert idle([body[0], at, *body[3:]], {TOP}) == set()
    assert idle([*body, Assign(P, Mul(2, scale_of(TOP)))], {TOP}) == {TOP}


def lines(loss, narrow: bool, load: str) -> list[str]:
    return Body(lower(derive(loss.trace()), "value_and_grad"), narrow, load).lines()


@pytest.mark.parametrize("narrow", [False, True])
def test_the_loop_is_skipped_where_nothing_else_comes_of_it(narrow):
    text = "\n".join(lines(contrastive, narrow, "load_wide"))
    before, guarded = text.split("if needs_scales(left):\n")
    assert before.rstrip().endswith("max_abs_difference = -inf")
    assert "scale_of(max_abs_difference) if needs_scales(left) else 1.0" in guarded
    loop = guarded.split("unit_scale =")[0]
    assert "larger(" in loop and "put(" not in loop


@pytest.mark.parametrize("narrow", [False, True])
def test_a_loop_that_finds_a_place_stays(narrow):
    text = "\n".join(lines(l2_normalized_mse, narrow, "load_wide"))
    assert text.count("if needs_scales(prediction) else 1.0") == 2
    place = next(line for line in text.splitlines() if "max_abs_prediction_at = select(" in line)
    assert "if needs_scales(prediction):" not in text.split(place)[0].splitlines()[-6:]


def test_float32_arithmetic_keeps_its_scales():
    assert not any("needs_scales" in line for line in lines(standardized_mse, False, "load"))


@pytest.mark.parametrize("size", [3, 40, 1000])
@pytest.mark.parametrize("exponent", [-140, -80, 0, 60, 126])
@pytest.mark.parametrize("name", ["l2_normalized_mse", "standardized_mse", "contrastive", "l2_norm"])
def test_float32_rows_of_any_size_give_what_float64_gives(name, exponent, size):
    """Squares of the largest and the smallest float32 numbers, whose scale is taken for float64 data only.

    Differences of two inputs are float32 in `contrastive` and `l2_norm`, and what comes of them.
    """
    is_single = name in ("contrastive", "l2_norm")
    near, more_near, steps = (2.0**-23, 5 * 2.0**-24, 2) if is_single else (1e-13, 3e-7, 0)
    if name == "contrastive":
        exponent = min(exponent, 114)  # a margin is a float32 number
    rng = np.random.default_rng(size)
    x, t = np.ldexp(rng.uniform(0.5, 1, (2, 5, size)) * rng.choice([-1, 1], (2, 5, size)), exponent).astype("f")
    more = [np.zeros(5, "f")] if name == "contrastive" else []
    keywords = {"margin": float(np.ldexp(4.0 * size, exponent))} if name == "contrastive" else {}
    loss = getattr(sk, name)
    value, grad = loss.value_and_grad(x, t, *more, **keywords)
    wide = [array.astype(float) for array in (x, t, *more)]
    right, right_grad = loss.value_and_grad(*wide, **keywords)
    assert value == pytest.approx(right, rel=near)
    for got, wanted in zip(np.atleast_1d(grad), np.atleast_1d(right_grad), strict=True):
        most = np.abs(wanted).max()
        assert most > 0
        with np.errstate(over="ignore"):  # of a row of the smallest numbers they are no float32
            atol = most * 1e-13 + steps * 2.0**-149
            np.testing.assert_allclose(got, wanted.astype(np.float32), rtol=more_near, atol=atol)
