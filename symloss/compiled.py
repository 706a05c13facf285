"""`symloss.compile`: from a spec to a loss that can be called, without generating a package by hand."""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from symloss import catalog
from symloss.emit import digest, emit, with_manifest
from symloss.errors import SpecError
from symloss.hints import nearest
from symloss.targets import TARGETS

if TYPE_CHECKING:
    from symloss.spec import Loss, LossSpec

_done: dict[Any, Any] = {}


def compile(spec: LossSpec | Loss | str | Path, name: str | None = None) -> Any:
    """Derive a spec and load its kernels: the object has `value`, `grad`, `value_and_grad`, ...

    The modules are written into a cache folder of the user under a hash of their text (`SYMLOSS_CACHE` names
    another one), so that tracebacks show the generated source and Numba compiles a kernel once, not once a
    session. Compiling an equal spec again gives the same object.

    Args:
        spec: a function decorated with `@symloss.loss`; the path of a spec file; the text of one; or the
            name of a shipped loss.
        name: which loss, where a file declares several.

    Raises:
        SpecError: when the spec has a mistake.
    """
    from symloss.derive import derive

    loss = _loss(spec, name)
    if loss in _done:
        return _done[loss]
    target = TARGETS["kernels"]
    named = replace(loss, file=f"{loss.name}.py")  # a notebook's file is called otherwise every time
    files, entry = target.build(derive(named), "symloss_compiled")
    files |= target.shared([entry], "symloss_compiled")
    package = f"symloss_compiled_{digest(repr(with_manifest(files)))[:16]}"
    if package not in sys.modules:
        folder = _cache() / package
        emit(files, folder)
        _import(package, folder)
    _done[loss] = getattr(sys.modules[package], loss.name)
    return _done[loss]


def _loss(spec: LossSpec | Loss | str | Path, name: str | None) -> Loss:
    from symloss.spec import Loss, LossSpec

    if isinstance(spec, Loss):
        return spec
    if isinstance(spec, LossSpec):
        return catalog.trace(spec)
    if isinstance(spec, str) and "\n" in spec:
        return catalog.trace(_one(catalog.load_text(spec), name, "the text"))
    if isinstance(spec, str) and spec.isidentifier():
        return catalog.standard().loss(spec)
    if isinstance(spec, (str, os.PathLike)):
        path = Path(spec)
        if not path.is_file():
            raise SpecError(
                f"there is no spec file {path}; give a file, a text of several lines, or a loss's name"
            )
        own = catalog.Catalog([path])
        return own.loss(_one(own.specs(own.files[0]), name, str(path)).name)
    raise TypeError(f"compile takes a spec, the path of a spec file, or its text; got {spec!r}")


def _one(specs: dict[str, LossSpec], name: str | None, where: str) -> LossSpec:
    if name is None and len(specs) == 1:
        return next(iter(specs.values()))
    if name in specs:
        return specs[name]
    if name is None:
        raise SpecError(f"{where} declares {', '.join(sorted(specs))}; say which with name=")
    raise SpecError(f"{where} declares no `{name}`{nearest(name, specs)}; it has {', '.join(sorted(specs))}")


def _cache() -> Path:
    """A folder of the user's for compiled specs; a temporary one where there is none to write to."""
    named = os.environ.get("SYMLOSS_CACHE")
    base = os.environ.get("LOCALAPPDATA") or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(named) if named else Path(base) / "symloss"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    except OSError:
        pass
    return Path(tempfile.mkdtemp(prefix="symloss_"))


def _import(package: str, folder: Path) -> None:
    """Import a package from a folder that isn't on the path."""
    found = importlib.util.spec_from_file_location(
        package, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[package] = module
    try:
        found.loader.exec_module(module)
    except BaseException:
        del sys.modules[package]
        raise
