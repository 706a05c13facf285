"""What is plotted of a loss: one entry of its first prediction moves, and everything else can be set.

    plan(loss)                    -> what moves between which ends, the sample around it, what can be set
    Plotter(derivation).curve()   -> the loss, its gradient and its curvature along the way, as arrays
    edges(plotter)                -> the same at the ends

The page of a loss plots a plan in the browser, from the same expressions printed as JavaScript; the pictures
of the gallery and of `symloss plot` are curves.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sympy import FiniteSet, Interval, Set

from symloss.emulate import Emulation
from symloss.lower import lower
from symloss.printers.example import sample, sizes_of
from symloss.roles import Input, Loss, Parameter

if TYPE_CHECKING:
    from symloss.derive import Derivation

#: How far a real number moves to each side of 0, and a positive one from it.
REACH = 5.0
#: An open end is approached to this share of the way, since the loss may be infinite there.
OPEN = 1 / 500
#: The most entries that have a slider each.
ENTRIES = 12
#: Of a slider from end to end.
STEPS = 200


@dataclass(frozen=True)
class Control:
    """Something that can be set: an input, one entry of it, or a parameter.

    `choices` are its values where there are few; else it runs from `low` to `high` by `step`.
    """

    name: str
    at: tuple[int, ...]
    kind: str
    value: float
    low: float
    high: float
    step: float
    choices: tuple[float, ...] = ()


@dataclass(frozen=True)
class Plan:
    """What a plot shows: entry `at` of input `moved` goes from `low` to `high`, the rest is `point`."""

    moved: str
    at: tuple[int, ...]
    low: float
    high: float
    point: Mapping[str, Any]
    sizes: Mapping[str, int]
    controls: tuple[Control, ...]

    def as_json(self) -> dict[str, Any]:
        """The plan in lists, dicts, numbers and texts."""
        return asdict(self)


@dataclass(frozen=True)
class Curve:
    """A loss along the way: the moving entry, the loss, its derivative and its second derivative there."""

    x: np.ndarray
    value: np.ndarray
    grad: np.ndarray
    hess: np.ndarray


def plan(loss: Loss) -> Plan:
    """What the plot of a loss shows.

    The first entry moves, which is also the one that labels pick. A scalar target is put at 0, or at the
    upper end of its domain.
    """
    moved = loss.predictions[0]
    low, high = ends(moved.domain)
    point = sample(loss)
    for item in loss.inputs:
        if not item.dims and item.kind != "label" and item is not moved:
            point[item.name] = _resting(item.domain)
    at = (0,) * len(moved.dims)
    controls = [control for item in loss.inputs for control in _of_input(loss, item, point, at)]
    controls += [_of_parameter(parameter) for parameter in loss.parameters]
    return Plan(moved.name, at, low, high, point, sizes_of(loss), tuple(controls))


def ends(domain: Set) -> tuple[float, float]:
    """Between which numbers an entry of a domain moves."""
    if isinstance(domain, FiniteSet):
        return float(min(domain)), float(max(domain))
    if not isinstance(domain, Interval):
        return -REACH, REACH
    if domain.start.is_infinite and domain.end.is_infinite:
        return -REACH, REACH
    low = float(domain.start) if domain.start.is_finite else float(domain.end) - 2 * REACH
    high = float(domain.end) if domain.end.is_finite else float(domain.start) + REACH
    margin = OPEN * (high - low)
    left, right = (end.is_finite and end not in domain for end in (domain.start, domain.end))
    return low + margin * left, high - margin * right


def _resting(domain: Set) -> float:
    """Where an input stays that doesn't move."""
    if isinstance(domain, (FiniteSet, Interval)) and domain.sup.is_finite:
        return ends(domain)[1]
    if isinstance(domain, Interval) and domain.inf.is_finite:
        return float(domain.inf) + 1.0
    return 0.0


def _of_input(loss: Loss, item: Input, point: Mapping[str, Any], at: tuple[int, ...]) -> list[Control]:
    """The controls of an input: none for what moves, one an entry if they are few."""
    moved = loss.predictions[0]
    if item.kind == "label":
        count = sizes_of(loss)[item.role.dims[0]]
        return [Control(item.name, (), "label", 0, 0, count - 1, 1, tuple(map(float, range(count))))]
    low, high = ends(item.domain)
    choices = tuple(sorted(map(float, item.domain))) if isinstance(item.domain, FiniteSet) else ()
    entries = np.asarray(point[item.name], float)
    if entries.size > ENTRIES:
        return []
    return [
        Control(item.name, place, item.kind, float(value), low, high, _step(low, high), choices)
        for place, value in np.ndenumerate(entries)
        if item is not moved or place != at
    ]


