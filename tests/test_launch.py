"""The launch table: every row has threads, every block whole warps, and limits on teams are kept."""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "generated" / "symloss_kernels" / "cuda" / "_launch.py"


@pytest.fixture(scope="module")
def launch():
    """The module as it is on a GPU, without the package that it needs there."""
    package = types.ModuleType("launching")
    package.__path__ = []
    numba = types.ModuleType("launching._numba")
    numba.LANES, numba.SIMULATED, numba.WARP = 4, False, 32
    known = {"launching": package, "launching._numba": numba}
    sys.modules.update(known)
    spec = importlib.util.spec_from_file_location("launching._launch", SOURCE)
    module = importlib.util.module_from_spec(spec)
    sys.modules["launching._launch"] = module
    spec.loader.exec_module(module)
    yield module
    for name in (*known, "launching._launch"):
        del sys.modules[name]


@pytest.mark.parametrize("entries", [1, 2, 4, 5, 10, 33, 64, 65, 1000, 1024, 1025, 50257, 256000])
@pytest.mark.parametrize("samples", [1, 2, 3, 31, 100, 8192, 10_000_000])
@pytest.mark.parametrize("most", [None, 1, 3, 83, 4096])
def test_teams(launch, samples, entries, most):
    blocks, team, teams = launch.rows(samples, entries, most)
    threads = team * teams
    # Kernels have up to 255 registers a thread, and a multiprocessor has 65,536; sums of blocks are made of whole warps.
    assert threads % 32 == 0 and threads & (threads - 1) == 0 and threads <= 256
    assert team & (team - 1) == 0 and (team == 256 or team * 4 >= entries or team == 32)
    assert 1 <= blocks <= 8192 and (blocks - 1) * teams < samples
    if most is not None and most * team >= 32:
        assert blocks * teams < 2 * most + teams


@pytest.mark.parametrize("samples", [1, 31, 1024, 1025, 1 << 28, 1 << 40])
def test_elements(launch, samples):
    blocks, threads, teams = launch.elements(samples)
    assert (threads, teams) == (256, 1) and 1 <= blocks <= 8192
    assert blocks == 8192 or blocks * threads * 4 >= samples


@pytest.mark.parametrize("count", [1, 32, 33, 8192])
def test_sums(launch, count):
    blocks, threads, _ = launch.sums(count)
    assert blocks == 1 and threads % 32 == 0 and threads <= 256
