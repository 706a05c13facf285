"""Errors in ulp at the edges: subnormals, powers of two, overflow, NaN."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mpmath import mp, mpf

from symloss.ulp import from_ordinal, to_ordinal, ulp, ulp_error

INF = float("inf")
BOTH = pytest.mark.parametrize("dtype", ["float32", "float64"])


@BOTH
@pytest.mark.parametrize("x", [1.0, 1.5, 2.0, 0.1, 1e-30, 1e30, -3.0])
def test_ulp_is_numpy_spacing(x, dtype):
    rounded = np.dtype(dtype).type(x)
    assert ulp(mpf(float(rounded)), dtype) == abs(float(np.spacing(rounded)))


@BOTH
def test_ulp_at_the_bottom_and_at_the_top(dtype):
    info = np.finfo(dtype)
    smallest = float(info.smallest_subnormal)
    for x in (0, mpf("1e-400"), mpf(smallest), mpf(float(info.tiny)) / 2):
        assert ulp(x, dtype) == smallest
    largest = mpf(float(info.max))
    step = largest - float(np.nextafter(info.max, np.dtype(dtype).type(0)))
    assert ulp(largest, dtype) == ulp(largest * 1000, dtype) == step


@BOTH
def test_ulp_of_what_rounds_up_to_a_power_of_two(dtype):
    with mp.workdps(60):
        below = 2 - mpf(2) ** -80
    assert ulp(below, dtype) == float(np.spacing(np.dtype(dtype).type(2)))


@BOTH
def test_errors(dtype):
    one = np.dtype(dtype).type(1)
    up = np.nextafter(one, one * 2)
    assert ulp_error(one, mpf(1), dtype) == 0
    assert ulp_error(up, mpf(1), dtype) == 1
    assert ulp_error(-one, mpf(1), dtype) > 1e6
    with mp.workdps(60):
        assert ulp_error(one, 1 + ulp(1, dtype) / 4, dtype) == 0.25


def test_the_exact_result_keeps_its_digits():
    with mp.workdps(60):
        exact = 1 + mpf(2) ** -54
    assert ulp_error(1.0, exact, "float64") == 0.25


@BOTH
def test_overflow_and_underflow(dtype):
    top = np.finfo(dtype).max
    beyond = mpf("1e400")
    assert ulp_error(INF, beyond, dtype) == 0
    assert ulp_error(top, beyond, dtype) == 0
    assert ulp_error(-INF, beyond, dtype) == INF
    assert ulp_error(1.0, beyond, dtype) > 1e6
    assert ulp_error(INF, mpf(float(top)), dtype) == INF
    assert ulp_error(0.0, mpf("1e-400"), dtype) < 1e-30
    assert ulp_error(np.finfo(dtype).smallest_subnormal, mpf("1e-400"), dtype) == 1


@BOTH
def test_infinite_and_undefined(dtype):
    assert ulp_error(float("nan"), mpf(0), dtype) == INF
    assert ulp_error(INF, mpf("inf"), dtype) == 0
    assert ulp_error(-INF, mpf("inf"), dtype) == INF
    assert ulp_error(float("nan"), mpf("inf"), dtype) == INF
    assert ulp_error(1e30, mpf("inf"), dtype) == INF
    assert ulp_error(3.0, mpf("nan"), dtype) == 0


@BOTH
def test_ordinals_count_floats(dtype):
    kind = np.dtype(dtype).type
    assert to_ordinal(0.0, dtype) == to_ordinal(-0.0, dtype) == 0
    assert from_ordinal(1, dtype) == np.finfo(dtype).smallest_subnormal
    assert from_ordinal(-1, dtype) == -np.finfo(dtype).smallest_subnormal
    assert to_ordinal(np.nextafter(kind(1), kind(2)), dtype) == to_ordinal(1.0, dtype) + 1
    assert np.isinf(from_ordinal(to_ordinal(np.finfo(dtype).max, dtype) + 1, dtype))
    with pytest.raises(ValueError, match="no ordinal"):
        to_ordinal(float("nan"), dtype)
    with pytest.raises(ValueError, match="beyond infinity"):
        from_ordinal(2**63, dtype)


@given(st.floats(allow_nan=False, width=32))
def test_ordinals_go_both_ways(x):
    for dtype in ("float32", "float64"):
        back = from_ordinal(to_ordinal(x, dtype), dtype)
        assert back == x and back.dtype == dtype


def test_other_dtypes_are_refused():
    with pytest.raises(TypeError, match="float16"):
        ulp(1, np.float16)
