"""Formulas as JavaScript, for the plots of the documentation.

A formula becomes a function of one sample, `(p, at) => ...`: `p` holds the inputs and the parameters by
name (arrays with core dimensions are nested lists) and the sizes, `at` the place of the entry that a
derivative is of. What it calls is in `templates/docs/static/functions.js`; a sum over an index is a loop:
`sum(p._size.K, (k1a) => ...)`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sympy import Symbol

from symloss.emit import render
from symloss.index import Binder, Bound, Entry, Index, Max, Min, Product, Size, Sum
from symloss.primitive import ArgMax, primitive
from symloss.printers.scalar import ATOM, ScalarPrinter
from symloss.roles import LabelIndex

if TYPE_CHECKING:
    from symloss.derive import Derivation, Output

TEMPLATE = "docs/curve.js.jinja"
_LOOPS: dict[Any, str] = {Sum: "sum", Product: "product", Max: "largest", Min: "smallest", ArgMax: "argmax"}
#: The kinds of output that are plotted.
CURVES = ("value", "grad", "hess")


class JavaScriptPrinter(ScalarPrinter):
    """Prints an expression of any stage; its free indices are entries of `at`, in the order given.

    A loop that doesn't depend on the index of a loop around it is computed once: `loops` has its text.
    """

    exp_of_shift = "exp"

    def __init__(self, indices: tuple[Index, ...] = ()) -> None:
        super().__init__(self._entry)
        self.loops: dict[str, str] = {}
        self._places = {index: f"at[{position}]" for position, index in enumerate(indices)}
        self._named: dict[Binder, str] = {}

    def _print(self, expr: Any) -> tuple[str, int]:
        if isinstance(expr, Binder):
            return self._loop(expr), ATOM
        if isinstance(expr, Size):
            return f"p._size.{expr.name}", ATOM
        if expr in self._places:
            return self._places[expr], ATOM
        if isinstance(expr, Index) and not isinstance(expr, LabelIndex):
            return expr.name, ATOM  # bound by a loop around it
        if isinstance(expr, Symbol):
            return f"p.{expr.name}", ATOM
        text, strength = super()._print(expr)
        return {"True": "true", "False": "false"}.get(text, text), strength

    def _call(self, expr: Any) -> str:
        text = super()._call(expr)
        if text.startswith("abs("):
            self.used.add("abs")
        return text

    def _loop(self, expr: Binder) -> str:
        if any(isinstance(symbol, Bound) for symbol in expr.free_symbols):
            return self._written(expr)
        if expr not in self._named:
            text = self._written(expr)
            self._named[expr] = f"{_LOOPS[type(expr)]}{len(self._named) + 1}"
            self.loops[self._named[expr]] = text
        return self._named[expr]

    def _written(self, expr: Binder) -> str:
        name = _LOOPS[type(expr)]
        self.used.add(name)
        sizes = ", ".join(f"p._size.{index.dim}" for index in expr.indices)
        names = ", ".join(index.name for index in expr.indices)
        sizes = sizes if len(expr.indices) == 1 else f"[{sizes}]"
        return f"{name}({sizes}, ({names}) => {self.text(expr.body)})"

    def _entry(self, entry: Entry) -> str:
        return f"p.{entry.base.name}" + "".join(f"[{self.text(index)}]" for index in entry.indices)


def curve_functions(derivation: Derivation) -> tuple[dict[str, str], list[str]]:
    """The functions of a loss's plot, and the names of what they call.

    Args:
        derivation: the loss with its derivatives; those of the first prediction are plotted.

    Returns:
        From `value`, `grad` and `hess` to a JavaScript function, and the sorted names to import.
    """
    moved = derivation.loss.predictions[0].name
    wanted = [o for o in derivation.outputs if o.kind in CURVES and o.wrt in (None, moved)]
    functions, used = {}, set()
    for output in wanted:
        functions[output.kind], names = _function(output)
        used |= names
    return functions, sorted(used)


def _function(output: Output) -> tuple[str, set[str]]:
    printer = JavaScriptPrinter(output.indices)
    result = printer.text(primitive(output.expr))
    if not printer.loops:
        return f"(p, at) => {result}", printer.used
    rows = [f"const {name} = {text};" for name, text in printer.loops.items()] + [f"return {result};"]
    return "(p, at) => {\n" + "\n".join(f"  {row}" for row in rows) + "\n}", printer.used


def curve(derivation: Derivation, plan: dict[str, Any], header: str) -> str:
    """The file that a loss's page plots from.

    Args:
        derivation: the loss with its derivatives.
        plan: what moves, what can be set, and between which ends (`curves.plan`), as JSON holds it.
        header: where the file comes from.
    """
    functions, used = curve_functions(derivation)
    return render(
        TEMPLATE,
        header=header,
        name=derivation.loss.name,
        used=used,
        functions=sorted(functions.items(), key=lambda item: CURVES.index(item[0])),
        plan=json.dumps(plan, ensure_ascii=False, indent=2),
    )
