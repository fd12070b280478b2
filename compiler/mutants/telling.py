"""The shortest example that tells a mutant from the policy: the one that an author would have to add.

For a sentence about the answer alone it is a shortest text in the difference of the two automata. Everywhere else it is
looked for: in small conversations whose texts and facts are taken from what the two versions ask for, and in the
conversations that the author wrote, with one thing changed. Whatever is found is held against both versions by the
reference evaluator; only what they judge differently is shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice, product

from bylaw.compiler.analysis import example_verdict
from bylaw.compiler.mutants.same import situated
from bylaw.compiler.mutants.values import FactValues, Values, differing_texts, values_of
from bylaw.compiler.program import RewardTerm
from bylaw.spec.expression import Extent
from bylaw.spec.regulator import ExampleVerdict, PolicyExample, RegulatorSet
from bylaw.spec.trace import FactValue, Message, tool_call

MOST_TRIED = 2_000
"""Conversations that are held against both versions of a rule."""
MOST_OF_GRID = 800
MOST_WORDS = 20
_VERDICTS: tuple[ExampleVerdict, ...] = ("complies", "violates", "skips", "waived")
_NOWHERE = Extent(0, 0)


@dataclass(frozen=True, slots=True)
class Telling:
    """An example that the policy judges one way (`example.verdict`) and a mutant another way (`mutant`)."""

    example: PolicyExample
    mutant: str


def tell_by_text(rule: str, ours: Sequence[RewardTerm], theirs: Sequence[RewardTerm]) -> Telling | None:
    """A text of which two versions of a rule say different things; None where none was found."""
    for texts in differing_texts(_only(ours, theirs), _only(theirs, ours)):
        found = _shortest((_text(rule, text) for text in texts), ours, theirs)
        if found is not None:
            return found
    return None


def tell_by_conversation(
    rule: str, ours: Sequence[RewardTerm], theirs: Sequence[RewardTerm], policy: RegulatorSet
) -> Telling | None:
    """The shortest conversation, of those that are tried, of which two versions of a rule say different things.

    `policy` holds what the author wrote: its conversations are tried with one change each. None where none was found.
    """
    values = values_of((*ours, *theirs), _only(ours, theirs), _only(theirs, ours))
    found = _shortest((_text(rule, text) for text in values.responses), ours, theirs)
    return found or _shortest(islice(_conversations(rule, values, policy), MOST_TRIED), ours, theirs)


def _shortest(
    examples: Iterable[PolicyExample], ours: Sequence[RewardTerm], theirs: Sequence[RewardTerm]
) -> Telling | None:
    """The shortest of some examples that tells two versions of a rule apart; one that gives all facts comes first,
    because what follows from a fact that is not given is nobody's point."""
    different = {(each.messages, each.facts): each for each in examples}
    for example in sorted(different.values(), key=lambda example: (-len(example.facts), _length(example))):
        telling = _told(example, tuple(ours), tuple(theirs))
        if telling is not None:
            return telling
    return None


def _only(ours: Sequence[RewardTerm], theirs: Sequence[RewardTerm]) -> tuple[RewardTerm, ...]:
    """The sentences that the other version does not have, wherever they are written."""
    known = set(situated(theirs))
    return tuple(term for term in ours if term.holds is not None and situated((term,))[0] not in known)


def _told(example: PolicyExample, ours: tuple[RewardTerm, ...], theirs: tuple[RewardTerm, ...]) -> Telling | None:
    """The example with the verdict of the policy, where the mutant gives another one."""
    said, other = example_verdict(example, ours).verdict, example_verdict(example, theirs).verdict
    for verdict in _VERDICTS:
        if said == verdict and other != verdict and other in _VERDICTS:
            return Telling(replace(example, verdict=verdict), other)
    return None


def _length(example: PolicyExample) -> tuple[int, int]:
    things = 0 if example.is_text else len(example.messages) + len(example.facts)
    return things, sum(len(message.content) for message in example.messages)


def _example(
    rule: str, messages: tuple[Message, ...], facts: Mapping[str, FactValue], is_text: bool = False
) -> PolicyExample:
    return PolicyExample(rule, "complies", messages, _NOWHERE, tuple(facts.items()), None, is_text)


def _text(rule: str, text: str) -> PolicyExample:
    return _example(rule, (Message("assistant", text),), {}, is_text=True)


# --------------------------------------------------------------------------------------------------- conversations
def _conversations(rule: str, values: Values, policy: RegulatorSet) -> Iterator[PolicyExample]:
    yield from islice(_grid(rule, values), MOST_OF_GRID)
    for messages, facts in _written(rule, policy):
        for changed in _neighbours(messages, values):
            yield _example(rule, changed, facts)
        for other in _other_facts(facts, values.facts):
            yield _example(rule, messages, other)


def _grid(rule: str, values: Values) -> Iterator[PolicyExample]:
    """A question and an answer, with what is said and known before."""
    names = tuple(values.facts)
    said = (values.systems, values.developers, values.prompts, values.responses)
    choices: list[Sequence[FactValue | None]] = [(*values.facts[name],) for name in names]
    for found in product(*said, *choices):
        system, developer, prompt, response = (text for text in found[:4])
        roles = (("system", system), ("developer", developer), ("user", prompt), ("assistant", response))
        messages = tuple(Message(role, str(text)) for role, text in roles if text is not None)
        facts = {name: value for name, value in zip(names, found[4:], strict=True) if value is not None}
        yield _example(rule, messages, facts)


