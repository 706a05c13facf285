"""What the compiler makes of the CUDA kernels: they compile, spill nothing, and read and write 128 bits at a time."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import symloss_kernels as sk

from benchmarks.device_code import DTYPES, ENTRIES, Code, compile_all, page

pytest.importorskip("numba_cuda", reason="the compiler comes with numba-cuda: pip install symloss[cuda]")
pytest.importorskip("cuda.bindings.nvjitlink", reason="the linker comes with numba-cuda's cu12 and cu13 extras")

LOSSES = sorted(sk.__all__)
ELEMENTWISE = [name for name in LOSSES if not any(entry.core for entry in getattr(sk, name).info.inputs)]
RESULTS = Path(__file__).parents[1] / "benchmarks" / "results" / "cuda_code.md"
#: Outputs of an entry point for each prediction.
OUTPUTS = {"value": 0, "grad": 1, "value_and_grad": 1, "grad_and_hess": 2, "hvp": 1}


HALVES = ["huber", "kl_divergence", "softmax_cross_entropy"]  # of which 16-bit types are compiled
#: Of which float64 is: a loss of each form. The benchmark that `RESULTS` shows compiles all of them.
DOUBLES = [*HALVES, "binary_focal", "contrastive", "gram_style", "softmax_center"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_kernel(dtype):
    """All that is to be seen in the code of one type, in one test: compiling it takes a minute."""
    losses = LOSSES if dtype == "float32" else DOUBLES if dtype == "float64" else HALVES
    found = {(code.loss, code.entry, code.architecture): code for code in compile_all(losses, [dtype])}
    assert set(found) == set(itertools.product(losses, ENTRIES, ("sm_80", "sm_90")))
    for code in found.values():
        assert 16 <= code.registers <= 255 and code.instructions > 50, code
        assert code.shared <= 4096, code  # so that it is registers that limit how many blocks run at once
    # Element-wise kernels spill nothing.
    alone = {code for code in found.values() if not code.has_rows}
    assert {code.loss for code in alone} == set(ELEMENTWISE) & set(losses)
    assert [code for code in alone if code.local] == []
    # They read and write 128 bits at a time: four float32 are one access, four float64 two.
    accesses = {"float32": 1, "float64": 2}.get(dtype, 0)
    for code in alone:
        inputs = len(getattr(sk, code.loss).info.inputs)
        least = inputs if code.entry in ("value", "value_and_grad") else 0  # a constant curvature reads nothing
        assert code.wide_loads >= least * accesses and code.wide_stores >= OUTPUTS[code.entry] * accesses, code
    for architecture in ("sm_80", "sm_90"):
        rows = found["softmax_cross_entropy", "value_and_grad", architecture]
        assert rows.wide_loads >= 2 * accesses and rows.wide_stores >= accesses


UNUSUAL = """
from numba import cuda, types
from numba.cuda import dispatcher

class Device:
    compute_capability = (9, 0)

dispatcher.get_current_device = lambda: Device
from symloss_kernels.cuda import _steps, huber, softmax_cross_entropy as softmax

whole, real, absent = types.int64, types.float64, types.Tuple(())
one, two = lambda kind: types.Array(kind, 1, "C"), lambda kind: types.Array(kind, 2, "C")
single, double, word = types.float32, types.float64, one(types.int32)
axes = lambda n: types.UniTuple(whole, n)
cases = [
    (_steps.total_of, two(double), one(double)),
    (_steps.sum_of_weights, whole, one(types.boolean), two(double)),
    *((_steps.copy_numbers, whole, one(kind), whole, axes(3), axes(3), one(kind)) for kind in (single, types.int16, types.float16)),
    (_steps.copy_whole, whole, one(types.uint8), whole, axes(2), axes(2), one(whole)),
    *((_steps.scatter, whole, one(kind), axes(3), axes(3), one(kind), whole) for kind in (double, types.int16)),
    (_steps.sum_along, whole, one(double), axes(2), axes(2), whole, axes(1), axes(1), one(single)),
    (_steps.fill, whole, real, one(single)),
    (softmax.sum_of_weights, whole, one(types.uint64), absent, whole, two(double)),
    # one prediction for all samples, whose gradient is a sum; unusual labels and weights; values of each sample
    (softmax.grad, whole, one(single), one(whole), absent, absent, one(double), types.UniTuple(two(double), 1), word),
    (softmax.value_and_grad, whole, two(single), one(types.uint8), one(single), whole, real, one(single), two(single), absent, word),
    (huber.grad, whole, types.Array(single, 0, "C"), one(single), real, word, one(double), one(single)),
    (huber.value_and_grad, whole, one(single), types.Array(single, 0, "C"), real, one(types.boolean), real, one(single), one(single), absent),
]
for kernel, *arguments in cases:
    ptx, _ = cuda.compile_ptx(kernel.py_func, tuple(arguments), cc=(9, 0))
    assert ".visible .entry" in ptx
print(len(cases))
"""


def test_steps_and_unusual_arguments_compile():
    done = subprocess.run([sys.executable, "-c", UNUSUAL], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == ["15"]


def test_the_table_has_every_kernel():
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \| (\w+) \|", RESULTS.read_text(encoding="utf-8"), re.MULTILINE)
    assert Counter(rows) == Counter((name, entry, dtype) for name in LOSSES for entry in ENTRIES for dtype in DTYPES)
    some = [Code("mse", entry, "float32", "sm_90", False, 40, 0, 0, 100, 2, 1) for entry in ENTRIES]
    assert len(page(some).splitlines()) == len(page([]).splitlines()) + len(ENTRIES)
