"""The accuracy benchmark counts digits right, calls what it shows, and its committed results are whole."""

from __future__ import annotations

import ast
import io
import json
import re
import sys
import warnings
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import symloss_kernels as sk
from mpmath import mpf
from rich.console import Console

# benchmarks/ isn't installed; it is run in a checkout.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import accuracy
from benchmarks import accuracy_peers as peers
from benchmarks import accuracy_points as inputs
from symloss.catalog import Catalog

ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT / "measured" / "accuracy.json"
CATALOG = Catalog()
MODULES = {
    "torch": "torch", "optax": "optax", "jax": "jax", "scikit-learn": "sklearn", "scipy": "scipy",
}  # fmt: skip
INF, NAN = float("inf"), float("nan")
TINY32, TINY64 = 2.0**-149, 2.0**-1074


def names(library):
    """What a library's calls use; a test of one that isn't installed is skipped, and says so."""
    pytest.importorskip(MODULES.get(library, "symloss_kernels"))
    return peers.load(library)


# Digits.


@pytest.mark.parametrize(
    ("got", "exact", "dtype", "least", "most"),
    [
        (1.0, mpf(1), "float64", 17, 17),
        (1.0, mpf(1), "float32", 9, 9),
        (0.0, mpf(0), "float64", 17, 17),
        (1 + 2.0**-52, mpf(1), "float64", 15.6, 15.7),  # -log10(2^-52) = 15.65
        (1 + 2.0**-23, mpf(1), "float32", 6.9, 7.0),  # -log10(2^-23) = 6.92
        (1 / 3, mpf(1) / 3, "float64", 15.9, 17),  # rounded right
        (0.9, mpf(1), "float64", 1, 1.001),
        (-1.0, mpf(1), "float64", 0, 0),
        (1e9, mpf(1), "float64", 0, 0),
        (1.0, mpf(1) + mpf("1e-18"), "float64", 17, 17),  # the cap
        (NAN, mpf(1), "float64", 0, 0),
        (INF, mpf(1), "float64", 0, 0),
        (NAN, mpf("inf"), "float64", 0, 0),
        (0.0, mpf("1e-26"), "float64", 0, 0),
        (0.0, mpf("1e-26"), "float32", 0, 0),
        (1e-300, mpf(0), "float64", 0, 0),
        # Infinite results, and those beyond the largest float.
        (INF, mpf("inf"), "float64", 17, 17),
        (-INF, mpf("inf"), "float64", 0, 0),
        (1e308, mpf("inf"), "float64", 0, 0),
        (INF, mpf("1e400"), "float64", 17, 17),
        (-INF, mpf("1e400"), "float64", 0, 0),
        (1e12, mpf("1e400"), "float64", 0, 0),
        (INF, mpf("1e39"), "float32", 9, 9),
        (1e39, mpf("1e39"), "float32", 9, 9),  # an answer in float64
        (1e12, mpf("1e39"), "float32", 0, 1e-20),
        # Subnormal results: one smallest subnormal more or less is the best there is.
        (3 * TINY64, mpf(3.4) * TINY64, "float64", 17, 17),
        (3 * TINY32, mpf(3.9) * TINY32, "float32", 9, 9),
        (0.0, mpf(0.4) * TINY64, "float64", 17, 17),
        (0.0, mpf(0.6) * TINY64, "float64", 0, 0),
        (0.0, mpf("1e-310"), "float64", 0, 0),
        (0.0, mpf("1e-400"), "float64", 17, 17),
        (10 * TINY64, mpf(12) * TINY64, "float64", 0.7, 0.8),  # -log10(2 / 12)
    ],
)
def test_digits(got, exact, dtype, least, most):
    assert least <= accuracy.digits(got, exact, dtype) <= most


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        (0.4999, 0.5), (15.6535, 15.7), (17.0, 17), (4, 4), (1234.5, 1230), (0.0, 0),
        (INF, INF), (7.9e-17, 7.9e-17), (1.2345e302, 1.23e302),
    ],
)  # fmt: skip
def test_numbers_have_three_digits(x, expected):
    text = accuracy.dumped({"x": accuracy.rounded(x)})
    assert json.loads(text, parse_constant=pytest.fail) == {"x": expected}
    assert len(text) < 30


