"""Sets one entry of a row apart from the others: that for whose place an expression has a case of its own.

The derivative of a row that is normalised has one form at the row's largest entry and another elsewhere. In a
loop both would be computed for every entry. Set apart, the loop has the one, and the other is computed once.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from sympy import Eq, Expr, Mul, Piecewise, S, preorder_traversal, sift
from sympy.core.parameters import distribute

from symloss.index import Index, Size, Sum, rewrite, substitute
from symloss.primitive import ArgMax
from symloss.sharing import free_in


class Apart(NamedTuple):
    """An expression over an index: what it is at all places but one, and what it is there."""

    others: Expr
    own: Expr
    place: ArgMax


def set_apart(expr: Expr, index: Index) -> Apart | None:
    """An expression with one entry apart, if it has a case for the place of a largest entry."""
    for test in preorder_traversal(expr):
        if isinstance(test, Eq) and index in test.args:
            place = test.args[test.args[0] == index]
            if isinstance(place, ArgMax) and not free_in(place):
                with distribute(False):
                    others, own = (substitute(expr, {test: answer}) for answer in (S.false, S.true))
                    return Apart(others, substitute(own, {index: place}), place)
    return None


def sums_apart(expr: Expr) -> Expr:
    """`expr` with one entry of each sum apart, where its terms have a case for it."""

    def replace(node: Any) -> Any:
        if not isinstance(node, Sum) or len(node.indices) > 1 or free_in(node):
            return node
        (body,), (index,) = node.open()
        found = set_apart(body, index)
        if found is None:
            return node
        # Numbers and sizes wait for the sum. Another factor could be infinite, where there are no others.
        factors = Mul.make_args(found.others)
        sizes, factors = sift(factors, lambda f: f.free_symbols <= f.atoms(Size), binary=True)
        others = Piecewise((S.Zero, Eq(index, found.place)), (Mul(*factors), True), evaluate=False)
        return Mul(*sizes) * Sum(others, index) + found.own

    return rewrite(expr, replace)
