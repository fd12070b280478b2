"""The default: logistic models of words and pieces of words, fitted to a concept's examples and labels (no network).

All concepts that name it share one vocabulary, and each text is read once for all of them. With enough labelled texts
they alone say what a score means; with fewer, the `like` and `unlike` of the policy count too (raw scores of each are
made without it). Lexicons that a concept is `cued by` help most where labels are few. What it says is about words: who
writes the same in words that no example has goes unseen.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from bylaw.runtime.concepts.examples import HeldOut
from bylaw.runtime.concepts.labels import LabelledText, own_labels
from bylaw.runtime.concepts.text_model import BATCH, FittedConcepts, Prepared, prepare
from bylaw.runtime.scorers._calibrated import (
    Standing,
    answer,
    made_digest,
    standing,
    text_digest,
    without_variants_apart,
)
from bylaw.runtime.scorers.catalog import Making
from bylaw.runtime.scorers.interface import ConceptScorer, Cost, Question, Scored, ScorerError
from bylaw.spec.expression import Concept

ARGUMENT = ""
RAW = "raw.json"
"""What `save` writes beside the models: raw scores of the examples, out of fold."""
_LARGEST = 200_000_000


@dataclass(frozen=True, slots=True, eq=False)
class WordsScorer:
    """One model for all concepts that are scored by words. `standings`: what its raw scores mean, by concept; `rough`:
    concepts that have an example or a cue, so that a raw score says something before it is calibrated."""

    name: str
    digest: str
    fitted: FittedConcepts
    standings: Mapping[str, Standing]
    rough: frozenset[str]
    made: Mapping[str, str]
    reads: Literal["text", "conversation"] = "text"

    @property
    def calibrations(self) -> Mapping[str, Any]:
        """What its raw scores of the examples (out of fold) say, by concept."""
        found = {name: each.calibration for name, each in self.standings.items()}
        return {name: each for name, each in found.items() if each is not None}

    @property
    def held_out(self) -> Mapping[str, HeldOut]:
        """The examples with their raw scores, out of fold, by concept."""
        found = {name: each.held_out for name, each in self.standings.items()}
        return {name: each for name, each in found.items() if each is not None}

    def score(self, questions: Sequence[Question], progress: Callable[[int], None] = lambda _: None) -> list[Scored]:
        """One answer for each question, in order."""
        column = {name: place for place, name in enumerate(self.fitted.names)}
        found: list[Scored] = []
        for start in range(0, len(questions), BATCH):
            batch = questions[start : start + BATCH]
            began = time.perf_counter()
            row = {text: place for place, text in enumerate(dict.fromkeys(each.text for each in batch))}
            raw, seen = self.fitted.look(list(row))
            cost = Cost(seconds=(time.perf_counter() - began) / len(batch))
            for each in batch:
                place, about = row[each.text], column[each.concept.name]
                found.append(self._answer(each, float(raw[place, about]), seen[place][about], cost))
            progress(len(batch))
        return found

    def _answer(self, question: Question, raw: float, seen: tuple[tuple[int, int], ...], cost: Cost) -> Scored:
        name = question.concept.name
        record = {"text": text_digest(question.text), "model_digest": self.fitted.digest}
        held = self.standings[name]
        calibration = held.calibration
        score = float(calibration.score([raw])[0]) if calibration is not None else _sigmoid(raw)
        # what was seen of a concept is a passage only in a text that expresses it
        passages = seen if score >= 0.5 else ()
        rough = _sigmoid if name in self.rough else None
        return answer(held, raw, record, rough=rough, passages=passages, cost=cost)

    def save(self, folder: Path) -> None:
        """Writes the models and raw scores, from which `making.options["words"]` (the folder) makes this scorer again.

        Raises ScorerError where that cannot be done."""
        self.fitted.save(folder)
        held = self.held_out
        kept = {
            name: {"made": made, "raw": list(held[name].raw) if name in held else None}
            for name, made in self.made.items()
        }
        try:
            (folder / RAW).write_text(json.dumps(kept) + "\n", encoding="utf-8", newline="\n")
        except OSError as error:
            raise ScorerError(f"`{folder}` cannot be written: {(error.strerror or str(error)).lower()}") from error


def make(concepts: tuple[Concept, ...], making: Making) -> Mapping[str, ConceptScorer]:
    """One scorer for all of these concepts. `making.options["words"]`: a folder that one was saved in. Where that was
    not made of the same concepts and labels, and without it, models are fitted. Raises ScorerError."""
    for concept in concepts:
        if concept.scorer_argument:
            raise ScorerError(f"`{concept.name}`: `words` takes no argument, not `{concept.scorer_argument}`")
    labels = {concept.name: _labels(concept, making) for concept in concepts}
    phrases = {concept.name: _with_phrases(concept, labels[concept.name], making) for concept in concepts}
    told = {
        concept.name: (*labels[concept.name], *(own_labels(concept) if phrases[concept.name] else ()))
        for concept in concepts
    }
    told = without_variants_apart(told)
    labels = {name: each[: len(labels[name])] for name, each in told.items()}
    made = {concept.name: _made(concept, labels[concept.name], making) for concept in concepts}
    folder = making.options.get("words")
    saved = None if folder is None else _saved(Path(str(folder)), made)
    if saved is None:
        prepared = prepare(concepts, labels)
        fitted = prepared.fit()
        raw = {each.name: _out_of_fold(prepared, each, told[each.name]) for each in concepts}
    else:
        fitted, raw = saved
    standings = {each.name: standing(each, told[each.name], raw[each.name], making) for each in concepts}
    rough = frozenset(each.name for each in concepts if each.cues or any(one.expresses for one in _all(each, labels)))
    parts = [fitted.digest, *(f"{name}\n{digest}" for name, digest in sorted(made.items()))]
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()
    scorer = WordsScorer("words", digest, fitted, MappingProxyType(standings), rough, MappingProxyType(made))
    return {concept.name: scorer for concept in concepts}


def _labels(concept: Concept, making: Making) -> tuple[LabelledText, ...]:
    """Labelled texts, each once, without those that are examples of the policy, which settle what they are."""
    own = {each.text.strip() for each in own_labels(concept)}
    kept: dict[str, LabelledText] = {}
    for each in making.labels.get(concept.name, ()):
        if each.text.strip() not in own:
            kept.setdefault(each.text.strip(), each)
    return tuple(kept.values())


def _all(concept: Concept, labels: Mapping[str, tuple[LabelledText, ...]]) -> tuple[LabelledText, ...]:
    return (*own_labels(concept), *labels[concept.name])


def _with_phrases(concept: Concept, labels: Sequence[LabelledText], making: Making) -> bool:
    """Whether the examples of the policy say what scores mean too: only where labelled texts do not suffice, because
    they are what scores are asked about, and the author's phrases are plainer."""
    from bylaw.runtime.concepts.conformal import needed

    try:
        enough = needed(making.alpha)
    except ValueError as error:
        raise ScorerError(f"`{concept.name}`: {error}") from error
    does = sum(each.expresses for each in labels)
    return min(does, len(labels) - does) < enough


