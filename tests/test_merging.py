"""Calls of functions that branches share when each lane takes a branch of its own."""

from __future__ import annotations

import numpy as np
import pytest
import sympy
from sympy import Piecewise, Symbol, exp, log

import symloss
from symloss import atoms
from symloss.merging import merged
from symloss.program import Assign, Load, Store
from symloss.spec import Prediction, Target, loss

z, g, value = Symbol("z", real=True), Symbol("g", nonnegative=True), Symbol("value")
TEST = sympy.Gt(z, 0, evaluate=False)


def named(wish: str) -> Symbol:
    return Symbol(f"{wish}_{next(named.count)}", real=True)


@pytest.fixture(autouse=True)
def count():
    named.count = iter(range(100))


def branch(*exprs):
    return [Assign(value, exprs[0]), *(Store(f"out_{n}", (), expr) for n, expr in enumerate(exprs[1:]))]


def unfolded(statements, ahead):
    """What a branch computes once the merged calls are put back, for the branch number 0 or 1."""
    results = []
    for number in (0, 1):
        known = {}
        for statement in ahead:
            expr = statement.value.subs(known)
            pick = lambda e, n=number: e.args[min(n, len(e.args) - 1)][0]  # noqa: E731
            known[statement.name] = expr.replace(lambda e: isinstance(e, Piecewise), pick)
        results.append([statement.value.subs(known) for statement in statements[number]])
    return results


def test_the_same_function_is_called_once_with_the_argument_of_the_branch():
    branches = [
        (TEST, branch(atoms.softplus(-z) * atoms.sigmoid(-z) ** g, atoms.sigmoid(-z))),
        (None, branch(3 * atoms.softplus(z) * atoms.sigmoid(z) ** g, -atoms.sigmoid(z))),
    ]
    ahead, after = merged(branches, named)
    calls = [type(statement.value).__name__ for statement in ahead]
    assert sorted(calls) == ["Piecewise", "Pow", "sigmoid", "softplus"]
    assert not any(s.value.has(atoms.softplus, atoms.sigmoid, sympy.Pow) for _, body in after for s in body)
    got = unfolded([body for _, body in after], ahead)
    for (_, body), found in zip(branches, got, strict=True):
        for statement, expr in zip(body, found, strict=True):
            assert sympy.simplify(statement.value - expr) == 0


def test_a_function_of_the_negative_takes_the_negative_of_the_choice():
    """So that sigmoid(x) and sigmoid(-x) have one exponential."""
    branches = [
        (TEST, branch(atoms.sigmoid(-z), atoms.softplus(z) + atoms.sigmoid(z))),
        (None, branch(atoms.sigmoid(z), 2 * atoms.softplus(-z) - atoms.sigmoid(-z))),
    ]
    ahead, _ = merged(branches, named)
    choices = [statement.name for statement in ahead if isinstance(statement.value, Piecewise)]
    assert len(choices) == 1
    arguments = [statement.value.args[0] for statement in ahead if not isinstance(statement.value, Piecewise)]
    assert sorted(arguments, key=str) == sorted([choices[0], -choices[0], -choices[0]], key=str)


def test_names_of_a_branch_are_put_in_first():
    e = Symbol("e", real=True)
    branches = [
        (TEST, [Assign(e, exp(-z)), Assign(value, e * (e + 1))]),
        (None, [Assign(e, exp(z)), Assign(value, e)]),
    ]
    ahead, after = merged(branches, named)
    assert [type(statement.value) for statement in ahead] == [Piecewise, exp]
    assert all(e not in statement.value.free_symbols for _, body in after for statement in body)


@pytest.mark.parametrize(
    "branches",
    [
        [(TEST, branch(exp(z))), (None, branch(z))],  # one branch has no call
        [(TEST, branch(exp(z))), (None, branch(log(z + 2)))],  # another function
        [(TEST, branch(atoms.sigmoid(z) ** g)), (None, branch(z**2))],  # an integer power is a product
        [(TEST, branch(exp(z)))],  # no last branch: some lanes take none
    ],
)
def test_nothing_to_merge(branches):
    assert merged(branches, named) is None


def test_loads_stay_ahead_of_the_branches():
    load = Load(z, "logits", ())
    branches = [(TEST, [load, *branch(exp(z))]), (None, [load, *branch(exp(-z))])]
    ahead, _ = merged(branches, named)
    assert ahead[0] == load
    assert ahead.count(load) == 1


@loss(title="Two sides")
def two_sides(prediction: Prediction, target: Target):
    r = prediction - target
    return Piecewise((exp(r) - 1 - r, r > 0), (2 * (exp(-r / 2) - 1 + r / 2), True))


def test_a_merged_kernel_gives_what_its_branches_give():
    made = symloss.compile(two_sides)
    r = np.linspace(-20, 20, 101)
    got, grad = made.value_and_grad(r, np.zeros(101), reduction="none")
    with np.errstate(over="ignore"):
        wanted = np.where(r > 0, np.expm1(r) - r, 2 * (np.expm1(-r / 2) + r / 2))
        slope = np.where(r > 0, np.expm1(r), -np.expm1(-r / 2))
    np.testing.assert_allclose(got, wanted, rtol=1e-14)
    np.testing.assert_allclose(grad, slope, rtol=1e-14)
