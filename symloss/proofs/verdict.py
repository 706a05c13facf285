"""What is found of one trait of a loss."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import NamedTuple

from sympy import Expr

from symloss.proofs.study import Study
from symloss.proofs.witness import Pairs


class Verdict(NamedTuple):
    """The verdict, a key of `symloss.traits.REASONS`, the value and the point."""

    verdict: str
    reason: str
    value: Expr | None = None
    point: Pairs = ()

    @property
    def proved(self) -> bool:
        """Whether the trait holds."""
        return self.verdict == "proved"


UNKNOWN = Verdict("unknown", "unknown")


def proved(reason: str, value: Expr | None = None) -> Verdict:
    """The trait holds."""
    return Verdict("proved", reason, value)


def refuted(reason: str, point: Pairs, value: Expr | None = None) -> Verdict:
    """The trait fails at a point."""
    return Verdict("refuted", reason, value, point)


def once(judge: Callable[[Study], Verdict]) -> Callable[[Study], Verdict]:
    """A judgement that others ask for too: it is made once for a loss."""

    @wraps(judge)
    def judged(study: Study) -> Verdict:
        if judge.__name__ not in study.known:
            study.known[judge.__name__] = judge(study)
        return study.known[judge.__name__]

    return judged
