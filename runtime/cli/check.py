"""`bylaw check`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from bylaw.runtime.cli.shared import POLICY_ERROR, UNUSABLE, show

if TYPE_CHECKING:
    from bylaw.compiler.pipeline import Compiled

STAGES = ("ast", "regulators", "program")
EMIT_HELP = (
    "Print this stage of the compiled policy, as JSON, and nothing else: it wins over --format, and what was found "
    "goes to stderr."
)
NAMES = {"hard": "hard rule", "soft": "soft rule", "graded": "preference", "budget": "budget"}


@click.command("check")
@click.argument("rules", nargs=-1, required=True, type=click.Path())
@click.option(
    "--format",
    "output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How to print what was found.",
)
@click.option("--emit", type=click.Choice(STAGES), help=EMIT_HELP)
@click.option("--strict", is_flag=True, help="Treat warnings as errors; notes are neither.")
def command(rules: tuple[str, ...], output: str, emit: str | None, strict: bool) -> None:
    """Check policy files: syntax, names, types, examples and contradictions.

    Exit code 0 when every file is sound, 1 when one is not, 2 when one cannot be read.
    """
    from bylaw.compiler.pipeline import compile_file
    from bylaw.spec.errors import PolicyError, to_json

    is_json = output == "json" and emit is None
    code, found = 0, []
    for path in rules:
        try:
            compiled = compile_file(path)
        except PolicyError as error:
            code = UNUSABLE
            found += [{"path": path, **to_json(d, error.source)} for d in error.diagnostics]
            if not is_json:
                show(error.diagnostics, error.source)
            continue
        if not compiled.ok or (strict and _warnings(compiled)):
            code = max(code, POLICY_ERROR)
        found += [{"path": path, **to_json(d, compiled.source)} for d in compiled.diagnostics]
        if not is_json:
            show(compiled.diagnostics, compiled.source)
        if emit is not None:
            _emit(compiled, emit)
        elif not is_json:
            click.echo(_summary(path, compiled))
    if is_json:
        click.echo(json.dumps({"ok": code == 0, "diagnostics": found}, ensure_ascii=False, indent=2))
    raise SystemExit(code)


def _summary(path: str, compiled: Compiled) -> str:
    errors = sum(d.is_error for d in compiled.diagnostics)
    warnings = _warnings(compiled)
    if compiled.program is None or compiled.regulators is None:
        return f"{path}: {_count(errors, 'error')}, {_count(warnings, 'warning')}"
    kinds = [term.kind for term in compiled.program.terms]
    parts = [_count(kinds.count(kind), NAMES[kind]) for kind in NAMES if kind in kinds]
    examples = _count(len(compiled.regulators.examples), "example")
    warned = f"; {_count(warnings, 'warning')}" if warnings else ""
    return f"{path}: sound; {', '.join(parts) or 'no rules'}; {examples} checked{warned}"


def _warnings(compiled: Compiled) -> int:
    return sum(diagnostic.severity == "warning" for diagnostic in compiled.diagnostics)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _emit(compiled: Compiled, stage: str) -> None:
    from dataclasses import asdict

    if stage == "program":
        from bylaw.compiler.program import to_json

        if compiled.program is not None:
            click.echo(to_json(compiled.program))
    elif stage == "ast":
        from bylaw.spec.ast import to_data

        click.echo(json.dumps(to_data(compiled.module), ensure_ascii=False, indent=2))
    elif compiled.regulators is not None:
        click.echo(json.dumps(asdict(compiled.regulators), ensure_ascii=False, indent=2))
