"""The formula documentation: what a page says, that its example runs, that the document compiles."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from sympy import Abs, Eq, FiniteSet, Interval, Piecewise, S, Symbol, sign

from symloss.catalog import Catalog
from symloss.printers import pages
from symloss.printers.example import example
from symloss.printers.prose import markdown, markdown_reference, tex, tex_reference
from symloss.spec import Positive, Prediction, Target, Words, loss

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "generated" / "docs"
LOSSES = {one.name: one for one in Catalog().load()[0]}


@loss(
    title="Half & half",
    family="regression",
    reference="Someone 1999, A_b, doi:10.1000/a_b.(c)12. And arXiv:1708.02002",
    english=Words(meaning="Uses a_b * 50%. Second.", strengths=("Good & <cheap>.",), when="Always."),
    chinese=Words(title="一半", meaning="说明。", weaknesses=("弱。",)),
    aliases={"torch": "torch.nn.Half(reduction='sum') (its half is *2)"},
    limits={"delta": {2: lambda prediction, target: Abs(prediction - target)}},
)
def half(prediction: Prediction, target: Target.over(Interval(0, 1)), delta: Positive = 0.25):
    r = prediction - target
    return Piecewise((r**2 / 2, Abs(r) <= delta), (delta * (Abs(r) - delta / 2), True))


def derivation():
    """A derivation made by hand."""
    one = half.trace()
    r = one.inputs[0].symbol - one.inputs[1].symbol
    delta = one.parameters[0].symbol
    inside = Abs(r) <= delta
    vector = Symbol("vector_prediction", real=True)

    def output(kind, expr, wrt="prediction"):
        return SimpleNamespace(kind=kind, wrt=wrt, indices=(), derived=expr, expr=expr)

    gradient = Piecewise((r, inside), (delta * sign(r), True))
    curvature = Piecewise((1, inside), (0, True))
    outputs = [
        output("value", one.formula, None),
        output("grad", gradient),
        output("hess", curvature),
        output("hvp", vector * curvature),
    ]
    step = SimpleNamespace(
        stage="differentiate", output="grad prediction", rule="branch by branch", why="a_b", before=r, after=r
    )
    kink = SimpleNamespace(where=Eq(r, 0), rule="the gradient is 0")
    return SimpleNamespace(loss=one, lifted=one.formula, outputs=outputs, steps=[step, step], kinks=[kink])


@pytest.fixture(scope="module")
def page():
    return pages.page(derivation())


@pytest.mark.parametrize(
    "words",
    [
        "# Half & half · 一半\n",
        "`half` · `(),()->()` · regression · 回归\n",
        "Uses a\\_b \\* 50%. Second.\n",
        "| $\\hat{y}$ | `prediction` | prediction | `(...)` | $\\mathbb{R}$ |\n",
        "| $y$ | `target` | target | `(...)` | $\\left[0, 1\\right]$ |\n",
        "| $\\delta$ | `delta` | 0.25 | $\\left(0, \\infty\\right)$ |\n",
        "At $\\delta = 2$ the formula degenerates",
        "$$\n\\ell = \\left\\lvert \\hat{y} - y \\right\\rvert\n$$\n",
        "\\frac{\\partial \\ell}{\\partial \\hat{y}} = \\begin{cases} \\hat{y} - y & ",
        "\\frac{\\partial^{2} \\ell}{\\partial \\hat{y}^{2}} = \\begin{cases} 1 & ",
        "$$\nH v = v \\begin{cases} 1 & ",
        "- $\\hat{y} = y$: the gradient is 0\n",
        "**Strengths**\n\n- Good & \\<cheap\\>.\n",
        "**缺点**\n\n- 弱。\n",
        "| torch | `torch.nn.Half(reduction='sum')` (its half is \\*2) |\n",
        "<summary>grad prediction (2)</summary>\n\n1. *differentiate*: **branch by branch**. a\\_b\n",
        "[doi:10.1000/a_b.(c)12](https://doi.org/10.1000/a_b.(c)12). And "
        "[arXiv:1708.02002](https://arxiv.org/abs/1708.02002)\n",
        "value, grad = sk.half.value_and_grad(prediction, target)\n",
        "```python\ndef half(prediction: Prediction,",
    ],
)
def test_a_page_says(page, words):
    assert words in page


def test_a_page_leaves_out_what_there_is_not(page):
    bare = half.trace().__class__(**{**half.trace().__dict__, "parameters": (), "limits": (), "aliases": {}})
    plain = pages.page(SimpleNamespace(**{**derivation().__dict__, "loss": bare, "kinks": [], "steps": []}))
    for heading in ("## Parameters", "## Kinks", "## Elsewhere", "degenerates"):
        assert heading in page
        assert heading not in plain


def test_a_page_names_its_spec_and_its_template(page):
    assert page.startswith("<!-- ")
    assert "docs/loss.md.jinja" in page.partition("-->")[0]


def test_the_example_of_own_specs_calls_their_package():
    assert "import my_losses as ml" in pages.page(derivation(), package="my_losses")


def test_the_index_lists_by_family():
    one = pages.entry(derivation())
    other = {**one, "name": "another", "family": "homemade", "chinese_title": ""}
    listed = pages.index([other, one])
    assert listed.index("## Regression · 回归") < listed.index("## Homemade\n")
    assert "| [`half`](half.md) | Half & half · 一半 | `(),()->()` | Uses a\\_b \\* 50%. |\n" in listed
    assert "2 losses" in listed


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
    text = (DOCS / f"{name}.md").read_text(encoding="utf-8")
    found = formulas(text)
    assert len(found) >= 5
    for formula in found:
        check_formula(formula)
    assert text.count("$$") % 2 == 0 and text.count("```") % 2 == 0
    for table in re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE):
        assert len({row.count("|") for row in table.splitlines()}) == 1, table


@pytest.mark.parametrize("name", LOSSES)
def test_the_example_of_a_generated_page_runs(name, capsys):
    text = (DOCS / f"{name}.md").read_text(encoding="utf-8")
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


def test_the_generated_index_links_every_page():
    text = (DOCS / "index.md").read_text(encoding="utf-8")
    linked = re.findall(r"\]\((\w+)\.md\)", text)
    assert sorted(linked) == sorted(LOSSES)
    assert all((DOCS / f"{name}.md").exists() for name in linked)


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
    document = pages.handbook([pages.section(derivation())])
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
