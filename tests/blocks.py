"""What tests of documentation share: the code blocks of a Markdown text, and what Chinese prose looks like."""

from __future__ import annotations

import re
from typing import NamedTuple

CJK = re.compile(r"[\u4e00-\u9fff]")

_BLOCK = re.compile(
    r"(?:^<!-- file: (?P<file>\S+) -->\n+)?^(?P<fence>```+)(?P<info>[^\n`]*)\n(?P<body>.*?)^(?P=fence)[ ]*$",
    re.DOTALL | re.MULTILINE,
)
#: What of a line isn't prose: code, the address of a link, a formula, HTML.
_NOT_PROSE = re.compile(r"`[^`]*`|(?<=\])\([^)]*\)|\$[^$]*\$|<[^>]*>")
_HAN, _LATIN = r"[\u4e00-\u9fff]", r"[A-Za-z0-9]"
_BOLD = re.compile(r"\*\*([^*]+)\*\*(.?)")
_POOR = {
    "half-width punctuation": re.compile(rf"{_HAN}[*]*[,;:?!.()]|[,;:?!][ ]*[*]*{_HAN}|[()]{_HAN}"),
    "no space beside Latin": re.compile(rf"{_HAN}[*\[\]]*{_LATIN}|{_LATIN}[*\[\]]*{_HAN}"),
    "a space beside a full-width mark": re.compile(r"[，。；：？！、（）“”] +\S|\S +[，。；：？！、（）]"),
    "an English sentence": re.compile(r"(?:\b[a-z]{2,}\b[ ,]+){3,}\b[a-z]{2,}\b"),
}


class Block(NamedTuple):
    """A fenced block: its language, the file that it is written to (or none), its text."""

    language: str
    file: str | None
    text: str


def blocks(markdown: str) -> list[Block]:
    """The fenced blocks of a Markdown text, in order; `<!-- file: PATH -->` above one names its file."""
    return [Block(found["info"].strip(), found["file"], found["body"]) for found in _BLOCK.finditer(markdown)]


def prose(markdown: str) -> str:
    """A Markdown text without its fenced blocks."""
    return _BLOCK.sub("", markdown)


def poor_chinese(text: str) -> list[str]:
    """What is wrong with the typography of a Chinese text, each with the place; code and formulas may be anything."""
    found = []
    for line in text.splitlines():
        # What is taken out leaves a Latin letter, so that spaces beside code are checked too.
        words = _NOT_PROSE.sub(lambda gap: "" if gap[0].startswith(("(", "<")) else "x", line)
        if CJK.search(words):
            found += [f"{what}: {at[0]}" for what, pattern in _POOR.items() for at in pattern.finditer(words)]
            # CommonMark doesn't end emphasis between a mark and a letter.
            found += [f"unended: {at[0]}" for at in _BOLD.finditer(words) if _ends_badly(at[1], at[2])]
    return found


def _ends_badly(bold: str, after: str) -> bool:
    return not bold[-1].isalnum() and after.isalnum()
