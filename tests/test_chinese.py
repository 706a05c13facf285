"""What the engine says has a Chinese text: every rule, step and kink, and no text that nothing says."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest
import sympy
from blocks import CJK, poor_chinese
from shipped import derived

import symloss.derive
from symloss import atoms, roles
from symloss.catalog import Catalog
from symloss.printers.chinese import PATTERNS, TEXTS, chinese
from symloss.printers.prose import FAMILIES
from symloss.rules import GUARD, LIFT, STABILISE
from symloss.traits import REASONS

#: The functions that a formula may have, in small letters.
FUNCTIONS = {name.lower() for module in (sympy, atoms) for name in vars(module)}
RULES = (*LIFT, *STABILISE, *GUARD)
#: The arguments of these calls that a page prints, by position.
SAYING = {
    "add": (0, 1, 2, 3),
    "_apply": (2, 3),
    "_stabilise": (1,),
    "_output": (0,),
    "Output": (0,),
    "Kink": (1,),
}


@cache
def derivations():
    return [derived(loss.name) for loss in Catalog().load()[0]]


def words(node: ast.expr) -> str | None:
    """A text in the source, `{}` for what is put into it; None where it isn't written there."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
    return None


def fixed() -> set[str]:
    """The texts that stand in the source of `derive`, where steps, outputs and kinks are made."""
    tree = ast.parse(Path(symloss.derive.__file__).read_text(encoding="utf-8"))
    said = set()
    for call in ast.walk(tree):
        if isinstance(call, ast.Call):
            name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
            given = [call.args[at] for at in SAYING.get(name, ()) if at < len(call.args)]
            said |= {text for node in given if (text := words(node))}
        if isinstance(call, ast.Assign) and getattr(call.targets[0], "id", "") == "why":
            said |= {text for text in [words(call.value)] if text}
    return said


def kinds() -> set[str]:
    """The kinds of outputs that come with an input's name."""
    return {text for text in fixed() if text in ("grad", "hess", "hvp")}


def said() -> set[str]:
    """Every text without a placeholder that the engine can say on a page."""
    rules = {text for rule in RULES for text in (rule.name, rule.why)}
    kinds_of_input = {value.kind for value in vars(roles).values() if isinstance(value, roles.Role)}
    return (
        rules
        | kinds_of_input
        | set(REASONS.values())
        | {text for text in fixed() - kinds() if "{}" not in text}
    )


def patterns() -> set[str]:
    """Every text with a placeholder."""
    return {text for text in fixed() if "{}" in text} | {f"{kind} {{}}" for kind in kinds()}


def test_the_source_is_read():
    assert {
        "lift",
        "stabilise",
        "differentiate",
        "chain rule",
        "value",
        "the formula degenerates there",
    } <= fixed()
    assert {
        "limit at {} = {}",
        "cases of {}",
        "the branch for {} is taken",
        "grad {}",
        "hess {}",
        "hvp {}",
    } == (patterns())
    assert len([text for text in fixed() if text.startswith(("the gradient", "entries"))]) == 3


def test_every_text_has_its_chinese_and_no_text_is_dead():
    assert said() == set(TEXTS)
    assert patterns() == {
        english.replace("{name}", "{}").replace("{formula}", "{}") for english, _ in PATTERNS
    }


def test_the_steps_and_kinks_of_every_loss_are_translated():
    texts = set()
    for derivation in derivations():
        texts.add(derivation.loss.family)
        texts |= {given.kind for given in derivation.loss.inputs}
        texts |= {kink.rule for kink in derivation.kinks}
        texts |= {text for s in derivation.steps for text in (s.stage, s.output, s.rule, s.why)}
    assert len(texts) > 60
    for text in sorted(texts):
        translated = chinese(text)
        assert is_a_formula(text) if translated == text else CJK.search(translated), text


def is_a_formula(text: str) -> bool:
    """A name that stays as it is: each word of it is a function, or a letter."""
    return all(len(word) == 1 or word in FUNCTIONS for word in re.findall(r"[a-z]\w*", text.lower()))


@pytest.mark.parametrize("text", sorted(TEXTS))
def test_a_text_is_translated(text):
    translated = chinese(text)
    assert translated == TEXTS[text]
    assert is_a_formula(text) if translated == text else CJK.search(translated)
    assert not CJK.search(text)


def test_the_typography_is_chinese():
    assert {
        text: found for text in [*TEXTS.values(), *FAMILIES.values()] if (found := poor_chinese(text))
    } == {}
    filled = [words.format(name="pos_weight", formula="x > 0") for _, words in PATTERNS]
    assert {text: found for text in filled if (found := poor_chinese(text))} == {}


@pytest.mark.parametrize(
    "poor",
    [
        "x小于 0",
        "小于0 时",
        "上溢,而对数不会",
        "上溢, 而对数不会",
        "取极限:",
        "对数(见下文)",
        "这个 loss is not convex 的性质",
        "**单位（米）**是",
        "**单位。**是",
    ],
)
def test_poor_chinese_is_found(poor):
    assert poor_chinese(poor)


@pytest.mark.parametrize(
    "good",
    [
        "x 小于 -709 时 exp 上溢；先减去最大值",
        "(X^a - 1)/a 相消",
        "`a,b` 与 f(x, y) 相等（见下文）",
        "见 [Huber](losses/huber.md)。",
        "**单位。** 是，**米**（制）",
    ],
)
def test_good_chinese_is_left_alone(good):
    assert poor_chinese(good) == []


@pytest.mark.parametrize(
    ("text", "translated"),
    [
        ("limit at gamma = 0", "gamma = 0 处的极限"),
        ("limit at q = 1/2", "q = 1/2 处的极限"),
        ("cases of similar", "按 similar 分情形"),
        ("grad logits", "对 logits 的梯度"),
        ("hess centers", "对 centers 的黑塞矩阵对角线"),
        ("hvp left", "黑塞向量积中 left 的部分"),
        (
            "the branch for Abs(prediction - target) <= delta is taken",
            "取 Abs(prediction - target) <= delta 的分支",
        ),
        ("regression", "回归"),
        ("target", "目标"),
    ],
)
def test_names_and_formulas_stay_in_a_translation(text, translated):
    assert chinese(text) == translated


@pytest.mark.parametrize(
    "text",
    ["", "no such rule", "grad ", "grad of something", "limit at gamma", "cases of a, b", "the branch for  is taken",
     "the branch for x is taken twice", "{name}"],
)  # fmt: skip
def test_what_has_no_chinese_is_an_error(text):
    with pytest.raises(KeyError):
        chinese(text)
