"""The formula documentation: a Markdown page for each loss, their index, and one LaTeX document.

    page(derivation)        -> the page of one loss
    entry(derivation)       -> what the index and the document need to remember of it
    index(entries)          -> the page that lists them all, by family
    handbook(sections)      -> formulas.tex, from the entries' sections

Pages are made in worker processes, so an entry is a dict of strings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from sympy import Basic, Expr, Rational, Symbol

from symloss.emit import header, render
from symloss.index import Binder, Entry, Index, Reduction, walk
from symloss.printers.example import example
from symloss.printers.latex import latex, legend, printer_for
from symloss.printers.layout import abbreviate, block, lines
from symloss.printers.notation import symbols
from symloss.printers.prose import FAMILIES, markdown, markdown_reference, tex, tex_reference
from symloss.printers.text import text
from symloss.spec import Loss, Words

if TYPE_CHECKING:
    from symloss.derive import Derivation, Output

PAGE, INDEX, HANDBOOK = "docs/loss.md.jinja", "docs/index.md.jinja", "docs/formulas.tex.jinja"
_SECTION = "docs/section.tex.jinja"

#: A formula, and the definitions of the letters in it.
Shown = tuple[str, str]


def page(derivation: Derivation, package: str = "symloss_kernels") -> str:
    """The Markdown page of a loss.

    Args:
        derivation: the loss with its derivatives and the steps to them.
        package: the importable package that the usage example calls.
    """
    loss = derivation.loss
    show = _Formulas(loss)
    return render(
        PAGE,
        header=header(PAGE, loss.file),
        name=loss.name,
        title=markdown(loss.title),
        chinese_title=markdown(loss.chinese.title),
        family=f"{loss.family} · {FAMILIES[loss.family]}" if loss.family in FAMILIES else loss.family,
        signature=loss.signature,
        english=_words(loss.english),
        chinese=_words(loss.chinese),
        formula=show.equation(r"\ell", loss.formula, loss.names),
        stable=show.stable(derivation),
        legend=_legend(loss),
        counted=any(item.kind == "label" for item in loss.inputs),
        parameters=_parameters(loss),
        limits=show.limits(),
        gradients=show.outputs(derivation, "grad"),
        hessians=show.outputs(derivation, "hess"),
        products=show.outputs(derivation, "hvp"),
        atoms=show.atoms(derivation),
        trail=show.trail(derivation),
        kinks=[(show.plain(kink.where), markdown(kink.rule)) for kink in derivation.kinks],
        aliases=[(markdown(library), _alias(name)) for library, name in sorted(loss.aliases.items())],
        example=example(loss, package),
        references=[markdown_reference(reference) for reference in loss.references],
        file=loss.file,
        source=_formula_source(loss),
    )


def section(derivation: Derivation) -> str:
    """The section of a loss in formulas.tex."""
    loss = derivation.loss
    show = _Formulas(loss)
    words = loss.english
    return render(
        _SECTION,
        title=tex(loss.title),
        name=tex(loss.name),
        signature=tex(loss.signature),
        meaning=tex(words.meaning),
        strengths=[tex(words) for words in words.strengths],
        weaknesses=[tex(words) for words in words.weaknesses],
        when=tex(words.when),
        formula=show.equation(r"\ell", loss.formula, loss.names),
        stable=show.stable(derivation),
        legend=[(letter, tex(name)) for letter, name, *_ in _legend(loss)],
        parameters=[(letter, tex(name), value, domain) for letter, name, value, domain in _parameters(loss)],
        limits=show.limits(),
        gradients=[shown for _, shown in show.outputs(derivation, "grad")],
        hessians=[shown for _, shown in show.outputs(derivation, "hess")],
        products=[shown for _, shown in show.outputs(derivation, "hvp")],
        atoms=show.atoms(derivation),
        rules=[tex(rule) for rule in dict.fromkeys(step.rule for step in derivation.steps)],
        kinks=[(show.plain(kink.where), tex(kink.rule)) for kink in derivation.kinks],
        references=[tex_reference(reference) for reference in loss.references],
    )


def entry(derivation: Derivation) -> dict[str, str]:
    """What `index` and `handbook` print of a loss."""
    loss = derivation.loss
    return {
        "name": loss.name,
        "title": loss.title,
        "chinese_title": loss.chinese.title,
        "family": loss.family,
        "signature": loss.signature,
        "meaning": loss.english.meaning,
        "formula": text(loss.formula),
        "section": section(derivation),
    }


def index(entries: Sequence[Mapping[str, Any]]) -> str:
    """The page that lists every loss, by family."""
    families = []
    place = {family: number for number, family in enumerate(FAMILIES)}
    ordered = sorted(entries, key=lambda e: (place.get(e["family"], len(place)), e["family"], e["name"]))
    for family, members in groupby(ordered, key=lambda e: e["family"]):
        heading = f"{family.capitalize()} · {FAMILIES[family]}" if family in FAMILIES else family.capitalize()
        rows = [
            (
                e["name"],
                " · ".join(markdown(title) for title in (e["title"], e["chinese_title"]) if title),
                e["signature"],
                markdown(_first_sentence(e["meaning"])),
            )
            for e in members
        ]
        families.append((heading, rows))
    return render(INDEX, header=header(INDEX), families=families, count=str(len(entries)))


def handbook(sections: Sequence[str]) -> str:
    """The LaTeX document that holds every loss."""
    return render(HANDBOOK, header=header(HANDBOOK), sections=list(sections))


@dataclass
class _Formulas:
    """The formulas of one loss as LaTeX, all in the same letters."""

    loss: Loss

    def __post_init__(self) -> None:
        self.names = symbols(self.loss)

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
        short = abbreviate(expr, self.names, spec_names or {})
        rows = lines(self._left(left, indices), short.expr, printer_for(short.expr, self.names, indices))
        where = []
        for letter, meaning in short.where:
            printer = printer_for(meaning, self.names)
            where += lines(printer._print(letter), meaning, printer)
        return block(rows), block(where) if where else ""

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
        return self.equation(r"\ell", value.expr) if value.expr != self.loss.formula else ("", "")

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

    def limits(self) -> list[Shown]:
        """What the formula becomes at degenerate values of a parameter: the value and the formula."""
        shown = []
        for name, at, formula in self.loss.limits:
            equation, where = self.equation(r"\ell", formula)
            value = f"{self.names[name]} = {self.plain(at)}"
            shown.append((value, equation + (r", \quad " + where if where else "")))
        return shown

    def atoms(self, derivation: Derivation) -> list[str]:
        """The definitions of the functions that the formulas are written in."""
        shown: dict[str, str] = {}
        for output in derivation.outputs:
            for node in _nodes(output.expr):
                name = type(node).__name__
                if name not in shown and (definition := _definition(node)) is not None:
                    shown[name] = f"{self.plain(definition[0])} = {self.plain(definition[1])}"
        return [shown[name] for name in sorted(shown, key=str.lower)]

    def trail(self, derivation: Derivation) -> list[tuple[str, list[tuple[str, str, str, str, str]]]]:
        """For each output the steps that led to it: stage, rule, why, before, after."""
        return [
            (
                output,
                [
                    (s.stage, markdown(s.rule), markdown(s.why), self._side(s.before), self._side(s.after))
                    for s in steps
                ],
            )
            for output, steps in groupby(derivation.steps, key=lambda step: step.output)
        ]

    def _side(self, expr: Expr) -> str:
        return block(lines("", expr, printer_for(expr, self.names)))


def _nodes(expr: Any) -> list[Any]:
    """Every node of a formula once, in a fixed order."""
    return list(dict.fromkeys(walk(expr)))


def _definition(node: Any) -> tuple[Expr, Expr] | None:
    """An atom and its textbook form, on generic arguments where it takes scalars."""
    if isinstance(node, Binder):
        return None if isinstance(node, Reduction) else (node, node.expand())
    define = getattr(type(node), "definition", None)
    if define is None or isinstance(node, (Symbol, Entry)):
        return None
    arguments = [Symbol(letter, real=True) for letter in "xyuw"[: len(node.args)]]
    return type(node)(*arguments), define(*arguments)


def _words(words: Words) -> dict[str, Any]:
    return {
        "meaning": markdown(words.meaning),
        "strengths": [markdown(sentence) for sentence in words.strengths],
        "weaknesses": [markdown(sentence) for sentence in words.weaknesses],
        "when": markdown(words.when),
    }


def _legend(loss: Loss) -> list[tuple[str, str, str, str, str]]:
    """For each input: its letter, name, role, shape and domain."""
    letters = {name: letter for letter, name in legend(loss)}
    rows = []
    for item in loss.inputs:
        shape = ", ".join(["...", *item.dims])
        if item.kind == "label":
            domain = rf"\lbrace 0, \ldots, {item.role.dims[0]} - 1 \rbrace"
        else:
            domain = _domain(item.domain)
        rows.append((letters[item.name], item.name, item.kind, f"({shape})", domain))
    return rows


def _parameters(loss: Loss) -> list[tuple[str, str, str, str]]:
    """For each parameter: its letter, name, default and domain."""
    names = symbols(loss)
    return [(names[p.name], p.name, _decimal(p.default), _domain(p.domain)) for p in loss.parameters]


def _decimal(number: Rational) -> str:
    """A number as people write it: 0.25, not 1/4."""
    return str(number) if number.q == 1 else repr(float(number))


def _domain(domain: Basic) -> str:
    """A set in LaTeX that Markdown leaves alone: `\\{` would lose its backslash."""
    return latex(domain).replace(r"\left\{", r"\left\lbrace ").replace(r"\right\}", r"\right\rbrace")


def _alias(name: str) -> str:
    """A name elsewhere as code, and the remark after it as words."""
    code, space, remark = name.partition(" (")
    return f"`{code}`" + (f" ({markdown(remark)}" if space else "")


def _formula_source(loss: Loss) -> list[str]:
    """The spec's function without its decorator, whose words the page prints elsewhere."""
    rows = loss.source.rstrip().splitlines()
    start = next((i for i, row in enumerate(rows) if row.startswith("def ")), 0)
    return rows[start:]


def _first_sentence(words: str) -> str:
    head, dot, _ = words.partition(". ")
    return head + dot.strip()
