"""Drawings of formulas, put together from smaller ones: brackets, fractions, roots, exponents, columns.

A form is a block of characters with a base line. `Template` draws the LaTeX of an atom, of which it reads the
few commands that occur in the table of atoms.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TypeAlias

from sympy.printing.pretty.pretty_symbology import greek_unicode
from sympy.printing.pretty.stringpict import prettyForm, stringPict

from symloss.printers.notation import GREEK

Form: TypeAlias = prettyForm

SUB = dict(zip("0123456789aehijklmnoprstuvx", "₀₁₂₃₄₅₆₇₈₉ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓ", strict=True))
SUPER = dict(zip("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹", strict=True))
#: Brackets: alone, and in a column from top to bottom, with what they are made longer by and their middle.
_BRACKETS = {
    "(": ("(", "⎛", "⎜", "⎜", "⎝"),
    ")": (")", "⎞", "⎟", "⎟", "⎠"),
    "[": ("[", "⎡", "⎢", "⎢", "⎣"),
    "]": ("]", "⎤", "⎥", "⎥", "⎦"),
    "{": ("{", "⎧", "⎪", "⎨", "⎩"),
    "|": ("│", "│", "│", "│", "│"),
    "‖": ("‖", "‖", "‖", "‖", "‖"),
}
#: Every character that a drawing can have beside plain letters: a terminal must know them all.
CHARACTERS = "".join(
    sorted({*"ℓ∂∑∏√╲╱─│·≤≥≠∞π", *SUB.values(), *SUPER.values(), *"".join(map("".join, _BRACKETS.values()))})
    + [greek_unicode[name] for name in sorted(GREEK)]
)


def rows(form: stringPict) -> list[str]:
    """The lines of a drawing."""
    return [line.rstrip() for line in form.picture]


# --- forms --------------------------------------------------------------------------------------------------


def beside(*parts: stringPict | str) -> Form:
    """Forms side by side, on one base line."""
    return prettyForm(*stringPict.next(*parts))


def column(parts: Sequence[stringPict], base: int = 0, gap: int = 0) -> Form:
    """Forms below each other, flush left, with `gap` empty lines between; the base line is that of one."""
    width = max(part.width() for part in parts)
    lines: list[str] = []
    baseline = 0
    for position, part in enumerate(parts):
        lines += [" " * width] * (gap if position else 0)
        if position == base:
            baseline = len(lines) + part.baseline
        lines += [line + " " * (width - part.width()) for line in part.picture]
    return prettyForm("\n".join(lines), baseline)


def enclosed(form: stringPict, left: str = "(", right: str = ")") -> Form:
    """A form in brackets as tall as it is; either may be empty."""

    def side(bracket: str) -> stringPict:
        one, top, more, middle, bottom = _BRACKETS[bracket]
        height = form.height()
        column = [top, *[more] * (height - 2), bottom] if height > 1 else [one]
        if height > 2:
            column[height // 2] = middle
        return stringPict("\n".join(column), form.baseline)

    return beside(*(side(left),) if left else "", form, *(side(right),) if right else "")


def fraction(above: stringPict, below: stringPict) -> Form:
    """One form over another one, with a line between them, longer than the lines of fractions in them."""
    has_lines = any(form.picture[form.baseline].lstrip().startswith("─") for form in (above, below))
    line = stringPict("─" * (max(above.width(), below.width()) + 2 * has_lines))
    return prettyForm(stringPict.stack(above, line, below)[0], above.height())


def root(form: stringPict) -> Form:
    """The square root of a form."""
    if form.height() == 1 and re.fullmatch(r"\w+", form.picture[0]):
        return beside("√", form)
    height = form.height()
    slope = [" " * (height - i) + "╱" + " " * i for i in range(height)]
    slope[-1] = "╲" + slope[-1][1:]
    sign = stringPict("\n".join([" " * (height + 1), *slope]), form.baseline + 1)
    lines = ["_" * form.width(), *form.picture]
    return beside(sign, stringPict("\n".join(lines), form.baseline + 1))


def raised(base: stringPict, exponent: stringPict) -> Form:
    """A form with an exponent: digits of one line on the base's top line, others above it."""
    height = exponent.height()
    digits = exponent.picture[0]
    empty = [" " * exponent.width()] * base.baseline
    if height == 1 and all(c in SUPER for c in digits):
        lines = ["".join(SUPER[c] for c in digits), *empty]
    else:
        lines = [*exponent.picture, " " * exponent.width(), *empty]
    return beside(base, stringPict("\n".join(lines), len(lines) - 1))


def with_limits(sign: str, below: str, above: str = "") -> Form:
    """The sign of a sum, with what stands below and above it."""
    width = max(map(len, (sign, below, above)))
    lines = [line.center(width) for line in (above, sign, below) if line or line is sign]
    return prettyForm("\n".join(lines), 1 if above else 0)


