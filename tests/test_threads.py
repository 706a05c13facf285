"""Threads: each piece once, the same bits on any number of them, the first error, forks, and the interpreter's end."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from queue import SimpleQueue

import numpy as np
import pytest
import symloss_kernels as sk
from test_contract import same_bits

threads = import_module("symloss_kernels._threads")
pieces = import_module("symloss_kernels._pieces")
ROOT = Path(__file__).parent.parent
COUNTS = (1, 2, 3, 8)
#: Long enough for the busiest machine; a test that hangs ends by it.
PATIENCE = 60


@pytest.fixture(autouse=True)
def usual(monkeypatch):
    """What these tests say of threads depends neither on the machine nor on how quick a kernel is."""
    monkeypatch.setenv("SYMLOSS_NUM_THREADS", "2")
    for name in ("ONE_CALL", "ONE_THREAD"):
        monkeypatch.setattr(import_module("symloss_kernels._runtime"), name, 0)


# --- each piece once ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("pieces", [0, 1, 2, 7, 100])
def test_each_piece_is_done_once(pieces, count):
    done: list[int] = []
    with sk.num_threads(count):
        threads.each(done.append, pieces)
    assert sorted(done) == list(range(pieces))
    if count == 1:
        assert done == sorted(done)


def test_pieces_are_done_beside_each_other():
    """Two pieces that wait for each other are only done where two threads have them."""
    meeting = threading.Barrier(2, timeout=PATIENCE)
    with sk.num_threads(2):
        threads.each(lambda i: meeting.wait(), 2)
    assert not meeting.broken


@pytest.mark.parametrize("count", COUNTS)
def test_threads_may_be_fewer_than_are_allowed(count):
    seen: set[int] = set()
    with sk.num_threads(8):
        threads.each(lambda i: seen.add(threading.get_ident()), 50, count)
    assert 1 <= len(seen) <= count


def test_who_is_settled_does_not_wait_for_threads():
    """Here one comes back from its work long after; it disturbs no later call."""
    leaving, came_back = threading.Event(), []

    def work(i: int) -> None:
        if threading.current_thread() is not threading.main_thread():
            leaving.wait(PATIENCE)
            came_back.append(i)
        else:
            time.sleep(0.05)  # for the other to come

    threads.each(work, 2, 2, lambda: True)
    assert not came_back
    leaving.set()
    done: list[int] = []
    for _ in range(20):
        threads.each(done.append, 7, 2)
    assert len(done) == 140


@pytest.mark.parametrize("count", COUNTS)
def test_no_more_threads_than_allowed(count):
    seen: set[int] = set()

    def work(i: int) -> None:
        seen.add(threading.get_ident())
        time.sleep(0.001)

    with sk.num_threads(count):
        threads.each(work, 50)
    assert 1 <= len(seen) <= count
    assert count > 1 or seen == {threading.get_ident()}


@pytest.mark.parametrize("count", COUNTS)
def test_the_first_of_several_errors_is_raised(count):
    """Earlier pieces are begun earlier, and what is begun is finished, even if a later one fails sooner."""
    done = []

    def work(i: int) -> None:
        if i in (3, 4, 5, 30):
            time.sleep({3: 0.05, 4: 0.02}.get(i, 0))
            raise ValueError(f"piece {i}")
        done.append(i)

    for _ in range(3):
        with sk.num_threads(count), pytest.raises(ValueError, match="piece 3"):
            threads.each(work, 1000)
    assert {0, 1, 2} <= set(done)
    # The pool is as good as before.
    threads.each(done.append, 5)
    assert done[-5:].count(4) == 1


@pytest.mark.parametrize("count", COUNTS)
def test_after_an_error_nothing_is_begun(count):
    begun = []

    def work(i: int) -> None:
        begun.append(i)
        if i == 0:
            raise ValueError("piece 0")
        time.sleep(0.02)

    with sk.num_threads(count), pytest.raises(ValueError, match="piece 0"):
        threads.each(work, 1000)
    assert len(begun) < 500


def test_pieces_may_have_pieces():
    done: list[tuple[int, int]] = []
    with sk.num_threads(3):
        threads.each(lambda i: threads.each(lambda j: done.append((i, j)), 4), 4)
    assert sorted(done) == [(i, j) for i in range(4) for j in range(4)]


def test_work_is_over_when_the_call_is_even_if_the_last_thread_could_not_start(monkeypatch):
    """A machine may be out of threads: those that could start are waited for."""
    monkeypatch.setattr(threads, "_offers", SimpleQueue())
    monkeypatch.setattr(threads, "_pool", [])
    start, started = threading.Thread.start, []

    def limited(thread):
        if len(started) == 1:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)
    going: set[int] = set()
    both = threading.Event()

    def work(i: int) -> None:
        going.add(i)
        if threading.current_thread() in started:
            both.set()
            time.sleep(0.3)
        elif i < 2:
            both.wait(PATIENCE)
        going.remove(i)

    with sk.num_threads(3):
        threads.each(work, 4)
    assert started, "no thread was started"
    assert not going, "a piece is still being worked on"


@pytest.mark.skipif(threads._processor is None, reason="only Linux says where a thread runs")
def test_a_helper_is_woken_elsewhere_and_free_then(monkeypatch):
    """Woken on the caller's processor, a thread would share it while others sleep."""
    allowed = os.sched_getaffinity(0)
    if not 2 <= len(allowed) <= threads.FEW:
        pytest.skip("there is one processor, or there are many")
    meeting = threading.Barrier(2, timeout=PATIENCE)
    found: dict[int, set[int]] = {}

    def work(i: int) -> None:
        meeting.wait()
        found[threading.get_native_id()] = os.sched_getaffinity(0)

    asked, ask = [], os.sched_setaffinity
    monkeypatch.setattr(os, "sched_setaffinity", lambda thread, mask: (asked.append((thread, mask)), ask(thread, mask)))
    threads.each(work, 2)
    assert len(found) == 2 and all(mask == allowed for mask in found.values())
    (thread, mask), *_, last = asked
    assert thread in threads._pool and mask < allowed and last == (0, allowed)
    # Who may use one processor alone has no other to offer.
    asked.clear()
    ask(0, {min(allowed)})
    try:
        threads.each(lambda i: None, 2)
    finally:
        ask(0, allowed)
    assert asked == []


