"""The body of a kernel: a Program's statements as lines of Python that compute in lanes.

Two schedules print from one Program. With samples across lanes every number of a sample is a vector, one
number a sample, and loops over core dimensions stay loops. With a core index across lanes, samples follow
each other, what a whole row has in common is a scalar, and the loop over the index takes LANES entries a
step. Either way the lines are the same but for the heads of the loops: what a name holds, a number or lanes
of them, Numba finds out.

Where a test has another answer in each lane nothing can be skipped: every branch is computed, and `select`
takes the one that holds. A test that all lanes share stays an `if`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from sympy import Abs, Basic, Eq, Expr, Mul, Symbol, preorder_traversal, sift

from symloss import atoms
from symloss.fusing import fused
from symloss.index import Entry, Index, Size
from symloss.keeping import Kept, kept
from symloss.merging import merged, substituted
from symloss.printers.scalar import PRODUCT, ScalarPrinter, is_call, is_costly, widens
from symloss.program import (
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
from symloss.scales import idle, spared
from symloss.statements import (
    are_last_axes,
    assigns_value,
    expressions,
    in_loops,
    made,
    nested,
    places,
    read,
    spelled_out,
    stored_in_all,
    stored_once,
    symbols,
    writes,
    written_by,
)

#: What a reduction starts from, and what a lane that isn't in use counts as.
NEUTRAL = {"sum": "0.0", "product": "1.0", "max": "-inf", "min": "inf"}
#: What a body takes from which module; everything else is a function of `_math.py`.
RUNTIME = {
    "_domains": frozenset({
        "extended", "make_zero", "other_than", "other_than_at", "outside", "outside_at", "strays", "unlike",
    }),
    "_lanes": frozenset({
        "LANES", "any_lane", "divisor", "first_in_blocks", "first_max", "folded", "max_of", "min_of",
        "opposite", "over", "product_of", "select", "sum_of", "times_over", "wide",
    }),
    "_memory": frozenset({
        "add_to", "as_row", "load", "load_wide", "needs_scales", "put", "put_unless", "stream",
    }),
    "_runs": frozenset({"block_of", "occupied", "only", "positions_of", "run", "within", "without"}),
    "_tiles": frozenset({"as_one", "clear", "fetch", "flush", "row_of", "spare_row", "tile_of"}),
}  # fmt: skip
#: The name of the run of samples, or of the one sample.
SAMPLE = "sample"


class Body:
    """Prints the statements of one Program.

    Args:
        program: what to print.
        narrow: whether samples lie across lanes, rather than a core index.
        load: the function that reads an input.
        wide_terms: whether terms of sums are computed in float64 of what was computed in float32.
        wide_ends: whether the last operations of element-wise derivatives are in float64 for float32 data, as
            those of losses always are.
        wide_sums: whether that begins with sums of two numbers.
        wide_value: whether a loss is in float64 from such sums on, whatever its derivatives are in.
        tests: from inputs to lines that test a number where it is read, with the input, the number's place
            and its name left open.
        may_stream: whether an argument `past_caches` may say how results are written.
    """

    #: Whether what only float64 data needs is left out where a kernel is compiled for float32 data.
    by_data = True
    #: Whether a loop over neighbouring axes of all that it reads and writes is one over their entries.
    joins_axes = True

    def __init__(
        self,
        program: Program,
        narrow: bool,
        load: str,
        wide_terms: bool = False,
        wide_ends: bool = False,
        wide_sums: bool = False,
        wide_value: bool = False,
        *,
        tests: Mapping[str, str] = MappingProxyType({}),
        may_stream: bool = False,
    ) -> None:
        if wide_value:
            program = replace(program, body=tuple(spelled_out(program.body, is_call)))
        self.program, self.narrow, self.load, self.wide_terms = program, narrow, load, wide_terms
        self.wide_ends = wide_ends
        #: Whether the kernel has that argument, for it reads and writes each place once.
        self.streams = may_stream and bool(program.outputs)
        self.tests = dict(tests)
        self.tested: set[str] = set()
        self.scalar = ScalarPrinter(self._scratch)
        self.scalar.rounds_sums = not (wide_sums or wide_value or program.loss.dims)
        self.lane: str | None = SAMPLE if narrow else None
        self.tiles: dict[str, int] = {}
        #: From names to the array, and how many of its last axes are one under that name.
        self.joined: dict[str, tuple[str, int]] = {}
        self._axes: tuple[Index, ...] = ()  # those that are one in the loop at hand
        self.kept: dict[str, Kept] = {}
        self._varying: set[str] = set()
        self._places: dict[str, str] = {}  # the lanes that a branch writes to
        self._value = "value"
        self._cases = 0
        self._given: dict[str, int] = {}
        # What functions are called with stays in the inputs' precision: in float64 they would be twice as
        # slow.
        self._called_with = _called_with(program.body)
        self._wide: set[str] = set()
        self._in_loops = set(in_loops(program.body))
        # Others add to what their entries have, which begins as 0.
        self._once = stored_once(program.body)
        # The maxima whose scales only float64 data needs, and those of them that need no loop then.
        self._idle: set[Any] = set()
        if self.by_data and (load == "load_wide" or wide_terms):
            self.scalar.spared = spared(program.body)
            self.scalar.data = program.loss.predictions[0].name
            self._idle = idle(program.body, self.scalar.spared)

    def lines(self) -> list[str]:
        """The lines of one pass over the sample, or the samples across the lanes."""
        together = fused(self.program.body, self._alike)
        taken = {*made(together), *read(together), *self.program.scratch}
        statements, self.kept = kept(together, is_costly, not self.narrow, taken)
        self.streams = self.streams and (self._is_one_loop(statements) or not self.program.loss.dims)
        return self._all(statements)

    def _is_one_loop(self, statements: Sequence[Statement]) -> bool:
        """Whether what has rows passes over them once, and nothing else is done with what it writes."""
        program = self.program
        if self.narrow or self.kept or program.scratch or program.sparse or program.after:
            return False
        loops = [s for s in nested(statements) if isinstance(s, (Loop, Reduce))]
        return len(loops) == 1 and self._across(loops[0].loops, loops[0].body)

    def _unique(self, wish: str) -> Symbol:
        """A name that nothing has yet."""
        number = self._given.setdefault(wish, 0) + 1
        self._given[wish] = number
        return Symbol(f"{wish}_{number}" if number > 1 else wish, real=True)

    # --- what has another value in each lane --------------------------------------------------------------

    def _varies(self, expr: Any) -> bool:
        """Whether an expression may differ between lanes."""
        if not isinstance(expr, Basic):
            return False
        return any(symbol.name in self._varying or symbol.name == self.lane for symbol in symbols(expr))

    def _name(self, name: Any, varies: bool) -> None:
        (self._varying.add if varies else self._varying.discard)(str(name))

    # --- statements ---------------------------------------------------------------------------------------

    def _all(self, statements: Iterable[Statement]) -> list[str]:
        together = fused(list(statements), self._alike)
        return [line for statement in together for line in self._statement(statement)]

    def _alike(self, earlier: Reduce | Loop, loop: Loop) -> bool:
        """Whether two loops over the same indices both have lanes of entries, or neither."""
        accumulators = earlier.accumulators if isinstance(earlier, Reduce) else ()
        across = self._across(earlier.loops, [*earlier.body, *accumulators])
        return across == self._across(loop.loops, loop.body)

    def _statement(self, statement: Statement) -> list[str]:
        match statement:
            case Load(name, source, indices):
                return self._load(name, source, indices)
            case Assign(name, value):
                self._name(name, self._varies(value))
                self.scalar.logits.pop(name, None)
                if isinstance(value, atoms.sigmoid) and symbols(value).isdisjoint({name}):
                    self.scalar.logits[name] = value.args[0]
                if str(name) == "value":
                    return [f"{self._value} = {self._last(value)}"]
                is_end = self.wide_ends and not self.program.loss.dims
                if not is_end or str(name) in self._called_with or not widens(value):
                    return [f"{name} = {self.scalar.text(value)}"]
                line = f"{name} = {self._last(value)}"
                self._wide.add(str(name))
                return [line]
            case Keep(array, indices, value):
                self.scalar.used.add("put")
                self._name(array, self.narrow)
                places = self._at(*indices, *self._lane_axis())
                return [f"put({array}, {places}, {self.scalar.text(value)}, None)"]
            case Store():
                return self._store(statement)
            case Loop(loops, body):
                return self._loop(loops, body)
            case Reduce():
                return self._reduce(statement)
            case If(branches):
                if any(test is not None and self._varies(test) for test, _ in branches):
                    return self._select(branches)
                return self._branch(branches)
        raise TypeError(f"no statement: {statement!r}")

    def _end(self, value: Any) -> str:
        """An element-wise derivative, whose last operations may need float64.

        There, errors of functions, half an ulp or little more, are all that may meet within a bound of 2 ulp.
        """
        return self._last(value) if self.wide_ends else self.scalar.text(value)

    def _last(self, value: Any) -> str:
        """A sample's loss: the last operations are in float64 in any case, in which losses are added up."""
        if self.load != "load" or not self.narrow or value.is_Symbol or not widens(value):
            return self.scalar.text(value)
        self.scalar.narrow_names = self._varying - self._wide
        return self.scalar.wide_text(value)

    def _test(self, test: Any) -> str:
        """A test that each lane answers for itself: in float64, of what its branches compute there anyway."""
        computes = any(part.is_Add for part in preorder_traversal(test) if isinstance(part, Expr))
        return self._last(test) if computes and not self.program.loss.dims else self.scalar.text(test)

    def _load(self, name: Any, source: str, indices: Sequence[Any]) -> list[str]:
        is_label = any(i.name == source and i.kind == "label" for i in self.program.loss.inputs)
        self._name(name, self.narrow or any(self._varies(i) for i in indices))
        load = "load" if is_label else self.load
        self.scalar.used.add(load)
        array, places = self._place(source, indices)
        lines = [f"{name} = {load}({array}, {self._at(SAMPLE, *places)}, {self._tile(source, indices)})"]
        if source in self.tests:
            self.tested.add(source)
            lines.append(self.tests[source].format(source, self.lane, name))
        return lines

    def _tile(self, array: str, indices: Sequence[Any]) -> str:
        """The tile of an array whose samples have rows, with samples in the lanes.

        One of which each sample has only entries at its labels isn't worth copying.
        """
        if not (self.narrow and indices) or array not in self._in_loops:
            return "None"
        self.tiles[array] = len(indices)
        return f"{array}_tile"

    def _place(self, array: str, indices: Sequence[Any]) -> tuple[str, Sequence[Any]]:
        """An array and the indices of an access, with the axes as one that are one in the loop at hand."""
        count = len(self._axes)
        if count < 2 or tuple(indices[-count:]) != self._axes:
            return array, indices
        name = f"flat_{array}" if count == len(indices) else f"flat_{array}_{count}"
        self.joined[name] = array, count
        return name, (*indices[:-count], indices[-1])

    def _at(self, *indices: Any) -> str:
        """A tuple of indices."""
        texts = [i if isinstance(i, str) else self.scalar.text(i) for i in indices]
        return f"({', '.join(texts)}{',' if len(texts) == 1 else ''})"

    def _scratch(self, entry: Entry) -> str:
        """An element of a scratch array, which has an axis for the lanes where samples lie across them."""
        load = self.load if entry.base.name in self.kept else "load_wide"
        self.scalar.used.add(load)
        return f"{load}({entry.base.name}, {self._at(*entry.indices, *self._lane_axis())}, None)"

    def _lane_axis(self) -> list[str]:
        return ["lane"] if self.narrow else []

    def _put(self, how: str, array: str, indices: Sequence[Any], value: str, last: str = "") -> str:
        """A write; in a branch that not every lane takes, to the lanes that do."""
        self.scalar.used.add(how)
        name, own = self._place(array, indices)
        texts = [SAMPLE, *(self.scalar.text(i) for i in own)]
        places = self._at(*(self._places.get(text, text) for text in texts))
        more = f", {last}" if last else ""
        return f"{how}({name}, {places}, {value}, {self._tile(array, indices)}{more})"

    def _store(self, store: Store) -> list[str]:
        sparse = store.output in self.program.sparse
        if sparse and store.value == 0:
            return []
        return [self._write(store, self._scaled(store.value), sparse)]

    def _scaled(self, value: Any) -> str:
        """A derivative times the factor that all of a sample's derivatives have."""
        if value == 0:
            return "0.0"
        if value == 1:
            return "factor"
        if not self.program.loss.dims:
            top, bottom = self._quotient(value)
            if bottom is None:
                return f"factor * ({self._end(value)})"
            self.scalar.used.add("times_over")
            return f"times_over(factor, {self._end(top)}, {self.scalar.text(bottom)})"
        # What all of a sample's entries are divided by, the factor is, once.
        factors = Mul.make_args(value)
        counts, rest = sift(factors, lambda f: f.is_Pow and isinstance(f.base, Size), binary=True)
        factor = self.scalar.text(Mul(Symbol("factor"), *counts, evaluate=False)) if counts else "factor"
        if not rest:
            return factor
        value = Mul(*rest, evaluate=False) if counts else value
        return f"{factor} * {self.scalar.text(value, PRODUCT if not value.is_Mul else 1)}"

    def _quotient(self, value: Any) -> tuple[Any, Any]:
        """A derivative as what samples have of their own and what of parameters divides it; None for nothing.

        Of several divisors, or a power of one, the product might vanish.
        """
        known = {p.name for p in self.program.loss.parameters}

        def is_shared(expr: Expr) -> bool:
            return known.issuperset(symbol.name for symbol in symbols(expr))

        def divides(factor: Expr) -> bool:
            _, power = factor.as_base_exp()
            return power.could_extract_minus_sign() and is_shared(factor)

        bottoms, tops = sift(Mul.make_args(value), divides, binary=True)
        fits = len(bottoms) == 1 and bottoms[0].exp == -1 and not all(map(is_shared, tops))
        if self.program.loss.dims or not fits:
            return value, None
        return Mul(*tops, evaluate=False), bottoms[0].base

    def _write(self, store: Store, value: str, sparse: bool) -> str:
        if sparse and store.output not in self._once:
            return self._put("add_to", store.output, store.indices, value)
        if store.unless is None:
            how, more = ("stream", "past_caches") if self.streams else ("put", "")
            return self._put(how, store.output, store.indices, value, more)
        return self._put("put_unless", store.output, store.indices, value, self.scalar.text(store.unless))

    # --- loops --------------------------------------------------------------------------------------------

    def _across(self, loops: Sequence[Index], statements: Iterable[Any]) -> bool:
        """Whether a loop's last index can lie across lanes: it runs along the last axis of what it reads."""
        if self.lane is not None:
            return False
        last = loops[-1]
        found = [place for place in places(statements) if any(last in symbols(i) for i in place)]
        return bool(found) and all(
            place[-1] == last and not any(last in symbols(i) for i in place[:-1]) for place in found
        )

    def _joins(self, loops: tuple[Index, ...], statements: Sequence[Any]) -> tuple[Index, ...]:
        """The last of the loops, as many as run over neighbouring axes of whatever is read and written.

        A row of a feature map may have fewer entries than there are lanes.
        """
        if not self.joins_axes:
            return loops[-1:]
        for first in range(len(loops) - 1):
            axes = loops[first:]
            if are_last_axes(statements, axes):
                return axes
        return loops[-1:]

    @contextmanager
    def _lanes(self, axes: tuple[Index, ...], across: bool) -> Iterator[None]:
        before = self.lane, self._axes
        if across:
            self.lane, self._axes = axes[-1].name, axes
        yield
        self.lane, self._axes = before

    def _nest(
        self, loops: Sequence[Index], axes: tuple[Index, ...], across: bool, inner: list[str]
    ) -> list[str]:
        lines = inner
        if across:
            self.scalar.used |= {"LANES", "run"}
            name, size = axes[-1].name, " * ".join(index.dim for index in axes)
            lines = [
                f"for {name}_start in range(0, {size}, LANES):",
                f"    {name} = run({name}_start, {size})",
                *(f"    {line}" for line in lines),
            ]
            loops = loops[: -len(axes)]
        for index in reversed(loops):
            lines = [f"for {index.name} in range({index.dim}):", *(f"    {line}" for line in lines)]
        return lines

    @contextmanager
    def _divided(self, body: Sequence[Statement], lines: list[str]) -> Iterator[None]:
        """A loop's body, in which `lines`, before the loop, get what it divides by again and again.

        A number that all lanes share needs nothing of the kind: `_lanes.py` knows it by its type.
        """
        before = self.scalar.fixed, self.scalar.divisors
        fixed = self._varying - set(made(body)) if self.narrow else ()
        self.scalar.fixed, self.scalar.divisors = frozenset(fixed), {}
        yield
        lines += [f"by_{name} = divisor({name})" for name in self.scalar.divisors]
        self.scalar.fixed, self.scalar.divisors = before

    def _loop(self, loops: Sequence[Index], body: Sequence[Statement]) -> list[str]:
        across = self._across(loops, body)
        axes = self._joins(tuple(loops), body) if across else ()
        lines: list[str] = []
        with self._lanes(axes, across), self._divided(body, lines):
            inner = self._all(body)
        return lines + self._nest(loops, axes, across, inner)

    def _reduce(self, reduce: Reduce) -> list[str]:
        parts = [*reduce.body, *reduce.accumulators]
        across = self._across(reduce.loops, parts)
        axes = self._joins(reduce.loops, parts) if across else ()
        start: list[str] = []
        lines: list[str] = []
        for a in reduce.accumulators:
            if a.op == "sum":
                start.append(f"{a.name}, {a.name}_carry = 0.0, 0.0")
            else:
                self.scalar.used |= {"inf"} if a.op != "product" else set()
                start.append(f"{a.name} = {NEUTRAL[a.op]}")
            if a.place is not None:
                start.append(f"{a.place} = 0")
        load = self.load
        if across and _chooses(reduce):
            self.load = "load"  # numbers of the data, which has half as many registers of them as float64 has
        with self._lanes(axes, across), self._divided(reduce.body, lines):
            inner = self._all(reduce.body)
            varies = [self._varies(a.term) or self._varies(a.unless) for a in reduce.accumulators]
            for a in reduce.accumulators:
                inner += self._accumulate(a, reduce.loops, across)
        self.load = load
        lines += self._nest(reduce.loops, axes, across, inner)
        for a, varied in zip(reduce.accumulators, varies, strict=True):
            lines += self._finish(a, reduce.loops, across)
            for name in (a.name, a.place):
                if name is not None:
                    self._name(name, varied and not across)
        is_plain = all(isinstance(inner, (Load, Assign)) for inner in reduce.body)
        if is_plain and self._idle.issuperset(a.name for a in reduce.accumulators):
            lines = [f"if {self.scalar.needs_scales()}:", *(f"    {line}" for line in lines)]
        return start + lines

    def _accumulate(self, a: Accumulator, loops: Sequence[Index], across: bool) -> list[str]:
        term = self.scalar.text(a.term)
        if self.wide_terms and a.op == "sum":
            self.scalar.narrow_names = set(self._varying)
            term = self.scalar.wide_text(a.term)
        # A place is compared, and noted, in as many bits as an entry has.
        blocks = self._by_block(loops) and (across or self.narrow)
        if isinstance(a.unless, Eq) and (across or blocks) and loops[-1] in a.unless.args:
            self.scalar.used.add("without")
            (place,) = (arg for arg in a.unless.args if arg != loops[-1])
            term = f"without({loops[-1].name}, {self.scalar.text(place)}, {term}, {NEUTRAL[a.op]})"
        elif a.unless is not None:
            self.scalar.used.add("select")
            term = f"select({self.scalar.text(a.unless)}, {NEUTRAL[a.op]}, {term})"
        if across:
            self.scalar.used.add("within")
            term = f"within({loops[-1].name}, {term}, {NEUTRAL[a.op]})"
        if a.op == "sum":
            self.scalar.used.add("tally")
            data = self.program.loss.predictions[0].name
            term = self._partly_added(term) if across else term
            return [f"{a.name}, {a.name}_carry = tally({a.name}, {a.name}_carry, {term}, {data})"]
        if a.op == "product":
            return [f"{a.name} = {a.name} * ({term})"]
        if a.place is None:
            best = "larger" if a.op == "max" else "smaller"
            self.scalar.used.add(best)
            return [f"{a.name} = {best}({term}, {a.name})"]
        if blocks:
            self.scalar.used.add("block_of")
            position = f"block_of({loops[0].name}, {a.name}_entry)"
        else:
            position = ""
            for index in loops:
                position = f"({position}) * {index.dim} + {index.name}" if position else index.name
        self.scalar.used.add("select")
        return [
            f"{a.name}_entry = {term}",
            f"{a.name}_beaten = ({a.name}_entry > {a.name}) | ({a.name}_entry != {a.name}_entry)",
            f"{a.name} = select({a.name}_beaten, {a.name}_entry, {a.name})",
            f"{a.place} = select({a.name}_beaten, {position}, {a.place})",
        ]

    def _partly_added(self, term: str) -> str:
        """What a sum over lanes takes a step: a register of them, as they are added up in the end anyway."""
        self.scalar.used.add("folded")
        return f"folded({term})"

    def _added_up(self, total: str, carry: str) -> str:
        """A compensated sum of lanes."""
        return f"finish(sum_of({total}), sum_of({carry}))"

    def _by_block(self, loops: Sequence[Index]) -> bool:
        """Whether a place is kept in as many bits as an entry: as a run's number, or one a sample."""
        return len(loops) == 1

    def _finish(self, a: Accumulator, loops: Sequence[Index], across: bool) -> list[str]:
        if a.op == "sum":
            self.scalar.used |= {"finish", "sum_of"} if across else {"finish"}
            parts = str(a.name), f"{a.name}_carry"
            done = self._added_up(*parts) if across else f"finish({', '.join(parts)})"
            return [f"{a.name} = {done}"]
        if not across and a.place is not None and self.narrow and self._by_block(loops):
            self.scalar.used.add("positions_of")
            return [f"{a.place} = positions_of({a.place})"]
        if not across:
            return []
        if a.place is not None:
            found = "first_in_blocks" if self._by_block(loops) else "first_max"
            self.scalar.used.add(found)
            return [f"{a.name}, {a.place} = {found}({a.name}, {a.place})"]
        self.scalar.used.add(f"{a.op}_of")
        return [f"{a.name} = {a.op}_of({a.name})"]

    # --- branches -----------------------------------------------------------------------------------------

    def _branch(self, branches: Sequence[tuple[Any, Sequence[Statement]]]) -> list[str]:
        """A test that has one answer for all lanes."""
        lines: list[str] = []
        for test, statements in branches:
            if test is None and not lines:
                return self._all(statements)
            word = "else:" if test is None else f"{'elif' if lines else 'if'} {self.scalar.text(test)}:"
            lines += [word, *(f"    {line}" for line in self._all(statements) or ["pass"])]
        return lines

    def _select(self, branches: Sequence[tuple[Any, Sequence[Statement]]]) -> list[str]:
        """A test that each lane answers for itself: all branches, then a choice."""
        self.scalar.used |= {"select"}
        lines: list[str] = []
        shared = merged(branches, self._unique)
        if shared is not None:
            given = [test for test, _ in branches if test is not None]
            tests = {test: Symbol(f"holds_{self._cases + n}") for n, test in enumerate(given, 1)}
            ahead, branches = shared
            lines += self._all(statement for statement in ahead if isinstance(statement, Load))
            for test, answer in tests.items():
                lines.append(f"{answer} = {self._test(test)}")
                self._name(answer, True)
            self._called_with |= _called_with(ahead)
            calls = [substituted(statement, tests) for statement in ahead if isinstance(statement, Assign)]
            lines += self._all(calls)
            branches = [(tests.get(test), statements) for test, statements in branches]
        chosen: dict[Any, list[tuple[str | None, str]]] = {}
        together = stored_in_all(branches)
        # A quotient by parameters is one with the factor that derivatives have.
        stores = [s for _, statements in branches for s in statements if isinstance(s, Store)]
        scaled = {written_by(s) for s in stores if self._quotient(s.value)[1] is not None}
        earlier: list[str] = []
        for test, statements in branches:
            self._cases += 1
            number = self._cases
            case = None
            if test is not None:
                case = f"holds_{number}"
                if shared is None:
                    lines.append(f"{case} = {self._test(test)}")
                self._name(case, True)
            lines += self._case(case, earlier, statements, number, together, scaled, chosen)
            if case is not None:
                earlier.append(case)
        for key, options in chosen.items():
            text = options[-1][1]
            for case, name in reversed(options[:-1]):
                text = f"select({case}, {name}, {text})"
            if key == "value":
                lines.append(f"{self._value} = {text}")
                self._name("value", True)
            else:
                store, factor = together[key], "factor * " * (key not in scaled)
                lines.append(self._write(store, f"{factor}{text}", store.output in self.program.sparse))
        return lines

    def _case(
        self,
        case: str | None,
        earlier: Sequence[str],
        statements: Sequence[Statement],
        number: int,
        together: dict[Any, Store],
        scaled: set[Any],
        chosen: dict[Any, list[tuple[str | None, str]]],
    ) -> list[str]:
        """One branch, under names of its own; what it writes beside the common outputs goes to its lanes."""
        lines: list[str] = []
        outer_value, outer_places = self._value, dict(self._places)
        self._value = f"value_if_{number}"
        assert self.lane is not None
        restricted = f"{self.lane}_if_{number}"
        holds = " & ".join([*(f"opposite({name})" for name in earlier), *([case] if case else [])])
        written = False
        for statement in statements:
            key = written_by(statement)
            if key in together and isinstance(statement, Store):
                name = f"{statement.output}_if_{number}"
                print_it = self._end if not self.program.loss.dims else self.scalar.text
                print_it = self._scaled if key in scaled else print_it
                lines.append(f"{name} = {print_it(statement.value)}")
                chosen.setdefault(key, []).append((case, name))
                continue
            if not written and writes(statement):
                self.scalar.used |= {"only"} | ({"opposite"} if earlier else set())
                lines.append(f"{restricted} = only({outer_places.get(self.lane, self.lane)}, {holds})")
                self._places = outer_places | {self.lane: restricted}
                written = True
            lines += self._statement(statement)
        if any(assigns_value(statement) for statement in statements):
            chosen.setdefault("value", []).append((case, self._value))
        self._value, self._places = outer_value, outer_places
        return lines


def _chooses(reduce: Reduce) -> bool:
    """Whether a loop only looks for the largest or the smallest of what it reads, or of its sizes."""
    if not all(isinstance(s, (Load, Assign)) for s in reduce.body):
        return False
    values = [s.value for s in reduce.body if isinstance(s, Assign)] + [a.term for a in reduce.accumulators]
    of = [v.args[0] if isinstance(v, Abs) else -v if v.could_extract_minus_sign() else v for v in values]
    return all(a.op in ("max", "min") for a in reduce.accumulators) and all(v.is_Symbol for v in of)


def _called_with(statements: Iterable[Statement]) -> set[str]:
    """The names that functions are called with."""
    calls = (call for expr in expressions(statements) for call in preorder_traversal(expr) if is_call(call))
    return {symbol.name for call in calls for symbol in call.free_symbols}
