"""Formulas in float64 as kernels compute them: printed by the kernels' printer, with the kernels' functions."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
from numba import njit
from symloss_kernels import _lanes, _math
from symloss_kernels._lanes import LANES
from symloss_kernels._memory import load, put
from symloss_kernels._runs import run
from sympy import Basic, Symbol
from sympy.core.parameters import distribute

from symloss.index import Binder, Delta, Entry, Index, Max, Min, Product, Size, Sum
from symloss.primitive import ArgMax, primitive
from symloss.printers.scalar import ScalarPrinter

START = {Sum: 0.0, Product: 1.0, Max: -math.inf, Min: math.inf}


@cache
def function(name: str):
    """A function of the kernels, compiled."""
    found = getattr(_math, name, None) or getattr(_lanes, name)
    if not callable(found) or hasattr(found, "py_func"):
        return found
    return njit(lambda *args: found(*args), error_model="numpy")


@cache
def _on_lanes(name: str, arity: int):
    found = getattr(_math, name)

    @njit(error_model="numpy")
    def one(x, result):
        for start in range(0, x.size, LANES):
            place = run(start, x.size)
            put(result, (place,), found(load(x, (place,), None)), None)

    @njit(error_model="numpy")
    def two(x, y, result):
        for start in range(0, x.size, LANES):
            place = run(start, x.size)
            put(result, (place,), found(load(x, (place,), None), load(y, (place,), None)), None)

    @njit(error_model="numpy")
    def four(x, y, u, v, result):
        for start in range(0, x.size, LANES):
            place = run(start, x.size)
            a, b = load(x, (place,), None), load(y, (place,), None)
            put(result, (place,), found(a, b, load(u, (place,), None), load(v, (place,), None)), None)

    return {1: one, 2: two, 4: four}[arity]


def on_lanes(name: str, *arrays: Any) -> np.ndarray:
    """A function of the kernels on the lanes of arrays of one dtype."""
    result = np.empty_like(arrays[0])
    _on_lanes(name, len(arrays))(*arrays, result)
    return result


def in_floats(expr: Any, point: Mapping[str, Any], at: Mapping[Index, int] | None = None) -> float:
    """What `expr` comes to in float64; `at` has the values of its free indices."""
    sizes = {
        index.dim: size
        for node in _nodes(expr)
        if isinstance(node, Entry)
        for index, size in zip(node.indices, np.shape(point[node.base.name]), strict=True)
        if isinstance(index, Index)
    }
    sizes |= {name: int(size) for name, size in point.items() if np.ndim(size) == 0 and name.isupper()}
    with distribute(False), np.errstate(all="ignore"):
        return float(_number(primitive(expr), point, dict(at or {}), sizes))


def _nodes(expr: Any):
    yield expr
    for arg in expr.args:
        yield from _nodes(arg)


def _number(expr: Any, point: Mapping[str, Any], at: dict[Index, int], sizes: Mapping[str, int]) -> Any:
    values: dict[str, Any] = {}
    names: dict[Any, Symbol] = {}

    def leaf(node: Any) -> Any:
        """Numbers, rows and inputs become names."""
        if isinstance(node, (Binder, Entry, Index, Size, Delta)) or node.is_Symbol:
            if node not in names:
                names[node] = Symbol(f"v{len(names)}", real=True)
                values[names[node].name] = np.float64(_leaf(node, point, at, sizes))
            return names[node]
        if not node.args or not isinstance(node, Basic):
            return node
        args = [leaf(arg) for arg in node.args]
        return (
            node.func(*args, evaluate=False)
            if node.is_Mul or node.is_Pow or node.is_Relational
            else node.func(*args)
        )

    printer = ScalarPrinter()
    text = printer.text(leaf(expr))
    return np.float64(eval(text, {name: function(name) for name in printer.used}, values))


def _leaf(node: Any, point: Mapping[str, Any], at: dict[Index, int], sizes: Mapping[str, int]) -> Any:
    if isinstance(node, Entry):
        return np.asarray(point[node.base.name])[
            tuple(int(_number(i, point, at, sizes)) for i in node.indices)
        ]
    if isinstance(node, Size):
        return sizes[node.name]
    if isinstance(node, Delta):
        return float(_leaf(node.args[0], point, at, sizes) == _leaf(node.args[1], point, at, sizes))
    if isinstance(node, Index) and node in at:
        return at[node]
    if not isinstance(node, Binder):
        return point[node.name]
    (body, *_), fresh = node.open()
    places = itertools.product(*(range(sizes[index.dim]) for index in fresh))
    terms = [_number(body, point, at | dict(zip(fresh, place, strict=True)), sizes) for place in places]
    if isinstance(node, ArgMax):
        return int(np.argmax(terms))
    if isinstance(node, (Max, Min)):
        return (np.max if isinstance(node, Max) else np.min)(terms)
    if isinstance(node, Product):
        return np.prod(terms)
    return math.fsum(terms) if np.all(np.isfinite(terms)) else np.sum(terms)
