"""From a derivation to Programs: reductions in dependency order, then values, then element-wise outputs.

What doesn't depend on an index is computed outside its loop; what occurs twice is computed once, under a name
that says what it is; reductions over the same indices that don't need each other share a loop; a reduction
that would be repeated inside a loop it doesn't depend on is kept in a scratch array. An output's case for a
label becomes an update of one entry after the loop. Cases that several outputs share become one branch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from typing import Any, NamedTuple

from sympy import Eq, Expr, Mul, Or, Piecewise, Pow, S, Symbol
from sympy.core.parameters import distribute
from sympy.core.relational import Relational
from sympy.logic.boolalg import BooleanFunction

from symloss.apart import Apart, set_apart, sums_apart
from symloss.derive import Derivation, Output
from symloss.index import Binder, Entry, Index, Max, Min, Product, Size, Sum, substitute
from symloss.primitive import ArgMax, primitive
from symloss.products import Products
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
    Store,
)
from symloss.roles import LabelIndex
from symloss.scope import Names, Scope
from symloss.separate import collected, separated
from symloss.sharing import (
    canonical_key,
    depth_of,
    factor_order,
    free_in,
    is_trivial,
    occurrences,
    power_of,
    reductions_in,
)


def lower(
    derivation: Derivation, entry: str, products: bool = False, only: Collection[str] | None = None
) -> Program:
    """The Program of one entry point of a derived loss.

    Args:
        derivation: of the loss.
        entry: a name of `ENTRIES`.
        products: whether matrix products are left to the caller.
        only: the outputs that are wanted; None for all.
    """
    with distribute(False):
        return _Lowering(derivation, entry, products, only).program()


class _Target(NamedTuple):
    """What is to be stored: the output's name, its free indices, and its expression."""

    name: str
    indices: tuple[Index, ...]
    expr: Expr
    unless: Any = None


