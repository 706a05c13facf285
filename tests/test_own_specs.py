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
}


@pytest.mark.parametrize("name", OWN)
def test_an_own_loss_keeps_the_bounds_of_the_shipped_ones(name, tmp_path, monkeypatch):
    monkeypatch.setenv("SYMLOSS_CACHE", str(tmp_path))
    loss = catalog.trace(catalog.load_text(spec(OWN[name]))[name])
    report = verify(loss, symloss.compile(loss), np.float64, count=8)
    assert report.passed, "\n".join(map(str, report.failures))


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
