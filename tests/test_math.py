"""The kernels' functions against mpmath: in ulp over the floats, and at their edges.

Each is tested as a function of one float64, of float64 lanes, which must give the same bits, and of float32 lanes,
whose reference is the float64 function. `tests/exhaustive.py` does that for all float32 inputs.
"""

from __future__ import annotations

import math
import random
import runpy
from functools import cache
from pathlib import Path

import exhaustive
import mpmath
import numpy as np
import pytest
from floats import function, on_lanes
from mpmath import mp, mpf
from numba import njit
from symloss_kernels import _math as functions
from symloss_kernels._coefficients import ROOT
from symloss_kernels._lanes import LANES, divisor, folded, sum_of
from symloss_kernels._memory import load, load_wide, put
from symloss_kernels._runs import run, within

from symloss.ulp import from_ordinal, to_ordinal, ulp, ulp_error

INF, NAN, TINY = math.inf, math.nan, 5e-324
#: Where the functions change their method, or mpmath and a float part ways.
HARD = (-745.13, -60.0, -39.0, -36.74, -2.0, -0.7, -0.5, -math.log(2), -0.3, -0.25, -1e-8, -1e-20, -1e-300, 1e-300, 1e-20,
        1e-8, 0.25, 0.3, 0.5, math.log(2), 0.7, 0.75, 0.9, 1.0, 1.4616321449683622, 1.5, 2.0, 2.5, 3.0, 4.0, 8.0, 10.0,
        18.02, 20.0, 30.0, 33.23, 700.0, 709.0, 2.0**20, 2.0**28)  # fmt: skip


