"""Several answers of a judge to one question: what they say together, and whether they agree enough to say it.

The mean of k answers is a graded score. An item on which the answers differ so much that their mean, one standard
deviation up or down, lies on both sides of one half is *unstable*: neither yes nor no.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from bylaw.runtime.judges.exchange import Answer
from bylaw.runtime.judges.verdict import Verdict
from bylaw.runtime.scorers.interface import Why

_HALF = 0.5
_MEANINGS: dict[str, tuple[Why, str]] = {
    "not_applicable": ("not_applicable", "the judge says that the question does not apply to this text"),
    "cannot_judge": ("cannot_tell", "the judge says that it cannot tell"),
}


@dataclass(frozen=True, slots=True)
class Votes:
    """`asked` answers: `yes` and `no` among them, and the rest by class of reason. `mean`: the share of yes among yes
    and no; `spread`: the standard deviation of these answers (divisor n − 1; 0 for one answer).

    `is_yes` is None where they say neither: then `why` and `reason` say why.
    """

    asked: int
    yes: int
    no: int
    is_yes: bool | None
    why: Why | None = None
    reason: str = ""

    @property
    def mean(self) -> float | None:
        """The share of yes, 0 to 1; None without an answer."""
        count = self.yes + self.no
        return self.yes / count if count else None

    @property
    def spread(self) -> float:
        """Standard deviation of the answers, each 0 or 1."""
        return _spread(self.yes, self.no)


def votes(answers: Sequence[Answer[Verdict]]) -> Votes:
    """What the answers to one question say together. More than half of them have to be yes or no; else the commonest
    reason of the others is the reason. Raises ValueError for no answers."""
    if not answers:
        raise ValueError("there are no answers to count")
    yes = sum(answer.value is not None and answer.value.word == "yes" for answer in answers)
    no = sum(answer.value is not None and answer.value.word == "no" for answer in answers)
    asked = len(answers)
    if 2 * (yes + no) <= asked:
        others = Counter(found for found in map(_reason, answers) if found is not None)
        (why, reason), count = others.most_common(1)[0]
        return Votes(asked, yes, no, None, why, reason if asked == 1 else f"{reason} ({count} of {asked} answers)")
    mean, spread = yes / (yes + no), _spread(yes, no)
    if mean - spread <= _HALF <= mean + spread:
        told = f"the judge does not agree with itself: {yes} of {yes + no} answers say yes"
        return Votes(asked, yes, no, None, "cannot_tell", told)
    return Votes(asked, yes, no, mean > _HALF)


def _spread(yes: int, no: int) -> float:
    count = yes + no
    return math.sqrt(yes * no / (count * (count - 1))) if count > 1 else 0.0


def _reason(answer: Answer[Verdict]) -> tuple[Why, str] | None:
    if answer.value is None:
        return answer.why or "transport", answer.reason or "there is no answer"
    return _MEANINGS.get(answer.value.word)
