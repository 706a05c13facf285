"""The oracle's numbers: extended reals of any precision, and hyper-dual numbers over them.

A *plain* number is a Python int (exact), an mpmath `mpf` (rounded to the working precision) or a `Wide`.
A `HyperDual` carries a plain value with its derivatives along two directions and the mixed second one, so
that gradients and Hessians come out of evaluating a formula, without deriving anything.

What plain arithmetic adds to mpmath's: a product with a zero factor is zero, log 0 is -inf, c / 0 is
+-inf (zero has no sign), and 0 / 0 is NaN. Where such a convention was met with a zero that may only be a
rounding error, `flags.lost` says that more digits are needed; `flags.open` says that the result is
indeterminate and has to be found as a limit, and `flags.kink` that a subgradient was chosen. Both the
flags and mpmath's precision belong to the process, so the oracle isn't to be used by two threads at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mpmath import mp, mpf

#: The derivative of what doesn't depend on the direction. CPython has one 0, so `is ZERO` is a fast test.
ZERO = 0
INF, NAN = mpf("inf"), mpf("nan")

#: A number whose exponent needs more bits than this is infinite: exp(exp(1e300)) could not be stored.
EXPONENT_BITS = 20_000


class Flags:
    """What happened during an evaluation; see the module's docstring. `wide` asks for `Wide` numbers."""

    lost = False
    open = False
    kink = False
    wide = False

    def clear(self, wide: bool = False) -> None:
        """Forget what happened; `wide` says which kind of number inputs become."""
        self.lost = self.open = self.kink = False
        self.wide = wide


flags = Flags()


def _two_sum(a: Any, b: Any) -> tuple[Any, Any]:
    """The rounded sum and its exact error (Knuth)."""
    s = a + b
    if not mp.isfinite(s):
        return s, mpf(0)
    other = s - a
    return s, (a - (s - other)) + (b - other)


class Wide:
    """The unevaluated sum of two mpf, however far apart: 1 - exp(-1e20) needs 4e19 digits otherwise."""

    __slots__ = ("hi", "lo")

    def __init__(self, hi: Any, lo: Any = ZERO) -> None:
        self.hi, self.lo = _two_sum(mpf(hi), mpf(lo))

    def __add__(self, other: Any) -> Wide:
        other = other if type(other) is Wide else Wide(other)
        s, error = _two_sum(self.hi, other.hi)
        tail, rest = _two_sum(self.lo, other.lo)
        low = error + tail
        return Wide(s, low if low else rest)

    __radd__ = __add__

    def __neg__(self) -> Wide:
        return Wide(-self.hi, -self.lo)

    def __sub__(self, other: Any) -> Wide:
        return self + (-other)

    def __rsub__(self, other: Any) -> Wide:
        return -self + other

    def __mul__(self, other: Any) -> Wide:
        other = other if type(other) is Wide else Wide(other)
        high, low = _split(lambda: self.hi * other.hi)
        if not mp.isfinite(high):
            return Wide(high)
        return Wide(high, low + (self.hi * other.lo + self.lo * other.hi))

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Wide:
        other = other if type(other) is Wide else Wide(other)
        high = self.hi / other.hi
        if not mp.isfinite(high) or not mp.isfinite(other.hi):
            return Wide(high)
        rest = self - other * Wide(high)
        return Wide(high, rest.hi / other.hi)

    def __rtruediv__(self, other: Any) -> Wide:
        return Wide(other) / self

    def __bool__(self) -> bool:
        return bool(self.hi)

    def __eq__(self, other: object) -> bool:
        return not (self - other).hi

    def __ne__(self, other: object) -> bool:
        return self.hi != self.hi or bool((self - other).hi)

    __hash__ = None  # type: ignore[assignment]

    def __lt__(self, other: Any) -> bool:
        return (self - other).hi < 0

    def __le__(self, other: Any) -> bool:
        return (self - other).hi <= 0

    def __gt__(self, other: Any) -> bool:
        return (self - other).hi > 0

    def __ge__(self, other: Any) -> bool:
        return (self - other).hi >= 0

    def through(self, function: Callable[[Any], Any], slope: Callable[[Any], Any]) -> Wide:
        """A function of this number, to first order in the small part.

        The rounding error of the large part is not kept: exp(a) / (exp(a) + exp(b)) must be 1 less a
        tiny part, and there is only room for one small part beside exp(a).
        """
        high = function(self.hi)
        if not mp.isfinite(high) or not self.lo:
            return Wide(high)
        rest = slope(self.hi) * self.lo
        flags.lost |= bool(high) and abs(rest) > abs(high)  # the small part is too large for the first order
        return Wide(high, rest)


def _split(compute: Callable[[], Any]) -> tuple[Any, Any]:
    """A number computed with twice the precision, as its rounded value and the rest."""
    precision = mp.prec
    with mp.workprec(2 * precision + 4):
        exact = compute()
        if not mp.isfinite(exact):
            return exact, mpf(0)
        with mp.workprec(precision):
            high = +exact
        return high, exact - high


def make(value: Any) -> Any:
    """An int or mpf as a number that rounds: an mpf, or a `Wide` where these are asked for."""
    if type(value) is Wide:
        return value
    return Wide(value) if flags.wide else mpf(value)


