"""The whole path, from specs to files.

    stage        takes              gives               what is true afterwards
    ----------   ----------------   -----------------   ---------------------------------------------------
    load         a spec file        `Loss`              names, domains and dimensions are sound; the formula
                                                        is the textbook's, in index notation
    derive       `Loss`             `Derivation`        every output is differentiated, contracted and
                                                        stabilised; each step is recorded
    lower        `Derivation`       `Program`           a loop nest over one sample: hoisted, shared, fused
    print        `Program`,         text                a kernel module, a page, an entry of the index
                 `Derivation`
    emit         texts              files               the folder holds exactly these, all at once

`load` is `catalog.py`, `derive` and `lower` are modules of those names, the printers call `lower` for each
entry point that they print, `targets.py` says what is printed, and `emit.py` writes. `build` below is the
path for one spec file, `generate` for a catalog; nothing reaches back.
"""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from symloss.catalog import Catalog
from symloss.emit import Emitted, File, difference, emit, manifest
from symloss.errors import SpecError, SymlossError
from symloss.hints import nearest
from symloss.stamps import Memory, hash_of, pack, stamp, unpack
from symloss.targets import TARGETS, Target

#: What becomes of a spec file: its losses, printed, and what was refused.
Outcome = tuple[list["Built"], list[SpecError]]
#: What is called after each spec file: its label, how many are done, how many there are.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Built:
    """One loss, printed: for each target its files (as `pack` gives them) and its entry."""

    name: str
    files: dict[str, dict[str, list[str]]]
    entries: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Result:
    """What a run did: per target what happened to the files, how each loss came about, what was refused.

    `losses` maps each loss to `derived` or `unchanged`.
    """

    emitted: dict[str, Emitted]
    losses: dict[str, str]
    errors: tuple[SpecError, ...]


def build(catalog: Catalog, file: Path, targets: Sequence[str], package: str) -> Outcome:
    """Take one spec file down the whole path, up to the texts."""
    from symloss.derive import derive

    losses, errors = catalog.losses(file)
    built = []
    for loss in losses:
        try:
            derivation = derive(replace(loss, file=catalog.label(file)))
            printed = {name: TARGETS[name].build(derivation, package) for name in targets}
        except SymlossError as error:
            errors.append(SpecError(f"`{loss.name}`: {getattr(error, 'message', error)}", file, loss.line))
            continue
        except Exception as error:  # costs the others nothing, and is told in full
            told = "".join(traceback.format_exception(error)).rstrip()
            said = "this is a mistake of symloss and not of the spec; please report it with these lines:"
            errors.append(SpecError(f"`{loss.name}`: {said}\n{told}", file, loss.line))
            continue
        files = {name: pack(made) for name, (made, _) in printed.items()}
        # Through JSON, so that a result that was kept and one that is fresh are the same to the last type.
        built.append(Built(loss.name, files, json.loads(json.dumps({n: e for n, (_, e) in printed.items()}))))
    return built, errors


@dataclass(frozen=True)
class Options:
    """How to run.

    `only` names losses: just these are derived, and of the others those in the package stay as they are.
    `targets` names targets (none: all of them); `jobs` is how many processes derive at the same time; `force`
    derives everything and writes into folders that symloss didn't make; `progress` is called after each file.
    """

    only: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    jobs: int = 1
    force: bool = False
    progress: Progress | None = None


def generate(catalog: Catalog, out: Path, options: Options | None = None) -> Result:
    """Make the folders of the targets hold what the catalog says.

    Args:
        catalog: the specs.
        out: the folder of the kernels' package; the other targets' folders lie beside it.
        options: how to run.

    Raises:
        SymlossError: when a folder can't be written, or no loss is left.
    """
    run = _Run(catalog, out, options or Options())
    emitted = {}
    for target in run.targets:
        emitted[target.name] = emit(run.files(target), target.folder(out), force=run.options.force)
        run.remember(target)
    return run.result(emitted)


def check(catalog: Catalog, out: Path, options: Options | None = None) -> tuple[str, Result]:
    """What `generate` would change, as a unified diff (empty when nothing); writes nothing."""
    run = _Run(catalog, out, options or Options())
    diffs = [difference(run.files(target), target.folder(out)) for target in run.targets]
    return "".join(diffs), run.result({})


