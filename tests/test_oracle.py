"""The oracle against closed forms at 60 digits (tests/trusted), and its conventions one by one."""

import functools
import json
import math
from pathlib import Path

import numpy as np
import pytest
import sympy
from mpmath import mp, mpf
from sympy import Abs, Eq, Interval, Piecewise, Symbol, exp, log, sqrt

from symloss.atoms import LogSumExp, MaxShare, ratio0, sigmoid
from symloss.catalog import standard
from symloss.errors import UnsupportedError
from symloss.index import Delta, Entry, Index
from symloss.oracle import SUPPORTED, Oracle, evaluate_expr
from symloss.spec import Label, Max, NonNegative, Prediction, Product, Size, Sum, Target, index, loss
from symloss.special import FUNCTIONS

TRUSTED = json.loads(Path(__file__).parent.joinpath("trusted", "losses.json").read_text(encoding="utf-8"))
UNIT = Interval(0, 1)
INF = float("inf")


def same(got, wanted, tolerance="1e-25"):
    with mp.workdps(60):
        got, wanted = mpf(got), mpf(wanted)
        if not (mp.isfinite(got) and mp.isfinite(wanted)):
            return got == wanted
        nothing = max(abs(got), abs(wanted)) < mpf("5e-354")
        return nothing or abs(got - wanted) <= abs(wanted) * mpf(tolerance)


@pytest.fixture(scope="module")
def oracle_of():
    return functools.cache(lambda name: Oracle(standard().loss(name)))


def name_of(case):
    numbers = ", ".join(f"{k}={v}" for k, v in case["point"].items())
    return f"{case['loss']}({numbers})"


@pytest.mark.parametrize("case", TRUSTED, ids=name_of)
def test_trusted_numbers(case, oracle_of):
    oracle, wrt = oracle_of(case["loss"]), case["wrt"]
    shape = (1, 2, 2) if case["loss"] == "gram_style" else np.shape(case["point"][wrt])
    point = {k: np.reshape(v, shape) if np.ndim(v) else v for k, v in case["point"].items()}
    vector = {wrt: np.reshape(case["vector"], shape)}
    assert same(oracle.evaluate("value", point), case["value"])
    for n, at in enumerate(np.ndindex(shape)):
        for kind in ("grad", "hess", "hvp"):
            got = oracle.evaluate(kind, point, wrt, at, vector if kind == "hvp" else None)
            assert same(got, case[kind][n]), f"{kind} at {at}: {mp.nstr(got, 30)}, trusted {case[kind][n]}"


@loss
def logistic(logits: Prediction, target: Target.over(UNIT)):
    q = 1 / (1 + exp(-logits))
    return -(target * log(q) + (1 - target) * log(1 - q))


@loss
def focal(logits: Prediction, gamma: NonNegative = 2):
    q = 1 / (1 + exp(-logits))
    return -((1 - q) ** gamma) * log(q)


@loss
def softmax(logits: Prediction["K"], label: Label["K"]):
    k = index("K")
    return -log(exp(logits[label]) / Sum(exp(logits[k]), k))


@loss
def softmax_power(logits: Prediction["K"], label: Label["K"], gamma: NonNegative = 0.5):
    k = index("K")
    p = exp(logits[label]) / Sum(exp(logits[k]), k)
    return -((1 - p) ** gamma) * log(p)


@loss
def divergence(prediction: Prediction["K"].over(UNIT), target: Target["K"].over(UNIT)):
    k = index("K")
    return Sum(target[k] * log(target[k] / prediction[k]), k)


@loss
def jensen(prediction: Prediction["K"].over(UNIT), target: Target["K"].over(UNIT)):
    k = index("K")
    m = (prediction[k] + target[k]) / 2
    return Sum(target[k] * log(target[k] / m) + prediction[k] * log(prediction[k] / m), k) / 2


@loss
def norm(prediction: Prediction["D"], target: Target["D"]):
    d = index("D")
    return sqrt(Sum((prediction[d] - target[d]) ** 2, d))


@loss
def unit(prediction: Prediction["D"], target: Target["D"]):
    d = index("D")
    length = sqrt(Sum(prediction[d] ** 2, d))
    return Sum((prediction[d] / length - target[d]) ** 2, d)


def at_scalar(spec, kind, point, wrt="logits"):
    wrt = None if kind == "value" else wrt
    return Oracle(spec.trace()).evaluate(kind, point, wrt)


