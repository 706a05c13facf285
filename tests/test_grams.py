"""Products of matrices of few rows and many columns, beside the same in float64 by NumPy."""

from __future__ import annotations

import sys
import threading
from importlib import import_module

import assembly
import numpy as np
import pytest
from test_contract import same_bits

grams = import_module("symloss_kernels._grams")
threads = import_module("symloss_kernels._threads")
SINGLE, DOUBLE = np.dtype(np.float32), np.dtype(np.float64)

#: Rows: fewer than a step has, not a multiple of it, one band, several, the last one narrower. Columns: fewer than the lanes,
#: several parts that are added up, several ranges.
SHAPES = [(1, 256), (3, 300), (5, 31), (7, 1), (16, 1500), (64, 5000), (67, 2049), (130, 1100), (515, 260)]


def pair(rows: int, columns: int, dtype: np.dtype = DOUBLE) -> list[np.ndarray]:
    rng = np.random.default_rng(rows + columns)
    return [rng.standard_normal((rows, columns)).astype(dtype) for _ in range(2)]


def assert_sums(found, factor, matrix, dtype, more=0.0) -> None:
    """As good as sums in `dtype` are: each term is rounded, and so is each partial sum, at most log2 + a few in a row."""
    factor, matrix = factor.astype(np.float64), matrix.astype(np.float64)
    size = np.abs(factor) @ np.abs(matrix) + np.abs(more)
    assert np.max(np.abs(found - (more + factor @ matrix)) / size) <= 16 * np.finfo(dtype).eps


