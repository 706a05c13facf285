"""The rewrites whose pattern is a row, a whole sum or a whole product.

Each function takes a node and gives it rewritten, or None where it doesn't have the shape. `rules.py` names
them and says why.
"""

from __future__ import annotations

from sympy import (
    Add,
    Expr,
    Integer,
    Mul,
    Piecewise,
    Pow,
    Rational,
    S,
    besseli,
    cos,
    cosh,
    erf,
    erfc,
    exp,
    floor,
    gamma,
    log,
    loggamma,
    sin,
    sqrt,
    tanh,
)
from sympy.core.parameters import distribute

from symloss import atoms as a
from symloss.algebra import cancels_to, one_sign_fraction
from symloss.index import Entry, Index, Sum, substitute
from symloss.matching import negated, unify

# --- lifting: rows ------------------------------------------------------------------------------------------


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


def find_logsumexp(node: Expr) -> Expr | None:
    """log(Sum(exp(b)))."""
    if isinstance(node, log) and isinstance(node.args[0], Sum) and isinstance(node.args[0].body, exp):
        return a.LogSumExp(node.args[0].body.args[0], node.args[0].indices)
    return None


def find_log_softmax(node: Expr) -> Expr | None:
    """log(softmax), or b at t - logsumexp(b)."""
    if isinstance(node, log) and isinstance(node.args[0], a.Softmax):
        return a.LogSoftmax(*node.args[0].args)
    if not node.is_Add:
        return None
    for term in node.args:
        sign, rest = term.as_coeff_Mul()
        if isinstance(rest, a.LogSumExp) and abs(sign) == 1:
            for other in node.args:
                entry = negated(other) if sign == 1 else other
                place = unify(rest.body, rest.indices, entry)
                if place is not None:
                    left = [arg for arg in node.args if arg is not term and arg is not other]
                    return Add(-sign * a.LogSoftmax(rest.body, rest.indices, place), *left)
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
            if all(_take(left, part) for part in Add.make_args(whole)):
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


def _take(args: list[Expr], part: Expr) -> bool:
    """Remove `part` from the list, if it is there."""
    if part in args:
        args.remove(part)
        return True
    return False


# --- lifting: functions of one number -----------------------------------------------------------------------


def find_sigmoid_power(node: Expr) -> Expr | None:
    """(1 + exp(x))^-n as sigmoid(-x)^n, and exp(n x) sigmoid(-x)^m as sigmoid(x)^n sigmoid(-x)^(m - n)."""
    if node.is_Pow and node.exp.could_extract_minus_sign() and node.base.is_Add and len(node.base.args) == 2:
        one, other = node.base.args
        if one == 1 and isinstance(other, exp):
            return a.sigmoid(negated(other.args[0])) ** -node.exp
    if not node.is_Mul:
        return None
    for top in node.args:
        if not isinstance(top, exp):
            continue
        for factor in node.args:
            share, power = factor.as_base_exp()
            if not isinstance(share, a.sigmoid) or not power.is_Integer:
                continue
            inner = negated(share.args[0])
            copies = top.args[0] / inner
            if copies.is_Integer and 0 < copies <= power:
                left = [arg for arg in node.args if arg is not top and arg is not factor]
                return Mul(a.sigmoid(inner) ** copies, share ** (power - copies), *left)
    return None


def _root(square: Expr) -> Expr | None:
    """x where `square` is x^2, for a product of even powers and positive factors; None for anything else."""
    factors, proper = [], False
    for factor in Mul.make_args(square):
        base, exponent = factor.as_base_exp()
        if exponent.is_Integer and exponent % 2 == 0:
            factors.append(base ** (exponent / 2))
            proper = proper or not (base.is_positive or exponent.is_negative)
        elif factor.is_positive and not factor.has(exp):
            factors.append(sqrt(factor))
        else:
            return None
    return Mul(*factors) if proper else None