def numbers(low: float, high: float, count: int, seed: int) -> list[float]:
    """Floats between two bounds: over their ordinals, evenly near 0, and the hard ones with their neighbours."""
    draw = random.Random(seed)
    first, last = to_ordinal(low, "float64"), to_ordinal(high, "float64")
    found = [float(from_ordinal(draw.randint(first, last), "float64")) for _ in range(count)]
    for reach in (1.0, 40.0):
        found += [draw.uniform(max(low, -reach), min(high, reach)) for _ in range(count // 2)]
    for x in HARD:
        if low < x < high:
            place = to_ordinal(x, "float64")
            found += [float(from_ordinal(place + step, "float64")) for step in (-1, 0, 1)]
    return [x for x in found if low <= x <= high] + [low, high]


def precise(reference, *args: float):
    """The reference, with digits for what is left of 1 after the smallest and the largest argument."""
    sizes = [abs(math.log10(abs(x))) for x in args if x]
    with mp.workdps(60 + 2 * int(max(sizes, default=0))):
        return mpf(reference(*map(mpf, args)))


def hazard_slope(x):
    hazard = 2 * mpmath.exp(-x * x) / mpmath.sqrt(mpmath.pi) / mpmath.erfc(x)
    return hazard * (hazard - 2 * x)


def bessel_slope(x):
    ratio = mpmath.besseli(1, x) / mpmath.besseli(0, x)
    return (1 + mpmath.besseli(2, x) / mpmath.besseli(0, x)) / 2 - ratio**2


# (function, reference, from, to, bound in ulp)
ONE_NUMBER = [
    ("sigmoid", lambda x: 1 / (1 + mpmath.exp(-x)), -745.0, 1e308, 1.5),
    ("softplus", lambda x: mpmath.log1p(mpmath.exp(x)), -745.0, 1e308, 1.5),
    (
        "log1mexp",
        lambda x: mpmath.log(-mpmath.expm1(x)) if x > -1 else mpmath.log1p(-mpmath.exp(x)),
        -745.0,
        -TINY,
        1.5,
    ),
    ("over_expm1", lambda x: x / mpmath.expm1(x), -1e308, 750.0, 1.5),
    ("logcosh", lambda x: mpmath.log(mpmath.cosh(x)), -1e3, 1e3, 1.5),
    ("sech2", lambda x: mpmath.sech(x) ** 2, -372.0, 372.0, 1.5),
    ("hypot1", lambda x: mpmath.sqrt(1 + x * x), -1e308, 1e308, 1.5),
    ("hypot1m1", lambda x: mpmath.sqrt(1 + x * x) - 1, -1e308, 1e308, 1.5),
    ("x_minus_log1p", lambda x: x - mpmath.log1p(x), -1 + 2**-53, 1e308, 1.5),
    ("expm1_minus_x", lambda x: mpmath.expm1(x) - x, -1e308, 709.0, 1.5),
    ("lgamma", mpmath.loggamma, 1e-300, 1e300, 4),
    ("digamma", mpmath.digamma, 1e-300, 1e300, 4),
    ("trigamma", lambda x: mpmath.psi(1, x), 1e-150, 1e300, 4),
    ("besseli0", lambda x: mpmath.besseli(0, x), -713.0, 713.0, 8),
    ("besseli1", lambda x: mpmath.besseli(1, x), -713.0, 713.0, 8),
    ("besseli2", lambda x: mpmath.besseli(2, x), -713.0, 713.0, 8),
    ("erf", mpmath.erf, -1e3, 1e3, 4),
    ("erfc", mpmath.erfc, -1e3, 26.5, 4),
    ("gamma", mpmath.gamma, 1e-300, 171.0, 8),
    ("tetragamma", lambda x: mpmath.psi(2, x), 1e-100, 1e150, 4),
    ("bose", lambda x: 1 / mpmath.expm1(-x), -708.0, -TINY, 1.5),
    ("tilt", lambda x: x / mpmath.sqrt(1 + x * x), -1e300, 1e300, 1.5),
    ("log1p_square", lambda x: mpmath.log1p(x * x), -1e300, 1e300, 1.5),
    (
        "erfc_hazard",
        lambda x: 2 * mpmath.exp(-x * x) / mpmath.sqrt(mpmath.pi) / mpmath.erfc(x),
        -26.0,
        100.0,
        4,
    ),
    ("erfc_hazard_slope", hazard_slope, -26.0, 100.0, 4),
    ("log_erfc", lambda x: mpmath.log(mpmath.erfc(x)), -26.0, 100.0, 4),
    (
        "log_half_erfc",
        lambda x: mpmath.log1p(-mpmath.erfc(-x) / 2) if x < 0 else mpmath.log(mpmath.erfc(x) / 2),
        -26.0,
        100.0,
        4,
    ),
    ("log_besseli0", lambda x: mpmath.log(mpmath.besseli(0, x)), -1e4, 1e4, 8),
    ("besseli_ratio", lambda x: mpmath.besseli(1, x) / mpmath.besseli(0, x), -1e4, 1e4, 8),
    ("besseli_ratio_slope", bessel_slope, -1e4, 1e4, 8),
    ("exp", mpmath.exp, -745.0, 709.7, 1.5),
    ("expm1", mpmath.expm1, -745.0, 709.7, 1.5),
    ("log", mpmath.log, TINY, 1e308, 1.5),
    ("log1p", mpmath.log1p, -1 + 2**-53, 1e308, 1.5),
    ("sqrt", mpmath.sqrt, 0.0, 1e308, 0.5),
    ("sinh", mpmath.sinh, -709.0, 709.0, 1.5),
    ("cosh", mpmath.cosh, -709.0, 709.0, 1.5),
    ("tanh", mpmath.tanh, -1e3, 1e3, 1.5),
    ("sin", mpmath.sin, -1e6, 1e6, 1.5),
    ("cos", mpmath.cos, -1e6, 1e6, 1.5),
    ("tan", mpmath.tan, -1e6, 1e6, 1.5),
    ("asin", mpmath.asin, -1.0, 1.0, 1.5),
    ("acos", mpmath.acos, -1.0, 1.0, 1.5),
    ("asinh", mpmath.asinh, -1e300, 1e300, 1.5),
    ("acosh", mpmath.acosh, 1.0, 1e300, 1.5),
    ("atanh", mpmath.atanh, -1 + 2**-53, 1 - 2**-53, 1.5),
    ("atan", mpmath.atan, -1e300, 1e300, 1.5),
]


SLOW = {name for name, *_ in ONE_NUMBER if "bessel" in name or "gamma" in name}


@pytest.mark.parametrize(
    ("name", "reference", "low", "high", "bound"), ONE_NUMBER, ids=[c[0] for c in ONE_NUMBER]
)
def test_functions_of_one_number(name, reference, low, high, bound):
    points = np.array(numbers(low, high, 100 if name in SLOW else 500, seed=len(name)))
    got, compute = on_lanes(name, points), function(name)
    np.testing.assert_array_equal(got, [compute(x) for x in points])
    errors = [
        ulp_error(y, precise(reference, x), "float64")
        for x, y in zip(points.tolist(), got.tolist(), strict=True)
    ]
    worst = int(np.argmax(errors))
    assert errors[worst] <= bound, f"{name}({points[worst]!r}) is {got[worst]!r}: {errors[worst]:.3g} ulp"


@pytest.mark.parametrize("name", [case[0] for case in ONE_NUMBER])
def test_float32_functions_of_one_number(name):
    """A stratified sample of a million floats, those that the function isn't defined for included."""
    error, at, _ = exhaustive.exhaust(
        "symloss_kernels", name, step=85903 if "bessel" in name or name == "gamma" else 4297
    )
    assert error <= exhaustive.BOUNDS.get(name, 1.0), f"{name}({at!r}): {error:.3g} ulp"


def right_softplus(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-abs(x)))


#: The functions that NumPy has in 80 bits, or that are easy there; where, and the bound in ulp.
IN_80_BITS = [
    ("exp", np.exp, -745.0, 709.7), ("expm1", np.expm1, -745.0, 709.7), ("log", np.log, TINY, 1e308),
    ("log1p", np.log1p, -1 + 2**-53, 1e308), ("sinh", np.sinh, -709.0, 709.0), ("cosh", np.cosh, -709.0, 709.0),
    ("tanh", np.tanh, -1e3, 1e3), ("sin", np.sin, -1e6, 1e6), ("cos", np.cos, -1e6, 1e6), ("tan", np.tan, -1e6, 1e6),
    ("asin", np.arcsin, -1.0, 1.0), ("acos", np.arccos, -1.0, 1.0), ("atan", np.arctan, -1e300, 1e300),
    ("asinh", np.arcsinh, -1e300, 1e300), ("acosh", np.arccosh, 1.0, 1e300),
    ("atanh", np.arctanh, -1 + 2**-53, 1 - 2**-53), ("softplus", right_softplus, -745.0, 1e308),
    ("sigmoid", lambda x: 1 / (1 + np.exp(-x)), -745.0, 1e308),
    ("log1mexp", lambda x: np.where(x > -0.7, np.log(-np.expm1(x)), np.log1p(-np.exp(x))), -745.0, -TINY),
    ("hypot1", lambda x: np.hypot(1, x), -1e308, 1e308), ("tilt", lambda x: x / np.hypot(1, x), -1e300, 1e300),
]  # fmt: skip


@pytest.mark.skipif(np.finfo(np.longdouble).nmant < 63, reason="long doubles are no longer than float64")
@pytest.mark.parametrize(("name", "reference", "low", "high"), IN_80_BITS, ids=[c[0] for c in IN_80_BITS])
def test_a_million_numbers(name, reference, low, high):
    """Half of them over the ordinals, half near 0, where the methods change."""
    draw = np.random.default_rng(len(name))
    first, last = (to_ordinal(x, "float64") for x in (low, high))
    ordinals = draw.integers(first, last, 500_000)
    bits = np.where(ordinals < 0, -ordinals | np.int64(-(2**63)), ordinals)
    near = draw.uniform(max(low, -40.0), min(high, 40.0), 500_000)
    points = np.concatenate([bits.view(np.float64), near])
    with np.errstate(all="ignore"):
        exact = reference(points.astype(np.longdouble))
        step = np.spacing(np.abs(exact).astype(np.float64)).astype(np.longdouble)
        errors = np.abs(on_lanes(name, points) - exact) / step
    assert not np.isnan(errors).any()
    worst = int(np.argmax(errors))
    assert errors[worst] <= 1.5, f"{name}({points[worst]!r}): {errors[worst]:.3g} ulp"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_exp_down_has_the_bits_of_exp(dtype):
    draw = np.random.default_rng(13)
    lowest = -120.0 if dtype is np.float32 else -800.0
    edges = [0.0, -0.0, -1e-45, -87.3, -88.0, -103.9, -104.0, -105.5, -708.4, -745.1, -745.2, -1e30, -INF, NAN]
    x = np.concatenate([draw.uniform(lowest, 0, 500_000), -(2.0 ** draw.uniform(-40, 10, 100_000)), edges]).astype(dtype)
    np.testing.assert_array_equal(on_lanes("exp_down", x), on_lanes("exp", x))


def test_digamma_is_relatively_exact_at_its_root():
    compute, place = function("digamma"), to_ordinal(ROOT, "float64")
    near = [float(from_ordinal(place + step, "float64")) for step in (-1000, -3, -2, -1, 0, 1, 2, 3, 1000)]
    assert max(ulp_error(compute(x), precise(mpmath.digamma, x), "float64") for x in near) <= 2


def test_coefficients_are_what_the_script_derives():
    script = runpy.run_path(
        str(Path(__file__).parents[1] / "tools" / "coefficients.py"), run_name="coefficients"
    )
    assert script["TARGET"].read_text() == script["text"](), "run tools/coefficients.py"


@pytest.mark.parametrize("name", ["digamma", "trigamma", "lgamma"])
def test_reflected_functions_keep_an_absolute_error(name):
    """Left of 0 the reflection's two terms may cancel: the error is measured against the larger."""
    reference = {"digamma": mpmath.digamma, "trigamma": lambda x: mpmath.psi(1, x),
                 "lgamma": lambda x: mpmath.log(abs(mpmath.gamma(x)))}[name]  # fmt: skip
    compute, draw = function(name), random.Random(7)
    for x in [draw.uniform(-30, 0) for _ in range(100)] + [-0.5, -1.25, -20.75]:
        exact = precise(reference, x)
        slope = precise(lambda t: mpmath.diff(reference, t), x)  # pi x is rounded: the input's own last digit
        assert abs(compute(x) - exact) <= 16 * (
            ulp(exact, "float64") + abs(slope) * ulp(x, "float64") + 2**-52
        )


def pairs(count: int, seed: int) -> list[tuple[float, float]]:
    """Two positive numbers: far apart, near each other, and a few ulp apart."""
    draw, found = random.Random(seed), []
    largest = to_ordinal(1e300, "float64")
    for n in range(count):
        a = float(from_ordinal(draw.randint(1, largest), "float64")) if n % 2 else draw.uniform(0, 1)
        found.append((a, float(from_ordinal(draw.randint(1, largest), "float64"))))
        found.append((a, a * (1 + draw.uniform(-0.6, 0.6))))
        found.append((a, float(from_ordinal(to_ordinal(a, "float64") + draw.randint(0, 9), "float64"))))
    return [(a, b) for a, b in found if a > 0 and b > 0]


def test_log_ratio():
    compute = function("log_ratio")
    for a, b in pairs(60, seed=1):
        exact = precise(lambda a, b: mpmath.log(a / b), a, b)
        assert ulp_error(compute(a, b, a - b, -INF), exact, "float64") <= 2, (a, b)


def test_gaps():
    for name, reference in (("entropy_gap", lambda x, y: x * mpmath.log(x / y) - x + y),
                            ("log_gap", lambda x, y: x / y - 1 - mpmath.log(x / y))):  # fmt: skip
        compute = function(name)
        for x, y in pairs(60, seed=3):
            exact = precise(reference, x, y)
            if exact < 1e308:
                assert ulp_error(compute(x, y), exact, "float64") <= 8, (name, x, y)


def test_logaddexp():
    """Where the two have one sign: else the larger and its correction may cancel, to an absolute error."""
    compute, draw = function("logaddexp"), random.Random(5)
    for _ in range(200):
        x, y = draw.uniform(-800, 800), draw.uniform(-800, 800)
        exact = precise(lambda x, y: mpmath.log(mpmath.exp(x) + mpmath.exp(y)), x, y)
        assert abs(compute(x, y) - exact) <= 2 * ulp(max(abs(exact), abs(max(x, y)), 1.0), "float64"), (x, y)


def test_box_cox_of_a_square():
    """The rounding of an exponent a log(1 + x^2) costs as many ulp as it is large."""
    compute, draw = function("boxcox1p_square"), random.Random(6)
    for n in range(200):
        x = draw.uniform(-50, 50) if n % 2 else 10.0 ** draw.uniform(-150, 100)
        a = draw.choice([0.0, 0.5, 1.0, -1.0, 1e-8, -1e-300, draw.uniform(-1, 1)])
        exact = precise(
            lambda x, a: mpmath.log1p(x * x) if a == 0 else mpmath.expm1(a * mpmath.log1p(x * x)) / a, x, a
        )
        bound = 4 * (1 + abs(a * math.log1p(x * x)))
        assert ulp_error(compute(x, a), exact, "float64") <= bound, (x, a)


def test_box_cox():
    """Where a log(1 + t) is below 1, so that rounding it is harmless; beyond, the error grows with it."""
    compute, draw = function("boxcox1p"), random.Random(2)
    for n in range(200):
        t = draw.uniform(-0.9, 3) if n % 2 else 10.0 ** draw.uniform(-300, 0)
        a = draw.choice([0.0, 0.5, -0.5, 1.0, 1e-8, -1e-300, draw.uniform(-1, 1)]) / max(
            1.0, abs(math.log1p(t))
        )
        exact = precise(
            lambda t, a: mpmath.log1p(t) if a == 0 else mpmath.expm1(a * mpmath.log1p(t)) / a, t, a
        )
        assert ulp_error(compute(t, a), exact, "float64") <= 4, (t, a)  # two products and two functions


# (function, arguments, what it must give)
EDGES = [
    ("log", [(0.0,), (-0.0,), (INF,), (-INF,), (-1.0,), (TINY,), (NAN,)],
     [-INF, -INF, INF, NAN, NAN, math.log(TINY), NAN]),
    ("sigmoid", [(0.0,), (INF,), (-INF,), (-800.0,), (1e308,), (NAN,)], [0.5, 1.0, 0.0, 0.0, 1.0, NAN]),
    ("softplus", [(INF,), (-INF,), (-800.0,), (1e308,), (NAN,)], [INF, 0.0, 0.0, 1e308, NAN]),
    ("log1mexp", [(0.0,), (-INF,), (-800.0,), (NAN,), (-TINY,)], [-INF, 0.0, 0.0, NAN, math.log(TINY)]),
    ("over_expm1", [(0.0,), (INF,), (-INF,), (TINY,), (800.0,), (NAN,)], [1.0, 0.0, INF, 1.0, 0.0, NAN]),
    ("times0", [(0.0, INF), (0.0, -INF), (0.0, NAN), (NAN, 0.0), (2.0, INF), (2.0, 3.0)],
     [0.0, 0.0, NAN, NAN, INF, 6.0]),
    ("ratio0", [(0.0, 0.0), (0.0, NAN), (NAN, 0.0), (1.0, 0.0), (-1.0, 0.0), (6.0, 3.0), (0.0, INF)],
     [0.0, NAN, NAN, INF, -INF, 2.0, 0.0]),
    ("log_ratio", [(0.0, 0.0, 0.0, 7.0), (0.0, 1.0, -1.0, 7.0), (1.0, 0.0, 1.0, 7.0), (NAN, 0.0, NAN, 7.0),
                   (0.0, NAN, NAN, 7.0), (NAN, 1.0, NAN, 7.0), (1.0, NAN, NAN, 7.0), (INF, 1.0, INF, 7.0)],
     [7.0, -INF, INF, NAN, NAN, NAN, NAN, INF]),
    ("logcosh", [(0.0,), (INF,), (-INF,), (1e308,), (1e-200,), (NAN,)], [0.0, INF, INF, 1e308, 0.0, NAN]),
    ("sech2", [(0.0,), (INF,), (-INF,), (1e308,), (NAN,)], [1.0, 0.0, 0.0, 0.0, NAN]),
    ("hypot1", [(0.0,), (INF,), (-INF,), (1e200,), (TINY,), (NAN,)], [1.0, INF, INF, 1e200, 1.0, NAN]),
    ("hypot1m1", [(0.0,), (INF,), (-INF,), (1e200,), (1e-200,), (NAN,)], [0.0, INF, INF, 1e200, 0.0, NAN]),
    ("boxcox1p", [(0.5, 0.0), (-1.0, 0.0), (-1.0, 2.0), (-1.0, -1.0), (0.0, 3.0), (INF, 0.5), (NAN, 0.0)],
     [math.log1p(0.5), -INF, -0.5, -INF, 0.0, INF, NAN]),
    ("x_minus_log1p", [(0.0,), (-1.0,), (INF,), (TINY,), (NAN,), (-2.0,)], [0.0, INF, INF, 0.0, NAN, NAN]),
    ("expm1_minus_x", [(0.0,), (INF,), (-INF,), (TINY,), (NAN,)], [0.0, INF, INF, 0.0, NAN]),
    ("digamma", [(0.0,), (-3.0,), (INF,), (NAN,), (TINY,)], [NAN, NAN, INF, NAN, -INF]),
    ("trigamma", [(0.0,), (-3.0,), (INF,), (NAN,), (TINY,)], [INF, INF, 0.0, NAN, INF]),
    ("lgamma", [(1.0,), (2.0,), (INF,), (NAN,)], [0.0, 0.0, INF, NAN]),
    ("besseli0", [(0.0,), (INF,), (-INF,), (800.0,), (NAN,)], [1.0, INF, INF, INF, NAN]),
    ("besseli1", [(0.0,), (INF,), (-INF,), (TINY * 4,), (NAN,)], [0.0, INF, -INF, TINY * 2, NAN]),
    ("besseli2", [(0.0,), (INF,), (-INF,), (1e-200,), (NAN,)], [0.0, INF, INF, 0.0, NAN]),
    ("tetragamma", [(INF,), (NAN,), (TINY,)], [0.0, NAN, -INF]),
    ("bose", [(-INF,), (-800.0,), (0.0,), (NAN,)], [0.0, 0.0, INF, NAN]),
    ("logaddexp", [(-INF, -INF), (INF, 1.0), (INF, -INF), (1.0, -INF), (800.0, 800.0), (NAN, 1.0), (-INF, NAN)],
     [-INF, INF, INF, 1.0, 800 + math.log(2), NAN, NAN]),
    ("tilt", [(0.0,), (INF,), (-INF,), (1e200,), (TINY,), (NAN,)], [0.0, 1.0, -1.0, 1.0, TINY, NAN]),
    ("log1p_square", [(0.0,), (INF,), (-INF,), (NAN,)], [0.0, INF, INF, NAN]),
    ("boxcox1p_square", [(0.0, 2.0), (3.0, 1.0), (INF, 0.0), (INF, -1.0), (NAN, 1.0), (1e-200, 0.3)],
     [0.0, 9.0, INF, 1.0, NAN, 0.0]),
    ("entropy_gap", [(0.0, 2.0), (2.0, 0.0), (0.0, 0.0), (3.0, 3.0), (NAN, 1.0), (0.0, NAN), (NAN, 0.0)],
     [2.0, INF, 0.0, 0.0, NAN, NAN, NAN]),
    ("log_gap", [(0.0, 2.0), (2.0, 0.0), (3.0, 3.0), (NAN, 1.0), (1.0, NAN)], [INF, INF, 0.0, NAN, NAN]),
    ("erfc_hazard", [(-INF,), (INF,), (-30.0,), (NAN,)], [0.0, INF, 0.0, NAN]),
    ("erfc_hazard_slope", [(-INF,), (INF,), (1e300,), (-30.0,), (NAN,)], [0.0, 2.0, 2.0, 0.0, NAN]),
    ("log_erfc", [(-INF,), (INF,), (0.0,), (NAN,)], [math.log(2), -INF, 0.0, NAN]),
    ("log_half_erfc", [(-INF,), (INF,), (-30.0,), (NAN,)], [0.0, -INF, 0.0, NAN]),
    ("log_besseli0", [(0.0,), (INF,), (-INF,), (NAN,)], [0.0, INF, INF, NAN]),
    ("besseli_ratio", [(0.0,), (INF,), (-INF,), (TINY * 2,), (NAN,)], [0.0, 1.0, -1.0, TINY, NAN]),
    ("besseli_ratio_slope", [(0.0,), (INF,), (-INF,), (NAN,)], [0.5, 0.0, 0.0, NAN]),
    ("sign", [(3.0,), (-3.0,), (0.0,), (INF,), (-INF,), (NAN,)], [1.0, -1.0, 0.0, 1.0, -1.0, NAN]),
    ("larger", [(1.0, 2.0), (NAN, 2.0), (2.0, NAN), (-INF, INF)], [2.0, NAN, NAN, INF]),
    ("smaller", [(1.0, 2.0), (NAN, 2.0), (2.0, NAN), (-INF, INF)], [1.0, NAN, NAN, -INF]),
    ("power", [(0.0, 0.0), (0.0, 2.0), (0.0, -1.0), (2.0, 0.5), (0.0, 0.5)], [1.0, 0.0, INF, math.sqrt(2), 0.0]),
    ("shift", [(INF, INF), (-INF, -INF), (1.0, INF), (3.0, 1.0), (NAN, 1.0)], [0.0, 0.0, -INF, 2.0, NAN]),
    ("scale_of", [(0.0,), (INF,), (-INF,), (NAN,), (1.0,), (0.25,), (TINY,), (1e308,)],
     [1.0, 1.0, 1.0, 1.0, 0.5, 2.0, 2.0**1000, 2.0**-1000]),
]  # fmt: skip


def same(got, wanted, dtype, ulps):
    """NaN is NaN, infinity is infinity, and all else is within so many ulp."""
    got, wanted = np.asarray(got, dtype), np.asarray(wanted, dtype)
    plain = np.isfinite(wanted)
    np.testing.assert_array_equal(got[~plain], wanted[~plain])
    assert np.all(np.abs(got[plain] - wanted[plain]) <= ulps * np.spacing(np.abs(wanted[plain])))


@pytest.mark.parametrize(("name", "arguments", "wanted"), EDGES, ids=[case[0] for case in EDGES])
def test_edges(name, arguments, wanted):
    compute = function(name)
    got = [float(compute(*args)) for args in arguments]
    same(got, wanted, "float64", 1 if name in ("power", "logaddexp", "log1mexp") else 0)
    arrays = [np.array(column) for column in zip(*arguments, strict=True)]
    np.testing.assert_array_equal(on_lanes(name, *arrays), got)


@pytest.mark.parametrize(("name", "arguments", "wanted"), EDGES, ids=[case[0] for case in EDGES])
def test_edges_of_float32(name, arguments, wanted):
    """Those whose arguments are float32 numbers; TINY is each precision's own."""
    tiny = float(np.finfo(np.float32).smallest_subnormal)
    pairs = [([tiny if x == TINY else -tiny if x == -TINY else x for x in args], result)
             for args, result in zip(arguments, wanted, strict=True)
             if name != "scale_of" or abs(result) in (0.5, 1.0, 2.0)]  # fmt: skip
    with np.errstate(over="ignore"):
        kept = [(args, result) for args, result in pairs
                if all(x != x or math.isinf(x) or float(np.float32(x)) == x for x in args)]  # fmt: skip
    columns = [np.array(column, np.float32) for column in zip(*(args for args, _ in kept), strict=True)]
    exact = [float(function(name)(*args)) for args, _ in kept]
    with np.errstate(over="ignore"):
        same(on_lanes(name, *columns), exact, "float32", 1)


ODD = (
    "expm1",
    "log1p",
    "sinh",
    "tanh",
    "asin",
    "atan",
    "asinh",
    "atanh",
    "sin",
    "tan",
    "tilt",
    "erf",
    "besseli1",
)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ODD)
def test_zeros_keep_their_sign_and_subnormals_their_digits(name, dtype):
    tiny = np.finfo(dtype).smallest_subnormal
    points = np.array([0.0, -0.0, tiny, -tiny, 2 * tiny, -1000 * tiny, np.finfo(dtype).tiny], dtype)
    got, wanted = on_lanes(name, points), points
    if name == "besseli1":
        wanted = points / 2
    if name == "erf":
        wanted = (points * (2 / math.sqrt(math.pi))).astype(dtype)
    np.testing.assert_array_equal(got, wanted)
    np.testing.assert_array_equal(np.signbit(got), np.signbit(points))


