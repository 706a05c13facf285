"""The CUDA kernels on a real GPU, where there is one: exactness, bits, streams, and arrays of other libraries."""

from __future__ import annotations

import numpy as np
import pytest
import symloss_kernels as sk
from simulator import OnDevice
from test_contract import ordinary
from test_kernels import EXCEPTIONS, LOSSES

from symloss.catalog import standard
from symloss.verify import Bounds, bounds, verify


def has_gpu() -> bool:
    try:
        from numba import cuda

        return bool(cuda.is_available())
    except Exception:
        return False


pytestmark = pytest.mark.skipif(not has_gpu(), reason="needs an NVIDIA GPU and symloss[cuda]")
ENTRIES = ("value", "grad", "value_and_grad", "grad_and_hess")


def inputs_of(name: str, n: int, size: int, dtype=np.float32, seed: int = 0) -> list[np.ndarray]:
    loss = getattr(sk, name)
    most = max((len(entry.core) for entry in loss.info.inputs), default=0)
    dims = {dim for entry in loss.info.inputs for dim in entry.dims}
    each = size if most < 2 else min(size, 9)
    return ordinary(loss, n, dict.fromkeys(dims, each), dtype, np.random.default_rng(seed))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", LOSSES)
def test_kernels_keep_their_bounds(name, dtype):
    loss = standard().loss(name)
    limits = Bounds(*(bound + 1.0 for bound in bounds(loss, dtype)))
    report = verify(loss, OnDevice(getattr(sk, name)), dtype, count=12 if loss.dims else 200, limits=limits)
    missed = [row.output for row in report.rows if not row.passed and (name, row.output, dtype) not in EXCEPTIONS]
    assert missed == [], "\n".join(map(str, report.failures))


@pytest.mark.parametrize("size", [2, 10, 33, 1025, 50257, 256000])
def test_long_rows(size):
    inputs = inputs_of("softmax_cross_entropy", 5, size)
    value, grad = OnDevice(sk.softmax_cross_entropy).value_and_grad(*inputs)
    wanted, slope = sk.softmax_cross_entropy.value_and_grad(*inputs)
    assert value == pytest.approx(wanted, rel=1e-6)
    np.testing.assert_allclose(grad, slope, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("name", ["huber", "softmax_cross_entropy", "center", "gram_style"])
def test_every_run_gives_the_same_bits(name):
    inputs = inputs_of(name, 3001, 33)
    first, *others = (OnDevice(getattr(sk, name)).value_and_grad(*inputs) for _ in range(4))
    for other in others:
        assert other[0] == first[0]
        np.testing.assert_array_equal(np.concatenate([np.ravel(x) for x in _flat(other[1])]),
                                      np.concatenate([np.ravel(x) for x in _flat(first[1])]))  # fmt: skip


def _flat(found):
    return found if isinstance(found, tuple) else (found,)


def test_a_label_outside_is_refused_at_once_or_by_the_next_call():
    logits, label = inputs_of("softmax_cross_entropy", 9, 10)
    label[3] = 10
    loss = OnDevice(sk.softmax_cross_entropy)
    with pytest.raises(ValueError, match=r"`label\[3\]` = 10"):
        loss.value(logits, label)
    from numba import cuda
    from symloss_kernels.cuda import check

    kept = cuda.to_device(logits), cuda.to_device(label)
    sk.softmax_cross_entropy.grad(*kept)
    with pytest.raises(ValueError, match=r"`label\[3\]` = 10"):
        check()


# --- arrays of other libraries --------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_torch_tensors_come_back_as_tensors(dtype):
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this torch has no CUDA")
    kind = getattr(torch, dtype)
    logits = torch.randn(64, 1000, device="cuda").to(kind).requires_grad_()
    label = torch.randint(0, 1000, (64,), device="cuda")
    value, grad = sk.softmax_cross_entropy.value_and_grad(logits, label)
    assert isinstance(grad, torch.Tensor) and grad.dtype == kind and grad.device == logits.device
    exact = torch.nn.functional.cross_entropy(logits.double(), label)
    (slope,) = torch.autograd.grad(exact, logits)
    assert value == pytest.approx(float(exact), rel=1e-5)
    torch.testing.assert_close(grad, slope, rtol=2e-2 if "16" in dtype else 1e-5, atol=1e-7)
    per_sample = sk.softmax_cross_entropy.value(logits, label, reduction="none")
    assert per_sample.shape == (64,) and per_sample.dtype == kind


def test_the_tensors_own_stream():
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this torch has no CUDA")
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        x = torch.zeros(1 << 24, device="cuda")
        for _ in range(50):
            x += 1.0  # long enough that a call on another stream would see an earlier number
        value, grad = sk.mse.value_and_grad(x, torch.zeros_like(x))
    assert value == 2500.0 and float(grad[0]) == pytest.approx(2 * 50 / (1 << 24))


def test_nothing_waits_but_a_number():
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this torch has no CUDA")
    x, y = torch.randn(1 << 20, device="cuda"), torch.randn(1 << 20, device="cuda")
    out = torch.empty_like(x)
    sk.huber.value(x, y, reduction="none"), sk.huber.grad(x, y, out=out)  # compiled
    torch.cuda.synchronize()
    torch.cuda._sleep(1 << 30)  # the better part of a second
    end = torch.cuda.Event()
    sk.huber.value(x, y, reduction="none")
    sk.huber.grad(x, y, out=out)
    end.record()
    assert not end.query()
    torch.cuda.synchronize()


def test_a_gradient_over_its_logits():
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this torch has no CUDA")
    logits, label = torch.randn(33, 50257, device="cuda"), torch.randint(0, 50257, (33,), device="cuda")
    wanted = sk.softmax_cross_entropy.grad(logits, label)
    result = sk.softmax_cross_entropy.grad(logits, label, out=logits)
    assert result is logits
    torch.testing.assert_close(logits, wanted, rtol=0, atol=0)


def test_cupy_arrays_come_back_as_cupy_arrays():
    cupy = pytest.importorskip("cupy")
    x, y = cupy.random.rand(1000), cupy.zeros(1000)
    value, grad = sk.huber.value_and_grad(x, y)
    assert isinstance(grad, cupy.ndarray) and value == pytest.approx(float((x**2).mean() / 2))
