"""Puts a folder in the place of another in one step, so that no reader and no crash sees half of one."""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from symloss.errors import SymlossError

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2  # Linux: renameat2(2)
_RENAME_SWAP = 2  # macOS: renamex_np(2)


def beside(folder: Path, what: str) -> Path:
    """Where a folder's successor (`new`) is written and its predecessor (`old`) put aside."""
    return folder.with_name(f".{folder.name}.{what}")


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the lock on a folder, so that two runs that write into it take turns.

    The lock is on the folder itself, so that no lock file is left behind; the system lets go of it when
    the process ends, however it ends. Where there is no such lock (Windows), runs must not overlap.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def recover(folder: Path) -> None:
    """Clear up after a run that was killed; call it with the lock held.

    When `folder` stands, what lies beside it is either an unfinished successor or a finished predecessor,
    and goes. Only where folders can't be exchanged can `folder` be missing: then the old one comes back.
    """
    old, new = beside(folder, "old"), beside(folder, "new")
    if old.exists() and not folder.exists():
        old.rename(folder)
    for rest in (old, new):
        if rest.exists():
            shutil.rmtree(rest)


def replace(folder: Path) -> None:
    """Put the finished folder `beside(folder, "new")` in the place of `folder`, and remove the old one.

    Raises:
        SymlossError: when the file system can do nothing of the kind.
    """
    old, new = beside(folder, "old"), beside(folder, "new")
    if not folder.exists():
        new.rename(folder)
        return
    swap = exchange()
    if swap is not None and swap(new, folder):
        shutil.rmtree(new)
        return
    try:
        folder.rename(old)
    except OSError as error:
        shutil.rmtree(new)
        raise SymlossError(
            f"the folder {folder} can't be replaced in one step here ({error.strerror}); "
            "remove it, or choose another with --out"
        ) from None
    new.rename(folder)
    shutil.rmtree(old)


def exchange() -> Callable[[Path, Path], bool] | None:
    """The system's call that exchanges two paths, giving whether it did; None where there is none."""
    try:
        library = ctypes.CDLL(None, use_errno=True)
    except (OSError, TypeError):
        return None
    if sys.platform == "darwin" and hasattr(library, "renamex_np"):
        return lambda a, b: library.renamex_np(os.fsencode(a), os.fsencode(b), _RENAME_SWAP) == 0
    if hasattr(library, "renameat2"):
        return lambda a, b: (
            library.renameat2(_AT_FDCWD, os.fsencode(a), _AT_FDCWD, os.fsencode(b), _RENAME_EXCHANGE) == 0
        )
    return None
