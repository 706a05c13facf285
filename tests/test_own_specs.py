"""Losses that symloss doesn't ship, in the spelling of their papers, compiled and held against the oracle."""

from __future__ import annotations

import textwrap

import numpy as np
import pytest

import symloss
from symloss import catalog
from symloss.errors import SpecError
from symloss.oracle import Oracle
from symloss.verify import verify

START = """\
from sympy import *
from symloss.spec import *


"""


def spec(text: str) -> str:
    """A spec file."""
    return START + textwrap.dedent(text).lstrip("\n")


# The key is the name of the loss. Few points: the shipped losses get many.
OWN = {
    "student": """
        @loss(reference="Lange, Little & Taylor 1989, doi:10.1080/01621459.1989.10478852")
        def student(prediction: Prediction, target: Target, nu: Positive = 3, sigma: Positive = 1):
            z = (target - prediction) / sigma
            return (log(sigma) + log(pi * nu) / 2 + loggamma(nu / 2) - loggamma((nu + 1) / 2)
                    + (nu + 1) / 2 * log(1 + z**2 / nu))
        """,
    "pseudo_huber": """
        @loss(reference="Charbonnier 1997, doi:10.1109/83.551699")
        def pseudo_huber(prediction: Prediction, target: Target, delta: Positive = 1):
            return delta**2 * (sqrt(1 + ((prediction - target) / delta)**2) - 1)
        """,
    "charbonnier": """
        @loss
        def charbonnier(prediction: Prediction, target: Target, eps: Positive = Rational(1, 1000)):
            return sqrt((prediction - target)**2 + eps**2)
        """,
    "cauchy": """
        @loss
        def cauchy(prediction: Prediction, target: Target, c: Positive = 1):
            return c**2 / 2 * log(1 + ((prediction - target) / c)**2)
        """,
    "geman": """
        @loss
        def geman(prediction: Prediction, target: Target, c: Positive = 1):
            r = (prediction - target) / c
            return 2 * r**2 / (r**2 + 4)
        """,
    "log_cosh": """
        @loss
        def log_cosh(prediction: Prediction, target: Target):
            r = prediction - target
            return log((exp(r) + exp(-r)) / 2)
        """,
    "probit_tail": """
        @loss
        def probit_tail(score: Prediction):
            return -log(erfc(score))
        """,
    "survival": """
        @loss
        def survival(prediction: Prediction, log_time: Target, censored: Target.over(FiniteSet(0, 1)),
                     sigma: Positive = 1):
            z = (log_time - prediction) / sigma
            density = z**2 / 2 + log(sigma) + log(2 * pi) / 2
            return (1 - censored) * density - censored * log(erfc(z / sqrt(2)) / 2)
        """,
    "pinball": """
        @loss
        def pinball(prediction: Prediction, target: Target, tau: Interval.open(0, 1) = Rational(1, 2)):
            u = target - prediction
            return Max(tau * u, (tau - 1) * u)
        """,
    "hinge": """
        @loss
        def hinge(score: Prediction, side: Target.over(FiniteSet(-1, 1))):
            return Max(0, 1 - side * score)
        """,
    "logistic": """
        @loss
        def logistic(z: Prediction, y: Target.over(Interval(0, 1))):
            return log(1 + exp(z)) - y * z
        """,
    "logistic_max": """
        @loss
        def logistic_max(z: Prediction, y: Target.over(Interval(0, 1))):
            return Max(z, 0) - z * y + log(1 + exp(-Abs(z)))
        """,
    "weston_watkins": """
        @loss(reference="Weston & Watkins 1999")
        def weston_watkins(scores: Prediction["K"], label: Label["K"]):
            k = index("K")
            return Sum(Piecewise((0, Eq(k, label)), (Max(0, 1 + scores[k] - scores[label]), True)), k)
        """,
    "dice": """
        @loss
        def dice(prediction: Prediction["P"].over(Interval(0, 1)), target: Target["P"].over(Interval(0, 1)),
                 smooth: Positive = 1):
            p = index("P")
            overlap = Sum(prediction[p] * target[p], p)
            return 1 - (2 * overlap + smooth) / (Sum(prediction[p], p) + Sum(target[p], p) + smooth)
        """,
    "generalised_cross_entropy": """
        from symloss.losses import softmax_cross_entropy


        @loss(reference="Zhang & Sabuncu 2018, arXiv:1805.07836", limits={"q": {0: softmax_cross_entropy}})
        def generalised_cross_entropy(logits: Prediction["K"], label: Label["K"],
                                      q: Interval(0, 1) = Rational(7, 10)):
            k = index("K")
            p = exp(logits[label]) / Sum(exp(logits[k]), k)
            return (1 - p**q) / q
        """,
    "hellinger": """
        @loss(reference="Hellinger 1909")
        def hellinger(prediction: Prediction["K"].over(Interval(0, 1)), target: Target["K"].over(Interval(0, 1))):
            k = index("K")
            return Sum((sqrt(prediction[k]) - sqrt(target[k]))**2, k) / 2
        """,
    "sigmoid_brier": """
        @loss(reference="Brier 1950")
        def sigmoid_brier(z: Prediction, y: Target.over(Interval(0, 1))):
            return (1 / (1 + exp(-z)) - y)**2
        """,
    "sigmoid_brier_cases": """
        @loss(reference="Brier 1950")
        def sigmoid_brier_cases(z: Prediction, y: Target.over(FiniteSet(0, 1))):
            return (exp(z) / (1 + exp(z)) - y)**2
        """,
    "fair": """
        @loss(reference="Fair 1974")
        def fair(prediction: Prediction, target: Target, c: Positive = 1):
            a = Abs(prediction - target) / c
            return c**2 * (a - log(1 + a))
        """,
    "kl_estimate": """
        @loss(reference="Schulman 2020, Approximating KL divergence")
        def kl_estimate(log_p: Prediction, reference: Target):
            d = reference - log_p
            return exp(d) - d - 1
        """,
    "logistic_distance": """
        @loss(reference="Steinwart & Christmann 2008, doi:10.1007/978-0-387-77242-4")
        def logistic_distance(prediction: Prediction, target: Target):
            r = prediction - target
            return -log(4 * exp(r) / (1 + exp(r))**2)
        """,
    "mason": """
        @loss(reference="Mason, Baxter, Bartlett & Frean 1999")
        def mason(score: Prediction, target: Target):
            return 1 - tanh(score * target)
        """,
    "biweight": """
        @loss(reference="Beaton & Tukey 1974, doi:10.1080/00401706.1974.10489171")
        def biweight(prediction: Prediction, target: Target, c: Positive = 4.685):
            r = prediction - target
            return Piecewise((c**2 / 6 * (1 - (1 - (r / c)**2)**3), Abs(r) <= c), (c**2 / 6, True))
        """,
    "prospect": """
        @loss(reference="Ethayarajh et al. 2024, arXiv:2402.01306")
        def prospect(reward: Prediction, divergence: Target, beta: Positive = 0.1):
            return 1 - 1 / (1 + exp(-beta * (reward - divergence)))
        """,
    "percentage": """
        @loss
        def percentage(prediction: Prediction, target: Target, eps: Positive = 1):
            return Abs(prediction - target) / Max(Abs(target), eps)
        """,
    "counts": """
        @loss
        def counts(mu: Prediction.over(Interval.open(0, oo)), y: Target.over(Interval(0, oo)), k: Positive = 1):
            return -k * log(k / (k + mu)) - y * log(mu / (k + mu))
        """,
    "complementary": """
        @loss
        def complementary(eta: Prediction, y: Target.over(Interval(0, 1))):
            return -(1 - y) * log(1 - (1 - exp(-exp(eta / 1000)))) - y * eta
        """,
    "logit_adjusted": """
        @loss(reference="Menon et al. 2021, arXiv:2007.07314")
        def logit_adjusted(logits: Prediction["K"], prior: Target["K"].over(Interval.Lopen(0, 1)), label: Label["K"],
                           tau: Positive = 2):
            k = index("K")
            return -log(prior[label]**tau * exp(logits[label]) / Sum(prior[k]**tau * exp(logits[k]), k))
        """,
}


