"""Executes the body of a kernel as Python, with NumPy arrays for lanes.

`Body`'s lines mean here what they mean in `_lanes.py` and `_math.py`. Lanes are arrays of one dimension,
float32 or float64; places and labels are int16, which doesn't widen float32; what all lanes share is a
`Number`. All samples, or all entries of a row, fit into one run.

A function of numbers is evaluated exactly and then, in float32, made about as wrong as its implementation
is: up to a tenth of an ulp is added before it is rounded. How much depends on the function and on the bits of
its result, so that a number has the same error wherever it occurs, and on every run.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any
from zlib import crc32

import numpy as np
import sympy
from sympy import Expr, Symbol

from symloss import atoms
from symloss.errors import UnsupportedError
from symloss.oracle import evaluate_expr
from symloss.printers.lanes import SAMPLE, Body
from symloss.printers.scalar import FUNCTIONS, WIDE_FORMS
from symloss.program import ENTRIES, Program

#: How wrong a function is in float32 beside its rounding, in ulp. Of all float32 inputs, less than one in a
#: hundred has a result that isn't the nearest float (`tests/exhaustive.py`), which a tenth explains.
NOISE = 0.1
#: The relative error of a form that isn't rounded to float32, as measured.
WIDE_NOISE = {"wide_sigmoid": 0.25 * 2.0**-24, "wide_softplus": 0.55 * 2.0**-24}
SINGLE, DOUBLE, PLACE, ANSWER = map(np.dtype, (np.float32, np.float64, np.int16, np.bool_))


class Emulation:
    """The body of one entry point, to be executed at many samples.

    Args:
        program: what the body is of, without matrix products.
        narrow: whether samples lie across lanes; otherwise, the entries of a row.
        single: whether inputs are read as float32 lanes, or as float64 lanes.
        wide: what is float64 in any case, as `Arithmetic` has it: terms of sums, ends, sums.
        factor: what derivatives are multiplied by.
    """

    def __init__(
        self, program: Program, narrow: bool, single: bool, *wide: bool, factor: float = 1.0
    ) -> None:
        self.program, self.narrow, self.factor = program, narrow, Number(factor)
        self.kind = SINGLE if single else DOUBLE
        body = Body(program, narrow, "load", *wide)
        self._code = compile("\n".join(body.lines()), f"<{program.entry} of {program.loss.name}>", "exec")
        self._kept, self._joined = body.kept, body.joined
        #: Whether it uses functions that take a millisecond a number.
        self.slow = any(name in _FORMULAS and name not in _LANES | _EXACT for name in body.scalar.used)
        self._known = {name: _meaning(name) for name in sorted(body.scalar.used - {"load"})}
        self._known |= {"load": self._load} | {f"{name}_tile": None for name in body.tiles}

    def run(self, arrays: Mapping[str, np.ndarray], parameters: Mapping[str, float]) -> dict[str, np.ndarray]:
        """The outputs, each with one row a sample.

        Args:
            arrays: inputs and `vector_...`, with samples in front, as float64; labels as int16.
            parameters: from each name to its value.
        """
        loss = self.program.loss
        sizes = {dim: n for i in loss.inputs for dim, n in zip(i.dims, arrays[i.name].shape[1:], strict=True)}
        count = len(next(iter(arrays.values())))
        made = {
            f"{kind}_{i.name}": np.zeros(arrays[i.name].shape, self.kind)
            for kind in ENTRIES[self.program.entry]
            if kind != "value"
            for i in loss.predictions
        }
        scope = self._known | sizes | dict(arrays) | made | {"factor": self.factor}
        for name, (array, axes) in self._joined.items():
            scope[name] = scope[array].reshape(*scope[array].shape[:-axes], -1)
        scope |= {name: Number(value) for name, value in parameters.items()}
        lanes = (count,) if self.narrow else ()
        for name, dims in self.program.scratch.items():
            scope[name] = np.zeros((*(sizes[dim] for dim in dims), *lanes))
        for name, kept in self._kept.items():
            scope[name] = np.zeros((*(sizes[dim] for dim in kept.dims), *lanes), self.kind)
        values = np.zeros(count, self.kind)
        samples = np.arange(count, dtype=PLACE)
        for sample in (samples,) if self.narrow else range(count):
            scope |= {SAMPLE: sample, "lane": sample}
            with np.errstate(all="ignore"):
                exec(self._code, scope)
            if self.program.has_value:
                values[sample] = scope["value"]
        return made | ({"value": values} if self.program.has_value else {})

    def _load(self, array: np.ndarray, places: tuple[Any, ...], _: None) -> Any:
        found = array[places]
        if array.dtype == PLACE:
            return found if _is_lanes(found) else int(found)
        return _shared(found.astype(self.kind))


class Number(float):
    """A number that all lanes share: it takes the precision of lanes that it meets; 1 / 0 is infinite."""

    __slots__ = ()
    __array_ufunc__ = None  # arrays leave operations with it to it


def _of_one(name: str) -> Callable[[Number], Number]:
    function = getattr(operator, name)
    return lambda self: Number(function(float(self)))


def _operation(name: str, reflected: bool) -> Callable[[Number, Any], Any]:
    function = getattr(operator, name)

    def apply(self: Number, other: Any) -> Any:
        lanes = _is_lanes(other)
        pair = (float(self), other) if lanes else (np.float64(self), np.float64(other))
        is_quotient = lanes and reflected and name == "truediv"
        found = _quotient(other, pair[0]) if is_quotient else function(*(pair[::-1] if reflected else pair))
        return found if lanes else bool(found) if isinstance(found, np.bool_) else Number(found)

    return apply


for _name in ("add", "sub", "mul", "truediv"):
    setattr(Number, f"__{_name}__", _operation(_name, False))
    setattr(Number, f"__r{_name}__", _operation(_name, True))
for _name in ("lt", "le", "gt", "ge", "eq", "ne"):
    setattr(Number, f"__{_name}__", _operation(_name, False))
for _name in ("neg", "abs"):
    setattr(Number, f"__{_name}__", _of_one(_name))


def _is_lanes(x: Any) -> bool:
    return isinstance(x, np.ndarray)


def _joined(*values: Any) -> np.dtype:
    """The type of lanes that numbers make together."""
    kinds = {x.dtype for x in values if _is_lanes(x)}
    floats = kinds & {SINGLE, DOUBLE}
    if floats:
        return SINGLE if floats == {SINGLE} else DOUBLE
    if any(isinstance(x, float) for x in values):
        return DOUBLE
    answers = all(isinstance(x, bool) or (_is_lanes(x) and x.dtype == ANSWER) for x in values)
    return ANSWER if answers else PLACE


# --- lanes, reductions, memory --------------------------------------------------------------------------


def _select(test: Any, yes: Any, no: Any) -> Any:
    if not _is_lanes(test):
        return yes if test else no
    kind = _joined(yes, no)
    return np.where(test, np.asarray(yes, kind), np.asarray(no, kind))


def _tally(total: Any, carry: Any, term: Any, _: np.ndarray) -> tuple[Any, Any]:
    term = term.astype(DOUBLE) if _is_lanes(term) else Number(term)
    new = total + term
    back = new - total
    return new, carry + ((total - (new - back)) + (term - back))


def _finish(total: Any, carry: Any) -> Any:
    result = total + carry
    return _select(result - result == 0.0, result, total)


def _quotient(x: np.ndarray, y: Any) -> Any:
    """x / y in the precision of x; y isn't rounded to it before."""
    return x / y if x.dtype != SINGLE else (x / np.asarray(y, DOUBLE)).astype(SINGLE)


