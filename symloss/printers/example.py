"""A short program that calls a loss on small inputs, built from its signature and its domains."""

from __future__ import annotations

import math
from typing import Any

from sympy import FiniteSet, Interval, Set

from symloss.roles import Input, Loss

#: Sizes of core dimensions in the example, in order of appearance: unequal, so that a mix-up shows.
SIZES = (3, 2, 4)
#: Entries of inputs without a bounded domain: both signs, no two equal, in an order that is not sorted.
REALS = (1.5, -0.4, 0.3, 2.1, -1.2, 0.8, 0.1, -2.3, 1.1, 0.6, -0.7, 1.9, -1.6, 0.2, 2.4, -0.9)
#: Rows of probabilities by their length.
ROWS = {
    1: ((1.0,), (1.0,)),
    2: ((0.75, 0.25), (0.4, 0.6)),
    3: ((0.7, 0.2, 0.1), (0.25, 0.25, 0.5)),
    4: ((0.4, 0.3, 0.2, 0.1), (0.1, 0.2, 0.3, 0.4)),
}
#: The most numbers that an input is written out with.
LITERAL = 16


def example(loss: Loss, package: str = "symloss_kernels") -> list[str]:
    """The lines of a Python program that prints the value and the gradients of a loss.

    Args:
        loss: the loss that is called.
        package: the importable package that its kernels are in.
    """
    alias = "".join(part[0] for part in package.split("_") if part) or package
    samples = 2 if all(len(item.dims) < 2 or _is_table(loss, item) for item in loss.inputs) else 1
    lines = ["import numpy as np", "", f"import {package} as {alias}", ""]
    lines += [
        f"{item.name} = {_array(loss, item, position, samples)}" for position, item in enumerate(loss.inputs)
    ]
    arguments = ", ".join(item.name for item in loss.inputs)
    gradients = [f"grad_{item.name}" for item in loss.predictions] if len(loss.predictions) > 1 else ["grad"]
    received = f"({', '.join(gradients)})" if len(gradients) > 1 else gradients[0]
    lines += ["", f"value, {received} = {alias}.{loss.name}.value_and_grad({arguments})"]
    return lines + [f'print("{name} =", {name})' for name in ("value", *gradients)]


def _is_table(loss: Loss, item: Input) -> bool:
    """Whether an input is a table of rows that labels pick from, shared by all samples."""
    picked = {dim for other in loss.inputs if other.kind == "label" for dim in other.role.dims}
    return len(item.dims) > 1 and item.dims[0] in picked


def _array(loss: Loss, item: Input, position: int, samples: int) -> str:
    """An expression that makes an input."""
    sizes = sizes_of(loss)
    if item.kind == "label":
        labels = [(2 * sample) % sizes[item.role.dims[0]] for sample in range(samples)]
        return f"np.array({labels})" if samples > 1 else str(labels[0])
    shape = [sizes[dim] for dim in item.dims]
    if samples > 1 and not _is_table(loss, item):
        shape = [samples, *shape]
    count = math.prod(shape)
    if count > LITERAL:
        start, stop = _ends(item, position)
        return f"np.linspace({start}.0, {stop}.0, {count}).reshape({', '.join(map(str, shape))})"
    numbers = _numbers(item, position, shape)
    return f"np.array({_nested(numbers, shape)})" if shape else repr(numbers[0])


def sizes_of(loss: Loss) -> dict[str, int]:
    """The size of each core dimension in examples."""
    return dict(zip(loss.dims, (SIZES[i % len(SIZES)] for i in range(len(loss.dims))), strict=True))


def sample(loss: Loss) -> dict[str, Any]:
    """One sample: each input as a number or as nested lists of its core shape, as `example` starts."""
    sizes = sizes_of(loss)
    values: dict[str, Any] = {}
    for position, item in enumerate(loss.inputs):
        shape = [sizes[dim] for dim in item.dims]
        count = math.prod(shape)
        if item.kind == "label":
            values[item.name] = 0
        elif count > LITERAL:
            start, stop = _ends(item, position)
            step = (stop - start) / (count - 1)
            values[item.name] = _shaped([round(start + step * i, 6) for i in range(count)], shape)
        else:
            values[item.name] = _shaped(_numbers(item, position, shape), shape)
    return values


def _ends(item: Input, position: int) -> tuple[int, int]:
    """Where the entries of a large input start and stop."""
    low, high = (0, 1) if isinstance(item.domain, (Interval, FiniteSet)) else (-1, 1)
    return (low, high) if position % 2 == 0 else (high, low)


def _numbers(item: Input, position: int, shape: list[int]) -> list[float]:
    """The entries of a small input, in C order."""
    count = math.prod(shape)
    if item.dims and _is_probability(item.domain) and shape[-1] in ROWS:
        rows = [ROWS[shape[-1]][(row + position) % 2] for row in range(count // shape[-1])]
        return [number for row in rows for number in row]
    return [_number(item.domain, position + 3 * position * (position > 0) + i) for i in range(count)]


def _shaped(numbers: list[float], shape: list[int]) -> Any:
    """Numbers in nested lists of a shape; of no dimension, the number."""
    if not shape:
        return numbers[0]
    step = len(numbers) // shape[0]
    return [_shaped(numbers[i * step : (i + 1) * step], shape[1:]) for i in range(shape[0])]


def _is_probability(domain: Set) -> bool:
    return domain == Interval(0, 1)


def _number(domain: Set, position: int) -> float:
    """A number in `domain`; other positions give other numbers."""
    real = REALS[position % len(REALS)]
    if isinstance(domain, FiniteSet):
        members = sorted(map(float, domain), reverse=True)
        return members[position % len(members)]
    if not isinstance(domain, Interval):
        return real
    low, high = domain.start, domain.end
    if low.is_finite and high.is_finite:
        share = round((real + 3) / 6, 2)  # strictly between 0 and 1
        return round(float(low + (high - low) * share), 4)
    if low.is_finite:
        return round(float(low) + abs(real), 4)
    return round(float(high) - abs(real), 4) if high.is_finite else real


def _nested(numbers: list[float], shape: list[int]) -> str:
    """Numbers as a nested list of a given shape, as Python writes it."""
    return repr(_shaped(numbers, shape))
