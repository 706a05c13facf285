"""Rewrites of lifting whose pattern is a row: softmax and its logarithm, norms, complements of shares."""

from __future__ import annotations

from sympy import (
    Add,
    Expr,
    Mul,
    Piecewise,
    S,
    cos,
    erf,
    exp,
    floor,
    log,
    sin,
    tanh,
)
from sympy.core.parameters import distribute

from symloss import atoms as a
from symloss.index import Entry, Index, Sum, substitute
from symloss.matching import negated, take, unify


def find_softmax(node: Expr) -> Expr | None:
    """exp(b at t) / Sum(exp(b)), its powers and products, also where exp(b) stands in a sum of its own."""
    if not node.is_Mul:
        return None
    for bottom in node.args:
        if not (bottom.is_Pow and isinstance(bottom.base, Sum) and bottom.exp.is_negative):
            continue
        total = bottom.base
        if not isinstance(total.body, exp):
            continue
        for top in node.args:
            base, power = (top, S.One) if isinstance(top, exp) else top.as_base_exp()
            if base == total or not (power.is_Integer and power.is_positive):
                continue
            (body,), indices = base.open() if isinstance(base, Sum) else ((base,), ())
            found = _shares(body, total)
            if found is None:
                continue
            shares, count = found
            if count * power != 1 and not (-bottom.exp - count * power).is_nonnegative:
                continue
            left = [arg for arg in node.args if arg is not top and arg is not bottom]
            shares = Sum(shares, *indices) if indices else shares
            return Mul(shares**power, total ** (bottom.exp + count * power), *left)
    return None


def _shares(body: Expr, total: Sum) -> tuple[Expr, Expr] | None:
    """A product with softmax entries in place of its exponentials, and how many times it was divided by
    `total`, the sum of the row's exponentials."""
    if isinstance(body, Piecewise):
        cases, counts = [], set()
        for value, test in body.args:
            if value == 0:
                cases.append((S.Zero, test))
                continue
            found = _shares(value, total)
            if found is None:
                return None
            cases.append((found[0], test))
            counts.add(found[1])
        return (Piecewise(*cases), counts.pop()) if len(counts) == 1 else None
    for factor in Mul.make_args(body):
        if isinstance(factor, exp):
            found = _shares_of_exponent(factor.args[0], total)
            return None if found is None else (body / factor * found[0], found[1])
    return None


def _shares_of_exponent(exponent: Expr, total: Sum) -> tuple[Expr, Expr] | None:
    """exp(n b at t + ...) as softmax^n ..., and how many they are; None where something else is in it."""
    row, indices = total.body.args[0], total.indices
    with distribute(True):
        left, shares, count = exponent.expand(), S.One, S.Zero
        for place in _places(row, indices, exponent):
            own = substitute(row, dict(zip(indices, place, strict=True))).expand().as_coefficients_dict()
            have = left.as_coefficients_dict()
            copies = min(floor(have[term] / number) for term, number in own.items())
            if copies < 1:
                continue
            left -= Add(*(copies * number * term for term, number in own.items()))
            shares *= a.Softmax(row, indices, place) ** copies
            count += copies
    return (shares, count) if left == 0 else None


def _places(row: Expr, indices: tuple[Index, ...], node: Expr) -> list[tuple[Expr, ...]]:
    """Where a row could be read in `node`: every way in which one of its entries stands there."""
    found: dict[tuple[Expr, ...], None] = {}
    others = sorted(node.atoms(Entry), key=str)
    for entry in sorted(row.atoms(Entry), key=str):
        for other in others:
            if other.base == entry.base:
                where = dict(zip(entry.indices, other.indices, strict=True))
                if set(indices) <= set(where):
                    found[tuple(where[i] for i in indices)] = None
    return [place for place in found if all(isinstance(i, Index) for i in place)]


