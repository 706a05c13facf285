"""What a package says of a loss: `Derivation` -> fields of the runtime's `Description`, as literals."""

from __future__ import annotations

import sys
from ast import literal_eval
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

from sympy import FiniteSet, Interval, Set, oo

if TYPE_CHECKING:
    from symloss.derive import Derivation
    from symloss.roles import Input, Loss, Parameter


def describe(derivation: Derivation) -> dict[str, Any]:
    """The fields of the runtime's `Description`.

    Args:
        derivation: of the loss.

    Returns:
        From field to literal, or to a list of literals or of dicts of such.
    """
    from symloss.printers.formulas import Formulas
    from symloss.printers.latex import legend
    from symloss.printers.text import text

    loss = derivation.loss
    formulas = Formulas(loss)
    letters = {name: letter for letter, name in legend(loss)}
    shown = [formulas.equation(r"\ell", loss.formula, loss.names)]
    shown += [equation for _, equation in formulas.outputs(derivation, "grad")]
    return {
        "name": _literal(loss.name),
        "title": _literal(loss.title),
        "formula": _literal(text(loss.formula)),
        "latex": _literal(formulas.plain(loss.formula)),
        "signature": _literal(loss.signature),
        "inputs": [_input(item, letters[item.name], loss.picked(item)) for item in loss.inputs],
        "parameters": [_parameter(item, letters[item.name]) for item in loss.parameters],
        "equations": [f"({_literal(formula)}, {_literal(where)})" for formula, where in shown],
        "kinks": [_literal(f"{text(kink.where)}: {kink.rule}") for kink in derivation.kinks],
        "limits": [_literal(f"{name} = {value}: {text(formula)}") for name, value, formula in loss.limits],
        "references": [_literal(reference) for reference in loss.references],
        "family": _literal(loss.family),
    }


def html(loss: Loss) -> str:
    """The table that a notebook shows of a loss, as the package's object shows it.

    Raises:
        UnsupportedError: for a function that can't be differentiated.
    """
    from symloss.derive import derive

    records = _records()
    said = describe(derive(loss))
    values: dict[str, Any] = {
        field: tuple(map(literal_eval, literal)) if isinstance(literal, list) else literal_eval(literal)
        for field, literal in said.items()
        if field not in ("inputs", "parameters")
    }
    for field, kind in (("inputs", records.Input), ("parameters", records.Parameter)):
        values[field] = tuple(
            kind(**{key: literal_eval(literal) for key, literal in entry.items()}) for entry in said[field]
        )
    return records.Description(**values).html()


@cache
def _records() -> Any:
    """The module `_info` that every package has, made from its template: the table is written there, once."""
    from symloss.emit import render

    module = ModuleType("symloss._info")
    sys.modules[module.__name__] = module  # dataclasses look their annotations up there
    exec(render("kernels/_info.py.jinja", header=""), module.__dict__)
    return module


def _input(item: Input, letter: str, picked: tuple[tuple[str, ...], ...]) -> dict[str, str]:
    said = {"name": _literal(item.name), "kind": _literal(item.kind)}
    if item.role.dims:
        said["dims"] = repr(item.role.dims)
    said |= _bounds(item.domain) | {"latex": _literal(letter)}
    return said | ({"picked": repr(picked)} if picked else {})


def _parameter(item: Parameter, letter: str) -> dict[str, str]:
    said = {"name": _literal(item.name), "default": repr(float(item.default))}
    return (
        said
        | _bounds(item.domain)
        | {
            "domain": _literal(domain(item.name, item.domain)),
            "latex": _literal(letter),
        }
    )


def _bounds(allowed: Set) -> dict[str, str]:
    """Only what differs from all reals."""
    if isinstance(allowed, FiniteSet):
        return {"values": repr(tuple(float(value) for value in sorted(allowed)))}
    said: dict[str, str] = {}
    if isinstance(allowed, Interval):
        if allowed.start != -oo:
            said["low"] = repr(float(allowed.start))
        if allowed.end != oo:
            said["high"] = repr(float(allowed.end))
        if allowed.start != -oo and allowed.left_open:
            said["open_low"] = "True"
        if allowed.end != oo and allowed.right_open:
            said["open_high"] = "True"
    return said


def domain(name: str, allowed: Set) -> str:
    """A domain in words: `delta > 0`, `0 <= alpha <= 1`, `similar in {0, 1}`; empty for all reals."""
    if isinstance(allowed, FiniteSet):
        return f"{name} in {{{', '.join(str(value) for value in sorted(allowed))}}}"
    if not isinstance(allowed, Interval) or (allowed.start == -oo and allowed.end == oo):
        return ""
    left, right = ("<" if allowed.left_open else "<="), ("<" if allowed.right_open else "<=")
    if allowed.end == oo:
        return f"{name} {'>' if allowed.left_open else '>='} {allowed.start}"
    if allowed.start == -oo:
        return f"{name} {right} {allowed.end}"
    return f"{allowed.start} {left} {name} {right} {allowed.end}"


def _literal(text: str) -> str:
    """A Python string in double quotes, as a formatter would have it."""
    plain = repr(text)
    if plain[0] == "'" and '"' not in text:
        return f'"{plain[1:-1]}"'
    return plain
