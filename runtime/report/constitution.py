"""A policy as a document that people read: its rules by level, in the author's words, with reasons and examples."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

from bylaw.compiler.pipeline import Compiled
from bylaw.compiler.program import Waiver
from bylaw.runtime.report.policy_files import Declared, PolicyFiles
from bylaw.spec import ast
from bylaw.spec.expression import Concept, Extent
from bylaw.spec.imports import names
from bylaw.spec.literate import headings
from bylaw.spec.regulator import PolicyExample, PolicyException, Regulator, RegulatorSet
from bylaw.spec.source import code_blocks
from bylaw.spec.templates import name_of
from bylaw.spec.trace import Message, written

VERDICTS: Mapping[str, str] = MappingProxyType(
    {
        "complies": "Keeps the rule",
        "violates": "Breaks the rule",
        "skips": "The rule does not apply",
        "waived": "The rule is lifted",
    }
)

LIFTING: Mapping[str, str] = MappingProxyType(
    {
        "permission": "the permission",
        "override": "the rule that overrides it,",
        "level": "a rule of a stronger level,",
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
class LiftEntry:
    """What lifts a rule besides its exceptions: a permission, a rule that overrides it, or one of a stronger level.

    `how` completes "Lifted by ..."; `where` is where that counts, nothing for everywhere.
    """

    how: str
    name: str
    level: str
    where: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RuleEntry:
    """One rule; `origin` is the rule with parameters, or of another file, that it is made from."""

    name: str
    level: str
    title: str | None
    origin: str | None
    because: str | None
    sources: tuple[str, ...]
    where: tuple[str, ...]
    sentences: tuple[str, ...]
    remarks: tuple[str, ...]
    exceptions: tuple[ExceptionEntry, ...]
    lifted_by: tuple[LiftEntry, ...]
    examples: tuple[ExampleEntry, ...]


@dataclass(frozen=True, slots=True)
class Passage:
    """A stretch of prose of a literate policy, and what the block behind it holds; `depth` is that of its heading.

    `is_opening` says that the block names the policy or its levels.
    """

    prose: str
    depth: int
    is_opening: bool = False
    rules: tuple[RuleEntry, ...] = ()
    words: tuple[tuple[str, str], ...] = ()
    concepts: tuple[Concept, ...] = ()
    suites: tuple[tuple[str, str], ...] = ()
    tests: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Constitution:
    """The whole document; `levels` are (level, its rules), strongest first, levels without rules left out.

    `borrowed` are those of `words`, and `borrowed_concepts` those of `concepts`, that stand in other files.
    `passages` are there for a literate policy.
    """

    policy: str
    version: str
    chain: tuple[str, ...]
    levels: tuple[tuple[str, tuple[RuleEntry, ...]], ...]
    words: tuple[tuple[str, str], ...]
    concepts: tuple[Concept, ...]
    suites: tuple[tuple[str, str], ...]
    tests: tuple[str, ...]
    borrowed: tuple[tuple[str, str], ...] = ()
    borrowed_concepts: tuple[Concept, ...] = ()
    passages: tuple[Passage, ...] = ()


def constitution(compiled: Compiled) -> Constitution:
    """The document of a sound policy. Raises PolicyError when it is not sound."""
    compiled.require()
    assert compiled.regulators is not None
    return _Writer(compiled).write()


@dataclass(frozen=True)
class _Writer:
    compiled: Compiled

    @cached_property
    def files(self) -> PolicyFiles:
        return PolicyFiles(self.compiled)

    @cached_property
    def policy(self) -> RegulatorSet:
        assert self.compiled.regulators is not None
        return self.compiled.regulators

    @cached_property
    def waivers(self) -> Mapping[str, tuple[Waiver, ...]]:
        """What lifts each rule, or a sentence of it, each once; exceptions are told apart."""
        program = self.compiled.program or self.compiled.draft
        found: dict[str, dict[tuple[str, str], Waiver]] = {}
        for term in () if program is None else program.terms:
            for waiver in term.waivers:
                if waiver.reason != "exception":
                    found.setdefault(term.rule, {}).setdefault((waiver.by, waiver.reason), waiver)
        return {rule: tuple(each.values()) for rule, each in found.items()}

    @cached_property
    def entries(self) -> Mapping[str, RuleEntry]:
        """All rules by name, in the order of the files."""
        rules: dict[str, list[Regulator]] = {}
        for regulator in self.policy.regulators:
            rules.setdefault(regulator.rule, []).append(regulator)
        return {name: self._rule(name, parts) for name, parts in rules.items()}

    def write(self) -> Constitution:
        policy, items = self.policy, self.compiled.module.items
        levels = (
            (level, tuple(entry for entry in self.entries.values() if entry.level == level)) for level in policy.levels
        )
        used = tuple(self.files.vocabulary())
        words = tuple(self._vocabulary(Declared(item, self.files.main) for item in items))
        borrowed = tuple(self._vocabulary(used))
        borrowed_concepts = tuple(_concept(each) for each in used if isinstance(each.item, ast.ConceptDecl))
        return Constitution(
            policy=policy.policy,
            version=policy.version,
            chain=policy.levels,
            levels=tuple((level, entries) for level, entries in levels if entries),
            words=(*words, *borrowed),
            concepts=(*policy.concepts, *borrowed_concepts),
            suites=tuple((suite.name, _suite(len(suite.prompts), suite.description)) for suite in policy.suites),
            tests=tuple(test.title for test in policy.tests),
            borrowed=borrowed,
            borrowed_concepts=borrowed_concepts,
            passages=tuple(self._passages()),
        )

    def _rule(self, name: str, parts: Sequence[Regulator]) -> RuleEntry:
        first, said = parts[0], self.files.said(name)
        lifted = [rule for rule, found in self.waivers.items() if any(_is_permission(each, name) for each in found)]
        return RuleEntry(
            name=name,
            level=first.level,
            title=first.title,
            origin=said.origin,
            because=first.because,
            sources=first.sources,
            where=said.where,
            sentences=said.sentences or tuple(dict.fromkeys(self._words(part.extent) for part in parts)),
            remarks=(*_remarks(first, lifted), *_prices(parts)),
            exceptions=self._exceptions(name, self.policy.exceptions, frozenset()),
            lifted_by=tuple(self._lift(waiver) for waiver in self.waivers.get(name, ())),
            examples=tuple(_example(each) for each in self.policy.examples if each.rule == name),
        )

    def _lift(self, waiver: Waiver) -> LiftEntry:
        level = next((each.level for each in self.policy.regulators if each.rule == waiver.by), "")
        where = () if waiver.where is None else self.files.said(waiver.by).where
        return LiftEntry(LIFTING[waiver.reason], waiver.by, level, where)

    def _exceptions(
        self, target: str, known: Iterable[PolicyException], seen: frozenset[str]
    ) -> tuple[ExceptionEntry, ...]:
        known = tuple(known)
        return tuple(
            ExceptionEntry(
                each.name,
                each.level,
                self.files.said(each.name).where,
                each.because,
                self._exceptions(each.name, known, seen | {each.name}),
            )
            for each in known
            if each.target == target and each.name not in seen
        )

    def _vocabulary(self, declared: Iterable[Declared]) -> Iterator[tuple[str, str]]:
        for each in declared:
            if isinstance(each.item, (ast.LexiconDecl, ast.DefineDecl, ast.ParamDecl)):
                here = "" if each.value is None else f", here {each.value}"
                yield each.prefix + each.item.name.text, self.files.phrase(each.item, each) + here

    def _words(self, extent: Extent) -> str:
        return " ".join(self.compiled.source.text[extent.start : extent.end].split())

    # ------------------------------------------------------------------------------------------ literate policies
    def _passages(self) -> Iterator[Passage]:
        """The prose of a literate policy, in the order of the file; nothing for another one."""
        document = self.compiled.source.document
        if document is None:
            return
        found = headings(document)
        starts = [heading.start for heading in found]
        position = 0
        for fence in code_blocks(document):
            opening = document.rfind("\n", 0, max(fence.start - 1, 0)) + 1
            index = bisect_right(starts, opening) - 1
            items = [item for item in self.files.main.module.items if fence.start <= item.span.start < fence.end]
            header = self.files.main.module.header
            is_opening = header is not None and fence.start <= header.span.start < fence.end
            is_opening |= any(isinstance(item, ast.LevelsDecl) for item in items)
            depth = found[index].depth if index >= 0 else 1
            yield self._passage(document[position:opening], depth, is_opening, items)
            closed = document.find("\n", fence.end)
            position = len(document) if closed < 0 else closed + 1
        yield Passage(document[position:], 1)

    def _passage(self, prose: str, depth: int, is_opening: bool, items: Sequence[ast.Item]) -> Passage:
        concepts = {item.name.text for item in items if isinstance(item, ast.ConceptDecl)}
        suites = {item.name.text: item for item in items if isinstance(item, ast.SuiteDecl)}
        return Passage(
            prose=prose,
            depth=depth,
            is_opening=is_opening,
            rules=tuple(entry for item in items for entry in self._rules_of(item)),
            words=tuple(self._vocabulary(Declared(item, self.files.main) for item in items)),
            concepts=tuple(each for each in self.policy.concepts if each.name in concepts),
            suites=tuple(
                (suite.name, _suite(len(suite.prompts), suite.description))
                for suite in self.policy.suites
                if suite.name in suites
            ),
            tests=tuple(item.title.value for item in items if isinstance(item, ast.TestDecl)),
        )

    def _rules_of(self, item: ast.Item) -> tuple[RuleEntry, ...]:
        """The rules that an item puts in force."""
        if isinstance(item, ast.ImportDecl) and item.is_include:
            prefix = f"{names(item)[0]}."
            return tuple(entry for name, entry in self.entries.items() if name.startswith(prefix))
        if isinstance(item, ast.RuleDecl | ast.ApplyDecl):
            name = item.name.text if isinstance(item, ast.RuleDecl) else name_of(item).text
            return (self.entries[name],) if name in self.entries else ()
        return ()


def _is_permission(waiver: Waiver, name: str) -> bool:
    return waiver.reason == "permission" and waiver.by == name


def _concept(declared: Declared) -> Concept:
    """A concept of another file, under the name that it has in this one."""
    item = declared.item
    assert isinstance(item, ast.ConceptDecl)
    return Concept(
        name=declared.prefix + item.name.text,
        meaning=item.meaning.value,
        is_topic=item.is_topic,
        like=tuple(each.text.value for each in item.clauses if isinstance(each, ast.Like)),
        unlike=tuple(each.text.value for each in item.clauses if isinstance(each, ast.Unlike)),
    )


def _remarks(rule: Regulator, lifted: Sequence[str]) -> Iterable[str]:
    waivable = rule.waivable
    if waivable.never:
        yield "Nothing lifts this rule."
    if waivable.by:
        yield f"Can be lifted by: {', '.join(waivable.by)}."
    if waivable.implicitly:
        yield "Can be lifted by what the conversation makes plain."
    if lifted:
        yield f"Lifts: {', '.join(lifted)}."
    if rule.overrides:
        yield f"Wins over: {', '.join(rule.overrides)}."
    if rule.on_violation is not None:
        message = f', saying "{rule.on_violation.message}"' if rule.on_violation.message else "."
        yield f"When an answer breaks it: {rule.on_violation.action}{message}"


def _prices(parts: Sequence[Regulator]) -> Iterator[str]:
    """What keeping the limits of a rule may cost, which may be said of its level and not in its own words."""
    for price in dict.fromkeys(part.price for part in parts if part.price is not None):
        yield f"Gives way where keeping it would cost more than {price:g} nats for each unit of what it limits."


def _suite(prompts: int, description: str | None) -> str:
    return f"{prompts} prompts" + ("" if description is None else f": {description}")


def _example(example: PolicyExample) -> ExampleEntry:
    facts = tuple(f"{name} = {written(value)}" for name, value in example.facts)
    return ExampleEntry(VERDICTS[example.verdict], facts, tuple(map(_turn, example.messages)), example.note)


def _turn(message: Message) -> tuple[str, str]:
    if message.kind == "call":
        arguments = ", ".join(f"{name}: {written(value)}" for name, value in message.arguments)
        return message.role, f"calls {message.tool}({arguments})"
    return (f"tool {message.tool}" if message.kind == "output" else message.role), message.content


def to_markdown(document: Constitution) -> str:
    """The document as Markdown; that of a literate policy is its own text, with each block as rules for people."""
    from bylaw.runtime.report.constitution_markdown import markdown

    return markdown(document)


def to_html(document: Constitution) -> str:
    """The document as one page that needs nothing else."""
    from bylaw.runtime.report.html import environment

    return environment().get_template("constitution.html.j2").render({"document": document})
