"""`_domains`: a kernel's test of its samples finds exactly the entries that the host's scan finds."""

from __future__ import annotations

import numpy as np
import pytest
import symloss_kernels as sk
from numba import njit
from symloss_kernels._domains import (
    MANY,
    extended,
    first_other,
    first_outside,
    make_zero,
    other_than,
    other_than_at,
    outside,
    outside_at,
    strays,
)
from symloss_kernels._lanes import LANES
from symloss_kernels._memory import load
from symloss_kernels._runs import run
from sympy import FiniteSet, Interval, log, oo

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
def zeroed(array):
    make_zero(array, 2)


def amid(shape: tuple[int, ...], dtype: type, skip: int) -> tuple[np.ndarray, np.ndarray]:
    """An array of sevens with others around it, beginning `skip` entries behind a line of memory; and all of them."""
    room = np.full(64 + skip + int(np.prod(shape)) + 9, 7.0, dtype)
    start = -room.ctypes.data % 64 // room.itemsize + skip
    return room[start : start + int(np.prod(shape))].reshape(shape), room


@BOTH
@pytest.mark.parametrize("skip", [0, 1])
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 2, 5), (1, MANY + 3, 1), (0, 3, 2)])
def test_outputs_become_zero(shape, skip, dtype):
    output, room = amid(shape, dtype, skip)
    zeroed(output)
    assert not output.any()
    assert (room == 7.0).sum() == room.size - output.size


def test_sums_over_samples_are_not_made_zero():
    total = np.full((3, 2), 7.0)
    zeroed(total)
    assert (total == 7.0).all()


@njit
def at_labels(array, labels):
    """Which blocks of samples, and which samples, have an entry outside at their labels, and which none of two values."""
    found = [
        (outside_at(array, (sample, load(labels, (sample,), None)), (-1.0, 2.0), "[)"),
         other_than_at(array, (sample, load(labels, (sample,), None)), (-1.0, 1.0)))
        for sample in [run(start, len(labels)) for start in range(0, len(labels), LANES)]
    ]  # fmt: skip
    single = [
        (outside_at(array, (sample, labels[sample]), (-1.0, 2.0), "[)"),
         other_than_at(array, (sample, labels[sample]), (-1.0, 1.0)))
        for sample in range(len(labels))
    ]  # fmt: skip
    return found, single


