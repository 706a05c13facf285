"""Floats as integers, and errors in units of the last place."""

from __future__ import annotations

from typing import Any

import numpy as np
from mpmath import mp, mpf

#: From a dtype's name to (bits of the significand, exponent of the smallest subnormal).
_FORMATS = {"float32": (24, -149), "float64": (53, -1074)}


def _format(dtype: Any) -> tuple[np.dtype, int, int]:
    kind = np.dtype(dtype)
    if kind.name not in _FORMATS:
        raise TypeError(f"dtype is float32 or float64, not {kind.name}")
    return kind, *_FORMATS[kind.name]


def to_ordinal(x: Any, dtype: Any) -> int:
    """The place of a float among the floats of its dtype: 0 is 0, the next float up is 1.

    Raises:
        ValueError: for NaN, which has no place.
    """
    kind, _, _ = _format(dtype)
    value = kind.type(x)
    if value != value:
        raise ValueError("NaN has no ordinal")
    bits = int(value.view(f"i{kind.itemsize}"))
    return bits if bits >= 0 else -(bits & (2 ** (8 * kind.itemsize - 1) - 1))


def from_ordinal(ordinal: int, dtype: Any) -> Any:
    """The float at a place; the ordinal of infinity is the largest one.

    Raises:
        ValueError: beyond infinity.
    """
    kind, _, _ = _format(dtype)
    if abs(ordinal) > to_ordinal(np.inf, kind):
        raise ValueError(f"{ordinal} is beyond infinity in {kind.name}")
    magnitude = np.array(abs(ordinal), dtype=f"i{kind.itemsize}").view(kind)[()]
    return -magnitude if ordinal < 0 else magnitude


def ulp(x: Any, dtype: Any) -> mpf:
    """The spacing of the floats at `x` rounded to `dtype`; that of the subnormals at the bottom.

    Beyond the largest float it is the spacing there.
    """
    kind, bits, lowest = _format(dtype)
    with mp.workprec(bits):
        rounded = +mpf(x)
    if not mp.isfinite(rounded):
        return mpf("nan")
    exponent = lowest
    if rounded:
        largest = int(np.finfo(kind).maxexp) - bits
        exponent = min(max(mp.mag(rounded) - bits, lowest), largest)
    return mp.ldexp(mpf(1), exponent)


def ulp_error(got: Any, exact: Any, dtype: Any) -> float:
    """How far `got` is from the exact result, in the spacing of the floats there.

    Args:
        got: the float that was computed.
        exact: the exact result, an mpf. NaN means undefined: nothing is wrong with any float.
        dtype: float32 or float64.

    Returns:
        The error; 0 for a result too large for the dtype if `got` is infinite or within one ulp of the
        largest float; inf for NaN or infinity in place of a result that the dtype can hold.
    """
    kind, bits, _ = _format(dtype)
    exact = exact if isinstance(exact, mpf) else mpf(exact)  # mpf(mpf) would round to 53 bits
    if exact != exact:
        return 0.0
    largest = mpf(float(np.finfo(kind).max))
    computed = mpf(float(got))
    if computed != computed:
        return float("inf")
    if not mp.isfinite(exact):
        return 0.0 if computed == exact else float("inf")
    step = ulp(exact, kind)
    with mp.workprec(2 * bits + 40):
        same_sign = (computed > 0) == (exact > 0)
        if abs(exact) >= largest + ulp(largest, kind) / 2 and same_sign and abs(computed) >= largest - step:
            return 0.0
        if not mp.isfinite(computed):
            return float("inf")
        return float(abs(computed - exact) / step)
