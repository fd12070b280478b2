"""Sentence embeddings: a logistic model on the mean of a network's last states, fitted to examples and labels.

`scored by embeddings "DIRECTORY"` (relative to the policy) or a hub id, with `#sha256=...` after it to pin its content
(weights, configuration and tokenizer). A hub id has to be pinned, and means what was fetched from the hub before. Only
safetensors are read, and no code of the directory runs. A text that is longer than the network reads at once is read
in windows, and the mean is over all of its tokens.

Embeddings are blind to much, negation first: the figures of `bylaw concept` say whether they see this concept.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

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
from bylaw.runtime.scorers._heads import FloatArray, Head, fit_head, out_of_fold
from bylaw.runtime.scorers._transformer import MOST_WINDOWS, Network, Reference, TooLong, load
from bylaw.runtime.scorers.catalog import Making
from bylaw.runtime.scorers.interface import ConceptScorer, Cost, Question, Scored, ScorerError, unscored
from bylaw.spec.errors import visible
from bylaw.spec.expression import Concept

ARGUMENT = "a directory with an encoder of texts, or a hub id, `#sha256=...` after it"


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddingScorer(HasStanding):
    """A head on one network for one concept; `head` None: there are no examples of one class."""

    name: str
    digest: str
    network: Network
    head: Head | None
    standing: Standing
    reads: Literal["text", "conversation"] = "text"

    def score(self, questions: Sequence[Question], progress: Callable[[int], None] = lambda _: None) -> list[Scored]:
        """One answer for each question, in order."""
        about = {"model": self.network.name, "model_digest": self.network.digest}
        records = [{"text": text_digest(question.text), **about} for question in questions]
        if self.head is None:
            progress(len(questions))
            return [unscored("uncalibrated", self.standing.lacking, record=record) for record in records]
        began = time.perf_counter()
        features, is_read = embed(self.network, [question.text for question in questions], progress)
        raw = self.head.raw(features)
        cost = Cost(seconds=(time.perf_counter() - began) / max(1, len(questions)))
        return [
            answer(self.standing, float(value), record, cost=cost)
            if read
            else unscored("input", _too_long(self.network), cost, record)
            for value, read, record in zip(raw, is_read, records, strict=True)
        ]


def make(concepts: tuple[Concept, ...], making: Making) -> Mapping[str, ConceptScorer]:
    """The scorer of each concept; concepts of one directory share its network, and each text goes through it once.

    Raises ScorerError."""
    named: dict[tuple[str, str], list[tuple[Concept, Reference]]] = {}
    for concept in concepts:
        reference = Reference.read(concept.scorer_argument, "embeddings", concept.name)
        if reference.parts:
            raise ScorerError(f"`{concept.name}`: embeddings have no label `{reference.parts[0]}`")
        named.setdefault((reference.place, reference.pin), []).append((concept, reference))
    found: dict[str, ConceptScorer] = {}
    is_allowed = making.options.get("allow_download") is True
    for group in named.values():
        network = load(group[0][1], "encoder", making.base, is_download_allowed=is_allowed)
        examples = grouped_examples([concept for concept, _ in group], making)
        texts = list(dict.fromkeys(each.text for some in examples.values() for each in some))
        features, is_read = embed(network, texts)
        if not all(is_read):
            begun = texts[is_read.index(False)][:40]
            raise ScorerError(f"{_too_long(network)}: the labelled text that begins with `{visible(begun)}`")
        if not np.isfinite(features).all():
            raise ScorerError(f"`{network.name}` gives numbers that are not finite: its weights are broken")
        row = {text: number for number, text in enumerate(texts)}
        for concept, _ in group:
            own = examples[concept.name]
            rows = features[[row[each.text] for each in own]] if own else np.empty((0, features.shape[1]))
            found[concept.name] = _scorer(concept, own, rows, network, making)
    return found


def _scorer(
    concept: Concept, examples: Sequence[LabelledText], features: FloatArray, network: Network, making: Making
) -> EmbeddingScorer:
    does = np.array([each.expresses for each in examples], dtype=bool)
    has_both = bool(does.any()) and not bool(does.all())
    raw = out_of_fold(features, does, [each.group for each in examples]) if has_both else None
    held = standing(concept, examples, None if raw is None else raw.tolist(), making)
    head = fit_head(features, does) if has_both and held.calibration is not None else None
    digest = made_digest("embeddings", concept, examples, making, network.digest)
    return EmbeddingScorer("embeddings", digest, network, head, held)


def embed(
    network: Network, texts: Sequence[str], progress: Callable[[int], None] = lambda _: None
) -> tuple[FloatArray, list[bool]]:
    """(embeddings [N, D] of length 1, whether each text was read): one that is too long is not, and has zeros."""
    windows: list[list[int]] = []
    owners: list[int] = []
    is_read = [True] * len(texts)
    for number, text in enumerate(texts):
        try:
            parts = network.windows(text)
        except TooLong:
            is_read[number] = False
            continue
        windows += [ids for ids, _ in parts]
        owners += [number] * len(parts)
    total = np.zeros((len(texts), int(network.module.config.hidden_size)))
    for batch, (output, mask) in network.batches(windows):
        states, kept = output.last_hidden_state.double().numpy(), mask.numpy()[:, :, None]
        for window, summed in zip(batch, (states * kept).sum(axis=1), strict=True):
            total[owners[window]] += summed
    progress(len(texts))
    length = np.linalg.norm(total, axis=1, keepdims=True)
    return np.divide(total, length, out=np.zeros_like(total), where=length != 0), is_read


def _too_long(network: Network) -> str:
    return f"the text is longer than {MOST_WINDOWS} windows of {network.window} tokens, the most that is read"
