"""Differentiation in index notation: atom by atom, branch by branch, every delta contracted.

The derivative of an expression in the entry z[m] is linear in Kronecker deltas. It is carried as a `Form`, a
dict from a set of deltas to their coefficient, so that a sum over an index meets its deltas at once: the sum
of [k = m] f(k) over k is f(m), and never becomes a loop. A delta that names a label or another free index
stays, and becomes an update of one entry when the form is written out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sympy import Abs, Add, And, Derivative, Eq, Expr, Function, Mul, Piecewise, S, Subs, Symbol, log, sign

from symloss import atoms as a
from symloss.errors import UnsupportedError
from symloss.index import Binder, Delta, Entry, Index, Max, Min, Product, Sum, substitute

#: From the deltas that stay to what they multiply.
Form = dict[frozenset[Delta], Expr]
#: What an input's symbol or entry has as its derivative.
Seed = Callable[[Expr], Form]
NO_DELTA: frozenset[Delta] = frozenset()


def partial(symbol: Symbol, place: tuple[Index, ...]) -> Seed:
    """The seed of a derivative in one entry of an input."""

    def seed(leaf: Expr) -> Form:
        if leaf == symbol:
            return {NO_DELTA: S.One}
        if isinstance(leaf, Entry) and leaf.base == symbol:
            deltas = [Delta(i, m) for i, m in zip(leaf.indices, place, strict=True)]
            return {frozenset(d for d in deltas if isinstance(d, Delta)): S.One}
        return {}

    return seed


def direction(vectors: Mapping[Symbol, Symbol]) -> Seed:
    """The seed of a derivative along vectors: from each input's symbol to its vector's."""

    def seed(leaf: Expr) -> Form:
        if isinstance(leaf, Entry):
            return {NO_DELTA: Entry(vectors[leaf.base], *leaf.indices)} if leaf.base in vectors else {}
        return {NO_DELTA: vectors[leaf]} if leaf in vectors else {}

    return seed


def differentiate(expr: Expr, seed: Seed) -> Form:
    """The derivative of `expr`, with every delta over a bound index contracted.

    Raises:
        UnsupportedError: for a function whose derivative isn't known.
    """
    return _Differentiator(seed).of(expr)


class _Differentiator:
    """Differentiates by one seed; remembers what it has done."""

    def __init__(self, seed: Seed) -> None:
        self._seed = seed
        self._known: dict[Expr, Form] = {}

    def of(self, expr: Expr) -> Form:
        """The form of `expr`."""
        if expr not in self._known:
            self._known[expr] = self._derive(expr)
        return self._known[expr]

    def _derive(self, expr: Expr) -> Form:
        if isinstance(expr, (Entry, Symbol)):
            return self._seed(expr)
        if expr is S.NaN:
            return {NO_DELTA: S.NaN}
        if expr.is_number or isinstance(expr, (Delta, sign)):
            return {}
        if expr.is_Add:
            return total(*map(self.of, expr.args))
        if expr.is_Mul:
            return total(
                *(
                    times(self.of(arg), Mul(*expr.args[:i], *expr.args[i + 1 :]))
                    for i, arg in enumerate(expr.args)
                )
            )
        if expr.is_Pow:
            return self._power(expr)
        if isinstance(expr, Piecewise):
            return piecewise([(self.of(value), condition) for value, condition in expr.args])
        if isinstance(expr, Binder):
            return getattr(self, f"_{type(expr).__name__.lower()}")(expr)
        if isinstance(expr, a.times0):
            zero, factor = expr.args
            return total(
                each(self.of(zero), lambda d: a.zero_product(d, factor)),
                each(self.of(factor), lambda d: a.zero_product(zero, d)),
            )
        if isinstance(expr, a.ratio0):
            top, bottom = expr.args
            return total(
                each(self.of(top), lambda d: a.ratio0(d, bottom)),
                each(self.of(bottom), lambda d: -a.ratio0(expr * d, bottom)),
            )
        if isinstance(expr, a.log_ratio):
            top, bottom = expr.args[:2]
            return total(each(self.of(top), lambda d: d / top), each(self.of(bottom), lambda d: -d / bottom))
        if isinstance(expr, Abs):
            return times(self.of(expr.args[0]), sign(expr.args[0]))
        return self._chain(expr)

    def _chain(self, expr: Expr) -> Form:
        parts = []
        for i, arg in enumerate(expr.args, 1):
            inner = self.of(arg)
            if inner:
                if not isinstance(expr, Function):
                    raise UnsupportedError(f"`{expr.func.__name__}` can't be differentiated")
                outer = expr.fdiff(i)
                if outer.has(Derivative, Subs):
                    raise UnsupportedError(
                        f"the derivative of `{expr.func.__name__}` in argument {i} isn't known"
                    )
                parts.append(times(inner, outer))
        return total(*parts)

    def _power(self, expr: Expr) -> Form:
        base, exponent = expr.as_base_exp()
        inner, outer = self.of(base), self.of(exponent)
        forms = []
        if inner:
            forms.append(times(inner, exponent * base ** (exponent - 1)))
        if outer:
            forms.append(times(outer, expr * log(base)))
        return total(*forms)

    # Rows. Each opens its binder, differentiates the body, and sums what the row function passes on.

    def _sum(self, expr: Sum) -> Form:
        (body,), indices = expr.open()
        return contract(self.of(body), indices)

    def _product(self, expr: Product) -> Form:
        (body,), indices = expr.open()
        (other,), inner = expr.open()
        same = And(*(Eq(i, j) for i, j in zip(indices, inner, strict=True)))
        rest = Product(Piecewise((S.One, same), (other, True)), *inner)
        return contract(times(self.of(body), rest), indices)

    def _logsumexp(self, expr: a.LogSumExp) -> Form:
        (body,), indices = expr.open()
        return contract(times(self.of(body), a.Softmax(body, indices, indices)), indices)

    def _softmax(self, expr: a.Softmax) -> Form:
        return times(self._centred(expr), expr)

    def _softmaxcomplement(self, expr: a.SoftmaxComplement) -> Form:
        return times(self._centred(expr), -a.Softmax(*expr.args))

    def _logsoftmax(self, expr: a.LogSoftmax) -> Form:
        return self._centred(expr)

    def _centred(self, expr: a.RowAtom) -> Form:
        """The derivative of the entry at the place, less the mean of all under the softmax."""
        (body,), indices = expr.open()
        inner = self.of(body)
        plain = {NO_DELTA: inner[NO_DELTA]} if NO_DELTA in inner else {}
        deltas = {key: value for key, value in inner.items() if key}
        forms = [each(plain, lambda d: a.SoftmaxCentred((body, d), indices, expr.at))]
        if deltas:
            forms.append(place(deltas, indices, expr.at))
            forms.append(contract(times(deltas, -a.Softmax(body, indices, indices)), indices))
        return total(*forms)

    def _norm(self, expr: a.Norm) -> Form:
        (body,), indices = expr.open()
        return contract(times(self.of(body), a.Unit(body, indices, indices)), indices)

    def _unit(self, expr: a.Unit) -> Form:
        (body,), indices = expr.open()
        norm = a.Norm(body, indices)
        inner = self.of(body)
        plain = {NO_DELTA: inner[NO_DELTA]} if NO_DELTA in inner else {}
        deltas = {key: value for key, value in inner.items() if key}
        forms = [each(plain, lambda d: a.ratio0(a.UnitCentred((body, d), indices, expr.at), norm))]
        if deltas:
            forms.append(times(place(deltas, indices, expr.at), 1 / norm))
            forms.append(contract(times(deltas, -a.Unit(body, indices, indices) * expr / norm), indices))
        return total(*forms)

    def _max(self, expr: Max) -> Form:
        (body,), indices = expr.open()
        return contract(times(self.of(body), a.MaxShare(body, indices, indices)), indices)

    def _min(self, expr: Min) -> Form:
        (body,), indices = expr.open()
        return contract(times(self.of(body), a.MaxShare(-body, indices, indices)), indices)

    def _softmaxcentred(self, expr: a.SoftmaxCentred) -> Form:
        (body, other), indices = expr.open()
        mean = Sum(a.Softmax(body, indices, indices) * other, *indices)
        return self.of(expr.body_at(which=1) - mean)

    def _unitcentred(self, expr: a.UnitCentred) -> Form:
        (body, other), indices = expr.open()
        along = Sum(a.Unit(body, indices, indices) * other, *indices)
        return self.of(expr.body_at(which=1) - a.Unit(body, indices, expr.at) * along)

    def _maxshare(self, expr: a.MaxShare) -> Form:
        return {}

    def __getattr__(self, name: str) -> Any:
        raise UnsupportedError(f"the derivative of `{name.lstrip('_')}` isn't known")


def total(*forms: Form) -> Form:
    """The sum of forms."""
    result: dict[frozenset[Delta], list[Expr]] = {}
    for form in forms:
        for key, value in form.items():
            result.setdefault(key, []).append(value)
    sums = {key: Add(*values) for key, values in result.items()}
    return {key: value for key, value in sums.items() if value != 0}


def each(form: Form, function: Callable[[Expr], Expr]) -> Form:
    """Apply a linear function to every coefficient."""
    return total(*({key: function(value)} for key, value in form.items()))


def times(form: Form, factor: Expr) -> Form:
    """The form times a factor."""
    return each(form, lambda value: value * factor)


def piecewise(branches: list[tuple[Form, Any]]) -> Form:
    """The form of a Piecewise, from the forms of its branches."""
    keys = dict.fromkeys(key for form, _ in branches for key in sorted(form, key=str))
    return total(
        *(
            {key: Piecewise(*((form.get(key, S.Zero), condition) for form, condition in branches))}
            for key in keys
        )
    )


def place(form: Form, indices: tuple[Index, ...], at: tuple[Expr, ...]) -> Form:
    """The form with its indices put to a place."""
    where = dict(zip(indices, at, strict=True))
    moved = []
    for key, value in form.items():
        deltas = [substitute(delta, where) for delta in sorted(key, key=str)]
        moved.append({frozenset(d for d in deltas if isinstance(d, Delta)): substitute(value, where)})
    return total(*moved)


def contract(form: Form, indices: tuple[Index, ...]) -> Form:
    """The sum of a form over indices, each delta over one of them taking that index's place."""
    forms: list[Form] = []
    for key, value in form.items():
        left, deltas = list(indices), sorted(key, key=str)
        while True:
            hit = next(((d, i) for d in deltas for i in left if i in d.args), None)
            if hit is None:
                break
            delta, index = hit
            other = delta.args[1] if delta.args[0] == index else delta.args[0]
            left.remove(index)
            deltas = [substitute(d, {index: other}) for d in deltas if d is not delta]
            deltas = [d for d in deltas if isinstance(d, Delta)]
            value = substitute(value, {index: other})
        forms.append({frozenset(deltas): Sum(value, *left) if left else value})
    return total(*forms)


def written(form: Form) -> Expr:
    """The form as an expression, with its deltas."""
    return Add(
        *(
            Mul(*sorted(key, key=str)) * value
            for key, value in sorted(form.items(), key=lambda kv: str(kv[0]))
        )
    )


def diagonal(form: Form, second: tuple[Index, ...], first: tuple[Index, ...]) -> Form:
    """The form with the indices of the second derivative put to those of the first."""
    return place(form, second, first)
