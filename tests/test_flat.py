"""Losses whose rows may be one long row."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import symloss_kernels as sk
from sympy import Interval, log

import symloss
from symloss.catalog import standard
from symloss.derive import derive
from symloss.flat import is_flat
from symloss.lower import lower
from symloss.program import ENTRIES
from symloss.spec import Label, NonNegative, Prediction, Size, Sum, Target, index, loss


def flat(of) -> bool:
    derivation = derive(of)
    return all(is_flat(lower(derivation, entry)) for entry in ENTRIES)


@loss(title="Weighted squares")
def weighted_squares(prediction: Prediction["K"], target: Target["K"], strength: NonNegative = 3):
    k = index("K")
    return strength * Sum((prediction[k] - target[k]) ** 2, k) / 2


@loss(title="Squares and logarithms of an image")
def of_images(prediction: Prediction["C", "H"].over(Interval.Lopen(0, 2)), target: Target["C", "H"]):
    c, h = index("C"), index("H")
    return Sum((prediction[c, h] - target[c, h]) ** 2, c, h) - Sum(log(prediction[c, h]), c, h)


@loss(title="Mean of squares")
def mean_of_squares(prediction: Prediction["K"], target: Target["K"]):
    k = index("K")
    return Sum((prediction[k] - target[k]) ** 2, k) / Size("K")


@loss(title="Square of a sum")
def square_of_sum(prediction: Prediction["K"], target: Target["K"]):
    k = index("K")
    return Sum(prediction[k] - target[k], k) ** 2


@loss(title="A sum and one")
def sum_and_one(prediction: Prediction["K"], target: Target["K"]):
    k = index("K")
    return Sum((prediction[k] - target[k]) ** 2, k) + 1


@loss(title="One target a row")
def one_target(prediction: Prediction["K"], target: Target):
    k = index("K")
    return Sum((prediction[k] - target) ** 2, k)


@loss(title="Entry of the label")
def of_label(prediction: Prediction["K"], label: Label["K"]):
    return prediction[label] ** 2


@loss(title="Products of two entries")
def two_entries(prediction: Prediction["K"], target: Target["K"]):
    k, j = index("K"), index("K")
    return Sum(prediction[k] * target[j], k, j)


FLAT, NOT = [weighted_squares, of_images], [
    mean_of_squares, square_of_sum, sum_and_one, one_target, of_label, two_entries,
]  # fmt: skip


@pytest.mark.parametrize("spec", FLAT, ids=lambda spec: spec.name)
def test_sums_of_entries_are_flat(spec):
    assert flat(spec.trace())


@pytest.mark.parametrize("spec", NOT, ids=lambda spec: spec.name)
def test_others_are_not(spec):
    assert not flat(spec.trace())


def test_of_the_catalogue():
    found = {name for name in sk.__all__ if (of := standard().loss(name)).dims and flat(of)}
    assert {"cross_entropy", "js_divergence", "kl_divergence", "l1_norm"} <= found
    assert not found & {"softmax_cross_entropy", "l2_norm", "feature_reconstruction", "sparse_cross_entropy"}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("spec", FLAT, ids=lambda spec: spec.name)
def test_one_long_row_gives_what_many_rows_give(spec, dtype):
    """Values but for the order in which they are added, float32 derivatives but for a factor's rounding."""
    made, rng = symloss.compile(spec), np.random.default_rng(0)
    core = (5, 3)[: len(spec.trace().dims)]
    near = {"rtol": 3 * np.finfo(dtype).eps if dtype == np.float32 else 0.0}
    for n in (1, 7, 100, 30_000):
        x, y, v = (rng.uniform(0.1, 1.9, (n, *core)).astype(dtype) for _ in range(3))
        ones = np.ones(n)
        value, grad = made.value_and_grad(x, y)
        rows, by_row = made.value_and_grad(x, y, reduction="none")
        assert value == made.value(x, y)
        assert value == pytest.approx(rows.mean(dtype=float), rel=4e-7 if dtype == np.float32 else 1e-14)
        np.testing.assert_allclose(grad, made.value_and_grad(x, y, weight=ones)[1], **near)
        np.testing.assert_array_equal(made.grad(x, y, reduction="sum"), by_row)
        for both in (made.grad_and_hess, partial(made.hvp, vector=v)):
            np.testing.assert_allclose(both(x, y), both(x, y, weight=ones), **near)
        # A row that all samples share isn't one of theirs.
        shared = made.value_and_grad(x[0], y)
        expected = made.value_and_grad(np.repeat(x[:1], n, axis=0), y)
        assert shared[0] == pytest.approx(expected[0], rel=1e-6)
        np.testing.assert_allclose(shared[1], expected[1].sum(axis=0), rtol=1e-5)
