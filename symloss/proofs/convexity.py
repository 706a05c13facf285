"""The verdicts on convexity and smoothness."""

from __future__ import annotations

from sympy import Expr, S, oo

from symloss.proofs.behaviour import Behaviour
from symloss.proofs.calculus import End
from symloss.proofs.reduction import Case
from symloss.proofs.study import Study, Unit, largest
from symloss.proofs.verdict import UNKNOWN, Verdict, once, proved, refuted


@once
def convex(study: Study) -> Verdict:
    """Whether every part is convex, in every case; else a point at which the loss bends down."""
    if study.units and all(map(_is_convex, study.units)):
        return proved("composition" if study.composed else "curvature")
    for search in study.searches():
        point = search.bends_down()
        if point is not None:
            return refuted("bends down" if point[-1][0] == "second derivative" else "middle above", point)
    return UNKNOWN


def _is_convex(unit: Unit) -> bool:
    return unit.rows.convex if unit.rows else all(b.convex for b in unit.behaviours)


@once
def strictly_convex(study: Study) -> Verdict:
    """Whether every part is strictly convex; else a segment on which the loss is straight."""
    if convex(study).verdict == "refuted":
        return refuted("not convex", convex(study).point)
    strict = [case for case in study.cases if study.covers(case) and _is_strict(study, case)]
    if study.cases and len(strict) == len(study.cases):
        return proved("strict")
    for search in study.searches():
        if any(study.belongs(search, case) for case in strict) and not study.finite_targets:
            continue
        point = search.straight()
        if point is not None:
            return refuted("straight", point)
    return UNKNOWN


def _is_strict(study: Study, case: Case) -> bool:
    units = [unit for unit in study.units if unit.case is case]
    return all(unit.rows is None and all(b.strict for b in unit.behaviours) for unit in units)


def strongly_convex(study: Study) -> Verdict:
    """The least second derivative, or where it comes down to 0."""
    strict = strictly_convex(study)
    if strict.verdict == "refuted":
        return strict
    for unit, behaviour in study.behaviours:
        found = behaviour.modulus
        if found.holds is False and found.end is not None:
            return _flat(study, unit, behaviour, found.end)
    if not strict.proved or not all(b.modulus.holds for _, b in study.behaviours):
        return UNKNOWN
    least: dict[Case, Expr | None] = {}
    for case in study.cases:
        all_values = [b.modulus.value for u, b in study.behaviours if u.case is case]
        known = [-value for value in all_values if value is not None]
        least[case] = largest(known, dict(case.spans)) if len(known) == len(all_values) else None
    value = study.over_cases(least)
    return proved("strong", None if value is None else -value)


def _flat(study: Study, unit: Unit, behaviour: Behaviour, end: End) -> Verdict:
    at = end.place(behaviour.symbol)
    assert at is not None
    span = dict(behaviour.scalar.spans)[behaviour.symbol]
    far = at.is_infinite or at in span
    point = (*study.where(unit, behaviour, end), ("second derivative", "-> 0" if far else "0"))
    return refuted("flat far out" if far else "flat at a point", point, S.Zero)


def smooth(study: Study) -> Verdict:
    """The least class of all parts, or a kink, a jump, a point without a value."""
    least: Expr = oo
    for unit, behaviour in study.behaviours:
        if behaviour.smooth is None:
            continue
        order, border = behaviour.smooth
        if order is None or order == 0:
            corner = study.where(unit, behaviour, _at(behaviour, border))
            return refuted("jump" if order is None else "kink", corner, order)
        least = min(least, order)
    decided = all(u.rows.smooth if u.rows else all(b.smooth for b in u.behaviours) for u in study.units)
    if study.units and decided:
        return proved("all derivatives" if least == oo else "finitely many", least)
    for search in study.searches():
        point = search.without_value()
        if point is not None:
            return refuted("no value", point)
    for one in study.slices:
        if one.behaviour.smooth is not None and one.behaviour.smooth[0] in (None, 0):
            order, border = one.behaviour.smooth
            where = one.where(_at(one.behaviour, border))
            return refuted("jump" if order is None else "kink", where, order)
    return UNKNOWN


def _at(behaviour: Behaviour, border: Expr | None) -> End | None:
    return None if border is None else End(oo, ((behaviour.symbol, border, False),))
