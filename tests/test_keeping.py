"""Functions that one loop computes and a later one needs again."""

from __future__ import annotations

import pytest
from sympy import Piecewise, Symbol, exp, log

from symloss.index import Entry, Index
from symloss.keeping import Kept, kept
from symloss.printers.scalar import is_costly
from symloss.program import Accumulator, Assign, Keep, Load, Loop, Reduce, Store

k, d = Index("k", "K"), Index("d", "D")
x, y, most, total = (Symbol(name, real=True) for name in ("x_k", "y_k", "most", "total"))
LOAD_X, LOAD_Y = Load(x, "x", (k,)), Load(y, "y", (k,))
E_X = exp(x - most)
SUM = Reduce((k,), (LOAD_X,), (Accumulator("sum", total, E_X),))
NAME = Symbol("exp_difference", real=True)
ARRAY = Symbol("kept_exp_difference")


def keep(statements, in_outputs=True, taken=()):
    return kept(statements, is_costly, in_outputs, set(taken))


def test_what_a_sum_has_computed_is_read_from_the_row_of_the_output():
    done, arrays = keep([SUM, Loop((k,), (LOAD_X, Store("grad", (k,), E_X / total)))])
    assert arrays == {str(ARRAY): Kept(("K",), "grad")}
    # As text: nothing is evaluated, so that factors stand as they stood.
    assert list(map(str, done)) == list(map(str, [
        Reduce((k,), (LOAD_X, Assign(NAME, E_X), Keep(str(ARRAY), (k,), NAME)), (Accumulator("sum", total, NAME),)),
        Loop((k,), (Assign(NAME, Entry(ARRAY, k)), Store("grad", (k,), NAME / total))),
    ]))  # fmt: skip


def test_it_is_found_under_a_name_and_in_a_choice():
    named = Symbol("e", real=True)
    choice = Piecewise((0, x > 0), (E_X, True), evaluate=False)
    first = Reduce((k,), (LOAD_X,), (Accumulator("sum", total, choice),))
    done, _ = keep([first, Loop((k,), (LOAD_X, Assign(named, E_X), Store("grad", (k,), named * x)))])
    assert done[0].accumulators[0].term == choice.subs(E_X, NAME)
    assert done[1].body == (LOAD_X, Assign(named, Entry(ARRAY, k)), Store("grad", (k,), named * x))


def test_a_function_of_a_function_is_kept_whole():
    whole = log(1 + E_X)
    first = Reduce((k,), (LOAD_X,), (Accumulator("sum", total, whole),))
    done, arrays = keep([first, Loop((k,), (LOAD_X, Store("grad", (k,), whole / total)))])
    assert len(arrays) == 1
    assert not done[1].body[-1].value.has(exp)


def test_two_are_kept_in_two_outputs_and_names_that_are_taken_are_left():
    first = Reduce((k,), (LOAD_X,), (Accumulator("sum", total, E_X + log(x)),))
    last = Loop((k,), (LOAD_X, Store("grad", (k,), E_X / total), Store("hess", (k,), E_X * log(x) / total)))
    done, arrays = keep([first, last], taken=["exp_difference"])
    assert [(name, array.output) for name, array in arrays.items()] == [
        ("kept_exp_difference_2", "grad"), ("kept_log_x_k", "hess"),
    ]  # fmt: skip
    # Each is read before its row is written.
    kinds = [type(statement) for statement in done[1].body]
    assert kinds == [Assign, Store, Assign, Store]


UNCHANGED = {
    "only one loop needs it": [SUM, Loop((k,), (LOAD_X, Store("grad", (k,), x / total)))],
    "loops over other indices": [SUM, Loop((d,), (LOAD_X, Store("grad", (d,), E_X / total)))],
    "another argument": [SUM, Loop((k,), (LOAD_Y, Store("grad", (k,), exp(y - most) / total)))],
    "what the whole row has in common": [
        Reduce((k,), (LOAD_X,), (Accumulator("sum", total, x * exp(most)),)),
        Loop((k,), (LOAD_X, Store("grad", (k,), x * exp(most) / total))),
    ],
    "arithmetic": [
        Reduce((k,), (LOAD_X,), (Accumulator("sum", total, (x - most) ** 2),)),
        Loop((k,), (LOAD_X, Store("grad", (k,), (x - most) ** 2 / total))),
    ],
}


@pytest.mark.parametrize("why", UNCHANGED)
def test_nothing_is_kept(why):
    for in_outputs in (True, False):
        assert keep(UNCHANGED[why], in_outputs) == (UNCHANGED[why], {})


NO_ROOM = {
    "only a sum needs it again": [SUM, Reduce((k,), (LOAD_X,), (Accumulator("max", most, E_X / total),))],
    "the row is written before": [
        SUM, Store("grad", (d,), total), Loop((k,), (LOAD_X, Store("grad", (k,), E_X / total))),
    ],
    "other entries are written": [SUM, Loop((k,), (LOAD_X, Store("grad", (d,), E_X / total)))],
}  # fmt: skip


@pytest.mark.parametrize("why", NO_ROOM)
def test_where_no_output_has_room_an_array_of_its_own_is_needed(why):
    assert keep(NO_ROOM[why]) == (NO_ROOM[why], {})
    _, arrays = keep(NO_ROOM[why], in_outputs=False)
    assert arrays == {str(ARRAY): Kept(("K",), None)}
