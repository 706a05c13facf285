"""Formulas as LaTeX that amsmath, MathJax and KaTeX all read.

`latex(expr)` prints any formula of this package. Inputs are printed by the letters of `notation.py`;
`legend(loss)` says which letter is which input. An atom prints itself through its own `_latex(printer)`, in
which `printer._print(x)` prints a part; its bound indices already have letters there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from sympy import Add, Basic, Eq, Expr, Integer, Mul, Pow, Rational, S, Symbol
from sympy.core.relational import Relational
from sympy.printing.latex import LatexPrinter

from symloss.index import Binder, Delta, Entry, Index, Max, Min, Reduction, Size
from symloss.printers.notation import (
    Letters,
    free_indices,
    is_negative,
    is_wide,
    ordered_terms,
    quotient,
    reserved,
    standard,
    symbols,
)
from symloss.roles import LabelIndex, Loss

#: Functions whose names LaTeX knows, or that have a symbol.
FUNCTIONS = {
    **{name: "\\" + name for name in ("log", "sin", "cos", "tan", "sinh", "cosh", "tanh")},
    **{"a" + name: "\\arc" + name for name in ("sin", "cos", "tan")},
    "gamma": r"\Gamma",
    "loggamma": r"\log\Gamma",
    "digamma": r"\psi",
}
#: An exponent of e longer than this (in LaTeX) is written as exp(...).
LONG_EXPONENT = 24


def latex(expr: Basic, names: Mapping[str, str] | None = None) -> str:
    """The LaTeX of a formula.

    Args:
        expr: a SymPy expression, relation or set, with or without index notation and atoms.
        names: from input names to their letters, as `symbols(loss)` gives them; otherwise the standard ones.
    """
    return printer_for(expr, names)._print(expr)


def printer_for(
    expr: Basic, names: Mapping[str, str] | None = None, indices: Sequence[Index] = ()
) -> FormulaPrinter:
    """A printer in which the open indices of `expr` have their letters; `indices` choose theirs first."""
    printer = FormulaPrinter(names or {}, reserved(names or {}, expr))
    for index in (*indices, *free_indices(expr)):
        printer.letters.of(index)
    return printer


def legend(loss: Loss) -> list[tuple[str, str]]:
    """Pairs of a LaTeX letter and what it stands for, for every input and parameter of a loss."""
    names = symbols(loss)
    printer = FormulaPrinter(names, frozenset(names.values()))
    rows = []
    for item in loss.inputs:
        at = "".join(printer.letters.of(Index(dim.lower(), dim)) + "," for dim in item.dims).rstrip(",")
        letter = names[item.name]
        rows.append((f"{letter}_{{{at}}}" if at else letter, item.name))
    return rows + [(names[parameter.name], parameter.name) for parameter in loss.parameters]


class FormulaPrinter(LatexPrinter):
    """SymPy's LaTeX printer with index notation, and with the order in which people write.

    Args:
        names: from input names to LaTeX.
        taken: letters that no index may have.
    """

    def __init__(self, names: Mapping[str, str], taken: frozenset[str] = frozenset()) -> None:
        super().__init__()
        self.names = names
        self.letters = Letters(taken)

    def _print(self, expr: Any, **kwargs: Any) -> str:
        if not isinstance(expr, Binder):
            return super()._print(expr, **kwargs)
        with self.letters.bind(expr.indices):
            return super()._print(expr, **kwargs)

    # --- names ---------------------------------------------------------------------------------------

    def _print_Symbol(self, expr: Symbol, style: str = "plain") -> str:
        return self.names.get(expr.name, standard(expr.name))

    def _print_Index(self, expr: Index) -> str:
        return self.letters.of(expr)

    def _print_LabelIndex(self, expr: LabelIndex) -> str:
        return self.names.get(expr.name, standard(expr.name))

    def _print_Size(self, expr: Size) -> str:
        return expr.name if len(expr.name) == 1 else standard(expr.name)

    def _print_Entry(self, expr: Entry) -> str:
        return f"{self._print(expr.base)}_{{{self._places(expr.indices)}}}"

    def _places(self, indices: Sequence[Expr]) -> str:
        """Indices side by side, with commas only where a letter isn't a single one."""
        return ",".join(map(self._print, indices))

    # --- index notation ------------------------------------------------------------------------------

    def _print_Sum(self, expr: Reduction) -> str:
        return self._reduction(r"\sum", expr, limits=True)

    def _print_Product(self, expr: Reduction) -> str:
        return self._reduction(r"\prod", expr, limits=True)

    def _print_Max(self, expr: Expr) -> str:
        return self._extreme(r"\max", expr)

    def _print_Min(self, expr: Expr) -> str:
        return self._extreme(r"\min", expr)

    def _extreme(self, name: str, expr: Expr) -> str:
        if isinstance(expr, Reduction):
            return self._reduction(name, expr, limits=False)
        numbers_first = sorted(expr.args, key=lambda arg: not arg.is_Number)
        return self.call(name, numbers_first)

    def _reduction(self, name: str, expr: Reduction, limits: bool) -> str:
        if limits and len(expr.indices) == 1:
            (index,) = expr.indices
            under = f"_{{{self._print(index)}=1}}^{{{self._print(index.size)}}}"
        else:
            under = f"_{{{self._places(expr.indices)}}}"
        return f"{name}{under} {self.factor(expr.body, last=True)}"

    def _print_Delta(self, expr: Delta) -> str:
        return rf"\left[{self._print(expr.args[0])} = {self._print(expr.args[1])}\right]"

    def _print_Binder(self, expr: Binder) -> str:
        body = ", ".join(map(self._print, expr.bodies))
        at = f"_{{{self._places(expr.at)}}}" if expr.at else ""
        name = operator(type(expr).__name__)
        return rf"{name}_{{{self._places(expr.indices)}}}\left({body}\right){at}"

    # --- sums, products, powers ----------------------------------------------------------------------

    def _print_Add(self, expr: Add, order: Any = None) -> str:
        return "".join(self.signed_terms(expr))

    def signed_terms(self, expr: Expr) -> list[str]:
        """The terms of a sum, each with its sign; the first one only where it is negative."""
        texts: list[str] = []
        terms = ordered_terms(expr) if isinstance(expr, Add) else [expr]
        for position, term in enumerate(terms):
            text = self._print(term)
            if isinstance(term, (Max, Min)) and term is not terms[-1]:
                text = brackets(text)  # max_k z_k - z_t could be read as max_k (z_k - z_t)
            if isinstance(term, Add) or (position and text.startswith("-") and not is_negative(term)):
                text = brackets(text)
            if is_negative(term) and text.startswith("-"):
                text = (" - " if position else "-") + text[1:]
            elif position:
                text = " + " + text
            texts.append(text)
        return texts

    def _print_Mul(self, expr: Mul) -> str:
        parts = quotient(expr)
        minus = "-" if parts.negative else ""
        if not parts.below:
            return minus + self.product(parts.above, alone=False)
        beside = tuple(factor for factor in parts.above if is_wide(factor) or _is_tall_sum(factor))
        above = tuple(factor for factor in parts.above if factor not in beside)
        fraction = rf"\frac{{{self.product(above)}}}{{{self.product(parts.below)}}}"
        return minus + (fraction + " " + self.product(beside, alone=False) if beside else fraction)

    def product(self, factors: Sequence[Expr], alone: bool = True) -> str:
        """Factors side by side; the empty product is 1.

        Args:
            factors: what is multiplied.
            alone: whether nothing stands before them, as above and below the line of a fraction.
        """
        if not factors:
            return "1"
        if alone and len(factors) == 1:
            return self._print(factors[0])
        text = ""
        for position, factor in enumerate(factors):
            piece = self.factor(factor, last=position == len(factors) - 1)
            clash = (text and piece[0].isdigit()) or (text.endswith("}") and piece.startswith(r"\frac"))
            text += (r" \cdot " if clash else " ") + piece if text else piece
        return text

    def factor(self, expr: Expr, last: bool = False) -> str:
        """A formula as a factor of a product, bracketed where it must be."""
        text = self._print(expr)
        if is_sum(text) or isinstance(expr, (Add, Relational)) or (is_wide(expr) and not last):
            return brackets(text)
        return text

    def _print_Pow(self, expr: Pow) -> str:
        power = expr.exp
        if power.is_Rational and power.is_negative:
            return self._print_Mul(expr)
        if power.is_Rational and power.p == 1 and power.q != 1:
            root = "" if power.q == 2 else f"[{power.q}]"
            return rf"\sqrt{root}{{{self._print(expr.base)}}}"
        exponent = f"{power.p}/{power.q}" if power.is_Rational and power.q != 1 else self._print(power)
        return self.raised(expr.base, exponent)

    def raised(self, base: Expr, exponent: str) -> str:
        """`base` to a power, the name of a function carrying a whole one: tanh^2(x)."""
        text = self._print(base)
        name = _NAME.match(text)
        if name and exponent.isdigit() and is_enclosed(text[name.end() :]):
            return f"{name[0]}^{{{exponent}}}{text[name.end() :]}"
        simple = isinstance(base, (Symbol, Entry, Integer)) and not is_negative(base) and "^" not in text
        return f"{text if simple or is_enclosed(text) else brackets(text)}^{{{exponent}}}"

    def _print_Rational(self, expr: Rational) -> str:
        if expr.q == 1:
            return str(expr.p)
        return rf"{'-' if expr.p < 0 else ''}\frac{{{abs(expr.p)}}}{{{expr.q}}}"

    # --- functions -----------------------------------------------------------------------------------

    def call(self, name: str, args: Sequence[Basic]) -> str:
        """A function applied to arguments."""
        return rf"{name}\left({', '.join(map(self._print, args))}\right)"

    def _print_Function(self, expr: Expr, exp: str | None = None) -> str:
        name = type(expr).__name__
        text = self.call(FUNCTIONS.get(name, operator(name)), expr.args)
        return f"{brackets(text)}^{{{exp}}}" if exp else text

    _print_log = _print_gamma = _print_loggamma = _print_Function

    def _print_exp(self, expr: Expr, exp: str | None = None) -> str:
        exponent = self._print(expr.args[0])
        if len(exponent) > LONG_EXPONENT or re.search(r"\\(frac|sum|begin|max|min|log)", exponent):
            text = rf"\exp\left({exponent}\right)"
        else:
            text = f"e^{{{exponent}}}"
        return f"{brackets(text)}^{{{exp}}}" if exp else text

    _print_ExpBase = _print_exp

    def _print_Abs(self, expr: Expr, exp: str | None = None) -> str:
        # Not \left|: a bar would end a cell in a Markdown table.
        return rf"\left\lvert {self._print(expr.args[0])} \right\rvert" + (f"^{{{exp}}}" if exp else "")

    def _print_polygamma(self, expr: Expr, exp: str | None = None) -> str:
        order, argument = expr.args
        mark = r"\psi" + {S.Zero: "", S.One: "'"}.get(order, f"^{{({self._print(order)})}}")
        text = self.call(mark, (argument,))
        return f"{brackets(text)}^{{{exp}}}" if exp else text

    def _print_besseli(self, expr: Expr, exp: str | None = None) -> str:
        text = self.call(f"I_{{{self._print(expr.args[0])}}}", expr.args[1:])
        return f"{brackets(text)}^{{{exp}}}" if exp else text

    # --- branches and relations ----------------------------------------------------------------------

    def _print_Piecewise(self, expr: Expr) -> str:
        rows = []
        for value, condition in expr.args:
            rows.append(f"{self._print(value)} & {self.condition(condition)}")
        return r"\begin{cases} " + r" \\ ".join(rows) + r" \end{cases}"

    def condition(self, condition: Basic) -> str:
        """When a case holds: `if x > 0`, `otherwise`."""
        return r"\text{otherwise}" if condition == S.true else rf"\text{{if }} {self._print(condition)}"

    def _print_Relational(self, expr: Relational) -> str:
        if isinstance(expr, Eq) and expr.rhs == 0 and isinstance(expr.lhs, Add):
            return self._balanced(expr.lhs)
        if expr.rhs.args and not expr.lhs.args:  # SymPy turns |r| <= delta around
            expr = expr.reversed
        sign = {"==": "=", "!=": r"\neq", "<=": r"\leq", ">=": r"\geq"}.get(expr.rel_op, expr.rel_op)
        return f"{self._print(expr.lhs)} {sign} {self._print(expr.rhs)}"

    def _balanced(self, sum_: Add) -> str:
        """`a - b = 0` as `a = b`."""
        left = [self._print(term) for term in ordered_terms(sum_) if not is_negative(term)]
        right = [self._print(term)[1:] for term in ordered_terms(sum_) if is_negative(term)]
        return f"{' + '.join(left) or '0'} = {' + '.join(right) or '0'}"

    def _print_And(self, expr: Basic, char: str | None = None) -> str:
        return r" \text{ and } ".join(self._print(arg) for arg in expr.args)

    def _print_Or(self, expr: Basic, char: str | None = None) -> str:
        return r" \text{ or } ".join(self._print(arg) for arg in expr.args)


