"""The formula documentation: what a page says, that its example runs, that the document compiles."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sympy import Abs, FiniteSet, Interval, Piecewise, S

from symloss.catalog import Catalog
from symloss.derive import derive
from symloss.printers import pages, site
from symloss.printers.example import example
from symloss.printers.language import CHINESE, ENGLISH, LANGUAGES
from symloss.printers.layout import NARROW, width
from symloss.printers.prose import markdown, markdown_reference, tex, tex_reference
from symloss.spec import Positive, Prediction, Target, Words, loss

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "generated" / "docs"
LOSSES = {one.name: one for one in Catalog().load()[0]}


@loss(
    title="Half & half",
    family="regression",
    reference="Someone 1999, A_b, doi:10.1000/a_b.(c)12. And arXiv:1708.02002",
    english=Words(
        meaning="Uses a_b * 50%. Second.",
        strengths=("Good & <cheap>.",),
        when="Always.",
        differences={"torch": "its half is *2"},
    ),
    chinese=Words(title="一半", meaning="说明。", weaknesses=("弱。",), differences={"torch": "其一半"}),
    aliases={"torch": "torch.nn.Half(reduction='sum')"},
    limits={"delta": {2: lambda prediction, target: Abs(prediction - target)}},
)
def half(prediction: Prediction, target: Target.over(Interval(0, 1)), delta: Positive = 0.25):
    r = prediction - target
    return Piecewise((r**2 / 2, Abs(r) <= delta), (delta * (Abs(r) - delta / 2), True))


DERIVATION = derive(replace(half.trace(), file="specs/half.py"))
FACTS = pages.Facts.of(DERIVATION)


@pytest.fixture(scope="module", params=LANGUAGES, ids=lambda language: language.code)
def page(request):
    return pages.page(FACTS, request.param)


ENGLISH_PAGE = pages.page(FACTS, ENGLISH)
CHINESE_PAGE = pages.page(FACTS, CHINESE)


@pytest.mark.parametrize(
    "words",
    [
        "# Half & half\n",
        "`half` · `(),()->()` · Regression · 一半\n",
        "Uses a\\_b \\* 50%. Second.\n",
        "| $\\hat{y}$ | `prediction` | prediction | `(...)` | $\\mathbb{R}$ |\n",
        "| $y$ | `target` | target | `(...)` | $\\left[0, 1\\right]$ |\n",
        "| $\\delta$ | `delta` | 0.25 | $\\left(0, \\infty\\right)$ |\n",
        "At $\\delta = 2$ the formula degenerates",
        "$$\n\\ell = \\left\\lvert \\hat{y} - y \\right\\rvert\n$$\n",
        "\\frac{\\partial \\ell}{\\partial \\hat{y}} = \\begin{cases} \\hat{y} - y & ",
        "\\frac{\\partial^{2} \\ell}{\\partial \\hat{y}^{2}} = \\begin{cases} 1 & ",
        "**Strengths**\n\n- Good & \\<cheap\\>.\n",
        "| torch | `torch.nn.Half(reduction='sum')` | its half is \\*2 |\n",
        "<summary>Gradient · <code>prediction</code> (",
        "[doi:10.1000/a_b.(c)12](https://doi.org/10.1000/a_b.(c)12). And "
        "[arXiv:1708.02002](https://arxiv.org/abs/1708.02002)\n",
        "value, grad = sk.half.value_and_grad(prediction, target)\n",
        "```python\ndef half(prediction: Prediction,",
        '| <span class="sl-proved">proved</span> |',
        '| <span class="sl-refuted">refuted</span> |',
        '<div class="sl-plot" data-loss="half"',
        "{literalinclude} ../../../symloss_kernels/cpu/half.py",
        "{literalinclude} ../../../symloss_kernels/cuda/half.py",
        "| `target` | `prediction` | loss | gradient | curvature |",
        "Not measured yet",
    ],
)
def test_a_page_says(words):
    assert words in ENGLISH_PAGE


@pytest.mark.parametrize(
    "words",
    [
        "# 一半\n",
        "`half` · `(),()->()` · 回归 · Half & half\n",
        "说明。",
        "| $\\hat{y}$ | `prediction` | 预测 |",
        "当 $\\delta = 2$ 公式退化",
        "\\text{若 }",
        "\\text{其他}",
        "**缺点**\n\n- 弱。\n",
        "| torch | `torch.nn.Half(reduction='sum')` | 其一半 |\n",
        "<summary>梯度 · <code>prediction</code> (",
        "**链式法则**",
        '<span class="sl-proved">已证明</span>',
    ],
)
def test_a_chinese_page_says(words):
    assert words in CHINESE_PAGE


def test_both_languages_have_the_same_formulas_and_code():
    def same(text):
        for english, word in CHINESE.formula_words.items():
            text = text.replace(rf"\text{{{english} }}", rf"\text{{{word} }}")
            text = text.replace(rf"\text{{{english}}}", rf"\text{{{word}}}")
        return formulas(text), re.findall("```python.*?```", text, re.DOTALL)

    assert same(ENGLISH_PAGE) == same(CHINESE_PAGE)
    assert len(re.findall("^## ", ENGLISH_PAGE, re.MULTILINE)) == len(
        re.findall("^## ", CHINESE_PAGE, re.MULTILINE)
    )


def test_a_page_leaves_out_what_there_is_not():
    bare = replace(DERIVATION.loss, parameters=(), limits=(), aliases={}, references=())
    facts = replace(FACTS, derivation=replace(DERIVATION, loss=bare, kinks=()), limits=[])
    plain = pages.page(facts, ENGLISH)
    for heading in (
        "| symbol | parameter |",
        "## In other libraries",
        "degenerates",
        "## References",
        "bibtex",
    ):
        assert heading in ENGLISH_PAGE
        assert heading not in plain
    assert "the gradient exists everywhere" in plain
    assert "- $\\hat{y} = y$: the gradient" in (DOCS / "en/losses/mae.md").read_text(encoding="utf-8")


def test_a_spec_without_chinese_words_has_a_page_in_english_words():
    quiet = replace(DERIVATION.loss, chinese=Words())
    text = pages.page(replace(FACTS, derivation=replace(DERIVATION, loss=quiet)), CHINESE)
    assert "# Half & half\n" in text and "Uses a\\_b" in text and "## 公式" in text


def test_a_page_names_its_spec_and_its_template(page):
    assert page.startswith("<!-- ")
    assert "specs/half.py" in page.partition("-->")[0] and "docs/loss.md.jinja" in page.partition("-->")[0]


def test_the_example_of_own_specs_calls_their_package():
    text = pages.page(FACTS, ENGLISH, package="my_losses")
    assert "import my_losses as ml" in text and "{literalinclude} ../../../my_losses/cpu/half.py" in text


def test_a_wide_formula_is_there_for_a_telephone_too():
    text = (DOCS / "en/losses/softmax_focal.md").read_text(encoding="utf-8")
    wide = re.findall(r"::::\{container\} sl-wide\n(.*?)::::\n", text, re.DOTALL)
    slim = re.findall(r"::::\{container\} sl-slim\n(.*?)::::\n", text, re.DOTALL)
    assert len(wide) == len(slim) >= 5
    assert all(one != other for one, other in zip(wide, slim, strict=True))
    rows = [row for part in slim for formula in formulas(part) for row in formula.split(r"\\")]
    assert max(map(width, rows)) < 2 * NARROW


# --- what all losses share ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def entries():
    one = json.loads(json.dumps(site.entry(FACTS)))
    other = {
        **one,
        "name": "another",
        "family": "homemade",
        "titles": {"en": "Other", "zh": "Other"},
        "marks": [],
    }
    return [other, one]


def test_the_list_is_by_family(entries):
    listed = site.losses(entries, CHINESE)
    assert listed.index("## 回归") < listed.index("## homemade\n")
    assert "| [`half`](half.md) | 一半 | `(),()->()` | 说明。 |\n" in listed
    assert "共 2 个" in listed
    assert "2 losses" in site.losses(entries, ENGLISH)


def test_the_gallery_has_a_card_for_each_loss(entries):
    gallery = site.gallery(entries, ENGLISH)
    assert gallery.count('<li class="sl-card"') == gallery.count("<svg") == 2
    assert 'data-traits="family:regression' in gallery and 'data-filter="has_parameters"' in gallery
    assert "Half &amp; half" in gallery and "half 一半" in gallery
    assert "needs labels" not in gallery  # no loss here has any
    assert 'aria-label="Curves of loss and gradient of Half &amp; half"' in gallery


def test_guides_are_for_losses_that_they_speak_of(entries):
    own = site.shared(entries)
    assert "en/index.md" in own and "en/choosing.md" not in own and "zh/accuracy.md" not in own
    assert "choosing.md" not in own["en/index.md"][0]
    known = [{**entries[0], "name": name} for name in LOSSES]
    everything = site.shared(known)
    assert {f"{code}/{name}.md" for code in ("en", "zh") for name in site.GUIDES} <= set(everything)
    for path, (text, _) in everything.items():
        assert not re.search(r"<!-- [a-z-]+ -->", text), path


def test_the_first_sentence_ends_where_it_does():
    assert site.first_sentence("Half of 1.5 times x. More.") == "Half of 1.5 times x."
    assert site.first_sentence("第一句，没完。第二句。") == "第一句，没完。"
    assert site.first_sentence("no end") == "no end"


def test_words_are_escaped():
    assert markdown("a_b `c_d` <x> $5") == "a\\_b `c_d` \\<x\\> \\$5"
    assert tex("50% of a_b & `c_d` ≤ 中") == r"50\% of a\_b \& \texttt{c\_d} $\leq$ \texttt{U+4E2D}"
    assert tex_reference("doi:10.1/a_b") == r"\href{https://doi.org/10.1/a\_b}{doi:10.1/a\_b}"
    assert markdown_reference("no number_here") == "no number\\_here"


# --- the usage example ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LOSSES)
def test_the_inputs_of_an_example_fit_the_signature_and_the_domains(name):
    one = LOSSES[name]
    code = example(one)
    space: dict = {"np": np}
    exec("\n".join(line for line in code if " = np.array" in line or " = np.lin" in line or
                   re.match(r"\w+ = -?\d", line)), space)  # fmt: skip
    sizes: dict[str, int] = {}
    for item in one.inputs:
        array = np.asarray(space[item.name])
        core = array.shape[array.ndim - len(item.dims) :]
        for dim, n in zip(item.dims, core, strict=True):
            assert sizes.setdefault(dim, n) == n
        if item.kind == "label":
            assert array.dtype.kind == "i"
        elif isinstance(item.domain, FiniteSet):
            assert set(array.ravel()) <= set(map(float, item.domain))
        else:
            assert all(item.domain.contains(S(float(entry))) for entry in array.ravel())
        if item.domain == Interval(0, 1) and item.dims:
            np.testing.assert_allclose(array.sum(axis=-1), 1)
    for item in one.inputs:
        if item.kind == "label":
            assert np.max(space[item.name]) < sizes[item.role.dims[0]]
    assert len(set(sizes.values())) == len(sizes)


# --- what was generated ---------------------------------------------------------------------------------


def formulas(text: str) -> list[str]:
    """The formulas of a page."""
    return re.findall(r"\$\$\n(.*?)\n\$\$", text, re.DOTALL) + re.findall(r"(?<!\$)\$([^$\n]+)\$(?!\$)", text)


def check_formula(formula: str) -> None:
    inside = formula.replace(r"\{", "").replace(r"\}", "")
    assert inside.count("{") == inside.count("}")
    assert len(re.findall(r"\\left(?![a-z])", formula)) == len(re.findall(r"\\right(?![a-z])", formula))
    assert formula.count(r"\begin{") == formula.count(r"\end{")
    assert not re.search(
        r"Derivative|Heaviside|DiracDelta|\\operatorname\{[A-Z]|\\operatorname\{\w*\\_", formula
    )
    assert not re.search(r"\^\{[^{}]*\}\^|_\{[^{}]*\}_", formula), "two superscripts or subscripts in a row"
    assert "nan" not in formula and "zoo" not in formula


@pytest.mark.parametrize("name", LOSSES)
def test_the_formulas_of_a_generated_page_are_sound(name):
    for code in ("en", "zh"):
        check_page((DOCS / f"{code}/losses/{name}.md").read_text(encoding="utf-8"))


def check_page(text):
    found = formulas(text)
    assert len(found) >= 5
    for formula in found:
        check_formula(formula)
    assert text.count("$$") % 2 == 0 and text.count("```") % 2 == 0 and text.count("::::") % 4 == 0
    for table in re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE):
        assert len({row.count("|") for row in table.splitlines()}) == 1, table


@pytest.mark.parametrize("name", LOSSES)
def test_the_example_of_a_generated_page_runs(name, capsys):
    text = (DOCS / f"en/losses/{name}.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(import.*?)```", text, re.DOTALL)
    space: dict = {}
    exec(compile(code, f"{name}.md", "exec"), space)
    printed = capsys.readouterr().out
    assert np.isfinite(space["value"])
    assert printed.startswith("value = ")
    for item in LOSSES[name].predictions:
        gradient = space["grad" if len(LOSSES[name].predictions) == 1 else f"grad_{item.name}"]
        assert np.shape(gradient) == np.shape(space[item.name])
        assert np.all(np.isfinite(gradient))
        assert np.any(gradient != 0)


@pytest.mark.parametrize("code", ["en", "zh"])
def test_the_generated_list_links_every_page(code):
    text = (DOCS / code / "losses/index.md").read_text(encoding="utf-8")
    linked = re.findall(r"\]\((\w+)\.md\)", text)
    assert sorted(linked) == sorted(LOSSES)
    assert all((DOCS / code / f"losses/{name}.md").exists() for name in linked)


def compiled(folder: Path) -> str:
    """What pdflatex says of `formulas.tex` in a folder."""
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "formulas.tex"],
        cwd=folder, capture_output=True, check=False, timeout=300,
    )  # fmt: skip
    said = done.stdout.decode("utf-8", "replace")
    assert done.returncode == 0, said[-3000:]
    return said


needs_latex = pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")


@needs_latex
def test_a_section_compiles(tmp_path):
    document = site.handbook([{"section": pages.section(DERIVATION)}])
    (tmp_path / "formulas.tex").write_text(document, encoding="utf-8")
    assert "Output written on formulas.pdf" in compiled(tmp_path)


@needs_latex
def test_the_generated_document_compiles_and_nothing_leaves_the_page(tmp_path):
    shutil.copy(DOCS / "formulas.tex", tmp_path)
    said = compiled(tmp_path)
    wide = [float(points) for points in re.findall(r"Overfull \\hbox \(([\d.]+)pt too wide\)", said)]
    assert max(wide, default=0.0) < 5


def test_pages_do_not_depend_on_the_hash_seed():
    code = (
        "from symloss.catalog import Catalog\n"
        "from symloss.printers.latex import latex\n"
        "from symloss.printers.text import text\n"
        "from symloss.printers.notation import symbols\n"
        "for loss in Catalog().load()[0]: print(latex(loss.formula, symbols(loss)), text(loss.formula))\n"
    )
    path = f"{ROOT}:{ROOT / 'generated'}"
    runs = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": path}, capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("1", "2")
    ]  # fmt: skip
    assert runs[0] == runs[1]
    assert len(runs[0].splitlines()) == len(LOSSES)
