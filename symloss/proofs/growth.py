"""How an expression grows as one symbol goes to infinity, and the limits that follow.

A `Lead` says that the expression is asymptotically equal to c e^P(s) s^a log(s)^l, where P is a polynomial
without a constant term and c is not zero. Products, powers and logarithms of leads are leads; of a sum the
largest term is left, and where the largest cancel nothing is said. The other symbols stay symbols: what
decides (which of two rates is larger) must hold for all their values, or nothing is said either.

Args of every function here: SymPy's own functions only; `spans` as in `symloss.proofs.signs`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import sympy
from sympy import Abs, Add, Expr, Mul, Pow, S, Symbol, exp, log, oo

from symloss.proofs.signs import (
    NEGATIVE,
    POSITIVE,
    ZERO,
    Signs,
    Span,
    Spans,
    exponential,
    exponents,
    nonnegative,
    one_fraction,
    signs,
)

#: The symbol that goes to infinity.
FAR = Symbol("far", positive=True)
#: Larger expressions are not tried, in operations.
LARGE = 200


class Lead(NamedTuple):
    """c e^P s^a log(s)^l; zero where c is 0."""

    c: Expr
    exponent: Expr = S.Zero
    power: Expr = S.Zero
    logs: Expr = S.Zero


#: Functions that have all derivatives everywhere.
ANALYTIC = (
    exp,
    sympy.tanh,
    sympy.sinh,
    sympy.cosh,
    sympy.atan,
    sympy.asinh,
    sympy.erf,
    sympy.erfc,
    sympy.sin,
    sympy.cos,
)
#: What is continuous everywhere.
_CONTINUOUS = (Add, Mul, Abs, *ANALYTIC)
_NOTHING = Lead(S.Zero)


class _Unknown(Exception):
    """Nothing can be said."""


def limit(expr: Expr, symbol: Symbol, end: Expr, from_below: bool, spans: Spans) -> Expr | None:
    """Where `expr` goes as `symbol` comes to `end` from one side, for all values of the other symbols.

    An expression in the other symbols, an infinity, or None where it can't be told.
    """
    if symbol not in expr.free_symbols:
        return expr
    if end.is_finite is not False and end not in (oo, -oo):
        plain = _at(expr, symbol, end, spans)
        if plain is not None:
            return plain
        way = end - 1 / FAR if from_below else end + 1 / FAR
    else:
        way = FAR if end == oo else -FAR
    rest = tuple((s, span) for s, span in spans.items() if s != symbol)
    return _limit(expr.xreplace({symbol: way}), rest)


def _at(expr: Expr, symbol: Symbol, end: Expr, spans: Spans) -> Expr | None:
    """The value at a finite end, if every part of the expression is defined and continuous there."""
    spans = {s: span for s, span in spans.items() if s != symbol}

    def visit(node: Expr) -> Expr | None:
        if node == symbol:
            return end
        if symbol not in node.free_symbols:
            return node
        args: list[Expr] = []
        for arg in node.args:
            inner = visit(arg)
            if inner is None:
                return None
            args.append(inner)
        if isinstance(node, Pow):
            base, power = args
            if base.is_zero and signs(power, spans) != POSITIVE:
                return None
            if not signs(power, spans) <= {0, 1} and 0 in signs(base, spans):
                return None
            if not node.exp.is_Integer and not nonnegative(base, spans):
                return None
        elif isinstance(node, log):
            if signs(args[0], spans) != POSITIVE:
                return None
        elif not isinstance(node, _CONTINUOUS):
            return None
        return node.func(*args)

    found = visit(expr)
    return None if found is None or found.has(S.NaN, S.ComplexInfinity, oo, -oo) else found


@lru_cache(maxsize=5_000)
def _limit(expr: Expr, spans: tuple[tuple[Symbol, Span], ...]) -> Expr | None:
    if sympy.count_ops(expr) > LARGE:
        return None
    known = dict(spans)
    for form in (lambda: expr, lambda: sympy.factor_terms(sympy.together(expr)), lambda: _spelled(expr)):
        try:
            return value(_lead(form(), known), known)
        except _Unknown:
            continue
    return None


def _spelled(expr: Expr) -> Expr:
    """One fraction in factors, with its exponentials written out again."""
    free = sorted(expr.free_symbols, key=str)
    return one_fraction(expr).xreplace({exponential(s): exp(s / exponents(expr, s)) for s in free})


def value(lead: Lead, spans: Spans) -> Expr:
    """The limit of what grows like `lead`."""
    if lead.c == 0:
        return S.Zero
    rate = _direction(lead, spans)
    if rate == 0:
        return lead.c
    if rate < 0:
        return S.Zero
    sign = signs(lead.c, spans)
    if sign == POSITIVE:
        return oo
    if sign == NEGATIVE:
        return -oo
    raise _Unknown


def _direction(lead: Lead, spans: Spans) -> int:
    """1 where the lead (but for its constant) grows without bound, -1 where it vanishes, 0 where it is 1."""
    if lead.exponent != 0:
        return _sure(sympy.Poly(lead.exponent, FAR).LC(), spans)
    for part in (lead.power, lead.logs):
        direction = _sure(part, spans)
        if direction:
            return direction
    return 0


def _sure(expr: Expr, spans: Spans) -> int:
    """The sign of an expression, if it is one."""
    found: Signs = signs(expr, spans)
    if found in (POSITIVE, NEGATIVE, ZERO):
        return next(iter(found))
    raise _Unknown


def _compare(a: Lead, b: Lead, spans: Spans) -> int:
    return _direction(_times(a, _inverse(b)), spans)


def _times(a: Lead, b: Lead) -> Lead:
    if a.c == 0 or b.c == 0:
        return _NOTHING
    exponent = sympy.expand(a.exponent + b.exponent)
    return Lead(a.c * b.c, exponent, sympy.expand(a.power + b.power), sympy.expand(a.logs + b.logs))


def _inverse(a: Lead) -> Lead:
    return Lead(1 / a.c, -a.exponent, -a.power, -a.logs)


def _lead(expr: Expr, spans: Spans) -> Lead:
    """The lead of an expression."""
    if FAR not in expr.free_symbols:
        if expr.has(oo, -oo, S.NaN, S.ComplexInfinity):
            raise _Unknown
        if expr.is_zero:
            return _NOTHING
        if 0 in signs(expr, spans):
            raise _Unknown
        return Lead(expr)
    if expr == FAR:
        return Lead(S.One, power=S.One)
    if isinstance(expr, Add):
        return _sum(expr, spans)
    if isinstance(expr, Mul):
        return _product(expr, spans)
    if isinstance(expr, Pow):
        return _power(expr, spans)
    if isinstance(expr, exp):
        return _exp(expr.args[0], spans)
    if isinstance(expr, log):
        return _log(expr.args[0], spans)
    if len(expr.args) == 1:
        return _function(expr, spans)
    raise _Unknown


def _product(expr: Mul, spans: Spans) -> Lead:
    found = Lead(S.One)
    constant, rest = expr.as_independent(FAR, as_Add=False)
    # The sign of the whole constant may be known where that of its factors is not needed: 0 is asked once.
    if constant != 1:
        found = _lead(constant, spans)
    for factor in Mul.make_args(rest):
        found = _times(found, _lead(factor, spans))
    return found


def _sum(expr: Add, spans: Spans) -> Lead:
    constant, rest = expr.as_independent(FAR, as_Add=True)
    terms = [term for term in (constant, *Add.make_args(rest)) if term != 0]
    leads = [_lead(term, spans) for term in terms]
    try:
        return _largest(leads, spans)
    except _Unknown:
        return _largest(_without_limits(terms, leads, spans), spans)


def _without_limits(terms: list[Expr], leads: list[Lead], spans: Spans) -> list[Lead]:
    """The terms less their limits, where these cancel: c e^g is c + c g, as g vanishes."""
    limits, rest = S.Zero, []
    for term, lead in zip(terms, leads, strict=True):
        factor, moving = term.as_independent(FAR, as_Add=False)
        if moving == 1:
            limits += term
        elif isinstance(moving, exp) and lead[1:] == _NOTHING[1:]:
            small = _lead(moving.args[0], spans)
            if small.c == 0 or _direction(small, spans) >= 0:
                raise _Unknown
            limits += lead.c
            rest.append(_times(_lead(factor, spans), small))
        else:
            rest.append(lead)
    if not sympy.expand(limits) == 0:
        raise _Unknown
    return rest


def _largest(leads: list[Lead], spans: Spans) -> Lead:
    leads = [lead for lead in leads if lead.c != 0]
    if not leads:
        return _NOTHING
    top = [leads[0]]
    for lead in leads[1:]:
        order = _compare(lead, top[0], spans)
        if order > 0:
            top = [lead]
        elif order == 0:
            top.append(lead)
    c = sympy.factor_terms(Add(*(lead.c for lead in top)))
    if len(top) > 1 and 0 in signs(c, spans):
        raise _Unknown
    return top[0]._replace(c=c)


def _power(expr: Pow, spans: Spans) -> Lead:
    base, power = expr.base, expr.exp
    if FAR in power.free_symbols:
        return _exp(power * log(base), spans)
    lead = _lead(base, spans)
    if lead.c == 0:
        raise _Unknown
    if not power.is_Integer and signs(lead.c, spans) != POSITIVE:
        raise _Unknown
    parts = (sympy.expand(part * power) for part in lead[1:])
    return Lead(lead.c**power, *parts)


def _exp(argument: Expr, spans: Spans) -> Lead:
    """The exponential of a polynomial, or of what has a finite limit."""
    whole = sympy.expand(argument)
    polynomial: list[Expr] = []
    rest: list[Expr] = []
    for term in Add.make_args(whole):
        (polynomial if term.is_polynomial(FAR) and FAR in term.free_symbols else rest).append(term)
    constant = value(_lead(Add(*rest), spans), spans) if rest else S.Zero
    if constant.is_infinite:
        raise _Unknown
    exponent = Add(*polynomial)
    if exponent != 0 and 0 in signs(sympy.Poly(exponent, FAR).LC(), spans):
        raise _Unknown
    return Lead(exp(constant), exponent)


def _log(argument: Expr, spans: Spans) -> Lead:
    lead = _lead(argument, spans)
    if signs(lead.c, spans) != POSITIVE:
        raise _Unknown
    if lead.exponent != 0:
        poly = sympy.Poly(lead.exponent, FAR)
        return Lead(poly.LC(), power=sympy.Integer(poly.degree()))
    if _direction(lead, spans):
        if lead.power == 0:
            raise _Unknown
        return Lead(lead.power, logs=S.One)
    if signs(lead.c - 1, spans) == ZERO:  # log(1 + h) is h, as h vanishes
        return _lead(_less_one(argument), spans)
    return _lead(log(lead.c), spans)


def _less_one(argument: Expr) -> Expr:
    less = sympy.expand(argument) - 1
    return less if isinstance(argument, Add) and 1 in argument.args else sympy.factor(sympy.together(less))


def _function(expr: Expr, spans: Spans) -> Lead:
    """A bounded or odd function of what grows or vanishes."""
    inner = _lead(expr.args[0], spans)
    if inner.c == 0:
        return _lead(expr.func(S.Zero), spans)
    direction, kind = _direction(inner, spans), type(expr)
    if direction == 0:
        if isinstance(expr, (Abs, sympy.tanh, sympy.atan, sympy.asinh, sympy.erf, sympy.erfc, sympy.cosh)):
            return _lead(kind(inner.c), spans)
        raise _Unknown
    if direction < 0 and kind in (sympy.tanh, sympy.sinh, sympy.atan, sympy.asinh):
        return inner
    sign = _sure(inner.c, spans)
    if direction > 0 and kind in (sympy.tanh, sympy.erf):
        return Lead(sympy.Integer(sign))
    if direction > 0 and kind is sympy.atan:
        return Lead(sign * sympy.pi / 2)
    if kind is Abs:
        return inner._replace(c=sign * inner.c)
    if direction < 0 and kind in (sympy.erfc, sympy.cosh):
        return Lead(S.One)
    if direction > 0 and kind is sympy.erfc and sign < 0:
        return Lead(sympy.Integer(2))
    raise _Unknown