def find_exp_in_cases(node: Expr) -> Expr | None:
    """A sum of exponentials whose exponent has cases, for the entry of a label for example."""
    if not isinstance(node, Sum) or not isinstance(node.body, Piecewise):
        return None
    (body,), indices = node.open()
    if not all(isinstance(value, exp) for value, _ in body.args):
        return None
    return Sum(exp(Piecewise(*((value.args[0], test) for value, test in body.args))), *indices)


def find_weighted_share(node: Expr) -> Expr | None:
    """w exp(b) at t / Sum(w exp(b)), with positive weights."""
    if not node.is_Mul:
        return None
    for bottom in node.args:
        if not (bottom.is_Pow and isinstance(bottom.base, Sum) and bottom.exp.is_negative):
            continue
        total = bottom.base
        row = _exponent(total.body)
        if row is None or isinstance(total.body, exp):
            continue
        for place in _places(total.body, total.indices, node):
            left = [arg for arg in node.args if arg is not bottom]
            own = substitute(total.body, dict(zip(total.indices, place, strict=True)))
            if all(take(left, factor) for factor in Mul.make_args(own)):
                return Mul(a.Softmax(row, total.indices, place), total ** (bottom.exp + 1), *left)
    return None


def _exponent(body: Expr) -> Expr | None:
    """b + log(w), where a body is w exp(b) with positive w; None where it isn't."""
    factors = Mul.make_args(body)
    if not any(isinstance(factor, exp) for factor in factors):
        return None
    terms = []
    for factor in factors:
        if isinstance(factor, exp):
            terms.append(factor.args[0])
            continue
        base, power = factor.as_base_exp()
        if not base.is_positive:
            return None
        terms.append(power * log(base))
    return Add(*terms)


def find_logsumexp(node: Expr) -> Expr | None:
    """log(c Sum(w exp(b))^n), with positive c and w."""
    if not isinstance(node, log):
        return None
    factors = list(Mul.make_args(node.args[0]))
    for factor in factors:
        total, power = factor.as_base_exp()
        row = _exponent(total.body) if isinstance(total, Sum) else None
        rest = Mul(*(other for other in factors if other is not factor))
        if row is not None and rest.is_positive:
            return power * a.LogSumExp(row, total.indices) + (log(rest) if rest != 1 else 0)
    return None


def find_log_softmax(node: Expr) -> Expr | None:
    """log(softmax), or b at t - logsumexp(b)."""
    if isinstance(node, log) and isinstance(node.args[0], a.Softmax):
        return a.LogSoftmax(*node.args[0].args)
    if not node.is_Add:
        return None
    for term in node.args:
        sign, rest = term.as_coeff_Mul()
        if not isinstance(rest, a.LogSumExp) or abs(sign) != 1:
            continue
        others = {negated(arg) if sign == 1 else arg: arg for arg in node.args if arg is not term}
        for place in _places(rest.body, rest.indices, node):
            left = list(others)
            own = substitute(rest.body, dict(zip(rest.indices, place, strict=True)))
            if take(left, own) or all(take(left, part) for part in Add.make_args(own)):
                found = a.LogSoftmax(rest.body, rest.indices, place)
                return Add(-sign * found, *(others[arg] for arg in left))
    return None


def find_share_power(node: Expr) -> Expr | None:
    """softmax^a, with an exponent that isn't a whole number: exp(a log softmax)."""
    if node.is_Pow and isinstance(node.base, a.Softmax) and not node.exp.is_Integer:
        return exp(node.exp * a.LogSoftmax(*node.base.args))
    return None


def find_norm(node: Expr) -> Expr | None:
    """(c Sum(b^2))^(n/2) with odd n."""
    if not (node.is_Pow and node.exp.is_Rational and node.exp.q == 2):
        return None
    for factor in Mul.make_args(node.base):
        if isinstance(factor, Sum) and factor.body.is_Pow and factor.body.exp == 2:
            rest = node.base / factor
            if rest.is_nonnegative:
                norm = a.Norm(factor.body.base, factor.indices)
                return rest**node.exp * norm ** (2 * node.exp)
    return None


