"""Formulas drawn for a terminal: exact drawings, every atom, and that they fit whatever the width."""

from __future__ import annotations

import re
from textwrap import dedent

import pytest
from rich.cells import cell_len
from sympy import (
    Abs,
    And,
    Eq,
    Mul,
    Piecewise,
    Pow,
    Rational,
    S,
    Symbol,
    digamma,
    exp,
    log,
    oo,
    pi,
    polygamma,
    sqrt,
)
from sympy import Max as ScalarMax
from sympy.core.parameters import distribute

from symloss import atoms
from symloss.atoms import SCALARS, LogSoftmax, Norm, RowAtom, Softmax, SoftmaxComplement, ratio0, times0
from symloss.catalog import Catalog, load_text, trace
from symloss.index import Binder, Delta, Entry, Index, Max, Min, Product, Size, Sum
from symloss.printers.drawing import Drawings, draw, drawer_for
from symloss.printers.forms import CHARACTERS
from symloss.printers.pretty import shown
from symloss.roles import LabelIndex
from symloss.show import can_draw, page, wrap

k, j, d, c, h = Index("k", "K"), Index("j", "K"), Index("d", "D"), Index("c", "C"), Index("h", "H")
t = LabelIndex("label", "K")
z, p, x, y = (Symbol(name, real=True) for name in ("logits", "p", "x", "y"))
delta, gamma = Symbol("delta", positive=True), Symbol("gamma", positive=True)


class SomeRow(Binder):
    """A function of a row without a template."""


DRAWINGS = [
    (lambda: (x - y) ** 2, "(x - y)²"),
    (lambda: x**2 / 2 - 1, """
        x²
        ── - 1
        2
        """),
    (lambda: -x / y, """
          x
        - ─
          y
        """),
    (lambda: 1 - x / y, """
            x
        1 - ─
            y
        """),
    (lambda: x / (y / (x + 1)), """
        x·(1 + x)
        ─────────
            y
        """),
    (lambda: Rational(-1, 2) * Sum(Entry(z, k), k), """
          1  K
        - ─  ∑  logitsₖ
          2 k=1
        """),
    (lambda: Sum(Entry(x, d) ** 2, d), """
         D
         ∑  x[d]²
        d=1
        """),
    (lambda: Sum(Entry(x, c, h), c, h) / (Size("C") * Size("H")), """
         1
        ───  ∑  x[c, h]
        C·H c,h
        """),
    (lambda: Product(1 + Entry(p, k), k), """
         K
         ∏  (1 + pₖ)
        k=1
        """),
    (lambda: Max(Entry(z, k), k) - Min(Entry(z, k), k), """
        ⎛max logitsₖ⎞ - min logitsₖ
        ⎝ k         ⎠    k
        """),
    (lambda: -log(exp(Entry(z, t)) / Sum(exp(Entry(z, k)), k)), """
            ⎛exp(logits[label])⎞
        -log⎜──────────────────⎟
            ⎜  K               ⎟
            ⎜  ∑  exp(logitsₖ) ⎟
            ⎝ k=1              ⎠
        """),
    (lambda: Softmax(Entry(z, j), j, k) - Delta(k, t), "softmaxⱼ(logitsⱼ)ₖ - [k = label]"),
    (lambda: Softmax(Entry(x, d), d, t), "softmax_d(x[d])[label]"),
    (lambda: SoftmaxComplement(Entry(z, j), j, t) ** gamma, """
                                      γ
        (1 - softmaxₖ(logitsₖ)[label])
        """),
    (lambda: 2 * LogSoftmax(Entry(z, j), j, t), "2·log softmaxₖ(logitsₖ)[label]"),
    (lambda: Norm(Entry(x, d), d) ** 2, "‖x[d]‖_d²"),
    (lambda: SomeRow(Entry(z, k), k, t) * 2, "2·some_rowₖ(logitsₖ)[label]"),
    (lambda: Piecewise((x**2 / 2, Abs(x) <= delta), (delta * (Abs(x) - 1), True)), """
        ⎧ x²
        ⎪ ──            if │x│ ≤ δ
        ⎨ 2
        ⎪
        ⎩ δ·(│x│ - 1)   otherwise
        """),
    (lambda: Piecewise((x, And(x > 0, Eq(y, 2))), (1, x < -1), (0, True)), """
        ⎧ x   if y = 2 and x > 0
        ⎨ 1   if x < -1
        ⎩ 0   otherwise
        """),
    (lambda: x - Piecewise((1, x > 0), (2, True)) + y, """
                ⎧ 1   if x > 0
        x + y - ⎨
                ⎩ 2   otherwise
        """),
    (lambda: Piecewise((1, x > 0), (2, True)) * Piecewise((3, y > 0), (4, True)), """
        ⎛⎧ 1   if x > 0 ⎞ ⎧ 3   if y > 0
        ⎜⎨              ⎟·⎨
        ⎝⎩ 2   otherwise⎠ ⎩ 4   otherwise
        """),
    (lambda: sqrt(x), "√x"),
    (lambda: sqrt(x**2 + 1), """
          ______
        ╲╱1 + x²
        """),
    (lambda: x ** Rational(3, 2), """
         3/2
        x
        """),
    (lambda: 2**x, """
         x
        2
        """),
    (lambda: (-2) ** x, """
            x
        (-2)
        """),
    (lambda: (x**y) ** x, """
            x
        ⎛ y⎞
        ⎝x ⎠
        """),
    (lambda: ScalarMax(0, delta - x) ** 2, "max(0, δ - x)²"),
    (lambda: ratio0(ratio0(x, y), y), """
        x
        ──
        y²
        """),
    (lambda: ratio0(ratio0(x, y), y - 1), """
            x
        ─────────
        (y - 1)·y
        """),
    (lambda: times0(1 - x, log(y)), "(1 - x)·log(y)"),
    (lambda: atoms.hypot1(x - y), """
          ____________
        ╲╱1 + (x - y)²
        """),
    (lambda: atoms.hypot1(x * y), """
          __________
        ╲╱1 + (x·y)²
        """),
    (lambda: digamma(x) + polygamma(1, pi * x), "digamma(x) + polygamma(1, π·x)"),
    (lambda: Mul(-1, x - y, evaluate=False), "-(x - y)"),
    (lambda: Eq(x - y, 0, evaluate=False), "x = y"),
    (lambda: Piecewise((S.NaN, x < y), (-oo, True)), """
        ⎧ NaN   if x < y
        ⎨
        ⎩ -∞    otherwise
        """),
    (lambda: Symbol("alpha_t") * Symbol("pos_weight") * Symbol("p_1"), "αₜ·p₁·pos_weight"),
]  # fmt: skip


