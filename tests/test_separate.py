"""Sums that are taken apart: the same number, and no loop in a loop over the same row."""

from __future__ import annotations

import numpy as np
import pytest
from floats import in_floats
from shipped import lowered
from sympy import Abs, Eq, Piecewise, Symbol, exp

from symloss import atoms
from symloss.catalog import standard
from symloss.index import Entry, Index, Sum
from symloss.program import If, Loop, Reduce, scaled
from symloss.separate import collected, separated
from symloss.sharing import free_in

x, y, c = Symbol("x", real=True), Symbol("y", real=True), Symbol("c", real=True)
i, j = Index("i", "K"), Index("j", "K")
POINT = {"x": np.array([0.3, -1.2, 2.5, 0.7]), "y": np.array([1.1, 0.4, -0.6, 2.0]), "c": 1.7}


def at(base: Symbol, index: Index) -> Entry:
    return Entry(base, index)


APART = [
    Sum(at(x, j) * (at(y, i) - at(x, i) * at(y, j)), j),
    Sum(at(y, j) * atoms.ratio0(at(x, i) * at(x, j) + at(y, j), c), j),
    Sum(at(y, j) * scaled(at(x, i) - at(y, j) * at(x, i), c), j),
    Sum(at(x, j) * (at(y, j) + Piecewise((at(y, j) * at(x, i), Eq(i, 2)), (at(x, i), True))), j),
]
WHOLE = [
    # Multiplied out, these cancel: at x = 1e8 + (0, 1, 2) nothing would be left of the first.
    Sum((at(x, i) - at(x, j)) ** 2, j),
    Sum((at(x, i) + at(y, j)) * (at(y, i) - at(x, j)), j),
    Sum(exp(at(x, i) - at(x, j)), j),
    Sum(Abs(at(x, i) - at(y, j)), j),
    Sum(at(y, j) * Piecewise((at(x, i) + at(y, j), Eq(i, j)), (at(x, j), True)), j),
    Sum(1 / (at(x, i) + Abs(at(y, j)) + 3), j),
]


def sums(expr):
    return list(expr.atoms(Sum)) if not isinstance(expr, Sum) else [expr]


@pytest.mark.parametrize("expr", APART, ids=range(len(APART)))
def test_taken_apart_it_is_the_same_number(expr):
    apart = separated(expr)
    assert sums(apart)
    assert not any(free_in(node) for node in sums(apart))
    for place in range(4):
        # The parts are rounded where the whole was: a few ulp of the largest term.
        assert in_floats(apart, POINT, {i: place}) == pytest.approx(
            in_floats(expr, POINT, {i: place}), rel=1e-13
        )


@pytest.mark.parametrize("expr", WHOLE, ids=range(len(WHOLE)))
def test_what_mixes_both_indices_stays_whole(expr):
    assert separated(expr) == expr


def test_terms_with_the_same_factors_of_an_index_are_put_together():
    once = Sum(at(y, j), j)
    expr = c * at(x, i) / once - 2 * at(x, i) * once + at(y, i) + 3
    found = collected(expr, (i,))
    assert found == at(x, i) * (c / once - 2 * once) + at(y, i) + 3
    assert collected(exp(expr), (i,)) == exp(found)
    for place in range(4):
        assert in_floats(found, POINT, {i: place}) == pytest.approx(in_floats(expr, POINT, {i: place}), rel=1e-14)


@pytest.mark.parametrize(
    "expr",
    [at(x, i) * c + at(y, i) * c, at(x, i) * (1 - at(x, i)), c * at(x, i) + c + 1, Sum(at(x, j) * c + at(x, j), j)],
    ids=range(4),
)
def test_other_terms_stay_as_they_are(expr):
    assert collected(expr, (i,)) == expr
    assert collected(expr, ()) == expr


def test_a_sum_without_a_free_index_is_left_alone():
    expr = Sum(at(x, j) * (at(y, j) - 1), j)
    assert separated(expr) == expr


def nested(statements, around=()):
    """The dimensions of each loop, those of the loops around it first."""
    for statement in statements:
        match statement:
            case Loop(loops, body) | Reduce(loops, body, _):
                dims = (*around, *(index.dim for index in loops))
                yield dims
                yield from nested(body, dims)
            case If(branches):
                for _, body in branches:
                    yield from nested(body, around)


@pytest.mark.parametrize("entry", ["value", "grad", "value_and_grad", "hvp"])
@pytest.mark.parametrize("name", [n for n in sorted(standard().names()) if len(standard().loss(n).dims) == 1])
def test_rows_of_one_dimension_take_time_in_proportion_to_their_length(name, entry):
    found = list(nested(lowered(name, entry).body))
    assert found or name == "sparse_cross_entropy"  # which reads one entry of a row
    assert [dims for dims in found if len(dims) > len(set(dims))] == []
