"""Formulas as LaTeX: exact spellings, and the value that a reader would compute from what is printed."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
from formulas import evaluate
from latex_reader import read
from sympy import (
    Abs,
    Eq,
    Function,
    Interval,
    Mul,
    Ne,
    Piecewise,
    Rational,
    S,
    Symbol,
    besseli,
    digamma,
    erf,
    exp,
    log,
    loggamma,
    pi,
    polygamma,
    sqrt,
    tanh,
)
from sympy.core.parameters import distribute

from symloss.catalog import Catalog
from symloss.index import Delta, Entry, Index, Max, Min, Product, Sum
from symloss.printers.latex import is_enclosed, is_sum, latex, legend, printer_for
from symloss.printers.layout import LINE, abbreviate, block, lines, width
from symloss.printers.notation import standard, symbols
from symloss.spec import LabelIndex, Loss

k, j = Index("k", "K"), Index("j", "K")
c, h, w = Index("c", "C"), Index("h", "H"), Index("w", "W")
t = LabelIndex("label", "K")
z, p, x, y, a, b = (Symbol(name, real=True) for name in ("logits", "p", "x", "y", "a", "b"))
prediction, target = Symbol("prediction", real=True), Symbol("target", real=True)
delta = Symbol("delta", positive=True)
features = Symbol("features", real=True)


def row(base, at=k):
    return Entry(base, at)


SPELLINGS = [
    (lambda: -log(row(z, t)), r"-\log\left(z_{t}\right)"),
    (
        lambda: exp(row(z)) / Sum(exp(row(z)), k) - Delta(k, t),
        r"\frac{e^{z_{k}}}{\sum_{j=1}^{K} e^{z_{j}}} - \left[k = t\right]",
    ),
    (
        lambda: Sum(row(p) * log(row(p) / row(z)), k),
        r"\sum_{k=1}^{K} p_{k} \log\left(\frac{p_{k}}{z_{k}}\right)",
    ),
    (
        lambda: Sum((Entry(features, c, h, w) - 1) ** 2, c, h, w) / c.size / h.size,
        r"\frac{1}{C H} \sum_{c,h,w} \left(x_{c,h,w} - 1\right)^{2}",
    ),
    (
        lambda: Sum(
            Sum(Entry(features, c, h) * Entry(features, Index("d", "C"), h), h) ** 2, c, Index("d", "C")
        ),
        r"\sum_{c,c'} \left(\sum_{h=1}^{H} x_{c,h} x_{c',h}\right)^{2}",
    ),
    (lambda: Max(row(z), k) - row(z, t), r"\left(\max_{k} z_{k}\right) - z_{t}"),
    (lambda: Max(row(z), k) - Min(row(z), k), r"\left(\max_{k} z_{k}\right) - \min_{k} z_{k}"),
    (lambda: Product(row(z), k), r"\prod_{k=1}^{K} z_{k}"),
    (lambda: Max(0, x - delta), r"\max\left(0, x - \delta\right)"),
    (lambda: Sum(row(z), k) ** 2, r"\left(\sum_{k=1}^{K} z_{k}\right)^{2}"),
    (lambda: Sum(row(z), k) * Sum(row(p), k), r"\left(\sum_{k=1}^{K} z_{k}\right) \sum_{k=1}^{K} p_{k}"),
    (lambda: Sum(row(z) - 1, k) / 2, r"\frac{1}{2} \sum_{k=1}^{K} \left(z_{k} - 1\right)"),
    (lambda: (prediction - target) ** 2 / 2, r"\frac{\left(\hat{y} - y\right)^{2}}{2}"),
    (lambda: 1 / sqrt(1 + x**2), r"\frac{1}{\sqrt{1 + x^{2}}}"),
    (lambda: x ** Rational(-3, 2), r"\frac{1}{x^{3/2}}"),
    (lambda: (-x) ** delta, r"\left(-x\right)^{\delta}"),
    (lambda: tanh(x) ** 2, r"\tanh^{2}\left(x\right)"),
    (lambda: Abs(x) ** delta, r"\left\lvert x \right\rvert^{\delta}"),
    (lambda: exp(-((x - y) ** 2) / 2), r"\exp\left(-\frac{\left(x - y\right)^{2}}{2}\right)"),
    (lambda: Eq(prediction - target, 0), r"\hat{y} = y"),
    (lambda: Eq(x, 0), "x = 0"),
    (lambda: Ne(x, y), r"x \neq y"),
    (lambda: Abs(x) <= delta, r"\left\lvert x \right\rvert \leq \delta"),
    (
        lambda: Piecewise((x, x > 0), (0, True)),
        r"\begin{cases} x & \text{if } x > 0 \\ 0 & \text{otherwise} \end{cases}",
    ),
    (lambda: besseli(0, x), r"I_{0}\left(x\right)"),
    (lambda: loggamma(x) + digamma(x), r"\log\Gamma\left(x\right) + \psi\left(x\right)"),
    (lambda: polygamma(1, x) ** 2, r"\left(\psi'\left(x\right)\right)^{2}"),
    (lambda: Function("two_words")(x), r"\operatorname{two\_words}\left(x\right)"),
    (lambda: 2 * pi * x, r"2 \pi x"),
    (lambda: Interval(0, S.Infinity), r"\left[0, \infty\right)"),
]


@pytest.mark.parametrize(("make", "printed"), SPELLINGS, ids=[printed for _, printed in SPELLINGS])
def test_spelling(make, printed):
    assert latex(make()) == printed


@pytest.mark.parametrize(
    ("name", "letter"),
    [
        ("prediction", r"\hat{y}"),
        ("gamma", r"\gamma"),
        ("m", "m"),
        ("p_t", "p_{t}"),
        ("alpha_t", r"\alpha_{t}"),
        ("style_features", r"x^{\mathrm{style}}"),
        ("u_12", "u_{12}"),
        ("shape", r"\mathrm{shape}"),
        ("two_words", r"\mathrm{two\_words}"),
        ("a_b_c", r"\mathrm{a\_b\_c}"),
    ],
)
def test_names_have_standard_letters(name, letter):
    assert standard(name) == letter


def test_a_letter_with_a_superscript_is_bracketed_before_it_is_raised():
    assert latex(Symbol("style_features", real=True) ** 2) == r"\left(x^{\mathrm{style}}\right)^{2}"


def scalars():
    with distribute(False):
        return [
            -(x * y + (1 - x) * log(y)),
            -(x + 1),
            -2 * (x + 1),
            -(x + 1) / 2,
            1 / (2 * (x + 1)),
            -1 / (x * (x + 1)),
            x / (y / (x + 1)),
            (x - 1) - (y - x),
            Mul(-1, x - y, evaluate=False),
            x * (-y),
            (x / y) ** 2,
            -(x**2),
            (x**y) ** 2,
            x ** (y**2),
            -(x - 1) * (y - 1) / 3,
            2**x * 3,
            exp(x) ** 2,
            exp(-x * y) / x,
            (x + y) ** 3,
            Mul(x, Rational(-1, 2), -y, evaluate=False),
            Mul(2, Rational(3, 4), evaluate=False),
            sqrt(x + y) / (1 - x),
            (1 - 1 / (1 + exp(-x))) ** y * log(x),
            Piecewise((x - 1, x > y), (y - x, True)) * (x + 2),
            x - Piecewise((log(x - 1), x > y), (y + x, True)),
            1 / Piecewise((2 * x, x > y), (y, True)),
            Max(0, y - x) ** 2 / 2,
            x - Max(x, y) * 2,
            tanh(x + y) ** 2 / 4,
            log(x + y) ** 3 - erf(x),
            Abs(x - y) / 2,
            (-x) ** 2 * Rational(1, 3) ** x,
            x ** Rational(3, 2) * y ** Rational(-1, 2),
            exp(x - y) * (x + y) * x * 2 * sqrt(y),
        ]


@pytest.mark.parametrize("expr", scalars(), ids=str)
def test_a_reader_computes_the_same_number(expr):
    values = {"x": 0.37, "y": 1.61}
    expected = float(expr.subs({x: 0.37, y: 1.61}))
    assert read(latex(expr), values) == pytest.approx(expected, rel=1e-12)


# --- the shipped losses ---------------------------------------------------------------------------------

LOSSES = {loss.name: loss for loss in Catalog().load()[0]}


def data(loss: Loss, seed: int = 3) -> list[np.ndarray]:
    """One sample inside every domain; sizes of dimensions differ."""
    rng = np.random.default_rng(seed)
    sizes = {dim: 2 + position for position, dim in enumerate(loss.dims)}
    arrays = []
    for item in loss.inputs:
        shape = tuple(sizes[dim] for dim in item.dims)
        if item.kind == "label":
            arrays.append(np.array(1))
        elif item.domain == S.Reals:
            arrays.append(rng.normal(size=shape))
        elif item.domain.is_FiniteSet:
            arrays.append(np.ones(shape))
        else:
            arrays.append(rng.uniform(0.1, 0.9, size=shape))
    return arrays


def read_loss(loss: Loss, printed: str, arrays: list[np.ndarray]) -> float:
    names = symbols(loss)
    values = {names[item.name]: array for item, array in zip(loss.inputs, arrays, strict=True)}
    values |= {names[item.name]: float(item.default) for item in loss.parameters}
    sizes = {
        dim: n
        for item, array in zip(loss.inputs, arrays, strict=True)
        for dim, n in zip(item.dims, array.shape, strict=True)
    }
    return read(printed, values, sizes)


@pytest.mark.parametrize("name", LOSSES)
def test_the_printed_formula_has_the_value_of_the_loss(name):
    loss = LOSSES[name]
    arrays = data(loss)
    got = read_loss(loss, latex(loss.formula, symbols(loss)), arrays)
    assert got == pytest.approx(evaluate(loss, *arrays), rel=1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_letters_are_unique_and_in_the_legend(name):
    loss = LOSSES[name]
    letters = [letter for letter, _ in legend(loss)]
    assert [item for _, item in legend(loss)] == [item.name for item in (*loss.inputs, *loss.parameters)]
    assert len(set(symbols(loss).values())) == len(symbols(loss))
    assert all(
        symbols(loss)[item] in letter
        for letter, item in zip(letters, [i for _, i in legend(loss)], strict=True)
    )


# --- layout ---------------------------------------------------------------------------------------------


def test_brackets_are_told_apart():
    assert is_sum(r"a + \frac{b}{c}") and is_sum("-a")
    assert not is_sum(r"\left(a + b\right) \frac{c - d}{2}")
    assert is_enclosed(r"\left(a + b\right)") and is_enclosed(r"\left\lvert a \right\rvert")
    assert not is_enclosed(r"\left(a\right) \left(b\right)") and not is_enclosed(r"a \left(b\right)")


def test_width_counts_what_is_seen():
    assert width("x + y") == 3
    assert width(r"\frac{a + b + c}{x}") == width("a + b + c")
    assert width(r"\left(x\right)") == 3
    assert width(r"\begin{cases} x & \text{if } x > 0 \\ y & z \end{cases}") < width(
        r"x x \text{if } x > 0 y z"
    )


def test_a_narrow_formula_keeps_its_parts_and_a_wide_one_names_those_that_repeat():
    narrow = (x - y) ** 2 + (x - y)
    assert abbreviate(narrow, {}, {}).where == ()
    part = exp(-x) / (1 + exp(-x)) ** 2
    wide = sum((part * (y + n) ** n * log(part + n) for n in range(2, 8)), S.Zero)
    short = abbreviate(wide, {}, {})
    assert short.where
    values = {}
    for letter, meaning in reversed(short.where):  # a later part can be inside an earlier one
        values[latex(letter)] = read(latex(meaning), {"x": 0.3, "y": 1.1} | values)
    assert read(latex(short.expr), {"x": 0.3, "y": 1.1} | values) == pytest.approx(
        float(wide.subs({x: 0.3, y: 1.1}))
    )


def test_names_of_the_spec_are_taken_first():
    part = exp(-x) / (1 + exp(-x)) ** 2
    wide = sum((part * (y + n) ** n * log(part + n) for n in range(2, 8)), S.Zero)
    letters = [letter.name for letter, _ in abbreviate(wide, {}, {part: "slope"}).where]
    assert letters[0] == "slope"
    assert "slope" not in [
        letter.name for letter, _ in abbreviate(wide, {"slope": "s"}, {part: "slope"}).where
    ]


def test_a_long_sum_is_broken_before_its_signs():
    expr = sum((log(1 + x**n) * (-1) ** n for n in range(2, 20)), S.Zero)
    rows = lines(r"\ell", expr, printer_for(expr))
    assert len(rows) > 2
    assert rows[0].startswith(r"\ell &= ") and all(re.match(r"& \\qquad [+-] ", row) for row in rows[1:])
    assert all(width(row) <= LINE + 10 for row in rows)
    assert block(rows).startswith(r"\begin{aligned}")
    joined = " ".join(row.replace(r"\ell &= ", "").replace(r"& \qquad ", "") for row in rows)
    assert math.isclose(read(joined, {"x": 0.7}), float(expr.subs(x, 0.7)), rel_tol=1e-12)


def test_nothing_here_depends_on_the_specs_of_this_folder():
    assert len(LOSSES) >= 21
    assert Path(LOSSES["huber"].file).name == "huber.py"
