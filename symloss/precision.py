"""Whether the kernels of a loss may compute float32 data in float32, which is twice as fast, or need float64.

What is promised (`verify.bounds`) is kept in float32 by some formulas and not by others, and no rule tells
them apart: it depends on how errors grow, on what cancels, and on what leaves float32's range on the way. So
it is tried. The body that a kernel would have is executed (`emulate.py`) at points drawn as `verify` draws
them, in float32 in both schedules, and in float64, which for a float32 question is exact. The errors are
judged as `verify` judges them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from sympy import FiniteSet, Interval

from symloss.emulate import DOUBLE, PLACE, SINGLE, Emulation
from symloss.program import Program
from symloss.roles import Loss
from symloss.sampler import points
from symloss.verify import CONDITION, bounds

#: Entry points that are decided together, since what they have in common must agree to the last bit, and
#: those of them that compute all of it.
GROUPS = {
    ("value", "grad", "value_and_grad"): ("value_and_grad",),
    ("grad_and_hess", "hvp"): ("grad_and_hess", "hvp"),
}
#: How much of a bound the worst error found may take. The points are so many that they come within a few
#: hundredths of the worst there is.
MARGIN = 0.97
#: By how much a condition number must be above `CONDITION` to count. That of a squared difference of numbers
#: with opposite signs is 2, and `verify` finds a little more or a little less.
ABOVE = 1e-5
#: Points of an element-wise loss, which are those that `verify` draws by default, and of one with rows.
COUNT, ROWS, SEED = 400, 200, 0
SIZES = (2, 3, 5)  # of a row
COPIES, ROW_COPIES = 384, 128  # of each point, with other digits
#: The spacing of the largest float32 numbers, and where numbers round to infinity.
WIDEST, OVERFLOW = 2.0**104, 2.0**128 - 2.0**103
#: What derivatives of element-wise losses are multiplied by: in float32 that takes half of their bound.
FACTOR = 1.0 / 3.0
#: As in `sampler.py`: the difference of two numbers below it is one.
LARGEST = 2.0**126


class Arithmetic(NamedTuple):
    """The precision of a kernel for float32 data.

    Attributes:
        load: the function that reads an input: `load`, or `load_wide` for float64.
        wide_terms: whether, all the same, terms of sums are computed in float64: a square that overflows in
            float32 needn't do so in their sum.
        wide_ends: whether, all the same, the last operations of an element-wise derivative are in float64.
        wide_sums: whether that begins with sums of two numbers: a difference of inputs isn't rounded then.
        wide_value: whether an element-wise loss itself is in float64 from such sums on: in the square of a
            difference its rounding counts twice.
    """

    load: str
    wide_terms: bool = False
    wide_ends: bool = False
    wide_sums: bool = False
    wide_value: bool = False


SINGLE_ARITHMETIC, WIDE_TERMS = Arithmetic("load"), Arithmetic("load", wide_terms=True)
WIDE_VALUE = Arithmetic("load", wide_value=True)
WIDE_ENDS = Arithmetic("load", wide_ends=True)
WIDE_SUMS = Arithmetic("load", wide_ends=True, wide_sums=True)
DOUBLE_ARITHMETIC = Arithmetic("load_wide")


def arithmetic(programs: Iterable[Program]) -> dict[str, Arithmetic]:
    """From each entry point of a loss to the fastest arithmetic that keeps what is promised.

    Args:
        programs: those of all entry points, without matrix products.
    """
    by_entry = {program.entry: program for program in programs}
    chosen: dict[str, Arithmetic] = {}
    for group, complete in GROUPS.items():
        tried = [by_entry[entry] for entry in complete]
        others = [WIDE_TERMS] if tried[0].loss.dims else [WIDE_VALUE, WIDE_ENDS, WIDE_SUMS]
        options = [SINGLE_ARITHMETIC, *others]
        best = next((option for option in options if all(_keeps(program, option) for program in tried)), None)
        chosen |= dict.fromkeys(group, best or DOUBLE_ARITHMETIC)
    return chosen


def _keeps(program: Program, option: Arithmetic) -> bool:
    """Whether a program keeps its bounds; what can't be tried, for whatever reason, is taken not to."""
    try:
        return max(errors(program, MARGIN, option).values()) <= MARGIN
    except Exception:
        return False


