"""The documentation site as a reader has it: built, served, and opened in a headless Chromium.

Skipped, visibly, without Sphinx, Playwright or Chromium.
"""

from __future__ import annotations

import itertools
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import browser as b
import numpy as np
import pytest
import symloss_kernels as sk

from symloss.catalog import Catalog
from symloss.errors import SymlossError
from symloss.pipeline import Options, generate
from symloss.site import build as site

pytest.importorskip("sphinx", reason="Sphinx is not installed")
pytest.importorskip("myst_parser", reason="MyST is not installed")
pytest.importorskip("pydata_sphinx_theme", reason="the theme is not installed")

pytestmark = pytest.mark.xdist_group("site")

ROOT = Path(__file__).resolve().parent.parent
LOSSES = {loss.name: loss for loss in Catalog().load()[0]}
WIDTHS = (1280, 390)
GUIDES = ("index", "choosing", "accuracy", "writing", "losses/index")
PAGES = [f"{code}/{name}" for code in ("en", "zh") for name in (*GUIDES, *(f"losses/{n}" for n in LOSSES))]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The site of the committed sources."""
    out = tmp_path_factory.mktemp("site") / "site"
    generated = ROOT / "generated"
    assert site.build(generated / "docs", generated / "symloss_kernels", out)
    return out


@pytest.fixture(scope="module")
def address(built):
    with b.served(built) as url:
        yield url


@pytest.fixture(scope="module")
def chromium():
    with b.opened() as one:
        yield one


@pytest.fixture
def page(chromium):
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    yield context.new_page()
    context.close()


# --- every page ------------------------------------------------------------------------------------------

#: What a reader would see go wrong with formulas, and what is wider than the window.
LOOK = r"""() => {
  const shown = [...document.querySelectorAll("div.sl-math")]
    .filter((place) => place.clientWidth && !place.closest("details:not([open])"));
  const inside = (place) => Math.max(...[...place.querySelectorAll(".katex-html > .base, .katex-html > .tag")]
    .map((part) => part.getBoundingClientRect().right));
  // What lies in something that scrolls by itself, or is only there for screen readers, may be wider.
  const scrolls = (one) => !one.closest("article") || one.closest(".katex-mathml, .visually-hidden, svg")
    || (one.parentElement && one.parentElement.closest("article") && (
      ["auto", "scroll", "hidden"].includes(getComputedStyle(one.parentElement).overflowX) || scrolls(one.parentElement)));
  const raw = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT);
  let found = "";
  while (raw.nextNode()) {
    const holder = raw.currentNode.parentElement;
    const folded = holder.closest("details:not([open])") && !holder.closest("summary");  // typeset when opened
    if (!folded && !holder.closest("script, style, pre, code, annotation") && /\\[a-z]{2,}|\$\$/.test(raw.currentNode.data))
      found ||= raw.currentNode.data.slice(0, 80);
  }
  return {
    formulas: shown.length,
    unset: shown.filter((place) => !place.querySelector(".katex-html")).length,
    wrong: document.querySelectorAll(".katex-error").length,
    raw: found,
    over: shown.filter((place) => place.scrollWidth > place.clientWidth + 1
      || inside(place) > place.getBoundingClientRect().right + 1).map((place) => place.dataset.tex.slice(0, 100)),
    page: Math.max(0, ...[...document.querySelectorAll("main *")]
      .map((one) => [one, one.getBoundingClientRect().right - window.innerWidth])
      .map(([one, over]) => over > 0 && !scrolls(one) ? over : 0)),  // few are over: what scrolls is asked of these
  };
}"""


#: What is opened is typeset in the next frame, and what needs a font that isn't there yet is fitted again after it.
SETTLED = """async () => {
  const frame = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  await frame(); await frame();
  await document.fonts.ready;
  await frame(); await frame();
}"""


@pytest.mark.parametrize("name", PAGES)
def test_a_page_loads_and_its_formulas_fit(page, address, name):
    watch = b.Watch(page, address)
    b.visit(page, f"{address}/{name}.html")
    for width, folded in ((WIDTHS[0], "closed"), *((width, "open") for width in WIDTHS)):
        page.set_viewport_size({"width": width, "height": 900})
        if folded == "open":
            page.evaluate("document.querySelectorAll('details').forEach((part) => (part.open = true))")
        page.evaluate(SETTLED)
        found = page.evaluate(LOOK)
        assert found["unset"] == found["wrong"] == 0 and found["raw"] == ""
        assert found["over"] == [] and found["page"] <= 0, f"at {width} pixels, folded parts {folded}"
    if "/losses/" in name and not name.endswith("index"):
        assert found["formulas"] >= 5
    assert watch.wrong == []


def test_a_page_that_is_not_right_would_be_seen(page, address):
    """What the test above looks at can fail."""
    watch = b.Watch(page, address)
    b.visit(page, f"{address}/en/losses/huber.html")
    page.evaluate("document.querySelector('div.sl-math').textContent = '\\\\frac{1}{2}'.repeat(400)")
    page.evaluate("console.error('x'); fetch('/nothing'); new Image().src = 'http://192.0.2.1/x.png'")
    page.evaluate("document.querySelector('div.sl-math').style.whiteSpace = 'nowrap'")
    page.evaluate("document.querySelector('main h2').style.width = '9999px'")
    page.wait_for_timeout(300)
    found = page.evaluate(LOOK)
    assert found["unset"] == 1 and found["raw"] and found["over"] and found["page"] > 0
    assert {line.partition(":")[0] for line in watch.wrong} >= {"x", "404", "elsewhere"}


# --- plots -----------------------------------------------------------------------------------------------


def settings(plan, rng):
    """Values for everything that can be set: the plan's own, both ends, and random ones."""
    controls = plan["controls"]

    def values(pick):
        return [{"name": c["name"], "at": c["at"], "value": float(pick(c))} for c in controls]

    yield values(lambda c: c["value"])
    yield values(lambda c: c["choices"][0] if c["choices"] else c["low"])
    yield values(lambda c: c["choices"][-1] if c["choices"] else c["high"])
    for _ in range(4):
        yield values(lambda c: rng.choice(c["choices"]) if c["choices"] else rng.uniform(c["low"], c["high"]))


