"""The command line, thin: it reads options and prints results."""

from __future__ import annotations

import shutil
import sys
import time
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import symloss
from symloss.cli_docs import docs_app, plot
from symloss.errors import SymlossError
from symloss.terminal import (
    DEFAULT_OUT,
    Name,
    Specs,
    clear_errors,
    complain,
    cores,
    note,
    package_folder,
    progress,
    refused,
    say,
    table,
)

if TYPE_CHECKING:
    from symloss.pipeline import Result

app = typer.Typer(
    name="symloss",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="A compiler for loss functions: from a textbook formula to gradients, curvature, kernels and pages.",
)


class Target(StrEnum):
    """What can be generated."""

    kernels = "kernels"
    docs = "docs"


class DType(StrEnum):
    """The precisions of the kernels."""

    float32 = "float32"
    float64 = "float64"


class Stage(StrEnum):
    """What `show` can print."""

    formula = "formula"
    lifted = "lifted"
    derived = "derived"
    stabilised = "stabilised"
    trail = "trail"
    program = "program"
    kernel = "kernel"
    latex = "latex"
    all = "all"


def main() -> None:
    """Run the command line."""
    app()


def _version(wanted: bool) -> None:
    if wanted:
        say(f"symloss {symloss.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    pass


@app.command("list")
def list_losses(specs: Specs = None) -> None:
    """List the losses: name, signature, family, title."""
    from symloss.catalog import load

    with clear_errors():
        losses, errors = load(specs)
        rows = [[loss.name, loss.signature, loss.family, loss.title] for loss in losses]
        table(["name", "signature", "family", "title"], rows)
        refused(errors)


@app.command()
def show(
    name: Name,
    stage: Annotated[
        Stage | None,
        typer.Option(help="Print one stage between formula and kernel, or all, on plain lines instead."),
    ] = None,
    trail: Annotated[bool, typer.Option("--trail", help="Show each step of the derivation as well.")] = False,
    specs: Specs = None,
) -> None:
    """Draw a loss: its formula, gradient and Hessian diagonal, and what is known of its parameters."""
    from symloss import show as shown
    from symloss.catalog import Catalog

    if stage and trail:
        raise typer.BadParameter("--stage trail prints the steps alone", param_hint="--trail with --stage")
    encoding = sys.stdout.encoding or "ascii"  # what it can't print is replaced, not an error
    with clear_errors():
        catalog = Catalog(specs)
        loss = catalog.loss(name)
        if stage:
            lines = shown.show(replace(loss, file=catalog.label(Path(loss.file))), stage.value)
        else:
            width = shutil.get_terminal_size().columns
            lines = shown.page(loss, width, is_plain=not shown.can_draw(encoding), with_trail=trail)
        for line in lines:
            printable = line.encode(encoding, "replace").decode(encoding)
            say(typer.style(printable, bold=True) if isinstance(line, shown.Heading) else printable)


@app.command()
def generate(
    specs: Specs = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the package to make, named as you want to import it; the pages go beside it, "
            f"into OUT_docs. Default: {DEFAULT_OUT}, with the pages in generated/docs."
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            help="Derive just this loss; others in the package stay as they are. Again for several."
        ),
    ] = None,
    target: Annotated[
        list[Target] | None, typer.Option(help="What to make; again for several. Default: everything.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=0, help="Processes at work; 0 for one a core.")] = 0,
    check: Annotated[
        bool,
        typer.Option("--check", help="Write nothing; print what would change, and fail if anything would."),
    ] = False,
    force: Annotated[
        bool,
        typer.Option("--force", help="Derive everything anew; write into a folder that isn't symloss's."),
    ] = False,
) -> None:
    """Generate the kernels' package and the pages; what didn't change isn't touched."""
    from symloss import pipeline
    from symloss.catalog import Catalog

    out = package_folder(specs, out)
    start = time.perf_counter()
    with clear_errors(), progress() as shown:
        catalog = Catalog(specs)
        options = pipeline.Options(
            only=tuple(only or ()),
            targets=tuple(t.value for t in target or ()),
            jobs=jobs or cores(),
            force=force,
            progress=shown,
        )
        diff = ""
        if check:
            diff, result = pipeline.check(catalog, out, options)
        else:
            result = pipeline.generate(catalog, out, options)
    if diff:
        say(diff.rstrip("\n"))
        complain(f"{out} is not what the specs give; run `symloss generate`")
    elif check:
        say(f"{out} is what the specs give ({len(result.losses)} losses)")
    else:
        _report(result, out, time.perf_counter() - start)
    refused(result.errors)
    if diff:
        raise typer.Exit(1)


def _report(result: Result, out: Path, seconds: float) -> None:
    """The closing table: what happened to the files of each target."""
    from symloss.targets import TARGETS

    rows = []
    for name, emitted in result.emitted.items():
        counts = [len(emitted.written), len(emitted.unchanged), len(emitted.removed)]
        rows.append([name, str(TARGETS[name].folder(out)), *map(str, counts)])
    table(["target", "folder", "written", "unchanged", "removed"], rows)
    derived = sum(state == "derived" for state in result.losses.values())
    say(f"{len(result.losses)} losses, {derived} of them derived anew, in {seconds:.1f} s")


@app.command()
def verify(
    names: Annotated[
        list[str] | None, typer.Argument(help="Names of losses. Default: all.", show_default=False)
    ] = None,
    specs: Specs = None,
    dtype: Annotated[
        list[DType] | None, typer.Option(help="Precision; again for several. Default: both.")
    ] = None,
    points: Annotated[int, typer.Option(min=1, help="Points drawn per loss, beside the extremes.")] = 200,
    seed: Annotated[int, typer.Option(help="Seed of the points.")] = 0,
) -> None:
    """Hold the kernels against the formula itself, evaluated to as many digits as it takes; errors in ulp."""
    from symloss.catalog import Catalog
    from symloss.verify import verify as measure

    with clear_errors():
        catalog = Catalog(specs)
        losses, errors = ([catalog.loss(name) for name in names], []) if names else catalog.load()
        reports = []
        for loss in losses:
            runtime = symloss.compile(loss) if specs else _shipped(loss.name)
            for kind in dtype or list(DType):
                note(f"{loss.name}, {kind.value}")
                reports.append(measure(loss, runtime, kind.value, count=points, seed=seed))
    table(
        ["loss", "dtype", "output", "results", "ulp", "mixed", "bound", "verdict", "worst at"],
        [
            [
                report.loss,
                report.dtype,
                row.output,
                str(row.count),
                f"{row.forward:.2f}",
                f"{row.mixed:.2f}",
                f"{row.bounds.forward:g}",
                "ok" if row.passed else f"{row.failed} missed",
                row.worst,
            ]
            for report in reports
            for row in report.rows
        ],
    )
    for failure in (failure for report in reports for failure in report.failures):
        complain(str(failure))
    refused(errors)
    if not all(report.passed for report in reports):
        raise typer.Exit(1)


def _shipped(name: str) -> object:
    """The generated loss of that name."""
    try:
        import symloss_kernels
    except ImportError:
        raise SymlossError(
            "the package symloss_kernels can't be imported; run `symloss generate` first"
        ) from None
    return getattr(symloss_kernels, name)


@app.command()
def new(
    name: Annotated[
        str, typer.Argument(help="Name of the loss to be, such as `robust_error`.", show_default=False)
    ],
    directory: Annotated[
        Path, typer.Option("--dir", help="Folder for the spec; made if it isn't there.")
    ] = Path("my_specs"),
) -> None:
    """Write a commented spec to start from."""
    from symloss.emit import render
    from symloss.validate import check_name

    with clear_errors():
        check_name("the loss", name)
        file = directory / f"{name}.py"
        if file.exists():
            raise SymlossError(f"{file} is already there; choose another name")
        title = name.replace("_", " ").capitalize()
        directory.mkdir(parents=True, exist_ok=True)
        file.write_text(render("new_spec.py.jinja", name=name, title=title), encoding="utf-8")
    say(f"wrote {file}; now edit it, and run\n  symloss show {name} --specs {directory}")
    say(f"  symloss generate --specs {directory} --out my_losses")


app.command()(plot)
app.add_typer(docs_app, name="docs")