def errors(
    program: Program, enough: float = np.inf, option: Arithmetic = SINGLE_ARITHMETIC
) -> dict[str, float]:
    """The worst error of each output in float32, as a part of the bound that holds where it was found.

    Args:
        program: one entry point's, without matrix products.
        enough: the search ends at an error above it.
        option: how float32 data is computed.
    """
    loss = program.loss
    factor = 1.0 if loss.dims else FACTOR
    exact, narrow = (Emulation(program, True, single, *option[1:], factor=factor) for single in (False, True))
    across = Emulation(program, False, True, *option[1:]) if loss.dims else None
    worst: dict[str, float] = {}
    with np.errstate(all="ignore"):
        copies = 1 if narrow.slow else ROW_COPIES if loss.dims else COPIES
        for case in cases(loss, program.entry == "hvp", copies):
            found = [_judged(loss, exact, case, narrow)]
            if across:  # it runs one sample at a time, so only the points as they were drawn
                found.append(_judged(loss, exact, case.at(slice(case.drawn)), across))
            for name, part in (item for parts in found for item in parts.items()):
                worst[name] = max(worst.get(name, 0.0), part)
            if max(worst.values()) > enough:
                break
    return worst


class Case(NamedTuple):
    """Points that can be computed at once: samples lie in front of the arrays' axes; labels are int16.

    The first `drawn` are as they were drawn.
    """

    arrays: dict[str, np.ndarray]
    parameters: dict[str, float]
    drawn: int

    def at(self, samples: Any) -> Case:
        """Some of the points."""
        return self._replace(arrays={name: array[samples] for name, array in self.arrays.items()})


def cases(loss: Loss, vectors: bool, copies: int) -> Iterator[Case]:
    """The points of a trial."""
    sizes = [{dim: size + axis for axis, dim in enumerate(loss.dims)} for size in SIZES]
    if any(len(i.dims) > 1 for i in loss.inputs):
        sizes = [dict.fromkeys(loss.dims, 2)]
    groups: dict[Any, list[dict[str, np.ndarray]]] = {}
    kinds = {i.name: PLACE if i.kind == "label" else DOUBLE for i in loss.inputs}
    for point in points(loss, "float32", ROWS if loss.dims else COUNT, SEED, sizes if loss.dims else None):
        arrays = {name: np.asarray(point.inputs[name], kind) for name, kind in kinds.items()}
        if vectors:
            arrays |= {f"vector_{name}": np.asarray(v, float) for name, v in point.vectors.items()}
        shapes = tuple(array.shape for array in arrays.values())
        groups.setdefault((shapes, tuple(point.parameters.items())), []).append(arrays)
    rng = np.random.default_rng(SEED)
    for (_, parameters), members in groups.items():
        stacked = {name: np.stack([member[name] for member in members]) for name in members[0]}
        case = Case(stacked, dict(parameters), len(members))
        yield case._replace(arrays=_varied(loss, case, copies, rng))


