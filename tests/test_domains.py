"""`_domains`: a kernel's test of its samples finds exactly the entries that the host's scan finds."""

from __future__ import annotations

import numpy as np
import pytest
import symloss_kernels as sk
from numba import njit
from symloss_kernels._domains import (
    LONG,
    MANY,
    any_outside,
    extended,
    first_other,
    first_outside,
    make_zero,
    other_than,
    outside,
    strays,
)
from symloss_kernels._lanes import LANES
from symloss_kernels._memory import load
from symloss_kernels._runs import run
from sympy import Interval, log, oo

import symloss
from symloss import spec

BOTH = pytest.mark.parametrize("dtype", [np.float32, np.float64])
SHAPES = [(1,), (LANES - 1,), (LANES,), (2 * LANES + 3,), (5, 1), (LANES + 1, 7), (3, LANES + 5), (2, 3, 4)]
#: Numbers around the ends of [-1, 2], among them the nearest floats.
ENDS = (-1.0, 2.0)


def compared(test):
    """From an array to whether each block of samples, and each sample, has an entry that is out."""
    compiled = njit(test)

    @njit
    def blocks(array):
        return [compiled(array, run(start, len(array))) for start in range(0, len(array), LANES)]

    @njit
    def samples(array):
        return [compiled(array, i) for i in range(len(array))]

    return blocks, samples


INTERVALS = {
    "[]": lambda core: compared(lambda array, place: outside(array, place, core, (-1.0, 2.0), "[]")),
    "[)": lambda core: compared(lambda array, place: outside(array, place, core, (-1.0, 2.0), "[)")),
    "(]": lambda core: compared(lambda array, place: outside(array, place, core, (-1.0, 2.0), "(]")),
    "()": lambda core: compared(lambda array, place: outside(array, place, core, (-1.0, 2.0), "()")),
}


def is_out(x: np.ndarray, ends: str) -> np.ndarray:
    low = x <= ENDS[0] if ends[0] == "(" else x < ENDS[0]
    high = x >= ENDS[1] if ends[1] == ")" else x > ENDS[1]
    return low | high


def assert_found(pair, array: np.ndarray, out: np.ndarray) -> None:
    blocks, samples = pair
    rows = out.reshape(len(array), -1).any(axis=1)
    assert samples(array) == rows.tolist()
    assert blocks(array) == [bool(rows[at : at + LANES].any()) for at in range(0, len(array), LANES)]


@BOTH
@pytest.mark.parametrize("ends", INTERVALS)
def test_one_entry_outside_an_interval_is_found_wherever_it_lies(ends, dtype):
    low, high = (dtype(end) for end in ENDS)
    beside = [np.nextafter(low, dtype(-9)), low, np.nextafter(low, dtype(9)), np.nextafter(high, dtype(9)), high,
              np.nextafter(high, dtype(-9)), dtype(np.nan), dtype(np.inf), dtype(-np.inf)]  # fmt: skip
    for shape in SHAPES:
        pair = INTERVALS[ends](len(shape) - 1)
        for i, number in enumerate(beside):
            array = np.ones(shape, dtype)
            flat = array.reshape(-1)
            flat[(7 * i + 3) % flat.size] = number
            assert_found(pair, array, is_out(array, ends))


@BOTH
def test_a_number_that_is_none_of_the_values_is_found(dtype):
    for shape in SHAPES:
        core = len(shape) - 1
        pair = compared(lambda array, place, core=core: other_than(array, place, core, (-1.0, 1.0)))
        for i, number in enumerate((-1.0, 1.0, 0.0, np.nextafter(dtype(1), dtype(2)), np.nan, np.inf)):
            array = np.where(np.arange(np.prod(shape)) % 2, -1.0, 1.0).astype(dtype).reshape(shape)
            array.reshape(-1)[(5 * i + 2) % array.size] = number
            assert_found(pair, array, ~np.isin(array, (-1.0, 1.0)) & ~np.isnan(array))
            where = first_other(array.reshape(-1), np.array([-1.0, 1.0], dtype))
            out = np.flatnonzero(~np.isin(array, (-1.0, 1.0)) & ~np.isnan(array))
            assert where == (out[0] if len(out) else -1)


