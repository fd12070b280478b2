"""How it is said what scorers are asked, and why some of it has no score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bylaw.runtime.scorers.interface import Scored, Why

if TYPE_CHECKING:
    from bylaw.runtime.judges.interface import Estimate


def in_words(name: str, estimate: Estimate, left: int | None) -> str:
    """What a judge is about to cost; `left`: so many requests its budget allows (None: any number)."""
    sent = f"{estimate.requests:,} requests"
    if left is not None and left < estimate.requests:
        sent = f"at most {left:,} requests (--judge-budget) of the {estimate.requests:,} that it takes"
    return (
        f"the {name} is about to be sent {sent}, of about {estimate.tokens_in:,} tokens, for "
        f"answers of at most {estimate.tokens_out_most:,}; {estimate.cached:,} answers are there already"
    )


def texts(number: int) -> str:
    """So many texts."""
    return "1 text" if number == 1 else f"{number:,} texts"


def reason_of(why: Why, answers: Sequence[Scored]) -> str:
    """The reason of all answers of this class, without what is true of one text alone."""
    reasons = list(dict.fromkeys(each.reason for each in answers if each.why == why))
    if len(reasons) == 1:
        return reasons[0]
    if why == "cannot_tell":
        return "their scores are on neither side for certain"
    return f"{reasons[0]} (and {len(reasons) - 1:,} other reason{'s' if len(reasons) > 2 else ''})"
