"""Calculus in one variable: a formula cut into analytic pieces, its derivatives, its extremes.

A `Curve` is a function of one symbol: on each of its pieces, which follow one another, it is one analytic
expression without |x|, sign or cases. Where a piece's expression changes direction is found from the roots
of its derivative, and proved by the derivative's sign in between; so the values at the ends of the stretches
are all that the function's least and greatest value can be. Everything holds for all values of the other
symbols in their spans; what can't be decided for all of them at once is `Undecided`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache

import sympy
from sympy import Abs, Add, Expr, Mul, Pow, S, Symbol, exp, log, oo
from sympy.polys.polyerrors import PolynomialError

from symloss.proofs.growth import ANALYTIC, limit
from symloss.proofs.signs import (
    NEGATIVE,
    NOT_NEGATIVE,
    NOT_POSITIVE,
    POSITIVE,
    ZERO,
    Signs,
    Span,
    Spans,
    exponential,
    exponents,
    in_positive,
    one_fraction,
    signs,
)

#: Derivatives that are looked at where two pieces meet.
ORDERS = 6
#: Pieces that a curve may have.
PIECES = 12


class Undecided(Exception):
    """Something that must be known can't be decided."""


#: What is caught where a question may stay open: SymPy gives up in these ways too, as when it compares an
#: infinity that is no real number.
OPEN = (Undecided, PolynomialError, NotImplementedError, TypeError, ValueError)


@dataclass(frozen=True)
class Piece:
    """The function on the open interval from `low` to `high`."""

    low: Expr
    high: Expr
    expr: Expr


@dataclass(frozen=True)
class End:
    """A value that a function comes near: the limit as its symbol comes to `at` from below or from above."""

    value: Expr
    places: tuple[tuple[Symbol, Expr, bool], ...]

    def place(self, symbol: Symbol) -> Expr | None:
        """Where `symbol` goes, or None if it doesn't matter."""
        return next((at for other, at, _ in self.places if other == symbol), None)


@dataclass(frozen=True)
class Curve:
    """A function of `symbol` in pieces; `spans` has the other symbols."""

    symbol: Symbol
    pieces: tuple[Piece, ...]
    spans: tuple[tuple[Symbol, Span], ...]

    def around(self, piece: Piece) -> dict[Symbol, Span]:
        """The spans, with the symbol inside a piece."""
        return {**dict(self.spans), self.symbol: Span(piece.low, piece.high)}

    def derivative(self) -> Curve:
        """The derivative, on the same pieces."""
        pieces = (replace(p, expr=_derivative(p.expr, self.symbol)) for p in self.pieces)
        return replace(self, pieces=tuple(pieces))

    def scaled(self, factor: Expr) -> Curve:
        """The curve times a factor that doesn't depend on the symbol."""
        return replace(self, pieces=tuple(replace(p, expr=factor * p.expr) for p in self.pieces))

    def signs(self) -> Signs:
        """The signs that it can have, inside the pieces."""
        found: Signs = frozenset()
        for piece in self.pieces:
            found |= sign_of(piece.expr, self.symbol, self.around(piece))
        return found

    def ends(self) -> tuple[End, ...]:
        """The values at the ends of the stretches on which the curve is monotone, over all pieces.

        Raises:
            Undecided: when the stretches can't be found.
        """
        found: dict[End, None] = {}
        for piece in self.pieces:
            found.update(dict.fromkeys(_ends(piece.expr, self.symbol, self.around(piece))))
        return tuple(found)

    def borders(self) -> tuple[Expr, ...]:
        """Where pieces meet."""
        return tuple(piece.high for piece in self.pieces[:-1])

    def jump(self, border: int) -> Expr | None:
        """How much the curve rises at the border behind piece number `border`; None if it is infinite there.

        Raises:
            Undecided: when a limit isn't known.
        """
        left, right = self.pieces[border : border + 2]
        sides = []
        for piece, below in ((left, True), (right, False)):
            side = limit(piece.expr, self.symbol, left.high, below, self.around(piece))
            if side is None:
                raise Undecided("a limit at a border")
            sides.append(side)
        if any(side.is_infinite for side in sides):
            return None
        return sympy.factor(sympy.simplify(sides[1] - sides[0]))


@lru_cache(maxsize=5_000)
def _derivative(expr: Expr, symbol: Symbol) -> Expr:
    return expr.diff(symbol)


