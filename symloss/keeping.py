"""Keeps what a loop computes at each entry of a row for a later loop over the same entries.

The exponentials of a softmax are needed for their sum, and again when the sum is known. A function of a
number costs more than to write its result and to read it, so it is written: into the row of an output that is
not written before, or into an array of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from sympy import Expr, Symbol, preorder_traversal

from symloss.index import Entry, Index
from symloss.program import Accumulator, Assign, Keep, Load, Loop, Reduce, Statement, Store
from symloss.sharing import describe
from symloss.statements import made, put_in, read, stored, symbols, with_args


class Kept(NamedTuple):
    """An array of what a row's loop has computed: its dimensions, and the output whose row can hold it."""

    dims: tuple[str, ...]
    output: str | None


def kept(
    statements: Sequence[Statement], is_costly: Callable[[Any], bool], in_outputs: bool, taken: set[str]
) -> tuple[list[Statement], dict[str, Kept]]:
    """The statements with every costly function computed in one loop only, and the arrays that this takes.

    Args:
        statements: of one pass over a sample.
        is_costly: whether an expression is a function that is worth keeping.
        in_outputs: whether only that is kept for which an output has room.
        taken: names that the arrays can't have.
    """
    done = list(statements)
    arrays: dict[str, Kept] = {}
    for first, loop in enumerate(done):
        if not isinstance(loop, (Reduce, Loop)):
            continue
        later = [n for n in range(first + 1, len(done)) if _is_over(done[n], loop.loops)]
        calls = {n: _calls(done[n], is_costly) for n in (first, *later)}
        again = {call: [n for n in later if call in calls[n]] for call in calls[first]}
        again = {call: where for call, where in again.items() if where}
        # A function of a function that is kept needs no place of its own.
        inner = {part for call in again for part in preorder_traversal(call) if part != call}
        for call, where in again.items():
            output = _free_output(done, where, loop.loops, arrays)
            if call not in inner and (output is not None or not in_outputs):
                name = _unique(describe(call), taken)
                array = Symbol(f"kept_{name}")
                arrays[array.name] = Kept(tuple(index.dim for index in loop.loops), output)
                symbol = Symbol(name, real=True)
                done[first] = _rewritten(done[first], call, symbol, call, array.name)
                for n in where:
                    done[n] = _rewritten(done[n], call, symbol, Entry(array, *loop.loops), None)
    return done, arrays


def _is_over(statement: Statement, loops: tuple[Index, ...]) -> bool:
    return isinstance(statement, (Reduce, Loop)) and statement.loops == loops


def _unique(wish: str, taken: set[str]) -> str:
    name, number = wish, 2
    while name in taken or f"kept_{name}" in taken:
        name, number = f"{wish}_{number}", number + 1
    taken |= {name, f"kept_{name}"}
    return name


def _free_output(
    done: Sequence[Statement], where: Sequence[int], loops: tuple[Index, ...], arrays: dict[str, Kept]
) -> str | None:
    """An output that the last of some loops writes, each entry, and nothing before it."""
    last = done[where[-1]]
    assert isinstance(last, (Reduce, Loop))
    used = {array.output for array in arrays.values()} | set(stored(done[: where[-1]]))
    for statement in last.body:
        if isinstance(statement, Store) and statement.indices == loops and statement.output not in used:
            return statement.output
    return None


# --- what a loop computes -------------------------------------------------------------------------------


def _calls(loop: Any, is_costly: Callable[[Any], bool]) -> list[Expr]:
    """The costly functions that a loop computes in each iteration, in terms of what it loads."""
    found: dict[Expr, None] = {}
    own = {index.name for index in loop.loops} | set(made(loop.body))
    known: dict[Expr, Expr] = {}
    for part in _parts(loop):
        value = _value(part)
        if value is None:
            continue
        whole = put_in(value, known)
        for call in preorder_traversal(whole):
            if is_costly(call) and any(symbol.name in own for symbol in symbols(call)):
                found[call] = None
        if isinstance(part, Assign):
            known[part.name] = whole
    return list(found)


def _parts(loop: Any) -> list[Any]:
    return [*loop.body, *(loop.accumulators if isinstance(loop, Reduce) else ())]


def _value(part: Any) -> Expr | None:
    """What a statement or an accumulator computes."""
    match part:
        case Assign(_, value) | Store(_, _, value, _) | Keep(_, _, value):
            return value
        case Accumulator(_, _, term, _, _):
            return term
    return None


def _with(part: Any, value: Expr) -> Any:
    """The same statement or accumulator of another value."""
    return replace(part, term=value) if isinstance(part, Accumulator) else replace(part, value=value)


def _rewritten(loop: Any, call: Expr, name: Symbol, source: Expr, array: str | None) -> Any:
    """A loop that has `source` under a name in place of each `call`, and keeps it in an array, if in any."""
    known: dict[Expr, Expr] = {}
    body: list[Statement] = []
    accumulators: list[Accumulator] = []
    named: Symbol | None = None

    def visit(expr: Any) -> Any:
        if type(expr) is type(call) and put_in(expr, known) == call:
            return named
        return with_args(expr, visit)

    for part in _parts(loop):
        value = _value(part)
        whole = None if value is None else put_in(value, known)
        if whole is not None and whole.has(call) and named is None:
            named = part.name if isinstance(part, Assign) and whole == call else name
            body.append(Assign(named, source))
            if array is not None:
                body.append(Keep(array, loop.loops, named))
        elif isinstance(part, Assign) and whole == call:
            known[part.name] = call
            body.append(Assign(part.name, named))
            continue
        if isinstance(part, Assign):
            known[part.name] = whole
            if part.name == named:
                continue
        changed = part if value is None else _with(part, visit(value))
        (accumulators if isinstance(part, Accumulator) else body).append(changed)
    done = replace(loop, body=tuple(body))
    return _without_idle(replace(done, accumulators=tuple(accumulators)) if accumulators else done)


def _without_idle(loop: Any) -> Any:
    """A loop without what nothing in it reads."""
    needed = set(read(_parts(loop)))
    body = tuple(
        statement for statement in loop.body
        if not isinstance(statement, (Load, Assign)) or str(statement.name) in needed
    )  # fmt: skip
    return loop if body == loop.body else _without_idle(replace(loop, body=body))
