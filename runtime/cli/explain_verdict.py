"""`bylaw explain RULES ...`: which rules are in force in one conversation, what each says of it, and why."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bylaw.runtime.cli.paths import PolicyPath
from bylaw.runtime.cli.scoring import Scoring, announce, say_scores, scorers_or_exit, scoring_options, scoring_refused
from bylaw.runtime.cli.shared import UNUSABLE, compile_or_exit, fail
from bylaw.spec import ast
from bylaw.spec.errors import place
from bylaw.spec.source import Span
from bylaw.spec.trace import FactValue, Message, Trace

if TYPE_CHECKING:
    from bylaw.compiler.explain import Atom, ClauseExplanation, RuleExplanation
    from bylaw.compiler.pipeline import Compiled
    from bylaw.compiler.program import Waiver
    from bylaw.spec.expression import Extent

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
@click.option(
    "--format",
    "output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How to print the explanation.",
)
@scoring_options
def command(
    rules: str,
    prompt: str | None,
    response: str | None,
    system: str | None,
    facts: tuple[str, ...],
    transcript: str | None,
    row: int,
    only: tuple[str, ...],
    output: str,
    scoring: Scoring,
) -> None:
    """Explain what a policy says of one conversation: each rule, in force or not, with the reason.

    For every broken sentence the place in the answer or the message is shown, and what alone would have changed the
    verdict. What a text expresses is scored as in `bylaw audit`.

    Exit code 0 however the verdicts come out, 1 when the policy is not sound, 2 for unusable input.
    """
    compiled = compile_or_exit(rules)
    trace = conversation_or_exit(prompt, response, system, facts, transcript, row)
    found = [each for each in _explained(compiled, trace, rules, scoring) if not only or each.rule in only]
    unknown = set(only) - {each.rule for each in found}
    if unknown:
        fail(
            f"there is no rule called {', '.join(f'`{name}`' for name in sorted(unknown))} that decides anything",
            UNUSABLE,
        )
    click.echo(_as_json(found, compiled) if output == "json" else _as_text(found, compiled, trace))


def conversation_or_exit(
    prompt: str | None,
    response: str | None,
    system: str | None,
    facts: tuple[str, ...],
    transcript: str | None,
    row: int,
) -> Trace:
    """The conversation that the options name, with its facts; a message and exit code 2 where there is none."""
    if transcript is not None:
        trace = _read(transcript, row)
    else:
        if response is None:
            fail("say what the assistant answered with --response, or name a file with --transcript", UNUSABLE)
        said = (("system", system), ("user", prompt), ("assistant", response))
        trace = Trace(tuple(Message(role, text) for role, text in said if text is not None))
    return replace(trace, facts={**trace.facts, **dict(map(_fact, facts))})


def scored_or_exit(compiled: Compiled, trace: Trace, rules: str, scoring: Scoring) -> Trace:
    """The conversation with the scores that an explanation asks for."""
    program, scorers = compiled.require(), scorers_or_exit(compiled, rules, scoring)
    if not scorers.by_concept:
        return trace
    from bylaw.compiler.explain import explain
    from bylaw.runtime.cli.sampling import Bars
    from bylaw.runtime.scorers.asking import score_traces

    with scoring_refused(), Bars(is_quiet=True) as bars:
        (scored,), record = score_traces(
            program, [trace], scorers, bars, lambda _, noting: explain(program, noting), announce
        )
    say_scores(record)
    return scored


def _explained(compiled: Compiled, trace: Trace, rules: str, scoring: Scoring) -> tuple[RuleExplanation, ...]:
    """The explanation, with the scores that it asks for."""
    from bylaw.compiler.explain import explain

    return explain(compiled.require(), scored_or_exit(compiled, trace, rules, scoring))


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
        yield f"    {found.reason}{_what_is_open(found.open_waiver, compiled)}"
    if found.verdict == "skips":  # the sentences of a rule share its condition; limits may be about some answers only
        yield from dict.fromkeys(line for clause in found.clauses for line in _why_it_skips(clause, compiled))
        return
    for clause in found.clauses:
        yield from _clause(clause, compiled, trace)
    action = found.clauses[0].term.action if found.verdict == "violates" else None
    if action is not None:
        message = found.clauses[0].term.action_message
        saying = "" if message is None else f", saying {_quoted(message)}"
        yield f"    on violation: {action}{saying}"


def _what_is_open(waiver: Waiver | None, compiled: Compiled) -> str:
    if waiver is None:
        return ""
    return f", so it is not known whether {waiver.reason} `{waiver.by}` lifts the rule{_because(waiver.by, compiled)}"


def _why_it_skips(clause: ClauseExplanation, compiled: Compiled) -> Iterator[str]:
    deciding = [atom for atom in clause.where if atom.decides] or list(clause.where)
    for atom in deciding:
        if atom.is_suite:
            yield f"    {_suite(clause, compiled, atom.value)}"
        else:
            yield f"    {_words(atom, compiled)}: {_value(atom)}"


def _suite(clause: ClauseExplanation, compiled: Compiled, is_in: bool | None) -> str:
    """Whether the prompt is one of those that a limit is about; they may be thousands."""
    assert compiled.regulators is not None
    named = {each.id: each.suite for each in compiled.regulators.regulators}
    verb = "may be" if is_in is None else "is" if is_in else "is not"
    return f"the prompt {verb} in suite `{clause.term.suite or named.get(clause.term.id)}`"


def _clause(clause: ClauseExplanation, compiled: Compiled, trace: Trace) -> Iterator[str]:
    score = clause.score
    yield f"    {_place(clause, compiled)}: {_text(clause.term.extent, compiled)}: {score.verdict}"
    if score.reason is not None:
        yield f"      {score.reason}"
    if clause.term.eased:
        by = ", ".join(f"`{waiver.by}`" for waiver in clause.term.eased)
        yield f"      room is made in it by permission {by}, where that counts"
    response = trace.response or ""
    for found in score.evidence:
        text = response[found.start : found.end]
        if text and len(text) < len(response):
            shown = text if len(text) <= 60 else text[:60] + "..."
            yield f"      characters {found.start + 1} to {found.end} of the answer: {_quoted(shown)}"
    for atom in clause.said:
        if score.verdict == "violated" and atom.decides:
            if atom.is_event and score.reason is not None:
                continue  # the message above is what would have to be otherwise
            wanted = "if not" if _value_of_words(atom, compiled) else "if"
            yield f"      would be kept {wanted}: {_words(atom, compiled)} ({_value(atom)})"
        elif score.verdict == "satisfied" and atom.is_near_miss:
            yield f"      near miss: {_words(atom, compiled)} ({_value(atom)})"


def _value_of_words(atom: Atom, compiled: Compiled) -> bool | None:
    """The value of what the author wrote there. A negation before a comparison is compiled into it: of `must not have
    more than 2 words` the statement is that there are at most 2, and the words are `have more than 2 words`."""
    if atom.value is None or atom.extent is None or not (atom.operator or atom.is_event) or compiled.module is None:
        return atom.value
    around = (
        node
        for item in compiled.module.items
        if item.span.start <= atom.extent.start and atom.extent.end <= item.span.end
        for node in ast.walk(item)
        if node.span.start <= atom.extent.start and atom.extent.end <= node.span.end
    )
    return atom.value is (sum(map(_is_negation, around)) % 2 == 0)


def _is_negation(node: ast.Node) -> bool:
    if isinstance(node, ast.Norm):
        return node.modality.word in (ast.RuleWord.MUST_NOT, ast.RuleWord.SHOULD_NOT)
    return isinstance(node, (ast.Not, ast.VerbNot)) or getattr(node, "negated", False) is True


def _words(atom: Atom, compiled: Compiled) -> str:
    if atom.extent is None:
        return f"`{atom.fact}`" if atom.fact is not None else "this"
    return _text(atom.extent, compiled)


def _text(extent: Extent, compiled: Compiled) -> str:
    return " ".join(compiled.source.text[extent.start : extent.end].split())


def _place(clause: ClauseExplanation, compiled: Compiled) -> str:
    """The line of a sentence, with the file where it is not that of the policy."""
    path, where = place(compiled.source, Span(clause.term.extent.start, clause.term.extent.end))
    return f"line {where.line}" if path == compiled.source.path else f"{path}, line {where.line}"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


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
    term = found.clauses[0].term
    return {
        "rule": found.rule,
        "level": found.level,
        "verdict": found.verdict,
        "reason": found.reason,
        "waived_by": _waiver_data(found.waiver),
        "undecided_by": _waiver_data(found.open_waiver),
        "on_violation": None if term.action is None else {"action": term.action, "message": term.action_message},
        "clauses": [_clause_data(clause, compiled) for clause in found.clauses],
    }


def _waiver_data(waiver: Waiver | None) -> dict[str, str] | None:
    return None if waiver is None else {"name": waiver.by, "reason": waiver.reason}


def _clause_data(clause: ClauseExplanation, compiled: Compiled) -> dict[str, Any]:
    path, where = place(compiled.source, Span(clause.term.extent.start, clause.term.extent.end))
    return {
        "term": clause.term.id,
        "path": path,
        "line": where.line,
        "verdict": str(clause.score.verdict),
        "reason": clause.score.reason,
        "evidence": [[found.start, found.end] for found in clause.score.evidence],
        "said": [_atom_data(atom, clause, compiled) for atom in clause.said],
        "where": [_atom_data(atom, clause, compiled) for atom in clause.where],
    }


def _atom_data(atom: Atom, clause: ClauseExplanation, compiled: Compiled) -> dict[str, Any]:
    return {
        "words": _suite(clause, compiled, True) if atom.is_suite else _words(atom, compiled),
        "value": _value_of_words(atom, compiled),
        "reason": atom.reason,
        "decides": atom.decides,
        "measured": None if atom.numbers is None else atom.numbers[0],
        "bound": None if atom.numbers is None else atom.numbers[1],
        "near_miss": atom.is_near_miss,
    }