def test_what_json_cannot_say_is_refused():
    with pytest.raises(ValueError, match="NaN"):
        accuracy.dumped({"x": NAN})


# The points.

EVERYWHERE = [
    (kind, group, dtype) for kind in inputs.KINDS for group in inputs.GROUPS for dtype in accuracy.DTYPES
]


@pytest.mark.parametrize(("kind", "group", "dtype"), EVERYWHERE)
def test_points_are_the_same_finite_floats_every_time(kind, group, dtype):
    first, again = (inputs.draw(kind, group, np.dtype(dtype)) for _ in range(2))
    for array, other in zip(first, again, strict=True):
        assert len(array) == inputs.COUNT
        assert array.dtype.name in (dtype, "int64")
        assert np.isfinite(array).all()
        assert array.tobytes() == other.tobytes()


@pytest.mark.parametrize(("kind", "group", "dtype"), EVERYWHERE)
def test_points_lie_in_the_domains_of_their_losses(kind, group, dtype):
    arrays = inputs.draw(kind, group, np.dtype(dtype))
    losses = [name for name, entry in peers.ENTRIES.items() if entry.kind == kind]
    assert losses
    for name in losses:
        for given, array in zip(getattr(sk, name).info.inputs, arrays, strict=True):
            if given.kind == "label":
                assert set(array) <= set(range(inputs.WIDTH))
            elif given.values is not None:
                assert set(array) <= set(given.values)
            else:
                assert given.low <= array.min() <= array.max() <= given.high


@pytest.mark.parametrize("dtype", accuracy.DTYPES)
@pytest.mark.parametrize("group", ["ordinary", "confident"])
@pytest.mark.parametrize("kind", ["distributions", "distribution, label", "logits, distribution"])
def test_distributions_sum_to_exactly_one(kind, group, dtype):
    arrays = inputs.draw(kind, group, np.dtype(dtype))
    parts = kind.split(", ")
    rows = [row for n, array in enumerate(arrays) if "distribution" in parts[n % len(parts)] for row in array]
    assert {sum(map(Fraction, map(float, row))) for row in rows} == {1}


@pytest.mark.parametrize("group", inputs.GROUPS)
@pytest.mark.parametrize("kind", ["residual", "vectors"])
def test_no_residual_is_at_a_kink(kind, group):
    prediction, target = inputs.draw(kind, group, np.dtype("float32"))
    assert not (prediction == target).any()


# The calls.


def test_the_table_knows_what_it_names():
    assert {entry.kind for entry in peers.ENTRIES.values()} == set(inputs.KINDS)
    assert peers.IMPORTS.keys() == peers.TITLES.keys()
    for name, entry in peers.ENTRIES.items():
        loss = CATALOG.loss(name)
        assert len(loss.predictions) == 1  # the gradient is that of the first one
        for call in (peers.own(loss), *entry.calls):
            assert "value" in call.texts
            assert call.texts.keys() <= set(accuracy.OUTPUTS)
            for text in call.texts.values():
                used = {node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)}
                assert used & {given.name for given in loss.inputs}, text


