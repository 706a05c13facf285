"""Rewrites of stabilising whose pattern is a whole sum or product: what differentiation leaves to cancel."""

from __future__ import annotations

from sympy import (
    Abs,
    Add,
    And,
    Expr,
    Integer,
    Mul,
    Piecewise,
    S,
    floor,
    sign,
)

from symloss import atoms as a
from symloss.algebra import cancels_to, one_sign_fraction
from symloss.index import Entry, Index, Sum, substitute
from symloss.matching import take
from symloss.shapes.rows import complement


def find_log_over_complement(node: Expr) -> Expr | None:
    """log p (1 - p)^e with an exponent that may be negative: log p = -(1 - p) over_expm1(log p)."""
    if not node.is_Mul:
        return None
    for factor in node.args:
        if isinstance(factor, a.LogSoftmax):
            for power in node.args:
                if not (power.is_Pow and isinstance(power.base, a.SoftmaxComplement)):
                    continue
                if power.base.args == factor.args and power.exp.is_nonnegative is not True:
                    rest = node / factor / power
                    return -rest * power.base ** (power.exp + 1) * a.over_expm1(factor)
    return None


def find_share_of_total(node: Expr) -> Expr | None:
    """softmax_m Sum(p) - p_m, where p_m stands in that Sum: split so that a one-hot p is exact."""
    if not node.is_Add:
        return None
    for term in node.args:
        factors = Mul.make_args(term)
        for share in factors:
            if not isinstance(share, a.Softmax):
                continue
            for total in factors:
                if not isinstance(total, Sum) or len(total.indices) != len(share.at):
                    continue
                if any(one.args[:2] == share.args[:2] for one in _shares_in(total.body)):
                    continue  # a mean under the softmax, which `find_centred` knows
                rest = term / share / total
                entry = total.body_at(share.at)
                opposite = -rest * entry
                if opposite in node.args:
                    left = [arg for arg in node.args if arg != term and arg != opposite]
                    own = a.SoftmaxComplement(*share.args)
                    return Add(rest * (share * (total - entry) - entry * own), *left)
    return None


def _shares_in(body: Expr) -> list[Expr]:
    """The softmax and unit vector entries that a product has as factors, once or in a power."""
    bases = [factor.as_base_exp() for factor in Mul.make_args(body)]
    return [b for b, e in bases if isinstance(b, (a.Unit, a.Softmax)) and e.is_Integer and e.is_positive]


def find_cosine_complement(node: Expr) -> Expr | None:
    """T - T cos of two vectors: half the squared distance of their unit vectors, and T if one is zero."""
    if not node.is_Add:
        return None
    for term in node.args:
        for cosine in Mul.make_args(term):
            if not isinstance(cosine, Sum):
                continue
            (body,), indices = cosine.open()
            units = Mul.make_args(body)
            if len(units) != 2 or not all(isinstance(unit, a.Unit) and unit.at == indices for unit in units):
                continue
            whole = -term / cosine
            left = [part for part in node.args if part is not term]
            if all(take(left, part) for part in Add.make_args(whole)):
                one, other = units
                some = And(*(a.Norm(unit.body, unit.indices) > 0 for unit in units))
                distance = Sum((one - other) ** 2, *indices) / 2
                return Add(whole * Piecewise((distance, some), (S.One, True)), *left)
    return None


def find_centred(node: Expr) -> Expr | None:
    """X_d - Sum(X_j share_j), less its part along a unit vector or its mean under a softmax."""
    if not node.is_Add:
        return None
    for term in node.args:
        factors = Mul.make_args(term)
        for total in factors:
            if not isinstance(total, Sum) or len(total.indices) > 1:
                continue
            for share in _shares_in(total.body):
                if share.at != total.indices:
                    continue
                rest, moving = term / total, total.body / share
                bases = [f.as_base_exp()[0] for f in factors]
                owns = [f for f in bases if isinstance(f, a.Unit) and f.args[:2] == share.args[:2]]
                places = [own.at for own in owns]
                if isinstance(share, a.Softmax):
                    places = [(i,) for i in sorted(node.free_symbols, key=str) if isinstance(i, Index)]
                    places = [place for place in places if place[0].dim == total.indices[0].dim]
                for number, at in enumerate(places):
                    whole = rest if isinstance(share, a.Softmax) else rest / owns[number]
                    here = substitute(moving, {total.indices[0]: at[0]})
                    left = _without(node, term, here, -whole)
                    if left is not None:
                        kind = a.SoftmaxCentred if isinstance(share, a.Softmax) else a.UnitCentred
                        body = substitute(share.body, {share.indices[0]: total.indices[0]})
                        return Add(-whole * kind((body, moving), total.indices, at), *left)
    return None


def _without(node: Expr, term: Expr, inner: Expr, factor: Expr) -> list[Expr] | None:
    """The terms of `node` but `term` and factor * inner, the latter as one term or multiplied out."""
    for parts in ((factor * inner,), tuple(factor * part for part in Add.make_args(inner))):
        left = list(node.args)
        left.remove(term)
        if all(take(left, one) for part in parts for one in Add.make_args(part)):
            return left
    return None