@pytest.mark.parametrize(
    "z, y, value, grad",
    [
        (1e20, 0.0, 1e20, 1),
        (1e20, 0.25, 7.5e19, 0.75),
        (1e20, 1.0, 0, 0),
        (-1e20, 1.0, 1e20, -1),
        (1e300, 0.0, 1e300, 1),
        (-1e300, 0.0, 0, 0),
        (40.0, 1.0, "4.248354255291588986305e-18", "-4.248354255291588977281e-18"),
    ],
)
def test_saturated_logits(z, y, value, grad):
    point = {"logits": z, "target": y}
    assert same(at_scalar(logistic, "value", point), value, "1e-19")
    assert same(at_scalar(logistic, "grad", point), grad, "1e-19")


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 2.5])
@pytest.mark.parametrize("z", [1e20, 3e300])
def test_focal_far_beyond_any_digits_vanishes_with_its_derivatives(z, gamma):
    for kind in ("value", "grad", "hess"):
        assert same(at_scalar(focal, kind, {"logits": z, "gamma": gamma}), 0)
    assert same(at_scalar(focal, "value", {"logits": -z, "gamma": gamma}), z)
    assert same(at_scalar(focal, "grad", {"logits": -z, "gamma": gamma}), -1)


def test_rows_with_irrational_exponentials_far_apart():
    z = np.array([-6.9e199, -7.8e199])
    oracle = Oracle(softmax_power.trace())
    for kind in ("value", "grad", "hess"):
        wrt, at = (None, ()) if kind == "value" else ("logits", (0,))
        assert same(oracle.evaluate(kind, {"logits": z, "label": 0}, wrt, at), 0)


def test_softmax_at_1e300_and_ties():
    oracle = Oracle(softmax.trace())
    point = {"logits": np.array([1e300, 1e300, -1e20]), "label": 2}
    assert same(oracle.evaluate("value", point), 1e300)
    assert same(oracle.evaluate("grad", point, "logits", (0,)), 0.5)
    assert same(oracle.evaluate("hess", point, "logits", (0,)), 0.25)
    assert same(oracle.evaluate("grad", point, "logits", (2,)), -1)


def test_one_class_is_exactly_zero():
    oracle = Oracle(softmax.trace())
    point = {"logits": np.array([0.37719066]), "label": 0}
    assert same(oracle.evaluate("value", point), 0)
    assert same(oracle.evaluate("grad", point, "logits", (0,)), 0)


def test_float32_inputs_are_the_numbers_they_hold():
    got = at_scalar(logistic, "value", {"logits": np.float32(0.1), "target": np.float32(0)})
    with mp.workdps(40):
        wanted = mp.log1p(mp.exp(mpf(float(np.float32(0.1)))))
    assert same(got, wanted)
    assert not same(got, mp.log1p(mp.exp(mpf("0.1"))), "1e-10")


def row(spec, kind, q, p, at=0):
    wrt, place = (None, ()) if kind == "value" else ("prediction", (at,))
    point = {"prediction": np.array(q, float), "target": np.array(p, float)}
    return Oracle(spec.trace()).evaluate(kind, point, wrt, place)


def test_zero_log_zero_is_zero():
    assert same(row(divergence, "value", [0, 1], [0, 1]), 0)
    assert same(row(divergence, "grad", [0, 1], [0, 1]), 0)
    assert same(row(divergence, "hess", [0, 1], [0, 1]), 0)


def test_a_probability_of_zero_where_one_is_needed_is_infinite():
    assert row(divergence, "value", [0, 1], [0.5, 0.5]) == INF
    assert row(divergence, "grad", [0, 1], [0.5, 0.5]) == -INF
    assert row(divergence, "hess", [0, 1], [0.5, 0.5]) == INF


def test_a_limit_from_inside_the_domain():
    assert same(row(jensen, "value", [0, 1], [0, 1]), 0)
    assert same(row(jensen, "grad", [0, 1], [0, 1]), mp.log(2) / 2, "1e-15")
    assert row(jensen, "grad", [0, 1], [0.5, 0.5]) == -INF
    assert row(jensen, "hess", [0, 1], [0.5, 0.5]) == INF


def test_the_norm_of_zero_has_subgradient_zero_and_no_second_derivative():
    assert same(row(norm, "value", [0, 0], [0, 0]), 0)
    assert same(row(norm, "grad", [0.1, 0.7], [0.1, 0.7]), 0)
    assert mp.isnan(row(norm, "hess", [0, 0], [0, 0]))


def test_what_depends_on_the_direction_is_undefined():
    for kind in ("value", "grad", "hess"):
        assert mp.isnan(row(unit, kind, [0, 0], [1, 2]))
    assert same(row(unit, "value", [3, 4], [0, 0]), 1)


