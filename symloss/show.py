"""The stages of one loss as text, for `symloss show`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from symloss.derive import Derivation
    from symloss.roles import Loss

STAGES = ("formula", "lifted", "derived", "stabilised", "trail", "program", "kernel", "latex")


def show(loss: Loss, stage: str = "all") -> Iterator[str]:
    """The lines that show one stage of a loss, or every stage below its heading."""
    if stage != "all":
        yield from _stage(loss, None if stage == "formula" else _derivation(loss), stage)
        return
    derivation = _derivation(loss)
    yield f"{loss.title}: {loss.name} {loss.signature}"
    for name in STAGES:
        if name not in ("latex", "kernel"):
            yield from ("", f"== {name} ==")
            yield from _stage(loss, derivation, name)


def _derivation(loss: Loss) -> Derivation:
    from symloss.derive import derive

    return derive(loss)


def _stage(loss: Loss, derivation: Derivation | None, stage: str) -> Iterator[str]:
    from symloss.printers.latex import latex
    from symloss.printers.text import text

    if stage == "formula":
        yield f"{loss.name} = {text(loss.formula)}"
        for name, value, formula in loss.limits:
            yield f"{loss.name} = {text(formula)}  where {name} = {value}"
        return
    assert derivation is not None
    if stage == "lifted":
        yield f"{loss.name} = {text(derivation.lifted)}"
    elif stage in ("derived", "stabilised"):
        for output in derivation.outputs:
            yield f"{output.name} = {text(output.derived if stage == 'derived' else output.expr)}"
        for kink in derivation.kinks:
            yield f"at {text(kink.where)}: {kink.rule}"
    elif stage == "latex":
        for output in derivation.outputs:
            yield f"{output.name} = {latex(output.expr)}"
    elif stage == "trail":
        for step in derivation.steps:
            yield f"{step.stage}, {step.output}: {step.rule} ({step.why})"
            yield f"    {text(step.before)}"
            yield f"  = {text(step.after)}"
    elif stage == "program":
        from symloss.lower import lower
        from symloss.printers.outline import outline
        from symloss.program import ENTRIES

        for entry in ENTRIES:
            yield from outline(lower(derivation, entry, products=True))
    elif stage == "kernel":
        from symloss.targets import TARGETS

        for file in TARGETS["kernels"].build(derivation, "symloss_kernels")[0].values():
            yield file.text.rstrip("\n")
