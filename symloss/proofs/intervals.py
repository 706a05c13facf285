"""Enclosures of formulas over boxes, with outward rounding, and signs proved by cutting the box.

An `Enclosure` holds every value that an expression takes while its symbols run over intervals; ends may be
infinite. Each operation is done with `DIGITS` digits, which mpmath gives to the last one or two, and its
result is widened by `SLACK`, far more than that. A sign is believed when it holds on every box of a partition
of the whole (unbounded) domain.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import NamedTuple

import sympy
from mpmath import mp, mpf
from sympy import Expr, Symbol

DIGITS = 30
SLACK = mpf("1e-26")
#: How many boxes a proof may look at, and how many symbols it may have.
BOXES, SYMBOLS = 400, 2
INF = mpf("inf")
#: Points that are tried before a box is cut.
_TRIED = tuple(mpf(x) for x in ("0.03", "0.4", "1.1", "3", "40", "-0.4", "-3", "-40"))


class Enclosure(NamedTuple):
    """All values lie between `low` and `high`."""

    low: mpf
    high: mpf


WHOLE = Enclosure(-INF, INF)
Box = Mapping[Symbol, Enclosure]


def _wide(low: mpf, high: mpf) -> Enclosure:
    """Widened outwards; what is not a number is unbounded."""
    low = -INF if low != low else low - abs(low) * SLACK if abs(low) < INF else low
    high = INF if high != high else high + abs(high) * SLACK if abs(high) < INF else high
    return Enclosure(low, high)


def _times(a: mpf, b: mpf) -> mpf:
    """A product of ends: infinity is only approached, so that 0 times it is 0."""
    return mpf(0) if a == 0 or b == 0 else a * b


def _product(a: Enclosure, b: Enclosure) -> Enclosure:
    ends = [_times(x, y) for x in a for y in b]
    return _wide(min(ends), max(ends))


def _inverse(a: Enclosure) -> Enclosure:
    if a.low < 0 < a.high or (a.low == 0 == a.high):
        return WHOLE
    one = mpf(1)
    low = one / a.high if a.high != 0 else -INF
    high = one / a.low if a.low != 0 else INF
    return _wide(low, high)


def _whole_power(a: Enclosure, n: int) -> Enclosure:
    if n < 0:
        return _inverse(_whole_power(a, -n))
    ends = sorted((a.low**n, a.high**n))
    if n % 2 == 0 and a.low < 0 < a.high:
        ends[0] = mpf(0)
    return _wide(*ends)


def _power(a: Enclosure, b: Enclosure) -> Enclosure:
    """A power with a base that is not negative, through the logarithm."""
    if a.low < 0:
        return WHOLE
    return _exp(_product(b, _log(a)))


def _exp(a: Enclosure) -> Enclosure:
    low, high = (mpf(0) if end == -INF else mp.exp(end) for end in a)
    return Enclosure(max(_wide(low, high).low, mpf(0)), _wide(low, high).high)


def _log(a: Enclosure) -> Enclosure:
    if a.low < 0:
        return WHOLE
    low, high = (-INF if end == 0 else mp.log(end) for end in a)
    return _wide(low, high)


def _rising(function: Callable[[mpf], mpf]) -> Callable[[Enclosure], Enclosure]:
    return lambda a: _wide(function(a.low), function(a.high))


def _wave(function: Callable[[mpf], mpf]) -> Callable[[Enclosure], Enclosure]:
    def run(a: Enclosure) -> Enclosure:
        if not a.high - a.low < mpf("0.5"):
            return Enclosure(mpf(-1), mpf(1))
        middle, radius = function((a.low + a.high) / 2), (a.high - a.low) / 2  # its slope is at most 1
        bounds = _wide(middle - radius, middle + radius)
        return Enclosure(max(bounds.low, mpf(-1)), min(bounds.high, mpf(1)))

    return run


def _absolute(a: Enclosure) -> Enclosure:
    ends = sorted((abs(a.low), abs(a.high)))
    return Enclosure(mpf(0) if a.low < 0 < a.high else ends[0], ends[1])


def _erfc(a: Enclosure) -> Enclosure:
    return _wide(mp.erfc(a.high), mp.erfc(a.low))


def _cosh(a: Enclosure) -> Enclosure:
    size = _absolute(a)
    return _wide(mp.cosh(size.low), mp.cosh(size.high))


_FUNCTIONS: dict[type, Callable[[Enclosure], Enclosure]] = {
    sympy.exp: _exp,
    sympy.log: _log,
    sympy.Abs: _absolute,
    sympy.tanh: _rising(mp.tanh),
    sympy.sinh: _rising(mp.sinh),
    sympy.cosh: _cosh,
    sympy.atan: _rising(mp.atan),
    sympy.asinh: _rising(mp.asinh),
    sympy.erf: _rising(mp.erf),
    sympy.erfc: _erfc,
    sympy.sin: _wave(mp.sin),
    sympy.cos: _wave(mp.cos),
}


def enclose(expr: Expr, box: Box) -> Enclosure:
    """Every value of `expr` over the box; the whole line where it has a function that is not known."""
    if expr in box:
        return box[expr]
    if expr.is_Rational:
        number = mpf(int(expr.p)) / int(expr.q)
        return Enclosure(number, number) if expr.q == 1 else _wide(number, number)
    if expr in (sympy.pi, sympy.E, sympy.EulerGamma):
        number = {sympy.pi: +mp.pi, sympy.E: +mp.e}.get(expr, +mp.euler)
        return _wide(number, number)
    if isinstance(expr, sympy.Add):
        parts = [enclose(term, box) for term in expr.args]
        low, high = sum((part.low for part in parts), mpf(0)), sum((part.high for part in parts), mpf(0))
        return _slack_of_sum(low, high, parts)
    if isinstance(expr, sympy.Mul):
        found = Enclosure(mpf(1), mpf(1))
        for factor in expr.args:
            found = _product(found, enclose(factor, box))
        return found
    if isinstance(expr, sympy.Pow):
        base = enclose(expr.base, box)
        if expr.exp.is_Integer:
            return _whole_power(base, int(expr.exp))
        return _power(base, enclose(expr.exp, box))
    if type(expr) in _FUNCTIONS:
        return _FUNCTIONS[type(expr)](enclose(expr.args[0], box))
    return WHOLE


def _slack_of_sum(low: mpf, high: mpf, parts: list[Enclosure]) -> Enclosure:
    """A sum's rounding errors are relative to its terms, not to itself."""
    size = [abs(end) for part in parts for end in part if abs(end) < INF]
    slack = SLACK * sum(size, mpf(0))
    return Enclosure(-INF if low != low else low - slack, INF if high != high else high + slack)