def _varied(loss: Loss, case: Case, copies: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Points with other digits, which rounding errors depend on: numbers times factors between 1/2 and 1.

    The first copy is the points themselves; then numbers have, in turn, each its own factor and all the same.
    Every fourth copy has inputs of another size too: where a square overflows that is divided later, few
    points lie by chance.
    """
    same = rng.uniform(0.5, 1.0, (copies, case.drawn))
    same[0] = 1.0
    resized = same.copy()
    resized[2::4] *= 2.0 ** rng.integers(-149, 128, same[2::4].shape)
    domains = {i.name: i.domain for i in loss.inputs}
    arrays = {}
    for name, array in case.arrays.items():
        domain = domains.get(name)
        many = np.broadcast_to(array, (copies, *array.shape))
        if array.dtype != PLACE and not isinstance(domain, FiniteSet):
            factors = np.empty(many.shape)
            factors[:] = (resized if name in domains else same).reshape(copies, -1, *(1,) * (array.ndim - 1))
            factors[1::2] = rng.uniform(0.5, 1.0, factors[1::2].shape)
            with np.errstate(over="ignore", under="ignore"):
                varied = (many * factors).astype(SINGLE).astype(DOUBLE)
            low, high = -LARGEST, LARGEST
            if isinstance(domain, Interval):
                low, high = max(low, float(domain.start)), min(high, float(domain.end))
            many = np.where((varied > low) & (varied < high), varied, many)
        arrays[name] = many.reshape(-1, *array.shape[1:])
    return arrays


def _judged(loss: Loss, exact: Emulation, case: Case, emulation: Emulation) -> dict[str, float]:
    """The worst errors of one case."""
    right, got = (each.run(case.arrays, case.parameters) for each in (exact, emulation))
    forward, mixed = bounds(loss, SINGLE)
    parts = {name: _ulps(got[name], right[name]) / forward for name in right}
    # Elsewhere the forward error decides, and the condition needn't be known.
    many = {name: part.reshape(len(part), -1) > MARGIN for name, part in parts.items()}
    doubtful = np.flatnonzero(np.any([part.any(axis=1) for part in many.values()], axis=0))
    if len(doubtful):
        few = case.at(doubtful)
        here = {name: output[doubtful] for name, output in right.items()}
        spreads, conditions = _sensitivity(loss, exact, few, here)
        for name, output in here.items():
            error = np.abs(got[name][doubtful] - output) / (_spacing(output) + spreads[name])
            part = parts[name][doubtful]
            ill = (conditions[name] > CONDITION + ABOVE) & np.isfinite(got[name][doubtful])
            parts[name][doubtful] = np.where(ill, np.minimum(part, error / mixed), part)
    return {name: float(part.max(initial=0.0)) for name, part in parts.items()}


def _sensitivity(
    loss: Loss, exact: Emulation, case: Case, right: Mapping[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """How far each output moves if every input moves by an ulp, and its condition number."""
    spreads = {name: np.zeros(output.shape) for name, output in right.items()}
    moves = {name: np.zeros(output.shape) for name, output in right.items()}
    for name, end in _movable(loss, case):
        for place in np.ndindex(case.arrays[name].shape[1:]):
            x = case.arrays[name][(slice(None), *place)]
            slopes = {output: np.zeros(before.shape) for output, before in right.items()}
            # Both ways: a jump that is nearer than a float32's last place may lie on either side.
            for step in (2.0**-23, -(2.0**-23)):
                moved = np.where(x * (1 + step) > end, x, x * (1 + step))
                array = case.arrays[name].copy()
                array[(slice(None), *place)] = moved
                near = exact.run({**case.arrays, name: array}, case.parameters)
                for output, before in right.items():
                    slope = np.abs(near[output] - before) / _beside(np.abs(moved - x), before)
                    slopes[output] = np.fmax(slopes[output], np.where(np.isinf(slope), 0.0, slope))
            for output, slope in slopes.items():
                spreads[output] += slope * _beside(_spacing(x), slope)
                moves[output] += slope * _beside(np.abs(x), slope)
    return spreads, {name: moves[name] / np.abs(right[name]) for name in right}


def _movable(loss: Loss, case: Case) -> Iterator[tuple[str, float]]:
    """The arrays whose numbers may be wrong by an ulp, and where their domains end."""
    for given in loss.inputs:
        if given.kind != "label" and not isinstance(given.domain, FiniteSet):
            yield given.name, float(given.domain.end) if isinstance(given.domain, Interval) else np.inf
    yield from ((name, np.inf) for name in case.arrays if name.startswith("vector_"))


def _beside(numbers: np.ndarray, output: np.ndarray) -> np.ndarray:
    """One number a sample, with the axes of an output."""
    return numbers.reshape(-1, *(1,) * (output.ndim - 1))


def _spacing(x: np.ndarray) -> np.ndarray:
    """The spacing of the float32 numbers at x."""
    return np.spacing(np.minimum(np.abs(x), OVERFLOW - WIDEST).astype(SINGLE)).astype(DOUBLE)


def _ulps(got: np.ndarray, right: np.ndarray) -> np.ndarray:
    """`ulp_error` of arrays: 0 where the right result is undefined, or too large and so is what was got."""
    got = got.astype(DOUBLE)
    error = np.where(np.isfinite(got), np.abs(got - right) / _spacing(right), np.inf)
    same_side = np.sign(got) == np.sign(right)
    too_large = same_side & (np.abs(right) >= OVERFLOW) & (np.abs(got) >= OVERFLOW - 1.5 * WIDEST)
    return np.where(np.isnan(right) | (got == right) | too_large, 0.0, error)
