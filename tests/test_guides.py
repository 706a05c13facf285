"""The guides of the documentation site: what they show works as shown, and both languages say the same.

`templates/docs/guides/NAME.en.md` and `NAME.zh.md` are MyST Markdown. Their fenced blocks are run in order, in
one temporary folder and one Python namespace:

    <!-- file: my_specs/huber.py -->   above a `python` block: the block is written to that file
    ```console                         lines `$ symloss ...` are run, and print (on either stream) what follows;
                                       `...` stands for anything, also for lines
    ```pycon                           a doctest, also with `...`
    ```sh                              isn't run: what installs something

Other kinds of blocks are refused. The blocks of both languages are the same to the byte, so they run once.
"""

from __future__ import annotations

import doctest
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from blocks import CJK, blocks, poor_chinese, prose

from symloss.catalog import Catalog

FOLDER = Path(__file__).parent.parent / "templates" / "docs" / "guides"
#: Each guide and what a program puts into it.
GUIDES = {
    "index": ["gallery"],
    "choosing": ["comparison-table", "robust-family-plot"],
    "accuracy": ["versions", "accuracy-peers", "accuracy-ours"],
    "writing": [],
}
LOSSES = {loss.name: loss for loss in Catalog().load()[0]}
LINK = re.compile(r"\[([^\]]+)\]\(([^)\s]+)\)")
TEXTS = {
    (name, code): (FOLDER / f"{name}.{code}.md").read_text(encoding="utf-8")
    for name in GUIDES
    for code in ("en", "zh")
}
EACH = pytest.mark.parametrize("name", GUIDES)
EACH_TEXT = pytest.mark.parametrize(("name", "code"), TEXTS)


def headings(text: str) -> list[str]:
    return re.findall(r"^(#+) \S", prose(text), re.MULTILINE)


def places(text: str) -> list[str]:
    """The comments that a program replaces, each on a line of its own."""
    return re.findall(r"^<!-- ([\w-]+) -->$", prose(text), re.MULTILINE)


def indents(text: str) -> list[int]:
    """The depth of each point of each list."""
    return [len(spaces) for spaces in re.findall(r"^( *)(?:-|\d+\.) ", prose(text), re.MULTILINE)]


# --- what the guides show ------------------------------------------------------------------------------------


def matches(expected: str, printed: str) -> bool:
    """Whether something was printed as expected; `...` is anything."""
    pieces = [re.escape(piece) for piece in expected.rstrip("\n").split("...")]
    return re.fullmatch(".*".join(pieces), printed.rstrip("\n"), re.DOTALL) is not None


def commands(console: str) -> list[tuple[str, str]]:
    """The commands of a console block, each with what it prints."""
    first, *parts = re.split(r"^\$ ", console, flags=re.MULTILINE)
    assert not first, "a console block begins with a command"
    return [(command, output) for command, _, output in (part.partition("\n") for part in parts)]


def call(command: str, folder: Path) -> str:
    """What a command of the guides prints."""
    program, *arguments = shlex.split(command)
    assert program == "symloss", command
    done = subprocess.run(
        [sys.executable, "-m", "symloss", *arguments],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONIOENCODING": "utf-8",
            "PYTHONPATH": os.pathsep.join([str(folder), *sys.path]),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=120,
    )
    return done.stdout


def check_session(text: str, names: dict[str, object], where: str) -> None:
    """Run a doctest; what it prints instead is the failure."""
    test = doctest.DocTestParser().get_doctest(text, names, where, where, 0)
    assert test.examples, where
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS, verbose=False)
    runner.run(test, out=said.append, clear_globs=False)
    names.update(test.globs)
    assert runner.failures == 0, "".join(said)


