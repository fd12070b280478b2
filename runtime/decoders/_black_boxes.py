"""Black boxes of a law asked once about each text, and the sentences of a beginning that are settled."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache

from bylaw.runtime.decoders.interface import PromptLaw, Scorer
from bylaw.spec.expression import Extent
from bylaw.spec.units import sentences


class Asked:
    """A law whose residual, scorers and rule on beginnings answer each text once, and are remembered from then on.

    `law`: the same law, answering from memory. `cheap`: the same without scorers. `scorer_calls`, `rule_calls`: how
    often the black boxes themselves were asked.
    """

    def __init__(self, law: PromptLaw) -> None:
        self.scorer_calls = 0
        self.rule_calls = 0
        scorers = tuple(Scorer(scorer.name, self._scoring(scorer), scorer.level) for scorer in law.scorers)
        rule = None if law.prefix_rule is None else self._ruling(law.prefix_rule)
        residual = None if law.residual is None else cache(law.residual)
        self.law = replace(law, residual=residual, scorers=scorers, prefix_rule=rule)
        self.cheap = replace(self.law, scorers=())
        # a sentence by itself is scored whole, whatever it would be divided into alone
        self._by_sentence = tuple(replace(scorer, level="response") for scorer in scorers if scorer.level == "sentence")

    def _scoring(self, scorer: Scorer) -> Callable[[str], float]:
        known: dict[str, float] = {}

        def score(text: str) -> float:
            if text not in known:
                self.scorer_calls += 1
                known[text] = scorer.score(text)
            return known[text]

        return score

    def _ruling(self, rule: Callable[[str], bool]) -> Callable[[str], bool]:
        known: dict[str, bool] = {}

        def allows(text: str) -> bool:
            if text not in known:
                self.rule_calls += 1
                known[text] = bool(rule(text))
            return known[text]

        return allows

    def sentence_score(self, parts: Iterable[str]) -> float:
        """Nats: what the scorers of sentences pay for these sentences. Raises DecodeError."""
        return sum(scorer.reward(part) for part in parts for scorer in self._by_sentence)


def settled(text: str) -> tuple[Extent, ...]:
    """The first sentences of a beginning: those that stay what they are however the text goes on.

    After a terminator a small letter can join what follows to the sentence (rule SB8 of UAX #29), and so can a comma
    or another mark at once (SB8a). What is divided before both is divided for good.
    """
    letter = sentences.UNIT.find(text + "a")[:-1]
    comma = sentences.UNIT.find(text + ",a")[:-1]
    same = 0
    while same < min(len(letter), len(comma)) and letter[same] == comma[same]:
        same += 1
    return tuple(letter[:same])
