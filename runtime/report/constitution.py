"""A policy as a document that people read: its rules by level, in the author's words, with reasons and examples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from bylaw.compiler.pipeline import Compiled
from bylaw.runtime.report.text import block, one_line
from bylaw.spec import ast
from bylaw.spec.expression import Concept, Extent
from bylaw.spec.regulator import PolicyExample, PolicyException, Regulator
from bylaw.spec.trace import Message

VERDICTS: Mapping[str, str] = MappingProxyType(
    {
        "complies": "Keeps the rule",
        "violates": "Breaks the rule",
        "skips": "The rule does not apply",
        "waived": "The rule is lifted",
    }
)


@dataclass(frozen=True, slots=True)
class ExceptionEntry:
    """Where a rule (or an exception to it) does not count."""

    name: str
    level: str
    where: tuple[str, ...]
    because: str | None
    exceptions: tuple[ExceptionEntry, ...]


@dataclass(frozen=True, slots=True)
class ExampleEntry:
    """One example: what it shows, the facts, and who says what."""

    shows: str
    facts: tuple[str, ...]
    turns: tuple[tuple[str, str], ...]
    note: str | None


@dataclass(frozen=True, slots=True)
class RuleEntry:
    """One rule."""

    name: str
    title: str | None
    because: str | None
    sources: tuple[str, ...]
    where: tuple[str, ...]
    sentences: tuple[str, ...]
    remarks: tuple[str, ...]
    exceptions: tuple[ExceptionEntry, ...]
    examples: tuple[ExampleEntry, ...]


@dataclass(frozen=True, slots=True)
class Constitution:
    """The whole document; `levels` are (level, its rules), strongest first, levels without rules left out."""

    policy: str
    version: str
    chain: tuple[str, ...]
    levels: tuple[tuple[str, tuple[RuleEntry, ...]], ...]
    words: tuple[tuple[str, str], ...]
    concepts: tuple[Concept, ...]
    suites: tuple[tuple[str, str], ...]
    tests: tuple[str, ...]


def constitution(compiled: Compiled) -> Constitution:
    """The document of a sound policy. Raises PolicyError when it is not sound."""
    compiled.require()
    assert compiled.regulators is not None
    return _Writer(compiled).write()


@dataclass(frozen=True)
class _Writer:
    compiled: Compiled

    def write(self) -> Constitution:
        policy = self.compiled.regulators
        assert policy is not None
        rules: dict[str, list[Regulator]] = {}
        for regulator in policy.regulators:
            rules.setdefault(regulator.rule, []).append(regulator)
        by_level = {
            level: tuple(self._rule(name, parts) for name, parts in rules.items() if parts[0].level == level)
            for level in policy.levels
        }
        items = self.compiled.module.items
        return Constitution(
            policy=policy.policy,
            version=policy.version,
            chain=policy.levels,
            levels=tuple((level, entries) for level, entries in by_level.items() if entries),
            words=tuple(self._vocabulary(items)),
            concepts=policy.concepts,
            suites=tuple((suite.name, _suite(len(suite.prompts), suite.description)) for suite in policy.suites),
            tests=tuple(test.title for test in policy.tests),
        )

    def _rule(self, name: str, parts: Sequence[Regulator]) -> RuleEntry:
        policy = self.compiled.regulators
        assert policy is not None
        first = parts[0]
        return RuleEntry(
            name=name,
            title=first.title,
            because=first.because,
            sources=first.sources,
            where=self._where(name),
            sentences=tuple(dict.fromkeys(self._words(part.extent) for part in parts)),
            remarks=tuple(_remarks(first)),
            exceptions=self._exceptions(name, policy.exceptions, frozenset()),
            examples=tuple(_example(each) for each in policy.examples if each.rule == name),
        )

    def _exceptions(
        self, target: str, known: Iterable[PolicyException], seen: frozenset[str]
    ) -> tuple[ExceptionEntry, ...]:
        known = tuple(known)
        return tuple(
            ExceptionEntry(
                each.name,
                each.level,
                self._where(each.name),
                each.because,
                self._exceptions(each.name, known, seen | {each.name}),
            )
            for each in known
            if each.target == target and each.name not in seen
        )

    def _where(self, name: str) -> tuple[str, ...]:
        """The conditions of a rule or an exception of this file, in its author's words."""
        for item in self.compiled.module.items:
            if isinstance(item, (ast.RuleDecl, ast.ExceptionDecl)) and item.name.text == name:
                clauses = [clause for clause in item.clauses if isinstance(clause, (ast.When, ast.Unless))]
                return tuple(self._words(Extent(clause.span.start, clause.span.end)) for clause in clauses)
        return ()

    def _vocabulary(self, items: Iterable[ast.Item]) -> Iterable[tuple[str, str]]:
        for item in items:
            if isinstance(item, (ast.LexiconDecl, ast.DefineDecl, ast.ParamDecl)):
                yield item.name.text, self._words(Extent(item.span.start, item.span.end))

    def _words(self, extent: Extent) -> str:
        return " ".join(self.compiled.source.text[extent.start : extent.end].split())


