"""From a loss to functions of one variable, where it is made of such functions; exact, or not at all.

    loss               one `Case` for each value of a target with finitely many, each end and limit value of a
                       parameter, and each open interval between them
    case               `Part`s whose predictions are disjoint, so that the loss is their sum
    part               a `Scalar`, if it is a sum over entries of one function of an affine form, or one
                       function of the norm of an affine row, or of one entry of a log-softmax; else an
                       expression
    scalar             one `Scalar` for each end of a target's interval, and one for its inside

A function of a norm, psi(|x|), is convex, strictly or strongly so, C^k, or has a Lipschitz constant exactly
when the even function psi(|r|) of one number r has it, so it becomes a function on the line.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import sympy
from sympy import Abs, Add, Expr, FiniteSet, Interval, Mul, S, Set, Symbol, exp, log, oo

from symloss import atoms as a
from symloss.derive import Derivation, derive
from symloss.index import Binder, Entry, Index, Sum, rewrite, substitute, walk
from symloss.proofs.signs import Span
from symloss.roles import Input, LabelIndex, Loss

#: Cases that are looked at, for all parameters and finite targets together.
CASES = 64


@dataclass(frozen=True)
class Case:
    """The loss at fixed values of some parameters and finite targets; the other parameters have `spans`.

    `formula` is lifted, `textbook` is not. Parameters stand as symbols that are positive where they can be.
    """

    fixed: tuple[tuple[str, Expr], ...]
    spans: tuple[tuple[Symbol, Span], ...]
    formula: Expr
    textbook: Expr


@dataclass(frozen=True)
class Part:
    """A summand of a case with predictions of its own."""

    predictions: tuple[Input, ...]
    expr: Expr
    scalar: Scalar | None


@dataclass(frozen=True)
class Scalar:
    """`copies` independent summands, each `expr` of a `symbol` u.

    `square` is the squared length of u's gradient in the predictions. `flat` says that there are directions
    in which no u moves. `softmax` says that u is an entry of a log-softmax. `residual` names the targets that
    are subtracted from the prediction in u. `spans` has parameters, targets and the symbol, in this order,
    and `targets` the targets that are left beside u. `fixed` are targets at an end of their interval.
    `weights` says how u is made: from each prediction to its factor.
    """

    expr: Expr
    symbol: Symbol
    spans: tuple[tuple[Symbol, Span], ...]
    targets: tuple[Symbol, ...]
    weights: tuple[tuple[str, Expr], ...]
    square: Expr = S.One
    copies: Expr = S.One
    flat: bool = False
    softmax: bool = False
    residual: tuple[str, ...] = ()
    fixed: tuple[tuple[str, Expr], ...] = ()


# --- cases --------------------------------------------------------------------------------------------------


def cases(derivation: Derivation) -> tuple[Case, ...]:
    """The cases of a loss; none if there are too many."""
    loss = derivation.loss
    start = Case((), (), derivation.lifted, loss.formula)
    found = [start]
    for given in loss.inputs:
        if isinstance(given.domain, FiniteSet) and not given.dims and given.kind == "target":
            ends = sorted(given.domain, reverse=True)
            found = [_fix(case, given.name, given.symbol, v) for case in found for v in ends]
    for parameter in loss.parameters:
        limits = {at: limit for name, at, limit in loss.limits if name == parameter.name}
        lifted = {at: _lifted(loss, limit) for at, limit in limits.items()}
        after: list[Case] = []
        for case in found:
            for value in _values(parameter.domain, tuple(limits)):
                if isinstance(value, Span):
                    after.append(_inside(case, parameter.symbol, value))
                elif value in limits:
                    at = dict(case.fixed)
                    known = {g.symbol: at[g.name] for g in loss.inputs if g.name in at}
                    known |= {p.symbol: at[p.name] for p in loss.parameters if p.name in at}
                    known |= {
                        p: s for p in loss.formula.free_symbols for s, _ in case.spans if s.name == p.name
                    }
                    after.append(
                        replace(
                            case,
                            fixed=(*case.fixed, (parameter.name, value)),
                            formula=substitute(lifted[value], known),
                            textbook=substitute(limits[value], known),
                        )
                    )
                else:
                    after.append(_fix(case, parameter.name, parameter.symbol, value))
        found = after
        if len(found) > CASES:
            return ()
    return tuple(found)


def _lifted(loss: Loss, formula: Expr) -> Expr:
    return derive(replace(loss, formula=formula, limits=(), names={})).lifted


def _fix(case: Case, name: str, symbol: Symbol, value: Expr) -> Case:
    at = {symbol: value}
    return replace(
        case,
        fixed=(*case.fixed, (name, value)),
        formula=substitute(case.formula, at),
        textbook=substitute(case.textbook, at),
    )


def _inside(case: Case, symbol: Symbol, span: Span) -> Case:
    low_known = span.low != -oo and span.low >= 0
    better = Symbol(symbol.name, positive=True) if low_known else symbol
    at = {symbol: better}
    return replace(
        case,
        spans=(*case.spans, (better, span)),
        formula=substitute(case.formula, at),
        textbook=substitute(case.textbook, at),
    )


def _values(domain: Set, limits: tuple[Expr, ...]) -> Iterator[Expr | Span]:
    """The single values of a domain that are looked at, and the open intervals between them."""
    if isinstance(domain, FiniteSet):
        yield from sorted(domain)
        return
    low, high, points = S.NegativeInfinity, S.Infinity, set(limits)
    if isinstance(domain, Interval):
        low, high = domain.start, domain.end
        points |= {end for end in (low, high) if end in domain}
    bounds = sorted({low, high, *points})
    for left, right in itertools.pairwise(bounds):
        if left in points:
            yield left
        yield Span(left, right)
    if bounds[-1] in points:
        yield bounds[-1]


# --- parts --------------------------------------------------------------------------------------------------


def plain(expr: Expr) -> Expr:
    """Scalar atoms spelled out; products and quotients for those that know 0 log 0. Row atoms stay.

    A softmax is the exponential of a log-softmax, and a comparison is one with 0.
    """

    def step(node: Expr) -> Expr:
        if isinstance(node, a.times0):
            return node.args[0] * node.args[1]
        if isinstance(node, a.ratio0):
            return node.args[0] / node.args[1]
        if isinstance(node, a.log_ratio):
            return log(node.args[0] / node.args[1])
        if isinstance(node, a.ScalarAtom):
            return plain(node.definition(*node.args))
        if isinstance(node, (a.Softmax, a.SoftmaxComplement)):
            row = exp(a.LogSoftmax(node.bodies, node.indices, node.at))
            return row if isinstance(node, a.Softmax) else 1 - row
        if node.is_Relational and not any(isinstance(side, Index) for side in node.args):
            return node.func(sympy.expand(node.lhs - node.rhs), 0)
        return node

    return rewrite(expr, step)


def bases(expr: Expr) -> set[Symbol]:
    """The symbols of inputs and parameters in an expression; of an entry, that of its array."""
    return {
        s
        for node in walk(expr)
        for s in (node.free_symbols if isinstance(node, Entry) else {node})
        if isinstance(s, Symbol) and not isinstance(s, Index)
    }


def parts(loss: Loss, case: Case) -> tuple[Part, ...]:
    """The summands of a case whose predictions don't meet; what has no prediction goes with the first."""
    expr = plain(case.formula)
    groups: list[tuple[set[Symbol], list[Expr]]] = []
    constant: list[Expr] = []
    predictions = {given.symbol for given in loss.predictions}
    for term in Add.make_args(sympy.expand_mul(expr) if isinstance(expr, Mul) else expr):
        used = bases(term) & predictions
        if not used:
            constant.append(term)
            continue
        touching = [group for group in groups if group[0] & used]
        merged = (set(used).union(*(g[0] for g in touching)), [t for g in touching for t in g[1]] + [term])
        groups = [group for group in groups if group not in touching] + [merged]
    found = []
    for number, (used, terms) in enumerate(groups):
        whole = Add(*terms, *(constant if number == 0 else []))
        given = tuple(i for i in loss.predictions if i.symbol in used)
        found.append(Part(given, whole, _scalar(loss, case, given, whole)))
    if not groups:
        found.append(Part((), expr, None))
    return tuple(found)