@BOTH
@pytest.mark.parametrize("n", [1, LANES, 2 * LANES + 3])
def test_of_a_row_the_entry_at_the_label_is_tested(n, dtype):
    rng = np.random.default_rng(n)
    labels = rng.integers(0, 3, n)
    for number in (-1.0, 1.0, 1.5, 2.0, np.nextafter(dtype(-1), dtype(-2)), np.nan, np.inf):
        for place in {0, n // 2, n - 1}:
            array = np.full((n, 3), 9.0, dtype)  # the others may be anything
            array[np.arange(n), labels] = 1.0
            array[place, labels[place]] = number
            out = not (-1 <= number < 2 or np.isnan(number)), not (abs(number) == 1 or np.isnan(number))
            blocks, single = at_labels(array, labels)
            assert [i for i, found in enumerate(single) if any(found)] == ([place] if any(out) else [])
            assert single[place] == out
            assert blocks[place // LANES] == out
    for shared in (np.full(3, 9.0, dtype), np.full(3, 1.0, dtype)):
        out = bool(shared[0] == 9.0)
        blocks, single = at_labels(shared, labels)
        assert set(blocks) == set(single) == {(out, out)}


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


def sparse_calls(p, label):
    """Each entry point of a loss that reads one entry a row, and each way of a call."""
    loss, ones = sk.sparse_cross_entropy, np.ones(np.shape(label))
    for more in ({}, {"weight": ones}, {"reduction": "none"}, {"ignore_index": -1}):
        yield lambda more=more: loss.value(p, label, **more)
        yield lambda more=more: loss.value_and_grad(p, label, **more)
    yield lambda: loss.grad(p, label)
    yield lambda: loss.grad_and_hess(p, label)
    yield lambda: loss.hvp(p, label, vector=np.ones_like(p))
    yield lambda: loss.grad(p, label, out=np.empty_like(p))


@BOTH
@pytest.mark.parametrize(("n", "size"), [(5, 3), (5, 200), (70_000, 3), (300, 1000)])
def test_an_entry_that_no_label_picks_is_not_tested(n, size, dtype):
    """It changes nothing, and where the label picks it, it is named."""
    label = np.random.default_rng(0).integers(0, size, n)
    p = np.full((n, size), 0.5, dtype)
    at = n - 2
    bad = p.copy()
    bad[at, (label[at] + 1) % size] = 1.5
    for good, same in zip(sparse_calls(p, label), sparse_calls(bad, label), strict=True):
        for x, y in zip(parts(good()), parts(same()), strict=True):
            np.testing.assert_array_equal(x, y)
    bad[at, label[at]] = -0.25
    message = rf"`prediction\[{at}, {label[at]}\]` = -0.25 is outside its domain \[0, 1\]"
    for call in sparse_calls(bad, label):
        with pytest.raises(ValueError, match=message):
            call()
    out = np.full_like(p, 7.0)
    with pytest.raises(ValueError, match=message):
        sk.sparse_cross_entropy.grad(bad, label, out=out)
    assert (out == 7.0).all()
    # A sample that doesn't count isn't read.
    weight = np.ones(n)
    weight[at] = 0.0
    ignored = label.copy()
    ignored[at] = -100
    loss, counted = sk.sparse_cross_entropy, np.delete(label, at)
    for keywords in ({}, {"out": np.empty_like(p)}):
        for given, more in ((label, {"weight": weight}), (ignored, {"ignore_index": -100})):
            found = loss.grad(bad, given, reduction="sum", **more, **keywords)
            np.testing.assert_array_equal(np.delete(found, at, 0), loss.grad(p[:-1], counted, reduction="sum"))
            assert not found[at].any()


def parts(result) -> tuple:
    return result if isinstance(result, tuple) else (result,)


@BOTH
def test_an_entry_at_a_label_is_named_in_its_own_array(dtype):
    """Shared by samples, spread over some of them, of another type, strided."""
    loss = sk.sparse_cross_entropy
    row = np.array([0.5, 1.5, 0.25], dtype)
    for n in (4, 100_000):
        assert np.isfinite(loss.value(row, np.zeros(n, int)))
        with pytest.raises(ValueError, match=r"`prediction\[1\]` = 1.5 is outside"):
            loss.value_and_grad(row, np.arange(n) % 2)
        few = np.stack([row, row[[0, 2, 1]]])[:, None]  # (2, 1, 3)
        assert np.isfinite(loss.value(few, np.zeros((2, n), np.int8)))
        with pytest.raises(ValueError, match=r"`prediction\[1, 0, 2\]` = 1.5 is outside"):
            loss.grad(few, np.array([[0], [2]], np.uint64).repeat(n, 1))
        many = np.full((3, n), 0.5, dtype)
        many[2, n - 1] = 1.5
        with pytest.raises(ValueError, match=rf"`prediction\[{n - 1}, 2\]` = 1.5 is outside"):
            loss.grad(many.T, np.full(n, 2))
    with pytest.raises(ValueError, match=r"`prediction\[1\]` = 1.5 is outside"):
        loss.value(row, 1)


@spec.loss(title="Picked twice")
def picked_twice(
    prediction: spec.Prediction["K", "L"].over(Interval(0, oo)),
    target: spec.Target["K"].over(FiniteSet(0, 1)),
    row: spec.Label["K"],
    column: spec.Label["L"],
):
    return target[row] * prediction[row, column] ** 2 / 2


def test_two_labels_and_a_finite_set():
    loss = symloss.compile(picked_twice)
    rng = np.random.default_rng(0)
    for n in (3, 50_000):
        p, t = np.full((n, 2, 3), -1.0), np.full((n, 2), 0.5)
        row, column = rng.integers(0, 2, n), rng.integers(0, 3, n)
        which = np.arange(n)
        p[which, row, column], t[which, row] = 3.0, 1.0
        value, grad = loss.value_and_grad(p, t, row, column, reduction="sum")
        assert value == 4.5 * n
        expected = np.zeros_like(p)
        expected[which, row, column] = 3.0
        np.testing.assert_array_equal(grad, expected)
        t[1, row[1]] = 0.5
        with pytest.raises(ValueError, match=rf"`target\[1, {row[1]}\]` = 0.5 is outside its domain {{0, 1}}"):
            loss.grad(p, t, row, column)
        t[1, row[1]] = 0.0
        p[2, row[2], column[2]] = -2.0
        with pytest.raises(ValueError, match=rf"`prediction\[2, {row[2]}, {column[2]}\]` = -2.0 is outside"):
            loss.value(p, t, row, column)


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
