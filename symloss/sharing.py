"""What lowering asks of expressions: what they depend on, what they share, what to call them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import permutations
from typing import Any

from sympy import Expr, Mul, Piecewise, S, Symbol
from sympy.core.function import Function
from sympy.core.relational import Relational
from sympy.logic.boolalg import BooleanFunction

from symloss.index import Binder, Entry, Index, Reduction, is_count, substitute
from symloss.primitive import ArgMax
from symloss.program import gap, scale_of, scaled, shift
from symloss.roles import LabelIndex


def free_in(expr: Any) -> tuple[Index, ...]:
    """The loop indices that an expression depends on (labels are data, not loops)."""
    symbols = expr.free_symbols if hasattr(expr, "free_symbols") else ()
    return tuple(
        sorted(
            (s for s in symbols if isinstance(s, Index) and not isinstance(s, LabelIndex)),
            key=lambda s: s.sort_key(),
        )
    )


def reductions_in(expr: Any) -> Iterator[Any]:
    """Every reduction in an expression, inner ones first."""
    for arg in expr.args:
        yield from reductions_in(arg)
    if isinstance(expr, (Reduction, ArgMax)):
        yield expr


def depth_of(node: Any) -> int:
    """How many reductions must be finished, one after another, before this one can start."""
    inner = [depth_of(n) for body in node.bodies for n in reductions_in(body)]
    return 1 + max(inner, default=0)


def canonical_key(node: Any) -> tuple[Any, tuple[Index, ...]]:
    """A reduction with its free indices renamed by position, and the indices in that order.

    Of the orders that give different keys, the first in text is taken, so that a symmetric one (a Gram
    matrix) is the same whichever way it is indexed.
    """
    free = free_in(node)
    choices = []
    for order in permutations(free):
        naming: dict[Expr, Expr] = {index: Index(f"@{n}", index.dim) for n, index in enumerate(order)}
        key = substitute(node, naming)
        choices.append((str(key), key, order))
    _, key, order = min(choices, key=lambda choice: (choice[0], [str(i) for i in choice[2]]))
    return key, order


def anonymous(expr: Any) -> Any:
    """`expr` with its free indices renamed by position, so that a name fits at every place."""
    return substitute(expr, {index: Index(f"@{n}", index.dim) for n, index in enumerate(free_in(expr))})


def occurrences(exprs: Iterable[Any]) -> Counter[Expr]:
    """How often each subexpression occurs, not counting what lies inside a repetition."""
    count: Counter[Expr] = Counter()

    def visit(expr: Any) -> None:
        if not expr.args:
            return
        count[expr] += 1
        if count[expr] > 1 or isinstance(expr, (Entry, Binder)):
            return
        for arg in expr.args:
            visit(arg)
        if expr.is_Pow and expr.exp.is_Integer and abs(expr.exp) > 1:
            visit(expr.base)

    for expr in exprs:
        visit(expr)
    return count


def is_trivial(expr: Any) -> bool:
    """Whether an expression isn't worth a name: an element, a number, the negative of a name.

    Nor is a reciprocal: x / y is rounded once, x * (1 / y) twice.
    """
    if isinstance(expr, (Entry, Relational, BooleanFunction)) or expr.is_Symbol or is_count(expr):
        return True
    if expr.is_Pow and expr.exp.is_Integer and expr.exp.is_negative:
        return True
    if expr.is_Mul and len(expr.args) == 2 and expr.args[0].is_number:
        return expr.args[1].is_Symbol or isinstance(expr.args[1], (Binder, Entry))
    return False


def common_power(cases: Piecewise) -> tuple[Expr, Expr] | None:
    """Base and exponent of the one power that a choice between powers is: SymPy takes it apart again."""
    (first, _), *others = cases.args
    if not others or others[-1][1] not in (True, S.true) or not first.is_Pow:
        return None
    power = first.exp
    if power.is_Integer or (power.is_Rational and power.q == 2):
        return None
    if not all(value.is_Pow and value.exp == power for value, _ in others):
        return None
    return Piecewise(*((value.base, test) for value, test in cases.args), evaluate=False), power


def power_of(expr: Any) -> tuple[Expr, Expr] | None:
    """Base and exponent of a power whose exponent isn't a number, or of a choice between such powers."""
    if isinstance(expr, Piecewise):
        found = common_power(expr)
    else:
        found = (expr.base, expr.exp) if expr.is_Pow else None
    return None if found is None or found[1].is_number else found


def factor_order(factor: Any) -> tuple[bool, bool, bool, str]:
    """The order in which a person writes a product: numbers, then parameters and counts, functions last."""
    base = factor.as_base_exp()[0]
    return (not factor.is_Number, bool(base.is_Function), not base.is_Symbol, str(factor))


def describe(expr: Any) -> str:
    """A short name made from the shape of an expression."""
    if isinstance(expr, (Entry, Symbol)):
        return str(expr.base if isinstance(expr, Entry) else expr).removeprefix("@")
    if isinstance(expr, ArgMax):
        return f"argmax_{describe(expr.body)}"
    if isinstance(expr, Reduction):
        body = (
            expr.body.args[1][0]
            if isinstance(expr.body, Piecewise) and expr.body.args[0][0] == 0
            else expr.body
        )
        others = "_others" if body is not expr.body else ""
        return f"{type(expr).__name__.lower()}_{describe(body)}{others}"
    if isinstance(expr, scale_of):
        return "unit_scale"
    if isinstance(expr, (shift, gap, scaled)):
        kind = {shift: "shifted", gap: "gap", scaled: "scaled"}[type(expr)]
        return f"{kind}_{describe(expr.args[0])}"
    if isinstance(expr, Function) and not isinstance(expr, Piecewise):
        inner = expr.args[0].args[0] if isinstance(expr.args[0], (shift, gap, scaled)) else expr.args[0]
        minus = "_neg" if inner.could_extract_minus_sign() and not inner.is_Add else ""
        return f"{type(expr).__name__.strip('_').lower()}{minus}_{describe(-inner if minus else inner)}"
    if expr.is_Mul and expr.args[0] == -1 and len(expr.args) == 2:
        return f"neg_{describe(expr.args[1])}"
    if expr.is_Add:
        return "difference" if any(t.could_extract_minus_sign() for t in expr.args) else "combined"
    if expr.is_Pow:
        named = {2: "square", -1: "inverse", S.Half: "root"}.get(expr.exp)
        return named or f"{describe(expr.base)}_power"
    if expr.is_Mul:
        return "ratio" if any(f.is_Pow and f.exp.is_negative for f in Mul.make_args(expr)) else "product"
    return "case" if isinstance(expr, Piecewise) else "part"
