"""Programs as Numba kernels for the CPU: one module a loss."""

from __future__ import annotations

import re
from dataclasses import dataclass
from textwrap import wrap
from typing import Any

from symloss.derive import Derivation
from symloss.emit import render
from symloss.lower import lower
from symloss.printers.scalar import TEST, ScalarPrinter
from symloss.printers.text import text
from symloss.program import (
    ENTRIES,
    Accumulator,
    Assign,
    If,
    Keep,
    Load,
    Loop,
    Program,
    Reduce,
    Statement,
    Store,
)

TEMPLATE = "kernels/loss.py.jinja"
_DONE = {
    "value": "The sum of weight * loss over the samples; `values`, if it has a length, takes each sample's.",
    "grad": "The gradient of weight * loss, times `mean_scale`.",
    "value_and_grad": "The sum of weight * loss, as `value`, and its gradient, as `grad`.",
    "grad_and_hess": "The gradient and the Hessian's diagonal of weight * loss, times `mean_scale`.",
    "hvp": "The Hessian of weight * loss, times the vectors, times `mean_scale`.",
}


def module(derivation: Derivation, header: str) -> tuple[str, tuple[str, ...]]:
    """The source of a loss's kernels, and the names of its sparse outputs."""
    loss = derivation.loss
    kernels: list[dict[str, Any]] = []
    used: set[str] = {"kernel"}
    sparse: dict[str, None] = {}
    for entry in ENTRIES:
        program = lower(derivation, entry)
        printer = _Printer(program)
        kernels.append(printer.kernel())
        used |= printer.scalar.used
        sparse.update(dict.fromkeys(program.sparse))
    formula = "\n    ".join(
        wrap(f"loss = {text(loss.formula)}", 104, break_long_words=False, break_on_hyphens=False)
    )
    source = render(
        TEMPLATE,
        header=header,
        title=loss.title.rstrip("."),
        formula=formula,
        signature=loss.signature,
        imports=sorted(used),
        kernels=kernels,
    )
    return source, tuple(sparse)


