"""Joins the loop that finds a row's maximum and the one that sums exponentials below it.

Each thread sums relative to the largest entry that it has seen. A new one rescales what is summed; in the end
all are brought to the row's maximum (Milakov and Gimelshein 2018). A row is read once for both, which counts
where it is longer than a cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sympy import Eq, Expr, Mul, S, exp

from symloss.program import Accumulator, Load, Reduce, Statement, shift
from symloss.statements import symbols


@dataclass(frozen=True)
class Online(Reduce):
    """A maximum, first among the accumulators, and sums of exponentials of entries less the maximum.

    A sum's term is what multiplies its exponential; `unless` leaves the place of the maximum out of it.
    """


def online(statements: Sequence[Statement]) -> list[Statement]:
    """The statements with such loops joined."""
    done: list[Statement] = []
    for statement in statements:
        joined = _joined(done[-1], statement) if done else None
        if joined is not None:
            done[-1] = joined
        else:
            done.append(statement)
    return done


def _joined(first: Statement, second: Statement) -> Online | None:
    """Both loops as one, if they are what can be one."""
    if not (isinstance(first, Reduce) and isinstance(second, Reduce) and first.loops == second.loops):
        return None
    if isinstance(first, Online) or len(first.accumulators) != 1 or len(first.loops) != 1:
        return None
    (largest,) = first.accumulators
    loads = [part for part in (*first.body, *second.body) if isinstance(part, Load)]
    if largest.op != "max" or largest.place is None or len(loads) < len(first.body) + len(second.body):
        return None
    sums = []
    for a in second.accumulators:
        rest = _weight(a.term, shift(largest.term, largest.name))
        without = a.unless is not None and a.unless == Eq(first.loops[0], largest.place, evaluate=False)
        if a.op != "sum" or rest is None or symbols(rest) & {largest.name, largest.place}:
            return None
        if (a.unless is not None and not without) or (without and rest != 1):
            return None
        sums.append(Accumulator("sum", a.name, rest, a.unless))
    if any(symbols(index) & {largest.name, largest.place} for load in loads for index in load.indices):
        return None
    return Online(first.loops, tuple(dict.fromkeys(loads)), (largest, *sums))


def _weight(term: Expr, below: Expr) -> Expr | None:
    """What multiplies e^below in a term; None where that isn't a factor of it."""
    factors = list(Mul.make_args(term))
    if exp(below) not in factors:
        return None
    factors.remove(exp(below))
    return Mul(*factors, evaluate=False) if len(factors) > 1 else factors[0] if factors else S.One
