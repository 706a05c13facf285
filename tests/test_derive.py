"""What is derived of every shipped loss: against the oracle at every stage, its trail, its kinks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mpmath import mp, mpf
from shipped import derived
from sympy import Eq, Expr, FiniteSet, Interval, Piecewise, S, Symbol, exp, log

from symloss import atoms as a
from symloss.catalog import load_text, standard, trace
from symloss.derive import derive
from symloss.index import Delta, Entry, Index, rewrite, walk
from symloss.matching import Shape
from symloss.oracle import Oracle, evaluate_expr
from symloss.rules import GUARD, LIFT, STABILISE
from symloss.spec import Label, Max, NonNegative, Prediction, Sum, Target, index, loss

LOSSES = sorted(standard().names())
SIZES = {"C": 2, "H": 2, "W": 2, "K": 3, "D": 3, "M": 2}


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


#: Formulas beside the shipped ones, whose parts lie within each other.
K, J = index("K"), index("K", "j")


@loss
def tempered(logits: Prediction["K"], label: Label["K"], q: NonNegative = 1):
    share = exp(logits[label]) / Sum(exp(logits[K]), K)
    return (1 - share**q) / q


@loss
def noise(prediction: Prediction["K"], target: Target["K"]):
    return log(Sum((prediction[K] - target[K]) ** 2, K) / Sum(target[K] ** 2, K))


@loss
def quadratic(logits: Prediction["K"], label: Label["K"]):
    share = exp(logits[K]) / Sum(exp(logits[J]), J)
    return Sum((share - Piecewise((1, Eq(K, label)), (0, True))) ** 2, K)


@loss
def collision(logits: Prediction["K"], target: Target["K"]):
    share = exp(logits[K]) / Sum(exp(logits[J]), J)
    return Sum(share**2, K) - Sum(share * target[K], K) + Sum(share**3 * target[K], K)


@loss
def ruled_out(logits: Prediction["K"], label: Label["K"]):
    others = Sum(Piecewise((0, Eq(K, label)), (exp(logits[K]), True)), K)
    return others / Sum(exp(logits[J]), J)


@loss
def squared_sigmoid(logits: Prediction, target: Target.over(Interval(0, 1))):
    share = exp(logits) / (1 + exp(logits))
    return share**2 - 2 * share * target + (1 / (1 + exp(logits))) ** 3


OWN = (tempered, noise, quadratic, collision, ruled_out, squared_sigmoid)


@pytest.mark.parametrize("spec", OWN, ids=lambda spec: spec.trace().name)
def test_an_own_formula_is_at_every_stage_what_the_oracle_says(spec):
    draw, own = np.random.default_rng(5), spec.trace()
    sample: dict[str, Any] = {"q": 0.7, "label": 1}
    for given in own.inputs:
        if given.kind != "label":
            sample[given.name] = draw.uniform(0.1, 0.9, sample_shape(given))
    names = {given.name for given in own.inputs} | {p.name for p in own.parameters}
    sample = {name: value for name, value in sample.items() if name in names}
    vectors = {given.name: draw.normal(size=sample_shape(given)) for given in own.predictions}
    along = {f"vector_{key}": vector for key, vector in vectors.items()}
    oracle = Oracle(own)
    for output in derive(own).outputs:
        for at in np.ndindex(np.shape(sample[output.wrt]) if output.wrt else ()):
            vector = vectors if output.kind == "hvp" else None
            wanted = oracle.evaluate(output.kind, sample, output.wrt, at, vector)
            place = dict(zip(output.indices, at, strict=True))
            for stage in (output.derived, output.expr):
                assert same(number(stage, sample | along, place), wanted), (output.name, at, stage)


@pytest.mark.parametrize("spec", [tempered, quadratic, collision, ruled_out, squared_sigmoid])
def test_a_softmax_or_sigmoid_is_never_pulled_apart(spec):
    """SymPy makes exp(2 x) of exp(x)^2, and a sum gives its divisor away; no exponential may be left of it."""
    for output in derive(spec.trace()).outputs:
        for node in walk(output.expr):
            assert not isinstance(node, exp) or node.has(a.LogSoftmax), output.expr


@loss
def square(x: Prediction):
    return 3 * x**2


@pytest.mark.parametrize("name", ["_e0", "_7"])
def test_a_symbol_that_has_no_value_is_refused(monkeypatch, name):
    """A name that a rewrite made for itself, or an index that nothing binds."""
    stray = (
        Symbol(name, real=True) if name == "_e0" else Entry(square.trace().inputs[0].symbol, Index(name, "K"))
    )
    wrong = Shape("wrong", lambda node: stray if node == 3 else None, "a rule that is wrong")
    monkeypatch.setattr("symloss.derive.STABILISE", (wrong,))
    with pytest.raises(AssertionError, match=f"`value` of `square` left `{name}`, which is no input"):
        derive(square.trace())


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


@loss
def violations(x: Prediction["K"], label: Label["K"]):
    k = index("K")
    return Sum(Max(0, x[k] - x[label]), k)


def test_the_branch_of_a_kink_is_named_with_the_index_that_the_author_wrote():
    assert [kink.rule for kink in derive(trace(violations)).kinks] == [
        "the branch for x[k] - x[label] <= 0 is taken"
    ]


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


# --- formulas outside the catalogue that once went wrong ------------------------------------------------------

OUTSIDE = """
from sympy import Abs, Eq, Interval, Piecewise, exp, log
from symloss.losses import softmax_cross_entropy
from symloss.spec import Label, Prediction, Real, Sum, Target, index, loss


