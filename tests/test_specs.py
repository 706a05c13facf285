"""The shipped specs: what each declares, what its formula gives, and that its words are complete."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import sympy
from formulas import evaluate
from scipy.spatial import distance as scipy_distance
from scipy.special import expit, log_expit, log_softmax, rel_entr, softmax
from sympy import FiniteSet, Interval, Rational, S, oo

from symloss.catalog import load, shipped
from symloss.index import walk
from symloss.spec import Loss, Positive

UNIT, BIT, NOT_NEGATIVE = Interval(0, 1), FiniteSet(0, 1), Interval(0, oo)

#: name: (family, signature, [(input, kind, domain)], {parameter: (default, domain)})
PREDICTION = ("prediction", "prediction", S.Reals)
TARGET = ("target", "target", S.Reals)
UNIT_PREDICTION = ("prediction", "prediction", UNIT)
UNIT_TARGET = ("target", "target", UNIT)
LOGITS = ("logits", "prediction", S.Reals)
LABEL = ("label", "label", S.Reals)
FEATURES = ("features", "prediction", S.Reals)
TARGET_FEATURES = ("target_features", "target", S.Reals)

DECLARED = {
    "mse": ("regression", "(),()->()", [PREDICTION, TARGET], {}),
    "mae": ("regression", "(),()->()", [PREDICTION, TARGET], {}),
    "l1_norm": ("regression", "(d),(d)->()", [PREDICTION, TARGET], {}),
    "l2_norm": ("regression", "(d),(d)->()", [PREDICTION, TARGET], {}),
    "smooth_l1": ("regression", "(),()->()", [PREDICTION, TARGET], {"beta": (1, NOT_NEGATIVE)}),
    "huber": ("regression", "(),()->()", [PREDICTION, TARGET], {"delta": (1, Positive)}),
    "kl_divergence": ("divergence", "(k),(k)->()", [UNIT_PREDICTION, UNIT_TARGET], {}),
    "js_divergence": ("divergence", "(k),(k)->()", [UNIT_PREDICTION, UNIT_TARGET], {}),
    "cross_entropy": ("classification", "(k),(k)->()", [UNIT_PREDICTION, UNIT_TARGET], {}),
    "sparse_cross_entropy": ("classification", "(k),()->()", [UNIT_PREDICTION, LABEL], {}),
    "binary_cross_entropy": ("classification", "(),()->()", [UNIT_PREDICTION, UNIT_TARGET], {}),
    "binary_cross_entropy_with_logits": (
        "classification", "(),()->()", [LOGITS, UNIT_TARGET], {"pos_weight": (1, Positive)},
    ),
    "softmax_cross_entropy": ("classification", "(k),()->()", [LOGITS, LABEL], {}),
    "soft_target_cross_entropy": ("classification", "(k),(k)->()", [LOGITS, UNIT_TARGET], {}),
    "binary_focal": (
        "classification", "(),()->()", [LOGITS, ("target", "target", BIT)],
        {"alpha": (Rational(1, 4), UNIT), "gamma": (2, NOT_NEGATIVE)},
    ),
    "softmax_focal": ("classification", "(k),()->()", [LOGITS, LABEL], {"gamma": (2, NOT_NEGATIVE)}),
    "contrastive": (
        "metric", "(d),(d),()->()",
        [("left", "prediction", S.Reals), ("right", "prediction", S.Reals), ("similar", "target", BIT)],
        {"margin": (1, Positive)},
    ),
    "center": (
        "metric", "(d),(m,d),()->()", [FEATURES, ("centers", "prediction", S.Reals), LABEL], {},
    ),
    "softmax_center": (
        "combined", "(k),(d),(k,d),()->()",
        [LOGITS, FEATURES, ("centers", "prediction", S.Reals), LABEL],
        {"strength": (Rational(3, 1000), NOT_NEGATIVE)},
    ),
    "feature_reconstruction": ("perceptual", "(c,h,w),(c,h,w)->()", [FEATURES, TARGET_FEATURES], {}),
    "gram_style": ("perceptual", "(c,h,w),(c,h,w)->()", [FEATURES, TARGET_FEATURES], {}),
    "perceptual": (
        "combined", "(c,h,w),(c,h,w),(c,h,w)->()",
        [FEATURES, ("content_features", "target", S.Reals), ("style_features", "target", S.Reals)],
        {"content_weight": (1, NOT_NEGATIVE), "style_weight": (1, NOT_NEGATIVE)},
    ),
    "standardized_mse": ("normalized", "(d),(d)->()", [PREDICTION, TARGET], {}),
    "l2_normalized_mse": ("normalized", "(d),(d)->()", [PREDICTION, TARGET], {}),
    "min_max_mse": ("normalized", "(d),(d)->()", [PREDICTION, TARGET], {}),
}  # fmt: skip


@cache
def losses() -> dict[str, Loss]:
    """The shipped specs, traced and validated."""
    loaded, errors = load()
    if errors:
        raise AssertionError("\n".join(map(str, errors)))
    return {loss.name: loss for loss in loaded}


@pytest.fixture(params=DECLARED)
def declared(request) -> Loss:
    """Each loss of the table."""
    return losses()[request.param]


def test_every_spec_is_in_the_table_and_the_other_way_round():
    assert sorted(losses()) == sorted(DECLARED)


def test_signature_inputs_and_family(declared):
    family, signature, inputs, _ = DECLARED[declared.name]
    assert declared.signature == signature
    assert declared.family == family
    assert [(i.name, i.kind, i.domain) for i in declared.inputs] == inputs


def test_parameters(declared):
    assert {p.name: (p.default, p.domain) for p in declared.parameters} == DECLARED[declared.name][3]


def test_file_is_named_after_the_loss_and_its_family(declared):
    assert Path(declared.file).stem == declared.name
    if declared.family != "other":
        assert Path(declared.file).parent.name == declared.family


# --- formulas ----------------------------------------------------------------------------------------------


def kl(p, q):
    """Sum p log(p / q), by SciPy."""
    return rel_entr(p, q).sum()


def gram(f):
    """The Gram matrix of (c, h, w) features over c h w."""
    return np.einsum("chw,dhw->cd", f, f) / f.size


def unit(x):
    """A vector of length 1 in the same direction."""
    return x / np.linalg.norm(x)


def scaled(x):
    """The row mapped onto [0, 1]."""
    return (x - x.min()) / (x.max() - x.min())


def focal(p_t, alpha_t, gamma):
    """Lin et al. 2017, equation 5."""
    return -alpha_t * (1 - p_t) ** gamma * np.log(p_t)


def softmax_ce(z, t):
    """Minus the log-softmax at the label."""
    return -log_softmax(z)[t]


def center(x, c, t):
    """Half the squared distance from the label's center."""
    return ((x - c[t]) ** 2).sum() / 2


