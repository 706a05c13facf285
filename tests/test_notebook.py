"""What a notebook shows of a loss and of a spec: LaTeX, and a table in HTML with LaTeX in it."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser

import pytest
import symloss_kernels as sk

import symloss
from symloss.catalog import Catalog, load_text
from symloss.derive import derive
from symloss.printers.describe import describe
from symloss.spec import Label, Positive, Prediction, Target, loss

LOSSES = Catalog().load()[0]
VOID = {"br", "hr", "img"}


class Reader(HTMLParser):
    """The tags, the text of each cell, and what is wrong."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.cells: list[str] = []
        self.styles: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")
        self.styles += [value or "" for name, value in attrs if name in ("style", "color", "bgcolor")]

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data):
        if {"td", "th"} & {*self.open}:
            self.cells[-1] += data


@pytest.mark.parametrize("name", sk.__all__)
def test_the_table_of_a_loss(name):
    info, html = getattr(sk, name).info, getattr(sk, name)._repr_html_()
    read = Reader(html)
    assert (read.wrong, read.open) == ([], [])
    assert set(read.styles) == {"text-align: left"}  # colours are the notebook's, dark or not
    cells = dict(zip(read.cells[1::2], read.cells[2::2], strict=True))
    assert read.cells[0] == f"{info.title} {name}"
    (formula, where), *gradients = info.equations
    assert cells["formula"] == f"$${formula}$$" + (f"where $${where}$$" if where else "")
    assert where or info.latex in unescape(html)
    assert len(gradients) == len(info.predictions)
    for gradient, _ in gradients:
        assert rf"$${gradient}$$" in cells["gradient"]
    for entry in (*info.inputs, *info.parameters):
        assert f"<code>{entry.name}</code> ${entry.latex}$" in unescape(html)
    for entry in info.parameters:
        assert f"= {entry.default!r}, {entry.domain}" in cells["parameters"]
    assert unescape(html).count("$") % 2 == 0


@pytest.mark.parametrize("found", LOSSES, ids=lambda loss: loss.name)
def test_the_same_from_the_package_and_from_the_spec(found):
    spec = Catalog().spec(found.name)
    made = getattr(sk, found.name)
    assert spec._repr_html_() == made._repr_html_()
    assert spec._repr_latex_() == made._repr_latex_()


@pytest.mark.parametrize("name", ["huber", "center"])
def test_the_same_from_compile(name):
    made = symloss.compile(name)
    assert type(made) is not type(getattr(sk, name))
    assert made._repr_html_() == getattr(sk, name)._repr_html_()
    assert made._repr_latex_() == getattr(sk, name)._repr_latex_()


def test_letters_are_those_of_the_legend():
    assert sk.huber._repr_latex_().startswith(r"$\displaystyle \begin{cases}")
    assert sk.kl_divergence.info.inputs[0].latex == "q_{k}"
    assert "q_{k}" in sk.kl_divergence.info.latex
    assert sk.huber.info.parameters[0].latex == r"\delta"


def test_what_means_something_in_html_is_escaped():
    html = sk.smooth_l1._repr_html_()
    assert r"\right\rvert &lt; \beta \\ " in html
    assert re.search(r"&(?!amp;|lt;|gt;)", html) is None
    assert "<" not in re.sub(r"</?(?:table|tr|th|td|div|span|code)\b[^<>]*>", "", html)
    (spec,) = load_text(
        "from sympy import Piecewise\n"
        "from symloss.spec import Prediction, Target, loss\n\n\n"
        "@loss(title='a <b> & $c$')\n"
        "def odd(prediction: Prediction, target: Target):\n"
        "    return Piecewise((prediction, prediction < target), (prediction**2, True))\n"
    ).values()
    html = spec._repr_html_()
    assert html is not None
    assert '<span class="mathjax_ignore tex2jax_ignore">a &lt;b&gt; &amp; $c$</span>' in html
    assert Reader(html).cells[0] == "a <b> & $c$ odd"
    assert r"\hat{y} &lt; y" in html


def test_a_spec_in_a_notebook():
    @loss(title="Pull")
    def pull(prediction: Prediction["K"], label: Label["K"], scale_by: Positive = 2):
        return scale_by * prediction[label] ** 2

    html = pull._repr_html_()
    assert html is not None
    assert Reader(html).wrong == []
    assert "integers from 0 to K - 1" in html
    assert "= 2.0, scale_by &gt; 0" in html
    assert pull._repr_latex_() == r"$\displaystyle \mathrm{scale\_by} \hat{y}_{t}^{2}$"
    assert html == symloss.compile(pull)._repr_html_()


def test_a_spec_with_a_mistake_shows_its_name():
    @loss(title="Wrong")
    def wrong(prediction: Prediction["K"], target: Target["K"]):
        return prediction + target

    assert (wrong._repr_html_(), wrong._repr_latex_()) == (None, None)
    assert repr(wrong) == "<loss spec wrong>"


def test_the_catalogue_says_it_in_strings():
    """Literals only: the package needs neither SymPy nor symloss for them."""
    from ast import literal_eval

    said = describe(derive(replace(Catalog().loss("softmax_center"), file="x")))
    equations = [literal_eval(literal) for literal in said["equations"]]
    assert [len(equation) for equation in equations] == [2, 2, 2, 2]
    assert equations[0][0].startswith(r"\ell = ")
    assert equations[1][0].startswith(r"\frac{\partial \ell}{\partial z_{k}} = ")
    assert [literal_eval(entry["latex"]) for entry in said["inputs"]] == ["z_{k}", "x_{d}", "c_{k,d}", "t"]