def _is_tall_sum(expr: Expr) -> bool:
    """Whether a sum has terms that are too tall for a fraction."""
    return isinstance(expr, Add) and any(is_wide(part) for term in expr.args for part in Mul.make_args(term))


def operator(name: str) -> str:
    """The name of a function in upright letters."""
    return r"\operatorname{" + name.replace("_", r"\_") + "}"


def brackets(text: str) -> str:
    """Round brackets that grow with what they hold."""
    return rf"\left({text}\right)"


#: The name of a function in front of its arguments.
_NAME = re.compile(r"\\(?!left|frac|sqrt|max|min)(?:operatorname\{[^{}]*\}|[A-Za-z]+)(?=\\left\()")
_TOKEN = re.compile(r"\\[A-Za-z]+|\\.|.", re.DOTALL)
_OPENING = {"{", "(", "[", r"\left", r"\begin", r"\lVert", r"\lvert"}
_CLOSING = {"}", ")", "]", r"\right", r"\end", r"\rVert", r"\rvert"}


def depths(text: str) -> list[tuple[str, int]]:
    """The tokens of a formula, each with the number of brackets around it."""
    result = []
    depth = 0
    sized = False  # the bracket after \left and \right belongs to them
    for token in _TOKEN.findall(text):
        if sized:
            sized = False
        elif token in _CLOSING:
            depth -= 1
            sized = token == r"\right"
        elif token in _OPENING:
            result.append((token, depth))
            depth += 1
            sized = token == r"\left"
            continue
        result.append((token, depth))
    return result


def is_sum(text: str) -> bool:
    """Whether a formula has a plus or minus sign outside all brackets."""
    return any(depth == 0 and token in "+-" for token, depth in depths(text))


def is_enclosed(text: str) -> bool:
    """Whether one pair of growing brackets or bars holds all of a formula."""
    if not text.startswith((r"\left", r"\lVert", r"\lvert")):
        return False
    tokens = depths(text)
    closed = [place for place, (token, depth) in enumerate(tokens) if depth == 0 and token in _CLOSING]
    rest = tokens[closed[0] + (2 if tokens[closed[0]][0] == r"\right" else 1) :] if closed else [("", 0)]
    return not rest
