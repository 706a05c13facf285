"""The functions that the oracle knows, each with its first and second derivative.

They take and give plain numbers of `symloss.hyperdual`. Outside the real domain they give NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sympy
from mpmath import mp, mpf

from symloss.hyperdual import (
    EXPONENT_BITS,
    INF,
    NAN,
    ZERO,
    HyperDual,
    Wide,
    add,
    divide,
    flags,
    lift,
    make,
    multiply,
    product,
    quotient,
    value_of,
)

Triple = tuple[Callable[[Any], Any], Callable[[Any], Any], Callable[[Any], Any]]


def _elementary(function: Callable[[Any], Any], slope: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Make a function of any plain number out of one of an mpf."""

    def safe(x: Any) -> Any:
        try:
            r = function(x)
        except (ValueError, ZeroDivisionError):  # a pole
            return NAN
        return r if type(r) is mpf else NAN  # complex: outside the real domain

    def apply(x: Any) -> Any:
        if type(x) is int:
            x = make(x)
        return x.through(safe, slope) if type(x) is Wide else safe(x)

    return apply


def _saturating(
    function: Callable[[Any], Any], slope: Callable[[Any], Any], rest: Callable[[Any], Any]
) -> Callable[[Any], Any]:
    """An odd function that is 1 - rest(x) far out, where a `Wide` can hold both."""
    apply = _elementary(function, slope)

    def safe(x: Any) -> Any:
        x = make(x) if type(x) is int else x
        if type(x) is not Wide or not 1 < abs(x.hi) < INF:
            found = apply(x)
            if type(found) is mpf and abs(x) < INF:  # how far it is from 1 is lost where it rounds to 1
                flags.lost |= abs(abs(found) - 1) < mpf(2) ** (8 - mp.prec)
            return found
        side = mp.sign(x.hi)
        return Wide(side, -side * rest(abs(x.hi))) + slope(x.hi) * x.lo

    return safe


def _exp(x: Any) -> Any:
    if x._mpf_[2] + x._mpf_[3] > EXPONENT_BITS:
        return mpf(0) if x < 0 else INF
    return mp.exp(x)


def _log(x: Any) -> Any:
    if type(x) is int and x == 1:
        return 0
    if not x:
        flags.lost |= type(x) is not int
        return -INF
    return NAN if x < 0 else _log_positive(x)


def _inverse(x: Any) -> Any:
    return quotient(1, x)


def _root(x: Any, power: str) -> Any:
    """A half-integer power of what may be zero or negative."""
    return raised(x, mpf(power))


def _exp_at(x: Any) -> Any:
    return 1 if type(x) is int and x == 0 else _exp_any(x)


_log_positive = _elementary(mp.log, _inverse)
_exp_any = _elementary(_exp, _exp)
_sin = _elementary(mp.sin, mp.cos)
_cos = _elementary(mp.cos, lambda x: -mp.sin(x))
_tan = _elementary(mp.tan, lambda x: mp.sec(x) ** 2)
_sinh = _elementary(mp.sinh, mp.cosh)
_cosh = _elementary(mp.cosh, mp.sinh)
_tanh = _saturating(mp.tanh, lambda x: mp.sech(x) ** 2, lambda x: 2 / (_exp(2 * x) + 1))
_gamma = _elementary(mp.gamma, lambda x: mp.gamma(x) * mp.psi(0, x))


def _gauss(x: Any) -> Any:
    """The derivative of erf."""
    return _exp_any(-(x * x)) * (2 / mp.sqrt(mp.pi))


def _bell(x: Any) -> Any:
    """The derivative of tanh, without the cancellation of 1 - tanh^2."""
    c = _cosh(x)
    return quotient(1, c * c)


def psi(order: int) -> Callable[[Any], Any]:
    """The polygamma function of an order."""
    return _elementary(lambda x: mp.psi(order, x), lambda x: mp.psi(order + 1, x))


def _log_gamma(x: Any) -> Any:
    if x <= 0:
        return INF if x == 0 else NAN
    return mp.loggamma(x)