def find_common_factor(node: Expr) -> Expr | None:
    """Sum(p g + p h) for softmax entries p: Sum(p (g + h)), which can be centred.

    Other factors in common, and what doesn't depend on the index, come along.
    """
    if not isinstance(node, Sum) or not node.body.is_Add:
        return None
    (body,), indices = node.open()
    powers = [
        dict(factor.as_base_exp() for factor in Mul.make_args(term) if not factor.is_number)
        for term in body.args
    ]
    common = [
        base ** min(power[base] for power in powers)
        for base in powers[0]
        if all(power.get(base, S.Zero).is_Integer and power.get(base, S.Zero) > 0 for power in powers)
    ]
    factor = Mul(*common)
    if not any(isinstance(share, a.Softmax) and share.at == indices for share in _shares_in(factor)):
        return None
    return Sum(factor * Add(*(term / factor for term in body.args)), *indices)


def find_share_in_case(node: Expr) -> Expr | None:
    """p - 1 in one case and p in the others, written as p and a constant in cases: the complement there."""
    if not node.is_Add:
        return None
    for cases in node.args:
        if not isinstance(cases, Piecewise) or not all(value.is_number for value, _ in cases.args):
            continue
        for term in node.args:
            count, share = term.as_coeff_Mul()
            other = complement(share)
            if other is None or all(value != -count for value, _ in cases.args):
                continue
            left = [arg for arg in node.args if arg is not cases and arg is not term]
            return Piecewise(
                *(
                    (Add(-count * other if value == -count else value + term, *left), test)
                    for value, test in cases.args
                )
            )
    return None


def find_root_over_itself(node: Expr) -> Expr | None:
    """(sqrt(b) - c) / sqrt(b) is 1 - c / sqrt(b), for any fractional power of something that may be 0.

    Only for roots: b - c may be exact, and root(b) - root(c) is as inexact as the quotient.
    """
    if not node.is_Mul:
        return None
    for bottom in node.args:
        base, power = bottom.as_base_exp()
        if not (power.is_Rational and power.is_negative and base.is_nonnegative) or base.is_positive:
            continue
        for bracket in node.args:
            if not bracket.is_Add or not any(_has_root(term, base) for term in bracket.args):
                continue
            left = Mul(*(arg for arg in node.args if arg is not bottom and arg is not bracket))
            return Add(
                *(
                    left * (term * bottom if _has_root(term, base) else _quotient(term, base, -power))
                    for term in bracket.args
                )
            )
    return None


def _has_root(term: Expr, base: Expr) -> bool:
    """Whether a fractional power of `base` is a factor of a term."""
    powers = (factor.as_base_exp() for factor in Mul.make_args(term))
    return any(own == base and power.is_Rational and not power.is_Integer for own, power in powers)


def _quotient(term: Expr, base: Expr, power: Expr) -> Expr:
    """term / base^power, 0 where the term is 0; one base after the other, so that small ones don't vanish."""
    whole = floor(power)
    if power != whole:
        term = a.ratio0(term, base ** (power - whole))
    for _ in range(int(whole)):
        term = a.ratio0(term, base)
    return term


def find_own_direction(node: Expr) -> Expr | None:
    """A vector less its projection on a direction doesn't depend on its part in that direction."""
    if not isinstance(node, a.UnitCentred) or not node.bodies[1].is_Add:
        return None
    direction, other = node.bodies
    own = a.Unit(direction, node.indices, node.indices)
    kept = [term for term in other.args if term.as_independent(own)[1] != own]
    if len(kept) == len(other.args):
        return None
    return a.UnitCentred((direction, Add(*kept)), node.indices, node.at) if kept else Integer(0)


def find_constant_rational(node: Expr) -> Expr | None:
    """Summands without functions that are a constant when brought together."""
    if not node.is_Add:
        return None
    rational = [term for term in node.args if _is_rational(term)]
    if len(rational) < 2 or not any(term.free_symbols for term in rational):
        return None
    total = cancels_to(Add(*rational))
    if total.is_number:
        return Add(total, *(term for term in node.args if term not in rational))
    return None


def find_one_fraction(node: Expr) -> Expr | None:
    """A difference of fractions that, over one denominator, has a numerator that can't cancel."""
    if not node.is_Add or not all(_is_rational(term) for term in node.args):
        return None
    return one_sign_fraction(node)


def _is_rational(term: Expr) -> bool:
    """Whether a summand is made of inputs by + - * /, |x| and sign(x) alone (`ratio0` is a quotient)."""
    if isinstance(term, Entry) or term.is_number or (term.is_Symbol and not isinstance(term, Index)):
        return True
    if isinstance(term, (a.ratio0, Abs, sign)) or term.is_Add or term.is_Mul:
        return all(_is_rational(arg) for arg in term.args)
    return bool(term.is_Pow and term.exp.is_Integer and _is_rational(term.base))
