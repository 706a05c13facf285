"""One loss, taken apart: its cases with what is proved of their parts, and the searches for points.

A `Unit` is one part of one case: either scalars with their behaviour, or an expression with its shape. A
`Slice` is the loss along one entry, everything else being numbers: what fails on a slice fails for the loss.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Any

import numpy as np
import sympy
from sympy import Expr, Interval, Max, S, Symbol, oo

from symloss import atoms as a
from symloss.derive import Derivation
from symloss.index import rewrite, walk
from symloss.oracle import Oracle
from symloss.proofs.behaviour import Behaviour
from symloss.proofs.calculus import End
from symloss.proofs.reduction import Case, Part, Scalar, cases, parts, scalar_cases
from symloss.proofs.rows import Rows
from symloss.proofs.signs import NOT_NEGATIVE, Span, Spans, signs
from symloss.proofs.witness import Pairs, Place, Search, entry_name, number_text, numbers
from symloss.roles import Input, Loss, Parameter

#: Rows that slices have, for predictions and for targets: their entries in turn.
_PATTERNS = (((0, 0), (0, 0)), ((0, 0), (1, 1)), ((0, 0), (0, 1)), ((1, 1), (0, 1)))


@dataclass(frozen=True)
class Unit:
    """One part of one case: behaviours at its targets' ends and inside, or (without them) its shape."""

    case: Case
    part: Part
    behaviours: tuple[Behaviour, ...]
    rows: Rows | None


@dataclass(frozen=True)
class Slice:
    """The loss along one entry of a prediction."""

    search: Search
    place: Place
    point: dict[Place, Any]
    behaviour: Behaviour

    def where(self, end: End | None) -> Pairs:
        """The point, with the entry at an end."""
        at = None if end is None else end.place(self.behaviour.symbol)
        text = number_text(self.point[self.place]) if at is None else place_text(at, self.place.given, {})
        return tuple((n, text if n == self.place.name else t) for n, t in self.search.pairs(self.point))