@pytest.mark.parametrize("told", [PermissionError("not permitted"), None])
def test_a_pool_that_can_not_be_moved_works(monkeypatch, told):
    def forbidden(*_):
        raise told

    monkeypatch.setattr(os, "sched_setaffinity", forbidden, raising=False)
    if told is None:
        monkeypatch.setattr(threads, "_processor", None)
    test_pieces_are_done_beside_each_other()


# --- how many -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [0, -1, 1.5, "2", None, [1]])
def test_numbers_of_threads_that_make_no_sense(wrong):
    said = "the number of threads must be a whole number from 1 on; got "
    with pytest.raises(ValueError, match=said) as raised, sk.num_threads(wrong):
        pytest.fail("it was taken")
    assert repr(wrong) in str(raised.value)
    assert sk.get_num_threads() == 2


def test_num_threads_holds_inside_the_with_alone():
    with sk.num_threads(np.int64(5)):
        assert sk.get_num_threads() == 5
        with sk.num_threads(1):
            assert sk.get_num_threads() == 1
        assert sk.get_num_threads() == 5
        with pytest.raises(KeyError), sk.num_threads(3):
            raise KeyError
        assert sk.get_num_threads() == 5
    assert sk.get_num_threads() == 2


@pytest.mark.parametrize(("said", "count"), [("3", 3), (" 7 ", 7), ("1", 1)])
def test_the_environment_says_how_many(monkeypatch, said, count):
    monkeypatch.setenv("SYMLOSS_NUM_THREADS", said)
    assert sk.get_num_threads() == count


@pytest.mark.parametrize("said", ["0", "-1", "two", "1.5", "1 2"])
def test_an_environment_that_makes_no_sense(monkeypatch, said):
    monkeypatch.setenv("SYMLOSS_NUM_THREADS", said)
    message = f"SYMLOSS_NUM_THREADS must be a whole number from 1 on; got {said if said == '0' else repr(said)}"
    with pytest.raises(ValueError) as raised:
        sk.get_num_threads()
    assert str(raised.value) == message
    x = np.zeros(200_000)
    with pytest.raises(ValueError) as raised:
        sk.mse.value(x, x)
    assert str(raised.value) == message
    with sk.num_threads(2):  # what is said closer to the call holds
        assert sk.mse.value(x, x) == 0.0


