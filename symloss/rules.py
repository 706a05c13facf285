"""The stabilising rewrites, as data.

A `Rule` has a name, a pattern, a result, a guard and a reason. Patterns are SymPy expressions in the
wildcards `x`, `y`, ... ; sums and products match in any order, and where a sum (or product) has more terms
than the pattern, the rest is kept. A `Shape` is a rule whose pattern is a row, a whole sum or a whole
product, which wildcards can't say; it gives a function instead.

`LIFT` takes textbook forms to atoms, before anything is differentiated. `STABILISE` mends what
differentiation brings: what still cancels, overflows or becomes 0 * infinity. `UNSOUND` lists rules that look
right and are not, each with its counterexample; a test keeps them wrong.
"""

from __future__ import annotations

from dataclasses import dataclass

from sympy import (
    Expr,
    Integer,
    Rational,
    cosh,
    exp,
    log,
    sinh,
    sqrt,
    tanh,
)

from symloss import atoms as a
from symloss.matching import Bindings, Rule, Shape, x, y
from symloss.shapes import numbers, rows, stabilising

LIFT: tuple[Rule | Shape, ...] = (
    Shape("sign of a sum", numbers.find_distribute_sign, "-(a + b) is -a - b, exactly, and lets terms meet"),
    Rule("sigmoid", 1 / (1 + exp(-x)), a.sigmoid(x), "exp overflows for x below -709"),
    Rule(
        "sigmoid of a quotient",
        exp(x) * a.sigmoid(-x),
        a.sigmoid(x),
        "exp(x)/(1 + exp(x)) is infinity over infinity",
    ),
    Shape(
        "sigmoid in a power",
        numbers.find_sigmoid_power,
        "the power overflows even earlier than the exponential in it",
    ),
    Shape("softmax", rows.find_softmax, "exp overflows above 709; shifted by the maximum it can't"),
    Shape(
        "softmax with weights",
        rows.find_weighted_share,
        "the weights' logarithms are a part of the logits, and exp of their sum can't overflow",
    ),
    Rule("sigmoid of tanh", 1 + tanh(x), 2 * a.sigmoid(2 * x), "cancels where tanh is near -1"),
    Rule("complement of tanh", 1 - tanh(x), 2 * a.sigmoid(-2 * x), "cancels where tanh is near 1"),
    Shape("erfc", numbers.find_erfc, "1 - erf(x) and 2 - erfc(x) lose every digit where they are small"),
    Rule("1 - exp(x)", 1 - exp(x), -a.expm1(x), "exp(x) rounds to 1 for small x"),
    Shape(
        "complement",
        rows.find_complement,
        "1 - p loses every digit where p is near 1; as a function of its own it has all",
    ),
    Rule(
        "softplus",
        log(1 + exp(x)),
        a.softplus(x),
        "exp overflows for x above 709, and 1 + exp(x) rounds to 1 below -37",
    ),
    Rule(
        "log sigmoid",
        log(a.sigmoid(x)),
        -a.softplus(-x),
        "sigmoid underflows to 0 below -745, its logarithm doesn't",
    ),
    Rule(
        "softplus less x",
        a.softplus(x) - x,
        a.softplus(-x),
        "for large x the two agree, and their difference is e^-x",
    ),
    Rule(
        "log cosh of softplus",
        a.softplus(x) - x / 2,
        a.logcosh(x / 2) + log(2),
        "less its value at 0, it cancels there to second order",
    ),
    Rule(
        "log cosh of two softplus",
        a.softplus(x) + a.softplus(-x),
        2 * a.logcosh(x / 2) + 2 * log(2),
        "less its value at 0, it cancels there to second order",
    ),
    Shape(
        "exponentials in cases",
        rows.find_exp_in_cases,
        "a row with a margin at its label is a row of logits like others",
    ),
    Shape("log sum exp", rows.find_logsumexp, "exp overflows above 709; shifted by the maximum it can't"),
    Shape(
        "log softmax",
        rows.find_log_softmax,
        "the logarithm of a share that rounds to 0 or 1 is -infinity or 0",
    ),
    Shape(
        "power of a share",
        rows.find_share_power,
        "a share rounds to 0 below -745, where a power of it is far from 0",
    ),
    Rule("cosh", exp(x) + exp(-x), 2 * cosh(x), "one function for two"),
    Rule("sinh", exp(x) - exp(-x), 2 * sinh(x), "the two cancel near 0"),
    Rule("tanh", sinh(x) / cosh(x), tanh(x), "infinity over infinity above 710"),
    Shape(
        "log of a function",
        numbers.find_log_of_product,
        "the function overflows or vanishes where its logarithm doesn't",
    ),
    Rule("log of two exponentials", log(exp(x) + exp(y)), a.logaddexp(x, y), "exp overflows above 709"),
    Rule(
        "log1mexp", log(-a.expm1(x)), a.log1mexp(x), "1 - exp(x) cancels near 0 and rounds to 1 far from it"
    ),
    Rule(
        "log of a reciprocal",
        log(1 / x),
        -log(x),
        "1/x overflows for subnormal x",
        lambda found: found[x].is_nonnegative is True,
    ),
    Shape(
        "log of a quotient",
        numbers.find_log_quotient,
        "a/b near 1 has lost the digits that the logarithm needs",
    ),
    Shape("gap", numbers.find_entropy_gap, "x log(x/y), x and y agree to second order where x is near y"),
    Rule(
        "exp of expm1",
        1 + a.expm1(x),
        exp(x),
        "adding the 1 again loses what was left out, and log(1 + expm1(x)) is x",
    ),
    Rule(
        "x over expm1",
        x * a.bose(-x),
        a.over_expm1(x),
        "0 times infinity at 0, infinity times 0 far out; the quotient has both limits",
    ),
    Shape("numbers of a sum", numbers.find_numbers, "log 4 and 2 log 2 are rounded, and don't cancel"),
    Shape("1 + x^2", numbers.find_one_plus_square, "x^2 overflows above 1e154"),
    Rule("log1p", log(1 + x), a.log1p(x), "1 + x rounds away the digits of a small x"),
    Rule("x - log1p(x)", x - a.log1p(x), a.x_minus_log1p(x), "the two agree to second order at 0"),
    Rule("exp(x) - 1 - x", a.expm1(x) - x, a.expm1_minus_x(x), "the three agree to second order at 0"),
    Rule("expm1", exp(x) - 1, a.expm1(x), "exp(x) rounds to 1 for small x"),
    Shape("tilt", numbers.find_tilt, "both sides overflow above 1e154"),
    Shape("Box-Cox", numbers.find_box_cox, "(X^a - 1)/a cancels for small a, and is 0/0 at its limit"),
    Shape("norm", rows.find_norm, "squares overflow above 1e154 and vanish below 1e-162"),
    Shape("unit vector", rows.find_unit, "a quotient of two small or two large numbers; 0 for the zero row"),
    Shape(
        "projection", rows.find_unit_projection, "the sum's products overflow where the unit vector's don't"
    ),
    Shape(
        "powers",
        numbers.find_powers,
        "b times b^(g - 1) is 0 times infinity where b is 0 and g below 1; b^g is finite",
    ),
    Shape("0 log 0", numbers.find_zero_times_log, "0 times infinity is NaN, and its limit here is 0"),
    Shape("zero over", numbers.find_zero_quotient, "the derivative of 0 log 0 is 0, not 0/0"),
)