RNG = np.random.default_rng(20240517)
X5, Y5 = RNG.normal(size=5), RNG.normal(size=5)
P4, Q4 = RNG.dirichlet(np.ones(4)), RNG.dirichlet(np.ones(4))
ONE_HOT = np.array([0.0, 0.0, 1.0, 0.0])
Z4 = RNG.normal(scale=3, size=4)
C45 = RNG.normal(size=(4, 5))
F, G, H = RNG.normal(size=(3, 2, 3, 4))

#: (name, inputs, parameters, expected)
POINTS = [
    ("mse", (1.5, -0.25), {}, 3.0625),
    ("mae", (1.5, -0.25), {}, 1.75),
    ("mae", (-1.5, 0.25), {}, 1.75),
    ("l1_norm", (X5, Y5), {}, np.abs(X5 - Y5).sum()),
    ("l2_norm", (X5, Y5), {}, np.linalg.norm(X5 - Y5)),
    ("smooth_l1", (0.5, 0.0), {}, 0.125),
    ("smooth_l1", (0.0, 3.0), {}, 2.5),
    ("smooth_l1", (0.5, 0.25), {"beta": 2.0}, 0.0625 / 4),
    ("smooth_l1", (-0.5, 0.25), {"beta": 0.5}, 0.5),
    ("smooth_l1", (-0.5, 0.25), {"beta": 0.75}, 0.375),
    ("huber", (0.5, 0.0), {}, 0.125),
    ("huber", (0.0, 3.0), {}, 2.5),
    ("huber", (1.0, 4.0), {"delta": 2.0}, 4.0),
    ("huber", (1.0, 3.0), {"delta": 2.0}, 2.0),
    ("kl_divergence", (Q4, P4), {}, kl(P4, Q4)),
    ("kl_divergence", (P4, P4), {}, 0.0),
    ("js_divergence", (Q4, P4), {}, scipy_distance.jensenshannon(P4, Q4) ** 2),
    ("js_divergence", (P4, Q4), {}, scipy_distance.jensenshannon(P4, Q4) ** 2),
    ("cross_entropy", (Q4, P4), {}, -(P4 * np.log(Q4)).sum()),
    ("cross_entropy", (Q4, ONE_HOT), {}, -np.log(Q4[2])),
    ("sparse_cross_entropy", (Q4, 2), {}, -np.log(Q4[2])),
    ("binary_cross_entropy", (0.3, 1.0), {}, -np.log(0.3)),
    ("binary_cross_entropy", (0.3, 0.25), {}, -0.25 * np.log(0.3) - 0.75 * np.log(0.7)),
    ("binary_cross_entropy_with_logits", (1.7, 1.0), {}, -log_expit(1.7)),
    ("binary_cross_entropy_with_logits", (1.7, 0.0), {}, -log_expit(-1.7)),
    (
        "binary_cross_entropy_with_logits", (-2.5, 0.25), {"pos_weight": 3.0},
        -0.75 * log_expit(-2.5) - 0.75 * log_expit(2.5),
    ),
    ("softmax_cross_entropy", (Z4, 3), {}, softmax_ce(Z4, 3)),
    ("softmax_cross_entropy", (Z4[:1], 0), {}, 0.0),
    ("soft_target_cross_entropy", (Z4, P4), {}, -(P4 * log_softmax(Z4)).sum()),
    ("soft_target_cross_entropy", (Z4, ONE_HOT), {}, softmax_ce(Z4, 2)),
    ("binary_focal", (0.7, 1.0), {}, focal(expit(0.7), 0.25, 2)),
    ("binary_focal", (0.7, 0.0), {}, focal(expit(-0.7), 0.75, 2)),
    ("binary_focal", (-1.1, 0.0), {"alpha": 0.625, "gamma": 0.5}, focal(expit(1.1), 0.375, 0.5)),
    ("softmax_focal", (Z4, 1), {}, focal(softmax(Z4)[1], 1, 2)),
    ("softmax_focal", (Z4, 0), {"gamma": 3.5}, focal(softmax(Z4)[0], 1, 3.5)),
    ("contrastive", (X5, Y5, 1.0), {}, ((X5 - Y5) ** 2).sum() / 2),
    ("contrastive", (X5, Y5, 0.0), {}, max(0, 1 - np.linalg.norm(X5 - Y5)) ** 2 / 2),
    ("contrastive", (X5, Y5, 0.0), {"margin": 9.0}, (9 - np.linalg.norm(X5 - Y5)) ** 2 / 2),
    ("center", (X5, C45, 2), {}, center(X5, C45, 2)),
    ("softmax_center", (Z4, X5, C45, 2), {}, softmax_ce(Z4, 2) + 0.003 * center(X5, C45, 2)),
    ("softmax_center", (Z4, X5, C45, 0), {"strength": 2.0}, softmax_ce(Z4, 0) + 2 * center(X5, C45, 0)),
    ("feature_reconstruction", (F, G), {}, ((F - G) ** 2).mean()),
    ("gram_style", (F, G), {}, ((gram(F) - gram(G)) ** 2).sum()),
    ("perceptual", (F, G, H), {}, ((F - G) ** 2).mean() + ((gram(F) - gram(H)) ** 2).sum()),
    (
        "perceptual", (F, G, H), {"content_weight": 0.5, "style_weight": 7.0},
        0.5 * ((F - G) ** 2).mean() + 7 * ((gram(F) - gram(H)) ** 2).sum(),
    ),
    ("standardized_mse", (X5, Y5), {}, 2 * (1 - np.corrcoef(X5, Y5)[0, 1])),
    ("standardized_mse", (X5, -3 * X5 + 1), {}, 4.0),
    ("l2_normalized_mse", (X5, Y5), {}, 2 * scipy_distance.cosine(X5, Y5)),
    ("l2_normalized_mse", (X5, Y5), {}, ((unit(X5) - unit(Y5)) ** 2).sum()),
    ("min_max_mse", (X5, Y5), {}, ((scaled(X5) - scaled(Y5)) ** 2).mean()),
]  # fmt: skip


