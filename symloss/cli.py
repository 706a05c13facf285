"""The command line, thin: it reads options and prints results."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

import symloss
from symloss.errors import SpecError, SymlossError

if TYPE_CHECKING:
    from symloss.pipeline import Progress, Result

app = typer.Typer(
    name="symloss",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="A compiler for loss functions: from a textbook formula to gradients, curvature, kernels and pages.",
)

DEFAULT_OUT = Path("generated/symloss_kernels")

Specs = Annotated[
    list[Path] | None,
    typer.Option(
        "--specs", help="Folder or file of own specs; again for several. Default: the shipped ones."
    ),
]
Name = Annotated[str, typer.Argument(help="Name of a loss, as `symloss list` shows it.", show_default=False)]


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


@contextmanager
def _clear_errors() -> Iterator[None]:
    """Turn an error that symloss raises on purpose into a paragraph and exit code 1."""
    try:
        yield
    except SymlossError as error:
        _complain(str(error))
        raise typer.Exit(1) from None


def _complain(text: str) -> None:
    Console(stderr=True, soft_wrap=True).print(f"[bold red]error[/]: {_plain(text)}", highlight=False)


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def _print(text: str) -> None:
    """Print as it is, without colours and without breaking lines."""
    typer.echo(text)


def _table(columns: list[str], rows: list[list[str]]) -> None:
    """A table for a person; tab-separated lines for a pipe."""
    console = Console()
    if not console.is_terminal:
        for row in rows:
            _print("\t".join(row))
        return
    table = Table(*columns, header_style="bold")
    for row in rows:
        table.add_row(*map(_plain, row))
    console.print(table)


def _version(wanted: bool) -> None:
    if wanted:
        _print(f"symloss {symloss.__version__}")
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

    with _clear_errors():
        losses, errors = load(specs)
        rows = [[loss.name, loss.signature, loss.family, loss.title] for loss in losses]
        _table(["name", "signature", "family", "title"], rows)
        _refused(errors)


def _refused(errors: list[SpecError] | tuple[SpecError, ...]) -> None:
    """Name the specs that were refused, and leave with 1 if there are any."""
    for error in errors:
        _complain(str(error))
    if errors:
        raise typer.Exit(1)


@app.command()
def show(
    name: Name,
    stage: Annotated[Stage, typer.Option(help="Which stage of the derivation to print.")] = Stage.all,
    specs: Specs = None,
) -> None:
    """Show a loss on its way from formula to kernel, stage by stage."""
    from symloss.catalog import Catalog
    from symloss.show import show as lines

    with _clear_errors():
        catalog = Catalog(specs)
        loss = catalog.loss(name)
        for line in lines(replace(loss, file=catalog.label(Path(loss.file))), stage.value):
            _print(line)


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

    if specs and out is None:
        raise typer.BadParameter(
            "own specs need --out, the folder of the package to make", param_hint="--specs"
        )
    out = out or DEFAULT_OUT
    package = out.resolve().name
    if not package.isidentifier():
        raise typer.BadParameter(
            f"the folder is imported as a package, and {package!r} can't be; "
            f"write for example {''.join(c if c.isalnum() else '_' for c in package)!r}",
            param_hint="--out",
        )
    start = time.perf_counter()
    with _clear_errors(), _progress() as progress:
        catalog = Catalog(specs)
        options = pipeline.Options(
            only=tuple(only or ()),
            targets=tuple(t.value for t in target or ()),
            jobs=jobs or _cores(),
            force=force,
            progress=progress,
        )
        diff = ""
        if check:
            diff, result = pipeline.check(catalog, out, options)
        else:
            result = pipeline.generate(catalog, out, options)
    if diff:
        _print(diff.rstrip("\n"))
        _complain(f"{out} is not what the specs give; run `symloss generate`")
    elif check:
        _print(f"{out} is what the specs give ({len(result.losses)} losses)")
    else:
        _report(result, out, time.perf_counter() - start)
    _refused(result.errors)
    if diff:
        raise typer.Exit(1)


def _cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _progress() -> Iterator[Progress | None]:
    """A progress bar on a terminal; nothing in a pipe."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    columns = [TextColumn("deriving"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()]
    with Progress(*columns, TextColumn("{task.description}"), console=console, transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda label, done, total: bar.update(task, completed=done, total=total, description=label)


def _report(result: Result, out: Path, seconds: float) -> None:
    """The closing table: what happened to the files of each target."""
    from symloss.targets import TARGETS

    rows = []
    for name, emitted in result.emitted.items():
        counts = [len(emitted.written), len(emitted.unchanged), len(emitted.removed)]
        rows.append([name, str(TARGETS[name].folder(out)), *map(str, counts)])
    _table(["target", "folder", "written", "unchanged", "removed"], rows)
    derived = sum(state == "derived" for state in result.losses.values())
    _print(f"{len(result.losses)} losses, {derived} of them derived anew, in {seconds:.1f} s")


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

    with _clear_errors():
        catalog = Catalog(specs)
        losses, errors = ([catalog.loss(name) for name in names], []) if names else catalog.load()
        reports = []
        for loss in losses:
            runtime = symloss.compile(loss) if specs else _shipped(loss.name)
            for kind in dtype or list(DType):
                _note(f"{loss.name}, {kind.value}")
                reports.append(measure(loss, runtime, kind.value, count=points, seed=seed))
    _table(
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
        _complain(str(failure))
    _refused(errors)
    if not all(report.passed for report in reports):
        raise typer.Exit(1)


def _note(text: str) -> None:
    """Say on a terminal what is being done."""
    console = Console(stderr=True)
    if console.is_terminal:
        console.print(f"[dim]{text}[/]")


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

    with _clear_errors():
        check_name("the loss", name)
        file = directory / f"{name}.py"
        if file.exists():
            raise SymlossError(f"{file} is already there; choose another name")
        title = name.replace("_", " ").capitalize()
        directory.mkdir(parents=True, exist_ok=True)
        file.write_text(render("new_spec.py.jinja", name=name, title=title), encoding="utf-8")
    _print(f"wrote {file}; now edit it, and run\n  symloss show {name} --specs {directory}")
    _print(f"  symloss generate --specs {directory} --out my_losses")
