"""The shipped kernels against the exact results: every loss, both precisions, and the promises made by name.

What misses a bound must stand in the table of docs/accuracy.md, by loss, output and precision.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import symloss_kernels as sk
from mpmath import mp, mpf

from symloss.catalog import standard
from symloss.oracle import Oracle
from symloss.ulp import ulp_error
from symloss.verify import verify

LOSSES = sorted(standard().names())
ACCURACY = Path(__file__).parents[1] / "docs" / "accuracy.md"
#: Points a loss: fewer for rows, fewest where the exact result of a long row takes seconds.
COUNT, COUNT_ROWS, COUNT_SLOW = 40, 20, 8
SLOW = {"js_divergence", "min_max_mse", "soft_target_cross_entropy", "standardized_mse", "l2_normalized_mse"}
ENTRIES = ("value", "grad", "value_and_grad", "grad_and_hess", "hvp")


def admitted(text: str) -> set[tuple[str, str, str]]:
    """(loss, output, dtype) of every row of the tables that have these columns."""
    found, columns = set(), None
    for line in text.splitlines():
        cells = [cell.strip().strip("`") for cell in line.strip().strip("|").split("|")]
        if not line.lstrip().startswith("|"):
            columns = None
        elif {"loss", "output", "dtype"} <= set(cells):
            columns = [cells.index(name) for name in ("loss", "output", "dtype")]
        elif columns is not None and not set("".join(cells)) <= set("-: "):
            found.add(tuple(cells[column] for column in columns))
    return found


EXCEPTIONS = admitted(ACCURACY.read_text(encoding="utf-8")) if ACCURACY.exists() else set()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", LOSSES)
def test_kernels_keep_their_bounds(name, dtype):
    loss = standard().loss(name)
    count = COUNT_SLOW if name in SLOW else COUNT_ROWS if loss.dims else COUNT
    report = verify(loss, getattr(sk, name), dtype, count=count)
    outputs = ["value"] + [f"{kind}_{p.name}" for kind in ("grad", "hess", "hvp") for p in loss.predictions]
    assert sorted(row.output for row in report.rows) == sorted(outputs)
    missed = [
        row.output for row in report.rows if not row.passed and (name, row.output, dtype) not in EXCEPTIONS
    ]
    assert missed == [], "\n".join(map(str, report.failures))


def test_exceptions_are_of_losses_and_outputs_that_exist():
    for name, output, dtype in EXCEPTIONS:
        predictions = [p.name for p in standard().loss(name).predictions]
        assert output in ["value"] + [f"{kind}_{p}" for kind in ("grad", "hess", "hvp") for p in predictions]
        assert dtype in ("float32", "float64")


def test_the_table_of_exceptions_is_read():
    text = "words | loss\n\n| loss | output | dtype | why |\n|---|:--|---|---|\n| `mse` | value | float64 | because |\n\n| a | b |\n"
    assert admitted(text) == {("mse", "value", "float64")}
    assert admitted("| a | b |\n|---|---|\n| mse | value |\n") == set()


# --- promises by name -------------------------------------------------------------------------------------------------


def exact(name: str, kind: str, point: dict, wrt: str | None = None, at=()) -> mpf:
    return Oracle(standard().loss(name)).evaluate(kind, point, wrt, at)


def test_confident_binary_cross_entropy_keeps_its_gradient():
    loss = sk.binary_cross_entropy_with_logits
    gradient = loss.grad(np.array([40.0]), np.array([1.0]), reduction="sum")
    assert gradient[0] == -4.248354255291589e-18
    single = loss.grad(np.array([40.0], np.float32), np.array([1.0], np.float32), reduction="sum")
    assert single.dtype == np.float32 and single[0] == np.float32(-4.248354255291589e-18)


def test_confident_softmax_keeps_its_gradient_and_curvature():
    row, label = np.array([[40.0, 0.0, -1.0]]), np.array([0])
    gradient, curvature = sk.softmax_cross_entropy.grad_and_hess(row, label, reduction="sum")
    rest = math.exp(-40) + math.exp(-41)
    assert gradient[0, 0] == pytest.approx(-rest, rel=1e-14)
    assert curvature[0, 0] == pytest.approx(rest, rel=1e-14)
    assert sk.softmax_cross_entropy.value(row, label) == pytest.approx(rest, rel=1e-14)
    assert gradient[0].sum() == pytest.approx(0, abs=1e-30)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("target", [0.0, 1.0])
@pytest.mark.parametrize("logit", [-1e3, -40.0, 0.0, 40.0, 1e3])
def test_binary_focal(logit, target, gamma):
    point = {"logits": logit, "target": target, "gamma": gamma, "alpha": 0.25}
    arrays = (np.array([logit]), np.array([target]))
    keywords = {"gamma": gamma, "alpha": 0.25, "reduction": "none"}
    gradient, curvature = sk.binary_focal.grad_and_hess(*arrays, **keywords)
    for got, kind in (
        (sk.binary_focal.value(*arrays, **keywords), "value"),
        (gradient, "grad"),
        (curvature, "hess"),
    ):
        wanted = exact("binary_focal", kind, point, None if kind == "value" else "logits")
        assert math.isfinite(got[0])
        assert (
            ulp_error(got[0], wanted, "float64") <= 16
        )  # (1 - p)^gamma rounds gamma log(1 - p) at a logit of 40


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("row", [[1e3, -1e3], [-1e3, 1e3], [40.0, 0.0], [0.0, 40.0], [0.0, 0.0], [1e3, 1e3]])
def test_softmax_focal(row, gamma):
    point = {"logits": np.array(row), "label": 0, "gamma": gamma}
    arrays = (np.array([row]), np.array([0]))
    gradient, curvature = sk.softmax_focal.grad_and_hess(*arrays, gamma=gamma, reduction="none")
    assert (
        ulp_error(
            sk.softmax_focal.value(*arrays, gamma=gamma), exact("softmax_focal", "value", point), "float64"
        )
        <= 16
    )
    for got, kind in ((gradient, "grad"), (curvature, "hess")):
        for k in range(2):
            wanted = exact("softmax_focal", kind, point, "logits", (k,))
            assert math.isfinite(got[0, k])
            assert ulp_error(got[0, k], wanted, "float64") <= 16, (kind, k, got[0, k], wanted)


@pytest.mark.parametrize("r", [1e200, -1e200, 1e308])
def test_huber_does_not_overflow(r):
    value, gradient = sk.huber.value_and_grad(np.array([r]), np.array([0.0]), reduction="sum")
    assert value == abs(r)
    assert gradient[0] == math.copysign(1, r)
    assert sk.smooth_l1.value(np.array([r]), np.array([0.0]), reduction="sum") == abs(r)


@pytest.mark.parametrize(
    ("name", "q", "p", "value", "gradient"),
    [
        ("kl_divergence", [0.5, 0.5], [0.0, 1.0], math.log(2), [0.0, -2.0]),
        ("kl_divergence", [0.0, 1.0], [0.0, 1.0], 0.0, [0.0, -1.0]),
        ("kl_divergence", [0.0, 1.0], [1.0, 0.0], math.inf, [-math.inf, 0.0]),
        ("js_divergence", [0.0, 1.0], [1.0, 0.0], math.log(2), None),
        ("js_divergence", [0.0, 1.0], [0.0, 1.0], 0.0, None),
        ("cross_entropy", [0.0, 1.0], [0.0, 1.0], 0.0, [0.0, -1.0]),
        ("cross_entropy", [0.0, 1.0], [0.5, 0.5], math.inf, [-math.inf, -0.5]),
    ],
)
def test_zeros_of_probabilities_follow_the_limits(name, q, p, value, gradient):
    got, slope = getattr(sk, name).value_and_grad(np.array([q]), np.array([p]), reduction="sum")
    assert got == pytest.approx(value, rel=1e-15)
    if gradient is not None:
        np.testing.assert_array_equal(slope[0], gradient)


@pytest.mark.parametrize(
    ("name", "arguments", "value"),
    [
        ("binary_cross_entropy", (0.0, 0.0), 0.0),
        ("binary_cross_entropy", (1.0, 1.0), 0.0),
        ("binary_cross_entropy", (0.0, 1.0), math.inf),
        ("binary_cross_entropy", (1.0, 0.5), math.inf),
        ("l2_norm", ([3e200, 4e200], [0.0, 0.0]), 5e200),
        ("l2_norm", ([3e-200, 4e-200], [0.0, 0.0]), 5e-200),
        ("l2_norm", ([1.0, 2.0], [1.0, 2.0]), 0.0),
        ("soft_target_cross_entropy", ([1e3, -1e3], [0.0, 1.0]), 2e3),
    ],
)
def test_values_at_extremes(name, arguments, value):
    arrays = [np.array([argument]) for argument in arguments]
    assert getattr(sk, name).value(*arrays, reduction="sum") == pytest.approx(value, rel=1e-15)


def test_the_norm_of_zero_has_no_gradient():
    gradient = sk.l2_norm.grad(np.zeros((1, 3)), np.zeros((1, 3)))
    np.testing.assert_array_equal(gradient, np.zeros((1, 3)))


# --- NaN ----------------------------------------------------------------------------------------------------------------


def sample(name: str) -> list[np.ndarray]:
    """One sample in the middle of the domains."""
    sizes = {"C": 2, "H": 2, "W": 2, "K": 3, "D": 3, "M": 2}
    arrays = []
    for given in standard().loss(name).inputs:
        shape = (1, *(sizes[dim] for dim in given.dims))
        if given.kind == "label":
            arrays.append(np.zeros(1, np.int64))
        elif name.startswith(("contrastive", "binary_focal")) and given.kind == "target":
            arrays.append(np.ones(shape))
        else:
            arrays.append(np.linspace(0.125, 0.5, int(np.prod(shape))).reshape(shape))
    return arrays


PLACES = [
    (name, given.name) for name in LOSSES for given in standard().loss(name).inputs
    if given.kind == "prediction" and given.name != "centers"
]  # fmt: skip


@pytest.mark.parametrize(("name", "given"), PLACES)
def test_nan_flows_from_a_prediction_to_the_value(name, given):
    arrays = sample(name)
    assert math.isfinite(getattr(sk, name).value(*arrays))
    spoiled = arrays[[i.name for i in standard().loss(name).inputs].index(given)]
    spoiled[(0,) * spoiled.ndim] = np.nan
    for entry in ("value", "value_and_grad"):
        result = getattr(getattr(sk, name), entry)(*arrays)
        assert math.isnan(result if entry == "value" else result[0])


# --- weights, reductions, ignored labels --------------------------------------------------------------------------------


def by_hand(name: str, arrays: list[np.ndarray]) -> np.ndarray:
    """Values a sample in plain NumPy."""
    if name == "mse":
        return (arrays[0] - arrays[1]) ** 2
    if name == "l1_norm":
        return np.abs(arrays[0] - arrays[1]).sum(-1)
    logits, labels = arrays
    return np.log(np.exp(logits).sum(-1)) - logits[np.arange(len(logits)), labels]


DRAW = np.random.default_rng(8)
BATCHES = {
    "mse": [DRAW.normal(size=7), DRAW.normal(size=7)],
    "l1_norm": [DRAW.normal(size=(7, 4)), DRAW.normal(size=(7, 4))],
    "softmax_cross_entropy": [DRAW.normal(size=(7, 4)), DRAW.integers(0, 4, 7)],
}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", BATCHES)
def test_reductions_and_weights(name, reduction, weighted):
    arrays = BATCHES[name]
    weight = np.array([0.0, 1.0, 2.5, 0.5, 0.0, 3.0, 1.0]) if weighted else None
    values = by_hand(name, arrays)
    w = np.ones(7) if weight is None else weight
    wanted = {"mean": (w * values).sum() / w.sum(), "sum": (w * values).sum(), "none": w * values}[reduction]
    got = getattr(sk, name).value(*arrays, reduction=reduction, weight=weight)
    np.testing.assert_allclose(got, wanted, rtol=1e-13)
    step = 1e-6
    moved = arrays[0].copy()
    moved[3] += step  # the whole sample
    scale = w[3] / (w.sum() if reduction == "mean" else 1.0)
    slope = scale * (by_hand(name, [moved, arrays[1]])[3] - values[3]) / step
    gradient = getattr(sk, name).grad(*arrays, reduction=reduction, weight=weight)
    np.testing.assert_allclose(gradient[3].sum(), slope, rtol=1e-4, atol=1e-8)
    assert not np.any(gradient[w == 0])


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_ignored_labels(reduction):
    logits, labels = BATCHES["softmax_cross_entropy"]
    labels = labels.copy()
    labels[[1, 5]] = -100
    weight = np.array([1.0, 9.0, 2.5, 0.5, 0.0, 3.0, 1.0])
    kept = (labels != -100) * weight
    values = by_hand("softmax_cross_entropy", [logits, np.where(labels == -100, 0, labels)])
    wanted = {
        "mean": (kept * values).sum() / kept.sum(),
        "sum": (kept * values).sum(),
        "none": kept * values,
    }[reduction]
    keywords = {"reduction": reduction, "weight": weight, "ignore_index": -100}
    value, gradient = sk.softmax_cross_entropy.value_and_grad(logits, labels, **keywords)
    np.testing.assert_allclose(value, wanted, rtol=1e-13)
    assert not np.any(gradient[kept == 0]) and np.all(np.any(gradient[kept != 0] != 0, axis=-1))


def test_the_oracle_is_not_asked_in_vain():
    """The entries compared are the ones that users call."""
    assert all(callable(getattr(getattr(sk, name), entry)) for name in LOSSES for entry in ENTRIES)
    assert mp.isfinite(exact("mse", "value", {"prediction": 1.0, "target": 0.0}))