@pytest.mark.parametrize("library", MODULES)
def test_calls_have_our_definition(library):
    """Ordinary points in float64: a factor or a sign would show, an epsilon of 1e-6 doesn't."""
    theirs, ours = names(library), names("symloss")
    compared = 0
    for name, entry in peers.ENTRIES.items():
        loss = CATALOG.loss(name)
        drawn = inputs.draw(entry.kind, "ordinary", np.dtype("float64"))
        arrays = {given.name: array for given, array in zip(loss.inputs, drawn, strict=True)}
        predicted = loss.predictions[0].name
        for call in entry.calls:
            for output in ("value", "grad") if call.package == library else ():
                if output not in call.texts:
                    continue
                expected = peers.evaluate(peers.own(loss), output, ours, arrays, predicted)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    got = peers.evaluate(call, output, theirs, arrays, predicted)
                assert got.shape == expected.shape, call.texts[output]
                np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4, err_msg=call.texts[output])
                compared += 1
    assert compared


def test_torch_loses_what_ours_keeps():
    """The gradient of softmax cross-entropy where the right class leads: p - 1 is 0 there."""
    libraries = {"symloss": names("symloss"), "torch": names("torch")}
    tables = list(accuracy.compare(CATALOG.loss("softmax_cross_entropy"), "float64", "confident", libraries))
    assert [table["output"] for table in tables] == ["value", "grad_logits", "hess_logits"]
    ours, theirs = tables[1]["rows"]
    assert (ours["library"], theirs["library"]) == ("symloss", "torch")
    # The relative condition of exp(-gap) is the gap: of 16 digits, a gap of 700 takes three.
    assert ours["lowest"] > 12.5
    assert ours["lost"] == 0
    assert ours["median"] > 15
    assert theirs["lowest"] == 0
    assert 10 <= theirs["lost"] <= inputs.COUNT
    assert theirs["got"] == "0"
    assert theirs["worst"].startswith("logits = (")
    assert ours["call"] == 'sk.softmax_cross_entropy.grad(logits, label, reduction="none")'
    expected = 'torch.autograd.grad(F.cross_entropy(logits, label, reduction="none").sum(), logits)[0]'
    assert theirs["call"] == expected


def test_an_absent_library_is_said_and_left_out(monkeypatch):
    monkeypatch.setattr(peers, "IMPORTS", {**peers.IMPORTS, "torch": "import there_is_no_such_module"})
    said = []
    data = accuracy.run(["mae"], True, said.append)
    assert said[0] == "not installed, left out: PyTorch"
    assert data["about"]["absent"][:1] == ["PyTorch"]
    assert "torch" not in data["about"]["versions"]
    assert data["ours"] == {}
    assert "torch" not in {row["library"] for table in data["peers"] for row in table["rows"]}


def test_ours_is_what_verify_says():
    found = accuracy.measure_ours(CATALOG.loss("huber"), "float64", count=20)
    assert list(found) == ["value", "grad_prediction", "hess_prediction", "hvp_prediction"]
    row = found["value"]
    assert (row["results"], row["missed"], row["bound"], row["passed"]) == (20, 0, 4, True)
    assert 0 < row["ulp"] <= 4
    assert "prediction=" in row["worst"]


# What is printed and written.


def printed(data):
    console = Console(file=io.StringIO(), width=250)
    accuracy.show(data, console)
    return console.file.getvalue()


def test_tables_show_both_parts():
    ours = {"results": 400, "undefined": 0, "ulp": 0.5, "mixed": 0, "bound": 4, "missed": 0, "passed": True}
    row = {
        "library": "torch", "call": "F.l1_loss(x, y)", "results": 40, "lost": 3, "lowest": 0, "median": 16.3,
        "worst": "logits = (40, 0), label = 0, entry 0", "got": "0", "exact": "-4.248e-18", "note": "",
    }  # fmt: skip
    table = {"loss": "mae", "dtype": "float64", "output": "value", "group": "ordinary", "rows": [row]}
    text = printed(
        {
            "about": {"titles": {"torch": "PyTorch"}},
            "ours": {"huber": {"float32": {"value": {**ours, "worst": "at 1"}}}},
            "peers": [table],
        }
    )
    cells = [[cell.strip() for cell in re.split("[│┃]", line)[1:-1]] for line in text.splitlines()]
    assert ["huber", "float32", "value", "400", "0.5", "0", "4", "0", "at 1"] in cells
    assert "mae, value, float64, ordinary: digits" in text
    assert ["PyTorch", "0", "16.3", "3", "40", row["worst"], "0", "-4.248e-18"] in cells