def plain_value(x: Any) -> Any:
    """The value part of a plain or hyper-dual number, as an mpf."""
    x = x.v if type(x) is HyperDual else x
    return x.hi if type(x) is Wide else mpf(x)


def finite(x: Any) -> bool:
    """Whether a plain number is neither infinite nor NaN."""
    return type(x) is int or mp.isfinite(x.hi if type(x) is Wide else x)


def product(a: Any, b: Any) -> Any:
    """a * b of plain numbers, where zero times anything is zero."""
    r = a * b
    if type(r) is int or r == r:
        return r
    if (a == a and not a) or (b == b and not b):
        zero = a if a == a and not a else b
        flags.lost |= type(zero) is not int
        return zero
    return r


def quotient(a: Any, b: Any) -> Any:
    """a / b of plain numbers."""
    if not b:
        flags.lost |= type(b) is not int
        if not a or a != a:
            flags.open = True
            return NAN
        return INF if a > 0 else -INF
    if type(a) is int and type(b) is int:
        return a // b if a % b == 0 else make(a) / b
    return a / b


def _scaled(slope: Any, change: Any) -> Any:
    """Chain rule: a slope times the derivative of what is inside."""
    if change is ZERO:
        return ZERO
    r = slope * change
    if type(r) is int or r == r:
        return r
    if slope == slope and change == change and not (slope and change):
        flags.lost |= type(change if slope else slope) is not int
        flags.open = True
        return mpf(0)
    return r


def _sum(a: Any, b: Any) -> Any:
    """a + b; if they cancel altogether, what is left may have been rounded away."""
    r = a + b
    if not r and type(r) is not int and a:
        flags.lost = True
    return r


def _plus(a: Any, b: Any) -> Any:
    return b if a is ZERO else a if b is ZERO else _sum(a, b)


class HyperDual:
    """v + d1 e1 + d2 e2 + d12 e1 e2 with e1^2 = e2^2 = 0."""

    __slots__ = ("d1", "d2", "d12", "v")

    def __init__(self, v: Any, d1: Any, d2: Any, d12: Any) -> None:
        self.v, self.d1, self.d2, self.d12 = v, d1, d2, d12

    @property
    def flat(self) -> bool:
        """Whether every derivative is zero."""
        return not (self.d1 or self.d2 or self.d12)


def value_of(x: Any) -> Any:
    """The value of a plain or hyper-dual number."""
    return x.v if type(x) is HyperDual else x


def add(a: Any, b: Any) -> Any:
    """a + b."""
    if type(a) is not HyperDual:
        if type(b) is not HyperDual:
            return _sum(a, b)
        return HyperDual(_sum(a, b.v), b.d1, b.d2, b.d12)
    if type(b) is not HyperDual:
        return HyperDual(_sum(a.v, b), a.d1, a.d2, a.d12)
    return HyperDual(_sum(a.v, b.v), _plus(a.d1, b.d1), _plus(a.d2, b.d2), _plus(a.d12, b.d12))


def multiply(a: Any, b: Any) -> Any:
    """a * b."""
    if type(a) is not HyperDual:
        if type(b) is not HyperDual:
            return product(a, b)
        a, b = b, a
    v = product(a.v, value_of(b))
    if type(b) is not HyperDual:
        return HyperDual(v, _scaled(b, a.d1), _scaled(b, a.d2), _scaled(b, a.d12))
    d1 = _plus(_scaled(b.v, a.d1), _scaled(a.v, b.d1))
    d2 = _plus(_scaled(b.v, a.d2), _scaled(a.v, b.d2))
    d12 = _plus(_scaled(b.v, a.d12), _scaled(a.v, b.d12))
    d12 = _plus(d12, _plus(_cross(a.d1, b.d2), _cross(a.d2, b.d1)))
    return HyperDual(v, d1, d2, d12)


def _cross(a: Any, b: Any) -> Any:
    return ZERO if a is ZERO else _scaled(a, b)


def divide(a: Any, b: Any) -> Any:
    """a / b."""
    if type(b) is not HyperDual:
        if type(a) is not HyperDual:
            return quotient(a, b)
        if not b:
            flags.open |= not a.v  # the value is 0/0, whatever the derivatives are
            return multiply(a, quotient(1, b))
        return HyperDual(*(ZERO if part is ZERO else quotient(part, b) for part in (a.v, a.d1, a.d2, a.d12)))
    inverse = lift(b, *RECIPROCAL)
    result = multiply(a, inverse)
    result.v = quotient(value_of(a), b.v)  # one rounding, and exact where the quotient is
    return result


def lift(x: Any, function: Callable, slope: Callable, bend: Callable) -> Any:
    """A function of one number, given with its first and second derivative."""
    if type(x) is not HyperDual:
        return function(x)
    v = function(x.v)
    first = slope(x.v)
    d12 = _scaled(first, x.d12)
    if x.d1 is not ZERO and x.d2 is not ZERO:
        d12 = _plus(d12, _scaled(bend(x.v), _scaled(x.d1, x.d2)))
    return HyperDual(v, _scaled(first, x.d1), _scaled(first, x.d2), d12)


RECIPROCAL = (
    lambda x: quotient(1, x),
    lambda x: -quotient(1, x * x),
    lambda x: quotient(2, x * x * x),
)
