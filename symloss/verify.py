"""Kernels against the oracle, through the public API, in ulp.

For a problem that is well conditioned the forward error counts: how far the result is from the exact one,
in ulp. Where the condition number, sum |x_i df/dx_i| / |f| over the float inputs (not the parameters),
is above 2, no algorithm that rounds its input once could keep that, and the mixed error counts:
|error| / (ulp(f) + sum |df/dx_i| ulp(x_i)). The condition is computed with the oracle too, by moving each
input by 1e-12 of itself, and only where the forward error misses its bound. For long rows it is computed
from some of the inputs, which makes the test stricter.

Where the exact result is undefined nothing is compared; where it is infinite the kernel must give that
infinity.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from mpmath import mp, mpf
from sympy import FiniteSet, Interval

from symloss.oracle import Oracle
from symloss.roles import Loss
from symloss.sampler import Point, points
from symloss.ulp import ulp, ulp_error

ENTRIES = ("value", "grad", "value_and_grad", "grad_and_hess", "hvp")
#: Above it a problem is ill conditioned.
CONDITION = 2.0
#: Of longer rows only some entries are compared, and perturbed for the condition number.
MANY = 12
KEPT_FAILURES = 5


class Bounds(NamedTuple):
    """The largest errors that pass, in ulp."""

    forward: float
    mixed: float


#: Numbers whose binary exponent is beyond this are told by it alone: their decimal one has too many digits.
FAR = 10_000


class Failure(NamedTuple):
    """A result that misses its bound."""

    output: str
    entry: str
    where: str
    point: Point
    at: tuple[int, ...]
    got: float
    exact: mpf
    forward: float
    mixed: float | None
    condition: float | None

    def __str__(self) -> str:
        error = f"{self.forward:.3g} ulp" if self.mixed is None else f"{self.mixed:.3g} ulp (mixed)"
        far = mp.isfinite(self.exact) and self.exact != 0 and abs(mp.mag(self.exact)) > FAR
        exact = f"a number near 2^{mp.nstr(mpf(mp.mag(self.exact)), 3)}" if far else mp.nstr(self.exact, 20)
        got = f"{self.output} ({self.entry}) is {self.got!r} for {exact}"
        return f"{got}: {error} at {self.where}"


@dataclass(frozen=True)
class Row:
    """One output in one precision; errors are in ulp."""

    output: str
    dtype: str
    count: int
    forward: float
    mixed: float
    bounds: Bounds
    worst: str
    worst_mixed: str
    undefined: int
    failed: int

    @property
    def passed(self) -> bool:
        """Whether every result kept its bound, and there was one."""
        return self.failed == 0 and self.count > 0


@dataclass(frozen=True)
class Report:
    """What was found for a loss in one precision."""

    loss: str
    dtype: str
    rows: tuple[Row, ...]
    failures: tuple[Failure, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every output passed, and there was one."""
        return bool(self.rows) and all(row.passed for row in self.rows)


def bounds(loss: Loss, dtype: Any) -> Bounds:
    """What is promised: 4 ulp in float64 and 2 in float32 element-wise, mixed 4; 8 for rows."""
    if loss.dims:
        return Bounds(8.0, 8.0)
    return Bounds(4.0 if np.dtype(dtype) == np.float64 else 2.0, 4.0)


def verify(
    loss: Loss,
    runtime_loss: Any,
    dtype: Any,
    entries: Sequence[str] = ENTRIES,
    count: int = 400,
    seed: int = 0,
    limits: Bounds | None = None,
) -> Report:
    """Compare the kernels of a loss with the exact results.

    Args:
        loss: the traced loss.
        runtime_loss: the object with the methods value, grad, value_and_grad, grad_and_hess, hvp.
        dtype: float32 or float64.
        entries: the methods to call.
        count: how many points; element-wise losses are called with many points at once.
        seed: of the points.
        limits: other bounds than those of `bounds`.
    """
    kind = np.dtype(dtype)
    checker = _Checker(loss, runtime_loss, kind, tuple(entries), limits or bounds(loss, kind), seed)
    for group in _groups(points(loss, kind, count, seed)):
        checker.check(group)
    return checker.report()


def _groups(drawn: Sequence[Point]) -> Iterator[list[Point]]:
    """Points that one call can take: the same shapes, the same parameters."""
    groups: dict[Any, list[Point]] = {}
    for point in drawn:
        shapes = tuple(np.shape(x) for x in point.inputs.values())
        groups.setdefault((shapes, tuple(point.parameters.items())), []).append(point)
    yield from groups.values()


@dataclass
class _Tally:
    """What is known of one output so far."""

    count: int = 0
    undefined: int = 0
    failed: int = 0
    forward: float = 0.0
    mixed: float = 0.0
    worst: str = ""
    worst_mixed: str = ""
    failures: list[Failure] = field(default_factory=list)