@njit
def of_row(array):
    """The kernels' test of entries as they are read."""
    least, most = np.inf, -np.inf
    for start in range(0, len(array), LANES):
        place = run(start, len(array))
        least, most = extended(least, most, place, load(array, (place,), None))
    return strays(least, most, (-1.0, 2.0), "[]"), strays(least, most, (-1.0, 2.0), "()")


@BOTH
def test_entries_are_tested_as_they_are_read(dtype):
    """Each place in a register counts, whatever NaN is read after it."""
    low, high = (dtype(end) for end in ENDS)
    for number in (low, high, np.nextafter(low, dtype(-9)), np.nextafter(high, dtype(9)), dtype(np.inf), -dtype(np.inf)):
        for place in range(0, 3 * LANES + 2, 3):
            array = np.full(3 * LANES + 2, np.nan, dtype)
            array[::5] = 1.0
            array[place] = number
            assert of_row(array) == (is_out(array, "[]").any(), is_out(array, "()").any())
    assert of_row(np.empty(0, dtype)) == (False, False)
    assert of_row(np.full(LANES, np.nan, dtype)) == (False, False)


def test_labels():
    pair = compared(lambda array, place: outside(array, place, 0, (0, 9), "[]"))
    for n in (1, LANES, LANES + 3):
        for number in (0, 9, 10, -1, 2**40):
            labels = np.full(n, 5)
            labels[n // 2] = number
            assert_found(pair, labels, (labels < 0) | (labels > 9))


def test_what_all_samples_share_is_left_to_the_host():
    blocks, samples = INTERVALS["[]"](1)
    assert not any(samples(np.full(3, 7.0)))
    assert not any(blocks(np.full(3, 7.0)))


@njit
def outside_anywhere(array, zeros):
    return any_outside(array, zeros, 2, (-1.0, 2.0), "[)")


@njit
def zeroed(array):
    make_zero(array, 2)


def amid(shape: tuple[int, ...], dtype: type, skip: int) -> tuple[np.ndarray, np.ndarray]:
    """An array of sevens with others around it, beginning `skip` entries behind a line of memory; and all of them."""
    room = np.full(64 + skip + int(np.prod(shape)) + 9, 7.0, dtype)
    start = -room.ctypes.data % 64 // room.itemsize + skip
    return room[start : start + int(np.prod(shape))].reshape(shape), room


@BOTH
@pytest.mark.parametrize("skip", [0, 1])
@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (3, 2, 5), (1, 1, LONG - 1), (3, 1, LONG), (2, LONG + 5, 3), (1, MANY + 3, 1), (0, 3, 2)]
)
def test_all_samples_are_tested_at_once_and_outputs_become_zero(shape, skip, dtype):
    array = np.full(shape, np.nan, dtype)
    array.reshape(-1)[::2] = -1.0
    for make in (lambda output: outside_anywhere(array, output), zeroed):
        output, room = amid(shape, dtype, skip)
        assert not make(output)
        assert not output.any()
        assert (room == 7.0).sum() == room.size - output.size
    assert not outside_anywhere(array, None)
    size = array.size
    for place in {*range(0, size, max(1, size // 9)), *range(max(0, size - 2 * LANES - 1), size)}:
        before, array.reshape(-1)[place] = array.reshape(-1)[place], (2.0, -2.0)[place % 2]
        assert outside_anywhere(array, None) and outside_anywhere(array, amid(shape, dtype, skip)[0])
        array.reshape(-1)[place] = before


def test_sums_over_samples_are_not_made_zero():
    array, total = np.full((3, 2), 0.5), np.full((3, 2), 7.0)
    assert not outside_anywhere(array, total)
    zeroed(total)
    assert (total == 7.0).all()


@BOTH
def test_the_host_finds_the_first(dtype):
    array = np.full(3 * LANES, 0.5, dtype)
    assert first_outside(array, dtype(0), dtype(1)) == -1
    array[[7, 2 * LANES]] = np.nan, 1.5
    assert first_outside(array, dtype(0), dtype(1)) == 2 * LANES


# --- calls ------------------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("size", [3, 500])
@pytest.mark.parametrize("with_out", [False, True])
def test_one_entry_in_many_is_named(size, with_out, dtype):
    """Rows in narrow and wide kernels; NaN elsewhere stays NaN and refuses nothing."""
    n = 400_000 // size
    rng = np.random.default_rng(0)
    p, q = rng.uniform(0.1, 0.9, (2, n, size)).astype(dtype)
    p[1, 1] = np.nan
    assert np.isnan(sk.kl_divergence.value(p, q))
    where = (n - 2, size - 1)
    p[where] = 1.5
    before = np.full_like(p, 7.0)
    for entry in ("grad", "value_and_grad") if with_out else ("value", "grad", "value_and_grad", "grad_and_hess"):
        out = {"out": before} if with_out else {}
        with pytest.raises(ValueError, match=rf"`prediction\[{where[0]}, {where[1]}\]` = 1.5 is outside its domain"):
            getattr(sk.kl_divergence, entry)(p, q, **out)
    assert (before == 7.0).all()


@BOTH
@pytest.mark.parametrize("entry", ["grad", "value_and_grad", "grad_and_hess", "hvp"])
@pytest.mark.parametrize(("n", "size"), [(5, 3), (70_000, 5), (300, 700), (3, 800_001)])
def test_sparse_outputs_are_zero_but_for_their_labels(n, size, entry, dtype):
    """Small, in many pieces, in long rows and past the caches; into what had other numbers, with weights and without."""
    rng = np.random.default_rng(3)
    p, label = rng.uniform(0.1, 0.9, (n, size)).astype(dtype), rng.integers(0, size, n)
    rows, more = np.arange(n), {"vector": np.ones_like(p)} if entry == "hvp" else {}
    for weight in (None, rng.integers(0, 3, n).astype(float)):
        outs = [np.full_like(p, 7.0) for _ in range(2 if entry == "grad_and_hess" else 1)]
        out = tuple(outs) if len(outs) > 1 else outs[0]
        got = getattr(sk.sparse_cross_entropy, entry)(p, label, weight=weight, reduction="sum", out=out, **more)
        again = getattr(sk.sparse_cross_entropy, entry)(p, label, weight=weight, reduction="sum", **more)
        w = np.ones(n) if weight is None else weight
        slopes = {"hvp": w / p[rows, label].astype(float) ** 2}.get(entry, -w / p[rows, label].astype(float))
        expected = np.zeros(p.shape)
        for array, own in zip(outs, (slopes, -slopes / p[rows, label]), strict=False):
            expected[rows, label] = own
            np.testing.assert_allclose(array, expected, rtol=1e-6)
        found = {"value_and_grad": lambda r: r[1:], "grad_and_hess": lambda r: r}.get(entry, lambda r: (r,))
        for given, made in zip(found(got), found(again), strict=True):
            np.testing.assert_array_equal(given, made)


@pytest.mark.parametrize(("n", "size"), [(3, 4), (300, 1000), (70_000, 3)])
def test_a_sample_of_weight_zero_is_tested_too(n, size):
    p = np.full((n, size), 0.5)
    weight = np.ones(n)
    weight[1] = 0.0
    bad = p.copy()
    bad[1, 2] = 2.0
    for loss in (sk.kl_divergence, sk.soft_target_cross_entropy):
        for keywords in ({}, {"reduction": "none"}):
            with pytest.raises(ValueError, match=r"`target\[1, 2\]` = 2.0 is outside its domain"):
                loss.value_and_grad(p, bad, weight=weight, **keywords)


def test_an_open_end_is_outside_in_kernels_too():
    """The nearest float beside an open end is inside, in each precision."""

    @spec.loss(title="Rate")
    def rate(prediction: spec.Prediction.over(Interval.open(0, oo)), target: spec.Target):
        return prediction - target * log(prediction)

    loss = symloss.compile(rate)
    for dtype in (np.float32, np.float64):
        least = np.nextafter(dtype(0), dtype(1))
        for n in (5, 100_000):
            x = np.ones(n, dtype)
            x[3] = least
            assert np.isfinite(loss.value(x, x))
            x[3] = 0.0
            with pytest.raises(ValueError, match=r"`prediction\[3\]` = 0.0 is outside its domain"):
                loss.value(x, x)