@pytest.mark.parametrize("name", OWN)
def test_an_own_loss_keeps_the_bounds_of_the_shipped_ones(name, tmp_path, monkeypatch):
    monkeypatch.setenv("SYMLOSS_CACHE", str(tmp_path))
    loss = catalog.trace(catalog.load_text(spec(OWN[name]))[name])
    report = verify(loss, symloss.compile(loss), np.float64, count=8)
    assert report.passed, "\n".join(map(str, report.failures))


ROWS = {
    "brier": """
        @loss(reference="Brier 1950")
        def brier(logits: Prediction["K"], label: Label["K"]):
            k, j = index("K"), index("K", "j")
            p = exp(logits[k]) / Sum(exp(logits[j]), j)
            return Sum((p - Piecewise((1, Eq(k, label)), (0, True)))**2, k)
        """,
    "soft_brier": """
        @loss
        def soft_brier(logits: Prediction["K"], target: Target["K"].over(Interval(0, 1))):
            k, j = index("K"), index("K", "j")
            p = exp(logits[k]) / Sum(exp(logits[j]), j)
            return Sum((p - target[k])**2, k)
        """,
    "collision": """
        @loss(reference="Renyi 1961")
        def collision(logits: Prediction["K"]):
            k, j = index("K"), index("K", "j")
            p = exp(logits[k]) / Sum(exp(logits[j]), j)
            return Sum(p**2, k)
        """,
    "expected_place": """
        @loss
        def expected_place(logits: Prediction["K"], place: Target["K"]):
            k, j = index("K"), index("K", "j")
            return Sum(place[k] * exp(logits[k]) / Sum(exp(logits[j]), j), k)
        """,
}
#: Logits that are large, far apart, equal, confidently right and confidently wrong (the label is the first).
LOGITS = [
    [0.5, -1.25, 2.0],
    [400.0, 401.5, 399.0],
    [-400.0, -401.5, -399.0],
    [800.0, 0.0, -800.0],
    [1e300, -1e300, 0.0],
    [7.5, 7.5, 7.5],
    [45.0, 1.0, 2.0],
    [1.0, 45.0, 2.0],
]


