"""Reads and writes of lanes: runs, rows, strides, labels, shared arrays, tiles; and nothing beyond an array's end."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import assembly
import numpy as np
import pytest
from numba import njit
from symloss_kernels._lanes import LANES
from symloss_kernels._memory import LINE, PART, add_to, load, load_wide, put, put_unless, stream
from symloss_kernels._runs import occupied, only, run, within
from symloss_kernels._tiles import clear, fetch, flush, tile_of

ROOT = Path(__file__).parent.parent
compiled = njit(error_model="numpy")
#: Lengths that leave the last vector full, almost full, almost empty, and everything between.
LENGTHS = [*range(1, LANES + 2), 2 * LANES - 1, 2 * LANES, 2 * LANES + 1, 5 * LANES + 3]
BOTH = pytest.mark.parametrize("dtype", [np.float32, np.float64])
FROM_TO = pytest.mark.parametrize(
    ("source", "target"),
    [(np.float32, np.float32), (np.float64, np.float64), (np.float32, np.float64), (np.float64, np.float32)],
)
CANARY = 0xA5


class Fenced:
    """An array between bytes that nobody may touch."""

    def __init__(self, shape, dtype, fill=None) -> None:
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        self.room = np.full(size + 2 * 512, CANARY, np.uint8)
        self.array = self.room[512 : 512 + size].view(dtype).reshape(shape)
        if fill is not None:
            self.array[...] = fill

    def whole(self) -> bool:
        """Whether the bytes around the array are as they were."""
        return bool(np.all(self.room[:512] == CANARY) and np.all(self.room[-512:] == CANARY))


def normal(*shape, dtype=np.float64, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


# --- runs ---------------------------------------------------------------------------------------------------------


@compiled
def marked(start, stop, test, weight, out):
    """Which lanes are in use: of a run, of the places where a test holds, and of those with a weight."""
    place = run(start, stop)
    lanes = run(0, LANES)
    holds = load(test, (lanes,), None) > 0.0
    put(out[0], (lanes,), within(place, 1.0, 0.0), None)
    put(out[1], (lanes,), within(only(place, holds), 1.0, 0.0), None)
    sample_weight = load(weight, (place,), None)
    put(out[2], (lanes,), within(occupied(place, weight, sample_weight), 1.0, 0.0), None)
    put(out[3], (lanes,), within(only(only(place, holds), holds), 1.0, 0.0), None)


@pytest.mark.parametrize("start", [0, 5, 3 * LANES])
def test_lanes_in_use(start):
    test = np.arange(LANES) % 3.0
    for count in (*range(1, LANES + 1), LANES + 1, 4 * LANES):
        weight = np.resize([1.0, 0.0, 2.5, -0.0, np.nan, -1.0], start + count)
        out = np.full((4, LANES), -7.0)
        marked(start, start + count, test, weight, out)
        used = np.arange(LANES) < count
        weighs = np.zeros(LANES, bool)
        part = weight[start : start + LANES]
        weighs[: len(part)] = part != 0  # a NaN is a weight
        for row, expected in zip(out, [used, used & (test > 0), used & weighs, used & (test > 0)], strict=True):
            np.testing.assert_array_equal(row, expected)


@compiled
def unweighted(start, stop, out):
    place = run(start, stop)
    place = occupied(place, None, load(None, (place,), None))
    put(out, (run(0, LANES),), within(place, 1.0, 0.0), None)
    return load(None, (place,), None)


def test_without_weights_each_is_1_and_all_samples_are_in_use():
    out = np.full(LANES, -7.0)
    assert unweighted(0, LANES - 1, out) == 1.0
    np.testing.assert_array_equal(out, np.arange(LANES) < LANES - 1)


@compiled
def filled(x, out):
    for start in range(0, len(x), LANES):
        place = run(start, len(x))
        put(out, (run(start, len(out)),), within(place, load(x, (place,), None), -3.0), None)


def test_within_takes_the_other_number_outside():
    x, out = normal(LANES - 2), np.full(LANES, -7.0)
    filled(x, out)
    np.testing.assert_array_equal(out, [*x, -3.0, -3.0])
    assert compiled(lambda i, x: within(i, x, -3.0))(0, 2.0) == 2.0


@compiled
def by_halves(x, out):
    """Each half of the lanes is written by a run of its own."""
    for start in range(0, len(x), LANES):
        place = run(start, len(x))
        entry = load(x, (place,), None)
        put(out, (only(place, entry > 0.0),), entry, None)
        put(out, (only(place, entry < 0.0),), 2.0 * entry, None)


@FROM_TO
def test_a_restricted_run_writes_nothing_elsewhere(source, target):
    for n in LENGTHS:
        x = normal(n, dtype=source, seed=n)
        x[::4] = 0.0
        out = Fenced(n, target, -7.0)
        by_halves(x, out.array)
        np.testing.assert_array_equal(out.array, np.where(x > 0, x, np.where(x < 0, 2 * x, -7.0)).astype(target))
        assert out.whole()


# --- rows of neighbours -------------------------------------------------------------------------------------------


@compiled
def copied(x, out):
    for start in range(0, len(x), LANES):
        place = run(start, len(x))
        put(out, (place,), load(x, (place,), None), None)


@pytest.mark.skipif(not assembly.X86, reason="reads the machine code of x86 processors")
@BOTH
def test_lines_of_rows_are_asked_for_ahead_and_those_of_tiles_are_not(dtype):
    row = np.zeros(LANES, dtype)
    asked = re.findall(r"\bprefetch(?:t0|w)\b", assembly.compiled(copied, (row, row)))
    for kind in ("prefetcht0", "prefetchw"):  # each line of the lanes, as often as the loop is unrolled
        assert asked.count(kind) and asked.count(kind) % (row.nbytes // LINE) == 0
    rows = row.reshape(1, LANES)
    assert "prefetch" not in assembly.compiled(through_tiles, (rows, None, rows))


@compiled
def streamed(x, out, past_caches):
    for start in range(0, len(x), LANES):
        place = run(start, len(x))
        stream(out, (place,), load(x, (place,), None), None, past_caches)


@pytest.mark.parametrize("past_caches", [True, False])
@BOTH
def test_writing_around_the_caches_writes_the_same(dtype, past_caches):
    """From every place in a line on: at some, the machine can't write around the caches."""
    for n in LENGTHS:
        x = normal(n, dtype=dtype)
        for skip in range(2 * PART // x.itemsize):
            out = Fenced(n + skip, dtype, fill=7.0)
            streamed(x, out.array[skip:], past_caches)
            np.testing.assert_array_equal(out.array[skip:], x)
            assert (out.array[:skip] == 7.0).all() and out.whole()


def test_what_all_samples_share_is_added_to_and_not_streamed():
    @compiled
    def kernel(x, out):
        for start in range(0, len(x), LANES):
            place = run(start, len(x))
            stream(out, (place, 0), load(x, (place,), None), None, True)

    x, out = np.arange(2.0 * LANES + 1), np.zeros(1)
    kernel(x, out)
    assert out[0] == x.sum()


@pytest.mark.skipif(not assembly.X86, reason="reads the machine code of x86 processors")
@BOTH
def test_stores_around_the_caches_are_the_machines_own(dtype):
    row = np.zeros(LANES, dtype)
    assert re.search(r"\bv?movnt(?:ps|pd|dq)\b", assembly.compiled(streamed, (row, row, True)))
    assert "movnt" not in assembly.compiled(copied, (row, row))


@compiled
def added(x, out):
    for start in range(0, len(x), LANES):
        place = run(start, len(x))
        add_to(out, (place,), load(x, (place,), None), None)


@compiled
def unless(x, out):
    for start in range(0, len(x), LANES):
        place = run(start, len(x))
        entry = load(x, (place,), None)
        put_unless(out, (place,), entry, None, entry > 0.0)


@FROM_TO
def test_a_vector_is_copied_and_added(source, target):
    for n in LENGTHS:
        x = normal(n, dtype=source, seed=n)
        out = Fenced(n, target, -7.0)
        copied(x, out.array)
        np.testing.assert_array_equal(out.array, x.astype(target))
        added(x, out.array)
        np.testing.assert_array_equal(out.array, x.astype(target) + x.astype(target))
        # An array of its own gets what is to be skipped too: another value is written there later.
        unless(x, out.array)
        np.testing.assert_array_equal(out.array, x.astype(target))
        assert out.whole()


@compiled
def whole_numbers(x, out):
    for start in range(0, len(x), LANES):
        place = run(start, len(x))
        entry = load(x, (place,), None)
        put(out, (place,), entry - 2**60, None)


def test_whole_numbers_are_read_exactly():
    for n in LENGTHS:
        out = np.full(n, -7.0)
        whole_numbers(2**60 + np.arange(n), out)
        np.testing.assert_array_equal(out, np.arange(n))


@compiled
def thirds(x, out):
    """1/3 of what is read, in the precision in which it is read."""
    place = run(0, len(x))
    put(out[0], (place,), load(x, (place,), None) / 3.0, None)
    put(out[1], (place,), load_wide(x, (place,), None) / 3.0, None)
    out[2, 0] = load(x, (0,), None) / 3.0
    out[3, 0] = load_wide(x, (0,), None) / 3.0


@BOTH
def test_lanes_keep_the_arrays_precision_unless_they_are_wanted_wide(dtype):
    x, out = np.ones(LANES, dtype), np.zeros((4, LANES))
    thirds(x, out)
    np.testing.assert_array_equal(out[0], np.full(LANES, dtype(1) / dtype(3)))
    np.testing.assert_array_equal(out[1], np.full(LANES, 1 / 3))
    assert out[2, 0] == out[3, 0] == 1 / 3  # a single number is a float64


def test_what_nobody_wants_is_written_nowhere():
    @compiled
    def kernel(x, values):
        place = run(0, len(x))
        put(values, (place,), load(x, (place,), None), None)
        add_to(values, (place,), 1.0, None)
        return 5

    assert kernel(normal(3), None) == 5


# --- rows of arrays with several axes -----------------------------------------------------------------------------


@compiled
def row_by_row(x, out):
    """Entries of a row in the lanes: (sample, run)."""
    for sample in range(x.shape[0]):
        for start in range(0, x.shape[1], LANES):
            k = run(start, x.shape[1])
            put(out, (sample, k), load(x, (sample, k), None), None)


@compiled
def column_by_column(x, out):
    """Samples in the lanes, a row apart: (run, k)."""
    for start in range(0, x.shape[0], LANES):
        sample = run(start, x.shape[0])
        for k in range(x.shape[1]):
            put(out, (sample, k), load(x, (sample, k), None), None)


@FROM_TO
@pytest.mark.parametrize("kernel", [row_by_row, column_by_column])
def test_arrays_with_two_axes(kernel, source, target):
    for n in (1, 3, LANES - 1, LANES, LANES + 1):
        for size in (1, 2, LANES - 1, LANES, LANES + 5):
            x = normal(n, size, dtype=source, seed=n)
            out = Fenced((n, size), target)
            kernel(x, out.array)
            np.testing.assert_array_equal(out.array, x.astype(target))
            assert out.whole()


@compiled
def in_the_middle(x, out):
    """A run along an axis in the middle, and along the last of three."""
    for i in range(x.shape[0]):
        for j in range(x.shape[2]):
            for start in range(0, x.shape[1], LANES):
                k = run(start, x.shape[1])
                put(out, (i, k, j), load(x, (i, k, j), None), None)
        for k in range(x.shape[1]):
            for start in range(0, x.shape[2], LANES):
                j = run(start, x.shape[2])
                add_to(out, (i, k, j), load(x, (i, k, j), None), None)


@BOTH
def test_arrays_with_three_axes(dtype):
    x = normal(2, LANES + 3, LANES + 1, dtype=dtype)
    out = Fenced(x.shape, dtype)
    in_the_middle(x, out.array)
    np.testing.assert_array_equal(out.array, 2 * x)
    assert out.whole()


# --- labels -------------------------------------------------------------------------------------------------------


@compiled
def picked(x, label, out):
    """Each sample's entry at its label, samples in the lanes."""
    for start in range(0, len(label), LANES):
        sample = run(start, len(label))
        at = load(label, (sample,), None)
        put(out, (sample,), load(x, (sample, at), None), None)


@compiled
def scattered(x, label, out):
    """Each sample's number at its label: `out` has a row a sample, or one row for all."""
    for start in range(0, len(label), LANES):
        sample = run(start, len(label))
        at = load(label, (sample,), None)
        add_to(out, (sample, at), load(x, (sample,), None), None)


@compiled
def scattered_rows(x, label, out):
    """Each sample's row at its label, an entry after the other."""
    for start in range(0, len(label), LANES):
        sample = run(start, len(label))
        at = load(label, (sample,), None)
        for d in range(x.shape[1]):
            add_to(out, (sample, at, d), load(x, (sample, d), None), None)


@BOTH
@pytest.mark.parametrize("shared", [False, True])
def test_labels_pick(dtype, shared):
    for n in LENGTHS:
        rng = np.random.default_rng(n)
        label = rng.integers(0, 5, n)
        x = normal(5, dtype=dtype) if shared else normal(n, 5, dtype=dtype, seed=n)
        out = Fenced(n, dtype, -7.0)
        picked(x, label, out.array)
        np.testing.assert_array_equal(out.array, x[label] if shared else x[np.arange(n), label])
        assert out.whole()


@BOTH
def test_labels_scatter_into_rows_of_their_own(dtype):
    for n in LENGTHS:
        rng = np.random.default_rng(n)
        label = rng.integers(0, 5, n)
        x = normal(n, dtype=dtype, seed=n)
        out = Fenced((n, 5), dtype, 1.0)
        scattered(x, label, out.array)
        expected = np.ones((n, 5), dtype)
        expected[np.arange(n), label] += x
        np.testing.assert_array_equal(out.array, expected)
        assert out.whole()


@pytest.mark.parametrize("classes", [1, 2, 5, 100])
def test_samples_with_one_label_are_added_one_by_one(classes):
    """With a class, every lane of a vector falls on one entry. In order, so the sums are NumPy's to the last bit."""
    for n in LENGTHS:
        rng = np.random.default_rng(n)
        label = rng.integers(0, classes, n)
        x = normal(n, seed=n)
        out = Fenced(classes, np.float64, 0.0)
        scattered(x, label, out.array)
        expected = np.zeros(classes)
        np.add.at(expected, label, x)
        np.testing.assert_array_equal(out.array, expected)
        assert out.whole()


@pytest.mark.parametrize("shared", [False, True])
def test_rows_at_labels(shared):
    for n in (1, LANES - 1, LANES, 2 * LANES + 3):
        rng = np.random.default_rng(n)
        label = rng.integers(0, 3, n)
        x = normal(n, 4, seed=n)
        out = Fenced((3, 4) if shared else (n, 3, 4), np.float64, 0.0)
        scattered_rows(x, label, out.array)
        expected = np.zeros(out.array.shape)
        if shared:
            np.add.at(expected, label, x)
        else:
            expected[np.arange(n), label] = x
        np.testing.assert_array_equal(out.array, expected)
        assert out.whole()


# --- arrays that all samples share --------------------------------------------------------------------------------


@compiled
def summed(x, out):
    """A number a sample into one number for all; and again, for the samples above 0."""
    for start in range(0, len(x), LANES):
        sample = run(start, len(x))
        entry = load(x, (sample,), None)
        put(out[0], (sample,), entry, None)
        put(out[1], (only(sample, entry > 0.0),), entry, None)
        put(out[2], (sample,), 0.5, None)
        put_unless(out[3], (sample,), entry, None, entry > 0.0)
        put_unless(out[4], (sample,), entry, None, True)
        put_unless(out[5], (sample,), entry, None, False)


@BOTH
def test_numbers_of_many_samples_add_up_in_a_shared_one(dtype):
    """Sums of whole numbers are exact in any order."""
    for n in LENGTHS:
        x = np.random.default_rng(n).integers(-9, 10, n).astype(dtype)
        outs = [Fenced((), np.float64, 100.0) for _ in range(6)]
        summed(x, tuple(out.array for out in outs))
        expected = [x.sum(), x[x > 0].sum(), 0.5 * n, x[x <= 0].sum(), 0.0, x.sum()]
        np.testing.assert_array_equal([out.array[()] for out in outs], 100.0 + np.array(expected))
        assert all(out.whole() for out in outs)


@compiled
def summed_rows(x, skip, out):
    """Rows into one row: an entry after the other of samples in the lanes, and samples one after another."""
    for start in range(0, x.shape[0], LANES):
        sample = run(start, x.shape[0])
        for k in range(x.shape[1]):
            put(out[0], (sample, k), load(x, (sample, k), None), None)
            put_unless(out[1], (sample, k), load(x, (sample, k), None), None, load(skip, (sample,), None) == k)
    for i in range(x.shape[0]):
        for start in range(0, x.shape[1], LANES):
            k = run(start, x.shape[1])
            put(out[2], (i, k), load(x, (i, k), None), None)
            put_unless(out[3], (i, k), load(x, (i, k), None), None, load(skip, (i,), None) == k)


def test_rows_of_many_samples_add_up_in_a_shared_one():
    for n in (1, 3, LANES - 1, LANES, LANES + 1):
        for size in (1, 2, LANES - 1, LANES, LANES + 5):
            rng = np.random.default_rng(n + size)
            x = rng.integers(-9, 10, (n, size)).astype(float)
            skip = rng.integers(0, size, n)
            outs = [Fenced(size, np.float64, 100.0) for _ in range(4)]
            summed_rows(x, skip, tuple(out.array for out in outs))
            kept = x.copy()
            kept[np.arange(n), skip] = 0.0
            for out, rows in zip(outs, [x, kept, x, kept], strict=True):
                np.testing.assert_array_equal(out.array, 100.0 + rows.sum(0))
                assert out.whole()


def test_a_sample_that_is_left_out_adds_no_nan():
    @compiled
    def kernel(x, weight, out):
        for start in range(0, len(x), LANES):
            sample = run(start, len(x))
            sample_weight = load(weight, (sample,), None)
            sample = occupied(sample, weight, sample_weight)
            put(out, (sample,), sample_weight * load(x, (sample,), None), None)

    x, weight, out = np.arange(40.0), np.ones(40), np.zeros(())
    x[[3, 35]], weight[[3, 35]] = np.nan, 0.0
    kernel(x, weight, out)
    assert out == np.arange(40.0).sum() - 38


@compiled
def read_shared(x, out):
    """An array without an axis of samples is the same for each."""
    for start in range(0, out.shape[0], LANES):
        sample = run(start, out.shape[0])
        for k in range(out.shape[1]):
            put(out, (sample, k), load(x, (sample, k), None), None)


def test_a_shared_row_is_read_for_each_sample():
    x, out = normal(5), Fenced((LANES + 2, 5), np.float64)
    read_shared(x, out.array)
    np.testing.assert_array_equal(out.array, np.broadcast_to(x, (LANES + 2, 5)))
    assert out.whole()


# --- tiles --------------------------------------------------------------------------------------------------------


@compiled
def through_tiles(x, weight, out):
    """Twice each row, read from a tile and written through another; rows of weight 0 are left alone."""
    x_tile, out_tile = tile_of(x, 1), tile_of(out, 1)
    for start in range(0, x.shape[0], LANES):
        sample = run(start, x.shape[0])
        sample = occupied(sample, weight, load(weight, (sample,), None))
        fetch(x, sample, x_tile)
        for k in range(x.shape[1]):
            put(out, (sample, k), 2.0 * load(x, (sample, k), x_tile), out_tile)
        flush(out, sample, out_tile)


@FROM_TO
@pytest.mark.parametrize("weighted", [False, True])
def test_rows_go_through_tiles(source, target, weighted):
    for size in range(1, 71):
        for n in (1, LANES - 1, LANES, LANES + 1, 3 * LANES + 2):
            x = normal(n, size, dtype=source, seed=size)
            weight = np.resize([1.0, 1.0, 0.0, 2.0, 0.0], n) if weighted else None
            if weighted and n > 2 * LANES:
                weight[LANES : 2 * LANES] = 1.0  # a full vector among those with holes
            out = Fenced((n, size), target, -7.0)
            expected = (2 * x).astype(target)
            if weighted:  # rows that are left out have been made zero
                out.array[weight == 0] = expected[weight == 0] = 0.0
            through_tiles(x, weight, out.array)
            np.testing.assert_array_equal(out.array, expected, err_msg=f"{n} rows of {size}")
            assert out.whole(), f"{n} rows of {size}"


@compiled
def through_tiles_of_two(x, out):
    x_tile, out_tile = tile_of(x, 2), tile_of(out, 2)
    for start in range(0, x.shape[0], LANES):
        sample = run(start, x.shape[0])
        fetch(x, sample, x_tile)
        for i in range(x.shape[1]):
            for j in range(x.shape[2]):
                put(out, (sample, i, j), load_wide(x, (sample, i, j), x_tile) / 3.0, out_tile)
        flush(out, sample, out_tile)


@BOTH
def test_rows_of_two_axes_go_through_tiles(dtype):
    for rows, columns in ((1, 1), (1, 9), (3, 2), (5, 7), (8, 8), (2, 17)):
        x = normal(2 * LANES + 1, rows, columns, dtype=dtype)
        out = Fenced(x.shape, np.float64)
        through_tiles_of_two(x, out.array)
        np.testing.assert_array_equal(out.array, x.astype(np.float64) / 3)
        assert out.whole()


@compiled
def at_labels_in_tiles(x, label, weight, out):
    """A sparse output through a tile that is cleared first: what it had is overwritten by zeros."""
    x_tile, out_tile = tile_of(x, 1), tile_of(out, 1)
    for start in range(0, x.shape[0], LANES):
        sample = run(start, x.shape[0])
        sample = occupied(sample, weight, load(weight, (sample,), None))
        fetch(x, sample, x_tile)
        clear(out_tile)
        at = load(label, (sample,), None)
        entry = load(x, (sample, at), x_tile)
        add_to(out, (sample, at), entry, out_tile)
        add_to(out, (sample, at), entry, out_tile)
        flush(out, sample, out_tile)


@BOTH
@pytest.mark.parametrize("weighted", [False, True])
def test_labels_in_tiles(dtype, weighted):
    for size in (1, 2, 7, 8, 9, 33):
        n = 2 * LANES + 3
        rng = np.random.default_rng(size)
        x, label = normal(n, size, dtype=dtype), rng.integers(0, size, n)
        weight = np.resize([1.0, 0.0, 2.0], n) if weighted else None
        out = Fenced((n, size), dtype, -7.0)
        expected = np.zeros((n, size), dtype)
        expected[np.arange(n), label] = 2 * x[np.arange(n), label]
        if weighted:  # rows that are left out have been made zero
            out.array[weight == 0] = expected[weight == 0] = 0.0
        at_labels_in_tiles(x, label, weight, out.array)
        np.testing.assert_array_equal(out.array, expected)
        assert out.whole()


def test_a_shared_row_has_no_tile():
    @compiled
    def kernel(x, out):
        tile = tile_of(x, 1)
        fetch(x, run(0, LANES), tile)
        clear(tile)
        put(x, (run(0, LANES), 1), 1.0, tile)
        flush(x, run(0, LANES), tile)
        put(out, (run(0, LANES),), load(x, (run(0, LANES), 0), tile), None)
        return tile is None

    x, out = np.array([5.0, 0.0]), np.zeros(LANES)
    assert kernel(x, out) is True
    np.testing.assert_array_equal(x, [5.0, LANES])
    np.testing.assert_array_equal(out, np.full(LANES, 5.0))


def test_a_branch_in_lanes_writes_into_the_tile_where_it_holds():
    @compiled
    def kernel(x, out):
        tile = tile_of(out, 1)
        for start in range(0, len(x), LANES):
            sample = run(start, len(x))
            entry = load(x, (sample,), None)
            put(out, (sample, 0), entry, tile)
            put(out, (only(sample, entry < 0.0), 0), 5.0, tile)
            flush(out, sample, tile)

    x = normal(3 * LANES + 1)
    out = Fenced((len(x), 1), np.float64)
    kernel(x, out.array)
    np.testing.assert_array_equal(out.array[:, 0], np.where(x < 0, 5.0, x))
    assert out.whole()


# --- beyond the end -----------------------------------------------------------------------------------------------

GUARDED = """
import ctypes, mmap, sys
import numpy as np
sys.path.insert(0, {tests!r})
from test_memory import LANES, added, at_labels_in_tiles, by_halves, copied, picked, scattered, streamed, through_tiles, unless

libc = ctypes.CDLL(None, use_errno=True)
page = mmap.PAGESIZE

def at_the_end(shape, dtype, fill=0.0):
    # Memory that ends where a page begins that can't be read or written.
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    pages = -(-size // page)
    memory = mmap.mmap(-1, (pages + 1) * page)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    assert libc.mprotect(ctypes.c_void_p(address + pages * page), page, 0) == 0
    array = np.frombuffer(memory, dtype, int(np.prod(shape)), pages * page - size).reshape(shape)
    array[...] = fill
    return array

"""

WITHIN = """
for dtype in (np.float32, np.float64):
    for n in (1, 3, LANES - 1, LANES, LANES + 1):
        x, out = at_the_end(n, dtype), at_the_end(n, dtype)
        for kernel in (copied, added, unless, by_halves):
            kernel(x, out)
        streamed(x, out, True)
        label = at_the_end(n, np.int64, 2)
        for size in (3, 5, 8, 9):
            rows, into = at_the_end((n, size), dtype, 1.0), at_the_end((n, size), dtype)
            picked(rows, label, out)
            scattered(x, label, into)
            for weight in (None, at_the_end(n, np.float64, 1.0)):
                through_tiles(rows, weight, into)
                assert (into == 2.0).all()
                at_labels_in_tiles(rows, label, weight, into)
print("fine")
"""


BEYOND = """
x = at_the_end(LANES, np.float64)
print("ready", flush=True)
copied(np.lib.stride_tricks.as_strided(x, (LANES + 1,)), np.zeros(LANES + 1))
"""


def guarded(code: str) -> subprocess.CompletedProcess:
    code = GUARDED.format(tests=str(ROOT / "tests")) + code
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=False)


@pytest.mark.skipif(sys.platform != "linux", reason="protects a page of memory as Linux does")
def test_nothing_is_read_beyond_the_end():
    """Memory after the arrays can't be read: whoever tries is ended by the operating system."""
    done = guarded(WITHIN)
    assert (done.returncode, done.stdout) == (0, "fine\n"), done.stderr
    done = guarded(BEYOND)
    assert done.returncode < 0, "the page isn't protected, so the test shows nothing"
    assert done.stdout == "ready\n"
