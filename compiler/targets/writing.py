"""Puts the files of a target into a folder: all of them, or nothing is changed."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from bylaw.compiler.targets._files import MANIFEST
from bylaw.compiler.targets.interface import UnwritableBundle


def require_free(folder: Path, *, force: bool = False) -> None:
    """Raises UnwritableBundle where a folder holds anything; with `force`, anything but what a target wrote there."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise UnwritableBundle(f"`{folder}` is no folder: name another one with --out")
    try:
        is_empty = not folder.exists() or not any(folder.iterdir())
    except OSError as error:
        raise _unwritable(folder, error) from None
    if is_empty:
        return
    if not force:
        raise UnwritableBundle(f"`{folder}` is there already and not empty; --force replaces what a target wrote there")
    if not _is_ours(folder):
        raise UnwritableBundle(
            f"`{folder}` holds other files than a target wrote there, which --force does not replace"
        )


def _is_ours(folder: Path) -> bool:
    """Whether a folder holds a manifest, and nothing but the files that it names."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        named = {MANIFEST, *manifest["files"]}
        held = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
    except (OSError, ValueError, KeyError, TypeError):
        return False
    # what Python and the engines leave beside a module that they imported is no work of anybody's
    return {each for each in held if "__pycache__" not in each} <= named


def write_bundle(folder: Path, files: Mapping[str, bytes], *, force: bool = False) -> None:
    """Writes files into a folder, which is made: beside it first, and then moved there at once. Raises
    UnwritableBundle, as `require_free` does."""
    require_free(folder, force=force)
    folder = folder.absolute()
    beside: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
        whole = beside / "new"
        for name, data in files.items():
            path = whole / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            if name.endswith(".sh"):
                path.chmod(0o755)
        old = beside / "old"
        try:
            if folder.exists():
                os.replace(folder, old)
            os.replace(whole, folder)
        except BaseException:
            if old.exists() and not folder.exists():
                os.replace(old, folder)
            raise
    except OSError as error:
        raise _unwritable(folder, error) from None
    finally:
        if beside is not None:
            with suppress(OSError):
                shutil.rmtree(beside)


def _unwritable(folder: Path, error: OSError) -> UnwritableBundle:
    return UnwritableBundle(f"`{folder}` cannot be written: {(error.strerror or str(error)).lower()}")
