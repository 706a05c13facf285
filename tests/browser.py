"""A headless Chromium and a served site, for the tests of the documentation."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

#: Names under which distributions install Chromium.
CHROMIUM = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")


def executable() -> str:
    """Where Chromium is; the test is skipped where it isn't."""
    found = next((path for path in map(shutil.which, CHROMIUM) if path), None)
    if found is None:
        pytest.skip("Chromium is not installed")
    return found


@contextmanager
def opened() -> Iterator[Any]:
    """A browser."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    path = executable()
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a site that is served from a folder."""
    from symloss.site.build import server

    here = server(folder)
    thread = threading.Thread(target=here.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{here.server_address[1]}"
    finally:
        here.shutdown()
        here.server_close()
        thread.join()


class Watch:
    """Everything that goes wrong on a page: errors of scripts, failed requests, requests to elsewhere."""

    def __init__(self, page: Any, address: str) -> None:
        self.wrong: list[str] = []
        page.on("console", lambda said: said.type in ("error", "warning") and self.wrong.append(said.text))
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on("requestfailed", lambda request: self.wrong.append(f"failed: {request.url}"))
        page.on("request", lambda request: self._look(request.url, address))
        page.on("response", lambda r: r.status >= 400 and self.wrong.append(f"{r.status}: {r.url}"))

    def _look(self, url: str, address: str) -> None:
        if not url.startswith((f"{address}/", "data:", "blob:")):
            self.wrong.append(f"elsewhere: {url}")


def visit(page: Any, url: str) -> None:
    """Open a page and wait until its scripts have done what they do at the start."""
    page.goto(url)
    page.wait_for_function(
        "document.documentElement.dataset.ready && document.fonts.status === 'loaded'", polling=20
    )
