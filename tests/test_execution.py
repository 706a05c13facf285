"""Whole calls: big and oddly laid out arrays, memory, results in place, both schedules, the shortcut, the cache."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import symloss_kernels as sk
from test_contract import UNUSUAL, every, flat, joined, ordinary, same_bits

runtime = import_module("symloss_kernels._runtime")
PIECE = import_module("symloss_kernels._arrays").PIECE
KERNELS = Path(sk.__file__).parent
BOTH = pytest.mark.parametrize("dtype", [np.float32, np.float64])
MIB = 1 << 20


def normal(*shape, dtype=np.float64, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


# --- sums of many terms -------------------------------------------------------------------------------------------


def exact_sum(whole: np.ndarray, power: int) -> Fraction:
    """The sum of whole numbers below 2^32, times 2^power."""
    return Fraction(sum(int(part.sum(dtype=np.int64)) for part in np.array_split(whole, 64))) * Fraction(2) ** power


def two_sizes(n: int, bits: int, apart: int) -> tuple[np.ndarray, np.ndarray]:
    """Whole numbers of so many bits, and powers of two: every second number is 2^apart times smaller."""
    rng = np.random.default_rng(n)
    whole = rng.integers(1 << (bits - 1), 1 << bits, n, dtype=np.int32)
    power = np.zeros(n, np.int8)
    power[1::2] = -apart
    return whole, power


def error_of_sum(name: str, n: int, dtype) -> float:
    """How many 2^-53 of itself a sum of terms that are exact is away from the exact sum.

    The small terms lie far below what is added up so far, but together they count. Terms of mae have 24 bits,
    those of mse are squares of numbers of 12 bits.
    """
    bits, apart, times = (24, 40, 1) if name == "mae" else (12, 20, 2)
    whole, power = two_sizes(n, bits, apart)
    prediction = np.ldexp(whole.astype(dtype), power, dtype=dtype)
    whole = whole.astype(np.int64) ** times if times == 2 else whole
    exact = exact_sum(whole[::2], 0) + exact_sum(whole[1::2], -apart * times)
    found = getattr(sk, name).value(prediction, np.zeros(n, dtype), reduction="sum")
    return float(abs(Fraction(found) - exact) / exact) * 2.0**53


#: float64 terms are summed with their rounding errors: an ulp at most, which is up to 2 units of 2^-53.
#: float32 terms are simply summed in float64: a lane adds at most LONGEST / 8 terms, each with half an ulp, and the
#: lanes' and pieces' sums are added exactly.
SLACK = {np.float64: 2.0, np.float32: 2.0**22 / 8}


@BOTH
@pytest.mark.parametrize("name", ["mae", "mse"])
@pytest.mark.parametrize("n", [1000, 100_003, 10**6, 10**7])
def test_sums_are_exact_however_long(name, n, dtype):
    assert error_of_sum(name, n, dtype) <= min(SLACK[dtype], n)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mae", "mse"])
def test_a_sum_of_a_hundred_million_float32_is_a_float64_sum(name):
    """2^19 units of 2^-53 are a thousandth of a float32's ulp; a float32 sum would have stopped at 2^24 terms."""
    assert error_of_sum(name, 10**8, np.float32) <= SLACK[np.float32]


def test_the_mean_of_many_equal_terms_is_that_term():
    for dtype in (np.float32, np.float64):
        third = dtype(1) / dtype(3)
        x = np.full(3 * 10**6, third)
        assert sk.mae.value(x, np.zeros_like(x)) == pytest.approx(float(third), rel=2.0**-52)


# --- large results ------------------------------------------------------------------------------------------------

written = import_module("symloss_kernels._outputs")
STREAMING = sorted(name for name in sk.__all__ if getattr(getattr(sk, name)._open(), "STREAMS", ()))


def test_quick_losses_of_one_loop_stream():
    assert {"mse", "mae", "huber", "l1_norm", "feature_reconstruction"} <= set(STREAMING)
    # Of these, functions take the time, a row is read twice, and single entries are written.
    assert not {"binary_focal", "l2_norm", "sparse_cross_entropy"} & set(STREAMING)


@BOTH
@pytest.mark.parametrize("name", STREAMING)
def test_results_around_the_caches_have_the_same_bits(monkeypatch, name, dtype):
    """In pieces and at once, into memory of every alignment, with weights and without."""
    loss = getattr(sk, name)
    size = 1 if not loss.info.inputs[0].core else 101 if len(loss.info.inputs[0].core) == 1 else 7
    sizes = dict.fromkeys(loss.info.inputs[0].core, size)
    n = 4 * PIECE // size ** len(sizes) + 100
    arguments = ordinary(loss, n, sizes, dtype, np.random.default_rng(5))
    for keywords in ({}, {"weight": np.resize([1.0, 0.0, 2.0], n)}):
        expected = loss.value_and_grad(*arguments, **keywords)
        curved = loss.grad_and_hess(*arguments, **keywords)
        with monkeypatch.context() as patch:
            for module in (runtime, written):
                patch.setattr(module, "STREAMED", 0)
            same_bits(loss.value_and_grad(*arguments, **keywords), expected)
            same_bits(loss.grad_and_hess(*arguments, **keywords), curved)
            for skip in (0, 1, 3):
                room = np.full(arguments[0].size + skip, 7.0, dtype)
                out = room[skip:].reshape(arguments[0].shape)
                same_bits(loss.grad(*arguments, **keywords, out=out), expected[1])
                assert (room[:skip] == 7.0).all()


