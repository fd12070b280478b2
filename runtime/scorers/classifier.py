"""A classifier of texts from a Hugging Face directory, in safetensors, without code of its own.

`scored by classifier "DIRECTORY"`, `"DIRECTORY#LABEL"` where the label is not called like the concept, and
`"DIRECTORY#LABEL#sha256=..."` to pin its content (weights, configuration and tokenizer). The raw score is the log odds
of the label; of a text longer than the network reads at once, those of the window where they are highest, which is the
passage. What the classifier calls probable is held against examples and labels as any other scorer's numbers.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from bylaw.runtime.concepts.labels import LabelledText
from bylaw.runtime.scorers._calibrated import (
    HasStanding,
    Standing,
    answer,
    grouped_examples,
    made_digest,
    standing,
    text_digest,
)
from bylaw.runtime.scorers._transformer import MOST_WINDOWS, Network, Reference, TooLong, load
from bylaw.runtime.scorers.catalog import Making
from bylaw.runtime.scorers.interface import ConceptScorer, Cost, Question, Scored, ScorerError, unscored
from bylaw.spec.expression import Concept

ARGUMENT = "a directory with a classifier of texts, `#LABEL` after it where the label is called otherwise"


@dataclass(frozen=True, slots=True)
class _Read:
    """What a classifier gave for a text: log odds (nats), and which characters they are highest in."""

    raw: float
    passage: tuple[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class ClassifierScorer(HasStanding):
    """One label of a classifier for one concept."""

    name: str
    digest: str
    network: Network
    label: int
    standing: Standing
    reads: Literal["text", "conversation"] = "text"

    def score(self, questions: Sequence[Question], progress: Callable[[int], None] = lambda _: None) -> list[Scored]:
        """One answer for each question, in order."""
        began = time.perf_counter()
        found = _log_odds(self.network, self.label, [question.text for question in questions], progress)
        cost = Cost(seconds=(time.perf_counter() - began) / max(1, len(questions)))
        about = {"model": self.network.name, "model_digest": self.network.digest, "label": self.label}
        answers = []
        for question, read in zip(questions, found, strict=True):
            record = {"text": text_digest(question.text), **about}
            if read is None:
                answers.append(unscored("input", too_long(self.network), cost, record))
                continue
            passages = (read.passage,) if read.passage != (0, len(question.text)) else ()
            answers.append(answer(self.standing, read.raw, record, rough=_sigmoid, passages=passages, cost=cost))
        return answers


def make(concepts: tuple[Concept, ...], making: Making) -> Mapping[str, ConceptScorer]:
    """The scorer of each concept; concepts of one directory share its network. Raises ScorerError."""
    networks: dict[tuple[str, str], Network] = {}
    found: dict[str, ConceptScorer] = {}
    for concept in concepts:
        reference = Reference.read(concept.scorer_argument, "classifier", concept.name)
        key = reference.place, reference.pin
        if key not in networks:
            is_allowed = making.options.get("allow_download") is True
            networks[key] = load(reference, "classifier", making.base, is_download_allowed=is_allowed)
        network = networks[key]
        label = _label(network, reference, concept)
        examples = grouped_examples((concept,), making)[concept.name]
        raw = _raw_of(network, label, examples, concept.name)
        held = standing(concept, examples, raw, making)
        digest = made_digest("classifier", concept, examples, making, network.digest, str(label))
        found[concept.name] = ClassifierScorer("classifier", digest, network, label, held)
    return found


def _raw_of(network: Network, label: int, examples: Sequence[LabelledText], concept: str) -> list[float]:
    """The log odds for examples. Raises ScorerError for one that the network cannot read."""
    found = []
    for example, read in zip(examples, _log_odds(network, label, [each.text for each in examples]), strict=True):
        place = example.place or "a labelled text"
        if read is None:
            raise ScorerError(f"`{concept}`, {place}: {too_long(network)}")
        if not math.isfinite(read.raw):
            raise ScorerError(f"`{concept}`, {place}: `{network.name}` gives no finite score")
        found.append(read.raw)
    return found


def too_long(network: Network) -> str:
    """What to say of a text that is not read."""
    return f"the text is longer than {MOST_WINDOWS} windows of {network.window} tokens, the most that is read"


def _label(network: Network, reference: Reference, concept: Concept) -> int:
    """Which output means that the text expresses the concept."""
    config = network.module.config
    names = {str(name): int(number) for number, name in config.id2label.items()}
    shown = ", ".join(f"`{name}`" for name in names)
    if len(reference.parts) > 1:
        raise ScorerError(f"`{concept.name}` names more than one label of `{reference.place}`")
    if reference.parts:
        wanted = reference.parts[0]
        if wanted not in names:
            raise ScorerError(f"`{reference.place}` has no label `{wanted}`; its labels are {shown}")
        return names[wanted]
    folded = {_folded(name): number for name, number in names.items()}
    own = _folded(concept.name.rpartition(".")[2])
    if own in folded:
        return folded[own]
    if len(names) == 1:
        return 0
    if set(names) == {"LABEL_0", "LABEL_1"}:
        return names["LABEL_1"]
    message = f"`{reference.place}` has no label called like `{concept.name}`; its labels are {shown}"
    raise ScorerError(f'{message}. Name one: `scored by classifier "{reference.place}#LABEL"`')


def _folded(name: str) -> str:
    return "".join(character for character in name.casefold() if character.isalnum())


def _log_odds(
    network: Network, label: int, texts: Sequence[str], progress: Callable[[int], None] = lambda _: None
) -> list[_Read | None]:
    """The log odds of a label for each text; None where a text is too long."""
    windows: list[list[int]] = []
    places: list[tuple[int, tuple[int, int]]] = []
    found: list[_Read | None] = [None] * len(texts)
    for number, text in enumerate(texts):
        try:
            parts = network.windows(text)
        except TooLong:
            continue
        windows += [ids for ids, _ in parts]
        places += [(number, place if len(parts) > 1 else (0, len(text))) for _, place in parts]
    for batch, (output, _) in network.batches(windows):
        for window, raw in zip(batch, _odds(output.logits, label, network.module.config), strict=True):
            number, place = places[window]
            best = found[number]
            # what is not a number stays, and is no score
            if best is None or not (math.isnan(best.raw) or raw <= best.raw):
                found[number] = _Read(raw, place)
    progress(len(texts))
    return found


def _odds(logits: Any, label: int, config: Any) -> list[float]:
    """Log odds of a label: its logit where labels are free of each other, otherwise against all others."""
    values = logits.double().numpy()
    if values.shape[1] == 1 or config.problem_type == "multi_label_classification":
        return [float(value) for value in values[:, label]]
    others = np.delete(values, label, axis=1)
    return [float(value) for value in values[:, label] - np.logaddexp.reduce(others, axis=1)]


def _sigmoid(raw: float) -> float:
    return 1 / (1 + math.exp(-raw)) if raw >= 0 else math.exp(raw) / (1 + math.exp(raw))
