"""The normalisations: their formulas, the dimension they take, and what they refuse."""

import numpy as np
import pytest
from formulas import evaluate

from symloss.errors import SpecError
from symloss.normalize import l2_normalize, min_max, standardize
from symloss.spec import Prediction, Sum, Target, index, loss

RNG = np.random.default_rng(7)
X, W = RNG.normal(size=(2, 3, 4))


def standardized(x, axis):
    """By NumPy, with the population's variance."""
    return (x - x.mean(axis, keepdims=True)) / x.std(axis, keepdims=True)


def unit(x, axis):
    """By NumPy."""
    return x / np.linalg.norm(x, axis=axis, keepdims=True)


def scaled(x, axis):
    """By NumPy."""
    low, high = x.min(axis, keepdims=True), x.max(axis, keepdims=True)
    return (x - low) / (high - low)


FUNCTIONS = [(standardize, standardized), (l2_normalize, unit), (min_max, scaled)]


@pytest.mark.parametrize(("normalize", "numpy_form"), FUNCTIONS)
@pytest.mark.parametrize(("over", "axis"), [("R", 0), ("D", 1), (None, 1)])
def test_values_over_either_dimension(normalize, numpy_form, over, axis):
    @loss
    def weighted_rows(prediction: Prediction["R", "D"], target: Target["R", "D"]):
        r, d = index("R"), index("D")
        return Sum(normalize(prediction, over)[r, d] * target[r, d], r, d)

    expected = (numpy_form(X, axis) * W).sum()
    assert evaluate(weighted_rows.trace(), X, W) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize(("normalize", "numpy_form"), FUNCTIONS)
def test_dimensions_are_the_callers_inside_a_called_spec(normalize, numpy_form):
    @loss
    def inner(prediction: Prediction["A", "B"], target: Target["A", "B"]):
        a, b = index("A"), index("B")
        return Sum(normalize(prediction, over="A")[a, b] * target[a, b], a, b)

    @loss
    def outer(prediction: Prediction["B", "C"], target: Target["B", "C"]):
        return inner(prediction, target)

    assert outer.trace().signature == "(b,c),(b,c)->()"
    expected = (numpy_form(X, 0) * W).sum()
    assert evaluate(outer.trace(), X, W) == pytest.approx(expected, rel=1e-13)


def test_normalisations_nest():
    @loss
    def nested(prediction: Prediction["D"], target: Target["D"]):
        d = index("D")
        return Sum(l2_normalize(standardize(prediction))[d] * target[d], d)

    expected = (unit(standardized(X[0], 0), 0) * W[0]).sum()
    assert evaluate(nested.trace(), X[0], W[0]) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("normalize", [standardize, l2_normalize, min_max])
def test_a_constant_row_is_nan(normalize):
    @loss
    def first(prediction: Prediction["D"], target: Target["D"]):
        d = index("D")
        return Sum(normalize(prediction)[d] * target[d], d)

    row = np.zeros(3)
    assert np.isnan(evaluate(first.trace(), row, np.ones(3)))


@pytest.mark.parametrize("normalize", [standardize, l2_normalize, min_max])
def test_bad_use_is_refused(normalize):
    @loss
    def scalar(prediction: Prediction, target: Target):
        return normalize(prediction) - target

    @loss
    def entry(prediction: Prediction["D"], target: Target["D"]):
        d = index("D")
        return Sum(normalize(prediction[d]) - target[d], d)

    @loss
    def elsewhere(prediction: Prediction["D"], target: Target["D"]):
        d = index("D")
        return Sum(normalize(prediction, over="K")[d] - target[d], d)

    @loss
    def by_index(prediction: Prediction["D"], target: Target["D"]):
        d = index("D")
        return Sum(normalize(prediction, over=d)[d] - target[d], d)

    name = normalize.__name__
    with pytest.raises(SpecError, match=rf"{name} takes an array with a core dimension.*`prediction`"):
        scalar.trace()
    with pytest.raises(SpecError, match=rf"{name} takes an array with a core dimension.*`prediction\[d\]`"):
        entry.trace()
    with pytest.raises(SpecError, match=rf"{name} can't normalise `prediction` over K: .* are D"):
        elsewhere.trace()
    with pytest.raises(SpecError, match=rf"{name} takes `over` as the name of a dimension"):
        by_index.trace()