def by_kernel(loss, plan, x, chosen):
    """Loss, gradient and curvature of one sample, by the kernels."""
    point = json.loads(json.dumps(plan["point"]))
    parameters = {}
    names = {item.name: item for item in loss.inputs}
    for name, at, value in [(c["name"], c["at"], c["value"]) for c in chosen] + [
        (plan["moved"], plan["at"], x)
    ]:
        if name not in names:
            parameters[name] = value
        elif not at:
            point[name] = int(value) if names[name].kind == "label" else value
        else:
            row = point[name]
            for i in at[:-1]:
                row = row[i]
            row[at[-1]] = value
    arrays = [np.array(point[i.name], np.int64 if i.kind == "label" else np.float64) for i in loss.inputs]
    kernel = getattr(sk, loss.name)
    with np.errstate(all="ignore"):
        value = kernel.value(*arrays, reduction="sum", **parameters)
        grad, hess = kernel.grad_and_hess(*arrays, reduction="sum", **parameters)
    if len(loss.predictions) > 1:
        grad, hess = getattr(grad, f"{plan['moved']}"), getattr(hess, f"{plan['moved']}")
    return [float(value), float(grad[tuple(plan["at"])]), float(hess[tuple(plan["at"])])]


#: The largest magnitude in a sum whose terms cancel is some tens; 1e-12 of it is what the plot may be wrong by.
SCALE = 30.0


@pytest.mark.parametrize("name", LOSSES)
def test_plotted_numbers_agree_with_the_kernels(page, address, name):
    b.visit(page, f"{address}/en/losses/{name}.html")
    plan = page.evaluate(f"symloss.losses.{name}.plan")
    rng = np.random.default_rng(5)
    compared = 0
    for chosen in settings(plan, rng):
        for x in [plan["low"], plan["high"], *rng.uniform(plan["low"], plan["high"], 4).tolist()]:
            plotted = page.evaluate(
                "([name, x, set]) => symloss.evaluate(name, x, set).map((y) => String(y))", [name, x, chosen]
            )
            plotted = [float(y.replace("Infinity", "inf")) for y in plotted]
            exact = by_kernel(LOSSES[name], plan, x, chosen)
            for got, wanted in zip(plotted, exact, strict=True):
                if np.isfinite(wanted):
                    assert abs(got - wanted) <= 1e-12 * max(abs(wanted), SCALE), (x, chosen, got, wanted)
                else:
                    assert not np.isfinite(got), (x, chosen, got, wanted)
                compared += 1
    assert compared >= 90


