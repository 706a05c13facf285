"""The GPU benchmark as far as it goes without a GPU: its cases, its page, and what it says where there is none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import symloss_kernels as sk

from benchmarks import gpu


def test_the_cases_are_losses_and_count_their_traffic():
    assert {case.loss for case in gpu.CASES} <= set(sk.__all__)
    assert {case.shape for case in gpu.CASES} == {(1 << 28,), (8192, 1000), (4096, 50257), (2048, 256000)}
    row = gpu.Case("softmax_cross_entropy", (10, 100), "bfloat16", "cross_entropy")
    assert row.bytes_moved == 2 * 2 * 1000  # logits in, gradient out
    assert gpu.Case("mse", (1000,), "float32", "mse_loss").bytes_moved == 4 * 3 * 1000


def test_the_page_shows_times_ratio_and_bandwidth():
    case = gpu.Case("mse", (1 << 20,), "float32", "mse_loss")
    found = {"symloss": 0.5, "PyTorch": 2.0, "torch.compile": 1.0, "Liger": "differs"}
    text = gpu.page("some GPU", 50e9, [(case, found)])
    assert "| mse 1048576 float32 | 0.500 | 2.000 | 1.000 | differs | 2.00 | 50% |" in text


def test_without_a_gpu_nothing_is_written(tmp_path):
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    out = tmp_path / "gpu.md"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", "--out", str(out)],
        capture_output=True, text=True, check=False, cwd=Path(__file__).parents[1],
    )  # fmt: skip
    assert done.returncode == 1 and not out.exists()
    assert "no GPU" in done.stderr
