"""Ranking any number of answers by one principle in words, under masked names, and rewards from a ranking.

The contract of RewardAnything (arXiv 2506.03637): a principle, a prompt and answers called `model-1` to `model-n` in a
shuffled order go in; scores from 1 to 5 and the names from best to worst come out. Every clause's own words are such a
principle. The shuffle depends on the seed and on the texts, so that a place in the list says nothing about its author.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations

from bylaw.runtime.judges.exchange import Answer, Ask, exchange
from bylaw.runtime.judges.interface import JudgeError, JudgeRequest
from bylaw.runtime.judges.judge import Judge
from bylaw.runtime.judges.side_by_side import Answers, side_by_side, too_long
from bylaw.runtime.judges.verdict import Found, Problem, last_object, object_format

PARSER = "ranking-1"
MOST_ANSWERS = 50
_FORM = '{"reason": "...", "scores": {...}, "best-to-worst": [...]}'
_LEAST, _MOST = 1, 5


@dataclass(frozen=True, slots=True)
class Ranking:
    """`scores` [n] from 1 to 5 and `order` [n] (numbers of answers, the best first), both of the answers as they were
    given; `shown` [n]: the number of the answer that was called `model-i`."""

    scores: tuple[int, ...]
    order: tuple[int, ...]
    reason: str
    shown: tuple[int, ...]


def rank(
    judge: Judge, items: Sequence[Answers], *, seed: int = 0, progress: Callable[[int], None] = lambda _: None
) -> tuple[Answer[Ranking], ...]:
    """One ranking for each item, in order, or the reason why there is none. Raises JudgeError for fewer than two
    answers or more than 50, and where the judge cannot be used at all."""
    asks: list[Ask[Ranking]] = []
    long: dict[int, str] = {}
    for number, item in enumerate(items):
        ask, problem = _ask(judge, item, seed)
        if problem is None:
            asks.append(ask)
        else:
            long[number] = problem
    answers = iter(exchange(judge.asker, asks, progress))
    return tuple(
        Answer(None, "input", long[number]) if number in long else next(answers) for number in range(len(items))
    )


def shuffled(answers: Answers, seed: int) -> tuple[int, ...]:
    """The order in which answers are shown: by the seed and the texts alone."""
    whole = "\0".join((str(seed), answers.principle, answers.prompt, *sorted(answers.texts)))
    source = hashlib.sha256(whole.encode("utf-8", "surrogatepass")).digest()
    # by text first, so that the order in which they were given (a model each) leaves no trace
    order = sorted(range(len(answers.texts)), key=lambda number: answers.texts[number])
    random.Random(int.from_bytes(source[:8])).shuffle(order)
    return tuple(order)


def read_ranking(answer: str, shown: Sequence[int], texts: Sequence[str]) -> Ranking | Problem:
    """The ranking in an answer; `shown`: which answer each name stood for, `texts`: as the judge saw them."""
    names = mask(len(shown))
    found = last_object(answer, partial(_wrong_with, names=names), texts)
    if isinstance(found, Problem):
        return found
    scores = [0] * len(shown)
    for name, number in zip(names, shown, strict=True):
        scores[number] = int(found["scores"][name])
    order = tuple(shown[names.index(name)] for name in found["best-to-worst"])
    reason = found.get("reason")
    return Ranking(tuple(scores), order, reason if isinstance(reason, str) else "", tuple(shown))


def mask(count: int) -> tuple[str, ...]:
    """`model-1` to `model-n`."""
    return tuple(f"model-{number + 1}" for number in range(count))


# ------------------------------------------------------------------------------------------------------------- rewards
def agreement(wanted: Sequence[float], given: Sequence[float]) -> float:
    """How well the order of scores `given` [n] agrees with that of the scores `wanted` [n]: 0 to 1.

    1 − Σ w·[reversed: 1, predicted tie: 1/2] / Σ w over pairs of answers, w = 1 + |difference wanted|. Pairs that are
    equal in `wanted` have no order that could be reversed, and do not count; without any other pair it is 1. Raises
    ValueError for lengths that differ.
    """
    if len(wanted) != len(given):
        raise ValueError(f"{len(wanted)} scores are wanted and {len(given)} given")
    lost = total = 0.0
    for i, j in combinations(range(len(wanted)), 2):
        gap, found = wanted[i] - wanted[j], given[i] - given[j]
        if gap == 0:
            continue
        weight = 1 + abs(gap)
        total += weight
        lost += weight * (0.5 if found == 0 else float((gap > 0) != (found > 0)))
    return max(0.0, 1 - lost / total) if total else 1.0


def form_reward(answer: str, count: int) -> float:
    """A fifth each for thoughts before the answer (`<think>`…`</think>`), a JSON object, both keys, all names in both,
    and scores that agree with the order: 0 to 1. Never an exception, whatever the answer is."""
    thoughts, closed, rest = answer.partition("</think>")
    parts = [bool(closed) and "<think>" in thoughts and bool(thoughts.partition("<think>")[2].strip())]
    found = last_object(rest if closed else answer, lambda _: None, ())
    item: Found = {} if isinstance(found, Problem) else found
    scores, order = item.get("scores"), item.get("best-to-worst")
    names = mask(count)
    parts.append(not isinstance(found, Problem))
    parts.append(isinstance(scores, dict) and isinstance(order, list))
    parts.append(parts[-1] and _covers(scores, names) and _covers(order, names))
    parts.append(parts[-1] and _wrong_with({**item, "reason": "-"}, names=names) is None)
    return sum(parts) / len(parts)


def _covers(found: object, names: Sequence[str]) -> bool:
    return isinstance(found, (dict, list)) and len(found) == len(names) and all(name in found for name in names)


def _ask(judge: Judge, item: Answers, seed: int) -> tuple[Ask[Ranking], str | None]:
    count = len(item.texts)
    if not 2 <= count <= MOST_ANSWERS:
        raise JudgeError(f"a ranking is of 2 to {MOST_ANSWERS} answers, not of {count}")
    order, names = shuffled(item, seed), mask(count)
    prompt = side_by_side("ranking", judge, item, names, order)
    each = {"type": "integer", "minimum": _LEAST, "maximum": _MOST}
    scores = {
        "type": "object",
        "properties": dict.fromkeys(names, each),
        "required": list(names),
        "additionalProperties": False,
    }
    ranked = {"type": "array", "items": {"type": "string", "enum": list(names)}}
    form = object_format("ranking", {"reason": {"type": "string"}, "scores": scores, "best-to-worst": ranked})
    request = JudgeRequest(prompt.messages, judge.parameters, form, 0, PARSER, prompt.nonce)
    read = partial(read_ranking, shown=order, texts=prompt.shown)
    return Ask(request, read, _FORM), too_long(prompt)


def _wrong_with(item: Found, names: Sequence[str]) -> str | None:
    scores, order = item.get("scores"), item.get("best-to-worst")
    if not isinstance(scores, dict) or not isinstance(order, list):
        return 'it needs "scores" and "best-to-worst"'
    if not _covers(scores, names) or not _covers(order, names):
        return f"both have to name {', '.join(names)}, each once"
    if any(isinstance(score, bool) or score not in range(_LEAST, _MOST + 1) for score in scores.values()):
        return f"a score is a whole number from {_LEAST} to {_MOST}"
    ranked = [scores[name] for name in order]
    return None if ranked == sorted(ranked, reverse=True) else "the order does not agree with the scores"
