"""Tests about the tests: none of them may be unable to fail."""

from __future__ import annotations

import ast
import textwrap
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
MODULES = sorted(FOLDER.rglob("*.py"))

#: Functions whose result is the verdict; calling one and dropping the result checks nothing.
VERDICTS = {
    "allclose",
    "isclose",
    "array_equal",
    "array_equiv",
    "isnan",
    "isfinite",
    "all",
    "any",
    "approx",
    "equals",
}


def name_of(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def thrown_away(tree: ast.AST) -> list[int]:
    """Lines on which a comparison or a verdict stands alone, or an assertion can only hold."""
    lines = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and (
            isinstance(node.value, (ast.Compare, ast.BoolOp))
            or (isinstance(node.value, ast.UnaryOp) and isinstance(node.value.op, ast.Not))
            or (isinstance(node.value, ast.Call) and name_of(node.value) in VERDICTS)
        ):
            lines.append(node.lineno)
        if isinstance(node, ast.Assert) and (
            (isinstance(node.test, ast.Tuple) and node.test.elts)
            or (isinstance(node.test, ast.Constant) and node.test.value)
        ):
            lines.append(node.lineno)
    return sorted(lines)


def checks(function: ast.AST, known: set[str]) -> bool:
    """Whether a function asserts something, by itself or through a function that does."""
    for node in ast.walk(function):
        if isinstance(node, ast.Assert):
            return True
        if isinstance(node, ast.Call):
            name = name_of(node)
            if name in ("raises", "warns", "fail") or name.startswith("assert_") or name in known:
                return True
    return False


def functions(tree: ast.AST) -> list[ast.FunctionDef]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


def without_assertion(trees: list[ast.AST]) -> list[str]:
    """The names of tests that assert nothing, neither themselves nor through a helper of the tests."""
    known: set[str] = set()
    while True:
        more = {f.name for tree in trees for f in functions(tree) if checks(f, known)} - known
        if not more:
            break
        known |= more
    return sorted(
        f.name
        for tree in trees
        for f in functions(tree)
        if f.name.startswith("test_") and f.name not in known
    )


def parse(path: Path) -> ast.AST:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


@pytest.mark.parametrize("path", MODULES, ids=[path.relative_to(FOLDER).as_posix() for path in MODULES])
def test_no_verdict_is_thrown_away(path):
    assert thrown_away(parse(path)) == []


def test_every_test_asserts_something():
    assert without_assertion([parse(path) for path in MODULES]) == []


def test_no_test_is_hidden_by_another_of_its_name():
    for path in MODULES:
        names = [node.name for node in ast.iter_child_nodes(parse(path)) if isinstance(node, ast.FunctionDef)]
        assert sorted(set(names)) == sorted(names), path


@pytest.mark.parametrize(
    "planted",
    [
        "a == b",
        "np.allclose(a, b)",
        "not a",
        "a and b",
        "assert (a, 'message')",
        "assert 1",
        "np.isclose(a, b).all()",
    ],
)
def test_what_is_planted_is_found(planted):
    assert thrown_away(ast.parse(f"def test_x():\n    {planted}\n")) == [2]


@pytest.mark.parametrize(
    "good", ["assert a == b", "np.testing.assert_allclose(a, b)", "c = a == b", "f(a == b)"]
)
def test_what_is_sound_is_left_alone(good):
    assert thrown_away(ast.parse(good)) == []


def test_a_test_without_assertion_is_found():
    text = """
        def helper(x):
            assert x
        def through(x):
            helper(x)
        def test_good():
            through(1)
        def test_bad():
            compute(1)
    """
    assert without_assertion([ast.parse(textwrap.dedent(text))]) == ["test_bad"]
