"""Which signs an expression can have while its symbols run over their spans. What it says is proved.

The answer is the set of possible signs, a subset of {-1, 0, 1}: {1} is positive, {0, 1} is not negative,
and `ANY` means that nothing is known. Each symbol is written in a positive one (q in (0, 1) is v / (1 + v)),
so that a sum of products of positive things is positive at sight. Three forms are tried: the expression as
it stands, one fraction in factors with e^v as a symbol of its own, and e^v = 1 + v + v^2/2 + a positive rest.
Then intervals, in `symloss.proofs.intervals`. Spans are open: who needs an end puts it in.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

import sympy
from sympy import Abs, Add, Expr, Mul, Poly, Pow, S, Symbol, exp, log, oo
from sympy.polys.polyerrors import PolynomialError

from symloss.proofs import intervals

Signs = frozenset[int]
ANY: Signs = frozenset({-1, 0, 1})
POSITIVE, ZERO, NEGATIVE = frozenset({1}), frozenset({0}), frozenset({-1})
NOT_NEGATIVE, NOT_POSITIVE = frozenset({0, 1}), frozenset({-1, 0})

#: Functions with the sign of their argument, and those that are positive everywhere.
_ODD = (sympy.tanh, sympy.sinh, sympy.atan, sympy.asinh, sympy.erf, sympy.sign)
_POSITIVE = (exp, sympy.cosh, sympy.erfc, sympy.gamma)
_HYPERBOLIC = (sympy.tanh, sympy.sinh, sympy.cosh)
#: Sums of more terms, multiplied out, aren't factored, and aren't taken for polynomials: it takes too long.
MANY, FEW = 40_000, 400
#: Higher powers count as so many terms.
STEEP = 24
#: Larger expressions are not brought to one fraction: it takes too long. In operations.
LARGE = 160


class Span(NamedTuple):
    """Where a symbol lies: inside an open interval, whose ends may depend on earlier symbols."""

    low: Expr = S.NegativeInfinity
    high: Expr = S.Infinity


Spans = Mapping[Symbol, Span]


def signs(expr: Expr, spans: Spans | None = None) -> Signs:
    """The signs that `expr` can have. Symbols without a span have what SymPy assumes of them.

    Args:
        expr: in SymPy's own functions; its symbols are real.
        spans: where symbols lie; an end may depend on symbols that come before.
    """
    return _signs(sympy.sympify(expr), tuple((spans or {}).items()))


def positive(expr: Expr, spans: Spans | None = None) -> bool:
    """Whether `expr` is proved positive."""
    return signs(expr, spans) == POSITIVE


def nonnegative(expr: Expr, spans: Spans | None = None) -> bool:
    """Whether `expr` is proved not to be negative."""
    return signs(expr, spans) <= NOT_NEGATIVE


@lru_cache(maxsize=50_000)
def _signs(expr: Expr, spans: tuple[tuple[Symbol, Span], ...]) -> Signs:
    return _known(in_positive(expr, dict(spans)))


def in_positive(expr: Expr, spans: Spans) -> Expr:
    """The expression in positive symbols, where spans have an end, and in real ones."""
    for symbol, span in reversed(
        tuple(spans.items())
    ):  # an end's own symbols come before: they are put in later
        if symbol in expr.free_symbols:
            expr = expr.xreplace({symbol: _inside(symbol, span)})
    return expr


def _inside(symbol: Symbol, span: Span) -> Expr:
    """The symbol in terms of a positive one."""
    low, high = span
    v = Symbol(f"{symbol.name}+", positive=True)
    if low == -oo and high == oo:
        return Symbol(symbol.name, real=True)
    if high == oo:
        return v if low.is_zero else low + v
    return high - v if low == -oo else (low + high * v) / (1 + v)


def _known(expr: Expr) -> Signs:
    found = _shape(expr)
    if not {-1, 1} <= found or expr.has(S.NaN, S.ComplexInfinity):
        return found
    lines = sorted((s for s in expr.free_symbols if not s.is_nonnegative), key=str)
    found &= _deep(expr)
    if {-1, 1} <= found and 0 < len(lines) <= intervals.SYMBOLS:
        v = Symbol(f"{lines[0].name}+", positive=True)
        sides = [expr.xreplace({lines[0]: value}) for value in (S.Zero, v, -v)]
        found &= frozenset().union(*map(_known, sides))
    return found or ANY


def _deep(expr: Expr) -> Signs:
    if sympy.count_ops(expr) > LARGE:
        return ANY
    form = one_fraction(expr)
    found = _shape(form)
    if {-1, 1} <= found and form.has(*_exponentials(expr)):
        found &= _shape(one_fraction(expr, series=True))
    if {-1, 1} <= found:
        found &= intervals.signs(expr)
    if {-1, 1} <= found:
        product: Signs = POSITIVE
        for factor in Mul.make_args(form):
            each = _shape(factor)
            each = each & intervals.signs(factor) if {-1, 1} <= each else each
            product = frozenset(a * b for a in product for b in each)
        found &= product
    return found


def _shape(expr: Expr) -> Signs:
    """The signs that show in the shape of an expression."""
    if expr.is_number:
        return _number(expr)
    if expr.is_Symbol:
        known = {
            POSITIVE: expr.is_positive,
            NEGATIVE: expr.is_negative,
            NOT_NEGATIVE: expr.is_nonnegative,
            NOT_POSITIVE: expr.is_nonpositive,
        }
        return next((found for found, holds in known.items() if holds), ANY)
    if isinstance(expr, Mul):
        found: Signs = POSITIVE
        for factor in expr.args:
            found = frozenset(a * b for a in found for b in _shape(factor))
        return found
    if isinstance(expr, Add):
        found = _sum([_shape(term) for term in expr.args])
        found = found if found != ANY else _collected(expr)
        found = found if found != ANY else _quadratic(expr)
        return found if found != ANY else _logarithms(expr)
    if isinstance(expr, Pow):
        return _power(expr)
    if isinstance(expr, _POSITIVE):
        return POSITIVE if not isinstance(expr, sympy.gamma) or positive(expr.args[0]) else ANY
    if isinstance(expr, log):
        if len(expr.args[0].free_symbols) and sympy.count_ops(expr) <= LARGE:
            return _known(expr.args[0] - 1)
        return ANY
    if isinstance(expr, _ODD):
        return _shape(expr.args[0])
    if isinstance(expr, Abs):
        return frozenset(a * a for a in _shape(expr.args[0]))
    return ANY


def _number(number: Expr) -> Signs:
    if number is S.NaN or number is S.ComplexInfinity:
        return ANY
    if number.is_zero:
        return ZERO
    if number.is_positive:
        return POSITIVE
    return NEGATIVE if number.is_negative else ANY


def _sum(parts: list[Signs]) -> Signs:
    for allowed, strict in ((NOT_NEGATIVE, POSITIVE), (NOT_POSITIVE, NEGATIVE)):
        if all(part <= allowed for part in parts):
            if any(part == strict for part in parts):
                return strict
            return ZERO if all(part == ZERO for part in parts) else allowed
    return ANY


def _power(expr: Pow) -> Signs:
    base, power = _shape(expr.base), expr.exp
    if base == POSITIVE:
        return POSITIVE
    sure = _shape(power)
    if 0 in base and not sure <= NOT_NEGATIVE:
        base = base - {0}  # at a zero of the base it has no value
    if not base:
        return ANY
    if power.is_Integer:
        return frozenset(a * a for a in base) if power % 2 == 0 else base
    if base <= NOT_NEGATIVE:
        return base if sure == POSITIVE else base | POSITIVE
    return ANY


def _collected(expr: Add) -> Signs:
    """A polynomial in positive symbols whose irrational coefficients of one power come together."""
    free = sorted(expr.free_symbols, key=str)
    if not all(s.is_positive for s in free) or not expr.is_polynomial(*free) or not expr.has(Pow):
        return ANY
    if _is_large(expr):
        return ANY
    coefficients = Poly(expr, *free).coeffs()
    rational = all(c.is_Rational for c in coefficients)
    return ANY if rational else _sum([_number(c) if c.is_number else ANY for c in coefficients])


def _quadratic(expr: Add) -> Signs:
    """A quadratic without a real root has the sign of its leading coefficient."""
    if _is_large(expr):
        return ANY
    for symbol in sorted(expr.free_symbols, key=str):
        if not expr.is_polynomial(symbol):
            continue
        try:
            poly = Poly(expr, symbol)
        except PolynomialError:
            continue
        if poly.degree() == 2:
            a, b, c = poly.all_coeffs()
            inside = sympy.factor(b**2 - 4 * a * c)
            if _shape(inside) == NEGATIVE:
                return _shape(a)
    return ANY


def _logarithms(expr: Add) -> Signs:
    """A sum of logarithms and a number has the sign of a product less 1."""
    product: Expr = S.One
    for term in expr.args:
        factor, rest = term.as_coeff_Mul()
        if isinstance(rest, log) and rest.free_symbols:
            product *= rest.args[0] ** factor
        elif term.is_number:
            product *= exp(term)
        else:
            return ANY
    return _known(product - 1) if sympy.count_ops(product) <= LARGE else ANY


def _exponentials(expr: Expr) -> list[Symbol]:
    """The symbols that stand for e^v, for each v in an exponent."""
    return [_exponential(s) for s in sorted(expr.free_symbols, key=str)]


def _exponential(symbol: Symbol) -> Symbol:
    return Symbol(f"e^{symbol.name}", positive=True)


def one_fraction(expr: Expr, series: bool = False) -> Expr:
    """`expr` as one fraction in factors, with `e^v` as a symbol wherever v stands in an exponent.

    With `series`, e^v of a positive v is 1 + v + v^2/2 and a positive rest.
    """
    expr = expr.rewrite(_HYPERBOLIC, exp) if expr.has(*_HYPERBOLIC) else expr
    numbers: dict[Symbol, int] = {}
    parts: dict[Expr, list[tuple[Expr, Symbol | None]]] = {}
    for node in sorted(expr.atoms(exp), key=sympy.default_sort_key):
        parts[node] = []
        for term in Add.make_args(node.args[0].expand()):
            factor, rest = term.as_coeff_Mul()
            symbol = rest if rest.is_Symbol and factor.is_Rational else None
            parts[node].append((factor if symbol else term, symbol))
            if symbol:
                numbers[symbol] = sympy.ilcm(numbers.get(symbol, 1), factor.q)
    bases: dict[Symbol, Expr] = {}
    for symbol, q in numbers.items():
        bases[symbol] = _exponential(symbol)
        if series and symbol.is_positive:
            v = symbol / q
            bases[symbol] = 1 + v + v**2 / 2 + _exponential(symbol)
    mapping = {
        node: Mul(*(bases[s] ** (c * numbers[s]) if s else exp(c) for c, s in terms))
        for node, terms in parts.items()
    }
    return _factored(_put(expr, mapping))


def exponents(expr: Expr, symbol: Symbol) -> Expr:
    """The number n for which `e^v` in `one_fraction` stands for exp(v / n)."""
    number = 1
    expr = expr.rewrite(_HYPERBOLIC, exp) if expr.has(*_HYPERBOLIC) else expr
    for node in expr.atoms(exp):
        for term in Add.make_args(node.args[0].expand()):
            factor, rest = term.as_coeff_Mul()
            if rest == symbol and factor.is_Rational:
                number = sympy.ilcm(number, factor.q)
    return sympy.Integer(number)


def exponential(symbol: Symbol) -> Symbol:
    """The symbol that `one_fraction` puts for the exponential of `symbol`."""
    return _exponential(symbol)


def _put(expr: Expr, mapping: Mapping[Expr, Expr]) -> Expr:
    if expr in mapping:
        return mapping[expr]
    if not expr.args:
        return expr
    return expr.func(*(_put(arg, mapping) for arg in expr.args))


@lru_cache(maxsize=20_000)
def _factored(expr: Expr) -> Expr:
    whole = sympy.together(expr)
    factors = (factor.as_base_exp()[0] for half in sympy.fraction(whole) for factor in Mul.make_args(half))
    if max(map(_terms, factors)) > MANY:
        return whole
    try:
        return sympy.factor(whole)
    except (PolynomialError, ValueError):
        return whole


def _is_large(expr: Expr) -> bool:
    """Whether a polynomial takes too long to be multiplied out."""
    return bool(sympy.count_ops(expr) > LARGE or _terms(expr) > FEW)


def _terms(expr: Expr) -> int:
    """How many terms an expression may have when it is multiplied out, inside functions too."""
    if expr.is_Add:
        return sum(map(_terms, expr.args))
    if expr.is_Mul:
        return math.prod(map(_terms, expr.args))
    if expr.is_Pow and expr.exp.is_Integer:
        terms, power = _terms(expr.base), abs(int(expr.exp))
        return MANY + 1 if power > STEEP else math.comb(terms + power - 1, power)
    return max(map(_terms, expr.args), default=1)
