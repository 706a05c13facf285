"""The CUDA kernels in Numba's simulator: against the exact results, and call by call against the CPU's."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import symloss_kernels as sk
from simulator import call, called, in_half, later, misplaced, mixed, over_itself, placed, verified, views
from test_contract import ordinary
from test_kernels import EXCEPTIONS, LOSSES, SLOW

from symloss.catalog import standard

pytest.importorskip("numba_cuda", reason="the simulator comes with numba-cuda: pip install symloss[cuda]")

ENTRIES = ("value", "grad", "value_and_grad", "grad_and_hess", "hvp")
REPRESENTATIVE = ("huber", "softmax_cross_entropy", "softmax_center", "sparse_cross_entropy", "contrastive", "gram_style")
#: (samples, entries of a row): threads, warps and blocks with too little to do, just enough, and too much.
SIZES = [(257, 1), (31, 2), (33, 10), (1, 33), (1, 1025)]


def inputs_of(name: str, n: int, size: int, dtype: Any, seed: int = 0) -> list[np.ndarray]:
    """Ordinary inputs of a loss whose rows have about `size` entries."""
    loss = getattr(sk, name)
    dims = {dim for entry in loss.info.inputs for dim in entry.dims}
    most = max((len(entry.core) for entry in loss.info.inputs), default=0)
    each = size if most < 2 else {1: 1, 2: 2, 10: 3, 33: 4, 1025: 5}[size]
    return ordinary(loss, n, dict.fromkeys(dims, each), dtype, np.random.default_rng(seed))


def vectors_of(name: str, inputs: list[np.ndarray]) -> Any:
    rng = np.random.default_rng(1)
    entries = getattr(sk, name).info.inputs
    made = [
        rng.standard_normal(x.shape).astype(x.dtype)
        for x, entry in zip(inputs, entries, strict=True)
        if entry.kind == "prediction"
    ]
    return made[0] if len(made) == 1 else tuple(made)


def arrays(result: Any) -> list[np.ndarray]:
    """All arrays and numbers of a result."""
    return [x for part in result for x in arrays(part)] if isinstance(result, tuple) else [np.asarray(result)]


def assert_same(got: Any, wanted: Any, dtype: Any, digits: float = 16.0) -> None:
    """Equal up to rounding: within some ulp, in the inputs' precision, of the largest number of each array."""
    if isinstance(got, Exception):
        raise got
    for one, other in zip(arrays(got), arrays(wanted), strict=True):
        assert one.shape == other.shape and one.dtype == other.dtype
        finite = np.abs(other[np.isfinite(other)])
        scale = float(finite.max()) if finite.size else 0.0
        np.testing.assert_allclose(one, other, rtol=0, atol=digits * np.spacing(np.asarray(scale, dtype)))


# --- every loss -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", LOSSES)
def test_kernels_keep_their_bounds(name, dtype):
    count = 4 if name in SLOW else 8 if standard().loss(name).dims else 60
    outputs, missed, failures = call(verified, name, dtype, count)
    assert len(outputs) == 1 + 3 * len(standard().loss(name).predictions)
    assert [output for output in missed if (name, output, dtype) not in EXCEPTIONS] == [], failures


#: The precisions differ in their types, not in who does what: float64 is tried with a loss of each kind.
IN_SIZES = [(name, np.float32) for name in LOSSES] + [(name, np.float64) for name in REPRESENTATIVE]


@pytest.mark.parametrize(("name", "dtype"), IN_SIZES)
def test_sizes_that_dont_fit(name, dtype):
    loss = getattr(sk, name)
    has_rows = any(entry.core for entry in loss.info.inputs)
    calls, wanted = [], []
    sizes = SIZES if has_rows else [(n, 1) for n in (1, 31, 33, 257)]
    for n, size in sizes if dtype == np.float32 else sizes[2:]:
        inputs = inputs_of(name, n, size, dtype)
        # What has a value or a gradient alone is a part of what has both: it is tried at one size. Many samples need many
        # simulated threads, of which one entry point has as many as another.
        for entry in ENTRIES if (n, size) == (33, 10) else ENTRIES[2:3] if n == 257 and has_rows else ENTRIES[2:]:
            keywords = {"vector": vectors_of(name, inputs)} if entry == "hvp" else {}
            calls.append((entry, tuple(inputs), keywords))
            wanted.append(getattr(loss, entry)(*inputs, **keywords))
    for got, expected in zip(call(called, name, calls), wanted, strict=True):
        # The derivatives of normalised rows cancel.
        assert_same(got, expected, dtype, 2e3 if "ed_mse" in name or name == "min_max_mse" else 16)


