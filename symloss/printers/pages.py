"""The page of a loss in the formula documentation, and its section in the LaTeX document.

    Facts.of(derivation)    -> what is told of the loss, derived once
    page(facts, language)   -> the Markdown page in one language
    section(derivation)     -> the section of formulas.tex

What all losses share (the gallery, tables, guides) is `site.py`. Pages are made in worker processes, so what
they give is text.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sympy import Basic, Rational

from symloss.curves import Plotter, edges
from symloss.emit import header, render
from symloss.measured import accuracy_of
from symloss.printers.bibtex import bibtex
from symloss.printers.example import example
from symloss.printers.formulas import Formulas, Shown, Trail
from symloss.printers.language import ENGLISH, LANGUAGES, Language
from symloss.printers.latex import latex, legend
from symloss.printers.notation import symbols
from symloss.printers.properties import property_rows
from symloss.printers.prose import markdown, markdown_reference, tex, tex_reference
from symloss.roles import Loss
from symloss.traits import Trait, traits

if TYPE_CHECKING:
    from symloss.derive import Derivation, Step

PAGE = "docs/loss.md.jinja"
_SECTION = "docs/section.tex.jinja"
#: From a page to the folders of its plots' scripts (in the built site) and of the package (in the sources).
SCRIPTS, PACKAGE = "../_static/curves", "../../.."
#: The order of outputs in tables.
_ORDER = ("value", "grad", "hess", "hvp")
#: A formula laid out for a page, and for a telephone.
Pair = tuple[Shown, Shown]


@dataclass(frozen=True)
class Facts:
    """What the pages of a loss tell in every language, derived once.

    Each formula is there in both layouts, for a page and for a telephone.
    """

    derivation: Derivation
    traits: tuple[Trait, ...]
    plotter: Plotter
    formulas: Formulas
    formula: Pair
    computed: Pair
    limits: list[tuple[str, Pair]]
    outputs: dict[str, list[tuple[str, Pair]]]
    atoms: list[tuple[str, Pair]]
    trail: list[tuple[str, list[tuple[Step, Pair, Pair]]]]

    @classmethod
    def of(cls, derivation: Derivation) -> Facts:
        """Derive them."""
        loss = derivation.loss
        wide, slim = Formulas(loss), Formulas(loss, slim=True)
        both = (wide, slim)
        equations = [formulas.equation(r"\ell", loss.formula, loss.names) for formulas in both]
        return cls(
            derivation,
            traits(derivation),
            Plotter(derivation),
            wide,
            (equations[0], equations[1]),
            (wide.stable(derivation), slim.stable(derivation)),
            _paired(wide.limits(), slim.limits()),
            {
                kind: _paired(wide.outputs(derivation, kind), slim.outputs(derivation, kind))
                for kind in ("grad", "hess", "hvp")
            },
            _paired(wide.atoms(derivation), slim.atoms(derivation)),
            _paired_trail(wide.trail(derivation), slim.trail(derivation)),
        )


def _paired(wide: list[tuple[str, Shown]], slim: list[tuple[str, Shown]]) -> list[tuple[str, Pair]]:
    return [(name, (one, other)) for (name, one), (_, other) in zip(wide, slim, strict=True)]


def _paired_trail(wide: list[Trail], slim: list[Trail]) -> list[tuple[str, list[tuple[Step, Pair, Pair]]]]:
    trails = []
    for one, other in zip(wide, slim, strict=True):
        steps = []
        for (step, *shown), (_, *narrow) in zip(one.steps, other.steps, strict=True):
            before = (Shown(shown[0]), Shown(narrow[0]))
            after = (Shown(shown[1], shown[2]), Shown(narrow[1], narrow[2]))
            steps.append((step, before, after))
        trails.append((one.output, steps))
    return trails


def page(facts: Facts, language: Language, package: str = "symloss_kernels") -> str:
    """The Markdown page of a loss.

    Args:
        facts: of the loss.
        language: of the page.
        package: the importable package that the usage example calls.
    """
    derivation, plan, said = facts.derivation, facts.plotter.plan, language.translate
    loss, say = derivation.loss, language.say
    words, other = language.words(loss), next(one for one in LANGUAGES if one is not language)
    entry = plan.moved + "".join(f"[{i}]" for i in plan.at)
    found = edges(facts.plotter)
    text = render(
        PAGE,
        header=header(PAGE, loss.file),
        say=dict(say),
        terms=list(dict.fromkeys([loss.name, loss.title, *filter(None, [loss.chinese.title])])),
        name=loss.name,
        title=markdown(language.title(loss)),
        other_title=markdown(other.title(loss)) if other.title(loss) != language.title(loss) else "",
        family=language.family(loss.family),
        signature=loss.signature,
        meaning=markdown(words.meaning),
        formula=facts.formula,
        computed=facts.computed,
        legend=_legend(loss, language),
        counted=any(item.kind == "label" for item in loss.inputs),
        parameters=_parameters(loss),
        limits=facts.limits,
        plot_lead=say["plot_lead"].format(f"`{plan.moved}`"),
        plot_words=json.dumps(_plot_words(loss, language), ensure_ascii=False),
        scripts=SCRIPTS,
        gradients=facts.outputs["grad"],
        hessians=facts.outputs["hess"],
        products=facts.outputs["hvp"],
        atoms=facts.atoms,
        traits=property_rows(facts.traits, facts.formulas, language),
        kinks=[(facts.formulas.plain(k.where), markdown(said(k.rule))) for k in derivation.kinks],
        edges_lead=say["edges_lead"].format(f"`{entry}`"),
        edge_headings=[
            *(f"`{name}`" for name in (*(name for name, _ in found[0].beside), entry)),
            *(say["value"], say["gradient"].lower(), say["curvature"]),
        ],
        edges=[
            [*(number(value) for _, value in e.beside), *map(number, (e.at, e.value, e.grad, e.hess))]
            for e in found
        ],
        accuracy=accuracy_rows(loss.name),
        example=example(loss, package),
        strengths=[markdown(sentence) for sentence in words.strengths],
        weaknesses=[markdown(sentence) for sentence in words.weaknesses],
        when=markdown(words.when),
        aliases=[
            (markdown(library), name, markdown(words.differences.get(library, "")))
            for library, name in sorted(loss.aliases.items())
        ],
        trail=[
            (
                output_name(output, language),
                [
                    (said(step.stage), markdown(said(step.rule)), markdown(said(step.why)), before, after)
                    for step, before, after in steps
                ],
            )
            for output, steps in facts.trail
        ],
        kernels=f"{PACKAGE}/{package}",
        file=loss.file,
        source=_formula_source(loss),
        references=[markdown_reference(reference) for reference in loss.references],
        bibtex=bibtex(loss),
    )
    for english, word in language.formula_words.items():  # within formulas
        for before, after in (("", ""), ("", " "), (" ", " ")):
            text = text.replace(rf"\text{{{before}{english}{after}}}", rf"\text{{{before}{word}{after}}}")
    return text


def section(derivation: Derivation) -> str:
    """The section of a loss in formulas.tex."""
    loss = derivation.loss
    show = Formulas(loss)
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
        legend=[(letter, tex(name)) for letter, name, *_ in _legend(loss, ENGLISH)],
        parameters=[(letter, tex(name), value, domain) for letter, name, value, domain in _parameters(loss)],
        limits=[
            (at, limit.formula + (r", \quad " + limit.where if limit.where else ""))
            for at, limit in show.limits()
        ],
        gradients=[shown for _, shown in show.outputs(derivation, "grad")],
        hessians=[shown for _, shown in show.outputs(derivation, "hess")],
        products=[shown for _, shown in show.outputs(derivation, "hvp")],
        atoms=[shown for _, shown in show.atoms(derivation)],
        rules=[tex(rule) for rule in dict.fromkeys(step.rule for step in derivation.steps)],
        kinks=[(show.plain(kink.where), tex(kink.rule)) for kink in derivation.kinks],
        references=[tex_reference(reference) for reference in loss.references],
    )


def output_name(output: str, language: Language) -> str:
    """What a derivation calls an output, such as `grad logits`, in words."""
    kind, _, wrt = output.partition(" ")
    heading = {"value": "value", "grad": "gradient", "hess": "hessian", "hvp": "product"}[kind]
    name = language.say[heading]
    name = name[:1].upper() + name[1:]
    return f"{name} · <code>{wrt}</code>" if wrt else name


def _plot_words(loss: Loss, language: Language) -> dict[str, str]:
    say = language.say
    return {
        "value": say["value"],
        "grad": say["gradient"].lower(),
        "hess": say["curvature"],
        "reset": say["reset"],
        "alt": say["plot_alt"].format(language.title(loss)),
    }


def number(value: float) -> str:
    """A number in a table: four digits, and the signs that people know."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return f"{value + 0.0:.4g}".replace("-", "−") if value else "0"


