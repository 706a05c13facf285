"""What statements of a Program read, compute and write."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from sympy import Basic, Expr, Piecewise, preorder_traversal

from symloss.index import Binder, Entry, Index
from symloss.program import Accumulator, Assign, If, Keep, Load, Loop, Reduce, Statement, Store


def expressions(statements: Iterable[Any]) -> Iterator[Basic]:
    """Everything that statements compute."""
    for statement in statements:
        match statement:
            case Assign(_, value) | Keep(_, _, value) | Store(_, _, value):
                yield value
            case Loop(_, body):
                yield from expressions(body)
            case Reduce(_, body, accumulators):
                yield from expressions(body)
                yield from (a.term for a in accumulators)
            case If(branches):
                for _, inner in branches:
                    yield from expressions(inner)


def symbols(expr: Any) -> set[Any]:
    """The symbols in an expression; none in anything else."""
    return expr.free_symbols if isinstance(expr, Basic) else set()


def with_args(expr: Any, change: Callable[[Any], Any]) -> Any:
    """An expression with its arguments changed, and not evaluated: the order of operations stays."""
    if not expr.args or isinstance(expr, (Binder, Entry)):
        return expr
    if isinstance(expr, Piecewise):
        return Piecewise(*((change(value), change(test)) for value, test in expr.args), evaluate=False)
    args = tuple(change(arg) for arg in expr.args)
    if args == expr.args:
        return expr
    return expr.func(*args, evaluate=False) if expr.is_Add or expr.is_Mul or expr.is_Pow else expr.func(*args)


def put_in(expr: Any, known: Mapping[Expr, Expr]) -> Any:
    """Replace parts of an expression without evaluating it."""
    return known[expr] if expr in known else with_args(expr, lambda arg: put_in(arg, known))


def spelled_out(statements: Iterable[Statement], is_call: Callable[[Any], bool]) -> list[Statement]:
    """Statements without loops, in which the loss and tests are formulas of inputs and of calls.

    What has a name that nothing else reads then is left out.
    """
    known: dict[Expr, Expr] = {}

    def formulas(statements: Iterable[Statement]) -> Iterator[Statement]:
        for statement in statements:
            match statement:
                case Assign(name, value):
                    formula = put_in(value, known)
                    known[name] = name if any(map(is_call, preorder_traversal(value))) else formula
                    yield Assign(name, formula) if str(name) == "value" else statement
                case If(branches):
                    tests = [None if test is None else put_in(test, known) for test, _ in branches]
                    bodies = [tuple(formulas(inner)) for _, inner in branches]
                    yield If(tuple(zip(tests, bodies, strict=True)))
                case _:
                    yield statement

    done = list(formulas(statements))
    while (needed := _needed(done, {"value", *read(done)})) != done:
        done = needed
    return done


def _needed(statements: Iterable[Statement], names: set[str]) -> list[Statement]:
    """The statements without those that give names to what isn't among these."""
    kept: list[Statement] = []
    for statement in statements:
        match statement:
            case Assign(name, _) if str(name) not in names:
                continue
            case If(branches):
                statement = If(tuple((test, tuple(_needed(inner, names))) for test, inner in branches))
        kept.append(statement)
    return kept


def written_by(statement: Statement) -> Any:
    """What a store that needs no loop writes to."""
    if isinstance(statement, Store) and statement.unless is None:
        return statement.output, statement.indices
    return None


def stored_in_all(branches: Sequence[tuple[Any, Sequence[Statement]]]) -> dict[Any, Store]:
    """The stores that every branch makes, each once, so that one write of the chosen value will do."""
    if branches[-1][0] is not None:
        return {}
    found: list[dict[Any, Store]] = []
    for _, statements in branches:
        stores = [s for s in statements if isinstance(s, Store) and written_by(s) is not None]
        by_key = {written_by(store): store for store in stores}
        found.append(by_key if len(by_key) == len(stores) else {})
    return {key: store for key, store in found[0].items() if all(key in other for other in found)}


def nested(statements: Iterable[Statement]) -> Iterator[Statement]:
    """Statements, and those in their loops and branches."""
    for statement in statements:
        yield statement
        match statement:
            case Loop(_, body) | Reduce(_, body, _):
                yield from nested(body)
            case If(branches):
                for _, inner in branches:
                    yield from nested(inner)


def stored(statements: Iterable[Statement]) -> Iterator[str]:
    """The outputs that statements write to."""
    return (statement.output for statement in nested(statements) if isinstance(statement, Store))


def stored_once(statements: Iterable[Statement]) -> set[str]:
    """The outputs of which no entry is written a second time for one sample."""
    found: dict[str, list[bool]] = {}
    for loops, store in _stores(statements, ()):
        found.setdefault(store.output, []).append(all(loop in store.indices for loop in loops))
    return {output for output, own in found.items() if own == [True]}