def test_the_functions_of_plots_are_what_their_names_say(page, address):
    from mpmath import mp
    from plot_functions import cases

    b.visit(page, f"{address}/en/losses/huber.html")
    with mp.workdps(400):
        wanted = [(name, list(map(float, at)), float(value)) for name, at, value in cases()]
    script = "(cases) => cases.map(([name, at]) => String(symloss.functions[name](...at)))"
    got = page.evaluate(script, [[name, at] for name, at, _ in wanted])
    for (name, at, exact), text in zip(wanted, got, strict=True):
        # A difference of two quotients near 1 has lost four digits.
        tolerance = 5e-12 if name == "besseli_ratio_slope" else 1e-13
        value = float(text.replace("Infinity", "inf"))
        assert abs(value - exact) <= tolerance * max(abs(exact), 1e-300), (name, at, value, exact)


@pytest.mark.parametrize("name", ["huber", "binary_focal", "softmax_cross_entropy", "contrastive"])
def test_a_slider_changes_the_curve_and_reset_brings_it_back(page, address, name):
    b.visit(page, f"{address}/en/losses/{name}.html")
    line = page.locator("path.sl-line.sl-value")
    before = line.get_attribute("d")
    sliders = page.locator(".sl-plot input[type=range]")
    assert sliders.count() == len(page.evaluate(f"symloss.losses.{name}.plan.controls"))
    changed = 0
    for i in range(sliders.count()):
        slider = sliders.nth(i)
        shown = slider.locator("xpath=../output")
        said = shown.inner_text()
        slider.focus()
        for key in ("ArrowRight", "ArrowRight", "ArrowLeft", "PageUp", "Home"):
            slider.press(key)
            if line.get_attribute("d") != before:
                break
        changed += line.get_attribute("d") != before
        assert shown.inner_text() != said or line.get_attribute("d") == before
        page.get_by_role("button", name="Reset").click()
        assert line.get_attribute("d") == before and shown.inner_text() == said
    assert changed >= 1
    parameters = [
        i
        for i, c in enumerate(page.evaluate(f"symloss.losses.{name}.plan.controls"))
        if c["kind"] == "parameter"
    ]
    assert all(sliders.nth(i).is_visible() for i in parameters)


def test_the_pointer_reads_the_curve_and_the_legend_hides_it(page, address):
    b.visit(page, f"{address}/en/losses/mse.html")
    box = page.locator(".sl-plot svg").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.75, box["y"] + box["height"] / 2)
    said = page.locator(".sl-readout").inner_text().replace("\u2212", "-")
    x, value, slope, bend = map(float, re.findall(r"= (-?[\d.]+)", said))
    assert value == pytest.approx(x * x, rel=1e-2) and slope == pytest.approx(2 * x, rel=1e-2) and bend == 2
    legend = page.locator(".sl-legend button", has_text="curvature")
    legend.click()
    assert (
        page.locator("path.sl-line.sl-hess").count() == 0 and legend.get_attribute("aria-pressed") == "false"
    )


# --- gallery, search, languages --------------------------------------------------------------------------


def cards(page):
    return page.locator(".sl-card:visible h2").all_inner_texts()


def test_the_gallery_filters_by_family_property_and_name(page, address):
    b.visit(page, f"{address}/en/index.html")
    assert len(cards(page)) == len(LOSSES)
    assert page.locator(".sl-card svg path.sl-value").count() == len(LOSSES)
    page.get_by_role("button", name="Regression").click()
    regression = cards(page)
    assert len(regression) == sum(loss.family == "regression" for loss in LOSSES.values())
    page.get_by_role("button", name="robust", exact=True).click()
    robust = cards(page)
    assert (
        set(robust) < set(regression)
        and LOSSES["huber"].title in robust
        and LOSSES["mse"].title not in robust
    )
    page.get_by_role("button", name="Regression").click()
    page.get_by_role("button", name="robust", exact=True).click()
    page.get_by_role("button", name="needs labels").click()
    labelled = [loss.title for loss in LOSSES.values() if any(i.kind == "label" for i in loss.inputs)]
    assert sorted(cards(page)) == sorted(labelled)
    page.get_by_role("button", name="needs labels").click()
    for words, count in (("焦点", 2), ("huber", 1), ("no such loss", 0)):
        page.get_by_role("searchbox").fill(words)
        assert len(cards(page)) == count
    assert page.locator(".sl-none").is_visible()
    page.get_by_role("searchbox").fill("huber")
    page.locator(".sl-card:visible a").click()
    assert page.url.endswith("/en/losses/huber.html")


