"""The verdicts on symmetries, and on the minimum at the target."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import sympy
from sympy import Expr, S

from symloss.index import substitute
from symloss.proofs.behaviour import Behaviour
from symloss.proofs.bounds import bounded_below
from symloss.proofs.calculus import Piece
from symloss.proofs.convexity import convex
from symloss.proofs.growth import limit
from symloss.proofs.identities import (
    is_permutation_invariant,
    is_symmetric,
    is_translation_invariant,
    lighter,
    normal,
    partners,
    shifted_inputs,
)
from symloss.proofs.reduction import plain
from symloss.proofs.signs import NOT_NEGATIVE, NOT_POSITIVE, signs
from symloss.proofs.study import Study, Unit
from symloss.proofs.verdict import UNKNOWN, Verdict, proved, refuted
from symloss.proofs.witness import Place, Search

Numbers = dict[Place, Expr]


def symmetric(study: Study) -> Verdict | None:
    """Whether the loss stays the same when prediction and target, or its two predictions, change places."""
    pair = partners(study.loss)
    if pair is None:
        return None
    if is_symmetric(study.loss.formula, *pair):
        return proved("same formula")
    one, other = pair
    swap = {one.name: other.name, other.name: one.name}

    def exchange(_: Search, point: Numbers) -> Numbers:
        return _moved(point, lambda p: (swap.get(p.given.name, p.given.name), p.at))

    return _differing(study, exchange)


def translation_invariant(study: Study) -> Verdict | None:
    """Whether adding one number to all predictions (and to real targets of their shape) changes nothing."""
    if any(given.domain != S.Reals for given in study.loss.predictions):
        return None
    inputs = shifted_inputs(study.loss)
    formulas = [plain(case.formula) for case in study.cases]
    if formulas and all(is_translation_invariant(formula, inputs) for formula in formulas):
        return proved("same formula")
    names = {given.name for given in inputs}
    return _differing(study, lambda _, point: {p: v + int(p.given.name in names) for p, v in point.items()})


def permutation_invariant(study: Study) -> Verdict | None:
    """Whether the entries of each dimension can be put into any order, in all inputs alike."""
    loss = study.loss
    if not loss.dims:
        return None
    if is_permutation_invariant(loss.formula):
        return proved("indices")
    if any(given.kind == "label" for given in loss.inputs):
        return UNKNOWN
    turned = [UNKNOWN]
    for dim in loss.dims:

        def turn(search: Search, point: Numbers, dim: str = dim) -> Numbers:
            last = search.sizes[dim] - 1
            return _moved(
                point,
                lambda p: (
                    p.given.name,
                    tuple(last - i if d == dim else i for i, d in zip(p.at, p.given.dims, strict=True)),
                ),
            )

        turned.append(_differing(study, turn))
    return max(turned, key=lambda verdict: verdict.verdict == "refuted")


def _moved(point: Numbers, source: Callable[[Place], tuple[str, tuple[int, ...]]]) -> Numbers:
    """The point whose entries come from other places."""
    by_name = {(p.given.name, p.at): v for p, v in point.items()}
    return {p: by_name[source(p)] for p in point}


def _differing(study: Study, change: Callable[[Search, Numbers], Numbers]) -> Verdict:
    for search in study.searches():
        point = search.differing(partial(change, search))
        if point is not None:
            return refuted("differs", point)
    return UNKNOWN


def minimum_at_target(study: Study) -> Verdict | None:
    """Whether the loss is least where prediction and target are equal."""
    pair = partners(study.loss)
    if pair is None or pair[1].kind != "target":
        return None
    one, other = pair
    below = bounded_below(study)
    if below.proved and below.value is not None and study.cases:
        there = [substitute(plain(case.formula), {one.symbol: other.symbol}) for case in study.cases]
        if all(study.own(normal(lighter(formula))) == below.value for formula in there):
            return proved("least value")
    if convex(study).proved and all(map(_level_at_target, study.units)):
        return proved("slope zero")

    def to_the_target(point: Numbers) -> Numbers:
        return _moved(point, lambda p: (other.name if p.given.name == one.name else p.given.name, p.at))

    for search in study.searches():
        found = search.lower(to_the_target)
        if found is not None:
            return refuted(
                "lower in a row" if study.of_rows_in_the_unit_interval else "lower elsewhere", found
            )
    return UNKNOWN


def _level_at_target(unit: Unit) -> bool:
    """Whether each summand of a convex part has its least value where it equals its target.

    There its slope changes sign; where the target is at an end of the domain, the slope leads away from it.
    """
    scalar = unit.part.scalar
    if scalar is None or scalar.softmax or len(scalar.weights) != 1:
        return not unit.part.predictions
    if not scalar.targets:
        return bool(scalar.residual) and all(_turns(behaviour, S.Zero) for behaviour in unit.behaviours)
    if len(scalar.targets) != 1 or scalar.residual:
        return False
    (target,) = scalar.targets
    span = dict(scalar.spans)[scalar.symbol]
    whole = Behaviour(scalar)
    if dict(scalar.spans)[target] != span or not _turns(whole, target):
        return False
    for behaviour in unit.behaviours:
        for _, end in behaviour.scalar.fixed:
            allowed = NOT_NEGATIVE if end == span.low else NOT_POSITIVE
            if behaviour.curves is None or not behaviour.curves[1].signs() <= allowed:
                return False
    return True


def _turns(behaviour: Behaviour, at: Expr) -> bool:
    """Whether the slope isn't positive just below `at`, and not negative just above."""
    if behaviour.curves is None:
        return behaviour.constant
    slope = behaviour.curves[1]
    borders = slope.borders()
    if at in borders:
        number = borders.index(at)
        left, right = slope.pieces[number : number + 2]
    else:
        inside = [p for p in slope.pieces if len(slope.pieces) == 1 or _holds(p, at, behaviour)]
        if not inside:
            return False
        left = right = inside[0]
    for piece, below in ((left, True), (right, False)):
        value = limit(piece.expr, slope.symbol, at, below, slope.around(piece))
        allowed = NOT_POSITIVE if below else NOT_NEGATIVE
        if value is None or not signs(sympy.simplify(value), behaviour.spans) <= allowed:
            return False
    return True


def _holds(piece: Piece, at: Expr, behaviour: Behaviour) -> bool:
    """Whether a point lies inside a piece."""
    spans = behaviour.spans
    low = piece.low == -sympy.oo or signs(at - piece.low, spans) == {1}
    return low and (piece.high == sympy.oo or signs(piece.high - at, spans) == {1})