class Study:
    """A loss and everything that is known of it."""

    def __init__(self, derivation: Derivation) -> None:
        self.derivation = derivation
        self.loss: Loss = derivation.loss
        self.known: dict[str, Any] = {}
        #: The cases, those with the parameters' defaults first: a point at a default says most.
        self.cases = tuple(sorted(cases(derivation), key=self._distance))

    def _distance(self, case: Case) -> int:
        return sum(value != p.default for p in self.loss.parameters for value in [self.setting(case)[p.name]])

    @property
    def spans(self) -> Spans:
        """Where the parameters lie, by the loss's own symbols."""
        return {p.symbol: _span(p.domain) for p in self.loss.parameters}

    @property
    def composed(self) -> bool:
        """Whether something is no function of one variable on the line."""
        return any(
            bool(unit.rows and unit.part.predictions) or any(b.scalar.softmax for b in unit.behaviours)
            for unit in self.units
        )

    @property
    def of_rows_in_the_unit_interval(self) -> bool:
        """Whether all inputs are rows of numbers in [0, 1], which need not sum to 1."""
        return all(i.dims and i.domain == Interval(0, 1) for i in self.loss.inputs)

    @property
    def finite_targets(self) -> bool:
        """Whether cases differ in targets too, not in parameters alone."""
        return any(
            name in {i.name for i in self.loss.inputs} for case in self.cases for name, _ in case.fixed
        )

    def apart(self, case: Case) -> bool:
        """Whether the parts of a case have no target in common, so that their bounds are met together."""
        units = [unit for unit in self.units if unit.case is case]
        return sum(bool(u.part.scalar and u.part.scalar.targets) for u in units) <= 1

    def belongs(self, search: Search, case: Case) -> bool:
        """Whether a search's parameters are those of a case."""
        return search.parameters == self.setting(case)

    @cached_property
    def oracle(self) -> Oracle:
        """The loss's oracle."""
        return Oracle(self.loss)

    @cached_property
    def units(self) -> tuple[Unit, ...]:
        """All parts of all cases."""
        found = []
        for case in self.cases:
            for part in parts(self.loss, case):
                if part.scalar is None:
                    found.append(Unit(case, part, (), Rows(self.loss, case, part.expr)))
                else:
                    each = tuple(map(Behaviour, scalar_cases(part.scalar, self.loss)))
                    found.append(Unit(case, part, each, None))
        return tuple(found)

    @property
    def behaviours(self) -> Iterator[tuple[Unit, Behaviour]]:
        """Every behaviour, with its unit."""
        for unit in self.units:
            for behaviour in unit.behaviours:
                yield unit, behaviour

    def covers(self, case: Case) -> bool:
        """Whether every prediction moves the loss in a case."""
        named = {g.name for u in self.units if u.case is case for g in u.part.predictions}
        return named == {given.name for given in self.loss.predictions}

    @property
    def residual(self) -> bool:
        """Whether the loss is a function of residuals: differences of prediction and target."""
        return all(
            (scalar is not None and bool(scalar.residual)) or not unit.part.predictions
            for unit in self.units
            for scalar in [unit.part.scalar]
        )

    # --- parameters -----------------------------------------------------------------------------------------

    def setting(self, case: Case) -> dict[str, Expr]:
        """Numbers for the parameters of a case: what it fixes, else the default, else a simple one inside."""
        fixed, found = dict(case.fixed), {}
        for parameter in self.loss.parameters:
            value = fixed.get(parameter.name)
            if value is None:
                span = next((span for s, span in case.spans if s.name == parameter.name), Span())
                value = parameter.default if _inside(parameter.default, span) else _middle(span)
            found[parameter.name] = value
        return found

    def own(self, value: Expr | None) -> Expr | None:
        """A result in the loss's own symbols."""
        if value is None:
            return None
        mine = {p.name: p.symbol for p in self.loss.parameters}
        return value.xreplace({s: mine[s.name] for s in value.free_symbols if s.name in mine})

    def over_cases(self, values: Mapping[Case, Expr | None]) -> Expr | None:
        """One expression for the values in all cases, or None where there is none.

        The targets' cases are put together by the largest value; at a parameter's single values, the
        expression that holds between them must give what holds there.
        """
        names = {p.name for p in self.loss.parameters}
        groups: dict[tuple[tuple[str, Expr], ...], list[tuple[Case, Expr | None]]] = {}
        for case, value in values.items():
            key = tuple((name, at) for name, at in case.fixed if name in names)
            groups.setdefault(key, []).append((case, value))
        if () not in groups or any(value is None for _, value in groups[()]):
            return None
        whole = largest([v for _, v in groups[()] if v is not None], dict(groups[()][0][0].spans))
        for key, found in groups.items():
            if any(value is None for _, value in found):
                return None
            there = largest([v for _, v in found if v is not None], dict(found[0][0].spans))
            at = {s: value for name, value in key for s in whole.free_symbols if s.name == name}
            if sympy.simplify(whole.subs(at) - there) != 0:
                return None
        return self.own(whole)

    # --- points ---------------------------------------------------------------------------------------------

    def searches(self) -> Iterator[Search]:
        """The loss at small sizes and at the parameters' defaults, then at the cases' values."""
        settings = [{p.name: p.default for p in self.loss.parameters}]
        for case in self.cases:
            if self.setting(case) not in settings:
                settings.append(self.setting(case))
        for number in (1, -1):
            other = {p.name: _other(p, number) for p in self.loss.parameters}
            if other not in settings:
                settings.append(other)
        for number, setting in enumerate(settings):
            for sizes in self.sizes[: None if number == 0 else 1]:
                yield self._search(sizes, setting)

    @cached_property
    def sizes(self) -> tuple[dict[str, int], ...]:
        """The sizes that are looked at: 1 where that shows something, else 2; then larger ones."""
        if not self.loss.dims:
            return ({},)
        compared = {
            index.dim
            for node in walk(self.derivation.lifted)
            if isinstance(node, (a.LogSoftmax, a.LogSumExp, a.Softmax, a.SoftmaxComplement))
            for index in node.indices
        }
        first = {dim: 2 if dim in compared else 1 for dim in self.loss.dims}
        found = [first]
        for size in (2, 1, 3):
            sizes = dict.fromkeys(self.loss.dims, size)
            if sizes not in found and (size < 3 or len(self.loss.dims) < 3):
                found.append(sizes)
        return tuple(found)

    def _search(self, sizes: Mapping[str, int], setting: Mapping[str, Expr]) -> Search:
        key = (tuple(sizes.items()), tuple(setting.items()))
        if key not in self._made:
            self._made[key] = Search(self.loss, sizes, self.oracle, setting)
        return self._made[key]

    @cached_property
    def _made(self) -> dict[tuple, Search]:
        return {}

    @cached_property
    def slices(self) -> tuple[Slice, ...]:
        """The loss along its first entry, at sizes 1 and 2, where it isn't made of scalars."""
        if all(unit.rows is None or not unit.part.predictions for unit in self.units):
            return ()
        setting = {p.name: p.default for p in self.loss.parameters}
        found = []
        for size in (1, 2) if self.loss.dims else (1,):
            search = self._search(dict.fromkeys(self.loss.dims, size), setting)
            moving = dict.fromkeys(given.name for given in self.loss.predictions)
            firsts = [next(p for p in search.moving if p.given.name == name) for name in moving]
            for first in firsts:
                for pattern in _PATTERNS:
                    one = self._slice(search, first, self._patterned(search, pattern))
                    if one is not None:
                        found.append(one)
        return tuple(found)

    def _patterned(
        self, search: Search, pattern: tuple[tuple[int, int], tuple[int, int]]
    ) -> dict[Place, Any]:
        """A point with the pattern's numbers in turn, or other simple ones where the domain lacks them."""
        count = {"prediction": 0, "target": 0}
        point: dict[Place, Any] = {}
        for place in search.places:
            kind = place.given.kind
            wanted = S(pattern[kind == "target"][count[kind] % 2])
            possible = numbers(place.given.domain)
            point[place] = wanted if wanted in possible or not possible else possible[0]
            count[kind] += 1
        return point

    def _slice(self, search: Search, moving: Place, point: dict[Place, Any]) -> Slice | None:
        symbol = Symbol("u", real=True)
        at = {p.symbol: symbol if p is moving else value for p, value in point.items()}
        expr = rewrite(search.formula.xreplace(at), _along_a_line)
        if expr.has(S.NaN, S.ComplexInfinity):
            return None
        spans = ((symbol, _span(moving.given.domain)),)
        return Slice(search, moving, point, Behaviour(Scalar(expr, symbol, spans, (), ())))

    def where(self, unit: Unit, behaviour: Behaviour, end: End | None) -> Pairs:
        """Where an end of a behaviour lies, as inputs of the loss at size 1."""
        scalar, setting = behaviour.scalar, self.setting(unit.case)
        fixed = {**dict(unit.case.fixed), **dict(scalar.fixed)}
        numbers: dict[Symbol, Expr] = {s: setting[s.name] for s, _ in unit.case.spans}
        for target in scalar.targets:
            domain = next(i.domain for i in self.loss.inputs if i.name == target.name.rstrip("_"))
            at = None if end is None else end.place(target)
            numbers[target] = at if at is not None and at.is_finite else _middle(_span(domain))
            fixed[target.name.rstrip("_")] = numbers[target]
        at = None if end is None else end.place(scalar.symbol)
        first, factor = scalar.weights[0]
        if scalar.softmax:
            return self._softmax_point(at, first, fixed, setting)
        found: list[tuple[str, str]] = []
        for given in self.loss.inputs:
            if given.kind == "label":
                found.append((given.name, "0"))
                continue
            name = entry_name(given.name, (0,) * len(given.dims))
            if given.name == first and at is not None:
                text = place_text(at if factor == 1 else at / factor, given, numbers)
            elif given.name in fixed:
                text = number_text(fixed[given.name])
            else:
                text = number_text(
                    S.Zero
                    if given.name in scalar.residual or given.domain == S.Reals
                    else _middle(_span(given.domain))
                )
            found.append((name, text))
        return (*found, *((name, number_text(value)) for name, value in setting.items()))

    def _softmax_point(
        self, at: Expr | None, first: str, fixed: Mapping[str, Expr], setting: Mapping[str, Expr]
    ) -> Pairs:
        """Where the first entry's log-softmax comes to `at`, by way of the second logit, at size 2."""
        text = "0"
        if at is not None:
            text = {-oo: "-> oo", S.Zero: "-> -oo"}.get(at) or number_text(sympy.log(sympy.exp(-at) - 1))
        two = next(given.dims for given in self.loss.inputs if given.name == first)
        found: list[tuple[str, str]] = []
        for given in self.loss.inputs:
            for place in np.ndindex(*(2 if dim in two else 1 for dim in given.dims)):
                number = number_text(fixed.get(given.name, S.Zero))
                moves = given.name == first and place == (1,) * len(two)
                found.append((entry_name(given.name, place), text if moves else number))
        return (*found, *((name, number_text(value)) for name, value in setting.items()))


