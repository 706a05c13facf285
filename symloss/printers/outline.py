"""A Program as an outline for a person: every statement on its line, loops and branches indented."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from symloss.printers.text import text
from symloss.program import Assign, If, Keep, Load, Loop, MatrixProduct, Program, Reduce, Statement, Store


def outline(program: Program) -> Iterator[str]:
    """The lines of the outline."""
    yield f"{program.entry}:"
    for name, dims in program.scratch.items():
        yield f"    scratch {name}[{', '.join(dims)}]"
    yield from _indented(_product(product) for product in program.before)
    yield from _indented(_all(program.body))
    yield from _indented(_product(product) for product in program.after)


def _product(product: MatrixProduct) -> str:
    pairs = [(product.left, product.right)]
    if product.less:
        pairs.append((product.less, replace(product.less, transposed=not product.less.transposed)))
    made = [" @ ".join(f"{m.array}{'^T' if m.transposed else ''}" for m in pair) for pair in pairs]
    return f"{product.into} {'+=' if product.adds else '='} {' - '.join(made)}"


def _all(statements: Iterable[Statement]) -> Iterator[str]:
    for statement in statements:
        yield from _lines(statement)


def _indented(lines: Iterable[str]) -> Iterator[str]:
    return (f"    {line}" for line in lines)


def _at(name: str, indices: tuple[Any, ...]) -> str:
    return f"{name}[{', '.join(map(str, indices))}]" if indices else name


def _unless(condition: Any) -> str:
    return f" unless {text(condition)}" if condition is not None else ""


def _for(loops: tuple[Any, ...]) -> str:
    return f"for {', '.join(f'{index} over {index.dim}' for index in loops)}:"


def _lines(statement: Statement) -> Iterator[str]:
    match statement:
        case Load(name, source, indices):
            yield f"{name} = {_at(source, indices)}"
        case Assign(name, value):
            yield f"{name} = {text(value)}"
        case Keep(array, indices, value):
            yield f"{_at(array, indices)} = {text(value)}"
        case Store(output, indices, value, unless):
            yield f"{_at(output, indices)} <- {text(value)}{_unless(unless)}"
        case Loop(loops, body):
            yield _for(loops)
            yield from _indented(_all(body))
        case Reduce(loops, body, accumulators):
            yield _for(loops)
            yield from _indented(_all(body))
            for a in accumulators:
                place = f", {a.place} its place" if a.place is not None else ""
                yield f"    {a.name} = {a.op} of {text(a.term)}{_unless(a.unless)}{place}"
        case If(branches):
            for number, (test, body) in enumerate(branches):
                yield "otherwise:" if test is None else f"{'or ' if number else ''}if {text(test)}:"
                yield from _indented(_all(body))
