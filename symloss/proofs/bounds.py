"""The verdicts on Lipschitz constants, on bounds of the values, and on the gradient at far residuals."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import sympy
from sympy import Add, Expr, S, oo

from symloss.index import substitute
from symloss.proofs.behaviour import Behaviour, Bound
from symloss.proofs.calculus import End
from symloss.proofs.identities import lighter, partners
from symloss.proofs.reduction import Case
from symloss.proofs.rows import Rows
from symloss.proofs.signs import NOT_NEGATIVE, NOT_POSITIVE, Spans, positive, signs
from symloss.proofs.study import Study, Unit, largest
from symloss.proofs.verdict import UNKNOWN, Verdict, once, proved, refuted
from symloss.proofs.witness import number_text

#: Why there is no bound, by the order of what jumps.
_JUMPS: dict[int | None, str] = {0: "jump", 1: "kink"}


def lipschitz(study: Study) -> Verdict:
    """The largest gradient."""
    return _steep(
        study,
        lambda behaviour: behaviour.steepest,
        lambda rows: rows.lipschitz,
        ("bounded slope", "unbounded slope"),
        lambda values, spans: values[0] if len(values) == 1 else sympy.sqrt(Add(*(v**2 for v in values))),
    )


def lipschitz_gradient(study: Study) -> Verdict:
    """The largest second derivative."""
    return _steep(
        study,
        lambda behaviour: behaviour.sharpest,
        lambda rows: rows.gradient_lipschitz,
        ("bounded curvature", "unbounded curvature"),
        largest,
    )


def _steep(
    study: Study,
    of: Callable[[Behaviour], Bound],
    by_rule: Callable[[Rows], bool],
    reasons: tuple[str, str],
    together: Callable[[Sequence[Expr], Spans], Expr],
) -> Verdict:
    good, bad = reasons
    for unit, behaviour in study.behaviours:
        bound = of(behaviour)
        if bound.holds is False:
            return refuted(_JUMPS.get(bound.jump, bad), study.where(unit, behaviour, bound.end))
    values: dict[Case, Expr | None] = {}
    for case in study.cases:
        units = [unit for unit in study.units if unit.case is case and unit.part.predictions]
        best = [_best([of(b) for b in unit.behaviours], case) for unit in units]
        found = [value for value in best if value is not None]
        exact = len(found) == len(units) and study.apart(case)
        values[case] = None if not exact else together(found, dict(case.spans)) if found else S.Zero
    if study.units and all(
        by_rule(unit.rows) if unit.rows else all(of(b).holds for b in unit.behaviours) for unit in study.units
    ):
        return proved(good, study.over_cases(values))
    for one in study.slices:
        bound = of(one.behaviour)
        if bound.holds is False:
            return refuted(_JUMPS.get(bound.jump, bad), one.where(bound.end))
    return UNKNOWN


def _best(bounds: Sequence[Bound], case: Case, side: Expr = S.One) -> Expr | None:
    """The largest of some bounds, if all are known; with side -1, the negative of the least."""
    if not bounds or any(bound.value is None for bound in bounds):
        return None
    return largest([side * bound.value for bound in bounds if bound.value is not None], dict(case.spans))


# --- values -------------------------------------------------------------------------------------------------


@once
def bounded_below(study: Study) -> Verdict:
    """The greatest lower bound."""
    return _range(study, lambda behaviour: behaviour.below, S.NegativeOne, "lowest", "falls")


@once
def bounded_above(study: Study) -> Verdict:
    """The least upper bound."""
    return _range(study, lambda behaviour: behaviour.above, S.One, "highest", "grows")


def _range(study: Study, of: Callable[[Behaviour], Bound], side: Expr, good: str, bad: str) -> Verdict:
    for unit, behaviour in study.behaviours:
        bound = of(behaviour)
        if bound.holds is False:
            return refuted(bad, study.where(unit, behaviour, bound.end))
    known = NOT_POSITIVE if side == 1 else NOT_NEGATIVE
    signed = all(unit.rows is None or unit.rows.signs <= known for unit in study.units)
    if study.units and all(
        (unit.rows.signs <= known or unit.rows.bounded)
        if unit.rows
        else all(of(b).holds for b in unit.behaviours)
        for unit in study.units
    ):
        values = {case: _total(study, case, of, side) for case in study.cases}
        value = study.over_cases(values)
        rows = any(unit.rows and unit.part.predictions for unit in study.units)
        reason = good if not rows else "sign" if signed else "bounded parts"
        return proved(reason, None if value is None else side * value)
    for one in study.slices:
        bound = of(one.behaviour)
        if bound.holds is False:
            return refuted(bad, one.where(bound.end))
    return UNKNOWN


def _total(study: Study, case: Case, of: Callable[[Behaviour], Bound], side: Expr) -> Expr | None:
    """The bound of a case, as a sum over its parts; times `side`."""
    total: list[Expr] = []
    for unit in study.units:
        if unit.case is not case:
            continue
        if unit.rows is not None:
            if not unit.part.predictions and not unit.part.expr.free_symbols:
                total.append(side * unit.part.expr)
            elif unit.rows.signs <= (NOT_POSITIVE if side == 1 else NOT_NEGATIVE) and _meets_zero(
                study, unit
            ):
                total.append(S.Zero)
            else:
                return None
            continue
        best = _best([of(behaviour) for behaviour in unit.behaviours], case, side)
        if best is None:
            return None
        total.append(best * unit.behaviours[0].scalar.copies)
    return Add(*total) if study.apart(case) else None


def _meets_zero(study: Study, unit: Unit) -> bool:
    """Whether a case that is one part is 0 somewhere: where prediction equals target, or at a point."""
    if sum(other.case is unit.case for other in study.units) > 1:
        return False
    pair = partners(study.loss)
    if pair is not None and lighter(substitute(unit.part.expr, {pair[0].symbol: pair[1].symbol})) == 0:
        return True
    return any(
        search.meets(S.Zero) is not None for search in study.searches() if study.belongs(search, unit.case)
    )


def nonnegative(study: Study) -> Verdict:
    """Whether the greatest lower bound isn't negative, or nothing in the formula is; else a point."""
    below = bounded_below(study)
    if below.proved and below.value is not None and signs(below.value, study.spans) <= NOT_NEGATIVE:
        return proved(below.reason)
    if study.units and all(
        unit.rows.signs <= NOT_NEGATIVE
        if unit.rows
        else all(signs(b.scalar.expr, b.spans) <= NOT_NEGATIVE for b in unit.behaviours)
        for unit in study.units
    ):
        return proved("sign")
    for search in study.searches():
        point = search.negative()
        if point is not None:
            return refuted("negative row" if study.of_rows_in_the_unit_interval else "negative", point)
    return UNKNOWN


