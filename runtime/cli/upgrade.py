"""`bylaw upgrade`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bylaw.runtime.cli.check import difference
from bylaw.runtime.cli.paths import PolicyPath
from bylaw.runtime.cli.shared import POLICY_ERROR, UNUSABLE, fail, show

if TYPE_CHECKING:
    from bylaw.spec.editions import Upgraded


@click.command("upgrade")
@click.argument("files", nargs=-1, required=True, type=PolicyPath())
@click.option("--check", "is_check", is_flag=True, help="Write nothing; exit code 1 when a file is to be upgraded.")
@click.option("--diff", "is_diff", is_flag=True, help="Print what would be written, and write nothing.")
def command(files: tuple[str, ...], is_check: bool, is_diff: bool) -> None:
    """Rewrite policy files of an older edition to the current one.

    Nothing is written unless every file can be upgraded. Exit code 0 when all is well, 1 when a file does not parse or
    is of an unknown edition (with --check: or is to be upgraded), 2 when one cannot be read or written.
    """
    before, after = {}, {}
    code = 0
    for path in dict.fromkeys(files):
        read = _upgraded(path)
        if isinstance(read, int):
            code = max(code, read)
        else:
            before[path], after[path] = read
    for path, done in after.items():
        is_changed = done.text != before[path]
        if is_diff:
            click.echo(difference(path, before[path], done.text), nl=False)
        elif is_changed and not is_check and code == 0:
            _write(path, done.text)
        click.echo(_outcome(path, done, is_changed, is_check or is_diff or code > 0), err=is_diff)
        if is_changed and is_check:
            code = max(code, POLICY_ERROR)
    raise SystemExit(code)


def _upgraded(path: str) -> tuple[str, Upgraded] | int:
    """The text of a file and what becomes of it, or the exit code when that cannot be said."""
    from bylaw.spec.editions import upgrade
    from bylaw.spec.errors import SourceError
    from bylaw.spec.source import read_text

    try:
        text = read_text(path)
    except SourceError as error:
        show(error.diagnostics, error.source)
        return UNUSABLE
    done = upgrade(path, text)
    if done.diagnostics:
        show(done.diagnostics, done.source)
        return POLICY_ERROR
    return text, done


def _write(path: str, text: str) -> None:
    from bylaw.spec.fixes import write_atomically

    try:
        write_atomically(Path(path), text)
    except OSError as error:
        fail(f"`{path}` cannot be written: {error.strerror or error}", UNUSABLE)


def _outcome(path: str, done: Upgraded, is_changed: bool, is_left: bool) -> str:
    if not is_changed:
        return f"{path}: up to date"
    return f"{path}: {'to be upgraded' if is_left else 'upgraded'}: {'; '.join(done.summaries)}"