@pytest.mark.parametrize("name", ROWS)
def test_a_softmax_inside_a_sum_survives_any_logits(name, tmp_path, monkeypatch):
    monkeypatch.setenv("SYMLOSS_CACHE", str(tmp_path))
    text = spec(ROWS[name])
    kernels, traced = symloss.compile(text), catalog.trace(catalog.load_text(text)[name])
    oracle, point = Oracle(traced), {}
    for logits in LOGITS:
        for given in traced.inputs:
            rest = 0 if given.kind == "label" else np.array([0.625, 0.25, 0.125])
            point[given.name] = np.array(logits) if given.name == "logits" else rest
        value, gradient = kernels.value_and_grad(*point.values())
        exact = oracle.evaluate("value", point)
        assert float(value) == pytest.approx(float(exact), rel=4e-15, abs=1e-300), logits
        for at in range(3):
            exact = oracle.evaluate("grad", point, "logits", (at,))
            assert float(gradient[at]) == pytest.approx(float(exact), rel=4e-15, abs=1e-300), (logits, at)


MIXTURE = """
    @loss(reference="Bishop 1994, Mixture density networks")
    def mixture(logits: Prediction["K"], distance: Prediction["K"], scale: Positive = 2):
        k, j = index("K"), index("K", "j")
        w = exp(logits[k]) / Sum(exp(logits[j]), j)
        return -log(Sum(w * exp(-distance[k]**2 / (2 * scale**2)) / (scale * sqrt(2 * pi)), k))
    """


