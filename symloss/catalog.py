"""Finds, loads and validates specs; a spec with a mistake is refused, and the others still load.

A `Catalog` is a set of spec files. Each file is run as a module under a private name, the specs that it
declares are traced to `Loss`es, and whatever goes wrong on the way becomes a `SpecError` with the file,
the line and what to write instead. Inside a spec, `from symloss.losses import center` looks into the
catalog that is being loaded, and then into the shipped one.
"""

from __future__ import annotations

import ast
import hashlib
import linecache
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from symloss.errors import SpecError
from symloss.hints import explain, nearest, place_of

if TYPE_CHECKING:
    from symloss.spec import Loss, LossSpec

__all__ = ["Catalog", "Source", "current", "load", "load_text", "shipped", "validate"]


def data_folder(name: str) -> Path:
    """The folder `specs` or `templates`: inside an installed package, or beside it in a checkout."""
    here = Path(__file__).resolve().parent
    installed = here / "_data" / name
    return installed if installed.is_dir() else here.parent / name


def shipped() -> Path:
    """The folder of the specs that come with symloss."""
    return data_folder("specs")


def validate(loss: Loss) -> None:
    """Check everything that a traced spec promises.

    Raises:
        SpecError: naming the offender, with file, line and what to write instead.
    """
    from symloss.validate import validate as check

    check(loss)


@dataclass(frozen=True)
class Source:
    """A spec file as it is read, without running it.

    `names` are the functions that may be specs, `imports` the losses that it takes from `symloss.losses`;
    None where that can't be told from the text, so that it may be any.
    """

    path: Path
    text: str
    names: tuple[str, ...]
    imports: tuple[str, ...] | None

    @classmethod
    def read(cls, path: Path) -> Source:
        """Read a file.

        Raises:
            SpecError: when it can't be read or isn't Python.
        """
        try:
            text = path.read_text(encoding="utf-8")
            return cls.parse(path, text, ast.parse(text, str(path)))
        except SyntaxError as error:
            raise SpecError(f"this is not Python: {error.msg}", path, error.lineno or 1) from None
        except (OSError, ValueError) as error:
            raise SpecError(f"the file can't be read as UTF-8 text: {error}", path) from None

    @classmethod
    def parse(cls, path: Path, text: str, tree: ast.Module) -> Source:
        """Take names and imports from the syntax tree."""
        names = tuple(
            node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.decorator_list
        )
        imports: dict[str, None] = {}
        anything = False
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module == "symloss.losses":
                imports.update(dict.fromkeys(alias.name for alias in node.names))
            elif isinstance(node, ast.ImportFrom) and node.module == "symloss":
                anything |= any(alias.name == "losses" for alias in node.names)
            elif isinstance(node, ast.Import):
                anything |= any(alias.name == "symloss.losses" for alias in node.names)
        return cls(path, text, names, None if anything else tuple(imports))


#: The catalog that is being loaded: where `symloss.losses` looks first.
_loading: ContextVar[Catalog | None] = ContextVar("_loading", default=None)