@loss(limits={"q": {0: softmax_cross_entropy}})
def generalised(logits: Prediction["K"], label: Label["K"], q: Interval(0, 1) = 0.7):
    k = index("K")
    p = exp(logits[label]) / Sum(exp(logits[k]), k)
    return (1 - p**q) / q


@loss
def noise_ratio(prediction: Prediction["D"], target: Target["D"]):
    d = index("D")
    return log(Sum((prediction[d] - target[d]) ** 2, d) / Sum(target[d] ** 2, d))


@loss
def brier(logits: Prediction["K"], label: Label["K"]):
    k, j = index("K"), index("K", "j")
    p = exp(logits[k]) / Sum(exp(logits[j]), j)
    return Sum((p - Piecewise((1, Eq(k, label)), (0, True))) ** 2, k)


def squared(prediction, target):
    return (prediction - target) ** 2 / 2


def cauchy(prediction, target):
    return log(1 + (prediction - target) ** 2 / 2)


@loss(limits={"alpha": {0: cauchy, 2: squared}})
def barron(prediction: Prediction, target: Target, alpha: Real = 1):
    square = (prediction - target) ** 2
    return Abs(alpha - 2) / alpha * ((square / Abs(alpha - 2) + 1) ** (alpha / 2) - 1)
"""
_ROW = {"logits": [1.5, -0.5, 0.25], "label": 1}
POINTS = [
    ("generalised", {**_ROW, "q": 0.7}),
    ("generalised", {**_ROW, "q": 0.0}),
    ("noise_ratio", {"prediction": [1.5, -0.5], "target": [0.25, 2.0]}),
    ("brier", _ROW),
    ("brier", {"logits": [400.0, 399.0, -300.0], "label": 1}),
    ("barron", {"prediction": 1.5, "target": 0.25, "alpha": 1.0}),
    ("barron", {"prediction": 1.5, "target": 0.25, "alpha": 0.0}),
    ("barron", {"prediction": 1.5, "target": 0.25, "alpha": 2.0}),
    ("barron", {"prediction": 1.5, "target": 0.25, "alpha": -2.0}),
]


@pytest.fixture(scope="module")
def outside():
    return {name: derive(spec.trace()) for name, spec in load_text(OUTSIDE).items()}


@pytest.mark.parametrize(
    ("name", "point"), POINTS, ids=[f"{name}: {n}" for n, (name, _) in enumerate(POINTS)]
)
def test_a_derivation_is_the_derivative_of_its_formula(outside, name, point):
    derivation = outside[name]
    oracle = Oracle(derivation.loss)
    for output in derivation.outputs:
        if output.kind == "hvp":
            continue
        given = next((i for i in derivation.loss.inputs if i.name == output.wrt), None)
        places = range(len(point[given.name])) if given is not None and given.dims else [None]
        for place in places:
            at = () if place is None else (place,)
            exact = oracle.evaluate(output.kind, point, output.wrt, at)
            found = oracle.expression(
                output.expr, point, dict(zip(output.indices, at, strict=True)), digits=400
            )
            assert abs(found - exact) <= abs(exact) * mpf("1e-24"), (output.name, at)
