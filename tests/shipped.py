"""The shipped losses as the generator sees them. A worker makes each once: some take seconds, and many tests look at them."""

from __future__ import annotations

from functools import cache

from symloss.catalog import standard
from symloss.derive import Derivation, derive
from symloss.lower import lower
from symloss.program import Program


@cache
def derived(name: str) -> Derivation:
    """What is derived from a loss."""
    return derive(standard().loss(name))


@cache
def lowered(name: str, entry: str, products: bool = False) -> Program:
    """What an entry point of a loss computes, step by step."""
    return lower(derived(name), entry, products)