@pytest.mark.parametrize("code", ["en", "zh"])
@pytest.mark.parametrize(
    ("words", "name"),
    [("焦点损失", "binary_focal"), ("中心损失", "center"), ("softmax_cross_entropy", "softmax_cross_entropy"),
     ("Huber", "huber")],
)  # fmt: skip
def test_search_finds_a_loss_by_its_name(page, address, code, words, name):
    page.goto(f"{address}/{code}/search.html?q={words}")
    page.wait_for_selector("#search-results li a")
    page.wait_for_timeout(300)
    links = page.locator("#search-results li a").evaluate_all(
        "(all) => all.map((one) => one.getAttribute('href'))"
    )
    assert any(urlsplit(link).path.endswith(f"losses/{name}.html") for link in links)


@pytest.mark.parametrize("name", ["index", "losses/huber", "choosing", "losses/index"])
def test_the_language_link_keeps_the_page_and_the_choice(page, address, name):
    b.visit(page, f"{address}/en/{name}.html#gradient")
    page.locator("a.sl-language:visible").first.click()
    page.wait_for_url(f"**/zh/{name}.html#gradient")
    assert page.locator("html").get_attribute("lang") == "zh-CN"
    page.goto(f"{address}/index.html")
    page.wait_for_url("**/zh/index.html")
    page.locator("a.sl-language:visible").first.click()
    page.wait_for_url("**/en/index.html*")


def test_chinese_pages_leave_nothing_in_english(page, address):
    """Headings, tables and buttons; code, names and references stay as they are."""
    english = re.compile(r"^[A-Za-z][a-z]+( [a-z]+)+$")
    for name in ("index", "losses/binary_focal", "accuracy"):
        b.visit(page, f"{address}/zh/{name}.html")
        texts = page.locator(
            "h1, h2, h3, main th, main button, main summary, .bd-header a, .sl-verdict"
        ).all_inner_texts()
        left = [text.strip("# \n") for text in texts if english.match(text.strip("# \n"))]
        assert left == []


#: Pages that are looked at in English and on a screen; some of them, one of each kind, in dark, and in Chinese on a phone.
LOOKED_AT = ["index", "choosing", "accuracy", "losses/index", "losses/huber", "losses/contrastive"]
OF_EACH_KIND = ["choosing", "losses/index", "losses/huber"]


@pytest.mark.parametrize(
    ("scheme", "language", "width", "name"),
    [
        *(("light", "en", 1280, name) for name in LOOKED_AT),
        *(("dark", "en", 1280, name) for name in OF_EACH_KIND),
        *(("light", "zh", 390, name) for name in OF_EACH_KIND),
    ],
)
def test_axe_finds_no_serious_violation(chromium, address, scheme, language, width, name):
    axe_playwright = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="axe is not installed"
    )
    context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    b.visit(page, f"{address}/{language}/{name}.html")
    assert page.locator("html").get_attribute("data-theme") == scheme
    page.evaluate("document.querySelectorAll('details').forEach((part, i) => (part.open = i < 3))")
    results = axe_playwright.Axe().run(page)
    serious = [
        (one["id"], [node["target"] for node in one["nodes"]][:3], one["nodes"][0]["failureSummary"])
        for one in results.response["violations"]
        if one["impact"] in ("serious", "critical")
    ]
    assert serious == []
    context.close()


# --- files -----------------------------------------------------------------------------------------------


class Links(HTMLParser):
    """The links and the anchors of a page."""

    def __init__(self, text):
        super().__init__()
        self.links, self.anchors = [], set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.anchors |= {found[key] for key in ("id", "name") if found.get(key)}
        self.links += [found[key] for key in ("href", "src") if found.get(key)]


def test_links_lead_somewhere(built):
    pages = {path: Links(path.read_text(encoding="utf-8")) for path in sorted(built.rglob("*.html"))
             if "_static" not in path.parts}  # fmt: skip
    assert len(pages) >= len(PAGES)
    broken = []
    for path, found in pages.items():
        for link in found.links:
            parts = urlsplit(link)
            if parts.scheme in ("http", "https"):
                assert parts.netloc in ("doi.org", "arxiv.org", "pydata-sphinx-theme.readthedocs.io"), link
            elif parts.scheme == "" and not parts.netloc:
                target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
                there = pages.get(target)
                if not target.exists() or (
                    parts.fragment and there and unquote(parts.fragment) not in there.anchors
                ):
                    broken.append((path.relative_to(built).as_posix(), link))
    assert broken == []


