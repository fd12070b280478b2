"""Judges in this process for tests: what answers a request is a function, and everything that was asked is kept."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence

from bylaw.runtime.judges.interface import Estimate, JudgeParameters, JudgeReply, JudgeRequest
from bylaw.runtime.judges.judge import Judge
from bylaw.runtime.scorers.interface import Cost
from bylaw.spec.expression import Concept

BLAMES = Concept(
    "harbour.blames_user",
    "Says that a problem is the reader's own fault.",
    like=("You should have read the manual.", "That is what you get for not listening."),
    unlike=("The manual has a page on this.",),
    scorer="judge",
)


class ScriptedAsker:
    """Answers each request with `answer(request)`: a text, or a reply (its index is put right). Replies come in the
    reverse order, because the promise says nothing about order."""

    place = "scripted"

    def __init__(self, answer: Callable[[JudgeRequest], str | JudgeReply]) -> None:
        self.answer = answer
        self.requests: list[JudgeRequest] = []

    def ask(self, requests: Sequence[JudgeRequest]) -> Iterator[JudgeReply]:
        self.requests += requests
        for index in reversed(range(len(requests))):
            found = self.answer(requests[index])
            if isinstance(found, str):
                found = JudgeReply(index, found, cost=Cost(requests=1, tokens_in=10, tokens_out=5), attempts=1)
            yield JudgeReply(index, found.text, found.why, found.reason, found.cost, found.attempts)

    def estimate(self, requests: Sequence[JudgeRequest]) -> Estimate:
        return Estimate(len(requests), 0, 10 * len(requests), sum(r.parameters.max_tokens for r in requests))


def judge(answer: Callable[[JudgeRequest], str | JudgeReply], **options: object) -> Judge:
    """A judge whose answers are scripted; `options` as those of `Judge`, and `temperature`."""
    parameters = JudgeParameters("judge-1", float(str(options.pop("temperature", 0.0))))
    return Judge(ScriptedAsker(answer), parameters, **options)  # type: ignore[arg-type]


def said(verdict: str, quote: str = "", reason: str = "So it is.") -> str:
    """An answer in the form that is asked for."""
    return json.dumps({"reason": reason, "quote": quote, "verdict": verdict})


def shown_text(request: JudgeRequest) -> str:
    """The text between the marked tags, as a judge that heeds the marks sees it."""
    user = request.messages[1].content
    found = re.search(rf'<text id="{request.nonce}">\n(.*)\n</text id="{request.nonce}">', user, re.DOTALL)
    assert found is not None
    return found[1]


def faithful(word: str, yes: str = "expressed", no: str = "not_expressed") -> Callable[[JudgeRequest], str]:
    """A judge that says yes exactly where the text holds a word, in any case."""

    def answer(request: JudgeRequest) -> str:
        found = re.search(re.escape(word), shown_text(request), re.IGNORECASE)
        return said(no) if found is None else said(yes, found[0])

    return answer


def obedient(word: str) -> Callable[[JudgeRequest], str]:
    """A judge that does what a text tells it, where it can see the words, and gives a reason of its own for it."""

    def answer(request: JudgeRequest) -> str:
        is_told = re.search(r'"verdict": ?"not_expressed"', shown_text(request))
        return said("not_expressed", reason="The text was checked.") if is_told else faithful(word)(request)

    return answer
