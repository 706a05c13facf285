"""From a formula to its stable value, gradient and curvature: lift, differentiate, contract, stabilise.

    lift            cases of finite domains split, maxima and nested cases unfolded, textbook forms to atoms
    differentiate   through atoms, in index notation, deltas contracted (`differentiate.py`)
    stabilise       what still cancels or overflows, by the rules of `rules.py`; deltas become updates

Each rewrite is a `Step`; the documentation prints them. Nothing calls SymPy's `simplify`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sympy import Abs, Add, Eq, Expr, FiniteSet, Function, Piecewise, S, Symbol
from sympy import Max as ScalarMax
from sympy import Min as ScalarMin
from sympy.core.parameters import distribute

from symloss import atoms as a
from symloss.differentiate import Form, diagonal, differentiate, direction, partial, written
from symloss.index import Delta, Entry, Index, Max, Min, Size, rewrite, substitute, walk
from symloss.matching import Rule, Shape, negated
from symloss.printers.text import text
from symloss.roles import Input, Loss
from symloss.rules import GUARD, LIFT, STABILISE


@dataclass(frozen=True)
class Step:
    """One rewrite of the derivation: where, by which rule and why, what before and what after."""

    stage: str
    output: str
    rule: str
    why: str
    before: Expr
    after: Expr


@dataclass(frozen=True)
class Output:
    """One thing that kernels compute: `kind` is value, grad, hess or hvp, `wrt` the input it belongs to.

    `indices` are its free indices. `derived` is what differentiation gives, `expr` its stable form.
    """

    kind: str
    wrt: str | None
    indices: tuple[Index, ...]
    derived: Expr
    expr: Expr

    @property
    def name(self) -> str:
        """`value`, `grad_logits`, ..."""
        return self.kind if self.wrt is None else f"{self.kind}_{self.wrt}"


@dataclass(frozen=True)
class Kink:
    """Where the loss has no derivative, and which subgradient is taken there."""

    where: Expr
    rule: str


@dataclass(frozen=True)
class Derivation:
    """Everything that was derived from a loss. `names` are the author's, of the lifted formula's parts."""

    loss: Loss
    lifted: Expr
    outputs: tuple[Output, ...]
    steps: tuple[Step, ...]
    kinks: tuple[Kink, ...]
    names: dict[Expr, str] = field(default_factory=dict, hash=False)

    def output(self, name: str) -> Output:
        """The output of that name."""
        return next(output for output in self.outputs if output.name == name)


def derive(loss: Loss) -> Derivation:
    """Derive value, gradients, Hessian diagonals and Hessian-vector products of `loss`.

    Raises:
        UnsupportedError: for a function that can't be differentiated.
        AssertionError: when a rewrite has gone wrong, and left a symbol that nothing gives a value to.
    """
    with distribute(False):
        trail = _Trail()
        lifted = _lift(loss, trail)
        outputs = [Output("value", None, (), lifted, _stabilise(lifted, "value", trail))]
        gradients: list[tuple[Input, tuple[Index, ...], Form]] = []
        for given in loss.predictions:
            place = free_indices(given)
            form = differentiate(lifted, partial(given.symbol, place))
            gradients.append((given, place, form))
            outputs.append(_output("grad", given, place, lifted, form, trail))
        for given, place, form in gradients:
            second = tuple(Index.fresh(index.dim) for index in place)
            again = differentiate(written(form), partial(given.symbol, second))
            curvature = _once(diagonal(again, second, place))
            outputs.append(_output("hess", given, place, written(form), curvature, trail))
        vectors = {given.symbol: Symbol(f"vector_{given.name}", real=True) for given in loss.predictions}
        for given, place, form in gradients:
            along = differentiate(written(form), direction(vectors))
            outputs.append(_output("hvp", given, place, written(form), along, trail))
        for output in outputs:
            _check_symbols(output, loss, vectors)
        names = {_apply(LIFT, part, "lift", "", _Trail()): name for part, name in loss.names.items()}
        return Derivation(
            loss, lifted, tuple(outputs), tuple(trail.steps), tuple(_kinks(lifted, loss)), names
        )


def free_indices(given: Input) -> tuple[Index, ...]:
    """The indices of an output shaped like `given`: its dimensions' letters, told apart where they repeat."""
    names: list[str] = []
    for dim in given.dims:
        name = dim.lower()
        while name in names:
            name += "_"
        names.append(name)
    return tuple(Index(name, dim) for name, dim in zip(names, given.dims, strict=True))