def _over(x: Any, y: Any) -> Any:
    return _quotient(x, y) if _is_lanes(x) and _is_lanes(y) else x / y


def _within(place: Any, value: Any, _: Any) -> Any:
    return value if _is_lanes(value) or not _is_lanes(place) else np.full(len(place), value, DOUBLE)


def _across(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda x: Number(function(x.astype(DOUBLE))) if _is_lanes(x) else x


def _first_max(largest: np.ndarray, places: np.ndarray) -> tuple[Any, int]:
    found = places[largest == largest.max()]
    return Number(largest.max()), int(found.min()) if len(found) else 0


def _shared(x: Any) -> Any:
    return x if _is_lanes(x) else Number(x)


def _only(place: np.ndarray, test: Any) -> np.ndarray:
    return place[test[place]] if _is_lanes(test) else place if test else place[:0]


def _written(array: np.ndarray, places: tuple[Any, ...], value: Any) -> tuple[tuple[Any, ...], Any]:
    """Where a write goes, and what it writes: of a restricted run, its lanes only."""
    value = float(value) if isinstance(value, Number) else value
    run = next((place for place in places if _is_lanes(place)), None)
    if run is None:
        return places, value
    own = [x[run] if _is_lanes(x) and len(x) != len(run) else x for x in (*places, value)]
    return tuple(own[:-1]), own[-1]


def _put(array: np.ndarray, places: tuple[Any, ...], value: Any, *_: Any) -> None:
    places, value = _written(array, places, value)
    array[places] = value


def _add_to(array: np.ndarray, places: tuple[Any, ...], value: Any, *_: Any) -> None:
    places, value = _written(array, places, value)
    array[places] += value


# --- functions that round as arithmetic does --------------------------------------------------------------


def _times0(x: Any, y: Any) -> Any:
    return _select((x == 0.0) & (y == y), 0.0, x * y)


def _ratio0(x: Any, y: Any) -> Any:
    return _select((x == 0.0) & (y == y), 0.0, x / y)


def _sign(x: Any) -> Any:
    return _select(x > 0.0, 1.0, _select(x < 0.0, -1.0, x * 0.0))


def _times_over(factor: Any, x: Any, y: Any) -> Any:
    is_usual = not _is_lanes(factor) and 1e-280 < abs(y / factor) < 1e280
    return x / (y / factor) if is_usual else factor * (x / y)


def _sigmoid_power(x: Any, s: Any, y: Any) -> Any:
    """s^y: in float64 the same as what x gives."""
    return _meaning("power")(s, y)


def _in_own_precision(function: Callable[..., Any]) -> Callable[[Any], Any]:
    """A function of a float as one of lanes or of a number."""

    def apply(x: Any) -> Any:
        return function(x.astype(_joined(x, 0.0))) if _is_lanes(x) else Number(function(np.float64(x)))

    return apply


def _scale_of(x: Any) -> Any:
    most = 120 if x.dtype == SINGLE else 1000
    power = np.clip(-np.frexp(x)[1], -most, most)
    return np.where((x == 0) | ~np.isfinite(x), 1, np.ldexp(np.ones_like(x), power)).astype(x.dtype)


_LANES = {
    "LANES": 2**15 - 1,  # places are int16
    "inf": Number("inf"),
    "nan": Number("nan"),
    "run": lambda start, stop: np.arange(start, stop, dtype=PLACE),
    "needs_scales": lambda array: False,  # it has float32 numbers
    "load_wide": lambda array, places, _: _shared(array[places]),
    "wide": lambda x: x.astype(DOUBLE) if _is_lanes(x) else x,
    "put": _put,
    "put_unless": _put,  # the entry that gets another value later
    "add_to": _add_to,
    "select": _select,
    "opposite": lambda test: ~test if _is_lanes(test) else not test,
    "only": _only,
    "within": _within,
    "without": lambda place, one, value, other: _select(place == one, other, value),
    "block_of": lambda place, _: place,
    "positions_of": lambda place: place,
    "first_in_blocks": _first_max,
    "folded": lambda term: term,
    "tally": _tally,
    "finish": _finish,
    "sum_of": _across(np.sum),
    "product_of": _across(np.prod),
    "max_of": _across(np.max),
    "min_of": _across(np.min),
    "first_max": _first_max,
    "sqrt": _in_own_precision(np.sqrt),
    "scale_of": _in_own_precision(_scale_of),
    "sign": _sign,
    "shift": lambda x, m: _select(x == m, 0.0, x - m),
    "times0": _times0,
    "ratio0": _ratio0,
    "ratio0_over": lambda x, y: _select((x == 0.0) & (y == y), 0.0, _over(x, y)),
    "divisor": lambda y: y,
    "times_over": _times_over,
    "over": _over,
    "larger": lambda x, y: _select((x > y) | (x != x), x, y),
    "smaller": lambda x, y: _select((x < y) | (x != x), x, y),
    "sigmoid_power": _sigmoid_power,
}


# --- functions that are as exact as they are implemented ----------------------------------------------------


def _sigmoid(x: np.ndarray) -> np.ndarray:
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


def _log_ratio(a: np.ndarray, b: np.ndarray, difference: np.ndarray, at_zero: np.ndarray) -> np.ndarray:
    near, far = np.log1p(difference / b), np.log(a) - np.log(b)
    return np.where((a == 0) & (b == 0), at_zero, np.where(np.abs(difference) < 0.5 * b, near, far))


def _one_by_one(function: Callable[[float], float]) -> Callable[..., Any]:
    """A function of Python's `math`, NaN at its poles and where it overflows: nothing is compared there."""

    def evaluate(x: float) -> float:
        try:
            return function(x)
        except (ValueError, OverflowError):
            return math.nan

    return np.vectorize(evaluate, otypes=[DOUBLE])


#: Those that most losses are made of, in float64, which is exact beside float32.
_EXACT: dict[str, Callable[..., Any]] = {
    **{name: getattr(np, name) for name in ("exp", "expm1", "log", "log1p", "sin", "cos", "tan")},
    **{name: getattr(np, name) for name in ("sinh", "cosh", "tanh", "logaddexp")},
    **{name: _one_by_one(getattr(math, name)) for name in ("erf", "erfc", "gamma", "lgamma")},
    "exp_down": np.exp,
    "log1mexp": lambda x: np.where(x > -0.5, np.log(-np.expm1(x)), np.log1p(-np.exp(x))),
    "log_ratio": _log_ratio,
    "over_expm1": lambda x: np.where(x == 0, 1.0, np.where(x > 700, 0.0, x / np.expm1(x))),
    "power": lambda x, y: np.where((x >= 0) | (y == 0), np.power(x, y), np.nan),
    "sigmoid": _sigmoid,
    "softplus": lambda x: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))),
}
_x = Symbol("x")
#: What the others are called in the kernels, and what they are.
_EXACT |= {f"wide_{name}": _EXACT[name] for name in sorted(WIDE_FORMS)}
_FORMULAS: dict[str, Expr] = {
    **{row.name: getattr(atoms, row.name)(*map(Symbol, "xyuv"[: row.arity])) for row in atoms.SCALARS},
    **{name: kind(_x) for kind, name in FUNCTIONS.items() if name not in _LANES},
    **{name: sympy.polygamma(n, _x) for n, name in enumerate(("digamma", "trigamma", "tetragamma"))},
    **{f"besseli{n}": sympy.besseli(n, _x) for n in range(3)},
}


