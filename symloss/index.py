"""Index notation: what a formula is made of beside ordinary SymPy.

An `Entry` is one element of an input, an `Index` runs over a named core dimension, and a `Binder`
(`Sum`, `Product`, `Max`, `Min`, and the row atoms of `atoms.py`) binds indices.

Two binders that differ only in the names of their bound indices are equal, because the constructor
renames what it binds to a `Bound` index of a level one above every binder inside. To look below a binder,
`open` it: its bound indices become fresh ones, so nothing can be captured. `substitute` and `rewrite` do
that by themselves, and are the only ways in which this package walks through a formula.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from sympy import Add, Expr, Integer, Mul, Piecewise, S, Symbol, Tuple, sympify
from sympy import Max as ScalarMax
from sympy import Min as ScalarMin
from sympy.core.symbol import Str

_fresh = itertools.count()


class Size(Symbol):
    """The number of entries along a core dimension, as a positive integer symbol."""

    __slots__ = ()

    def __new__(cls, name: str) -> Size:
        """Make the size of the dimension called `name`."""
        return Symbol.__xnew__(cls, name, integer=True, positive=True)

    def __getnewargs_ex__(self):
        return (self.name,), {}


class Index(Symbol):
    """An index that runs over the core dimension `dim`, from 0 to its size - 1."""

    __slots__ = ("dim",)
    #: Whether a reduction may run over it.
    bindable = True

    def __new__(cls, name: str, dim: str) -> Index:
        """Make an index called `name` over the dimension `dim`."""
        self = Symbol.__xnew__(cls, name, integer=True, nonnegative=True)
        self.dim = dim
        return self

    def __getnewargs_ex__(self):
        return (self.name, self.dim), {}

    def _hashable_content(self):
        return (self.dim, *super()._hashable_content())

    @property
    def size(self) -> Size:
        """The number of values that the index takes."""
        return Size(self.dim)

    @classmethod
    def fresh(cls, dim: str) -> Index:
        """An index that occurs nowhere else."""
        return Index(f"_{next(_fresh)}", dim)


class Bound(Index):
    """The name that a binder gives to an index that it binds: dimension, nesting level, slot."""

    __slots__ = ("level",)

    def __new__(cls, dim: str, level: int, slot: int) -> Bound:
        """Make the bound index number `slot` of a binder at nesting `level`."""
        self = Symbol.__xnew__(
            cls, f"{dim.lower()}{level}{chr(ord('a') + slot)}", integer=True, nonnegative=True
        )
        self.dim = dim
        self.level = level
        return self

    def __getnewargs_ex__(self):
        return (self.dim, self.level, ord(self.name[-1]) - ord("a")), {}


class Entry(Expr):
    """One element of an array input: `Entry(base, i, j)` is base[i, j]."""

    is_commutative = True

    def __new__(cls, base: Symbol, *indices: Expr) -> Entry:
        """Make the element of `base` at `indices` (each an `Index` or an integer label)."""
        return Expr.__new__(cls, base, *map(sympify, indices))

    @property
    def base(self) -> Symbol:
        """The symbol of the input; it carries the input's assumptions."""
        return self.args[0]

    @property
    def indices(self) -> tuple[Expr, ...]:
        """Where the element stands."""
        return self.args[1:]

    def _eval_is_real(self):
        return self.base.is_real

    def _eval_is_extended_real(self):
        return self.base.is_extended_real

    def _eval_is_nonnegative(self):
        return self.base.is_nonnegative

    def _eval_is_positive(self):
        return self.base.is_positive

    def _sympystr(self, printer):
        return f"{self.base}[{', '.join(map(printer._print, self.indices))}]"


class Delta(Expr):
    """Kronecker's delta: 1 where both indices are equal, else 0."""

    is_commutative = True

    def __new__(cls, i: Expr, j: Expr) -> Expr:
        """Make the delta of two indices; the same index twice gives 1."""
        if i == j:
            return S.One
        return Expr.__new__(cls, *sorted((i, j), key=lambda e: e.sort_key()))

    def _eval_is_real(self):
        return True

    def _eval_is_nonnegative(self):
        return True

    def _sympystr(self, printer):
        return f"[{self.args[0]} = {self.args[1]}]"


