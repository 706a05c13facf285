"""Programs as Numba kernels for the CPU: one module a loss."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence, Set
from itertools import chain
from textwrap import wrap
from typing import Any

from sympy import FiniteSet, Interval, S, preorder_traversal

from symloss.derive import Derivation
from symloss.emit import render
from symloss.flat import is_flat
from symloss.lower import lower
from symloss.precision import DOUBLE_ARITHMETIC, Arithmetic
from symloss.printers.lanes import RUNTIME, Body
from symloss.printers.scalar import is_call, is_costly, widens
from symloss.printers.text import text
from symloss.program import ENTRIES, Matrix, Program
from symloss.roles import Input, Loss
from symloss.statements import expressions

TEMPLATE = "kernels/loss.py.jinja"
DONE = {
    "value": "The sum of weight * loss over the samples; `values` takes each sample's.",
    "grad": "The gradient of weight * loss, times `mean_scale`.",
    "grad_few": "That part of the gradient of which a sample has few entries.",
    "value_and_grad": "The sum of weight * loss, with each sample's in `values`, and its gradient.",
    "grad_and_hess": "The gradient and the Hessian's diagonal of weight * loss, times `mean_scale`.",
    "hvp": "The Hessian of weight * loss, times the vectors, times `mean_scale`.",
}


def module(derivation: Derivation, header: str, chosen: Mapping[str, Arithmetic]) -> str:
    """The source of a loss's kernels.

    Args:
        derivation: of the loss.
        header: the comment that the source begins with.
        chosen: from entry points to the arithmetic of float32 data.
    """
    loss = derivation.loss
    # An element-wise loss has nothing but samples to put across lanes. Products of short rows aren't worth a
    # call.
    schedules = (False, True) if loss.dims else (True,)
    programs: dict[bool, list[Program]] = {
        narrow: [lower(derivation, entry, products=not narrow) for entry in ENTRIES] for narrow in schedules
    }
    flat = bool(loss.dims) and all(map(is_flat, programs[True]))
    everything = list(chain.from_iterable(programs.values()))
    is_quick = not any(map(_is_slow, everything))
    if any(map(_has_wide_forms, everything)):
        chosen = {entry: DOUBLE_ARITHMETIC if each.wide_ends else each for entry, each in chosen.items()}
    kernels: list[dict[str, Any]] = []
    streams: list[str] = []
    used: set[str] = {"kernel"}
    few = _few(programs[True])
    alone = [lower(derivation, "grad", only=few)] if few else []
    for narrow in schedules:
        for program in [*programs[narrow], *([] if narrow else alone)]:
            tests = _tests(loss) if flat and not narrow else {}
            # Where functions take the time, a kernel waits for stores around the caches: a tenth longer.
            body = Body(program, narrow, *chosen[program.entry], tests=tests, may_stream=is_quick)
            suffix = "_few" * (program in alone) + "_narrow" * (bool(loss.dims) and narrow)
            kernels.append(_kernel(program, body, suffix, flat and not narrow))
            streams += [program.entry] * body.streams
            used |= body.scalar.used
    return render(
        TEMPLATE,
        header=header,
        title=loss.title.rstrip("."),
        formula=formula_lines(loss),
        signature=loss.signature,
        imports=import_lines(used, RUNTIME, ".."),
        kernels=kernels,
        has_rows=bool(loss.dims),
        is_flat=flat,
        streams=streams,
        is_quick=is_quick,
        few=few,
        products={p.entry: _products(p) for p in programs.get(False, ()) if p.before or p.after},
    )


def _few(programs: Sequence[Program]) -> tuple[str, ...]:
    """The outputs of which a sample has few entries, if others have more; samples may share the arrays."""
    program = next(program for program in programs if program.entry == "grad")
    return program.sparse if set(program.sparse) < set(program.outputs) else ()


def _is_slow(program: Program) -> bool:
    """Whether numbers take more than a few operations of arithmetic: functions, or matrix products."""
    return bool(program.before or program.after) or any(map(is_costly, _parts(program)))


def _has_wide_forms(program: Program) -> bool:
    """Whether there are functions of float32 lanes with results in float64.

    Those of float64 lanes that are as exact as float32 results need take fewer instructions: no tests are
    widened, and one function takes what another has computed.
    """
    return any(is_call(part) and widens(part) for part in _parts(program))


def _parts(program: Program) -> Iterator[Any]:
    """Everything that a kernel computes, and what that is made of."""
    return (part for expr in expressions(program.body) for part in preorder_traversal(expr))


def formula_lines(loss: Loss) -> str:
    """The formula of a loss as plain text, in lines that fit into a docstring."""
    return "\n    ".join(
        wrap(f"loss = {text(loss.formula)}", 104, break_long_words=False, break_on_hyphens=False)
    )


def import_lines(used: set[str], runtime: Mapping[str, frozenset[str]], package: str) -> list[str]:
    """The lines that import what kernels use, one name a line where they don't fit into one.

    Args:
        used: names.
        runtime: from modules to what is taken from them; the rest is in `_math`.
        package: where the modules are, as dots.
    """
    found = {module: used & names for module, names in runtime.items()}
    found["_math"] = used.difference(*runtime.values())
    lines: list[str] = []
    for module, names in sorted((module, names) for module, names in found.items() if names):
        ordered = sorted(names, key=lambda name: (not name.isupper(), name))
        line = f"from {package}{module} import {', '.join(ordered)}"
        if len(line) <= 110:
            lines.append(line)
        else:
            lines += [f"from {package}{module} import (", *(f"    {name}," for name in ordered), ")"]
    return lines


def _products(program: Program) -> dict[str, list[str]]:
    """The matrix products around a kernel, as lists of tuples."""

    def given(matrix: Matrix | None) -> tuple[str, int, bool] | None:
        return (matrix.array, matrix.rows, matrix.transposed) if matrix else None

    before = [
        (product.into, product.dims, given(product.left), given(product.right), given(product.less))
        for product in program.before
    ]
    after = [
        (product.into, product.adds, given(product.left), given(product.right)) for product in program.after
    ]
    return {
        "before": [repr(product) for product in before],
        "stored": [repr(name) for name in program.outputs],
        "factors": [repr(factor) for factor in program.factors.items()],
        "after": [repr(product) for product in after],
    }


def _kernel(program: Program, body: Body, suffix: str, joined: bool) -> dict[str, Any]:
    """What the template needs: name, arguments, docstring, and lists of lines.

    `joined` is whether the rows of all samples may be one.
    """
    lines = body.lines()
    used = body.scalar.used
    axes = {given.name: len(given.dims) for given in program.loss.predictions}
    cleared = [name for name in program.sparse if name not in body.tiles]
    front = [f"make_zero({name}, {axes[name.partition('_')[2]]})" for name in cleared]
    picks = _picks(program.loss)
    refused = _refused(program.loss, body.tested | picks.keys(), used)
    skipped = _refused(program.loss, picks.keys(), used) if body.tested else ""
    found, unknown = _found(program.loss, body.tested)
    used |= set(re.findall(r"\w+", " ".join([*front, *lines, *unknown, found, *picks.values()]))) & _TESTING
    used |= {"nan"} if body.tested or picks else set()
    used |= {"load_wide"} | ({"load"} if picks else set())
    if body.narrow:
        used |= {"LANES", "occupied", "run"}
    if program.has_value:
        used |= {"finish", "put"} | ({"folded", "sum_of", "tally", "within"} if body.narrow else {"add"})
    written = [name for name in body.tiles if name in program.outputs]
    read = [name for name in body.tiles if name not in program.outputs]
    rows = [] if body.narrow else list(body.kept.items())
    used |= {"tile_of"} if body.tiles else set()
    used |= {"as_one"} if joined else set()
    used |= ({"flush"} if written else set()) | ({"fetch"} if read else set())
    used |= {"clear"} if program.sparse and written else set()
    return {
        "name": program.entry + suffix,
        "arguments": _arguments(program, body.streams),
        "doc": DONE["grad_few" if suffix.startswith("_few") else program.entry],
        "joined": _joined(program) if joined else "",
        "sizes": _sizes(program, body, [*lines, refused]),
        "narrow": body.narrow,
        "inputs": program.loss.predictions[0].name,
        "front": front,
        "refused": refused,
        "skipped": skipped,
        "can_refuse": bool(refused or body.tested or picks),
        "before": ([f"if {' | '.join(picks.values())}:", "    return nan"] if picks else [])
        + unknown
        + [f"fetch({name}, sample, {name}_tile)" for name in read]
        + [f"{name} = row_of({kept.output}, sample, {name}_row)" for name, kept in rows]
        + [f"clear({name}_tile)" for name in written if name in program.sparse],
        "after": [f"flush({name}, sample, {name}_tile)" for name in written]
        + ([f"if {found}:", "    return nan"] if found else []),
        "has_value": program.has_value,
        "has_factor": any(re.search(r"\bfactor\b", line) for line in lines),
        "body": lines,
    }


#: What the tests of domains take from the runtime.
_TESTING = RUNTIME["_domains"] | {"any_lane", "inf"}


def _bounds(given: Input) -> str:
    """What an input's domain is, as the arguments of a test; empty where every number will do."""
    if isinstance(given.domain, FiniteSet):
        values = "".join(f"{float(value)!r}, " for value in sorted(given.domain))
        return f"({values.strip()})"
    if not isinstance(given.domain, Interval) or given.domain == S.Reals:
        return ""
    low, high = given.domain.start, given.domain.end
    # An infinite end admits the infinity.
    ends = "(" if given.domain.left_open and low.is_finite else "["
    ends += ")" if given.domain.right_open and high.is_finite else "]"
    return f'({float(low)!r}, {float(high)!r}), "{ends}"'