def find_unit(node: Expr) -> Expr | None:
    """b at d / norm(b)."""
    if not node.is_Mul:
        return None
    for bottom in node.args:
        if bottom.is_Pow and isinstance(bottom.base, a.Norm) and bottom.exp.is_negative:
            norm = bottom.base
            for top in node.args:
                place = unify(norm.body, norm.indices, top)
                if place is not None:
                    left = [arg for arg in node.args if arg is not top and arg is not bottom]
                    return Mul(a.Unit(norm.body, norm.indices, place), norm ** (bottom.exp + 1), *left)
    return None


def find_unit_projection(node: Expr) -> Expr | None:
    """Sum(b c) / norm(b): the sum of unit entries times c."""
    if not node.is_Mul:
        return None
    for bottom in node.args:
        if not (bottom.is_Pow and isinstance(bottom.base, a.Norm) and bottom.exp.is_negative):
            continue
        norm = bottom.base
        for total in node.args:
            if not isinstance(total, Sum):
                continue
            (body,), indices = total.open()
            for factor in Mul.make_args(body):
                place = unify(norm.body, norm.indices, factor)
                if place is not None:
                    unit = a.Unit(norm.body, norm.indices, place)
                    left = [arg for arg in node.args if arg is not bottom and arg is not total]
                    return Mul(Sum(body / factor * unit, *indices), norm ** (bottom.exp + 1), *left)
    return None


def complement(share: Expr) -> Expr | None:
    """1 - share as a function of its own, for shares that have one."""
    if isinstance(share, a.sigmoid):
        return a.sigmoid(negated(share.args[0]))
    if isinstance(share, a.Softmax):
        return a.SoftmaxComplement(*share.args)
    if isinstance(share, a.SoftmaxComplement):
        return a.Softmax(*share.args)
    if share.is_Pow and share.exp == 2:
        if isinstance(share.base, a.Unit):
            return a.UnitComplement(*share.base.args)
        if isinstance(share.base, tanh):
            return a.sech2(share.base.args[0])
        if isinstance(share.base, a.tilt):
            return a.hypot1(share.base.args[0]) ** -2
    if isinstance(share, a.hypot1):
        return -a.hypot1m1(share.args[0])
    if isinstance(share, cos):
        return 2 * sin(share.args[0] / 2) ** 2
    return a.erfc(share.args[0]) if isinstance(share, erf) else None


def find_complement(node: Expr) -> Expr | None:
    """T - T share, for a term T that may itself be a sum."""
    if not node.is_Add:
        return None
    for term in node.args:
        powers = [f.base for f in Mul.make_args(term) if f.is_Pow and (f.exp.free_symbols or f.exp > 1)]
        for factor in (*Mul.make_args(term), *powers):
            other = complement(factor)
            if other is None:
                continue
            whole = negated(_over(term, factor))
            left = list(node.args)
            left.remove(term)
            if all(take(left, part) for part in Add.make_args(whole)):
                return Add(whole * other, *left)
            count, rest = whole.as_coeff_Mul()
            if not other.is_nonnegative or isinstance(factor, (cos, erf)):
                continue  # no share: it isn't between 0 and 1
            for twin in node.args:  # 2 T - 4 T p: as much of it as there is of both
                other_count, other_rest = twin.as_coeff_Mul()
                if other_rest == rest and (other_count * count).is_positive:
                    both = min(count, other_count, key=abs)
                    return Add(both * rest * other, both * rest * factor - both * rest, *node.args)
    return None


def _over(term: Expr, divisor: Expr) -> Expr:
    """A product over one of its factors; SymPy leaves p^(a + 1) / p as it is."""
    factors = list(Mul.make_args(term))
    for place, factor in enumerate(factors):
        base, power = factor.as_base_exp()
        if base == divisor:
            factors[place] = base ** (power - 1)
            return Mul(*factors)
    return term / divisor
