"""What is proved of a function of one variable: convexity, smoothness, bounds of it and of its derivatives.

A `Behaviour` belongs to one `Scalar` at fixed ends of its targets' intervals. Its answers are True, False or
None (not decided), and `Bound`s. They hold for all values of the parameters and targets in their spans.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property, lru_cache
from typing import NamedTuple

import sympy
from sympy import Expr, Max, S, Symbol, exp, oo, sqrt

from symloss.proofs.calculus import OPEN, Curve, End, cut, eliminate, sign_of, smoothness
from symloss.proofs.growth import limit
from symloss.proofs.reduction import Scalar
from symloss.proofs.signs import NEGATIVE, NOT_NEGATIVE, NOT_POSITIVE, POSITIVE, Span, Spans, signs


class Bound(NamedTuple):
    """Whether something is bounded (None: not decided), by what at best (None: not known), and where.

    `end` is where a bound is met or, if there is none, where it grows; `jump` is 0 where the
    function itself jumps there, 1 where its slope does.
    """

    holds: bool | None
    value: Expr | None = None
    end: End | None = None
    jump: int | None = None


UNDECIDED = Bound(None)


class Behaviour:
    """The behaviour of one scalar.

    Args:
        scalar: with targets inside their spans, or put to an end of them.
    """

    def __init__(self, scalar: Scalar) -> None:
        self.scalar = scalar
        self.spans = dict(scalar.spans)
        self.symbol = scalar.symbol
        self.constant_term, moving = scalar.expr.as_independent(self.symbol, as_Add=True)
        factor, core = sympy.factor_terms(moving).as_independent(self.symbol, as_Add=False)
        if signs(factor, self.spans) != POSITIVE:
            factor, core = S.One, moving
        self.factor, self.core = factor, core
        used = core.free_symbols | {self.symbol}
        for s, span in reversed(scalar.spans):
            if s in used:
                used |= span.low.free_symbols | span.high.free_symbols
        self._own = tuple((s, span) for s, span in scalar.spans if s in used)

    @property
    def constant(self) -> bool:
        """Whether nothing moves."""
        return self.symbol not in self.scalar.expr.free_symbols

    @cached_property
    def curves(self) -> tuple[Curve, Curve, Curve] | None:
        """The core, its slope and its curvature; None if it can't be cut into analytic pieces."""
        return _curves(self.core, self.symbol, self._own)

    def _ends(self, order: int) -> tuple[End, ...] | None:
        if self.curves is None:
            return None
        found = _core_ends(self.core, self.symbol, self._own, order)
        return None if found is None else tuple(self._whole(end, order) for end in found)

    def _tips(self, order: int) -> tuple[End, ...] | None:
        """The limits at the ends of the pieces alone; NaN where one isn't known."""
        if self.curves is None:
            return None
        return tuple(self._whole(end, order) for end in _core_tips(self.core, self.symbol, self._own, order))

    def _whole(self, end: End, order: int) -> End:
        """An end of the core as one of the function, or of its derivative."""
        end = _scaled(end, self.factor)
        return End(end.value + self.constant_term, end.places) if order == 0 and _is_finite(end) else end

    # --- convexity ------------------------------------------------------------------------------------------

    @cached_property
    def convex(self) -> bool | None:
        """Whether it is convex: False only where the slope surely falls."""
        if self.constant:
            return True
        if self.curves is None:
            return None
        _, slope, curvature = self.curves
        bend = _core_signs(self.core, self.symbol, self._own)
        try:
            if any(self.curves[0].jump(b) != 0 for b in range(len(curvature.pieces) - 1)):
                return False
            jumps = [slope.jump(b) for b in range(len(curvature.pieces) - 1)]
        except OPEN:
            return None
        rises = [signs(j, self.spans) if j is not None else frozenset({-1, 0, 1}) for j in jumps]
        if self.scalar.softmax:
            (piece,) = slope.pieces if len(slope.pieces) == 1 else (None,)
            falls = piece and sign_of(piece.expr, self.symbol, slope.around(piece)) <= NOT_POSITIVE
            return True if bend <= NOT_NEGATIVE and falls else None
        if bend <= NOT_NEGATIVE and all(r <= NOT_NEGATIVE for r in rises):
            return True
        return False if any(r == NEGATIVE for r in rises) or bend == NEGATIVE else None

    @cached_property
    def strict(self) -> bool | None:
        """Whether it is strictly convex; False where it is straight somewhere."""
        if self.constant or self.scalar.softmax or self.scalar.flat:
            return False
        if self.curves is None:
            return None
        for piece in self.curves[2].pieces:
            if piece.expr == 0:
                return False
        if not self.convex:
            return None
        for piece in self.curves[2].pieces:
            around = self.curves[2].around(piece)
            if signs(piece.expr, around) != POSITIVE:
                # It is analytic and not negative: positive somewhere is positive but for single points.
                inner = (piece.expr.xreplace({self.symbol: x}) for x in _samples(piece.low, piece.high))
                if not any(signs(value, self.spans) == POSITIVE for value in inner):
                    return None
        return True

    @cached_property
    def modulus(self) -> Bound:
        """The largest m with which it is strongly convex."""
        if self.strict is False:
            return Bound(False)
        if not self.convex:
            return UNDECIDED
        ends = self._ends(2)
        if ends is None:
            zeros = [end for end in _right_first(self._tips(2) or (), self.symbol) if end.value == 0]
            return Bound(False, S.Zero, zeros[0]) if zeros else UNDECIDED
        zeros = [end for end in _right_first(ends, self.symbol) if end.value == 0]
        if zeros:
            return Bound(False, S.Zero, zeros[0])
        least = self.least(ends)
        if least.value is not None and signs(least.value, self.spans) == POSITIVE:
            return Bound(True, least.value, least.end)
        return UNDECIDED

    # --- bounds ---------------------------------------------------------------------------------------------

    def least(self, ends: Iterable[End] | None) -> Bound:
        """The greatest lower bound of what comes near these ends, over the targets too."""
        return self._extreme(ends, S.One)

    def greatest(self, ends: Iterable[End] | None) -> Bound:
        """The least upper bound of what comes near these ends, over the targets too."""
        found = self._extreme(ends, S.NegativeOne)
        return found._replace(value=None if found.value is None else -found.value)

    def _extreme(self, ends: Iterable[End] | None, side: Expr) -> Bound:
        if ends is None:
            return UNDECIDED
        ends = [_scaled(end, side) for end in ends]
        for end in _right_first(ends, self.symbol):
            if end.value == -oo:
                return Bound(False, None, end)
        if any(end.value is S.NaN for end in ends):
            return UNDECIDED
        try:
            ends = list(eliminate([end for end in ends if end.value != oo], self.scalar.targets, self.spans))
        except OPEN:
            return Bound(True)
        if any(end.value == -oo for end in ends) or not ends:
            return Bound(True)  # bounded for each target, but not for all of them together
        value, end = _smallest([end for end in ends if end.value != oo], self.spans)
        return Bound(True, value, end)

    @cached_property
    def below(self) -> Bound:
        """The greatest lower bound of its values."""
        return self._range(self.least)

    @cached_property
    def above(self) -> Bound:
        """The least upper bound of its values."""
        return self._range(self.greatest)

    def _range(self, extreme) -> Bound:
        if self.constant:
            return extreme([End(self.scalar.expr, ())])
        ends = self._ends(0)
        if ends is not None:
            return extreme(ends)
        tips = self._tips(0)
        if tips is None:
            return UNDECIDED
        found = extreme(tips)
        if found.holds is False:
            return found
        return Bound(True) if all(map(_is_finite, tips)) else UNDECIDED

    @cached_property
    def steepest(self) -> Bound:
        """The largest slope in size, times the length of the gradient of the variable."""
        if self.constant:
            return Bound(True, S.Zero)
        if self.curves is None:
            return UNDECIDED
        border = self._jump(0)
        if border is not None:
            return border
        if self.scalar.softmax:
            return self._softmax_slope()
        return self._size(1, sqrt(self.scalar.square * self.scalar.copies))

    @cached_property
    def sharpest(self) -> Bound:
        """The largest curvature in size, times the squared length of the gradient of the variable."""
        if self.constant:
            return Bound(True, S.Zero)
        if self.curves is None:
            return UNDECIDED
        for order in (0, 1):
            border = self._jump(order)
            if border is not None:
                return border
        if self.scalar.softmax:
            return self._softmax_curvature()
        return self._size(2, self.scalar.square)

    def _jump(self, order: int) -> Bound | None:
        """That there is no bound, where the function or its slope jumps; UNDECIDED if that isn't known."""
        assert self.curves is not None
        curve = self.curves[order]
        for number, border in enumerate(curve.borders()):
            try:
                jump = curve.jump(number)
            except OPEN:
                return UNDECIDED
            if jump is None or jump != 0:
                if jump is not None and 0 in signs(jump, self.spans):
                    return UNDECIDED
                return Bound(False, None, End(oo, ((self.symbol, border, False),)), jump=order)
        return None

    def _size(self, order: int, factor: Expr) -> Bound:
        ends = self._ends(order)
        if ends is None:
            tips = self._tips(order) or ()
            for end in _right_first(tips, self.symbol):
                if end.value.is_infinite:
                    return Bound(False, None, end)
            return Bound(True) if tips and all(map(_is_finite, tips)) else UNDECIDED
        for end in _right_first(ends, self.symbol):
            if end.value.is_infinite:
                return Bound(False, None, end)
        both = [*ends, *(_scaled(end, S.NegativeOne) for end in ends)]
        found = self.greatest(both)
        return (
            found if found.value is None else found._replace(value=sympy.factor_terms(found.value * factor))
        )

    def _softmax_slope(self) -> Bound:
        """The gradient of an entry u of a log-softmax is at most sqrt(2) (1 - e^u) long, and nears it."""
        slope = self.scalar.expr.diff(self.symbol) * (1 - exp(self.symbol))
        outer = Behaviour(_like(self.scalar, slope))
        return _both_sides(outer, sqrt(2))

    def _softmax_curvature(self) -> Bound:
        """A log-softmax's Hessian is at most 1/2 in size (two equal shares), and its gradient sqrt(2)."""
        first = self.scalar.expr.diff(self.symbol)
        second = first.diff(self.symbol)
        if second == 0 and not self.scalar.targets:
            size = _sized(first, self.spans)
            return Bound(True, size / 2) if size is not None else Bound(True)
        bounded = [
            _both_sides(Behaviour(_like(self.scalar, e)), S.One).holds
            for e in (first, second * (1 - exp(self.symbol)) ** 2)
        ]
        return Bound(True) if all(bounded) else UNDECIDED

    # --- the rest -------------------------------------------------------------------------------------------

    @cached_property
    def smooth(self) -> tuple[Expr | None, Expr | None] | None:
        """The class k of C^k and the border that says so (both None: it jumps there); None: not decided."""
        if self.constant:
            return oo, None
        if self.curves is None:
            return None
        try:
            order, border = smoothness(self.curves[0])
        except OPEN:
            return None
        return order, None if border is None else self.curves[0].borders()[border]

    def far_slope(self) -> tuple[Expr | None, Expr | None]:
        """Where the slope goes as the variable goes to plus and to minus infinity; None if not known."""
        if self.constant:
            return S.Zero, S.Zero
        if self.curves is None:
            return None, None
        slope = self.curves[1]
        sides = []
        for piece, end in ((slope.pieces[-1], oo), (slope.pieces[0], -oo)):
            value = limit(piece.expr, self.symbol, end, end == oo, slope.around(piece))
            sides.append(None if value is None else self.factor * value)
        return sides[0], sides[1]


