"""Normalisations of an array over one of its core dimensions, for use inside a spec.

Each takes an array of the spec (an input, or another normalisation) and returns one of the same dimensions,
whose entries are the textbook formula. A loss of normalised features is then written as usual, and its
derivatives go through the normalisation:

    a = standardize(prediction)
    return Sum((a[d] - target[d]) ** 2, d)
"""

from __future__ import annotations

from typing import Any

from sympy import Expr, sqrt

from symloss.errors import SpecError
from symloss.index import Index, Max, Min, Sum
from symloss.spec import Array, index

__all__ = ["l2_normalize", "min_max", "standardize"]


def standardize(x: Array, over: str | None = None) -> Array:
    """Zero mean and unit variance: (x - mean) / sqrt(Sum((x - mean)**2) / D).

    The variance divides by the number of entries D (the population's, as in batch and layer normalisation),
    and nothing is added to it: a row whose entries are all equal is 0/0 and so gives NaN.

    Args:
        x: an input with core dimensions, or a function of one.
        over: the dimension to normalise over; by default the last one.

    Raises:
        SpecError: when `x` has no core dimension, or none that is called `over`.
    """
    axis = _axis("standardize", x, over)

    def entry(*at: Expr) -> Expr:
        k, of_row = _row(x, at, axis)
        mean = Sum(of_row, k) / k.size
        variance = Sum((of_row - mean) ** 2, k) / k.size
        return (x[at] - mean) / sqrt(variance)

    return Array(f"standardize({x.name})", x.dims, entry)


def l2_normalize(x: Array, over: str | None = None) -> Array:
    """Unit Euclidean length: x / sqrt(Sum(x**2)).

    Nothing is added to the length: a row of zeros is 0/0 and so gives NaN.

    Args:
        x: an input with core dimensions, or a function of one.
        over: the dimension to normalise over; by default the last one.

    Raises:
        SpecError: when `x` has no core dimension, or none that is called `over`.
    """
    axis = _axis("l2_normalize", x, over)

    def entry(*at: Expr) -> Expr:
        k, of_row = _row(x, at, axis)
        return x[at] / sqrt(Sum(of_row**2, k))

    return Array(f"l2_normalize({x.name})", x.dims, entry)


def min_max(x: Array, over: str | None = None) -> Array:
    """The range from 0 to 1: (x - min) / (max - min).

    Nothing is added to the range: a row whose entries are all equal is 0/0 and so gives NaN, as the
    formula says. The derivative goes through the entries that are the smallest and the largest, too.

    Args:
        x: an input with core dimensions, or a function of one.
        over: the dimension to normalise over; by default the last one.

    Raises:
        SpecError: when `x` has no core dimension, or none that is called `over`.
    """
    axis = _axis("min_max", x, over)

    def entry(*at: Expr) -> Expr:
        k, of_row = _row(x, at, axis)
        smallest, largest = Min(of_row, k), Max(of_row, k)
        return (x[at] - smallest) / (largest - smallest)

    return Array(f"min_max({x.name})", x.dims, entry)


def _axis(function: str, x: Any, over: str | None) -> int:
    """The position in `x.dims` of the dimension to normalise over."""
    if not isinstance(x, Array):
        what = f"`{x}`" if isinstance(x, Expr) else repr(x)
        raise SpecError(
            f"{function} takes an array with a core dimension, and was given {what}; pass the input itself, "
            f'as in {function}(prediction) with prediction: Prediction["D"], and index the result'
        )
    if over is None:
        return len(x.dims) - 1
    if not isinstance(over, str):
        raise SpecError(f'{function} takes `over` as the name of a dimension, such as over="D", not {over!r}')
    dim = index(over).dim  # the caller's name for it, while this spec is called inside another one
    if dim not in x.dims:
        raise SpecError(
            f"{function} can't normalise `{x.name}` over {over}: its core dimensions are {', '.join(x.dims)}"
        )
    return x.dims.index(dim)


def _row(x: Array, at: tuple[Expr, ...], axis: int) -> tuple[Index, Expr]:
    """An index over the dimension `axis`, and the entry of `x` there with every other index as in `at`."""
    k = Index.fresh(x.dims[axis])
    return k, x[(*at[:axis], k, *at[axis + 1 :])]
