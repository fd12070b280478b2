"""Resolving a policy: Module -> RegulatorSet.

Every name is looked up, every type checked, every definition unfolded. What the language has but this version cannot
resolve yet is an error with a span (P901): a policy is never loaded with a part of it left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import NoReturn

from bylaw.spec import ast
from bylaw.spec.declarations import build_scope
from bylaw.spec.errors import Diagnostic
from bylaw.spec.expression import (
    Arithmetic,
    BooleanExpression,
    Extent,
    NumberConstant,
    conjunction,
    negate,
    reads_response,
)
from bylaw.spec.permissions import lift
from bylaw.spec.regulator import Modality, PolicyExample, Regulator, RegulatorSet, Sense
from bylaw.spec.scope import FACT_ROOTS, Messages, Scope, Unresolved
from bylaw.spec.sentences import Sentences
from bylaw.spec.source import Span
from bylaw.spec.trace import FactValue, Message

DEFAULT_WEIGHT = 1.0
"""Nats for a `should` or `prefer` without a weight: breaking it makes an answer e times less likely."""

_UNSUPPORTED_ITEMS: Mapping[type, str] = {
    ast.ImportDecl: "imports are",
    ast.ConceptDecl: "concepts and topics are",
    ast.ExceptionDecl: "exceptions are",
    ast.ApplyDecl: "applying a rule with parameters is",
    ast.TestDecl: "`test` blocks are",
}
_UNSUPPORTED_CLAUSES: Mapping[type, str] = {
    ast.PreferOrder: "`prefer A over B` is",
    ast.Overrides: "`overrides` is",
    ast.WaivableBy: "`waivable by` is",
    ast.WaivableImplicitly: "`waivable implicitly` is",
    ast.EnforceBy: "`enforce by` is",
    ast.OnViolation: "`on violation` is",
}
_NORMATIVE = (ast.Norm, ast.LimitRate, ast.LimitAverage, ast.PreferHigher, ast.PreferLower, ast.PreferNear)


@dataclass(frozen=True, slots=True)
class Resolution:
    """The policy and what there is to say about it. With an error among the diagnostics the policy must not be used."""

    regulators: RegulatorSet
    diagnostics: tuple[Diagnostic, ...]

    @property
    def ok(self) -> bool:
        return not any(diagnostic.is_error for diagnostic in self.diagnostics)


def resolve(module: ast.Module) -> Resolution:
    """Resolves a whole file; goes on after a mistake, so that all independent ones are reported."""
    messages = Messages()
    scope = build_scope(module, messages)
    regulators: list[Regulator] = []
    examples: list[PolicyExample] = []
    rules = {item.name.text: item for item in module.items if isinstance(item, ast.RuleDecl)}
    for item in module.items:
        for annotation in item.annotations:
            messages.not_supported(f"annotations (`@{annotation.name.text}`) are", annotation.span)
        if isinstance(item, ast.RuleDecl):
            rule = _Rule(item, scope, messages)
            regulators += rule.regulators()
            examples += rule.examples(clause for clause in item.clauses if isinstance(clause, ast.Example))
        elif isinstance(item, ast.ExamplesDecl):
            if item.rule.text in rules:
                examples += _Rule(rules[item.rule.text], scope, messages).examples(item.examples)
            else:
                messages.error("P101", f"there is no rule called `{item.rule.text}`", item.rule.span)
        elif type(item) in _UNSUPPORTED_ITEMS:
            messages.not_supported(_UNSUPPORTED_ITEMS[type(item)], item.span)
    header = module.header
    if header is not None and header.edition is not None and header.edition.value != 1:
        messages.error("P111", "this version knows edition 1 only", header.edition.span)
    lifted = lift(tuple(regulators), scope.levels, messages)
    policy, version = ("unnamed", "0") if header is None else (header.name.text, header.version.value)
    resolved = RegulatorSet(policy, version, scope.levels, lifted, tuple(examples))
    return Resolution(resolved, tuple(messages.found))


@dataclass(frozen=True)
class _Rule:
    """Resolves the clauses of one rule."""

    rule: ast.RuleDecl
    scope: Scope
    messages: Messages

    @property
    def sentences(self) -> Sentences:
        return Sentences(self.scope, self.messages, {})

    def regulators(self) -> list[Regulator]:
        if self.rule.parameters is not None:
            self.messages.not_supported("rules with parameters are", self.rule.name.span)
            return []
        level = self._level()
        condition = self._condition()
        because = next((c.text.value for c in self.rule.clauses if isinstance(c, ast.Because)), None)
        clauses = [clause for clause in self.rule.clauses if isinstance(clause, _NORMATIVE)]
        for clause in self.rule.clauses:
            if type(clause) in _UNSUPPORTED_CLAUSES:
                self.messages.not_supported(_UNSUPPORTED_CLAUSES[type(clause)], clause.span)
        if not clauses and not any(isinstance(c, ast.PreferOrder) for c in self.rule.clauses):
            self.messages.error("P205", f"rule `{self.rule.name.text}` asks for nothing", self.rule.name.span, notes=("a rule needs a sentence with must, should, may or need not, or a `prefer` or `limit`",))
        made = []
        for number, clause in enumerate(clauses, 1):
            name = self.rule.name.text
            frame = Regulator(
                id=name if len(clauses) == 1 else f"{name}.{number}",
                rule=name,
                level=level,
                modality="must",
                extent=_extent(clause.span),
                rule_extent=_extent(self.rule.name.span),
                title=None if self.rule.title is None else self.rule.title.value,
                because=because,
                condition=condition,
            )
            try:
                made.append(self._clause(clause, frame))
            except Unresolved:
                continue
        return made

    def _level(self) -> str:
        if self.rule.level is None:
            return self.scope.levels[-1]
        if self.rule.level.text not in self.scope.levels:
            self.messages.error("P106", f"there is no level called `{self.rule.level.text}`", self.rule.level.span, notes=(f"levels here: {' > '.join(self.scope.levels)}",))
        return self.rule.level.text

    def _condition(self) -> BooleanExpression | None:
        parts: list[BooleanExpression] = []
        for clause in self.rule.clauses:
            if isinstance(clause, (ast.When, ast.Unless)):
                try:
                    truth = self.sentences.truth(clause.condition)
                except Unresolved:
                    continue
                parts.append(truth if isinstance(clause, ast.When) else negate(truth))
        return conjunction(tuple(parts))

    def _clause(self, clause: ast.Clause, frame: Regulator) -> Regulator:
        match clause:
            case ast.Norm(subject, modality, body, weight):
                said = self.sentences.said_of(subject, body)
                word: Modality = modality.word.value
                forbids = word in ("must not", "should not")
                nats = None
                if word in ("should", "should not"):
                    nats = self._weight(weight)
                elif weight is not None:
                    self.messages.error("P204", f"a `{word}` rule has no weight", weight.span, "remove this, or use `should`")
                if word in ("must", "must not", "should", "should not") and not reads_response(said):
                    self._fail("P206", "this asks nothing of the response", clause.span, "no answer can change whether it holds")
                return replace(frame, modality=word, obligation=negate(said) if forbids else said, weight=nats)
            case ast.PreferHigher(value, weight):
                return replace(frame, modality="prefer", value=self.sentences.number(value), weight=self._weight(weight))
            case ast.PreferLower(value, weight):
                return replace(frame, modality="prefer", value=self.sentences.number(value), weight=-self._weight(weight))
            case ast.PreferNear(value, target, weight):
                distance = Arithmetic("distance", self.sentences.number(value), self.sentences.number(target))
                return replace(frame, modality="prefer", value=distance, weight=-self._weight(weight))
            case ast.LimitRate() | ast.LimitAverage():
                return self._limit(clause, frame)
        raise AssertionError(f"not a normative clause: {clause!r}")

    def _weight(self, weight: ast.Weight | None) -> float:
        if weight is None:
            return DEFAULT_WEIGHT
        if weight.value.amount <= 0:
            self._fail("P207", "a weight is a positive number of nats", weight.span)
        return float(weight.value.amount)

    def _limit(self, clause: ast.LimitRate | ast.LimitAverage, frame: Regulator) -> Regulator:
        if clause.suite is not None:
            self.messages.not_supported("`over suite` is", clause.suite.span)
            raise Unresolved
        if clause.population is not None and clause.population.text != "responses":
            self._fail("P208", f"a limit is a share of responses, not of `{clause.population.text}`", clause.population.span)
        sense, bound = self._bound(clause.bound)
        if isinstance(clause, ast.LimitRate):
            event, value = self.sentences.truth(clause.condition), None
            if not 0 <= bound <= 1:
                self._fail("P208", "a share lies between 0% and 100%", clause.bound.span, "write it with `%`")
            measured: BooleanExpression | None = event
        else:
            event, value, measured = None, self.sentences.number(clause.value), None
        if not reads_response(event if event is not None else value):  # type: ignore[arg-type]
            self._fail("P206", "this limits nothing about the response", clause.span)
        if frame.condition is not None and reads_response(frame.condition):
            self.messages.not_supported("a `limit` under a condition on the response is", clause.span)
            raise Unresolved
        confidence = None if clause.confidence is None else float(clause.confidence.amount)
        if confidence is not None and not 0.5 <= confidence < 1:
            self._fail("P208", "a confidence lies between 0.5 and 1", clause.confidence.span if clause.confidence else clause.span)
        return replace(frame, modality="limit", event=measured, value=value, sense=sense, bound=bound, confidence=confidence)

    def _bound(self, bound: ast.Bound) -> tuple[Sense, float]:
        match bound:
            case ast.AtMost(value):
                sense: Sense = "at most"
            case ast.AtLeast(value):
                sense = "at least"
            case ast.Exactly(value):
                sense = "exactly"
            case _:
                self._fail("P208", "a limit is `at most`, `at least` or `exactly` a number", bound.span)
        amount = self.sentences.number(value)
        if not isinstance(amount, NumberConstant):
            self._fail("P208", "the bound of a limit is a number or a parameter", bound.span)
        return sense, amount.value

    def _fail(self, code: str, message: str, span: Span, label: str = "") -> NoReturn:
        self.messages.error(code, message, span, label)
        raise Unresolved

    # ----------------------------------------------------------------------------------------------- examples
    def examples(self, examples: Iterable[ast.Example]) -> list[PolicyExample]:
        made = []
        for example in examples:
            if example.verdict is ast.ExpectedVerdict.WAIVED:
                self.messages.not_supported("`waived` examples are", example.span)
                continue
            note = None if example.note is None else example.note.value
            try:
                spoken, facts = self._conversation(example)
            except Unresolved:
                continue
            made.append(PolicyExample(self.rule.name.text, example.verdict.value, spoken, _extent(example.span), facts, note))
        return made

    def _conversation(self, example: ast.Example) -> tuple[tuple[Message, ...], tuple[tuple[str, FactValue], ...]]:
        if isinstance(example.content, ast.Text):
            return (Message("assistant", example.content.value),), ()
        spoken: list[Message] = []
        facts: list[tuple[str, FactValue]] = []
        for step in example.content.steps:
            match step:
                case ast.Turn(role, text):
                    spoken.append(Message(role.value, text.value))
                case ast.Given(fact, ast.Number() as number):
                    facts.append((fact.text, float(number.amount)))
                case ast.Given(fact, (ast.Text(value) | ast.Bool(value))):
                    facts.append((fact.text, value))
                case _:
                    self.messages.not_supported("tool calls in examples are", step.span)
                    raise Unresolved
        for name, _ in facts:
            if name.split(".")[0] not in FACT_ROOTS or "." not in name:
                self._fail("P101", f"`{name}` is not a fact", example.span)
        if not spoken or spoken[-1].role != "assistant":
            self._fail("P503", "an example ends with what the assistant says", example.span)
        return tuple(spoken), tuple(facts)


def _extent(span: Span) -> Extent:
    return Extent(span.start, span.end)
