"""The benchmark runs, compares what it says, and counts right. How fast anything is isn't asked here."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
import symloss_kernels as sk

# benchmarks/ isn't installed; it is run in a checkout.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import by_hand, losses, peers, plot, report, session, timing

ROOT = Path(__file__).resolve().parent.parent
LOSSES = ("mse", "binary_focal", "softmax_cross_entropy", "sparse_cross_entropy", "center", "gram_style")
#: Of the peers, those that need no compiling of seconds a loss, and the module that each needs.
QUICK_PEERS = {"numpy": "numpy", "sklearn": "sklearn", "torch": "torch", "jax": "jax"}

PEERS = {peer.key: peer for peer in peers.PEERS}

#: Tests that look at the same run of the benchmark are run by the same worker.
ONE_RUN = pytest.mark.xdist_group("benchmark")


@pytest.fixture(scope="session")
def results(tmp_path_factory):
    """The folder that the documented command writes, at tiny sizes.

    With one thread: where other tests run beside it, two threads of OpenMP wait for a core 20 ms a call.
    """
    folder = tmp_path_factory.mktemp("benchmark") / "results"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.cpu", "--quick", "--threads", "1", "--out", str(folder),
         "--losses", ",".join(LOSSES), "--peers", ",".join(QUICK_PEERS)],
        cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def data(results):
    return json.loads((results / "cpu.json").read_text(encoding="utf-8"))


@ONE_RUN
def test_every_case_is_measured(data):
    cases = {(case["loss"], case["dtype"]) for case in data["cases"]}
    assert cases == {(name, dtype) for name in LOSSES for dtype in ("float32", "float64")}
    assert (data["mismatches"], data["failures"]) == ([], [])
    for case in data["cases"]:
        assert {"symloss", "symloss_out", "numpy"} <= case["seconds"].keys()
        for entry in case["seconds"].values():
            assert 0 < entry["min"] <= entry["median"]
        assert case["ratios"][case["best_peer"]] == min(case["ratios"].values())


@ONE_RUN
def test_a_peer_takes_part_or_is_listed(data):
    installed = {key for key, module in QUICK_PEERS.items() if importlib.util.find_spec(module)}
    left_out = {entry["peer"] for entry in data["left_out"]}
    for key in QUICK_PEERS:
        measured = [case["loss"] for case in data["cases"] if key in case["seconds"]]
        assert bool(measured) == (key in installed), key
        assert measured or key in left_out, key
    assert {e["loss"] for e in data["left_out"] if e["peer"] == "sklearn" and "loss" in e} <= {
        "binary_focal", "sparse_cross_entropy", "center", "gram_style",
    }  # fmt: skip


@ONE_RUN
def test_the_machine_is_described(data):
    machine = data["machine"]
    assert machine["versions"]["numpy"] == np.__version__
    assert machine["threads"] == 1
    assert machine["cpu"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", data["date"])
    for speeds in data["copy_bytes_per_second"].values():
        assert speeds.keys() == timing.COPY_LOOPS.keys()


@ONE_RUN
def test_the_page_has_every_case_and_no_path(data, results):
    page = (results / "cpu.md").read_text(encoding="utf-8")
    for name in LOSSES:
        assert re.search(rf"^\| {name}[ |]", page, re.MULTILINE), name
    assert page == report.page(data, report.read_notes(results), (results / "cpu.svg").exists())
    assert data["date"] not in page
    for text in (page, json.dumps(data)):
        assert str(ROOT) not in text
        assert str(results.parent) not in text


@ONE_RUN
def test_the_plot_is_a_picture_of_every_loss(results, data, tmp_path):
    pytest.importorskip("matplotlib", reason="the plot needs matplotlib")
    text = (results / "cpu.svg").read_text(encoding="utf-8")
    assert ET.fromstring(text).tag.endswith("svg")
    for name in LOSSES:
        assert f">{name}<" in text
    assert plot.draw(data, tmp_path / "again.svg")
    assert (tmp_path / "again.svg").read_text(encoding="utf-8") == text


# The formulas.


def case_of(name: str, dtype: str) -> peers.Case:
    info = getattr(sk, name).info
    row = losses.row_of(info)
    size = losses.QUICK[row.sizes][0]
    inputs = losses.draw(info, row, size, np.dtype(dtype))
    predicted = [i for i, entry in enumerate(info.inputs) if entry.kind == "prediction"]
    return peers.Case(name, row, size, np.dtype(dtype), inputs, predicted, threads=1)


def test_every_shipped_loss_has_its_forms():
    assert losses.ROWS.keys() == set(sk.__all__)
    for name, row in losses.ROWS.items():
        assert row.formula is not None, name
        assert by_hand.of(name) is not None, name
        assert row.sizes in losses.SIZES and row.sizes in losses.QUICK, name


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", sk.__all__)
@pytest.mark.parametrize("key", QUICK_PEERS)
def test_a_peer_agrees_with_ours(key, name, dtype):
    pytest.importorskip(QUICK_PEERS[key])
    case = case_of(name, dtype)
    if key == "sklearn" and case.row.sklearn is None:
        with pytest.raises(peers.Unavailable):
            PEERS[key].build(case)
        return
    mine = peers.ours(getattr(sk, name), case, given_output=False)
    theirs = PEERS[key].build(case)
    for _ in range(2):  # a second call finds inputs as they were
        expected, found = mine.result(mine.call()), theirs.result(theirs.call())
        assert peers.disagreement(case, expected, found) is None


def altered(change) -> peers.Peer:
    """NumPy by hand, with its value and gradients changed."""

    def build(case):
        right = PEERS["numpy"].build(case)
        return peers.Contestant(lambda: change(*right.call()), right.result)

    return peers.Peer("altered", "Altered", "numpy", build)


QUICK = session.Options(losses=("mse",), dtypes=("float64",), budget=0.01, threads=1, quick=True)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda value, grads: (2 * value, grads), "the value is"),
        (lambda value, grads: (float("nan"), grads), "the value is nan"),
        (lambda value, grads: (value, [-grads[0]]), "the gradient is off by"),
        (lambda value, grads: (value, [grads[0] * np.nan]), "the gradient is off by nan"),
        (lambda value, grads: (value, [grads[0].astype("f4")]), "the gradient is float32"),
        (lambda value, grads: (value, [grads[0][:-1]]), "the gradient is float64[99]"),
        (lambda value, grads: (value, []), "0 gradients"),
    ],
)
def test_a_wrong_peer_is_reported_and_not_timed(change, words):
    data = session.run(QUICK, peers=[altered(change)], say=lambda line: None)
    [wrong] = data["mismatches"]
    assert (wrong["peer"], wrong["loss"], wrong["dtype"]) == ("altered", "mse", "float64")
    assert words in wrong["found"]
    assert data["cases"][0]["seconds"].keys() == {"symloss", "symloss_out"}
    assert words in report.page(data | {"options": {"quick": True, "pool_gigabytes": 0.0}})


def test_a_peer_that_fails_or_is_absent_is_listed():
    def broken(case):
        raise RuntimeError("first line\nsecond line")

    def breaks_later(case):
        contestant, calls = PEERS["numpy"].build(case), iter(range(1))
        return peers.Contestant(lambda: (next(calls), contestant.call())[1], contestant.result)

    data = session.run(
        QUICK,
        peers=[
            peers.Peer("broken", "Broken", "numpy", broken),
            peers.Peer("later", "Later", "numpy", breaks_later),
            peers.Peer("absent", "Absent", "no-such-package-here", broken),
        ],
        say=lambda line: None,
    )
    reasons = {entry["peer"]: entry["reason"] for entry in data["left_out"]}
    assert reasons["broken"] == "RuntimeError: first line"
    assert reasons["later"].startswith("StopIteration")
    assert reasons["absent"] == "no-such-package-here isn't installed"
    assert data["cases"][0]["best_peer"] is None
    page = report.page(data | {"options": {"quick": True, "pool_gigabytes": 0.0}})
    assert "| Broken | RuntimeError: first line | mse |" in page


def test_a_loss_of_ours_that_fails_is_a_failure():
    class Broken:
        __all__ = ("mse",)

        class mse:
            info = sk.mse.info

            @staticmethod
            def value_and_grad(*inputs, **keywords):
                raise ZeroDivisionError("no")

    data = session.run(QUICK, peers=[], kernels=Broken, say=lambda line: None)
    assert data["failures"] == [
        {"loss": "mse", "size": "100", "dtype": "float64", "reason": "ZeroDivisionError: no"}
    ]


def test_a_loss_without_a_row_is_timed_alone(monkeypatch):
    monkeypatch.delitem(losses.ROWS, "mse")
    monkeypatch.delattr(by_hand, "mse")
    data = session.run(QUICK, peers=[PEERS["numpy"]], say=lambda line: None)
    assert data["cases"][0]["seconds"].keys() == {"symloss", "symloss_out"}
    assert [entry["reason"] for entry in data["left_out"]] == ["no formula of it is written down here"]


@pytest.mark.parametrize("name", sk.__all__)
def test_inputs_without_a_row_lie_in_their_domains(name, monkeypatch):
    monkeypatch.delitem(losses.ROWS, name)
    loss = getattr(sk, name)
    row = losses.row_of(loss.info)
    if row.sizes == "":
        pytest.skip("its signature needs a row")
    inputs = losses.draw(loss.info, row, losses.QUICK[row.sizes][0], np.dtype("float64"))
    assert np.isfinite(loss.value(*inputs))


# Counting.


class Clock:
    """A time that passes only when something takes it."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def taking(self, seconds):
        def call():
            self.now += seconds[0] if len(seconds) == 1 else seconds.pop(0)

        return call


