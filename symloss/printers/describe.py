"""What a package says of a loss: `Derivation` -> fields of the runtime's `Description`, as literals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sympy import FiniteSet, Interval, Set, oo

if TYPE_CHECKING:
    from symloss.derive import Derivation
    from symloss.roles import Input, Parameter


def describe(derivation: Derivation, sparse: tuple[str, ...] = ()) -> dict[str, Any]:
    """The fields of the runtime's `Description`.

    Args:
        derivation: of the loss.
        sparse: the outputs of which the kernels write only some entries.

    Returns:
        From field to literal, or to a list of literals or of dicts of such.
    """
    from symloss.printers.latex import latex
    from symloss.printers.text import text

    loss = derivation.loss
    return {
        "name": _literal(loss.name),
        "title": _literal(loss.title),
        "formula": _literal(text(loss.formula)),
        "latex": _literal(latex(loss.formula)),
        "signature": _literal(loss.signature),
        "inputs": [_input(item) for item in loss.inputs],
        "parameters": [_parameter(item) for item in loss.parameters],
        "kinks": [_literal(f"{text(kink.where)}: {kink.rule}") for kink in derivation.kinks],
        "limits": [_literal(f"{name} = {value}: {text(formula)}") for name, value, formula in loss.limits],
        "references": [_literal(reference) for reference in loss.references],
        "sparse": [_literal(name) for name in sparse],
        "family": _literal(loss.family),
    }


def _input(item: Input) -> dict[str, str]:
    said = {"name": _literal(item.name), "kind": _literal(item.kind)}
    if item.role.dims:
        said["dims"] = repr(item.role.dims)
    return said | _bounds(item.domain)


def _parameter(item: Parameter) -> dict[str, str]:
    said = {"name": _literal(item.name), "default": repr(float(item.default))}
    return said | _bounds(item.domain) | {"domain": _literal(domain(item.name, item.domain))}


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