# --- far residuals ------------------------------------------------------------------------------------------


def robust(study: Study) -> Verdict | None:
    """Whether the gradient stays bounded as a residual grows."""
    return _far(study, lambda slope: slope.is_infinite is not False, "slope limit", "slope grows")


def redescending(study: Study) -> Verdict | None:
    """Whether the gradient goes to 0 as a residual grows."""
    return _far(study, lambda slope: slope != 0, "slope vanishes", "slope stays")


def _far(study: Study, fails: Callable[[Expr], bool], good: str, bad: str) -> Verdict | None:
    if not study.residual:
        return None
    known = bool(study.units)
    for unit, behaviour in study.behaviours:
        for end, slope in zip((oo, -oo), behaviour.far_slope(), strict=True):
            if slope is not None and not fails(slope):
                continue
            if slope is not None and (slope.is_infinite or positive(slope**2, behaviour.spans)):
                numbers = {s: study.setting(unit.case)[s.name] for s, _ in unit.case.spans}
                at = slope.subs(numbers | {s: S.One for s in slope.free_symbols if s not in numbers})
                text = f"-> {at}" if at.is_infinite else f"-> {number_text(at)}"
                point = study.where(unit, behaviour, End(oo, ((behaviour.symbol, end, False),)))
                return refuted(bad, (*point, ("gradient", text)))
            known = False
    return proved(good) if known else UNKNOWN