def accuracy_rows(name: str) -> list[list[str]]:
    """What was measured of a loss: output, precision, results, worst error, bound, how many miss it."""
    rows = []
    for dtype, outputs in sorted(accuracy_of(name).items(), reverse=True):
        ordered = sorted(outputs.items(), key=lambda item: _ORDER.index(item[0].partition("_")[0]))
        for output, found in ordered:
            forward, mixed = float(found["ulp"]), float(found["mixed"])
            ill = forward > found["bound"] >= mixed and not found["missed"]
            bound, missed = f"{found['bound']:g}", str(found["missed"])
            rows.append(
                [
                    f"`{output}`",
                    dtype,
                    str(found["results"]),
                    number(mixed if ill else forward),
                    bound,
                    missed,
                ]
            )
    return rows


def _legend(loss: Loss, language: Language) -> list[tuple[str, str, str, str, str]]:
    """For each input: its letter, name, role, shape and domain."""
    letters = {name: letter for letter, name in legend(loss)}
    rows = []
    for item in loss.inputs:
        shape = ", ".join(["...", *item.dims])
        if item.kind == "label":
            domain = rf"\lbrace 0, \ldots, {item.role.dims[0]} - 1 \rbrace"
        else:
            domain = _domain(item.domain)
        rows.append((letters[item.name], item.name, language.translate(item.kind), f"({shape})", domain))
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


def _formula_source(loss: Loss) -> list[str]:
    """The spec's function without its decorator, whose words the page prints elsewhere."""
    rows = loss.source.rstrip().splitlines()
    start = next((i for i, row in enumerate(rows) if row.startswith("def ")), 0)
    return rows[start:]
