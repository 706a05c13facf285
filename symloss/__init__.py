"""symloss: from a textbook formula to verified kernels and documentation.

    import symloss
    huber = symloss.compile("my_specs/huber.py")      # derives, prints and loads the kernels
    value, grad = huber.value_and_grad(prediction, target)

Importing the package costs nothing: SymPy and Numba are loaded when they are first needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["SpecError", "SymlossError", "UnsupportedError", "__version__", "compile", "loss"]

if TYPE_CHECKING:
    from symloss.compiled import compile
    from symloss.errors import SpecError, SymlossError, UnsupportedError
    from symloss.spec import loss

_HOMES = {
    "compile": "symloss.compiled",
    "loss": "symloss.spec",
    "SpecError": "symloss.errors",
    "SymlossError": "symloss.errors",
    "UnsupportedError": "symloss.errors",
}


def __getattr__(name: str) -> Any:
    """Load what is asked for from the module that defines it."""
    from importlib import import_module

    if name in _HOMES:
        value = globals()[name] = getattr(import_module(_HOMES[name]), name)
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names."""
    return sorted(__all__)
