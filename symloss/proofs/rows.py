"""What shows in the shape of a formula over rows: curvature, signs, bounds and smoothness by composition.

The rules are those of disciplined convex programming: a sum of convex functions, a convex function times a
number that is not negative, a convex function of an affine one, the largest of convex ones, log-sum-exp and
norms of affine rows. They are sound and not complete: False and an empty set mean that no rule applies.
"""

from __future__ import annotations

from functools import cached_property

import sympy
from sympy import Abs, Add, Expr, Interval, Mul, Piecewise, Pow, S, Symbol, exp, log

from symloss import atoms as a
from symloss.index import Binder, Entry, Index, Max, Min, Product, Size, Sum
from symloss.proofs.identities import expanded
from symloss.proofs.reduction import Case, bases
from symloss.proofs.signs import ANY, NOT_NEGATIVE, NOT_POSITIVE, POSITIVE, Signs, signs
from symloss.roles import Loss

Shape = frozenset[str]
AFFINE: Shape = frozenset({"convex", "concave"})
CONVEX: Shape = frozenset({"convex"})
CONCAVE: Shape = frozenset({"concave"})
NONE: Shape = frozenset()
_MIRRORED: dict[str, str] = {"convex": "concave", "concave": "convex"}


class Rows:
    """The shape of one expression of a loss's predictions.

    Args:
        loss: the loss.
        case: the values and spans of its parameters.
        expr: the expression, as `symloss.proofs.reduction.plain` gives it.
    """

    def __init__(self, loss: Loss, case: Case, expr: Expr) -> None:
        self.expr = expr
        self._predictions = {given.symbol for given in loss.predictions}
        self._domains = {given.symbol: given.domain for given in loss.inputs}
        self._spans = dict(case.spans)

    @cached_property
    def convex(self) -> bool:
        """Whether the expression is convex by a rule."""
        return "convex" in self.shape(self.expr)

    @cached_property
    def signs(self) -> Signs:
        """The signs that it can have."""
        return self.sign(self.expr)

    @cached_property
    def bounded(self) -> bool:
        """Whether its values are bounded."""
        return self._bounded(self.expr)

    @cached_property
    def smooth(self) -> bool:
        """Whether it has all derivatives."""
        return self._smooth(self.expr)

    @cached_property
    def lipschitz(self) -> bool:
        """Whether its gradient is bounded."""
        return self._lipschitz(self.expr)

    @cached_property
    def gradient_lipschitz(self) -> bool:
        """Whether its second derivatives are bounded."""
        return self._gradient_lipschitz(self.expr)

    def moves(self, expr: Expr) -> bool:
        """Whether an expression depends on predictions."""
        return bool(bases(expr) & self._predictions)

    # --- signs ----------------------------------------------------------------------------------------------

    def sign(self, expr: Expr) -> Signs:
        """The signs that an expression can have: rows and entries as symbols of their own sign."""
        names: dict[Expr, Symbol] = {}
        return signs(self._flat(expr, names), self._spans)

    def _flat(self, expr: Expr, names: dict[Expr, Symbol]) -> Expr:
        if isinstance(expr, (Entry, Binder, Size)) or (isinstance(expr, Symbol) and expr in self._domains):
            if expr not in names:
                names[expr] = _symbol(f"_{len(names)}", self._node_sign(expr))
            return names[expr]
        if isinstance(expr, Piecewise):
            if expr not in names:
                names[expr] = _symbol(f"_{len(names)}", self._cases_sign(expr))
            return names[expr]
        if not expr.args:
            return expr
        return expr.func(*(self._flat(arg, names) for arg in expr.args))

    def _node_sign(self, node: Expr) -> Signs:
        if isinstance(node, Size):
            return POSITIVE
        if isinstance(node, (Sum, Product, Max, Min)):
            found = self.sign(node.body)
            if isinstance(node, Product):
                return found if found <= NOT_NEGATIVE else ANY
            return found
        if isinstance(node, a.LogSoftmax):
            return NOT_POSITIVE
        if isinstance(node, a.RowAtom):
            return {"": ANY, "+": NOT_NEGATIVE, "++": POSITIVE}[node.sign]
        domain = self._domains.get(node.base if isinstance(node, Entry) else node, S.Reals)
        if isinstance(domain, Interval) and domain.start >= 0:
            return POSITIVE if domain.start > 0 or domain.left_open else NOT_NEGATIVE
        return ANY

    def _cases_sign(self, expr: Piecewise) -> Signs:
        found = [self.sign(branch) for branch, _ in expr.args]
        if self._largest(expr) and any(sign <= NOT_NEGATIVE for sign in found):
            return NOT_NEGATIVE
        return frozenset().union(*found)

    # --- curvature ------------------------------------------------------------------------------------------

    def shape(self, expr: Expr) -> Shape:
        """Convex, concave, both (affine) or nothing that is known."""
        if not self.moves(expr):
            return AFFINE
        if isinstance(expr, (Entry, Symbol)):
            return AFFINE
        if isinstance(expr, Add):
            return AFFINE.intersection(*map(self.shape, expr.args))
        if isinstance(expr, Mul):
            return self._product_shape(expr)
        if isinstance(expr, Sum):
            return self.shape(expr.body)
        if isinstance(expr, Pow):
            return self._power_shape(expr)
        if isinstance(expr, (Abs, a.Norm)):
            inner = expr.args[0] if isinstance(expr, Abs) else expr.body
            return CONVEX if self.shape(inner) == AFFINE else NONE
        if isinstance(expr, (exp, a.LogSumExp, Max)):
            inner = expr.args[0] if isinstance(expr, exp) else expr.body
            return CONVEX & self.shape(inner)
        if isinstance(expr, log):
            return CONCAVE & self.shape(expr.args[0])
        if isinstance(expr, Min):
            return CONCAVE & self.shape(expr.body)
        if isinstance(expr, a.LogSoftmax):
            return CONCAVE if self.shape(expr.body) == AFFINE else NONE
        if isinstance(expr, Piecewise):
            return self._cases_shape(expr)
        return NONE

    def _product_shape(self, expr: Mul) -> Shape:
        fixed = Mul(*(factor for factor in expr.args if not self.moves(factor)))
        moving = [factor for factor in expr.args if self.moves(factor)]
        if len(moving) != 1:
            return NONE
        inner, sign = self.shape(moving[0]), self.sign(fixed)
        if inner == AFFINE or sign <= NOT_NEGATIVE:
            return inner
        return frozenset(_MIRRORED[s] for s in inner) if sign <= NOT_POSITIVE else NONE

    def _power_shape(self, expr: Pow) -> Shape:
        if self.moves(expr.exp) or not expr.exp.is_number:
            return NONE
        inner = self.shape(expr.base)
        if inner == AFFINE and expr.exp.is_Integer and expr.exp > 0 and expr.exp % 2 == 0:
            return CONVEX
        if inner == NONE:
            return NONE
        sign = self.sign(expr.base)
        if expr.exp >= 1 and sign <= NOT_NEGATIVE:
            return CONVEX & inner
        if expr.exp < 0 and sign == POSITIVE and "concave" in inner:
            return CONVEX
        return CONCAVE & inner if 0 < expr.exp <= 1 and sign <= NOT_NEGATIVE else NONE

    def _cases_shape(self, expr: Piecewise) -> Shape:
        branches = self._largest(expr)
        if branches is not None:
            return CONVEX.intersection(*map(self.shape, branches))
        if any(self.moves(condition) for _, condition in expr.args):
            return NONE
        return AFFINE.intersection(*(self.shape(branch) for branch, _ in expr.args))

    def _largest(self, expr: Piecewise) -> list[Expr] | None:
        """What the cases are the maximum of, if they are one."""
        pairs = [(branch, condition) for branch, condition in expr.args]
        if len(pairs) not in (2, 3) or not pairs[0][1].is_Relational:
            return None
        one, other = pairs[0][0], pairs[1][0]
        condition = pairs[0][1]
        if not isinstance(condition, (sympy.Gt, sympy.Ge, sympy.Lt, sympy.Le)):
            return None
        difference = condition.gts - condition.lts
        if expanded(difference - (one - other)) != 0:
            return None
        if len(pairs) == 3:  # at a tie, any mean of the two
            second = pairs[1][1]
            back = second.is_Relational and expanded(second.gts - second.lts + difference) == 0
            if not back or expanded(2 * pairs[2][0] - one - other) != 0:
                return None
        return [one, other]

    # --- the rest -------------------------------------------------------------------------------------------

    def _bounded(self, expr: Expr) -> bool:
        if isinstance(expr, (Entry, Symbol)) and not isinstance(expr, (Size, Index)):
            domain = self._domains.get(expr.base if isinstance(expr, Entry) else expr)
            return not self.moves(expr) or (isinstance(domain, Interval) and domain.measure.is_finite)
        if not self.moves(expr):
            return True
        if isinstance(expr, a.RowAtom):
            return expr.bounded
        if isinstance(expr, (Sum, Max, Min, Product)):
            return self._bounded(expr.body)
        if isinstance(expr, Pow):
            return expr.exp.is_number and expr.exp > 0 and self._bounded(expr.base)
        return isinstance(expr, (Add, Mul, Abs, exp, sympy.tanh)) and all(map(self._bounded, expr.args))

    def _smooth(self, expr: Expr) -> bool:
        if not self.moves(expr) or isinstance(expr, (Entry, Symbol)):
            return True
        if isinstance(expr, (a.LogSumExp, a.LogSoftmax, Sum, Product)):
            return self._smooth(expr.body)
        if isinstance(expr, Pow):
            whole = expr.exp.is_Integer and expr.exp > 0
            return (whole or self.sign(expr.base) == POSITIVE) and all(map(self._smooth, expr.args))
        if isinstance(expr, log):
            return self.sign(expr.args[0]) == POSITIVE and self._smooth(expr.args[0])
        if isinstance(expr, Piecewise):
            fixed = not any(self.moves(condition) for _, condition in expr.args)
            return fixed and all(self._smooth(branch) for branch, _ in expr.args)
        return isinstance(expr, (Add, Mul, exp, sympy.tanh, sympy.sin, sympy.cos)) and all(
            map(self._smooth, expr.args)
        )

    def _lipschitz(self, expr: Expr) -> bool:
        if not self.moves(expr) or isinstance(expr, (Entry, Symbol)):
            return True
        if isinstance(expr, (a.LogSumExp, a.LogSoftmax, a.Norm, Sum, Max, Min)):
            return self._lipschitz(expr.body)
        if isinstance(expr, Mul):
            return self._one_moves(expr) and all(map(self._lipschitz, expr.args))
        if isinstance(expr, Piecewise):
            fixed = not any(self.moves(condition) for _, condition in expr.args)
            branches = self._largest(expr) or ([branch for branch, _ in expr.args] if fixed else None)
            return branches is not None and all(map(self._lipschitz, branches))
        return isinstance(expr, (Add, Abs, sympy.tanh)) and all(map(self._lipschitz, expr.args))

    def _one_moves(self, expr: Mul) -> bool:
        return sum(map(self.moves, expr.args)) == 1

    def _gradient_lipschitz(self, expr: Expr) -> bool:
        if self.shape(expr) == AFFINE:
            return True
        if isinstance(expr, (a.LogSumExp, a.LogSoftmax)):
            return self.shape(expr.body) == AFFINE
        if isinstance(expr, Sum):
            return self._gradient_lipschitz(expr.body)
        if isinstance(expr, Pow):
            return expr.exp == 2 and self.shape(expr.base) == AFFINE
        if isinstance(expr, Mul):
            return self._one_moves(expr) and all(map(self._gradient_lipschitz, expr.args))
        return isinstance(expr, Add) and all(map(self._gradient_lipschitz, expr.args))


def _symbol(name: str, found: Signs) -> Symbol:
    if found == POSITIVE:
        return Symbol(name, positive=True)
    if found <= NOT_NEGATIVE:
        return Symbol(name, nonnegative=True)
    return Symbol(name, nonpositive=True) if found <= NOT_POSITIVE else Symbol(name, real=True)