# --- scalars ------------------------------------------------------------------------------------------------


def _scalar(loss: Loss, case: Case, given: tuple[Input, ...], expr: Expr) -> Scalar | None:
    """The function of one variable that a part is made of, or None."""
    predictions = {i.symbol for i in given}
    found = _through_row(expr, predictions)
    if found is not None:
        node, expr = found
        if isinstance(node, a.LogSoftmax):
            return _of_softmax(loss, case, node, expr)
        body, indices, copies = node.body, node.indices, S.One
    else:
        body, indices, copies = _summand(expr, predictions)
    entries = _leaves(body, tuple(i.symbol for i in given))
    if entries is None or not all(set(indices) <= set(_indices(e)) for e in entries):
        return None
    names = {entry: Symbol(f"x{n}", real=True) for n, entry in enumerate(entries)}
    body, targets, domains = _named(loss, substitute(body, names))
    if body is None or any(isinstance(s, Index) for s in body.free_symbols) or body.has(Binder, Entry):
        return None
    flat = len(entries) > 1 or len(entries) < len(given)
    for entry in entries:
        own = next(i for i in given if i.symbol == _base(entry))
        flat |= len(own.dims) != len(indices) or set(_indices(entry)) != set(indices)
    symbol = Symbol("u", real=True)
    free = tuple(t for t in targets if domains[t] == Span())
    line = (_line if found is None else _affine)(body, tuple(names.values()), free, symbol)
    domain = _span_of(loss, entries)
    if line is None or domain is None:
        return None
    body, factors, residual = line
    if found is not None and (domain != Span() or len(free) != len(targets)):
        return None
    if found is not None:  # the norm of an affine row, as a function of a number of either sign
        whole, others, more = _named(loss, substitute(expr, {found[0]: Abs(symbol)}))
        if whole is None or whole.has(Entry, Binder) or any(isinstance(s, Index) for s in whole.free_symbols):
            return None
        body, targets, domains = whole, others, domains | more
    left = tuple(t for t in targets if t in body.free_symbols)
    spans = (*case.spans, *((t, domains[t]) for t in left), (symbol, domain))
    weights = tuple((_base(entry).name, factor) for entry, factor in zip(entries, factors, strict=True))
    return Scalar(
        body, symbol, spans, left, weights, Add(*(f**2 for f in factors)), copies, flat, residual=residual
    )