class _Lowering:
    """Lowers the outputs of one entry point."""

    def __init__(
        self, derivation: Derivation, entry: str, products: bool, only: Collection[str] | None
    ) -> None:
        self.loss, self.entry = derivation.loss, entry
        chosen = [output for output in derivation.outputs if output.kind in ENTRIES[entry]]
        chosen = [output for output in chosen if only is None or output.name in only]
        self.targets = [
            _Target(o.name, o.indices, sums_apart(separated(primitive(o.expr))))
            for o in _in_order(chosen, entry)
        ]
        self.products = Products(self.loss)
        if products:
            made = [part for t in self.targets for part in self.products.leave(t.name, t.indices, t.expr)]
            # Outputs in their order, and then what the products after them are made of.
            made.sort(key=lambda part: part.name in self.products.factors)
            self.targets = [_Target(*part) for part in made]
        self.targets = [t._replace(expr=collected(t.expr, t.indices)) for t in self.targets]
        outputs = {target.name for target in self.targets} | set(self.products.before)
        self.names = Names(self.loss, outputs, {primitive(e): n for e, n in derivation.names.items()})
        self.scratch: dict[str, tuple[str, ...]] = {}
        self.arrays: dict[Expr, str] = {}
        self.repeated = self._repeated_reductions()
        self.sparse: dict[str, None] = {}
        self.powers = _powers(target.expr for target in self.targets)
        # Entry points whose results must agree to the last bit make the same powers of others.
        both = ENTRIES["value_and_grad"]
        alike = [o for o in derivation.outputs if o.kind in both and o not in chosen] if entry in both else []
        self.known_powers = self.powers + _powers(sums_apart(separated(primitive(o.expr))) for o in alike)

    def program(self) -> Program:
        """Lower everything."""
        sample = Scope(None, frozenset())
        self._emit(sample, self.targets)
        stored = [target.name for target in self.targets if target.name != "value"]
        return Program(
            self.loss,
            self.entry,
            tuple(sample.statements),
            tuple(name for name in stored if name not in self.products.factors),
            tuple(self.sparse),
            dict(self.scratch),
            tuple(self.products.before.values()),
            tuple(self.products.after),
            dict(self.products.factors),
        )

    # --- targets ------------------------------------------------------------------------------------------

    def _emit(self, scope: Scope, targets: list[_Target]) -> None:
        """Emit the statements that compute and store the targets."""
        while targets:
            cases = [t for t in targets if _cases(t.expr)]
            if not cases:
                break
            conditions = [condition for _, condition in cases[0].expr.args]
            together = [t for t in cases if [c for _, c in t.expr.args] == conditions]
            plain = [t for t in targets if t not in together and not _cases(t.expr)]
            self._leaf(scope, plain)
            self._prepare(scope, [c for c in conditions if c not in (True, S.true)])
            branches = []
            for i, condition in enumerate(conditions):
                test = None if condition in (True, S.true) else self._condition(condition, scope)
                inner = Scope(scope, scope.indices, is_branch=True)
                self._emit(inner, [_Target(t.name, t.indices, t.expr.args[i][0]) for t in together])
                branches.append((test, tuple(inner.statements)))
            scope.statements.append(If(tuple(branches)))
            targets = [t for t in targets if t not in together and t not in plain]
        self._leaf(scope, targets)

    def _leaf(self, scope: Scope, targets: list[_Target]) -> None:
        """Targets without a common branch: numbers first, then one loop for each set of indices."""
        dense: list[_Target] = []
        updates: list[tuple[_Target, dict[Index, Expr]]] = []
        single: list[tuple[_Target, Apart]] = []
        for target in targets:
            rest, cases = _split_updates(target)
            if not cases and len(rest.indices) == 1 and (found := set_apart(rest.expr, *rest.indices)):
                rest = _Target(rest.name, rest.indices, found.others, Eq(*rest.indices, found.place))
                single.append((rest, found))
            if rest.expr == 0 and cases:
                self.sparse[target.name] = None
            else:
                dense.append(rest)
            updates += [(_Target(target.name, target.indices, hit), where) for hit, where in cases]
        exprs = [t.expr for t in dense] + [t.expr for t, _ in updates]
        self._prepare(scope, [*exprs, *(part for _, found in single for part in (found.own, found.place))])
        numbers = [t for t in dense if not t.indices]
        settled = dict.fromkeys(part for t in dense if t.indices for part in _settled(t.expr))
        settled |= dict.fromkeys(part for t, _ in updates for part in _settled(t.expr))
        once = [*(t.expr for t in numbers), *settled, *(found.own for _, found in single)]
        scope.shared.update(occurrences(once))
        # Before a loop writes over what they are made of: an output may lie over an input.
        stores = []
        for target, found in single:
            value = scope.look_up(found.own) or self._use_named(found.own, scope)
            stores.append(Store(target.name, (self._use(found.place, scope),), value))
        for target in numbers:
            self._store(scope, target, ())
        groups: dict[tuple[str, ...], list[_Target]] = {}
        for target in dense:
            if target.indices:
                groups.setdefault(tuple(i.dim for i in target.indices), []).append(target)
        for group in groups.values():
            self._loop(scope, group[0].indices, group, {})
        scope.statements += stores
        for target, where in updates:
            free = tuple(i for i in target.indices if i not in where)
            self._loop(scope, free, [target], where)

    def _loop(
        self, scope: Scope, free: tuple[Index, ...], group: list[_Target], where: dict[Index, Expr]
    ) -> None:
        """One loop nest that stores targets of the same shape (`where` fixes the other indices)."""
        loops = self.names.loops(free, scope)
        inner = Scope(scope, scope.indices | set(loops)) if loops else scope
        renamed = []
        for target in group:
            own = tuple(i for i in target.indices if i not in where)
            naming: dict[Expr, Expr] = dict(zip(own, loops, strict=True))
            place = tuple(naming.get(i, where.get(i)) for i in target.indices)
            unless = None if target.unless is None else substitute(target.unless, naming)
            renamed.append(
                (_Target(target.name, target.indices, substitute(target.expr, naming), unless), place)
            )
        if loops:
            inner.shared.update(occurrences([target.expr for target, _ in renamed]))
        for target, place in renamed:
            self._store(inner, target, place)
        if loops:
            scope.statements.append(Loop(loops, tuple(inner.statements)))

    def _store(self, scope: Scope, target: _Target, place: tuple[Any, ...]) -> None:
        value = self._use(target.expr, scope)
        place = tuple(self._use(p, scope) if isinstance(p, LabelIndex) else p for p in place)
        if target.name == "value":
            scope.statements.append(Assign(Symbol("value"), value))
        else:
            unless = None if target.unless is None else self._condition(target.unless, scope)
            scope.statements.append(Store(target.name, place, value, unless))

    # --- reductions ---------------------------------------------------------------------------------------

    def _prepare(self, scope: Scope, exprs: Iterable[Any]) -> None:
        """Emit every reduction that needs no index, fused by what it waits for and what it runs over."""
        found: dict[Expr, int] = {}
        for expr in exprs:
            for node in reductions_in(expr):
                if not free_in(node) and scope.look_up(node) is None:
                    found[node] = depth_of(node)
        groups: dict[tuple[int, tuple[str, ...]], list[Expr]] = {}
        for node, depth in found.items():
            groups.setdefault((depth, tuple(i.dim for i in node.indices)), []).append(node)
        for key in sorted(groups):
            self._reduce(scope, groups[key])

    def _reduce(self, scope: Scope, nodes: list[Any]) -> None:
        """One loop that computes several reductions over the same dimensions."""
        nodes = [node for node in nodes if scope.look_up(node) is None]
        if not nodes:
            return
        loops = self.names.loops(nodes[0].indices, scope)
        inner = Scope(scope, scope.indices | set(loops))
        bodies = {node: substitute(node.body, dict(zip(node.indices, loops, strict=True))) for node in nodes}
        inner.shared.update(occurrences(bodies.values()))
        places = {node.bodies: node for node in nodes if isinstance(node, ArgMax)}
        accumulators = []
        for node in nodes:
            if isinstance(node, ArgMax) and Max(node.body, *node.indices) in nodes:
                continue  # found in the loop of its maximum
            term, unless = bodies[node], None
            if (
                isinstance(term, Piecewise)
                and len(term.args) == 2
                and term.args[0][0] == 0
                and isinstance(node, Sum)
            ):
                unless = self._condition(term.args[0][1], inner)
                term = term.args[1][0]
            # The place of a maximum is found in its loop; the maximum has its own name there.
            largest = Max(node.body, *node.indices) if isinstance(node, ArgMax) else node
            name = self.names.of(largest)
            place = None
            if isinstance(node, (Max, ArgMax)) and node.bodies in places:
                place = self.names.fixed(places[node.bodies], f"{name}_at")
                scope.known[places[node.bodies]] = place
            if not isinstance(node, ArgMax):
                scope.known[node] = name
            accumulators.append(Accumulator(_OPS[type(node)], name, self._use(term, inner), unless, place))
        scope.statements.append(Reduce(loops, tuple(inner.statements), tuple(accumulators)))

    def _reduction(self, node: Any, scope: Scope) -> Expr:
        """The name (or the element of a scratch array) that holds a reduction."""
        free = free_in(node)
        home = scope.home(frozenset(free))
        key, order = canonical_key(node)
        if free and (set(free) != set(scope.indices) or key in self.repeated):
            if key not in self.arrays:
                self._array(key, scope)
            return Entry(Symbol(self.arrays[key]), *order)
        twin = ArgMax(node.body, node.indices) if isinstance(node, Max) else None
        if isinstance(node, ArgMax):
            twin = Max(node.body, *node.indices)
        self._reduce(home, [node, twin] if twin is not None else [node])
        found = home.look_up(node)
        assert found is not None
        return found

    def _array(self, key: Any, scope: Scope) -> None:
        """Emit the loop that fills the scratch array of a reduction with free indices."""
        while scope.parent is not None:
            scope = scope.parent
        free = free_in(key)
        loops = self.names.loops(free, scope)
        node = substitute(key, dict(zip(free, loops, strict=True)))
        name = str(self.names.unique(f"all_{self.names.of(node)}"))
        self.arrays[key] = name
        self.scratch[name] = tuple(i.dim for i in free)
        inner = Scope(scope, frozenset(loops))
        self._reduce(inner, [node])
        inner.statements.append(Keep(name, loops, inner.known[node]))
        scope.statements.append(Loop(loops, tuple(inner.statements)))

    def _repeated_reductions(self) -> frozenset[Expr]:
        """Reductions with free indices that occur in more than one loop nest."""
        seen: dict[Expr, set[tuple[str, ...]]] = {}

        def visit(expr: Any, around: tuple[str, ...], where: str) -> None:
            if isinstance(expr, Binder):
                if free_in(expr):
                    seen.setdefault(canonical_key(expr)[0], set()).add((where, *around))
                around = (*around, str(expr.indices))
            for arg in expr.args:
                visit(arg, around, where)

        for target in self.targets:
            visit(target.expr, (), str([i.dim for i in target.indices]))
        return frozenset(key for key, places in seen.items() if len(places) > 1)

    # --- expressions --------------------------------------------------------------------------------------

    def _use(self, expr: Any, scope: Scope) -> Any:
        """`expr` as it is written in `scope`: with names for what is shared, hoisted or reduced."""
        if expr.is_Number or expr in (S.NaN, S.Infinity, S.NegativeInfinity) or isinstance(expr, Size):
            return expr
        if expr.is_number and not expr.args:
            return expr
        known = scope.look_up(expr)
        if known is not None:
            return known
        if isinstance(expr, LabelIndex) or (isinstance(expr, Symbol) and not isinstance(expr, Index)):
            return self._load(expr, scope)
        if isinstance(expr, Index):
            return expr
        if isinstance(expr, Entry):
            return self._load(expr, scope)
        if isinstance(expr, Binder):
            return self._reduction(expr, scope)
        home = scope.home(frozenset(free_in(expr)))
        if home is not scope and not is_trivial(expr):
            return self._use_named(expr, home)
        if (scope.shared[expr] > 1 and not is_trivial(expr)) or self.powers[power_of(expr)] > 1:
            return self._use_named(expr, scope)
        return self._rebuild(expr, scope)

    def _use_named(self, expr: Expr, scope: Scope) -> Expr:
        known = scope.look_up(expr)
        if known is not None:
            return known
        value = self._rebuild(expr, scope)
        if value.is_Symbol or value.is_number:
            return value
        name = self.names.of(expr)
        scope.statements.append(Assign(name, value))
        scope.known[expr] = name
        return name

    def _below(self, expr: Any, scope: Scope) -> Expr | None:
        """A power as a product with a lower one of its base, if one is computed anyway.

        The lower one must not be infinite where the base is small.
        """
        found = power_of(expr)
        if found is None:
            return None
        base, exponent = found
        for steps in (3, 2, 1):
            less = exponent - steps
            if less.is_nonnegative and self.known_powers[base, less]:
                lower = self._use_named(_raised(base, less), scope)
                return Mul(*[self._use_named(base, scope)] * steps, lower, evaluate=False)
        return None

    def _rebuild(self, expr: Any, scope: Scope) -> Any:
        if (product := self._below(expr, scope)) is not None:
            return product
        if isinstance(expr, Piecewise):
            cases = [(self._use(value, scope), self._condition(test, scope)) for value, test in expr.args]
            return Piecewise(*cases, evaluate=False)
        # In the order of the whole expression: the names that parts get differ between entry points, and
        # the last bit of a result must not.
        ordered = sorted(expr.args, key=factor_order) if expr.is_Mul else expr.args
        args = tuple(self._use(arg, scope) for arg in ordered)
        if expr.is_Add or expr.is_Mul or expr.is_Pow:
            return expr.func(*args, evaluate=False)
        return expr.func(*args) if args != expr.args else expr

    def _condition(self, test: Any, scope: Scope) -> Any:
        if test in (True, False, S.true, S.false):
            return test
        args = [
            self._condition(arg, scope)
            if isinstance(arg, (Relational, BooleanFunction))
            else self._use(arg, scope)
            for arg in test.args
        ]
        return test.func(*args, evaluate=False)

    def _load(self, expr: Any, scope: Scope) -> Expr:
        if isinstance(expr, Symbol):
            if expr.name in {p.name for p in self.loss.parameters}:
                return expr
            source, indices = expr.name, tuple[Any, ...]()
        else:
            source, indices = expr.base.name, tuple(self._use(i, scope) for i in expr.indices)
        home = scope.home(frozenset(free_in(expr)))
        while home.parent is not None and not free_in(expr) and not isinstance(expr, Entry):
            home = home.parent  # an input of its own is read once, in front of all branches
        at = "_".join(["i", *(str(i) for i in indices)] if not indices else [str(i) for i in indices])
        if isinstance(expr, Entry) and any(isinstance(i, LabelIndex) for i in expr.indices):
            at = "_".join(i.name for i in expr.indices)
        name = self.names.fixed(expr, f"{source}_{at}")
        home.statements.append(Load(name, source, indices))
        home.known[expr] = name
        return name


