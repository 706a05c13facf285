"""Loops that join earlier ones."""

from __future__ import annotations

import numpy as np
import pytest
import symloss_kernels as sk
from shipped import lowered
from sympy import Eq, Symbol

from symloss.catalog import standard
from symloss.emulate import Emulation
from symloss.fusing import fused
from symloss.index import Entry, Index
from symloss.precision import cases
from symloss.printers import lanes
from symloss.program import ENTRIES, Accumulator, Assign, If, Keep, Load, Loop, Reduce, Store

k, d = Index("k", "K"), Index("d", "D")
x, y, total, other = (Symbol(name, real=True) for name in ("x_k", "y_k", "total", "other"))
LOAD_X, LOAD_Y = Load(x, "x", (k,)), Load(y, "y", (k,))
SUM = Reduce((k,), (LOAD_X,), (Accumulator("sum", total, x**2),))


def always(earlier, loop):
    return True


def stored(value, *body, output="grad", loops=(k,), unless=None):
    return Loop(loops, (*body, Store(output, loops, value, unless)))


def test_a_loop_that_needs_no_sum_joins_its_loop_and_loads_nothing_twice():
    (together,) = fused([SUM, stored(2 * x, LOAD_X)], always)
    assert together.body == (LOAD_X, Store("grad", (k,), 2 * x))
    assert together.accumulators == SUM.accumulators


def test_it_passes_what_it_does_not_need():
    between = Assign(other, total + 1)
    assert fused([SUM, between, stored(x * y, LOAD_X, LOAD_Y)], always) == [
        Reduce((k,), (LOAD_X, LOAD_Y, Store("grad", (k,), x * y)), SUM.accumulators), between,
    ]  # fmt: skip


APART = {
    "it needs the sum": [SUM, stored(x / total, LOAD_X)],
    "it needs what is made of the sum": [SUM, Assign(other, total + 1), stored(x * other, LOAD_X)],
    "it needs it to know where not to store": [SUM, stored(x, LOAD_X, unless=Eq(total, 0, evaluate=False))],
    "other indices": [SUM, stored(x, LOAD_X, loops=(d,))],
    "one name for two things": [SUM, stored(x, Load(x, "y", (k,)))],
    "a scratch array that the loop fills": [
        Loop((d,), (Keep("all_sums", (d,), total),)), SUM, stored(Entry(Symbol("all_sums"), k), loops=(d,)),
    ],
    "a branch that makes what it needs": [
        SUM, If(((Eq(total, 0), (Assign(other, total),)), (None, (Assign(other, x),)))), stored(other, LOAD_X),
    ],
    "another write to the output in between": [
        Reduce((k,), (LOAD_X,), SUM.accumulators), Store("grad", (d,), total), stored(x, LOAD_X),
    ],
}  # fmt: skip


@pytest.mark.parametrize("why", APART)
def test_it_stays_apart(why):
    assert fused(APART[why], always) == APART[why]


def test_it_stays_apart_where_it_would_be_printed_otherwise():
    statements = [SUM, stored(2 * x, LOAD_X)]
    assert fused(statements, lambda earlier, loop: False) == statements


# --- with what is kept, over the catalogue --------------------------------------------------------------------------


@pytest.mark.parametrize("narrow", [True, False])
@pytest.mark.parametrize("name", [loss.name for loss in map(standard().loss, sk.__all__) if loss.dims])
def test_results_are_the_same_to_the_bit(monkeypatch, name, narrow):
    """Neither fused loops nor kept numbers change what is computed, in any entry point."""
    for entry in ENTRIES:
        of = lowered(name, entry)
        with monkeypatch.context() as patch:
            patch.setattr(lanes, "fused", lambda statements, alike: list(statements))
            patch.setattr(lanes, "kept", lambda statements, *_: (list(statements), {}))
            plain = [Emulation(of, narrow, single) for single in (True, False)]
        changed = [Emulation(of, narrow, single) for single in (True, False)]
        for number, case in enumerate(cases(of.loss, entry == "hvp", 1)):
            if number == 8:
                break
            for before, after in zip(plain, changed, strict=True):
                with np.errstate(over="ignore"):
                    expected, found = (each.run(case.arrays, case.parameters) for each in (before, after))
                for output, numbers in expected.items():
                    np.testing.assert_array_equal(found[output], numbers, err_msg=f"{entry}: {output}")
