"""Which of two answers keeps a principle better, asked in both orders: judges lean to the answer that they see
first, or last. Where the two orders disagree it is a tie, and how often they agree is part of the result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from bylaw.runtime.audit.statistics import wilson
from bylaw.runtime.judges.exchange import Answer, Ask, exchange
from bylaw.runtime.judges.interface import JudgeError, JudgeRequest
from bylaw.runtime.judges.judge import Judge
from bylaw.runtime.judges.side_by_side import Answers, side_by_side, too_long
from bylaw.runtime.judges.verdict import Found, Problem, last_object, object_format
from bylaw.runtime.record import Interval
from bylaw.runtime.scorers.interface import Cost, Why

PARSER = "pair-1"
_FORM = '{"reason": "...", "better": "..."}'
_FORMAT = object_format("comparison", {"reason": {"type": "string"}, "better": {"enum": ["A", "B", "tie"]}})
_NAMES = ("A", "B")
Better: TypeAlias = Literal["first", "second", "tie"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a judge says of a pair: `first` or `second` of it is better, or a `tie`; None: there is no answer, and `why`
    and `reason` say why. `is_consistent`: both orders said the same. `said`: what each order said of the pair (the
    second order shows the pair's second answer first)."""

    better: Better | None
    is_consistent: bool = False
    said: tuple[Better, ...] = ()
    why: Why | None = None
    reason: str = ""
    cost: Cost = field(default_factory=Cost)


@dataclass(frozen=True, slots=True)
class Consistency:
    """Of `compared` pairs, how many got the same answer in both orders, with a 95 % interval of the share; and of the
    single answers that were no tie, how many were for the answer shown first (half of them, without a lean)."""

    compared: int
    same: int
    interval: Interval
    decided: int
    shown_first: int
    first_interval: Interval


def compare(
    judge: Judge, pairs: Sequence[Answers], progress: Callable[[int], None] = lambda _: None
) -> tuple[Comparison, ...]:
    """One comparison for each pair, in order; two questions each. `progress` is told how many more answers there are.
    Raises JudgeError for what is no pair, and where the judge cannot be used at all."""
    asks: list[Ask[Better]] = []
    long: dict[int, str] = {}
    for number, pair in enumerate(pairs):
        if len(pair.texts) != 2:
            raise JudgeError(f"a comparison is of two answers, not of {len(pair.texts)}")
        both = [_ask(judge, pair, order) for order in ((0, 1), (1, 0))]
        problem = next((told for _, told in both if told), None)
        if problem is None:
            asks += [ask for ask, _ in both]
        else:
            long[number] = problem
    answers = iter(exchange(judge.asker, asks, progress))
    return tuple(
        Comparison(None, why="input", reason=long[number])
        if number in long
        else _together(next(answers), next(answers))
        for number in range(len(pairs))
    )


def consistency(comparisons: Sequence[Comparison]) -> Consistency | None:
    """How far the two orders agree; None without a pair that has both answers."""
    both = [each for each in comparisons if len(each.said) == 2]
    if not both:
        return None
    same = sum(each.is_consistent for each in both)
    # the second order shows the second answer first
    ahead = [
        said == shown
        for each in both
        for said, shown in zip(each.said, ("first", "second"), strict=True)
        if said != "tie"
    ]
    lean = wilson(sum(ahead), len(ahead)) if ahead else Interval(0.0, 1.0)
    return Consistency(len(both), same, wilson(same, len(both)), len(ahead), sum(ahead), lean)


def _ask(judge: Judge, pair: Answers, order: tuple[int, int]) -> tuple[Ask[Better], str | None]:
    prompt = side_by_side("pair", judge, pair, _NAMES, order)

    def read(answer: str) -> Better | Problem:
        found = last_object(answer, _wrong_with, prompt.shown)
        if isinstance(found, Problem):
            return found
        if found["better"] == "tie":
            return "tie"
        return "first" if order[_NAMES.index(found["better"])] == 0 else "second"

    request = JudgeRequest(prompt.messages, judge.parameters, _FORMAT, 0, PARSER, prompt.nonce)
    return Ask(request, read, _FORM), too_long(prompt)


def _wrong_with(item: Found) -> str | None:
    if not isinstance(item.get("reason"), str) or not item["reason"].strip():
        return "it gives no reason"
    if item.get("better") not in ("A", "B", "tie"):
        return 'its "better" is none of "A", "B", "tie"'
    return None if list(item).index("reason") < list(item).index("better") else "the reason has to come first"


def _together(one: Answer[Better], other: Answer[Better]) -> Comparison:
    cost = one.cost + other.cost
    if one.value is None or other.value is None:
        failed = one if one.value is None else other
        return Comparison(None, why=failed.why, reason=failed.reason, cost=cost)
    is_same = one.value == other.value
    return Comparison(one.value if is_same else "tie", is_same, (one.value, other.value), cost=cost)
