"""What the verbs share: exit codes, and how errors reach the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

import click

from bylaw.compiler.pipeline import Compiled, compile_file
from bylaw.runtime.cli import INTERRUPTED
from bylaw.spec.errors import Diagnostic, Label, PolicyError, Severity, render
from bylaw.spec.source import Source, Span

if TYPE_CHECKING:
    from bylaw.runtime.record import AuditRecord, RunRecord

POLICY_ERROR, UNUSABLE, LEFT_OUT, GATE_FAILED = 1, 2, 3, 4


def compile_or_exit(path: str) -> Compiled:
    """The compiled policy; otherwise its diagnostics on stderr and exit code 1 (2 when the file cannot be read)."""
    try:
        compiled = compile_file(path)
    except PolicyError as error:
        show(error.diagnostics, error.source)
        raise SystemExit(UNUSABLE) from None
    show(compiled.diagnostics, compiled.source)
    if not compiled.ok:
        raise SystemExit(POLICY_ERROR)
    return compiled


def show(diagnostics: Iterable[Diagnostic], source: Source) -> None:
    """Prints diagnostics to stderr, in colour on a terminal."""
    for diagnostic in diagnostics:
        click.echo(render(diagnostic, source, colour=sys.stderr.isatty()) + "\n", err=True)


def fail(message: str, code: int) -> NoReturn:
    """One message on stderr, then exit."""
    click.echo(f"error: {message}", err=True)
    raise SystemExit(code)


def write_whole(path: str, content: bytes) -> None:
    """Writes a file whole or not at all, and says so; otherwise one message and exit code 2."""
    import os
    from contextlib import suppress
    from pathlib import Path

    place = Path(path)
    beside = place.with_name(f".{place.name}.{os.getpid()}.tmp")
    try:
        beside.write_bytes(content)
        os.replace(beside, place)
    except OSError as error:
        fail(f"`{path}` cannot be written: {(error.strerror or str(error)).lower()}", UNUSABLE)
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
    click.echo(f"wrote {path}", err=True)


@contextmanager
def report_directory_or_exit(out: str) -> Iterator[None]:
    """`report_directory`, whose error is one message and exit code 2."""
    from bylaw.runtime.report import ReportError, report_directory

    try:
        with report_directory(out):
            yield
    except ReportError as error:
        fail(str(error), UNUSABLE)


def exit_code(record: AuditRecord | RunRecord, *, is_gate: bool, is_left_out: bool) -> int:
    """What a finished command exits with. A gate passes only on what the report says is kept."""
    from bylaw.runtime.report import passes_gate

    if not record.complete:
        return INTERRUPTED
    if is_gate and not passes_gate(record):
        return GATE_FAILED
    return LEFT_OUT if is_left_out else 0


def print_record(record: AuditRecord | RunRecord, output: str) -> None:
    """Prints a record in one of the formats `json`, `markdown` and `text`."""
    from bylaw.runtime.record import to_json
    from bylaw.runtime.report import render_console, render_markdown
    from bylaw.runtime.report.terminal import standard_output

    if output == "json":
        click.echo(to_json(record))
    elif output == "markdown":
        click.echo(render_markdown(record))
    else:
        render_console(record, standard_output())


def fail_at(compiled: Compiled, code: str, message: str, terms: Iterable[str]) -> NoReturn:
    """A message about rules, with their place in the policy, then exit code 1."""
    program = compiled.require()
    named = [term for term in program.terms if term.id in set(terms)]
    if not named:
        fail(message, POLICY_ERROR)
    spans = [Span(term.extent.start, term.extent.end) for term in named]
    diagnostic = Diagnostic(code, Severity.ERROR, message, Label(spans[0]), tuple(Label(span) for span in spans[1:]))
    show([diagnostic], compiled.source)
    raise SystemExit(POLICY_ERROR)