def test_medians_and_turns():
    clock = Clock()
    calls = {
        "fast": clock.taking([1e-4]),
        "slow": clock.taking([0.5]),
        # A turn of 25 ms ends after each of these calls.
        "uneven": clock.taking([0.03, 0.09, 0.05, 0.05]),
    }
    timings, failed = timing.interleave(calls, budget=0.9, settle=0.0, clock=clock)
    assert timings["fast"].batch >= 10
    assert timings["fast"].median == pytest.approx(1e-4)
    assert timings["slow"].samples == pytest.approx([0.5] * timing.MIN_ROUNDS)
    assert len(timings["fast"].samples) > 3 * 20
    assert timings["uneven"].samples[:3] == pytest.approx([0.03, 0.09, 0.05])
    assert timings["uneven"].median == pytest.approx(0.05)
    assert timings["uneven"].best == pytest.approx(0.03)
    assert failed == {}


def test_geometric_mean():
    assert timing.geometric_mean([1, 2, 4]) == pytest.approx(2)
    assert timing.geometric_mean([0.5, 2]) == pytest.approx(1)
    assert np.isnan(timing.geometric_mean([]))


def made_up(**medians):
    return {
        "loss": "mse", "size": "100", "dtype": "float64", "kind": "element", "algebraic": True,
        "bytes": 2400, "copy_bytes_per_second": {"plain": 1e9, "non-temporal": 2e9},
        "seconds": {key: {"median": median, "min": median} for key, median in medians.items()},
    }  # fmt: skip