@EACH
def test_what_a_guide_shows_works(name, importable, monkeypatch):
    monkeypatch.chdir(importable)
    names: dict[str, object] = {"__name__": "guide"}
    for number, block in enumerate(blocks(TEXTS[name, "en"])):
        if block.file:
            file = importable / block.file
            file.parent.mkdir(exist_ok=True)
            file.write_text(block.text, encoding="utf-8")
        elif block.language == "console":
            for command, expected in commands(block.text):
                printed = call(command, importable)
                assert matches(expected, printed), (
                    f"$ {command}\nprinted\n{printed}\ninstead of\n{expected}"
                )
        elif block.language == "pycon":
            check_session(block.text, names, f"{name}, block {number}")
        else:
            assert block.language == "sh", f"a block of {block.language!r} can't be run"
    assert len(blocks(TEXTS[name, "en"])) == TEXTS[name, "en"].count("\n```") // 2


@pytest.mark.parametrize(
    ("expected", "printed", "same"),
    [
        ("a\nb\n", "a\nb\n", True),
        ("a ... c\n", "a b c\n", True),
        ("a\n...\n", "a\nb\nc\n", True),
        ("a\n", "a\nb\n", False),
        ("a ... c", "a b d", False),
        ("1.5", "1x5", False),
    ],
)
def test_outputs_are_compared(expected, printed, same):
    assert matches(expected, printed) is same


def test_a_command_that_fails_or_a_wrong_result_is_seen():
    assert commands("$ symloss list\na\n$ symloss show\nb\n") == [
        ("symloss list", "a\n"),
        ("symloss show", "b\n"),
    ]
    with pytest.raises(AssertionError, match="Expected:"):
        check_session(">>> 1 + 1\n3\n", {}, "here")
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        check_session(">>> x = 1 / 0\n", {}, "here")


# --- both languages ------------------------------------------------------------------------------------------


@EACH
def test_both_languages_have_the_same_structure(name):
    english, chinese = TEXTS[name, "en"], TEXTS[name, "zh"]
    assert headings(english) == headings(chinese)
    assert headings(english)[0] == "#"
    assert blocks(english) == blocks(chinese)
    assert places(english) == places(chinese) == GUIDES[name]
    assert indents(english) == indents(chinese)
    # A sentence may name its links in another order.
    assert sorted(to for _, to in LINK.findall(english)) == sorted(to for _, to in LINK.findall(chinese))


@EACH_TEXT
def test_links_lead_somewhere(name, code):
    for _, to in LINK.findall(prose(TEXTS[name, code])):
        loss = re.fullmatch(r"losses/(\w+)\.md", to)
        page = re.fullmatch(r"(\w+)\.md(?:#[\w-]+)?", to)
        known = loss[1] in LOSSES if loss else page[1] in GUIDES if page else to.startswith("https://")
        assert known, to


@pytest.mark.parametrize("code", ["en", "zh"])
def test_choosing_names_every_loss(code):
    linked = {to for _, to in LINK.findall(TEXTS["choosing", code])}
    assert sorted(LOSSES) == sorted(name for name in LOSSES if f"losses/{name}.md" in linked)


@EACH
def test_names_in_code_are_those_of_losses_and_parameters(name):
    """Both languages set the same words in code, wherever they say it."""
    code = [sorted(set(re.findall(r"`([^`\n]+)`", prose(TEXTS[name, which])))) for which in ("en", "zh")]
    assert code[0] == code[1]


@EACH
def test_english_is_english(name):
    assert not CJK.search(prose(TEXTS[name, "en"]))


@EACH
def test_chinese_is_chinese(name):
    text = prose(TEXTS[name, "zh"])
    assert poor_chinese(text) == []
    paragraphs = [part for part in re.split(r"\n\s*\n", text) if not part.strip().startswith("<!--")]
    assert [part for part in paragraphs if part.strip() and not CJK.search(part)] == []
    # A line break would become a space between two characters; a list, a heading and a table keep their lines.
    assert re.findall(r"\S\n *(?!- |#|\|)\S.*", "\n\n".join(paragraphs)) == []