# --- calls ----------------------------------------------------------------------------------------------

def compare(name: str, calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]], dtype: Any, digits: float = 16) -> None:
    """Calls on the device give what they give on the host."""
    loss = getattr(sk, name)
    for (entry, inputs, keywords), got in zip(calls, call(called, name, calls), strict=True):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wanted = getattr(loss, entry)(*inputs, **keywords)
        assert_same(got[0] if isinstance(got, tuple) and isinstance(got[-1], str) else got, wanted, dtype, digits)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", REPRESENTATIVE)
def test_reductions_weights_and_ignored_labels(name, dtype):
    count = 7 if name in SLOW else 13
    inputs = inputs_of(name, count, 10, dtype)
    weight = np.abs(np.random.default_rng(2).standard_normal(count))
    weight[[0, 5]] = 0.0
    keywords = [
        {"reduction": reduction, **weights, **ignored}
        for reduction in ("mean", "sum", "none")
        for weights in ({}, {"weight": weight}, {"weight": np.arange(count, dtype=np.int16)}, {"weight": np.float32([2.5])})
        for ignored in ({}, {"ignore_index": 1})
        if not ignored or getattr(sk, name).info.has_label
    ]
    calls = [(entry, tuple(inputs), dict(options)) for options in keywords for entry in ("value_and_grad", "grad_and_hess")]
    compare(name, calls, dtype)


@pytest.mark.parametrize("name", ["huber", "softmax_cross_entropy", "kl_divergence"])
def test_what_weighs_nothing_leaves_no_trace(name):
    inputs = inputs_of(name, 9, 10, np.float32)
    inputs[0][4] = np.nan
    weight = np.ones(9, np.float32)
    weight[4] = 0.0
    calls = [(entry, tuple(inputs), {"weight": weight}) for entry in ("value", "value_and_grad", "grad_and_hess")]
    compare(name, calls, np.float32)


@pytest.mark.parametrize(
    ("name", "dtype"), [*((name, np.float32) for name in REPRESENTATIVE), ("softmax_cross_entropy", np.float64)]
)
def test_broadcast_inputs(name, dtype):
    """Samples (3, 4), of which inputs have all, none, or one axis; gradients are summed over the others."""
    inputs = inputs_of(name, 12, 10, dtype)
    cores = [entry.core for entry in getattr(sk, name).info.inputs]
    calls = []
    for i in range(len(inputs)):
        for lead in ((), (1, 4), (3, 1)):
            shaped = [
                x[: int(np.prod(lead if i == j else (3, 4)))].reshape((lead if i == j else (3, 4)) + x.shape[1:])
                for j, x in enumerate(inputs)
            ]
            assert all(x.ndim == len(core) + (len(lead) if i == j else 2) for j, (x, core) in enumerate(zip(shaped, cores, strict=True)))
            calls += [("value_and_grad", tuple(shaped), {"weight": np.arange(4.0)}), ("grad_and_hess", tuple(shaped), {})]
    compare(name, calls, dtype)


@pytest.mark.parametrize("name", ["huber", "softmax_cross_entropy", "kl_divergence", "gram_style"])
def test_any_layout_of_the_inputs(name):
    inputs = inputs_of(name, 6, 10, np.float32)
    inputs = [x if x.dtype.kind == "f" else x.astype(np.int32) for x in inputs]
    for got in call(views, name, "value_and_grad", inputs):
        assert_same(got, getattr(sk, name).value_and_grad(*inputs), np.float32)


@pytest.mark.parametrize("target", [np.int8, np.int16, np.uint16, np.int64, np.bool_, np.float16, np.float64])
def test_targets_of_any_type(target):
    prediction = np.random.default_rng(0).standard_normal((7, 5)).astype(np.float32)
    compare("mse", [("value_and_grad", (prediction, (prediction > 0).astype(target)), {})], np.float32)