def cut(expr: Expr, symbol: Symbol, spans: Spans) -> Curve:
    """The curve of an expression over the span of `symbol`, in analytic pieces.

    Raises:
        Undecided: when a case can't be decided, or an expression may not be analytic.
    """
    span = spans[symbol]
    others = tuple((s, other) for s, other in spans.items() if s != symbol)
    pieces = _pieces(expr, symbol, span.low, span.high, dict(others))
    for piece in pieces:
        if not is_analytic(piece.expr, {**dict(others), symbol: Span(piece.low, piece.high)}):
            raise Undecided("a piece may not be analytic")
    curve = Curve(symbol, tuple(pieces), others)
    _check_points(expr, curve, span)
    return Curve(symbol, _joined(pieces), others)


def _check_points(expr: Expr, curve: Curve, span: Span) -> None:
    """Check that at the ends of pieces the value is the limit from one side at least, where it is finite.

    Raises:
        Undecided: when it may be another one: a value at a single point is no part of any piece.
    """
    points = dict.fromkeys((span.low, span.high, *curve.borders()))
    for at in points:
        if at.is_infinite:
            continue
        sides = []
        for piece in curve.pieces:
            for end, below in ((piece.low, False), (piece.high, True)):
                side = limit(piece.expr, curve.symbol, at, below, curve.around(piece)) if end == at else S.NaN
                if side is None:
                    raise Undecided("a limit at a border")
                if side is not S.NaN:
                    sides.append(side)
        value = expr.subs(curve.symbol, at)
        if value.has(S.NaN, S.ComplexInfinity, oo, -oo):
            if len(sides) == 2 and sympy.simplify(sides[0] - sides[1]) == 0:
                raise Undecided("a hole")
        elif not any(side.is_infinite or sympy.simplify(value - side) == 0 for side in sides):
            raise Undecided("a value at a single point")


def _joined(pieces: list[Piece]) -> tuple[Piece, ...]:
    joined = pieces[:1]
    for piece in pieces[1:]:
        if sympy.expand(piece.expr - joined[-1].expr) == 0:
            joined[-1] = replace(joined[-1], high=piece.high)
        else:
            joined.append(piece)
    return tuple(joined)


def _pieces(expr: Expr, symbol: Symbol, low: Expr, high: Expr, spans: dict[Symbol, Span]) -> list[Piece]:
    here = {**spans, symbol: Span(low, high)}
    for _ in range(60):
        node = _breaker(expr, symbol)
        if node is None:
            return [Piece(low, high, expr)]
        switch = node.lhs - node.rhs if node.is_Relational else node.args[0]
        found = signs(switch, here)
        if found <= NOT_NEGATIVE or found <= NOT_POSITIVE:
            expr = expr.subs(node, _decided(node, switch, found))
            continue
        cuts = list(roots(switch, symbol, here))
        if not cuts:
            raise Undecided("the sign of a switch")
        bounds = [low, *cuts, high]
        if len(bounds) > PIECES:
            raise Undecided("too many pieces")
        parts = itertools.pairwise(bounds)
        return [piece for a, b in parts for piece in _pieces(expr, symbol, a, b, spans)]
    raise Undecided("too many cases")


def _breaker(expr: Expr, symbol: Symbol) -> Expr | None:
    """The first node, innermost first, that isn't analytic: |x|, sign or a comparison."""
    for node in sympy.postorder_traversal(expr):
        if isinstance(node, (Abs, sympy.sign)) and symbol in node.free_symbols:
            return node
        if node.is_Relational and (symbol in node.free_symbols or node.free_symbols):
            return node
    return None


def _decided(node: Expr, switch: Expr, found: Signs) -> Expr:
    """What stands for a node where its switch has one sign, but for single points."""
    up = found <= NOT_NEGATIVE and found != ZERO
    if isinstance(node, Abs):
        return switch if up else -switch
    if isinstance(node, sympy.sign):
        if found == ZERO:
            return S.Zero
        return S.One if up else S.NegativeOne
    if found == ZERO:
        return sympy.true if isinstance(node, (sympy.Eq, sympy.Le, sympy.Ge)) else sympy.false
    if isinstance(node, (sympy.Gt, sympy.Ge)):
        return sympy.true if up else sympy.false
    if isinstance(node, (sympy.Lt, sympy.Le)):
        return sympy.false if up else sympy.true
    return sympy.true if isinstance(node, sympy.Ne) else sympy.false


