"""Which maxima float64 arithmetic can do without where the data is float32.

A norm's entries are divided by the largest of them before they are squared, so that no square overflows or
vanishes. Squares of float32 numbers, and of sums and differences of them, do neither in float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sympy import Abs, Expr, Max, Min, Mul, preorder_traversal

from symloss.index import Size
from symloss.program import Assign, If, Load, Reduce, Statement, gap, scale_of, shift
from symloss.statements import expressions, nested


def spared(statements: Sequence[Statement]) -> set[Expr]:
    """The names that only scales are made of which float32 data doesn't need in float64."""
    scales = {scale for expr in expressions(statements) for scale in expr.atoms(scale_of)}
    known = _definitions(statements)
    return {scale.args[0] for scale in scales if _is_linear(scale.args[0], known)}


def idle(statements: Sequence[Statement], names: set[Expr]) -> set[Expr]:
    """Those of the names that nothing else needs: maxima whose place isn't wanted."""
    needed = {
        part for expr in [*expressions(statements), *_tests(statements)] for part in _beside_scales(expr)
    }
    for statement in nested(statements):
        if isinstance(statement, Reduce):
            needed |= {a.name for a in statement.accumulators if a.place is not None}
    return names - needed


def _tests(statements: Sequence[Statement]) -> list[Any]:
    branches = [branch for s in nested(statements) if isinstance(s, If) for branch in s.branches]
    return [test for test, _ in branches if test is not None]


def _beside_scales(expr: Any) -> set[Any]:
    """The symbols of an expression that stand elsewhere than alone in a scale."""
    walk = preorder_traversal(expr)
    found = set()
    for part in walk:
        if isinstance(part, scale_of) and part.args[0].is_Symbol:
            walk.skip()
        elif part.is_Symbol:
            found.add(part)
    return found


def _definitions(statements: Sequence[Statement]) -> dict[Expr, Expr | None]:
    """From each name to what it is made of: None for an entry of the data."""
    known: dict[Expr, Expr | None] = {}
    for statement in nested(statements):
        match statement:
            case Load(name, _, _):
                known[name] = None
            case Assign(name, value):
                known[name] = value
            case Reduce(_, _, accumulators):
                known |= {a.name: a.term for a in accumulators if a.op != "product"}
    return known


def _is_linear(expr: Any, known: dict[Expr, Expr | None]) -> bool:
    """Whether an expression is a sum of entries of the data, of about their size."""
    if expr.is_Symbol and expr in known:
        return known[expr] is None or _is_linear(known[expr], known)
    if expr.is_Mul:
        rest = [factor for factor in Mul.make_args(expr) if not _is_count(factor)]
        return len(rest) == 1 and _is_linear(rest[0], known)
    if expr.is_Add or isinstance(expr, (Abs, Max, Min, gap, shift)):
        return all(_is_linear(arg, known) for arg in expr.args)
    return False


def _is_count(factor: Any) -> bool:
    """Whether a factor is a number, or made of sizes only."""
    return all(isinstance(symbol, Size) for symbol in factor.free_symbols)
