"""Rules: what they are, and how a pattern is found in an expression."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sympy import (
    Add,
    Expr,
    Function,
    Mul,
    S,
    Symbol,
)

from symloss.index import Entry, Index, substitute

x, y = Symbol("x", real=True), Symbol("y", real=True)
WILD = frozenset({x, y})
Bindings = dict[Expr, Expr]


@dataclass(frozen=True)
class Rule:
    """A rewrite of `pattern` to `result`, where `guard` holds of what the wildcards stand for."""

    name: str
    pattern: Expr
    result: Expr
    why: str
    guard: Callable[[Bindings], bool] = lambda found: True

    def apply(self, node: Expr) -> Expr | None:
        """The rewritten node, or None where the rule doesn't apply."""
        head = type(self.pattern)
        if head in (Add, Mul) and isinstance(node, head):
            for number in _factors(self.pattern, node):
                args = list(node.args) if number == 1 else [arg / number for arg in node.args]
                for found, rest in _some(head, list(self.pattern.args), args, {}):
                    if self.guard(found):
                        whole = head(self._result(found), *rest)
                        terms = Add.make_args(whole) if number != 1 else ()
                        return Add(*(number * term for term in terms)) if terms else whole
            return None
        for found in match(self.pattern, node, {}):
            if self.guard(found):
                return self._result(found)
        return None

    def _result(self, found: Bindings) -> Expr:
        return substitute(self.result, found)


@dataclass(frozen=True)
class Shape:
    """A rewrite that a function makes; it returns None where it doesn't apply."""

    name: str
    apply: Callable[[Expr], Expr | None]
    why: str


def match(pattern: Expr, node: Expr, found: Bindings) -> Iterator[Bindings]:
    """Every way in which `node` is an instance of `pattern`."""
    if pattern in WILD:
        if found.get(pattern, node) == node:
            yield {**found, pattern: node}
    elif not pattern.args or pattern.is_number:
        if pattern == node:
            yield found
    elif pattern.is_Mul and pattern.args[0] == -1 and len(pattern.args) == 2:
        yield from match(pattern.args[1], negated(node), found)  # -x matches anything: x is its negative
    elif type(pattern) is not type(node) or len(pattern.args) != len(node.args):
        return
    elif pattern.is_Add or pattern.is_Mul:
        for result, rest in _some(type(node), list(pattern.args), list(node.args), found):
            if not rest:
                yield result
    else:
        results = [found]
        for part, arg in zip(pattern.args, node.args, strict=True):
            results = [further for result in results for further in match(part, arg, result)]
        yield from results


def _factors(pattern: Expr, node: Expr) -> list[Expr]:
    """The numbers that a sum may be times a pattern: those before the same functions."""
    numbers = dict.fromkeys([S.One])
    if isinstance(pattern, Add):
        for part in pattern.args:
            count, function = part.as_coeff_Mul()
            if not isinstance(function, Function):
                continue
            for arg in node.args:
                own, other = arg.as_coeff_Mul()
                if type(other) is type(function):
                    numbers[own / count] = None
    return list(numbers)


def _some(
    head: type, patterns: list[Expr], args: list[Expr], found: Bindings
) -> Iterator[tuple[Bindings, list[Expr]]]:
    """Match every pattern to one of the args, in any order; also gives the args that are left."""
    if not patterns:
        yield found, args
        return
    # The most particular part first: a bare wildcard matches everything.
    first = min(patterns, key=lambda part: (part.as_coeff_Mul()[1] in WILD, not part.is_number))
    others = [part for part in patterns if part is not first]
    number, wildcard = first.as_coeff_Mul()
    known = found.get(wildcard)
    if head is Add and known is not None and known.is_Add:  # its terms stand among those of the sum around it
        left = list(args)
        if all(take(left, number * term) for term in known.args):
            yield from _some(head, others, left, found)
    for i, arg in enumerate(args):
        for result in match(first, arg, found):
            yield from _some(head, others, args[:i] + args[i + 1 :], result)


def take(args: list[Expr], part: Expr) -> bool:
    """Remove `part` from the list, if it is there."""
    if part in args:
        args.remove(part)
        return True
    return False


def negated(expr: Expr) -> Expr:
    """-expr, with the sign brought into a sum: exact in floating point."""
    if expr.is_Add:
        return Add(*(-term for term in expr.args))
    return -expr


def unify(binder_body: Expr, indices: tuple[Index, ...], node: Expr) -> tuple[Expr, ...] | None:
    """The place at which a row's body is `node`, if there is one."""
    places: dict[Expr, Expr] = {}
    for entry in sorted(binder_body.atoms(Entry), key=str):
        for other in sorted(node.atoms(Entry), key=str):
            if other.base != entry.base or len(places) == len(indices):
                continue
            for mine, theirs in zip(entry.indices, other.indices, strict=True):
                if mine in indices and isinstance(theirs, Index):
                    places.setdefault(mine, theirs)
    if len(places) < len(indices):
        return None
    return tuple(places[i] for i in indices) if substitute(binder_body, places) == node else None
