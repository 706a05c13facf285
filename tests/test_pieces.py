"""Pieces that threads work through without Python: what a kernel is given for each, and what comes back."""

from __future__ import annotations

import sys
import threading
from importlib import import_module
from mmap import mmap
from multiprocessing.shared_memory import SharedMemory
from threading import get_ident
from time import sleep

import numpy as np
import pytest
import symloss_kernels as sk
from numba import njit

_pieces = import_module("symloss_kernels._pieces")
COUNTS = (1, 2, 3, 8)
#: Samples and how many make a piece: one of one, exact, with a shorter last one, more than are done at once.
CUTS = ((1, 1), (12, 4), (13, 4), (3, 5), (100, 3))


@njit(nogil=True)
def copied(samples, x, shared, factor, nothing, is_negative, own, out):
    """A kernel: out = x * shared[0] * factor, its samples counted in `own`, and the sum of them returned."""
    total = 0.0
    for i in range(samples):
        out[i] = x[i] * shared[0] * (-factor if is_negative else factor)
        total += out[i]
    own[:, :] += samples
    return total if nothing is None else np.nan


@njit(nogil=True)
def counted(samples, times):
    """A kernel that returns nothing: each sample's number of visits."""
    for i in range(samples):
        times[i] += 1


@njit(nogil=True)
def fails(samples, x):
    """A kernel that raises."""
    if x[0] < 0:
        raise ValueError("a piece failed")
    return 1.0


