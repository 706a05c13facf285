"""The truth: the unrewritten formula at any precision, and its derivatives without deriving anything.

`Oracle` evaluates `Loss.formula` in mpmath with digits doubled until two evaluations agree to 25 digits.
Derivatives come from evaluating the same formula on hyper-dual numbers (`symloss.hyperdual`): for the
gradient along one entry, for the Hessian's diagonal twice along it, for the Hessian-vector product once
along it and once along the vector. Nothing here uses the derivation that it is there to check.

Inputs are exact: a float is the number that it holds, a float32 too. What the formula leaves open:

- A product with a zero factor is zero (0 log 0 = 0, masks), even if another factor is infinite or
  undefined. log 0 is -inf, c/0 is inf with the sign of c, 0/0 is undefined. A factor that is zero because a
  parameter has a value at which the spec names a limit is no mask: there such a product is singular.
- Piecewise is lazy, and its derivative is that of the branch that is taken.
- Subgradients are those of least norm: d|x| = 0 at 0; a power such as sqrt at 0 has derivative 0 where
  the inner derivative is 0 (the norm of the zero vector); a Max or Min over an index shares its derivative
  equally among ties, and of several expressions a constant one wins the tie, with derivative 0. A second
  derivative that is not finite at such a point is undefined.
- Where the formula is singular (0 * inf or 0/0 that depends on a prediction, an infinite derivative), the
  result is the limit from inside the predictions' domain, found by moving the predictions that are on the
  boundary (all of them, if none is) by 1e-150 and 1e-220 of the smallest number among the inputs and
  parameters (of 1, if none is smaller) in several directions. It is infinite if it grows, and undefined if
  the directions disagree. A limit that the spec names for a parameter's value
  comes first.
- Undefined results are NaN.

A zero, an infinity and a comparison of equal numbers may be rounding errors, so they are believed only
at 700 digits, which resolve 1 - exp(-1e3). Where an input is larger than that allows (1 - exp(-1e20)
has 4e19 digits), numbers are kept as sums of two that may be far apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from mpmath import mp, mpf
from sympy import Expr, Interval, Symbol

from symloss import index as ix
from symloss.evaluate import SUPPORTED, State, compile_formula
from symloss.hyperdual import INF, NAN, ZERO, HyperDual, flags, make, plain_value
from symloss.roles import Input, LabelIndex, Loss

__all__ = ["SUPPORTED", "Oracle", "evaluate_expr"]

START, SAFE, LIMIT = 40, 700, 3000
#: How far predictions are moved to find a limit, as a part of the smallest number that there is, so that no
#: step is beside a target of 1e-200 what 1 is; and digits that hold 1 less such a part.
STEPS, LIMIT_START = ("1e-150", "1e-220"), 500
AGREEMENT = mpf("1e-25")
#: Far below the smallest subnormal: 5e-324 / 1e30.
NOTHING = mpf("5e-354")
#: Beyond it, 1 + exp(-x) is 1 at `SAFE` digits.
HUGE = 1500.0


class _Reading(NamedTuple):
    """One evaluation: its result, and what `flags` said. If it is final, more digits change nothing."""

    value: Any
    final: bool
    sound: bool
    open: bool
    kink: bool


def _read(compute: Callable[[], Any], digits: int, wide: bool) -> _Reading:
    with mp.workdps(digits):
        flags.clear(wide)
        raw = compute()
        value = plain_value(raw)
        final = (type(raw) is int or flags.open) and not flags.lost
        sound = not flags.lost and value == value and bool(value)
        return _Reading(value, final, sound, flags.open, flags.kink)


def _digits(start: int, inputs: Iterable[Any]) -> int:
    """Digits to start with, so that 1 - x is not 1 for the smallest x: it would be 1 at twice as many too."""
    smallest = min((abs(x) for x in inputs if x != 0 and x == x), default=1)
    return start + max(0, -int(mp.floor(mp.log10(smallest))))


def _agree(a: Any, b: Any) -> bool:
    if not (mp.isfinite(a) and mp.isfinite(b)):
        return a == b or (a != a and b != b)
    return abs(a - b) <= AGREEMENT * abs(b) or max(abs(a), abs(b)) < NOTHING


def _settle(compute: Callable[[], Any], huge: bool, start: int = START) -> _Reading:
    """Double the digits until two evaluations agree; NaN if they never do."""
    digits, wide = start, False
    reading = _read(compute, digits, wide)
    while not reading.final and digits <= LIMIT:
        if not reading.sound and not wide and (huge or digits < SAFE):
            digits, wide = (digits, True) if huge else (SAFE, False)
            reading = _read(compute, digits, wide)
            if reading.final:
                break
        digits *= 2
        finer = _read(compute, digits, wide)
        believed = finer.sound or wide or digits > SAFE
        if believed and _agree(reading.value, finer.value):
            if finer.sound or wide or finer.value != finer.value:
                return finer
            # 1 - erf(500) has a hundred thousand digits in front of it: see what a sum of two numbers says.
            apart = _read(compute, digits, True)
            if not apart.sound:
                return finer
            finer, wide = apart, True
        reading = finer
    return reading if reading.final else reading._replace(value=NAN)


def _plain(value: Any) -> Any:
    """An input as a float, or as the mpf that it is (a perturbed input)."""
    return value if type(value) is mpf else float(value)


def _number(number: Any) -> Any:
    """A float as the number that it holds: a small whole one as an int, which makes its zeros exact."""
    return int(number) if abs(number) < 2**53 and number == int(number) else make(number)


class Oracle:
    """The value and the derivatives of a loss at one sample, in mpmath.

    Args:
        loss: the traced loss.

    Raises:
        UnsupportedError: when the formula has a function that can't be evaluated.
    """

    def __init__(self, loss: Loss) -> None:
        self.loss = loss
        self._predictions = frozenset(i.name for i in loss.predictions)
        self._run = compile_formula(loss.formula, self._predictions)
        self._limits = [
            (name, float(value), Oracle(replace(loss, formula=formula, limits=())))
            for name, value, formula in loss.limits
        ]

    def evaluate(
        self,
        kind: str,
        point: Mapping[str, Any],
        wrt: str | None = None,
        at: tuple[int, ...] = (),
        vector: Mapping[str, Any] | None = None,
    ) -> mpf:
        """The exact result, to at least 25 digits; NaN where it is undefined.

        Args:
            kind: "value", "grad", "hess" (the Hessian's diagonal) or "hvp".
            point: one sample: from each input's name to a float, an array of its core shape, or a label;
                parameters that are left out have their default.
            wrt: the prediction that is differentiated, and
            at: which of its entries (none for a scalar).
            vector: for "hvp", from each prediction to an array of its shape.
        """
        parts = {"value": None, "grad": "d1", "hess": "d12", "hvp": "d12"}
        if kind not in parts:
            raise ValueError(f"kind is one of {', '.join(parts)}; got {kind!r}")
        if kind != "value" and wrt not in self._predictions:
            raise ValueError(f"wrt is one of {', '.join(sorted(self._predictions))}; got {wrt!r}")
        if kind == "hvp" and vector is None:
            raise ValueError("hvp needs a vector")
        part = parts[kind]
        sample = _Sample(self.loss, point)
        if kind != "value":
            sample.seed(str(wrt), at, kind, vector)

        def compute(moves: Mapping[tuple[str, int], Any] | None = None) -> Any:
            result = self._run(sample.state(moves))
            if part is None:
                return result.v if type(result) is HyperDual else result
            return getattr(result, part) if type(result) is HyperDual else ZERO

        reading = _settle(compute, sample.huge, sample.digits)
        finite = mp.isfinite(reading.value)
        if not reading.open and (finite or (kind == "value" and reading.value == reading.value)):
            return reading.value
        for name, value, oracle in self._limits:
            if sample.parameters[name] == value:
                return oracle.evaluate(kind, point, wrt, at, vector)
        if kind != "value" and mp.isnan(self.evaluate("value", point)):
            return NAN
        if reading.kink and kind in ("hess", "hvp"):
            return reading.value if finite else NAN
        return self._limit(compute, sample)

    def _limit(self, compute: Callable[..., Any], sample: _Sample) -> mpf:
        """The limit as the predictions come from inside the domain; NaN if it depends on the way."""
        found: list[Any] = []
        for direction in sample.directions():
            near = []
            for step in STEPS:
                moves = {place: (weight, step) for place, weight in direction.items()}
                start = START if sample.huge else LIMIT_START + sample.digits - START
                near.append(_settle(partial(compute, moves), sample.huge, start).value)
            found.append(_trend(*near))
            if found[-1] != found[-1] or not (found[-1] == found[0] or _agree(found[-1], found[0])):
                return NAN
        return found[0] if found else NAN

    def expression(
        self,
        expr: Expr,
        point: Mapping[str, Any],
        indices: Mapping[ix.Index, int] | None = None,
        digits: int = 50,
    ) -> mpf:
        """`evaluate_expr` with this loss's predictions."""
        sizes = _Sample(self.loss, point).sizes
        return evaluate_expr(expr, {**sizes, **point}, indices, digits, self._predictions)


def _trend(far: Any, near: Any) -> Any:
    """Where a sequence goes, from two of its terms."""
    if far != far or near != near:
        return NAN
    if abs(near) < abs(far) * mpf("1e-30"):
        return mpf(0)
    if not mp.isfinite(near) or _agree(far, near):
        return near
    if abs(near) > abs(far):
        return INF if near > 0 else -INF
    return NAN


class _Sample:
    """One sample, ready to become the numbers of an evaluation."""

    def __init__(self, loss: Loss, point: Mapping[str, Any]) -> None:
        self.loss = loss
        self.sizes: dict[str, int] = {}
        self.strides: dict[str, tuple[int, ...]] = {}
        self.values: dict[str, list[Any]] = {}
        self.labels: dict[str, int] = {}
        self.seeds: dict[tuple[str, int], tuple[Any, Any]] = {}
        for given in loss.inputs:
            if given.kind == "label":
                self.labels[given.name] = int(point[given.name])
                continue
            array = np.asarray(point[given.name])
            self.sizes.update(zip(given.dims, array.shape, strict=True))
            self.strides[given.name] = _strides(array.shape)
            self.values[given.name] = [_plain(x) for x in array.ravel()]
        self.parameters = {p.name: float(point.get(p.name, p.default)) for p in loss.parameters}
        self.huge = any(abs(x) > HUGE for values in self.values.values() for x in values)
        self.limits = {name for name, value, _ in loss.limits if self.parameters[name] == float(value)}
        numbers = [x for values in self.values.values() for x in values]
        self.digits = _digits(START, numbers)
        self.smallest = min(abs(x) for x in (1, *numbers, *self.parameters.values()) if x != 0 and x == x)

    def seed(self, wrt: str, at: tuple[int, ...], kind: str, vector: Mapping[str, Any] | None) -> None:
        """Choose the two directions of the hyper-dual numbers."""
        place = (wrt, sum(i * step for i, step in zip(at, self.strides[wrt], strict=True)))
        if vector is not None and kind == "hvp":
            for name, array in vector.items():
                for i, x in enumerate(np.asarray(array).ravel()):
                    if x != 0:
                        self.seeds[name, i] = (ZERO, _plain(x))
        second = self.seeds[place][1] if place in self.seeds else 1 if kind == "hess" else ZERO
        self.seeds[place] = (1, second)

    def state(self, moves: Mapping[tuple[str, int], Any] | None = None) -> State:
        """The sample as numbers of the present precision, some predictions moved by a step."""
        inputs: dict[str, Any] = dict(self.labels)
        for given in self.loss.inputs:
            if given.kind == "label":
                continue
            numbers = [_number(x) for x in self.values[given.name]]
            for (name, i), (weight, step) in (moves or {}).items():
                if name == given.name:
                    numbers[i] = make(numbers[i]) + make(mpf(step) * self.smallest * weight)
            for (name, i), (first, second) in self.seeds.items():
                if name == given.name:
                    direction = second if type(second) is int else _number(second)
                    numbers[i] = HyperDual(numbers[i], first, direction, ZERO)
            inputs[given.name] = numbers if given.dims else numbers[0]
        for name, value in self.parameters.items():
            number = mpf(value)
            inputs[name] = int(number) if number == int(number) else number
        return State(inputs, self.strides, self.sizes, self.limits)

    def directions(self) -> Iterator[dict[tuple[str, int], int]]:
        """Ways into the domain: for the predictions on its boundary, or, if none is, for all of them."""
        predictions = [i for i in self.loss.inputs if i.kind == "prediction"]
        edge = {
            (given.name, i): side
            for given in predictions
            for i, x in enumerate(self.values[given.name])
            if (side := _inward(given, x))
        }
        if edge:
            yield edge
            yield {place: side * (1 + n % 3) for n, (place, side) in enumerate(edge.items())}
            return
        places = [(given.name, i) for given in predictions for i in range(len(self.values[given.name]))]
        yield dict.fromkeys(places, 1)
        yield dict.fromkeys(places, -1)
        yield {place: (1 + n % 3) * (-1) ** n for n, place in enumerate(places)}


def _inward(given: Input, x: float) -> int:
    """The sign of a step into the domain from a point on its boundary, or 0 inside."""
    if not isinstance(given.domain, Interval):
        return 0
    return 1 if x == float(given.domain.start) else -1 if x == float(given.domain.end) else 0


def _strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(np.prod(shape[axis + 1 :], dtype=int)) for axis in range(len(shape)))


