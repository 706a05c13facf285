"""Where lowering puts statements, and the names that it gives."""

from __future__ import annotations

import keyword
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sympy import Expr, Symbol

from symloss.index import Index
from symloss.program import Statement
from symloss.roles import Loss
from symloss.sharing import anonymous, describe
from symloss.validate import TAKEN


@dataclass
class Scope:
    """A place where statements go: the sample, a loop's body, or a branch."""

    parent: Scope | None
    indices: frozenset[Index]
    is_branch: bool = False
    statements: list[Statement] = field(default_factory=list)
    known: dict[Expr, Expr] = field(default_factory=dict)
    shared: Counter[Expr] = field(default_factory=Counter)

    def look_up(self, expr: Expr) -> Expr | None:
        """The name that `expr` has here or in a scope around."""
        scope: Scope | None = self
        while scope is not None:
            if expr in scope.known:
                return scope.known[expr]
            scope = scope.parent
        return None

    def home(self, needed: frozenset[Index]) -> Scope:
        """The outermost scope that has the needed indices, without leaving a branch."""
        scope = self
        while scope.parent is not None and not scope.is_branch and needed <= scope.parent.indices:
            scope = scope.parent
        return scope


class Names:
    """Gives names: the author's where there is one, else one that says what an expression is.

    Args:
        loss: whose inputs and parameters have their names already.
        outputs: the names of the outputs.
        author: from parts of the formula to what the author called them.
    """

    def __init__(self, loss: Loss, outputs: set[str], author: Mapping[Expr, str]) -> None:
        self._author = {anonymous(expr): name for expr, name in author.items()}
        self._taken = TAKEN | {"abs", "gamma", "int", "len", "range"} | set(keyword.kwlist)
        self._taken |= {i.name for i in loss.inputs} | {p.name for p in loss.parameters}
        self._taken |= set(loss.dims) | outputs
        self._loops: set[str] = set()
        self._given: dict[Expr, Symbol] = {}

    def unique(self, wanted: str) -> Symbol:
        """`wanted`, with a number if it is taken."""
        name, number = wanted, 2
        while name in self._taken:
            name, number = f"{wanted}_{number}", number + 1
        self._taken.add(name)
        return Symbol(name, real=True)

    def fixed(self, expr: Expr, wanted: str) -> Symbol:
        """The name of `expr`: the one that it has, or `wanted`."""
        if expr not in self._given:
            self._given[expr] = self.unique(wanted)
        return self._given[expr]

    def of(self, expr: Any) -> Symbol:
        """The name of `expr`, made from its shape unless the author named it."""
        return self.fixed(expr, self._author.get(anonymous(expr)) or describe(expr))

    def loops(self, indices: tuple[Index, ...], scope: Scope) -> tuple[Index, ...]:
        """Loop variables: loops that follow each other share theirs, a loop in a loop has its own."""
        around = {index.name for index in scope.indices}
        loops = []
        for index in indices:
            name, number = index.dim.lower(), 2
            while name in around or (name in self._taken and name not in self._loops):
                name, number = f"{index.dim.lower()}_{number}", number + 1
            self._loops.add(name)
            self._taken.add(name)
            around.add(name)
            loops.append(Index(name, index.dim))
        return tuple(loops)