STABILISE: tuple[Rule | Shape, ...] = (
    Shape(
        "complement", rows.find_complement, "T - T p loses every digit where p is near 1; T (1 - p) has all"
    ),
    Shape(
        "log p over 1 - p",
        stabilising.find_log_over_complement,
        "0 times infinity where p is 1; the quotient's limit is -1",
    ),
    Shape(
        "complement of a power",
        numbers.find_complement_of_power,
        "1 - (1 - x)^n loses every digit of a small x",
    ),
    Shape(
        "difference of sigmoids",
        numbers.find_sigmoid_difference,
        "sigmoid(x) and 1 - sigmoid(x) agree at 0, where tanh(x/2) keeps every digit",
    ),
    Shape(
        "share of a total",
        stabilising.find_share_of_total,
        "a share near 1 times the total cancels against the entry",
    ),
    Shape(
        "common factor",
        stabilising.find_common_factor,
        "what all terms of a sum share belongs before the bracket",
    ),
    Shape(
        "root over itself",
        stabilising.find_root_over_itself,
        "the derivative of sqrt(p) - sqrt(q) is 0/0 where both are 0; as a sum its terms have limits",
    ),
    Shape(
        "centred", stabilising.find_centred, "an entry less the mean of all cancels where one share is near 1"
    ),
    Shape(
        "complement of a cosine",
        stabilising.find_cosine_complement,
        "1 - cos loses every digit where vectors are parallel; the distance of unit vectors has them",
    ),
    Shape("own direction", stabilising.find_own_direction, "what is projected away needn't be computed"),
    Shape(
        "constant part",
        stabilising.find_constant_rational,
        "terms that add up to a constant only leave rounding errors",
    ),
    Shape(
        "one fraction",
        stabilising.find_one_fraction,
        "fractions that nearly cancel; over one denominator nothing does",
    ),
)

#: Applied last: guards, behind which other rules can't see.
GUARD: tuple[Rule | Shape, ...] = (
    Shape(
        "share in a case",
        stabilising.find_share_in_case,
        "p - 1 loses every digit where p is near 1; in its own case it is the complement",
    ),
    Shape(
        "0 times a power", numbers.find_zero_times_power, "0 times infinity is NaN, and its limit here is 0"
    ),
)


@dataclass(frozen=True)
class Unsound:
    """A rule that looks right, and the input at which it is wrong."""

    name: str
    pattern: Expr
    result: Expr
    counterexample: Bindings
    why: str


UNSOUND = (
    Unsound(
        "two-term logsumexp",
        log(exp(x) + exp(y)),
        x + log(1 + exp(y)),
        {x: Integer(1), y: Integer(1)},
        "SymPy's logsumexp_2terms_opt: the shift is missing from the second exponent; 2.313 for 1.693",
    ),
    Unsound("sqrt(x^2) to x", sqrt(x**2), x, {x: Integer(-1)}, "holds for x >= 0 only"),
    Unsound(
        "softplus is x beyond 20",
        log(1 + exp(x)),
        x,
        {x: Integer(21)},
        "PyTorch's threshold, in every precision: a relative error of 3.6e-11 at 21 in float64",
    ),
    Unsound(
        "1 - sigmoid^2",
        1 - a.sigmoid(x) ** 2,
        a.sigmoid(-x),
        {x: Rational(1)},
        "the complement of a square is not the square of the complement",
    ),
)
