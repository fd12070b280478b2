"""`bylaw diff`."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bylaw.runtime.cli.paths import PolicyPath
from bylaw.runtime.cli.shared import GATE_FAILED, LEFT_OUT, POLICY_ERROR, UNUSABLE, fail, show

if TYPE_CHECKING:
    from bylaw.compiler.changes.types import Change, Flip, Place, PolicyChanges, TextChange, TranscriptChanges
    from bylaw.compiler.pipeline import Compiled
    from bylaw.runtime.audit.inputs import Transcripts
    from bylaw.spec.source import Source
    from bylaw.spec.trace import Trace

FORMATS = ("text", "json", "markdown")
MOST_PROBLEMS = 20


@click.command("diff")
@click.argument("old", type=PolicyPath())
@click.argument("new", type=PolicyPath())
@click.option(
    "--format",
    "output",
    type=click.Choice(FORMATS),
    default="text",
    show_default=True,
    help="How to print it; markdown is release notes for people who read no code.",
)
@click.option(
    "--transcripts",
    multiple=True,
    type=click.Path(),
    metavar="FILE",
    help="Judge these conversations by both versions; read like those of `bylaw audit`. Can be repeated.",
)
@click.option(
    "--places",
    default=5,
    show_default=True,
    type=click.IntRange(0, 1000),
    help="How many conversations of each rule to name.",
)
@click.option(
    "--seconds",
    default=30.0,
    show_default=True,
    type=click.FloatRange(0),
    help="After this time, what is still open about texts is not decided.",
)
@click.option(
    "--exit-code", "is_gate", is_flag=True, help="Exit with code 4 unless the meaning is known to be the same."
)
def command(
    old: str, new: str, output: str, transcripts: tuple[str, ...], places: int, seconds: float, is_gate: bool
) -> None:
    """Say what changed in meaning from the policy OLD to the policy NEW.

    Which texts are newly forbidden or newly allowed, each with a shortest one or a proof that there is none; which
    rules came, went or stand at another level; weights, limits, exceptions, concepts; which examples and tests come
    out differently. REVISION:PATH is a file as git has it, where it imports nothing but the standard library.

    Exit code 0, 1 when one of them is not sound, 2 when one cannot be read, 3 when a part of the transcripts was left
    out, 4 with --exit-code when the meaning changed or is not known to be the same.
    """
    from bylaw.compiler.changes import compare

    versions = _compiled(old), _compiled(new)
    read = [(path, _transcripts(path)) for path in transcripts]
    conversations: list[tuple[str, tuple[Trace, ...]]] = [(path, each.traces) for path, each in read]
    found = compare(*versions, conversations, seconds=seconds, places=places)
    click.echo(_shown(found, output))
    if is_gate and not found.is_same_meaning:
        raise SystemExit(GATE_FAILED)
    raise SystemExit(LEFT_OUT if any(each.problems for _, each in read) else 0)


# ------------------------------------------------------------------------------------------------------------ input
def _compiled(name: str) -> Compiled:
    """A sound policy; otherwise its mistakes on stderr and exit code 1, or 2 when it cannot be read."""
    from bylaw.compiler.pipeline import compile_file, compile_source
    from bylaw.spec.errors import PolicyError

    try:
        revision, colon, path = name.partition(":")
        if colon and revision and path and not Path(name).exists():
            compiled = compile_source(_from_git(name, revision, path))
        else:
            compiled = compile_file(name)
    except PolicyError as error:
        show(error.diagnostics, error.source)
        raise SystemExit(UNUSABLE) from None
    if not compiled.ok:
        show([each for each in compiled.diagnostics if each.is_error], compiled.source)
        raise SystemExit(POLICY_ERROR)
    return compiled


def _from_git(name: str, revision: str, path: str) -> Source:
    """A policy as it stands in a revision.

    What it imports is not in the same revision here, so such a policy is refused rather than mixed with other files.
    """
    from bylaw.spec.parser import parse
    from bylaw.spec.source import Source, decode

    if revision.startswith("-"):
        fail(f"`{name}` is no file, and `{revision}` is no revision", UNUSABLE)
    where = path if path.startswith(("./", "../")) else f"./{path}"
    try:
        done = subprocess.run(["git", "cat-file", "blob", f"{revision}:{where}"], capture_output=True, check=False)
    except OSError as error:
        fail(f"`{name}` is no file, and git cannot be asked for it: {error.strerror or error}", UNUSABLE)
    if done.returncode:
        reason = done.stderr.decode("utf-8", "replace").strip().removeprefix("fatal: ")
        fail(f"`{name}` cannot be read: {reason}", UNUSABLE)
    source = Source.of(name, decode(name, done.stdout))
    others = _other_files(parse(source).module)
    if others:
        fail(
            f"`{name}` needs other files of that revision ({', '.join(f'`{each}`' for each in others)}): check the "
            "revision out into a folder of its own, as with `git worktree add`, and name the file there",
            UNUSABLE,
        )
    return source


def _other_files(module: Any) -> list[str]:
    """What a policy reads besides itself and the standard library."""
    from bylaw.spec import ast
    from bylaw.spec.loader import LIBRARY

    found = []
    for node in ast.walk(module):
        if isinstance(node, ast.ImportDecl) and node.name.text.partition(".")[0] != LIBRARY:
            found.append(node.name.text)
        elif isinstance(node, (ast.LexiconFile, ast.SuiteFile)):
            found.append(node.path.value)
    return found


def _transcripts(path: str) -> Transcripts:
    from bylaw.runtime.audit.inputs import TranscriptError
    from bylaw.runtime.audit.transcripts import read_transcripts

    try:
        read = read_transcripts(path)
    except TranscriptError as error:
        fail(str(error), UNUSABLE)
    for problem in read.problems[:MOST_PROBLEMS]:
        click.echo(f"warning: {problem.source}, line {problem.line}: {problem.message}; left out", err=True)
    rest = len(read.problems) - MOST_PROBLEMS
    if rest > 0:
        click.echo(f"warning: {rest} more parts of the input were left out", err=True)
    return read


# ----------------------------------------------------------------------------------------------------------- output
def _shown(found: PolicyChanges, output: str) -> str:
    from bylaw.runtime.report.release_notes import as_text, release_notes

    if output == "json":
        return json.dumps(as_data(found), ensure_ascii=False, indent=2)
    return release_notes(found).rstrip("\n") if output == "markdown" else as_text(found)


def as_data(found: PolicyChanges) -> dict[str, Any]:
    """The comparison as JSON values.

    `newly_forbidden` and `newly_allowed` are about all hard rules together: `result` (witness, nothing, not decided)
    and `how` it is known (witness, equal, proved, not decided). `texts` are the same rule by rule, with the
    conversation; `changes` all other differences, each with whether the meaning changed by it; `flips` examples and
    tests that come out differently under the other version; lines count from 1.
    """
    from bylaw.runtime.report.release_notes import summary

    forbidden, allowed = found.overall
    return {
        "old": found.old,
        "new": found.new,
        "summary": summary(found),
        "same_meaning": found.is_same_meaning,
        "rules": {"old": found.rules[0], "new": found.rules[1]},
        "newly_forbidden": {"result": forbidden.result, "how": forbidden.how},
        "newly_allowed": {"result": allowed.result, "how": allowed.how},
        "texts": [_text_data(each) for each in found.texts],
        "changes": [_change_data(each) for each in found.changes],
        "same_by_proof": list(found.same_by_proof),
        "flips": [_flip_data(each) for each in found.flips],
        "transcripts": [_transcript_data(each) for each in found.transcripts],
        "not_decided": found.undecided,
    }


def _text_data(change: TextChange) -> dict[str, Any]:
    trace = change.answer.trace
    witness: dict[str, Any] | None = None
    if trace is not None:
        witness = {
            "text": change.answer.text,
            "is_shortest": change.answer.is_shortest,
            "messages": [
                {"role": each.role, "content": each.content, **({"tool": each.tool} if each.tool else {})}
                for each in trace.messages
            ],
            "facts": dict(trace.facts),
            "scores": [{"concept": name, "text": text, "score": s} for (name, text), s in trace.scores.items()],
            "breaks": change.sentence,
            "place": _place(change.place),
        }
    return {
        "rule": change.rule,
        "direction": change.direction,
        "strength": change.strength,
        "scope": change.scope,
        "result": change.answer.result,
        "witness": witness,
        "reason": change.answer.reason or None,
        "others": list(change.others),
    }


def _change_data(change: Change) -> dict[str, Any]:
    return {
        "kind": change.kind,
        "about": change.about,
        "words": change.words,
        "meaning": change.is_meaning,
        "old": change.old,
        "new": change.new,
        "old_place": _place(change.old_place),
        "new_place": _place(change.new_place),
    }


def _flip_data(flip: Flip) -> dict[str, Any]:
    return {
        "version": flip.version,
        "kind": flip.kind,
        "name": flip.name,
        "rule": flip.rule,
        "text": flip.text,
        "expected": flip.expected,
        "found": flip.found,
        "place": _place(flip.place),
    }


def _transcript_data(found: TranscriptChanges) -> dict[str, Any]:
    return {
        "source": found.source,
        "total": found.total,
        "changed": found.changed,
        "newly_forbidden": found.newly_forbidden,
        "newly_allowed": found.newly_allowed,
        "rules": [
            {
                "rule": rule.rule,
                "counts": [{"old": old, "new": new, "count": count} for old, new, count in rule.counts],
                "places": [{"id": place, "old": old, "new": new} for place, old, new in rule.places],
            }
            for rule in found.rules
        ],
    }


def _place(place: Place | None) -> dict[str, Any] | None:
    return None if place is None else {"path": place.path, "line": place.line}