def _powers(exprs: Iterable[Any]) -> Counter[tuple[Expr, Expr] | None]:
    """How often each power is computed, by base and exponent."""
    count: Counter[tuple[Expr, Expr] | None] = Counter()

    def visit(expr: Any) -> None:
        found = power_of(expr)
        if found is not None:
            count[found] += 1
        for arg in expr.args if found is None else found:
            visit(arg)

    for expr in exprs:
        visit(expr)
    return count


def _raised(base: Expr, exponent: Expr) -> Expr:
    """A power; of a choice, the choice between powers."""
    if isinstance(base, Piecewise):
        return Piecewise(*((Pow(value, exponent), test) for value, test in base.args), evaluate=False)
    return Pow(base, exponent)


_OPS = {Sum: "sum", Product: "product", Max: "max", Min: "min", ArgMax: "max"}


def _settled(expr: Expr) -> Iterator[Expr]:
    """The largest parts of an expression that depend on no index, for which no loop is needed."""
    if not free_in(expr):
        yield expr
    elif not isinstance(expr, Binder):
        for arg in expr.args:
            yield from _settled(arg)


def _in_order(outputs: list[Output], entry: str) -> Iterator[Output]:
    for kind in ENTRIES[entry]:
        yield from (output for output in outputs if output.kind == kind)


def _cases(expr: Expr) -> bool:
    """Whether an expression is a branch on something that no loop changes."""
    return isinstance(expr, Piecewise) and not any(free_in(condition) for _, condition in expr.args)


def _split_updates(target: _Target) -> tuple[_Target, list[tuple[Expr, dict[Index, Expr]]]]:
    """The part of a target that every entry has, and the cases of single entries."""
    expr = target.expr
    updates: list[tuple[Expr, dict[Index, Expr]]] = []
    while isinstance(expr, Piecewise) and len(expr.args) == 2:
        (hit, condition), (miss, _) = expr.args
        if not isinstance(condition, Eq):
            break
        index, label = condition.args
        if isinstance(index, LabelIndex):
            index, label = label, index
        if index not in target.indices or not isinstance(label, LabelIndex):
            break
        where = {index: label}
        if where not in [known for _, known in updates]:  # the first case for an entry is the one it has
            updates.append((substitute(hit, where), where))
        expr = miss
    unless = (
        Or(*(Eq(index, label) for _, where in updates for index, label in where.items())) if updates else None
    )
    return _Target(target.name, target.indices, expr, unless), updates