@pytest.mark.parametrize("threads", COUNTS)
@pytest.mark.parametrize(("samples", "step"), CUTS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_kernel_gets_its_samples(samples, step, dtype, threads):
    x, shared = np.arange(1, samples + 1, dtype=dtype), np.array([2.0])
    count = -(-samples // step)
    own, out = np.zeros((count, 2, 3)), np.zeros(samples, dtype)
    arguments = (x, (shared,), 3.0, None, True, (own, None), out)
    totals = _pieces.through(copied, arguments, step, samples)(arguments, threads)
    starts = np.arange(0, samples, step)
    assert np.array_equal(out, -6 * x)
    assert np.array_equal(totals, np.add.reduceat(-6.0 * x, starts))
    assert np.array_equal(own[:, 1, 2], np.diff([*starts, samples]))


def test_arrays_of_rows_and_arrays_of_numbers():
    """Rows keep their axes; an array with a number for each piece is given as an array without axes."""

    @njit(nogil=True)
    def kernel(samples, rows, number, out):
        number[()] = rows.shape[0] * 100 + rows.shape[1] * 10 + rows.size // samples
        out[...] = rows
        return float(rows[0, 0, 1])

    rows = np.arange(60.0).reshape(5, 4, 3)
    numbers, out = np.zeros(3), np.zeros((5, 4, 3))
    arguments = (rows, (numbers, None), out)
    totals = _pieces.through(kernel, arguments, 2, 5)(arguments, 2)
    assert np.array_equal(out, rows)
    assert totals.tolist() == [1.0, 25.0, 49.0]
    assert numbers.tolist() == [252.0, 252.0, 152.0]


@pytest.mark.parametrize("threads", COUNTS)
@pytest.mark.parametrize(("samples", "step"), CUTS)
def test_each_sample_is_visited_once(samples, step, threads):
    times = np.zeros(samples, np.int64)
    totals = _pieces.through(counted, (times,), step, samples)((times,), threads)
    assert np.all(times == 1)
    assert totals.tolist() == [0.0] * -(-samples // step), "a kernel that returns nothing has no sum"


def test_many_callers_share_a_kernel():
    """Each call has its own count of what is taken."""
    arrays = [np.zeros(1000, np.int64) for _ in range(8)]
    run = _pieces.through(counted, (arrays[0],), 7, 1000)
    callers = [threading.Thread(target=run, args=((array,), 3)) for array in arrays]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert all(np.all(array == 1) for array in arrays)


@pytest.mark.parametrize("threads", COUNTS)
@pytest.mark.parametrize("where", [0, 5, 9])
def test_an_error_of_a_kernel_is_raised(where, threads):
    x = np.ones(10)
    x[where] = -1
    run = _pieces.through(fails, (x,), 1, 10)
    with pytest.raises(ValueError, match="a piece failed"):
        run((x,), threads)
    x[where] = 1
    assert run((x,), threads).tolist() == [1.0] * 10


@pytest.mark.parametrize("threads", COUNTS)
def test_what_is_first_is_called_once(threads):
    called, times = [], np.zeros(10, np.int64)
    run = _pieces.through(counted, (times,), 2, 10)
    run((times,), threads, [lambda: called.append("a"), lambda: called.append("b")])
    assert sorted(called) == ["a", "b"]
    assert np.all(times == 1)


def test_a_job_that_a_helper_has_claimed_is_waited_for(monkeypatch):
    """Also if it hasn't begun when all else is done."""
    caller, called, times = get_ident(), [], np.zeros(10, np.int64)
    run = _pieces.through(counted, (times,), 2, 10)
    offer = _pieces._threads._offer

    def late():
        if get_ident() != caller:
            sleep(0.2)
        return get_ident()

    def hesitating(*given):
        offer(*given)
        sleep(0.05)  # so that the helper is the first to claim a job

    monkeypatch.setattr(_pieces, "get_ident", late)
    monkeypatch.setattr(_pieces._threads, "_offer", hesitating)
    run((times,), 2, [lambda: called.append(get_ident())])
    assert len(called) == 1 and called[0] != caller
    assert np.all(times == 1)


@pytest.mark.parametrize("size", [1000, 1_000_000])
def test_nobody_has_arrays_after_a_call(size):
    """Their memory is free for the next call as soon as the caller gives it up."""
    times = np.zeros(size, np.int64)
    arguments = (times,)
    run = _pieces.through(counted, arguments, len(times) // 40, len(times))
    before = sys.getrefcount(times)
    for _ in range(100):
        run(arguments, 2)
        assert sys.getrefcount(times) == before


@pytest.mark.parametrize("lend", ["bytearray", "mmap", "shared"])
def test_memory_may_be_closed_after_a_call(lend):
    """Also while a helper is on its way back."""
    other = np.zeros(300_000)
    for _ in range(100):
        if lend == "mmap":
            owner = buffer = mmap(-1, other.nbytes)
            close = owner.close
        elif lend == "shared":
            owner = SharedMemory(create=True, size=other.nbytes)
            buffer, close = owner.buf, owner.close
        else:
            owner = buffer = bytearray(other.nbytes)
            close = owner.clear
        array = np.frombuffer(buffer)[: len(other)]
        with sk.num_threads(2):
            assert sk.binary_cross_entropy_with_logits.value(array, other) == pytest.approx(np.log(2))
        del array, buffer
        close()
        if lend == "shared":
            owner.unlink()


def test_code_is_known_by_its_types():
    """And not by sizes; an array that may not be written is another type for Numba."""
    x = np.ones(4)
    locked = x.copy()
    locked.flags.writeable = False
    _pieces._codes.clear()
    for array in (x, np.ones(9), locked, np.ones(4, np.float32)):
        assert _pieces.through(fails, (array,), 2, 4)((array,), 1).tolist() == [1.0, 1.0]
    assert len(_pieces._codes) == 3


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_one_number_for_many_samples(shape):
    """Each piece adds to a sum of its own, which is a single number here."""
    prediction, target = np.full(shape, 0.3), np.random.default_rng(0).normal(size=(1000, 1000))
    wanted = 2 * np.mean(0.3 - target)
    for reduction, factor in (("mean", 1), ("sum", target.size), ("none", target.size)):
        grad = sk.mse.grad(prediction, target, reduction=reduction)
        assert np.shape(grad) == shape and grad == pytest.approx(wanted * factor, rel=1e-12)
    grad, hess = sk.mse.grad_and_hess(prediction, target)
    assert grad == pytest.approx(wanted, rel=1e-12) and hess == pytest.approx(2, rel=1e-12)
    assert sk.mse.hvp(prediction, target, vector=np.full(shape, 2.0)) == pytest.approx(4, rel=1e-12)


def test_a_call_goes_through_it(monkeypatch):
    """Of inputs as kernels want them: into new arrays, into the caller's, and value by value."""
    taken, through = [], _pieces.work_through

    def noticed(*arguments):
        taken.append(arguments)
        return through(*arguments)

    monkeypatch.setattr(_pieces, "work_through", noticed)
    rng = np.random.default_rng(0)
    logits, labels = rng.standard_normal((30000, 10)), rng.integers(0, 10, 30000)
    for label in (labels, labels.astype(np.int32)):
        for keywords in ({}, {"out": np.empty_like(logits)}, {"reduction": "none"}, {"ignore_index": -1}):
            taken.clear()
            sk.softmax_cross_entropy.value_and_grad(logits, label, **keywords)
            assert taken, (label.dtype, keywords)
    taken.clear()
    sk.softmax_cross_entropy.value_and_grad(logits.T.copy().T, labels)
    assert not taken, "strided rows are copied piece by piece"


def test_looking_whether_helpers_are_back():
    counts = np.array([5, 3])
    assert _pieces.look(counts, 3, 1, 0)
    assert not _pieces.look(counts, 4, 100, 0)
    back = threading.Timer(0.05, counts.__setitem__, (1, 4))
    back.start()
    assert _pieces.look(counts, 4, 1 << 62, 10), "it sees what another thread writes, and lets it run"


@pytest.mark.parametrize("threads", COUNTS)
def test_nothing_is_left_behind(threads):
    """Whether or not the caller sleeps until the others are done: here it looks never, once, and for very long."""
    times = np.zeros(400, np.int64)
    run = _pieces.through(counted, (times,), 2, 400)
    for looks in (0, 1, 1 << 62):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_pieces, "LOOKS", looks)
            for _ in range(50):
                times[:] = 0
                run((times,), threads)
                assert np.all(times == 1)
