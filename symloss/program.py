"""A Program: what one kernel does with one sample, as a staged loop nest that every backend prints.

Expressions are SymPy, over names (`Symbol`), elements (`Entry`) and functions of numbers; no binder is left
in them. Statements are the small records below. A backend adds the loop over samples, the loads and stores
of its arrays, and the arithmetic's type.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sympy import Expr, Symbol
from sympy.core.function import Function
from sympy.logic.boolalg import Boolean

from symloss.index import Index
from symloss.roles import Loss


class shift(Function):
    """x - m, and 0 where x is m: a row's entry less the row's maximum, both of which may be infinite."""

    nargs = 2


class gap(Function):
    """x - y, kept together: in a longer sum the order of the terms would be lost."""

    nargs = 2


class scaled(Function):
    """x s, kept together: SymPy would take s out of a sum of squares, and the squares would overflow."""

    nargs = 2


class scale_of(Function):
    """A power of two that brings x near 1, exactly; 1 where x is 0, infinite or NaN."""

    nargs = 1


@dataclass(frozen=True)
class Load:
    """name = the element of an input (`indices` are loop variables; none for a scalar input)."""

    name: Symbol
    source: str
    indices: tuple[Expr, ...]


@dataclass(frozen=True)
class Assign:
    """name = value."""

    name: Symbol
    value: Expr


@dataclass(frozen=True)
class Accumulator:
    """One reduction in a loop: `op` is sum, product, max or min; `unless` leaves an iteration out.

    `place`, for max, is the name that takes the flat position of the first largest entry.
    """

    op: str
    name: Symbol
    term: Expr
    unless: Boolean | None = None
    place: Symbol | None = None


@dataclass(frozen=True)
class Reduce:
    """Run `body` over `loops` (outermost first) and accumulate."""

    loops: tuple[Index, ...]
    body: tuple[Statement, ...]
    accumulators: tuple[Accumulator, ...]


@dataclass(frozen=True)
class Loop:
    """Run `body` over `loops` (outermost first)."""

    loops: tuple[Index, ...]
    body: tuple[Statement, ...]


@dataclass(frozen=True)
class Keep:
    """array[indices] = value, in a scratch array of the sample."""

    array: str
    indices: tuple[Index, ...]
    value: Expr


@dataclass(frozen=True)
class Store:
    """output[indices] = value.

    `unless` names the entries that get another value by an update later: assigning them twice is harmless,
    adding to them twice is not.
    """

    output: str
    indices: tuple[Expr, ...]
    value: Expr
    unless: Boolean | None = None


@dataclass(frozen=True)
class If:
    """The first branch whose condition holds (None: otherwise)."""

    branches: tuple[tuple[Boolean | None, tuple[Statement, ...]], ...]


Statement = Load | Assign | Reduce | Loop | Keep | Store | If


@dataclass(frozen=True)
class Matrix:
    """An array as a matrix: its first `rows` core axes are the rows, or if `transposed` the columns."""

    array: str
    rows: int
    transposed: bool


@dataclass(frozen=True)
class MatrixProduct:
    """The matrix `into` = left @ right, or into += left @ right if it `adds`, sample by sample.

    `dims` are the dimensions of a matrix that isn't an output. Where there is a matrix `less`, `right` is
    `left` transposed, and `into` is the difference left @ left^T - less @ less^T.
    """

    into: str
    left: Matrix
    right: Matrix
    adds: bool = False
    dims: tuple[str, ...] = ()
    less: Matrix | None = None


@dataclass(frozen=True)
class Program:
    """One entry point of a loss: `entry` is value, grad, value_and_grad, grad_and_hess or hvp.

    `scratch` maps the names of scratch arrays to their dimensions. `outputs` names what is stored besides
    the value, in order; `sparse` names those of which only some entries are, and the others are zero.
    Products in `before` are computed from inputs and read by the body, as arrays called `into`; those in
    `after` are computed from `factors`, matrices that the body writes (with their dimensions), and make
    outputs.
    """

    loss: Loss
    entry: str
    body: tuple[Statement, ...]
    outputs: tuple[str, ...]
    sparse: tuple[str, ...]
    scratch: dict[str, tuple[str, ...]]
    before: tuple[MatrixProduct, ...] = ()
    after: tuple[MatrixProduct, ...] = ()
    factors: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def has_value(self) -> bool:
        """Whether the value is computed."""
        return self.entry in ("value", "value_and_grad")


#: From each entry point to the kinds of outputs that it computes.
ENTRIES = {
    "value": ("value",),
    "grad": ("grad",),
    "value_and_grad": ("value", "grad"),
    "grad_and_hess": ("grad", "hess"),
    "hvp": ("hvp",),
}
