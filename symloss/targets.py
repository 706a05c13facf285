"""What each target renders: which templates, into which files of which folder.

A target makes some files for each loss (`files`), says in a small dict what it must remember of that loss
(`entry`), and makes the files that all losses share from those dicts (`shared`). The first two are run in
worker processes, so what they give is plain text, numbers, lists and dicts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from symloss.emit import File, digest, environment, header, render

if TYPE_CHECKING:
    from symloss.derive import Derivation

Entry = dict[str, Any]
Files = dict[str, File]


@dataclass(frozen=True)
class Target:
    """One kind of output.

    `folder` gives, from the folder of the kernels' package, the folder that the target writes; `build` makes
    one loss's files and entry, `shared` the files made from every loss's entry. Both are told the name of the
    package. The loss's `file` is what generated files call its spec.
    """

    name: str
    folder: Callable[[Path], Path]
    build: Callable[[Derivation, str], tuple[Files, Entry]]
    shared: Callable[[Sequence[Entry], str], Files]


# --- the package of kernels -----------------------------------------------------------------------------

_LOSS, _DEVICE_LOSS = "kernels/loss.py.jinja", "kernels/device_loss.py.jinja"
_INIT, _CATALOG = "kernels/__init__.py.jinja", "kernels/_catalog.py.jinja"


@cache
def _modules() -> dict[str, tuple[str, dict[str, str]]]:
    """The modules that are the same in every package: their templates, and what these are told."""
    found = environment().list_templates(
        filter_func=lambda name: name.startswith(("kernels/_", "kernels/cpu/", "kernels/cuda/"))
    )
    here = {name.removeprefix("kernels/").removesuffix(".jinja"): name for name in sorted(found)}
    modules: dict[str, tuple[str, dict[str, str]]] = {}
    modules |= {path: (name, {}) for path, name in here.items() if name not in (_INIT, _CATALOG)}
    # What is written for lanes of any kind is there once for each target.
    for path in _FOR_LANES:
        for place, sources in (("", ("_lanes", "_precision")), ("cuda/", ("_primitives", "_primitives"))):
            told = dict(zip(("lanes", "precision"), sources, strict=True)) if path in _FUNCTIONS else {}
            modules[place + path] = (here[path], told)
    return modules


#: The modules of functions of numbers, and all that are for lanes of any kind.
_FUNCTIONS = ("_elementary.py", "_math.py", "_special.py")
_FOR_LANES = (*_FUNCTIONS, "_coefficients.py", "_lanes.py", "_precision.py", "_runs.py")
#: The modules that kernels compile in.
_COMPILED_IN = (
    "_coefficients", "_domains", "_elementary", "_lanes", "_math", "_memory", "_numba", "_precision", "_runs",
    "_special", "_tiles",
)  # fmt: skip


def _source(template: str) -> str:
    env = environment()
    assert env.loader is not None
    return env.loader.get_source(env, template)[0]


@cache
def _inlined(on_device: bool) -> str:
    """A hash of what the kernels compile in: Numba's cache looks at the kernel's own file only."""
    names = [f"kernels/{name}.py.jinja" for name in _COMPILED_IN]
    if on_device:
        names = [f"kernels/{name}.jinja" for name in _FOR_LANES]
        names += environment().list_templates(filter_func=lambda name: name.startswith("kernels/cuda/"))
    return digest("".join(map(_source, names)))[:16]


def _kernels(derivation: Derivation, _: str) -> tuple[Files, Entry]:
    from symloss.lower import lower
    from symloss.precision import arithmetic
    from symloss.printers import numba_cpu, numba_cuda
    from symloss.printers.describe import describe
    from symloss.program import ENTRIES

    loss = derivation.loss
    chosen = arithmetic(lower(derivation, entry) for entry in ENTRIES)
    text = numba_cpu.module(derivation, _comment(_LOSS, loss.file), chosen)
    on_device = numba_cuda.module(derivation, _comment(_DEVICE_LOSS, loss.file), chosen)
    entry = {"name": loss.name, "title": loss.title, "description": describe(derivation)}
    files = {
        f"cpu/{loss.name}.py": File(text, _LOSS, loss.file),
        f"cuda/{loss.name}.py": File(on_device, _DEVICE_LOSS, loss.file),
    }
    return files, entry


def _package(entries: Sequence[Entry], package: str) -> Files:
    losses = [{"name": entry["name"], "title": entry["title"]} for entry in entries]
    files = {
        "__init__.py": File(render(_INIT, header=_comment(_INIT), losses=losses, package=package), _INIT),
        "_catalog.py": File(
            render(
                _CATALOG, header=_comment(_CATALOG), descriptions=[entry["description"] for entry in entries]
            ),
            _CATALOG,
        ),
    }
    for path, (template, told) in _modules().items():
        files[path] = File(render(template, header=_comment(template), **told), template)
    return files


def _comment(template: str, spec: str = "") -> str:
    lines = header(template, spec).splitlines()
    if "@kernel" in _source(template):
        on_device = template == _DEVICE_LOSS or template.startswith("kernels/cuda/")
        lines.append(f"It compiles in functions of the package, version {_inlined(on_device)}.")
    return "\n".join(f"# {line}" for line in lines)


# --- the pages of formulas ------------------------------------------------------------------------------


def _page(derivation: Derivation, package: str) -> tuple[Files, Entry]:
    from symloss.printers import javascript, pages, site
    from symloss.printers.language import LANGUAGES

    name, spec = derivation.loss.name, derivation.loss.file
    facts = pages.Facts.of(derivation)
    files = {
        f"{language.code}/losses/{name}.md": File(pages.page(facts, language, package), pages.PAGE, spec)
        for language in LANGUAGES
    }
    script = javascript.curve(derivation, facts.plotter.plan.as_json(), header(javascript.TEMPLATE, spec))
    files[f"curves/{name}.js"] = File(script, javascript.TEMPLATE, spec)
    return files, site.entry(facts)


def _pages(entries: Sequence[Entry], _: str) -> Files:
    from symloss.printers import site

    return {path: File(text, template) for path, (text, template) in site.shared(entries).items()}


def _beside(out: Path) -> Path:
    """`generated/docs` beside the shipped package; `my_losses_docs` beside `my_losses`."""
    return out.with_name("docs" if out.name == "symloss_kernels" else f"{out.name}_docs")


TARGETS: Mapping[str, Target] = {
    "kernels": Target("kernels", lambda out: out, _kernels, _package),
    "docs": Target("docs", _beside, _page, _pages),
}