def _base(entry: Expr) -> Symbol:
    return entry.base if isinstance(entry, Entry) else entry


def _indices(entry: Expr) -> tuple[Expr, ...]:
    return entry.indices if isinstance(entry, Entry) else ()


def _leaves(expr: Expr, predictions: tuple[Symbol, ...]) -> list[Expr] | None:
    """The entries of predictions in an expression, in the order of these; None if one is inside a binder."""
    found: dict[Expr, None] = {}
    for node in walk(expr):
        if isinstance(node, Binder) and bases(node) & set(predictions):
            return None
        if (isinstance(node, Entry) and node.base in predictions) or node in predictions:
            found[node] = None
    arrays = {e.base for e in found if isinstance(e, Entry)}
    entries = [e for e in found if isinstance(e, Entry) or e not in arrays]
    return sorted(entries, key=lambda e: (predictions.index(_base(e)), str(e)))


def _span_of(loss: Loss, entries: list[Expr]) -> Span | None:
    """Where the variable lies that is made of these entries; None where that isn't an interval of its own."""
    found = {next(i.domain for i in loss.inputs if i.symbol == _base(entry)) for entry in entries}
    if found == {S.Reals}:
        return Span()
    (domain, *more) = found
    if more or len(entries) > 1 or not isinstance(domain, Interval):
        return None
    return Span(domain.start, domain.end)