# --- lifting ------------------------------------------------------------------------------------------------


def _lift(loss: Loss, trail: _Trail) -> Expr:
    formula = loss.formula
    for name, at, limit in loss.limits:
        symbol = next(p.symbol for p in loss.parameters if p.name == name)
        if formula.has(S.NaN, S.ComplexInfinity) or substitute(formula, {symbol: at}).has(
            S.NaN, S.ComplexInfinity, S.Infinity
        ):
            formula = trail.add(
                "lift",
                "value",
                f"limit at {name} = {at}",
                "the formula degenerates there",
                formula,
                Piecewise((limit, Eq(symbol, at)), (formula, True)),
            )
    for given in loss.inputs:
        if isinstance(given.domain, FiniteSet) and not given.dims and given.symbol in formula.free_symbols:
            cases = [
                (substitute(formula, {given.symbol: value}), Eq(given.symbol, value))
                for value in sorted(given.domain, reverse=True)
            ]
            formula = trail.add(
                "lift",
                "value",
                f"cases of {given.name}",
                "a case is a branch, not a factor: 0 times infinity is NaN",
                formula,
                Piecewise(*cases, (S.NaN, True)),
            )
    formula = rewrite(formula, _unfold)
    return _apply(LIFT, fold(formula), "lift", "value", trail)


def _unfold(node: Expr) -> Expr:
    """Maxima and minima of expressions as cases; at a tie both sides share, or the constant side wins."""
    if isinstance(node, (ScalarMax, ScalarMin)):
        first, *others = node.args
        rest = _unfold(node.func(*others)) if len(others) > 1 else others[0]
        return (
            _larger(first, rest) if isinstance(node, ScalarMax) else -_larger(negated(first), negated(rest))
        )
    return node


def _larger(first: Expr, second: Expr) -> Expr:
    for fixed, moving in ((first, second), (second, first)):
        if fixed.is_number:
            return Piecewise((fixed, moving <= fixed), (moving, True))  # NaN fails the test, and flows
    return Piecewise((first, first > second), (second, second > first), (first / 2 + second / 2, True))


def fold(expr: Expr) -> Expr:
    """Powers, products and functions of a Piecewise brought into its branches; equal cases merged."""

    def step(node: Expr) -> Expr:
        if not (node.is_Mul or node.is_Pow or node.is_Add or isinstance(node, Function)) or isinstance(
            node, Piecewise
        ):
            return node
        cases = [arg for arg in node.args if isinstance(arg, Piecewise)]
        if not cases or any([c for _, c in case.args] != [c for _, c in cases[0].args] for case in cases):
            return node
        if node.is_Add and len(cases) < 2:
            return node
        branches = []
        for i, (_, condition) in enumerate(cases[0].args):
            args = [arg.args[i][0] if isinstance(arg, Piecewise) else arg for arg in node.args]
            if node.is_Add:
                args = [arg for arg in args if arg in [case.args[i][0] for case in cases]]
            branches.append((node.func(*args), condition))
        merged = Piecewise(*branches)
        if node.is_Add:
            return Add(merged, *(arg for arg in node.args if not isinstance(arg, Piecewise)))
        return merged

    return rewrite(expr, step)


# --- outputs ------------------------------------------------------------------------------------------------