TWO_NUMBERS = ("power", "logaddexp", "boxcox1p", "boxcox1p_square", "entropy_gap", "log_gap", "times0", "ratio0", "shift",
               "larger", "smaller")  # fmt: skip


@pytest.mark.parametrize("name", TWO_NUMBERS)
def test_lanes_of_two_numbers(name):
    """The same bits as of one float64; and of float32, the float64 result rounded, to an ulp."""
    draw = np.random.default_rng(4)
    x = np.concatenate(
        [draw.uniform(0, 2, 3000), 10.0 ** draw.uniform(-30, 30, 3000), draw.uniform(0, 80, 3000)]
    )
    y = np.concatenate([draw.uniform(-3, 3, 6000), x[6000:] * (1 + draw.uniform(-0.6, 0.6, 3000))])
    compute = function(name)
    np.testing.assert_array_equal(on_lanes(name, x, y), [compute(a, b) for a, b in zip(x, y, strict=True)])
    x, y = x.astype(np.float32), y.astype(np.float32)
    with np.errstate(all="ignore"):
        exact = on_lanes(name, x.astype(float), y.astype(float))
        got, rounded = on_lanes(name, x, y), exact.astype(np.float32)
        fine = np.isfinite(rounded)
        np.testing.assert_array_equal(got[~fine], rounded[~fine])
        step = np.spacing(np.abs(rounded[fine])).astype(float)
        bound = 1.0
        if name == "logaddexp":  # the two terms may cancel
            step, bound = np.maximum(step, np.spacing(np.maximum(abs(x), abs(y)))[fine]), 2.0
        assert np.max(np.abs(got[fine] - exact[fine]) / step) <= bound


