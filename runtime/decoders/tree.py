"""One prefix trie per prompt, whose values are backed up over the whole vocabulary; passes are shared by all draws.

`sampling` (DTS, arXiv 2506.20701): each round of draws follows the law of the trie as it stands,
q(w | h) = p0(w | h) e^{r} V(hw) / V(h) with what was visited valued exactly and the rest by the look-ahead. Given the
past every draw has a known law that covers p*, so its weight p0·e^R/q has the mean Z: their mean is unbiased, and as
the trie grows the law of a draw tends to p* and the weights to Z.

`distinct`: what has been handed out is removed, so that all responses differ. Draw k has the law q_k given the past,
and Z_k = Σ_{i<k} p0 e^R(y_i) + p0 e^R(y_k) / q_k(y_k) has the mean Z (Des Raj 1956); the weights are such that log Ẑ is
the log of the mean of the Z_k. Once nothing is left, they are such that Ẑ is Z itself.

`greedy` (DTS*) takes the best child, with an optimistic term for those that were seldom taken, and `search` (V-STAR's
policy, arXiv 2602.10699) spends a budget of evaluations on the beginnings of the largest value. Both are BIASED: they
return the best responses that they found by log p0 + R, and their Ẑ is the sum of what was found, which Z is not below.

A trie of N nodes takes about N·(600 + 28·kept) bytes. A draw evaluates the beginnings that no draw before it has
evaluated; each new branch is prefilled once, which is one pass. Tasks with one prompt share batches, but not tries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

import numpy as np

from bylaw.runtime.decoders._tree_search import Search, run_searches
from bylaw.runtime.decoders._trie import Leaf, Node, Tokens, Trie
from bylaw.runtime.decoders._trie_growth import Draw, Growing, by_mass
from bylaw.runtime.decoders.engine import Drawn, check_tasks
from bylaw.runtime.decoders.interface import (
    DecodeError,
    DecodeResult,
    DecodeTask,
    Diagnostics,
    RegulatedSample,
    Watch,
)
from bylaw.runtime.decoders.sir import resample
from bylaw.runtime.decoders.weights import conclude
from bylaw.runtime.models.interface import (
    PARTICLE_STREAM,
    RESAMPLING_STREAM,
    FloatArray,
    LanguageModel,
    row_uniforms,
)
from bylaw.runtime.models.metering import Limits, Meter, Stop

Mode = Literal["sampling", "greedy", "distinct", "search"]


@dataclass(frozen=True)
class Tree:
    """`draws` responses per prompt, or in the mode `search` as many evaluations of the model.

    `responses`: how many to hand out: resampled by their weights (`sampling`; 0 for none), the first in the order they
    were drawn (`distinct`; 0 for all), or the best by log p0 + R (`greedy`, `search`; 0 for one). `together`: draws (or
    evaluations) that share a round, and so a batch: more are faster, fewer learn sooner. `kept`: tokens that a node
    remembers one by one. `exploration`: the optimistic term of `greedy` and `search`, nats. `entropy`: what `search`
    adds to a value for each nat of uncertainty.
    """

    draws: int = 64
    responses: int = 0
    mode: Mode = "sampling"
    together: int = 8
    kept: int = 256
    exploration: float = 0.0
    entropy: float = 0.0
    batch_size: int = 64

    @property
    def name(self) -> str:
        return "tree"

    @property
    def biased(self) -> bool:
        """Distinct responses cannot be independent draws from p*, though their weights are exact."""
        return self.mode != "sampling"

    def decode(
        self,
        model: LanguageModel,
        tasks: Sequence[DecodeTask],
        *,
        max_tokens: int,
        seed: int,
        limits: Limits | None = None,
        watch: Watch | None = None,
    ) -> list[DecodeResult]:
        """One result per task; see `Decoder`. `watch` is told once, of the first response. Raises `DecodeError`."""
        self._check()
        check_tasks(tasks, model, max_tokens)
        meter = Meter(limits)
        metered = meter.watch(model)
        if self.mode == "search":
            plans = self._search(metered, tasks, max_tokens)
        else:
            plans = self._draw(metered, tasks, max_tokens, seed)
        results = []
        for index, (task, plan) in enumerate(zip(tasks, plans, strict=True)):
            told = Diagnostics(meter.passes, remarks=plan.remarks)
            chosen = self._responses(plan.drawn, seed, index)
            if watch is not None and chosen:
                watch(index, chosen[0].text)
            vocabulary = model.vocabulary
            results.append(
                conclude(task, vocabulary, plan.drawn, chosen, told, biased=self.biased, max_tokens=max_tokens)
            )
        return results

    def _check(self) -> None:
        if self.mode not in ("sampling", "greedy", "distinct", "search"):
            raise DecodeError(f"a tree has no mode `{self.mode}`: there are sampling, greedy, distinct and search")
        for what, least in (("draws", 1), ("together", 1), ("kept", 1), ("batch_size", 1), ("responses", 0)):
            if getattr(self, what) < least:
                raise DecodeError(f"`{what}` of a tree must be {least} at least, not {getattr(self, what)}")
        if not (np.isfinite([self.exploration, self.entropy]).all() and min(self.exploration, self.entropy) >= 0):
            raise DecodeError("`exploration` and `entropy` of a tree must be numbers from 0")

    def _responses(self, drawn: Drawn, seed: int, index: int) -> list[RegulatedSample]:
        if self.mode == "distinct":
            return drawn.samples[: self.responses or None]
        if self.mode != "sampling":
            return drawn.samples[: self.responses or 1]
        if not drawn.samples:
            return []
        uniforms = row_uniforms(seed, RESAMPLING_STREAM, [(index, 0)], max(self.responses, 1))[0]
        weights = np.array([sample.log_weight for sample in drawn.samples])
        return [drawn.samples[int(at)] for at in resample(weights, self.responses, uniforms, "systematic")]

    # ----------------------------------------------------------------------------------------------------------- draws
    def _draw(self, model: LanguageModel, tasks: Sequence[DecodeTask], cap: int, seed: int) -> list[_Plan]:
        tries = [Trie(self.kept) for _ in tasks]
        growing = Growing(model, tasks, tries, cap, self.batch_size, self.mode == "greedy")
        plans = [_Plan(trie) for trie in tries]
        together = 1 if self.mode == "greedy" else self.together
        pick = partial(_by_value, exploration=self.exploration) if self.mode == "greedy" else by_mass
        stopped: Stop | None = None
        while stopped is None:
            keys = []
            for task, plan in enumerate(plans):
                done = len(plan.outcomes) if self.mode == "distinct" else plan.begun
                count = 0 if plan.over else min(together, self.draws - done)
                keys += [(task, plan.begun + at) for at in range(count)]
                plan.begun += count
            if not keys:
                break
            uniforms = row_uniforms(seed, PARTICLE_STREAM, keys, cap)
            draws = [Draw(task, number, row) for (task, number), row in zip(keys, uniforms, strict=True)]
            known, stopped = growing.round(draws, pick)
            for task, plan in enumerate(plans):
                plan.take([draw for draw in known if draw.task == task], self.mode, self.exploration, stopped)
            if self.mode == "distinct":
                growing.remove([draw for draw in known if draw.state == "finished"])
            for plan in plans:
                plan.over = plan.over or (plan.begun > 0 and plan.trie.exhausted)
        return [plan.conclude(self.mode) for plan in plans]

    # ---------------------------------------------------------------------------------------------------------- search
    def _search(self, model: LanguageModel, tasks: Sequence[DecodeTask], cap: int) -> list[_Plan]:
        searches = [
            Search(Trie(self.kept), self.responses or 1, self.draws, self.exploration, self.entropy) for _ in tasks
        ]
        stopped = run_searches(model, tasks, searches, cap, self.together, self.batch_size)
        plans = []
        for search in searches:
            plan = _Plan(search.trie)
            best = sorted(search.found.items(), key=lambda item: -(item[1].log_p0 + item[1].leaf.reward))
            plan.outcomes = [_Outcome(tokens, found.leaf, found.log_p0, 0.0, "finished") for tokens, found in best]
            plan.stopped, plan.longest = stopped, search.longest
            plan.notes = search.remarks
            plans.append(plan.conclude(self.mode))
        return plans


def _by_value(node: Node, masses: FloatArray, _: float, exploration: float) -> int:
    """The kept token of the largest mass, plus what speaks for those that were seldom taken; −1 where there is none."""
    if len(node.tokens) == 0 or masses[:-1].max() == -np.inf:
        return -1
    worth = masses[:-1].copy()
    if exploration > 0:
        visits = np.array([node.visits.get(int(token), 0) for token in node.tokens])
        worth += exploration * np.sqrt(np.log(visits.sum() + 1) / (visits + 1))
    at = int(np.argmax(worth))
    token = int(node.tokens[at])
    node.visits[token] = node.visits.get(token, 0) + 1
    return at


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What a draw has come to. `log_q`: of its law given the past."""

    tokens: Tokens
    leaf: Leaf | None
    log_p0: float
    log_q: float
    state: Literal["open", "finished", "dead", "unfinished"]

    def sample(self, correction: float) -> RegulatedSample | None:
        """With this log correction of its weight; None where it has no text."""
        if self.leaf is None or self.leaf.text is None:
            return None
        return RegulatedSample(self.tokens, self.leaf.text, self.log_p0, self.log_q, self.leaf.reward, correction)


