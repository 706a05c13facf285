"""Merges the calls of functions in branches that are computed beside each other.

Where each lane takes a branch of its own, all branches are computed. If two of them call the same function,
one call will do, of the argument that the lane's branch has: f(x) in one and f(y) in the other is
f(select(test, x, y)). The choice has a name, and so has its negative: functions of x and of -x have much in
common.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sympy import Abs, Expr, Function, Piecewise, Symbol, sign

from symloss.program import Assign, Load, Statement, Store, gap, scaled, shift
from symloss.statements import put_in

Branches = Sequence[tuple[Any, Sequence[Statement]]]
#: Functions that cost no more than a choice.
_CHEAP = (Piecewise, Abs, sign, gap, scaled, shift)


def merged(branches: Branches, name: Callable[[str], Symbol]) -> tuple[list[Statement], Branches] | None:
    """What is computed ahead of the branches, and the branches that use it; None where nothing can be merged.

    Args:
        branches: tests and statements, without loops.
        name: gives a new name to what is computed, told a wish.
    """
    if branches[-1][0] is not None or not all(
        isinstance(statement, (Assign, Load, Store)) for _, statements in branches for statement in statements
    ):
        return None
    loads = [
        statement for _, statements in branches for statement in statements if isinstance(statement, Load)
    ]
    inlined = [_inlined(statements) for _, statements in branches]
    calling = [n for n, statements in enumerate(inlined) if any(_calls(s.value) for s in statements)]
    if len(calling) < 2:
        return None
    tests = [test for test, _ in branches]
    ahead: list[Statement] = list(dict.fromkeys(loads))
    choices: dict[tuple[Expr, ...], Expr] = {}

    def chosen(*values: Expr) -> Expr:
        """The argument of the branch that a lane takes; any, if it takes none of these."""
        if len(set(values)) == 1:
            return values[0]
        if values not in choices:
            symbol = name("either_argument")
            cases = [(value, tests[n]) for n, value in zip(calling, values[:-1], strict=False)]
            ahead.append(Assign(symbol, Piecewise(*cases, (values[-1], True), evaluate=False)))
            choices[values] = symbol
            choices[tuple(-value for value in values)] = -symbol
        return choices[values]

    shared = False
    while True:
        found = _next_call([inlined[n] for n in calling])
        if found is None:
            break
        arguments = [chosen(*values) for values in zip(*(call.args for call in found), strict=True)]
        symbol = name(f"either_{_word(found[0])}")
        ahead.append(Assign(symbol, found[0].func(*arguments, evaluate=False)))
        shared = shared or len(set(found)) > 1
        for n, call in zip(calling, found, strict=True):
            inlined[n] = [_replaced(statement, {call: symbol}) for statement in inlined[n]]
    if not shared:
        return None
    return ahead, [(test, statements) for test, statements in zip(tests, inlined, strict=True)]


def substituted(statement: Assign, tests: dict[Any, Symbol]) -> Assign:
    """An assignment with the tests that it chooses by under the names that they have."""

    def visit(expr: Any) -> Any:
        if isinstance(expr, Piecewise):
            return Piecewise(
                *((visit(value), tests.get(test, test)) for value, test in expr.args), evaluate=False
            )
        return expr.func(*map(visit, expr.args), evaluate=False) if expr.args else expr

    return Assign(statement.name, visit(statement.value))


def _word(call: Expr) -> str:
    return "power" if call.is_Pow else type(call).__name__.strip("_").lower()


def _inlined(statements: Sequence[Statement]) -> list[Any]:
    """Stores and the value, in terms of what was known before the branch."""
    known: dict[Expr, Expr] = {}
    kept: list[Statement] = []
    for statement in statements:
        if isinstance(statement, Load):
            continue
        replaced = _replaced(statement, known)
        if isinstance(replaced, Assign) and str(replaced.name) != "value":
            known[replaced.name] = replaced.value
        else:
            kept.append(replaced)
    return kept


def _replaced(statement: Any, known: dict[Expr, Expr]) -> Any:
    value = put_in(statement.value, known)
    if isinstance(statement, Assign):
        return Assign(statement.name, value)
    return Store(statement.output, statement.indices, value, statement.unless)


def _calls(expr: Any) -> list[Expr]:
    """The calls of functions in an expression, inner ones first."""
    found: list[Expr] = []
    for arg in expr.args:
        found += _calls(arg)
    is_power = expr.is_Pow and not expr.exp.is_number
    if is_power or (isinstance(expr, Function) and not isinstance(expr, _CHEAP)):
        found.append(expr)
    return found


def _next_call(branches: Sequence[Sequence[Any]]) -> list[Expr] | None:
    """A call of the same function in each branch, of which no argument contains another call."""
    ready = []
    for statements in branches:
        calls = [call for statement in statements for call in _calls(statement.value)]
        ready.append([call for call in dict.fromkeys(calls) if len(_calls(call)) == 1])
    for first in ready[0]:
        others = [next((c for c in calls if _alike(first, c)), None) for calls in ready[1:]]
        if None not in others:
            return [first, *others]
    return None


def _alike(one: Expr, other: Expr) -> bool:
    """Whether two calls are of one function; of two powers, with one exponent."""
    if one.is_Pow or other.is_Pow:
        return bool(one.is_Pow and other.is_Pow and one.exp == other.exp)
    return type(one) is type(other)