class _Checker:
    def __init__(
        self, loss: Loss, runtime: Any, dtype: np.dtype, entries: tuple[str, ...], limits: Bounds, seed: int
    ) -> None:
        self.loss, self.runtime, self.dtype, self.entries, self.bounds = loss, runtime, dtype, entries, limits
        self.oracle = Oracle(loss)
        self.rng = np.random.default_rng(seed)
        self.tallies: dict[str, _Tally] = {}

    def report(self) -> Report:
        """The rows, in the order of the outputs."""
        rows = tuple(
            Row(
                name,
                self.dtype.name,
                t.count,
                t.forward,
                t.mixed,
                self.bounds,
                t.worst,
                t.worst_mixed,
                t.undefined,
                t.failed,
            )
            for name, t in self.tallies.items()
        )
        failures = tuple(failure for tally in self.tallies.values() for failure in tally.failures)
        return Report(self.loss.name, self.dtype.name, rows, failures)

    def check(self, group: Sequence[Point]) -> None:
        """Call the kernels once for a group of points and compare."""
        results = self._call(group)
        for n, point in enumerate(group):
            for kind, wrt, found in results:
                name = kind if wrt is None else f"{kind}_{wrt}"
                for at in self._places(point, wrt):
                    got = {entry: float(array[(n, *at)]) for entry, array in found.items()}
                    self._compare(name, kind, wrt, point, at, got)

    def _call(self, group: Sequence[Point]) -> list[tuple[str, str | None, dict[str, np.ndarray]]]:
        """From each output to the arrays that the entries gave for it."""
        arrays = [np.stack([np.asarray(p.inputs[i.name]) for p in group]) for i in self.loss.inputs]
        parameters = group[0].parameters
        names = [i.name for i in self.loss.predictions]
        found: dict[tuple[str, str | None], dict[str, np.ndarray]] = {("value", None): {}}
        for kind in ("grad", "hess", "hvp"):
            found.update({(kind, name): {} for name in names})

        def keep(kind: str, entry: str, result: Any) -> None:
            if kind == "value":
                found["value", None][entry] = result
                return
            parts = (result,) if len(names) == 1 else tuple(result)
            for name, part in zip(names, parts, strict=True):
                found[kind, name][entry] = part

        with np.errstate(all="ignore"):
            for entry in self.entries:
                method = getattr(self.runtime, entry)
                if entry == "hvp":
                    vectors = tuple(np.stack([np.asarray(p.vectors[name]) for p in group]) for name in names)
                    vector = vectors[0] if len(vectors) == 1 else vectors
                    keep("hvp", entry, method(*arrays, vector=vector, reduction="none", **parameters))
                    continue
                result = method(*arrays, reduction="none", **parameters)
                kinds = entry.split("_and_")
                for kind, part in zip(kinds, result if len(kinds) > 1 else (result,), strict=True):
                    keep(kind, entry, part)
        return [(kind, wrt, arrays) for (kind, wrt), arrays in found.items() if arrays]

    def _places(self, point: Point, wrt: str | None) -> list[tuple[int, ...]]:
        """The entries to compare: all, or of long rows the interesting ones."""
        if wrt is None:
            return [()]
        array = np.asarray(point.inputs[wrt])
        if array.size <= MANY:
            return list(np.ndindex(array.shape))
        chosen = {
            0,
            array.size - 1,
            int(np.argmax(array)),
            int(np.argmin(array)),
            int(self.rng.integers(array.size)),
        }
        if array.ndim:
            step = array.size // array.shape[0]
            chosen |= {
                int(point.inputs[i.name]) * step
                for i in self.loss.inputs
                if i.kind == "label" and int(point.inputs[i.name]) < array.shape[0]
            }
        return [tuple(int(i) for i in np.unravel_index(flat, array.shape)) for flat in sorted(chosen)]

    def _compare(
        self,
        name: str,
        kind: str,
        wrt: str | None,
        point: Point,
        at: tuple[int, ...],
        got: Mapping[str, float],
    ) -> None:
        tally = self.tallies.setdefault(name, _Tally())
        vector = point.vectors if kind == "hvp" else None
        exact = self.oracle.evaluate(kind, point.values, wrt, at, vector)
        if exact != exact:
            tally.undefined += 1
            return
        tally.count += 1
        errors = {entry: ulp_error(x, exact, self.dtype) for entry, x in got.items()}
        entry = max(errors, key=lambda e: errors[e])
        forward = errors[entry]
        condition = mixed = None
        if forward > self.bounds.forward and np.isfinite(got[entry]):
            condition, spread = self._condition(kind, wrt, point, at, exact)
            if condition > CONDITION:
                step = ulp(exact, self.dtype)
                mixed = float(abs(mpf(got[entry]) - exact) / (step + spread))
        where = ""
        if mixed is None and forward > tally.forward:
            tally.forward, tally.worst = forward, (where := describe(point, at))
        if mixed is not None and mixed > tally.mixed:
            tally.mixed, tally.worst_mixed = mixed, (where := describe(point, at))
        if (mixed is None and forward > self.bounds.forward) or (
            mixed is not None and mixed > self.bounds.mixed
        ):
            tally.failed += 1
            where = where or describe(point, at)
            tally.failures.append(
                Failure(name, entry, where, point, at, got[entry], exact, forward, mixed, condition)
            )
            tally.failures.sort(key=lambda f: -(f.forward if f.mixed is None else f.mixed))
            del tally.failures[KEPT_FAILURES:]

    def _condition(
        self, kind: str, wrt: str | None, point: Point, at: tuple[int, ...], exact: mpf
    ) -> tuple[float, mpf]:
        """The relative condition number, and how far the result moves if each input moves by an ulp."""
        relative, spread = mpf(0), mpf(0)
        for group, name, flat in self._movable(point, kind, wrt, at):
            x = mpf(float(np.asarray(getattr(point, group)[name]).ravel()[flat]))
            slope = self._slope(kind, wrt, point, at, exact, group, name, flat, x)
            if not mp.isfinite(slope):
                continue
            relative += abs(x * slope)
            spread += abs(slope) * ulp(x, self.dtype)
        return float(relative / abs(exact)) if exact else float("inf") if relative else 0.0, spread

    def _movable(
        self, point: Point, kind: str, wrt: str | None, at: tuple[int, ...]
    ) -> Iterator[tuple[str, str, int]]:
        """The float inputs that can be wrong by an ulp; of many, some."""
        for given in self.loss.inputs:
            if given.kind == "label" or isinstance(given.domain, FiniteSet):
                continue
            array = np.asarray(point.inputs[given.name])
            for flat in self._some(point, array, at if given.name == wrt else ()):
                yield "inputs", given.name, flat
        if kind == "hvp":
            for name, vector in point.vectors.items():
                for flat in self._some(point, np.asarray(vector), at if name == wrt else ()):
                    yield "vectors", name, flat

    def _some(self, point: Point, array: np.ndarray, at: tuple[int, ...]) -> list[int]:
        if array.size <= MANY:
            return list(range(array.size))
        chosen = {0, array.size - 1, int(np.argmax(array)), int(np.argmin(array))}
        chosen |= {int(point.inputs[i.name]) for i in self.loss.inputs if i.kind == "label"}
        if at:
            chosen.add(int(np.ravel_multi_index(at, array.shape)))
        return sorted(flat for flat in chosen if flat < array.size)

    def _slope(
        self,
        kind: str,
        wrt: str | None,
        point: Point,
        at: tuple[int, ...],
        exact: mpf,
        group: str,
        name: str,
        flat: int,
        x: mpf,
    ) -> mpf:
        """d(result) / d(input), from one step away from the end of the domain."""
        step = abs(x) * mpf("1e-12") if x else mpf(float(np.finfo(self.dtype).smallest_subnormal)) / 1024
        domain = {i.name: i.domain for i in self.loss.inputs}[name] if group == "inputs" else None
        if isinstance(domain, Interval) and domain.end.is_finite and x >= float(domain.end):
            step = -step
        with mp.workdps(120):
            array = np.array(getattr(point, group)[name], dtype=object)
            moved = array.ravel()
            moved[flat] = x + step
            changed = {**getattr(point, group), name: moved.reshape(array.shape)}
            inputs = changed if group == "inputs" else point.inputs
            vectors = changed if group == "vectors" else point.vectors
            values = {**inputs, **point.parameters}
            near = self.oracle.evaluate(kind, values, wrt, at, vectors if kind == "hvp" else None)
            return (near - exact) / step


def describe(point: Point, at: tuple[int, ...]) -> str:
    """A point in a line: the numbers (of long arrays the first ones), the entry, what the point tries."""
    parts = [f"{name}={_shown(value)}" for name, value in point.values.items()]
    place = f", entry {', '.join(map(str, at))}" if at else ""
    return f"{', '.join(parts)}{place} ({point.why})"


def _shown(value: Any) -> str:
    array = np.asarray(value)
    if not array.ndim:
        return repr(array.item())
    numbers = ", ".join(repr(float(x)) for x in array.ravel()[:4])
    more = ", ..." if array.size > 4 else ""
    shape = f" {'x'.join(map(str, array.shape))}" if more or array.ndim > 1 else ""
    return f"[{numbers}{more}]{shape}"
