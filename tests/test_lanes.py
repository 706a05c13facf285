"""Lanes against NumPy, lane by lane: types, operators, choices, functions, and what goes across lanes."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from numba import njit
from symloss_kernels._lanes import (
    LANES,
    any_lane,
    copysign,
    divisor,
    first_max,
    floor,
    fma,
    folded,
    max_of,
    min_of,
    opposite,
    over,
    product_of,
    ratio0,
    rint,
    select,
    sqrt,
    sum_of,
    times_over,
    wide,
)
from symloss_kernels._memory import load, put
from symloss_kernels._precision import exponent_of, lanewise, per_precision, polynomial, scale2, split2
from symloss_kernels._runs import run

compiled = njit(error_model="numpy")
INF, NAN = float("inf"), float("nan")
BOTH = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def numbers(dtype, seed: int = 0) -> np.ndarray:
    """LANES numbers of all sizes, with zeros of both signs, infinities and NaN among them."""
    rng = np.random.default_rng(seed)
    found = rng.standard_normal(LANES) * 10.0 ** rng.integers(-6, 7, LANES)
    found[:7] = [0.0, -0.0, INF, -INF, NAN, 1.0, -2.5]
    return np.roll(found, 3 * seed).astype(dtype)


def same(got, expected) -> None:
    """The same numbers to the last bit, the sign of a zero included; a NaN equals a NaN."""
    got, expected = np.asarray(got, np.float64), np.asarray(expected, np.float64)
    np.testing.assert_array_equal(got, expected)
    real = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(got[real]), np.signbit(expected[real]))


def lanes_of(given):
    """A source of a number for a kernel: an array is loaded as lanes."""
    if isinstance(given, np.ndarray):
        return compiled(lambda x: load(x, (run(0, LANES),), None))
    return compiled(lambda x: x)


def apply(function, *given) -> np.ndarray:
    """What a function of lanes gives, as LANES float64 numbers; a mask as 1 and 0.

    Arrays are given to it as lanes, other numbers as they are.
    """
    function = compiled(function)
    readers = tuple(lanes_of(entry) for entry in given)
    out = np.full(LANES, -7.0)
    if len(given) == 1:
        (first,) = readers

        @compiled
        def kernel(x, out):
            put(out, (run(0, LANES),), function(first(x)), None)

    elif len(given) == 2:
        first, second = readers

        @compiled
        def kernel(x, y, out):
            put(out, (run(0, LANES),), function(first(x), second(y)), None)

    else:
        first, second, third = readers

        @compiled
        def kernel(x, y, z, out):
            put(out, (run(0, LANES),), function(first(x), second(y), third(z)), None)

    kernel(*given, out)
    return out


# --- operators ----------------------------------------------------------------------------------------------------

WHOLE = np.arange(LANES) - 3
#: Two numbers, and the dtype in which they meet; None where whole numbers stay whole.
PAIRS = {
    "float32 and float32": (numbers(np.float32), numbers(np.float32, 1), np.float32),
    "float64 and float64": (numbers(np.float64), numbers(np.float64, 1), np.float64),
    "float32 and float64": (numbers(np.float32), numbers(np.float64, 1), np.float64),
    "float64 and a number": (numbers(np.float64), 0.1, np.float64),
    "a number and float32": (0.1, numbers(np.float32), np.float32),
    "float32 and a whole number": (numbers(np.float32), 3, np.float32),
    "a truth and float64": (True, numbers(np.float64), np.float64),
    "places and float32": (WHOLE, numbers(np.float32), np.float32),
    "float64 and places": (numbers(np.float64), WHOLE, np.float64),
    "places and a number": (WHOLE, 0.1, np.float64),
    "places and places": (WHOLE, WHOLE[::-1].copy(), None),
    "places and a whole number": (WHOLE, 3, None),
}


@compiled
def all_operators(a, b, place, out):
    put(out[0], (place,), a + b, None)
    put(out[1], (place,), a - b, None)
    put(out[2], (place,), a * b, None)
    put(out[3], (place,), a / b, None)
    put(out[4], (place,), select(a < b, 1.0, 0.0), None)
    put(out[5], (place,), select(a <= b, 1.0, 0.0), None)
    put(out[6], (place,), select(a > b, 1.0, 0.0), None)
    put(out[7], (place,), select(a >= b, 1.0, 0.0), None)
    put(out[8], (place,), select(a == b, 1.0, 0.0), None)
    put(out[9], (place,), select(a != b, 1.0, 0.0), None)


@pytest.mark.parametrize("pair", PAIRS)
def test_operators(pair):
    a, b, dtype = PAIRS[pair]
    first, second = lanes_of(a), lanes_of(b)

    @compiled
    def kernel(a, b, out):
        all_operators(first(a), second(b), run(0, LANES), out)

    out = np.full((10, LANES), -7.0)
    kernel(a, b, out)
    x, y = (np.asarray(entry) if dtype is None else np.asarray(entry).astype(dtype) for entry in (a, b))
    with np.errstate(all="ignore"):
        whole = dtype is None
        expected = [x + y, x - y, x * y, x.astype(float) / y if whole else x / y]
        expected += [x < y, x <= y, x > y, x >= y, x == y, x != y]
    for row, wanted in zip(out, expected, strict=True):
        same(row, np.broadcast_to(wanted, LANES))


@BOTH
def test_operators_in_place_are_the_same_ones(dtype):
    x, y = numbers(dtype), numbers(dtype, 1)

    def steps(a, b):
        a += b
        a *= b
        a -= 2.0
        a /= b
        return a

    with np.errstate(all="ignore"):
        expected = ((x + y) * y - dtype(2)) / y
    same(apply(steps, x, y), expected)


def test_float32_lanes_are_computed_in_float32():
    """1/3 in float32 is another number than 1/3 in float64."""
    ones = np.ones(LANES, np.float32)
    same(apply(lambda a: a / 3.0, ones), np.full(LANES, np.float32(1) / np.float32(3)))
    same(apply(lambda a: wide(a) / 3.0, ones), np.full(LANES, 1 / 3))


def divisions(dtype, count: int):
    """Numerators in arrays of LANES, each with a divisor: of all sizes, and such as reach both ends of the range."""
    rng = np.random.default_rng(11)
    info = np.finfo(dtype)
    for _ in range(count):
        divisor = dtype(np.ldexp(rng.uniform(1, 2), rng.integers(-40, 40)))
        yield np.ldexp(rng.uniform(-2, 2, LANES), rng.integers(-40, 40, LANES)).astype(dtype), divisor
        yield (info.tiny * np.ldexp(rng.uniform(-2, 2, LANES), rng.integers(-20, 20, LANES))).astype(dtype), divisor
    ends = [info.tiny, info.smallest_subnormal, 3 * info.smallest_subnormal, info.max, 1.0, 3.0, 0.0, np.inf, np.nan]
    for divisor in ends:
        for sign in (1, -1):
            x = np.resize([*ends, *(-np.array(ends)), info.max / 3, info.tiny * 3, 1 + info.eps], LANES).astype(dtype)
            yield x, dtype(sign * divisor)


@compiled
def divide_each(x, y, out):
    for row in range(len(y)):
        put(out, (row, run(0, LANES)), load(x, (row, run(0, LANES)), None) / y[row], None)


@BOTH
def test_lanes_by_a_scalar_are_what_a_division_gives(dtype):
    """Also at the ends of the range, but that quotients of the smallest numbers may be one ulp off."""
    pairs = list(divisions(dtype, 20_000))
    x, y = np.array([x for x, _ in pairs]), np.array([y for _, y in pairs])
    out = np.empty_like(x)
    divide_each(x, y, out)
    with np.errstate(all="ignore"):
        expected = x / y[:, None]
    np.testing.assert_array_equal(np.signbit(out), np.signbit(expected))
    # What the product lacks is itself subnormal, and rounded, where the numerator is near that.
    info = np.finfo(dtype)
    near = np.abs(x) < info.tiny * 2.0 ** (info.nmant + 1)
    np.testing.assert_array_equal(out[~near], expected[~near])
    finite = near & np.isfinite(expected)
    np.testing.assert_array_equal(out[near & ~finite], expected[near & ~finite])
    assert np.all(np.abs(out[finite] - expected[finite]) <= np.spacing(np.abs(expected[finite])))
    assert 0.2 < np.mean(near) < 0.8


@BOTH
def test_a_scalar_divided_by_itself_is_one(dtype):
    rng = np.random.default_rng(12)
    y = np.ldexp(rng.uniform(1, 2, 10_000), rng.integers(-100, 100, 10_000)).astype(dtype)
    x = np.repeat(y[:, None], LANES, 1)
    out = np.empty_like(x)
    divide_each(x, y, out)
    assert np.all(out == 1)


@compiled
def divide_each_by_lanes(x, y, out):
    for row in range(len(y)):
        place = (row, run(0, LANES))
        by = divisor(load(y, place, None))
        put(out, place, over(load(x, place, None), by), None)


@BOTH
def test_lanes_by_a_divisor_are_what_a_division_gives(dtype):
    """Lanes whose reciprocals are all usual numbers take the product, and others the division: no result shows which."""
    pairs = list(divisions(dtype, 4000))
    x = np.array([x for x, _ in pairs])
    y = np.repeat(np.array([y for _, y in pairs])[:, None], LANES, 1)
    with np.errstate(over="ignore"):
        y[::3] *= np.linspace(0.5, 3, LANES, dtype=dtype)
    y[1::7, 5] = np.inf
    out, near = np.empty_like(x), np.abs(x) < np.finfo(dtype).tiny * 2.0 ** (np.finfo(dtype).nmant + 1)
    divide_each_by_lanes(x, y, out)
    with np.errstate(all="ignore"):
        expected = x / y
    np.testing.assert_array_equal(np.signbit(out), np.signbit(expected))
    np.testing.assert_array_equal(out[~near], expected[~near])
    finite = near & np.isfinite(expected)
    assert np.all(np.abs(out[finite] - expected[finite]) <= np.spacing(np.abs(expected[finite])))


@BOTH
def test_no_quotient_depends_on_the_lanes_beside_it(dtype):
    """One lane whose reciprocal is no usual number has all of them tried again."""
    rng = np.random.default_rng(13)
    x, y = (np.ldexp(rng.uniform(1, 2, (20_000, LANES)), rng.integers(-40, 40, (20_000, LANES))) for _ in range(2))
    x, y = x.astype(dtype), y.astype(dtype)
    alone, beside = np.empty_like(x), np.empty_like(x)
    divide_each_by_lanes(x, y, alone)
    y[:, 3] = -y[:, 3]
    divide_each_by_lanes(x, y, beside)
    beside[:, 3] = -beside[:, 3]
    np.testing.assert_array_equal(np.delete(alone, 3, axis=1), np.delete(beside, 3, axis=1))
    np.testing.assert_array_max_ulp(alone[:, 3], beside[:, 3], 1)


def test_a_divisor_meets_numbers_of_another_precision():
    x, y = numbers(np.float64), numbers(np.float32, 1)
    with np.errstate(all="ignore"):
        same(apply(lambda a, b: over(a, divisor(b)), x, y), x / y)
        # What a row has once doesn't widen its float32 entries, as a number doesn't.
        usual = np.linspace(0.1, 9, LANES)
        same(apply(lambda a, b: over(a, divisor(b)), y, usual), (y / usual).astype(np.float32))
        # It isn't rounded to a float32 number before.
        same(apply(lambda a, b: over(a, divisor(b)), y, x), (y / x).astype(np.float32))
        same(apply(lambda a: over(a, divisor(3.0)), y), y / np.float32(3))
        same(apply(lambda a: over(1.0, divisor(a)), x), 1.0 / x)
        same(apply(lambda a: over(1.0, divisor(a)), y), np.float32(1) / y)
    assert compiled(lambda x, y: over(x, divisor(y)))(1.0, 3.0) == 1.0 / 3.0


@BOTH
def test_a_quotient_with_a_factor(dtype):
    """One quotient where all lanes share the factor and the divisor: rounded once, and exact where it is a number."""
    x, y, factors = numbers(dtype), 3.0, np.linspace(0.5, 2, LANES)
    for factor in (1.0, 1 / 3, -0.25, 1e-18):
        same(apply(lambda a, f=factor: times_over(f, a, 3.0), x), (x.astype(float) / (y / factor)).astype(dtype))
    with np.errstate(all="ignore"):
        # What leaves the range by the factor takes it last.
        for factor, by in ((0.0, 3.0), (1e-6, 1e305), (1e6, 1e-305), (1e-3, 1e-309)):
            quotients = (x.astype(float) / by).astype(dtype)
            same(apply(lambda a, f=factor, b=by: times_over(f, a, b), x), factor * quotients)
        same(apply(lambda a, f: times_over(f, a, 3.0), x, factors), factors * (x / dtype(y)))
        same(apply(lambda a, b: times_over(0.5, a, b), x, x), 0.5 * (x / x))


@pytest.mark.parametrize("size", [2.0**-140, 2.0**-300, 2.0**140])
def test_float32_by_a_number_beyond_its_range(size):
    y = 1.1 * size
    x = (numbers(np.float32).astype(float) * min(max(size, 2.0**-140), 2.0**120)).astype(np.float32)
    with np.errstate(all="ignore"):
        expected = (x.astype(float) / y).astype(np.float32)
        same(apply(lambda a: a / y, x), expected)
        same(apply(lambda a: ratio0(a, y), x), np.where(x == 0, 0.0, expected))
        same(apply(lambda a, b: over(a, divisor(b)), x, np.full(LANES, y)), expected)


def test_places_beyond_the_precision_of_floats_stay_exact():
    big = np.full(LANES, 2**53 + 1)
    same(apply(lambda a: a - 2**53, big), np.ones(LANES))
    same(apply(lambda a: select(a == 2**53, 1.0, 0.0), big), np.zeros(LANES))


@BOTH
def test_signs(dtype):
    x = numbers(dtype)
    same(apply(lambda a: -a, x), -x)
    same(apply(lambda a: abs(a), x), abs(x))
    same(apply(lambda a: -a, WHOLE), -WHOLE)


TRUTHS = np.arange(LANES) % 2.0, np.arange(LANES) % 3.0


@pytest.mark.parametrize("second", ["lanes", True, False])
def test_logic(second):
    a = TRUTHS[0] > 0
    b = TRUTHS[1] > 0 if second == "lanes" else np.full(LANES, second)
    if second == "lanes":
        found = [
            apply(lambda x, y: select((x > 0) & (y > 0), 1.0, 0.0), *TRUTHS),
            apply(lambda x, y: select((x > 0) | (y > 0), 1.0, 0.0), *TRUTHS),
            apply(lambda x, y: select((x > 0) ^ (y > 0), 1.0, 0.0), *TRUTHS),
        ]
    else:
        found = [
            apply(lambda x, y: select((x > 0) & y, 1.0, 0.0), TRUTHS[0], second),
            apply(lambda x, y: select(y | (x > 0), 1.0, 0.0), TRUTHS[0], second),
            apply(lambda x, y: select((x > 0) ^ y, 1.0, 0.0), TRUTHS[0], second),
        ]
    for got, expected in zip(found, [a & b, a | b, a ^ b], strict=True):
        same(got, expected)


def test_the_opposite_of_an_answer():
    a = TRUTHS[0] > 0
    same(apply(lambda x: select(~(x > 0), 1.0, 0.0), TRUTHS[0]), ~a)
    same(apply(lambda x: select(opposite(x > 0), 1.0, 0.0), TRUTHS[0]), ~a)
    same(apply(lambda x, test: select(opposite(test), x, 5.0), TRUTHS[0], True), np.full(LANES, 5.0))


@pytest.mark.parametrize("lane", [None, *range(LANES)])
def test_whether_any_lane_holds(lane):
    x = np.zeros(LANES)
    if lane is not None:
        x[lane] = 1.0
    assert ANY(x) == (lane is not None)


@compiled
def ANY(x):
    return any_lane(load(x, (run(0, LANES),), None) > 0.0)


def test_a_single_answer_is_that_of_any_lane():
    single = compiled(lambda test: any_lane(test))
    assert single(True) is True
    assert single(False) is False


# --- choices ------------------------------------------------------------------------------------------------------

CHOICES = {
    "float64 lanes": (numbers(np.float64), numbers(np.float64, 1), np.float64),
    "float32 lanes": (numbers(np.float32), numbers(np.float32, 1), np.float32),
    "lanes of both": (numbers(np.float32), numbers(np.float64, 1), np.float64),
    "float32 lanes and a number": (numbers(np.float32), 0.1, np.float32),
    "a number and float64 lanes": (0.1, numbers(np.float64), np.float64),
    "numbers": (0.1, -2.0, np.float64),
    "places": (WHOLE, 7, np.int64),
    "whole numbers": (2**53 + 1, 7, np.int64),
}


@pytest.mark.parametrize("choice", CHOICES)
def test_each_lane_chooses(choice):
    yes, no, dtype = CHOICES[choice]
    test = np.arange(LANES) % 3.0
    expected = np.where(test > 0, np.asarray(yes).astype(dtype), np.asarray(no).astype(dtype))
    same(apply(lambda t, a, b: select(t > 0, a, b), test, yes, no), expected)


@pytest.mark.parametrize("test", [True, False])
def test_one_answer_chooses_for_all_lanes(test):
    x, y = numbers(np.float64), numbers(np.float32, 1)
    same(apply(lambda t, a, b: select(t, a, b), test, x, y), x if test else y)
    single = compiled(lambda t, a, b: select(t, a, b))
    assert single(test, 2.0, 3.0) == (2.0 if test else 3.0)
    assert single(test, 2, 3) == (2 if test else 3)


def test_answers_are_chosen_too():
    x, y = TRUTHS
    chosen = np.where(x > 0, y > 0, True)
    same(apply(lambda a, b: select(select(a > 0, b > 0, True), 1.0, 0.0), x, y), chosen)
    same(
        apply(lambda a, b: select(select(a > 0, False, b > 0), 1.0, 0.0), x, y), np.where(x > 0, False, y > 0)
    )


# --- functions ----------------------------------------------------------------------------------------------------

FUNCTIONS = {
    "sqrt": (lambda x: sqrt(x), np.sqrt),
    "rint": (lambda x: rint(x), np.rint),
    "floor": (lambda x: floor(x), np.floor),
}
HALVES = np.resize([-2.5, -1.5, -0.5, -0.0, 0.0, 0.5, 1.5, 2.5, 1e300, INF, -INF, NAN, 0.3, -0.7], LANES)


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int64])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_one_number(name, kind):
    ours, theirs = FUNCTIONS[name]
    with np.errstate(all="ignore"):
        x = np.arange(LANES) * 3 if kind is np.int64 else HALVES.astype(kind)
        same(apply(ours, x), theirs(x))
        single = compiled(ours)
        same([single(float(entry)) for entry in x], theirs(x.astype(float)))


@BOTH
def test_copysign(dtype):
    x, y = numbers(dtype), numbers(dtype, 2)
    y[np.isnan(y)] = 1.0  # a NaN's own sign is no number's
    same(apply(lambda a, b: copysign(a, b), x, y), np.copysign(x, y))
    same(apply(lambda a, b: copysign(a, b), 3.0, y), np.copysign(np.float64(3), y))


@BOTH
def test_fma_rounds_once_or_twice_but_no_more(dtype):
    rng = np.random.default_rng(3)
    x, y, z = (rng.standard_normal(LANES).astype(dtype) for _ in range(3))
    z[: LANES // 2] = -(x * y)[: LANES // 2]  # what is left is the product's own rounding error, or 0
    got = apply(lambda a, b, c: fma(a, b, c), x, y, z)
    once = [float(Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c))) for a, b, c in zip(x, y, z, strict=True)]
    once, twice = np.array(once).astype(dtype), x * y + z
    assert np.array_equal(got, once) or np.array_equal(got, twice)


def test_a_constant_of_each_precision():
    chosen = per_precision(0.1, 0.7)
    same(apply(lambda x: chosen(x), np.ones(LANES, np.float32)), np.full(LANES, np.float32(0.1)))
    same(apply(lambda x: chosen(x), np.ones(LANES)), np.full(LANES, 0.7))
    same(apply(lambda x: chosen(x), WHOLE), np.full(LANES, 0.7))
    assert compiled(lambda x: chosen(x))(1.0) == 0.7


@pytest.mark.parametrize("count", range(1, 10))
def test_polynomials(count):
    """Each of at most `count` levels of products and sums rounds once; the terms here are positive."""
    rng = np.random.default_rng(count)
    single, double = rng.uniform(0.5, 1.0, (2, count))
    function = polynomial(single, double)
    for dtype, coefficients in ((np.float32, single), (np.float64, double)):
        x = rng.uniform(0.0, 1.5, LANES).astype(dtype)
        exact = [
            float(sum(Fraction(float(dtype(c))) * Fraction(float(at)) ** i for i, c in enumerate(coefficients))) for at in x
        ]
        got = apply(lambda a: function(a), x)
        np.testing.assert_allclose(got, exact, rtol=count * np.finfo(dtype).eps)
    assert compiled(lambda a: function(a))(1.0) == pytest.approx(double.sum(), rel=count * 2e-16)


def edges(dtype) -> np.ndarray:
    """Numbers at which an exponent is the first or the last, in the middle, or none, times LANES."""
    info = np.finfo(dtype)
    rng = np.random.default_rng(5)
    odd = rng.uniform(0.5, 2.0, 40).astype(dtype)
    tiny = info.smallest_subnormal
    found = [0.0, 1.0, odd[0], info.max, info.tiny, tiny, 3 * tiny, np.nextafter(info.tiny, dtype(0)), INF, NAN]
    found = np.concatenate([np.array(found, dtype), odd])
    return np.concatenate([found, -found])


@compiled
def scaled(x, k, out):
    """x 2^k in lanes, and one by one."""
    for start in range(0, len(x), LANES):
        place = run(start, len(x))
        put(out[0], (place,), scale2(load(x, (place,), None), load(k, (place,), None)), None)
    for i in range(len(x)):
        out[1, i] = scale2(x[i], k[i])


@BOTH
def test_scale2_rounds_once(dtype):
    """NumPy's ldexp rounds once. A single number is a float64, so float32 numbers are only compared in lanes.

    Numbers far from 1 may be rounded twice, and only where half of the way is subnormal.
    """
    most = 2 * np.finfo(dtype).maxexp - 4
    powers = np.arange(-most, most + 1)
    x = edges(dtype)
    x, k = (np.ravel(part) for part in np.meshgrid(x, powers))
    out = np.full((2, len(x)), -7.0)
    scaled(x, k.astype(dtype), out)
    with np.errstate(all="ignore"):
        expected = np.ldexp(x, k.astype(np.int32))
        size, half = np.abs(x), np.abs(np.ldexp(x, (k // 2).astype(np.int32)))
    once = ~np.isfinite(x) | (size == 0) | ((size >= 2.0**-100) & (size <= 2.0**100))
    once |= half >= 2 * np.finfo(dtype).tiny
    twice = ~once & np.isfinite(expected)
    assert 0.01 < np.mean(twice) < 0.99
    for found in out[: 2 if dtype is np.float64 else 1]:
        same(found[once], expected[once])
        assert np.all(np.abs(found[twice] - expected[twice]) <= np.finfo(dtype).smallest_subnormal)


@compiled
def taken_apart(x, out):
    for start in range(0, len(x), LANES):
        place = run(start, len(x))
        m, k = split2(load(x, (place,), None))
        put(out[0], (place,), m, None)
        put(out[1], (place,), k, None)
        put(out[2], (place,), exponent_of(load(x, (place,), None)), None)


def normals(dtype) -> np.ndarray:
    """Positive normal numbers, among them those at which `split2` goes from one exponent to the next."""
    info = np.finfo(dtype)
    near = np.array([1.0, 2.0, 0.75, 1.5, 1.3], dtype)
    near = np.concatenate([near, np.nextafter(near, dtype(0)), np.nextafter(near, dtype(9))])
    exponents = np.arange(info.minexp + 1, info.maxexp - 1, 7)
    found = np.ldexp(near[:, None], exponents.astype(np.int32)).ravel()
    return np.concatenate([found, [info.tiny, info.max, np.nextafter(info.tiny, dtype(1))]]).astype(dtype)


@BOTH
def test_split2_and_exponent_of(dtype):
    x = normals(dtype)
    out = np.full((3, len(x)), -7.0)
    taken_apart(x, out)
    m, k, exponent = out
    np.testing.assert_array_equal(np.ldexp(m, k.astype(int)), x)
    assert np.all((m >= 0.75) & (m < 1.5))
    np.testing.assert_array_equal(exponent, np.frexp(x)[1] - 1)


@compiled
def one(x):
    """x^2 + 1/3."""
    return x * x + 1.0 / 3.0


@compiled
def two(x, y):
    """x - y/3."""
    return x - y / 3.0


ONE, TWO = lanewise(one), lanewise(two)


def test_lanewise_is_the_function_in_each_lane_in_float64():
    x, y = numbers(np.float64), numbers(np.float64, 1)
    with np.errstate(invalid="ignore"):
        same(apply(lambda a: ONE(a), x), one.py_func(x))
        same(apply(lambda a, b: TWO(a, b), x, y), two.py_func(x, y))
        same(apply(lambda a, b: TWO(a, b), x, 2), two.py_func(x, 2))
        small = x.astype(np.float32)
        same(apply(lambda a: ONE(a), small), one.py_func(small.astype(np.float64)).astype(np.float32))
        same(apply(lambda a, b: TWO(a, b), small, y), two.py_func(small.astype(np.float64), y))
        same(apply(lambda a: ONE(a), WHOLE), one.py_func(WHOLE.astype(np.float64)))
    assert compiled(lambda a: ONE(a))(3.0) == one.py_func(3.0)
    assert compiled(lambda a, b: TWO(a, b))(3.0, 1.0) == two.py_func(3.0, 1.0)
    assert (ONE.__name__, ONE.__doc__) == ("one", "x^2 + 1/3.")


# --- across lanes -------------------------------------------------------------------------------------------------


@compiled
def across(x, out):
    place = run(0, LANES)
    lanes = load(x, (place,), None)
    out[0], out[1], out[2], out[3] = sum_of(lanes), product_of(lanes), max_of(lanes), min_of(lanes)


def halved(x: np.ndarray, combine, count: int = 1) -> np.ndarray:
    """`count` numbers of all, by combining the two halves again and again."""
    while len(x) > count:
        x = combine(x[: len(x) // 2], x[len(x) // 2 :])
    return x


def reduced(x: np.ndarray) -> np.ndarray:
    out = np.full(4, -7.0)
    across(x, out)
    return out


def in_numpy(x: np.ndarray) -> list[float]:
    x = x.astype(np.float64)
    with np.errstate(all="ignore"):
        return [halved(x, np.add)[0], halved(x, np.multiply)[0], x.max(), x.min()]


@BOTH
def test_reductions(dtype):
    rng = np.random.default_rng(6)
    for _ in range(20):
        x = (rng.standard_normal(LANES) * 10.0 ** rng.integers(-3, 4, LANES)).astype(dtype)
        same(reduced(x), in_numpy(x))


@BOTH
@pytest.mark.parametrize("special", [NAN, INF, -INF, 0.0, 1e30])
def test_reductions_with_something_special_in_each_lane(special, dtype):
    for lane in range(LANES):
        x = np.linspace(-1.0, 2.0, LANES).astype(dtype)
        x[lane] = special
        got, expected = reduced(x), in_numpy(x)
        np.testing.assert_array_equal(got, expected, err_msg=f"lane {lane}")
        if np.isnan(special):
            assert np.isnan(got).all()


def test_two_nans_are_no_less_than_one():
    x = np.ones(LANES)
    x[[0, LANES // 2]] = NAN
    assert np.isnan(reduced(x)).all()


@compiled
def sum_in_registers(x):
    total = 0.0
    for start in range(0, x.size, LANES):
        total = total + folded(load(x, (run(start, x.size),), None))
    return sum_of(total)


@BOTH
def test_sums_of_registers(dtype):
    """Lanes are halved down to a register, registers added, and the sum's lanes halved down to a number."""
    rng = np.random.default_rng(8)
    for steps in (0, 1, 3):
        x = (rng.standard_normal(steps * LANES) * 10.0 ** rng.integers(-3, 4, steps * LANES)).astype(dtype)
        total = np.zeros(LANES // 4)
        for lanes in x.astype(np.float64).reshape(steps, LANES):
            total = total + halved(lanes, np.add, len(total))
        assert sum_in_registers(x) == halved(total, np.add)[0]
    assert compiled(lambda x: folded(x))(2.5) == 2.5


def test_a_single_number_is_its_own_reduction():
    single = compiled(lambda x: (sum_of(x), product_of(x), max_of(x), min_of(x)))
    assert single(2.5) == (2.5,) * 4


@compiled
def topmost(x, places):
    lanes = run(0, LANES)
    return first_max(load(x, (lanes,), None), load(places, (lanes,), None))


def test_the_first_place_of_the_largest():
    rng = np.random.default_rng(7)
    for dtype in (np.float32, np.float64):
        for _ in range(50):
            x = rng.integers(0, 4, LANES).astype(dtype)  # many are as large as the largest
            places = rng.permutation(1000)[:LANES]
            assert topmost(x, places) == (x.max(), places[x == x.max()].min())


def test_the_first_place_of_special_numbers():
    places = np.arange(LANES) + 5
    for lane in range(LANES):
        x = np.zeros(LANES)
        x[lane] = INF
        assert topmost(x, places) == (INF, lane + 5)
        x[lane] = NAN  # the largest is no number, and no place is that of one
        top, place = topmost(x, places)
        assert np.isnan(top)
        assert place == 0
    assert topmost(np.full(LANES, -INF), places) == (-INF, 5)
    assert topmost(np.full(LANES, -INF), np.zeros(LANES, np.int64)) == (-INF, 0)


# --- variables that change their type -----------------------------------------------------------------------------


def test_a_number_becomes_lanes_in_a_loop():
    """What a variable starts from is a single number; it holds the type that both have together."""

    @compiled
    def kernel(x, y, steps, out):
        place = run(0, LANES)
        total, largest, at = 0.0, -np.inf, 0
        for step in range(steps):
            entry = load(x, (place,), None)
            total = total + entry * step
            largest = select(entry > largest, entry, largest)
            at = select(entry == largest, place, at)
        put(out[0], (place,), total, None)
        put(out[1], (place,), largest, None)
        put(out[2], (place,), at, None)

    x = np.linspace(-1, 1, LANES)
    out = np.full((3, LANES), -7.0)
    kernel(x, x, 3, out)
    same(out[0], x * 1 + x * 2)
    same(out[1], x)
    same(out[2], np.arange(LANES))
    kernel(x, x, 0, out)
    same(out[0], np.zeros(LANES))
    same(out[1], np.full(LANES, -INF))
    same(out[2], np.zeros(LANES))


def test_the_places_of_a_run_are_whole_numbers():
    def kernel(start, scale):
        return run(start, start + 1) * scale

    got = apply(kernel, 10, 2)
    same(got, 2 * (10 + np.arange(LANES)))
    same(apply(lambda start: run(start, 99) + 0.25, 2**40), 2.0**40 + np.arange(LANES) + 0.25)