def test_subgradients_at_ties_and_kinks():
    @loss
    def distance(prediction: Prediction, target: Target):
        return Abs(prediction - target)

    assert same(at_scalar(distance, "grad", {"prediction": 0.1, "target": 0.1}, "prediction"), 0)
    assert same(at_scalar(distance, "grad", {"prediction": -0.1, "target": 0.1}, "prediction"), -1)

    @loss
    def hinge(prediction: Prediction):
        return Max(0, prediction)

    assert same(at_scalar(hinge, "grad", {"prediction": 0.0}, "prediction"), 0)
    assert same(at_scalar(hinge, "grad", {"prediction": 5e-324}, "prediction"), 1)

    @loss
    def largest(prediction: Prediction["K"]):
        k = index("K")
        return Max(prediction[k], k)

    oracle = Oracle(largest.trace())
    for k, wanted in enumerate([0.5, 0, 0.5]):
        assert same(
            oracle.evaluate("grad", {"prediction": np.array([2.5, 1, 2.5])}, "prediction", (k,)), wanted
        )


def test_piecewise_evaluates_the_taken_branch_only():
    @loss
    def guarded(prediction: Prediction):
        return Piecewise((0, prediction <= 0), (log(prediction), True))

    assert same(at_scalar(guarded, "value", {"prediction": -1.0}, "prediction"), 0)
    assert same(at_scalar(guarded, "grad", {"prediction": -1.0}, "prediction"), 0)
    assert same(at_scalar(guarded, "grad", {"prediction": 4.0}, "prediction"), 0.25)


def test_a_comparison_looks_beyond_forty_digits():
    @loss
    def step(prediction: Prediction, target: Target):
        return Piecewise((1, prediction + target > 1), (0, True))

    assert same(at_scalar(step, "value", {"prediction": 1.0, "target": 1e-300}, "prediction"), 1)
    assert same(at_scalar(step, "value", {"prediction": 1.0, "target": 0.0}, "prediction"), 0)


def test_a_named_limit_holds_where_the_formula_is_singular():
    @loss(limits={"a": {0: lambda prediction: log(prediction)}})
    def box_cox(prediction: Prediction.over(Interval.open(0, sympy.oo)), a: NonNegative = 1):
        return (prediction**a - 1) / a

    oracle = Oracle(box_cox.trace())
    assert same(oracle.evaluate("value", {"prediction": 3.0, "a": 0.0}), mp.log(3), "1e-15")
    assert same(oracle.evaluate("grad", {"prediction": 4.0, "a": 0.0}, "prediction"), 0.25)
    assert same(oracle.evaluate("value", {"prediction": 3.0, "a": 2.0}), 4)


@pytest.mark.parametrize("r", [3.0, 0.0, 1e200, -1e-9])
def test_each_of_two_named_limits_holds_also_where_a_factor_is_zero_there(r):
    """At alpha = 2 the factor 2 - alpha is 0, and r^2 / (2 - alpha) infinite or 0/0."""

    @loss(
        limits={
            "alpha": {
                0: lambda prediction: log(1 + prediction**2 / 2),
                2: lambda prediction: prediction**2 / 2,
            }
        }
    )
    def barron(prediction: Prediction, alpha: Interval(-sympy.oo, 2) = 1):
        b = 2 - alpha
        return b / alpha * ((prediction**2 / b + 1) ** (alpha / 2) - 1)

    oracle = Oracle(barron.trace())
    with mp.workdps(900):
        x = mpf(r)
        wanted = {
            2.0: (x**2 / 2, x, 1),
            0.0: (mp.log1p(x**2 / 2), 2 * x / (2 + x**2), (4 - 2 * x**2) / (2 + x**2) ** 2),
            1.0: (mp.sqrt(1 + x**2) - 1, x / mp.sqrt(1 + x**2), (1 + x**2) ** mpf("-1.5")),
        }
    for alpha, numbers in wanted.items():
        point = {"prediction": r, "alpha": alpha}
        for kind, number in zip(("value", "grad", "hess"), numbers, strict=True):
            got = oracle.evaluate(kind, point, None if kind == "value" else "prediction")
            assert same(got, number, "1e-24"), (alpha, kind, got, number)


def test_a_zero_factor_is_a_mask_at_a_named_limit_too_where_nothing_degenerates():
    @loss(limits={"a": {0: lambda prediction: 0 * prediction}})
    def scaled(prediction: Prediction, a: NonNegative = 1):
        return a * prediction**2

    assert same(at_scalar(scaled, "value", {"prediction": 3.0, "a": 0.0}, "prediction"), 0)
    assert same(at_scalar(scaled, "hess", {"prediction": 3.0, "a": 0.0}, "prediction"), 0)


