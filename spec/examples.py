"""Resolving examples and tests: texts and conversations, and what the author says of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from bylaw.spec import ast, lookup
from bylaw.spec.errors import Label
from bylaw.spec.expression import Extent
from bylaw.spec.regulator import ExampleVerdict, Expectation, PolicyExample, PolicyTest
from bylaw.spec.scope import FACT_ROOTS, Messages, Scope, Unresolved
from bylaw.spec.source import Span
from bylaw.spec.trace import FactValue, Message, tool_call


def resolve_examples(
    rule: str, examples: Iterable[ast.Example], scope: Scope, messages: Messages
) -> list[PolicyExample]:
    """The examples of one rule; records a diagnostic for each that cannot be used."""
    made = []
    for example in examples:
        conversation = _Conversation(scope, messages)
        try:
            if isinstance(example.content, ast.Text):
                conversation.spoken.append(Message("assistant", example.content.value))
            else:
                conversation.add(example.content.steps)
                conversation.require_answer(example.content.span)
        except Unresolved:
            continue
        made.append(
            PolicyExample(
                rule=rule,
                verdict=example.verdict.value,
                messages=tuple(conversation.spoken),
                extent=_extent(example.span),
                facts=tuple(conversation.facts.items()),
                note=None if example.note is None else example.note.value,
                is_text=isinstance(example.content, ast.Text),
            )
        )
    return made


def resolve_test(item: ast.TestDecl, scope: Scope, messages: Messages) -> PolicyTest | None:
    """One test; None where a step has no meaning. Whether its rules exist is checked with the whole policy."""
    conversation = _Conversation(scope, messages)
    expectations: list[Expectation] = []
    try:
        for step in item.steps:
            if isinstance(step, ast.Expect):
                conversation.require_answer(step.span)
                verdict: ExampleVerdict = step.verdict.value
                rules = tuple(name.text for name in step.rules)
                expectations.append(Expectation(verdict, rules, len(conversation.spoken), _extent(step.span)))
            else:
                conversation.add((step,))
    except Unresolved:
        return None
    if not expectations:
        note = "say what should come out: `expect complies`, or `expect violates RULE`"
        messages.error("P205", f'test "{item.title.value}" expects nothing', item.title.span, notes=(note,))
        return None
    facts = tuple(conversation.facts.items())
    extent = _extent(item.title.span)
    return PolicyTest(item.title.value, tuple(conversation.spoken), tuple(expectations), extent, facts)


@dataclass
class _Conversation:
    """What has been said and given so far."""

    scope: Scope
    messages: Messages
    spoken: list[Message] = field(default_factory=list)
    facts: dict[str, FactValue] = field(default_factory=dict)
    places: dict[str, Label] = field(default_factory=dict)

    def add(self, steps: Sequence[ast.Step]) -> None:
        """Plays the steps. Raises Unresolved."""
        for step in steps:
            match step:
                case ast.Turn(role, text):
                    self.spoken.append(Message(role.value, text.value))
                case ast.ToolCallTurn():
                    self.spoken.append(self._call(step))
                case ast.ToolResultTurn(tool, text):
                    self.spoken.append(Message("tool", text.value, tool.text))
                case ast.Given():
                    self._give(step)

    def require_answer(self, span: Span) -> None:
        """Records P503 unless the assistant said or did something last. Raises Unresolved."""
        if not self.spoken or self.spoken[-1].role not in ("assistant", "tool"):
            note = "rules are about answers: end with `assistant ...` or a tool call"
            raise self.messages.failure(
                "P503", "nothing can be expected before the assistant has said or done something", span, notes=(note,)
            )

    def _call(self, step: ast.ToolCallTurn) -> Message:
        if step.role is not ast.Role.ASSISTANT:
            raise self.messages.failure("P105", "only the assistant calls tools", step.span)
        arguments: dict[str, FactValue] = {}
        for position, argument in enumerate(step.arguments):
            name = f"argument_{position + 1}" if argument.name is None else argument.name.text
            if name in arguments:
                raise self.messages.failure("P104", f"`{name}` is given twice", argument.span)
            arguments[name] = self._value(argument.value)
        return tool_call(step.tool.text, arguments)

    def _give(self, step: ast.Given) -> None:
        fact = step.fact
        if fact.text in self.facts:
            first = self.places[fact.text]
            raise self.messages.failure("P104", f"`{fact.text}` is given twice", fact.span, secondary=(first,))
        if not lookup.is_fact(ast.Path(fact.text, fact.span)):
            note = f"facts begin with {', '.join(f'`{root}.`' for root in FACT_ROOTS)}"
            raise self.messages.failure("P101", f"`{fact.text}` is not a fact", fact.span, notes=(note,))
        self.places[fact.text] = Label(fact.span, "first here")
        self.facts[fact.text] = self._value(step.value)

    def _value(self, value: ast.Expression) -> FactValue:
        match value:
            case ast.Number():
                return float(value.amount)
            case ast.Text(known) | ast.Bool(known):
                return known
            case ast.Path(text) if text in self.scope.parameters:
                parameter = self.scope.parameters[text]
                if not isinstance(parameter, tuple):
                    return parameter
        raise self.messages.failure("P105", "a value here is a text, a number, `true` or `false`", value.span)


def _extent(span: Span) -> Extent:
    return Extent(span.start, span.end)
