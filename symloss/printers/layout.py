"""How a formula is laid out on a page: abbreviations for its parts, and lines that fit.

A derivative can be wider than a page. What occurs in it more than once, or has a name in the spec, is then
given a letter ("where u = ..."), and a sum is broken before its plus and minus signs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sympy import Add, Expr, Number, Piecewise, Symbol
from sympy.core.parameters import distribute

from symloss.index import Bound, Entry, substitute, walk
from symloss.printers.latex import FormulaPrinter, depths, printer_for
from symloss.printers.notation import free_indices, standard

#: About as many characters as a line of a page holds, and of a telephone.
LINE, NARROW = 62, 30
#: A part narrower than this is not worth a letter of its own.
PART = 9
#: A line this much wider than wanted is still left as it is; and the most letters that a formula is given.
WIDER, MOST_LETTERS = 1.25, 20
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


def abbreviate(
    expr: Expr, names: Mapping[str, str], spec_names: Mapping[Expr, str], limit: float = LINE
) -> Abbreviated:
    """Give letters to the parts of a formula that is too wide for a line.

    Args:
        expr: the formula.
        names: the LaTeX of the inputs.
        spec_names: what the spec calls its parts; used for those that occur.
        limit: how many characters a line holds.
    """
    (short,), where = together([expr], names, spec_names, limit)
    return Abbreviated(short, where)


def together(
    exprs: Sequence[Expr], names: Mapping[str, str], spec_names: Mapping[Expr, str], limit: float = LINE
) -> tuple[list[Expr], tuple[tuple[Expr, Expr], ...]]:
    """`abbreviate` for several formulas that share their letters."""
    exprs = list(exprs)
    where: list[tuple[Expr, Expr]] = []
    taken = {standard(name) for name in names} | set(names.values())
    letters = (letter for letter in _letters() if letter not in taken and standard(letter) not in taken)

    def replace(part: Expr, name: str | None) -> None:
        """Put a letter in place of a part, wherever it occurs."""
        nonlocal exprs, where
        if name is None or standard(name) in taken:
            name = next(letters)
        taken.add(standard(name))
        open_indices = free_indices(part)
        symbol = Symbol(name, real=True)
        letter = Entry(symbol, *open_indices) if open_indices else symbol
        with distribute(False):
            exprs = [substitute(expr, {part: letter}) for expr in exprs]
            where = [(other, substitute(formula, {part: letter})) for other, formula in where]
        where.append((letter, part))

    while max(_width(expr, names) for expr in exprs) > limit:
        part = _named_part(exprs, spec_names, taken) or _repeated_part(exprs, names)
        if part is None:
            break
        replace(part, spec_names.get(part))
    # What is left may have one line that is too wide, and so may a definition.
    while len(where) < MOST_LETTERS:
        parts = (
            _wide_part(formula, names, limit) for formula in (*exprs, *(meaning for _, meaning in where))
        )
        part = next((part for part in parts if part is not None), None)
        if part is None:
            break
        replace(part, None)
    return exprs, tuple(where)


def _letters() -> Iterator[str]:
    yield from "uwghaboqrsABEFGLPQRST"
    number = 1
    while True:
        yield f"u_{number}"
        number += 1


def _width(expr: Expr, names: Mapping[str, str]) -> float:
    return width(printer_for(expr, names)._print(expr))


def _parts(exprs: Sequence[Expr]) -> Counter[Expr]:
    """The parts of formulas that can have a letter, and how often each occurs."""
    parts = (node for expr in exprs for node in walk(expr) if node not in exprs and isinstance(node, Expr))
    return Counter(
        node
        for node in parts
        if node.args
        and not isinstance(node, (Entry, Number, Symbol))
        and not any(isinstance(symbol, Bound) for symbol in node.free_symbols)
    )


def _line_of(expr: Expr, names: Mapping[str, str]) -> tuple[float, Expr]:
    """The widest line that a formula has when sums and cases are broken: its width, and what is on it."""
    if isinstance(expr, Add):
        return max(((_width(term, names), term) for term in expr.args), key=lambda line: line[0])
    if isinstance(expr, Piecewise):
        return max((_line_of(value, names) for value, _ in expr.args), key=lambda line: line[0])
    return _width(expr, names), expr


def _wide_part(expr: Expr, names: Mapping[str, str], limit: float) -> Expr | None:
    """The widest part of a formula's widest line that has room on a line, if that line is too wide."""
    width_now, line = _line_of(expr, names)
    if width_now <= WIDER * limit:
        return None
    parts = [
        node
        for node in dict.fromkeys(walk(line))
        if node is not line and isinstance(node, Expr) and node.args and not isinstance(node, (Entry, Number))
    ]
    widths = [(_line_of(part, names)[0], _width(part, names), part) for part in parts]
    for fits in (lambda line, whole: whole <= limit, lambda line, whole: line <= limit):
        fitting = [(whole, part) for line, whole, part in widths if fits(line, whole) and whole >= PART]
        if fitting:
            most = max(whole for whole, _ in fitting)
            return next(part for whole, part in fitting if whole == most)
    return None