@dataclass(eq=False)
class _Plan:
    """The draws of one task so far."""

    trie: Trie
    outcomes: list[_Outcome] = field(default_factory=list)
    begun: int = 0
    over: bool = False
    stopped: Stop | None = None
    longest: Tokens = ()
    notes: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    drawn: Drawn = field(default_factory=lambda: Drawn([], [], 0))

    def take(self, draws: Sequence[Draw], mode: Mode, exploration: float, stopped: Stop | None) -> None:
        """Add the draws of a round; where all must differ, each with its law given those before it in the round."""
        self.stopped = stopped
        seen = {(outcome.state, outcome.tokens) for outcome in self.outcomes} if mode != "sampling" else set()
        used = 0.0
        for draw in draws:
            if draw.state == "unfinished":
                self.longest = max(self.longest, draw.tokens, key=len)
                self.outcomes.append(_Outcome(draw.tokens, None, draw.log_p0, 0.0, draw.state))
                continue
            key = (draw.state, draw.tokens)
            if key in seen:
                # without an optimistic term the same path would be taken for ever
                self.over = self.over or (mode == "greedy" and exploration == 0)
                continue
            log_q = draw.log_q
            if mode == "distinct":
                seen.add(key)
                # the first that differ among independent draws are draws without replacement
                log_q = min(0.0, log_q - float(np.log(max(1.0 - used, np.finfo(float).tiny))))
                used += float(np.exp(draw.log_q))
            leaf = self.trie.leaves[draw.tokens] if draw.state == "finished" else None
            self.outcomes.append(_Outcome(draw.tokens, leaf, draw.log_p0, log_q, draw.state))

    def conclude(self, mode: Mode) -> _Plan:
        """The plan with its draws as particles."""
        count = len(self.outcomes)
        exact = mode == "distinct" and self.trie.exhausted and self.stopped is None
        drawn = Drawn([], [], count, stopped=self.stopped, begun=self.longest)
        for order, outcome in enumerate(self.outcomes):
            correction = 0.0
            if exact or mode in ("greedy", "search"):
                # each weighs what it is, and the mean over all is their sum
                correction = outcome.log_q + float(np.log(count))
            elif mode == "distinct":
                correction = float(np.log1p((count - order - 1) * np.exp(outcome.log_q)))
            sample = outcome.sample(correction)
            drawn.dead_ends += outcome.state == "dead"
            drawn.unfinished += outcome.state == "unfinished"
            if sample is not None:
                (drawn.samples if sample.log_reward > -np.inf else drawn.refused).append(sample)
        if mode in ("greedy", "search"):
            drawn.samples.sort(key=lambda sample: -(sample.log_p0 + sample.log_reward))
        return replace(self, drawn=drawn, remarks=(*self.notes, *self._remarks(mode, exact)))

    def _remarks(self, mode: Mode, exact: bool) -> tuple[str, ...]:
        size = f"the tree holds {len(self.trie.nodes)} beginnings in about {self.trie.bytes / 1e6:.1f} MB"
        if exact:
            return size, "every possible response was found: log Z is exact"
        if mode in ("greedy", "search"):
            return size, "log Z is that of the responses found, a lower bound"
        return (size,)
