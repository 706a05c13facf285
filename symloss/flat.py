"""Whether rows may be taken as one long row: the loss is a sum of terms, each of which needs one entry.

Short rows across lanes are copied, entry beside entry; where a row is nothing but its entries, the rows of
all samples, which follow each other in memory, are one row of a single sample.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sympy import Basic, Expr, S

from symloss.index import Index, Size
from symloss.program import Accumulator, Assign, Load, Loop, Program, Reduce, Store
from symloss.statements import put_in, read, symbols


def is_flat(program: Program) -> bool:
    """Whether a program of a loss with rows does the same for rows that follow each other as for one."""
    loss = program.loss
    if program.scratch or program.before or program.after or any(i.dims != loss.dims for i in loss.inputs):
        return False
    sums: set[Expr] = set()
    known: dict[Expr, Expr] = {}
    value: Expr = S.Zero
    for statement in program.body:
        match statement:
            case Reduce(loops, body, accumulators):
                sums |= {a.name for a in accumulators}
                if any(a.op != "sum" for a in accumulators):
                    return False
                if not _is_of_entries(loops, [*body, *accumulators], loss.dims):
                    return False
            case Loop(loops, body):
                if not _is_of_entries(loops, body, loss.dims):
                    return False
            case Assign(name, given):
                known[name] = put_in(given, known)
                if str(name) == "value":
                    value = known[name]
            case _:
                return False
    outside = {str(name) for name in (*sums, *known)}
    inside = [statement for statement in program.body if not isinstance(statement, Assign)]
    return not outside & set(read(inside)) and _is_linear(value, sums)


def _is_of_entries(loops: tuple[Index, ...], parts: Iterable[Any], dims: tuple[str, ...]) -> bool:
    """Whether a loop over whole rows does with each entry what depends on nothing but that entry."""
    if tuple(index.dim for index in loops) != dims:
        return False
    for part in parts:
        match part:
            case Load(_, _, indices):
                given: tuple[Any, ...] = ()
                fits = indices == loops
            case Store(_, indices, value, unless):
                given, fits = (value, unless), indices == loops
            case Assign(_, value):
                given, fits = (value,), True
            case Accumulator(_, _, term, unless, place):
                given, fits = (term, unless), place is None
            case _:
                return False
        if not fits or any(isinstance(s, (Index, Size)) for expr in given for s in symbols(expr)):
            return False
    return True


def _is_linear(value: Basic, sums: set[Expr]) -> bool:
    """Whether a value is made of sums times numbers and parameters, and of nothing else."""
    if value.subs(dict.fromkeys(sums, S.Zero)) != 0:
        return False
    slopes = [value.diff(one) for one in sums]
    return not any(slope.free_symbols & sums or slope.has(Size) for slope in slopes)