def _named(loss: Loss, expr: Expr) -> tuple[Expr | None, tuple[Symbol, ...], dict[Symbol, Span]]:
    """Entries of targets as symbols, with their spans; None where a domain is a finite set of entries."""
    names: dict[Expr, Symbol] = {}
    domains: dict[Symbol, Span] = {}
    given = {i.symbol: i for i in loss.inputs if i.kind == "target"}
    for node in sorted({n for n in walk(expr) if isinstance(n, (Entry, Symbol))}, key=str):
        if _base(node) not in given or (node in given and given[node].dims):
            continue
        own = given[_base(node)]
        if isinstance(own.domain, FiniteSet):
            return None, (), {}
        names[node] = Symbol(own.name if node == own.symbol else f"{own.name}_", real=True)
        domains[names[node]] = Span(own.domain.start, own.domain.end) if own.domain != S.Reals else Span()
    if len(set(names.values())) != len(names):
        return None, (), {}
    return substitute(expr, names), tuple(names.values()), domains


def _summand(expr: Expr, predictions: set[Symbol]) -> tuple[Expr, tuple[Index, ...], Expr]:
    """An expression as a sum of one body over indices: the body, the indices, how many copies there are."""
    terms = Add.make_args(expr)
    sums = [_split(term) for term in terms]
    dims = {tuple(i.dim for i in total.indices) if total is not None else () for _, total in sums}
    moving = [total for _, total in sums if total is not None and bases(total) & predictions]
    if not moving or len(dims) != 1 or len(next(iter(dims))) == 0:
        return expr, (), S.One
    _, first = sums[0]
    assert first is not None
    (_, indices) = first.open()
    bodies = []
    for factor, total in sums:
        assert total is not None
        bodies.append(factor * total.body_at(indices))
    return Add(*bodies), indices, Mul(*(i.size for i in indices))


def _split(term: Expr) -> tuple[Expr, Sum | None]:
    """A factor and the sum that it multiplies."""
    sums = [factor for factor in Mul.make_args(term) if isinstance(factor, Sum)]
    if len(sums) != 1:
        return term, None
    return Mul(*(factor for factor in Mul.make_args(term) if factor is not sums[0])), sums[0]


def _through_row(expr: Expr, predictions: set[Symbol]) -> tuple[Binder, Expr] | None:
    """The one norm or log-softmax through which all predictions come, and the expression in it alone."""
    rows = sorted(
        {n for n in walk(expr) if isinstance(n, (a.Norm, a.LogSoftmax)) and bases(n) & predictions}, key=str
    )
    if len(rows) != 1:
        return None
    row = rows[0]
    if any(isinstance(i, Index) and not isinstance(i, LabelIndex) for i in row.free_symbols):
        return None  # it is another number at each value of an outer index
    inside = Symbol("row", real=True)
    mapping: dict[Expr, Expr] = {row: inside}
    if isinstance(row, a.Norm):
        mapping[Sum(row.body**2, *row.indices)] = inside**2
    rest = substitute(expr, mapping)
    if bases(rest) & predictions:
        return None
    return row, substitute(rest, {inside: row})


def _of_softmax(loss: Loss, case: Case, row: a.LogSoftmax, expr: Expr) -> Scalar | None:
    """A function of one entry of the log-softmax of a whole prediction."""
    symbol = Symbol("u", real=True)
    (body,) = row.bodies
    if not isinstance(body, Entry) or body.indices != row.indices:
        return None
    whole, targets, domains = _named(loss, substitute(expr, {row: symbol}))
    if whole is None or whole.has(Entry, Binder) or any(isinstance(s, Index) for s in whole.free_symbols):
        return None
    spans = (*case.spans, *((t, domains[t]) for t in targets), (symbol, Span(S.NegativeInfinity, S.Zero)))
    weights = ((body.base.name, S.One),)
    return Scalar(whole, symbol, spans, targets, weights, flat=True, softmax=True)


