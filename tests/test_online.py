"""Loops that find a maximum and sum exponentials below it, as one: where they are joined, and where they can't be."""

from __future__ import annotations

import pytest
from shipped import lowered

from symloss.online import Online, online
from symloss.program import Reduce


def loops(name: str, entry: str) -> tuple[list[Reduce], list[Online]]:
    """The reductions of a program, and the joined ones among them."""
    statements = online(lowered(name, entry).body)
    reductions = [statement for statement in statements if isinstance(statement, Reduce)]
    return reductions, [statement for statement in reductions if isinstance(statement, Online)]


@pytest.mark.parametrize("entry", ["value", "grad", "value_and_grad", "grad_and_hess"])
@pytest.mark.parametrize("name", ["softmax_cross_entropy", "softmax_focal"])
def test_a_softmax_reads_its_row_once_for_maximum_and_sum(name, entry):
    reductions, joined = loops(name, entry)
    (only,) = joined
    assert reductions[0] is only
    largest, *sums = only.accumulators
    assert (largest.op, {a.op for a in sums}) == ("max", {"sum"})
    assert all(a.term == 1 and a.unless is not None for a in sums)  # the largest entry is left out


def test_sums_that_need_the_maximums_place_wait_for_it():
    """A Hessian-vector product subtracts the vector's entry there from all others."""
    assert loops("softmax_cross_entropy", "hvp")[1] == []


@pytest.mark.parametrize("name", ["min_max_mse", "l2_norm", "kl_divergence", "gram_style"])
def test_other_loops_stay_apart(name):
    for entry in ("value", "grad_and_hess"):
        program = lowered(name, entry)
        assert tuple(online(program.body)) == program.body
