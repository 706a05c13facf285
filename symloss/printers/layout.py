"""How a formula is laid out on a page: abbreviations for its parts, and lines that fit.

A derivative can be wider than a page. What occurs in it more than once, or has a name in the spec, is then
given a letter ("where u = ..."), and a sum is broken before its plus and minus signs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sympy import Add, Expr, Number, Piecewise, Symbol
from sympy.core.parameters import distribute

from symloss.index import Bound, Entry, substitute, walk
from symloss.printers.latex import FormulaPrinter, depths, printer_for
from symloss.printers.notation import free_indices, standard

#: About as many characters as a line of a page holds.
LINE = 62
#: A part narrower than this is not worth a letter of its own.
PART = 9
#: A column is no wider than these commands are; every other command counts as one character.
_SILENT = {r"\left", r"\right", r"\begin", r"\end", r"\mathrm", r"\operatorname", r"\text", r"\displaystyle"}
_SILENT |= {"{", "}", " ", "^", "_", "&", r"\\"}


@dataclass(frozen=True)
class Abbreviated:
    """A formula, and the definitions of the letters in it: (letter, its formula) pairs."""

    expr: Expr
    where: tuple[tuple[Expr, Expr], ...] = ()


def width(text: str) -> float:
    """About how many characters wide a formula is when typeset; of a fraction, its wider half."""
    return max(_row(row) for row in _rows(text))


def _rows(text: str) -> list[str]:
    """The rows of a formula that is nothing but branches; else the formula."""
    if text.startswith(r"\begin{cases}") and text.endswith(r"\end{cases}") and text.count(r"\begin") == 1:
        return text.split(r"\\")
    return [text]


def _row(text: str) -> float:
    total = 0.0
    tokens = depths(text)
    position = 0
    while position < len(tokens):
        token, depth = tokens[position]
        if token == r"\frac":
            over, position = _group(tokens, position + 1, depth)
            under, position = _group(tokens, position, depth)
            total += max(_row(over), _row(under))
            continue
        if token in (r"\begin", r"\end"):
            _, position = _group(tokens, position + 1, depth)
            continue
        if token in "^_":
            script, position = _group(tokens, position + 1, depth)
            total += 0.7 * _row(script)
            continue
        if token not in _SILENT:
            total += len(token) - 1 if token in (r"\log", r"\exp", r"\max", r"\min", r"\tanh") else 1
        position += 1
    return total


def _group(tokens: list[tuple[str, int]], start: int, depth: int) -> tuple[str, int]:
    """The text of the braces that open at `start` (or of the one token there), and what follows them."""
    if start >= len(tokens) or tokens[start][0] != "{":
        return ("".join(token for token, _ in tokens[start : start + 1]), start + 1)
    inside = []
    position = start + 1
    level = 1
    while position < len(tokens):
        token = tokens[position][0]
        level += (token == "{") - (token == "}")
        if level == 0:
            break
        inside.append(token + (" " if token[0] == "\\" and token[-1].isalpha() else ""))
        position += 1
    return "".join(inside), position + 1


def abbreviate(expr: Expr, names: Mapping[str, str], spec_names: Mapping[Expr, str]) -> Abbreviated:
    """Give letters to the parts of a formula that is too wide for a line.

    Args:
        expr: the formula.
        names: the LaTeX of the inputs.
        spec_names: what the spec calls its parts; used for those that occur.
    """
    where: list[tuple[Expr, Expr]] = []
    taken = {standard(name) for name in names} | set(names.values())
    letters = (letter for letter in _letters() if letter not in taken and standard(letter) not in taken)
    while _width(expr, names) > LINE:
        part = _named_part(expr, spec_names, taken) or _repeated_part(expr, names)
        if part is None:
            break
        name = spec_names.get(part)
        if name is None or standard(name) in taken:
            name = next(letters)
        taken.add(standard(name))
        open_indices = free_indices(part)
        symbol = Symbol(name, real=True)
        letter = Entry(symbol, *open_indices) if open_indices else symbol
        with distribute(False):
            expr = substitute(expr, {part: letter})
            where = [(other, substitute(formula, {part: letter})) for other, formula in where]
        where.append((letter, part))
    return Abbreviated(expr, tuple(where))


def _letters() -> Iterator[str]:
    yield from "uwghaboqrsABEFGLPQRST"
    number = 1
    while True:
        yield f"u_{number}"
        number += 1


def _width(expr: Expr, names: Mapping[str, str]) -> float:
    return width(printer_for(expr, names)._print(expr))


def _parts(expr: Expr) -> Counter[Expr]:
    """The parts of a formula that can have a letter, and how often each occurs."""
    parts = (node for node in walk(expr) if node is not expr and isinstance(node, Expr))
    return Counter(
        node
        for node in parts
        if node.args
        and not isinstance(node, (Entry, Number, Symbol))
        and not any(isinstance(symbol, Bound) for symbol in node.free_symbols)
    )


def _named_part(expr: Expr, spec_names: Mapping[Expr, str], taken: set[str]) -> Expr | None:
    """The largest part that the spec has a name for."""
    parts = _parts(expr)
    named = [part for part, name in spec_names.items() if part in parts and standard(name) not in taken]
    return max(named, key=lambda part: (len(list(walk(part))), spec_names[part]), default=None)


def _repeated_part(expr: Expr, names: Mapping[str, str]) -> Expr | None:
    """The part whose repetition costs most; branches inside a larger formula count as repeated."""
    best: Expr | None = None
    most = 0.0
    for part, count in _parts(expr).items():
        repeated = count - 1 + isinstance(part, Piecewise)
        if repeated < 1:
            continue
        cost = repeated * (_width(part, names) - 2)
        if cost > max(most, PART - 2):
            best, most = part, cost
    return best


def lines(left: str, expr: Expr, printer: FormulaPrinter) -> list[str]:
    """An equation in as many lines as it needs, for an `aligned` environment.

    Args:
        left: the LaTeX of the left-hand side; empty for a formula alone.
        expr: the right-hand side.
        printer: prints it.
    """
    relation = f"{left} &= " if left else "& "
    if not isinstance(expr, Add):
        return [relation + printer._print(expr)]
    result: list[str] = []
    line = ""
    for term in printer.signed_terms(expr):
        if line and width(line) + width(term) > LINE:
            result.append(line)
            line = ""
        line += term
    result.append(line)
    first, *rest = (line.strip() for line in result)
    return [relation + first, *(rf"&\qquad {line}" for line in rest)]


def block(rows: list[str]) -> str:
    """Lines as one formula: alone where it is one, else aligned."""
    if len(rows) == 1:
        return rows[0].replace("&= ", "= ", 1).removeprefix("& ")
    return "\\begin{aligned}\n" + " \\\\\n".join(rows) + "\n\\end{aligned}"
