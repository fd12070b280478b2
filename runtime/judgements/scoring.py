"""Judged answers with what scorers say of their texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bylaw.compiler.expressions import number_in, truth_in
from bylaw.compiler.program import RewardProgram, RewardTerm
from bylaw.compiler.situation import Situation
from bylaw.compiler.soft_values import SoftValues
from bylaw.runtime.judgements.comparisons import ClassOrder, Comparisons
from bylaw.runtime.judgements.reader import LabelledAnswer
from bylaw.runtime.scorers.asking import Asker, Evaluate, ask_about, terms_evaluated
from bylaw.spec.trace import Trace


@dataclass(frozen=True, slots=True)
class AnswerScores:
    """Asks about answers; what is known of them stays. `gives_reasons`: whether what cannot be told has its reason."""

    asker: Asker
    program: RewardProgram
    gives_reasons: bool = True

    def classed(self, labelled: Sequence[LabelledAnswer], order: ClassOrder) -> list[LabelledAnswer]:
        """The answers, with what it takes to work out their class where nobody gave it."""
        term = order.term
        if term is None or term.value is None:
            return list(labelled)
        open_ones = [place for place, each in enumerate(labelled) if each.kind is None]
        scored = self._asked([labelled[place].answer for place in open_ones], _value_of(term))
        found = list(labelled)
        for place, answer in zip(open_ones, scored, strict=True):
            found[place] = replace(found[place], answer=answer)
        return found

    def compared(self, made: Comparisons, soft_terms: Sequence[RewardTerm] = ()) -> Comparisons:
        """The comparisons, with what it takes to weigh their answers. For expected values (of `soft_terms`) every score
        counts, also where the rest of a sentence settles what is true."""
        return replace(made, answers=self._asked(made.answers, _values_of(self.program, soft_terms)))

    def _asked(self, traces: Sequence[Trace], evaluate: Evaluate) -> list[Trace]:
        scored = ask_about(self.asker, traces, evaluate)
        if self.gives_reasons:
            return list(scored)
        return [replace(new, unscored=old.unscored) for new, old in zip(scored, traces, strict=True)]


def _value_of(term: RewardTerm) -> Evaluate:
    def evaluate(_: int, trace: Trace) -> None:
        here = Situation(trace)
        if term.value is not None and (term.condition is None or truth_in(term.condition, here)):
            number_in(term.value, here)

    return evaluate


def _values_of(program: RewardProgram, soft_terms: Sequence[RewardTerm]) -> Evaluate:
    settled, soft = terms_evaluated(program), SoftValues({})

    def evaluate(number: int, trace: Trace) -> None:
        settled(number, trace)
        soft.terms(soft_terms, trace)

    return evaluate
