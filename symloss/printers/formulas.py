"""The formulas of one loss as LaTeX, laid out for a page and for a telephone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

from sympy import Basic, Expr, Symbol

from symloss.index import Binder, Entry, Index, Reduction, walk
from symloss.printers.latex import latex, printer_for
from symloss.printers.layout import LINE, NARROW, abbreviate, block, lines, narrow, together
from symloss.printers.notation import symbols
from symloss.roles import Loss

if TYPE_CHECKING:
    from symloss.derive import Derivation, Output, Step


class Shown(NamedTuple):
    """A formula, and the definitions of the letters in it (empty where it has none)."""

    formula: str = ""
    where: str = ""


class Trail(NamedTuple):
    """The steps of one output: each as the derivation has it, before, after, and the letters in both."""

    output: str
    steps: list[tuple[Step, str, str, str]]


@dataclass
class Formulas:
    """The formulas of one loss as LaTeX, all in the same letters.

    Args:
        loss: the loss.
        slim: whether they are laid out for a narrow screen.
    """

    loss: Loss
    slim: bool = False

    def __post_init__(self) -> None:
        self.names = symbols(self.loss)
        self._lines, self._limit = (narrow, NARROW) if self.slim else (lines, LINE)

    def plain(self, expr: Basic) -> str:
        """A formula by itself."""
        return latex(expr, self.names)

    def equation(
        self,
        left: str | tuple[str, str, str],
        expr: Expr,
        spec_names: Mapping[Expr, str] | None = None,
        indices: Sequence[Index] = (),
    ) -> Shown:
        """An equation, and the definitions of the letters that stand for its parts.

        Args:
            left: the left-hand side; of three parts, the middle one gets the indices.
            expr: the right-hand side.
            spec_names: what the spec calls its parts.
            indices: the open indices.
        """
        short = abbreviate(expr, self.names, spec_names or {}, self._limit)
        printer = printer_for(short.expr, self.names, indices)
        rows = self._lines(self._left(left, indices), short.expr, printer)
        return Shown(block(rows), self._where(short.where))

    def _left(self, left: str | tuple[str, str, str], indices: Sequence[Index]) -> str:
        """A left-hand side; of three parts, the middle one gets the indices."""
        if isinstance(left, str):
            return left
        before, name, after = left
        printer = printer_for(Symbol("none"), self.names, indices)
        at = "".join(map(printer._print, indices)) if all(len(i.name) == 1 for i in indices) else ""
        at = at or ",".join(map(printer._print, indices))
        return f"{before}{name}_{{{at}}}{after}" if indices else f"{before}{name}{after}"

    def stable(self, derivation: Derivation) -> Shown:
        """The value as it is computed; nothing where that is the formula itself."""
        value = next(output for output in derivation.outputs if output.kind == "value")
        return self.equation(r"\ell", value.expr) if value.expr != self.loss.formula else Shown()

    def outputs(self, derivation: Derivation, kind: str) -> list[tuple[str, Shown]]:
        """The derivatives of one kind: the input's name and the equation."""
        return [
            (str(output.wrt), self.equation(self._derivative(output), output.expr, indices=output.indices))
            for output in derivation.outputs
            if output.kind == kind
        ]

    def _derivative(self, output: Output) -> tuple[str, str, str]:
        letter = self.names[str(output.wrt)]
        if output.kind == "grad":
            return r"\frac{\partial \ell}{\partial ", letter, "}"
        if output.kind == "hess":
            squared = "^{2}}" if "^" not in letter else "\\,{}^{2}}"
            return r"\frac{\partial^{2} \ell}{\partial ", letter, squared
        alone = len(self.loss.predictions) == 1
        if alone and not output.indices:
            return "", "H v", ""
        return "", r"\left(H v\right)" + ("" if alone else f"^{{{letter}}}"), ""

    def limits(self) -> list[tuple[str, Shown]]:
        """What the formula becomes at degenerate values of a parameter: the value and the formula."""
        shown = []
        for name, at, formula in self.loss.limits:
            shown.append((f"{self.names[name]} = {self.plain(at)}", self.equation(r"\ell", formula)))
        return shown

    def atoms(self, derivation: Derivation) -> list[tuple[str, Shown]]:
        """The names of the functions that the formulas are written in, and their definitions."""
        shown: dict[str, Shown] = {}
        for output in derivation.outputs:
            for node in _nodes(output.expr):
                name = type(node).__name__
                if name not in shown and (definition := _definition(node)) is not None:
                    shown[name] = self.equation(self.plain(definition[0]), definition[1])
        return [(name, shown[name]) for name in sorted(shown, key=str.lower)]

    def trail(self, derivation: Derivation) -> list[Trail]:
        """For each output the steps that led to it."""
        return [
            Trail(output, [(step, *self._sides(step)) for step in steps])
            for output, steps in groupby(derivation.steps, key=lambda step: step.output)
        ]

    def _sides(self, step: Step) -> tuple[str, str, str]:
        """Before, after, and the letters in both."""
        sides, letters = together([step.before, step.after], self.names, {}, self._limit)
        before, after = (block(self._lines("", side, printer_for(side, self.names))) for side in sides)
        return before, after, self._where(letters)

    def _where(self, letters: Sequence[tuple[Expr, Expr]]) -> str:
        """The definitions of letters."""
        rows = []
        for letter, meaning in letters:
            printer = printer_for(meaning, self.names)
            rows += self._lines(printer._print(letter), meaning, printer)
        return block(rows) if rows else ""


def _nodes(expr: Any) -> list[Any]:
    """Every node of a formula once, in a fixed order."""
    return list(dict.fromkeys(walk(expr)))


def _definition(node: Any) -> tuple[Expr, Expr] | None:
    """An atom and its textbook form, on generic numbers or a generic row."""
    if isinstance(node, Binder):
        if isinstance(node, Reduction):
            return None
        indices = [Index.fresh(index.dim) for index in node.indices]
        places = [Index(index.dim.lower(), index.dim) for index in node.indices] if node.at else []
        rows = [Entry(Symbol(letter, real=True), *indices) for letter in "xyuw"[: len(node.bodies)]]
        row = type(node)(tuple(rows), tuple(indices), tuple(places))
        return row, row.expand()
    define = getattr(type(node), "definition", None)
    if define is None or isinstance(node, (Symbol, Entry)):
        return None
    arguments = [Symbol(letter, real=True) for letter in "xyuw"[: len(node.args)]]
    return type(node)(*arguments), define(*arguments)