@pytest.mark.parametrize("distance", [[0.5, 1.0, -2.0], [80.0, 100.0, -90.0], [1e9, 1.0, -1e3]], ids=str)
def test_a_mixture_of_densities_survives_any_logits_and_distances(distance, tmp_path, monkeypatch):
    """The gradients are differences of two shares, each of which is right to the last digits."""
    monkeypatch.setenv("SYMLOSS_CACHE", str(tmp_path))
    kernels, traced = symloss.compile(spec(MIXTURE)), catalog.trace(catalog.load_text(spec(MIXTURE))["mixture"])
    oracle = Oracle(traced)
    for logits in LOGITS[:4] + LOGITS[5:]:
        point = {"logits": np.array(logits), "distance": np.array(distance)}
        value, grads = kernels.value_and_grad(*point.values())
        assert float(value) == pytest.approx(float(oracle.evaluate("value", point)), rel=4e-15), logits
        for name, gradient in zip(point, grads, strict=True):
            scale = 1.0 if name == "logits" else np.abs(distance).max()
            for at in range(3):
                exact = float(oracle.evaluate("grad", point, name, (at,)))
                assert float(gradient[at]) == pytest.approx(exact, rel=4e-15, abs=1e-15 * scale), (name, logits, at)


SIGNAL_TO_NOISE = """
    @loss(reference="Le Roux et al. 2019, doi:10.1109/ICASSP.2019.8683855")
    def signal_to_noise(prediction: Prediction["T"], target: Target["T"]):
        t = index("T")
        return log(Sum((prediction[t] - target[t])**2, t) / Sum(target[t]**2, t))
    """


@pytest.mark.parametrize("scale", [1e-9, 0.5, 1.0, 1e9])
def test_the_logarithm_of_two_sums_is_one_of_two_numbers(scale, tmp_path, monkeypatch):
    monkeypatch.setenv("SYMLOSS_CACHE", str(tmp_path))
    text = spec(SIGNAL_TO_NOISE)
    kernels = symloss.compile(text)
    oracle = Oracle(catalog.trace(catalog.load_text(text)["signal_to_noise"]))
    target = np.array([0.625, -0.25, 1.5])
    point = {"prediction": (1 + scale) * target + np.array([0.0, 0.0, 1e-6]) * scale, "target": target}
    value, gradient = kernels.value_and_grad(*point.values())
    # The noise is as exact as the difference of the two, one rounding of each entry.
    spread = 4e-16 * (1 + 1 / scale)
    assert float(value) == pytest.approx(float(oracle.evaluate("value", point)), rel=4e-15, abs=spread)
    for at in range(3):
        exact = float(oracle.evaluate("grad", point, "prediction", (at,)))
        assert float(gradient[at]) == pytest.approx(exact, rel=4e-15 + 4 * spread)


BARRON = """
    def smooth_log(prediction: Prediction, target: Target, c: Positive = 1):
        return log(1 + ((prediction - target) / c)**2 / 2)


    def half_square(prediction: Prediction, target: Target, c: Positive = 1):
        return ((prediction - target) / c)**2 / 2


    @loss(reference="Barron 2019, doi:10.1109/CVPR.2019.00446",
          limits={"alpha": {0: smooth_log, 2: half_square}})
    def barron(prediction: Prediction, target: Target, alpha: Interval(-oo, 2) = 1, c: Positive = 1):
        r = (prediction - target) / c
        b = 2 - alpha
        return b / alpha * ((r**2 / b + 1)**(alpha / 2) - 1)
    """


def test_barrons_loss_reaches_its_limits_in_alpha(tmp_path, monkeypatch):
    monkeypatch.setenv("SYMLOSS_CACHE", str(tmp_path))
    barron = symloss.compile(spec(BARRON))
    r = np.array([-3.0, -1e-9, 0.0, 0.5, 1e3, 30.0])
    zero = np.zeros(6)

    def value(alpha):
        return barron.value(r, zero, reduction="none", alpha=alpha)

    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(value(2.0), r**2 / 2)
    np.testing.assert_allclose(value(1.0), np.hypot(r, 1) - 1, rtol=1e-15, atol=5e-18)
    np.testing.assert_allclose(value(0.0)[:5], np.log1p(r[:5] ** 2 / 2), rtol=1e-15)
    np.testing.assert_allclose(value(1e-12), value(0.0), rtol=1e-9)
    np.testing.assert_allclose(value(-2.0), 2 * r / (r**2 + 4) * r, rtol=3e-15)
    np.testing.assert_array_equal(barron.grad(r, zero, reduction="sum", alpha=2.0), r)