class Binder(Expr):
    """A node that binds indices in its bodies: args are (bodies, bound indices, places).

    Places (`at`) are indices outside the binder at which a row function is read: `Softmax(z[k], k, at=t)`
    is the softmax of the row z at entry t.
    """

    is_commutative = True

    def __new__(cls, bodies: Any, indices: Any, at: Any = ()) -> Expr:
        """Make the binder over `indices`, renaming them to canonical ones."""
        bodies = tuple(map(sympify, bodies if isinstance(bodies, (tuple, Tuple)) else (bodies,)))
        indices = tuple(indices if isinstance(indices, (tuple, Tuple)) else (indices,))
        at = tuple(map(sympify, at if isinstance(at, (tuple, Tuple)) else (at,)))
        level = 1 + max((_level(body) for body in bodies), default=0)
        names = tuple(Bound(index.dim, level, slot) for slot, index in enumerate(indices))
        if names != indices:
            renaming = dict(zip(indices, names, strict=True))
            bodies = tuple(substitute(body, renaming) for body in bodies)
        return Expr.__new__(cls, Tuple(*bodies), Tuple(*names), Tuple(*at))

    def has(self, *patterns: Any) -> bool:
        """As of any expression, but a `Piecewise` inside isn't owned up to.

        SymPy brings the cases of what has one out of it, when it is part of a condition, and those of a body
        would leave the index that they depend on.
        """
        return super().has(*(pattern for pattern in patterns if pattern is not Piecewise))

    @property
    def bodies(self) -> tuple[Expr, ...]:
        """What the binder ranges over."""
        return tuple(self.args[0])

    @property
    def body(self) -> Expr:
        """The first body."""
        return self.args[0][0]

    @property
    def indices(self) -> tuple[Index, ...]:
        """The bound indices."""
        return tuple(self.args[1])

    @property
    def at(self) -> tuple[Expr, ...]:
        """The places at which a row function is read; empty for a reduction."""
        return tuple(self.args[2])

    def open(self) -> tuple[tuple[Expr, ...], tuple[Index, ...]]:
        """The bodies and the bound indices, with fresh names."""
        fresh = tuple(Index.fresh(index.dim) for index in self.indices)
        renaming = dict(zip(self.indices, fresh, strict=True))
        return tuple(substitute(body, renaming) for body in self.bodies), fresh

    def body_at(self, place: tuple[Expr, ...] | None = None, which: int = 0) -> Expr:
        """The body with its bound indices put to `place` (by default: to where the row is read)."""
        place = self.at if place is None else place
        return substitute(self.bodies[which], dict(zip(self.indices, place, strict=True)))

    @property
    def free_symbols(self) -> set:
        """The symbols that are not bound here."""
        inside = set().union(*(body.free_symbols for body in self.bodies)) - set(self.indices)
        return inside.union(*(place.free_symbols for place in self.at)) if self.at else inside

    def _eval_is_real(self):
        return True

    def _eval_is_extended_real(self):
        return True

    def _sympystr(self, printer):
        inside = [*map(printer._print, self.bodies), ", ".join(map(str, self.indices))]
        at = f"[{', '.join(map(printer._print, self.at))}]" if self.at else ""
        return f"{type(self).__name__}({', '.join(inside)}){at}"


class Reduction(Binder):
    """A binder that turns a body into one number: `Sum`, `Product`, `Max`, `Min`."""

    def __new__(cls, body: Any, *indices: Any) -> Expr:
        """Reduce `body` over the given indices."""
        if len(indices) == 2 and isinstance(indices[0], Tuple) and isinstance(indices[1], Tuple):
            body, indices = body[0], tuple(indices[0])  # SymPy rebuilds a node from its args
        body = sympify(body)
        if not indices or not all(isinstance(index, Index) for index in indices):
            raise TypeError(
                f"{cls.__name__} needs the expression and at least one index, as in "
                f'{cls.__name__}(x[k], k) with k = index("K"); got {", ".join(map(repr, indices)) or "none"}'
            )
        for index in indices:
            if not index.bindable:
                raise TypeError(
                    f"{cls.__name__} can't run over `{index}`, which is an input; "
                    f'write k = index("{index.dim}") and run over k'
                )
        return cls._reduce(body, indices)

    @classmethod
    def _reduce(cls, body: Expr, indices: tuple[Index, ...]) -> Expr:
        return Binder.__new__(cls, body, indices)


