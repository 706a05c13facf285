"""Points at which kernels are held against the oracle: extremes, near ties, and draws over the floats.

Everything is deterministic for a seed, inside the inputs' and the parameters' domains, and finite.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from sympy import FiniteSet, Interval, Set

from symloss.roles import Input, Loss
from symloss.ulp import from_ordinal, to_ordinal

#: Where exp, log1p and their cut-offs change behaviour in float32 and float64, and sizes that overflow.
MAGNITUDES = (
    1e-30, 1e-20, 1e-8, 1e-4, 0.1, 0.5, 1.0, 2.0, 3.0, 7.97, 13.99, 16.64, 18.02, 33.23, 36.7, 36.74, 36.9,
    37.0, 40.0, 88.7, 88.72, 103.97, 709.0, 709.78, 745.0, 745.13, 1e3, 1e5, 1e20, 1e30, 1e100, 1e200, 1e300,
)  # fmt: skip
#: Inside the unit interval.
FRACTIONS = (1e-300, 1e-30, 1e-16, 1e-8, 1e-3, 0.1, 0.25, 0.5, 0.75, 0.9, 0.999, 1 - 1e-6, 1 - 1e-12)
TYPICAL = (0.5, 0.1, 2.0, 3.0, 1e-3, 10.0)
ROW_SIZES = (3, 10, 1, 2, 33, 3, 10, 2, 33, 1000)
SMALL_SIZES = (2, 3, 1, 4)


class Point(NamedTuple):
    """One sample with parameters, and a vector for the Hessian-vector product; `why` says what it tries."""

    inputs: dict[str, Any]
    parameters: dict[str, float]
    vectors: dict[str, Any]
    why: str

    @property
    def values(self) -> dict[str, Any]:
        """Inputs and parameters together, as the oracle takes them."""
        return {**self.inputs, **self.parameters}


def points(
    loss: Loss, dtype: Any, count: int, seed: int = 0, sizes: Sequence[Mapping[str, int]] | None = None
) -> list[Point]:
    """Draw points of a loss.

    Args:
        loss: the traced loss.
        dtype: float32 or float64, the precision of the inputs.
        count: how many; half of them are extremes.
        seed: the same seed gives the same points.
        sizes: sizes of the core dimensions to use in turn; by default rows of 1 to 1000 entries, and
            small arrays where an input has several dimensions.
    """
    draw = _Draw(loss, np.dtype(dtype), np.random.default_rng([seed, count]))
    cases = draw.rows(count, sizes) if loss.dims else draw.scalars(count)
    settings = parameter_sets(loss)
    found = []
    for n, (why, inputs) in enumerate(itertools.islice(cases, count)):
        varied = settings[1:] or settings
        parameters = settings[0] if n % 2 == 0 else varied[n // 2 % len(varied)]
        found.append(Point(inputs, dict(parameters), draw.vectors(inputs), why))
    return found


def parameter_sets(loss: Loss) -> list[dict[str, float]]:
    """The defaults, then one parameter at a time at other values: closed bounds, limits, typical ones."""
    defaults = {p.name: float(p.default) for p in loss.parameters}
    sets = [defaults]
    for parameter in loss.parameters:
        bounds = [b for b in (parameter.domain.inf, parameter.domain.sup) if b.is_finite]
        limits = [value for name, value, _ in loss.limits if name == parameter.name]
        for value in [*map(float, [*bounds, *limits]), *TYPICAL]:
            setting = {**defaults, parameter.name: value}
            if _inside(value, parameter.domain) and setting not in sets:
                sets.append(setting)
    return sets


@functools.cache
def _bounds(domain: Set) -> tuple[float, float, bool, bool]:
    """Bounds of an interval as floats, and whether they are left out; asking SymPy each time is slow."""
    if not isinstance(domain, Interval):
        return -np.inf, np.inf, True, True
    return float(domain.start), float(domain.end), bool(domain.left_open), bool(domain.right_open)


def _inside(value: float, domain: Set) -> bool:
    if isinstance(domain, FiniteSet):
        return value in [float(x) for x in domain]
    low, high, low_open, high_open = _bounds(domain)
    above = value > low if low_open else value >= low
    below = value < high if high_open else value <= high
    return bool(np.isfinite(value)) and above and below


class _Draw:
    """The random part, and what depends on the dtype."""

    def __init__(self, loss: Loss, dtype: np.dtype, rng: np.random.Generator) -> None:
        self.loss = loss
        self.dtype = dtype
        self.rng = rng
        self.specials = {i.name: self._specials(i) for i in loss.inputs if i.kind != "label"}

    def _specials(self, given: Input) -> list[Any]:
        """The extremes of an input's domain, each with its neighbours."""
        if isinstance(given.domain, FiniteSet):
            return [self.dtype.type(float(x)) for x in sorted(given.domain)]
        tiny = from_ordinal(1, self.dtype)
        wanted: list[Any] = [0.0, tiny, from_ordinal(3, self.dtype), np.finfo(self.dtype).tiny]
        wanted += [*MAGNITUDES, *(FRACTIONS if isinstance(given.domain, Interval) else ())]
        wanted += [float(p.default) for p in self.loss.parameters] + [*TYPICAL]
        if isinstance(given.domain, Interval):
            wanted += [float(b) for b in (given.domain.inf, given.domain.sup) if b.is_finite]
        ordinals: dict[int, None] = {}
        for x in wanted:
            if abs(float(x)) < float(np.finfo(self.dtype).max) / 4:
                place = to_ordinal(x, self.dtype)
                for near in (place, place + 1, place - 1):
                    ordinals[near] = ordinals[-near] = None
        values = [from_ordinal(o, self.dtype) for o in ordinals]
        if _inside(-1e-3, given.domain):
            values.append(self.dtype.type(-0.0))
        return [x for x in values if _inside(float(x), given.domain)]

    def special(self, given: Input) -> Any:
        """One of the extremes."""
        return self.specials[given.name][self.rng.integers(len(self.specials[given.name]))]

    def anywhere(self, given: Input) -> Any:
        """A float drawn over the ordinals of the domain."""
        if isinstance(given.domain, FiniteSet):
            return self.special(given)
        low, high = -float(np.finfo(self.dtype).max) / 4, float(np.finfo(self.dtype).max) / 4
        if isinstance(given.domain, Interval):
            low, high = max(low, float(given.domain.inf)), min(high, float(given.domain.sup))
        while True:
            x = from_ordinal(
                int(self.rng.integers(to_ordinal(low, self.dtype), to_ordinal(high, self.dtype) + 1)),
                self.dtype,
            )
            if _inside(float(x), given.domain):
                return x

    def moderate(self, given: Input, scale: float = 2.0) -> Any:
        """An ordinary value: normal, or uniform in a bounded domain."""
        if isinstance(given.domain, FiniteSet):
            return self.special(given)
        while True:
            if isinstance(given.domain, Interval) and given.domain.measure.is_finite:
                x = self.dtype.type(self.rng.uniform(float(given.domain.inf), float(given.domain.sup)))
            else:
                x = self.dtype.type(self.rng.normal() * scale)
                x = x if _inside(float(x), given.domain) else abs(x)
            if _inside(float(x), given.domain):
                return x

    def near(self, given: Input, x: Any) -> Any:
        """A value of the domain near x: one ulp away, or by a small relative step."""
        if isinstance(given.domain, FiniteSet):
            return self.special(given)
        if self.rng.random() < 0.3:
            y = from_ordinal(to_ordinal(x, self.dtype) + int(self.rng.choice([-1, 1])), self.dtype)
        else:
            y = self.dtype.type(float(x) * (1 + self.rng.choice([-1, 1]) * 10 ** -self.rng.uniform(3, 12)))
        return y if _inside(float(y), given.domain) else self.moderate(given)

    def scalars(self, count: int) -> Iterator[tuple[str, dict[str, Any]]]:
        """Points of an element-wise loss."""
        first, *rest = self.loss.inputs
        extremes = []
        for x in self.specials[first.name]:
            for n in range(6):
                others = {given.name: self._beside(given, x, n) for given in rest}
                extremes.append(("extreme", {first.name: x, **others}))
        self.rng.shuffle(extremes)
        yield from extremes[: count // 2]
        for n in itertools.count():
            kind = ("moderate", "near", "anywhere", "confident", "special")[n % 5]
            x = (
                self.anywhere(first)
                if kind == "anywhere"
                else self.special(first)
                if kind == "special"
                else self.moderate(first, 20.0 if kind == "confident" else 2.0)
            )
            inputs = {first.name: x}
            for given in rest:
                inputs[given.name] = (
                    self.near(given, x)
                    if kind == "near"
                    else self.anywhere(given)
                    if kind == "anywhere"
                    else self.special(given)
                    if kind == "special"
                    else self.moderate(given)
                )
            yield kind, inputs

    def _beside(self, given: Input, x: Any, n: int) -> Any:
        """The n-th companion of an extreme x: 0, the same, its neighbour, its negative, ordinary, extreme."""
        if isinstance(given.domain, FiniteSet):
            return self.specials[given.name][n % len(self.specials[given.name])]
        choices = (self.dtype.type(0), x, from_ordinal(to_ordinal(x, self.dtype) + 1, self.dtype), -x)
        if n < 4 and _inside(float(choices[n]), given.domain):
            return choices[n]
        return self.moderate(given) if n % 2 == 0 else self.special(given)

    def rows(
        self, count: int, sizes: Sequence[Mapping[str, int]] | None
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Points of a loss with core dimensions."""
        several = any(len(i.role.dims) > 1 for i in self.loss.inputs)
        ladder = SMALL_SIZES if several else ROW_SIZES
        patterns = (*REAL_ROWS, "same", "near")
        for n in itertools.count():
            if sizes:
                size = dict(sizes[n % len(sizes)])
            else:
                size = {
                    dim: ladder[(n + n // len(ladder) * m + m) % len(ladder)]
                    for m, dim in enumerate(self.loss.dims)
                }
                # a thousand entries cost the oracle a second a sample, so only every fifth turn has them
                size = {d: 33 if k == 1000 and n // len(ladder) % 5 else k for d, k in size.items()}
            why = patterns[(n + n // len(patterns)) % len(patterns)]
            yield why, self._row(why, size)

    def _row(self, why: str, size: Mapping[str, int]) -> dict[str, Any]:
        inputs: dict[str, Any] = {}
        for given in self.loss.inputs:
            if given.kind == "label":
                continue
            shape = tuple(size[dim] for dim in given.dims)
            alike = {i.name for i in self.loss.inputs if i.domain == given.domain}
            relatives = [x for name, x in inputs.items() if name in alike and np.shape(x) == shape]
            if not shape:
                inputs[given.name] = self.special(given) if self.rng.random() < 0.5 else self.moderate(given)
            elif why in ("same", "near") and relatives:
                near = relatives[0].copy()
                if why == "near":
                    near = np.array([self.near(given, x) for x in near.ravel()], self.dtype).reshape(shape)
                inputs[given.name] = near
            elif isinstance(given.domain, Interval) and given.domain.measure.is_finite:
                inputs[given.name] = self._within(given, self._probabilities(shape))
            else:
                kind = why if why in REAL_ROWS else "normal"
                if relatives and self.rng.random() < 0.5:
                    kind = "normal"
                inputs[given.name] = self._reals(kind, given, shape)
        for given in self.loss.inputs:
            if given.kind == "label":
                inputs[given.name] = self._label(given, inputs, size)
        return {given.name: inputs[given.name] for given in self.loss.inputs}

    def _label(self, given: Input, inputs: Mapping[str, Any], size: Mapping[str, int]) -> int:
        (dim,) = given.role.dims
        rows = [inputs[i.name] for i in self.loss.inputs if i.kind != "label" and i.dims == (dim,)]
        choices = [0, size[dim] - 1, int(self.rng.integers(size[dim]))]
        choices += [int(f(row)) for row in rows for f in (np.argmax, np.argmin)]
        return choices[self.rng.integers(len(choices))]

    def _probabilities(self, shape: tuple[int, ...]) -> np.ndarray:
        """A distribution over the last dimension: inside, with zeros, one-hot, uniform, or almost one-hot."""
        size = shape[-1]
        kind = (
            self.rng.integers(6) if size < 100 else self.rng.choice([0, 4, 5])
        )  # zeros cost the oracle limits
        p = self.rng.dirichlet(np.full(size, 0.1 if kind == 1 else 1.0), shape[:-1])
        if kind == 2:
            p = p * (self.rng.random(shape) < 0.6)
        elif kind == 3:
            p = np.broadcast_to(np.eye(size)[self.rng.integers(size)], shape).copy()
        elif kind == 4:
            p = np.full(shape, 1.0 / size)
        elif kind == 5:
            tail = 10 ** -self.rng.uniform(3, 300 if self.dtype.itemsize == 8 else 42)
            p = np.where(np.arange(size) == self.rng.integers(size), 1 - tail, tail * p)
        with np.errstate(under="ignore"):
            return np.clip(np.nan_to_num(p), 0, 1).astype(self.dtype)

    def _within(self, given: Input, x: np.ndarray) -> np.ndarray:
        """Entries brought inside the domain: from an end that it leaves out by an ulp, others anywhere."""
        low, high, _, _ = _bounds(given.domain)
        inward = np.nextafter(x, self.dtype.type((low + high) / 2))
        for place in np.ndindex(x.shape):
            if not _inside(float(x[place]), given.domain):
                moved = inward[place]
                x[place] = moved if _inside(float(moved), given.domain) else self.moderate(given)
        return x

    def _reals(self, kind: str, given: Input, shape: tuple[int, ...]) -> np.ndarray:
        """An array of reals that follows a pattern."""
        size = int(np.prod(shape, dtype=int))
        x = self.rng.normal(size=size)
        big = float(abs(self.special(given)))
        if kind == "wide":
            x = x * 20
        elif kind == "equal":
            x = np.full(size, big * self.rng.choice([-1, 1]))
        elif kind in ("descending", "ascending"):
            x = np.sort(x * min(big, 1e3))[:: -1 if kind == "descending" else 1]
        elif kind == "peak":
            x = np.where(np.arange(size) == size // 2, 10 * size, x)
        elif kind == "one hot":
            x = np.where(np.arange(size) == self.rng.integers(size), big, self.rng.choice([0.0, -big]))
        elif kind == "tie":
            x = np.where(self.rng.random(size) < 0.5, x.max(), x)
        elif kind == "ulp apart":
            base = to_ordinal(x[0], self.dtype)
            x = np.array([from_ordinal(base + int(d), self.dtype) for d in self.rng.integers(-1, 2, size)])
        elif kind == "special":
            x = np.array([self.special(given) for _ in range(size)])
        elif kind == "anywhere":
            x = np.array([self.anywhere(given) for _ in range(size)])
        elif kind == "tiny":
            x = x * (1e-300 if self.dtype.itemsize == 8 else 1e-40)
        elif kind == "huge":
            x = x * (1e200 if self.dtype.itemsize == 8 else 1e30)
        elif kind == "confident":
            x = x + np.where(np.arange(size) == self.rng.integers(size), self.rng.uniform(20, 80), 0.0)
        row = np.asarray(x, self.dtype)
        allowed = [v if _inside(float(v), given.domain) else self.moderate(given) for v in row]
        return np.array(allowed, self.dtype).reshape(shape)

    def vectors(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """A direction for the Hessian-vector product, shaped like the predictions."""
        return {
            i.name: self.rng.normal(size=np.shape(inputs[i.name])).astype(self.dtype)[()]
            for i in self.loss.predictions
        }


REAL_ROWS = (
    "normal", "confident", "one hot", "equal", "descending", "wide", "special", "ascending", "tie", "peak",
    "ulp apart", "tiny", "huge", "anywhere",
)  # fmt: skip