def _like(scalar: Scalar, expr: Expr) -> Scalar:
    return replace(scalar, expr=expr, softmax=False, flat=False)


def _both_sides(outer: Behaviour, factor: Expr) -> Bound:
    """The largest size of a function, from its two bounds."""
    below, above = outer.below, outer.above
    for side in (below, above):
        if side.holds is False:
            return Bound(False, None, side.end)
    if not (below.holds and above.holds):
        return UNDECIDED
    if below.value is None or above.value is None:
        return Bound(True)
    value, end = _smallest([End(below.value, ()), End(-above.value, ())], outer.spans)
    return Bound(
        True, sympy.factor_terms(-value * factor), below.end if end.value == below.value else above.end
    )


def _sized(expr: Expr, spans: Spans) -> Expr | None:
    found = signs(expr, spans)
    return expr if found <= NOT_NEGATIVE else -expr if found <= NOT_POSITIVE else None


def _scaled(end: End, factor: Expr) -> End:
    """An end of the function times a factor, which is positive or -1."""
    if factor == 1 or (end.value.is_infinite and factor != -1):
        return end
    return End(factor * end.value, end.places)


def _smallest(ends: Sequence[End], spans: Spans) -> tuple[Expr, End]:
    """The smallest of some values; a Min where the parameters decide."""
    kept: list[End] = []
    for end in ends:
        if any(signs(end.value - other.value, spans) <= NOT_NEGATIVE for other in kept):
            continue
        kept = [other for other in kept if not signs(other.value - end.value, spans) <= NOT_NEGATIVE]
        kept.append(end)
    value = kept[0].value if len(kept) == 1 else -Max(*(-end.value for end in kept))
    return value, kept[0]


