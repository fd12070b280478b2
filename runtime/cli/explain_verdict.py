"""`bylaw explain RULES ...`: which rules are in force in one conversation, what each says of it, and why."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bylaw.runtime.cli.paths import PolicyPath
from bylaw.runtime.cli.shared import UNUSABLE, compile_or_exit, fail
from bylaw.spec.trace import FactValue, Message, Trace

if TYPE_CHECKING:
    from bylaw.compiler.explain import Atom, ClauseExplanation, RuleExplanation
    from bylaw.compiler.pipeline import Compiled

HEADINGS: Mapping[str, str] = {
    "violates": "broken",
    "complies": "kept",
    "unscored": "undecided",
    "waived": "lifted",
    "skips": "not in force here",
}


@click.command("explain")
@click.argument("rules", type=PolicyPath())
@click.option("--prompt", help="What the user said.")
@click.option("--response", help="What the assistant answered.")
@click.option("--system", help="The system message.")
@click.option("--given", "facts", multiple=True, metavar="NAME=VALUE", help="A fact, such as meta.topic=billing.")
@click.option("--transcript", type=click.Path(), help="Take the conversation from a file of transcripts instead.")
@click.option("--row", type=click.IntRange(1), default=1, show_default=True, help="Which one of the file, from 1.")
@click.option("--rule", "only", multiple=True, help="Explain this rule only; may be repeated.")
@click.option("--json", "is_json", is_flag=True, help="Print JSON instead.")
def command(
    rules: str,
    prompt: str | None,
    response: str | None,
    system: str | None,
    facts: tuple[str, ...],
    transcript: str | None,
    row: int,
    only: tuple[str, ...],
    is_json: bool,
) -> None:
    """Explain what a policy says of one conversation: each rule, in force or not, with the reason.

    For every broken sentence the place in the answer is shown, and what alone would have changed the verdict. Exit code
    0 however the verdicts come out, 1 when the policy is not sound, 2 for unusable input.
    """
    from bylaw.compiler.explain import explain

    compiled = compile_or_exit(rules)
    if transcript is not None:
        trace = _read(transcript, row)
    else:
        if response is None:
            fail("say what the assistant answered with --response, or name a file with --transcript", UNUSABLE)
        said = (("system", system), ("user", prompt), ("assistant", response))
        trace = Trace(tuple(Message(role, text) for role, text in said if text is not None))
    trace = Trace(trace.messages, {**trace.facts, **dict(map(_fact, facts))}, trace.id, trace.scores)
    found = [each for each in explain(compiled.require(), trace) if not only or each.rule in only]
    unknown = set(only) - {each.rule for each in found}
    if unknown:
        fail(
            f"there is no rule called {', '.join(f'`{name}`' for name in sorted(unknown))} that decides anything",
            UNUSABLE,
        )
    click.echo(_as_json(found, compiled) if is_json else _as_text(found, compiled, trace))


def _fact(given: str) -> tuple[str, FactValue]:
    name, sign, value = given.partition("=")
    if not sign or "." not in name:
        fail(f"`{given}` is not a fact; write it as `meta.topic=billing`", UNUSABLE)
    if value in ("true", "false"):
        return name, value == "true"
    try:
        number = float(value)
    except ValueError:
        return name, value
    return name, number if math.isfinite(number) else value


def _read(path: str, row: int) -> Trace:
    from bylaw.runtime.audit.inputs import TranscriptError
    from bylaw.runtime.audit.transcripts import read_transcripts

    try:
        traces = read_transcripts(Path(path)).traces
    except TranscriptError as error:
        fail(str(error), UNUSABLE)
    if row > len(traces):
        fail(f"`{path}` has {len(traces)} conversations, so there is no number {row}", UNUSABLE)
    return traces[row - 1]


# ----------------------------------------------------------------------------------------------------------- text
def _as_text(found: list[RuleExplanation], compiled: Compiled, trace: Trace) -> str:
    parts = []
    for verdict, heading in HEADINGS.items():
        rules = [each for each in found if each.verdict == verdict]
        if rules:
            parts.append("\n".join([heading, *(line for each in rules for line in _rule(each, compiled, trace))]))
    return "\n\n".join(parts) or "no rule of this policy is true or false of a conversation"


def _rule(found: RuleExplanation, compiled: Compiled, trace: Trace) -> Iterator[str]:
    yield f"  {found.rule} (at {found.level})"
    if found.waiver is not None:
        yield f"    lifted by {found.waiver.reason} `{found.waiver.by}`{_because(found.waiver.by, compiled)}"
        return
    if found.reason is not None:
        yield f"    {found.reason}"
    for clause in found.clauses:
        if found.verdict == "skips":
            yield from _why_it_skips(clause, compiled)
            return  # the sentences of a rule share its condition
        yield from _clause(clause, compiled, trace)


def _why_it_skips(clause: ClauseExplanation, compiled: Compiled) -> Iterator[str]:
    deciding = [atom for atom in clause.where if atom.decides] or list(clause.where)
    for atom in deciding:
        yield f"    {_words(atom, compiled)}: {_value(atom)}"


def _clause(clause: ClauseExplanation, compiled: Compiled, trace: Trace) -> Iterator[str]:
    source, score = compiled.source, clause.score
    line, _ = source.position(clause.term.extent.start)
    words = " ".join(source.text[clause.term.extent.start : clause.term.extent.end].split())
    yield f"    line {line}: {words}: {score.verdict}"
    if score.reason is not None:
        yield f"      {score.reason}"
    response = trace.response or ""
    for place in score.evidence:
        text = response[place.start : place.end]
        if text and len(text) < len(response):
            shown = text if len(text) <= 60 else text[:60] + "..."
            quoted = json.dumps(shown, ensure_ascii=False)
            yield f"      characters {place.start + 1} to {place.end} of the answer: {quoted}"
    for atom in clause.said:
        if score.verdict == "violated" and atom.decides:
            wanted = "if not" if atom.value else "if"
            yield f"      would be kept {wanted}: {_words(atom, compiled)} ({_value(atom)})"
        elif score.verdict == "satisfied" and atom.is_near_miss:
            yield f"      near miss: {_words(atom, compiled)} ({_value(atom)})"


def _words(atom: Atom, compiled: Compiled) -> str:
    if atom.extent is None:
        return f"`{atom.fact}`" if atom.fact is not None else "this"
    return " ".join(compiled.source.text[atom.extent.start : atom.extent.end].split())


def _value(atom: Atom) -> str:
    if atom.numbers is not None:
        measured, bound = atom.numbers
        return f"it is {measured:g}, the bound is {bound:g}"
    return str(atom.reason) if atom.value is None else str(atom.value).lower()


def _because(name: str, compiled: Compiled) -> str:
    assert compiled.regulators is not None
    reasons = {each.name: each.because for each in compiled.regulators.exceptions}
    reasons |= {each.rule: each.because for each in compiled.regulators.regulators}
    return f": {reasons[name]}" if reasons.get(name) else ""


# ----------------------------------------------------------------------------------------------------------- JSON
def _as_json(found: list[RuleExplanation], compiled: Compiled) -> str:
    return json.dumps({"rules": [_rule_data(each, compiled) for each in found]}, ensure_ascii=False, indent=2)


def _rule_data(found: RuleExplanation, compiled: Compiled) -> dict[str, Any]:
    waiver = found.waiver
    return {
        "rule": found.rule,
        "level": found.level,
        "verdict": found.verdict,
        "reason": found.reason,
        "waived_by": None if waiver is None else {"name": waiver.by, "reason": waiver.reason},
        "clauses": [_clause_data(clause, compiled) for clause in found.clauses],
    }


def _clause_data(clause: ClauseExplanation, compiled: Compiled) -> dict[str, Any]:
    line, _ = compiled.source.position(clause.term.extent.start)
    return {
        "term": clause.term.id,
        "line": line,
        "verdict": str(clause.score.verdict),
        "reason": clause.score.reason,
        "evidence": [[place.start, place.end] for place in clause.score.evidence],
        "said": [_atom_data(atom, compiled) for atom in clause.said],
        "where": [_atom_data(atom, compiled) for atom in clause.where],
    }


def _atom_data(atom: Atom, compiled: Compiled) -> dict[str, Any]:
    return {
        "words": _words(atom, compiled),
        "value": atom.value,
        "reason": atom.reason,
        "decides": atom.decides,
        "measured": None if atom.numbers is None else atom.numbers[0],
        "bound": None if atom.numbers is None else atom.numbers[1],
        "near_miss": atom.is_near_miss,
    }