def _from_formula(formula: Expr) -> Callable[..., Any]:
    """A function from the oracle's evaluation of what it means; at infinity, the value far out."""
    names = sorted((symbol.name for symbol in formula.free_symbols), key="xyuv".index)

    @cache
    def evaluate(*point: float) -> float:
        if any(x != x for x in point):
            return math.nan
        bounded = (max(-1e300, min(1e300, x)) for x in point)
        return float(evaluate_expr(formula, dict(zip(names, bounded, strict=True))))

    return np.vectorize(evaluate, otypes=[DOUBLE])


@cache
def _meaning(name: str) -> Any:
    """What a name in a body stands for."""
    if name in _LANES:
        return _LANES[name]
    if name not in _EXACT and name not in _FORMULAS:
        raise UnsupportedError(f"the emulation has no function `{name}`")
    exact = _EXACT.get(name) or _from_formula(_FORMULAS[name])

    def apply(*args: Any) -> Any:
        kind = _joined(*args, 0.0)
        found = exact(*(np.asarray(x, kind).astype(DOUBLE) for x in args))
        if not any(map(_is_lanes, args)):
            return Number(found)
        if kind == DOUBLE:
            return found
        return _inexact(found, crc32(name.removesuffix("_down").encode()), WIDE_NOISE.get(name))

    return apply


def _inexact(exact: np.ndarray, salt: int, wide: float | None) -> np.ndarray:
    """The numbers with noise: relative to them if `wide` says how much; else rounded to float32.

    One that is a float32 has none then: e^0 is 1.
    """
    bits = exact.astype(DOUBLE).view(np.uint64) + np.uint64(salt)
    # As SplitMix64 mixes bits (Steele, Lea and Flood 2014).
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        bits = (bits ^ (bits >> np.uint64(shift))) * np.uint64(factor)
    part = (bits >> np.uint64(11)).astype(DOUBLE) * 2.0**-52 - 1.0
    if wide is not None:
        return exact * (1.0 + wide * part)
    rounded = exact.astype(SINGLE)
    step = np.spacing(np.abs(rounded)).astype(DOUBLE)
    noisy = (exact + NOISE * part * step).astype(SINGLE)
    return np.where((rounded == exact) | ~np.isfinite(step), rounded, noisy)
