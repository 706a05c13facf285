"""Properties as rows of a table, and as the marks that the gallery filters by."""

from __future__ import annotations

from functools import cache

import pytest
from shipped import derived
from sympy import Integer, oo

from symloss.catalog import Catalog
from symloss.printers.formulas import Formulas
from symloss.printers.language import CHINESE, ENGLISH, LANGUAGES
from symloss.printers.properties import MARKS, marks, property_rows, usual_traits
from symloss.traits import NAMES, Trait, traits

HUBER = Catalog().loss("huber")
FORMULAS = Formulas(HUBER)


@cache
def marked(name: str) -> list[str]:
    derivation = derived(name)
    return marks(derivation.loss, usual_traits(derivation, traits(derivation)))


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("huber", {"convex", "smooth", "robust", "bounded_gradient", "has_parameters"}),
        ("smooth_l1", {"convex", "smooth", "robust", "bounded_gradient", "has_parameters"}),
        ("mae", {"convex", "robust", "bounded_gradient"}),
        ("mse", {"convex", "smooth"}),
        ("softmax_cross_entropy", {"convex", "smooth", "bounded_gradient", "logits", "labels"}),
        ("binary_focal", {"smooth", "bounded_gradient", "logits", "has_parameters"}),
        ("binary_cross_entropy", {"convex", "smooth", "probabilities"}),
        ("center", {"convex", "smooth", "labels"}),
    ],
)
def test_marks(name, wanted):
    assert set(marked(name)) == wanted
    assert marked(name) == [mark for mark in MARKS if mark in wanted]


@pytest.mark.parametrize(
    ("trait", "english", "chinese"),
    [
        (Trait("convex", "proved", "The slope rises everywhere."),
         ("Convex", "proved", "proved", "The slope rises everywhere."),
         ("凸", "proved", "已证明", "斜率处处递增。")),
        (Trait("smooth", "proved", "All derivatives exist.", oo),
         ("Smoothness: $C^{\\infty}$", "proved", "proved", "All derivatives exist."),
         ("光滑性: $C^{\\infty}$", "proved", "已证明", "各阶导数均存在。")),
        (Trait("smooth", "refuted", "At this point the slope jumps.", Integer(0), (("prediction", "0"), ("target", "-1"))),
         ("Smoothness: $C^{0}$", "refuted", "refuted", "At this point the slope jumps. Point: `prediction` = 0, `target` = −1."),
         ("光滑性: $C^{0}$", "refuted", "已否证", "在该点斜率跳变。反例：`prediction` = 0, `target` = −1。")),
        (Trait("lipschitz", "proved", "The gradient is bounded.", HUBER.parameters[0].symbol),
         ("Lipschitz continuous: $\\delta$", "proved", "proved", "The gradient is bounded."),
         ("利普希茨连续: $\\delta$", "proved", "已证明", "梯度有界。")),
        (Trait("redescending", "refuted", "The gradient doesn't go to 0 as the residual grows.", None,
               (("prediction", "-> -oo"), ("gradient", "-> -1"))),
         ("Redescending: influence fades far out", "refuted", "refuted",
          "The gradient doesn't go to 0 as the residual grows. Point: `prediction` → −∞, gradient → −1."),
         ("再降：远处影响趋于 0", "refuted", "已否证", "残差增大时，梯度不趋于 0。反例：`prediction` → −∞, 梯度 → −1。")),
        (Trait("strictly_convex", "refuted", "On this segment the loss is straight.", None,
               (("first prediction", "0"), ("second prediction", "2"))),
         ("Strictly convex", "refuted", "refuted",
          "On this segment the loss is straight. Point: first `prediction` = 0, second `prediction` = 2."),
         ("严格凸", "refuted", "已否证", "在该线段上损失为线性。反例：点一 `prediction` = 0, 点二 `prediction` = 2。")),
    ],
)  # fmt: skip
def test_a_trait_is_a_row(trait, english, chinese):
    assert property_rows((trait,), FORMULAS, ENGLISH) == [english]
    assert property_rows((trait,), FORMULAS, CHINESE) == [chinese]


@pytest.mark.parametrize("language", LANGUAGES, ids=lambda language: language.code)
def test_every_trait_has_a_name(language):
    rows = property_rows(tuple(Trait(name, "unknown", "") for name in NAMES), FORMULAS, language)
    assert len({name for name, *_ in rows}) == len(NAMES)


@pytest.mark.parametrize("name", [loss.name for loss in Catalog().load()[0]])
def test_every_row_of_a_shipped_loss_can_be_said_in_both_languages(name):
    derivation = derived(name)
    found, formulas = traits(derivation), Formulas(derivation.loss)
    for language in LANGUAGES:
        rows = property_rows(found, formulas, language)
        assert len(rows) == len(found) >= 8
        assert all("->" not in why and "oo" not in why.split() for *_, why in rows)
