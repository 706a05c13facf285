"""Formulas as one line of plain text, for docstrings of generated code and the terminal.

Inputs keep their names: `sum_k target[k] * log(target[k] / prediction[k])`. A function is printed by its own
name; a function of a row names its index and the place at which it is read: `softmax_k(logits[k])[label]`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from sympy import Add, Basic, Eq, Expr, Integer, Mul, Pow, Rational, S, Symbol
from sympy.core.relational import Relational
from sympy.printing.str import StrPrinter

from symloss.index import Binder, Delta, Entry, Index, Max, Min, Reduction, Size
from symloss.printers.notation import Letters, free_indices, is_negative, is_wide, ordered_terms, quotient
from symloss.roles import LabelIndex


def text(expr: Basic) -> str:
    """A formula on one line.

    Args:
        expr: a SymPy expression or relation, with or without index notation and atoms.
    """
    taken = {s.name for s in expr.free_symbols if not isinstance(s, Index) or isinstance(s, LabelIndex)}
    printer = TextPrinter(frozenset(taken))
    for index in free_indices(expr):
        printer.letters.of(index)
    return printer._print(expr)


class TextPrinter(StrPrinter):
    """SymPy's string printer with index notation, and with the order in which people write.

    Args:
        taken: names that no index may have.
    """

    def __init__(self, taken: frozenset[str] = frozenset()) -> None:
        super().__init__()
        self.letters = Letters(taken)

    def _print(self, expr: Any, **kwargs: Any) -> str:
        if not isinstance(expr, Binder):
            own = getattr(self, "_print_" + type(expr).__name__, None)
            if isinstance(expr, (Entry, Delta)) and own:  # before their `_sympystr`
                return own(expr)
            return super()._print(expr, **kwargs)
        with self.letters.bind(expr.indices):
            if isinstance(expr, Reduction):
                return self._reduction(type(expr).__name__.lower(), expr)
            return self._row(expr)

    # --- names and index notation --------------------------------------------------------------------

    def _print_Symbol(self, expr: Symbol) -> str:
        return expr.name

    def _print_Index(self, expr: Index) -> str:
        return self.letters.of(expr)

    def _print_LabelIndex(self, expr: LabelIndex) -> str:
        return expr.name

    def _print_Size(self, expr: Size) -> str:
        return expr.name

    def _print_Entry(self, expr: Entry) -> str:
        return f"{self._print(expr.base)}[{', '.join(map(self._print, expr.indices))}]"

    def _print_Delta(self, expr: Delta) -> str:
        return f"[{self._print(expr.args[0])} = {self._print(expr.args[1])}]"

    def _reduction(self, name: str, expr: Reduction) -> str:
        return f"{name}_{self._under(expr)} {self.factor(expr.body, last=True)}"

    def _under(self, expr: Binder) -> str:
        """The bound indices, as a subscript."""
        letters = [self._print(index) for index in expr.indices]
        return letters[0] if len(letters) == 1 else "{" + ",".join(letters) + "}"

    def _row(self, expr: Binder) -> str:
        """A function of a row: `softmax_k(logits[k])[label]`."""
        at = f"[{', '.join(map(self._print, expr.at))}]" if expr.at else ""
        bodies = ", ".join(map(self._print, expr.bodies))
        return f"{plain_name(type(expr).__name__)}_{self._under(expr)}({bodies}){at}"

    # --- sums, products, powers ----------------------------------------------------------------------

    def _print_Add(self, expr: Add, order: Any = None) -> str:
        result = ""
        terms = ordered_terms(expr)
        for position, term in enumerate(terms):
            piece = self._print(term)
            negative = is_negative(term) and piece.startswith("-")
            if negative:
                piece = piece[1:]
            if isinstance(term, Add) or (isinstance(term, (Max, Min)) and term is not terms[-1]):
                piece = f"({piece})"
            sign = ("-" if negative else "") if position == 0 else (" - " if negative else " + ")
            result += sign + piece
        return result

    def _print_Mul(self, expr: Expr) -> str:
        parts = quotient(expr)
        beside = tuple(factor for factor in parts.above if is_wide(factor)) if parts.below else ()
        above = tuple(factor for factor in parts.above if factor not in beside)
        if not parts.below:
            return ("-" if parts.negative else "") + self.product(above, open_end=True)
        over = self.product(parts.below)
        if len(parts.below) > 1:
            over = f"({over})"
        fraction = f"{self.product(above)}/{over}"
        pieces = [fraction] + [self.factor(factor, factor is beside[-1]) for factor in beside]
        return ("-" if parts.negative else "") + " * ".join(pieces)

    def product(self, factors: Sequence[Expr], open_end: bool = False) -> str:
        """Factors with stars between them; the empty product is 1.

        Args:
            factors: what is multiplied.
            open_end: whether nothing follows that a last sum over an index could swallow.
        """
        return " * ".join(self.factor(f, last=open_end and f is factors[-1]) for f in factors) or "1"

    def factor(self, expr: Expr, last: bool = False) -> str:
        """A formula as a factor of a product, bracketed where it must be."""
        piece = self._print(expr)
        negative = piece.startswith("-")
        open_ended = isinstance(expr, Reduction) and not last
        if negative or open_ended or isinstance(expr, (Add, Relational)):
            return f"({piece})"
        return piece

    def _print_Pow(self, expr: Pow, rational: bool = False) -> str:
        power = expr.exp
        if power.is_Rational and power.is_negative:
            return self._print_Mul(expr)
        if power == Rational(1, 2):
            return f"sqrt({self._print(expr.base)})"
        return f"{self._tight(expr.base)}^{self._tight(power)}"

    def _tight(self, expr: Expr) -> str:
        """A base or an exponent, bracketed unless it is one thing."""
        piece = self._print(expr)
        whole = isinstance(expr, Integer) and expr.is_nonnegative
        function = re.match(r"\w+\(", piece) and not isinstance(expr, (Add, Mul, Pow, Reduction))
        enclosed = piece.startswith("|") and type(expr).__name__ == "Abs"
        return piece if whole or function or enclosed or isinstance(expr, (Symbol, Entry)) else f"({piece})"

    def _print_Rational(self, expr: Rational) -> str:
        return f"{expr.p}/{expr.q}"

    # --- functions, branches, relations --------------------------------------------------------------

    def _print_Function(self, expr: Expr) -> str:
        return f"{plain_name(type(expr).__name__)}({', '.join(map(self._print, expr.args))})"

    def _print_polygamma(self, expr: Expr) -> str:
        order, argument = expr.args
        if order == 0:
            return f"digamma({self._print(argument)})"
        return f"polygamma({self._print(order)}, {self._print(argument)})"

    def _print_Abs(self, expr: Expr) -> str:
        return f"|{self._print(expr.args[0])}|"

    def _print_Max(self, expr: Expr) -> str:
        return f"max({', '.join(map(self._print, sorted(expr.args, key=lambda arg: not arg.is_Number)))})"

    def _print_Min(self, expr: Expr) -> str:
        return f"min({', '.join(map(self._print, sorted(expr.args, key=lambda arg: not arg.is_Number)))})"

    def _print_Piecewise(self, expr: Expr) -> str:
        branches = [
            f"{self._print(value)}  {'otherwise' if condition == S.true else 'if ' + self._print(condition)}"
            for value, condition in expr.args
        ]
        return "{ " + ";  ".join(branches) + " }"

    def _print_Relational(self, expr: Relational) -> str:
        if isinstance(expr, Eq) and expr.rhs == 0 and isinstance(expr.lhs, Add):
            left = [self._print(term) for term in ordered_terms(expr.lhs) if not is_negative(term)]
            right = [self._print(term)[1:] for term in ordered_terms(expr.lhs) if is_negative(term)]
            return f"{' + '.join(left) or '0'} = {' + '.join(right) or '0'}"
        if expr.rhs.args and not expr.lhs.args:  # SymPy turns |r| <= delta around
            expr = expr.reversed
        sign = {"==": "=", "!=": "/="}.get(expr.rel_op, expr.rel_op)
        return f"{self._print(expr.lhs)} {sign} {self._print(expr.rhs)}"

    def _print_And(self, expr: Basic) -> str:
        return " and ".join(self._print(arg) for arg in expr.args)

    def _print_Or(self, expr: Basic) -> str:
        return " or ".join(self._print(arg) for arg in expr.args)


def plain_name(name: str) -> str:
    """The name of a function in lower case, words joined by underscores: `log_sum_exp`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
