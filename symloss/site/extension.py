"""The Sphinx extension of the site: formulas by KaTeX, plots, a link to the same page in the other language.

The sources' `conf.py` loads it. Everything that pages load lies in `_static`: KaTeX (its licence is in
`templates/docs/static/katex`), the site's scripts and style, and the scripts of the plots.
"""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

from symloss import __version__
from symloss.catalog import data_folder
from symloss.printers.language import LANGUAGES
from symloss.site.search import ChineseSearch, EnglishSearch

TEMPLATES = Path(__file__).resolve().parent / "templates"


def static_folder() -> Path:
    """The folder of what all pages load."""
    return data_folder("templates") / "docs" / "static"


def _inline(self: Any, node: nodes.math) -> None:
    self.body.append(f'<span class="sl-math">{escape(node.astext())}</span>')
    raise nodes.SkipNode


def _display(self: Any, node: nodes.math_block) -> None:
    self.body.append(f'<div class="sl-math" translate="no">{escape(node.astext())}</div>')
    raise nodes.SkipNode


def _context(app: Sphinx, pagename: str, _: str, context: dict[str, Any], __: Any) -> None:
    """Where the same page is in the other language: the languages' folders lie side by side."""
    other = next(one for one in LANGUAGES if one.code != app.config.symloss_code)
    up = "../" * (pagename.count("/") + 1)
    same = pagename if pagename in app.env.all_docs else "index"
    context["other_language"] = {
        "url": f"{up}{other.code}/{same}.html",
        "lang": {"en": "en", "zh": "zh-CN"}[other.code],
        "name": {"en": "English", "zh": "中文"}[other.code],
    }


def _configure(app: Sphinx, config: Any) -> None:
    """Static folders and templates, which depend on where symloss is installed."""
    config.html_static_path = [*config.html_static_path, str(static_folder())]
    config.html_favicon = str(static_folder() / "favicon.svg")
    config.templates_path = [*config.templates_path, str(TEMPLATES)]


def _copy_curves(app: Sphinx, error: Exception | None) -> None:
    """The plots' scripts lie beside the languages' folders, and in each built language's `_static`."""
    if error is not None or app.builder.format != "html":
        return
    target = Path(app.outdir) / "_static" / "curves"
    target.mkdir(parents=True, exist_ok=True)
    for script in sorted((Path(app.srcdir).parent / "curves").glob("*.js")):
        place = target / script.name
        text = script.read_bytes()
        if not place.exists() or place.read_bytes() != text:
            place.write_bytes(text)


def setup(app: Sphinx) -> dict[str, Any]:
    """What Sphinx calls."""
    app.add_search_language(ChineseSearch)
    app.add_search_language(EnglishSearch)
    app.add_config_value("symloss_code", "en", "html")
    app.add_html_math_renderer("katex", (_inline, None), (_display, None))
    app.config.html_math_renderer = "katex"
    app.connect("config-inited", _configure, priority=100)
    app.connect("html-page-context", _context)
    app.connect("build-finished", _copy_curves)
    app.add_css_file("katex/katex.min.css")
    app.add_css_file("site.css")
    app.add_js_file("functions.js")
    app.add_js_file("plot.js")
    app.add_js_file("katex/katex.min.js", loading_method="defer")
    app.add_js_file("site.js", loading_method="defer")
    return {"version": __version__, "parallel_read_safe": True, "parallel_write_safe": True}