def negated(form: stringPict) -> Form:
    """A form with a minus sign, which keeps away from the line of a fraction."""
    return beside("- " if form.picture[form.baseline].startswith("─") else "-", form)


def starts_with_minus(form: stringPict) -> bool:
    """Whether the first thing on the base line is a minus sign."""
    return form.picture[form.baseline].lstrip().startswith("-")


def without_minus(form: stringPict) -> Form:
    """A form without the minus sign that it starts with, and without the space before it and after."""
    lines = list(form.picture)
    lines[form.baseline] = lines[form.baseline].replace("-", " ", 1)
    cut = min(len(line) - len(line.lstrip()) for line in lines if line.strip())
    return prettyForm("\n".join(line[cut:] for line in lines), form.baseline)


# --- the LaTeX of atoms -------------------------------------------------------------------------------------

#: Where the bound indices and the place of a function of a row stand in a template; arguments come before.
UNDER, AT = "\ue0fe", "\ue0ff"
_TOKEN = re.compile(r"\\left(?:\\lVert|.) ?| ?\\right(?:\\rVert|.)| ?\\cdot ?|\\[A-Za-z]+|, |.")
_CALL = re.compile(r"(?:\\[A-Za-z]+|\{\{\w+\}\}|')+\\left\(\{0\}\\right\)")


def hole(number: int) -> str:
    """What stands for an argument in a template."""
    return chr(0xE000 + number)


def is_call(latex: str) -> bool:
    """Whether an atom is written as a function of one argument; it is then drawn by its own name."""
    return _CALL.fullmatch(latex) is not None


def is_enclosed(latex: str) -> bool:
    """Whether brackets or bars stand around an atom."""
    return latex.startswith(r"\left")


class Template:
    """Draws the LaTeX of an atom.

    Args:
        latex: LaTeX of the commands that the table of atoms uses.
        argument: draws an argument, given its number and how it stands: "whole", "factor" or "base".
        under: the bound indices.
        at: the place at which a row is read.
    """

    def __init__(self, latex: str, argument: Callable[[int, str], Form], under: str, at: str) -> None:
        self.tokens = _TOKEN.findall(latex)
        self.argument = argument
        self.marks = {UNDER: under, AT: at}
        self.position = 0

    def form(self) -> Form:
        """The drawing."""
        return self._until("")

    def _peek(self, step: int = 0) -> str:
        place = self.position + step
        return self.tokens[place] if 0 <= place < len(self.tokens) else ""

    def _until(self, stop: str) -> Form:
        """What comes before `stop`, which is taken too."""
        parts: list[stringPict | str] = []
        while self._peek() and not (stop and self._peek().strip().startswith(stop)):
            token = self._peek()
            self.position += 1
            if token == "^":
                base = parts.pop()
                parts.append(raised(prettyForm(base) if isinstance(base, str) else base, self._group()))
            else:
                parts.append(self._item(token))
        self.position += 1
        return beside(*parts)

    def _group(self) -> Form:
        """What the braces hold that open here, or the one token that stands here."""
        token = self._peek()
        self.position += 1
        return self._until("}") if token == "{" else beside(self._item(token))

    def _item(self, token: str) -> stringPict | str:
        if token == "{":
            return self._until("}")
        if token.startswith(r"\left"):
            left = "‖" if "Vert" in token else token.strip()[-1]
            inside = self._until(r"\right")
            return enclosed(inside, left, {"(": ")", "[": "]"}.get(left, left))
        if token == r"\frac":
            above = self._group()
            return fraction(above, self._group())
        if token == r"\sqrt":
            return root(self._group())
        if token == "e" and self._peek() == "^":
            self.position += 1
            return beside("exp", enclosed(self._group()))
        if token == "_":
            return self._subscript()
        if token.strip() == r"\cdot":
            return "·"
        if token[0] == "\\":
            return self._name(token[1:])
        if "\ue000" <= token < UNDER:
            return self.argument(ord(token) - 0xE000, self._standing())
        return token

    def _subscript(self) -> str:
        if (mark := self._peek(1)) in self.marks:
            self.position += 3
            return self.marks[mark]
        return "".join(SUB.get(c, c) for c in self._group().picture[0])

    def _name(self, name: str) -> str:
        """The name of a function; one that has no brackets stands apart from what follows."""
        text = self._group().picture[0] if name == "operatorname" else greek_unicode.get(name, name)
        return text + " " * (self._peek().startswith("\\") and not self._peek().startswith(r"\left"))

    def _standing(self) -> str:
        """How the argument stands that was just taken: alone, raised to a power, or among others."""
        if self._peek() == "^":
            return "base"
        before, after = self._peek(-2), self._peek()
        starts = before in ("{", ", ") or before.startswith(r"\left")
        is_alone = starts and (after in ("}", ", ") or r"\right" in after)
        return "whole" if is_alone else "factor"
