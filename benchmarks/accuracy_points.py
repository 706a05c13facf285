"""The inputs at which the libraries are held against the exact results: ordinary, confident and extreme ones.

What a group means depends on what a loss takes (`KINDS`). Probabilities are multiples of powers of two, so
that rows of them sum to exactly 1 and a library that normalises them changes nothing; only extreme rows sum
to 1 up to rounding. Points at which libraries differ by convention are left out: a residual of 0 where the
loss has a kink there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

__all__ = ["COUNT", "GROUPS", "KINDS", "SEED", "draw"]

SEED = 0
#: Points a group.
COUNT = 40
#: Entries of a row, and the shape of a feature map.
WIDTH, MAP = 4, (2, 2, 2)

GROUPS = {
    "ordinary": (
        "logits drawn from a normal distribution with deviation 2; probabilities away from 0 and 1; "
        "residuals drawn from a normal distribution with deviation 1"
    ),
    "confident": (
        "logits that are right or wrong by 20 to 700 (float32: 20 to 85), half of the rows in multiples of "
        "1/8, whose differences are exact; probabilities within 1e-15 to 1e-9 (float32: 5e-7 to 1e-3) of 0 "
        "and 1, and distributions that differ by as little; residuals from one ulp of the target to 1e-8 "
        "(float32: 1e-4) of it"
    ),
    "extreme": (
        "0, subnormal numbers, 1e3, 1e20, 1e200 (float32: 1e30); probabilities of exactly 0 and 1 and their "
        "neighbours; equal rows, ties, rows with one huge entry"
    ),
}


class Scale(NamedTuple):
    """What confident and extreme mean in a precision.

    Attributes:
        gap: the range of a confident logit.
        near: the decimal exponents of a small relative residual.
        tail: the binary exponents of what a confident probability leaves to the others.
        step: those of the difference of two close distributions.
        huge: the largest magnitude.
        small: the smallest parts of an extreme distribution.
    """

    gap: tuple[float, float]
    near: tuple[float, float]
    tail: tuple[int, int]
    step: tuple[int, int]
    huge: float
    small: tuple[float, ...]


#: In float64 `small` ends at 1e-100: the limits of the oracle at a probability of 0 step by 1e-150.
SCALES = {
    "float64": Scale((20.0, 700.0), (-15.5, -8.0), (30, 50), (30, 52), 1e200, (1e-100, 1e-50, 1e-20)),
    "float32": Scale((20.0, 85.0), (-6.8, -4.0), (10, 21), (20, 23), 1e30, (1.4e-45, 1.2e-38, 1e-20)),
}
#: Probabilities are whole multiples of this, which float32 holds with bits to spare.
GRAIN = 2.0**-20


class _Maker:
    """Random numbers of one group in one precision."""

    def __init__(self, group: str, dtype: np.dtype) -> None:
        self.group, self.dtype, self.scale = group, dtype, SCALES[dtype.name]
        self.rng = np.random.default_rng([SEED, list(GROUPS).index(group)])
        tiny, info = float(np.finfo(dtype).smallest_subnormal), np.finfo(dtype)
        self.magnitudes = np.array([0.0, tiny, 3 * tiny, float(info.tiny), 1e-20, 1e3, 1e20, self.scale.huge])

    def sign(self, shape: tuple[int, ...] = ()) -> np.ndarray:
        return self.rng.choice([-1.0, 1.0], shape)

    def cast(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(x, np.float64).astype(self.dtype)

    # Residuals: a prediction and a target.

    def residuals(self, core: tuple[int, ...] = (), equal: bool = False) -> tuple[np.ndarray, np.ndarray]:
        shape = (COUNT, *core)
        if self.group == "ordinary":
            target = self.cast(self.rng.normal(size=shape))
            prediction = self.cast(target + self.rng.normal(size=shape))
        elif self.group == "confident":
            target = self.cast(self.rng.normal(size=shape))
            step = 10.0 ** self.rng.uniform(*self.scale.near, shape) * self.sign(shape)
            prediction = self.cast(target.astype(np.float64) * (1 + step))
            beside = np.nextafter(target, self.cast(self.sign(shape) * np.inf))
            prediction = np.where(self.rng.random(shape) < 0.25, beside, prediction)
        else:
            prediction, target = (
                self.cast(self.rng.choice(self.magnitudes, shape) * self.sign(shape)) for _ in range(2)
            )
        above = np.nextafter(target, self.dtype.type(np.inf))
        prediction = np.where(prediction == target, above, prediction)
        if equal:
            prediction[-2:] = target[-2:]
        return prediction, target

    def close(self) -> tuple[np.ndarray, np.ndarray]:
        return self.residuals((WIDTH,))

    def smooth(self) -> tuple[np.ndarray, np.ndarray]:
        return self.residuals(equal=True)

    def maps(self) -> tuple[np.ndarray, np.ndarray]:
        return self.residuals(MAP, equal=True)

    # One number and a target in [0, 1].

    def logits(self, soft: bool = True) -> tuple[np.ndarray, np.ndarray]:
        if self.group == "ordinary":
            z = 2 * self.rng.normal(size=COUNT)
        elif self.group == "confident":
            low, high = np.log(self.scale.gap)
            z = np.exp(self.rng.uniform(low, high, COUNT)) * self.sign((COUNT,))
        else:
            edges = [*self.magnitudes, 16.6, 36.7, 88.0, 709.0, 745.0]
            z = self.rng.choice(edges, COUNT) * self.sign((COUNT,))
        return self.cast(z), self.cast(self._outcomes(soft))

    def outcomes(self) -> tuple[np.ndarray, np.ndarray]:
        return self.logits(soft=False)

    def probabilities(self) -> tuple[np.ndarray, np.ndarray]:
        if self.group == "ordinary":
            q = self.rng.uniform(0.05, 0.95, COUNT)
        else:
            small = 2.0 ** -self.rng.integers(*self.scale.tail, COUNT, endpoint=True).astype(float)
            if self.group == "extreme":
                small = self.rng.choice(self.magnitudes[:5], COUNT)
                small = np.where(self.rng.random(COUNT) < 0.2, float(np.finfo(self.dtype).epsneg), small)
            q = np.where(self.rng.random(COUNT) < 0.5, small, 1 - small)
        return self.cast(q), self.cast(self._outcomes(soft=True))

    def _outcomes(self, soft: bool) -> np.ndarray:
        """Targets of 0 and 1, and where soft ones are allowed some of 1/4 and 1/2."""
        hard = self.rng.integers(0, 2, COUNT).astype(float)
        between = self.rng.choice([0.25, 0.5], COUNT)
        return np.where(soft & (self.rng.random(COUNT) < 0.25), between, hard)

    # Rows.

    def labelled(self) -> tuple[np.ndarray, np.ndarray]:
        rows, best = self._rows()
        return rows, self._labels(best)

    def soft_labelled(self) -> tuple[np.ndarray, np.ndarray]:
        rows, best = self._rows()
        return rows, self._simplices(self._labels(best))

    def distribution_labelled(self) -> tuple[np.ndarray, np.ndarray]:
        best = self.rng.integers(0, WIDTH, COUNT)
        return self._simplices(best), self._labels(best)

    def distributions(self) -> tuple[np.ndarray, np.ndarray]:
        best = self.rng.integers(0, WIDTH, COUNT)
        target = self._simplices(best)
        prediction = self._simplices(self._labels(best))
        if self.group == "confident":
            for n in range(COUNT // 2):
                target[n], prediction[n] = self._pair()
        return prediction, target

    def _labels(self, best: np.ndarray) -> np.ndarray:
        """The right class in about half of the rows, and any other in the rest."""
        other = (best + self.rng.integers(1, WIDTH, COUNT)) % WIDTH
        return np.where(self.rng.random(COUNT) < 0.5, best, other)

    def _rows(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows of logits, and which class leads."""
        best = self.rng.integers(0, WIDTH, COUNT)
        lead = np.arange(WIDTH) == best[:, None]
        rows = self.rng.normal(size=(COUNT, WIDTH))
        if self.group == "ordinary":
            rows = 2 * rows
            best = rows.argmax(-1)
        elif self.group == "confident":
            low, high = np.log(self.scale.gap)
            rows = np.where(lead, np.exp(self.rng.uniform(low, high, (COUNT, 1))) + rows, rows)
            rows[::2] = np.round(8 * rows[::2]) / 8
        else:
            sizes = self.rng.choice(self.magnitudes, (COUNT, 1)) * self.sign((COUNT, 1))
            several = self.rng.choice(self.magnitudes, (COUNT, WIDTH)) * self.sign((COUNT, WIDTH))
            two = self.rng.random((COUNT, WIDTH)) < 0.5
            patterns = (
                np.broadcast_to(sizes, rows.shape), np.where(lead, sizes, 0.0), np.where(two, sizes, -sizes),
                several, sizes * rows,
            )  # fmt: skip
            rows = np.choose(np.arange(COUNT)[:, None] % len(patterns), patterns)
        return self.cast(rows), best

    def _simplices(self, best: np.ndarray) -> np.ndarray:
        """Distributions; a confident one is almost 1 at the given place."""
        rows = [getattr(self, f"_{self.group}_simplex")(int(place), n) for n, place in enumerate(best)]
        return self.cast(np.array(rows))

    def _ordinary_simplex(self, _place: int, _n: int) -> np.ndarray:
        while True:
            counts = np.round(self.rng.dirichlet(np.ones(WIDTH)) / GRAIN)
            counts[-1] += round(1 / GRAIN) - counts.sum()
            if counts.min() > 0.02 / GRAIN:
                return counts * GRAIN

    def _confident_simplex(self, place: int, _n: int) -> np.ndarray:
        tail = 2.0 ** -float(self.rng.integers(*self.scale.tail, endpoint=True))
        return np.roll([1 - tail, tail / 2, tail / 4, tail / 4], place)

    def _extreme_simplex(self, place: int, n: int) -> np.ndarray:
        small = self.rng.choice(self.scale.small)
        rows = ([1, 0, 0, 0], [0.5, 0.5, 0, 0], [0.25] * 4, [1, small, 0, small], [0.5, 0.25, 0.25, small])
        chosen = n % len(rows) if self.rng.random() < 0.5 else self.rng.integers(len(rows))
        return np.roll(rows[chosen], place)

    def _pair(self) -> tuple[np.ndarray, np.ndarray]:
        """Two distributions that differ in two entries by very little."""
        p = self._ordinary_simplex(0, 0)
        step = 2.0 ** -float(self.rng.integers(*self.scale.step, endpoint=True))
        up, down = self.rng.permutation(WIDTH)[:2]
        q = p.copy()
        q[up] += step
        q[down] -= step
        return self.cast(p), self.cast(q)


#: From what a loss takes to its inputs, in the order of its spec.
KINDS: dict[str, Callable[[_Maker], tuple[np.ndarray, np.ndarray]]] = {
    "residual": _Maker.residuals,
    "smooth residual": _Maker.smooth,
    "vectors": _Maker.close,
    "maps": _Maker.maps,
    "logit, target": _Maker.logits,
    "logit, outcome": _Maker.outcomes,
    "probability, target": _Maker.probabilities,
    "logits, label": _Maker.labelled,
    "logits, distribution": _Maker.soft_labelled,
    "distribution, label": _Maker.distribution_labelled,
    "distributions": _Maker.distributions,
}


def draw(kind: str, group: str, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """The inputs of `COUNT` points, the same ones every time.

    Args:
        kind: a name of `KINDS`.
        group: a name of `GROUPS`.
        dtype: float32 or float64; the numbers are exact in it. Labels are integers.

    Returns:
        Two arrays with the points along the first axis.
    """
    return KINDS[kind](_Maker(group, np.dtype(dtype)))
