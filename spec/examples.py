"""Resolving the examples of a rule: texts and conversations that the author says comply with it or break it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, cast

from bylaw.spec import ast, lookup
from bylaw.spec.errors import Label
from bylaw.spec.expression import Extent
from bylaw.spec.regulator import PolicyExample
from bylaw.spec.scope import FACT_ROOTS, Messages, Unresolved
from bylaw.spec.trace import FactValue, Message

Facts = tuple[tuple[str, FactValue], ...]


def resolve_examples(rule: str, examples: Iterable[ast.Example], messages: Messages) -> list[PolicyExample]:
    """The examples of one rule; records a diagnostic for each that cannot be used."""
    made = []
    for example in examples:
        if example.verdict is ast.ExpectedVerdict.WAIVED:
            messages.not_supported("`waived` examples are", example.span)
            continue
        verdict = cast(Literal["complies", "violates", "skips"], example.verdict.value)
        note = None if example.note is None else example.note.value
        try:
            spoken, facts = _conversation(example, messages)
        except Unresolved:
            continue
        extent = Extent(example.span.start, example.span.end)
        is_text = isinstance(example.content, ast.Text)
        made.append(PolicyExample(rule, verdict, spoken, extent, facts, note, is_text))
    return made


def _conversation(example: ast.Example, messages: Messages) -> tuple[tuple[Message, ...], Facts]:
    if isinstance(example.content, ast.Text):
        return (Message("assistant", example.content.value),), ()
    spoken: list[Message] = []
    facts: dict[str, FactValue] = {}
    places: dict[str, Label] = {}
    for step in example.content.steps:
        match step:
            case ast.Turn(role, text):
                spoken.append(Message(role.value, text.value))
            case ast.Given(fact, value):
                if fact.text in facts:
                    first = places[fact.text]
                    raise messages.failure("P104", f"`{fact.text}` is given twice", fact.span, secondary=(first,))
                places[fact.text] = Label(fact.span, "first here")
                facts[fact.text] = _given(fact, value, messages)
            case _:
                raise messages.not_supported("tool calls in examples are", step.span)
    if not spoken or spoken[-1].role != "assistant":
        raise messages.failure("P503", "an example ends with what the assistant says", example.content.span)
    return tuple(spoken), tuple(facts.items())


def _given(fact: ast.Name, value: ast.Literal, messages: Messages) -> FactValue:
    if not lookup.is_fact(ast.Path(fact.text, fact.span)):
        note = f"facts begin with {', '.join(f'`{root}.`' for root in FACT_ROOTS)}"
        raise messages.failure("P101", f"`{fact.text}` is not a fact", fact.span, notes=(note,))
    match value:
        case ast.Number():
            return float(value.amount)
        case ast.Text(known) | ast.Bool(known):
            return known
    raise messages.failure("P105", "a fact is a text, a number, `true` or `false`", value.span)