def roots(expr: Expr, symbol: Symbol, spans: Spans) -> tuple[Expr, ...]:
    """The zeros of `expr` inside the span of `symbol`, in order.

    Raises:
        Undecided: when they can't be found, or neither their place nor their order is the same for all
            values of the other symbols.
    """
    span = spans[symbol]
    form = one_fraction(expr)
    number = exponents(expr, symbol)
    found: dict[Expr, None] = {}
    for factor in Mul.make_args(form):
        found.update(dict.fromkeys(_factor_roots(factor, symbol, number, spans)))
    inside = []
    for root in found:
        above, below = signs(root - span.low, spans), signs(span.high - root, spans)
        if span.low == -oo:
            above = POSITIVE
        if span.high == oo:
            below = POSITIVE
        if above == POSITIVE and below == POSITIVE:
            inside.append(root)
        elif not (above <= NOT_POSITIVE or below <= NOT_POSITIVE):
            raise Undecided("whether a root lies inside")
    return _ordered(inside, spans)


def _ordered(points: list[Expr], spans: Spans) -> tuple[Expr, ...]:
    ordered: list[Expr] = []
    for point in points:
        place = 0
        for other in ordered:
            difference = signs(point - other, spans)
            if difference == POSITIVE:
                place += 1
            elif difference == ZERO:
                break
            elif difference != NEGATIVE:
                raise Undecided("the order of two roots")
        else:
            ordered.insert(place, point)
    return tuple(ordered)


def _factor_roots(factor: Expr, symbol: Symbol, number: Expr, spans: Spans) -> Iterable[Expr]:
    base = factor.base if isinstance(factor, Pow) and factor.exp.is_number else factor
    fast = exponential(symbol)
    if not {symbol, fast} & base.free_symbols:
        return ()
    # `fast` is more than any power of `symbol` only to the eye: its sign is asked with the exponential.
    back = base.xreplace({fast: exp(symbol / number)})
    if 0 not in signs(back, spans):
        return ()
    if isinstance(base, Pow):
        return _factor_roots(base.base, symbol, number, spans)
    if isinstance(base, (sympy.tanh, sympy.sinh, sympy.atan, sympy.asinh, Abs, sympy.sign)):
        return roots(base.args[0], symbol, spans)
    if isinstance(base, log):
        return roots(base.args[0].xreplace({fast: exp(symbol / number)}) - 1, symbol, spans)
    if isinstance(base, Add):
        found = _through_log(base, symbol, number, spans)
        if found is not None:
            return found
    for variable in (symbol, fast):
        if base.is_polynomial(variable) and not ({symbol, fast} - {variable}) & base.free_symbols:
            solved = _polynomial_roots(base, variable, spans)
            if variable is fast:
                solved = [number * log(root) for root in solved if _positive_root(root, spans)]
            return solved
    raise Undecided("the roots of a factor")


def _through_log(base: Add, symbol: Symbol, number: Expr, spans: Spans) -> Iterable[Expr] | None:
    """The zeros of a log(g) + b, with a and b free of the symbol: those of g - exp(-b/a)."""
    moving = {symbol, exponential(symbol)}
    logs = [
        node for node in sorted(base.atoms(log), key=sympy.default_sort_key) if moving & node.free_symbols
    ]
    if len(logs) != 1 or not base.is_polynomial(logs[0]):
        return None
    poly = sympy.Poly(base, logs[0])
    if poly.degree() != 1 or any(moving & c.free_symbols for c in poly.all_coeffs()):
        return None
    a, b = poly.all_coeffs()
    back = {exponential(symbol): exp(symbol / number)}
    return roots(logs[0].args[0].xreplace(back) - exp(-b / a), symbol, spans)


def _positive_root(root: Expr, spans: Spans) -> bool:
    found = signs(root, spans)
    if found == POSITIVE:
        return True
    if found <= NOT_POSITIVE:
        return False
    raise Undecided("the sign of a root")


#: Roots of more operations aren't looked at: to find their order takes too long.
LARGE_ROOT = 40