def _out_of_fold(prepared: Prepared, concept: Concept, told: Sequence[LabelledText]) -> Sequence[float] | None:
    with_phrases = len(told) > len(prepared.labels[concept.name])
    found = prepared.out_of_fold(concept, with_phrases, [each.group for each in told])
    return None if found is None else [float(each) for each in found]


def _made(concept: Concept, labels: Sequence[LabelledText], making: Making) -> str:
    examples = (*own_labels(concept), *labels)
    # whether rough scores count changes nothing about models
    return made_digest("words", concept, examples, replace(making, is_rough_allowed=False), repr(concept.cues))


def _saved(folder: Path, made: Mapping[str, str]) -> tuple[FittedConcepts, dict[str, Sequence[float] | None]] | None:
    """What `save` wrote; None where it is about other concepts, examples or labels. Raises ScorerError for what it
    cannot have written."""
    fitted = FittedConcepts.load(folder)
    try:
        with (folder / RAW).open("rb") as file:
            content = file.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise ValueError(f"it is larger than {_LARGEST:,} bytes")
        kept = json.loads(content)
        if not isinstance(kept, dict):
            raise ValueError("it is no JSON object")
        raw: dict[str, Sequence[float] | None] = {}
        for name, digest in made.items():
            if name not in kept or name not in fitted.names or kept[name]["made"] != digest:
                return None
            values = kept[name]["raw"]
            raw[name] = None if values is None else [float(value) for value in values]
    except OSError as error:
        raise ScorerError(f"`{folder}` cannot be read: {(error.strerror or str(error)).lower()}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ScorerError(f"`{folder / RAW}` is nothing that this version wrote: {error}; fit again") from error
    return fitted, raw


def _sigmoid(raw: float) -> float:
    return 1 / (1 + math.exp(-min(700.0, max(-700.0, raw))))