@pytest.mark.parametrize("small", [1e-140, 1e-200, 1e-290, 5e-324])
def test_steps_towards_a_limit_are_small_beside_the_smallest_input(small):
    q, p = [0, 1, 0, 0], [small, 1, small, 0]
    with mp.workdps(60):
        assert same(row(jensen, "value", q, p), mpf(small) * mp.log(2))
    assert [row(jensen, "grad", q, p, at) for at in (0, 2)] == [-INF, -INF]
    assert same(row(jensen, "grad", q, p, 1), 0)
    assert same(row(jensen, "grad", q, p, 3), mp.log(2) / 2, "1e-15")

    @loss
    def cross_entropy(prediction: Prediction.over(UNIT), target: Target.over(UNIT)):
        return -(target * log(prediction) + (1 - target) * log(1 - prediction))

    for target, wanted in ((small, -INF), (0.0, 1)):
        point = {"prediction": 0.0, "target": target}
        assert same(at_scalar(cross_entropy, "grad", point, "prediction"), wanted)


def test_a_small_parameter_makes_the_steps_small_too():
    @loss
    def ratio(prediction: Prediction.over(Interval(0, 1)), c: NonNegative = 1):
        return (prediction + prediction**2 * log(prediction)) / (prediction + c)

    with mp.workdps(60):
        wanted = 1 / mpf(1e-250)
    assert same(at_scalar(ratio, "grad", {"prediction": 0.0, "c": 1e-250}, "prediction"), wanted)


def test_products_sums_and_labels():
    @loss
    def mixed(prediction: Prediction["K"], label: Label["K"]):
        k = index("K")
        return Product(prediction[k], k) + prediction[label] ** 2 * Sum(prediction[k], k)

    oracle = Oracle(mixed.trace())
    point = {"prediction": np.array([2.0, 3.0, 5.0]), "label": 1}
    assert same(oracle.evaluate("value", point), 30 + 9 * 10)
    assert same(oracle.evaluate("grad", point, "prediction", (1,)), 10 + 6 * 10 + 9)
    assert same(oracle.evaluate("grad", point, "prediction", (0,)), 15 + 9)
    assert same(oracle.evaluate("hess", point, "prediction", (1,)), 2 * 10 + 2 * 6)
    vector = {"prediction": np.array([1.0, 0.0, 2.0])}
    # d2/dx0 dx2 = x1, d2/dx0 dx1 = x2 + 2 x1, d2/dx0^2 = 0
    assert same(oracle.evaluate("hvp", point, "prediction", (0,), vector), 3 * 2)


POINTS = {sympy.asin: (-0.9, 0.3), sympy.acos: (-0.9, 0.3), sympy.atanh: (-0.9, 0.3), sympy.tan: (0.3, 1.2)}


@pytest.mark.parametrize("kind", sorted(FUNCTIONS, key=str), ids=lambda kind: kind.__name__)
def test_every_function_and_its_derivatives(kind):
    function, slope, bend = FUNCTIONS[kind]
    reference = {
        sympy.loggamma: mp.loggamma,
        sympy.digamma: lambda x: mp.psi(0, x),
    }.get(kind) or getattr(mp, kind.__name__)
    with mp.workdps(40):
        for x in map(mpf, POINTS.get(kind, (0.3, 2.5))):
            assert same(function(x), reference(x), "1e-35")
            assert same(slope(x), mp.diff(reference, x), "1e-15")
            assert same(bend(x), mp.diff(reference, x, 2), "1e-12")


@pytest.mark.parametrize("order", [0, 1, 2])
def test_bessel_and_polygamma(order):
    x = Symbol("x", real=True)
    for made, reference in ((sympy.besseli, mp.besseli), (sympy.polygamma, mp.psi)):
        with mp.workdps(40):
            assert same(evaluate_expr(made(order, x), {"x": 1.5}), reference(order, mpf(1.5)))

    @loss
    def von_mises(prediction: Prediction):
        return log(sympy.besseli(order, prediction))

    with mp.workdps(50):
        wanted = mp.diff(lambda t: mp.log(mp.besseli(order, t)), mpf(1.5))
    assert same(at_scalar(von_mises, "grad", {"prediction": 1.5}, "prediction"), wanted, "1e-20")


def test_a_missing_function_is_named():
    x = Symbol("x", real=True)
    with pytest.raises(UnsupportedError, match="LambertW"):
        evaluate_expr(sympy.LambertW(x) + 1, {"x": 1.0})
    assert sympy.LambertW not in SUPPORTED
    assert {sympy.exp, sympy.loggamma, sympy.Piecewise, sympy.besseli} <= SUPPORTED