def _output(
    kind: str, given: Input, place: tuple[Index, ...], before: Expr, form: Form, trail: _Trail
) -> Output:
    """Record the differentiation of `before`, and stabilise what came out."""
    name = f"{kind} {given.name}"
    why = "through the atoms, each delta contracted against its sum"
    derived = trail.add("differentiate", name, "chain rule", why, before, written(form))
    return Output(kind, given.name, place, derived, _assemble(form, name, trail))


def _check_symbols(output: Output, loss: Loss, vectors: Mapping[Symbol, Symbol]) -> None:
    """Refuse an output that has a symbol which is no input, parameter, size, vector or index of its own."""
    known = {item.symbol for item in loss.inputs} | {item.symbol for item in loss.parameters}
    known |= set(output.indices)
    if output.kind == "hvp":
        known |= set(vectors.values())
    for expr in (output.derived, output.expr):
        unknown = {symbol for symbol in expr.free_symbols - known if not isinstance(symbol, Size)}
        if unknown:
            raise AssertionError(
                f"the derivation of `{output.name}` of `{loss.name}` left "
                f"{', '.join(f'`{name}`' for name in sorted(map(str, unknown)))}, which is no input, "
                f"parameter, size or index of the output: {expr}"
            )


def _once(form: Form) -> Form:
    """A delta of the gradient met by the same delta of the second derivative: once is enough."""
    return {key: substitute(value, dict.fromkeys(key, S.One)) for key, value in form.items()}


def _assemble(form: Form, name: str, trail: _Trail) -> Expr:
    """The stable expression of a form; a delta becomes a case, with its own simplification."""
    whole = written(form)
    deltas = sorted({node for node in walk(whole) if isinstance(node, Delta)}, key=lambda d: d.sort_key())
    return _cases(whole, deltas, name, trail)


def _cases(expr: Expr, deltas: list[Delta], name: str, trail: _Trail) -> Expr:
    """A Piecewise over which delta is 1: each case is stabilised by itself."""
    if not deltas:
        return _stabilise(expr, name, trail)
    delta, *rest = deltas
    label, index = sorted(delta.args, key=lambda i: type(i) is Index)
    hit = substitute(substitute(expr, {delta: S.One}), {index: label})
    # The formula may have cases of its own on the label; each side knows which of them holds.
    same: dict[Expr, Expr] = {Eq(index, label): S.false, Eq(label, index): S.false}
    miss = substitute(expr, {delta: S.Zero, **same})
    hit_rest = [d for d in (substitute(d, {index: label}) for d in rest) if isinstance(d, Delta)]
    yes, no = _cases(hit, hit_rest, name, trail), _cases(miss, rest, name, trail)
    return yes if yes == no else Piecewise((yes, Eq(index, label)), (no, True))


def _stabilise(expr: Expr, name: str, trail: _Trail) -> Expr:
    """Apply the rules, and bring cases together, until neither finds anything; then put up the guards."""
    while True:
        stable = fold(_apply((*LIFT, *STABILISE), fold(expr), "stabilise", name, trail))
        if stable == expr:
            return fold(_apply(GUARD, stable, "stabilise", name, trail))
        expr = stable


def _apply(rules: Iterable[Rule | Shape], expr: Expr, stage: str, output: str, trail: _Trail) -> Expr:
    """Apply rules bottom-up until none applies."""

    def step(node: Expr) -> Expr:
        for _ in range(50):
            for rule in rules:
                after = rule.apply(node)
                if after is not None and after != node:
                    trail.add(stage, output, rule.name, rule.why, node, after)
                    node = after
                    break
            else:
                return node
        raise AssertionError(f"rules go round in circles at {node}")

    for _ in range(20):
        after = rewrite(expr, step)
        if after == expr:
            return after
        expr = after
    raise AssertionError(f"rules go round in circles at {expr}")