@pytest.mark.parametrize("dtype", [SINGLE, DOUBLE], ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_difference_of_gram_matrices(shape, dtype):
    left, less = pair(*shape, dtype)
    total = np.full((shape[0], shape[0]), np.nan)
    grams.difference(left, less, dtype, total, 2)
    apart, together = left - less, left + less  # rounded as they are there
    assert_sums(total, apart, together.T, dtype)


def test_float32_matrices_may_be_added_up_in_float64():
    left, less = pair(20, 3000, SINGLE)
    total = np.empty((20, 20))
    grams.difference(left, less, DOUBLE, total, 2)
    left, less = left.astype(DOUBLE), less.astype(DOUBLE)
    assert_sums(total, left - less, (left + less).T, DOUBLE)


@pytest.mark.parametrize("adds", [False, True])
@pytest.mark.parametrize("dtype", [SINGLE, DOUBLE], ids=str)
@pytest.mark.parametrize("height", [1, 6, None])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_small_matrix_times_a_wide_one(shape, height, dtype, adds):
    rows, columns = shape
    matrix, more = pair(rows, columns, dtype)
    height = height or rows
    factor = np.random.default_rng(1).standard_normal((height, rows)).astype(dtype).astype(DOUBLE)
    output = np.resize(more, (height, columns))
    before = output.astype(DOUBLE) if adds else 0.0
    grams.times(factor, matrix, dtype, output, adds, 2)
    assert_sums(output.astype(DOUBLE), factor, matrix, dtype, before)


@pytest.mark.parametrize("dtype", [SINGLE, DOUBLE], ids=str)
@pytest.mark.parametrize(
    "lay", [lambda a: a[:, ::2], lambda a: np.asfortranarray(a), lambda a: a[::-1, ::-1]], ids=["spread", "columns", "backwards"]
)
def test_matrices_of_other_strides(lay, dtype):
    left, less = (lay(matrix) for matrix in pair(9, 1200, dtype))
    plain = [np.ascontiguousarray(matrix) for matrix in (left, less)]
    factor = np.random.default_rng(2).standard_normal((9, 9))
    made = []
    for x, y in ((left, less), plain):
        total, output = np.empty((9, 9)), np.empty(plain[0].shape, dtype)
        grams.difference(x, y, dtype, total, 2)
        grams.times(factor, x, dtype, output, False, 2)
        made.append((total, output))
    # Loops over other strides may be added up in another order.
    np.testing.assert_allclose(made[0][0], made[1][0], rtol=0, atol=64 * np.finfo(dtype).eps * np.abs(made[1][0]).max())
    same_bits(made[0][1], made[1][1])


@pytest.mark.parametrize("dtype", [SINGLE, DOUBLE], ids=str)
@pytest.mark.parametrize("shape", [(64, 5000), (515, 1100)], ids=str)
def test_the_number_of_threads_changes_no_bit(monkeypatch, shape, dtype):
    monkeypatch.setattr(grams, "BRIEF", 0)
    left, less = pair(*shape, dtype)
    factor = np.random.default_rng(3).standard_normal((shape[0], shape[0]))
    made = []
    for number in (1, 2, 3, 8):
        total, output = np.empty_like(factor), np.empty_like(left)
        grams.difference(left, less, dtype, total, number)
        grams.times(factor, left, dtype, output, False, number)
        made.append((total, output))
    for others in made[1:]:
        same_bits(others, made[0])


@pytest.mark.parametrize("odd", [2.0**120, np.inf, -np.inf, np.nan])
def test_what_float32_could_make_infinite_is_done_in_float64(odd):
    """A block after those without such numbers; every other one is left to float32."""
    matrix, _ = pair(8, 40_000, SINGLE)
    factor = np.random.default_rng(4).standard_normal((8, 8)) * 2.0**10
    matrix[3, 33_333] = odd
    output = np.empty_like(matrix)
    grams.times(factor, matrix, SINGLE, output, False, 2)
    with np.errstate(all="ignore"):
        expected = factor @ matrix.astype(DOUBLE)
        np.testing.assert_array_equal(output[:, 33_333], expected[:, 33_333].astype(SINGLE))
    keep = np.arange(40_000) != 33_333
    assert_sums(output[:, keep].astype(DOUBLE), factor, matrix[:, keep], SINGLE)


def test_the_product_may_take_the_place_of_the_matrix():
    for dtype in (SINGLE, DOUBLE):
        matrix, _ = pair(30, 3000, dtype)
        factor = np.random.default_rng(5).standard_normal((30, 30))
        output = np.empty_like(matrix)
        grams.times(factor, matrix, dtype, output, False, 2)
        grams.times(factor, matrix, dtype, matrix, False, 2)
        same_bits(matrix, output)


def test_nobody_has_the_matrices_after_a_call():
    """Nor has an offer of work that no thread has taken yet, since all are busy."""
    count = max(1, len(threads._pool))
    begun, release = threading.Semaphore(0), threading.Event()
    threads._offer(lambda: (begun.release(), release.wait()), count)
    for _ in range(count):
        begun.acquire()
    try:
        left, less = pair(64, 5000)
        total, output = np.empty((64, 64)), np.empty_like(left)
        before = list(map(sys.getrefcount, (left, less, total, output)))
        grams.difference(left, less, DOUBLE, total, 2)
        grams.times(total, left, DOUBLE, output, False, 2)
        assert list(map(sys.getrefcount, (left, less, total, output))) == before
    finally:
        release.set()


@pytest.mark.skipif(not assembly.X86, reason="reads x86 instructions")
@pytest.mark.parametrize("dtype", [SINGLE, DOUBLE], ids=str)
def test_the_innermost_loops_multiply_whole_registers(dtype):
    """All the sums of a step at once, in one loop that does nothing else; Numba decides what loops add them up."""
    matrix, counts = np.ones((64, 2048), dtype), np.zeros(2, np.int64)
    room, parts = np.ones((64, 1040), dtype), np.zeros((2, 64, 64))
    text = assembly.compiled(grams.multiply_halves, (counts, matrix, matrix, 1024, 64, room, room, parts))
    found = assembly.work(text)
    sums = grams.ROWS * grams.COLUMNS
    assert any(loop.packed >= sums and not loop.scalar for loop in found)
    packed, limit = np.ones((4, 64, grams.LANES), dtype), 1.0 if dtype == SINGLE else None
    arguments = counts, parts[0].astype(dtype), matrix, 1024, counts, packed, matrix, True, limit
    assert not assembly.slow(assembly.work(assembly.compiled(grams.multiply, arguments)))