def _erfc(x: Any) -> Any:
    """erfc: far out, where mpmath overflows, by the expansion at infinity."""
    if not x * x > 10 * mp.prec or x < 0 or not mp.isfinite(x):
        return mp.erfc(x)
    # DLMF 7.12.1; the terms fall below the precision long before they grow.
    term, total, k = mpf(1), mpf(1), 0
    while abs(term) > mp.eps:
        k += 1
        term *= -(2 * k - 1) / (2 * x * x)
        total += term
    return _exp(-x * x) / (x * mp.sqrt(mp.pi)) * total


def _besseli(order: int, x: Any) -> Any:
    """I_order: for large |x|, where mpmath's series don't converge, by the expansion at infinity."""
    far, order = abs(x), abs(order)  # I_-n is I_n
    if far <= 10 * mp.prec + order**2:
        return mp.besseli(order, x)
    if not mp.isfinite(x):
        return x if order % 2 or x != x else far
    # DLMF 10.40.1; the terms fall below the precision long before they grow.
    term, total, k = mpf(1), mpf(1), 0
    while abs(term) > mp.eps:
        k += 1
        term *= -(4 * mpf(order) ** 2 - (2 * k - 1) ** 2) / (8 * k * far)
        total += term
    result = _exp(far) / mp.sqrt(2 * mp.pi * far) * total
    return -result if x < 0 and order % 2 else result


def bessel(order: int) -> Callable[[Any], Any]:
    """The modified Bessel function of the first kind."""
    return _elementary(
        lambda x: _besseli(order, x), lambda x: (_besseli(order - 1, x) + _besseli(order + 1, x)) / 2
    )


def bessel_triple(order: int) -> Triple:
    """I_order with its derivatives, from I' = (I_{n-1} + I_{n+1}) / 2."""
    two, one, same, up, top = (bessel(order + shift) for shift in (-2, -1, 0, 1, 2))
    return (
        same,
        lambda x: quotient(one(x) + up(x), 2),
        lambda x: quotient(two(x) + 2 * same(x) + top(x), 4),
    )


def psi_triple(order: int) -> Triple:
    """The polygamma function of an order with its derivatives."""
    return psi(order), psi(order + 1), psi(order + 2)