def _tests(loss: Loss) -> dict[str, str]:
    """From each input of numbers that has a domain to the line that tests what has been read."""
    return {
        i.name: f"refused = refused | unlike({{1}}, {{2}}, {_bounds(i)})"
        if isinstance(i.domain, FiniteSet)
        else "{0}_least, {0}_most = extended({0}_least, {0}_most, {1}, {2})"
        for i in loss.inputs
        if i.kind != "label" and _bounds(i)
    }


def _found(loss: Loss, tested: set[str]) -> tuple[str, list[str]]:
    """Whether the lines of `_tests` have found an entry outside its domain, and the lines they begin with."""
    tests, begin = [], []
    for given in loss.inputs:
        if given.name not in tested:
            continue
        if isinstance(given.domain, FiniteSet):
            tests.append("any_lane(refused)")
            begin.append("refused = False")
        else:
            least, most = f"{given.name}_least", f"{given.name}_most"
            tests.append(f"strays({least}, {most}, {_bounds(given)})")
            begin.append(f"{least}, {most} = inf, -inf")
    return " | ".join(dict.fromkeys(tests)), list(dict.fromkeys(begin))


def _picks(loss: Loss) -> dict[str, str]:
    """From each input of which a loss reads single entries, and that has a domain, to the test of those.

    No other entry of such a row comes from memory for the loss's sake, and so it isn't tested.
    """
    tests = {}
    for given in loss.inputs:
        name = "other_than_at" if isinstance(given.domain, FiniteSet) else "outside_at"
        found = []
        for labels in loss.picked(given):
            place = "".join(f", load({label}, (sample,), None)" for label in labels)
            found.append(f"{name}({given.name}, (sample{place}), {_bounds(given)})")
        if found and _bounds(given):
            tests[given.name] = " | ".join(found)
    return tests


