"""Search in pages that have Chinese words: a run of Chinese characters is found by its pairs of neighbours.

Chinese has no spaces between words, and cutting it into words takes a dictionary that a browser hasn't. Pairs
need none: of whatever run of characters someone looks for, all pairs are in the index of a page that has it.
(Sphinx's own Chinese search finds nothing in version 9: its stemmer's name is wrong, Sphinx issue 14229.)
English pages have the Chinese names of losses, and are searched for them in the same way.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from sphinx.search import SearchLanguage
from sphinx.search.en import SearchEnglish

_RUNS = re.compile(r"[\u3400-\u9fff]+|[^\W\u3400-\u9fff]+")
_SPLITTER = r"""
var splitQuery = (query) =>
  (query.match(/[\u3400-\u9fff]+|[^\s\p{P}\p{S}\u3400-\u9fff](?:[^\s\p{P}\p{S}\u3400-\u9fff]|_)*/gu) || []).flatMap((run) =>
    /^[\u3400-\u9fff]{3,}$/.test(run)
      ? Array.from({ length: run.length - 1 }, (_, i) => run.slice(i, i + 2))
      : [run],
  );
"""  # noqa: E501


def terms(text: str) -> list[str]:
    """Words of letters and digits as they are, Chinese characters in pairs."""
    found: list[str] = []
    for run in _RUNS.findall(text):
        if "\u3400" <= run[0] <= "\u9fff":
            found += [run[i : i + 2] for i in range(len(run) - 1)] or [run]
        else:
            found.append(run)
    return found


class ChineseSearch(SearchLanguage):
    """Chinese pages."""

    lang = "zh"
    language_name = "Chinese"
    js_splitter_code = _SPLITTER
    split: Callable[..., list[str]] = staticmethod(terms)

    def stem(self, word: str) -> str:
        """A term as it is looked for."""
        return word.lower()


class EnglishSearch(SearchEnglish):
    """English pages, whose words are stemmed as usual."""

    js_splitter_code = _SPLITTER
    split: Callable[..., list[str]] = staticmethod(terms)