def _negative(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda x: -function(x)


_asin_slope, _asin_bend = (lambda x: _root(1 - x * x, "-0.5")), (lambda x: x * _root(1 - x * x, "-1.5"))
_gamma_bend = lambda x: _gamma(x) * (psi(0)(x) * psi(0)(x) + psi(1)(x))  # noqa: E731

#: From a SymPy function to (function, first derivative, second derivative).
FUNCTIONS: dict[type, Triple] = {
    sympy.exp: (_exp_at, _exp_at, _exp_at),
    sympy.log: (_log, _inverse, lambda x: -quotient(1, x * x)),
    sympy.sin: (_sin, _cos, _negative(_sin)),
    sympy.cos: (_cos, _negative(_sin), _negative(_cos)),
    sympy.tan: (_tan, lambda x: 1 + _tan(x) * _tan(x), lambda x: 2 * _tan(x) * (1 + _tan(x) * _tan(x))),
    sympy.asin: (_elementary(mp.asin, _asin_slope), _asin_slope, _asin_bend),
    sympy.acos: (_elementary(mp.acos, _negative(_asin_slope)), _negative(_asin_slope), _negative(_asin_bend)),
    sympy.atan: (
        _elementary(mp.atan, lambda x: quotient(1, 1 + x * x)),
        lambda x: quotient(1, 1 + x * x),
        lambda x: quotient(-2 * x, (1 + x * x) * (1 + x * x)),
    ),
    sympy.sinh: (_sinh, _cosh, _sinh),
    sympy.cosh: (_cosh, _sinh, _cosh),
    sympy.tanh: (_tanh, _bell, lambda x: -2 * _tanh(x) * _bell(x)),
    sympy.asinh: (
        _elementary(mp.asinh, lambda x: _root(1 + x * x, "-0.5")),
        lambda x: _root(1 + x * x, "-0.5"),
        lambda x: -x * _root(1 + x * x, "-1.5"),
    ),
    sympy.atanh: (
        _elementary(mp.atanh, lambda x: quotient(1, 1 - x * x)),
        lambda x: quotient(1, 1 - x * x),
        lambda x: quotient(2 * x, (1 - x * x) * (1 - x * x)),
    ),
    sympy.erf: (_saturating(mp.erf, _gauss, _erfc), _gauss, lambda x: -2 * x * _gauss(x)),
    sympy.erfc: (
        _elementary(_erfc, _negative(_gauss)),
        _negative(_gauss),
        lambda x: 2 * x * _gauss(x),
    ),
    sympy.gamma: (_gamma, lambda x: _gamma(x) * psi(0)(x), _gamma_bend),
    sympy.loggamma: (_elementary(_log_gamma, lambda x: mp.psi(0, x)), psi(0), psi(1)),
    sympy.digamma: psi_triple(0),
}


def power(x: Any, a: Any) -> Any:
    """x ** a; a power of zero with a zero inner derivative has derivative 0 (a norm at the zero vector)."""
    if type(a) is HyperDual:
        return lift(multiply(a, lift(x, *FUNCTIONS[sympy.log])), *FUNCTIONS[sympy.exp])
    if type(a) is not int and type(a) is not Wide and a == int(a):
        a = int(a)
    if a == 1:
        return x
    if type(x) is not HyperDual:
        return raised(x, a)
    if not x.v and 0 < a < 1 and not (x.d1 or x.d2):
        flags.kink = True
        flags.lost |= type(x.v) is not int
        slope = raised(x.v, a - 1)
        d12 = ZERO if not x.d12 else product(product(a, slope), x.d12)
        return HyperDual(raised(x.v, a), ZERO, ZERO, d12)
    return lift(
        x,
        lambda v: raised(v, a),
        lambda v: product(a, raised(v, a - 1)),
        lambda v: product(product(a, a - 1), raised(v, a - 2)),
    )


def raised(x: Any, a: Any) -> Any:
    """x ** a of plain numbers."""
    if not a:
        return 1
    if not x:
        flags.lost |= type(x) is not int
        return ZERO if a > 0 else INF
    if type(a) is int:
        if type(x) is int:
            return x**a if a > 0 else quotient(1, x**-a)
        if type(x) is mpf:
            return x**a
        return x.through(lambda v: v**a, lambda v: a * v ** (a - 1))
    if x < 0 or x != x:
        return NAN
    x = make(x) if type(x) is int else x
    if type(x) is Wide or type(a) is Wide:
        if type(a) is Wide:
            return _exp_at(product(a, _log(x)))
        return x.through(lambda v: v**a, lambda v: a * v ** (a - 1))
    return mp.sqrt(x) if a == 0.5 else x**a


def absolute(x: Any) -> Any:
    """|x|, with derivative 0 at 0."""
    if type(x) is not HyperDual:
        return -x if x < 0 else x
    if x.v < 0:
        return multiply(-1, x)
    if not x.v and not x.flat:
        flags.kink = True
        flags.lost |= type(x.v) is not int
        return HyperDual(x.v, ZERO, ZERO, ZERO)
    return x


def sign(x: Any) -> Any:
    """-1, 0 or 1, with derivative 0."""
    x = value_of(x)
    flags.lost |= type(x) is not int and not x
    return NAN if x != x else (x > 0) - (x < 0)


def comparable(one: Any, other: Any) -> tuple[Any, Any]:
    """Two values to compare; equal but for rounding means that more digits are needed."""
    a, b = value_of(one), value_of(other)
    if type(a) is not bool and not (type(a) is int and type(b) is int) and not flags.wide:
        gap = abs(a - b)
        if gap == gap and gap <= max(abs(a), abs(b)) * mpf(2) ** (16 - mp.prec):
            flags.lost = True
    return a, b


def extreme(parts: list[Any], larger: bool, scalar: bool) -> Any:
    """The extreme of numbers, with the derivative of those that reach it."""
    best = value_of(parts[0])
    for part in parts[1:]:
        value, best = comparable(part, best)
        if value != value or (value > best if larger else value < best):
            best = value
    winners = [part for part in parts if value_of(part) == best]
    if len(winners) < 2:
        return winners[0] if winners else NAN
    flat = [part for part in winners if type(part) is not HyperDual or part.flat]
    if len(flat) == len(winners) or (scalar and flat):
        flags.kink |= len(flat) < len(winners)
        return best
    flags.kink = True
    total: Any = ZERO
    for part in winners:
        total = add(total, part)
    result = divide(total, len(winners))
    result.v = best
    return result