class _Run:
    """One run: which spec files are needed, which of their results are remembered, which must be derived."""

    def __init__(self, catalog: Catalog, out: Path, options: Options) -> None:
        self.catalog, self.out, self.options = catalog, out, options
        self.package = out.resolve().name
        self.targets = tuple(TARGETS[name] for name in dict.fromkeys(options.targets or TARGETS))
        self.memories = {t.name: Memory(t.folder(out), fresh=options.force) for t in self.targets}
        self.kept: dict[str, dict[str, tuple[str, Any]]] = {target.name: {} for target in self.targets}
        self.states: dict[str, str] = {}
        self.errors: list[SpecError] = []
        self._built: dict[str, Built] = {}
        todo = {}
        for file, wanted in self._wanted():
            stamp_now = self._stamp(file)
            if not self._recall(file, stamp_now, wanted):
                todo[file] = stamp_now
        self._derive(todo)
        if not self._built:
            said = "".join(f"\n{error}" for error in self.errors)
            raise SymlossError(f"no loss to generate in {', '.join(map(str, catalog.paths))}{said}")

    def result(self, emitted: dict[str, Emitted]) -> Result:
        """What the run did."""
        return Result(emitted, dict(sorted(self.states.items())), tuple(self.errors))

    def _wanted(self) -> Iterator[tuple[Path, bool]]:
        """The spec files to look at, and whether their results must be fresh."""
        names, only = self.catalog.names(), self.options.only
        for name in only:
            if name not in names:
                raise SymlossError(f"there is no loss `{name}`{nearest(name, names)}")
        chosen = {names[name] for name in only}
        folders = [target.folder(self.out) for target in self.targets]
        present = {file["spec"] for folder in folders for file in (manifest(folder) or {}).values()}
        for file in self.catalog.files:
            if not only or file in chosen or self.catalog.label(file) in present:
                yield file, not only or file in chosen

    def _recall(self, file: Path, fresh: str, wanted: bool) -> bool:
        """Take a file's results from memory if all targets have them; any stamp does if not `wanted`."""
        label = self.catalog.label(file)
        found = {name: memory.get(label, fresh if wanted else None) for name, memory in self.memories.items()}
        if (wanted and not fresh) or None in found.values():
            return False
        for name, memory in self.memories.items():
            self.kept[name][label] = (memory.stamp(label), found[name])
        for values in zip(*found.values(), strict=True):  # one loss, from what each target remembers of it
            files, entries = ({t: value[i] for t, value in zip(found, values, strict=True)} for i in (1, 2))
            self._add([Built(values[0][0], files, entries)], "unchanged")
        return True

    def _stamp(self, file: Path) -> str:
        try:
            return stamp(self.catalog, file, self.package)
        except SpecError:
            return ""  # it is reported when it is built

    def _derive(self, todo: dict[Path, str]) -> None:
        names, progress = tuple(self.memories), self.options.progress
        finished: dict[Path, Outcome] = {}
        for file, outcome in _work(self.catalog, tuple(todo), (names, self.package), self.options.jobs):
            finished[file] = outcome
            if progress is not None:
                progress(self.catalog.label(file), len(finished), len(todo))
        for file in todo:  # in the order of the files, however the workers finished
            built, errors = finished[file]
            self.errors += errors
            self._add(built, "derived")
            if not errors:
                for target in names:
                    value = [[one.name, one.files[target], one.entries[target]] for one in built]
                    self.kept[target][self.catalog.label(file)] = (todo[file], value)

    def _add(self, built: Sequence[Built], state: str) -> None:
        for one in built:
            self._built[one.name] = one
            self.states[one.name] = state

    def files(self, target: Target) -> dict[str, File]:
        """Everything that a target's folder holds."""
        built = [self._built[name] for name in sorted(self._built)]
        entries = [one.entries[target.name] for one in built]
        fresh, memory = hash_of(entries), self.memories[target.name]
        shared = memory.get("", fresh)
        if shared is None:
            shared = pack(target.shared(entries, self.package))
        self.kept[target.name][""] = (fresh, shared)
        return {
            path: file for one in built for path, file in unpack(one.files[target.name]).items()
        } | unpack(shared)

    def remember(self, target: Target) -> None:
        """Keep the results for the next run."""
        self.memories[target.name].replace(self.kept[target.name])


def _work(
    catalog: Catalog, files: tuple[Path, ...], what: tuple[tuple[str, ...], str], jobs: int
) -> Iterator[tuple[Path, Outcome]]:
    """Build the files, here or in worker processes; yields as they finish."""
    if jobs == 1 or len(files) < 2:
        for file in files:
            yield file, build(catalog, file, *what)
        return
    paths = tuple(map(str, catalog.paths))
    with ProcessPoolExecutor(min(jobs, len(files)), mp_context=get_context("spawn")) as pool:
        waiting = {pool.submit(_build_in_worker, paths, file, what): file for file in files}
        try:
            for done in as_completed(waiting):
                yield waiting[done], done.result()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


@cache
def _catalog(paths: tuple[str, ...]) -> Catalog:
    """The catalog of a worker process, made once."""
    return Catalog(paths)


def _build_in_worker(paths: tuple[str, ...], file: Path, what: tuple[tuple[str, ...], str]) -> Outcome:
    return build(_catalog(paths), file, *what)