MADE_UP_PEERS = {
    "a": {"title": "A", "given_output": False},
    "b": {"title": "B", "given_output": True},
    "numpy": {"title": "NumPy", "given_output": False},
}


def test_ratios_compare_like_with_like():
    record = made_up(symloss=4e-6, symloss_out=2e-6, a=6e-6, b=5e-6)
    assert session.ratios(record, {"peers": MADE_UP_PEERS}) == pytest.approx({"a": 1.5, "b": 2.5})
    assert session.fraction(record) == pytest.approx(2400 / 4e-6 / 2e9)
    assert session.fraction(record, "symloss_out", "plain") == pytest.approx(2400 / 2e-6 / 1e9)
    assert session.fraction(record, "absent") is None


def test_the_page_shows_what_falls_short():
    data = session.run(QUICK, peers=[], say=lambda line: None)
    data |= {"peers": MADE_UP_PEERS, "options": {"quick": False, "pool_gigabytes": 8.0}}
    slower = made_up(symloss=4e-6, symloss_out=4e-6, a=16e-6, numpy=2e-6)
    faster = made_up(symloss=4e-6, symloss_out=4e-6, a=8e-6, numpy=32e-6) | {"size": "200"}
    data["cases"] = [slower, faster]
    for case in data["cases"]:
        case["ratios"] = session.ratios(case, data)
        case["best_peer"] = min(case["ratios"], key=case["ratios"].get)
        case["bandwidth_fraction"] = session.fraction(case)
    data["summary"] = session.summary(data)
    assert data["summary"]["fastest"]["geometric_mean"] == pytest.approx(1)
    assert data["summary"]["fastest_library"]["geometric_mean"] == pytest.approx(8**0.5)
    assert data["summary"]["fastest"]["below_1"] == 1
    page = report.page(data, notes="Why that is.\n")
    short = page.split("## Rows that fall short")[1].split("## How it is measured")[0]
    assert "| mse | 100 | float64 | NumPy | 4.00 µs | 2.00 µs | 0.500 |" in short
    assert "200" not in short
    assert short.rstrip().endswith("Why that is.")
    assert "| mse | 4.00 | 4.00 | 16.0 | – | 2.00 | 0.500 (NumPy) | 30 % |" in page


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (1234.6, "1235"), (123.45, "123"), (9.999, "10.0"), (1.0, "1.00"), (0.012345, "0.0123"),
        (0.0, "0"), (None, "–"), (float("nan"), "–"),
    ],
)  # fmt: skip
def test_numbers_have_three_digits(x, text):
    assert report.number(x) == text


def test_bytes_are_those_that_must_move():
    # 100 x (two float64 read, one written); a label picks one probability a row; centers are read once.
    assert session.moved(case_of("mse", "float64")) == 100 * 3 * 8
    assert session.moved(case_of("sparse_cross_entropy", "float32")) == 16 * (4 + 8) + 16 * 5 * 4
    assert session.moved(case_of("center", "float64")) == 2 * (16 * 3 + 4 * 3) * 8 + 16 * 8


@pytest.mark.parametrize("name", timing.COPY_LOOPS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_copy_loop_adds_all_of_two_arrays(name, dtype):
    a, b = (np.arange(64, dtype=dtype) * factor for factor in (1, 100))
    out = timing.aligned(64, np.dtype(dtype))
    timing.COPY_LOOPS[name](a, b, out)
    assert out.tolist() == (a + b).tolist()
    call, nbytes = timing.copy_loop(name, 50_000, np.dtype(dtype), threads=2)
    call()
    assert 49_000 < nbytes <= 50_000


def test_the_pause_is_made():
    start = time.perf_counter()
    timing.interleave({"x": lambda: None}, budget=0.0, settle=0.02, turn=0.0)
    assert time.perf_counter() - start >= timing.MIN_ROUNDS * 0.02
