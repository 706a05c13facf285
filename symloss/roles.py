"""What a spec says of its inputs, and the `Loss` that comes of it: the data that the other stages take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sympy import Expr, FiniteSet, Interval, Rational, S, Set, Symbol, oo, preorder_traversal, sympify

from symloss.errors import SpecError
from symloss.index import Entry, Index

#: Domains of parameters; any SymPy set of reals serves as well.
Positive = Interval.open(0, oo)
NonNegative = Interval(0, oo)
Real = S.Reals


@dataclass(frozen=True)
class Role:
    """What an input is: its kind, its core dimensions, and the set its entries are taken from.

    `dims` name the core dimensions, which come last in the array; for a label, the one that it indexes.
    """

    kind: str
    dims: tuple[str, ...] = ()
    domain: Set = S.Reals

    def __getitem__(self, dims: str | tuple[str, ...]) -> Role:
        """The same role with named core dimensions: `Prediction["C", "H", "W"]`."""
        dims = dims if isinstance(dims, tuple) else (dims,)
        for dim in dims:
            if not isinstance(dim, str) or not dim.isidentifier():
                raise SpecError(f'a core dimension is named by an identifier such as "K", not {dim!r}')
        if self.kind == "label" and len(dims) != 1:
            raise SpecError(f'a label indexes one dimension, as in Label["K"]; got {len(dims)}')
        return replace(self, dims=dims)

    def over(self, domain: Set) -> Role:
        """The same role with entries in `domain`, a SymPy set: an interval or a finite set."""
        if not isinstance(domain, (Interval, FiniteSet)) and domain != S.Reals:
            raise SpecError(
                f"a domain is a SymPy Interval or FiniteSet, such as Interval(0, 1), not {domain!r}"
            )
        return replace(self, domain=domain)


Prediction = Role("prediction")
Target = Role("target")
Label = Role("label")


class LabelIndex(Index):
    """A label in a formula: an index over its dimension whose value comes with the data."""

    __slots__ = ()
    bindable = False


@dataclass(frozen=True)
class Words:
    """What the documentation says of a loss, in one language. All parts are optional.

    `meaning` is a paragraph; `strengths` and `weaknesses` are sentences; `when` says when to use it.
    `differences` says, for libraries among the loss's aliases, how what they have differs.
    """

    title: str = ""
    meaning: str = ""
    strengths: tuple[str, ...] = ()
    weaknesses: tuple[str, ...] = ()
    when: str = ""
    differences: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Input:
    """One input of a loss; `symbol` stands for it (or for its base) in the formula."""

    name: str
    role: Role
    symbol: Symbol

    @property
    def kind(self) -> str:
        """`prediction`, `target` or `label`."""
        return self.role.kind

    @property
    def dims(self) -> tuple[str, ...]:
        """The core dimensions of the array: none for a label, which is one integer a sample."""
        return () if self.kind == "label" else self.role.dims

    @property
    def domain(self) -> Set:
        """The set that the entries are taken from."""
        return self.role.domain


@dataclass(frozen=True)
class Parameter:
    """A parameter of a loss, with its exact default and its domain."""

    name: str
    symbol: Symbol
    default: Rational
    domain: Set


@dataclass(frozen=True)
class Loss:
    """A validated spec: the formula with everything that is known of its inputs."""

    name: str
    title: str
    formula: Expr
    inputs: tuple[Input, ...]
    parameters: tuple[Parameter, ...]
    names: Mapping[Expr, str] = field(default_factory=dict, hash=False)
    limits: tuple[tuple[str, Rational, Expr], ...] = ()
    references: tuple[str, ...] = ()
    family: str = "other"
    english: Words = Words()
    chinese: Words = Words()
    aliases: Mapping[str, str] = field(default_factory=dict, hash=False)
    file: str = ""
    line: int = 0
    source: str = ""

    @property
    def predictions(self) -> tuple[Input, ...]:
        """The inputs that are differentiated."""
        return tuple(i for i in self.inputs if i.kind == "prediction")

    def picked(self, given: Input) -> tuple[tuple[str, ...], ...]:
        """The labels, one an axis, of each entry that the formula reads; empty where it reads others too."""
        entries = [part for part in preorder_traversal(self.formula) if isinstance(part, Entry)]
        places = [entry.indices for entry in entries if entry.base == given.symbol]
        if not all(isinstance(index, LabelIndex) for place in places for index in place):
            return ()
        return tuple(dict.fromkeys(tuple(str(index) for index in place) for place in places))

    @property
    def dims(self) -> tuple[str, ...]:
        """The core dimensions in order of appearance."""
        return tuple(dict.fromkeys(dim for i in self.inputs for dim in i.role.dims))

    @property
    def signature(self) -> str:
        """The signature of the generalised ufunc, as NumPy writes it: `(k),()->()`."""
        return ",".join(f"({','.join(d.lower() for d in i.dims)})" for i in self.inputs) + "->()"


def assumptions(domain: Set) -> dict[str, bool]:
    """What SymPy may assume of a symbol in `domain`."""
    known: dict[str, bool] = {"real": True}
    if domain.is_subset(Positive):
        known["positive"] = True
    elif domain.is_subset(NonNegative):
        known["nonnegative"] = True
    return known


def exact(value: Any) -> Expr:
    """A number as a fraction, read as it is written: 0.1 is 1/10, not the float beside it."""
    return Rational(repr(value)) if isinstance(value, float) else sympify(value, rational=True)
