"""What tests do in a process that has Numba's CUDA simulator on: there, kernels are Python, thread by thread.

`call(function, ...)` runs one of the functions below there, and raises here what it raises.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from types import SimpleNamespace
from typing import Any

import numpy as np


@cache
def _process() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_prepare)


def _prepare() -> None:
    """Let the threads of a block take turns, where Numba has a thread of the system for each, and one that polls them.

    They change at barriers only, each round in another order, so that a kernel that lacks one goes wrong.
    """
    from greenlet import getcurrent, greenlet
    from numba.cuda.simulator import kernel, kernelapi
    from numba.cuda.simulator.kernel import Dim3

    order = np.random.default_rng(0)

    class Thread(greenlet):
        """One thread of a block, by the names that the simulator has for them."""

        def __init__(self, run: Callable[[], Any], block: tuple[int, ...], place: tuple[int, ...]) -> None:
            super().__init__(run)
            self.blockIdx, self.threadIdx, self.thread_id = Dim3(*block), Dim3(*place), place[0]
            assert place[1:] == (0, 0), "the kernels' blocks have one axis"

        def syncthreads(self) -> None:
            self.parent.switch()

    def run(self: Any, block: tuple[int, ...], *args: Any) -> None:
        threads = [Thread(lambda: self._f(*args), block, place) for place in np.ndindex(*self._block_dim)]
        while threads:
            for i in order.permutation(len(threads)):
                threads[i].switch()
            threads = [thread for thread in threads if not thread.dead]

    kernel.BlockManager.run = run
    kernelapi.threading = SimpleNamespace(current_thread=getcurrent, Lock=threading.Lock)


def call(function: Callable[..., Any], *args: Any, **keywords: Any) -> Any:
    """The result of a function of this module, in the process of the simulator."""
    before = os.environ.get("NUMBA_ENABLE_CUDASIM")
    os.environ["NUMBA_ENABLE_CUDASIM"] = "1"  # the process starts at the first submission
    try:
        return _process().submit(function, *args, **keywords).result()
    finally:
        if before is None:
            del os.environ["NUMBA_ENABLE_CUDASIM"]
        else:
            os.environ["NUMBA_ENABLE_CUDASIM"] = before


# --- in the simulator's process ---------------------------------------------------------------------------


def over_there(given: Any) -> Any:
    """The same with every NumPy array on the device."""
    from numba import cuda

    if isinstance(given, Mapping):
        return {key: over_there(value) for key, value in given.items()}
    if isinstance(given, (tuple, list)):
        return tuple(map(over_there, given))
    return cuda.to_device(given) if isinstance(given, np.ndarray) else given


def back(result: Any) -> Any:
    """The same with every device array as a NumPy array."""
    if hasattr(result, "_fields"):
        return tuple(map(back, result))
    if isinstance(result, tuple):
        return tuple(map(back, result))
    return result.copy_to_host() if hasattr(result, "copy_to_host") else result


class OnDevice:
    """A loss whose arrays go to the device and come back."""

    def __init__(self, loss: Any) -> None:
        self.loss = loss

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.loss, name)
        if not callable(found):
            return found
        return lambda *inputs, **keywords: back(found(*over_there(inputs), **over_there(keywords)))


def verified(name: str, dtype: str, count: int) -> tuple[list[str], list[str], list[str]]:
    """Verify a loss: all its outputs, those that miss their bounds, and how.

    The bounds are those of a processor and one ulp more.
    """
    import symloss_kernels as sk

    from symloss.catalog import standard
    from symloss.verify import Bounds, bounds, verify

    loss = standard().loss(name)
    limits = Bounds(*(bound + 1.0 for bound in bounds(loss, dtype)))
    report = verify(loss, OnDevice(getattr(sk, name)), dtype, count=count, limits=limits)
    missed = [row.output for row in report.rows if not row.passed]
    return [row.output for row in report.rows], missed, list(map(str, report.failures))


def called(name: str, calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]]) -> list[Any]:
    """The results of calls of a loss on the device, or the exceptions that they raise."""
    import warnings

    import symloss_kernels as sk

    loss, results = OnDevice(getattr(sk, name)), []
    for entry, inputs, keywords in calls:
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            try:
                results.append(getattr(loss, entry)(*inputs, **keywords))
            except Exception as error:
                results.append(error)
        for warning in found:
            if issubclass(warning.category, RuntimeWarning):
                results[-1] = (results[-1], str(warning.message))
    return results


class Foreign:
    """An array that says of itself only where its entries lie, as those of other libraries do."""

    def __init__(self, array: np.ndarray, dtype: str = "", stream: int | None = None) -> None:
        self.array, self.dtype = array, dtype or str(array.dtype)
        described = dict(array.__array_interface__)
        described["typestr"] = "<V2" if dtype == "bfloat16" else array.dtype.str
        self.__cuda_array_interface__ = described | {"version": 3, "stream": stream}


def views(name: str, entry: str, inputs: list[np.ndarray]) -> list[Any]:
    """The results for inputs as they are, in Fortran order, reversed, and as every second of more entries."""
    import symloss_kernels as sk

    def spaced(x: np.ndarray) -> np.ndarray:
        wide = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)
        wide[..., ::2] = x
        return wide[..., ::2]

    layouts = (np.asarray, np.asfortranarray, lambda x: x[::-1].copy()[::-1], spaced)
    return [back(getattr(getattr(sk, name), entry)(*map(Foreign, map(layout, inputs)))) for layout in layouts]


def over_itself(name: str, entry: str, inputs: list[np.ndarray]) -> tuple[Any, np.ndarray]:
    """What a call gives that writes its gradient over its first input, and what is in that then."""
    import symloss_kernels as sk
    from numba import cuda

    given = [cuda.to_device(x) for x in inputs]
    result = getattr(getattr(sk, name), entry)(*given, out=given[0])
    assert (result[-1] if isinstance(result, tuple) else result) is given[0]
    return back(result), given[0].copy_to_host()


def in_half(name: str, inputs: list[np.ndarray], bits: bool) -> tuple[float, np.ndarray]:
    """Value and gradient of 16-bit predictions, of which the second half are bfloat16's bits if `bits`."""
    import symloss_kernels as sk

    kind = "bfloat16" if bits else ""
    out = Foreign(np.empty_like(inputs[0]), kind)
    value, _ = getattr(sk, name).value_and_grad(Foreign(inputs[0], kind), *map(Foreign, inputs[1:]), out=out)
    return value, out.array


