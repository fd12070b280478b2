"""`bylaw import`: rules that other tools wrote, as a policy."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, get_args

import click

from bylaw.compiler.importers import importer, kinds
from bylaw.runtime.cli.shared import LEFT_OUT, UNUSABLE, fail

if TYPE_CHECKING:
    from bylaw.compiler.importers.interface import AccountLine, Imported

MOST_BYTES = 50_000_000
STANDARD_INPUT = "-"
_FITTING = (
    "bylaw fit {} --judgements train.jsonl --soft --order completion_class --group-by meta.response_type"
)  # fmt: skip


class ImportCommand(click.Command):
    """A command whose help says what each kind is, in the words of its importer."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the list of kinds below the options."""
        with formatter.section("Kinds"):
            formatter.write_dl([(kind, importer(kind).summary) for kind in kinds()])


@click.command("import", cls=ImportCommand)
@click.argument("kind", type=click.Choice(kinds()), metavar="KIND")
@click.argument("file", type=click.Path(allow_dash=True))
@click.option("--out", type=click.Path(), help="Write the policy to this file.  [default: print it]")
@click.option("--suite", type=click.Path(), help="Write the prompts of the input to this JSON Lines file.")
@click.option("--force", is_flag=True, help="Replace files that are there already.")
@click.option("--json", "as_json", is_flag=True, help="Print the account as JSON; without --out the policy is in it.")
@click.option("--strict", is_flag=True, help="Exit with 3 when the policy does not say all that the input says.")
@click.option("--verbose", is_flag=True, help="List what was imported as it is, too.")
def command(
    kind: str, file: str, out: str | None, suite: str | None, force: bool, as_json: bool, strict: bool, verbose: bool
) -> None:
    """Write a policy from rules of another tool; `-` reads standard input.

    The account on stderr has a line for each part of FILE that the policy does not say in the same way: `changed` (what
    differs), `proposed` (to be read by a person) or `skipped` (and why). Nothing is left out without one.

    Exit code 0 when the file was imported, 2 when it cannot be used, 3 when a part of it could not be read or, with
    --strict, was changed or skipped.
    """
    _require_names(kind, file, out, suite, force)
    imported = _imported(kind, file, out, suite)
    if suite is not None and not imported.suite:
        _fail(f"`{file}` gives no prompts for a suite")
    if suite is not None:
        _write(Path(suite), imported.suite, force)
    if out is not None:
        _write(Path(out), imported.text, force)
    if as_json:
        click.echo(json.dumps(_report(kind, file, out, suite, imported), ensure_ascii=False, indent=2))
    else:
        if out is None:
            click.echo(imported.text.encode(), nl=False)
        _show(imported.account, verbose)
        if out is not None:
            click.echo(f"{out}: written; `bylaw check {out}` checks it", err=True)
            if "\nrule completion_class " in imported.text and kind == "rbr":
                click.echo(
                    f"next, weights from answers whose class is known: `{_FITTING.format(shlex.quote(out))}`", err=True
                )
    incomplete = not imported.is_readable or (strict and not imported.is_exact)
    raise SystemExit(LEFT_OUT if incomplete else 0)


def _require_names(kind: str, file: str, out: str | None, suite: str | None, force: bool) -> None:
    """Ends the command when it could not write what it is asked to, before any work is done."""
    suffix = importer(kind).suffix
    if out is not None and not (out.endswith(suffix) and out.endswith(".bylaw.md") == (suffix == ".bylaw.md")):
        _fail(f"`{out}` must end with `{suffix}`: that is what `{kind}` becomes")
    if suite is not None and not importer(kind).has_suite:
        _fail(f"`{kind}` has no prompts for a suite")
    named = [path for path in (out, suite) if path is not None]
    places = [Path(path).resolve() for path in (*named, *([] if file == STANDARD_INPUT else [file]))]
    if len(set(places)) < len(places):
        _fail("the input, the policy and the suite must be different files")
    for path in named:
        if Path(path).exists() and not force:
            _fail(f"`{path}` is there already; --force replaces it")
        if not Path(path).resolve().parent.is_dir():
            _fail(f"the folder of `{path}` is not there")