def one_plus_square(expr: Expr) -> tuple[Expr, Expr] | None:
    """(n, x) where `expr` is n (1 + x^2) with a positive n."""
    if not (expr.is_Add and len(expr.args) == 2):
        return None
    for one, square in (expr.args, expr.args[::-1]):
        root = _root(square)
        if root is not None and one.is_positive and not one.has(exp):
            own = _root(one) or sqrt(one)
            return one, root / own
    return None


def find_one_plus_square(node: Expr) -> Expr | None:
    """A power of 1 + x^2 that isn't a polynomial, or its logarithm."""
    if isinstance(node, log):
        found = one_plus_square(node.args[0])
        if found is not None:
            number, x = found
            return a.log1p_square(x) + (log(number) if number != 1 else 0)
    if node.is_Pow and not (node.exp.is_Integer and node.exp.is_positive):
        found = one_plus_square(node.base)
        if found is not None:
            number, x = found
            return number**node.exp * a.hypot1(x) ** (2 * node.exp)
    return None


def find_tilt(node: Expr) -> Expr | None:
    """x / sqrt(1 + x^2), also where x stands with a positive factor."""
    if not node.is_Mul:
        return None
    for bottom in node.args:
        base, exponent = bottom.as_base_exp()
        if not isinstance(base, a.hypot1) or not (exponent.is_Integer and exponent.is_negative):
            continue
        for top in node.args:
            power, count = top.as_base_exp()
            if not (count.is_Integer and count.is_positive) or power.is_number:
                continue
            ratio = power / base.args[0]
            if ratio.is_positive and not ratio.has(a.ScalarAtom, a.RowAtom):
                both = min(count, -exponent)
                left = [arg for arg in node.args if arg is not top and arg is not bottom]
                return Mul(
                    (ratio * a.tilt(base.args[0])) ** both,
                    power ** (count - both),
                    base ** (exponent + both),
                    *left,
                )
    return None


def find_log_of_product(node: Expr) -> Expr | None:
    """log(c f(x)) for a function f whose own logarithm is an atom, and a positive c."""
    if not isinstance(node, log):
        return None
    factors = Mul.make_args(node.args[0])
    for factor in factors:
        base, exponent = factor.as_base_exp() if not isinstance(factor, exp) else (factor, S.One)
        rest = Mul(*(other for other in factors if other is not factor))
        if not exponent.is_Integer or not rest.is_positive:
            continue
        if isinstance(base, a.erfc) and exponent == 1 and rest != 1:
            return a.log_half_erfc(base.args[0]) + (log(2 * rest) if rest != Rational(1, 2) else 0)
        single = _log_of_one(base)
        if single is not None:
            return exponent * single + (log(rest) if rest != 1 else 0)
    return None


def _log_of_one(node: Expr) -> Expr | None:
    """log(f(x)) as an atom."""
    if isinstance(node, exp):
        return node.args[0]
    if isinstance(node, cosh):
        return a.logcosh(node.args[0])
    if isinstance(node, gamma) and node.args[0].is_positive:
        return loggamma(node.args[0])
    if isinstance(node, besseli) and node.args[0] == 0:
        return a.log_besseli0(node.args[1])
    return a.log_erfc(node.args[0]) if isinstance(node, a.erfc) else None


def find_erfc(node: Expr) -> Expr | None:
    """SymPy's erfc as an atom, which keeps erfc(-x) as it is; n - m erfc(x) is m erfc(-x) + (n - 2 m)."""
    if isinstance(node, erfc):
        return a.erfc(node.args[0])
    if not node.is_Add:
        return None
    number = node.as_coeff_Add()[0]
    for term in node.args:
        count, rest = term.as_coeff_Mul()
        if isinstance(rest, erf) and number >= abs(count):
            left = Add(*(arg for arg in node.args if arg is not term and arg is not number))
            inner = rest.args[0] if count.is_negative else negated(rest.args[0])
            return abs(count) * a.erfc(inner) + (number - abs(count)) + left
        if isinstance(rest, a.erfc) and count.is_negative and number >= -2 * count:
            left = Add(*(arg for arg in node.args if arg is not term and arg is not number))
            return -count * a.erfc(negated(rest.args[0])) + (number + 2 * count) + left
    return None