class Catalog:
    """The specs in some folders and files.

    Args:
        paths: folders, searched for `*.py` at any depth, and single files; by default the shipped specs.
            Files and folders whose names start with `_` or `.` are skipped in a folder.
    """

    def __init__(self, paths: Iterable[str | Path] | None = None) -> None:
        """Find the files; nothing is read yet."""
        self.paths = tuple(Path(path) for path in paths) if paths is not None else (shipped(),)
        self.files = tuple(dict.fromkeys(file for path in self.paths for file in _files(path)))
        self._sources: dict[Path, Source] = {}
        self._specs: dict[Path, dict[str, LossSpec]] = {}
        self._failed: dict[Path, SpecError] = {}
        self._stack: list[Path] = []

    def source(self, file: Path) -> Source:
        """What can be told of a file without running it."""
        if file not in self._sources:
            self._sources[file] = Source.read(file)
        return self._sources[file]

    def names(self) -> dict[str, Path]:
        """From the name of each spec to its file, without running any; the first of equal names."""
        names: dict[str, Path] = {}
        for file in self.files:
            try:
                for name in self.source(file).names:
                    names.setdefault(name, file)
            except SpecError:
                continue  # it is reported when the file is loaded
        return names

    def dependencies(self, file: Path) -> tuple[Source, ...]:
        """The other files that decide what a file's losses are, through `symloss.losses`; sorted."""
        found: dict[Path, Source] = {}
        waiting = [(self, file)]
        while waiting:
            catalog, path = waiting.pop()
            source = catalog.source(path)
            for place, other in catalog._imported(source):
                if other not in found and other != file:
                    found[other] = place.source(other)
                    waiting.append((place, other))
        return tuple(found[path] for path in sorted(found))

    def _imported(self, source: Source) -> Iterator[tuple[Catalog, Path]]:
        for catalog in dict.fromkeys((self, standard())):
            names = catalog.names()
            for name in names if source.imports is None else source.imports:
                if name in names and (catalog is self or name not in self.names()):
                    yield catalog, names[name]

    def specs(self, file: Path) -> dict[str, LossSpec]:
        """Run a file and give the specs that it declares.

        Raises:
            SpecError: when the file has a mistake, or specs import each other in a circle.
        """
        if file in self._failed:
            raise self._failed[file]
        if file not in self._specs:
            if file in self._stack:
                circle = [path.stem for path in (*self._stack[self._stack.index(file) :], file)]
                raise SpecError(f"specs import each other in a circle: {' -> '.join(circle)}")
            self._stack.append(file)
            try:
                with _inside(self):
                    self._specs[file] = run(self.source(file))
            except SpecError as error:
                self._failed[file] = error
                raise
            finally:
                self._stack.pop()
        return self._specs[file]

    def spec(self, name: str) -> LossSpec:
        """The spec of that name, here or among the shipped ones.

        Raises:
            SpecError: when there is none, or its file has a mistake.
        """
        names = self.names()
        if name in names:
            specs = self.specs(names[name])
            if name in specs:
                return specs[name]
        if self is not standard():
            return standard().spec(name)
        raise SpecError(f"there is no loss `{name}`{nearest(name, (*names, *standard().names()))}")

    def loss(self, name: str) -> Loss:
        """Load the spec of that name and trace it.

        Raises:
            SpecError: when there is none, or it has a mistake.
        """
        with _inside(self):
            return trace(self.spec(name))

    def losses(self, file: Path) -> tuple[list[Loss], list[SpecError]]:
        """Load one file: its losses, and what was refused."""
        losses, errors = [], []
        try:
            for name, spec in self.specs(file).items():
                first = self.names().get(name, file)
                if first != file:
                    message = f"`{name}` is already the name of the loss in {first}; rename one"
                    errors.append(SpecError(message, file, place_of(spec.function)))
                    continue
                try:
                    with _inside(self):
                        losses.append(trace(spec))
                except SpecError as error:
                    errors.append(error)
        except SpecError as error:
            errors.append(error)
        return losses, errors

    def load(self) -> tuple[list[Loss], list[SpecError]]:
        """Load every spec: the losses in the order of their names, and what was refused."""
        loaded = [self.losses(file) for file in self.files]
        losses = sorted((loss for found, _ in loaded for loss in found), key=lambda loss: loss.name)
        return losses, [error for _, errors in loaded for error in errors]

    def label(self, file: Path) -> str:
        """What generated files call a spec file, wherever the folder lies: `specs/metric/center.py`."""
        for path in self.paths:
            folder = path.resolve()
            if file.is_relative_to(folder) and file != folder:
                return f"{folder.name}/{file.relative_to(folder).as_posix()}"
        return file.name


@cache
def standard() -> Catalog:
    """The catalog of the shipped specs."""
    return Catalog()


def current() -> Catalog:
    """The catalog that is being loaded, or else the shipped one."""
    return _loading.get() or standard()


def load(paths: Iterable[str | Path] | None = None) -> tuple[list[Loss], list[SpecError]]:
    """Load the specs in the given folders and files (by default the shipped ones)."""
    return Catalog(paths).load()


def load_text(text: str) -> dict[str, LossSpec]:
    """The specs that a piece of Python declares.

    Raises:
        SpecError: when it has a mistake, with the line in the text.
    """
    name = f"<spec {hashlib.sha256(text.encode()).hexdigest()[:12]}>"
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    try:
        return run(Source.parse(Path(name), text, ast.parse(text, name)))
    except SyntaxError as error:
        raise SpecError(f"this is not Python: {error.msg}", name, error.lineno or 1) from None


def run(source: Source) -> dict[str, LossSpec]:
    """Run a spec file as a module of its own and collect the specs declared in it."""
    from symloss.spec import LossSpec

    path = str(source.path)
    repeated = [name for i, name in enumerate(source.names) if name in source.names[:i]]
    if repeated:
        raise SpecError(f"`{repeated[0]}` is defined twice in this file; rename one", path)
    module = ModuleType(f"_symloss_spec_{hashlib.sha256(path.encode()).hexdigest()[:12]}_{source.path.stem}")
    module.__file__ = path
    sys.modules[module.__name__] = module
    try:
        exec(compile(source.text, path, "exec", dont_inherit=True), module.__dict__)
    except (Exception, SystemExit) as error:
        raise explain(error, path, 1) from None
    specs = {
        value.name: value
        for value in vars(module).values()
        if isinstance(value, LossSpec) and value.function.__code__.co_filename == path
    }
    if not specs:
        raise SpecError(
            "there is no spec in this file; decorate a function with @loss from symloss.spec", path, 1
        )
    return specs


def trace(spec: LossSpec) -> Loss:
    """Trace a spec; what goes wrong is told with the file and the line.

    Raises:
        SpecError: when the spec has a mistake.
    """
    try:
        return spec.trace()
    except (Exception, SystemExit) as error:
        raise explain(error, spec.file, spec.line, spec.function) from None


def _files(path: Path) -> Iterator[Path]:
    """The spec files at a path, sorted."""
    if path.is_file():
        yield path.resolve()
        return
    if not path.is_dir():
        raise SpecError(f"there is no folder or file {path}; --specs names a folder of spec files")
    for file in sorted(path.resolve().rglob("*.py")):
        parts = file.relative_to(path.resolve()).parts
        if not any(part.startswith(("_", ".")) for part in parts):
            yield file


@contextmanager
def _inside(catalog: Catalog):
    """While in the block, `symloss.losses` looks into this catalog first."""
    token = _loading.set(catalog)
    try:
        yield
    finally:
        _loading.reset(token)