@pytest.fixture
def command(monkeypatch):
    """The command in this process, which keeps its threads."""
    monkeypatch.setattr(accuracy.machine, "limit_threads", lambda threads: None)
    monkeypatch.setattr(peers, "IMPORTS", {"symloss": peers.IMPORTS["symloss"]})
    return accuracy.main


def test_a_partial_run_prints_and_writes_only_where_told(command, tmp_path, capsys):
    before = FILE.read_bytes()
    file = tmp_path / "new" / "accuracy.json"
    assert command(["--only", "mae", "--peers-only"]) == 0
    assert command(["--only", "center", "--peers-only", "--out", str(file)]) == 0
    assert "center, float64" not in capsys.readouterr().err  # it has no counterpart
    data = json.loads(file.read_text(encoding="utf-8"))
    assert (data["ours"], data["peers"], data["about"]["without_peer"]) == ({}, [], ["center"])
    assert FILE.read_bytes() == before


def test_an_unknown_loss_is_refused(command, capsys):
    assert command(["--only", "hubert"]) == 2
    assert "hubert" in capsys.readouterr().err


# What is committed.


@pytest.fixture(scope="module")
def committed():
    return json.loads(FILE.read_text(encoding="utf-8"))


def test_the_file_is_written_as_the_command_writes_it(committed):
    assert FILE.read_text(encoding="utf-8") == accuracy.dumped(committed)


def test_the_file_has_all_losses_and_no_other(committed):
    losses = {loss.name: loss for loss in CATALOG.load()[0]}
    assert committed["ours"].keys() == losses.keys()
    for name, dtypes in committed["ours"].items():
        predictions = [given.name for given in losses[name].predictions]
        outputs = {"value"} | {f"{kind}_{x}" for kind in ("grad", "hess", "hvp") for x in predictions}
        assert dtypes.keys() == set(accuracy.DTYPES)
        assert all(found.keys() == outputs for found in dtypes.values())
    with_peer = {table["loss"] for table in committed["peers"]}
    assert with_peer == peers.ENTRIES.keys()
    assert with_peer | set(committed["about"]["without_peer"]) == losses.keys()


def test_every_row_has_a_call_and_a_version(committed):
    about = committed["about"]
    texts = {
        (name, call.package, text)
        for name, entry in peers.ENTRIES.items()
        for call in (peers.own(CATALOG.loss(name)), *entry.calls)
        for text in call.texts.values()
    }
    for table in committed["peers"]:
        assert table["group"] in about["groups"]
        assert table["rows"][0]["library"] == "symloss"
        assert len(table["rows"]) > 1
        for row in table["rows"]:
            assert re.fullmatch(r"\d+\.\d+.*", about["versions"][row["library"]])
            assert row["library"] in about["imports"]
            assert row["library"] in about["titles"]
            assert (table["loss"], row["library"], row["call"]) in texts  # the calls are those of the table
            assert 0 <= row["lowest"] <= row["median"] <= about["caps"][table["dtype"]]
            assert row["lost"] <= row["results"]
            assert row["worst"]
            if (
                table["group"] == "ordinary"
            ):  # another definition would have no digits; an eps of 1e-6 leaves 5.9
                assert row["median"] > 5, (table["loss"], row["call"])


def test_the_points_are_those_that_were_measured(committed):
    assert committed["about"]["seed"] == inputs.SEED
    assert committed["about"]["points"] == {"group": inputs.COUNT, "verify": accuracy.POINTS}
    assert committed["about"]["groups"] == inputs.GROUPS
    assert committed["about"]["caps"] == accuracy.CAPS
