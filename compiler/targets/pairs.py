"""A data set of preferences: pairs of answers to one prompt, with margins in nats and the rules that decide.

Files: `pairs.jsonl`, one pair a line: `prompt`, `chosen`, `rejected` (lists of messages), `margin` (nats: the
difference of the law's log weights; a broken hard rule counts as the penalty, since no trainer takes infinity),
`decided_by`, `rules` that differ (with the places in the rejected answer that break them), `facts`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from bylaw.compiler.evaluate import TermScore, Verdict
from bylaw.compiler.targets._files import json_lines
from bylaw.compiler.targets._law import WeighedTerm
from bylaw.compiler.targets._rows import Answer, answers, finite, head, said, spans
from bylaw.compiler.targets._sentences import instruction
from bylaw.compiler.targets.interface import Data, Inputs, Made, TargetError

DATA: Data = "answers"
OPTIONS: frozenset[str] = frozenset({"calibration", "hard_penalty", "pairs"})
LEAST = 1e-9
"""Nats between two answers below which the law does not tell them apart: what rounding leaves."""


def build(inputs: Inputs) -> Made:
    """To each prompt the best answer against the worst, or all pairs. Answers that break a hard rule are never
    chosen. Raises TargetError where no prompt has a pair."""
    weighed = answers(inputs)
    rows: list[dict[str, Any]] = []
    alone = same = 0
    for group in weighed.groups:
        distinct = list({answer.text: answer for answer in reversed(group)}.values())[::-1]
        found = [_row(chosen, rejected, weighed.terms, inputs) for chosen, rejected in _pairs(distinct, inputs)]
        alone += len(distinct) < 2
        same += len(distinct) > 1 and not found
        rows += found
    counts = f"{len(weighed.groups):,} prompts; {alone:,} have one answer only, to {same:,} the law weighs all alike"
    if not rows:
        raise TargetError(f"no prompt has two answers of which one is better: {counts}; sample several to each prompt")
    notes = (
        f"{len(rows):,} pairs from {counts}",
        f"a broken hard rule counts as {weighed.penalty:g} nats in a margin; the law allows no such answer at all",
    )
    return Made({"pairs.jsonl": json_lines(rows)}, weighed.left_out, notes)


def _pairs(group: Sequence[Answer], inputs: Inputs) -> Iterator[tuple[Answer, Answer]]:
    """(better, worse), of answers in the order of the data; of equally good ones the first."""
    ordered = sorted(group, key=lambda answer: (-answer.log_weight, -answer.reward))
    found = (
        (better, worse)
        for place, better in enumerate(ordered)
        for worse in (reversed(ordered[place + 1 :]) if inputs.options.pairs == "extreme" else ordered[place + 1 :])
        if better.log_weight > -math.inf and better.log_weight - worse.log_weight > LEAST
    )
    if inputs.options.pairs == "all":
        yield from found
    elif (first := next(found, None)) is not None:
        yield first


def _row(chosen: Answer, rejected: Answer, terms: Sequence[WeighedTerm], inputs: Inputs) -> dict[str, Any]:
    return {
        "prompt": said(chosen.prompt),
        "chosen": said(chosen.trace.messages[-1:]),
        "rejected": said(rejected.trace.messages[-1:]),
        "margin": chosen.reward - rejected.reward,
        "decided_by": "hard rule" if rejected.log_weight == -math.inf else "weights",
        "chosen_log_weight": chosen.log_weight,
        "rejected_log_weight": finite(rejected.log_weight),
        "rules": [each for term in terms if (each := _difference(term, chosen, rejected)) is not None],
        **head(chosen, inputs),
        "rejected_id": rejected.trace.id,
    }


def _difference(each: WeighedTerm, chosen: Answer, rejected: Answer) -> dict[str, Any] | None:
    """What one rule says of the two, where that differs. `margin`: nats of the pair's margin that it gives."""
    better, worse = chosen.scores[each.term.id], rejected.scores[each.term.id]
    margin = each.weight * (_feature(each, better) - _feature(each, worse))
    if margin == 0.0 and better.verdict is worse.verdict:
        return None
    return {
        "id": each.term.id,
        "level": each.term.level,
        "kind": each.term.kind,
        "chosen": better.verdict.value,
        "rejected": worse.verdict.value,
        "margin": margin + 0.0,
        "rejected_spans": spans(worse),
        "text": instruction(each.term),
    }


def _feature(each: WeighedTerm, score: TermScore) -> float:
    assert score.verdict is not Verdict.UNSCORED
    return each.feature(score) or 0.0
