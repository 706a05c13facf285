"""Builds the site from the generated sources, and serves it.

    build(sources, out)     -> HTML of both languages in `out/en` and `out/zh`, and a start page that chooses
    serve(folder, port)     -> shows a built site to this machine's browsers
    handbook(document, out) -> formulas.tex as a PDF, by the LaTeX that is installed

What was built is remembered by a hash of everything that went in: when nothing changed, nothing is built.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from symloss.errors import SymlossError
from symloss.printers.language import LANGUAGES

STAMP = ".symloss_site"
_NEEDED = {"sphinx": "sphinx", "myst_parser": "myst-parser", "pydata_sphinx_theme": "pydata-sphinx-theme"}
#: Programs that make a PDF of a LaTeX document, the preferred first.
_LATEX = ("latexmk", "pdflatex", "tectonic")


def check_installed() -> None:
    """Refuse to build without what the extra `docs` brings.

    Raises:
        SymlossError: naming what is missing, and how to get it.
    """
    missing = [name for module, name in _NEEDED.items() if find_spec(module) is None]
    if missing:
        raise SymlossError(
            f'the site needs {", ".join(missing)}, not installed here; run `pip install "symloss[docs]"`'
        )


def build(sources: Path, package: Path, out: Path, *, force: bool = False) -> bool:
    """Build the site of both languages.

    Args:
        sources: the generated folder of the documentation.
        package: the generated package, whose sources the pages show.
        out: the folder of the built site; it is made.
        force: whether to build when nothing changed, and from nothing.

    Returns:
        Whether anything was built.

    Raises:
        SymlossError: when the extra `docs` isn't installed, or Sphinx finds a mistake; with what it said.
    """
    check_installed()
    stamp = _stamp(sources, package)
    mark = out / STAMP
    if out.exists() and not mark.exists() and any(out.iterdir()):
        raise SymlossError(f"{out} is not empty and holds no site; choose another folder with --site")
    if not force and mark.exists() and mark.read_text(encoding="utf-8") == stamp:
        return False
    out.mkdir(parents=True, exist_ok=True)
    mark.write_text("", encoding="utf-8")
    trees = out / ".doctrees"
    if force:
        for folder in (trees, *(out / language.code for language in LANGUAGES)):
            shutil.rmtree(folder, ignore_errors=True)
    codes = [language.code for language in LANGUAGES]
    running = [(code, _sphinx(sources / code, out / code, trees / code)) for code in codes]
    said = [(code, process.communicate()[0], process.returncode) for code, process in running]
    failed = [f"{code}:\n{text.strip()}" for code, text, status in said if status]
    if failed:
        raise SymlossError("Sphinx could not build the site\n" + "\n".join(failed))
    _remove_stale(sources, out)
    (out / "index.html").write_text(_START, encoding="utf-8")
    mark.write_text(stamp, encoding="utf-8")
    return True


def _sphinx(source: Path, out: Path, trees: Path) -> subprocess.Popen[str]:
    """Sphinx at work on one language, in a process of its own: it keeps state in globals."""
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", "-d", str(trees)]
    return subprocess.Popen(
        [*command, str(source), str(out)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )  # fmt: skip


def _remove_stale(sources: Path, out: Path) -> None:
    """Remove pages of losses that are gone; Sphinx leaves them."""
    for language in LANGUAGES:
        for page in sorted((out / language.code / "losses").glob("*.html")):
            if not (sources / language.code / "losses" / f"{page.stem}.md").exists():
                page.unlink()
        for script in sorted((out / language.code / "_static" / "curves").glob("*.js")):
            if not (sources / "curves" / script.name).exists():
                script.unlink()


def _stamp(sources: Path, package: Path) -> str:
    """A hash of everything that decides what is built."""
    from symloss.site.extension import TEMPLATES, static_folder

    hashed = hashlib.sha256()
    for root in (sources, package, static_folder(), TEMPLATES, Path(__file__).resolve().parent):
        for path in _files(root):
            hashed.update(f"{path.relative_to(root).as_posix()}\0".encode() + path.read_bytes() + b"\0")
    for name in (*_NEEDED.values(), "docutils", "symloss"):
        try:
            hashed.update(f"{name} {version(name)}\0".encode())
        except PackageNotFoundError:
            continue
    return hashed.hexdigest()


def _files(root: Path) -> Iterator[Path]:
    for path in sorted(root.rglob("*")):
        hidden = any(part.startswith(".") or part == "__pycache__" for part in path.relative_to(root).parts)
        if path.is_file() and not hidden:
            yield path


#: Goes to the language that was chosen before, or to the browser's.
_START = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>symloss</title>
<script>
  let chosen = "";
  try { chosen = localStorage.getItem("symloss-language") || ""; } catch {}
  location.replace(((chosen || navigator.language || "").startsWith("zh") ? "zh" : "en") + "/index.html");
</script>
<p><a href="en/index.html">English</a> · <a href="zh/index.html" lang="zh-CN">中文</a></p>
</html>
"""


class _Handler(SimpleHTTPRequestHandler):
    """Serves files, without a line for each."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def end_headers(self) -> None:
        """A page that was built anew is seen at once."""
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()


def server(folder: Path, port: int = 0) -> ThreadingHTTPServer:
    """A server of a built site on this machine's own address; port 0 takes one that is free.

    Raises:
        SymlossError: when there is no site, or the port is taken.
    """
    if not (folder / "index.html").exists():
        raise SymlossError(f"there is no site in {folder}; run `symloss docs build` first")
    try:
        return ThreadingHTTPServer(("127.0.0.1", port), partial(_Handler, directory=str(folder)))
    except (OSError, OverflowError) as error:
        raise SymlossError(f"can't serve on port {port}: {error}; choose another with --port") from None


def handbook(document: Path, out: Path) -> None:
    """Make a PDF of formulas.tex.

    Args:
        document: the LaTeX document.
        out: the PDF to write.

    Raises:
        SymlossError: when no LaTeX is installed, or it fails; with the end of what it said.
    """
    program = next((name for name in _LATEX if shutil.which(name)), None)
    if program is None:
        raise SymlossError(
            f"the handbook needs LaTeX ({', '.join(_LATEX)}), and none is installed; on Debian and Ubuntu "
            "`apt install texlive-latex-recommended lmodern` brings it. The document itself is "
            f"{document}"
        )
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(document, Path(folder) / "formulas.tex")
        options = ["-interaction=nonstopmode", "-halt-on-error"]
        runs = {"latexmk": [["latexmk", "-pdf", *options]], "pdflatex": [["pdflatex", *options]] * 3}
        for command in runs.get(program, [[program]]):
            done = subprocess.run(
                [*command, "formulas.tex"],
                cwd=folder,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
            )
            if done.returncode:
                end = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
                raise SymlossError(f"{program} could not set {document}:\n{end}")
        out.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(Path(folder) / "formulas.pdf", out)
