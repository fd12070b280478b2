"""Feeds finished responses through the frontier, every choice told, and writes down the laws that it meets."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from bylaw.runtime.decode_report.attribution import Attribution, Walk
from bylaw.runtime.decode_report.record import ACTED, WRITTEN, Candidate, DecodeReportError, Effect, Position
from bylaw.runtime.decoders.engine import factors_of, run
from bylaw.runtime.decoders.frontier import Frontier
from bylaw.runtime.decoders.interface import DecodeTask
from bylaw.runtime.models.interface import FloatArray, IntArray, LanguageModel, OutOfMemory

MOST_LIKELY = 5
"""Tokens that are named for each law of a position."""
BATCH = 32
"""Responses that are looked at together."""
SMALL_FALL = 1e-6
"""A probability that falls by less has not fallen."""


@dataclass
class Traced:
    """One response: its positions, and sums over them by the name of a factor, those of `Effect`s left out included."""

    positions: list[Position] = field(default_factory=list)
    kl: dict[str, float] = field(default_factory=dict)
    on_response: dict[str, float] = field(default_factory=dict)
    forbade: dict[str, int] = field(default_factory=dict)

    def add(self, position: Position, effects: Sequence[Effect]) -> None:
        """Append a position with all effects there, those too small to be written included."""
        self.positions.append(position)
        for effect in effects:
            self.kl[effect.term] = self.kl.get(effect.term, 0.0) + effect.kl
            self.on_response[effect.term] = self.on_response.get(effect.term, 0.0) + effect.on_chosen
            self.forbade[effect.term] = self.forbade.get(effect.term, 0) + (effect.on_wanted == -np.inf)


class Forced:
    """Feeds responses to one prompt through the frontier and writes down what it sees."""

    def __init__(
        self,
        model: LanguageModel,
        task: DecodeTask,
        attribution: Attribution,
        law: Literal["twist", "mask"],
        max_tokens: int,
    ) -> None:
        self._model, self._task, self._law = model, task, law
        self._attribution, self._cap = attribution, max_tokens
        ends = model.vocabulary.end_ids
        self._end = int(ends[0]) if len(ends) else None

    def all(self, responses: Sequence[tuple[int, ...]]) -> list[Traced]:
        """One trace for each response. A batch that does not fit into memory is halved."""
        if any(len(tokens) > self._cap for tokens in responses):
            raise DecodeReportError(f"a response is longer than the {self._cap} tokens that it may have")
        done: list[Traced] = []
        size = BATCH
        while len(done) < len(responses):
            part = responses[len(done) : len(done) + size]
            try:
                done.extend(self._batch(part))
            except OutOfMemory:
                if len(part) == 1:
                    raise
                size = (len(part) + 1) // 2
        return done

    def _batch(self, responses: Sequence[tuple[int, ...]]) -> list[Traced]:
        traced = [Traced() for _ in responses]
        walks = [Walk(factor, len(responses), self._end) for factor in self._attribution.factors]

        def choose(frontier: Frontier, rows: IntArray, step: int) -> IntArray:
            said = np.array([self._said(responses[row], step) for row in rows], dtype=np.int64)
            look = frontier.look()
            for node in np.unique(frontier.nodes):
                same = np.flatnonzero(frontier.nodes == node)
                goes_on = self._goes_on(frontier.response(int(same[0])))
                laws = _Laws(look.law[node], look.scores[node], self._law, goes_on)
                first = rows[same[:1]]
                factors = {w.factor.term: w.log_factors(first, self._cap - step - 1, len(laws.base))[0] for w in walks}
                alone = {term: _tilted(laws.base, factor) for term, factor in factors.items()}
                for row in same:
                    position, effects = self._position(laws, alone, int(said[row]), step)
                    traced[rows[row]].add(position, effects)
            going = np.flatnonzero(said != (-1 if self._end is None else self._end))
            for walk in walks:
                walk.advance(rows[going], said[going])
            return said

        prompts = [self._task.prompt] * len(responses)
        factors = factors_of(self._task, self._model.vocabulary)
        run(self._model, prompts, factors, self._cap, choose, masked=False)
        return traced

    def _goes_on(self, begun: tuple[int, ...]) -> Callable[[int], bool]:
        """Whether a token, or the end, leaves text that is well-formed or can become it; other tokens break no rule."""
        decoder = codecs.getincrementaldecoder("utf-8")()
        decoder.decode(self._model.vocabulary.data(begun))
        inside = decoder.getstate()

        def is_text(token: int) -> bool:
            decoder.setstate(inside)
            try:
                decoder.decode(b"" if token == self._end else self._model.vocabulary.data([token]), token == self._end)
            except UnicodeDecodeError:
                return False
            return True

        return is_text

    def _said(self, tokens: tuple[int, ...], step: int) -> int:
        if step < len(tokens):
            return tokens[step]
        if self._end is None:
            raise DecodeReportError("a model without an end-of-text token cannot end a response before its last token")
        return self._end

    def _position(
        self, laws: _Laws, alone: Mapping[str, tuple[FloatArray, float]], said: int, step: int
    ) -> tuple[Position, list[Effect]]:
        """What is to be said of `said` after a beginning with these laws, and all effects there, small ones too."""
        if not np.isfinite(laws.twisted[said]):
            raise DecodeReportError(f"token {step + 1} of the response is one that its rules do not allow here")
        effects = [
            Effect(term, kl, *(float(tilted[at] - laws.base[at]) for at in (said, laws.wanted, laws.lost)))
            for term, (tilted, kl) in alone.items()
        ]
        effects.sort(key=lambda effect: -effect.kl)
        together = float(laws.twisted[said] - laws.base[said])
        left_over = together - sum(effect.on_chosen for effect in effects)
        acted = [effect for effect in effects if effect.kl >= ACTED or effect.on_wanted == -np.inf]
        acted.sort(key=lambda effect: effect.on_wanted != -np.inf)
        data = b"" if said == self._end else self._model.vocabulary.data([said])
        position = Position(
            index=step,
            token=said,
            text=readable(data),
            data=data.hex(),
            is_end=said == self._end,
            log_p0=float(laws.base[said]),
            log_q=float(laws.proposal[said]),
            log_law=float(laws.twisted[said]),
            kl=laws.kl,
            kl_law=laws.kl_law,
            removed=laws.removed,
            wanted=self._likeliest(laws.base, laws),
            lawful=self._likeliest(laws.twisted, laws),
            lost=self._candidate(laws.lost, laws) if laws.falls else None,
            effects=tuple(effect for effect in effects if _is_written(effect)),
            interaction=float(left_over) if np.isfinite(left_over) else None,
            acted=tuple(effect.term for effect in acted),
        )
        return position, effects

    def _likeliest(self, law: FloatArray, laws: _Laws) -> tuple[Candidate, ...]:
        likeliest = np.argsort(-law, kind="stable")[:MOST_LIKELY]
        return tuple(self._candidate(int(token), laws) for token in likeliest[np.isfinite(law[likeliest])])

    def _candidate(self, token: int, laws: _Laws) -> Candidate:
        is_end = token == self._end
        data = b"" if is_end else self._model.vocabulary.data([token])
        shares = float(np.exp(laws.base[token])), float(np.exp(laws.twisted[token]))
        return Candidate(token, readable(data), data.hex(), *shares, is_end)


def _is_written(effect: Effect) -> bool:
    return max(effect.kl, abs(effect.on_chosen), abs(effect.on_wanted), abs(effect.on_lost)) >= WRITTEN


class _Laws:
    """The next-token laws behind one beginning, [V] log probabilities each: of the base model, twisted and proposed."""

    def __init__(
        self, base: FloatArray, scores: FloatArray, law: Literal["twist", "mask"], is_text: Callable[[int], bool]
    ) -> None:
        legal = np.isfinite(scores)
        self.base = base
        self.twisted, self.kl_law = _tilted(base, np.where(legal, scores - np.where(legal, base, 0.0), -np.inf))
        masked = law == "mask"
        self.proposal, self.kl = _tilted(base, np.where(legal, 0.0, -np.inf)) if masked else (self.twisted, self.kl_law)
        self.removed = float(np.exp(base[~legal]).sum())
        self.wanted = int(np.argmax(base))
        falling = np.exp(base) - np.exp(self.twisted)
        most = (int(token) for token in np.argsort(-falling, kind="stable") if falling[token] > SMALL_FALL)
        found = next(filter(is_text, most), None)
        self.falls = found is not None
        self.lost = self.wanted if found is None else found


def _tilted(base: FloatArray, factor: FloatArray) -> tuple[FloatArray, float]:
    """([V] log of the law p0 · e^factor, normalised; KL of it from p0 in nats). All −inf where nothing is left."""
    scores = base + factor
    peak = scores.max()
    if not np.isfinite(peak):
        return np.full(len(base), -np.inf), 0.0
    total = peak + np.log(np.exp(scores - peak).sum())
    law = scores - total
    at = np.isfinite(law)
    # rounding may leave something below zero
    return law, max(0.0, float(np.exp(law[at]) @ (factor[at] - total)))


def readable(data: bytes) -> str:
    """The bytes of a token as text; those that are no whole character are written as escapes."""
    return data.decode("utf-8", "backslashreplace")