class Sum(Reduction):
    """The sum of an expression over every value of one or more indices."""

    @classmethod
    def _reduce(cls, body: Expr, indices: tuple[Index, ...]) -> Expr:
        free = body.free_symbols
        missing = tuple(index for index in indices if index not in free)
        if missing:
            rest = tuple(index for index in indices if index in free)
            count = Mul(*(index.size for index in missing))
            return count * (cls(body, *rest) if rest else body)
        outside: list[Expr] = []
        inside: list[Expr] = []
        for factor in Mul.make_args(body):
            (inside if set(indices) & factor.free_symbols else outside).append(factor)
        if outside:
            return Mul(*outside) * cls(Mul(*inside), *indices)
        if isinstance(body, Sum):  # a sum of sums is one sum over both
            (inner,), fresh = body.open()
            return cls(inner, *indices, *fresh)
        return super()._reduce(body, indices)

    def _eval_is_nonnegative(self):
        return self.body.is_nonnegative

    def _eval_is_positive(self):
        return self.body.is_positive


class Product(Reduction):
    """The product of an expression over every value of one or more indices."""

    def _eval_is_nonnegative(self):
        return self.body.is_nonnegative


class _Extreme(Reduction):
    """`Max` and `Min`: over an index, or, given no index, of several expressions."""

    scalar: Any

    def __new__(cls, *args: Any) -> Expr:
        """Reduce over indices, or compare the given expressions."""
        if not any(isinstance(arg, (Index, Tuple)) for arg in args[1:]):
            return cls.scalar(*args)
        return super().__new__(cls, *args)

    def _eval_is_nonnegative(self):
        return self.body.is_nonnegative


class Max(_Extreme):
    """The largest value over an index (`Max(x[k], k)`), or of several expressions (`Max(a, b)`)."""

    scalar = ScalarMax


class Min(_Extreme):
    """The smallest value over an index (`Min(x[k], k)`), or of several expressions (`Min(a, b)`)."""

    scalar = ScalarMin


def _level(expr: Expr) -> int:
    """The largest nesting level of the binders inside `expr`."""
    if isinstance(expr, Binder):
        return expr.indices[0].level
    return max((_level(arg) for arg in expr.args), default=0)


def substitute(expr: Any, mapping: Mapping[Expr, Expr]) -> Any:
    """Replace nodes of `expr` without letting a binder capture anything."""
    if expr in mapping:
        return mapping[expr]
    if not expr.args or isinstance(expr, Str):
        return expr
    if isinstance(expr, Binder):
        bodies, fresh = _open_for(expr, mapping)
        args: tuple = (
            Tuple(*(substitute(body, mapping) for body in bodies)),
            Tuple(*fresh),
            Tuple(*(substitute(place, mapping) for place in expr.at)),
        )
        return rebuild(expr, args) if args != expr.args else expr
    args = tuple(substitute(arg, mapping) for arg in expr.args)
    return expr.func(*args) if args != expr.args else expr


def _open_for(expr: Binder, mapping: Mapping[Expr, Expr]) -> tuple[Iterable[Expr], Iterable[Index]]:
    """Open a binder, unless what is put in can't be captured (the common case, and much faster)."""
    if not any(_level(value) or isinstance(value, Bound) for value in mapping.values()):
        return expr.bodies, expr.indices
    if all(isinstance(v, Bound) and v.level > expr.indices[0].level for v in mapping.values()):
        return expr.bodies, expr.indices
    return expr.open()


def rebuild(expr: Binder, args: tuple) -> Expr:
    """Make a binder of the same kind from (bodies, indices, places)."""
    bodies, indices, at = args
    if isinstance(expr, Reduction):
        return expr.func(bodies[0], *indices)
    return expr.func(bodies, indices, at)


def rewrite(expr: Any, function: Callable[[Any], Any]) -> Any:
    """Apply `function` to every node, leaves first, going through binders safely."""
    if isinstance(expr, Binder):
        bodies, fresh = expr.open()
        args: tuple = (
            Tuple(*(rewrite(body, function) for body in bodies)),
            Tuple(*fresh),
            Tuple(*(rewrite(place, function) for place in expr.at)),
        )
        return function(rebuild(expr, args))
    if expr.args and not isinstance(expr, (Entry, Delta)):
        args = tuple(rewrite(arg, function) for arg in expr.args)
        if args != expr.args:
            expr = expr.func(*args)
            if isinstance(expr, Binder):
                return function(expr)
    return function(expr)


def walk(expr: Any) -> Iterator[Any]:
    """Every node, parents first; bound indices keep their canonical names."""
    yield expr
    for arg in expr.args:
        yield from walk(arg)


def terms(expr: Expr) -> tuple[Expr, ...]:
    """The summands of `expr`."""
    return Add.make_args(expr)


def is_count(expr: Expr) -> bool:
    """Whether `expr` is a number or made of numbers and sizes only, and so known before the data."""
    return all(isinstance(symbol, Size) for symbol in expr.free_symbols) and not expr.has(Binder)


ZERO, ONE = Integer(0), Integer(1)
