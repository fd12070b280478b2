"""Answers with what the law says of them, as rows of data sets."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from bylaw.compiler.evaluate import TermScore, Verdict, evaluate
from bylaw.compiler.program import RewardTerm
from bylaw.compiler.targets._law import WeighedTerm, facts_read, hard_penalty, log_weight, weighed
from bylaw.compiler.targets._messages import message_data
from bylaw.compiler.targets._sentences import instruction
from bylaw.compiler.targets.interface import Inputs, LeftOut, TargetError
from bylaw.spec.trace import Message, Trace

Key: TypeAlias = tuple[tuple[Message, ...], tuple[tuple[str, Any], ...]]
"""What was said before an answer, with the facts that rules read: answers with the same key can be compared."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer under the law. `log_weight` (nats) is -inf where it breaks a hard rule; `reward` counts that as the
    penalty of each broken hard rule instead. `scores` are those of all terms, by id."""

    trace: Trace
    scores: Mapping[str, TermScore]
    log_weight: float
    reward: float

    @property
    def text(self) -> str:
        return self.trace.response or ""

    @property
    def prompt(self) -> tuple[Message, ...]:
        """What was said before it."""
        return self.trace.messages[:-1]


@dataclass(frozen=True, slots=True)
class Weighed:
    """Answers by what they answer, in the order of the data, and what was left out of them."""

    groups: tuple[tuple[Answer, ...], ...]
    terms: tuple[WeighedTerm, ...]
    left_out: tuple[LeftOut, ...]
    penalty: float


def answers(inputs: Inputs) -> Weighed:
    """The answers of the traces, weighed by the law. Raises TargetError where none can be."""
    program = inputs.program
    penalty = hard_penalty(program, inputs.options.hard_penalty)
    terms, left_out = weighed(program, penalty)
    if not terms:
        raise TargetError(
            "no rule of this policy has a weight, so that no answer is better than another: " + _all(left_out)
        )
    facts = facts_read(program.terms)
    found: dict[Key, list[Answer]] = {}
    without, unscored, reasons = 0, Counter[str](), dict[str, str]()
    for trace in inputs.traces:
        inputs.advance()
        if trace.response is None:
            without += 1
            continue
        scores = {score.term: score for score in evaluate(program, trace).terms}
        why = ((each.term.id, each.untold(scores[each.term.id])) for each in terms)
        untold = {identifier: reason for identifier, reason in why if reason is not None}
        unscored.update(untold.keys())
        reasons = untold | reasons
        if not untold:
            weight, reward = log_weight(terms, scores), log_weight(terms, scores, finite=True)
            found.setdefault(_key(trace, facts), []).append(Answer(trace, scores, weight, reward))
    dropped = [
        LeftOut(f"`{name}`", f"{_answers(n)} left out: {reasons[name]}", n) for name, n in unscored.most_common()
    ]
    if without:
        dropped.append(LeftOut("transcripts", f"{without} end without an answer", without))
    if not found:
        raise TargetError("there is no answer that the law can weigh: " + (_all(dropped) or "the data is empty"))
    groups = tuple(tuple(group) for group in found.values())
    return Weighed(groups, terms, (*left_out, *dropped), penalty)


def _key(trace: Trace, facts: Iterable[str]) -> Key:
    return trace.messages[:-1], tuple((name, trace.facts[name]) for name in facts if name in trace.facts)


def _answers(number: int) -> str:
    return "1 answer is" if number == 1 else f"{number} answers are"


def _all(left_out: Sequence[LeftOut]) -> str:
    return "; ".join(each.words for each in left_out)


def shares(group: Sequence[Answer]) -> list[float]:
    """exp(log weight) of each answer as a share of all to its prompt; 0 for a broken hard rule (all 0 if all are)."""
    most = max((answer.log_weight for answer in group), default=-math.inf)
    if most == -math.inf:
        return [0.0 for _ in group]
    parts = [math.exp(answer.log_weight - most) for answer in group]
    total = math.fsum(parts)
    return [part / total for part in parts]


def finite(value: float | None) -> float | None:
    """A number as JSON has it: None for what is no finite one."""
    return value if value is not None and math.isfinite(value) else None


def rules_of(answer: Answer, terms: Sequence[RewardTerm]) -> list[dict[str, Any]]:
    """The rules that apply to an answer: verdict, value, nats in the law (None for minus infinity, and where they are
    not known), the places that break them, and their words."""
    found = []
    for term in terms:
        score = answer.scores[term.id]
        if score.verdict is not Verdict.NOT_APPLICABLE:
            nats = finite(score.contribution)
            said = {"id": term.id, "level": term.level, "kind": term.kind, "verdict": score.verdict.value}
            seen = {"value": finite(score.value), "nats": nats, "spans": spans(score)}
            found.append({**said, **seen, "text": instruction(term)})
    return found


def spans(score: TermScore) -> list[list[int]]:
    """The places in the answer that break a rule: [start, end), in characters."""
    return [[place.start, place.end] for place in score.evidence]


def head(answer: Answer, inputs: Inputs) -> dict[str, Any]:
    """What every row says of where it is from."""
    facts = json.dumps(dict(sorted(answer.trace.facts.items())), ensure_ascii=False)
    return {"id": answer.trace.id, "facts": facts, "rules_digest": inputs.program.digest, "bylaw": inputs.bylaw}


def said(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Messages as data."""
    return message_data(messages)