@pytest.mark.parametrize("said", [None, "", " "])
def test_by_default_all_processors_of_the_process(monkeypatch, said):
    if said is None:
        monkeypatch.delenv("SYMLOSS_NUM_THREADS")
    else:
        monkeypatch.setenv("SYMLOSS_NUM_THREADS", said)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 3, 5}, raising=False)
    assert sk.get_num_threads() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert sk.get_num_threads() == 6
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert sk.get_num_threads() == 1


def test_num_threads_is_that_of_one_python_thread():
    found, ready, done = [], threading.Event(), threading.Event()

    def other() -> None:
        found.append(sk.get_num_threads())
        with sk.num_threads(7):
            ready.set()
            done.wait(PATIENCE)
            found.append(sk.get_num_threads())

    with sk.num_threads(1):
        helper = threading.Thread(target=other)
        helper.start()
        assert ready.wait(PATIENCE)
        assert sk.get_num_threads() == 1
        done.set()
        helper.join()
    assert found == [2, 7]


def test_num_threads_is_that_of_one_asynchronous_task():
    async def task(count: int) -> list[int]:
        found = []
        with sk.num_threads(count):
            for _ in range(3):
                found.append(sk.get_num_threads())
                await asyncio.sleep(0)
        return found

    async def both():
        return await asyncio.gather(task(3), task(5))

    assert asyncio.run(both()) == [[3] * 3, [5] * 3]


# --- the same bits ------------------------------------------------------------------------------------------------


def drawn(name: str, dtype) -> tuple[list[np.ndarray], dict]:
    """Inputs of many pieces, the last of them shorter than the others, and keywords that matter."""
    rng = np.random.default_rng(11)

    def normal(*shape):
        return rng.standard_normal(shape).astype(dtype)

    if name == "mse":
        return [normal(300_001), normal(300_001)], {}
    if name == "mse, one prediction for all":
        return [normal(), normal(300_001)], {}
    if name == "mse, weights":
        return [normal(300_001), normal(300_001)], {"weight": rng.uniform(0, 1, 300_001).round(1)}
    if name == "binary_focal":
        target = rng.integers(0, 2, 250_003)
        return [normal(250_003), target], {"weight": rng.uniform(0, 1, 250_003).round(1), "gamma": 1.5}
    if name == "softmax_cross_entropy":
        return [normal(40_001, 10), rng.integers(0, 10, 40_001)], {}
    if name == "softmax_cross_entropy, labels left out":
        label = rng.integers(-1, 10, 40_001).astype(np.int32)
        return [normal(40_001, 10), label], {"ignore_index": -1, "weight": rng.uniform(0, 2, 40_001)}
    if name == "softmax_cross_entropy, one row for all":
        return [normal(10), rng.integers(0, 10, 40_001)], {}
    if name == "softmax_cross_entropy, long rows":
        return [normal(701, 1001), rng.integers(0, 1001, 701)], {}
    if name == "center":
        return [normal(30_001, 8), normal(20, 8), rng.integers(0, 20, 30_001)], {}
    if name == "center, labels left out":
        return [normal(30_001, 8), normal(20, 8), rng.integers(-1, 20, 30_001)], {"ignore_index": -1}
    if name == "gram_style":
        return [normal(301, 8, 12, 12), normal(301, 8, 12, 12)], {}
    assert name == "gram_style, one image for all"
    return [normal(8, 12, 12), normal(301, 8, 12, 12)], {"weight": rng.uniform(0, 1, 301).round(1)}


NAMES = [
    "mse", "mse, one prediction for all", "mse, weights", "binary_focal", "softmax_cross_entropy",
    "softmax_cross_entropy, labels left out", "softmax_cross_entropy, one row for all",
    "softmax_cross_entropy, long rows", "center", "center, labels left out", "gram_style",
    "gram_style, one image for all",
]  # fmt: skip


