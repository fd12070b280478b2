"""`bylaw check`."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import click

from bylaw.runtime.cli.paths import PolicyPath
from bylaw.runtime.cli.shared import POLICY_ERROR, UNUSABLE, fail, show

if TYPE_CHECKING:
    from bylaw.compiler.pipeline import Compiled
    from bylaw.runtime.cli.formats import Checked
    from bylaw.spec.fixes import Fixed

STAGES = ("ast", "regulators", "program")
FORMATS = ("text", "json", "sarif", "github", "junit")
EMIT_HELP = (
    "Print this stage of the compiled policy, as JSON, and nothing else: it wins over --format, and what was found "
    "goes to stderr."
)
QUICK_HELP = "Leave out what is proved of rules together: redundant rules, conditions never true, limits never met, ..."
CACHE_HELP = "Keep what was proved of a large policy, so that after an edit only what is new is asked again."
NAMES = {"hard": "hard rule", "soft": "soft rule", "graded": "preference", "budget": "budget"}


@click.command("check")
@click.argument("rules", nargs=-1, required=True, type=PolicyPath())
@click.option(
    "--format",
    "output",
    type=click.Choice(FORMATS),
    default="text",
    show_default=True,
    help="How to print what was found.",
)
@click.option("--emit", type=click.Choice(STAGES), help=EMIT_HELP)
@click.option("--strict", is_flag=True, help="Treat warnings as errors; notes are neither.")
@click.option("--quick", "is_quick", is_flag=True, help=QUICK_HELP)
@click.option("--cache/--no-cache", "is_cached", default=True, help=CACHE_HELP)
@click.option("--fix", "is_fix", is_flag=True, help="Apply the fixes that cannot change what is meant, then check.")
@click.option("--unsafe-fixes", "is_unsafe", is_flag=True, help="With --fix: apply also those that may change it.")
@click.option("--diff", "is_diff", is_flag=True, help="With --fix: print what would be written, and write nothing.")
def command(
    rules: tuple[str, ...],
    output: str,
    emit: str | None,
    strict: bool,
    is_quick: bool,
    is_cached: bool,
    is_fix: bool,
    is_unsafe: bool,
    is_diff: bool,
) -> None:
    """Check policy files: syntax, names, types, examples, and what can be proved of rules together.

    Exit code 0 when every file is sound, 1 when one is not, 2 when one cannot be read. With --diff the code is that of
    the files as they are.
    """
    if (is_unsafe or is_diff) and not is_fix:
        raise click.UsageError("`--unsafe-fixes` and `--diff` say how `--fix` works: add `--fix`")
    if is_diff and (output != "text" or emit is not None):
        raise click.UsageError("`--diff` prints a diff, so it goes with neither `--format` nor `--emit`")
    if is_fix:
        for path in rules:
            _fix(path, is_unsafe, is_diff)
    is_text = output == "text" or emit is not None
    code, files = 0, []
    for path in rules:
        compiled, checked = _checked(path, not is_quick, is_cached)
        files.append(checked)
        if compiled is None:
            code = UNUSABLE
        elif not compiled.ok or (strict and _warnings(compiled)):
            code = max(code, POLICY_ERROR)
        if is_text:
            show(checked.diagnostics, checked.source)
        if compiled is not None and emit is not None:
            _emit(compiled, emit)
        elif compiled is not None and is_text and not is_diff:
            click.echo(_summary(path, compiled))
    if not is_text and (shown := _formatted(files, output, code == 0)):
        click.echo(shown)
    raise SystemExit(code)


def _checked(path: str, proofs: bool, is_cached: bool) -> tuple[Compiled | None, Checked]:
    """A file with all its stages, None when it cannot be read, and what was found in it."""
    from bylaw.compiler.pipeline import compile_file
    from bylaw.runtime.cache import proof_memory
    from bylaw.runtime.cli.formats import Checked
    from bylaw.spec.errors import PolicyError

    try:
        compiled = compile_file(path, proofs, proof_memory(path) if proofs and is_cached else None)
    except PolicyError as error:
        return None, Checked(path, error.source, error.diagnostics, is_readable=False)
    return compiled, Checked(path, compiled.source, compiled.diagnostics, undecided=compiled.undecided)


def _formatted(files: list[Checked], output: str, is_ok: bool) -> str:
    from bylaw.runtime.cli import formats

    if output == "json":
        return formats.as_json(files, is_ok)
    if output == "github":
        return formats.as_github(files)
    if output == "junit":
        return formats.as_junit(files)
    from bylaw.runtime.cli.sarif import as_sarif

    return as_sarif(files)


def _fix(path: str, is_unsafe: bool, is_diff: bool) -> None:
    """Applies the fixes of one file, or prints what would change; says on stderr how many, and what was refused."""
    from pathlib import Path

    from bylaw.compiler.pipeline import compile_source
    from bylaw.spec.errors import SourceError
    from bylaw.spec.fixes import apply_fixes, write_atomically
    from bylaw.spec.source import read_text

    try:
        before = read_text(path)
    except SourceError:
        return  # the check that follows says why
    file = Path(path)
    fixed = apply_fixes(
        path, before, lambda source: compile_source(source, file, proofs=True).diagnostics, unsafe=is_unsafe
    )
    click.echo(_outcome(path, fixed, is_diff), err=True)
    if is_diff:
        click.echo(difference(path, before, fixed.text), nl=False)
    elif fixed.text != before:
        try:
            write_atomically(file, fixed.text)
        except OSError as error:
            fail(f"`{path}` cannot be written: {error.strerror or error}", UNUSABLE)


def _outcome(path: str, fixed: Fixed, is_diff: bool) -> str:
    if fixed.refused:
        return f"{path}: no fix applied, because the result would have new mistakes ({', '.join(fixed.refused)})"
    return f"{path}: {_count(fixed.applied, 'fix', 'es')} {'to apply' if is_diff else 'applied'}"


def difference(path: str, before: str, after: str) -> str:
    """The unified difference of two texts of a file, empty when they are the same."""
    from difflib import unified_diff

    old, new = (re.findall(r"[^\n]*\n|[^\n]+\Z", text) for text in (before, after))
    lines = unified_diff(old, new, path, path)
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def _summary(path: str, compiled: Compiled) -> str:
    errors = sum(d.is_error for d in compiled.diagnostics)
    warnings = _warnings(compiled)
    if compiled.program is None or compiled.regulators is None:
        return f"{path}: {_count(errors, 'error')}, {_count(warnings, 'warning')}"
    kinds = [term.kind for term in compiled.program.terms]
    parts = [_count(kinds.count(kind), NAMES[kind]) for kind in NAMES if kind in kinds]
    examples = _count(len(compiled.regulators.examples), "example")
    warned = f"; {_count(warnings, 'warning')}" if warnings else ""
    left = sum(each.count for each in compiled.undecided)
    open_ = f"; {_count(left, 'question')} not analysed ({_reasons(compiled)})" if left else ""
    return f"{path}: sound; {', '.join(parts) or 'no rules'}; {examples} checked{warned}{open_}"


def _reasons(compiled: Compiled) -> str:
    """Why questions stayed open, the most frequent reason first."""
    from collections import Counter

    counted: Counter[str] = Counter()
    for each in compiled.undecided:
        counted[each.why] += each.count
    return "; ".join(why for why, _ in counted.most_common(2))


def _warnings(compiled: Compiled) -> int:
    return sum(diagnostic.severity == "warning" for diagnostic in compiled.diagnostics)


def _count(number: int, noun: str, ending: str = "s") -> str:
    return f"{number} {noun}" + ("" if number == 1 else ending)


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