def picture(text: str) -> list[str]:
    return [line.rstrip() for line in dedent(text).strip("\n").splitlines()]


@pytest.mark.parametrize(("make", "drawn"), DRAWINGS, ids=[" ".join(drawn.split()) for _, drawn in DRAWINGS])
def test_drawing(make, drawn):
    with distribute(False):
        expr = make()
    assert draw(expr) == picture(drawn)


# What doesn't fit is broken: between terms, between factors, before a branch.
BROKEN = [
    (lambda: log(x + y) + exp(x) - 2 * z, 14, """
        exp(x)
         + log(x + y)
         - 2·logits
        """),
    (lambda: -log((x + 1) * exp(y) * exp(x) * z), 18, """
        -log⎛logits  ⎞
            ⎜·(1 + x)⎟
            ⎜·exp(x) ⎟
            ⎝·exp(y) ⎠
        """),
    (lambda: Piecewise((x + y + p + z, x + y > p), (0, True)), 18, """
        ⎧ if x + y > p:
        ⎪     logits + p
        ⎪      + x + y
        ⎨
        ⎪ otherwise:
        ⎩     0
        """),
    (lambda: Sum((Entry(x, d) - Entry(y, d)) * (Entry(x, d) + Entry(y, d)), d), 20, """
         D
         ∑  (x[d] - y[d])
        d=1 ·(x[d] + y[d])
        """),
]  # fmt: skip


@pytest.mark.parametrize(("make", "room", "drawn"), BROKEN, ids=["terms", "factors", "branches", "sum"])
def test_what_is_too_wide_is_broken(make, room, drawn):
    with distribute(False):
        expr = make()
    assert draw(expr, room) == picture(drawn)
    assert len(draw(expr)) <= len(draw(expr, room))


def instances() -> list:
    """Every atom, of arguments that need brackets in products and powers."""
    args = (x - y, 1 - p, z, x * y)
    made = [atoms._classes[row.name](*args[: row.arity]) for row in SCALARS]
    rows = sorted(
        (kind for kind in RowAtom.__subclasses__() if kind.latex_form), key=lambda kind: kind.__name__
    )
    for kind in rows:
        bodies = (Entry(x, k) - 1, Entry(y, k)) if kind.__name__.endswith("Centred") else (Entry(x, k) - 1,)
        at = (t,) if "{at}" in kind.latex_form else ()
        made.append(kind(bodies, (k,), at))
    return made


@pytest.mark.parametrize("atom", instances(), ids=lambda atom: type(atom).__name__)
def test_every_atom_is_drawn_from_its_latex(atom):
    with distribute(False):
        for expr in (atom, 2 * atom, Pow(atom, gamma, evaluate=False)):
            text = "\n".join(draw(expr))
            assert not re.search(r"[\\{}$^\ue000-\uf8ff]|operatorname|left|right", text), text
            for left, right in ("()", "[]", "⎛⎞", "⎝⎠"):
                assert text.count(left) == text.count(right), text
    assert len(instances()) > 35


def test_a_sum_as_an_argument_is_bracketed_where_the_latex_has_no_brackets():
    assert draw(atoms.x_minus_log1p(x - y)) == ["((x - y) - log(1 + (x - y)))"]
    assert draw(atoms.boxcox1p(x, 2 * y))[0].strip() == "2·y"