def _polynomial_roots(base: Expr, variable: Symbol, spans: Spans) -> list[Expr]:
    poly = sympy.Poly(base, variable)
    if poly.degree() > 4:
        raise Undecided("a polynomial of high degree")
    solved = sympy.roots(poly)
    if sum(solved.values()) != poly.degree():
        raise Undecided("roots of a polynomial")
    if any(sympy.count_ops(root) > LARGE_ROOT for root in solved):
        raise Undecided("roots under nested radicals")
    others = {s: span for s, span in spans.items() if s != variable}
    real = {root: in_positive(root, others).is_real for root in solved}
    if None in real.values():
        raise Undecided("whether a root is real")
    return sorted((root for root in solved if real[root]), key=sympy.default_sort_key)


def sign_of(expr: Expr, symbol: Symbol, spans: Spans) -> Signs:
    """The signs of an expression inside the span: at sight, or else from its least and greatest value."""
    found = signs(expr, spans)
    if found <= NOT_NEGATIVE or found <= NOT_POSITIVE:
        return found
    try:
        values = [signs(end.value, spans) for end in _ends(expr, symbol, spans)]
    except OPEN:
        return found
    for allowed in (NOT_NEGATIVE, NOT_POSITIVE):
        if all(value <= allowed for value in values):
            return allowed
    return found


def _ends(expr: Expr, symbol: Symbol, spans: Spans) -> tuple[End, ...]:
    if symbol not in expr.free_symbols:
        return (End(expr, ()),)
    span = spans[symbol]
    slope = _derivative(expr, symbol)
    cuts: tuple[Expr, ...] = ()
    found = signs(slope, spans)
    if not (found <= NOT_NEGATIVE or found <= NOT_POSITIVE):
        cuts = roots(slope, symbol, spans)
    bounds = (span.low, *cuts, span.high)
    ends: dict[End, None] = {}
    for low, high in itertools.pairwise(bounds):
        stretch = {**spans, symbol: Span(low, high)}
        if cuts:
            found = signs(slope, stretch)
            if not (found <= NOT_NEGATIVE or found <= NOT_POSITIVE):
                raise Undecided("the direction of a stretch")
        for at, below in ((low, False), (high, True)):
            value = limit(expr, symbol, at, below, stretch)
            if value is None:
                raise Undecided("a limit at an end")
            ends[End(value, ((symbol, at, below),))] = None
    return tuple(ends)


def eliminate(ends: Iterable[End], symbols: Iterable[Symbol], spans: Spans) -> tuple[End, ...]:
    """The values that the given ones come near as further symbols run over their spans.

    Raises:
        Undecided: when a value's stretches in one of the symbols can't be found.
    """
    found = list(ends)
    for symbol in symbols:
        after: dict[End, None] = {}
        for end in found:
            if end.value.is_infinite or symbol not in end.value.free_symbols:
                after[end] = None
                continue
            for inner in _ends(end.value, symbol, spans):
                after[End(inner.value, end.places + inner.places)] = None
        found = list(after)
    return tuple(found)


def is_analytic(expr: Expr, spans: Spans) -> bool:
    """Whether every part of an expression is proved to be analytic inside the spans."""
    for node in sympy.preorder_traversal(expr):
        if not node.free_symbols:
            continue
        if isinstance(node, Pow):
            base = signs(node.base, spans)
            if not (node.exp.is_Integer and (node.exp > 0 or 0 not in base)) and base != POSITIVE:
                return False
        elif isinstance(node, log):
            if signs(node.args[0], spans) != POSITIVE:
                return False
        elif not (node.is_Symbol or isinstance(node, (Add, Mul, *ANALYTIC))):
            return False
    return True


def smoothness(curve: Curve) -> tuple[Expr | None, int | None]:
    """The order k for which the curve is C^k and not more, with the border that says so.

    Infinity and no border where all orders agree; None and a border where it jumps.

    Raises:
        Undecided: when the difference of two sides isn't known to be zero or not.
    """
    least: tuple[Expr | None, int | None] = (oo, None)
    for border in range(len(curve.pieces) - 1):
        order = _order(curve, border)
        if order < 0:
            return None, border
        if order < least[0]:
            least = (order, border)
    return least


def _order(curve: Curve, border: int) -> Expr:
    for order in range(ORDERS):
        jump = curve.jump(border)
        if jump is None:  # a slope that grows beyond all bounds
            return sympy.Integer(order - 1)
        if jump != 0:
            if 0 in signs(jump, dict(curve.spans)):
                raise Undecided("whether a derivative jumps")
            return sympy.Integer(order - 1)
        curve = curve.derivative()
    raise Undecided("a high order of smoothness")
