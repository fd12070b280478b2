"""A judge: the way to a model, how it is asked, and how often. What `--judge` makes, and what judged scores share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from bylaw.runtime.judges.exchange import Answer, Ask, exchange
from bylaw.runtime.judges.injection import MOST_CHARACTERS
from bylaw.runtime.judges.interface import Asker, Estimate, JudgeError, JudgeParameters, JudgeRequest
from bylaw.runtime.judges.prompt import Exhibit, question_prompt
from bylaw.runtime.judges.rubric import Rubric
from bylaw.runtime.judges.verdict import FORM, PARSER, Verdict, read_verdict, verdict_format

_MOST_REPEATS = 100
_FEWEST_CHARACTERS = 400


@dataclass(frozen=True)
class Judge:
    """Who judges, and how. `making.options["judge"]` of the scorer `judge`.

    `repeats`: answers to each question; more than one needs a temperature above 0 (else they are all the same), and
    each has a seed of its own where `parameters` has one. `model_under_test`: the name of the model whose texts are
    judged; the same model is no judge of itself unless `is_same_model_allowed`. `reads_conversation`: whether it is
    shown what was said before. `most_characters`: of a text. `draw`: the source of marks, for tests. Raises JudgeError
    for what does not go together.
    """

    asker: Asker
    parameters: JudgeParameters
    repeats: int = 1
    model_under_test: str | None = None
    is_same_model_allowed: bool = False
    reads_conversation: bool = False
    most_characters: int = MOST_CHARACTERS
    draw: Callable[[], str] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        model = self.parameters.model
        if not model.strip():
            raise JudgeError("a judge needs the name of its model")
        if not 0 <= self.parameters.temperature < float("inf") or self.parameters.max_tokens < 1:
            raise JudgeError("a judge needs a temperature of 0 or more, and one token at least for its answer")
        if self.most_characters < _FEWEST_CHARACTERS:
            raise JudgeError(f"a judge is shown {_FEWEST_CHARACTERS} characters of a text at least")
        if not 1 <= self.repeats <= _MOST_REPEATS:
            raise JudgeError(f"a judge is asked 1 to {_MOST_REPEATS} times, not {self.repeats}")
        if self.repeats > 1 and self.parameters.temperature == 0:
            raise JudgeError(
                f"{self.repeats} repeats of a judge at temperature 0 would say the same: give it a temperature above 0"
            )
        if self.model_under_test is not None and not self.is_same_model_allowed:
            require_other_model(model, self.model_under_test)

    def questions(self, items: Sequence[tuple[Rubric, Exhibit]]) -> list[Ask[Verdict]]:
        """What is sent: all repeats of the first question, then those of the next."""
        return [ask for rubric, exhibit in items for ask in self._asks(rubric, exhibit)]

    def estimate(self, items: Sequence[tuple[Rubric, Exhibit]]) -> Estimate:
        """What asking these would cost; sends nothing."""
        return self.asker.estimate([ask.sent() for ask in self.questions(items)])

    def ask(
        self, items: Sequence[tuple[Rubric, Exhibit]], progress: Callable[[int], None] = lambda _: None
    ) -> tuple[tuple[Answer[Verdict], ...], ...]:
        """For each question its `repeats` answers, in order. `progress` is told how many more answers there are. Raises
        JudgeError where the judge cannot be used at all."""
        answers = exchange(self.asker, self.questions(items), progress)
        return tuple(answers[start : start + self.repeats] for start in range(0, len(answers), self.repeats))

    def _asks(self, rubric: Rubric, exhibit: Exhibit) -> list[Ask[Verdict]]:
        shown = exhibit if self.reads_conversation else replace(exhibit, before=())
        asks: list[Ask[Verdict]] = []
        for epoch in range(self.repeats):
            prompt = question_prompt(rubric, shown, most=self.most_characters, draw=self.draw)
            seed = self.parameters.seed
            request = JudgeRequest(
                prompt.messages,
                replace(self.parameters, seed=None if seed is None else seed + epoch),
                verdict_format(rubric),
                epoch,
                PARSER,
                prompt.nonce,
            )
            read = partial(read_verdict, rubric=rubric, copy=prompt.copies[0], others=prompt.others)
            asks.append(Ask(request, read, FORM))
        return asks


def require_other_model(judge: str, under_test: str) -> None:
    """Raises JudgeError where both names mean one model: the same but for capitals, and for an owner that only one of
    them names (`acme/small-1` and `small-1`)."""
    one, other = (name.strip().casefold().rstrip("/") for name in (judge, under_test))
    owners = bool("/" in one) + bool("/" in other)
    last = one.rpartition("/")[2] == other.rpartition("/")[2]
    if one == other or (owners == 1 and last):
        raise JudgeError(
            f"the judge `{judge}` is the model under test: models favour their own answers. Name another judge, or "
            "allow it explicitly (--judge-itself)"
        )
