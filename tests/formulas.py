"""A formula in numbers: the few lines that evaluate SymPy plus index notation, without symloss's oracle."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
import sympy

from symloss.index import Entry, Index, Max, Min, Product, Reduction, Size, Sum
from symloss.spec import Loss

DIGITS = 30
REDUCE = {Sum: sympy.Add, Product: sympy.Mul, Max: sympy.Max, Min: sympy.Min}


def evaluate(loss: Loss, *inputs, formula: sympy.Expr | None = None, **parameters: float) -> float:
    """The value of a loss, or of another formula of its inputs, for one sample."""
    values = {p.name: p.default for p in loss.parameters}
    values |= {name: sympy.Float(number, DIGITS) for name, number in parameters.items()}
    sizes: dict[str, int] = {}
    for given, data in zip(loss.inputs, inputs, strict=True):
        values[given.name] = np.asarray(data)
        sizes.update(zip(given.dims, values[given.name].shape, strict=True))
    return float(_number(loss.formula if formula is None else formula, values, sizes, {}))


def _number(
    expr: sympy.Basic, values: Mapping, sizes: Mapping[str, int], at: Mapping[Index, int]
) -> sympy.Basic:
    if expr in at:
        return sympy.Integer(at[expr])
    if isinstance(expr, Entry):
        place = tuple(int(_number(index, values, sizes, at)) for index in expr.indices)
        return sympy.Float(float(values[expr.base.name][place]), DIGITS)
    if isinstance(expr, Size):
        return sympy.Integer(sizes[expr.name])
    if isinstance(expr, Reduction):
        (body,), fresh = expr.open()
        ranges = (range(sizes[index.dim]) for index in fresh)
        terms = [
            _number(body, values, sizes, {**at, **dict(zip(fresh, place, strict=True))})
            for place in itertools.product(*ranges)
        ]
        return REDUCE[type(expr)](*terms)
    if isinstance(expr, sympy.Piecewise):
        for branch, condition in expr.args:
            if _number(condition, values, sizes, at) == sympy.true:
                return _number(branch, values, sizes, at)
        raise ValueError(f"no branch of {expr} holds")
    if isinstance(expr, sympy.Symbol):
        value = values[expr.name]
        if isinstance(expr, Index):
            return sympy.Integer(int(value))
        return value if isinstance(value, sympy.Expr) else sympy.Float(float(value), DIGITS)
    if not expr.args:
        return expr
    return expr.func(*(_number(arg, values, sizes, at) for arg in expr.args))
