"""What is derived of every shipped loss: against the oracle at every stage, its trail, its kinks."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from mpmath import mp, mpf
from sympy import Expr, FiniteSet, Interval, Piecewise, S, Symbol

from symloss import atoms as a
from symloss.catalog import standard
from symloss.derive import Derivation, derive
from symloss.index import Delta, Entry, Index, rewrite, walk
from symloss.oracle import Oracle, evaluate_expr
from symloss.rules import GUARD, LIFT, STABILISE

LOSSES = sorted(standard().names())
SIZES = {"C": 2, "H": 2, "W": 2, "K": 3, "D": 3, "M": 2}


@cache
def derived(name: str) -> Derivation:
    return derive(standard().loss(name))


def point(name: str, seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """A sample inside the domains, away from their ends and from kinks; vectors for the products."""
    draw, loss = np.random.default_rng([seed, len(name)]), standard().loss(name)
    sample: dict[str, Any] = {p.name: float(p.default) for p in loss.parameters}
    for given in loss.inputs:
        shape = tuple(SIZES[dim] for dim in given.dims)
        if given.kind == "label":
            sample[given.name] = seed % SIZES[given.role.dims[0]]
        elif isinstance(given.domain, FiniteSet):
            sample[given.name] = float(sorted(given.domain)[seed % len(given.domain)])
        elif isinstance(given.domain, Interval) and given.domain.is_subset(Interval(0, 1)):
            sample[given.name] = draw.uniform(0.1, 0.9, shape) / (1 if not shape else 2)
        else:
            sample[given.name] = draw.uniform(-1.5, 1.5, shape)
    return sample, {given.name: draw.normal(size=sample_shape(given)) for given in loss.predictions}


def sample_shape(given) -> tuple[int, ...]:
    return tuple(SIZES[dim] for dim in given.dims)


def plain(expr: Expr) -> Expr:
    """Products and quotients instead of those that know 0 log 0 and 0/0: no point has a zero."""

    def multiply(node: Expr) -> Expr:
        if isinstance(node, a.times0):
            return node.args[0] * node.args[1]
        return node.args[0] / node.args[1] if isinstance(node, a.ratio0) else node

    return rewrite(expr, multiply)


def number(expr: Expr, values: dict[str, Any], at: dict[Index, int]) -> Any:
    used = {symbol.name for symbol in expr.atoms(Symbol)}
    sizes = {name: size for name, size in SIZES.items() if name in used}
    return evaluate_expr(plain(expr), {name: v for name, v in values.items() if name in used} | sizes, at)


def same(got: Any, wanted: Any, digits: str = "1e-20") -> bool:
    """To 20 digits; a result that is 0 by cancellation, to 40 decimals."""
    return abs(got - wanted) <= mpf(digits) * abs(wanted) + mpf("1e-40")


@pytest.mark.parametrize("name", LOSSES)
def test_every_stage_of_every_output_is_what_the_oracle_says(name):
    derivation, oracle = derived(name), Oracle(standard().loss(name))
    for seed in range(2):
        sample, vectors = point(name, seed)
        along = {f"vector_{key}": vector for key, vector in vectors.items()}
        for output in derivation.outputs:
            shape = np.shape(sample[output.wrt]) if output.wrt else ()
            for at in list(np.ndindex(shape))[:4]:
                vector = vectors if output.kind == "hvp" else None
                wanted = oracle.evaluate(output.kind, sample, output.wrt, at, vector)
                assert mp.isfinite(wanted)
                place = dict(zip(output.indices, at, strict=True))
                for stage in (output.derived, output.expr):
                    got = number(stage, sample | along, place)
                    assert same(got, wanted), (output.name, at, mp.nstr(got, 25), mp.nstr(wanted, 25))


@pytest.mark.parametrize("name", LOSSES)
def test_the_lifted_formula_is_the_formula(name):
    loss = standard().loss(name)
    for seed in range(3):
        sample, _ = point(name, seed)
        assert same(number(derived(name).lifted, sample, {}), Oracle(loss).evaluate("value", sample))


@pytest.mark.parametrize("name", LOSSES)
def test_outputs_have_their_places(name):
    derivation, loss = derived(name), standard().loss(name)
    wanted = ["value"] + [f"{kind}_{p.name}" for kind in ("grad", "hess", "hvp") for p in loss.predictions]
    assert [output.name for output in derivation.outputs] == wanted
    for output in derivation.outputs:
        given = next((p for p in loss.predictions if p.name == output.wrt), None)
        assert tuple(index.dim for index in output.indices) == (given.dims if given else ())
        assert derivation.output(output.name) is output


@pytest.mark.parametrize("name", LOSSES)
def test_nothing_unevaluated_and_no_delta_survives(name):
    banned = {"DiracDelta", "Heaviside", "Derivative", "Subs", "Max", "Min"}
    for output in derived(name).outputs:
        kinds = {type(node).__name__ for node in walk(output.expr)}
        rows = {type(node).__name__ for node in walk(output.expr) if type(node).__module__ == "symloss.index"}
        assert kinds & banned <= rows & {"Max", "Min"}
        assert not any(isinstance(node, Delta) for node in walk(output.expr))
        assert not output.expr.has(S.ComplexInfinity)


@pytest.mark.parametrize("name", LOSSES)
def test_free_symbols_are_inputs_places_and_parameters(name):
    loss = standard().loss(name)
    known = {given.name for given in loss.inputs} | {p.name for p in loss.parameters}
    for output in derived(name).outputs:
        own = known | {index.name for index in output.indices} | set(loss.dims)
        own |= {f"vector_{p.name}" for p in loss.predictions} if output.kind == "hvp" else set()
        assert {symbol.name for symbol in output.expr.free_symbols} <= own


@pytest.mark.parametrize("name", LOSSES)
def test_the_trail_tells_every_output_and_every_rewrite_keeps_the_value(name):
    derivation = derived(name)
    rules = {rule.name for rule in (*LIFT, *STABILISE, *GUARD)}
    predictions = [p.name for p in standard().loss(name).predictions]
    assert {f"grad {p}" for p in predictions} | {f"hess {p}" for p in predictions} <= {
        s.output for s in derivation.steps
    }
    sample, vectors = point(name, 1)
    values = sample | {f"vector_{key}": vector for key, vector in vectors.items()}
    for step in derivation.steps:
        assert step.stage in ("lift", "differentiate", "stabilise") and step.why
        if step.stage == "differentiate" or step.rule not in rules:
            continue
        free = {s for e in (step.before, step.after) for s in e.free_symbols if isinstance(s, Index)}
        at = {
            index: n % SIZES[index.dim]
            for n, index in enumerate(sorted(free, key=str))
            if index.name not in sample
        }
        before, after = (number(e, values, at) for e in (step.before, step.after))
        assert same(after, before) or not mp.isfinite(before), (step.rule, step.before, step.after)


@pytest.mark.parametrize("name", LOSSES)
def test_deriving_again_gives_the_same(name):
    again = derive(standard().loss(name))
    assert [str(output.expr) for output in again.outputs] == [str(o.expr) for o in derived(name).outputs]
    assert list(map(str, again.steps)) == list(map(str, derived(name).steps))
    assert again.kinks == derived(name).kinks


@pytest.mark.parametrize(
    ("name", "kinks"),
    [
        ("mse", []),
        ("mae", ["prediction - target"]),
        ("huber", []),
        ("l1_norm", ["prediction[d1a] - target[d1a]"]),
        ("l2_norm", ["Norm(prediction[d1a] - target[d1a], d1a)"]),
        ("contrastive", ["Norm(left[d1a] - right[d1a], d1a)"]),
        ("softmax_cross_entropy", []),
        ("binary_focal", []),
        ("gram_style", []),
    ],
)
def test_kinks(name, kinks):
    assert [str(kink.where.lhs) for kink in derived(name).kinks] == kinks
    assert all(kink.where.rhs == 0 and "0" in kink.rule for kink in derived(name).kinks)


def test_the_degenerate_form_of_smooth_l1_has_the_kink_of_the_absolute_error():
    assert "Eq(prediction - target, 0)" in [str(kink.where) for kink in derived("smooth_l1").kinks]


@pytest.mark.parametrize("name", ["softmax_cross_entropy", "softmax_focal", "soft_target_cross_entropy"])
def test_logits_never_meet_a_plain_exponential(name):
    """Every exponential of logits is inside an atom."""
    for output in derived(name).outputs:
        assert not any(type(node).__name__ == "exp" for node in walk(output.expr))


def test_author_names_travel():
    assert "r" in derived("huber").names.values()


def test_a_label_makes_a_case_not_a_loop():
    grad = derived("softmax_cross_entropy").output("grad_logits")
    assert isinstance(grad.expr, Piecewise) and len(grad.expr.args) == 2
    (index,) = grad.indices
    hit, miss = (case for case, _ in grad.expr.args)
    logits = next(node.base for node in walk(hit) if isinstance(node, Entry))
    k = Index("k", "K")
    label = next(s for s in hit.free_symbols if s.name == "label")
    assert hit == -a.SoftmaxComplement(Entry(logits, k), k, label)
    assert miss == a.Softmax(Entry(logits, k), k, index)
