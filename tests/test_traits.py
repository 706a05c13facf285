"""The traits of losses: a table of verdicts, every refuting point and every proof checked by other means."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy
from mpmath import mp, mpf
from shipped import derived as shipped_derivation
from sympy import FiniteSet, Interval, S, Symbol, log, oo

from symloss import catalog
from symloss.catalog import standard
from symloss.derive import Derivation, derive
from symloss.oracle import Oracle
from symloss.proofs import intervals
from symloss.proofs.calculus import Undecided, cut, smoothness
from symloss.proofs.growth import limit
from symloss.proofs.signs import ANY, NEGATIVE, NOT_NEGATIVE, POSITIVE, Span, one_fraction, signs
from symloss.traits import NAMES, REASONS, Trait, traits

# Verdicts: `trait` is proved, `-trait` refuted, `?trait` unknown; what follows `=` is the value. All but the
# unknown ones were verified by hand; a trait that isn't in the list is left out of the loss's.
SHIPPED = {
    "binary_cross_entropy": "convex strictly_convex strongly_convex=1 smooth=oo -symmetric -lipschitz -lipschitz_gradient bounded_below=0 -bounded_above nonnegative minimum_at_target",
    "binary_cross_entropy_with_logits": "convex strictly_convex -strongly_convex=0 smooth=oo -translation_invariant lipschitz=Max(1,pos_weight) lipschitz_gradient=Max(1,pos_weight)/4 bounded_below=0 -bounded_above nonnegative",
    "binary_focal": "-convex -strictly_convex -strongly_convex smooth=oo -translation_invariant lipschitz lipschitz_gradient bounded_below=0 -bounded_above nonnegative",
    "center": "convex -strictly_convex -strongly_convex smooth=oo translation_invariant permutation_invariant -lipschitz lipschitz_gradient=2 bounded_below=0 -bounded_above nonnegative",
    "contrastive": "-convex -strictly_convex -strongly_convex -smooth=0 symmetric translation_invariant permutation_invariant -lipschitz -lipschitz_gradient bounded_below=0 -bounded_above nonnegative",
    "cross_entropy": "convex -strictly_convex -strongly_convex smooth=oo -symmetric permutation_invariant -lipschitz -lipschitz_gradient bounded_below=0 -bounded_above nonnegative -minimum_at_target",
    "feature_reconstruction": "convex strictly_convex strongly_convex=2/(C*H*W) smooth=oo symmetric translation_invariant permutation_invariant -lipschitz lipschitz_gradient=2/(C*H*W) bounded_below=0 -bounded_above nonnegative minimum_at_target -robust -redescending",
    "gram_style": "-convex -strictly_convex -strongly_convex smooth=oo symmetric -translation_invariant permutation_invariant -lipschitz -lipschitz_gradient bounded_below=0 -bounded_above nonnegative minimum_at_target",
    "huber": "convex -strictly_convex -strongly_convex smooth=1 symmetric translation_invariant lipschitz=delta lipschitz_gradient=1 bounded_below=0 -bounded_above nonnegative minimum_at_target robust -redescending",
    "js_divergence": "convex -strictly_convex -strongly_convex smooth=oo symmetric permutation_invariant -lipschitz -lipschitz_gradient bounded_below=0 bounded_above=K*log(2)/2 nonnegative minimum_at_target",
    "kl_divergence": "convex -strictly_convex -strongly_convex smooth=oo -symmetric permutation_invariant -lipschitz -lipschitz_gradient bounded_below=-K*exp(-1) -bounded_above -nonnegative -minimum_at_target",
    "l1_norm": "convex -strictly_convex -strongly_convex -smooth=0 symmetric translation_invariant permutation_invariant lipschitz=sqrt(D) -lipschitz_gradient bounded_below=0 -bounded_above nonnegative minimum_at_target robust -redescending",
    "l2_norm": "convex -strictly_convex -strongly_convex -smooth=0 symmetric translation_invariant permutation_invariant lipschitz=1 -lipschitz_gradient bounded_below=0 -bounded_above nonnegative minimum_at_target robust -redescending",
    "l2_normalized_mse": "-convex -strictly_convex -strongly_convex -smooth symmetric -translation_invariant permutation_invariant -lipschitz -lipschitz_gradient bounded_below=0 bounded_above nonnegative minimum_at_target",
    "mae": "convex -strictly_convex -strongly_convex -smooth=0 symmetric translation_invariant lipschitz=1 -lipschitz_gradient bounded_below=0 -bounded_above nonnegative minimum_at_target robust -redescending",
    "min_max_mse": "-convex -strictly_convex -strongly_convex -smooth symmetric translation_invariant permutation_invariant -lipschitz -lipschitz_gradient bounded_below=0 ?bounded_above nonnegative minimum_at_target",
    "mse": "convex strictly_convex strongly_convex=2 smooth=oo symmetric translation_invariant -lipschitz lipschitz_gradient=2 bounded_below=0 -bounded_above nonnegative minimum_at_target -robust -redescending",
    "perceptual": "-convex -strictly_convex -strongly_convex smooth=oo -translation_invariant permutation_invariant -lipschitz -lipschitz_gradient bounded_below=0 -bounded_above nonnegative",
    "smooth_l1": "convex -strictly_convex -strongly_convex -smooth=0 symmetric translation_invariant lipschitz=1 -lipschitz_gradient bounded_below=0 -bounded_above nonnegative minimum_at_target robust -redescending",
    "soft_target_cross_entropy": "convex -strictly_convex -strongly_convex smooth=oo translation_invariant permutation_invariant lipschitz lipschitz_gradient bounded_below=0 -bounded_above nonnegative",
    "softmax_center": "convex -strictly_convex -strongly_convex smooth=oo translation_invariant permutation_invariant -lipschitz lipschitz_gradient=Max(1/2,2*strength) bounded_below=0 -bounded_above nonnegative",
    "softmax_cross_entropy": "convex -strictly_convex -strongly_convex smooth=oo translation_invariant permutation_invariant lipschitz=sqrt(2) lipschitz_gradient=1/2 bounded_below=0 -bounded_above nonnegative",
    "softmax_focal": "-convex -strictly_convex -strongly_convex smooth=oo translation_invariant permutation_invariant lipschitz lipschitz_gradient bounded_below=0 -bounded_above nonnegative",
    "sparse_cross_entropy": "convex -strictly_convex -strongly_convex smooth=oo permutation_invariant -lipschitz -lipschitz_gradient bounded_below=0 -bounded_above nonnegative",
    "standardized_mse": "-convex -strictly_convex -strongly_convex -smooth symmetric translation_invariant permutation_invariant -lipschitz -lipschitz_gradient bounded_below=0 bounded_above nonnegative minimum_at_target",
}

# Losses that aren't shipped: parameters of a spec, its formula, and its verdicts.
RESIDUAL = "prediction: Prediction, target: Target"
MARGIN = "score: Prediction, side: Target.over(FiniteSet(-1, 1))"
OWN = {
    # What other libraries declare strongly convex, and isn't.
    "log_cosh": (
        RESIDUAL,
        "log(cosh(prediction - target))",
        "convex strictly_convex -strongly_convex=0 smooth=oo symmetric translation_invariant lipschitz=1 lipschitz_gradient=1 bounded_below=0 -bounded_above nonnegative minimum_at_target robust -redescending",
    ),
    "cube": (
        RESIDUAL,
        "Abs(prediction - target)**3",
        "convex strictly_convex -strongly_convex=0 smooth=2 symmetric translation_invariant -lipschitz -lipschitz_gradient bounded_below=0 -bounded_above nonnegative minimum_at_target -robust -redescending",
    ),
    "quartic": (
        RESIDUAL,
        "(prediction - target)**4",
        "convex strictly_convex -strongly_convex=0 smooth=oo symmetric translation_invariant -lipschitz -lipschitz_gradient bounded_below=0 -bounded_above nonnegative minimum_at_target -robust -redescending",
    ),
    "cauchy": (
        RESIDUAL + ", c: Positive = 1",
        "c**2 / 2 * log(1 + ((prediction - target) / c)**2)",
        "-convex -strictly_convex -strongly_convex smooth=oo symmetric translation_invariant lipschitz=c/2 lipschitz_gradient=1 bounded_below=0 -bounded_above nonnegative minimum_at_target robust redescending",
    ),
    "welsch": (
        RESIDUAL,
        "1 - exp(-(prediction - target)**2)",
        "-convex -strictly_convex -strongly_convex smooth=oo symmetric translation_invariant lipschitz=sqrt(2)*exp(-1/2) lipschitz_gradient=2 bounded_below=0 bounded_above=1 nonnegative minimum_at_target robust redescending",
    ),
    "tukey": (
        RESIDUAL + ", c: Positive = 1",
        "Piecewise((c**2 / 6 * (1 - (1 - ((prediction - target) / c)**2)**3), Abs(prediction - target) <= c), (c**2 / 6, True))",
        "-convex -strictly_convex -strongly_convex smooth=2 symmetric translation_invariant lipschitz=16*sqrt(5)*c/125 lipschitz_gradient=1 bounded_below=0 bounded_above=c**2/6 nonnegative minimum_at_target robust redescending",
    ),
    "charbonnier": (
        RESIDUAL + ", eps: Positive = Rational(1, 1000)",
        "sqrt((prediction - target)**2 + eps**2)",
        "convex strictly_convex -strongly_convex=0 smooth=oo symmetric translation_invariant lipschitz=1 lipschitz_gradient=1/eps bounded_below=eps -bounded_above nonnegative minimum_at_target robust -redescending",
    ),
    "student": (
        RESIDUAL + ", nu: Positive = 3",
        "loggamma(nu / 2) - loggamma((nu + 1) / 2) + (nu + 1) / 2 * log(1 + (target - prediction)**2 / nu)",
        "-convex -strictly_convex -strongly_convex smooth=oo symmetric translation_invariant lipschitz=(nu+1)/(2*sqrt(nu)) lipschitz_gradient=(nu+1)/nu bounded_below=loggamma(nu/2)-loggamma(nu/2+1/2) -bounded_above -nonnegative minimum_at_target robust redescending",
    ),
    "pinball": (
        RESIDUAL + ", tau: Interval.open(0, 1) = Rational(1, 2)",
        "Max(tau * (target - prediction), (tau - 1) * (target - prediction))",
        "convex -strictly_convex -strongly_convex -smooth=0 -symmetric translation_invariant lipschitz=Max(tau,1-tau) -lipschitz_gradient bounded_below=0 -bounded_above nonnegative minimum_at_target robust -redescending",
    ),
    "brier": (
        "prediction: Prediction.over(Interval(0, 1)), target: Target.over(Interval(0, 1))",
        "(prediction - target)**2",
        "convex strictly_convex strongly_convex=2 smooth=oo symmetric lipschitz=2 lipschitz_gradient=2 bounded_below=0 bounded_above=1 nonnegative minimum_at_target",
    ),
    "hinge": (
        MARGIN,
        "Max(0, 1 - side * score)",
        "convex -strictly_convex -strongly_convex -smooth=0 -translation_invariant lipschitz=1 -lipschitz_gradient bounded_below=0 -bounded_above nonnegative",
    ),
    "squared_hinge": (
        MARGIN,
        "Max(0, 1 - side * score)**2",
        "convex -strictly_convex -strongly_convex smooth=1 -translation_invariant -lipschitz lipschitz_gradient=2 bounded_below=0 -bounded_above nonnegative",
    ),
    "exponential": (
        MARGIN,
        "exp(-side * score)",
        "convex strictly_convex -strongly_convex=0 smooth=oo -translation_invariant -lipschitz -lipschitz_gradient bounded_below=0 -bounded_above nonnegative",
    ),
    "poisson": (
        "log_rate: Prediction, count: Target.over(Interval(0, oo))",
        "exp(log_rate) - count * log_rate",
        "convex strictly_convex -strongly_convex=0 smooth=oo -translation_invariant -lipschitz -lipschitz_gradient bounded_below -bounded_above -nonnegative",
    ),
    "gaussian": (
        "mean: Prediction, variance: Prediction.over(Positive), target: Target",
        "log(variance) / 2 + (mean - target)**2 / (2 * variance)",
        "-convex -strictly_convex -strongly_convex smooth=oo -lipschitz -lipschitz_gradient -bounded_below -bounded_above -nonnegative",
    ),
    # Without a minimum at the target, though the slope of the case that is taken there is 0.
    "tilted": (
        RESIDUAL,
        "Piecewise((prediction - target, prediction < target), (2 * (prediction - target), prediction > target), (0, True))",
        "convex -strictly_convex -strongly_convex -smooth=0 -symmetric translation_invariant lipschitz=2 -lipschitz_gradient -bounded_below -bounded_above -nonnegative -minimum_at_target robust -redescending",
    ),
    # A value at a single point, which no piece has.
    "spike": (
        RESIDUAL,
        "Piecewise((5, Eq(prediction, target)), ((prediction - target)**2, True))",
        "-convex -strictly_convex -strongly_convex ?smooth symmetric translation_invariant ?lipschitz ?lipschitz_gradient ?bounded_below ?bounded_above nonnegative -minimum_at_target ?robust ?redescending",
    ),
    "step": (
        "score: Prediction",
        "Piecewise((0, score < 0), (1, True))",
        "-convex -strictly_convex -strongly_convex -smooth -translation_invariant -lipschitz -lipschitz_gradient bounded_below=0 bounded_above=1 nonnegative",
    ),
    # Its slope has no limit, and its gradient no bound.
    "wave": (
        RESIDUAL,
        "(prediction - target)**2 + sin(prediction - target) / 2",
        "convex strictly_convex ?strongly_convex smooth=oo -symmetric translation_invariant ?lipschitz ?lipschitz_gradient ?bounded_below ?bounded_above ?nonnegative ?minimum_at_target ?robust ?redescending",
    ),
    "probit": (
        "score: Prediction",
        "-log(erfc(score))",
        "?convex ?strictly_convex ?strongly_convex smooth=oo -translation_invariant ?lipschitz ?lipschitz_gradient ?bounded_below ?bounded_above -nonnegative",
    ),
    "log_sum_exp": (
        'scores: Prediction["K"]',
        'log(Sum(exp(scores[index("K")]), index("K")))',
        "convex -strictly_convex -strongly_convex smooth=oo -translation_invariant permutation_invariant lipschitz lipschitz_gradient -bounded_below -bounded_above -nonnegative",
    ),
    "huber_of_a_norm": (
        'p: Prediction["D"], t: Target["D"], delta: Positive = 1',
        'Piecewise((Sum((p[index("D")] - t[index("D")])**2, index("D")) / 2, sqrt(Sum((p[index("D")] - t[index("D")])**2, index("D"))) <= delta), (delta * (sqrt(Sum((p[index("D")] - t[index("D")])**2, index("D"))) - delta / 2), True))',
        "convex -strictly_convex -strongly_convex smooth=1 symmetric translation_invariant permutation_invariant lipschitz=delta lipschitz_gradient=1 bounded_below=0 -bounded_above nonnegative minimum_at_target robust -redescending",
    ),
    "weston_watkins": (
        'scores: Prediction["K"], label: Label["K"]',
        'Sum(Piecewise((0, Eq(index("K"), label)), (Max(0, 1 + scores[index("K")] - scores[label]), True)), index("K"))',
        "convex -strictly_convex -strongly_convex -smooth=0 translation_invariant permutation_invariant lipschitz -lipschitz_gradient bounded_below=0 -bounded_above nonnegative",
    ),
    # Entries that count differently.
    "ordered": (
        'x: Prediction["K"]',
        'Sum(index("K") * x[index("K")]**2, index("K"))',
        "convex -strictly_convex -strongly_convex smooth=oo -translation_invariant -permutation_invariant ?lipschitz lipschitz_gradient bounded_below=0 ?bounded_above nonnegative",
    ),
    "elastic_net": (
        'w: Prediction["D"], strength: NonNegative = 1',
        'Sum(Abs(w[index("D")]) + strength * w[index("D")]**2 / 2, index("D"))',
        "convex -strictly_convex -strongly_convex -smooth=0 -translation_invariant permutation_invariant -lipschitz -lipschitz_gradient bounded_below=0 -bounded_above nonnegative",
    ),
}
EXPECTED = {**SHIPPED, **{name: verdicts for name, (_, _, verdicts) in OWN.items()}}
SIZES = {"C": 1, "H": 2, "W": 1, "K": 3, "D": 2, "M": 2}


@pytest.fixture(autouse=True)
def forty_digits():
    with mp.workdps(40):
        yield


@cache
def derived(name: str) -> Derivation:
    if name in SHIPPED:
        return shipped_derivation(name)
    parameters, formula, _ = OWN[name]
    text = f"from sympy import *\nfrom symloss.spec import *\n\n\n@loss\ndef {name}({parameters}):\n    return {formula}\n"
    return derive(catalog.trace(catalog.load_text(text)[name]))


@cache
def found(name: str) -> tuple[Trait, ...]:
    return traits(derived(name))


@cache
def oracle(name: str) -> Oracle:
    return Oracle(derived(name).loss)


def all_with(verdict: str) -> list:
    """One case a trait, from the table."""
    mark = {"proved": "", "refuted": "-"}[verdict]
    cases = []
    for name, verdicts in EXPECTED.items():
        for word in verdicts.split():
            trait = word.split("=")[0]
            if trait.lstrip("-?") == trait[len(mark) :] and trait.startswith(mark):
                cases.append(pytest.param(name, trait[len(mark) :], id=f"{name}-{trait[len(mark) :]}"))
    return cases


def trait_of(name: str, trait: str) -> Trait:
    return next(t for t in found(name) if t.name == trait)


# --- the table ----------------------------------------------------------------------------------------------


def test_the_table_has_every_shipped_loss():
    assert sorted(SHIPPED) == sorted(standard().names())


@pytest.mark.parametrize("name", EXPECTED)
def test_verdicts_and_values_are_those_of_the_table(name):
    loss = derived(name).loss
    symbols = {p.name: p.symbol for p in loss.parameters}
    symbols |= {dim: next(iter(_sizes(dim).free_symbols)) for dim in loss.dims}
    marks = {"proved": "", "refuted": "-", "unknown": "?"}
    got = {marks[t.verdict] + t.name: t.value for t in found(name)}
    wanted = {}
    for word in EXPECTED[name].split():
        trait, _, value = word.partition("=")
        wanted[trait] = sympy.sympify(value, locals=symbols) if value else None
    assert list(got) == list(wanted)
    for trait, value in wanted.items():
        assert (got[trait] is None) == (value is None), (trait, got[trait])
        assert value is None or got[trait] == value or sympy.simplify(got[trait] - value) == 0, trait


def _sizes(dim: str) -> sympy.Expr:
    from symloss.index import Size

    return Size(dim)


@pytest.mark.parametrize("name", EXPECTED)
def test_traits_are_well_formed(name):
    names = [t.name for t in found(name)]
    assert names == [n for n in NAMES if n in names]
    for trait in found(name):
        assert trait.verdict in ("proved", "refuted", "unknown")
        assert trait.why in REASONS.values()
        assert (trait.verdict == "refuted") == bool(trait.point)
        known = {p.symbol for p in derived(name).loss.parameters} | {_sizes(d) for d in derived(name).loss.dims}
        assert trait.value is None or trait.value.free_symbols <= known
        places = {what for what, _ in trait.point}
        for what, number in trait.point:
            assert (what == "along" and number in places) or re.fullmatch(r"(-> )?(-?\d+(\.\d+)?(e[+-]?\d+)?|-?oo)", number), (what, number)


def test_every_reason_is_used_and_has_no_numbers_of_a_loss():
    source = "".join(path.read_text(encoding="utf-8") for path in Path(intervals.__file__).parent.glob("*.py"))
    for key, sentence in REASONS.items():
        assert f'"{key}"' in source, key
        assert sentence.endswith(".") and "{" not in sentence


# --- every refuting point, by the oracle --------------------------------------------------------------------


def sample_of(name: str, point: tuple[tuple[str, str], ...], step: int = 0, prefix: str = "") -> dict[str, Any]:
    """The sample that a point means; what comes near something is `step` decades on its way."""
    loss, numbers = derived(name).loss, {}
    for what, text in point:
        if what.startswith(("first ", "second ")):
            if not what.startswith(prefix + " "):
                continue
            what = what[len(prefix) + 1 :]
        numbers[what] = _number(loss, what, text, step)
    sample: dict[str, Any] = {p.name: float(numbers[p.name]) for p in loss.parameters}
    for given in loss.inputs:
        if given.kind == "label":
            sample[given.name] = int(numbers[given.name])
            continue
        places = {
            tuple(map(int, re.findall(r"\d+", what[len(given.name) :]))): number
            for what, number in numbers.items()
            if re.fullmatch(re.escape(given.name) + r"(\[[\d, ]+\])?", what)
        }
        shape = tuple(max(p[axis] for p in places) + 1 for axis in range(len(given.dims)))
        array = np.empty(shape, dtype=object)
        for place, number in places.items():
            array[place] = number
        sample[given.name] = array
    return sample


def _number(loss, what: str, text: str, step: int) -> Any:
    if not text.startswith("-> "):
        return mpf(text)
    goal = text[3:]
    if goal in ("oo", "-oo"):
        return mpf(10) ** step * (-1 if goal == "-oo" else 1)
    domain = next(i.domain for i in loss.inputs if what.split("[")[0] == i.name)
    inwards = 1 if domain.start == S(goal) else -1
    return mpf(goal) + inwards * mpf(10) ** -step


def entries(name: str, sample: dict[str, Any]):
    for given in derived(name).loss.predictions:
        for at in np.ndindex(np.shape(sample[given.name])):
            yield given.name, at


def gradient(name: str, sample: dict[str, Any]) -> list[Any]:
    return [oracle(name).evaluate("grad", sample, wrt, at) for wrt, at in entries(name, sample)]


def curvature(name: str, sample: dict[str, Any]) -> list[Any]:
    return [oracle(name).evaluate("hess", sample, wrt, at) for wrt, at in entries(name, sample)]


def value(name: str, sample: dict[str, Any]) -> Any:
    return oracle(name).evaluate("value", sample)


def length(vector) -> Any:
    return mp.sqrt(sum((x * x for x in vector), mpf(0)))


def moved(name: str, sample: dict[str, Any], by: float) -> dict[str, Any]:
    """The sample with the first prediction's first entry moved."""
    first = derived(name).loss.predictions[0].name
    array = sample[first].copy()
    array[(0,) * array.ndim] += mpf(by)
    return {**sample, first: array}