@pytest.mark.parametrize("alpha", [0.0, 2.0])
def test_barrons_kernels_and_the_oracle_agree_at_the_limits(alpha, tmp_path, monkeypatch):
    monkeypatch.setenv("SYMLOSS_CACHE", str(tmp_path))
    barron = symloss.compile(spec(BARRON))
    oracle = Oracle(catalog.trace(catalog.load_text(spec(BARRON))["barron"]))
    for r in (-3.0, -1e-9, 0.0, 0.5, 30.0):
        point = {"prediction": r, "target": 0.0, "alpha": alpha}
        gradient, curvature = barron.grad_and_hess(r, 0.0, alpha=alpha)
        for kind, got in (
            ("value", barron.value(r, 0.0, alpha=alpha)),
            ("grad", gradient),
            ("hess", curvature),
        ):
            wanted = oracle.evaluate(kind, point, None if kind == "value" else "prediction")
            assert got == pytest.approx(float(wanted), rel=2e-15, abs=0), (kind, r)


VON_MISES = """
    @loss(reference="Mardia & Jupp 2000, doi:10.1002/9780470316979")
    def von_mises(angle: Prediction, kappa: Prediction.over(Positive), target: Target):
        return log(2 * pi * besseli(0, kappa)) - kappa * cos(target - angle)
    """


@pytest.mark.parametrize("kappa", [1e-8, 0.5, 20.0, 400.0, 1e5])
def test_von_mises_is_finite_and_right_at_any_concentration(kappa, tmp_path, monkeypatch):
    monkeypatch.setenv("SYMLOSS_CACHE", str(tmp_path))
    text = spec(VON_MISES)
    kernels = symloss.compile(text)
    oracle = Oracle(catalog.trace(catalog.load_text(text)["von_mises"]))
    point = {"angle": 0.75, "kappa": kappa, "target": -1.25}
    gradient, curvature = kernels.grad_and_hess(*point.values())
    for wrt, first, second in zip(("angle", "kappa"), gradient, curvature, strict=True):
        assert first == pytest.approx(float(oracle.evaluate("grad", point, wrt)), rel=2e-15)
        assert second == pytest.approx(float(oracle.evaluate("hess", point, wrt)), rel=2e-14)
    assert kernels.value(*point.values()) == pytest.approx(float(oracle.evaluate("value", point)), rel=2e-15)


# What test_catalog.py doesn't try: (the spec, what the message says).
REFUSED = {
    "factorial": (
        """
        @loss
        def f(rate: Prediction, count: Target):
            return rate - count * log(rate) + log(factorial(count))
        """,
        "the formula uses `factorial`",
    ),
    "the name of an atom": (
        """
        @loss
        def tilt(x: Prediction):
            return x**2
        """,
        "`tilt`, is one that the kernels use",
    ),
    "a limit of no parameter": (
        """
        @loss(limits={"beta": {0: lambda x: x**2}})
        def f(x: Prediction, alpha: Positive = 1):
            return alpha * x**2
        """,
        "a limit is given for `beta`",
    ),
    "a limit of other inputs": (
        """
        def square(y: Prediction):
            return y**2


        @loss(limits={"alpha": {0: square}})
        def f(x: Prediction, alpha: NonNegative = 1):
            return alpha * x**2
        """,
        "the limit at alpha = 0 takes `y`",
    ),
    "a sum without index": (
        """
        @loss
        def f(x: Prediction["K"]):
            return Sum(x[index("K")]**2)
        """,
        "Sum needs the expression and at least one index",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_misuse_is_refused_in_words(what):
    text, message = REFUSED[what]
    with pytest.raises(SpecError, match=message):
        symloss.compile(spec(text))
