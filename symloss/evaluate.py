"""A formula as a closure over the numbers of `symloss.hyperdual`: built once, evaluated at any precision.

Piecewise is lazy: only the branch that is taken is evaluated. In a product, the factors without a
prediction come first, and a zero among them (a mask, a target) ends it. What occurs twice, and every sum,
is remembered for the values of the indices that it depends on, so that the denominator of a softmax is
summed once a row.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Set
from typing import Any

import sympy
from mpmath import mp, mpf
from sympy import Expr, Symbol
from sympy.logic.boolalg import BooleanFalse, BooleanTrue

from symloss import index as ix
from symloss.atoms import RowAtom, ScalarAtom, textbook
from symloss.errors import UnsupportedError
from symloss.hyperdual import (
    NAN,
    ZERO,
    HyperDual,
    add,
    divide,
    finite,
    flags,
    lift,
    make,
    multiply,
    value_of,
)
from symloss.roles import LabelIndex
from symloss.special import (
    FUNCTIONS,
    absolute,
    bessel_triple,
    comparable,
    extreme,
    power,
    psi_triple,
    sign,
)

Closure = Callable[["State"], Any]
ONE = 1

_RELATIONS = {
    sympy.StrictLessThan: lambda a, b: a < b,
    sympy.LessThan: lambda a, b: a <= b,
    sympy.StrictGreaterThan: lambda a, b: a > b,
    sympy.GreaterThan: lambda a, b: a >= b,
    sympy.Equality: lambda a, b: a == b,
    sympy.Unequality: lambda a, b: a != b,
}

#: The SymPy functions and nodes that can be evaluated; the loader refuses a spec with any other.
SUPPORTED: frozenset[type] = frozenset(
    {
        *FUNCTIONS,
        *_RELATIONS,
        sympy.polygamma,
        sympy.besseli,
        sympy.Abs,
        sympy.sign,
        sympy.Max,
        sympy.Min,
        sympy.Piecewise,
        sympy.And,
        sympy.Or,
        sympy.Not,
        sympy.Add,
        sympy.Mul,
        sympy.Pow,
        ix.Sum,
        ix.Product,
        ix.Max,
        ix.Min,
        ix.Delta,
        ix.Entry,
    }
)


class State:
    """One evaluation: inputs (by name: a number, or a flat list), sizes, indices, what is remembered.

    `limits` names the parameters that have a value for which the spec names a limit.
    """

    __slots__ = ("index", "inputs", "limits", "memo", "sizes", "strides")

    def __init__(
        self,
        inputs: Mapping[str, Any],
        strides: Mapping[str, tuple[int, ...]],
        sizes: Mapping[str, int],
        limits: Set[str] = frozenset(),
    ) -> None:
        self.inputs = inputs
        self.strides = strides
        self.sizes = sizes
        self.limits = limits
        self.index: dict[Any, int] = {}
        self.memo: dict[Any, Any] = {}


def compile_formula(expr: Expr, predictions: frozenset[str]) -> Closure:
    """Build the closure of a formula.

    Args:
        expr: the formula, at any stage; an atom is evaluated through its textbook definition.
        predictions: the names of the inputs that a limit may move: a zero made of others is a mask.

    Raises:
        UnsupportedError: when the formula has a function that the oracle doesn't know.
    """
    while any(_is_atom(node) for node in ix.walk(expr)):
        expr = textbook(expr)  # one atom's definition may use another
    return _Compiler(expr, predictions).build(expr)


def _is_atom(expr: Any) -> bool:
    return isinstance(expr, (ScalarAtom, RowAtom))


class _Compiler:
    def __init__(self, expr: Expr, predictions: frozenset[str]) -> None:
        self.predictions = predictions
        self.seen = Counter(node for node in ix.walk(expr) if isinstance(node, sympy.Basic))
        self.built: dict[Any, Closure] = {}

    def build(self, expr: Any) -> Closure:
        """The closure of a node, with a memory if the node occurs twice or is a reduction."""
        if expr in self.built:
            return self.built[expr]
        run = self.node(expr)
        if isinstance(expr, ix.Binder) or (
            self.seen[expr] > 1 and expr.args and not isinstance(expr, ix.Entry)
        ):
            run = _remember(run, _free_indices(expr), len(self.built))
        self.built[expr] = run
        return run

    def node(self, expr: Any) -> Closure:
        """The closure of a node, by its kind."""
        kind = type(expr)
        if (expr.is_number and not expr.args) or expr in (sympy.pi, sympy.E, sympy.EulerGamma):
            return _constant(expr)
        if isinstance(expr, Symbol):
            return self.symbol(expr)
        if isinstance(expr, ix.Entry):
            return self.entry(expr)
        if isinstance(expr, ix.Delta):
            one, other = (self.build(arg) for arg in expr.args)
            return lambda s: 1 if one(s) == other(s) else ZERO
        if isinstance(expr, ix.Reduction):
            return self.reduction(expr)
        if kind in FUNCTIONS:
            argument, triple = self.build(expr.args[0]), FUNCTIONS[kind]
            return lambda s: lift(argument(s), *triple)
        if kind in (sympy.polygamma, sympy.besseli):
            order, (_, inner) = expr.args[0], expr.args
            if not order.is_Integer:
                raise UnsupportedError(f"{kind.__name__} needs an integer order, not {order}")
            argument = self.build(inner)
            triple = (psi_triple if kind is sympy.polygamma else bessel_triple)(int(order))
            return lambda s: lift(argument(s), *triple)
        makers: dict[type, Callable[[Any], Closure]] = {
            sympy.Add: self.sum,
            sympy.Mul: self.product,
            sympy.Pow: self.power,
            sympy.Abs: self.absolute,
            sympy.sign: self.sign,
            sympy.Max: self.extreme,
            sympy.Min: self.extreme,
            sympy.Piecewise: self.piecewise,
        }
        if kind in makers:
            return makers[kind](expr)
        if isinstance(expr, (BooleanTrue, BooleanFalse)):
            truth = bool(expr)
            return lambda s: truth
        if kind in _RELATIONS or isinstance(expr, (sympy.And, sympy.Or, sympy.Not, sympy.ITE)):
            return self.condition(expr)
        raise UnsupportedError(f"the oracle has no function `{kind.__name__}`, which is in {expr}")

    def symbol(self, expr: Symbol) -> Closure:
        """An input, a parameter, a size or the value of an index."""
        name = expr.name
        if isinstance(expr, ix.Size):
            return lambda s: s.sizes[name]
        if isinstance(expr, ix.Index) and not isinstance(expr, LabelIndex):
            return lambda s: s.index[expr]
        return lambda s: s.inputs[name]

    def entry(self, expr: ix.Entry) -> Closure:
        """One element of an array."""
        name = expr.base.name
        places = [self.build(place) for place in expr.indices]
        if len(places) == 1:
            (place,) = places
            return lambda s: s.inputs[name][place(s)]

        def run(s: State) -> Any:
            return s.inputs[name][sum(p(s) * step for p, step in zip(places, s.strides[name], strict=True))]

        return run

    def sum(self, expr: Expr) -> Closure:
        """A sum; the difference of two inputs that are equal is an exact zero."""
        terms = [self.build(term) for term in expr.args]
        if len(terms) != 2:

            def run(s: State) -> Any:
                total = terms[0](s)
                for term in terms[1:]:
                    total = add(total, term(s))
                return total

            return run
        one, other = terms
        exact = all(_is_leaf(term) for term in expr.args)

        def pair(s: State) -> Any:
            lost = flags.lost
            total = add(one(s), other(s))
            if exact and not value_of(total):
                flags.lost = lost
                if type(total) is not HyperDual:
                    return ZERO
                total.v = ZERO
            return total

        return pair

    def product(self, expr: Expr) -> Closure:
        """A product, as masks, the other factors, and one denominator."""
        top, bottom = 1, 1
        masks: list[tuple[Closure, frozenset[str]]] = []
        factors: list[Closure] = []
        below: list[Closure] = []
        fixed_below: list[Closure] = []
        for arg in expr.args:
            if arg.is_Rational:
                top, bottom = top * int(arg.p), bottom * int(arg.q)
            elif arg.is_Pow and arg.exp.is_Rational and arg.exp < 0:
                inverse = self.build(arg.base if arg.exp == -1 else arg.base**-arg.exp)
                (below if self.moves(arg) else fixed_below).append(inverse)
            elif self.moves(arg):
                factors.append(self.build(arg))
            else:
                masks.append((self.build(arg), frozenset(symbol.name for symbol in arg.free_symbols)))
        above = [*(mask for mask, _ in masks), *factors]

        def run(s: State) -> Any:
            result: Any = top
            denominator: Any = bottom
            for factor in fixed_below:
                denominator = multiply(denominator, factor(s))
            for mask, names in masks:
                value = mask(s)
                if value == 0 and denominator != 0:
                    flags.lost |= type(value) is not int
                    if not s.limits.isdisjoint(names):
                        tops, bottoms = [f(s) for f in above], [f(s) for f in below]  # all, for their flags
                        flags.open |= not (all(map(_is_finite, tops)) and all(map(value_of, bottoms)))
                    return value
                result = multiply(result, value)
            for factor in factors:
                result = multiply(result, factor(s))
            for factor in below:
                denominator = multiply(denominator, factor(s))
            return result if denominator is ONE else divide(result, denominator)

        return run

    def moves(self, expr: Expr) -> bool:
        """Whether an expression has a prediction in it."""
        return any(symbol.name in self.predictions for symbol in expr.free_symbols)

    def power(self, expr: Expr) -> Closure:
        """A power; a negative one as a division."""
        base, exponent = expr.args
        if base is sympy.E:
            return self.build(sympy.exp(exponent))
        inside = self.build(base)
        if exponent.is_Rational and exponent < 0:
            below = self.build(base**-exponent)
            return lambda s: divide(1, below(s))
        raised = self.build(exponent)
        return lambda s: power(inside(s), raised(s))

    def absolute(self, expr: Expr) -> Closure:
        """|x|, with derivative 0 at 0."""
        inside = self.build(expr.args[0])
        return lambda s: absolute(inside(s))

    def sign(self, expr: Expr) -> Closure:
        """-1, 0 or 1, with derivative 0."""
        inside = self.build(expr.args[0])
        return lambda s: sign(inside(s))

    def extreme(self, expr: Expr) -> Closure:
        """The larger or smaller of several; in a tie a constant wins, else the derivative is shared."""
        parts = [self.build(arg) for arg in expr.args]
        larger = isinstance(expr, sympy.Max)
        return lambda s: extreme([part(s) for part in parts], larger, scalar=True)

    def piecewise(self, expr: Expr) -> Closure:
        """The first branch whose condition holds."""
        branches = [(self.build(branch.expr), self.build(branch.cond)) for branch in expr.args]

        def run(s: State) -> Any:
            for value, holds in branches:
                if holds(s):
                    return value(s)
            return NAN

        return run

    def condition(self, expr: Any) -> Closure:
        """A relation, or relations joined; ITE is what SymPy makes of a Piecewise that is compared."""
        parts = [self.build(arg) for arg in expr.args]
        if isinstance(expr, sympy.ITE):
            test, yes, no = parts
            return lambda s: yes(s) if test(s) else no(s)
        if isinstance(expr, sympy.And):
            return lambda s: all(part(s) for part in parts)
        if isinstance(expr, sympy.Or):
            return lambda s: any(part(s) for part in parts)
        if isinstance(expr, sympy.Not):
            return lambda s: not parts[0](s)
        relation = _RELATIONS[type(expr)]
        one, other = parts
        return lambda s: relation(*comparable(one(s), other(s)))

    def reduction(self, expr: ix.Reduction) -> Closure:
        """Sum, product, largest or smallest over every value of the bound indices."""
        indices = expr.indices
        body = self.build(expr.body)

        def values(s: State) -> Iterator[Any]:
            for place in itertools.product(*(range(s.sizes[index.dim]) for index in indices)):
                for index, value in zip(indices, place, strict=True):
                    s.index[index] = value
                yield body(s)

        if isinstance(expr, (ix.Max, ix.Min)):
            larger = isinstance(expr, ix.Max)
            return lambda s: extreme(list(values(s)), larger, scalar=False)
        combine, start = (add, ZERO) if isinstance(expr, ix.Sum) else (multiply, 1)

        def run(s: State) -> Any:
            total: Any = start
            for value in values(s):
                total = combine(total, value)
            return total

        return run


def _is_finite(x: Any) -> bool:
    """Whether a number is finite, with its derivatives."""
    return all(map(finite, (x.v, x.d1, x.d2, x.d12))) if type(x) is HyperDual else finite(x)


def _remember(run: Closure, free: tuple[ix.Index, ...], key: int) -> Closure:
    """`run`, evaluated once for each value of its free indices."""

    def remembered(s: State) -> Any:
        place = (key, *[s.index[index] for index in free])
        if place not in s.memo:
            s.memo[place] = run(s)
        return s.memo[place]

    return remembered


def _free_indices(expr: Any) -> tuple[ix.Index, ...]:
    free = (s for s in expr.free_symbols if isinstance(s, ix.Index) and not isinstance(s, LabelIndex))
    return tuple(sorted(free, key=lambda index: (index.name, index.dim)))


def _constant(expr: Any) -> Closure:
    if expr.is_Integer:
        number = int(expr)
        return lambda s: number
    if expr.is_Rational:
        p, q = int(expr.p), int(expr.q)
        return lambda s: make(p) / q
    if expr.is_Float:
        return lambda s: make(expr._mpf_ and mp.make_mpf(expr._mpf_))
    known = {
        sympy.pi: lambda: +mp.pi,
        sympy.E: lambda: +mp.e,
        sympy.EulerGamma: lambda: +mp.euler,
        sympy.oo: lambda: mpf("inf"),
        -sympy.oo: lambda: mpf("-inf"),
    }
    if expr not in known:
        return lambda s: NAN
    value = known[expr]
    return lambda s: value()


def _is_leaf(expr: Any) -> bool:
    """Whether a term is exact: an input or a whole number, or minus one."""
    if expr.is_Mul and len(expr.args) == 2 and expr.args[0] is sympy.S.NegativeOne:
        expr = expr.args[1]
    return expr.is_Integer or isinstance(expr, (Symbol, ix.Entry))
