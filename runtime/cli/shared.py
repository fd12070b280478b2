"""What the verbs share: exit codes, and how errors reach the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import NoReturn

import click

from bylaw.compiler.pipeline import Compiled, compile_file
from bylaw.spec.errors import Diagnostic, Label, PolicyError, Severity, render
from bylaw.spec.source import Source, Span

POLICY_ERROR, UNUSABLE, LEFT_OUT, GATE_FAILED, INTERRUPTED = 1, 2, 3, 4, 130


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
