"""Remembers what was generated from what, so that what didn't change isn't derived again.

The results of a spec file are kept under a stamp: a hash of the file, of the specs that it uses, and of the
engine (symloss's own source, the templates, the versions of the libraries that decide what comes out).
They lie in `.symloss_cache` in the generated folder, which git and wheels leave out; deleting it costs
only time.
"""

from __future__ import annotations

import hashlib
import json
import os
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from symloss.catalog import Catalog, data_folder
from symloss.emit import CACHE, File


@cache
def engine() -> str:
    """A hash of everything beside the specs that decides what is generated."""
    hashed = hashlib.sha256()
    for root in (Path(__file__).resolve().parent, data_folder("templates"), data_folder("measured")):
        for path in sorted(root.rglob("*")):
            if (
                path.suffix in (".py", ".jinja", ".md", ".json")
                and "_data" not in path.relative_to(root).parts
            ):
                hashed.update(f"{path.relative_to(root).as_posix()}\0".encode() + path.read_bytes() + b"\0")
    for library in ("jinja2", "mpmath", "sympy"):
        hashed.update(f"{library} {version(library)}\0".encode())
    return hashed.hexdigest()


def stamp(catalog: Catalog, file: Path, package: str) -> str:
    """The stamp of a spec file for a package; it changes with the file and with every spec that it uses."""
    texts = [catalog.source(file), *catalog.dependencies(file)]
    return hash_of([engine(), package, catalog.label(file), *(source.text for source in texts)])


def hash_of(value: Any) -> str:
    """A hash of lists, dicts, texts and numbers."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def pack(files: dict[str, File]) -> dict[str, list[str]]:
    """Files as JSON can hold them."""
    return {path: [file.text, file.template, file.spec] for path, file in files.items()}


def unpack(files: dict[str, list[str]]) -> dict[str, File]:
    """What `pack` packed."""
    return {path: File(*parts) for path, parts in files.items()}


class Memory:
    """What one generated folder remembers: from a key to a stamp and a value."""

    def __init__(self, folder: Path, fresh: bool = False) -> None:
        """Read what `folder` remembers: nothing if `fresh`, if it is unreadable or another engine's."""
        self._path = folder / CACHE / "results.json"
        self._kept: dict[str, tuple[str, Any]] = {}
        self._before: Any = None
        if not fresh:
            try:
                said = json.loads(self._path.read_text(encoding="utf-8"))
                if said["engine"] == engine():
                    self._kept = self._before = {
                        key: (old, value) for key, (old, value) in said["kept"].items()
                    }
            except (OSError, ValueError, KeyError, TypeError, AttributeError):
                pass

    def get(self, key: str, stamp: str | None) -> Any:
        """The value under `key`, if it has this stamp (any stamp for None); else None."""
        kept = self._kept.get(key)
        return kept[1] if kept is not None and stamp in (None, kept[0]) else None

    def stamp(self, key: str) -> str:
        """The stamp of the value under `key`."""
        return self._kept[key][0]

    def replace(self, kept: dict[str, tuple[str, Any]]) -> None:
        """Remember these and nothing else, on disk; a process killed meanwhile leaves the old or the new."""
        folder = self._path.parent
        for rest in folder.glob("results.*.new"):  # of a run that was killed
            rest.unlink(missing_ok=True)
        if kept == self._before:
            return
        folder.mkdir(exist_ok=True)
        (folder / ".gitignore").write_text("*\n", encoding="utf-8")
        fresh = self._path.with_name(f"results.{os.getpid()}.new")
        fresh.write_text(json.dumps({"engine": engine(), "kept": kept}, sort_keys=True), encoding="utf-8")
        os.replace(fresh, self._path)
