"""The words of the pages."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from symloss.catalog import Catalog, data_folder
from symloss.printers.language import CHINESE, ENGLISH
from symloss.roles import Words

CJK = re.compile(r"[\u4e00-\u9fff]")
ROOT = Path(__file__).resolve().parent.parent
LOSS = Catalog().loss("huber")


@pytest.mark.parametrize("key", sorted(ENGLISH.say))
def test_a_word_is_there_in_both_languages(key):
    assert ENGLISH.say[key] and not CJK.search(ENGLISH.say[key])
    assert CJK.search(CHINESE.say[key])
    assert ENGLISH.say[key].count("{}") == CHINESE.say[key].count("{}")
    assert not re.search(r"[\u4e00-\u9fff] ?[,;:!?]", CHINESE.say[key])


def test_no_word_is_dead():
    sources = [*(ROOT / "symloss").rglob("*.py"), *(data_folder("templates") / "docs").glob("*.jinja")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources if path.name != "language.py")
    from symloss.printers.properties import MARKS
    from symloss.traits import NAMES

    named = {*MARKS, *(f"trait_{name}" for name in NAMES), "proved", "refuted", "unknown"}
    dead = [
        key for key in ENGLISH.say
        if key not in named and not re.search(rf"say\.{key}\b|['\"]{key}['\"]", text)
    ]  # fmt: skip
    assert dead == []


def test_what_a_spec_leaves_out_is_said_in_english():
    assert CHINESE.title(LOSS) == LOSS.chinese.title and CHINESE.words(LOSS) is LOSS.chinese
    quiet = replace(LOSS, chinese=Words())
    assert CHINESE.title(quiet) == LOSS.title and CHINESE.words(quiet) is LOSS.english


def test_families():
    assert ENGLISH.family("regression") == "Regression" and CHINESE.family("regression") == "回归"
    assert CHINESE.family("my own") == "my own"
