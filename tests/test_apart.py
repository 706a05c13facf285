"""One entry of a row apart from the others: what is found, and that loops and sums are the same without it."""

from __future__ import annotations

import numpy as np
import pytest
from sympy import Eq, Gt, Piecewise, S, Symbol

from symloss import atoms
from symloss.apart import set_apart, sums_apart
from symloss.derive import derive
from symloss.emulate import Emulation
from symloss.index import Entry, Sum
from symloss.losses import huber, l2_normalized_mse, softmax_cross_entropy, standardized_mse
from symloss.lower import lower
from symloss.primitive import ArgMax
from symloss.program import Loop, Program, Reduce, Store
from symloss.spec import index

k, j = index("K"), index("K", "j")
x, t = Symbol("x", real=True), Symbol("t", real=True)
a = Symbol("a", real=True)
PLACE = ArgMax(Entry(x, j), (j,))
OTHER = ArgMax(Entry(t, j), (j,))


def test_a_case_for_the_largest_entry_is_set_apart_wherever_it_stands():
    expr = 3 * atoms.ratio0(Piecewise((Entry(x, k) ** 2, Eq(k, PLACE)), (Entry(t, k), True)), a) + Entry(x, k)
    others, own, place = set_apart(expr, k)
    assert place == PLACE
    assert others == 3 * atoms.ratio0(Entry(t, k), a) + Entry(x, k)
    assert own == 3 * atoms.ratio0(Entry(x, PLACE) ** 2, a) + Entry(x, PLACE)


def test_a_case_with_another_condition_keeps_that():
    expr = Piecewise((a, Eq(k, PLACE) & Gt(a, 0)), (Entry(x, k), Gt(a, 0)), (Entry(t, k), True))
    others, own, _ = set_apart(expr, k)
    assert others == Piecewise((Entry(x, k), Gt(a, 0)), (Entry(t, k), True))
    assert own == Piecewise((a, Gt(a, 0)), (Entry(t, PLACE), True))


def test_of_two_places_one_is_set_apart():
    expr = Piecewise((1, Eq(k, PLACE)), (2, True)) + Piecewise((10, Eq(k, OTHER)), (20, True))
    others, own, place = set_apart(expr, k)
    (other,) = {PLACE, OTHER} - {place}
    assert others.has(Eq(k, other)) and not others.has(Eq(k, place))
    assert own.has(Eq(place, other)) or own.has(Eq(other, place))


@pytest.mark.parametrize(
    "expr",
    [
        Entry(x, k) + a,
        Piecewise((1, Gt(Entry(x, k), 0)), (2, True)),
        Piecewise((1, Eq(Entry(x, k), a)), (2, True)),
        Piecewise((1, Eq(k, ArgMax(Entry(x, j) * Entry(t, k), (j,)))), (2, True)),  # it depends on k itself
        Piecewise((1, Eq(j, PLACE)), (2, True)),
    ],
    ids=["no case", "a test of numbers", "an equation", "another place for each entry", "another index"],
)
def test_what_has_no_entry_apart(expr):
    assert set_apart(expr, k) is None
    assert sums_apart(Sum(expr, k)) == Sum(expr, k)


def test_a_sum_has_the_entry_beside_it():
    term = Piecewise((Entry(x, k) ** 2, Eq(k, PLACE)), (a * Entry(t, k), True))
    others = Piecewise((S.Zero, Eq(k, PLACE)), (a * Entry(t, k), True), evaluate=False)
    assert sums_apart(Sum(term, k)) == Sum(others, k) + Entry(x, PLACE) ** 2
    scaled = Piecewise((Entry(x, k) ** 2, Eq(k, PLACE)), (-3 * a * Entry(t, k) / k.size, True))
    assert sums_apart(Sum(scaled, k)) == -3 / k.size * Sum(others, k) + Entry(x, PLACE) ** 2
    left_out = Sum(Piecewise((0, Eq(k, PLACE)), (Entry(t, k), True)), k)
    assert sums_apart(left_out) == left_out


def stores(program: Program) -> list[Store]:
    """What a program stores, outside loops first."""
    loops = [s for statement in program.body if isinstance(statement, Loop) for s in statement.body]
    return [s for s in (*program.body, *loops) if isinstance(s, Store)]


def test_the_gradient_of_a_unit_vector_has_its_largest_entry_once():
    program = lower(derive(l2_normalized_mse.trace()), "grad")
    single, others = stores(program)
    assert [str(i) for i in single.indices] == ["max_abs_prediction_at"]
    assert str(others.unless) == "Eq(d, max_abs_prediction_at)"
    assert not others.value.has(Eq)
    # It is computed before the loop that may write over what it is made of.
    names = [str(getattr(s, "name", "")) for s in program.body]
    loop = next(n for n, s in enumerate(program.body) if isinstance(s, Loop))
    assert names.index(str(single.value)) < loop < program.body.index(single)


def test_a_label_s_entry_and_an_element_wise_loss_are_what_they_were():
    program = lower(derive(softmax_cross_entropy.trace()), "grad")
    assert [str(s.indices[0]) for s in stores(program)] == ["label_i", "k"]
    assert not any(isinstance(s, (Loop, Reduce)) for s in lower(derive(huber.trace()), "grad").body)


@pytest.mark.parametrize("spec", [l2_normalized_mse, standardized_mse], ids=lambda spec: spec.function.__name__)
@pytest.mark.parametrize("place", [0, 3, 6])
def test_the_entry_apart_may_be_any(spec, place):
    """The gradient turns with the row, to the rounding of sums in another order."""
    program = lower(derive(spec.trace()), "value_and_grad")
    rng = np.random.default_rng(2)
    row, target = rng.standard_normal((2, 7))
    row[0] = 5.0
    run = Emulation(program, narrow=True, single=False).run
    at = {"prediction": np.roll(row, place)[None], "target": np.roll(target, place)[None]}
    first = run({"prediction": row[None], "target": target[None]}, {})
    turned = run(at, {})
    for name in first:
        wanted = np.roll(first[name], place, axis=-1) if name != "value" else first[name]
        np.testing.assert_allclose(turned[name], wanted, rtol=1e-13, atol=1e-15)