def test_every_character_is_among_those_that_a_terminal_is_asked_for():
    drawn = {character for make, *_ in DRAWINGS for line in draw(make()) for character in line}
    assert {character for character in drawn if not character.isascii()} <= set(CHARACTERS)
    assert can_draw("utf-8") and can_draw("utf-16")
    assert not any(map(can_draw, ("ascii", "latin-1", "cp1252", "gbk", "no such encoding", None)))


@pytest.mark.parametrize(
    ("name", "as_shown"),
    [("delta", "δ"), ("lambda", "λ"), ("p_t", "pₜ"), ("alpha_t", "αₜ"), ("u_12", "u₁₂"), ("p_b", "p_b"),
     ("pos_weight", "pos_weight"), ("logits", "logits"), ("a_b_t", "a_b_t"), ("_t", "_t")],
)  # fmt: skip
def test_names(name, as_shown):
    assert shown(name) == as_shown


def test_indices_are_all_subscripts_or_all_in_brackets():
    both = Sum(Entry(x, k), k) + Entry(y, d)
    assert "x[k]" in "".join(draw(both)) and "y[d]" in "".join(draw(both))
    assert "xₖ" in "".join(draw(Sum(Entry(x, k), k)))
    alone = drawer_for(Entry(x, k), dims=("D",))
    assert alone.draw(Entry(x, k)).picture == ["x[k]"]


def test_an_index_is_not_called_like_an_input():
    letter = Symbol("k", real=True)
    assert draw(letter * Entry(x, k)) == ["k·xⱼ"]


# --- the formulas of losses ---------------------------------------------------------------------------------

LOSSES = Catalog().load()[0]


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
def test_a_page_fits(loss, width):
    lines = list(page(loss, width))
    assert [line for line in lines if cell_len(line) > width] == []
    assert [line for line in lines if line != line.rstrip()] == []
    assert lines[0].startswith(loss.title)
    text = "\n".join(lines)
    for part in (loss.name, loss.signature, loss.family, "ℓ = ", "∂²ℓ", "--trail", "--stage STAGE"):
        assert part in text
    assert text.count("∂ℓ") == len(loss.predictions)
    for parameter in loss.parameters:
        assert f"{parameter.name} " in text


@pytest.mark.parametrize("name", ["huber", "softmax_cross_entropy", "center", "binary_focal", "gram_style"])
@pytest.mark.parametrize("width", [40, 80])
def test_a_trail_fits(name, width):
    loss = Catalog().loss(name)
    lines = list(page(loss, width, with_trail=True))
    assert [line for line in lines if cell_len(line) > width] == []
    assert any("differentiate, " in line for line in lines)
    assert any(line.startswith("      =") for line in lines)


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
def test_a_plain_page_has_each_formula_on_one_line(loss):
    lines = list(page(loss, 80, is_plain=True))
    words = "\n".join([loss.english.meaning, loss.title])
    assert {c for line in lines for c in line if not c.isascii()} <= {c for c in words if not c.isascii()}
    assert sum(line.startswith(("    grad_", "    hess_")) for line in lines) == 2 * len(loss.predictions)


def test_a_wide_formula_gets_letters_and_then_is_written_as_text():
    loss = Catalog().loss("binary_focal")
    lines = Drawings(loss, 76).value(loss.formula, loss.names)
    assert any(line.startswith("where pₜ = ") for line in lines)
    assert max(map(len, lines)) <= 76
    names = " ".join(f"a_long_name_{i}" for i in range(30))
    symbols = [Symbol(name, real=True) for name in names.split()]
    huge = Mul(*(exp(-(one**2)) for one in symbols), evaluate=False)
    written = Drawings(loss, 60).value(exp(huge) ** gamma / (1 + huge))
    assert max(map(len, written)) <= 60
    assert all(name in " ".join(written) for name in names.split())


def test_an_own_spec_is_drawn():
    (spec,) = load_text(
        "from sympy import log, cosh\n"
        "from symloss.spec import Prediction, Target, Positive, Sum, index, loss\n\n\n"
        "@loss(title='Mine')\n"
        "def mine(prediction: Prediction['N'], target: Target['N'], beta: Positive = 0.5):\n"
        "    n = index('N')\n"
        "    return beta * Sum(log(cosh(prediction[n] - target[n])), n)\n"
    ).values()
    text = "\n".join(page(trace(spec), 80))
    assert "∑  log(cosh(predictionₙ - targetₙ))" in text
    assert "beta (β) = 0.5, β > 0" in text
    assert "tanh" in text and "公式" in text


# --- words --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "width", "lines"),
    [
        ("one two three", 7, ["one two", "three"]),
        ("残差的平方，取平均。", 10, ["残差的平", "方，取平", "均。"]),
        ("用 KL 散度", 6, ["用 KL", "散度"]),
        ("甲（乙）丙", 4, ["甲", "（乙）", "丙"]),
        ("unbreakable", 4, ["unbreakable"]),
        ("", 10, []),
    ],
)
def test_words_are_wrapped(words, width, lines):
    assert wrap(words, width) == lines
