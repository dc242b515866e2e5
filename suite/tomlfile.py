"""A user's TOML files, read in one way."""

from __future__ import annotations

import tomllib
from typing import Any

from grace.storage.folders import Folder
from suite.errors import SuiteError


def read_toml(path: Folder) -> dict[str, Any]:
    """Return what a file holds; raises SuiteError naming it where it is missing, no text or no TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SuiteError(f"{path}: {getattr(error, 'strerror', None) or 'not a text file'}") from None
    except tomllib.TOMLDecodeError as error:
        raise SuiteError(f"{path}: not TOML: {error}") from None