def middle(name: str, first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    return {
        **first,
        **{p.name: (first[p.name] + second[p.name]) / 2 for p in derived(name).loss.predictions},
    }


def grows(numbers: list[Any]) -> bool:
    """Whether numbers of the same sign grow, by at least a fixed amount each time."""
    return all(abs(b) > abs(a) + 1 and a * b > 0 for a, b in itertools.pairwise(numbers[1:]))


def changed(name: str, trait: str, sample: dict[str, Any]) -> dict[str, Any]:
    """The sample that a refuted symmetry, or the minimum at the target, compares with."""
    loss = derived(name).loss
    predictions = [p.name for p in loss.predictions]
    targets = [i for i in loss.inputs if i.kind == "target" and i.domain == loss.predictions[0].domain]
    if trait == "symmetric":
        one, other = (predictions[0], targets[0].name) if targets else predictions
        return {**sample, one: sample[other], other: sample[one]}
    if trait == "minimum_at_target":
        return {**sample, predictions[0]: sample[targets[0].name]}
    if trait == "permutation_invariant":
        return {key: x[::-1] if isinstance(x, np.ndarray) else x for key, x in sample.items()}
    shifted = {*predictions, *(t.name for t in targets if t.dims == loss.predictions[0].dims)}
    return {key: x + 1 if key in shifted else x for key, x in sample.items()}


@pytest.mark.parametrize(("name", "trait"), all_with("refuted"))
def test_a_refuting_point_refutes(name, trait):
    it = trait_of(name, trait)
    point = dict(it.point)
    if any(what.startswith("first ") for what in point):
        first, second = (sample_of(name, it.point, prefix=prefix) for prefix in ("first", "second"))
        mean = (value(name, first) + value(name, second)) / 2
        excess = value(name, middle(name, first, second)) - mean
        assert mp.isfinite(mean)
        if "value in the middle" in point:
            assert excess > mpf("1e-9")
        else:
            assert abs(excess) <= mpf("1e-24") * (1 + abs(mean))
            assert any(np.any(first[p.name] != second[p.name]) for p in derived(name).loss.predictions)
    elif point.get("second derivative", "-> ").startswith("-> ") is False:
        wrt = point.get("along", derived(name).loss.predictions[0].name)
        numbers = {key: x for key, x in it.point if key not in ("along", "second derivative")}
        sample = sample_of(name, tuple(numbers.items()))
        place = [e for e in entries(name, sample) if (f"{e[0]}[{', '.join(map(str, e[1]))}]" if e[1] else e[0]) == wrt]
        (at,) = place or list(entries(name, sample))
        bend = oracle(name).evaluate("hess", sample, *at)
        assert float(bend) == pytest.approx(float(point["second derivative"]), rel=1e-5)
        assert bend < 0 if trait == "convex" or "convex" not in trait else bend <= 0
    elif "second derivative" in point:
        bends = [max(curvature(name, sample_of(name, it.point[:-1], step))) for step in (1, 2, 3)]
        assert bends[0] > bends[1] > bends[2] > 0 or bends[2] < mpf("1e-20")
        assert bends[2] < mpf("1e-2")
    elif "value after the change" in point:
        sample = sample_of(name, it.point)
        before, after = value(name, sample), value(name, changed(name, trait, sample))
        assert float(before) == pytest.approx(float(point["value"]), rel=1e-5, abs=1e-9)
        assert float(after) == pytest.approx(float(point["value after the change"]), rel=1e-5, abs=1e-9)
        assert before < after if trait == "minimum_at_target" else abs(after - before) > mpf("1e-9")
    elif "value" in point:
        assert value(name, sample_of(name, it.point)) < 0
    elif "gradient" in point:
        steepness = [length(gradient(name, sample_of(name, it.point[:-1], step))) for step in (8, 12, 16)]
        goal = point["gradient"][3:]
        if "oo" in goal:
            assert grows(steepness)
        else:
            assert all(float(s) == pytest.approx(abs(float(goal)), rel=1e-3) for s in steepness)
            assert abs(float(goal)) > 0
    elif any(number.startswith("-> ") for number in point.values()):
        what = {"lipschitz": gradient, "lipschitz_gradient": curvature}.get(trait)
        samples = [sample_of(name, it.point, step) for step in (1, 4, 8, 16)]
        numbers = [length(what(name, s)) if what else value(name, s) for s in samples]
        assert grows(numbers), [mp.nstr(x, 5) for x in numbers]
        assert trait != "bounded_below" or numbers[-1] < 0
    else:
        check_a_break(name, trait, it)


def check_a_break(name: str, trait: str, it: Trait) -> None:
    """A point where the value jumps or is missing, or the slope jumps."""
    sample = sample_of(name, it.point)
    if it.why == REASONS["no value"]:
        assert mp.isnan(value(name, sample))
        return
    sides = [moved(name, sample, by) for by in (-1e-12, 1e-12)]
    if it.why == REASONS["jump"]:
        assert abs(value(name, sides[0]) - value(name, sides[1])) > mpf("1e-3")
        return
    slopes = [gradient(name, side) for side in sides]
    assert it.why in (REASONS["kink"], REASONS["unbounded slope"])
    assert length([b - a for a, b in zip(*slopes, strict=True)]) > mpf("1e-3")


# --- every proof, by sampling -------------------------------------------------------------------------------


def draw(name: str, seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Two samples that differ in the predictions alone."""
    loss, rng = derived(name).loss, np.random.default_rng([seed, len(name)])
    fixed: dict[str, Any] = {}
    for parameter in loss.parameters:
        fixed[parameter.name] = float(parameter.default if seed % 2 else _in(parameter.domain, (), rng))
    for given in loss.inputs:
        if given.kind == "label":
            fixed[given.name] = int(rng.integers(SIZES[given.role.dims[0]]))
        elif given.kind == "target":
            fixed[given.name] = _in(given.domain, tuple(SIZES.get(d, 2) for d in given.dims), rng)
    both = []
    for _ in range(2):
        predictions = {p.name: _in(p.domain, tuple(SIZES.get(d, 2) for d in p.dims), rng) for p in loss.predictions}
        both.append({**fixed, **predictions})
    if seed % 3 == 0:  # two points that are near each other
        for p in loss.predictions:
            both[1][p.name] = np.asarray(both[0][p.name] + (both[1][p.name] - both[0][p.name]) / 1000, dtype=object)
    return both[0], both[1]


def _in(domain, shape, rng) -> np.ndarray:
    """Numbers of a domain, those at which something may happen among them."""
    numbers = np.asarray(_some(domain, shape, rng), dtype=object)
    return np.asarray(np.vectorize(mpf, otypes=[object])(numbers), dtype=object)


def _some(domain, shape, rng):
    if isinstance(domain, FiniteSet):
        return rng.choice([float(x) for x in sorted(domain)], size=shape)
    if domain == S.Reals:
        return rng.choice([0.0, 1.0, -1.0, 0.5, 4.0, -7.0], size=shape) + rng.choice([0.0, rng.normal()], size=shape)
    if isinstance(domain, Interval) and domain.measure.is_finite:
        low, high = float(domain.start), float(domain.end)
        return low + (high - low) * rng.choice([0.01, 0.25, 0.5, 0.9, rng.uniform(0.01, 0.99)], size=shape)
    if isinstance(domain, Interval) and domain.start.is_finite:
        return float(domain.start) + np.exp(rng.normal(size=shape))
    return float(domain.end) - np.exp(rng.normal(size=shape))


def distance(name: str, one: dict[str, Any], other: dict[str, Any]) -> Any:
    return length(
        mpf(x) for p in derived(name).loss.predictions for x in np.ravel(one[p.name] - other[p.name])
    )


def constant(name: str, it: Trait, sample: dict[str, Any]) -> Any:
    """A trait's value in numbers, at a sample's parameters and sizes."""
    numbers = {s: sample.get(s.name, SIZES.get(s.name, 2)) for s in it.value.free_symbols}
    return mpf(sympy.N(it.value.subs({s: sympy.Float(float(x), 30) for s, x in numbers.items()}), 30))


SLACK = mpf("1e-15")  # the samples' own numbers are doubles


def holds(name: str, trait: str, it: Trait, one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether a proved trait holds at two samples."""
    a, b = value(name, one), value(name, other)
    if not (mp.isfinite(a) and mp.isfinite(b)):
        return True
    size = (1 + abs(a) + abs(b)) * SLACK
    away = distance(name, one, other)
    if trait in ("convex", "strictly_convex", "strongly_convex"):
        gain = (a + b) / 2 - value(name, middle(name, one, other))
        least = constant(name, it, one) / 8 * away**2 if it.value is not None else 0
        return gain >= least * (1 - mpf("1e-12")) - size and (trait != "strictly_convex" or gain > 0 or away == 0)
    if trait == "lipschitz":
        return it.value is None or abs(a - b) <= constant(name, it, one) * away * (1 + SLACK) + size
    if trait == "lipschitz_gradient":
        change = length(y - x for x, y in zip(gradient(name, one), gradient(name, other), strict=True))
        return it.value is None or change <= constant(name, it, one) * away * (1 + mpf("1e-12")) + size
    if trait == "bounded_below":
        return it.value is None or a >= constant(name, it, one) - size
    if trait == "bounded_above":
        return it.value is None or a <= constant(name, it, one) + size
    if trait == "nonnegative":
        return a >= -size
    if trait in ("symmetric", "translation_invariant", "permutation_invariant", "minimum_at_target"):
        if trait == "permutation_invariant":
            return True
        after = value(name, changed(name, trait, one))
        return mp.isnan(after) or (after <= a + size if trait == "minimum_at_target" else abs(after - a) <= 100 * size)
    assert trait == "smooth"
    near = moved(name, one, 1e-18)
    return length(y - x for x, y in zip(gradient(name, one), gradient(name, near), strict=True)) < mpf("1e-4")


@pytest.mark.parametrize(
    ("name", "trait"), [c for c in all_with("proved") if c.values[1] not in ("robust", "redescending")]
)
def test_what_is_proved_is_never_violated(name, trait):
    it = trait_of(name, trait)
    for seed in range(16):
        one, other = draw(name, seed)
        assert holds(name, trait, it, one, other), (one, other)


@pytest.mark.parametrize(
    ("name", "trait"), [c for c in all_with("proved") if c.values[1] in ("robust", "redescending")]
)
def test_far_residuals_have_the_gradient_that_is_proved(name, trait):
    one, _ = draw(name, 1)
    slopes = [max(map(abs, gradient(name, moved(name, one, by)))) for by in (1e3, 1e6, -1e6)]
    assert all(mp.isfinite(s) and s < 100 for s in slopes)
    if trait == "redescending":
        assert max(slopes[1:]) < mpf("1e-2") and max(slopes[1:]) <= slopes[0]


@pytest.mark.parametrize(
    ("name", "where", "ratio"),
    [
        ("huber", (2.0, 3.0), 1),
        ("log_cosh", (8.0, 9.0), 0.999),
        ("cauchy", (0.999, 1.001), 0.999),
        ("tukey", (0.446, 0.448), 0.999),
        ("welsch", (0.7, 0.71), 0.999),
        ("binary_cross_entropy_with_logits", (-9.0, -8.0), 0.999),
        ("brier", (0.999, 1.0), 0.999),
    ],
)
def test_a_lipschitz_constant_is_met(name, where, ratio):
    """The difference quotient at the steepest place, as a share of the constant."""
    loss = derived(name).loss
    fixed = {p.name: float(p.default) for p in loss.parameters}
    (prediction,) = loss.predictions
    target = next(i.name for i in loss.inputs if i.kind == "target")
    fixed[target] = 1.0 if "logits" in prediction.name else 0.0
    low, high = ({**fixed, prediction.name: np.array(x)} for x in where)
    quotient = abs(value(name, high) - value(name, low)) / (where[1] - where[0])
    assert quotient >= ratio * constant(name, trait_of(name, "lipschitz"), low)


def test_the_softmax_constants_are_met():
    """Confidently wrong logits have a gradient near sqrt(2); two equal ones have 1/2 as a second derivative."""
    name = "softmax_cross_entropy"
    far = {"logits": np.array([-40.0, 0.0, -80.0]), "label": 0}
    assert length(gradient(name, far)) > mp.sqrt(2) * (1 - mpf("1e-15"))
    even = {"logits": np.array([0.0, 0.0, -80.0]), "label": 0}
    along = {"logits": np.array([1.0, -1.0, 0.0])}
    products = [oracle(name).evaluate("hvp", even, "logits", (k,), along) for k in range(2)]
    assert float(products[0] - products[1]) / 2 == pytest.approx(0.5)


# --- the same result in every process -----------------------------------------------------------------------

PROGRAM = """
from symloss.catalog import standard
from symloss.derive import derive
from symloss.traits import traits
for name in ("binary_cross_entropy_with_logits", "center", "huber", "kl_divergence", "perceptual", "l2_normalized_mse"):
    print(name, traits(derive(standard().loss(name))))
"""


def test_results_do_not_depend_on_the_hash_seed():
    texts = [
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert texts[0] == texts[1] and texts[0].count("Trait(") > 60


# --- what the proofs are made of ----------------------------------------------------------------------------

X, T = Symbol("x", real=True), Symbol("t", real=True)
LINE, UNIT, RIGHT = Span(), Span(S.Zero, S.One), Span(S.Zero, oo)
C = Symbol("c", positive=True)


@pytest.mark.parametrize(
    ("expr", "span", "wanted"),
    [
        ("1/(1 + exp(-x)) * (1 - 1/(1 + exp(-x)))", LINE, POSITIVE),
        ("log((exp(x) + exp(-x))/2)", LINE, NOT_NEGATIVE),
        ("1 - tanh(x)**2", LINE, POSITIVE),
        ("12*x**2 - 6*x + 2", LINE, POSITIVE),
        ("2 - sin(x)*exp(-x**2)", LINE, POSITIVE),
        ("x**4 - x + 1", LINE, POSITIVE),
        ("exp(x) - 1 - x", RIGHT, POSITIVE),
        ("1 - x**2", UNIT, POSITIVE),
        ("log(x)", UNIT, NEGATIVE),
        ("log(2*x/(1 + x))", UNIT, NEGATIVE),
        ("-x*(1 - x)", UNIT, NEGATIVE),
        ("x**2 - 1", LINE, ANY),
        ("x - 1/2", UNIT, ANY),
        ("x**4 - x + 1/4", LINE, ANY),
        ("exp(x) - 3*x", RIGHT, ANY),
        ("sin(x)", LINE, ANY),
    ],
)
def test_signs(expr, span, wanted):
    assert signs(sympy.sympify(expr, locals={"x": X}), {X: span}) == wanted


@pytest.mark.parametrize(
    ("expr", "end", "wanted"),
    [
        ("1/(1 + exp(-x))", oo, "1"),
        ("log(1 + exp(x))", -oo, "0"),
        ("log(1 + exp(x))", oo, "oo"),
        ("x*exp(-x**2)", oo, "0"),
        ("2*x/(1 + x**2)", -oo, "0"),
        ("x/sqrt(c**2 + x**2)", -oo, "-1"),
        ("(exp(x) - exp(-x))/(exp(x) + exp(-x))", -oo, "-1"),
        ("(1 - 1/(1 + exp(-x)))**c*log(1 + exp(-x))/(1 + exp(-x))", -oo, "0"),
        ("x**c/exp(x)", oo, "0"),
        ("x*log(x)", 0, "0"),
        ("1 - exp(x)", 0, "0"),
        ("-c/x", 0, "-oo"),
        # Nothing is said: it depends on c, it oscillates, the largest terms cancel.
        ("exp((c - 1)*x)", oo, None),
        ("sin(x)", oo, None),
        ("sqrt(x**2 + x) - x", oo, None),
    ],
)
def test_limits(expr, end, wanted):
    expr = sympy.sympify(expr, locals={"x": X, "c": C})
    got = limit(expr, X, S(end), end == oo, {C: RIGHT, X: LINE if end != 0 else RIGHT})
    assert got == (None if wanted is None else sympy.sympify(wanted))


@pytest.mark.parametrize(
    ("expr", "wanted"),
    [
        ("Abs(x)", 0),
        ("Abs(x)**3", 2),
        ("Abs(x)*x", 1),
        ("Piecewise((x**2/2, Abs(x) <= c), (c*(Abs(x) - c/2), True))", 1),
        ("Piecewise((0, x < 0), (x**4, True))", 3),
        ("Piecewise((0, x < c), (1, True))", None),
        ("x**2", oo),
    ],
)
def test_smoothness(expr, wanted):
    curve = cut(sympy.sympify(expr, locals={"x": X, "c": C}), X, {C: RIGHT, X: LINE})
    assert smoothness(curve)[0] == wanted


def test_a_curve_that_cannot_be_cut_for_all_parameters_is_left_undecided():
    wavy = sympy.Piecewise((X, sympy.sin(X) < 0), (X**2, True))
    with pytest.raises(Undecided):
        cut(wavy, X, {X: LINE})
    with pytest.raises(Undecided):  # log(x - t) has no value on one side of t
        cut(sympy.log(X - T), X, {T: LINE, X: LINE})


@pytest.mark.parametrize(
    "expr", ["exp(-x**2)*sin(3*x)", "log(1 + exp(x)) - x/2", "x**3 - 2*x + 1/3", "erfc(x)*cosh(x)", "1/(2 + sin(x))"]
)
def test_enclosures_hold_every_value(expr):
    expr = sympy.sympify(expr, locals={"x": X})
    rng = np.random.default_rng(0)
    with mp.workdps(intervals.DIGITS):
        for _ in range(40):
            low, high = sorted(rng.normal(scale=3, size=2))
            box = intervals.enclose(expr, {X: intervals.Enclosure(mpf(low), mpf(high))})
            for x in np.linspace(low, high, 7):
                exact = mpf(sympy.N(expr.subs(X, sympy.Float(float(x), 40)), 40))
                assert box.low <= exact <= box.high


def test_an_enclosure_is_never_narrower_than_the_rounding():
    with mp.workdps(intervals.DIGITS):
        third = intervals.enclose(sympy.Rational(1, 3), {})
    with mp.workdps(60):
        assert third.low < mpf(1) / 3 < third.high
    cancelled = intervals.enclose(X - X / 3 - 2 * X / 3 + X * 0, {X: intervals.Enclosure(mpf(1), mpf(1))})
    assert cancelled.low <= 0 <= cancelled.high


def test_what_takes_too_long_to_multiply_out_is_left_as_it_is():
    """A temperature of 0.07 makes powers of 100, which no bound needs and no factoring ends."""
    u, v, w = (Symbol(name, positive=True) for name in "uvw")
    large = (1 + u + v + w) ** 40 - (u - v) ** 31
    assert one_fraction(large) == large and one_fraction(log(large) + 1) == log(large) + 1
    assert one_fraction(u**2 - 2 * u * v + v**2) == (u - v) ** 2
    assert signs(large) == {-1, 0, 1}
