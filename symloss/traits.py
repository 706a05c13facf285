"""The mathematical properties of a loss, derived from its formula: proved, refuted with a point, or unknown.

A trait is a statement about the loss as a function of all its predictions together, for every target in its
domain, every label, every value of the parameters in their domains, and every size of the core dimensions
from 2 on (a point may have size 1, where the same fails). It is

    proved    by calculus and composition rules in exact arithmetic, with signs by shape or by intervals;
    refuted   at a `point`: where a number is given, the oracle confirmed it to 25 digits or the equality is
              exact; where something grows or vanishes, `-> oo` and `-> 0` say on the way to where, by exact
              limits;
    unknown   else. That no counterexample was found proves nothing.

Domains are taken as the spec says them: entries of a row in [0, 1] need not sum to 1. Where the loss has an
infinite or no value (the log of 0 at the end of [0, 1], the direction of a zero row), derivatives are those
in the interior of the domain. Norms are 2-norms of the whole gradient and Hessian.

What the names mean:

    convex, strictly_convex          on the domain
    strongly_convex                  loss - m/2 |predictions|^2 is convex; `value` is the largest m
    smooth                           continuously differentiable; `value` is the k of C^k, infinity for all k,
                                     0 for a kink, None where the loss jumps or has no value
    symmetric                        prediction and target, or the two predictions, can change places
    translation_invariant            adding one number to every entry of the predictions, and of real targets
                                     of the same shape, changes nothing
    permutation_invariant            nor does one order of the entries of a dimension for all inputs
    lipschitz, lipschitz_gradient    in the predictions; `value` is the best constant (None: not known)
    bounded_below, bounded_above     for each target; `value` is the best bound over all of them
    nonnegative                      never below 0
    minimum_at_target                for each target, the loss is least where the prediction equals it
    robust                           as a residual grows, its entry of the gradient stays bounded
    redescending                     and goes to 0

A trait that makes no sense is left out: `symmetric` and `minimum_at_target` need two inputs of one shape and
domain, `translation_invariant` predictions over all reals, `permutation_invariant` a core dimension, `robust`
and `redescending` a loss of residuals.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sympy import Expr

from symloss.derive import Derivation
from symloss.proofs import bounds, convexity, symmetry
from symloss.proofs.study import Study
from symloss.proofs.verdict import Verdict

#: From each trait's name to what judges it, in the order in which they are given.
_JUDGES: dict[str, Callable[[Study], Verdict | None]] = {
    "convex": convexity.convex,
    "strictly_convex": convexity.strictly_convex,
    "strongly_convex": convexity.strongly_convex,
    "smooth": convexity.smooth,
    "symmetric": symmetry.symmetric,
    "translation_invariant": symmetry.translation_invariant,
    "permutation_invariant": symmetry.permutation_invariant,
    "lipschitz": bounds.lipschitz,
    "lipschitz_gradient": bounds.lipschitz_gradient,
    "bounded_below": bounds.bounded_below,
    "bounded_above": bounds.bounded_above,
    "nonnegative": bounds.nonnegative,
    "minimum_at_target": symmetry.minimum_at_target,
    "robust": bounds.robust,
    "redescending": bounds.redescending,
}

#: The names of traits, in the order in which they are given.
NAMES: tuple[str, ...] = tuple(_JUDGES)

#: Every reason that a trait can have, by a key that stands in the code.
REASONS: dict[str, str] = {
    "unknown": "Neither a proof nor a counterexample was found.",
    "curvature": "The second derivative is never negative, and the slope never falls where two pieces meet.",
    "composition": "It is composed of convex functions by rules that keep convexity.",
    "bends down": "The second derivative is negative at this point.",
    "middle above": "In the middle of this segment the loss lies above the mean of its ends.",
    "not convex": "It isn't even convex.",
    "strict": "The slope rises everywhere.",
    "straight": "On this segment the loss is straight.",
    "strong": "The second derivative never falls below the constant.",
    "flat at a point": "The second derivative is 0 at this point.",
    "flat far out": "The second derivative comes near 0.",
    "all derivatives": "All derivatives exist.",
    "finitely many": "The derivatives agree where pieces meet, up to this order.",
    "kink": "At this point the slope jumps.",
    "jump": "At this point the loss jumps.",
    "no value": "At this point the loss has no value.",
    "same formula": "The formula stays the same.",
    "differs": "At this point the value changes.",
    "indices": "Indices only say which entry is meant.",
    "bounded slope": "The gradient is bounded.",
    "unbounded slope": "The gradient grows beyond all bounds.",
    "bounded curvature": "The second derivatives are bounded.",
    "unbounded curvature": "The second derivative grows beyond all bounds.",
    "lowest": "The values at all minima and limits are bounded from below.",
    "sign": "No part of the formula can be negative.",
    "highest": "The values at all maxima and limits are bounded from above.",
    "bounded parts": "Every part of the formula is bounded.",
    "falls": "The loss falls below all bounds.",
    "grows": "The loss grows beyond all bounds.",
    "negative": "At this point the loss is negative.",
    "negative row": "At this point the loss is negative; the entries of a row need not sum to 1.",
    "least value": "Where prediction and target are equal, the loss has its least value.",
    "slope zero": "It is convex, and its slope changes sign where prediction and target are equal.",
    "lower elsewhere": "At this point the loss is lower than where the prediction equals the target.",
    "lower in a row": (
        "At this point the loss is lower than where the prediction equals the target; "
        "the entries of a row need not sum to 1."
    ),
    "slope limit": "The gradient has a finite limit as the residual grows.",
    "slope grows": "The gradient grows with the residual.",
    "slope vanishes": "The gradient goes to 0 as the residual grows.",
    "slope stays": "The gradient doesn't go to 0 as the residual grows.",
}


@dataclass(frozen=True)
class Trait:
    """One property of a loss.

    `name` is one of `NAMES`; `verdict` is "proved", "refuted" or "unknown"; `why` is one of the sentences of
    `REASONS`. `value` is the constant, bound or class that belongs to it, in the loss's parameters and sizes.
    `point` is where a refuted trait fails: pairs of what and its number, in reading order.
    """

    name: str
    verdict: str
    why: str
    value: Expr | None = None
    point: tuple[tuple[str, str], ...] = ()


def traits(derivation: Derivation) -> tuple[Trait, ...]:
    """What is proved, refuted and unknown of a loss, in the order of `NAMES`.

    Args:
        derivation: what `symloss.derive.derive` gives.
    """
    study = Study(derivation)
    found = []
    for name, judge in _JUDGES.items():
        verdict = judge(study)
        if verdict is not None:
            found.append(Trait(name, verdict.verdict, REASONS[verdict.reason], verdict.value, verdict.point))
    return tuple(found)