def evaluate_expr(
    expr: Expr,
    point: Mapping[str, Any],
    indices: Mapping[ix.Index, int] | None = None,
    digits: int = 50,
    predictions: frozenset[str] = frozenset(),
) -> mpf:
    """An expression of any stage at one sample; atoms stand for their textbook definitions.

    Args:
        expr: the expression.
        point: from names of inputs, parameters, vectors (`vector_logits`) and, where no input tells
            them, sizes to numbers and arrays.
        indices: the values of free indices.
        digits: how many to start with; they are doubled until two evaluations agree.
        predictions: names of inputs whose zeros aren't masks: 0/0 made of them is NaN.

    Raises:
        UnsupportedError: when a function can't be evaluated.
    """
    run = compile_formula(expr, predictions)
    free = dict(indices or {})
    sizes = {
        name: int(value)
        for name, value in point.items()
        if np.ndim(value) == 0 and float(value) == int(value)
    }
    strides = {}
    labels = {s.name for s in expr.free_symbols if isinstance(s, LabelIndex)}
    for node in ix.walk(expr):
        if isinstance(node, ix.Entry):
            shape = np.shape(point[node.base.name])
            strides[node.base.name] = _strides(shape)
            sizes.update(
                (i.dim, n) for i, n in zip(node.indices, shape, strict=True) if isinstance(i, ix.Index)
            )
    used = {s.name for s in expr.atoms(Symbol)}

    def compute() -> Any:
        inputs: dict[str, Any] = {}
        for name, value in point.items():
            if name in labels:
                inputs[name] = int(value)
            elif name in used:
                array = [_number(_plain(x)) for x in np.ravel(value)]
                inputs[name] = array if np.ndim(value) else array[0]
        state = State(inputs, strides, sizes)
        state.index.update(free)
        return run(state)

    numbers = [float(x) for value in point.values() for x in np.ravel(value)]
    huge = any(abs(x) > HUGE for x in numbers)
    return _settle(compute, huge, _digits(digits, numbers)).value
