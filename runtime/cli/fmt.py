"""`bylaw fmt`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

STANDARD_INPUT = "-"
WOULD_CHANGE = 1


@click.command("fmt")
@click.argument("files", nargs=-1, required=True, type=click.Path(allow_dash=True))
@click.option("--check", is_flag=True, help="Write nothing; list the files that would change and exit with 1.")
@click.option("--diff", "shows_diff", is_flag=True, help="Write nothing; print what would change.")
@click.option(
    "--stdin-filename",
    default="policy.bylaw",
    show_default=True,
    help="The name of the text that `-` reads; one that ends with `.bylaw.md` is read as a document.",
)
def command(files: tuple[str, ...], check: bool, shows_diff: bool, stdin_filename: str) -> None:
    """Write policy files in the one layout; `-` reads standard input and prints the result.

    Comments, the spelling of numbers and texts, and the prose of `.bylaw.md` files are kept. A file that does not
    parse is left as it is.

    Exit code 0 when all went well, 1 when a file does not parse (or, with --check, would change), 2 when one cannot
    be read or written.
    """
    code = 0
    for file in files:
        name = stdin_filename if file == STANDARD_INPUT else file
        done = _read_and_format(file, name)
        if isinstance(done, int):
            code = max(code, done)
            continue
        before, after = done
        if shows_diff:
            _show_diff(name, before, after)
        if check and before != after:
            if not shows_diff:  # which names the file itself
                click.echo(f"{name}: would change")
            code = max(code, WOULD_CHANGE)
        if not check and not shows_diff:
            code = max(code, _write(file, before, after))
    raise SystemExit(code)


def _read_and_format(file: str, name: str) -> tuple[str, str] | int:
    """The text of a file and its formatted text; the exit code when there is none, its reason told on stderr."""
    from bylaw.spec.errors import PolicyError, PolicySyntaxError
    from bylaw.spec.formatter import LayoutError, format_text
    from bylaw.spec.source import decode, read_text

    try:
        before = decode(name, sys.stdin.buffer.read()) if file == STANDARD_INPUT else read_text(file)
        return before, format_text(name, before)
    except LayoutError as error:
        from bylaw.runtime.cli.shared import POLICY_ERROR

        click.echo(f"error: {name} is left as it is: {error}", err=True)
        return POLICY_ERROR
    except PolicyError as error:
        from bylaw.runtime.cli.shared import POLICY_ERROR, UNUSABLE, show

        show(error.diagnostics, error.source)
        return POLICY_ERROR if isinstance(error, PolicySyntaxError) else UNUSABLE


def _show_diff(name: str, before: str, after: str) -> None:
    import difflib
    import io

    old, new = (io.StringIO(text, newline="\n").readlines() for text in (before, after))
    for line in difflib.unified_diff(old, new, name, name):
        click.echo(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n", nl=False)


def _write(file: str, before: str, after: str) -> int:
    """Puts the formatted text in place; the exit code."""
    if file == STANDARD_INPUT:
        click.echo(after.encode(), nl=False)
        return 0
    if before == after:
        return 0
    try:
        replace_file(Path(file), after.encode())
    except OSError as error:
        from bylaw.runtime.cli.shared import UNUSABLE

        click.echo(f"error: `{file}` cannot be written: {error.strerror or error}", err=True)
        return UNUSABLE
    click.echo(f"{file}: formatted", err=True)
    return 0


def replace_file(path: Path, data: bytes) -> None:
    """Replaces what a file holds in one step and keeps its mode; a link goes on pointing to it.

    Raises:
        OSError: the file cannot be written; it is then as it was.
    """
    import os
    import shutil
    import tempfile

    target = path.resolve()
    if not os.access(target, os.W_OK):  # a rename would do it all the same
        raise PermissionError(13, os.strerror(13))
    handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        shutil.copymode(target, temporary)
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