def _right_first(ends: Iterable[End], symbol: Symbol) -> list[End]:
    """The ends with plus infinity first: it reads better."""
    return sorted(ends, key=lambda end: end.place(symbol) != oo)


def _is_finite(end: End) -> bool:
    """Whether a limit is known and no infinity."""
    return end.value is not S.NaN and not end.value.is_infinite


def _samples(low: Expr, high: Expr) -> tuple[Expr, ...]:
    """Two points inside a piece: an analytic function that is not 0 at one of them has isolated zeros."""
    if low == -oo and high == oo:
        return S.One, S.NegativeOne
    if low == -oo:
        return high - 1, high - 2
    return (low + 1, low + 2) if high == oo else ((low + high) / 2, (2 * low + high) / 3)


@lru_cache(maxsize=500)
def _curves(core: Expr, symbol: Symbol, spans: tuple[tuple[Symbol, Span], ...]):
    try:
        curve = cut(core, symbol, dict(spans))
    except OPEN:
        return None
    slope = curve.derivative()
    return curve, slope, slope.derivative()


@lru_cache(maxsize=500)
def _core_ends(core: Expr, symbol: Symbol, spans: tuple[tuple[Symbol, Span], ...], order: int):
    try:
        return _curves(core, symbol, spans)[order].ends()
    except OPEN:
        return None


@lru_cache(maxsize=500)
def _core_tips(
    core: Expr, symbol: Symbol, spans: tuple[tuple[Symbol, Span], ...], order: int
) -> tuple[End, ...]:
    found: list[End] = []
    curve = _curves(core, symbol, spans)[order]
    for piece in curve.pieces:
        for at, below in ((piece.low, False), (piece.high, True)):
            value = limit(piece.expr, symbol, at, below, curve.around(piece))
            if value is not None:
                found.append(End(value, ((symbol, at, below),)))
            else:
                found.append(End(S.NaN, ((symbol, at, below),)))
    return tuple(found)


@lru_cache(maxsize=500)
def _core_signs(core: Expr, symbol: Symbol, spans: tuple[tuple[Symbol, Span], ...]) -> frozenset[int]:
    return _curves(core, symbol, spans)[2].signs()
