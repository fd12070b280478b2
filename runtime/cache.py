"""Where files lie that only save time: they can be deleted whenever nothing runs."""

from __future__ import annotations

import os
from hashlib import blake2b
from pathlib import Path

from platformdirs import user_cache_path

VARIABLE = "BYLAW_CACHE"
"""The environment variable that names another folder than the one that the system has for such files."""


def cache_folder() -> Path:
    """The folder, which need not exist."""
    named = os.environ.get(VARIABLE)
    return Path(named) if named else user_cache_path("bylaw", appauthor=False)


def proof_memory(policy: str) -> Path:
    """The file for what was proved of a policy, by the place of the policy."""
    name = blake2b(str(Path(policy).resolve()).encode(), digest_size=12).hexdigest()
    return cache_folder() / "proofs" / f"{name}.json"
