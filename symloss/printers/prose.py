"""The words of a spec, made fit for Markdown and for LaTeX."""

from __future__ import annotations

import re

_REFERENCE = re.compile(r"(?P<doi>doi:(?P<number>10\.\S+[^\s.,;)]))|(?P<arxiv>arXiv:(?P<id>\d{4}\.\d{4,5}))")
_CODE = re.compile(r"(`[^`]*`)")
_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "%": r"\%", "#": r"\#",
    "_": r"\_", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", "\u2013": "--", "\u2014": "---", "\u2018": "`",
    "\u2019": "'", "\u201c": "``", "\u201d": "''", "\u2264": r"$\leq$", "\u2265": r"$\geq$",
    "\u00d7": r"$\times$", "\u00b1": r"$\pm$", "\u221e": r"$\infty$",
}  # fmt: skip

#: The families of the shipped losses in Chinese.
FAMILIES = {
    "regression": "回归",
    "classification": "分类",
    "divergence": "散度",
    "metric": "度量学习",
    "perceptual": "感知",
    "normalized": "归一化",
    "combined": "组合",
    "other": "其他",
}


def markdown(text: str) -> str:
    """Plain text in which nothing is taken for markup; `code` stays code."""
    return "".join(
        part if _is_code(part) else re.sub(r"([\\*_<>|$#\[\]])", r"\\\1", part) for part in _CODE.split(text)
    )


def tex(text: str) -> str:
    """The same for LaTeX.

    A character that the document's fonts don't have is printed as its code point.
    """
    return "".join(
        rf"\texttt{{{_escaped(part[1:-1])}}}" if _is_code(part) else _escaped(part)
        for part in _CODE.split(text)
    )


def _is_code(part: str) -> bool:
    return len(part) > 1 and part.startswith("`")


def _escaped(text: str) -> str:
    return "".join(_LATEX.get(c, c if ord(c) < 0x180 else rf"\texttt{{U+{ord(c):04X}}}") for c in text)


def _links(reference: str) -> list[tuple[str, str]]:
    """The pieces of a reference, each with its address (empty for plain words)."""
    pieces = []
    end = 0
    for match in _REFERENCE.finditer(reference):
        pieces.append((reference[end : match.start()], ""))
        address = (
            f"https://doi.org/{match['number']}" if match["doi"] else f"https://arxiv.org/abs/{match['id']}"
        )
        pieces.append((match[0], address))
        end = match.end()
    return [*pieces, (reference[end:], "")]


def markdown_reference(reference: str) -> str:
    """A reference whose DOI or arXiv number is a link."""
    pieces = _links(reference)
    return "".join(f"[{text}]({address})" if address else markdown(text) for text, address in pieces)


def tex_reference(reference: str) -> str:
    """The same for LaTeX with hyperref."""
    result = ""
    for text, address in _links(reference):
        target = re.sub(r"([%#&_])", r"\\\1", address)
        result += rf"\href{{{target}}}{{{tex(text)}}}" if address else tex(text)
    return result
