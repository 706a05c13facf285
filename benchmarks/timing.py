"""Timing: contestants in turn, medians, and the copy loop that says what the memory can do."""

from __future__ import annotations

import gc
import math
import random
import statistics
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from queue import SimpleQueue
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

__all__ = ["COPY_LOOPS", "Timing", "aligned", "copy_loop", "geometric_mean", "interleave"]

#: A call is repeated until a sample takes this long, so that the clock's resolution and the loop don't show.
SAMPLE = 1e-3
#: The length of a turn: many samples of a short call, one of a long call.
TURN = 25e-3
#: A pause before each turn. The OpenMP threads of PyTorch and scikit-learn spin for 4 to 8 ms after a call,
#: and would take a core from whoever comes next.
SETTLE = 10e-3
#: Every contestant has at least so many turns, however slow it is.
MIN_ROUNDS, MAX_ROUNDS = 3, 100


@dataclass
class Timing:
    """Seconds per call of one contestant: one entry a sample, a sample being the mean of a batch of calls."""

    batch: int = 1
    samples: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The median of the samples."""
        return statistics.median(self.samples)

    @property
    def best(self) -> float:
        """The smallest of the samples."""
        return min(self.samples)


def geometric_mean(numbers: Iterable[float]) -> float:
    """The geometric mean; NaN of nothing."""
    logs = [math.log(x) for x in numbers]
    return math.exp(math.fsum(logs) / len(logs)) if logs else math.nan


def interleave(
    calls: dict[str, Callable[[], Any]],
    budget: float,
    settle: float = SETTLE,
    turn: float = TURN,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[dict[str, Timing], dict[str, Exception]]:
    """Time all calls in turns, in an order that is shuffled anew in each round.

    Args:
        calls: what to time, by name. Each was called before, so that nothing is compiled any more.
        budget: seconds for all of them together. Who has spent its share sits out, so a slow contestant
            doesn't take samples from the others; `MIN_ROUNDS` turns are always made.
        settle: seconds to wait before each turn.
        turn: seconds that a turn lasts, at least.
        clock: the time in seconds.

    Returns:
        The timings, and what was raised by calls that failed; those have no timing.
    """
    timings: dict[str, Timing] = {}
    failed: dict[str, Exception] = {}
    spent = dict.fromkeys(calls, 0.0)
    shuffled = random.Random(0)
    collecting = gc.isenabled()
    gc.disable()
    try:
        for round_ in range(MAX_ROUNDS):
            due = [n for n in calls if round_ < MIN_ROUNDS or spent[n] < budget / len(calls)]
            due = [name for name in due if name not in failed]
            shuffled.shuffle(due)
            for name in due:
                start = clock()
                time.sleep(settle)
                try:
                    if name not in timings:
                        batch, taken = _batch(calls[name], clock)
                        timings[name] = Timing(batch)
                        if batch == 1 and taken >= turn:  # as good as any sample, and expensive
                            timings[name].samples.append(taken)
                            continue
                    _turn(calls[name], timings[name], turn, clock)
                except Exception as error:  # whatever a peer raises, it is reported and the others go on
                    failed[name] = error
                    timings.pop(name, None)
                finally:
                    spent[name] += clock() - start
            if not due:
                break
    finally:
        if collecting:
            gc.enable()
    return timings, failed


def _batch(call: Callable[[], Any], clock: Callable[[], float]) -> tuple[int, float]:
    """How many calls make a sample long enough, and how long they took together."""
    calls = 1
    while (taken := _seconds(call, calls, clock)) < SAMPLE:
        calls = max(2 * calls, math.ceil(calls * SAMPLE / max(taken, 1e-9)))
    return calls, taken


def _turn(call: Callable[[], Any], timing: Timing, turn: float, clock: Callable[[], float]) -> None:
    """Samples for the length of a turn; a short call is first made once without the clock."""
    if timing.batch > 1:
        call()
    end = clock() + turn
    while True:
        timing.samples.append(_seconds(call, timing.batch, clock) / timing.batch)
        if clock() >= end:
            return


def _seconds(call: Callable[[], Any], calls: int, clock: Callable[[], float]) -> float:
    start = clock()
    for _ in range(calls):
        call()
    return clock() - start


# The copy loop: three streams, two arrays read and one written.


@intrinsic
def _add_line(typing: Any, a: Any, b: Any, out: Any, start: Any) -> Any:
    """`out[start:] = a[start:] + b[start:]` for one cache line of `out`, which isn't read before."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = signature.args[2]
        size = context.get_abi_sizeof(context.get_data_type(kind.dtype))
        line = ir.VectorType(context.get_data_type(kind.dtype), 64 // size).as_pointer()
        pointers = []
        for array in arguments[:3]:
            data = context.make_array(kind)(context, builder, array).data
            pointers.append(builder.bitcast(builder.gep(data, [arguments[3]]), line))
        total = builder.fadd(*(builder.load(pointer, align=size) for pointer in pointers[:2]))
        store = builder.store(total, pointers[2], align=64)
        store.set_metadata("nontemporal", builder.module.add_metadata([context.get_constant(types.int32, 1)]))
        return context.get_dummy_value()

    return types.void(a, b, out, types.intp), code


@numba.njit(nogil=True)
def _plain(a: Any, b: Any, out: Any) -> None:
    for i in range(len(out)):
        out[i] = a[i] + b[i]


@numba.njit(nogil=True)
def _around_the_cache(a: Any, b: Any, out: Any) -> None:
    for start in range(0, len(out), 64 // out.itemsize):
        _add_line(a, b, out, start)


#: The loops by name: the plain one is what a compiler makes of the formula, the best of both is the bar.
COPY_LOOPS = {"plain": _plain, "non-temporal": _around_the_cache}


class _Worker:
    """A thread that waits for a function to call. Queues take a fifth of an executor's 50 microseconds."""

    def __init__(self) -> None:
        self.todo: SimpleQueue = SimpleQueue()
        self.done: SimpleQueue = SimpleQueue()
        threading.Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        while True:
            function, arguments = self.todo.get()
            self.done.put(function(*arguments))


@cache
def _workers(count: int) -> list[_Worker]:
    return [_Worker() for _ in range(count)]


def copy_loop(name: str, nbytes: int, dtype: np.dtype, threads: int) -> tuple[Callable[[], None], int]:
    """A call that moves about `nbytes` bytes in three streams with that many threads, and their exact number.

    The arrays are made once, and each thread has one contiguous part that begins and ends at a cache line.
    """
    loop = COPY_LOOPS[name]
    line = 64 // dtype.itemsize
    step = max(nbytes // (3 * dtype.itemsize * line * threads), 1) * line
    arrays = [aligned(step * threads, dtype) for _ in range(3)]
    parts = [tuple(x[i * step : (i + 1) * step] for x in arrays) for i in range(threads)]
    loop(*(x[:line] for x in arrays))  # compiles
    workers = _workers(threads - 1)

    def call() -> None:
        for worker, part in zip(workers, parts[1:], strict=True):
            worker.todo.put((loop, part))
        loop(*parts[0])
        for worker in workers:
            worker.done.get()

    return call, sum(array.nbytes for array in arrays)


def aligned(count: int, dtype: np.dtype) -> np.ndarray:
    """An array that begins at a cache line, as non-temporal stores of whole lines need."""
    raw = np.empty(count * dtype.itemsize + 64, np.uint8)
    skip = -raw.ctypes.data % 64
    array = raw[skip : skip + count * dtype.itemsize].view(dtype)
    array.fill(1.0)
    return array
