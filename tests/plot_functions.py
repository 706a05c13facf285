"""What the functions of plots should give: the atoms' definitions and SymPy's functions, evaluated by mpmath."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import sympy
from mpmath import isfinite, mpc, mpf

from symloss import atoms
from symloss.printers.scalar import FUNCTIONS

X, Y = sympy.symbols("x y", real=True)
PLACES = (
    -30.0,
    -5.0,
    -2.5,
    -1.5,
    -0.75,
    -0.25,
    -1e-3,
    1e-8,
    1e-3,
    0.25,
    0.5,
    1.25,
    2.25,
    3.75,
    8.0,
    20.0,
    33.0,
    60.0,
)
PAIRS = ((0.5, 0.25), (0.25, 0.5), (1.0, 0.75), (3.0, 0.5), (1e-3, 2.0))


def cases() -> Iterator[tuple[str, tuple[float, ...], Any]]:
    """A function's name, its arguments, and the exact result, wherever that is a finite real number."""
    functions = [(row.name, row.definition(X)) for row in atoms.SCALARS if row.arity == 1]
    functions += [
        (name, function(X))
        for function, name in FUNCTIONS.items()
        if not function.__module__.startswith("symloss")
    ]
    functions += [(f"besseli{n}", sympy.besseli(n, X)) for n in range(3)]
    functions += [(name, sympy.polygamma(n, X)) for n, name in ((1, "trigamma"), (2, "tetragamma"))]
    for name, formula in functions:
        yield from _at(name, sympy.lambdify(X, formula, "mpmath"), [(x,) for x in PLACES])
    for row in atoms.SCALARS:
        if row.arity == 2:
            yield from _at(row.name, sympy.lambdify((X, Y), row.definition(X, Y), "mpmath"), PAIRS)


def _at(name: str, function: Any, places: Any) -> Iterator[tuple[str, tuple[float, ...], Any]]:
    for at in places:
        try:
            value = function(*map(mpf, at))
        except (ValueError, ZeroDivisionError, OverflowError):
            continue
        if isinstance(value, mpc):
            if value.imag != 0:
                continue
            value = value.real
        if isfinite(value) and abs(value) < 1e300 and not (name == "tetragamma" and at[0] <= 0):
            yield name, at, mpf(value)
