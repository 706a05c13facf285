"""Every spec by name, for use inside other specs.

    from symloss.losses import center, softmax_cross_entropy

looks into the folder that is being loaded, and then into the shipped specs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from symloss.spec import LossSpec


def __getattr__(name: str) -> LossSpec:
    """The spec called `name`."""
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from symloss.catalog import current

    return current().spec(name)


def __dir__() -> list[Any]:
    """The names of the specs at hand."""
    from symloss.catalog import current

    return sorted(current().names())