def _of_parameter(parameter: Parameter) -> Control:
    """The control of a parameter: from one end of its domain to the other, or to four times its default."""
    default, domain = float(parameter.default), parameter.domain
    low, high = ends(domain)
    if isinstance(domain, Interval) and domain.sup.is_infinite and domain.inf.is_finite:
        far = float(domain.inf) + max(4 * abs(default - float(domain.inf)), 1.0)
        low, high = (float(domain.inf) + OPEN * (far - float(domain.inf)) * bool(domain.left_open), far)
    elif not (isinstance(domain, Interval) and domain.measure.is_finite):
        low, high = default - max(4 * abs(default), 1.0), default + max(4 * abs(default), 1.0)
    choices = tuple(sorted(map(float, domain))) if isinstance(domain, FiniteSet) else ()
    return Control(parameter.name, (), "parameter", default, low, high, _step(low, high), choices)


def _step(low: float, high: float) -> float:
    """A round step that is at most a `STEPS`th of the way."""
    wanted = (high - low) / STEPS
    if wanted <= 0:
        return 1.0
    tens = 10.0 ** np.floor(np.log10(wanted))
    return float(f"{max(s * tens for s in (1, 2, 5) if s * tens <= wanted * (1 + 1e-9)):.1g}")


class Plotter:
    """Evaluates a loss and its derivatives along its plan, at many points at a time.

    Args:
        derivation: the loss with its derivatives.
        shown: the plan; by default the loss's own.
    """

    def __init__(self, derivation: Derivation, shown: Plan | None = None) -> None:
        self.loss = derivation.loss
        self.plan = shown or plan(self.loss)
        self._first = Emulation(lower(derivation, "value_and_grad"), True, False)
        self._second = Emulation(lower(derivation, "grad_and_hess"), True, False)

    def curve(self, count: int = 200, parameters: Mapping[str, float] | None = None) -> Curve:
        """The curve at `count` points, an even number: a kink in the middle then lies between two.

        Args:
            count: how many points.
            parameters: values of parameters; those left out have their default.
        """
        return self.at(np.linspace(self.plan.low, self.plan.high, count), {}, parameters)

    def at(
        self,
        x: np.ndarray,
        inputs: Mapping[str, Any] | None = None,
        parameters: Mapping[str, float] | None = None,
    ) -> Curve:
        """The curve where the moving entry is at `x`, with some inputs other than the plan has them."""
        moved, point = self.plan.moved, {**self.plan.point, **dict(inputs or {})}
        arrays = {}
        for item in self.loss.inputs:
            kind = np.int16 if item.kind == "label" else np.float64
            one = np.asarray(point[item.name], kind)
            arrays[item.name] = np.array(np.broadcast_to(one, (len(x), *one.shape)))
        place: tuple[Any, ...] = (slice(None), *self.plan.at)
        arrays[moved][place] = x
        values = {p.name: float(p.default) for p in self.loss.parameters} | dict(parameters or {})
        with np.errstate(all="ignore"):
            first, second = (emulation.run(arrays, values) for emulation in (self._first, self._second))
        return Curve(x, first["value"], first[f"grad_{moved}"][place], second[f"hess_{moved}"][place])


@dataclass(frozen=True)
class Edge:
    """What comes out where the moving entry is at an end: the entry, scalars beside it, the outputs."""

    at: float
    beside: tuple[tuple[str, float], ...]
    value: float
    grad: float
    hess: float


def edges(plotter: Plotter) -> list[Edge]:
    """The loss and its derivatives at the ends of the moving entry's domain, at 0, and far out.

    Scalar targets with a bounded domain take both its ends.
    """
    others = [
        (item.name, _ends_of(item.domain))
        for item in plotter.loss.inputs
        if item.kind == "target" and not item.dims and item.domain.inf.is_finite and item.domain.sup.is_finite
    ]
    places = _ends_of(plotter.loss.predictions[0].domain)
    found = []
    for values in itertools.product(*(choices for _, choices in others)):
        beside = tuple(zip((name for name, _ in others), values, strict=True))
        line = plotter.at(np.array(places), dict(beside))
        outputs = zip(line.value, line.grad, line.hess, strict=True)
        found += [Edge(x, beside, *map(float, three)) for x, three in zip(places, outputs, strict=True)]
    return found


def _ends_of(domain: Set) -> list[float]:
    """The ends of a domain that belong to it, and numbers near those that don't."""
    if isinstance(domain, FiniteSet):
        return sorted(map(float, domain))
    low, high = domain.inf, domain.sup
    places = []
    if low.is_finite:
        places.append(float(low) if low in domain else float(low) + 1e-300)
    else:
        places += [-np.inf, -1e3]
    middle = [0.0] if 0 in domain.interior else []
    if high.is_finite:
        return [
            *places,
            *middle,
            float(high) if high in domain else float(np.nextafter(float(high), -np.inf)),
        ]
    return [*places, *middle, 1e3, np.inf]
