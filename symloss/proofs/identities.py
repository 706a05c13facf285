"""Symmetries of a formula, proved by bringing it and its image to one form."""

from __future__ import annotations

from collections.abc import Callable

import sympy
from sympy import Abs, Add, Expr, Mul, Pow, Symbol, exp

from symloss import atoms as a
from symloss.index import Binder, Delta, Entry, Index, Max, Min, Size, Sum, rewrite, substitute, walk
from symloss.roles import Input, Loss

#: Larger formulas are not multiplied out, in operations.
LARGE = 120
_ROWS = (Max, Min, a.LogSumExp, a.LogSoftmax, a.Softmax, a.SoftmaxComplement, a.Norm, a.Unit)


def partners(loss: Loss) -> tuple[Input, Input] | None:
    """The two inputs that can change places: of one shape and domain, a prediction first.

    A prediction and the one target like it, or the two predictions of a loss without such a target.
    """
    likes = [
        (p, t)
        for p in loss.predictions
        for t in loss.inputs
        if t.kind == "target" and t.dims == p.dims and t.domain == p.domain
    ]
    if len(loss.predictions) == 1:
        return likes[0] if len(likes) == 1 else None
    if len(loss.predictions) == 2 and not likes:
        one, other = loss.predictions
        return (one, other) if one.dims == other.dims and one.domain == other.domain else None
    return None


def shifted_inputs(loss: Loss) -> tuple[Input, ...]:
    """The inputs that a translation moves: the predictions, and real targets that have the shape of one."""
    dims = [p.dims for p in loss.predictions]
    return tuple(
        i
        for i in loss.inputs
        if i.kind == "prediction" or (i.kind == "target" and i.dims in dims and i.domain == sympy.S.Reals)
    )


def is_symmetric(formula: Expr, one: Input, other: Input) -> bool:
    """Whether the formula is proved to stay the same when two inputs change places."""
    between = Symbol("between", real=True)
    image = formula
    for old, new in ((one.symbol, between), (other.symbol, one.symbol), (between, other.symbol)):
        image = substitute(image, {old: new})
    return _same(formula, image)


def is_translation_invariant(formula: Expr, inputs: tuple[Input, ...]) -> bool:
    """Whether the formula is proved to stay the same when one number is added to every entry of `inputs`."""
    shift = Symbol("shift", real=True)
    moved = {given.symbol for given in inputs}

    def step(node: Expr) -> Expr:
        entry = node.base if isinstance(node, Entry) else node
        return node + shift if entry in moved and (isinstance(node, Entry) or node.is_Symbol) else node

    return _same(formula, rewrite(formula, step))


def is_permutation_invariant(formula: Expr) -> bool:
    """Whether indices only say which entry is meant, so that no order of the entries matters."""

    def visit(node: Expr) -> bool:
        if isinstance(node, Index):
            return False
        if isinstance(node, (Entry, Delta)):
            return all(
                isinstance(place, Index) for place in node.args if place != getattr(node, "base", None)
            )
        if isinstance(node, Binder):
            return all(map(visit, node.bodies)) and all(isinstance(place, Index) for place in node.at)
        if isinstance(node, (sympy.Eq, sympy.Ne)) and all(isinstance(arg, Index) for arg in node.args):
            return True
        return all(map(visit, node.args))

    return visit(formula)


def _same(one: Expr, other: Expr) -> bool:
    if one == other or lighter(one) == lighter(other):
        return True
    if sympy.count_ops(other) > LARGE:
        return False
    first, second = normal(one), normal(other)
    return first == second or normal(first - second) == 0


def lighter(expr: Expr) -> Expr:
    """A form in which rows don't see what is added to all their entries; no product is multiplied out."""
    return _settled(expr, lambda node: _light(_step(node) if isinstance(node, _ROWS) else node))


def normal(expr: Expr) -> Expr:
    """A form in which equal formulas often look the same: sums spread, constants out of rows, signs even."""
    return _settled(expr, _step)


def _settled(expr: Expr, step: Callable[[Expr], Expr]) -> Expr:
    for _ in range(4):
        after = rewrite(expr, step)
        if after == expr:
            break
        expr = after
    return expr


def _light(node: Expr) -> Expr:
    if isinstance(node, Sum):
        terms = Add.make_args(node.body)
        return Add(*(Sum(term, *node.indices) for term in terms)) if len(terms) > 1 else node
    if isinstance(node, (Mul, Add)):
        return sympy.expand_mul(node, deep=False) if not node.has(Pow) or _by_sizes(node) else node
    if isinstance(node, (Pow, Abs)) and (isinstance(node, Abs) or node.exp.is_even):
        inner, *rest = node.args
        return node.func(-inner if inner.could_extract_minus_sign() else inner, *rest)
    return node


def _by_sizes(node: Expr) -> bool:
    """Whether the only powers are of sizes."""
    return all(not p.base.has(Entry, Binder) for p in node.atoms(Pow))


def _step(node: Expr) -> Expr:
    if isinstance(node, Size) or not node.args:
        return node
    if isinstance(node, Sum) and isinstance(node.body, (Add, Mul, Pow)):
        body, indices = expanded(node.body), node.indices
        return Add(*(Sum(term, *indices) for term in Add.make_args(body)))
    if isinstance(node, (Max, Min, a.LogSumExp)):
        fixed, moving = _split(node)
        return fixed + _again(node, moving) if fixed != 0 else node
    if isinstance(node, (a.LogSoftmax, a.Softmax, a.SoftmaxComplement)):
        fixed, moving = _split(node)
        return _again(node, moving) if fixed != 0 else node
    if isinstance(node, (a.Norm, a.Unit)):
        body = expanded(node.body)
        if isinstance(node, a.Norm) and body.could_extract_minus_sign():
            body = -body
        return _again(node, body) if body != node.body else node
    if isinstance(node, Pow) and node.exp.is_Integer:
        base = expanded(node.base)
        if node.exp % 2 == 0 and base.could_extract_minus_sign():
            base = -base
        return base**node.exp
    if isinstance(node, Abs):
        inner = expanded(node.args[0])
        return Abs(-inner if inner.could_extract_minus_sign() else inner)
    if isinstance(node, (Add, Mul, exp)):
        return expanded(node)
    return node


def expanded(expr: Expr) -> Expr:
    """SymPy's expansion; a row atom has another method of that name."""
    return expr if isinstance(expr, a.RowAtom) else sympy.expand(expr)


def _split(node: Binder) -> tuple[Expr, Expr]:
    """The body's terms that don't depend on the bound indices, and those that do."""
    terms = Add.make_args(expanded(node.body))
    bound = set(node.indices)
    fixed = [term for term in terms if not bound & set(_free(term))]
    return Add(*fixed), Add(*(term for term in terms if term not in fixed))


def _free(term: Expr) -> set:
    return term.free_symbols | {s for node in walk(term) for s in node.free_symbols}


def _again(node: Binder, body: Expr) -> Expr:
    if isinstance(node, a.RowAtom):
        return node.func((body, *node.bodies[1:]), node.indices, node.at)
    return node.func(body, *node.indices)
