"""A data set for supervised fine-tuning: answers that keep the rules, each with the rules that applied.

Files: `sft.jsonl`, one conversation a line: `messages` (the last one is the answer), `log_weight` (nats: the answer's
weight in the law, hard rules kept), `share` (of that weight among the answers to the same prompt), `rules`, `facts`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from bylaw.compiler.evaluate import TermScore, Verdict
from bylaw.compiler.targets._files import json_lines
from bylaw.compiler.targets._rows import Answer, answers, head, rules_of, said, shares
from bylaw.compiler.targets.interface import Data, Inputs, LeftOut, Made, TargetError

DATA: Data = "answers"
OPTIONS: frozenset[str] = frozenset({"calibration", "keep"})


_KEPT = {
    "clean": "to each prompt the answer with the largest weight, of those that break no `must` and no `should`",
    "best": "to each prompt the answer with the largest weight, of those that break no `must`",
    "all": "all that break no `must`",
}


def build(inputs: Inputs) -> Made:
    """The answers that `keep` asks for. Raises TargetError where there is none."""
    weighed = answers(inputs)
    rows: list[dict[str, Any]] = []
    lost = 0
    for group in weighed.groups:
        found = [_row(answer, share, inputs) for answer, share in _kept(group, inputs)]
        lost += not found
        rows += found
    reason = "every answer breaks a " + ("`must` or a `should`" if inputs.options.keep == "clean" else "`must`")
    if not rows:
        raise TargetError(f"there is nothing to learn from: {reason}; sample more answers, under the policy if need be")
    left_out = list(weighed.left_out)
    if lost:
        left_out.append(LeftOut("1 prompt" if lost == 1 else f"{lost} prompts", reason, lost))
    total = sum(len(group) for group in weighed.groups)
    kept = _KEPT[inputs.options.keep]
    notes = [f"{len(rows):,} of {total:,} answers to {len(weighed.groups):,} prompts are in the data set: {kept}"]
    if inputs.options.keep == "all":
        notes.append("a trainer that does not weigh rows by `share` learns the answers as they come, broken rules too")
    return Made({"sft.jsonl": json_lines(rows)}, tuple(left_out), tuple(notes))


def _kept(group: Sequence[Answer], inputs: Inputs) -> list[tuple[Answer, float]]:
    """The answers to one prompt that go in, with their shares of its weight; of equally good ones the first."""
    allowed = [pair for pair in zip(group, shares(group), strict=True) if pair[0].log_weight > -math.inf]
    if inputs.options.keep == "all":
        return allowed
    if inputs.options.keep == "clean":
        soft = [term.id for term in inputs.program.terms if term.kind == "soft"]
        allowed = [pair for pair in allowed if not any(_is_broken(pair[0].scores[name]) for name in soft)]
    return [max(allowed, key=lambda pair: pair[0].log_weight)] if allowed else []


def _is_broken(score: TermScore) -> bool:
    return score.verdict is Verdict.VIOLATED


def _row(answer: Answer, share: float, inputs: Inputs) -> dict[str, Any]:
    return {
        "messages": said(answer.trace.messages),
        "log_weight": answer.log_weight,
        "share": share,
        "rules": rules_of(answer, inputs.program.terms),
        **head(answer, inputs),
    }
