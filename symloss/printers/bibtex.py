"""References as BibTeX."""

from __future__ import annotations

import re

from symloss.roles import Loss

_PARTS = re.compile(
    r"(?P<authors>.+?) (?P<year>(?:1[89]|20)\d\d), (?P<title>.+?)(?:, (?P<where>(?:doi:|arXiv:)\S+))?$"
)
_SPECIAL = {"&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_"}


def bibtex(loss: Loss) -> list[str]:
    """The lines of one entry for each reference of a loss."""
    lines: list[str] = []
    for position, reference in enumerate(loss.references):
        key = loss.name if len(loss.references) == 1 else f"{loss.name}_{position + 1}"
        lines += [""] * bool(lines) + _entry(key, reference)
    return lines


def _entry(key: str, reference: str) -> list[str]:
    found = _PARTS.fullmatch(reference)
    if found is None:
        return [f"@misc{{{key},", f"  note = {{{_escaped(reference)}}},", "}"]
    authors = re.sub(r",? et al\.?$", " and others", found["authors"])
    authors = re.sub(r", (?![A-Z]\.)", " and ", authors.replace(", and ", ", "))
    fields = {"author": _escaped(authors), "title": f"{{{_escaped(found['title'])}}}", "year": found["year"]}
    kind, where = "misc", found["where"] or ""
    if where.startswith("doi:"):
        kind, fields["doi"] = "article", where.removeprefix("doi:")
    elif where.startswith("arXiv:"):
        fields |= {"eprint": where.removeprefix("arXiv:"), "archiveprefix": "arXiv"}
    return [f"@{kind}{{{key},", *(f"  {name} = {{{value}}}," for name, value in fields.items()), "}"]


def _escaped(text: str) -> str:
    return "".join(_SPECIAL.get(letter, letter) for letter in text)
