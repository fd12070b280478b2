"""Where files lie that only save time: they can be deleted whenever nothing runs."""

from __future__ import annotations

import os
import sys
from hashlib import blake2b
from pathlib import Path

VARIABLE = "BYLAW_CACHE"
"""The environment variable that names another folder than the one that the system has for such files."""


def cache_folder() -> Path:
    """The folder, which need not exist: of the XDG Base Directory Specification, or what the system has instead."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "bylaw" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "bylaw"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bylaw"


def proof_memory(policy: str) -> Path:
    """The file for what was proved of a policy, by the place of the policy."""
    name = blake2b(str(Path(policy).resolve()).encode(), digest_size=12).hexdigest()
    return cache_folder() / "proofs" / f"{name}.json"