@njit(error_model="numpy")
def quotients(x, y, out):
    by = divisor(load(y, (run(0, LANES),), None))
    put(out, (run(0, LANES),), functions.ratio0_over(load(x, (run(0, LANES),), None), by), None)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_quotients_of_a_divisor_have_the_edges_of_ratio0(dtype):
    given, wanted = next(case[1:] for case in EDGES if case[0] == "ratio0")
    pairs = [*given, (0.0, 3.0), (-0.0, 3.0), (7.0, 3.0)]
    for usual in (False, True):  # one lane that isn't makes all of them be divided
        kept = [(x, y) for x, y in pairs if not usual or (np.isfinite(y) and y != 0)]
        x, y = (np.resize(np.array(part, dtype), LANES) for part in zip(*kept, strict=True))
        out = np.empty_like(x)
        quotients(x, y, out)
        with np.errstate(all="ignore"):
            expected = np.where((x == 0) & (y == y), 0, x / y)
        np.testing.assert_array_equal(out, expected)
        if not usual:
            np.testing.assert_array_equal(out[: len(wanted)], wanted)


@cache
def on_loose_lanes(name):
    """A function of float64 lanes that are read from float32 arrays, as float64 results."""
    found = getattr(functions, name)

    @njit(error_model="numpy")
    def one(x, result):
        for start in range(0, x.size, LANES):
            place = run(start, x.size)
            put(result, (place,), found(load_wide(x, (place,), None)), None)

    @njit(error_model="numpy")
    def two(x, y, result):
        for start in range(0, x.size, LANES):
            place = run(start, x.size)
            put(result, (place,), found(load_wide(x, (place,), None), load_wide(y, (place,), None)), None)

    return two if name == "power" else one