def test_nothing_that_is_loaded_lies_elsewhere(built):
    loaded = re.compile(
        r"""(?:src|href)=["'](https?:)?//[^"']*\.(?:js|css|woff2?|png|svg)|(?:@import\s+|url\()["']?(?:https?:)?//"""
    )
    for path in sorted([*built.rglob("*.html"), *built.rglob("*.css")]):
        assert not loaded.search(path.read_text(encoding="utf-8")), path


def test_an_unchanged_site_is_not_built_again(built):
    generated = ROOT / "generated"
    before = {path: path.stat().st_mtime_ns for path in built.rglob("*") if path.is_file()}
    assert not site.build(generated / "docs", generated / "symloss_kernels", built)
    assert before == {path: path.stat().st_mtime_ns for path in built.rglob("*") if path.is_file()}


def test_own_losses_have_a_site_without_the_guides_of_others(tmp_path):
    specs = tmp_path / "my_specs"
    specs.mkdir()
    (specs / "cubic.py").write_text(
        "from sympy import Abs\nfrom symloss.spec import Prediction, Target, loss\n\n\n@loss\n"
        "def cubic(prediction: Prediction, target: Target):\n    return Abs(prediction - target) ** 3\n",
        encoding="utf-8",
    )
    out = tmp_path / "my_losses"
    generate(Catalog([specs]), out, Options())
    sources = tmp_path / "my_losses_docs"
    assert site.build(sources, out, tmp_path / "site")
    pages = {path.relative_to(tmp_path / "site").as_posix() for path in (tmp_path / "site").rglob("*.html")
             if "_static" not in path.parts}  # fmt: skip
    assert {
        f"{code}/{name}.html" for code in ("en", "zh") for name in ("index", "losses/index", "losses/cubic")
    } <= pages
    assert not {name for name in pages if "choosing" in name or "accuracy" in name}
    text = (tmp_path / "site/en/losses/cubic.html").read_text(encoding="utf-8")
    plain = re.sub("<[^>]*>", "", text)
    assert "Not measured yet" in plain and plain.count("@kernel") >= 4  # the sources of CPU and CUDA
    (specs / "cubic.py").rename(specs / "cube.py")
    text = (specs / "cube.py").read_text(encoding="utf-8").replace("cubic", "cube")
    (specs / "cube.py").write_text(text, encoding="utf-8")
    generate(Catalog([specs]), out, Options())
    assert site.build(sources, out, tmp_path / "site")
    assert not (tmp_path / "site/en/losses/cubic.html").exists()
    assert (tmp_path / "site/zh/losses/cube.html").exists()


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda folder: (folder / "mine.txt").write_text("x"), "holds no site"),
        (lambda folder: folder.rmdir(), "could not build|no folder"),
    ],
    ids=["a folder of something else", "no sources"],
)
def test_what_makes_no_sense_is_refused(tmp_path, prepare, message):
    out, sources = tmp_path / "out", tmp_path / "sources"
    out.mkdir()
    sources.mkdir()
    prepare(out if "holds" in message else sources)
    with pytest.raises(SymlossError, match=message):
        site.build(sources, tmp_path, out)
    assert not any(itertools.chain(out.glob("en"), out.glob("zh"))) or "could" in message


def test_serving_nothing_is_refused(tmp_path):
    with pytest.raises(SymlossError, match="there is no site in"):
        site.server(tmp_path)


def test_without_the_extra_the_way_to_get_it_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr(site, "find_spec", lambda name: None)
    with pytest.raises(SymlossError, match=r"pip install \"symloss\[docs\]\""):
        site.build(tmp_path, tmp_path, tmp_path / "out")


def test_without_latex_the_handbook_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(site.shutil, "which", lambda name: None)
    with pytest.raises(SymlossError, match="needs LaTeX"):
        site.handbook(ROOT / "generated/docs/formulas.tex", tmp_path / "formulas.pdf")
    assert not (tmp_path / "formulas.pdf").exists()


@pytest.mark.skipif(
    not any(map(site.shutil.which, ("latexmk", "pdflatex", "tectonic"))), reason="LaTeX is not installed"
)
def test_the_handbook_is_a_pdf(tmp_path):
    site.handbook(ROOT / "generated/docs/formulas.tex", tmp_path / "out" / "handbook.pdf")
    assert (tmp_path / "out" / "handbook.pdf").read_bytes().startswith(b"%PDF-")
    bad = tmp_path / "formulas.tex"
    bad.write_text(r"\documentclass{article}\begin{document}\nosuchcommand\end{document}", encoding="utf-8")
    with pytest.raises(SymlossError, match="nosuchcommand"):
        site.handbook(bad, tmp_path / "bad.pdf")