def _imported(kind: str, file: str, out: str | None, suite: str | None) -> Imported:
    from bylaw.compiler.importers.interface import ImportFailure, Naming

    text = _read(file)
    named = out or ("imported" if file == STANDARD_INPUT else file)
    stem = Path(named).name.split(".bylaw")[0] if out else Path(named).stem
    path = None
    if suite is not None:
        path = os.path.relpath(suite, Path(out).parent if out else ".").replace(os.sep, "/")
    try:
        return importer(kind).read(text, Naming(stem or "imported", path))
    except ImportFailure as error:
        _fail(f"`{file}` cannot be imported: {error}")


def _read(file: str) -> str:
    try:
        if file == STANDARD_INPUT:
            data = sys.stdin.buffer.read(MOST_BYTES + 1)
        else:
            with open(file, "rb") as stream:
                data = stream.read(MOST_BYTES + 1)
    except OSError as error:
        _fail(f"`{file}` cannot be read: {error.strerror or error}")
    if len(data) > MOST_BYTES:
        _fail(f"`{file}` is larger than {MOST_BYTES:,} bytes")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        _fail(f"`{file}` is not UTF-8 text: line {line} has the byte 0x{data[error.start]:02x}")


def _write(path: Path, text: str, force: bool) -> None:
    """Puts a file in place at once, whole or not at all; one that is there is replaced only with `force`."""
    temporary = path.resolve().with_name(f".{path.name}.{os.getpid()}")
    is_reserved = False
    try:
        if not force:
            open(path, "xb").close()  # nobody else can put a file there from here on
            is_reserved = True
        with open(temporary, "xb") as file:
            file.write(text.encode())
        os.replace(temporary, path.resolve())
        is_reserved = False
    except FileExistsError:
        _fail(f"`{path}` is there already; --force replaces it")
    except OSError as error:
        _fail(f"`{path}` cannot be written: {error.strerror or error}")
    finally:
        temporary.unlink(missing_ok=True)
        if is_reserved:
            path.unlink(missing_ok=True)


def _report(kind: str, file: str, out: str | None, suite: str | None, imported: Imported) -> dict[str, Any]:
    report = {
        "kind": kind,
        "input": file,
        "out": out,
        "suite": suite,
        "counts": _counts(imported.account),
        "account": [asdict(line) for line in imported.account],
    }
    return report if out is not None else {**report, "policy": imported.text}


def _counts(account: Iterable[AccountLine]) -> dict[str, int]:
    from bylaw.compiler.importers.interface import Outcome

    found = [line.outcome for line in account]
    return {outcome: found.count(outcome) for outcome in get_args(Outcome)}


def _show(account: tuple[AccountLine, ...], verbose: bool) -> None:
    """Prints the account as a table on stderr; lines for what is imported as it is only when asked."""
    rows = [
        (line.place, line.outcome, line.what, line.reason)
        for line in account
        if verbose or line.reason or line.outcome != "imported"
    ]
    widths = [min(max((len(row[column]) for row in rows), default=0), 44) for column in range(3)]
    for row in rows:
        cells = [_printable(cell).ljust(width) for cell, width in zip(row, [*widths, 0], strict=True)]
        click.echo("  ".join(cells).rstrip(), err=True)
    counts = [f"{number} {outcome}" for outcome, number in _counts(account).items() if number]
    click.echo(f"{len(account)} parts: {', '.join(counts) or 'nothing found'}", err=True)


def _printable(text: str) -> str:
    """A text that cannot move the cursor of a terminal."""
    return "".join(character if character.isprintable() else " " for character in text)


def _fail(message: str) -> NoReturn:
    fail(_printable(message), UNUSABLE)
