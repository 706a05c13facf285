"""From an exception inside a spec to one clear paragraph: the place, what is wrong, what to write instead."""

from __future__ import annotations

import ast
import difflib
import inspect
import re
import textwrap
import traceback
from collections.abc import Callable, Container, Iterable
from typing import Any

from symloss.errors import SpecError

#: What Python, SymPy and NumPy say, and what the author of a spec should write instead.
_HINTS: tuple[tuple[str, str], ...] = (
    (
        r"truth value of (a )?[Rr]elational|cannot determine truth value",
        "a formula can't branch with Python's `if`, `and`, `max` or `min`: write "
        "Piecewise((a, condition), (b, True)) from sympy, or Max and Min from symloss.spec",
    ),
    (
        r"Cannot convert expression to float|must be real number, not|loop of ufunc does not support|"
        r"has no callable \w+ method",
        "functions from `math` and NumPy take numbers, not formulas: import exp, log, sqrt, ... from sympy",
    ),
    (r"object is not iterable", "Python's `sum` and `for` can't run over an input: write Sum(x[k], k)"),
    (
        r"object is not subscriptable",
        'an input without core dimensions has no entries: annotate it Prediction["K"]',
    ),
    (
        r"missing \d+ required|unexpected keyword|too many positional|missing a required",
        "look at what the function that is called here takes",
    ),
)


def nearest(name: str, names: Iterable[str]) -> str:
    """` (did you mean ...?)` with the known names closest to `name`, or nothing."""
    close = difflib.get_close_matches(name, sorted(set(names)), n=2, cutoff=0.6)
    return f" (did you mean {' or '.join(f'`{other}`' for other in close)}?)" if close else ""


def explain(
    error: BaseException, file: str, line: int, function: Callable[..., Any] | None = None
) -> SpecError:
    """The `SpecError` for an exception that was raised while a spec file was run or traced.

    Args:
        error: what was raised.
        file: the spec's file.
        line: the line to name when nothing better is known.
        function: the spec's function, in whose text the offender is looked for.
    """
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    if isinstance(error, SpecError):
        if error.file and error.line and str(error.file) != file:  # a spec that this one uses is refused
            place = frames[-1].lineno if frames else line
            return type(error)(f"this spec needs another one, which is refused: {error}", file, place)
        if not error.line:
            known = frames[-1].lineno if frames else None
            error.line = known or (place_of(function, *_offenders(error.message)) if function else line)
        error.file = error.file or file
        return error
    if isinstance(error, SyntaxError):
        return SpecError(f"this is not Python: {error.msg}", file, error.lineno or line)
    if not frames and not any(f.filename == "<string>" for f in traceback.extract_tb(error.__traceback__)):
        raise error  # nothing of the spec was running, nor one of its annotations: not its author's mistake
    place = (frames[-1].lineno if frames else None) or line
    roles = inspect.signature(function).parameters if function else {}
    dims = {dim for role in roles.values() for dim in getattr(role.annotation, "dims", ())}
    return SpecError(f"{type(error).__name__}: {_sentence(error, roles, dims)}", file, place)


def _sentence(error: BaseException, known: Iterable[str], dims: Container[str]) -> str:
    """What an exception says, and what to do about it."""
    said = str(error) or "raised without a message"
    if isinstance(error, NameError) and error.name in dims:
        return f'{said}; the size of the dimension is size("{error.name}") from symloss.spec'
    if isinstance(error, NameError) and error.name:
        return said + (nearest(error.name, known) or _where_from(error.name))
    if isinstance(error, ImportError):
        return f"{said}; a spec may import sympy, symloss.spec, symloss.losses and symloss.normalize"
    for pattern, advice in _HINTS:
        if re.search(pattern, said):
            return f"{said}; {advice}"
    return said


def _where_from(name: str) -> str:
    """Where an undefined name can be imported from."""
    import sympy

    from symloss import spec

    if name in spec.__all__:
        return f"; write `from symloss.spec import {name}`"
    if hasattr(sympy, name):
        return f"; write `from sympy import {name}`"
    return nearest(name, (*spec.__all__, *dir(sympy)))


def _offenders(message: str) -> list[str]:
    """The words that a message puts into backticks."""
    return re.findall(r"`(\w+)`", message)


def place_of(function: Callable[..., Any], *words: str) -> int:
    """The line on which a spec first mentions one of `words`, or else the line of its `def`."""
    first = function.__code__.co_firstlineno
    try:
        lines, start = inspect.getsourcelines(function)
        tree = ast.parse(textwrap.dedent("".join(lines)))
    except (OSError, TypeError, SyntaxError):
        return first
    return line_in(tree, start, *words) or first


def line_in(tree: ast.AST, start: int, *words: str) -> int:
    """The line of the first of `words` that the syntax tree of a function mentions; else that of the def.

    The signature comes before the body, because an input is declared there; a word in double quotes is looked
    for among the strings of the body only.
    """
    found = next((node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)), None)
    if found is None:
        return start
    body = [node for statement in found.body for node in ast.walk(statement)]
    for word in words:
        places = body if word.startswith('"') else [*ast.walk(found.args), *body]
        lines = [node.lineno for node in places if _mentions(node, word)]  # type: ignore[attr-defined]
        if lines:
            return start - 1 + lines[0]
    return start - 1 + found.lineno


def _mentions(node: ast.AST, word: str) -> bool:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return word.strip('"') in re.findall(r"\w+", node.value)
    name = {ast.Name: "id", ast.Attribute: "attr", ast.arg: "arg"}.get(type(node))
    return name is not None and getattr(node, name) == word