def find_entropy_gap(node: Expr) -> Expr | None:
    """x log(x/y) - x + y and x/y - 1 - log(x/y), with a common factor."""
    if not node.is_Add:
        return None
    for term in node.args:
        for factor in Mul.make_args(term):
            zero, ratio = factor.args if isinstance(factor, a.times0) else (S.One, factor)
            if not isinstance(ratio, a.log_ratio):
                continue
            x, y = ratio.args[:2]
            whole = term / factor * zero
            found = (
                _gap(node, term, a.entropy_gap(x, y), whole / x, (-x, y))
                or _gap(node, term, a.entropy_gap(y, x), -whole / y, (-y, x))
                or _gap(node, term, a.log_gap(x, y), -whole, (x / y, S.NegativeOne))
                or _gap(node, term, a.log_gap(y, x), whole, (y / x, S.NegativeOne))
                or _gap(node, term, a.log_gap(x, y), -whole, (Add(x, -y) / y,))
                or _gap(node, term, a.log_gap(y, x), whole, (Add(y, -x) / x,))
            )
            if found is not None:
                return found
    return None


def _gap(node: Expr, term: Expr, atom: Expr, factor: Expr, others: tuple[Expr, ...]) -> Expr | None:
    """`node` with `term` and factor * others replaced by factor * atom, if they are all there."""
    left = list(node.args)
    left.remove(term)
    if all(_take(left, factor * other) for other in others):
        return Add(factor * atom, *left)
    return None


# --- lifting: quotients and zeros ---------------------------------------------------------------------------


def find_log_quotient(node: Expr) -> Expr | None:
    """log(a/b), with a - b worked out so that nothing is lost where a is near b."""
    if not isinstance(node, log) or not node.args[0].is_Mul:
        return None
    top, bottom = node.args[0].as_numer_denom()
    if not bottom.free_symbols or not top.free_symbols or not (top.is_nonnegative and bottom.is_nonnegative):
        return None
    return a.log_ratio(top, bottom, cancels_to(top - bottom), log_at_zero(top, bottom))


def log_at_zero(top: Expr, bottom: Expr) -> Expr:
    """log(top/bottom) where both vanish because every input does: the limit from inside, else -infinity."""
    inputs = sorted(
        (top.free_symbols | bottom.free_symbols) - {*top.atoms(Index), *bottom.atoms(Index)}, key=str
    )
    for entry in sorted(top.atoms(Entry) | {s for s in inputs if s in top.args or s == top}, key=str):
        others = {e: S.Zero for e in (top.atoms(Entry) | bottom.atoms(Entry)) if e != entry}
        ratio = cancels_to(substitute(top, others) / substitute(bottom, others))
        if ratio.is_positive and ratio.is_number:
            return log(ratio)
    return S.NegativeInfinity


def find_zero_times_log(node: Expr) -> Expr | None:
    """A factor that may be zero times a logarithm that may be infinite there."""
    if not node.is_Mul:
        return None
    for factor in node.args:
        rest = node / factor
        if not isinstance(factor, _LOGS) or not rest.free_symbols or rest.is_positive or rest.has(a.times0):
            continue
        if _data_only(rest) or not _is_positive_log(factor):
            return a.times0(rest, factor)
    return None


def find_zero_times_power(node: Expr) -> Expr | None:
    """A factor that may be zero times a power whose exponent may be negative."""
    if not node.is_Mul:
        return None
    for factor in node.args:
        if factor.is_Pow and factor.exp.free_symbols and factor.exp.is_nonnegative is not True:
            rest = node / factor
            if rest.free_symbols and not rest.is_positive and not factor.base.is_number:
                return a.times0(rest, factor)
    return None


