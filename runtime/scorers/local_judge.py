"""A language model in this process as judge: how probable "yes" is, against "no", as the first word of its answer.

`scored by local_judge "DIRECTORY"`: a causal language model in safetensors files, relative to the policy. It needs the
extra `models`; nothing is fetched, and no code of the directory runs. The log odds of yes against no are calibrated on
labelled texts, those of the policy that the prompt does not show and those of `--labels`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bylaw.runtime.judges.injection import JudgeCopy, fresh_nonce, judge_copy
from bylaw.runtime.judges.interface import JudgeError
from bylaw.runtime.judges.judge import require_other_model
from bylaw.runtime.judges.prompt import render, templates_digest
from bylaw.runtime.judges.rubric import Rubric, concept_rubric, spoken_name
from bylaw.runtime.scorers._calibrated import (
    Standing,
    answer,
    grouped_examples,
    made_digest,
    not_shown,
    standing,
    text_digest,
)
from bylaw.runtime.scorers.catalog import Making
from bylaw.runtime.scorers.interface import ConceptScorer, Cost, Question, Scored, ScorerError, unscored
from bylaw.spec.expression import Concept

if TYPE_CHECKING:
    from bylaw.runtime.judges.local import LabelReader
    from bylaw.runtime.models.interface import LanguageModel

ARGUMENT = "a directory with a causal language model in safetensors files"
LEAST_MASS = 0.05
"""Where yes and no together are less probable than this, the model answers something else."""
_BATCH = 8


@dataclass(frozen=True, slots=True)
class Odds:
    """Of one text: `raw`, the log odds (nats) of yes against no, and how probable both are together; None: it could not
    be asked about, and `problem` says why. `cut`: characters that the model did not see."""

    raw: float | None
    mass: float = 0.0
    problem: str = ""
    tokens: int = 0
    seconds: float = 0.0
    cut: int = 0


class LocalJudge:
    """One concept with the model that judges it; `calibrations`: what its odds of labelled texts say, by concept;
    `judging_models`: what it is known by, nothing where it may judge its own answers."""

    name = "local_judge"
    reads: Literal["text", "conversation"] = "text"

    def __init__(
        self, reader: LabelReader, rubric: Rubric, held: Standing, digest: str, *, is_same_model_allowed: bool = False
    ) -> None:
        self.judging_models = () if is_same_model_allowed else (reader.model.name, reader.model.digest)
        self._reader = reader
        self._rubric = rubric
        self._held = held
        self.digest = digest

    @property
    def calibrations(self) -> Mapping[str, Any]:
        found = self._held.calibration
        return {} if found is None else {self._held.concept: found}

    def score(self, questions: Sequence[Question], progress: Callable[[int], None] = lambda _: None) -> list[Scored]:
        """One answer for each question, in order. Raises ScorerError where the model cannot be run at all."""
        odds = log_odds(self._reader, self._rubric, [question.text for question in questions], progress)
        return [self._scored(question, found) for question, found in zip(questions, odds, strict=True)]

    def _scored(self, question: Question, found: Odds) -> Scored:
        model = self._reader.model
        record = {
            "text": text_digest(question.text),
            "model": model.name,
            "model_digest": model.digest,
            "templates": templates_digest(),
            "mass": found.mass,
        }
        cost = Cost(found.seconds, tokens_in=found.tokens)
        if found.raw is None:
            return unscored("input", found.problem, cost, record)
        if found.mass < LEAST_MASS:
            told = f"`{model.name}` begins its answer with yes or no in {found.mass:.1%} of all cases only"
            return unscored("cannot_tell", told, cost, record)
        given = answer(self._held, found.raw, record, rough=_sigmoid, cost=cost)
        if found.cut and given.score is not None and given.score < question.concept.threshold:
            told = f"the model saw all but {found.cut} characters of the text, and nothing in what it saw"
            return unscored("input", told, cost, record)
        return given


def make(concepts: tuple[Concept, ...], making: Making) -> Mapping[str, ConceptScorer]:
    """The scorer of each concept; concepts of one directory share its model. Raises ScorerError for a directory that is
    no such model, one whose labels cannot be told apart, and the model under test (`options["local_judge"]`, a mapping
    with `model_under_test` and `is_same_model_allowed`)."""
    readers: dict[str, LabelReader] = {}
    return {concept.name: _scorer(concept, concepts, making, readers) for concept in concepts}


def _scorer(concept: Concept, others: Sequence[Concept], making: Making, readers: dict[str, LabelReader]) -> LocalJudge:
    place = (concept.scorer_argument or "").strip()
    if not place:
        raise ScorerError(f'`{concept.name}` names no model: write `scored by local_judge "DIRECTORY"`')
    try:
        if place not in readers:
            readers[place] = _reader(place, making)
        reader = readers[place]
        rubric = concept_rubric(replace(concept, scorer_argument=None), others)
    except JudgeError as error:
        raise ScorerError(f"`{concept.name}`: {error}") from error
    shown = [example.text for example in rubric.examples]
    labels = not_shown(grouped_examples((concept,), making)[concept.name], shown)
    odds = log_odds(reader, rubric, [each.text for each in labels])
    # where it would not answer, its odds calibrate nothing either
    answered = (pair for pair in zip(labels, odds, strict=True) if pair[1].mass >= LEAST_MASS)
    pairs = [(each, found.raw) for each, found in answered if found.raw is not None]
    kept = [each for each, _ in pairs]
    raw = [value for _, value in pairs if value is not None]
    held = standing(concept, kept, raw if raw else None, making)
    digest = made_digest("local_judge", concept, kept, making, reader.model.digest, repr(rubric), templates_digest())
    is_allowed = bool(_told(making).get("is_same_model_allowed"))
    return LocalJudge(reader, rubric, held, digest, is_same_model_allowed=is_allowed)


def _told(making: Making) -> Mapping[str, Any]:
    """The options of this scorer."""
    option = making.options.get("local_judge")
    return option if isinstance(option, Mapping) else {}


def _reader(place: str, making: Making) -> LabelReader:
    directory = making.base / Path(place)
    if not directory.is_dir():  # known before torch is loaded
        raise JudgeError(f"there is no model directory `{place}`")
    told = _told(making)
    if told.get("model_under_test") and not told.get("is_same_model_allowed"):
        require_other_model(directory.resolve().name, str(told["model_under_test"]))
    try:
        from bylaw.runtime.judges.local import LabelReader
        from bylaw.runtime.models.huggingface import load_model
        from bylaw.runtime.models.interface import ModelError
    except ImportError as error:
        raise JudgeError(
            f"a judge in this process needs the extra `models` ({error.name} is missing): install bylaw with it, as in "
            "pip install '.[models]'"
        ) from error
    try:
        model = load_model(directory)
    except ModelError as error:
        raise JudgeError(str(error)) from error
    return LabelReader(model)


# ----------------------------------------------------------------------------------------------------------- asking it
def log_odds(
    reader: LabelReader, rubric: Rubric, texts: Sequence[str], progress: Callable[[int], None] = lambda _: None
) -> list[Odds]:
    """The odds of each text, in order. A text that does not fit, or that holds control words of this very model, is not
    asked about. Raises ScorerError where the model cannot be run."""
    from bylaw.runtime.models.interface import ModelError

    found: dict[int, Odds] = {}
    prompts: dict[int, tuple[int, ...]] = {}
    copies = [judge_copy(text) for text in texts]
    try:
        own = _controls(reader.model, _encoded(reader.model, rubric, "x"))
        for number, copy in enumerate(copies):
            prompt, problem = _prompt(reader, rubric, copy, own)
            if problem:
                found[number] = Odds(None, problem=problem, tokens=len(prompt))
                progress(1)
            else:
                prompts[number] = prompt
        order = sorted(prompts, key=lambda number: len(prompts[number]))
        for start in range(0, len(order), _BATCH):
            some = order[start : start + _BATCH]
            began = time.perf_counter()
            rows = _log_probs(reader, [prompts[number] for number in some])
            seconds = (time.perf_counter() - began) / len(some)
            for number, (yes, no) in zip(some, rows, strict=True):
                mass = min(1.0, math.exp(yes) + math.exp(no))
                raw = yes - no if math.isfinite(yes) and math.isfinite(no) else None
                problem = "" if raw is not None else f"`{reader.model.name}` gives yes or no no probability at all"
                found[number] = Odds(raw, mass, problem, len(prompts[number]), seconds, copies[number].cut)
            progress(len(some))
    except ModelError as error:
        raise ScorerError(f"the judge `{reader.model.name}` cannot be run: {error}") from error
    return [found[number] for number in range(len(texts))]


def _log_probs(reader: LabelReader, prompts: Sequence[tuple[int, ...]]) -> list[tuple[float, float]]:
    """The log-probabilities of yes and no; a batch that does not fit into memory is halved."""
    from bylaw.runtime.models.interface import OutOfMemory

    try:
        return [(float(yes), float(no)) for yes, no in reader.log_probs(prompts)]
    except OutOfMemory:
        if len(prompts) == 1:
            raise
    half = len(prompts) // 2
    return [*_log_probs(reader, prompts[:half]), *_log_probs(reader, prompts[half:])]


def _prompt(reader: LabelReader, rubric: Rubric, copy: JudgeCopy, own: int) -> tuple[tuple[int, ...], str]:
    """The prompt's tokens, and why they cannot be used (empty: they can). `own`: the control tokens of the template."""
    prompt = _encoded(reader.model, rubric, copy.text)
    if _controls(reader.model, prompt) != own:
        return prompt, f"the text holds control words of `{reader.model.name}`, or characters that it has no tokens for"
    limit = getattr(reader.model, "context", None)
    if limit is not None and len(prompt) + reader.longest + 1 > limit:
        return (
            prompt,
            f"the text is too long for `{reader.model.name}`: {len(prompt)} tokens of {limit} with the question",
        )
    return prompt, ""


def _encoded(model: LanguageModel, rubric: Rubric, text: str) -> tuple[int, ...]:
    # the mark is part of what the odds hang on: made from the text, it gives a text one score, and nobody can write a
    # text that holds its own hash
    nonce = fresh_nonce([text], lambda: text_digest(text)[:16])
    values = {"rubric": rubric, "spoken": spoken_name(rubric.name), "text": text, "nonce": nonce}
    return model.encode_chat([{"role": "user", "content": render("local_user.jinja", **values).rstrip()}])


def _controls(model: LanguageModel, tokens: Sequence[int]) -> int:
    """How many of these tokens are no text."""
    pieces, ends = model.vocabulary.token_bytes, model.vocabulary.eos_ids
    return sum(pieces[token] is None or token in ends for token in tokens)


def _sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value)) if value > -700 else 0.0