@pytest.mark.parametrize("label", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint64])
def test_labels_of_any_type(label):
    logits, labels = inputs_of("softmax_cross_entropy", 9, 10, np.float32)
    compare("softmax_cross_entropy", [("grad_and_hess", (logits, labels.astype(label)), {})], np.float32)


def test_python_numbers_and_parameters():
    x = np.linspace(-3, 3, 21)
    compare("huber", [("value_and_grad", (x, 0.5), {"delta": 0.25}), ("grad", (x, 1), {"reduction": "sum"})], np.float64)


@pytest.mark.parametrize("entry", ["grad", "value_and_grad"])
@pytest.mark.parametrize("name", LOSSES)
def test_a_gradient_can_be_written_over_its_input(name, entry):
    if len(standard().loss(name).predictions) > 1:
        pytest.skip("one output array a prediction: see the test below")
    for n, size in ((5, 10), (1, 33)):
        inputs = inputs_of(name, n, size, np.float32)
        result, written = call(over_itself, name, entry, inputs)
        wanted = getattr(sk, name).value_and_grad(*inputs) if entry == "value_and_grad" else getattr(sk, name).grad(*inputs)
        digits = 2e3 if "ed_mse" in name or name == "min_max_mse" else 16
        assert_same(result, wanted, np.float32, digits)
        assert_same(written, wanted[1] if entry == "value_and_grad" else wanted, np.float32, digits)


def test_output_arrays():
    logits, label = inputs_of("softmax_cross_entropy", 6, 10, np.float32)
    out = np.empty_like(logits), np.empty_like(logits)
    compare("softmax_cross_entropy", [("grad_and_hess", (logits, label), {"out": out})], np.float32)
    values = np.empty(6, np.float32)
    compare("softmax_cross_entropy", [("value", (logits, label), {"reduction": "none", "out": values})], np.float32)
    compare("softmax_cross_entropy", [("value_and_grad", (logits, label), {"reduction": "none", "out": (values, out[0])})], np.float32)


@pytest.mark.parametrize("name", ["huber", "softmax_cross_entropy", "kl_divergence"])
def test_half_precision(name):
    inputs = inputs_of(name, 9, 10, np.float32)
    halves = inputs[0].astype(np.float16)
    value, grad = sk_value_and_grad(name, halves.astype(np.float32), inputs[1:])
    got, written = call(in_half, name, [halves, *inputs[1:]], False)
    assert got == pytest.approx(value, rel=1e-6)
    np.testing.assert_array_equal(written, grad.astype(np.float16))


@pytest.mark.parametrize("name", ["huber", "softmax_cross_entropy", "kl_divergence"])
def test_bfloat16(name):
    inputs = inputs_of(name, 9, 10, np.float32)
    bits = (inputs[0].view(np.uint32) >> 16).astype(np.uint16)
    exact = (bits.astype(np.uint32) << 16).view(np.float32)
    value, grad = sk_value_and_grad(name, exact, inputs[1:])
    got, written = call(in_half, name, [bits.view(np.int16), *inputs[1:]], True)
    assert got == pytest.approx(value, rel=1e-6)
    back = (written.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    # Rounded to nearest: half of the last of 8 bits.
    np.testing.assert_allclose(back, grad, rtol=2.0**-8, atol=0)


def sk_value_and_grad(name: str, prediction: np.ndarray, others: list[np.ndarray]) -> Any:
    return getattr(sk, name).value_and_grad(prediction, *others)


# --- what is refused ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "place", "value"),
    [("softmax_cross_entropy", 1, 10), ("softmax_cross_entropy", 1, -1), ("kl_divergence", 0, 1.5), ("kl_divergence", 1, -0.5),
     ("sparse_cross_entropy", 0, 2.0), ("binary_cross_entropy", 0, 1.25), ("contrastive", 2, 0.5)],
)  # fmt: skip
def test_entries_outside_their_domains(name, place, value):
    """A value is refused at once, in the words of the host; a gradient by the next call."""
    inputs = inputs_of(name, 7, 10, np.float64)
    inputs[place][(3, *(1,) * (inputs[place].ndim - 1))] = value
    if name == "sparse_cross_entropy":  # which reads no other entry of that row
        inputs[1][3] = 1
    with pytest.raises(ValueError) as host:
        getattr(sk, name).value(*inputs)
    (got,) = call(called, name, [("value", tuple(inputs), {})])
    assert type(got) is ValueError and str(got) == str(host.value)
    first, second, third = call(later, name, "grad", inputs, True)
    assert (first, second, third) == ("", f"ValueError: {host.value}", "")