def _named_part(exprs: Sequence[Expr], spec_names: Mapping[Expr, str], taken: set[str]) -> Expr | None:
    """The largest part that the spec has a name for."""
    parts = _parts(exprs)
    named = [part for part, name in spec_names.items() if part in parts and standard(name) not in taken]
    return max(named, key=lambda part: (len(list(walk(part))), spec_names[part]), default=None)


def _repeated_part(exprs: Sequence[Expr], names: Mapping[str, str]) -> Expr | None:
    """The part whose repetition costs most; branches inside a larger formula count as repeated."""
    best: Expr | None = None
    most = 0.0
    for part, count in _parts(exprs).items():
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
    first, *rest = _stacked(expr, printer, LINE)
    return [relation + first, *(f"& {line}" for line in rest)]


def _broken(expr: Expr, printer: FormulaPrinter, limit: float) -> list[str]:
    """A sum in lines of about `limit` characters; anything else on one line."""
    if not isinstance(expr, Add):
        return [printer._print(expr)]
    result: list[str] = []
    line = ""
    for term in printer.signed_terms(expr):
        if line and width(line) + width(term) > limit:
            result.append(line)
            line = ""
        line += term
    result.append(line)
    return [line.strip() for line in result]


def narrow(left: str, expr: Expr, printer: FormulaPrinter) -> list[str]:
    """The same for a narrow screen, in lines of about `NARROW` characters; the left-hand side has its own."""
    whole = f"{left} = {printer._print(expr)}" if left else printer._print(expr)
    if width(whole) <= NARROW:
        return [f"& {whole}"]
    rows = [f"& {left} =" if left else ""]
    return [row for row in rows if row] + [f"& {row}" for row in _stacked(expr, printer, NARROW)]


def _stacked(expr: Expr, printer: FormulaPrinter, limit: float) -> list[str]:
    """A formula in lines of about `limit` characters; the condition of a wide case has a line of its own."""
    whole = printer._print(expr)
    if width(whole) <= limit:
        return [whole]
    if not isinstance(expr, Piecewise):
        first, *rest = _broken(expr, printer, limit)
        return [first, *(rf"\qquad {line}" for line in rest)]
    rows: list[str] = []
    for value, condition in expr.args:
        rows += _stacked(value, printer, limit - 3)
        rows.append(rf"\qquad {printer.condition(condition)}")
    return [r"\begin{cases} " + r" \\ ".join(rows) + r" \end{cases}"]


def block(rows: list[str]) -> str:
    """Lines as one formula: alone where it is one, else aligned."""
    if len(rows) == 1:
        return rows[0].replace("&= ", "= ", 1).removeprefix("& ")
    return "\\begin{aligned}\n" + " \\\\\n".join(rows) + "\n\\end{aligned}"
