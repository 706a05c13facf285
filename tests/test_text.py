"""Formulas as one line of text: exact spellings, and the value of what is printed."""

from __future__ import annotations

import math
import re

import pytest
from sympy import (
    Abs,
    And,
    Eq,
    Function,
    Mul,
    Or,
    Piecewise,
    Rational,
    Symbol,
    digamma,
    exp,
    log,
    polygamma,
    sqrt,
)
from sympy.core.parameters import distribute

from symloss.catalog import Catalog
from symloss.index import Binder, Delta, Entry, Index, Max, Min, Sum
from symloss.printers.text import plain_name, text
from symloss.spec import LabelIndex

k, c, h = Index("k", "K"), Index("c", "C"), Index("h", "H")
t = LabelIndex("label", "K")
z, p, x, y = (Symbol(name, real=True) for name in ("logits", "p", "x", "y"))
delta = Symbol("delta", positive=True)


class SomeRow(Binder):
    """An atom of a row, as the table of atoms has them."""


SPELLINGS = [
    (lambda: Sum(Entry(p, k) * log(Entry(p, k) / Entry(z, k)), k), "sum_k p[k] * log(p[k]/logits[k])"),
    (lambda: -Sum(Entry(p, k), k), "-sum_k p[k]"),
    (lambda: 1 - Sum(Entry(p, k), k), "1 - sum_k p[k]"),
    (lambda: x / Sum(Entry(p, k), k), "x/(sum_k p[k])"),
    (lambda: Sum(Entry(p, k) + 1, k) / 2, "1/2 * sum_k (1 + p[k])"),
    (lambda: Sum(Entry(p, c, h) ** 2, c, h), "sum_{c,h} p[c, h]^2"),
    (lambda: Max(Entry(z, k), k) - Min(Entry(z, k), k), "(max_k logits[k]) - min_k logits[k]"),
    (lambda: exp(Entry(z, k)) / Sum(exp(Entry(z, k)), k) - Delta(k, t),
     "exp(logits[k])/(sum_j exp(logits[j])) - [k = label]"),
    (lambda: SomeRow(Entry(z, k), k, t) * 2, "2 * some_row_k(logits[k])[label]"),
    (lambda: Entry(z, k) - SomeRow(Entry(z, k), k), "logits[k] - some_row_j(logits[j])"),
    (lambda: Piecewise((x**2 / 2, Abs(x) <= delta), (delta * (Abs(x) - delta / 2), True)),
     "{ x^2/2  if |x| <= delta;  delta * (|x| - delta/2)  otherwise }"),
    (lambda: Piecewise((x, And(x > 0, y > 0)), (y, Or(x > 1, Eq(y, 2))), (0, True)),
     "{ x  if x > 0 and y > 0;  y  if y = 2 or x > 1;  0  otherwise }"),
    (lambda: sqrt(x**2 + 1), "sqrt(1 + x^2)"),
    (lambda: x ** Rational(3, 2) / y, "x^(3/2)/y"),
    (lambda: (x**y) ** x, "(x^y)^x"),
    (lambda: x ** (y**2), "x^(y^2)"),
    (lambda: Max(0, delta - x) ** 2, "max(0, delta - x)^2"),
    (lambda: Eq(x - y, 0), "x = y"),
    (lambda: digamma(x) + polygamma(1, x), "digamma(x) + polygamma(1, x)"),
    (lambda: Function("log1p")(x), "log1p(x)"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "printed"), SPELLINGS, ids=[printed for _, printed in SPELLINGS])
def test_spelling(make, printed):
    assert text(make()) == printed


@pytest.mark.parametrize(
    ("name", "plain"),
    [("LogSumExp", "log_sum_exp"), ("Softmax", "softmax"), ("log1p", "log1p"), ("ratio0", "ratio0")],
)
def test_class_names_become_plain(name, plain):
    assert plain_name(name) == plain


def scalars():
    with distribute(False):
        return [
            -(x * y + (1 - x) * log(y)),
            -2 * (x + 1),
            -(x + 1) / 2,
            1 / (2 * (x + 1)),
            -1 / (x * (x + 1)),
            x / (y / (x + 1)),
            (x - 1) - (y - x),
            Mul(-1, x - y, evaluate=False),
            Mul(x, Rational(-1, 2), -y, evaluate=False),
            (x / y) ** 2,
            -(x**2),
            (-x) ** 2 * Rational(1, 3) ** x,
            (x**y) ** 2,
            x ** (y**2),
            x**-y,
            exp(x - y) * (x + y) * 2 * sqrt(y),
            (1 - 1 / (1 + exp(-x))) ** y * log(y),
            Abs(x - y) ** 3 / 2,
            Piecewise((x - 1, x > y), (y - x, True)) * (x + 2),
            x - Piecewise((log(x), x > y), (y + x, True)),
        ]


@pytest.mark.parametrize("expr", scalars(), ids=str)
def test_a_reader_computes_the_same_number(expr):
    code = re.sub(r"\|([^|]*)\|", r"abs(\1)", text(expr)).replace("^", "**")
    code = re.sub(r"\{ (.*?)  if (.*?);  (.*?)  otherwise \}", r"((\1) if (\2) else (\3))", code)
    got = eval(code, {"exp": math.exp, "log": math.log, "sqrt": math.sqrt, "x": 0.37, "y": 1.61})
    assert got == pytest.approx(float(expr.subs({x: 0.37, y: 1.61})), rel=1e-12)


@pytest.mark.parametrize("loss", Catalog().load()[0], ids=lambda loss: loss.name)
def test_shipped_formulas_are_one_plain_line(loss):
    line = text(loss.formula)
    assert line.isascii() and "\n" not in line
    assert all(line.count(a) == line.count(b) for a, b in ("()", "[]", "{}"))
    assert "**" not in line and not re.search(r"[A-Z]\w+\(", line)
    assert all(item.name in line for item in (*loss.inputs, *loss.parameters))