def _written(rule: str, policy: RegulatorSet) -> Iterator[tuple[tuple[Message, ...], dict[str, FactValue]]]:
    """The conversations that the author wrote about a rule, shortest first."""
    found = [(each.messages, dict(each.facts)) for each in policy.examples if each.rule == rule and not each.is_text]
    found += [
        (test.messages[: expectation.steps], dict(test.facts))
        for test in policy.tests
        for expectation in test.expectations
        if not expectation.rules or rule in expectation.rules
    ]
    yield from sorted(found, key=lambda each: sum(len(message.content) for message in each[0]))


def _neighbours(messages: tuple[Message, ...], values: Values) -> Iterator[tuple[Message, ...]]:
    """A conversation with one message more, less or different; it ends with what the assistant says or does."""
    beginnings = _beginnings(messages)
    for place, message in enumerate(messages):
        before, after = messages[:place], messages[place + 1 :]
        others = [(), (message, message), *((other,) for other in _variants(message, values))]
        if message.kind == "message":
            others += [(replace(message, content=text),) for text in beginnings]
        for other in others:
            changed = (*before, *other, *after)
            if changed and changed[-1].role == "assistant":
                yield changed
    for place in range(len(messages) - 1):
        swapped = (*messages[:place], messages[place + 1], messages[place], *messages[place + 2 :])
        if swapped[-1].role == "assistant":
            yield swapped


def _beginnings(messages: tuple[Message, ...]) -> tuple[str, ...]:
    """The first words of what is said in a conversation: so many, and one more."""
    found: dict[str, None] = {}
    for message in messages:
        words = message.content.split(" ")
        found.update(dict.fromkeys(" ".join(words[:count]) for count in range(1, min(len(words), MOST_WORDS) + 1)))
    return tuple(found)


def _variants(message: Message, values: Values) -> Iterator[Message]:
    """Other messages in place of one: another text, another tool, another value of an argument."""
    if message.kind != "call":
        said = {"user": values.prompts, "assistant": values.responses, "system": values.systems}
        texts: Iterable[str | None] = (*values.events, *said.get(message.role, ()))
        for text in texts:
            if text is not None:
                yield replace(message, content=text)
        for tool in values.tools if message.kind == "output" else ():
            yield replace(message, tool=tool)
        return
    arguments = dict(message.arguments)
    for tool in values.tools:
        yield tool_call(tool, arguments)
    for name in arguments:
        texts = values.events if isinstance(arguments[name], str) else ()
        for value in (*values.arguments.get(name, ()), *texts):
            yield tool_call(message.tool, {**arguments, name: value})
    for name, known in values.arguments.items():
        for value in known if name not in arguments else ():
            yield tool_call(message.tool, {**arguments, name: value})


def _other_facts(facts: Mapping[str, FactValue], known: FactValues) -> Iterator[dict[str, FactValue]]:
    for name, values in known.items():
        for value in values:
            rest = {each: fact for each, fact in facts.items() if each != name}
            yield rest if value is None else {**rest, name: value}


# ----------------------------------------------------------------------------------------------------------- syntax
def as_syntax(example: PolicyExample) -> str:
    """An example as an author writes it in its rule."""
    from bylaw.spec import ast
    from bylaw.spec.printer import to_text
    from bylaw.spec.source import Span

    nowhere = Span(0, 0)

    def literal(value: FactValue) -> ast.Literal:
        if isinstance(value, bool):
            return ast.Bool(value, nowhere)
        if isinstance(value, str):
            return ast.Text(value, nowhere)
        whole = value == int(value)
        return ast.Number(int(value) if whole else value, False, nowhere)

    def step(message: Message) -> ast.Step:
        if message.kind == "output":
            return ast.ToolResultTurn(ast.Name(message.tool, nowhere), ast.Text(message.content, nowhere), nowhere)
        role = ast.Role(message.role)
        if message.kind == "message":
            return ast.Turn(role, ast.Text(message.content, nowhere), nowhere)
        named = tuple(
            ast.Argument(ast.Name(name, nowhere), literal(value), nowhere) for name, value in message.arguments
        )
        return ast.ToolCallTurn(role, ast.Name(message.tool, nowhere), named, nowhere)

    given = [ast.Given(ast.Name(name, nowhere), literal(value), nowhere) for name, value in example.facts]
    content: ast.Text | ast.Conversation = ast.Text(example.messages[-1].content, nowhere)
    if not example.is_text:
        content = ast.Conversation((*given, *map(step, example.messages)), nowhere)
    made = ast.Example(ast.ExpectedVerdict(example.verdict), content, None, nowhere)
    module = ast.Module(None, (ast.ExamplesDecl((), ast.Name("r", nowhere), (made,), nowhere),), nowhere)
    lines = to_text(module).splitlines()[1:-1]
    return "\n".join(line.removeprefix("  ") for line in lines)
