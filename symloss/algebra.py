"""The little computer algebra that rules need: rational simplification, with proof that it helps."""

from __future__ import annotations

from functools import lru_cache

from sympy import Add, Dummy, Expr, Mul, cancel, factor_terms, fraction, together
from sympy.core.parameters import distribute

from symloss.atoms import ratio0
from symloss.index import Binder, Entry, substitute


def cancels_to(expr: Expr) -> Expr:
    """`expr` over one denominator, common factors cancelled, common factors of the numerator in front."""
    top, bottom, back = _fraction(expr)
    with distribute(True):
        result = factor_terms(top) / factor_terms(bottom)
    return substitute(result, back)


def one_sign_fraction(expr: Expr) -> Expr | None:
    """A sum of fractions as one, if its numerator surely can't cancel while the sum could; else None."""
    if _same_sign(expr.args):
        return None
    top, bottom, back = _fraction(expr)
    with distribute(True):
        top, bottom = factor_terms(top.expand()), factor_terms(bottom)
    if not bottom.free_symbols:
        return None
    inner = [term for factor in Mul.make_args(top) for term in Add.make_args(factor) if factor.is_Add]
    if inner and not _same_sign(inner):
        return None
    quotient = substitute(top, back)
    for factor in Mul.make_args(bottom):
        base, power = factor.as_base_exp()
        for _ in range(int(power)):  # one after the other: the product of small factors would vanish
            quotient = _over(quotient, substitute(base, back))
    return quotient


@lru_cache(maxsize=10_000)
def _fraction(expr: Expr) -> tuple[Expr, Expr, dict[Expr, Expr]]:
    """Numerator and denominator, as rational functions of plain symbols, and the way back.

    Rules ask for the same sums again and again.
    """
    plain, back = _plain(expr)
    with distribute(True):
        top, bottom = fraction(cancel(together(plain)))
    return top, bottom, back


def _over(top: Expr, bottom: Expr) -> Expr:
    sign, positive = top.as_coeff_Mul()
    return top / bottom if bottom.is_number else sign * ratio0(positive, bottom)


def _same_sign(terms: tuple[Expr, ...] | list[Expr]) -> bool:
    return all(term.is_nonnegative for term in terms) or all((-term).is_nonnegative for term in terms)


def _plain(expr: Expr) -> tuple[Expr, dict[Expr, Expr]]:
    """`expr` as a rational function of plain symbols, and the way back.

    What isn't rational gets a name as a whole, from the outside in: a name in place of something inside a
    binder or a function would lie in what another name stands for, and never come back.
    """
    names: dict[Expr, Expr] = {}

    def flatten(node: Expr) -> Expr:
        if isinstance(node, ratio0):
            return flatten(node.args[0]) / flatten(node.args[1])
        if isinstance(node, (Entry, Binder)) or node.is_Function:
            sign = {"nonnegative": True} if node.is_nonnegative else {"real": True}
            if node.is_positive:
                sign = {"positive": True}
            return names.setdefault(node, Dummy(f"e{len(names)}", **sign))
        return node.func(*map(flatten, node.args)) if node.args else node

    return flatten(expr), {name: node for node, name in names.items()}