class _Trail:
    """The steps so far. A rewrite is recorded once for each output."""

    def __init__(self) -> None:
        self.steps: list[Step] = []

    def add(self, stage: str, output: str, rule: str, why: str, before: Expr, after: Expr) -> Expr:
        """Record a step; gives back what came out."""
        names: dict[Expr, Expr] = {}
        for symbol in sorted(before.free_symbols | after.free_symbols, key=str):
            if isinstance(symbol, Index) and symbol.name.startswith("_"):
                taken = {str(s) for s in before.free_symbols | after.free_symbols} | {
                    str(v) for v in names.values()
                }
                letter = symbol.dim.lower()
                while letter in taken:
                    letter += "_"
                names[symbol] = Index(letter, symbol.dim)
        step = Step(stage, output, rule, why, substitute(before, names), substitute(after, names))
        if step not in self.steps:
            self.steps.append(step)
        return after


# --- kinks --------------------------------------------------------------------------------------------------


def _kinks(lifted: Expr, loss: Loss) -> Iterable[Kink]:
    """Where the derivative jumps, as far as it shows in the formula's own shape."""
    predictions = {given.symbol for given in loss.predictions}
    seen: list[Kink] = []

    def moves(expr: Expr) -> bool:
        return bool(predictions & (expr.free_symbols | {e.base for e in expr.atoms(Entry)}))

    def visit(node: Expr) -> None:
        if isinstance(node, Abs) and moves(node.args[0]):
            seen.append(Kink(Eq(node.args[0], 0, evaluate=False), "the gradient of |x| at 0 is taken as 0"))
        if isinstance(node, a.Norm):
            seen.append(
                Kink(Eq(node, 0, evaluate=False), "the gradient of the norm of the zero vector is taken as 0")
            )
        if isinstance(node, (Max, Min)) and moves(node.body):
            seen.append(
                Kink(
                    Eq(node, node.body, evaluate=False),
                    "entries that tie for the extreme share the gradient equally",
                )
            )
        if isinstance(node, Piecewise):
            for (value, condition), (other, _) in zip(node.args, node.args[1:], strict=False):
                if condition.is_Relational and moves(condition) and _jumps(value, other, condition, loss):
                    seen.append(
                        Kink(
                            Eq(condition.lhs, condition.rhs, evaluate=False),
                            f"the branch for {text(condition)} is taken",
                        )
                    )
            for value, condition in node.args:
                inner = [a for a in value.atoms(Abs) if moves(a)]
                zero = dict.fromkeys(inner, S.Zero)
                if not any(_reached_before(node, condition, zero, absolute) for absolute in inner):
                    visit(value)
            return
        for arg in node.args:
            visit(arg)

    visit(lifted)
    return dict.fromkeys(seen)


def _reached_before(node: Piecewise, condition: Expr, zero: dict[Expr, Expr], absolute: Expr) -> bool:
    """Whether an earlier branch is taken where `absolute` is 0."""
    for _, earlier in node.args:
        if earlier == condition:
            return False
        if earlier.is_Relational and substitute(earlier, {absolute: S.Zero}) == True:  # noqa: E712
            return True
    return False


def _jumps(value: Expr, other: Expr, condition: Expr, loss: Loss) -> bool:
    """Whether the gradients of two branches differ on the border between them."""
    for given in loss.predictions:
        place = free_indices(given)
        seed = partial(given.symbol, place)
        difference = written(differentiate(value, seed)) - written(differentiate(other, seed))
        side, level = condition.lhs, condition.rhs
        if given.symbol in level.free_symbols:
            side, level = level, side
        if isinstance(side, Abs):
            side = side.args[0]
        with distribute(True):
            slope = side.diff(given.symbol) if not given.dims else S.Zero
            border = {side: level}
            if slope.is_number and slope != 0:
                border = {given.symbol: (given.symbol + (level - side) / slope).expand()}
            left = substitute(difference, border).expand()
        if left != 0:
            return True
    return False