@BOTH
def test_a_large_result_begins_with_a_line_of_memory(dtype):
    x = np.zeros(written.STREAMED // np.dtype(dtype).itemsize, dtype)
    first, second = sk.mse.grad_and_hess(x, x)
    for result in (first, second):
        assert result.ctypes.data % written.LINE == 0
        assert result.flags.c_contiguous and result.flags.writeable and result.shape == x.shape
        assert result.dtype == dtype


# --- layouts ------------------------------------------------------------------------------------------------------


def layouts(array: np.ndarray, folder: Path) -> Iterator[tuple[str, np.ndarray]]:
    """The same entries of the same dtype, laid out in every way that NumPy has."""
    spread = np.zeros(tuple(2 * size for size in array.shape), array.dtype)
    strided = spread[tuple(slice(None, None, 2) for _ in array.shape)]
    strided[...] = array
    yield "strided", strided
    yield "backwards", array[tuple(slice(None, None, -1) for _ in array.shape)].copy()[
        tuple(slice(None, None, -1) for _ in array.shape)
    ]
    yield "columns first", np.asfortranarray(array)
    if array.ndim > 1:
        yield "last axis first", np.moveaxis(np.ascontiguousarray(np.moveaxis(array, -1, 0)), 0, -1)
    yield "other byte order", array.astype(array.dtype.newbyteorder())
    room = np.zeros(array.nbytes + 1, np.uint8)
    unaligned = room[1:].view(array.dtype).reshape(array.shape)
    unaligned[...] = array
    yield "unaligned", unaligned
    path = folder / f"{len(list(folder.iterdir()))}.dat"
    array.tofile(path)
    yield "read-only file", np.memmap(path, array.dtype, "r", shape=array.shape)
    frozen = array.copy()
    frozen.flags.writeable = False
    yield "read-only", frozen


def drawn(name: str, dtype, n: int) -> tuple[list[np.ndarray], dict]:
    """Inputs of about n numbers, and keywords."""
    rng = np.random.default_rng(12)

    def draw(*shape):
        return rng.standard_normal(shape).astype(dtype)

    if name == "mse":
        return [draw(n), draw(n)], {}
    if name == "mse in two dimensions":
        return [draw(n // 100, 100), draw(n // 100, 100)], {}
    if name == "binary_cross_entropy_with_logits":
        return [draw(n), rng.integers(0, 2, n).astype(dtype)], {"weight": rng.integers(0, 4, n).astype(dtype)}
    if name == "softmax_cross_entropy":
        return [draw(n // 10, 10), rng.integers(0, 10, n // 10)], {}
    if name == "softmax_cross_entropy of images":
        return [draw(n // 400, 5, 8, 10), rng.integers(0, 10, (n // 400, 5, 8))], {}
    if name == "softmax_cross_entropy with long rows":
        return [draw(n // 200, 200), rng.integers(0, 200, n // 200)], {}
    assert name == "center"
    return [draw(n // 8, 8), draw(6, 8), rng.integers(0, 6, n // 8)], {}


CASES = [
    "mse", "mse in two dimensions", "binary_cross_entropy_with_logits", "softmax_cross_entropy",
    "softmax_cross_entropy of images", "softmax_cross_entropy with long rows", "center",
]  # fmt: skip
SIZES = pytest.mark.parametrize("n", [1600, 4 * PIECE + 1600], ids=["one piece", "many pieces"])


@SIZES
@BOTH
@pytest.mark.parametrize("name", CASES)
def test_layouts_of_inputs_do_not_matter(tmp_path, name, dtype, n):
    inputs, keywords = drawn(name, dtype, n)
    loss = getattr(sk, name.split(" ")[0])
    expected = loss.value_and_grad(*inputs, **keywords)
    values = loss.value_and_grad(*inputs, reduction="none", **keywords)
    for place in range(len(inputs)):
        for title, laid in layouts(inputs[place], tmp_path):
            given = [*inputs[:place], laid, *inputs[place + 1 :]]
            same_bits(loss.value_and_grad(*given, **keywords), expected, f"input {place}, {title}")
            same_bits(loss.value_and_grad(*given, reduction="none", **keywords), values, f"input {place}, {title}")
    for (title, first), *others in zip(*(layouts(array, tmp_path) for array in inputs if array.ndim), strict=False):
        given = [first, *(laid for _, laid in others)]
        same_bits(loss.value_and_grad(*given, **keywords), expected, f"all inputs {title}")


@pytest.mark.parametrize("seed", range(3))
def test_layouts_do_not_matter_where_pieces_could_be_larger(seed):
    """What needs no conversion is taken in larger pieces, so a sum may differ in its last bits, and nothing else."""
    x, t = normal(2, 6_000_000, dtype=np.float32, seed=seed)
    strided = np.repeat(x, 2)[::2]
    for name in ("mse", "huber"):
        value, grad = getattr(sk, name).value_and_grad(strided, t)
        expected = getattr(sk, name).value_and_grad(x, t)
        # Float64 sums of pieces, each some 10^5 terms long in 32 lanes: far below a float32's 6e-8.
        assert value == pytest.approx(expected[0], rel=1e-12)
        same_bits(grad, expected[1], name)


@SIZES
@BOTH
def test_dtypes_of_targets_labels_and_weights_do_not_matter(dtype, n):
    (x, t), keywords = drawn("binary_cross_entropy_with_logits", dtype, n)
    loss = sk.binary_cross_entropy_with_logits
    expected = loss.value_and_grad(x, t, **keywords)
    for other in (bool, np.int8, np.uint16, np.int64, np.float16, np.float32, np.float64, ">f8", ">i2"):
        for part in (t.astype(other), np.repeat(t.astype(other), 2)[::2]):
            same_bits(loss.value_and_grad(x, part, **keywords), expected, str(other))
    w = keywords["weight"]
    for other in (np.int8, np.uint32, np.float16, np.float32, np.float64, ">f4"):
        for part in (w.astype(other), np.repeat(w.astype(other), 2)[::2]):
            same_bits(loss.value_and_grad(x, t, weight=part), expected, str(other))
    (z, label), _ = drawn("softmax_cross_entropy", dtype, n)
    expected = sk.softmax_cross_entropy.value_and_grad(z, label)
    for other in (np.int8, np.uint8, np.int32, np.uint64, ">i4", ">i8"):
        for part in (label.astype(other), np.repeat(label.astype(other), 2)[::2]):
            same_bits(sk.softmax_cross_entropy.value_and_grad(z, part), expected, str(other))


@SIZES
def test_a_float64_target_beside_float32_predictions_is_rounded_first(n):
    x, t = normal(n, dtype=np.float32), normal(n, seed=1)
    same_bits(sk.mse.value_and_grad(x, t), sk.mse.value_and_grad(x, t.astype(np.float32)))


@SIZES
@BOTH
@pytest.mark.parametrize("name", CASES)
def test_layouts_of_vectors_do_not_matter(tmp_path, name, dtype, n):
    inputs, keywords = drawn(name, dtype, n)
    loss = getattr(sk, name.split(" ")[0])
    predictions = [a for a, entry in zip(inputs, loss.info.inputs, strict=True) if entry.kind == "prediction"]
    vectors = [normal(*array.shape, dtype=dtype, seed=3) for array in predictions]
    expected = loss.hvp(*inputs, vector=joined(vectors), **keywords)
    for title, laid in layouts(vectors[0], tmp_path):
        found = loss.hvp(*inputs, vector=joined([laid, *vectors[1:]]), **keywords)
        same_bits(found, expected, title)


def outputs(array: np.ndarray, folder: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Arrays of a shape and dtype that can be written into."""
    for title, laid in layouts(array, folder):
        if laid.flags.writeable and laid.dtype == array.dtype:
            yield title, laid
    path = folder / f"out{len(list(folder.iterdir()))}.dat"
    yield "file", np.memmap(path, array.dtype, "w+", shape=array.shape)
    yield "file, from the middle", np.memmap(path, array.dtype, "w+", offset=array.itemsize, shape=array.shape)


@SIZES
@BOTH
@pytest.mark.parametrize("name", CASES)
def test_layouts_of_outputs_do_not_matter(tmp_path, name, dtype, n):
    inputs, keywords = drawn(name, dtype, n)
    loss = getattr(sk, name.split(" ")[0])
    expected = loss.value_and_grad(*inputs, reduction="none", **keywords)
    grads = list(expected[1]) if isinstance(expected[1], tuple) else [expected[1]]
    for place, made in enumerate(grads):
        for title, out in outputs(made, tmp_path):
            given = [np.full_like(grad, -7.0) for grad in grads]
            given[place] = out
            out[...] = -7.0
            values = np.full(expected[0].shape, -7.0, dtype)
            found = loss.value_and_grad(*inputs, reduction="none", out=(values, joined(given)), **keywords)
            same_bits(found, expected, title)
            assert flat(found)[1 + place] is out
            if isinstance(out, np.memmap):
                out.flush()
                again = np.memmap(out.filename, dtype, "r", offset=out.offset, shape=out.shape)
                np.testing.assert_array_equal(again, made)
    for title, values in outputs(expected[0], tmp_path):
        values[...] = -7.0
        assert loss.value(*inputs, reduction="none", out=values, **keywords) is values
        same_bits(values, expected[0], title)


# --- memory -------------------------------------------------------------------------------------------------------

MEMORY = """
import sys, tracemalloc
import numpy as np
import symloss_kernels as sk

def status(name):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))

def prepared(n):
    rng = np.random.default_rng(0)
    keywords = {}
    loss = sk.mse
    inputs = [rng.random(n, np.float32), rng.random(n, np.float32)]
    if case == "strided":
        inputs[0] = rng.random(2 * n, np.float32)[::2]
    elif case == "another dtype":
        inputs[1] = rng.integers(0, 9, n)
    elif case == "another shape":
        inputs = [array.reshape(-1, 100)[::-1] for array in inputs]
    elif case == "weights":
        keywords = {"weight": rng.random(n, np.float32)}
    elif case == "one target a line":
        inputs = [inputs[0].reshape(-1, 1000), inputs[1][: n // 1000, np.newaxis]]
    elif case == "one weight a line":
        inputs = [array.reshape(-1, 1000) for array in inputs]
        keywords = {"weight": rng.random((n // 1000, 1))}
    elif case in ("rows", "labels", "rows, columns first", "images, channels first"):
        loss = sk.softmax_cross_entropy
        inputs = [rng.random((n // 10, 10), np.float32), rng.integers(0, 10, n // 10)]
        if case == "labels":
            inputs[1] = rng.integers(-1, 10, n // 10).astype(np.int32)
            keywords = {"weight": rng.random(n // 10, np.float32), "ignore_index": -1}
        if case == "rows, columns first":
            inputs[0] = np.asfortranarray(inputs[0])
        if case == "images, channels first":
            inputs = [np.moveaxis(rng.random((n // 1000, 10, 100), np.float32), 1, -1), rng.integers(0, 10, (n // 1000, 100))]
    elif case == "long rows":
        loss, inputs = sk.softmax_cross_entropy, [rng.random((n // 1000, 1000), np.float32), rng.integers(0, 1000, n // 1000)]
    elif case == "center":
        loss = sk.center
        inputs = [rng.random((n // 10, 10), np.float32), rng.random((100, 10), np.float32), rng.integers(0, 100, n // 10)]
    elif case == "products":
        loss, inputs = sk.gram_style, [rng.random((n // 16384, 16, 32, 32), np.float32) for _ in range(2)]
    else:
        assert case == "plain"
    return loss, inputs, keywords

case, count = sys.argv[1], int(sys.argv[2])
with sk.num_threads(count):
    loss, inputs, keywords = prepared(200_000)
    loss.value_and_grad(*inputs, **keywords)  # compiles, starts threads
    loss, inputs, keywords = prepared(4_000_000)
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak starts anew
    before = status("VmRSS")
    _, grad = loss.value_and_grad(*inputs, **keywords)
    held = sum(part.nbytes for part in (grad if isinstance(grad, tuple) else (grad,)))
    print(status("VmHWM") - before - held)
    del grad
    tracemalloc.start()
    loss.value_and_grad(*inputs, **keywords)
    print(tracemalloc.get_traced_memory()[1] - held)
"""


def peak(case: str, threads: int) -> tuple[int, int]:
    """Bytes beyond inputs and gradient at 4 million numbers: as the system sees it, and as NumPy asks for them."""
    # Memory of a MiB and more goes back to the system at once, so that nothing is hidden in what is kept.
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, case, str(threads)],
        capture_output=True, text=True, env=os.environ | {"MALLOC_MMAP_THRESHOLD_": str(MIB)}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    system, asked = map(int, done.stdout.split())
    return system, asked


#: What is converted lies in memory a piece at a time, and each thread has a piece: so many KiB a thread.
PEAKS = [
    ("plain", 64), ("strided", 320), ("another dtype", 320), ("weights", 576), ("rows", 64), ("labels", 192),
    ("rows, columns first", 320), ("long rows", 64), ("center", 576), ("products", 768), ("another shape", 576),
    ("images, channels first", 320), ("one target a line", 320), ("one weight a line", 576),
]  # fmt: skip


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("case", "kib"), [pytest.param(*case, id=case[0]) for case in PEAKS])
def test_a_call_needs_its_gradient_and_little_more(case, kib, threads):
    system, asked = peak(case, threads)
    assert asked <= kib * 1024 * threads
    assert system <= MIB * threads + MIB // 4  # with what the interpreter itself took meanwhile


# --- results in the place of inputs -------------------------------------------------------------------------------


def whole(array: np.ndarray) -> np.ndarray:
    return array.copy()


def with_stride(array: np.ndarray) -> np.ndarray:
    spread = np.zeros((*array.shape, 2), array.dtype)
    spread[..., 0] = array
    return spread[..., 0]


@SIZES
@BOTH
@pytest.mark.parametrize("form", [whole, with_stride], ids=["whole", "strided"])
@pytest.mark.parametrize("name", CASES)
def test_the_gradient_in_place_of_the_prediction(name, form, dtype, n):
    inputs, keywords = drawn(name, dtype, n)
    loss = getattr(sk, name.split(" ")[0])
    predictions = [i for i, entry in enumerate(loss.info.inputs) if entry.kind == "prediction"]

    def fresh():
        return [form(array) for array in inputs]

    for reduction in ("mean", "none"):
        keywords["reduction"] = reduction
        given = fresh()
        out = joined([given[i] for i in predictions])
        same_bits(loss.grad(*given, out=out, **keywords), loss.grad(*inputs, **keywords))
        given = fresh()
        out = joined([given[i] for i in predictions])
        value, grad = loss.value_and_grad(*inputs, **keywords)
        values = np.empty_like(value) if reduction == "none" else None
        found = loss.value_and_grad(*given, out=out if values is None else (values, out), **keywords)
        same_bits(found, (value, grad))
        given = fresh()
        out = joined([given[i] for i in predictions])
        other = joined([np.empty_like(given[i]) for i in predictions])
        expected = loss.grad_and_hess(*inputs, **keywords)
        same_bits(loss.grad_and_hess(*given, out=(other, out), **keywords), expected)
        given = fresh()
        vector = joined([form(inputs[i]) for i in predictions])
        expected = loss.hvp(*inputs, vector=joined([inputs[i] for i in predictions]), **keywords)
        same_bits(loss.hvp(*given, vector=vector, out=vector, **keywords), expected)


@SIZES
@BOTH
def test_the_gradient_in_place_of_other_inputs(dtype, n):
    x, t, w = normal(n, dtype=dtype), normal(n, dtype=dtype, seed=1), abs(normal(n, dtype=dtype, seed=2))
    expected = sk.mse.value_and_grad(x, t, weight=w, reduction="none")
    for place in range(3):
        given = [x.copy(), t.copy(), w.copy()]
        out = given[place]
        found = sk.mse.value_and_grad(*given[:2], weight=given[2], reduction="none", out=(np.empty_like(x), out))
        same_bits(found, expected, f"gradient in place {place}")
        given = [x.copy(), t.copy(), w.copy()]
        found = sk.mse.value_and_grad(*given[:2], weight=given[2], reduction="none", out=(given[place], np.empty_like(x)))
        same_bits(found, expected, f"values in place {place}")
    given = [x.copy(), t.copy(), w.copy()]
    found = sk.mse.value_and_grad(*given[:2], weight=given[2], reduction="none", out=(given[0], given[1]))
    same_bits(found, expected, "both in place")
    a = x.copy()
    same_bits(sk.mse.grad(a, a[5:6], out=a), sk.mse.grad(x, x[5:6].copy()), "one target, which is part of the output")


#: From room for n + 2 rows to an input and an output that share memory, and aren't the same.
SHIFTS = {
    "a row on": lambda room, n: (room[:n], room[1 : n + 1]),
    "a row back": lambda room, n: (room[1 : n + 1], room[:n]),
    "backwards": lambda room, n: (room[:n], room[:n][::-1]),
    "backwards, read so": lambda room, n: (room[:n][::-1], room[:n]),
    "every second row": lambda room, n: (room[: n // 2], room[:n:2]),
    "columns back": lambda room, n: (room[:n], room[:n, ::-1]),
}


@SIZES
@BOTH
@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("width", [1, 10, 200])
def test_outputs_that_overlap_inputs_in_other_places(shift, width, dtype, n):
    n = n // width
    label = np.random.default_rng(5).integers(0, width, n)
    start = normal(n + 2, width, dtype=dtype)

    def fresh():
        return SHIFTS[shift](start.copy(), n)

    size = len(fresh()[0])
    x = fresh()[0].copy()
    given, out = fresh()
    expected = sk.softmax_cross_entropy.grad(x, label[:size])
    same_bits(sk.softmax_cross_entropy.grad(given, label[:size], out=out), expected)
    given, out = fresh()
    expected = sk.mse.grad(x, np.zeros_like(x))
    same_bits(sk.mse.grad(given, np.zeros_like(x), out=out), expected)


@pytest.mark.parametrize("size", [2**19, 2**21])
def test_what_a_kernel_leaves_out_is_zero_in_memory_that_was_used_before(size):
    """Large arrays come from the system as zeros; smaller ones, and those of the caller, hold what was there."""
    rng = np.random.default_rng(0)
    p, label = rng.uniform(0.1, 0.9, (5, size)), rng.integers(0, size, 5)
    wanted = np.zeros(p.shape)
    wanted[np.arange(5), label] = -1 / (5 * p[np.arange(5), label])
    for _ in range(3):
        np.full(p.shape, 7.0)  # and freed at once
        got = sk.sparse_cross_entropy.grad(p, label)
        np.testing.assert_allclose(got, wanted, rtol=1e-14)
        got[...] = 7.0
        sk.sparse_cross_entropy.grad(p, label, out=got)
        np.testing.assert_allclose(got, wanted, rtol=1e-14)
        weighted = sk.mse.grad(p, p + 1, weight=np.repeat([0.0, 2.0], [2, 3])[:, None] * np.ones(p.shape))
        assert not weighted[:2].any() and (weighted[2:] != 0).all()
        del got, weighted


def test_a_square_in_place_of_its_transpose():
    x = normal(300, 300)
    given = x.copy()
    same_bits(sk.mse.grad(given, np.zeros_like(x), out=given.T), sk.mse.grad(x, np.zeros_like(x)))


def joint(n: int, classes: int, size: int, dtype) -> list[np.ndarray]:
    """Inputs of `softmax_center` whose centers are too many for each piece to have sums of its own."""
    rng = np.random.default_rng(n)
    arrays = [rng.standard_normal(shape).astype(dtype) for shape in ((n, classes), (n, size), (classes, size))]
    return [*arrays, rng.integers(0, classes, n)]


@BOTH
@pytest.mark.parametrize("keywords", [{}, {"ignore_index": 3}, {"reduction": "sum", "strength": 0.3}])
def test_sums_of_few_entries_a_sample_are_made_beside_the_rest(monkeypatch, dtype, keywords):
    """In one piece, as they are without the other outputs; those have the bits that samples in other calls have."""
    given, loss = joint(900, 700, 64, dtype), sk.softmax_center
    calls = []
    add_few = type(loss)._add_few
    monkeypatch.setattr(type(loss), "_add_few", lambda *args: (calls.append(args), add_few(*args))[1])
    with sk.num_threads(1):
        value, grads = loss.value_and_grad(*given, **keywords)
    for threads in (2, 3):
        with sk.num_threads(threads):
            again = loss.value_and_grad(*given, **keywords)
            same_bits((*again[1], *loss.grad(*given, **keywords)), (*grads, *grads))
            assert again[0] == value
    assert len(calls) == 5
    with monkeypatch.context() as patch:
        patch.setattr(type(loss), "_apart", lambda *_: [])
        whole_value, whole = loss.value_and_grad(*given, **keywords)
    same_bits(grads, whole)
    assert value == pytest.approx(whole_value, rel=1e-15)


def test_sums_beside_the_rest_need_no_output_over_an_input(monkeypatch):
    """The rest would write over features that the sums still read."""
    given, loss = joint(900, 700, 64, np.float64), sk.softmax_center
    wanted = loss.grad(*given)
    copies = [array.copy() for array in given]
    same_bits(loss.grad(*copies, out=tuple(copies[:3])), wanted)


def test_a_wrong_label_is_refused_beside_sums():
    given = joint(900, 700, 64, np.float64)
    given[3][777] = 700
    with pytest.raises(ValueError, match="label"):
        sk.softmax_center.value_and_grad(*given)


# --- both schedules -----------------------------------------------------------------------------------------------

ROWS = [name for name in sk.__all__ if any(entry.core for entry in getattr(sk, name).info.inputs)]


def rows(name: str, n: int, size: int, dtype) -> tuple[list[np.ndarray], dict]:
    """Ordinary samples with rows of a length, and parameters that are not the defaults."""
    loss = getattr(sk, name)
    sizes = {"K": size, "D": size, "M": 3, "C": 3, "H": 2, "W": size}
    inputs = ordinary(loss, n, sizes, dtype, np.random.default_rng(n + 100 * size))
    return inputs, {entry.name: UNUSUAL[entry.name] for entry in loss.info.parameters}


#: In ulp of the largest number: both add the rounding errors of their sums, so that only a few are left, and none in
#: float32. What BLAS adds up has the errors of its additions, in another order than in a loop, and where two Gram
#: matrices are nearly equal these are large beside their difference.
NEAR = {np.float32: 2, np.float64: 8}
NEAR_PRODUCTS = {np.float32: 2, np.float64: 256}
#: A gradient of float32 arithmetic that is the difference of two shares of 1, of which each is rounded.
OF_SHARES = ["soft_target_cross_entropy"]


def ulps(name: str, dtype) -> int:
    return (NEAR_PRODUCTS if hasattr(import_module(f"symloss_kernels.cpu.{name}"), "PRODUCTS") else NEAR)[dtype]


def assert_near(found, expected, most: float, what: str, terms: float = 0.0) -> None:
    """Equal within some ulp of the largest number of the same sample; NaN and infinities in the same places.

    Args:
        found, expected: results, of which nested ones are compared one by one.
        most: the number of ulp.
        what: what is compared.
        terms: how large the numbers are that results are differences of.
    """
    for a, b in zip(flat(found), flat(expected), strict=True):
        a, b = np.atleast_1d(a), np.atleast_1d(b)
        eps = np.finfo(b.dtype).eps
        with np.errstate(invalid="ignore"):
            largest = np.max(np.abs(b), axis=tuple(range(1, b.ndim)), keepdims=True, initial=terms, where=np.isfinite(b))
            near = np.abs(a - b) <= most * eps * largest
        missed = ~(near | (a == b) | (np.isnan(a) & np.isnan(b)))
        assert not np.any(missed), (what, a[missed], b[missed])


@BOTH
@every(ROWS)
def test_samples_in_lanes_and_entries_in_lanes_agree(monkeypatch, name, dtype):
    """The sums have another order, which may change their last bit, and what is made of them."""
    for size in (1, 2, 5, 33, 130):
        for n in (1, 31, 33):
            inputs, parameters = rows(name, n, size, dtype)
            weight = np.resize([1.0, 0.5, 0.0, 2.0], n)
            for keywords in ({}, {"weight": weight}):
                found = []
                for narrow in (0, 10**9):
                    monkeypatch.setattr(runtime, "NARROW", narrow)
                    monkeypatch.setattr(getattr(sk, name), "_ways", lambda *call: None)
                    monkeypatch.setattr(getattr(sk, name), "_short", {})
                    found.append(getattr(sk, name).value_and_grad(*inputs, reduction="none", **parameters, **keywords))
                terms = 1.0 if name in OF_SHARES and dtype is np.float32 else 0.0
                assert_near(*found, ulps(name, dtype), f"{n} rows of {size}", terms)


@every(ROWS)
def test_curvature_of_samples_in_lanes_and_entries_in_lanes_agrees(monkeypatch, name):
    for n, size in ((31, 5), (3, 130)):
        inputs, parameters = rows(name, n, size, np.float64)
        predictions = [a for a, e in zip(inputs, getattr(sk, name).info.inputs, strict=True) if e.kind == "prediction"]
        vector = joined([normal(*array.shape, seed=9) for array in predictions])
        weight = np.resize([1.0, 0.5, 0.0, 2.0], n)
        found = []
        for narrow in (0, 10**9):
            monkeypatch.setattr(runtime, "NARROW", narrow)
            monkeypatch.setattr(getattr(sk, name), "_ways", lambda *call: None)
            monkeypatch.setattr(getattr(sk, name), "_short", {})
            loss, keywords = getattr(sk, name), {"weight": weight, "reduction": "sum", **parameters}
            found.append((loss.grad_and_hess(*inputs, **keywords), loss.hvp(*inputs, vector=vector, **keywords)))
        assert_near(*found, 2 * ulps(name, np.float64), f"{n} rows of {size}")


# --- the shortcut for small calls ---------------------------------------------------------------------------------

SHORT = ("value", "grad", "value_and_grad", "grad_and_hess")
#: Matrix products of long rows are made around the kernels.
SERVED = [name for name in sk.__all__ if not hasattr(import_module(f"symloss_kernels.cpu.{name}"), "PRODUCTS")]


def long_way(monkeypatch, call):
    """What a call gives without the shortcut."""
    with monkeypatch.context() as patch:
        for name in sk.__all__:
            patch.setattr(getattr(sk, name), "_ways", lambda *call: None)
            patch.setattr(getattr(sk, name), "_short", {})
        return call()


def short_way(monkeypatch, call):
    """What a call gives with nothing but the shortcut."""

    def prepare(*arguments):
        raise AssertionError("the long way was taken")

    with monkeypatch.context() as patch:
        patch.setattr(type(sk.mse), "_prepare", prepare)
        return call()


def remembered_way(monkeypatch, call):
    """What a call gives with nothing but what the loss remembers of the call before."""
    call()

    def way(*arguments):
        raise AssertionError("the call was not remembered")

    with monkeypatch.context() as patch:
        for name in sk.__all__:
            patch.setattr(getattr(sk, name), "_ways", way)
        return call()


def assert_same_results(found, expected, what: str) -> None:
    same_bits(found, expected, what)
    assert [type(x) for x in flat(found)] == [type(x) for x in flat(expected)]
    assert [np.shape(x) for x in flat(found)] == [np.shape(x) for x in flat(expected)]


@BOTH
@every(SERVED)
def test_the_shortcut_gives_the_bits_of_the_long_way(monkeypatch, name, dtype):
    loss = getattr(sk, name)
    for n, size in ((1, 1), (7, 5), (40, 3), (2, 110)):
        inputs, parameters = rows(name, n, size, dtype)
        for given in (inputs, [array[0] for array in inputs] if n == 1 else inputs):
            given = [np.asarray(array) for array in given]
            for keywords in ({}, {"reduction": "sum"}, {**parameters, "reduction": "mean", "weight": None}):
                for entry in SHORT:
                    call = partial(getattr(loss, entry), *given, **keywords)
                    expected = long_way(monkeypatch, call)
                    # NaN may mean a refusal, which is told only by what comes after.
                    is_known = not np.isnan(flat(expected)[0]).any()
                    for way in (short_way, *[remembered_way] * is_known):
                        found = way(monkeypatch, call)
                        assert_same_results(found, expected, entry)
                        assert type(found) is type(expected)


def weighings(name: str, n: int, inputs: list[np.ndarray]) -> list[dict[str, Any]]:
    """Weights with zeros and without, labels that are left out, each sample's value; and what goes together."""
    rng = np.random.default_rng(n)
    weight = rng.uniform(0.5, 2.0, n)
    masked = np.where(np.arange(n) % 3 == 1, 0.0, weight)
    found: list[dict[str, Any]] = [{}, {"weight": weight}, {"weight": masked}, {"weight": weight.astype(np.float32)}]
    kinds = [entry.kind for entry in getattr(sk, name).info.inputs]
    if "label" in kinds:
        ignored = int(inputs[kinds.index("label")][0]) if n > 1 else -100
        found += [{"ignore_index": ignored}, {"ignore_index": ignored, "weight": weight}, {"ignore_index": -100}]
    return found


@BOTH
@pytest.mark.parametrize("name", ["mse", "softmax_cross_entropy", "sparse_cross_entropy", "l1_norm", "center"])
def test_the_shortcut_weighs_as_the_long_way_does(monkeypatch, name, dtype):
    loss = getattr(sk, name)
    for n, size in ((1, 1), (7, 5), (40, 3), (2, 110)):
        inputs, _ = rows(name, n, size, dtype)
        for given in weighings(name, n, inputs):
            for reduction in ("mean", "sum", "none"):
                for entry in ("value", "value_and_grad", "grad_and_hess"):
                    call = partial(getattr(loss, entry), *inputs, **given, reduction=reduction)
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore", RuntimeWarning)  # all labels may be left out
                        expected, direct = long_way(monkeypatch, call), call()
                    assert_same_results(direct, expected, f"{entry} {reduction} {sorted(given)}")
                    # NaN may mean a refusal, and a mean of nothing is no simple case.
                    if not any(np.isnan(part).any() for part in flat(expected)):
                        assert_same_results(short_way(monkeypatch, call), expected, entry)


def other_forms(kind: str, array: np.ndarray) -> dict[str, Any]:
    """The same numbers, or near ones, as a caller may have them."""
    locked = array.copy()
    locked.flags.writeable = False
    forms: dict[str, Any] = {"spread": array.repeat(2, axis=-1)[..., ::2], "locked": locked}
    if kind != "prediction":
        others = ("i1", "u1", "i4", "u8", ">i8") if kind == "label" else ("f4", "f8", "f2", ">f8", "i8", "u1", "?")
        forms |= {dtype: array.astype(dtype) for dtype in others}
    if kind == "target":
        forms |= {"list": array.tolist(), "number": float(array.flat[0]), "whole number": 1, "answer": True}
    return forms


def outcome(call):
    """What a call gives, or what it says instead."""
    try:
        return call()
    except Exception as error:
        return type(error), str(error)


@BOTH
@every(SERVED)
def test_few_numbers_of_another_form_are_made_ready_on_the_shortcut(monkeypatch, name, dtype):
    """The bits, and the words, of the long way."""
    loss = getattr(sk, name)
    entry = "value_and_grad"
    for n, size in ((7, 5), (2, 110)):
        inputs, _ = rows(name, n, size, dtype)
        for place, given in enumerate(loss.info.inputs):
            for title, form in other_forms(given.kind, inputs[place]).items():
                changed = [*inputs[:place], form, *inputs[place + 1 :]]
                call = partial(getattr(loss, entry), *changed)
                expected, found = long_way(monkeypatch, partial(outcome, call)), outcome(call)
                assert type(found) is type(expected), title
                if isinstance(found[0], type):
                    assert found == expected
                    continue
                assert_same_results(found, expected, title)
                is_known = not any(np.isnan(part).any() for part in flat(expected))
                if is_known and isinstance(form, np.ndarray) and title != "u8":  # of which not all are int64
                    assert_same_results(short_way(monkeypatch, call), expected, title)


def test_a_refusal_speaks_of_the_callers_own_numbers():
    """Not of those that they were converted to."""
    logits = np.zeros((4, 3), np.float32)
    label = np.array([0, 1, 2, 2**64 - 1], np.uint64)
    for keywords in ({}, {"ignore_index": -1}, {"weight": np.ones(4, np.int64)}):
        with pytest.raises(ValueError, match=r"label\[3\]` = 18446744073709551615 is outside"):
            sk.softmax_cross_entropy.value(logits, label, **keywords)
    left = np.zeros((3000, 200), np.float32)
    for similar, said in ((np.full(3000, 2), "2"), (np.full(3000, 0.3), "0.3")):
        with pytest.raises(ValueError, match=rf"similar\[0\]` = {re.escape(said)} is outside"):
            sk.contrastive.value(left, left, similar)


@pytest.mark.parametrize("weight", [[True, False, True, True], [2, 0, 1, 3], [0.5, 0.0, 2.0, 1.0]], ids=str)
def test_few_weights_of_another_form_are_made_ready_too(monkeypatch, weight):
    x, y = np.random.default_rng(0).standard_normal((2, 4))
    for given in (np.array(weight), np.array(weight).repeat(2)[::2], np.array(weight).astype(">f8")):
        call = partial(sk.mse.value_and_grad, x, y, weight=given)
        expected = long_way(monkeypatch, call)
        assert_same_results(short_way(monkeypatch, call), expected, str(given))
        assert_same_results(call(), expected, str(given))
    label = np.array([0, 2, 1, 2], np.int32)
    logits = np.random.default_rng(1).standard_normal((4, 3))
    call = partial(sk.softmax_cross_entropy.value_and_grad, logits, label, ignore_index=2, weight=np.array(weight))
    assert_same_results(short_way(monkeypatch, call), long_way(monkeypatch, call), "labels and weights")


@BOTH
@pytest.mark.parametrize(("name", "n", "size"), [("mse", 300_000, 1), ("l1_norm", 60_000, 7), ("softmax_cross_entropy", 900, 300),
                                                 ("sparse_cross_entropy", 90_000, 4), ("center", 3000, 50)])  # fmt: skip
def test_many_weighed_samples_need_no_copies_and_have_the_same_results(monkeypatch, name, n, size, dtype):
    """Beside weights that have to be converted piece by piece: sums of other pieces differ in their last digits."""
    loss = getattr(sk, name)
    inputs, _ = rows(name, n, size, dtype)
    for given in weighings(name, n, inputs):
        spread = {**given, "weight": given["weight"].repeat(2)[::2]} if "weight" in given else given
        for entry in ("value", "value_and_grad"):
            for reduction in ("mean", "none"):
                call = partial(getattr(loss, entry), *inputs, reduction=reduction)
                found = call(**given)
                assert_same_results(long_way(monkeypatch, partial(call, **given)), found, entry)
                if reduction == "mean" and entry == "value":
                    np.testing.assert_allclose(found, call(**spread), rtol=1e-14)
                    with sk.num_threads(3):
                        same_bits(call(**given), found)
                else:
                    for x, y in zip(flat(call(**spread)), flat(found), strict=True):
                        np.testing.assert_allclose(x, y, rtol=4 * np.finfo(dtype).eps)


def test_weights_may_be_as_small_or_as_many_as_they_are():
    """A single weight for all, too many, NaN, none left: as before, in every way of a call."""
    x = np.linspace(-1, 1, 8)
    assert sk.mse.value(x, -x, weight=np.array(2.0)) == sk.mse.value(x, -x)
    assert np.isnan(sk.mse.value(x, -x, weight=np.where(x > 0, np.nan, 1.0)))
    with pytest.raises(ValueError, match=r"`weight` has shape \(9,\)"):
        sk.mse.value_and_grad(x, -x, weight=np.ones(9))
    for shape in ((0,), (3, 0)):  # no samples
        x0 = np.zeros(shape)
        for weight in (2.0, np.ones(1), np.ones(1, np.float32), np.zeros(shape, np.float32), np.ones((*shape[:-1], 1), bool)):
            for reduction in ("sum", "none"):
                value, grad = sk.mse.value_and_grad(x0, x0, weight=weight, reduction=reduction)
                assert np.shape(value) == (() if reduction == "sum" else shape)
                assert np.sum(value) == 0.0 and grad.shape == shape
    for reduction in ("mean", "sum"):
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            if reduction == "sum":
                value, grad = sk.mse.value_and_grad(x, -x, weight=np.zeros(8), reduction=reduction)
                assert value == 0.0 and not grad.any()
            else:
                with pytest.raises(RuntimeWarning, match="Mean of empty slice"):
                    sk.mse.value_and_grad(x, -x, weight=np.zeros(8))


@pytest.mark.parametrize(("n", "size"), [(5, 4), (3000, 70)])
def test_who_names_a_label_to_leave_out_isn_t_told_to(n, size):
    logits, label = np.zeros((n, size)), np.arange(n) % size
    label[2] = size
    for ignored in (-1, 0):
        with pytest.raises(ValueError, match=rf"`label\[2\]` = {size} is outside dimension K: expected 0 to {size - 1}$"):
            sk.softmax_cross_entropy.value(logits, label, ignore_index=ignored)


@BOTH
@pytest.mark.parametrize("name", ["center", "l2_norm", "mse"])
def test_the_shortcut_adds_up_what_samples_share(monkeypatch, name, dtype):
    loss = getattr(sk, name)
    for n in (2, 33):
        inputs, _ = rows(name, n, 5, dtype)
        place = [entry.kind for entry in loss.info.inputs].index("prediction")
        for shared in (place, len(inputs) - 1):
            given = [array[0] if i == shared else array for i, array in enumerate(inputs)]
            if np.ndim(given[shared]) == 0 and loss.info.inputs[shared].kind == "label":
                continue
            given = [np.asarray(array) for array in given]
            for entry in SHORT:
                call = partial(getattr(loss, entry), *given)
                for way in (short_way, remembered_way):
                    assert_same_results(way(monkeypatch, call), long_way(monkeypatch, call), entry)


@BOTH
@every(SERVED)
def test_the_shortcut_writes_into_the_callers_arrays(monkeypatch, name, dtype):
    loss = getattr(sk, name)
    inputs, _ = rows(name, 7, 5, dtype)
    predictions = [array for array, entry in zip(inputs, loss.info.inputs, strict=True) if entry.kind == "prediction"]

    def room():
        made = tuple(np.full_like(array, np.nan) for array in predictions)
        return made if len(made) > 1 else made[0]

    for entry in SHORT[1:]:
        out = (room(), room()) if entry == "grad_and_hess" else room()
        found = short_way(monkeypatch, partial(getattr(loss, entry), *inputs, out=out))
        expected = getattr(loss, entry)(*inputs)
        assert_same_results(found, expected, entry)
        assert all(a is b for a, b in zip(arrays(found), arrays(out), strict=True))


def arrays(results):
    """The arrays among results."""
    return [x for x in flat(results) if isinstance(x, np.ndarray)]


def test_the_shortcut_reads_an_input_before_it_writes_over_it(monkeypatch):
    x, y = np.random.default_rng(0).standard_normal((2, 4, 6))
    expected = sk.softmax_cross_entropy.value_and_grad(x, np.arange(4)), sk.l2_norm.grad(x, y)
    logits, prediction = x.copy(), x.copy()
    found = short_way(monkeypatch, lambda: sk.softmax_cross_entropy.value_and_grad(logits, np.arange(4), out=logits))
    same_bits(found, expected[0])
    same_bits(short_way(monkeypatch, lambda: sk.l2_norm.grad(prediction, y, out=prediction)), expected[1])
    assert found[1] is logits


def test_a_refused_call_leaves_the_callers_array_alone(monkeypatch):
    out = np.full(2, 7.0)
    with pytest.raises(ValueError, match=r"`prediction\[1\]` = 1.5 is outside"):
        short_way(monkeypatch, lambda: sk.binary_cross_entropy.grad(np.array([0.5, 1.5]), np.ones(2), out=out))
    for wrong in (np.empty(3), np.empty(2, np.float32), [0.0, 0.0]):
        with pytest.raises((ValueError, TypeError), match="`out` "):
            sk.binary_cross_entropy.grad(np.array([0.5, 0.5]), np.ones(2), out=wrong)
    assert out.tolist() == [7.0, 7.0]


def test_the_shortcut_takes_no_keyword_that_the_long_way_refuses(monkeypatch):
    x = np.zeros(3)
    for keywords in ({"ignore_index": None}, {"reduction": None}, {"vector": None}, {"weigth": None}, {"delta": 1.0}):
        for way in (lambda patch, call: call(), long_way):
            with pytest.raises((TypeError, ValueError)):
                way(monkeypatch, partial(sk.mse.value_and_grad, x, x, **keywords))
    label = np.zeros(1, np.int64)
    assert sk.softmax_cross_entropy.value(np.zeros((1, 2)), label, ignore_index=None, weight=None) == np.log(2.0)


def test_most_losses_have_the_shortcut():
    assert {"mse", "huber", "softmax_cross_entropy", "binary_focal", "kl_divergence", "contrastive"} <= set(SERVED)


#: Inputs of which something is wrong, for a loss that the shortcut serves.
WRONG = [
    ("softmax_cross_entropy", [np.zeros((2, 3)), np.array([0, 3])]),
    ("softmax_cross_entropy", [np.zeros((2, 3)), np.array([-1, 0])]),
    ("softmax_cross_entropy", [np.zeros((2, 3)), np.array([0.0, 1.0])]),
    ("softmax_cross_entropy", [np.zeros((2, 3)), np.array([0, 1, 2])]),
    ("softmax_cross_entropy", [np.zeros((2, 0)), np.array([0, 1])]),
    ("softmax_cross_entropy", [np.zeros(()), np.array(0)]),
    ("binary_cross_entropy", [np.array([0.5, 1.5]), np.array([0.0, 1.0])]),
    ("binary_cross_entropy", [np.array([0.5, 0.5]), np.array([0.0, -0.25])]),
    ("binary_focal", [np.array([0.5, 1.5]), np.array([0.0, 0.5])]),
    ("mse", [np.zeros(3), np.zeros(2)]),
    ("mse", [np.zeros(3)]),
    ("mse", [np.zeros(3), np.zeros(3), np.zeros(3)]),
    ("mse", [np.zeros(3, np.int64), np.zeros(3)]),
    ("mse", [np.zeros(3, np.float16), np.zeros(3)]),
    ("mse", [np.zeros(3), np.zeros(3, complex)]),
    ("mse", [np.ma.masked_array([1.0, 2.0], [True, False]), np.zeros(2)]),
    ("mse", [np.zeros(3), np.array(["a", "b", "c"])]),
]


@pytest.mark.parametrize(("name", "inputs"), WRONG)
def test_the_shortcut_refuses_what_the_long_way_refuses(monkeypatch, name, inputs):
    for entry in SHORT:
        said = []
        for way in (lambda patch, call: call(), long_way):
            with pytest.raises((ValueError, TypeError)) as raised:
                way(monkeypatch, partial(getattr(getattr(sk, name), entry), *inputs))
            said.append((raised.type, str(raised.value)))
        assert said[0] == said[1]


class Subclass(np.ndarray):
    """An array that the kernels don't know."""


@every(["binary_cross_entropy", "softmax_cross_entropy", "center"])
def test_a_call_like_the_one_before_is_checked_as_that_was(monkeypatch, name):
    """One input is another array each time; the right call before it is remembered."""
    loss = getattr(sk, name)
    right, _ = rows(name, 4, 3, np.float64)
    others = [
        lambda a: np.repeat(a, 2, axis=-1)[..., ::2] if a.ndim else a,
        lambda a: np.asfortranarray(a),
        lambda a: a.astype(np.float32 if a.dtype.kind == "f" else np.int32),
        lambda a: a.astype(a.dtype.newbyteorder()),
        lambda a: a.view(Subclass),
        lambda a: a.tolist(),
        lambda a: a[:-1],
        lambda a: a[..., None],
        lambda a: np.full_like(a, -1),
        lambda a: np.full_like(a, 9),
        lambda a: a * np.nan,
    ]

    def outcome(call):
        try:
            return [(type(x), np.asarray(x).tobytes()) for x in flat(call())]
        except (TypeError, ValueError) as error:
            return type(error), str(error)

    calls = [[*right[:i], other(array), *right[i + 1 :]] for i, array in enumerate(right) for other in others]
    calls += [right[:-1], [*right, right[0]], []]
    for entry in SHORT:
        for given in calls:
            getattr(loss, entry)(*right)
            call = partial(getattr(loss, entry), *given)
            assert outcome(call) == outcome(lambda call=call: long_way(monkeypatch, call)), (entry, given)
        array = right[0].copy()
        array.flags.writeable = False
        same_bits(getattr(loss, entry)(array, *right[1:]), getattr(loss, entry)(*right))


def test_parameters_are_told_apart(monkeypatch):
    x, y = np.linspace(-4, 4, 9), np.zeros(9)
    found = {delta: sk.huber.value(x, y, delta=delta) for delta in (0.5, 1.0, 2.0)}
    assert len(set(found.values())) == 3
    for delta, value in found.items():
        call = partial(sk.huber.value, x, y, delta=delta)
        assert remembered_way(monkeypatch, call) == value == long_way(monkeypatch, call)
    assert sk.huber.value(x, y, delta=1.0, reduction="sum") == 9 * found[1.0]
    for wrong in (True, -1.0, np.nan, "1", None):
        with pytest.raises((TypeError, ValueError)):
            sk.huber.value(x, y, delta=wrong)
    assert sk.huber.value(x, y, delta=np.float64(1)) == sk.huber.value(x, y, delta=1) == found[1.0]


def test_no_more_than_so_many_calls_are_remembered(monkeypatch):
    monkeypatch.setattr(runtime, "KNOWN", 4)
    x = np.linspace(0, 1, 5)
    for delta in np.linspace(0.1, 1, 20):
        expected = long_way(monkeypatch, partial(sk.huber.value, x, -x, delta=delta))
        assert sk.huber.value(x, -x, delta=delta) == sk.huber.value(x, -x, delta=delta) == expected
        assert len(sk.huber._short) <= 4


def test_the_shortcut_leaves_special_inputs_to_the_long_way():
    sk.mse._open()
    x = np.arange(6.0)
    expected = sk.mse.value_and_grad(x, x[::-1].copy())
    for given in (
        (x, x[::-1]),
        (x.tolist(), x[::-1].copy()),
        (x, x[::-1].astype(np.float32)),
        (x.astype(">f8"), x[::-1].copy()),
        (x.view(np.memmap), x[::-1].copy()),
    ):
        same_bits(sk.mse.value_and_grad(*given), expected)
    assert sk.mse.value(x, 0.0) == np.mean(x * x)
    with pytest.warns(RuntimeWarning, match="Mean of empty slice"):
        assert np.isnan(sk.mse.value(x[:0], x[:0]))


# --- the cache of compiled kernels --------------------------------------------------------------------------------

CALLS = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np
import their_losses as sk

value, grad = sk.mse.value_and_grad(np.array([3.0, 1.0]), np.array([1.0, 1.0]))
assert (value, grad.tolist()) == (2.0, [2.0, 0.0])
value, grad = sk.binary_cross_entropy.value_and_grad(np.array([0.5]), np.array([1.0]))
assert (value, grad.tolist()) == (0.6931471805599453, [-2.0])
value, grad = sk.softmax_cross_entropy.value_and_grad(np.zeros((1, 2)), np.array([0]))
assert (value, grad.tolist()) == (0.6931471805599453, [[-0.5, 0.5]])

from their_losses.cpu import binary_cross_entropy, mse, softmax_cross_entropy

kernels = [mse.value_and_grad, binary_cross_entropy.value_and_grad, softmax_cross_entropy.value_and_grad_narrow]
print(sum(sum(k.stats.cache_hits.values()) for k in kernels), sum(sum(k.stats.cache_misses.values()) for k in kernels))
"""
#: Three kernels.
CALLED = 3


def copied(folder: Path) -> Path:
    """The package under another name, without what was compiled before."""
    package = folder / "their_losses"
    shutil.copytree(KERNELS, package, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    return package


def caller(folder: Path, head: str = "", **environment: str) -> subprocess.Popen:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_CACHE")}
    return subprocess.Popen(
        [sys.executable, "-c", head + CALLS, str(folder)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=kept | environment,
    )  # fmt: skip


def counted(process: subprocess.Popen) -> tuple[int, int]:
    """How many kernels were read from the cache, and how many were compiled."""
    out, error = process.communicate(timeout=120)
    assert process.returncode == 0, error
    hits, misses = map(int, out.split())
    return hits, misses


def test_a_second_process_compiles_nothing(tmp_path):
    copied(tmp_path)
    assert counted(caller(tmp_path)) == (0, CALLED)
    assert counted(caller(tmp_path)) == (CALLED, 0)


def test_processes_share_the_cache_while_they_fill_it(tmp_path):
    copied(tmp_path)
    together = [caller(tmp_path) for _ in range(3)]
    for process in together:
        hits, misses = counted(process)
        assert hits + misses == CALLED
    assert counted(caller(tmp_path)) == (CALLED, 0)


#: Folders as a process sees them that may not write there; the superuser may write everywhere.
READ_ONLY = """
import sys, tempfile
_made = tempfile.TemporaryFile
def _refused(*args, dir=None, **keywords):
    if dir is not None and str(dir).startswith({folders!r}):
        raise PermissionError(13, "Permission denied", str(dir))
    return _made(*args, dir=dir, **keywords)
tempfile.TemporaryFile = _refused
"""


def test_a_package_that_can_not_be_written_to_is_cached_for_the_user(tmp_path):
    package = copied(tmp_path)
    home = tmp_path / "home"
    home.mkdir()
    places = {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "LOCALAPPDATA": str(home)}
    head = READ_ONLY.format(folders=(str(package),))
    assert counted(caller(tmp_path, head, **places)) == (0, CALLED)
    assert counted(caller(tmp_path, head, **places)) == (CALLED, 0)
    assert not list(package.rglob("*.nbi"))
    assert list(home.rglob("*.nbi"))


def test_where_nothing_can_be_written_kernels_are_compiled_for_the_process(tmp_path):
    package = copied(tmp_path)
    home = tmp_path / "home"
    places = {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "LOCALAPPDATA": str(home)}
    head = READ_ONLY.format(folders=(str(package), str(home)))
    hits, _ = counted(caller(tmp_path, head, **places))
    assert hits == 0
    assert not list(tmp_path.rglob("*.nbi"))
