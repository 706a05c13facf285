"""What is plotted, and that the numbers are those of the kernels."""

from __future__ import annotations

import numpy as np
import pytest
import symloss_kernels as sk
from sympy import FiniteSet, Interval, S, oo

from symloss.catalog import Catalog, load_text
from symloss.curves import ENTRIES, Plotter, edges, ends, plan
from symloss.derive import derive

LOSSES = {loss.name: loss for loss in Catalog().load()[0]}
#: The plotter adds in another order than a kernel, and its functions are off by an ulp or two.
CLOSE = 1e-12


@pytest.mark.parametrize("name", LOSSES)
def test_a_plan_stays_inside_all_domains(name):
    loss = LOSSES[name]
    shown = plan(loss)
    domains = {i.name: i.domain for i in loss.inputs if i.kind != "label"} | {
        p.name: p.domain for p in loss.parameters
    }
    assert shown.low in domains[shown.moved] and shown.high in domains[shown.moved] and shown.low < shown.high
    assert {item.name for item in loss.inputs} == set(shown.point)
    seen = {(control.name, control.at) for control in shown.controls}
    assert len(seen) == len(shown.controls) and (shown.moved, shown.at) not in seen
    assert {p.name for p in loss.parameters} <= {control.name for control in shown.controls}
    for control in shown.controls:
        assert control.low <= control.value <= control.high
        if control.kind == "label":
            assert control.choices == tuple(range(len(control.choices))) and len(control.choices) > 1
            continue
        places = control.choices or (control.low, control.high, control.value)
        assert all(place in domains[control.name] for place in places)
        assert control.choices or 0 < control.step <= (control.high - control.low) / 100


@pytest.mark.parametrize("name", LOSSES)
def test_a_curve_is_what_the_kernels_give(name):
    loss = LOSSES[name]
    plotter = Plotter(derive(loss))
    shown, line = plotter.plan, plotter.curve(16)
    kernel = getattr(sk, name)
    for i in (1, 5, 9, 14):
        arrays = [
            np.array(shown.point[item.name], np.int64 if item.kind == "label" else np.float64)
            for item in loss.inputs
        ]
        moved = next(a for a, item in zip(arrays, loss.inputs, strict=True) if item.name == shown.moved)
        moved[shown.at] = line.x[i]
        value = kernel.value(*arrays, reduction="sum")
        grad, hess = kernel.grad_and_hess(*arrays, reduction="sum")
        if len(loss.predictions) > 1:
            grad, hess = grad[0], hess[0]
        exact = [value, grad[shown.at], hess[shown.at]]
        np.testing.assert_allclose([line.value[i], line.grad[i], line.hess[i]], exact, rtol=CLOSE, atol=CLOSE)


@pytest.mark.parametrize("name", ["huber", "binary_focal", "softmax_cross_entropy", "kl_divergence", "mae"])
def test_edges_are_what_the_kernels_give(name):
    loss = LOSSES[name]
    plotter = Plotter(derive(loss))
    kernel = getattr(sk, name)
    found = edges(plotter)
    assert len(found) >= 2
    for edge in found:
        point = {**plotter.plan.point, **dict(edge.beside)}
        arrays = [np.array(point[i.name], np.int64 if i.kind == "label" else np.float64) for i in loss.inputs]
        arrays[0][plotter.plan.at] = edge.at
        with np.errstate(all="ignore"):
            value = kernel.value(*arrays, reduction="sum")
            grad, hess = kernel.grad_and_hess(*arrays, reduction="sum")
        exact = [value, grad[plotter.plan.at], hess[plotter.plan.at]]
        np.testing.assert_allclose([edge.value, edge.grad, edge.hess], exact, rtol=CLOSE, atol=CLOSE)


@pytest.mark.parametrize(
    ("domain", "wanted"),
    [
        (S.Reals, (-5, 5)),
        (Interval(0, 1), (0, 1)),
        (Interval(0, oo), (0, 5)),
        (Interval(-oo, 2), (-8, 2)),
        (FiniteSet(0, 1, 3), (0, 3)),
    ],
)
def test_ends(domain, wanted):
    assert ends(domain) == wanted


def test_open_ends_are_approached():
    low, high = ends(Interval.open(0, 1))
    assert 0 < low < 0.01 and 0.99 < high < 1


OWN = """
from sympy import FiniteSet, Interval, Rational, loggamma
from symloss.spec import Label, Positive, Prediction, Sum, Target, index, loss


@loss
def poisson(rate: Prediction.over(Interval.open(0, 10)), target: Target, a: Interval(-1, 1) = 0, b: Positive = 3):
    return rate * b - target + a + loggamma(b)


@loss
def table(x: Prediction["M", "N"], y: Target["M", "N"], k: FiniteSet(1, 2, 4) = 2):
    m, n = index("M"), index("N")
    return k * Sum((x[m, n] - y[m, n]) ** 2, m, n)
"""


def test_controls_of_own_losses():
    specs = load_text(OWN)
    poisson, table = plan(specs["poisson"].trace()), plan(specs["table"].trace())
    assert 0 < poisson.low < poisson.high < 10
    controls = {control.name: control for control in poisson.controls}
    assert (controls["a"].low, controls["a"].high) == (-1, 1)
    assert 0 < controls["b"].low < 3 < controls["b"].high == 12
    (k,) = (control for control in table.controls if control.kind == "parameter")
    assert k.choices == (1, 2, 4) and k.value == 2
    entries = np.size(table.point["x"])
    assert len(table.controls) == (2 * entries - 1 + 1 if entries <= ENTRIES else 1)


def test_parameters_move_a_curve():
    plotter = Plotter(derive(LOSSES["huber"]))
    usual, wide = plotter.curve(10), plotter.curve(10, {"delta": 100.0})
    np.testing.assert_allclose(wide.value, wide.x**2 / 2, rtol=1e-15)
    assert usual.value[0] == pytest.approx(4.5)