def test_every_loss_has_a_point():
    assert {name for name, *_ in POINTS} == set(DECLARED)


@pytest.mark.parametrize(("name", "inputs", "parameters", "expected"), POINTS)
def test_formula(name, inputs, parameters, expected):
    # The formula is evaluated at 30 digits; the expected number comes from a few float64 operations, of which
    # the correlations (1 - r) cancel most.
    assert evaluate(losses()[name], *inputs, **parameters) == pytest.approx(expected, rel=1e-13, abs=1e-15)


@pytest.mark.parametrize(
    ("name", "parameter", "at", "inputs", "expected"),
    [
        ("smooth_l1", "beta", 0, (0.5, 2.0), 1.5),
        ("binary_focal", "gamma", 0, (0.7, 1.0), -0.25 * log_expit(0.7)),
        ("binary_focal", "gamma", 0, (0.7, 0.0), -0.75 * log_expit(-0.7)),
        ("softmax_focal", "gamma", 0, (Z4, 1), softmax_ce(Z4, 1)),
    ],
)
def test_limits(name, parameter, at, inputs, expected):
    loss = losses()[name]
    ((where, value, formula),) = loss.limits
    assert (where, value) == (parameter, at)
    assert evaluate(loss, *inputs, formula=formula) == pytest.approx(expected, rel=1e-14)
    # ... and it is what the formula itself tends to.
    near = evaluate(loss, *inputs, **{parameter: 1e-12})
    assert near == pytest.approx(expected, rel=1e-11)