@pytest.mark.parametrize(
    ("name", "bound"), [("exp", -43), ("log", -48), ("log1p", -48), ("sigmoid", -43), ("softplus", -42), ("power", -42)]
)
def test_functions_of_float32_data_in_float64(name, bound):
    """Results that are rounded to float32 later are within 2^bound; 0 may take the place of a subnormal float64."""
    draw = np.random.default_rng(12)
    x = draw.integers(0, 2**32, 200_000, dtype=np.uint32).view(np.float32)
    near = [draw.normal(size=20_000) * scale for scale in (1e-3, 1.0, 30.0)]
    edges = [0.0, -0.0, 1.0, -1.0, INF, -INF, NAN, 1e-45, -1e-45, 708.5, 709.5, 709.9, 710.5, -708.0, -709.0, -750.0]
    args = [np.concatenate([x, *(np.float32(part) for part in (*near, edges))])]
    if name == "power":
        args = [abs(args[0]), np.resize(np.float32([2.0, 0.5, 1.0, 0.0, 3.7, -1.0, 1e-3, 20.0, INF]), len(args[0]))]
    got = np.empty(len(args[0]))
    on_loose_lanes(name)(*args, got)
    with np.errstate(all="ignore"):
        wanted = on_lanes(name, *(arg.astype(float) for arg in args))
        usual = np.isfinite(wanted) & (abs(wanted) > 2.0**-1021) & (abs(wanted) < 2.0**1023)
        assert np.mean(usual) > 0.2
        assert np.max(abs(got[usual] - wanted[usual]) / abs(wanted[usual])) <= 2.0**bound
        rest, exact = got[~usual], wanted[~usual]
        np.testing.assert_array_equal(np.isnan(rest), np.isnan(exact))
        np.testing.assert_array_equal(rest.astype(np.float32)[~np.isnan(rest)], exact.astype(np.float32)[~np.isnan(rest)])