def later(name: str, entry: str, inputs: list[np.ndarray], keep: bool) -> list[str]:
    """What a call that waits for nothing, the one after it, and the one after that raise."""
    import gc

    import symloss_kernels as sk
    from numba import cuda

    loss, said = getattr(sk, name), []
    given = [cuda.to_device(x) for x in inputs]
    fine = [cuda.to_device(np.zeros_like(x)) for x in inputs]
    for i in range(3):
        try:
            getattr(loss, entry)(*(fine if i else given))
            said.append("")
        except Exception as error:
            said.append(f"{type(error).__name__}: {error}")
        if not keep:
            given = fine
            gc.collect()
    return said


def mixed(name: str, inputs: list[np.ndarray], place: int) -> str:
    """What is said when one input stays on the host."""
    import symloss_kernels as sk
    from numba import cuda

    given = [x if i == place else cuda.to_device(x) for i, x in enumerate(inputs)]
    try:
        getattr(sk, name).value(*given)
    except TypeError as error:
        return str(error)
    return ""


def placed(streams: list[int | None], libraries: list[str], devices: list[int]) -> Any:
    """Where `place_of` would work on arrays, on a GPU: the stream, and which streams it has that one wait for."""
    from types import SimpleNamespace

    from symloss_kernels.cuda import _device

    log: list[tuple[Any, ...]] = []

    class Event:
        def record(self, stream: Any) -> None:
            log.append(("record", stream))

        def wait(self, stream: Any) -> None:
            log.append(("wait", stream))

    stand_in = SimpleNamespace(
        legacy_default_stream=lambda: "default",
        external_stream=lambda handle: f"stream {handle}",
        event=lambda timing: Event(),
        get_current_device=lambda: SimpleNamespace(id=0),
    )
    arrays = []
    for stream, library, device in zip(streams, libraries, devices, strict=True):
        kind = type("Array", (Foreign,), {"__module__": library})
        array = kind(np.zeros(3, np.float32), stream=stream)
        array.device = SimpleNamespace(id=device)
        array.gpu_data = SimpleNamespace(context=SimpleNamespace(device=SimpleNamespace(id=device)))
        arrays.append(_device.memory("x", array))
    before = _device.cuda, _device.SIMULATED
    _device.cuda, _device.SIMULATED = stand_in, False
    _device._numba_stream.cache_clear()
    try:
        return _device.place_of(arrays).stream, [stream for what, stream in log if what == "record"]
    except ValueError as error:
        return str(error)
    finally:
        _device.cuda, _device.SIMULATED = before
        _device._numba_stream.cache_clear()


def misplaced(name: str, inputs: list[np.ndarray]) -> str:
    """What is said of an input that begins one byte off."""
    import symloss_kernels as sk

    room = np.zeros(inputs[0].nbytes + 1, np.uint8)[1:]
    off = np.frombuffer(room.data, inputs[0].dtype)
    try:
        getattr(sk, name).value(Foreign(off), *map(Foreign, inputs[1:]))
    except ValueError as error:
        return str(error)
    return ""
