"""Formulas drawn in two dimensions with Unicode characters, for the terminal.

Inputs keep their names, as in the text printer, and Greek ones become letters; the order of terms and
factors, the letters of indices and the way in which quotients are written are those of the other printers. An
atom is drawn from its LaTeX in the table of atoms.

A formula that is too wide is broken between terms, factors and arguments, from the outside in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from math import inf
from typing import Any

from sympy import Add, Basic, Eq, Expr, Function, Integer, Mul, Piecewise, Pow, Rational, S, Symbol
from sympy import Max as ScalarMax
from sympy import Min as ScalarMin
from sympy.core.relational import Relational
from sympy.printing.pretty.pretty import PrettyPrinter
from sympy.printing.pretty.pretty_symbology import greek_unicode
from sympy.printing.pretty.stringpict import prettyForm, stringPict

from symloss.atoms import RowAtom, ScalarAtom, ratio0
from symloss.index import Binder, Delta, Entry, Index, Max, Min, Reduction, Size
from symloss.printers.forms import (
    AT,
    SUB,
    UNDER,
    Form,
    Template,
    beside,
    column,
    enclosed,
    fraction,
    hole,
    is_call,
    is_enclosed,
    negated,
    raised,
    root,
    starts_with_minus,
    with_limits,
    without_minus,
)
from symloss.printers.notation import (
    GREEK,
    Letters,
    is_negative,
    is_wide,
    ordered_terms,
    quotient,
)
from symloss.printers.text import plain_name
from symloss.roles import LabelIndex


def shown(name: str) -> str:
    """The name of an input or a part: Greek as a letter, a short ending as a subscript."""
    if name in GREEK:
        return greek_unicode[name]
    head, _, tail = name.rpartition("_")
    if head and "_" not in head and (len(tail) == 1 or tail.isdigit()) and all(c in SUB for c in tail):
        return shown(head) + "".join(SUB[c] for c in tail)
    return name


class FormulaDrawer(PrettyPrinter):
    """SymPy's printer in two dimensions with index notation, and with the order in which people write.

    Args:
        taken: names that no index may have.
        has_subscripts: whether indices are subscripts, or in brackets: Unicode hasn't all small letters.
    """

    def __init__(self, taken: frozenset[str] = frozenset(), has_subscripts: bool = True) -> None:
        super().__init__({"use_unicode": True})
        self.letters = Letters(taken)
        self.has_subscripts = has_subscripts
        self.room = inf
        self._drawn: dict[Any, Form] = {}  # what is broken is drawn again for every width that is tried

    def draw(self, expr: Basic, room: float = inf) -> Form:
        """A formula in at most `room` columns, if it can be broken so that it fits."""
        form = self._at(expr, inf)
        return form if form.width() <= room else min(form, self._at(expr, room), key=stringPict.width)

    def _at(self, expr: Basic, room: float) -> Form:
        """What is printed for `room` columns."""
        key = expr, room, frozenset(self.letters.scope.items())
        if key not in self._drawn:
            with self._within(room):
                self._drawn[key] = self._print(expr)
        return self._drawn[key]

    @contextmanager
    def _within(self, room: float) -> Iterator[None]:
        outer, self.room = self.room, room
        try:
            yield
        finally:
            self.room = outer

    def _print(self, expr: Any, **kwargs: Any) -> Form:
        if not isinstance(expr, Binder):
            return super()._print(expr, **kwargs)
        with self.letters.bind(expr.indices):
            return super()._print(expr, **kwargs)

    # --- names and index notation ------------------------------------------------------------------------

    def _print_Symbol(self, expr: Symbol, bold_name: bool = False) -> Form:
        return prettyForm(shown(expr.name))

    def _print_Index(self, expr: Index) -> Form:
        return prettyForm(self.letters.of(expr))

    def _print_LabelIndex(self, expr: LabelIndex) -> Form:
        return prettyForm(shown(expr.name))

    def _print_Size(self, expr: Size) -> Form:
        return prettyForm(expr.name)

    def _print_Entry(self, expr: Entry) -> Form:
        return beside(self._print(expr.base), self.at(expr.indices))

    def at(self, indices: Sequence[Expr]) -> str:
        """Where an entry stands: subscripts where all are letters that have one, else in brackets."""
        letters = self._letters(indices)
        if self.has_subscripts and all(letter in SUB for letter in letters):
            return "".join(SUB[letter] for letter in letters)
        return f"[{', '.join(letters)}]"

    def under(self, indices: Sequence[Expr]) -> str:
        """The indices over which a function of a row runs, after its name."""
        letters = self._letters(indices)
        if self.has_subscripts and all(letter in SUB for letter in letters):
            return "".join(SUB[letter] for letter in letters)
        return "_" + ",".join(letters)

    def _letters(self, indices: Sequence[Expr]) -> list[str]:
        return [self._print(index).picture[0] for index in indices]

    def _print_Delta(self, expr: Delta) -> Form:
        return enclosed(beside(self._print(expr.args[0]), " = ", self._print(expr.args[1])), "[", "]")

    def _print_Sum(self, expr: Reduction) -> Form:
        return self._reduction("∑", expr, bounds=True)

    def _print_Product(self, expr: Reduction) -> Form:
        return self._reduction("∏", expr, bounds=True)

    def _print_Max(self, expr: Expr) -> Form:
        return self._extreme("max", expr)

    def _print_Min(self, expr: Expr) -> Form:
        return self._extreme("min", expr)

    def _extreme(self, name: str, expr: Expr) -> Form:
        if isinstance(expr, Reduction):
            return self._reduction(name, expr, bounds=False)
        return self.call(name, sorted(expr.args, key=lambda arg: not arg.is_Number))

    def _reduction(self, sign: str, expr: Reduction, bounds: bool) -> Form:
        letters = self._letters(expr.indices)
        above = expr.indices[0].dim if bounds and len(letters) == 1 else ""
        head = with_limits(sign, f"{letters[0]}=1" if above else ",".join(letters), above)
        return beside(head, " ", self.factor(expr.body, last=True, room=self.room - head.width() - 1))

    # --- sums, products, powers --------------------------------------------------------------------------

    def _print_Add(self, expr: Add, order: Any = None) -> Form:
        pieces: list[Form] = []
        terms = ordered_terms(expr)
        for term in terms:
            is_weak = isinstance(term, Add) or (_is_open(term) and term is not terms[-1])
            form = self.draw(term, self.room - 3 * bool(pieces) - 2 * is_weak)
            negative = is_negative(term) and starts_with_minus(form)
            if negative:
                form = without_minus(form)
            if is_weak or (pieces and starts_with_minus(form)):
                form = enclosed(form)
            sign = ("-" if negative else "") if not pieces else (" - " if negative else " + ")
            pieces.append(beside(sign, form) if sign else form)
        return self._filled(pieces)

    def _filled(self, pieces: Sequence[Form]) -> Form:
        """Pieces side by side, in as many lines as they need."""
        lines: list[Form] = []
        for piece in pieces:
            if lines and lines[-1].width() + piece.width() <= self.room:
                lines[-1] = beside(lines[-1], piece)
            else:
                lines.append(piece)
        is_tall = any(line.height() > 1 for line in lines)
        return lines[0] if len(lines) == 1 else column(lines, gap=int(is_tall))

    def _print_Mul(self, expr: Expr) -> Form:
        parts = quotient(expr)
        room = self.room - 2 * parts.negative
        wide = tuple(factor for factor in parts.above if is_wide(factor)) if parts.below else parts.above
        above = tuple(factor for factor in parts.above if factor not in wide)
        pieces = []
        if parts.below:
            pieces.append(fraction(self.product(above, room - 2), self.product(parts.below, room - 2)))
            room -= pieces[0].width() + 1
        if wide:
            pieces.append(self.product(wide, room, is_alone=False))
        whole = _joined(pieces, " ") if pieces else prettyForm("1")
        return negated(whole) if parts.negative else whole

    def product(self, factors: Sequence[Expr], room: float = inf, is_alone: bool = True) -> Form:
        """Factors with dots between them; the empty product is 1.

        Args:
            factors: what is multiplied.
            room: how many columns there are.
            is_alone: whether nothing stands around it, as above and below the line of a fraction.
        """
        if not factors:
            return prettyForm("1")
        if is_alone and len(factors) == 1:
            return self.draw(factors[0], room)
        forms = [self.factor(f, f is factors[-1], room - (f is not factors[0])) for f in factors]
        pieces = forms[:1]
        for before, form in pairwise(forms):  # a dot keeps away from the lines of fractions
            left, right = before.picture[before.baseline], form.picture[form.baseline]
            pieces.append(beside(" " * left.endswith("─") + "·" + " " * right.startswith("─"), form))
        with self._within(room):
            return self._filled(pieces)

    def factor(self, expr: Expr, last: bool = False, room: float = inf) -> Form:
        """A formula as a factor of a product, bracketed where it must be."""
        is_weak = isinstance(expr, (Add, Relational)) or (is_wide(expr) and not last)
        form = None if is_weak else self.draw(expr, room)
        return enclosed(self.draw(expr, room - 2)) if form is None or starts_with_minus(form) else form

    def _print_Pow(self, expr: Pow) -> Form:
        power = expr.exp
        if power.is_Rational and power.is_negative:
            return self._print_Mul(expr)
        if power == Rational(1, 2):
            return root(self.draw(expr.base, self.room - 3))
        is_fraction = power.is_Rational and power.q != 1
        exponent = prettyForm(f"{power.p}/{power.q}") if is_fraction else self._print(power)
        return raised(self.base(expr.base, self.room - exponent.width()), exponent)

    def base(self, expr: Expr, room: float = inf) -> Form:
        """A formula as the base of a power, bracketed unless it is one thing."""
        if isinstance(expr, ScalarAtom) and not is_call(expr.row.latex):
            is_whole = is_enclosed(expr.row.latex)
        elif isinstance(expr, RowAtom):
            is_whole = is_enclosed(expr.latex_form)
        elif isinstance(expr, Integer):
            is_whole = expr >= 0
        else:
            whole = (Symbol, Entry, Function, ScalarMax, ScalarMin)
            is_whole = isinstance(expr, whole) and not isinstance(expr, Piecewise)
        return self.draw(expr, room) if is_whole else enclosed(self.draw(expr, room - 2))

    def _print_Rational(self, expr: Rational) -> Form:
        whole = fraction(stringPict(str(abs(expr.p))), stringPict(str(expr.q)))
        return negated(whole) if expr.p < 0 else whole

    def _print_Integer(self, expr: Integer) -> Form:
        return prettyForm(str(expr))

    # --- functions ---------------------------------------------------------------------------------------

    def call(self, name: str, args: Sequence[Basic]) -> Form:
        """A function applied to arguments."""
        room = self.room - len(name) - 2
        forms = [self.draw(arg, room - (arg is not args[-1])) for arg in args]
        with self._within(room):
            inside = self._filled([*(beside(form, ", ") for form in forms[:-1]), forms[-1]])
        return beside(name, enclosed(inside))

    def _print_Function(self, expr: Expr) -> Form:
        name = type(expr).__name__
        if isinstance(expr, ratio0) and isinstance(expr.args[0], ratio0):
            return self._repeated_ratio(expr)
        if isinstance(expr, ScalarAtom) and not is_call(expr.row.latex):
            return self._template(expr.row.latex.format(*map(hole, range(len(expr.args)))), expr.args)
        return self.call(_FUNCTIONS.get(name, plain_name(name)), expr.args)

    def _repeated_ratio(self, expr: Expr) -> Form:
        """x / y / y as one fraction."""
        above, below = expr, []
        while isinstance(above, ratio0):
            above, bottom = above.args
            below.append(bottom)
        powers = [Pow(bottom, n, evaluate=False) if n > 1 else bottom for bottom, n in Counter(below).items()]
        return fraction(self.draw(above, self.room - 2), self.product(powers, self.room - 2))

    _print_log = _print_exp = _print_ExpBase = _print_gamma = _print_loggamma = _print_Function

    def _print_polygamma(self, expr: Expr) -> Form:
        order, argument = expr.args
        return self.call("digamma", [argument]) if order == 0 else self.call("polygamma", expr.args)

    def _print_Abs(self, expr: Expr) -> Form:
        return enclosed(self.draw(expr.args[0], self.room - 2), "|", "|")

    def _print_Binder(self, expr: Binder) -> Form:
        """A function of a row; an atom's template says where its places and bound indices are written."""
        if not isinstance(expr, RowAtom):
            name = plain_name(type(expr).__name__) + self.under(expr.indices)
            return beside(self.call(name, expr.bodies), self.at(expr.at) if expr.at else "")
        body = ", ".join(map(hole, range(len(expr.bodies))))
        template = expr.latex_form.format(k=UNDER, body=body, at=AT)
        at = self.at(expr.at) if expr.at else ""
        return self._template(template, expr.bodies, self.under(expr.indices), at)

    def _template(self, template: str, args: Sequence[Expr], under: str = "", at: str = "") -> Form:
        def filled(room: float) -> Form:
            return Template(template, lambda i, how: self._argument(args[i], how, room), under, at).form()

        form = filled(inf)
        return form if form.width() <= self.room else filled(self._left_for(form, args))

    def _left_for(self, form: Form, args: Sequence[Expr]) -> float:
        """The room that the widest argument of a template has."""
        return self.room - form.width() + max(self.draw(arg).width() for arg in args)

    def _argument(self, expr: Expr, how: str, room: float) -> Form:
        """An argument of a template, bracketed as it must be where it stands."""
        if how == "base":
            return self.base(expr, room)
        return self.draw(expr, room) if how == "whole" else self.factor(expr, room=room)

    def _print_Pi(self, expr: Expr) -> Form:
        return prettyForm("π")

    def _print_Exp1(self, expr: Expr) -> Form:
        return prettyForm("e")

    def _print_NaN(self, expr: Expr) -> Form:
        return prettyForm("NaN")

    def _print_Infinity(self, expr: Expr) -> Form:
        return prettyForm("∞")

    def _print_NegativeInfinity(self, expr: Expr) -> Form:
        return prettyForm("-∞")

    # --- branches and relations --------------------------------------------------------------------------

    def _print_Piecewise(self, expr: Expr) -> Form:
        conditions = [
            prettyForm("otherwise") if condition == S.true else beside("if ", self._print(condition))
            for _, condition in expr.args
        ]
        forms = [self.draw(value) for value, _ in expr.args]
        width = max(form.width() for form in forms)
        if width + max(condition.width() for condition in conditions) + 5 <= self.room:
            branches = [
                beside(form, " " * (width - form.width() + 3), condition)
                for form, condition in zip(forms, conditions, strict=True)
            ]
        else:  # each branch below its condition
            forms = [self.draw(value, self.room - 6) for value, _ in expr.args]
            branches = [
                column([beside(condition, ":"), beside("    ", form)])
                for form, condition in zip(forms, conditions, strict=True)
            ]
        is_tall = len(branches) == 2 or any(branch.height() > 1 for branch in branches)
        whole = column(branches, gap=int(is_tall))
        whole.baseline = whole.height() // 2
        return enclosed(beside(" ", whole), "{", "")

    def _print_Relational(self, expr: Relational) -> Form:
        if isinstance(expr, Eq) and expr.rhs == 0 and isinstance(expr.lhs, Add):
            terms = ordered_terms(expr.lhs)
            left = [self._print(term) for term in terms if not is_negative(term)]
            right = [without_minus(self._print(term)) for term in terms if is_negative(term)]
            return beside(_joined(left, " + "), " = ", _joined(right, " + "))
        if expr.rhs.args and not expr.lhs.args:  # SymPy turns |r| <= delta around
            expr = expr.reversed
        sign = {"==": "=", "!=": "≠", "<=": "≤", ">=": "≥"}.get(expr.rel_op, expr.rel_op)
        return beside(self._print(expr.lhs), f" {sign} ", self._print(expr.rhs))

    def _print_And(self, expr: Basic) -> Form:
        return _joined([self._print(arg) for arg in expr.args], " and ")

    def _print_Or(self, expr: Basic) -> Form:
        return _joined([self._print(arg) for arg in expr.args], " or ")


#: Functions that have a letter.
_FUNCTIONS = {"gamma": "Γ"}


def _is_open(expr: Expr) -> bool:
    """Whether something that follows could be read as a part of it."""
    return isinstance(expr, (Max, Min)) or any(isinstance(f, Piecewise) for f in Mul.make_args(expr))


def _joined(forms: Sequence[Form], between: str) -> Form:
    """Forms with something between them; nothing is 0."""
    if not forms:
        return prettyForm("0")
    return beside(forms[0], *(part for form in forms[1:] for part in (between, form)))
