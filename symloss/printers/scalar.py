"""Expressions over numbers as Python source, for code that Numba compiles (CPU and CUDA alike).

The text holds for a number and for lanes of numbers: a choice is `select`, which computes both sides, and
tests are joined by `&` and `|`, since `if`, `and` and `or` need one answer.

The order of operations is part of the result: products alternate multiplication and division, so that no
intermediate overflows where the result doesn't, and a square stands on both sides of what it multiplies.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sympy
from sympy import Expr, Integer, Rational, S, Symbol

from symloss import atoms
from symloss.errors import UnsupportedError
from symloss.index import Entry, Size
from symloss.program import gap, scale_of, scaled, shift
from symloss.sharing import common_power

#: From SymPy functions to the functions of `_math.py`; atoms go by their own names.
FUNCTIONS: dict[Any, str] = {
    sympy.exp: "exp",
    sympy.log: "log",
    sympy.Abs: "abs",
    sympy.sign: "sign",
    sympy.sin: "sin",
    sympy.cos: "cos",
    sympy.tan: "tan",
    sympy.asin: "asin",
    sympy.acos: "acos",
    sympy.atan: "atan",
    sympy.sinh: "sinh",
    sympy.cosh: "cosh",
    sympy.tanh: "tanh",
    sympy.asinh: "asinh",
    sympy.acosh: "acosh",
    sympy.atanh: "atanh",
    sympy.erf: "erf",
    sympy.erfc: "erfc",
    sympy.gamma: "gamma",
    sympy.loggamma: "lgamma",
    sympy.digamma: "digamma",
    shift: "shift",
    scale_of: "scale_of",
}

#: Functions f of which there is a wide_f: it doesn't round to float32 what is used in float64.
WIDE_FORMS = {"sigmoid", "softplus"}
_RELATIONS = {"==": "==", "!=": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
ATOM, POWER, PRODUCT, SUM, TEST = range(5)  # how tightly a piece of text holds together


class ScalarPrinter:
    """Prints expressions; remembers the functions and constants that it used, for the imports."""

    #: e^x of an x that isn't above 0, as what a maximum is taken off isn't.
    exp_of_shift = "exp_down"

    def __init__(self, element: Callable[[Entry], str] | None = None) -> None:
        self.used: set[str] = set()
        self._element = element or self._indexed
        #: Names whose lanes are widened to float64 where they meet other numbers, and whether that is wanted
        #: now.
        self.narrow_names: set[str] = set()
        self._widens = False
        #: Whether sums of two such names are widened, rather than the names.
        self.rounds_sums = False
        #: Names that the loop around has once, in each lane another number, and those that it divides by.
        self.fixed: frozenset[str] = frozenset()
        self.divisors: dict[str, None] = {}
        #: From names of sigmoids to what they are of.
        self.logits: dict[Expr, Expr] = {}
        #: Names that float32 data needs no scales of, and the array whose type says what the data is.
        self.spared: set[Expr] = set()
        self.data = ""

    def text(self, expr: Any, limit: int = TEST) -> str:
        """The source of `expr`, in parentheses if it holds together less tightly than `limit`."""
        text, strength = self._print(expr)
        return f"({text})" if strength > limit else text

    def wide_text(self, expr: Any) -> str:
        """The source of `expr`, with its functions as they are and all other arithmetic in float64."""
        self._widens = True
        try:
            return self.text(expr)
        finally:
            self._widens = False

    def _wide(self, expr: Any) -> str:
        """A function's call, or a name, widened."""
        before = set(self.used)
        self._widens = False
        text = self.text(expr)
        self._widens = True
        if not any(symbol.name in self.narrow_names for symbol in expr.free_symbols):
            return text
        name = _name(expr)
        if name in WIDE_FORMS:
            self.used = (self.used - {name}) | (before & {name}) | {f"wide_{name}"}
            return f"wide_{text}"
        self.used.add("wide")
        return f"wide({text})"

    def _rounds(self, expr: Expr) -> bool:
        """Whether a sum is rounded before it is widened: one of two names, for half the instructions."""
        names = {str(-arg if arg.could_extract_minus_sign() else arg) for arg in expr.args}
        return self.rounds_sums and expr.is_Add and len(expr.args) == 2 and names <= self.narrow_names

    def _print(self, expr: Any) -> tuple[str, int]:
        if self._widens and (isinstance(expr, Symbol) or is_call(expr) or self._rounds(expr)):
            return self._wide(expr), ATOM
        if expr.is_Number or expr in (S.NaN, S.Infinity, S.NegativeInfinity):
            return self._number(expr)
        if isinstance(expr, (Symbol, Size)):
            return expr.name, ATOM
        if isinstance(expr, Entry):
            return self._element(expr), ATOM
        if expr.is_Add:
            return self._sum(expr)
        if expr.is_Mul:
            return self._product(expr)
        if expr.is_Pow:
            return self._power(expr)
        if isinstance(expr, sympy.Piecewise):
            return self._choice(expr)
        if expr.is_Relational:
            left, right = (self.text(arg, SUM) for arg in expr.args)
            return f"{left} {_RELATIONS[expr.rel_op]} {right}", TEST
        if isinstance(expr, (sympy.And, sympy.Or)):
            sign = " & " if isinstance(expr, sympy.And) else " | "
            return sign.join(self.text(arg, ATOM) for arg in sorted(expr.args, key=str)), TEST
        if isinstance(expr, sympy.ITE):  # what SymPy makes of a comparison with a Piecewise
            self.used.add("select")
            return f"select({', '.join(self.text(arg) for arg in expr.args)})", ATOM
        if expr in (S.true, S.false):
            return str(bool(expr)), ATOM
        if isinstance(expr, sympy.Not):
            self.used.add("opposite")
            return f"opposite({self.text(expr.args[0])})", ATOM
        if expr.is_number and not expr.has(sympy.Function):
            return repr(float(expr)), ATOM  # pi, E, sqrt(2): rounded once from the exact value
        if isinstance(expr, scale_of) and expr.args[0] in self.spared:
            return f"{self._call(expr)} if {self.needs_scales()} else 1.0", TEST
        return self._call(expr), ATOM

    def _number(self, number: Expr) -> tuple[str, int]:
        for special, name in ((S.NaN, "nan"), (S.Infinity, "inf")):
            if number is special:
                self.used.add(name)
                return name, ATOM
        if number is S.NegativeInfinity:
            self.used.add("inf")
            return "-inf", PRODUCT
        text = repr(float(number))
        return text, PRODUCT if number.is_negative else ATOM

    def _sum(self, expr: Expr) -> tuple[str, int]:
        terms = sorted(expr.args, key=lambda t: (t.could_extract_minus_sign(), t.is_number))
        text = ""
        for term in terms:
            if text and term.could_extract_minus_sign():
                text += f" - {self.text(-term, PRODUCT)}"
            else:
                text += (" + " if text else "") + self.text(term, PRODUCT)
        return text, SUM

    def _product(self, expr: Expr) -> tuple[str, int]:
        number, rest = expr.as_coeff_Mul()
        if number.is_negative:
            text = self.text(-number * rest if number != -1 else rest, POWER if rest.is_Add else PRODUCT)
            return f"-{text}", PRODUCT
        first: list[str] = []
        last: list[str] = []
        bottoms: list[str] = []
        counts: list[Expr] = []
        denominator = Integer(1)
        if number.is_Rational and not _is_exact(number):
            denominator, number = Integer(number.q), Integer(number.p)
        for factor in rest.args if rest.is_Mul else (rest,):
            base, power = factor.as_base_exp()
            if power.is_Integer and power > 0:
                text = self.text(base, PRODUCT if power == 1 and not base.is_Mul else ATOM)
                first += [text] * ((int(power) + 1) // 2)
                last += [text] * (int(power) // 2)
            elif power.is_Integer and isinstance(base, Size):
                counts += [base] * -int(power)
            elif power.is_Integer:
                bottoms += [self.text(base, ATOM)] * -int(power)
            elif power.is_Rational and power.is_negative:
                bottoms.append(self.text(base**-power, ATOM))
            else:
                first.append(self.text(factor, PRODUCT))
        if counts:
            sizes = " * ".join(self.text(count, ATOM) for count in counts)
            bottoms.append(sizes if len(counts) == 1 else f"({sizes})")
        tops = first + last
        if number != 1 or not tops:
            tops.insert(0, repr(float(number)))
        if denominator != 1:
            bottoms.append(repr(float(denominator)))
        text, strength = tops.pop(0), PRODUCT
        while tops or bottoms:
            if bottoms:
                text, strength = self._over(text, bottoms.pop(0))
            if tops:
                text, strength = f"{text} * {tops.pop(0)}", PRODUCT
        return text, strength

    def _over(self, top: str, bottom: str) -> tuple[str, int]:
        """A quotient of texts; by way of its reciprocal, of what a loop divides by again and again."""
        if bottom not in self.fixed:
            return f"{top} / {bottom}", PRODUCT
        self.used.add("over")
        return f"over({top}, {self._divisor(bottom)})", ATOM

    def _divisor(self, name: str) -> str:
        self.used.add("divisor")
        self.divisors[name] = None
        return f"by_{name}"

    def _power(self, expr: Expr) -> tuple[str, int]:
        base, power = expr.as_base_exp()
        if power.is_Integer:
            count, inner = abs(int(power)), self.text(base, ATOM)
            if count <= 8:
                if power > 0:
                    return " * ".join([inner] * count), PRODUCT
                text, strength = "1.0", ATOM
                for _ in range(count):  # one by one: the power of a small number vanishes
                    text, strength = self._over(text, inner)
                return text, strength
            self.used.add("power")  # which is for numbers that aren't negative
            text = f"power(abs({inner}), {float(count - count % 2)!r})"
            text = f"{inner} * {text}" if count % 2 else text
            if power > 0:
                return text, PRODUCT if count % 2 else ATOM
            return f"1.0 / ({text})", PRODUCT
        if power.is_Rational and power.q == 2 and abs(power.p) <= 5:
            self.used.add("sqrt")
            root = f"sqrt({self.text(base)})"
            whole = abs(int(power.p)) // 2
            text = " * ".join([self.text(base, ATOM)] * whole + [root])
            if power.is_negative:
                return "1.0 / " + (f"({text})" if whole else text), PRODUCT
            return text, PRODUCT if whole else ATOM
        return self._raised(base, power)

    def _raised(self, base: Expr, power: Expr) -> tuple[str, int]:
        """A power that takes a function."""
        if base in self.logits:
            self.used.add("sigmoid_power")
            return f"sigmoid_power({self.text(self.logits[base])}, {base.name}, {self.text(power)})", ATOM
        self.used.add("power")
        return f"power({self.text(base)}, {self.text(power)})", ATOM

    def _choice(self, expr: Expr) -> tuple[str, int]:
        power = common_power(expr)
        if power is not None:
            return (self._wide(expr), ATOM) if self._widens else self._raised(*power)
        self.used.add("select")
        cases = list(expr.args)
        if cases[-1][1] in (True, S.true):
            text = self.text(cases.pop()[0])
        else:
            self.used.add("nan")
            text = "nan"
        for value, test in reversed(cases):
            answer = test.name if isinstance(test, Symbol) else self.text(test)
            text = f"select({answer}, {self.text(value)}, {text})"
        return text, ATOM

    def _indexed(self, entry: Entry) -> str:
        return f"{entry.base.name}[{', '.join(self.text(i) for i in entry.indices)}]"

    def _call(self, expr: Expr) -> str:
        if isinstance(expr, scaled):
            return f"({self.text(expr.args[0], PRODUCT)} * {self.text(expr.args[1], ATOM)})"
        if isinstance(expr, gap):
            return f"({self.text(expr.args[0], SUM)} - {self.text(expr.args[1], PRODUCT)})"
        if isinstance(expr, atoms.ScalarAtom):
            name = expr.row.name
        elif isinstance(expr, sympy.polygamma) and expr.args[0] in (0, 1, 2):
            name = ("digamma", "trigamma", "tetragamma")[int(expr.args[0])]
            self.used.add(name)
            return f"{name}({self.text(expr.args[1])})"
        elif isinstance(expr, sympy.besseli) and expr.args[0] in (0, 1, 2):
            name = f"besseli{int(expr.args[0])}"
            self.used.add(name)
            return f"{name}({self.text(expr.args[1])})"
        elif isinstance(expr, sympy.exp) and isinstance(expr.args[0], shift):
            name = self.exp_of_shift
        elif type(expr) in FUNCTIONS:
            name = FUNCTIONS[type(expr)]
        elif isinstance(expr, (sympy.Max, sympy.Min)):
            name = "larger" if isinstance(expr, sympy.Max) else "smaller"
            text = self.text(expr.args[0])
            for arg in expr.args[1:]:
                text = f"{name}({text}, {self.text(arg)})"
            self.used.add(name)
            return text
        else:
            raise UnsupportedError(f"the kernels have no function `{type(expr).__name__}`")
        texts = [self.text(arg) for arg in expr.args]
        if name == "ratio0" and texts[1] in self.fixed:
            name, texts[1] = "ratio0_over", self._divisor(texts[1])
        if name != "abs":
            self.used.add(name)
        return f"{name}({', '.join(texts)})"

    def needs_scales(self) -> str:
        """The test, made when a kernel is compiled, whether squares of the data may leave float64's range."""
        self.used.add("needs_scales")
        return f"needs_scales({self.data})"


#: Functions that are arithmetic: their arguments decide in which precision they are computed.
_ARITHMETIC = (
    atoms.times0, atoms.ratio0, gap, scaled, sympy.Abs, sympy.Max, sympy.Min, sympy.Piecewise, sympy.sign,
)  # fmt: skip


def is_call(expr: Any) -> bool:
    """Whether an expression is computed by a function, of arguments in their own precision."""
    if isinstance(expr, Expr) and expr.is_Pow:
        return not expr.exp.is_Integer
    return isinstance(expr, sympy.Function) and not isinstance(expr, _ARITHMETIC)


def is_costly(expr: Any) -> bool:
    """Whether a function takes longer than to write its result and to read it again."""
    is_root = expr.is_Pow and expr.exp.is_Rational
    return is_call(expr) and not is_root and not isinstance(expr, (shift, scale_of))


def widens(expr: Any) -> bool:
    """Whether an expression keeps digits in float64: arithmetic does, and a function that has a wide form."""
    return not is_call(expr) or _name(expr) in WIDE_FORMS


def _name(expr: Any) -> str:
    """The name of an atom; empty for anything else."""
    return expr.row.name if isinstance(expr, atoms.ScalarAtom) else ""


def _is_exact(number: Rational) -> bool:
    """Whether a fraction is a float: its denominator is a power of two."""
    return int(number.q) & (int(number.q) - 1) == 0