def test_formulas_are_textbook_forms(declared):
    """A spec is made of ordinary SymPy and index notation: no atom, no form that is stable by hand."""
    own = {"symloss.index", "symloss.roles"}
    for node in walk(declared.formula):
        module = type(node).__module__
        assert module.startswith("sympy") or module in own, f"{type(node).__name__} is from {module}"
        assert "softplus" not in type(node).__name__.lower()
    tree = ast.parse(Path(declared.file).read_text(encoding="utf-8"))
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported <= {"sympy", "symloss.spec", "symloss.losses", "symloss.normalize"}


def test_no_epsilon_and_no_float_in_a_formula(declared):
    numbers = declared.formula.atoms(sympy.Number)
    assert not any(isinstance(number, sympy.Float) for number in numbers)
    assert all(number == 0 or abs(number) >= Rational(1, 4) for number in numbers)


# --- composition -------------------------------------------------------------------------------------------


def test_a_composed_loss_is_the_sum_of_its_parts():
    whole = losses()["softmax_center"]
    strength = next(p.symbol for p in whole.parameters)
    assert whole.formula.subs(strength, 0) == losses()["softmax_cross_entropy"].formula
    assert len(whole.formula.args) == 2


def test_perceptual_holds_both_parts():
    whole = losses()["perceptual"]
    for weight, inputs, part in (("content_weight", (F, G), "feature_reconstruction"),
                                 ("style_weight", (F, H), "gram_style")):  # fmt: skip
        off = {"content_weight": 0.0, "style_weight": 0.0, weight: 1.0}
        assert evaluate(whole, F, G, H, **off) == pytest.approx(evaluate(losses()[part], *inputs), rel=1e-14)


