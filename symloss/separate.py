"""Takes apart sums in a loop, so that a row of n entries takes n steps and not n^2.

The derivative of a row that is normalised has, at each entry i, a sum over all entries j of something that
depends on both. Often it is a sum of products, one factor of i and one of j, once it is multiplied out:

    sum_j a[j] (p[i] - q[i] b[j])  =  p[i] sum_j a[j] - q[i] sum_j a[j] b[j]

and then the sums over j are numbers that a row has once. The error is the one that rounding b would have
made. That isn't so for a product of two such differences: sum_j (x[i] - x[j])^2 multiplied out is a small
difference of large numbers, which no rounding of x explains. Such a sum, and one that can't be taken apart,
is left as it is.

What an entry is multiplied by in several terms is added up outside the loop: a b[i] + c b[i] = (a + c) b[i].
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sympy import Add, Expr, Mul, Piecewise
from sympy.core.parameters import distribute

from symloss import atoms
from symloss.index import Index, Sum, rewrite
from symloss.program import gap, scaled
from symloss.sharing import free_in

#: Functions f(x, ...) with f(a x + b y, ...) = a f(x, ...) + b f(y, ...).
_LINEAR = (atoms.ratio0, scaled)
#: Into more parts than this a sum isn't taken apart.
MANY = 32


def separated(expr: Expr) -> Expr:
    """`expr` with the sums that depend on an index taken apart, where they can be."""

    def replace(node: Expr) -> Expr:
        if not isinstance(node, Sum) or not free_in(node):
            return node
        (body,), summed = node.open()
        try:
            with distribute(False):
                apart = _Parts(summed).total(body)
        except _MixedError:
            return node
        return apart if not any(free_in(part) for part in _sums(apart)) else node

    return rewrite(expr, replace)


def collected(expr: Expr, indices: Sequence[Index]) -> Expr:
    """`expr` with terms that depend on these indices by the same factors put together.

    What they cancel they did before, and numbers that a row has once are computed once.
    """

    def replace(node: Expr) -> Expr:
        if not node.is_Add or not set(free_in(node)) <= set(indices):
            return node
        factors: dict[Expr, list[Expr]] = {}
        for term in node.args:
            parts = Mul.make_args(term)
            varying = Mul(*(part for part in parts if free_in(part)))
            factors.setdefault(varying, []).append(Mul(*(part for part in parts if not free_in(part))))
        if all(len(alike) == 1 for varying, alike in factors.items() if varying != 1):
            return node
        return Add(*(Mul(varying, Add(*alike)) for varying, alike in factors.items()))

    return rewrite(expr, replace) if indices else expr


def _sums(expr: Any) -> list[Any]:
    """The sums in an expression that lie in no other one."""
    if isinstance(expr, Sum):
        return [expr]
    return [found for arg in expr.args for found in _sums(arg)]


class _MixedError(Exception):
    """A sum can't be taken apart."""


class _Parts:
    """Takes one sum apart.

    Args:
        summed: the indices that it runs over.
    """

    def __init__(self, summed: Sequence[Index]) -> None:
        self.summed = tuple(summed)
        self.count = 0

    def total(self, *factors: Expr) -> Expr:
        """The sum of a product, in parts of which none mixes the summed indices with others.

        Raises:
            _MixedError: when there is no such form.
        """
        parts = [part for factor in factors for part in Mul.make_args(factor)]
        place = next((n for n, part in enumerate(parts) if self._mixes(part)), None)
        if place is None:
            self.count += 1
            if self.count > MANY:
                raise _MixedError
            return Sum(Mul(*parts), *self.summed)
        mixed, rest = parts[place], parts[:place] + parts[place + 1 :]
        if any(map(self._mixes, rest)):
            raise _MixedError
        if mixed.is_Add:
            return Add(*(self.total(*rest, term) for term in mixed.args))
        if isinstance(mixed, Piecewise):
            if any(test.free_symbols & set(self.summed) for _, test in mixed.args):
                raise _MixedError
            return Piecewise(
                *((self.total(*rest, value), test) for value, test in mixed.args), evaluate=False
            )
        if isinstance(mixed, gap):
            return self.total(*rest, mixed.args[0]) - self.total(*rest, mixed.args[1])
        if isinstance(mixed, _LINEAR) and not any(map(free_in, mixed.args[1:])):
            return self.total(*rest, self._inside(type(mixed), *mixed.args))
        raise _MixedError

    def _mixes(self, expr: Expr) -> bool:
        """Whether an expression depends both on a summed index and on another one."""
        free = set(free_in(expr))
        return bool(free & set(self.summed)) and bool(free - set(self.summed))

    def _inside(self, function: Any, first: Expr, *others: Expr) -> Expr:
        """A linear function of something mixed as functions of parts."""
        if first.is_Add:
            return Add(*(function(term, *others) for term in first.args))
        if isinstance(first, Piecewise):
            return Piecewise(
                *((function(value, *others), test) for value, test in first.args), evaluate=False
            )
        if first.is_Mul:
            inner = [factor for factor in first.args if set(free_in(factor)) & set(self.summed)]
            outer = [factor for factor in first.args if factor not in inner]
            if outer and inner:
                return Mul(*outer, function(Mul(*inner), *others))
        raise _MixedError