def _refused(loss: Loss, tested: Set[str], used: set[str]) -> str:
    """The test of the samples at hand, of inputs that aren't `tested` when they are read; empty for none."""
    tests = []
    for given in loss.inputs:
        array = f"{given.name}, sample, {len(given.dims)}"
        if given.kind == "label":
            tests.append(f'outside({array}, (0, {given.role.dims[0]} - 1), "[]")')
        elif given.name not in tested and _bounds(given):
            name = "other_than" if isinstance(given.domain, FiniteSet) else "outside"
            tests.append(f"{name}({array}, {_bounds(given)})")
    text = " | ".join(tests)
    used |= {"nan"} if tests else set()
    used |= set(re.findall(r"\w+", text)) & _TESTING
    return text


def _joined(program: Program) -> str:
    """The line that makes the rows of all samples one row, where they have nothing of their own."""
    arguments = _arguments(program, False)
    scalars = {p.name for p in program.loss.parameters} | {"samples", "weight", "mean_scale", "values"}
    arrays = ", ".join(name for name in arguments if name not in scalars)
    values = "values" if program.has_value else "None"
    return f"samples, {arrays} = as_one({len(program.loss.dims)}, samples, weight, {values}, {arrays})"


def _arguments(program: Program, streams: bool) -> list[str]:
    """In the order of the call: the number of samples, what is read, how it is written, and what."""
    loss, entry = program.loss, program.entry
    names = ["samples", *(i.name for i in loss.inputs), *(p.name for p in loss.parameters)]
    if entry == "hvp":
        names += [f"vector_{i.name}" for i in loss.predictions]
    names += [product.into for product in program.before]
    names.append("weight")
    if entry != "value":
        names += ["mean_scale", *(["past_caches"] if streams else [])]
    if program.has_value:
        names.append("values")
    outputs = [f"{kind}_{i.name}" for kind in ENTRIES[entry] if kind != "value" for i in loss.predictions]
    return [*names, *(name for name in outputs if name in program.outputs), *program.factors]


def _sizes(program: Program, body: Body, lines: list[str]) -> list[str]:
    """Lines that give the dimensions' sizes and the scratch arrays."""
    known: dict[str, str] = {}
    for given in program.loss.inputs:
        for axis, dim in enumerate(given.dims):
            known.setdefault(dim, f"{dim} = {given.name}.shape[{axis - len(given.dims)}]")
    scratch = []
    for name, dims in program.scratch.items():
        body.scalar.used.add("empty")
        axes = [*dims, "LANES"] if body.narrow else list(dims)
        scratch.append(f"{name} = empty(({', '.join(axes)}{',' if len(axes) == 1 else ''}))")
    room = "" if body.load == "load_wide" else f", {program.loss.predictions[0].name}.dtype"
    for name, kept in body.kept.items():
        if body.narrow:
            body.scalar.used.add("empty")
            scratch.append(f"{name} = empty(({', '.join([*kept.dims, 'LANES'])}){room})")
        else:
            body.scalar.used |= {"row_of", "spare_row"}
            scratch.append(f"{name}_row = spare_row({kept.output}, {len(kept.dims)}, {int(not room)})")
    if scratch and body.narrow:
        scratch.append("lane = run(0, LANES)")
    scratch += [f"{name}_tile = tile_of({name}, {axes})" for name, axes in body.tiles.items()]
    scratch += [f"{name} = as_row({array}, {axes})" for name, (array, axes) in body.joined.items()]
    body.scalar.used |= {"as_row"} if body.joined else set()
    words = set(re.findall(r"\w+", " ".join(lines + scratch)))
    return [known[dim] for dim in program.loss.dims if dim in known and dim in words] + scratch