def test_entries_that_are_gone():
    inputs = inputs_of("kl_divergence", 7, 10, np.float64)
    inputs[0][2, 1] = 3.0
    first, second, third = call(later, "kl_divergence", "grad", inputs, False)
    assert (first, third) == ("", "") and second.startswith("RuntimeError: kl_divergence.grad, called earlier, met an entry")


def test_an_ignored_label_needs_no_place():
    logits, label = inputs_of("softmax_cross_entropy", 9, 10, np.float32)
    label[[1, 4]] = -100
    calls = [(entry, (logits, label), {"ignore_index": -100, "reduction": r}) for entry in ("value", "grad") for r in ("mean", "none")]
    compare("softmax_cross_entropy", calls, np.float32)


@pytest.mark.parametrize("place", [0, 1])
def test_arrays_on_two_devices(place):
    inputs = inputs_of("huber", 3, 1, np.float32)
    name = ("prediction", "target")[place]
    assert f"`{name}` lies in the host's memory (ndarray)" in call(mixed, "huber", inputs, place)


@pytest.mark.parametrize(
    ("streams", "libraries", "own", "others"),
    [
        ([None, None], ["other", "other"], "default", []),
        ([7, None], ["cupy", "other"], "stream 7", []),
        ([7, 7, 9], ["cupy"] * 3, "stream 7", ["stream 9"]),
        # The default stream counts where an array is Numba's, or names it: 1 is CUDA's own number of it.
        ([None, 7], ["numba", "cupy"], "default", ["stream 7"]),
        ([7, None], ["cupy", "numba"], "stream 7", ["default"]),
        ([1, 7], ["cupy", "cupy"], "default", ["stream 7"]),
        ([None, 7], ["other", "cupy"], "default", ["stream 7"]),
    ],
)
def test_work_is_on_the_first_arrays_stream_after_that_of_the_others(streams, libraries, own, others):
    assert call(placed, streams, libraries, [0] * len(streams)) == (own, others)


def test_arrays_on_two_gpus():
    assert "several GPUs, [0, 1]" in call(placed, [7, 7], ["cupy", "numba"], [0, 1])


def test_an_address_between_entries():
    assert "`prediction` has entries where none of their size can be read" in call(
        misplaced, "huber", inputs_of("huber", 5, 1, np.float32)
    )


X = np.zeros((3, 4), np.float32)
Y = np.zeros(3, np.int64)


@pytest.mark.parametrize(
    ("name", "entry", "inputs", "keywords"),
    [
        ("huber", "value", (X, X), {"delta": -1.0}),
        ("huber", "value", (X, X), {"dleta": 1.0}),
        ("huber", "value", (X, np.zeros((3, 5), np.float32)), {}),
        ("huber", "value", (X.astype(int), X), {}),
        ("huber", "value", (X, X), {"weight": np.ones((2, 4))}),
        ("huber", "value", (X, X), {"reduction": "average"}),
        ("huber", "hvp", (X, X), {}),
        ("huber", "hvp", (X, X), {"vector": X[:2].copy()}),
        ("huber", "grad", (X, X), {"out": X[:2].copy()}),
        ("huber", "grad", (X, X), {"out": X.astype(np.float64)}),
        ("huber", "value", (X, X), {"out": X.copy()}),
        ("huber", "value", (X,), {}),
        ("softmax_cross_entropy", "value", (X, X), {}),
        ("softmax_cross_entropy", "value", (X, Y), {"ignore_index": 1.5}),
        ("softmax_cross_entropy", "grad_and_hess", (X, Y), {"out": X.copy()}),
    ],
)
def test_refusals_in_the_words_of_the_host(name, entry, inputs, keywords):
    with pytest.raises((TypeError, ValueError)) as host:
        getattr(getattr(sk, name), entry)(*inputs, **keywords)
    (got,) = call(called, name, [(entry, inputs, keywords)])
    words = str(host.value)
    # There are more types of predictions there, and arrays of other types.
    if "a prediction is" in words or "got ndarray" in words:
        assert str(got).startswith(words.partition(";")[0])
    else:
        assert str(got) == words
    assert type(got) is type(host.value)