_LOGS = (log, a.log1p, a.log1mexp, a.log_ratio, a.softplus, a.LogSoftmax)


def _is_positive_log(factor: Expr) -> bool:
    """Whether the argument can't be zero, so that the logarithm is finite at finite inputs."""
    return isinstance(factor, (a.softplus, a.LogSoftmax)) or factor.args[0].is_positive is True


def _data_only(expr: Expr) -> bool:
    """Whether `expr` can be exactly zero by what the caller gives: an input or its complement."""
    return not expr.has(a.ScalarAtom, a.RowAtom, Pow) and bool(expr.free_symbols)


def find_zero_quotient(node: Expr) -> Expr | None:
    """times0(x, c/y) is c (x/y) with 0/0 = 0; times0(x, finite) is a product."""
    return a.zero_product(*node.args) if isinstance(node, a.times0) else None


# --- stabilising --------------------------------------------------------------------------------------------


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
                owns = [f for f in factors if isinstance(f, a.Unit) and f.args[:2] == share.args[:2]]
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
        if all(_take(left, one) for part in parts for one in Add.make_args(part)):
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
    """Whether a summand is made of inputs by + - * / alone (`ratio0` is a quotient)."""
    if isinstance(term, Entry) or term.is_number or (term.is_Symbol and not isinstance(term, Index)):
        return True
    if isinstance(term, a.ratio0) or term.is_Add or term.is_Mul:
        return all(_is_rational(arg) for arg in term.args)
    return bool(term.is_Pow and term.exp.is_Integer and _is_rational(term.base))


def find_distribute_sign(node: Expr) -> Expr | None:
    """-(a + b) is -a - b: exact, and needed for terms to meet."""
    if node.is_Mul and len(node.args) == 2 and node.args[0] == -1 and node.args[1].is_Add:
        return Add(*(-term for term in node.args[1].args))
    return None


def find_powers(node: Expr) -> Expr | None:
    """b b^(g - 1) is b^g, for a base that can't be negative: 0 times infinity is gone where b is 0."""
    if not node.is_Mul:
        return None
    for power in node.args:
        if power.is_Pow and power.exp.free_symbols and power.base.is_nonnegative:
            for other in node.args:
                base, exponent = other.as_base_exp()
                if other is not power and base == power.base:
                    left = [arg for arg in node.args if arg is not power and arg is not other]
                    return Mul(Pow(base, power.exp + exponent), *left)
    return None


def find_box_cox(node: Expr) -> Expr | None:
    """c (X^a - 1)/(n a): the limit at a = 0 is a logarithm."""
    if not node.is_Mul:
        return None
    for bracket in node.args:
        if not (bracket.is_Add and len(bracket.args) == 2):
            continue
        powers = [
            t for t in bracket.args if t.as_coeff_Mul()[1].is_Pow and t.as_coeff_Mul()[1].exp.free_symbols
        ]
        if len(powers) != 1:
            continue
        sign, power = powers[0].as_coeff_Mul()
        if bracket - powers[0] != -sign:
            continue
        number, symbol = power.exp.as_coeff_Mul()
        for bottom in node.args:
            if bottom.is_Pow and bottom.exp == -1 and bottom.base == symbol:
                rest = node / bracket / bottom
                square = one_plus_square(power.base)
                if square is not None and square[0] == 1:
                    return rest * sign * number * a.boxcox1p_square(square[1], power.exp)
                if isinstance(power.base, a.hypot1):
                    return rest * sign * number / 2 * a.boxcox1p_square(power.base.args[0], power.exp / 2)
                terms = [term for term in Add.make_args(power.base) if term != 1]
                whole = len(terms) == len(Add.make_args(power.base))  # there is no 1 to leave out
                inner = cancels_to(power.base - 1) if whole else Add(*terms)
                return rest * sign * number * a.boxcox1p(inner, power.exp)
    return None
