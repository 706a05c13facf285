"""Verify passes right kernels and catches planted errors: a sign, ten ulp, one NaN, a wrong branch."""

from types import SimpleNamespace

import numpy as np
import pytest
from mpmath import mp

from symloss.catalog import standard
from symloss.oracle import Oracle
from symloss.spec import Prediction, Target, loss
from symloss.verify import Bounds, bounds, verify

OUTPUTS = {"value": ("value",), "grad": ("grad",), "value_and_grad": ("value", "grad")}
OUTPUTS |= {"grad_and_hess": ("grad", "hess"), "hvp": ("hvp",)}


class Exact:
    """Kernels that are right by construction: the oracle, rounded. `spoil` plants an error."""

    def __init__(self, name, spoil=lambda kind, entry, array, inputs: array):
        self.loss = standard().loss(name)
        self.oracle = Oracle(self.loss)
        self.spoil = spoil

    def __getattr__(self, entry):
        if entry not in OUTPUTS:
            raise AttributeError(entry)
        return lambda *arrays, **keywords: self.call(entry, arrays, **keywords)

    def call(self, entry, arrays, vector=None, reduction="mean", **parameters):
        assert reduction == "none"
        names = [i.name for i in self.loss.inputs]
        predictions = [i.name for i in self.loss.predictions]
        inputs = dict(zip(names, arrays, strict=True))
        vectors = vector if vector is None or len(predictions) > 1 else (vector,)
        results = []
        for kind in OUTPUTS[entry]:
            parts = []
            for name in [None] if kind == "value" else predictions:
                shape = () if name is None else inputs[name].shape[1:]
                dtype = inputs[predictions[0]].dtype
                part = np.zeros((len(arrays[0]), *shape), dtype)
                for n in range(len(part)):
                    point = {k: v[n] for k, v in inputs.items()} | parameters
                    along = (
                        None
                        if vector is None
                        else {k: v[n] for k, v in zip(predictions, vectors, strict=True)}
                    )
                    for at in np.ndindex(shape):
                        exact = self.oracle.evaluate(kind, point, name, at, along)
                        with np.errstate(over="ignore"):
                            part[(n, *at)] = float(exact) if mp.isfinite(exact) else exact
                parts.append(self.spoil(kind, entry, part, inputs))
            results.append(parts[0] if len(parts) == 1 else tuple(parts))
        return results[0] if len(results) == 1 else tuple(results)


def spoiled(wanted_kind, change, wanted_entry=None):
    def spoil(kind, entry, array, inputs):
        if kind == wanted_kind and wanted_entry in (None, entry):
            change(array)
        return array

    return spoil


def row(report, output):
    (found,) = [row for row in report.rows if row.output == output]
    return found


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["huber", "binary_cross_entropy_with_logits", "kl_divergence"])
def test_rounded_exact_results_pass(name, dtype):
    report = verify(standard().loss(name), Exact(name), dtype, count=9)
    assert report.passed and not report.failures
    (prediction,) = [i.name for i in standard().loss(name).predictions]
    outputs = ["value", f"grad_{prediction}", f"hess_{prediction}", f"hvp_{prediction}"]
    assert [r.output for r in report.rows] == outputs
    assert all(r.forward <= 0.5 and r.count > 0 for r in report.rows)


def test_several_predictions():
    report = verify(standard().loss("center"), Exact("center"), "float64", count=6)
    assert report.passed
    assert {"grad_features", "grad_centers", "hvp_features", "hvp_centers"} <= {r.output for r in report.rows}


def plant_sign(array):
    array *= -1


def plant_ten_ulp(array):
    array += 10 * np.spacing(np.abs(array))


def plant_one_nan(array):
    if len(array) > 1:
        array[1] = np.nan


def plant_infinity(array):
    array[0] = np.inf


@pytest.mark.parametrize("kind", ["value", "grad", "hess", "hvp"])
@pytest.mark.parametrize("change", [plant_sign, plant_ten_ulp, plant_one_nan, plant_infinity])
def test_planted_errors_are_found(kind, change):
    loss = standard().loss("binary_cross_entropy_with_logits")
    kernels = Exact(loss.name, spoiled(kind, change))
    report = verify(loss, kernels, "float64", count=40)
    output = kind if kind == "value" else f"{kind}_logits"
    assert not report.passed
    assert row(report, output).failed > 0
    assert all(r.passed for r in report.rows if r.output != output)
    worst = report.failures[0]
    assert worst.output == output and "logits=" in worst.where and worst.where in str(worst)


def test_one_entry_that_drifts_from_the_others_is_found():
    loss = standard().loss("huber")
    kernels = Exact("huber", spoiled("grad", plant_ten_ulp, wanted_entry="grad_and_hess"))
    report = verify(loss, kernels, "float64", count=40)
    assert not report.passed
    assert {f.entry for f in report.failures} == {"grad_and_hess"}
    assert verify(loss, kernels, "float64", count=40, entries=("value", "grad")).passed


def test_a_cancelling_problem_is_held_to_the_mixed_error():
    """(f - y)^2 computed in one rounding of f - y is right; through f^2 - 2 f y + y^2 it isn't."""
    loss = standard().loss("mse")
    direct = SimpleNamespace(value=lambda f, y, reduction: (f - y) * (f - y))
    expanded = SimpleNamespace(value=lambda f, y, reduction: f * f - 2 * f * y + y * y)
    assert verify(loss, direct, "float64", entries=("value",), count=100).passed
    report = verify(loss, expanded, "float64", entries=("value",), count=100)
    assert not report.passed and report.failures


def test_ill_conditioned_results_count_as_mixed():
    @loss
    def shifted(prediction: Prediction, target: Target):
        return prediction - target * 3

    # rounding 3 y once moves the result by many ulp where f is near 3 y, and is no fault
    kernels = SimpleNamespace(value=lambda f, y, reduction: f - y * 3)
    report = verify(shifted.trace(), kernels, "float64", entries=("value",), count=100)
    third = verify(
        shifted.trace(),
        SimpleNamespace(value=lambda f, y, reduction: (f - y * 3) * (1 + 40 * np.finfo(np.float64).eps)),
        "float64",
        entries=("value",),
        count=100,
    )
    assert report.passed
    assert not third.passed


def test_long_rows_are_compared_at_the_interesting_entries():
    loss = standard().loss("softmax_cross_entropy")

    def gradient(z, label, reduction):
        e = np.exp(z - z.max(-1, keepdims=True))
        g = e / e.sum(-1, keepdims=True)
        rows = np.arange(len(z))
        g[rows, label] = 0  # wrong at the label only
        return g

    report = verify(loss, SimpleNamespace(grad=gradient), "float64", entries=("grad",), count=40)
    wrong = row(report, "grad_logits")
    assert wrong.failed > 0
    assert all(f.at == (f.point.inputs["label"],) for f in report.failures)


def test_bounds():
    elementwise, rows = standard().loss("huber"), standard().loss("kl_divergence")
    assert bounds(elementwise, "float64") == Bounds(4, 4)
    assert bounds(elementwise, "float32") == Bounds(2, 4)
    assert bounds(rows, "float32") == bounds(rows, np.float64) == Bounds(8, 8)
    tight = verify(elementwise, Exact("huber"), "float32", count=20, limits=Bounds(0.0, 0.0))
    assert not tight.passed


def test_nothing_compared_is_not_a_pass():
    loss = standard().loss("huber")
    report = verify(loss, Exact("huber"), "float64", count=0)
    assert not report.passed