def _stores(
    statements: Iterable[Statement], loops: tuple[Index, ...]
) -> Iterator[tuple[tuple[Index, ...], Store]]:
    """All stores, with the indices of the loops around them."""
    for statement in statements:
        match statement:
            case Store():
                yield loops, statement
            case Loop(more, body) | Reduce(more, body, _):
                yield from _stores(body, (*loops, *more))
            case If(branches):
                for _, inner in branches:
                    yield from _stores(inner, loops)


def in_loops(statements: Iterable[Statement]) -> Iterator[str]:
    """The inputs and outputs that are read or written at an index of a loop."""
    for statement in nested(statements):
        match statement:
            case Load(_, array, indices) | Store(array, indices, _):
                if any(index.has(Index) for index in indices):
                    yield array


def writes(statement: Statement) -> bool:
    """Whether a statement writes into an output."""
    return any(stored([statement]))


def assigns_value(statement: Statement) -> bool:
    """Whether a statement makes the sample's loss."""
    match statement:
        case Assign(name, _):
            return str(name) == "value"
        case If(branches):
            return any(assigns_value(inner) for _, statements in branches for inner in statements)
    return False


def places(statements: Iterable[Any]) -> Iterator[tuple[Any, ...]]:
    """The indices of everything that the statements read and write."""
    for statement in statements:
        match statement:
            case Load(_, _, indices):
                yield indices
            case Assign(_, value):
                yield from _entries(value)
            case Keep(_, indices, value) | Store(_, indices, value):
                yield indices
                yield from _entries(value)
            case Loop(_, body):
                yield from places(body)
            case Reduce(_, body, accumulators):
                yield from places([*body, *accumulators])
            case Accumulator():
                yield from _entries(statement.term)
            case If(branches):
                for test, inner in branches:
                    yield from _entries(test)
                    yield from places(inner)


def are_last_axes(parts: Iterable[Any], axes: tuple[Index, ...]) -> bool:
    """Whether inputs and outputs have all of these indices as their last, or none; nothing else has any."""
    found = set(axes)

    def lacks(*exprs: Any) -> bool:
        return not any(found & symbols(expr) for expr in exprs)

    def fits(place: tuple[Any, ...]) -> bool:
        return lacks(*place) or (place[-len(axes) :] == axes and lacks(*place[: -len(axes)]))

    def is_so(part: Any) -> bool:
        match part:
            case Load(_, _, place):
                return fits(place)
            case Store(_, place, value, unless):
                return fits(place) and lacks(value, unless)
            case Assign(_, value):
                return lacks(value)
            case Keep(_, place, value):
                return lacks(*place, value)
            case Loop(_, body):
                return are_last_axes(body, axes)
            case Reduce(_, body, accumulators):
                return are_last_axes([*body, *accumulators], axes)
            case Accumulator(_, _, term, unless, place):
                return place is None and lacks(term, unless)
            case If(branches):
                return all(lacks(test) and are_last_axes(inner, axes) for test, inner in branches)
        raise TypeError(f"no statement: {part!r}")

    return all(map(is_so, parts))


def _entries(expr: Any) -> Iterator[tuple[Expr, ...]]:
    if isinstance(expr, Basic):
        for entry in expr.atoms(Entry):
            yield entry.indices


def made(statements: Iterable[Statement], inside: bool = True) -> Iterator[str]:
    """The names and scratch arrays that statements make; those of a loop's body only if `inside`."""
    for statement in statements:
        match statement:
            case Load(name, _, _) | Assign(name, _):
                yield str(name)
            case Keep(array, _, _):
                yield array
            case Loop(_, body):
                yield from made(body) if inside else _kept(body)
            case Reduce(_, body, accumulators):
                yield from made(body) if inside else _kept(body)
                for accumulator in accumulators:
                    yield str(accumulator.name)
                    if accumulator.place is not None:
                        yield str(accumulator.place)
            case If(branches):
                for _, inner in branches:
                    yield from made(inner, inside)


def _kept(statements: Iterable[Statement]) -> Iterator[str]:
    """The scratch arrays that statements fill."""
    return (statement.array for statement in nested(statements) if isinstance(statement, Keep))


def read(statements: Iterable[Any]) -> Iterator[str]:
    """The names and scratch arrays that statements read, their own included."""
    for statement in statements:
        match statement:
            case Load(_, _, indices):
                yield from _names(*indices)
            case Assign(_, value):
                yield from _names(value)
            case Keep(_, indices, value):
                yield from _names(*indices, value)
            case Store(_, indices, value, unless):
                yield from _names(*indices, value, unless)
            case Loop(_, body):
                yield from read(body)
            case Reduce(_, body, accumulators):
                yield from read([*body, *accumulators])
            case Accumulator(_, _, term, unless, _):
                yield from _names(term, unless)
            case If(branches):
                for test, inner in branches:
                    yield from _names(test)
                    yield from read(inner)


def _names(*exprs: Any) -> Iterator[str]:
    for expr in exprs:
        yield from (symbol.name for symbol in symbols(expr))