def results(name: str, dtype, reduction: str) -> tuple:
    inputs, keywords = drawn(name, dtype)
    loss = getattr(sk, name.split(",")[0])
    return loss.value_and_grad(*inputs, reduction=reduction, **keywords)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", NAMES)
def test_results_do_not_depend_on_threads(name, dtype):
    for reduction in ("mean", "none"):
        with sk.num_threads(1):
            expected = results(name, dtype, reduction)
        for count in COUNTS[1:]:
            with sk.num_threads(count):
                same_bits(results(name, dtype, reduction), expected, f"{reduction} on {count} threads")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["mse, weights", "mse, one prediction for all", "center", "gram_style"])
def test_curvature_does_not_depend_on_threads(name, dtype):
    inputs, keywords = drawn(name, dtype)
    loss = getattr(sk, name.split(",")[0])
    vectors = tuple(array[..., ::-1].copy() if array.ndim else array for array in inputs if array.dtype == dtype)
    vectors = vectors[:2] if name == "center" else vectors[0]
    found = []
    for count in COUNTS:
        with sk.num_threads(count):
            found.append((loss.grad_and_hess(*inputs, **keywords), loss.hvp(*inputs, vector=vectors, **keywords)))
    for other in found[1:]:
        same_bits(other, found[0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", NAMES)
def test_results_do_not_depend_on_the_order_of_the_pieces(monkeypatch, name, dtype):
    """Which a machine with few processors hardly ever changes by itself."""
    expected = results(name, dtype, "mean")
    counts, through = [], pieces.work_through

    def shuffled(count):
        counts.append(count)
        return np.random.default_rng(count).permutation(count).tolist()

    def in_another_order(work, count, *_):
        for i in shuffled(count):
            work(i)

    def through_in_another_order(address, result, counts, most, step, samples, totals, arguments):
        for piece in [] if counts[0] else shuffled(len(totals)):
            counts[0] = piece
            through(address, result, counts, 1, step, samples, totals, arguments)
        counts[:] = len(totals)  # for the other threads nothing is left
        return False

    monkeypatch.setattr(threads, "each", in_another_order)
    monkeypatch.setattr(pieces, "work_through", through_in_another_order)
    same_bits(results(name, dtype, "mean"), expected)
    assert max(counts) > 3, "too few pieces to show anything"


def test_several_callers_at_once():
    """Of different losses, with different numbers of threads, so that the pool is exchanged while it is in use."""
    names = ["mse", "softmax_cross_entropy", "center", "binary_focal"]
    with sk.num_threads(1):
        expected = {name: results(name, np.float64, "mean") for name in names}

    def caller(i: int) -> None:
        name = names[i % len(names)]
        with sk.num_threads(1 + i % 7):
            same_bits(results(name, np.float64, "mean"), expected[name], name)

    with ThreadPoolExecutor(6) as callers:
        assert list(callers.map(caller, range(36))) == [None] * 36


# --- errors deep in a large array ---------------------------------------------------------------------------------


def bad_value(entry: str, count: int):
    x, t = np.full((1000, 300), 0.5), np.zeros((1000, 300))
    x[700, 123] = x[701, 5] = 1.5
    x[999, 299] = -2.0
    return sk.binary_cross_entropy, (x, t), x.shape, "`prediction[700, 123]` = 1.5 is outside its domain"


def bad_target(entry: str, count: int):
    x, t = np.zeros(300_000), np.zeros(300_000)
    t[[200_001, 250_000]] = [0.5, 2.0]
    return sk.binary_focal, (x, t), x.shape, "`target[200001]` = 0.5 is outside its domain"


def bad_strided_target(entry: str, count: int):
    x, t = np.zeros(300_000), np.zeros(600_000, np.float32)[::2]
    t[[200_001, 250_000]] = [0.5, 2.0]
    return sk.binary_focal, (x, t), x.shape, "`target[200001]` = 0.5 is outside its domain"


def bad_label(entry: str, count: int):
    z, label = np.zeros((200, 200, 10), np.float32), np.zeros((200, 200), np.int16)
    label[150, 7], label[150, 8], label[199, 199] = 10, -1, 99
    return sk.softmax_cross_entropy, (z, label), z.shape, "`label[150, 7]` = 10 is outside dimension K: expected 0 to 9"


def bad_label_of_many(entry: str, count: int):
    """One label for many samples is checked before the pieces are made."""
    z, label = np.zeros((200, 200, 10), np.float32), np.zeros((200, 1), np.int64)
    label[150, 0] = 10
    return sk.softmax_cross_entropy, (z, label), z.shape, "`label[150, 0]` = 10 is outside dimension K: expected 0 to 9"


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("make", [bad_value, bad_target, bad_strided_target, bad_label, bad_label_of_many])
def test_the_first_bad_entry_is_named_and_nothing_is_written(make, count):
    loss, inputs, shape, message = make("value_and_grad", count)
    out = np.full(shape, 7.0, inputs[0].dtype)
    values = np.full(shape[:-1] if loss is sk.softmax_cross_entropy else shape, 7.0, inputs[0].dtype)
    with sk.num_threads(count):
        for call in (
            lambda: loss.value_and_grad(*inputs),
            lambda: loss.value(*inputs),
            lambda: loss.value_and_grad(*inputs, out=out),
            lambda: loss.value_and_grad(*inputs, reduction="none", out=(values, out)),
            lambda: loss.value(*inputs, reduction="none", out=values),
            lambda: loss.grad_and_hess(*inputs, out=(out, np.empty_like(out))),
            lambda: loss.hvp(*inputs, vector=np.ones(shape), out=out),
        ):
            with pytest.raises(ValueError) as raised:
                call()
            assert message in str(raised.value)
    assert np.all(out == 7.0)
    assert np.all(values == 7.0)


def test_an_error_in_place_leaves_the_input_as_it_was():
    x, t = np.full(300_000, 0.5), np.zeros(300_000)
    t[250_000] = 3.0
    with pytest.raises(ValueError, match=r"target\[250000\]"):
        sk.binary_cross_entropy.grad(x, t, out=x)
    assert np.all(x == 0.5)


# --- processes ----------------------------------------------------------------------------------------------------

HEAD = """
import atexit, os, signal, sys, threading, time
import numpy as np
import symloss_kernels as sk

x, t = np.arange(600_000.0) % 7, np.zeros(600_000)

EXPECTED = np.arange(600_000) % 7

def close():
    with sk.num_threads(3):
        value, grad = sk.mse.value_and_grad(x, t)
    return abs(value - (EXPECTED ** 2).mean()) < 1e-12 and np.allclose(grad, 2 * EXPECTED / 600_000, rtol=1e-15)
"""


def fresh(code: str, *options: str, **environment: str) -> subprocess.CompletedProcess:
    """A new interpreter with the package; one that hangs is ended, which is an error."""
    return subprocess.run(
        [sys.executable, *options, "-c", HEAD + code],
        capture_output=True,
        text=True,
        env=os.environ | environment,
        timeout=PATIENCE,
        check=False,
    )


def assert_fine(done: subprocess.CompletedProcess, expected: str) -> None:
    assert (done.returncode, done.stdout) == (0, expected), done.stderr
    assert "Error" not in done.stderr, done.stderr


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


@needs_fork
def test_forked_children_work_after_the_parent_used_its_threads():
    code = """
assert close()
for _ in range(3):
    child = os.fork()
    if child == 0:
        ok = close() and close()
        grandchild = os.fork()
        if grandchild == 0:
            os._exit(0 if close() else 1)
        ok = ok and os.waitpid(grandchild, 0)[1] == 0
        os._exit(0 if ok else 1)
    print(os.waitpid(child, 0)[1], close())
"""
    assert_fine(fresh(code, "-W", "ignore::DeprecationWarning"), "0 True\n" * 3)


@needs_fork
def test_a_forked_child_has_threads_of_its_own():
    """Even if it was forked while another thread had the lock: two pieces that wait for each other are done."""
    code = """
from symloss_kernels import _threads
assert close()
_threads._lock.acquire()
child = os.fork()
if child == 0:
    signal.alarm(30)  # should it hang, it is ended
    meeting = threading.Barrier(2, timeout=20)
    with sk.num_threads(2):
        _threads.each(lambda i: meeting.wait(), 2)
    os._exit(0)
print(os.waitpid(child, 0)[1])
"""
    assert_fine(fresh(code, "-W", "ignore::DeprecationWarning"), "0\n")


@needs_fork
def test_a_child_that_is_forked_in_the_middle_of_a_call_works():
    """Another thread is calling all the time, so that locks are held at the moment of the fork."""
    code = """
assert close()
going = True
def caller():
    while going:
        close()
callers = [threading.Thread(target=caller) for _ in range(2)]
for c in callers:
    c.start()
codes = []
for _ in range(8):
    child = os.fork()
    if child == 0:
        os._exit(0 if close() else 1)
    codes.append(os.waitpid(child, 0)[1])
going = False
for c in callers:
    c.join()
print(codes, close())
"""
    assert_fine(fresh(code, "-W", "ignore::DeprecationWarning"), f"{[0] * 8} True\n")


@needs_fork
def test_forked_children_multiply_matrices():
    """NumPy's library has threads of its own."""
    code = """
a, b = np.random.default_rng(0).standard_normal((2, 6, 32, 48, 48)).astype(np.float32)
with sk.num_threads(3):
    value, grad = sk.gram_style.value_and_grad(a, b)
    child = os.fork()
    if child == 0:
        again, slope = sk.gram_style.value_and_grad(a, b)
        os._exit(0 if abs(again - value) <= 1e-6 * value and np.allclose(slope, grad, rtol=1e-4) else 1)
print(os.waitpid(child, 0)[1])
"""
    assert_fine(fresh(code, "-W", "ignore::DeprecationWarning"), "0\n")


@needs_fork
def test_a_pool_of_forked_processes():
    code = """
import multiprocessing
assert close()
with multiprocessing.get_context("fork").Pool(2) as pool:
    print(pool.apply(close), pool.starmap(close, [()] * 4))
"""
    assert_fine(fresh(code, "-W", "ignore::DeprecationWarning"), "True [True, True, True, True]\n")


def test_the_very_first_calls_at_once():
    """Threads that find nothing loaded yet, of which each needs the same kernel."""
    code = """
from concurrent.futures import ThreadPoolExecutor
rows, label = np.random.default_rng(0).standard_normal((9000, 10)), np.arange(9000) % 10
ready = threading.Barrier(4)
def caller(i):
    ready.wait()
    return close(), sk.softmax_cross_entropy.value(rows, label), sk.softmax_cross_entropy.value(rows[:3].copy(), label[:3].copy())
with ThreadPoolExecutor(4) as callers:
    found = list(callers.map(caller, range(4)))
print(len(set(found)), found[0][0])
"""
    assert_fine(fresh(code), "1 True\n")


SPAWNED = HEAD + """
if __name__ == "__main__":
    import multiprocessing
    assert close()
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        print(pool.starmap(close, [()] * 4))
"""


def test_spawned_processes(tmp_path):
    path = tmp_path / "main.py"
    path.write_text(SPAWNED)
    done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert_fine(done, "[True, True, True, True]\n")


@pytest.mark.parametrize("used", [True, False], ids=["threads in use before", "threads never used before"])
def test_a_call_at_the_interpreters_end(used):
    """It has no threads to give work to any more, and does it alone."""
    code = f"""
if {used}:
    assert close()
atexit.register(lambda: print(close(), flush=True))
"""
    assert_fine(fresh(code), "True\n")


@pytest.mark.parametrize("seconds", [0.05, 0.2])
def test_a_daemon_thread_that_calls_while_the_interpreter_ends(seconds):
    code = f"""
assert close()
def caller():
    while True:
        close()
for _ in range(2):
    threading.Thread(target=caller, daemon=True).start()
time.sleep({seconds})
print("end", flush=True)
"""
    done = fresh(code)
    assert (done.returncode, done.stdout) == (0, "end\n"), done.stderr


def test_an_exception_of_the_system_is_raised_too():
    def work(i: int) -> None:
        if i == 1:
            raise KeyboardInterrupt

    with sk.num_threads(2), pytest.raises(KeyboardInterrupt):
        threads.each(work, 10)
