"""The formulas of one loss drawn for a terminal: equations that fit its width, and what their functions are.

    draw(expr)              -> the lines of any formula
    Drawings(loss, width)   -> equations of a loss: whole, with letters for their parts, broken, or as text

`formulas.py` does the same in LaTeX, for pages.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf
from typing import TYPE_CHECKING

from sympy import Basic, Expr, Symbol

from symloss.atoms import RowAtom, ScalarAtom
from symloss.index import Binder, Entry, Index, walk
from symloss.printers.forms import SUB, Form, beside, fraction, is_call, is_enclosed, rows
from symloss.printers.layout import abbreviate
from symloss.printers.notation import free_indices, upright
from symloss.printers.pretty import FormulaDrawer
from symloss.printers.text import plain_name, text
from symloss.roles import LabelIndex, Loss

if TYPE_CHECKING:
    from symloss.derive import Output

#: A drawing with more lines than this tells less than the same formula as text.
TALLEST = 40


def draw(expr: Basic, room: float = inf) -> list[str]:
    """A formula as lines of text.

    Args:
        expr: a SymPy expression or relation, with or without index notation and atoms.
        room: how many columns there are; the lines are longer only where nothing can be broken.
    """
    return rows(drawer_for(expr).draw(expr, room))


def drawer_for(*formulas: Basic, indices: Sequence[Index] = (), dims: Iterable[str] = ()) -> FormulaDrawer:
    """A printer in which the open indices of formulas have their letters.

    Args:
        formulas: what will be drawn.
        indices: those that choose their letters first.
        dims: dimensions of other formulas beside these, which are to have indices of the same kind.
    """
    symbols = set().union(*(expr.free_symbols for expr in formulas))
    taken = {s.name for s in symbols if not isinstance(s, Index) or isinstance(s, LabelIndex)}
    nodes = (node for expr in formulas for node in walk(expr) if not isinstance(node, LabelIndex))
    dims = {*dims, *(node.dim for node in nodes if isinstance(node, Index))}
    drawer = FormulaDrawer(frozenset(taken), has_subscripts=all(dim[0].lower() in SUB for dim in dims))
    for index in (*indices, *(index for expr in formulas for index in free_indices(expr))):
        drawer.letters.of(index)
    return drawer


@dataclass(frozen=True)
class Drawings:
    """The formulas of a loss, in lines of at most `width` columns.

    Args:
        loss: the loss.
        width: how many columns there are. What can't be broken so that it fits is written as text, which can.
    """

    loss: Loss
    width: int

    def value(self, expr: Expr, names: Mapping[Expr, str] | None = None) -> list[str]:
        """The equation of the loss; `names` are the author's, of the formula's parts."""
        return self.equation(lambda _: beside("ℓ = "), expr, names=names)

    def derivative(self, output: Output, names: Mapping[Expr, str] | None = None) -> list[str]:
        """The equation of a gradient, or of a Hessian's diagonal."""
        power = "²" if output.kind == "hess" else ""

        def left(drawer: FormulaDrawer) -> Form:
            at = drawer.at(output.indices) if output.indices else ""
            given = beside("∂", drawer.draw(Symbol(str(output.wrt))), at, power)
            return beside(fraction(beside(f"∂{power}ℓ"), given), " = ")

        return self.equation(left, output.expr, output.indices, names)

    def functions(self, formulas: Iterable[Expr]) -> Iterator[list[str]]:
        """What the functions are that these formulas are drawn with by name."""
        for name, meaning, indices in definitions(formulas):

            def left(drawer: FormulaDrawer, name: Expr = name) -> Form:
                return beside(drawer.draw(name), " = ")

            yield self.equation(left, meaning, indices)

    def side(self, sign: str, expr: Expr) -> list[str]:
        """A formula after a sign."""
        return self.equation(lambda _: beside(sign), expr)

    def equation(
        self,
        left: Callable[[FormulaDrawer], Form],
        expr: Expr,
        indices: Sequence[Index] = (),
        names: Mapping[Expr, str] | None = None,
    ) -> list[str]:
        """An equation, and the definitions of the letters in it where it is too wide without.

        Args:
            left: draws the left-hand side, with the sign behind it.
            expr: the right-hand side.
            indices: the open indices.
            names: what the spec calls parts of the formula.
        """
        drawer = drawer_for(expr, indices=indices, dims=self.loss.dims)
        whole = beside(left(drawer), drawer.draw(expr))
        if whole.width() <= self.width:
            return rows(whole)
        names_given = [*(i.name for i in self.loss.inputs), *(p.name for p in self.loss.parameters)]
        letters = {name: upright(name) for name in names_given}
        short = abbreviate(expr, letters, _usable(names or {}), self.width - left(drawer).width())
        sides = (side for pair in short.where for side in pair)
        drawer = drawer_for(short.expr, *sides, indices=indices, dims=self.loss.dims)
        equations = [self._fitted(drawer, left(drawer), short.expr)]
        for letter, meaning in short.where:
            head = beside("where " if len(equations) == 1 else "      ", drawer.draw(letter), " = ")
            equations.append(self._fitted(drawer, head, meaning))
        lines = equations[0]
        for before, equation in pairwise(equations):
            is_close = before is not equations[0] and len(before) == len(equation) == 1
            lines = lines + ([] if is_close else [""]) + equation
        return lines

    def _fitted(self, drawer: FormulaDrawer, head: Form, expr: Expr) -> list[str]:
        """An equation, broken where it must be; below its left-hand side, or as text, where it must."""
        whole = beside(head, drawer.draw(expr, self.width - head.width()))
        if whole.width() <= self.width and whole.height() <= TALLEST:
            return rows(whole)
        room = self.width - 8
        below = drawer.draw(expr, room)
        is_drawn = below.width() <= room and below.height() <= TALLEST
        lines = rows(below) if is_drawn else textwrap.wrap(text(expr), room)
        return [*rows(head), "", *(f"        {line}".rstrip() for line in lines)]


def _usable(names: Mapping[Expr, str]) -> dict[Expr, str]:
    """The author's names of parts, but those of functions: a part `softmax` would look like the function."""
    nodes = (node for part in names for node in walk(part) if isinstance(node, Binder))
    taken = {plain_name(type(node).__name__) for node in nodes}
    return {part: name for part, name in names.items() if name.isascii() and name not in taken}


def definitions(formulas: Iterable[Expr]) -> list[tuple[Expr, Expr, tuple[Index, ...]]]:
    """The functions that are drawn by name: of general arguments, what each means, and its open indices."""
    found: dict[str, tuple[Expr, Expr, tuple[Index, ...]]] = {}
    for node in (node for expr in formulas for node in walk(expr)):
        if isinstance(node, ScalarAtom) and is_call(node.row.latex):
            general = type(node)(*(Symbol(letter, real=True) for letter in "xy"[: len(node.args)]))
            found[type(node).__name__] = general, general.definition(*general.args), ()
        elif isinstance(node, RowAtom) and not is_enclosed(node.latex_form):
            at = tuple(Index(index.dim.lower(), index.dim) for index in node.indices)[: len(node.at)]
            bound = tuple(Index.fresh(index.dim) for index in node.indices)
            bodies = tuple(Entry(Symbol(letter, real=True), *bound) for letter in "xy"[: len(node.bodies)])
            general = type(node)(bodies, bound, at)
            found[type(node).__name__] = general, general.expand(), at
    return [found[name] for name in sorted(found, key=str.lower)]