def test_no_samples():
    empty = np.zeros((0, 4), np.float32)
    calls = [("value", (empty, empty), {}), ("value", (empty, empty), {"reduction": "sum"}), ("grad", (empty, X[0]), {}),
             ("value", (X, X), {"weight": np.zeros(4)}), ("grad", (X, X), {"weight": np.zeros(4)})]  # fmt: skip
    compare("huber", calls, np.float32)
    (got,) = call(called, "huber", [("value", (X, X), {"weight": np.zeros(4)})])
    assert got[1].startswith("Mean of empty slice")


# --- maxima and sums in one loop --------------------------------------------------------------------------


def exact_softmax(logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The loss for label 0 and its gradient, with digits to spare."""
    from mpmath import mp, mpf

    with mp.workdps(40):
        values, grads = [], []
        for row in logits:
            powers = [mp.exp(mpf(float(x)) - mpf(float(row.max()))) for x in row]
            total = mp.fsum(powers)
            values.append(float(mp.log(total) + mpf(float(row.max())) - mpf(float(row[0]))))
            grads.append([float(p / total) for p in powers])
            grads[-1][0] = float(-mp.fsum(powers[1:]) / total)
    return np.array(values), np.array(grads)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_that_rise_and_fall(dtype):
    """A row that always rises has a new maximum at every step, and its sums are rescaled as often as can be."""
    k = np.arange(1025)
    rows = np.stack([1e-3 * k, 0.05 * k, 3.0 * k, 1e-3 * k[::-1], 0.9 * (k // 16), 50.0 * np.sin(k), 0.0 * k, 1e4 + 0.01 * k])
    rows = np.concatenate([rows, np.where(k == 700, 800.0, np.float64(0.3 * np.sin(rows[:1])))]).astype(dtype)
    label = np.zeros(len(rows), int)
    values, grads = exact_softmax(rows)
    calls = [(entry, (rows, label), {"reduction": "none"}) for entry in ("value", "grad")]
    value, grad = call(called, "softmax_cross_entropy", calls)
    tiny = np.finfo(dtype).smallest_normal
    for got, wanted in ((value, values), (grad, grads)):
        # As far as inputs with another last digit would have other results, results may have them too.
        room = 9.0 * np.spacing(np.maximum(np.abs(wanted), tiny).astype(dtype)).astype(float)
        reach = np.spacing(np.abs(rows).max(axis=1)).astype(float)
        room += np.abs(wanted) * (reach if wanted.ndim == 1 else reach[:, None])
        assert (np.abs(got - wanted) <= room).all()


def test_rows_with_infinities_and_nan():
    inf, nan = np.inf, np.nan
    rows = np.array(
        [[-inf] * 6, [-inf, -inf, 1.0, -inf, 2.0, -inf], [inf, 0, inf, 1, 2, 3], [0, 1, nan, 3, 4, 5], [1, 2, 3, 4, 5, inf], [nan] * 6,
         [-inf, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, -inf]]
    )  # fmt: skip
    calls = [
        (entry, (rows.astype(dtype), np.full(len(rows), label)), {"reduction": "none"})
        for entry in ("value", "grad")
        for dtype in (np.float32, np.float64)
        for label in (0, 2)
    ]
    for (entry, inputs, keywords), got in zip(calls, call(called, "softmax_cross_entropy", calls), strict=True):
        with np.errstate(all="ignore"):
            wanted = getattr(sk.softmax_cross_entropy, entry)(*inputs, **keywords)
        np.testing.assert_allclose(got, wanted, rtol=1e-6)
