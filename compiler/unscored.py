"""Terms that hang on scores while an answer is written: what will never be scored, and what cannot be told."""

from __future__ import annotations

from bylaw.compiler.expressions import text_in
from bylaw.compiler.program import RewardTerm, scores_in
from bylaw.compiler.situation import Situation
from bylaw.spec.trace import Trace


def never_scored(term: RewardTerm, before: Trace) -> str | None:
    """Why a score of the answer that the term hangs on will never be there; None where it may be."""
    reasons = (before.lacks_scores(score.concept.name) for score in scores_in(term))
    return next((reason for reason in reasons if reason is not None), None)


def is_untold(term: RewardTerm, here: Situation, reason: str) -> bool:
    """Whether this is the reason of a scorer that was asked for a score that the term hangs on, and cannot tell."""
    for score in scores_in(term):
        text = text_in(score.subject, here)
        if isinstance(text, str) and here.trace.unscored.get((score.concept.name, text)) == reason:
            return True
    return False