@dataclass
class _Printer:
    """Prints one Program as the parts of a kernel."""

    program: Program

    def __post_init__(self) -> None:
        self.scalar = ScalarPrinter()
        self.adds = {f"{o}": f"add_{o.split('_', 1)[1]}" for o in self.program.outputs}

    def kernel(self) -> dict[str, Any]:
        """What the template needs: name, arguments, docstring, and lists of lines."""
        program = self.program
        body = self._lines(program.body)
        if program.has_value:
            self.scalar.used |= {"add", "finish"}
        return {
            "name": program.entry,
            "arguments": self._arguments(),
            "doc": _DONE[program.entry],
            "sizes": self._sizes(body),
            "has_value": program.has_value,
            "has_factor": any("factor" in line for line in body),
            "body": body,
        }

    def _arguments(self) -> list[str]:
        loss, entry = self.program.loss, self.program.entry
        names = [i.name for i in loss.inputs] + [p.name for p in loss.parameters]
        if entry == "hvp":
            names += [f"vector_{i.name}" for i in loss.predictions]
        names.append("weight")
        if entry != "value":
            names.append("mean_scale")
        if self.program.has_value:
            names.append("values")
        names += [f"{kind}_{i.name}" for kind in ENTRIES[entry] if kind != "value" for i in loss.predictions]
        if entry != "value":
            names += [f"add_{i.name}" for i in loss.predictions]
        return names

    def _sizes(self, body: list[str]) -> list[str]:
        """Lines that give the number of samples, the dimensions' sizes, and the scratch arrays."""
        loss = self.program.loss
        lines = [f"samples = {loss.predictions[0].name}.shape[0]"]
        known: dict[str, str] = {}
        for given in loss.inputs:
            for axis, dim in enumerate(given.dims, 1):
                known.setdefault(dim, f"{dim} = {given.name}.shape[{axis}]")
        scratch = []
        for name, dims in self.program.scratch.items():
            self.scalar.used |= {"empty"}
            scratch.append(f"{name} = empty(({', '.join(dims)}{',' if len(dims) == 1 else ''}))")
        words = set(re.findall(r"\w+", " ".join(body + scratch)))
        return lines + [known[dim] for dim in loss.dims if dim in known and dim in words] + scratch

    def _lines(self, statements: tuple[Statement, ...]) -> list[str]:
        lines: list[str] = []
        for statement in statements:
            lines += getattr(self, f"_{type(statement).__name__.lower()}")(statement)
        return lines

    def _load(self, load: Load) -> list[str]:
        where = ", ".join(["sample", *(self.scalar.text(i) for i in load.indices)])
        is_label = any(i.name == load.source and i.kind == "label" for i in self.program.loss.inputs)
        element = f"{load.source}[{where}]"
        if not is_label:
            self.scalar.used.add("float64")  # float() would leave a float32 as it is
        return [f"{load.name} = {element if is_label else f'float64({element})'}"]

    def _assign(self, assign: Assign) -> list[str]:
        return [f"{assign.name} = {self.scalar.text(assign.value)}"]

    def _reduce(self, reduce: Reduce) -> list[str]:
        lines = []
        for a in reduce.accumulators:
            if a.op == "sum":
                lines.append(f"{a.name}, {a.name}_carry = 0.0, 0.0")
            else:
                start = {"product": "1.0", "max": "-inf", "min": "inf"}[a.op]
                lines.append(f"{a.name} = {start}")
                if a.op != "product":
                    self.scalar.used.add("inf")
                if a.place is not None:
                    lines.append(f"{a.place} = 0")
        inner = self._lines(reduce.body)
        for a in reduce.accumulators:
            inner += self._accumulate(a, reduce)
        lines += self._nest(reduce.loops, inner)
        for a in reduce.accumulators:
            if a.op == "sum":
                self.scalar.used |= {"add", "finish"}
                lines.append(f"{a.name} = finish({a.name}, {a.name}_carry)")
        return lines

    def _accumulate(self, a: Accumulator, reduce: Reduce) -> list[str]:
        if a.op == "sum":
            term = self.scalar.text(a.term)
            step = f"{a.name}, {a.name}_carry = add({a.name}, {a.name}_carry, {term})"
            return [step] if a.unless is None else [f"if not ({self.scalar.text(a.unless)}):", f"    {step}"]
        if a.op == "product":
            return [f"{a.name} *= {self.scalar.text(a.term, TEST)}"]
        sign = ">" if a.op == "max" else "<"
        name = f"{a.name}_entry"
        lines = [
            f"{name} = {self.scalar.text(a.term)}",
            f"if {name} {sign} {a.name} or {name} != {name}:",
            f"    {a.name} = {name}",
        ]
        if a.place is not None:
            position = ""
            for index in reduce.loops:
                position = f"({position}) * {index.dim} + {index.name}" if position else index.name
            lines.append(f"    {a.place} = {position}")
        return lines

    def _loop(self, loop: Loop) -> list[str]:
        return self._nest(loop.loops, self._lines(loop.body))

    def _nest(self, loops: tuple[Any, ...], inner: list[str]) -> list[str]:
        lines = inner
        for index in reversed(loops):
            lines = [f"for {index.name} in range({index.dim}):", *(f"    {line}" for line in lines)]
        return lines

    def _keep(self, keep: Keep) -> list[str]:
        return [f"{keep.array}[{', '.join(i.name for i in keep.indices)}] = {self.scalar.text(keep.value)}"]

    def _store(self, store: Store) -> list[str]:
        element = f"{store.output}[{', '.join(['sample', *(self.scalar.text(i) for i in store.indices)])}]"
        add = self.adds[store.output]
        if store.value == 0:
            return [] if store.output in self.program.sparse else [f"if not {add}:", f"    {element} = 0.0"]
        value = (
            "factor"
            if store.value == 1
            else f"factor * {self.scalar.text(store.value, 2 if not store.value.is_Mul else 1)}"
        )
        if store.output in self.program.sparse:
            return [f"{element} += {value}"]
        sum_lines = [f"{element} += {value}"]
        if store.unless is not None:
            sum_lines = [f"if not ({self.scalar.text(store.unless)}):", f"    {sum_lines[0]}"]
        return [f"if {add}:", *(f"    {line}" for line in sum_lines), "else:", f"    {element} = {value}"]

    def _if(self, branch: If) -> list[str]:
        lines: list[str] = []
        for test, statements in branch.branches:
            word = "else:" if test is None else f"{'elif' if lines else 'if'} {self.scalar.text(test)}:"
            if test is None and not lines:
                return self._lines(statements)
            lines += [word, *(f"    {line}" for line in self._lines(statements) or ["pass"])]
        return lines
