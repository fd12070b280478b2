"""Resolving the clauses of one rule: each normative sentence, preference and limit becomes a regulator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from bylaw.spec import ast, catalog
from bylaw.spec.definitions import Place
from bylaw.spec.errors import Fix
from bylaw.spec.expression import Arithmetic, BooleanExpression, Extent, NumberConstant, NumberExpression, Rank
from bylaw.spec.logic import negate, reads_response
from bylaw.spec.regulator import Modality, Regulator, Sense
from bylaw.spec.scope import Messages, Scope, Unresolved
from bylaw.spec.sentences import Sentences
from bylaw.spec.source import Span
from bylaw.spec.standing import Standing, condition_of, rank_of

DEFAULT_WEIGHT = 1.0
"""Nats for a `should` or `prefer` without a weight: breaking it makes an answer e times less likely."""

_NORMATIVE = (
    ast.Norm,
    ast.LimitRate,
    ast.LimitAverage,
    ast.PreferHigher,
    ast.PreferLower,
    ast.PreferNear,
    ast.PreferOrder,
)
_SENSES: Mapping[type, Sense] = MappingProxyType(
    {ast.AtMost: "at most", ast.AtLeast: "at least", ast.Exactly: "exactly"}
)


def resolve_rule(rule: ast.RuleDecl, scope: Scope, messages: Messages) -> list[Regulator]:
    """The regulators of a rule; records a diagnostic for each clause that has no meaning, and leaves it out."""
    return _Rule(rule, scope, messages).regulators()


@dataclass(frozen=True)
class _Rule:
    """One rule and what its clauses may refer to."""

    rule: ast.RuleDecl
    scope: Scope
    messages: Messages

    @property
    def sentences(self) -> Sentences:
        return Sentences(Place(self.scope), self.messages)

    def regulators(self) -> list[Regulator]:
        name = self.rule.name.text
        level = rank_of(self.rule.level, self.scope, self.messages)
        condition = condition_of(self.rule.clauses, self.sentences)
        standing = Standing.of(self.rule, self.scope, self.messages)
        clauses = [clause for clause in self.rule.clauses if isinstance(clause, _NORMATIVE)]
        if not clauses:
            note = "a rule needs a sentence with must, should, may or need not, or a `prefer` or `limit`"
            self.messages.error("P205", f"rule `{name}` asks for nothing", self.rule.name.span, notes=(note,))
        made = []
        for number, clause in enumerate(clauses, 1):
            frame = Regulator(
                id=name if len(clauses) == 1 else f"{name}.{number}",
                rule=name,
                level=level,
                modality="must",
                extent=_extent(clause.span),
                rule_extent=_extent(self.rule.name.span),
                title=None if self.rule.title is None else self.rule.title.value,
                because=standing.because,
                condition=condition,
                sources=standing.sources,
                waivable=standing.waivable,
                overrides=standing.overrides,
                on_violation=standing.on_violation,
            )
            try:
                made.append(self._clause(clause, frame))
            except Unresolved:
                continue
        return made

    def _clause(self, clause: ast.Clause, frame: Regulator) -> Regulator:
        match clause:
            case ast.Norm():
                return self._norm(clause, frame)
            case ast.PreferHigher(value, weight):
                return self._preference(self.sentences.number(value), 1.0, weight, clause.span, frame)
            case ast.PreferLower(value, weight):
                return self._preference(self.sentences.number(value), -1.0, weight, clause.span, frame)
            case ast.PreferNear(value, target, weight):
                distance = Arithmetic("distance", self.sentences.number(value), self.sentences.number(target))
                return self._preference(distance, -1.0, weight, clause.span, frame)
            case ast.PreferOrder(alternatives, weight):
                rank = Rank(tuple(self.sentences.truth(alternative) for alternative in alternatives))
                return self._preference(rank, 1.0, weight, clause.span, frame)
            case ast.LimitRate() | ast.LimitAverage():
                return self._limit(clause, frame)
        raise AssertionError(f"not a normative clause: {clause!r}")

    # ------------------------------------------------------------------------------------ sentences, preferences
    def _norm(self, norm: ast.Norm, frame: Regulator) -> Regulator:
        word: Modality = norm.modality.word.value
        said = self.sentences.said_of(norm.subject, norm.body, negated=word in ("may", "must not", "should not"))
        if word in ("may", "need not"):
            # `may X` permits what a rule that forbids X denies: of every call, not of all calls together.
            return replace(frame, modality=word, obligation=negate(said) if word == "may" else said)
        # A weight on anything but `should` is refused when the text is parsed (P204).
        nats = self._weight(norm.weight) if word in ("should", "should not") else None
        self._require_response(said, "this asks nothing of the response", norm.span)
        return replace(frame, modality=word, obligation=said, weight=nats)

    def _preference(
        self, value: NumberExpression, sign: float, weight: ast.Weight | None, span: Span, frame: Regulator
    ) -> Regulator:
        self._require_response(value, "this prefers nothing about the response", span)
        return replace(frame, modality="prefer", value=value, weight=sign * self._weight(weight))

    def _require_response(self, said: BooleanExpression | NumberExpression, message: str, span: Span) -> None:
        if not reads_response(said):
            raise self.messages.failure("P206", message, span, "no answer can change this")

    def _weight(self, weight: ast.Weight | None) -> float:
        if weight is None:
            return DEFAULT_WEIGHT
        note = "nats: with `weight 2`, an answer that breaks the rule becomes e^2 = 7.4 times less likely"
        if weight.value.percent:
            raise self.messages.failure("P207", "a weight is a number of nats, not a share", weight.span, notes=(note,))
        if weight.value.amount <= 0:
            raise self.messages.failure("P207", "a weight is a positive number of nats", weight.span, notes=(note,))
        return float(weight.value.amount)

    # --------------------------------------------------------------------------------------------------- limits
    def _limit(self, clause: ast.LimitRate | ast.LimitAverage, frame: Regulator) -> Regulator:
        suite = self._suite(clause.suite)
        if clause.population is not None and clause.population.text != "responses":
            name = clause.population
            raise self.messages.failure("P208", f"a limit is about responses, not about `{name.text}`", name.span)
        sense, bound = self._bound(clause.bound)
        event = self.sentences.truth(clause.condition) if isinstance(clause, ast.LimitRate) else None
        value = self.sentences.number(clause.value) if isinstance(clause, ast.LimitAverage) else None
        if event is not None:
            self._check_share(clause.bound, sense, bound)
        measured = event if event is not None else value
        assert measured is not None
        self._require_response(measured, "this limits nothing about the response", clause.span)
        if frame.condition is not None and reads_response(frame.condition):
            note = "say it in the limit itself: `limit A and B to ...` counts the answers that are both"
            raise self.messages.failure(
                "P208", "a limit cannot depend on the answer that it counts", clause.span, notes=(note,)
            )
        return replace(
            frame,
            modality="limit",
            event=event,
            value=value,
            sense=sense,
            bound=bound,
            confidence=self._confidence(clause.confidence),
            suite=suite,
        )

    def _suite(self, suite: ast.Text | ast.Name | None) -> str | None:
        """The name of the suite that a limit is measured over. Raises Unresolved (P101)."""
        if suite is None:
            return None
        name = suite.value if isinstance(suite, ast.Text) else suite.text
        if self.scope.suite(name) is not None:
            return name
        nearest = catalog.nearest(name, tuple(self.scope.suites))
        raise self.messages.failure(
            "P101",
            f"there is no suite called `{name}`",
            suite.span,
            notes=('declare it: `suite NAME = file "prompts.jsonl"`, or with a list of prompts',),
            fix=None if nearest is None else Fix(f"write `{nearest}`", suite.span, nearest),
        )

    def _bound(self, bound: ast.Bound) -> tuple[Sense, float]:
        if isinstance(bound, ast.Between) or type(bound) not in _SENSES:
            raise self.messages.failure("P208", "a limit is `at most`, `at least` or `exactly` something", bound.span)
        amount = self.sentences.number(bound.value)
        if not isinstance(amount, NumberConstant):
            raise self.messages.failure("P208", "the bound of a limit is a number that is known beforehand", bound.span)
        return _SENSES[type(bound)], amount.value

    def _check_share(self, at: ast.Bound, sense: Sense, bound: float) -> None:
        if not 0 <= bound <= 1:
            note = "write a share with `%`, as in `at most 2% of responses`"
            raise self.messages.failure("P208", "a share lies between 0% and 100%", at.span, notes=(note,))
        if (sense, bound) in (("at most", 1.0), ("at least", 0.0)):
            raise self.messages.failure("P208", "every share lies within this, so nothing is limited", at.span)

    def _confidence(self, confidence: ast.Number | None) -> float | None:
        if confidence is None:
            return None
        if not 0.5 <= confidence.amount < 1:
            raise self.messages.failure("P208", "a confidence lies between 0.5 and 1", confidence.span)
        return float(confidence.amount)


def _extent(span: Span) -> Extent:
    return Extent(span.start, span.end)
