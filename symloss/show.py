"""A loss as text, for `symloss show`: a page with its formulas, or one stage on its way to a kernel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sympy import Basic, Expr

    from symloss.derive import Derivation, Output, Step
    from symloss.printers.drawing import Drawings
    from symloss.roles import Loss

STAGES = ("formula", "lifted", "derived", "stabilised", "trail", "program", "kernel", "latex")
#: A page is laid out for at least so many columns.
NARROWEST = 40
#: What must not begin a line of Chinese.
_CLOSING = "，。；：、！？）》”’"
#: What must not end one.
_OPENING = "（《“‘"
#: The derivatives on a page, and their headings.
_DERIVATIVES = (("grad", "Gradient", "梯度"), ("hess", "Hessian diagonal", "Hessian 对角线"))


class Heading(str):
    """A line that a terminal may show in bold."""

    __slots__ = ()


def can_draw(encoding: str | None) -> bool:
    """Whether a terminal of this encoding has the characters of drawings."""
    from symloss.printers.forms import CHARACTERS

    try:
        CHARACTERS.encode(encoding or "ascii")
    except (UnicodeError, LookupError):
        return False
    return True


def page(loss: Loss, width: int = 80, is_plain: bool = False, with_trail: bool = False) -> Iterator[str]:
    """What is known of a loss, in lines of at most `width` columns.

    Args:
        loss: the loss.
        width: how wide the terminal is, in columns; at least 40 are used.
        is_plain: for terminals without Unicode: formulas on one line each, however long, and no Chinese.
        with_trail: whether the steps of the derivation follow.
    """
    yield from _Page(_derivation(loss), max(width, NARROWEST), is_plain).lines(with_trail)


def show(loss: Loss, stage: str = "all") -> Iterator[str]:
    """The lines that show one stage of a loss, or every stage below its heading."""
    if stage != "all":
        yield from _stage(loss, None if stage == "formula" else _derivation(loss), stage)
        return
    derivation = _derivation(loss)
    yield f"{loss.title}: {loss.name} {loss.signature}"
    for name in STAGES:
        if name not in ("latex", "kernel"):
            yield from ("", f"== {name} ==")
            yield from _stage(loss, derivation, name)


def _derivation(loss: Loss) -> Derivation:
    from symloss.derive import derive

    return derive(loss)


@dataclass(frozen=True)
class _Page:
    """The lines of a page: headings at the margin, what is below them further in."""

    derivation: Derivation
    width: int
    is_plain: bool

    def lines(self, with_trail: bool) -> Iterator[str]:
        """The whole page."""
        from rich.cells import cell_len

        from symloss.printers.prose import FAMILIES

        derivation, loss = self.derivation, self.derivation.loss
        yield from map(Heading, self.wrapped(self.both(loss.title, loss.chinese.title)))
        call = f"{loss.name}({', '.join(item.name for item in loss.inputs)})"
        parts = [call, loss.signature, self.both(loss.family, FAMILIES.get(loss.family, ""))]
        line = "  ".join(parts)
        for part in [line] if cell_len(line) <= self.width else parts:
            yield from self.wrapped(part)
        for words in (loss.english.meaning, "" if self.is_plain else loss.chinese.meaning):
            if words:
                yield from ("", *self.wrapped(words))
        yield from self.section("Formula", "公式", [self.value(loss.formula, loss.names)])
        for kind, english, chinese in _DERIVATIVES:
            found = [output for output in derivation.outputs if output.kind == kind]
            yield from self.section(english, chinese, list(map(self.derivative, found)))
        if not self.is_plain:
            shown = [output.expr for output in derivation.outputs if output.kind in ("grad", "hess")]
            yield from self.section("Functions", "函数", list(self.drawings.functions(shown)))
        yield from self.section("Parameters", "参数", [[line] for line in self.parameters()], gap=False)
        limits = [[f"{self.letter(name)} = {at}:", *self.value(formula)] for name, at, formula in loss.limits]
        yield from self.section("Limits", "退化情形", limits)
        kinks = [self.wrapped(f"{self.inline(kink.where)}: {kink.rule}", 4) for kink in derivation.kinks]
        yield from self.section("Kinks", "不可导点", kinks, gap=False)
        if with_trail:
            steps = [list(self.step(number, step)) for number, step in enumerate(derivation.steps, 1)]
            yield from self.section("Derivation", "推导", steps)
        stages = f"--stage STAGE one stage of it: {', '.join(STAGES)}, or all"
        yield ""
        yield from self.wrapped(f"--trail shows each step of the derivation, {stages}.")
        if not self.is_plain:
            yield from self.wrapped("--trail 列出推导的每一步，--stage STAGE 只看其中一个阶段。")

    def section(
        self, english: str, chinese: str, parts: Sequence[Sequence[str]], gap: bool = True
    ) -> Iterator[str]:
        """A heading and the parts below it, with empty lines between them; nothing where there are none."""
        if parts:
            yield from ("", Heading(self.both(english, chinese)))
        for position, part in enumerate(parts):
            if gap and position:
                yield ""
            yield from (f"    {line}".rstrip() for line in part)

    def both(self, english: str, chinese: str) -> str:
        """Words in both languages."""
        return f"{english} · {chinese}" if chinese and not self.is_plain else english

    def wrapped(self, words: str, indent: int = 0) -> list[str]:
        """Words in lines that fit beside the indentation."""
        return wrap(words, self.width - indent)

    # --- formulas ----------------------------------------------------------------------------------------

    @property
    def drawings(self) -> Drawings:
        """What draws the formulas."""
        from symloss.printers.drawing import Drawings

        return Drawings(self.derivation.loss, self.width - 4)

    def value(self, expr: Expr, names: Mapping[Expr, str] | None = None) -> list[str]:
        """The equation of the loss; `names` are the author's, of the formula's parts."""
        from symloss.printers.text import text

        return [f"value = {text(expr)}"] if self.is_plain else self.drawings.value(expr, names)

    def derivative(self, output: Output) -> list[str]:
        """The equation of a derivative."""
        from symloss.printers.text import text

        if self.is_plain:
            return [f"{output.name} = {text(output.expr)}"]
        return self.drawings.derivative(output, self.derivation.names)

    def inline(self, expr: Basic) -> str:
        """A formula on one line."""
        from symloss.printers.drawing import draw
        from symloss.printers.text import text

        lines = [] if self.is_plain else draw(expr)
        return lines[0] if len(lines) == 1 else text(expr)

    def letter(self, name: str) -> str:
        """How formulas write an input or a parameter."""
        from symloss.printers.pretty import shown

        return name if self.is_plain else shown(name)

    def parameters(self) -> Iterator[str]:
        """One line a parameter: its name and letter, its default and its domain."""
        from symloss.printers.describe import domain

        for parameter in self.derivation.loss.parameters:
            name = parameter.name
            letter = self.letter(name)
            said = domain(letter, parameter.domain)
            if not self.is_plain:
                said = said.replace("<=", "≤").replace(">=", "≥").replace(" in ", " ∈ ")
            title = name if letter == name else f"{name} ({letter})"
            line = f"{title} = {float(parameter.default):g}"
            yield from self.wrapped(f"{line}, {said}" if said else line, 4)

    def step(self, number: int, step: Step) -> Iterator[str]:
        """One step of the derivation: stage, output and rule, the reason, before and after."""
        from symloss.printers.text import text

        yield from self.wrapped(f"{number}. {step.stage}, {step.output}: {step.rule}", 4)
        yield from self.wrapped(step.why, 4)
        if self.is_plain:
            yield from (f"    {text(step.before)}", f"  = {text(step.after)}")
            return
        for sign, side in (("    ", step.before), ("  = ", step.after)):
            yield from ("", *self.drawings.side(sign, side))


def wrap(words: str, width: int) -> list[str]:
    """Words in lines of at most `width` columns.

    Chinese has two columns a character, and is broken anywhere but before a comma and its like.
    """
    from rich.cells import cell_len

    lines, line, used = [], "", 0
    for piece in _pieces(words):
        size = cell_len(piece.rstrip())
        if line and used + size > width:
            lines.append(line.rstrip())
            line, used = "", 0
        line += piece
        used += cell_len(piece)
    return [*lines, line.rstrip()] if line else lines


def _pieces(words: str) -> Iterator[str]:
    """What a line can be broken between: words with the space behind them, and wide characters."""
    from rich.cells import cell_len

    piece = ""
    for character in words:
        if piece and character not in _CLOSING and character != " ":
            before = piece[-1]
            if before == " " or (2 in (cell_len(before), cell_len(character)) and before not in _OPENING):
                yield piece
                piece = ""
        piece += character
    if piece:
        yield piece


def _stage(loss: Loss, derivation: Derivation | None, stage: str) -> Iterator[str]:
    from symloss.printers.latex import latex
    from symloss.printers.text import text

    if stage == "formula":
        yield f"{loss.name} = {text(loss.formula)}"
        for name, value, formula in loss.limits:
            yield f"{loss.name} = {text(formula)}  where {name} = {value}"
        return
    assert derivation is not None
    if stage == "lifted":
        yield f"{loss.name} = {text(derivation.lifted)}"
    elif stage in ("derived", "stabilised"):
        for output in derivation.outputs:
            yield f"{output.name} = {text(output.derived if stage == 'derived' else output.expr)}"
        for kink in derivation.kinks:
            yield f"at {text(kink.where)}: {kink.rule}"
    elif stage == "latex":
        for output in derivation.outputs:
            yield f"{output.name} = {latex(output.expr)}"
    elif stage == "trail":
        for step in derivation.steps:
            yield f"{step.stage}, {step.output}: {step.rule} ({step.why})"
            yield f"    {text(step.before)}"
            yield f"  = {text(step.after)}"
    elif stage == "program":
        from symloss.lower import lower
        from symloss.printers.outline import outline
        from symloss.program import ENTRIES

        for entry in ENTRIES:
            yield from outline(lower(derivation, entry, products=True))
    elif stage == "kernel":
        from symloss.targets import TARGETS

        for file in TARGETS["kernels"].build(derivation, "symloss_kernels")[0].values():
            yield file.text.rstrip("\n")