def _along_a_line(node: Any) -> Any:
    """The root of a square, and the larger and smaller of two things, by absolute values."""
    if isinstance(node, sympy.Pow) and node.exp.is_Rational and not node.exp.is_Integer:
        return sympy.factor(node.base) ** node.exp
    if isinstance(node, (sympy.Max, sympy.Min)):
        side = 1 if isinstance(node, sympy.Max) else -1
        return reduce(lambda a, b: (a + b + side * sympy.Abs(a - b)) / 2, node.args)
    return node


def place_text(at: Expr, given: Input, numbers: Mapping[Symbol, Expr]) -> str:
    """Where an entry is: a number, or `-> oo` and `-> 0` at an end that it only comes near."""
    at = at.subs(numbers)
    if at == oo or at == -oo:
        return "-> oo" if at == oo else "-> -oo"
    domain = given.domain
    edge = isinstance(domain, Interval) and at in (domain.start, domain.end)
    return f"-> {number_text(at)}" if edge else number_text(at)


def _other(parameter: Parameter, number: int) -> Expr:
    """A simple value of a parameter that isn't its default."""
    few = [value for value in numbers(parameter.domain) if value != parameter.default]
    return few[number] if len(few) > 1 else few[0] if few else parameter.default


def largest(values: Iterable[Expr], spans: Spans) -> Expr:
    """The largest of some values; a Max where the parameters decide, with a common factor before it."""
    kept: list[Expr] = []
    for value in values:
        if any(signs(other - value, spans) <= NOT_NEGATIVE for other in kept):
            continue
        kept = [other for other in kept if not signs(value - other, spans) <= NOT_NEGATIVE]
        kept.append(value)
    if len(kept) == 1:
        return kept[0]
    factors = {value.as_coeff_Mul()[0] for value in kept}
    (factor, *more) = factors
    return Max(*kept) if more or factor < 0 else factor * Max(*(value / factor for value in kept))


def _span(domain: sympy.Set) -> Span:
    return Span(domain.start, domain.end) if isinstance(domain, Interval) else Span()


def _inside(number: Expr, span: Span) -> bool:
    return bool(span.low < number) and bool(number < span.high)


def _middle(span: Span) -> Expr:
    low, high = span
    if low == -oo:
        return S.Zero if high == oo else high - 1
    return low + 1 if high == oo else (low + high) / 2
