"""The pages that all losses share: the gallery, the list by family, the guides, how accurate everything is.

Each loss says in an `entry`, a dict of texts, lists and numbers, what these pages need of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from itertools import groupby
from typing import Any

import numpy as np

from symloss.catalog import data_folder
from symloss.emit import header, render
from symloss.measured import accuracy
from symloss.printers import pages
from symloss.printers.language import LANGUAGES, Language
from symloss.printers.picture import card, extent, plot
from symloss.printers.properties import MARKS, marks, usual_traits
from symloss.printers.prose import FAMILIES, markdown

GALLERY, LIST, CONF = "docs/gallery.html.jinja", "docs/list.md.jinja", "docs/conf.py.jinja"
HANDBOOK, TABLES = "docs/formulas.tex.jinja", "docs/accuracy.md.jinja"
#: The guides, in the order in which the site lists them; the first is the start page.
GUIDES = ("index", "choosing", "accuracy", "writing")
#: Points of a small picture.
POINTS = 96

Entry = Mapping[str, Any]


def entry(facts: pages.Facts) -> dict[str, Any]:
    """What the shared pages print of a loss."""
    loss = facts.derivation.loss
    line = facts.plotter.curve(POINTS)
    usual = usual_traits(facts.derivation, facts.traits)
    smooth = next((trait for trait in usual if trait.name == "smooth" and trait.value is not None), None)
    residual = not loss.dims and [item.kind for item in loss.inputs] == ["prediction", "target"]
    residual = residual and all(
        item.domain.inf.is_infinite and item.domain.sup.is_infinite for item in loss.inputs
    )
    return {
        "name": loss.name,
        "titles": {language.code: language.title(loss) for language in LANGUAGES},
        "meanings": {language.code: first_sentence(language.words(loss).meaning) for language in LANGUAGES},
        "family": loss.family,
        "signature": loss.signature,
        "marks": marks(loss, usual),
        "smooth": "" if smooth is None else str(smooth.value).replace("oo", "\u221e"),
        "card": card(line, "@"),
        "residual": [[round(float(y), 6) for y in ys] for ys in (line.x, line.value, line.grad)]
        if residual
        else [],
        "section": pages.section(facts.derivation),
    }


def first_sentence(words: str) -> str:
    """The first sentence of a paragraph, in either language."""
    found = re.match(r"(.+?(?:\.(?= |$)|。))", words, re.DOTALL)
    return found[0] if found else words


def handbook(entries: Sequence[Entry]) -> str:
    """The LaTeX document that holds every loss."""
    return render(HANDBOOK, header=header(HANDBOOK), sections=[one["section"] for one in entries])


def shared(entries: Sequence[Entry]) -> dict[str, tuple[str, str]]:
    """The files that all losses share: from path to text and template."""
    files = {"formulas.tex": (handbook(entries), HANDBOOK)}
    here = [name for name in GUIDES if name == "index" or _belongs(name, entries)]
    for language in LANGUAGES:
        folder = language.code
        files[f"{folder}/conf.py"] = (conf(language), CONF)
        files[f"{folder}/losses/index.md"] = (losses(entries, language), LIST)
        for name in here:
            template = f"docs/guides/{name}.{folder}.md"
            files[f"{folder}/{name}.md"] = (guide(name, entries, language, here), template)
    return files


def _belongs(name: str, entries: Sequence[Entry]) -> bool:
    """Whether a guide speaks of these losses: all that it links to are here, and some were measured."""
    known = {one["name"] for one in entries}
    if name == "accuracy":
        return bool(known & set(accuracy()["ours"]))
    return all(known >= set(re.findall(r"losses/(\w+)\.md", _text(name, language))) for language in LANGUAGES)


def _text(name: str, language: Language) -> str:
    return (data_folder("templates") / "docs/guides" / f"{name}.{language.code}.md").read_text(
        encoding="utf-8"
    )


def guide(name: str, entries: Sequence[Entry], language: Language, here: Sequence[str]) -> str:
    """A guide, with tables and figures in their places."""
    places = {
        "gallery": lambda: _raw(gallery(entries, language)),
        "comparison-table": lambda: comparison(entries, language),
        "robust-family-plot": lambda: _raw(residuals(entries, language)),
        "versions": lambda: versions(language),
        "accuracy-peers": lambda: peers(language),
        "accuracy-ours": lambda: ours(language),
    }
    source = f"docs/guides/{name}.{language.code}.md"
    text = f"<!-- {header(source)} -->\n\n{_text(name, language)}"
    for other in set(GUIDES) - set(here):  # where a guide isn't, its name stays, without the link
        text = re.sub(rf"\[([^\]]+)\]\({other}\.md\)", r"\1", text)
    for place, make in places.items():
        if (mark := f"<!-- {place} -->") in text:
            text = text.replace(mark, make())
    if name == "index":
        tree = [*(other for other in here if other != "index"), "losses/index"]
        text += "\n```{toctree}\n:hidden:\n\n" + "\n".join(tree) + "\n```\n"
    return text


def _raw(html: str) -> str:
    return f"```{{raw}} html\n{html.strip()}\n```"


def conf(language: Language) -> str:
    """The configuration with which Sphinx builds the pages of a language."""
    return render(
        CONF, header=header(CONF), language={"en": "en", "zh": "zh_CN"}[language.code], code=language.code
    )


def gallery(entries: Sequence[Entry], language: Language) -> str:
    """Every loss as a card, and what they are filtered by."""
    say = language.say
    cards = [
        {
            "name": one["name"],
            "title": one["titles"][language.code],
            "meaning": one["meanings"][language.code].replace("`", ""),
            "picture": one["card"].replace("@", escape(say["card_alt"].format(one["titles"][language.code]))),
            "traits": " ".join([f"family:{one['family']}", *one["marks"]]),
            "names": " ".join([one["name"], one["name"].replace("_", " "), *one["titles"].values()]).lower(),
        }
        for one in _ordered(entries)
    ]
    families = [
        (f"family:{name}", language.family(name))
        for name in dict.fromkeys(e["family"] for e in _ordered(entries))
    ]
    used = {mark for one in entries for mark in one["marks"]}
    properties = [(mark, say[mark]) for mark in MARKS if mark in used]
    return render(GALLERY, say=dict(say), cards=cards, families=families, properties=properties)


def _ordered(entries: Sequence[Entry]) -> list[Entry]:
    place = {family: number for number, family in enumerate(FAMILIES)}
    return sorted(entries, key=lambda e: (place.get(e["family"], len(place)), e["family"], e["name"]))


def losses(entries: Sequence[Entry], language: Language) -> str:
    """The page that lists every loss, by family."""
    code = language.code
    families = [
        (
            language.family(family),
            [
                (e["name"], markdown(e["titles"][code]), e["signature"], markdown(e["meanings"][code]))
                for e in members
            ],
        )
        for family, members in groupby(_ordered(entries), key=lambda e: e["family"])
    ]
    return render(
        LIST,
        header=header(LIST),
        say=dict(language.say),
        lead=language.say["count_lead"].format(len(entries)),
        families=families,
    )


def comparison(entries: Sequence[Entry], language: Language) -> str:
    """A table of the losses and their properties."""
    say = language.say
    columns = [mark for mark in MARKS if mark != "smooth"]
    rows = [[say["loss"], say["smooth"], *(say[mark] for mark in columns)], ["---"] * (len(columns) + 2)]
    for one in _ordered(entries):
        smooth = f"$C^{{{one['smooth']}}}$".replace("\u221e", r"\infty") if one["smooth"] else ""
        marked = [say["yes"] if mark in one["marks"] else "" for mark in columns]
        rows.append([f"[{markdown(one['titles'][language.code])}](losses/{one['name']}.md)", smooth, *marked])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def residuals(entries: Sequence[Entry], language: Language) -> str:
    """The losses of a residual side by side, and their gradients."""
    chosen = [one for one in _ordered(entries) if one["residual"]]
    if not chosen:
        return ""
    say, pictures = language.say, []
    for which, title in ((1, say["residual_losses"]), (2, say["residual_gradients"])):
        lines = [
            (one["titles"][language.code], np.array(one["residual"][0]), np.array(one["residual"][which]))
            for one in chosen
        ]
        # The range that suits most of them: the steepest would flatten all others.
        low, high = np.median([extent([y]) for _, _, y in lines], axis=0)
        pictures.append(plot(lines, title, "prediction - target", (low, high), styled=False))
    return "\n".join(pictures)


def versions(language: Language) -> str:
    """What was measured, in one line."""
    about = accuracy()["about"]
    known = ", ".join(f"{name} {number}" for name, number in sorted(about.get("versions", {}).items()))
    return f"**{language.say['versions']}**: {known}"


def peers(language: Language) -> str:
    """For each loss and output a table: who keeps how many digits in which group of inputs."""
    tables = []
    key = lambda case: (case["loss"], case["output"])  # noqa: E731
    for loss, of_loss in groupby(sorted(accuracy()["peers"], key=key), key=lambda case: case["loss"]):
        outputs = []
        for output, cases in groupby(of_loss, key=lambda case: case["output"]):
            rows, worst = _peer_rows(list(cases), language)
            outputs.append({"output": output, "rows": rows, "worst": worst})
        tables.append({"loss": loss, "outputs": outputs})
    return render(TABLES, say=dict(language.say), tables=tables)


_GROUPS = ("ordinary", "confident", "extreme")


def _peer_rows(cases: list[dict[str, Any]], language: Language) -> tuple[list[list[str]], list[list[str]]]:
    """The rows of one output: library, call, precision, digits by group; and the worst points."""
    found: dict[tuple[str, str, str], dict[str, dict[str, Any]]] = {}
    for case in cases:
        for row in case["rows"]:
            found.setdefault((case["dtype"], row["library"], row["call"]), {})[case["group"]] = row
    rows, worst = [], []
    titles = accuracy()["about"].get("titles", {})
    ordered = sorted(
        found.items(), key=lambda item: (item[0][0] != "float64", item[0][1] != "symloss", item[0])
    )
    for (dtype, library, call), groups in ordered:
        cells = [f"{groups[g]['lowest']:g} ({groups[g]['median']:g})" if g in groups else "" for g in _GROUPS]
        rows.append([titles.get(library, library), f"`{call}`", dtype, *cells])
        for group in _GROUPS:
            row = groups.get(group)
            if row is not None and row["lowest"] < 1:
                point = (markdown(str(row[part])) for part in ("worst", "got", "exact"))
                worst.append([titles.get(library, library), dtype, language.say[group], *point])
    return rows, worst


def ours(language: Language) -> str:
    """The table of what was measured of every loss."""
    say = language.say
    headings = ["loss", "output", "precision", "results", "worst", "bound", "missed"]
    rows = [[say[key] for key in headings], ["---"] * 3 + ["---:"] * 4]
    for name in sorted(accuracy()["ours"]):
        rows += [[f"[`{name}`](losses/{name}.md)", *row] for row in pages.accuracy_rows(name)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
