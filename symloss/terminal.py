"""What all commands share: options, and how errors, lines, tables and progress are printed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from symloss.errors import SpecError, SymlossError

if TYPE_CHECKING:
    from symloss.pipeline import Progress

DEFAULT_OUT = Path("generated/symloss_kernels")

Specs = Annotated[
    list[Path] | None,
    typer.Option(
        "--specs", help="Folder or file of own specs; again for several. Default: the shipped ones."
    ),
]
Name = Annotated[str, typer.Argument(help="Name of a loss, as `symloss list` shows it.", show_default=False)]


def package_folder(specs: list[Path] | None, out: Path | None) -> Path:
    """The folder of the package that is generated: `out`, or for the shipped specs the usual one.

    Raises:
        typer.BadParameter: when own specs have none, or Python can't import it.
    """
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
    return out


@contextmanager
def clear_errors() -> Iterator[None]:
    """Turn an error that symloss raises on purpose into a paragraph and exit code 1."""
    try:
        yield
    except SymlossError as error:
        complain(str(error))
        raise typer.Exit(1) from None


def complain(text: str) -> None:
    """Print an error to stderr."""
    Console(stderr=True, soft_wrap=True).print(f"[bold red]error[/]: {plain(text)}", highlight=False)


def plain(text: str) -> str:
    """Text in which nothing is taken for Rich's markup."""
    from rich.markup import escape

    return escape(text)


def say(text: str) -> None:
    """Print as it is, without colours and without breaking lines."""
    typer.echo(text)


def table(columns: list[str], rows: list[list[str]]) -> None:
    """A table for a person; tab-separated lines for a pipe."""
    console = Console()
    if not console.is_terminal:
        for row in rows:
            say("\t".join(row))
        return
    drawn = Table(*columns, header_style="bold")
    for row in rows:
        drawn.add_row(*map(plain, row))
    console.print(drawn)


def refused(errors: list[SpecError] | tuple[SpecError, ...]) -> None:
    """Name the specs that were refused, and leave with 1 if there are any."""
    for error in errors:
        complain(str(error))
    if errors:
        raise typer.Exit(1)


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def progress() -> Iterator[Progress | None]:
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


def note(text: str) -> None:
    """Say on a terminal what is being done."""
    console = Console(stderr=True)
    if console.is_terminal:
        console.print(f"[dim]{text}[/]")