def test_expressions_of_other_stages():
    z, k, j = Symbol("z", real=True), Index("k", "K"), Index("j", "K")
    point = {"z": np.array([1.0, 2.0, 4.0])}
    rows = LogSumExp(Entry(z, k), k)
    with mp.workdps(50):
        wanted = mp.log(mp.e + mp.e**2 + mp.e**4)
    assert same(evaluate_expr(rows, point), wanted)
    assert same(evaluate_expr(Delta(k, j) * Entry(z, k), point, {k: 2, j: 2}), 4)
    assert same(evaluate_expr(Delta(k, j) * Entry(z, k), point, {k: 2, j: 1}), 0)
    assert same(evaluate_expr(Sum(Entry(z, k), k) / Size("K"), point), "2.33333333333333333333333333333")
    x = Symbol("x", real=True)
    assert same(evaluate_expr(sigmoid(-x), {"x": 40.0}), "4.248354255291588977281e-18", "1e-20")
    assert same(evaluate_expr(Piecewise((1, Eq(x, 2)), (x, True)), {"x": 2.0}), 1)
    twice = ratio0(ratio0(x, x + Abs(x)), x)  # whether a case is 0 depends on the case
    assert same(evaluate_expr(twice, {"x": 4.0}), 0.125)
    assert same(evaluate_expr(twice, {"x": 0.0}), 0)


def test_a_term_that_cancels_away_at_few_digits_is_found():
    # at 40 and at 80 digits the target's part of the Hessian is exactly 0, and 1e-16 of the result
    point = {"logits": -709.0, "target": 1e-16}
    with mp.workdps(60):
        wanted = mp.exp(-709) / (1 + mp.exp(-709)) ** 2
    assert same(at_scalar(logistic, "hess", point), wanted)


def test_an_atom_inside_a_sum_keeps_its_indices_apart():
    x, k = Symbol("x", real=True), Index("k", "K")
    # MaxShare stands for a Piecewise with a sum of its own
    expr = Sum(MaxShare(Entry(x, k), k, k) * Entry(x, k) ** 2 + Entry(x, k), k)
    assert same(evaluate_expr(expr, {"x": np.array([1.0, 5.0, 2.0, 5.0])}), 25 + 13)


def test_sizes_without_an_entry_come_from_the_loss():
    oracle = Oracle(standard().loss("feature_reconstruction"))
    point = {"features": np.ones((2, 3, 4)), "target_features": np.zeros((2, 3, 4))}
    assert same(oracle.expression(2 / (Size("C") * Size("H")), point), "0.333333333333333333333333333333")
    assert same(evaluate_expr(1 / Size("K"), {"K": 4}), 0.25)


def test_bad_requests_are_refused():
    oracle = Oracle(logistic.trace())
    point = {"logits": 1.0, "target": 1.0}
    with pytest.raises(ValueError, match="kind is one of"):
        oracle.evaluate("jacobian", point, "logits")
    with pytest.raises(ValueError, match="wrt is one of logits; got 'target'"):
        oracle.evaluate("grad", point, "target")
    with pytest.raises(ValueError, match="vector"):
        oracle.evaluate("hvp", point, "logits")


def test_one_row_entry_of_a_thousand_is_quick():
    import time

    rng = np.random.default_rng(0)
    oracle = Oracle(softmax.trace())
    point = {"logits": rng.normal(size=1000) * 3, "label": 0}
    start = time.perf_counter()
    got = oracle.evaluate("grad", point, "logits", (1,))
    assert time.perf_counter() - start < 2.0
    z = point["logits"]
    assert math.isclose(float(got), np.exp(z[1]) / np.exp(z).sum(), rel_tol=1e-12)


@pytest.mark.parametrize("x", [30.0, 500.0, 1e4])
def test_one_less_what_a_function_saturates_at(x):
    """1 - erf(500) begins with a hundred thousand nines; the asymptotic series says what is left."""
    symbol = sympy.Symbol("x", real=True)
    got = evaluate_expr(sympy.log(1 - sympy.erf(symbol)), {"x": x})
    with mp.workdps(60):
        series = sum((-1) ** k * mp.fac2(2 * k - 1) / (2 * mpf(x) ** 2) ** k for k in range(12))
        wanted = -(mpf(x) ** 2) - mp.log(mpf(x) * mp.sqrt(mp.pi)) + mp.log(series)
        assert abs(got - wanted) < mpf("1e-18") * abs(wanted)
        tail = evaluate_expr(sympy.log(1 - sympy.tanh(symbol)), {"x": x})
        assert abs(tail - (mp.log(2) - 2 * mpf(x))) < mpf("1e-20") * abs(tail)
