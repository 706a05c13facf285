"""The body of a CUDA kernel: the lines of `lanes.py`, shared among the threads of a team.

What differs from a processor is who has which lanes: a row's entries are shared among the threads of a team,
and what each found they combine. Results may be written over the inputs that they belong to, so single
entries are read early, and all wait for each other before the first is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sympy import FiniteSet, Interval, S, Symbol

from symloss.errors import UnsupportedError
from symloss.fusing import fused
from symloss.index import Index
from symloss.online import Online, online
from symloss.precision import DOUBLE_ARITHMETIC, Arithmetic
from symloss.printers.lanes import SAMPLE, Body
from symloss.printers.scalar import PRODUCT
from symloss.program import Accumulator, Keep, Load, Loop, Program, Reduce, Statement, Store
from symloss.roles import Input
from symloss.scales import spared
from symloss.statements import made, nested, symbols


class DeviceBody(Body):
    """Prints the statements of one Program for the threads of a GPU.

    Args:
        program: what to print, without matrix products.
        chosen: in which precision.
    """

    by_data = False
    joins_axes = False

    def __init__(self, program: Program, chosen: Arithmetic) -> None:
        self._tests = {i.name for i in program.loss.inputs if _test(i) and not program.loss.picked(i)}
        if chosen.wide_terms and spared(program.body):
            chosen = DOUBLE_ARITHMETIC  # scales, which kernels here keep, leave float32's range
        super().__init__(program, not program.loss.dims, *chosen)
        self._statements = self._ordered()

    def lines(self) -> list[str]:
        """The lines of one pass over a sample, or the samples of a thread."""
        lines = self._picks()
        waits = bool(self.program.loss.dims)
        for statement in self._statements:
            if waits and any(isinstance(part, Store) for part in nested([statement])):
                # Results may be written over what they are made of, once all have read what they all need.
                self.scalar.used.add("together")
                lines.append("together()")
                waits = False
            lines += self._statement(statement)
        return lines

    def _picks(self) -> list[str]:
        """The tests of inputs of which the loss reads no entries but those at labels."""
        lines = []
        sizes = {i.name: i.role.dims[0] for i in self.program.loss.inputs if i.kind == "label"}
        for given in self.program.loss.inputs:
            for labels in self.program.loss.picked(given) if _test(given) else ():
                place = "".join(f", label_at({label}, (sample,), {sizes[label]})" for label in labels)
                lines.append(f"tested_{given.name} = load({given.name}, (sample{place}), None)")
                lines.append(f"refused = refused | {self._said(given, f'tested_{given.name}')}")
                self.tested.add(given.name)
                self.scalar.used |= {"label_at", "load"}
        return lines

    def _said(self, given: Input, read: str) -> str:
        """The test of a number that has been read."""
        test = _test(given)
        self.scalar.used |= {"opposite"} if "opposite" in test else set()
        return test.replace("_", read)

    def _ordered(self) -> list[Statement]:
        """The statements as they are printed: loops joined, single entries read as early as can be."""
        statements = fused(self.program.body, self._alike)
        if not self.program.loss.dims:
            return statements
        done: list[Statement] = []
        for statement in statements:
            place = len(done)
            if isinstance(statement, Load):
                needed = {symbol.name for index in statement.indices for symbol in symbols(index)}
                makers = (n for n, earlier in enumerate(done) if needed & set(made([earlier])))
                place = 1 + max(makers, default=-1)
            done.insert(place, statement)
        return [*self._scans(done), *online(done)]

    def _scans(self, statements: Sequence[Statement]) -> list[Statement]:
        """Loops that read inputs only to test them: those whose rows aren't read whole in any case."""
        parts = [part for s in statements for part in (s.body if isinstance(s, (Loop, Reduce)) else (s,))]
        loads = [part for part in parts if isinstance(part, Load)]
        scans: list[Statement] = []
        for given in self.program.loss.inputs:
            if given.name not in self._tests or any(_is_whole(load, given) for load in loads):
                continue
            loops = tuple(Index(f"at_{dim.lower()}", dim) for dim in given.dims)
            load = Load(Symbol(f"tested_{given.name}", real=True), given.name, loops)
            scans.append(Loop(loops, (load,)) if loops else load)
        return scans

    def works_in_place(self) -> bool:
        """Whether an output may be written over the input that it belongs to, entry for entry.

        Each entry must have been read before it is written, and by the thread that writes it.
        """
        if self.program.sparse:
            return False  # a row is made zero first
        written: set[str] = set()
        for statement in self._statements:
            parts = list(nested([statement]))
            stores = [part for part in parts if isinstance(part, Store)]
            for part in parts:
                if not isinstance(part, Load):
                    continue
                own = [store for store in stores if store.output.endswith(f"_{part.source}")]
                if any(store.indices != part.indices for store in own):
                    return False
                if any(name.endswith(f"_{part.source}") for name in written):
                    return False
            written |= {store.output for store in stores}
        return True

    # --- what differs from a processor --------------------------------------------------------------------

    def _statement(self, statement: Statement) -> list[str]:
        if isinstance(statement, Online):
            return self._online(statement)
        lines = super()._statement(statement)
        is_loop = isinstance(statement, (Loop, Reduce))
        if is_loop and any(isinstance(part, Keep) for part in nested([statement])):
            self.scalar.used.add("together")  # others read what a thread keeps
            lines.append("together()")
        return lines

    def _online(self, statement: Online) -> list[str]:
        """A maximum and sums of exponentials below it, in one loop.

        Sums are relative to a reference, which follows the maximum only when that is 1 above: what was summed
        loses digits each time, and a factor e of its weight, so that little is lost in all.
        """
        largest, *sums = statement.accumulators
        m, at, k = largest.name, largest.place, statement.loops[0]
        if not self._across(statement.loops, [*statement.body, *statement.accumulators]):
            raise UnsupportedError(f"the entries of {largest.term} don't lie in a row")
        self.scalar.used |= {"any_lane", "exp", "finish", "first_max", "inf", "select", "shift"}
        self.scalar.used |= {"sum_of", "tally", "wide", "within"}
        data = self.program.loss.predictions[0].name
        others = [a for a in sums if a.unless is not None]
        lines = [f"{m}, {m}_base, {at} = -inf, -inf, -1"]
        lines += [f"{a.name}, {a.name}_carry = 0.0, 0.0" for a in sums]
        with self._lanes((k,), True):
            inner = self._all(statement.body)
            entry = self.scalar.text(largest.term)
            beaten = f"({m}_entry > {m}) | ({m}_entry != {m}_entry)"
            inner += [
                f"{m}_entry = within({k}, {entry}, -inf)",
                f"{m}_beaten = {beaten} | (({at} < 0) & (within({k}, 1.0, 0.0) > 0.0))",
                f"if any_lane({m}_beaten):",
            ]
            if others:  # what was the maximum is one of the others now
                was = f"{m}_beaten & ({at} >= 0)"
                inner.append(f"    {m}_was = wide(select({was}, exp(shift({m}, {m}_base)), 0.0))")
            inner += [f"    {a.name} = {a.name} + {m}_was" for a in others]
            inner += [
                f"    {m} = select({m}_beaten, {m}_entry, {m})",
                f"    {m}_far = ({m} > {m}_base + 1.0) | ({m} != {m})",
                f"    {m}_ratio = wide(select({m}_far, exp(shift({m}_base, {m})), 1.0))",
                f"    {m}_base = select({m}_far, {m}, {m}_base)",
                f"    {at} = select({m}_beaten, {k}, {at})",
            ]
            for a in sums:
                inner.append(f"    {a.name} = {a.name} * {m}_ratio")
                inner.append(f"    {a.name}_carry = {a.name}_carry * {m}_ratio")
            for name in (m, at):
                self._name(name, True)
            inner.append(f"{m}_term = exp(shift({entry}, {m}_base))")
            for a in sums:
                term = f"{m}_term" if a.term == 1 else f"{m}_term * {self.scalar.text(a.term, PRODUCT)}"
                if a.unless is not None:
                    term = f"select({k} == {at}, 0.0, {term})"
                more = f"within({k}, {term}, 0.0), {data}"
                inner.append(f"{a.name}, {a.name}_carry = tally({a.name}, {a.name}_carry, {more})")
        lines += self._nest(statement.loops, (k,), True, inner)
        lines.append(f"{m}_own, {at}_own = {m}, {at}")
        lines.append(f"{m}, {at} = first_max({m}, {at}, team)")
        if others:
            own = f"({at}_own == {at}) | ({at}_own < 0)"
            lines.append(f"{m}_was = select({own}, 0.0, wide(exp(shift({m}_own, {m}))))")
        lines.append(f"{m}_ratio = wide(select({at}_own < 0, 0.0, exp(shift({m}_base, {m}))))")
        for a in sums:
            more = f" + {m}_was" if a in others else ""
            total = f"finish({a.name}, {a.name}_carry) * {m}_ratio{more}"
            lines.append(f"{a.name} = sum_of({total}, team)")
        for name in (m, at, *(a.name for a in sums)):
            self._name(name, False)
        return lines

    def _load(self, name: Any, source: str, indices: Sequence[Any]) -> list[str]:
        given = next((i for i in self.program.loss.inputs if i.name == source), None)
        if given is not None and given.kind == "label":
            self._name(name, False)
            self.scalar.used.add("label_at")
            return [f"{name} = label_at({source}, {self._at(SAMPLE)}, {given.role.dims[0]})"]
        lines = super()._load(name, source, indices)
        whole = given is not None and _is_whole(Load(name, source, tuple(indices)), given)
        if given is not None and source in self._tests and whole and source not in self.tested:
            self.tested.add(source)
            self.scalar.used |= {"within", "nan"}
            read = f"within({self.lane}, {name}, nan)" if self.lane is not None else str(name)
            lines.append(f"refused = refused | {self._said(given, read)}")
        return lines

    def _tile(self, array: str, indices: Sequence[Any]) -> str:
        return "None"

    def _nest(
        self, loops: Sequence[Index], axes: tuple[Index, ...], across: bool, inner: list[str]
    ) -> list[str]:
        lines = super()._nest(loops, axes, across, inner)
        if across:
            self.scalar.used |= {"entry_start", "entry_step"}
            self.scalar.used.discard("LANES")
            (index,) = axes
            head = f"for {index.name}_start in range(0, {index.dim}, LANES):"
            mine = f"for {index.name}_start in range(entry_start(), {index.dim}, entry_step()):"
            lines = [line.replace(head, mine) for line in lines]
        return lines

    def _by_block(self, loops: Sequence[Index]) -> bool:
        return False  # other threads of the team have other lanes

    def _partly_added(self, term: str) -> str:
        return term  # a thread has one lane

    def _added_up(self, total: str, carry: str) -> str:
        return f"sum_of(finish({total}, {carry}), team)"

    def _finish(self, a: Accumulator, loops: Sequence[Index], across: bool) -> list[str]:
        lines = super()._finish(a, loops, across)
        if across and a.op != "sum":  # the last line combines lanes; here, all lanes of the team
            lines[-1] = f"{lines[-1].removesuffix(')')}, team)"
        return lines

    def _store(self, store: Store) -> list[str]:
        lines = super()._store(store)
        if lines and store.output in self.program.sparse and self.lane is None:
            self.scalar.used.add("is_first")
            return ["if is_first():", *(f"    {line}" for line in lines)]
        return lines


def _is_whole(load: Load, given: Input) -> bool:
    """Whether a load reads, in its loop, every entry of an input."""
    return (
        load.source == given.name
        and len(load.indices) == len(given.dims)
        and all(isinstance(index, Index) for index in load.indices)
        and len(set(load.indices)) == len(load.indices)
    )


def _test(given: Input) -> str:
    """Whether a number, `_`, is outside an input's domain; empty where every number will do; labels aside."""
    domain = given.domain
    if given.kind == "label":
        return ""
    if isinstance(domain, FiniteSet):
        known = " | ".join(["(_ != _)", *(f"(_ == {float(value)!r})" for value in sorted(domain))])
        return f"opposite({known})"
    if not isinstance(domain, Interval) or domain == S.Reals:
        return ""
    # An infinite end admits the infinity; NaN is never outside.
    tests = []
    if domain.start.is_finite:
        tests.append(f"(_ {'<=' if domain.left_open else '<'} {float(domain.start)!r})")
    if domain.end.is_finite:
        tests.append(f"(_ {'>=' if domain.right_open else '>'} {float(domain.end)!r})")
    return " | ".join(tests)