# --- words -------------------------------------------------------------------------------------------------

CJK = re.compile(r"[\u4e00-\u9fff]")
HALF_WIDTH = re.compile(r"[\u4e00-\u9fff][,;:?!]|[,;:?!][\u4e00-\u9fff]")


def sentences(words) -> list[str]:
    """Every text of one language."""
    return [words.meaning, *words.strengths, *words.weaknesses, words.when]


def test_words_are_complete_in_both_languages(declared):
    for words in (declared.english, declared.chinese):
        assert words.strengths and words.weaknesses
        assert all(text.strip() == text and text for text in sentences(words))
    assert len(declared.english.strengths) == len(declared.chinese.strengths)
    assert len(declared.english.weaknesses) == len(declared.chinese.weaknesses)


def test_english_is_english(declared):
    for text in (declared.title, *sentences(declared.english)):
        assert not CJK.search(text), text
    assert all(text.endswith(".") for text in sentences(declared.english))


def test_chinese_is_chinese(declared):
    for text in (declared.chinese.title, *sentences(declared.chinese)):
        assert CJK.search(text), text
        assert not HALF_WIDTH.search(text), f"half-width punctuation: {text}"
    assert all(text.endswith("。") for text in sentences(declared.chinese))


def test_references(declared):
    assert declared.references
    for reference in declared.references:
        assert re.search(r"\b(1[89]|20)\d\d, ", reference), f"no year: {reference}"
        assert re.search(r"doi:10\.\d{4,}/\S+$|arXiv:\d{4}\.\d{4,5}$", reference), f"no DOI: {reference}"


def test_aliases_name_a_library_and_a_name(declared):
    for library, name in declared.aliases.items():
        assert re.fullmatch(r"[a-z][a-z0-9-]*", library)
        assert name.strip() == name and name


def test_differences_are_told_in_both_languages(declared):
    assert list(declared.english.differences) == list(declared.chinese.differences)
    assert set(declared.english.differences) <= set(declared.aliases)
    assert not any(re.search("[\u4e00-\u9fff]", words) for words in declared.english.differences.values())
    assert all(re.search("[\u4e00-\u9fff]", words) for words in declared.chinese.differences.values())


@pytest.mark.parametrize(
    ("name", "english", "chinese"),
    [
        ("mse", "No parameters", "无超参数"),
        ("mse", "Physically meaningful", "物理意义"),
        ("mse", "images and speech", "图像和语音"),
        ("mse", "Gaussian noise", "高斯噪声"),
        ("l2_norm", "Gaussian noise", "高斯噪声"),
        ("mae", "Not differentiable at 0", "0 处不可导"),
        ("mae", "decay the learning rate", "学习率衰减"),
        ("l1_norm", "decay the learning rate", "学习率衰减"),
        ("smooth_l1", "Fast R-CNN", "Fast R-CNN"),
        ("smooth_l1", "exploding gradients", "梯度爆炸"),
        ("huber", "one more parameter to tune", "超参数"),
        ("kl_divergence", "Not symmetric", "不对称"),
        ("kl_divergence", "zero only when both distributions are equal", "仅当两个分布相同时为零"),
        ("js_divergence", "asymmetry", "不对称"),
        ("cross_entropy", "imbalanced", "不平衡"),
        ("softmax_cross_entropy", "don't discriminate enough", "判别力不足"),
        ("binary_focal", "weight of easy examples", "易分样本的权重"),
        ("softmax_focal", "weight of easy examples", "易分样本的权重"),
        ("feature_reconstruction", "Converges quickly for style transfer and super-resolution", "收敛快"),
        ("gram_style", "Converges quickly", "收敛快"),
    ],
)
def test_the_known_facts_are_told(name, english, chinese):
    assert english in " ".join(sentences(losses()[name].english))
    assert chinese in "".join(sentences(losses()[name].chinese))


def test_no_file_lies_beside_the_families():
    assert [path.name for path in shipped().glob("*.py") if not path.name.startswith("_")] == []
