"""What was derived of a loss's shape, as rows of a table, and as marks that the gallery filters by."""

from __future__ import annotations

from dataclasses import replace

from sympy import Expr, Interval, oo

from symloss.derive import Derivation, derive
from symloss.index import substitute
from symloss.printers.formulas import Formulas
from symloss.printers.language import Language
from symloss.printers.prose import markdown
from symloss.roles import Loss
from symloss.traits import Trait, traits

#: What the gallery filters by, in order.
MARKS = (
    "convex",
    "smooth",
    "robust",
    "bounded_gradient",
    "probabilities",
    "logits",
    "labels",
    "has_parameters",
)
#: Ends of the line, as a point has them.
_ENDS = {"oo": "∞", "-oo": "−∞"}


def property_rows(
    traits: tuple[Trait, ...], formulas: Formulas, language: Language
) -> list[tuple[str, str, str, str]]:
    """For each trait its name, its verdict as a key and as a word, and why.

    Args:
        traits: of the loss.
        formulas: prints the values in the loss's letters.
        language: of the page.
    """
    say = language.say
    rows = []
    for trait in traits:
        parts = [markdown(language.translate(trait.why))] if trait.why else []
        if trait.point:
            loss = formulas.loss
            known = {item.name for item in loss.inputs} | {item.name for item in loss.parameters}
            point = ", ".join(_place(what, value, known, language) for what, value in trait.point)
            parts.append(say["refuted_at"].format(point))
        name = say[f"trait_{trait.name}"]
        if trait.value is not None:
            name += f": ${_value(trait.name, trait.value, formulas)}$"
        between = "" if language.code == "zh" else " "
        rows.append((name, trait.verdict, say[trait.verdict], between.join(parts)))
    return rows


def _value(name: str, value: Expr, formulas: Formulas) -> str:
    if name == "smooth":
        return r"C^{\infty}" if value is oo else f"C^{{{formulas.plain(value)}}}"
    return formulas.plain(value)


def _place(what: str, value: str, known: set[str], language: Language) -> str:
    """One part of a point: `prediction[0]` = 3, second derivative = -2."""
    which, _, name = what.partition(" ")
    end = value.removeprefix("-> ")
    sign = "→" if value != end else "="
    shown = f"{sign} {_ENDS.get(end, f'−{end[1:]}' if end.startswith('-') else end)}"
    if name.partition("[")[0] in known:  # the first or the second of two points
        return f"{language.translate(which)} `{name}` {shown}"
    if what.partition("[")[0] in known:
        return f"`{what}` {shown}"
    if value.partition("[")[0] in known:
        return f"{language.translate(what)} `{value}`"
    return f"{language.translate(what)} {shown}"


def usual_traits(derivation: Derivation, found: tuple[Trait, ...]) -> tuple[Trait, ...]:
    """The traits of a loss whose parameters have their defaults: smooth L1 is smooth, though not at beta = 0.

    Args:
        derivation: of the loss.
        found: its traits for every value of its parameters, which are these if it has none.
    """
    loss = derivation.loss
    if not loss.parameters:
        return found
    values = {parameter.symbol: parameter.default for parameter in loss.parameters}
    fixed = replace(loss, formula=substitute(loss.formula, values), parameters=(), limits=(), names={})
    return traits(derive(fixed))


def marks(loss: Loss, traits: tuple[Trait, ...]) -> list[str]:
    """Those of `MARKS` that a loss with these traits has. What is unknown it hasn't."""
    found = {trait.name: trait for trait in traits}

    def proved(name: str) -> bool:
        return name in found and found[name].verdict == "proved"

    smooth = found.get("smooth")
    has = {
        "convex": proved("convex"),
        "smooth": smooth is not None and smooth.value is not None and smooth.value >= 1,
        "robust": proved("robust"),
        "bounded_gradient": proved("lipschitz"),
        "probabilities": any(_is_probability(item.domain) for item in loss.predictions),
        "logits": any(item.name.rstrip("s").endswith("logit") for item in loss.predictions),
        "labels": any(item.kind == "label" for item in loss.inputs),
        "has_parameters": bool(loss.parameters),
    }
    return [mark for mark in MARKS if has[mark]]


def _is_probability(domain: object) -> bool:
    return isinstance(domain, Interval) and bool(domain.is_subset(Interval(0, 1)))