def _affine(body: Expr, names: tuple[Symbol, ...], targets: tuple[Symbol, ...], symbol: Symbol):
    """An affine body as the symbol itself: its factors, and the targets that are subtracted in it."""
    whole = sympy.expand(body)
    factors = [whole.diff(name) for name in names]
    rest = sympy.expand(whole - Add(*(f * n for f, n in zip(factors, names, strict=True))))
    moving = {*names, *targets}
    if any(factor.free_symbols & moving for factor in factors) or rest.free_symbols & set(names):
        return None
    residual = []
    for target in targets:
        slope = rest.diff(target)
        if slope.free_symbols & moving:
            return None
        if len(names) == 1 and sympy.expand(slope + factors[0]) == 0:
            residual.append(target.name.rstrip("_"))
    return symbol, factors, tuple(residual)


def _line(body: Expr, names: tuple[Symbol, ...], targets: tuple[Symbol, ...], symbol: Symbol):
    """A body as a function of one affine form: x, x - y (of predictions) or x - t (of a target)."""
    first, *others = names
    residual: list[str] = []
    factors: list[Expr] = [S.One]
    changed = body.xreplace({first: symbol})
    for other in others:
        for sign in (1, -1):
            moved = _shifted(changed, symbol, symbol + sign * other)
            if other not in moved.free_symbols:
                changed = moved
                factors.append(S(-sign))
                break
        else:
            return None
    for target in targets:
        moved = _shifted(changed, symbol, symbol + target)
        if target not in moved.free_symbols:
            changed = moved
            residual.append(target.name.rstrip("_"))
            break
    return changed, factors, tuple(residual)


def _shifted(expr: Expr, symbol: Symbol, value: Expr) -> Expr:
    """The expression with a shifted symbol, differences inside it cancelled."""
    moved = expr.subs(symbol, value)
    return moved if not moved.has(Add) else rewrite(moved, lambda n: sympy.expand(n) if _is_sum(n) else n)


def _is_sum(node: Expr) -> bool:
    return (
        isinstance(node, Add)
        and all(sympy.sympify(term).is_polynomial(*term.free_symbols) for term in node.args)
        and sympy.count_ops(node) < 40
    )


def scalar_cases(scalar: Scalar, loss: Loss) -> Iterator[Scalar]:
    """The scalar at the ends of its targets' closed intervals, and inside them.

    Where it is affine in a target, the inside follows from the ends (what is wanted is convex in it), so that
    it is left out.
    """
    closed: list[list[tuple[Symbol, Expr | None]]] = []
    for target in scalar.targets:
        domain = next(i.domain for i in loss.inputs if i.name == target.name.rstrip("_"))
        ends = []
        if isinstance(domain, Interval):
            ends = [end for end in (domain.start, domain.end) if end in domain]
        affine = len(ends) == 2 and sympy.expand(scalar.expr.diff(target, 2)) == 0
        closed.append([(target, end) for end in ends] + ([] if affine else [(target, None)]))
    for choice in itertools.product(*closed):
        at: dict[Symbol, Expr] = {target: end for target, end in choice if end is not None}
        spans = tuple((s, span) for s, span in scalar.spans if s not in at)
        names = tuple((target.name.rstrip("_"), end) for target, end in at.items())
        expr = _at_end(scalar.expr, at)
        yield replace(
            scalar,
            expr=expr,
            spans=spans,
            targets=tuple(t for t in scalar.targets if t not in at),
            fixed=names,
        )


def _at_end(expr: Expr, at: Mapping[Symbol, Expr]) -> Expr:
    """A target put to an end of its interval; 0 log 0 is 0."""
    if not at:
        return expr
    if isinstance(expr, Add):
        return Add(*(_at_end(term, at) for term in expr.args))
    if isinstance(expr, Mul):
        factors = [factor.subs(at) for factor in expr.args]
        return S.Zero if any(factor.is_zero for factor in factors) else Mul(*factors)
    return expr.subs(at)