def signs(expr: Expr) -> frozenset[int]:
    """{1} or {-1} where the sign of `expr` is proved over all values of its symbols; else any sign.

    The symbols are positive or real.
    """
    free = sorted(expr.free_symbols, key=str)
    unknown = frozenset({-1, 0, 1})
    if not free or len(free) > SYMBOLS:
        return unknown
    expr = _nested(expr, free[0]) if len(free) == 1 else expr
    with mp.workdps(DIGITS):
        if _both(expr, free):
            return unknown
        todo = [{s: Enclosure(mpf(0) if s.is_positive else -INF, INF) for s in free}]
        found: set[int] = set()
        for _ in range(BOXES):
            if not todo:
                return frozenset(found)
            box = todo.pop()
            value = enclose(expr, box)
            if value.low > 0 or value.high < 0:
                found.add(1 if value.low > 0 else -1)
                if len(found) > 1:
                    return unknown
                continue
            longest = max(free, key=lambda s: (_length(box[s]), str(s)))
            cut = _cut(box[longest])
            if cut is None:
                return unknown
            low, high = box[longest]
            todo += [box | {longest: Enclosure(*ends)} for ends in ((low, cut), (cut, high))]
    return unknown


def _both(expr: Expr, free: list[Symbol]) -> bool:
    """Whether some points show both signs, so that no cutting will help."""
    seen: set[bool] = set()
    for point in itertools.product(_TRIED, repeat=len(free)):
        box = {s: Enclosure(x, x) for s, x in zip(free, point, strict=True)}
        if any(s.is_positive and box[s].low < 0 for s in free):
            continue
        value = enclose(expr, box)
        if value.low > 0 or value.high < 0:
            seen.add(value.low > 0)
        if len(seen) == 2:
            return True
    return False


def _nested(expr: Expr, symbol: Symbol) -> Expr:
    """A polynomial by Horner's rule: far out, its parts don't cancel."""
    if not expr.is_polynomial(symbol):
        return expr
    nested: Expr = sympy.S.Zero
    for c in sympy.Poly(expr, symbol).all_coeffs():
        nested = nested * symbol + c
    return nested


def _place(x: mpf) -> mpf:
    """The line, pressed into (-1, 1)."""
    return mpf(mp.sign(x)) if abs(x) == INF else x / (1 + abs(x))


def _length(a: Enclosure) -> mpf:
    return _place(a.high) - _place(a.low)


def _cut(a: Enclosure) -> mpf | None:
    """Where a box is cut: in the middle of the pressed line."""
    middle = (_place(a.low) + _place(a.high)) / 2
    if _length(a) < mpf("1e-4"):
        return None
    return middle / (1 - abs(middle))
