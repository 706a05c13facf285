"""Rewrites of lifting whose pattern is a whole sum, product or power of numbers: logarithms, quotients."""

from __future__ import annotations

from sympy import (
    Add,
    Dummy,
    Expr,
    Mul,
    Pow,
    Rational,
    S,
    besseli,
    cosh,
    cyclotomic_poly,
    divisors,
    erf,
    erfc,
    exp,
    expand_log,
    gamma,
    log,
    loggamma,
    sqrt,
    tanh,
)

from symloss import atoms as a
from symloss.algebra import cancels_to
from symloss.index import Entry, Index, substitute
from symloss.matching import negated, take


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


def find_numbers(node: Expr) -> Expr | None:
    """Logarithms and roots of numbers that add up to a simpler number."""
    if not node.is_Add:
        return None
    own = [term for term in node.args if term.is_number and not term.is_Rational]
    total = expand_log(Add(*own), force=True) if len(own) > 1 else S.Zero
    if len(own) < 2 or len(Add.make_args(total)) >= len(own):
        return None
    return Add(total, *(term for term in node.args if term not in own))


def find_complement_of_power(node: Expr) -> Expr | None:
    """n - n (1 - x)^k as n x times the other factors of 1 - y^k, of which none but 1 + y has a real root."""
    if not node.is_Add:
        return None
    for term in node.args:
        number, power = term.as_coeff_Mul()
        base, exponent = power.as_base_exp()
        if not (exponent.is_Integer and 2 <= exponent <= 12 and base.is_Add and 1 in base.args):
            continue
        left = list(node.args)
        left.remove(term)
        if number.is_Rational and take(left, -number):
            y, x = Dummy(), Add(*(-part for part in base.args if part != 1))
            others = Mul(*(cyclotomic_poly(d, y).xreplace({y: base}) for d in divisors(exponent)[1:]))
            return Add(-number * x * others, *left)
    return None


def find_sigmoid_difference(node: Expr) -> Expr | None:
    """c sigmoid(x) - c sigmoid(-x) as c tanh(x/2), and 1 - 2 sigmoid(x) as -tanh(x/2)."""
    if not node.is_Add:
        return None
    for term in node.args:
        for share in Mul.make_args(term):
            base = share.as_base_exp()[0]
            if not isinstance(base, a.sigmoid):
                continue
            rest, inner = term / base, base.args[0]
            left = list(node.args)
            left.remove(term)
            if take(left, -rest * a.sigmoid(negated(inner))):
                return Add(rest * tanh(inner / 2), *left)
            if rest.is_number and take(left, -rest / 2):
                return Add(rest / 2 * tanh(inner / 2), *left)
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
    """log(c f(x)^n) for a function f whose own logarithm is an atom, and a positive c."""
    if not isinstance(node, log):
        return None
    factors = Mul.make_args(node.args[0])
    for factor in factors:
        base, exponent = factor.as_base_exp() if not isinstance(factor, exp) else (factor, S.One)
        rest = Mul(*(other for other in factors if other is not factor))
        if not (exponent.is_Integer or base.is_positive) or not rest.is_positive:
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
    if isinstance(node, a.sigmoid):
        return -a.softplus(negated(node.args[0]))
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
    if all(take(left, factor * other) for other in others):
        return Add(factor * atom, *left)
    return None


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
