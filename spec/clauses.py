"""Resolving the clauses of one rule: each normative sentence, preference and limit becomes a regulator."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bylaw.spec import ast
from bylaw.spec.definitions import Place
from bylaw.spec.expression import Arithmetic, BooleanExpression, Extent, NumberExpression, Rank
from bylaw.spec.limits import resolve_limit
from bylaw.spec.logic import negate, reads_response
from bylaw.spec.regulator import Modality, Regulator
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
                return resolve_limit(clause, frame, self.scope, self.sentences)
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


def _extent(span: Span) -> Extent:
    return Extent(span.start, span.end)