def _remarks(rule: Regulator) -> Iterable[str]:
    waivable = rule.waivable
    if waivable.never:
        yield "Nothing lifts this rule."
    if waivable.by:
        yield f"Can be lifted by: {', '.join(waivable.by)}."
    if waivable.implicitly:
        yield "Can be lifted by what the conversation makes plain."
    if rule.overrides:
        yield f"Wins over: {', '.join(rule.overrides)}."
    if rule.on_violation is not None:
        message = f', saying "{rule.on_violation.message}"' if rule.on_violation.message else ""
        yield f"When an answer breaks it: {rule.on_violation.action}{message}."


def _suite(prompts: int, description: str | None) -> str:
    return f"{prompts} prompts" + ("" if description is None else f": {description}")


def _example(example: PolicyExample) -> ExampleEntry:
    facts = tuple(f"{name} = {value}" for name, value in example.facts)
    return ExampleEntry(VERDICTS[example.verdict], facts, tuple(map(_turn, example.messages)), example.note)


def _turn(message: Message) -> tuple[str, str]:
    if message.kind == "call":
        arguments = ", ".join(f"{name}: {value}" for name, value in message.arguments)
        return message.role, f"calls {message.tool}({arguments})"
    return (f"tool {message.tool}" if message.kind == "output" else message.role), message.content


# -------------------------------------------------------------------------------------------------------- Markdown
def to_markdown(document: Constitution) -> str:
    """The document as Markdown; what the author wrote stands in code spans and quotations, so that it stays text."""
    lines = [f"# {one_line(document.policy)} {one_line(document.version)}", ""]
    lines += [f"Chain of command, strongest first: {' > '.join(document.chain)}.", ""]
    for level, rules in document.levels:
        lines += [f"## Rules at level {level}", ""]
        for rule in rules:
            lines += [*_rule_lines(rule), ""]
    if document.words or document.concepts:
        lines += ["## Words of this policy", ""]
        lines += [f"* {one_line(name)}: {_code(text)}" for name, text in document.words]
        lines += [f"* {one_line(c.name)}: {one_line(c.meaning)}" for c in document.concepts]
        lines.append("")
    if document.suites:
        lines += ["## Suites", "", *(f"* {name}: {one_line(text)}" for name, text in document.suites), ""]
    if document.tests:
        lines += ["## Tests", "", *(f"* {one_line(title)}" for title in document.tests), ""]
    return "\n".join(lines).rstrip("\n") + "\n"


def _rule_lines(rule: RuleEntry) -> list[str]:
    lines = [f"### {one_line(rule.title or rule.name)}", ""]
    if rule.title is not None:
        lines += [f"Rule {_code(rule.name)}.", ""]
    if rule.because is not None:
        lines += [f"Because: {one_line(rule.because)}", ""]
    lines += [f"* Only {_code(where)}" for where in rule.where]
    lines += [f"* {_code(sentence)}" for sentence in rule.sentences]
    lines += [f"* {one_line(remark)}" for remark in rule.remarks]
    lines += [f"* Source: {one_line(source)}" for source in rule.sources]
    lines += [line for each in rule.exceptions for line in _exception_lines(each, "")]
    for example in rule.examples:
        note = "" if example.note is None else f" ({one_line(example.note)})"
        given = "" if not example.facts else f" Given {', '.join(map(_code, example.facts))}."
        lines += ["", f"{example.shows}{note}.{given}", ""]
        said = "\n".join(block(f"{role}: {text}") for role, text in example.turns)
        fence = "```"
        while fence in said:
            fence += "`"
        lines += [f"{fence}text", said, fence]
    return lines


def _exception_lines(entry: ExceptionEntry, indent: str) -> list[str]:
    where = f": {'; '.join(map(_code, entry.where))}" if entry.where else " everywhere"
    because = "" if entry.because is None else f" Because: {one_line(entry.because)}"
    inner = [line for each in entry.exceptions for line in _exception_lines(each, indent + "  ")]
    return [f"{indent}* Except {_code(entry.name)} (at {entry.level}){where}.{because}", *inner]


def _code(text: str) -> str:
    """A code span that holds any text on one line."""
    shown = " ".join(text.split())
    ticks = "`"
    while ticks in shown:
        ticks += "`"
    space = " " if shown.startswith("`") or shown.endswith("`") else ""
    return f"{ticks}{space}{shown}{space}{ticks}"


# ------------------------------------------------------------------------------------------------------------ HTML
def to_html(document: Constitution) -> str:
    """The document as one page that needs nothing else."""
    from bylaw.runtime.report.html import environment

    return environment().get_template("constitution.html.j2").render({"document": document})
