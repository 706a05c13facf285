"""The errors that a user of symloss can meet."""

from __future__ import annotations

from pathlib import Path


class SymlossError(Exception):
    """Base of every error that symloss raises on purpose."""


class SpecError(SymlossError):
    """A spec can't be used as it is; says where, and what to write instead."""

    def __init__(self, message: str, file: str | Path | None = None, line: int | None = None) -> None:
        """Remember the message and the place (`file` and `line` may be filled in by the loader)."""
        super().__init__(message)
        self.message = message
        self.file = file
        self.line = line

    def __str__(self) -> str:
        place = (
            f"{self.file}:{self.line}: " if self.file and self.line else f"{self.file}: " if self.file else ""
        )
        return place + self.message


class UnsupportedError(SpecError):
    """A spec uses a function that the oracle, the derivation or the kernels don't have."""
