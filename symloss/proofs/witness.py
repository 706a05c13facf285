"""Points that refute: found among small numbers in floating point, believed only from exact evaluation.

A `Search` looks at one loss at one size. What it finds is confirmed by the oracle, which gives 25 digits,
with a margin that no rounding reaches, or by SymPy in exact arithmetic where two sides must be equal. That
nothing is found says nothing.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import sympy
from mpmath import mp, mpf
from sympy import Expr, FiniteSet, Interval, Rational, S, Set, Symbol

from symloss import index as ix
from symloss.atoms import textbook
from symloss.oracle import Oracle
from symloss.roles import Input, Loss

#: Points that one search looks at.
POINTS = 400
#: Middles of segments that one search looks at.
SEGMENTS = 80
#: Points with a target of 0 at which a search takes exact arithmetic, which is slow.
MASKED = 100
#: Relative margin by which an inequality must fail in the oracle's numbers.
MARGIN = mpf("1e-12")
_NUMBERS = (0, 1, -1, 2, Rational(1, 2), -2, Rational(-1, 2), 3, -3, Rational(3, 2))
_UNIT = (Rational(1, 2), Rational(1, 4), Rational(3, 4), 1, 0)

Point = dict[str, Any]
Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Place:
    """One entry of an input: its symbol in the concrete formula, and where it stands."""

    given: Input
    at: tuple[int, ...]
    symbol: Symbol

    @property
    def name(self) -> str:
        """`prediction`, `logits[0]`, ..."""
        return entry_name(self.given.name, self.at)


#: From a point to the point that it is compared with.
Change = Callable[[dict[Place, Any]], Mapping[Place, Any]]


def entry_name(name: str, at: tuple[int, ...]) -> str:
    """How an entry is written: `logits[0]`, or the name alone for a scalar."""
    return f"{name}[{', '.join(map(str, at))}]" if at else name


def numbers(domain: Set, among: Sequence[Any] = _NUMBERS) -> tuple[Rational, ...]:
    """Small numbers of a domain, simplest first."""
    if isinstance(domain, FiniteSet):
        return tuple(sorted(domain, reverse=True))
    if isinstance(domain, Interval) and domain.is_subset(Interval(0, 1)):
        among = _UNIT
    return tuple(S(x) for x in among if domain == S.Reals or S(x) in domain)


def number_text(number: Any) -> str:
    """A number as readers write it: whole numbers without a point, others with up to six digits."""
    number = mpf(float(number)) if isinstance(number, sympy.Expr) else mpf(number)
    return str(int(number)) if mp.isfinite(number) and number == int(number) else mp.nstr(number, 6)


class Search:
    """A loss at given sizes.

    Args:
        loss: the loss.
        sizes: from each core dimension to its size.
        oracle: the loss's oracle.
        parameters: values of parameters that are not at their default.
    """

    def __init__(
        self,
        loss: Loss,
        sizes: Mapping[str, int],
        oracle: Oracle,
        parameters: Mapping[str, Expr] | None = None,
    ) -> None:
        self.loss, self.sizes, self.oracle = loss, dict(sizes), oracle
        self.parameters = {p.name: p.default for p in loss.parameters} | dict(parameters or {})
        formula = loss.formula
        for name, at, limit in loss.limits:
            if self.parameters[name] == at:
                formula = limit
        self._left = MASKED
        self.labels = {i.name: 0 for i in loss.inputs if i.kind == "label"}
        self.places = [
            Place(given, at, Symbol(entry_name(given.name, at), real=True))
            for given in loss.inputs
            if given.kind != "label"
            for at in np.ndindex(*(self.sizes[dim] for dim in given.dims))
        ]
        self.moving = [place for place in self.places if place.given.kind == "prediction"]
        self.rest = [place for place in self.places if place.given.kind == "target"]
        self.symbols = {(place.given.name, place.at): place.symbol for place in self.places}
        at = {p.symbol: self.parameters[p.name] for p in loss.parameters}
        self.formula = concrete(
            ix.substitute(textbook(formula), at), loss, self.sizes, self.symbols, self.labels
        )

    @cached_property
    def _quick(self) -> Callable[..., float]:
        return sympy.lambdify([place.symbol for place in self.places], self.formula, modules="math", cse=True)

    def quick(self, point: Mapping[Place, Any]) -> float:
        """The value in floating point; NaN where it isn't finite."""
        try:
            value = float(self._quick(*(float(point[place]) for place in self.places)))
        except (ArithmeticError, ValueError, TypeError):
            value = self._masked(point)
        return value if math.isfinite(value) else math.nan

    def _masked(self, point: Mapping[Place, Any]) -> float:
        """The value at a point where a target is 0, which may hide an infinite factor."""
        if self._left == 0 or all(point[place] != 0 for place in self.rest):
            return math.nan
        self._left -= 1
        value = self.exact(point)
        return math.nan if value is None else float(value)

    def exact(self, point: Mapping[Place, Any]) -> Expr | None:
        """The value in exact arithmetic; None where it isn't a finite number."""
        masked = put(self.formula, {place.symbol: point[place] for place in self.rest})
        value = masked.subs({place.symbol: point[place] for place in self.moving})
        if value.free_symbols or value.has(S.NaN, S.ComplexInfinity, S.Infinity, S.NegativeInfinity):
            return None
        return value

    def sample(self, point: Mapping[Place, Any]) -> Point:
        """The point as the oracle takes it."""
        sample: Point = {name: float(value) for name, value in self.parameters.items()} | dict(self.labels)
        for given in self.loss.inputs:
            if given.kind != "label":
                array = np.zeros(tuple(self.sizes[dim] for dim in given.dims))
                for place in self.places:
                    if place.given is given:
                        array[place.at] = float(point[place])
                sample[given.name] = array
        return sample

    def value(self, point: Mapping[Place, Any]) -> mpf:
        """The oracle's value."""
        return self.oracle.evaluate("value", self.sample(point))

    def points(self, count: int = POINTS) -> Iterator[dict[Place, Rational]]:
        """Points of small numbers, simple ones first: all of them if they are few, else a fixed choice."""
        places = self.places
        choices = [numbers(place.given.domain) for place in places]
        if math.prod(map(len, choices)) <= count:
            for combination in itertools.product(*choices):
                yield dict(zip(places, combination, strict=True))
            return
        state = 1
        for number in range(count):
            chosen = {}
            for place, choice in zip(places, choices, strict=True):
                state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
                few = min(len(choice), 2 + number * len(choice) // count)
                chosen[place] = choice[(state >> 33) % few]
            yield chosen

    def pairs(self, point: Mapping[Place, Any]) -> Pairs:
        """A point to print: its inputs, and the parameters."""
        found = [(place.name, number_text(point[place])) for place in self.places]
        found += [(name, str(number)) for name, number in self.labels.items()]
        return (*found, *((name, number_text(value)) for name, value in self.parameters.items()))

    # --- convexity ------------------------------------------------------------------------------------------

    def _segments(self) -> Iterator[tuple[dict, dict, dict, dict[Place, Rational]]]:
        """Middles with two ends on either side, inside the domains."""
        directions = [{place: 1} for place in self.moving]
        for one, other in itertools.combinations(self.moving[:4], 2):
            directions += [{one: 1, other: 1}, {one: 1, other: -1}]
        for middle in self.points(count=SEGMENTS):
            for direction in directions:
                for step in (S(1), Rational(1, 2), S(2), Rational(1, 4)):
                    low = {**middle, **{p: middle[p] - step * s for p, s in direction.items()}}
                    high = {**middle, **{p: middle[p] + step * s for p, s in direction.items()}}
                    if all(_within(p.given.domain, end[p]) for p in direction for end in (low, high)):
                        yield low, middle, high, direction

    def bends_down(self) -> Pairs | None:
        """A point of negative second derivative, or a segment whose middle lies above its ends' mean."""
        for low, middle, high, direction in self._segments():
            ends = (self.quick(low), self.quick(high))
            if not 2 * self.quick(middle) - sum(ends) > 1e-9 * max(1.0, *map(abs, ends)):
                continue
            if len(direction) == 1:
                (place,) = direction
                bend = self.oracle.evaluate("hess", self.sample(middle), place.given.name, place.at)
                if mp.isfinite(bend) and bend < -MARGIN:
                    where = ("second derivative", number_text(bend))
                    along = (("along", place.name),) if len(self.moving) > 1 else ()
                    return (*self.pairs(middle), *along, where)
            a, b, c = (self.value(p) for p in (low, middle, high))
            if all(map(mp.isfinite, (a, b, c))) and (a + c) / 2 < b - MARGIN * (abs(a) + abs(b) + abs(c)):
                mean = ("mean of the values at the ends", number_text((a + c) / 2))
                return (*self._ends(low, high), ("value in the middle", number_text(b)), mean)
        return None

    def straight(self) -> Pairs | None:
        """A segment in whose middle the value is exactly the mean of those at its ends."""
        for low, middle, high, _ in self._segments():
            ends = (self.quick(low), self.quick(high))
            if not abs(2 * self.quick(middle) - sum(ends)) < 1e-12 * max(1.0, *map(abs, ends)):
                continue
            values = [value for p in (low, middle, high) if (value := self.exact(p)) is not None]
            if len(values) == 3 and is_zero(values[0] + values[2] - 2 * values[1]):
                return self._ends(low, high)
        return None

    def _ends(self, low: Mapping[Place, Any], high: Mapping[Place, Any]) -> Pairs:
        """The two ends of a segment: the predictions at either, then what they share."""
        first = [(f"first {place.name}", number_text(low[place])) for place in self.moving]
        second = [(f"second {place.name}", number_text(high[place])) for place in self.moving]
        moving = {place.name for place in self.moving}
        return (*first, *second, *(pair for pair in self.pairs(low) if pair[0] not in moving))

    # --- comparisons ----------------------------------------------------------------------------------------

    def differing(self, change: Change) -> Pairs | None:
        """A point whose value changes when the point is changed."""
        return self._compared(change, lambda before, after: abs(after - before))

    def lower(self, change: Change) -> Pairs | None:
        """A point whose value is lower than that of the changed point."""
        return self._compared(change, lambda before, after: after - before)

    def _compared(self, change: Change, gap: Callable[[Any, Any], Any]) -> Pairs | None:
        for point in self.points():
            other = change(point)
            if any(not _within(p.given.domain, other[p]) for p in self.places):
                continue
            before, after = self.quick(point), self.quick(other)
            if not gap(before, after) > 1e-9 * max(1.0, abs(before), abs(after)):
                continue
            a, b = self.value(point), self.value(other)
            if mp.isfinite(a) and mp.isfinite(b) and gap(a, b) > MARGIN * (abs(a) + abs(b)):
                after_change = ("value after the change", number_text(b))
                return (*self.pairs(point), ("value", number_text(a)), after_change)
        return None

    def negative(self) -> Pairs | None:
        """A point with a value below zero."""
        for point in self.points():
            if self.quick(point) < -1e-9:
                value = self.value(point)
                if mp.isfinite(value) and value < -MARGIN:
                    return (*self.pairs(point), ("value", number_text(value)))
        return None

    def meets(self, bound: Expr) -> Pairs | None:
        """A point whose value is exactly `bound`."""
        for point in self.points(count=60):
            if abs(self.quick(point) - float(bound)) < 1e-12 * max(1.0, abs(float(bound))):
                value = self.exact(point)
                if value is not None and is_zero(value - bound):
                    return self.pairs(point)
        return None

    def without_value(self) -> Pairs | None:
        """A point at which the loss has no value, though it has one at other predictions."""
        for point in self.points(count=40):
            if math.isnan(self.quick(point)) and mp.isnan(self.value(point)):
                other = {p: S(n + 1) if p in self.moving else point[p] for n, p in enumerate(self.places)}
                inside = all(_within(p.given.domain, other[p]) for p in self.moving)
                if inside and mp.isfinite(self.value(other)):
                    return self.pairs(point)
        return None


def put(expr: Expr, at: Mapping[Symbol, Expr]) -> Expr:
    """Numbers for symbols; a product with a zero among them is 0, whatever the other factors."""
    if expr in at:
        return at[expr]
    if not expr.args or not expr.free_symbols & set(at):
        return expr
    args = [put(arg, at) for arg in expr.args]
    if isinstance(expr, sympy.Mul) and any(arg.is_zero for arg in args):
        return S.Zero
    return expr.func(*args)


def is_zero(number: Expr) -> bool:
    """Whether an exact number is proved to be zero."""
    if number.is_zero is not None:
        return bool(number.is_zero)
    return bool(sympy.simplify(number) == 0)


@lru_cache(maxsize=10_000)
def _within(domain: Set, number: Any) -> bool:
    return domain == S.Reals or bool(domain.contains(number))


#: What a reduction is when it is written out.
_WRITTEN: dict[type, type] = {
    ix.Sum: sympy.Add,
    ix.Product: sympy.Mul,
    ix.Max: sympy.Max,
    ix.Min: sympy.Min,
}


def concrete(
    expr: Expr,
    loss: Loss,
    sizes: Mapping[str, int],
    symbols: Mapping[tuple[str, tuple[int, ...]], Symbol],
    labels: Mapping[str, int],
) -> Expr:
    """A textbook formula at given sizes, without indices: sums written out, entries as symbols."""
    names = {given.symbol: given.name for given in loss.inputs}

    def visit(node: Any, at: Mapping[Any, int]) -> Any:
        if isinstance(node, ix.Size):
            return S(sizes[node.name])
        if isinstance(node, ix.Index):
            return S(labels[node.name] if node.name in labels and node in names else at[node])
        if isinstance(node, ix.Entry):
            return symbols[names[node.base], tuple(int(visit(i, at)) for i in node.indices)]
        if node in names:
            return symbols[names[node], ()]
        if isinstance(node, ix.Reduction):
            ranges = [range(sizes[index.dim]) for index in node.indices]
            terms = [
                visit(node.body, {**at, **dict(zip(node.indices, place, strict=True))})
                for place in itertools.product(*ranges)
            ]
            return _WRITTEN[type(node)](*terms)
        if isinstance(node, sympy.Piecewise):
            branches = []
            for value, condition in node.args:
                holds = visit(condition, at)
                if holds != False:  # noqa: E712
                    branches.append((visit(value, at), holds))
                if holds == True:  # noqa: E712
                    break
            return sympy.Piecewise(*branches)
        if not node.args:
            return node
        return node.func(*(visit(arg, at) for arg in node.args))

    return visit(expr, {})