@pytest.mark.parametrize("y", [2.0, 0.5, 1.0, 20.0, 0.0, -1.5, 1e-3])
def test_powers_of_sigmoids(y):
    """Of float32 data in float64 by softplus, within 2^-35; of all else as other powers are."""
    draw = np.random.default_rng(3)
    edges = [0.0, -0.0, INF, -INF, 1e-45, 88.0, -88.0, 104.0, -104.0, 745.0, -745.0, 3e38, -3e38]
    x = np.concatenate([draw.normal(size=3000) * scale for scale in (1e-3, 1.0, 30.0)] + [edges]).astype(np.float32)
    x = x[: len(x) // LANES * LANES]

    def made(load):
        @njit(error_model="numpy")
        def run_through(x, y, result, plain):
            for start in range(0, x.size, LANES):
                place = run(start, x.size)
                logit = load(x, (place,), None)
                s = functions.sigmoid(logit)
                put(result, (place,), functions.sigmoid_power(logit, s, y), None)
                put(plain, (place,), functions.power(s, y), None)

        return run_through

    got, plain = np.empty(x.size), np.empty(x.size)
    made(load_wide)(x, y, got, plain)
    with np.errstate(all="ignore"):
        wanted = (1 / (1 + np.exp(-x.astype(np.longdouble)))) ** y
        usual = (wanted > 1e-300) & (wanted < 1e300)
        assert np.max(abs(got[usual] - wanted[usual]) / wanted[usual]) <= 2.0**-35
        np.testing.assert_array_equal(got[~usual].astype(np.float32), wanted[~usual].astype(np.float32))
    for array in (x, x.astype(float)):
        made(load)(array, y, got, plain)
        np.testing.assert_array_equal(got, plain)
    made(load_wide)(np.full(LANES, np.nan, np.float32), y, got[:LANES], plain[:LANES])
    np.testing.assert_array_equal(got[:LANES], plain[:LANES])


def test_lanes_of_log_ratio():
    a, b = map(np.array, zip(*pairs(100, seed=8), strict=True))
    compute = function("log_ratio")
    zero = np.full_like(a, 7.0)
    wanted = [compute(*args) for args in zip(a, b, a - b, zero, strict=True)]
    np.testing.assert_array_equal(on_lanes("log_ratio", a, b, a - b, zero), wanted)
    with np.errstate(all="ignore"):
        a, b = a.astype(np.float32), b.astype(np.float32)
        args = (a, b, a - b, zero.astype(np.float32))
        exact = on_lanes("log_ratio", *(each.astype(float) for each in args))
        got = on_lanes("log_ratio", *args)
        finite = np.isfinite(exact)
        np.testing.assert_array_equal(got[~finite], exact[~finite].astype(np.float32))
        step = np.spacing(np.abs(exact[finite].astype(np.float32))).astype(float)
        assert np.max(np.abs(got[finite] - exact[finite]) / step) <= 1


def test_powers():
    compute, draw = function("power"), random.Random(9)
    for _ in range(1000):
        x = float(from_ordinal(draw.randint(1, to_ordinal(1e308, "float64")), "float64"))
        y = draw.uniform(-709, 709) / (abs(math.log(x)) or 1.0)
        exact = precise(lambda x, y: x**y, x, y)
        assert ulp_error(compute(x, y), exact, "float64") <= 1.5, (x, y)


@pytest.mark.parametrize("exponent", range(-1000, 1001, 125))
def test_scaling_is_exact(exponent):
    x = math.ldexp(0.7, exponent)
    scaled = x * function("scale_of")(x)
    assert 0.25 <= scaled < 1 or abs(exponent) >= 1000
    assert scaled / function("scale_of")(x) == x


@njit(error_model="numpy")
def compensated(terms):
    """A sum as kernels make it."""
    total, carry = 0.0, 0.0
    for term in terms:
        total, carry = functions.add(total, carry, term)
    return functions.finish(total, carry)


def test_compensated_sums():
    draw = np.random.default_rng(0)
    half = draw.normal(size=500) * 10.0 ** draw.integers(-4, 5, 500)
    terms = draw.permutation(np.concatenate([half, -half * (1 + 1e-9 * draw.normal(size=500))]))
    exact = math.fsum(terms)
    condition = math.fsum(abs(terms)) / abs(exact)
    assert condition > 1e8
    assert compensated(terms) == exact
    assert float(np.sum(terms)) != exact  # else the test would show nothing
    assert compensated(np.array([1.0, 1e100, 1.0, -1e100])) == 2.0


@pytest.mark.parametrize(
    ("terms", "wanted"),
    [([], 0.0), ([INF, 1.0], INF), ([1.0, -INF, 1e308], -INF), ([INF, -INF], NAN), ([1.0, NAN, 2.0], NAN),
     ([1e308, 1e308], INF)],
)  # fmt: skip
def test_sums_of_what_is_not_finite(terms, wanted):
    np.testing.assert_array_equal(compensated(np.array(terms, dtype=float)), wanted)


@njit(error_model="numpy")
def compensated_lanes(terms):
    """The same with lanes of terms."""
    total, carry = 0.0, 0.0
    for start in range(0, terms.size, LANES):
        place = run(start, terms.size)
        total, carry = functions.add(total, carry, within(place, load(terms, (place,), None), 0.0))
    return sum_of(functions.finish(total, carry))


@njit(error_model="numpy")
def compensated_registers(terms):
    """The same with a register of them a step, as kernels add lanes up."""
    total, carry = 0.0, 0.0
    for start in range(0, terms.size, LANES):
        place = run(start, terms.size)
        term = folded(within(place, load(terms, (place,), None), 0.0))
        total, carry = functions.tally(total, carry, term, terms)
    return functions.finish(sum_of(total), sum_of(carry))


@pytest.mark.parametrize(("add_up", "more"), [(compensated_lanes, 3), (compensated_registers, 0)])
def test_compensated_sums_of_lanes(add_up, more):
    """Each lane is a sum of its own, without rounding errors; of float32 terms a float64 sum has none.

    In registers the lanes of one step, which are added first, must be of one size here.
    """
    draw = np.random.default_rng(1)
    most, least = np.full(LANES, 1e16), draw.normal(size=40 * LANES + more)
    terms = np.concatenate([most, least, -most])
    terms = np.concatenate([terms, np.zeros(-terms.size % LANES)])
    assert add_up(terms) == pytest.approx(math.fsum(least), abs=1e-11)  # plain sums are off by 40
    single = least.astype(np.float32)
    assert add_up(single) == pytest.approx(math.fsum(single.tolist()), rel=1e-14)
    for bad in (INF, -INF, NAN):
        terms[100] = bad
        np.testing.assert_array_equal(add_up(terms), bad)


@njit(error_model="numpy")
def wide_forms(x, out):
    """The wide forms of float32 lanes, and of the numbers one by one."""
    for start in range(0, x.size, LANES):
        place = run(start, x.size)
        lanes = load(x, (place,), None)
        put(out[0], (place,), functions.wide_sigmoid(lanes), None)
        put(out[1], (place,), functions.wide_softplus(lanes), None)
    for i in range(x.size):
        out[2, i] = functions.wide_sigmoid(np.float64(x[i]))
        out[3, i] = functions.wide_softplus(np.float64(x[i]))


def test_wide_forms_do_not_round_to_float32():
    """A quarter of a float32's rounding for sigmoid, half of one for softplus, also where float32 underflows."""
    draw = np.random.default_rng(3)
    near, far, tiny = draw.uniform(-2, 2, 20_000), draw.uniform(-110, 110, 20_000), draw.normal(size=9_999) * 1e-30
    x = np.concatenate([near, far, tiny, [0.0, -0.0, 40.0, -40.0, -103.97, 150.0, -150.0]]).astype(np.float32)
    out = np.empty((4, x.size))
    wide_forms(x, out)
    for got, exact, bound in ((out[0], out[2], 0.25), (out[1], out[3], 0.55)):
        assert np.max(np.abs(got / exact - 1)) <= bound * 2.0**-24
    edges = np.array([INF, -INF, NAN], np.float32)
    out = np.empty((4, 3))
    wide_forms(edges, out)
    np.testing.assert_array_equal(out[0], [1.0, 0.0, NAN])
    np.testing.assert_array_equal(out[1], [INF, 0.0, NAN])


@njit(error_model="numpy")
def tallied(terms, inputs):
    total, carry = 0.0, 0.0
    for term in terms:
        total, carry = functions.tally(total, carry, term, inputs)
    return total, carry


def test_samples_are_added_with_compensation_but_for_float32_inputs():
    terms = np.array([1.0, 1e-20, -1.0])
    assert tallied(terms, np.zeros(1)) == (0.0, 1e-20)
    assert tallied(terms, np.zeros(1, np.float32)) == (0.0, 0.0)


def test_every_public_function_is_tested():
    tested = {case[0] for case in ONE_NUMBER} | {case[0] for case in EDGES} | {
        "add", "exp_down", "finish", "ratio0_over", "sigmoid_power", "tally", "wide_sigmoid", "wide_softplus",
    }  # fmt: skip
    constants = {"empty", "float64", "inf", "nan", "kernel"}
    assert set(functions.__all__) - constants - tested == set()
