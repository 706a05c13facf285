"""The commands that show losses: `symloss docs build`, `serve` and `pdf`, and `symloss plot`."""

from __future__ import annotations

import math
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from symloss.errors import SymlossError
from symloss.terminal import Name, Specs, clear_errors, cores, package_folder, progress, refused, say

if TYPE_CHECKING:
    from symloss.curves import Curve

docs_app = typer.Typer(no_args_is_help=True, help="The formula documentation: build it, show it, print it.")

Out = Annotated[
    Path | None,
    typer.Option(
        help="Folder of the generated package, as for `symloss generate`; the sources lie beside it."
    ),
]
Site = Annotated[
    Path | None,
    typer.Option(help="Folder of the built site. Default: build/site, and OUT_site for own specs."),
]
Jobs = Annotated[int, typer.Option(min=0, help="Processes at work; 0 for one a core.")]


def _sources(specs: list[Path] | None, out: Path, jobs: int) -> Path:
    """Generate what the site shows, as far as it isn't there; gives the folder of its sources."""
    from symloss import pipeline
    from symloss.catalog import Catalog
    from symloss.emit import CACHE
    from symloss.targets import TARGETS

    # A package that came with a clone is taken as it is: deriving it again takes a while.
    known = not out.exists() or (out / CACHE).exists()
    targets = ("kernels", "docs") if known else ("docs",)
    with progress() as shown:
        options = pipeline.Options(targets=targets, jobs=jobs or cores(), progress=shown)
        result = pipeline.generate(Catalog(specs), out, options)
    refused(result.errors)
    return TARGETS["docs"].folder(out)


def _build(specs: list[Path] | None, out: Path | None, site: Path | None, jobs: int, force: bool) -> Path:
    """Generate the sources and build the site; gives its folder."""
    from symloss.site.build import build, check_installed

    start = time.perf_counter()
    out = package_folder(specs, out)
    check_installed()
    site = site or (out.with_name(f"{out.resolve().name}_site") if specs else Path("build/site"))
    sources = _sources(specs, out, jobs)
    done = build(sources, out, site, force=force)
    state = "built" if done else "unchanged"
    say(f"{state} in {time.perf_counter() - start:.1f} s: {site / 'index.html'}")
    return site


@docs_app.command("build")
def build_site(
    specs: Specs = None,
    out: Out = None,
    site: Site = None,
    jobs: Jobs = 0,
    force: Annotated[bool, typer.Option("--force", help="Build every page anew.")] = False,
) -> None:
    """Build the site: every loss with its formulas, plot, properties and sources, in English and Chinese."""
    with clear_errors():
        _build(specs, out, site, jobs, force)


@docs_app.command("serve")
def serve_site(
    specs: Specs = None,
    out: Out = None,
    site: Site = None,
    jobs: Jobs = 0,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 for one that is free.")] = 8000,
    browse: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
) -> None:
    """Build the site and serve it on this machine, until it is interrupted."""
    from symloss.site.build import server

    with clear_errors():
        folder = _build(specs, out, site, jobs, force=False)
        with server(folder, port) as here:
            url = f"http://127.0.0.1:{here.server_address[1]}/"
            say(f"serving {url} (stop with Ctrl+C)")
            if browse:
                typer.launch(url)
            try:
                here.serve_forever()
            except KeyboardInterrupt:
                say("")


@docs_app.command("pdf")
def handbook(
    specs: Specs = None,
    out: Out = None,
    pdf: Annotated[
        Path | None, typer.Option(help="The file to write. Default: formulas.pdf beside the sources.")
    ] = None,
    jobs: Jobs = 0,
) -> None:
    """Print all formulas as one handbook; needs LaTeX."""
    from symloss.site import build

    with clear_errors():
        out = package_folder(specs, out)
        document = _sources(specs, out, jobs) / "formulas.tex"
        pdf = pdf or Path("build/formulas.pdf")
        build.handbook(document, pdf)
    say(f"wrote {pdf}")


def plot(
    name: Name,
    specs: Specs = None,
    out: Annotated[
        Path | None, typer.Option(help="An SVG file to write. Default: draw in the terminal.")
    ] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="Value of a parameter, such as delta=2; again for several.", show_default=False
        ),
    ] = None,
) -> None:
    """Plot loss, gradient and curvature while one entry of the prediction moves."""
    from symloss.catalog import Catalog
    from symloss.curves import Plotter
    from symloss.derive import derive

    with clear_errors():
        loss = Catalog(specs).loss(name)
        values = dict(_setting(text, {p.name: p for p in loss.parameters}) for text in parameter or ())
        plotter = Plotter(derive(loss))
        line = plotter.curve(400, values)
        entry = plotter.plan.moved + "".join(f"[{i}]" for i in plotter.plan.at)
        given = {p.name: float(p.default) for p in loss.parameters} | values
        said = ", ".join(f"{key} = {value:g}" for key, value in given.items())
        title = f"{loss.title} ({said})" if said else loss.title
        if out is None:
            for row in _drawn(line, title, entry):
                say(row)
            return
        if out.suffix != ".svg":
            raise SymlossError(
                f"a plot is written as SVG: give --out a name that ends in .svg, not {out.name!r}"
            )
        from symloss.printers.picture import plot as picture

        curves = [("loss", line.value), ("gradient", line.grad), ("curvature", line.hess)]
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(picture([(key, line.x, y) for key, y in curves], title, entry), encoding="utf-8")
    say(f"wrote {out}")


def _setting(text: str, parameters: dict) -> tuple[str, float]:
    """A parameter's name and value, from `delta=2`."""
    from symloss.hints import nearest
    from symloss.printers.describe import domain

    key, _, number = text.partition("=")
    if key not in parameters:
        known = f"; it has {', '.join(parameters)}" if parameters else "; the loss has none"
        raise SymlossError(f"`{key}` is no parameter{nearest(key, parameters)}{known}")
    try:
        value = float(number)
    except ValueError:
        raise SymlossError(f"write --set {key}=NUMBER, not {text!r}") from None
    if not math.isfinite(value) or value not in parameters[key].domain:
        raise SymlossError(f"`{key}` = {number} is outside its domain: {domain(key, parameters[key].domain)}")
    return key, value


def _drawn(line: Curve, title: str, entry: str) -> list[str]:
    """The curves in characters: of braille dots, or in letters where the terminal has no such dots."""
    import numpy as np
    from uniplot import plot_to_string

    from symloss.printers.picture import extent

    bottom, top = extent([line.value, line.grad, line.hess])
    kinds = [np.where(np.isfinite(y), y, np.nan) for y in (line.value, line.grad, line.hess)]
    width = max(min(shutil.get_terminal_size().columns, 120) - 16, 30)
    try:
        "\u28ff\u2502".encode(sys.stdout.encoding or "ascii")
        letters = "braille"
    except UnicodeEncodeError:
        letters = "ascii"
    drawn = plot_to_string(
        ys=kinds, xs=[line.x] * 3, lines=True, title=title, width=width, height=20, y_min=bottom, y_max=top,
        color=sys.stdout.isatty(), character_set=letters, legend_labels=["loss", "gradient", "curvature"],
    )  # fmt: skip
    rows = [*(drawn.splitlines() if isinstance(drawn, str) else drawn), f"x: {entry}"]
    if letters == "braille":
        return rows
    frame = str.maketrans("\u250c\u2510\u2514\u2518\u2500\u2502\u2594", "++++-|-")
    return [row.translate(frame).encode("ascii", "replace").decode() for row in rows]
