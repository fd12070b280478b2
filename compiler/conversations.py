"""Whether rules about events can be obeyed together: conversations that show it, and proofs that there is none.

What the policy's own examples and tests have shown is tried first; monitors are asked what is left
(compiler/monitors/conversation.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from bylaw.compiler.contradiction import Contradiction, Open
from bylaw.compiler.demands import Demand
from bylaw.compiler.evaluate import truth
from bylaw.compiler.witnesses import Witnesses
from bylaw.spec.regulator import RegulatorSet
from bylaw.spec.trace import Message, Trace

LIMIT = 4_000
"""States of a search for a conversation."""
MOST_TOGETHER = 12
"""Rules that are put to monitors at once; of more, it stays open whether they can be obeyed together."""
MOST_ABOUT_ANSWERS = 3
"""Rules about the answer alone among them; counts of words make monitors large."""
MOST_ADDED = 3
"""Rules that join them at once."""
PROOF = "proved by the emptiness of a product of monitors"
GREETING = (Message("user", "a"), Message("assistant", "a"))


@dataclass(frozen=True, slots=True)
class Conversations:
    """Conversations that end with an answer, to be tried on rules."""

    tried: tuple[Trace, ...]

    @staticmethod
    def of(policy: RegulatorSet) -> Conversations:
        """A short one and those of the examples and tests, up to each expectation."""
        found = [Trace(GREETING)]
        found += [Trace(each.messages, dict(each.facts)) for each in policy.examples if not each.is_text]
        for test in policy.tests:
            found += [Trace(test.messages[: each.steps], dict(test.facts)) for each in test.expectations]
        return Conversations(tuple(found))

    def obeying(self, demands: Sequence[Demand], answer: str | None = None) -> Trace | None:
        """A known conversation that obeys all demands, perhaps with another `answer` at its end."""
        for trace in self.tried:
            for each in _with_answer(trace, answer):
                if all(truth(demand.obeyed, each) is True for demand in demands):
                    return each
        return None

    def contradiction(self, demands: Sequence[Demand], witnesses: Witnesses) -> Contradiction | Open | None:
        """As `contradiction` of answers (compiler/contradiction.py), for demands some of which are about events.

        Only those are put to monitors that the last conversation found still breaks. Demands on the answer alone are
        known to be obeyed by some text, which is put at its end.
        """
        from bylaw.compiler.monitors import NotDecided, conversation_obeying

        about_answers = [demand for demand in demands if demand.reads_only_the_answer]
        answer = witnesses.obeying([each.obeyed for each in about_answers], [each.key for each in about_answers])
        if self.obeying(demands, answer) is not None:
            return None
        trace, active = self.tried[0], list[int]()
        while True:
            broken = min(
                (
                    [n for n, d in enumerate(demands) if truth(d.obeyed, each) is not True]
                    for each in _with_answer(trace, answer)
                ),
                key=len,
            )
            if not broken:
                return None
            broken.sort(key=lambda n: demands[n].reads_only_the_answer)  # rules about events are why this is asked
            added = [n for n in broken if n not in active][:MOST_ADDED]
            active = sorted((*active, *added))
            about_texts = sum(demands[n].reads_only_the_answer for n in active)
            if not added or len(active) > MOST_TOGETHER or about_texts > MOST_ABOUT_ANSWERS:
                return Open(tuple(active), ("too many rules to be put to monitors at once",))
            try:
                found = conversation_obeying([demands[n].obeyed for n in active], LIMIT)
            except NotDecided as error:
                return Open(tuple(active), (error.reason,))
            if found is None:
                smallest = self._smallest([demands[n] for n in active])
                return Contradiction(tuple(active[place] for place in smallest), PROOF)
            trace = found

    def _smallest(self, demands: Sequence[Demand]) -> tuple[int, ...]:
        """The numbers of a smallest part that no conversation obeys: each left out that is not needed."""
        from bylaw.compiler.monitors import NotDecided, conversation_obeying

        kept = list(range(len(demands)))
        for number in range(len(demands)):
            rest = [each for each in kept if each != number]
            try:
                if rest and conversation_obeying([demands[each].obeyed for each in rest], LIMIT) is None:
                    kept = rest
            except NotDecided:
                continue
        return tuple(kept)


def _with_answer(trace: Trace, answer: str | None) -> Iterator[Trace]:
    """The conversation, and the same with another answer at its end."""
    yield trace
    if answer is not None and trace.messages[-1].kind == "message":
        yield replace(trace, messages=(*trace.messages[:-1], replace(trace.messages[-1], content=answer)))


def shortest_conversation(demands: Sequence[Demand]) -> str | None:
    """A shortest conversation that obeys all demands, as it stands in a note; None where none is known."""
    from bylaw.compiler.monitors import NotDecided, conversation_obeying, shown

    try:
        found = conversation_obeying([demand.obeyed for demand in demands], LIMIT)
    except NotDecided:
        return None
    return None if found is None else shown(found)
