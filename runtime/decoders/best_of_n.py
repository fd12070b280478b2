"""Best of n, soft best of n, and rejection: decoders that need samples of the base model and no token laws.

All three judge n samples of p0 by the reward R of the law, −inf for broken hard rules (by definition, never by a copy).

* `best`: the largest R, ties broken uniformly. BIASED: its law is not p* for any n; KL(law‖p0) ≤ log n − (n − 1)/n
  (Beirami et al. 2024), and against an imperfect judge more n can be worse (`over_optimisation`).
* `soft`: chosen in proportion to e^R: importance resampling with proposal p0. KL(p*‖law) ≤ log(1 + χ²(p*‖p0)/n).
* `reject`: the first accepted with probability min(1, e^R/β): p_β of `qrs` with proposal p0, exactly p* when β is at
  least the largest e^R, which the automata of the rules often know (`reward_bound`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf, isfinite
from typing import Literal

import numpy as np

from bylaw.compiler.automata.counts import Valued
from bylaw.runtime.decoders.engine import Drawn, add, check_tasks, draw_batches
from bylaw.runtime.decoders.interface import (
    DecodeError,
    DecodeResult,
    DecodeTask,
    Diagnostics,
    Estimate,
    PromptLaw,
    RegulatedSample,
    Watch,
)
from bylaw.runtime.decoders.pilot import Pilot, prompt_key, quality
from bylaw.runtime.decoders.weights import conclude
from bylaw.runtime.models.interface import RESAMPLING_STREAM, FloatArray, IntArray, LanguageModel, row_uniforms
from bylaw.runtime.models.metering import Limits, Meter

Pick = Literal["best", "soft", "reject"]


@dataclass(frozen=True)
class BestOfN:
    """`responses` texts from `n` samples of the base model per prompt.

    `log_beta` (nats): the bound of `reject`; None: the largest reward that the rules can pay, where that is known.
    """

    n: int = 16
    pick: Pick = "best"
    responses: int = 1
    log_beta: float | None = None
    batch_size: int = 64

    @property
    def name(self) -> str:
        return "best_of_n"

    @property
    def biased(self) -> bool:
        return self.pick == "best"

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
        """One result per task; the weight of a sample is e^R, so that log Ẑ is unbiased.

        Twists are not used and need not be there; where they are, a policy without legal responses is refused. Raises
        `DecodeError`; see `Decoder`.
        """
        if self.n < 1 or self.responses < 1 or self.pick not in ("best", "soft", "reject"):
            raise DecodeError(f"cannot pick {self.responses} of {self.n} samples by `{self.pick}`")
        check_tasks([task if task.twists else _free(task) for task in tasks], model, max_tokens)
        bounds = [self._bound(task) for task in tasks]
        meter = Meter(limits)
        drawn = self._draw(meter.watch(model), tasks, max_tokens, seed)
        results = []
        for index, (task, found, bound) in enumerate(zip(tasks, drawn, bounds, strict=True)):
            uniforms = row_uniforms(seed, RESAMPLING_STREAM, [(index, 0)], self.n + self.responses)[0]
            rewards = np.array([sample.log_reward for sample in found.samples])
            picked = pick(rewards, self.responses, self.pick, uniforms, bound)
            # what is missing after a rejection is resampled, and told
            more = pick(rewards, self.responses - len(picked), "soft", uniforms[self.n :], bound)
            chosen = [found.samples[int(i)] for i in (*picked, *more)]
            told = replace(self._told(task, found, bound, len(more)), passes=meter.passes)
            if watch is not None and chosen:
                watch(index, chosen[0].text)
            results.append(
                conclude(task, model.vocabulary, found, chosen, told, biased=self.biased, max_tokens=max_tokens)
            )
        return results

    def _bound(self, task: DecodeTask) -> float:
        if self.pick != "reject":
            return 0.0
        bound = reward_bound(task.law) if self.log_beta is None else self.log_beta
        if not isfinite(bound):
            raise DecodeError(
                "nothing bounds the reward of a response from above (a rule pays without end, or a black box pays); "
                "give the bound of the rejection in nats"
            )
        return bound

    def _draw(self, model: LanguageModel, tasks: Sequence[DecodeTask], max_tokens: int, seed: int) -> list[Drawn]:
        """The samples with their rewards under the law."""
        free = [_free(task) for task in tasks]
        results = [Drawn([], [], self.n) for _ in tasks]
        keys = [(index, sample) for index in range(len(tasks)) for sample in range(self.n)]
        for part, paths in draw_batches(model, free, keys, max_tokens, seed, self.batch_size):
            for row, (index, _) in enumerate(part):
                add(results[index], model.vocabulary, free[index].law, paths, row)
        for task, found in zip(tasks, results, strict=True):
            judged = [replace(sample, log_reward=task.law.log_reward(sample.text)) for sample in found.samples]
            found.samples = [sample for sample in judged if sample.log_reward > -inf]
            found.refused = [sample for sample in judged if sample.log_reward == -inf]
        return results

    def _told(self, task: DecodeTask, found: Drawn, bound: float, resampled: int) -> Diagnostics:
        weights = [sample.log_reward for sample in found.samples]
        finished = found.particles - found.unfinished
        dead = finished - len(weights)
        if found.unfinished or not finished:
            # a limit left the short ones, which tell nothing of the law
            return Diagnostics(beta=bound if self.pick == "reject" else None)
        if not weights:
            return Diagnostics(remarks=(none_legal(finished),))
        if self.pick == "best":
            most = np.log(self.n) - (self.n - 1) / self.n
            remark = (
                f"the best of {self.n} is not a draw from the law of the rules; its divergence from the base model is "
                f"at most {most:.2f} nats"
            )
            return Diagnostics(remarks=(remark,))
        pilot = Pilot((*weights, *(-np.inf,) * dead), (prompt_key(task.prompt),) * finished)
        if self.pick == "soft":
            divergence, remarks = soft_divergence(pilot, self.n)
            return Diagnostics(divergence=divergence, remarks=remarks)
        found_quality = quality(pilot, bound)
        remarks = found_quality.remarks
        if bound >= reward_bound(task.law):
            # no reward lies above the bound: the accepted ones follow p* itself
            nothing = Estimate(0.0, 0.0, 0.0)
            found_quality, remarks = replace(found_quality, total_variation=nothing, divergence=nothing), ()
        if resampled:
            remarks = (
                f"{resampled} of {self.responses} responses were not accepted but resampled by weight from "
                f"{finished} samples: their law is p* only for many samples, and no distance is stated",
            )
        return Diagnostics(
            acceptance=found_quality.acceptance,
            beta=bound,
            total_variation=None if resampled else found_quality.total_variation,
            divergence=None if resampled else found_quality.divergence,
            remarks=remarks,
        )


def _free(task: DecodeTask) -> DecodeTask:
    """The same prompt without rules: its proposal is the base model."""
    return DecodeTask(task.prompt, PromptLaw(()), ())


def none_legal(samples: int) -> str:
    """What is known of how often responses are legal when none of `samples` was (rule of three, exactly)."""
    most = 1 - 0.05 ** (1 / samples)
    return (
        f"none of {samples} samples keeps the rules: legal responses have a probability below {most:.2g} "
        "(95 % confidence); draw more, or use a decoder that looks ahead"
    )


def pick(log_rewards: FloatArray, count: int, how: Pick, uniforms: FloatArray, log_beta: float = 0.0) -> IntArray:
    """At most `count` indices of finite rewards [n]; `uniforms`: one for each reward, and `count` more at the end.

    `best` gives the `count` best, `soft` independent draws, `reject` the first accepted ones, which may be fewer.
    """
    nothing: IntArray = np.zeros(0, dtype=np.int64)
    if len(log_rewards) == 0 or count < 1:
        return nothing
    if how == "best":
        # ties in random order
        return np.lexsort((uniforms[: len(log_rewards)], -log_rewards))[:count]
    if how == "reject":
        accepted = np.log1p(-uniforms[: len(log_rewards)]) < log_rewards - log_beta
        return np.flatnonzero(accepted)[:count]
    cumulative = np.cumsum(np.exp(log_rewards - log_rewards.max()))
    targets = np.minimum(uniforms[-count:] * cumulative[-1], np.nextafter(cumulative[-1], 0.0))
    found: IntArray = np.searchsorted(cumulative, targets, side="right")
    return found


def soft_divergence(pilot: Pilot, n: int) -> tuple[Estimate | None, tuple[str, ...]]:
    """log(1 + χ²/n) in nats, a bound on KL(p*‖law of soft best-of-n), with χ² = E[w²]/E[w]² − 1 from the samples.

    The interval is a Bayesian bootstrap whose upper end allows for an unseen weight (`pilot.quality`); None where the
    weights do not tell.
    """
    told = quality(pilot, float(np.max(pilot.log_weights)))
    if told.total_variation is None:
        return None, told.remarks
    weights = np.exp(np.array(pilot.log_weights) - np.max(pilot.log_weights))
    rng = np.random.default_rng(0)
    shares = rng.exponential(size=(400, len(weights) + 1))

    def bound(paid: FloatArray, each: FloatArray) -> FloatArray:
        chi = (each @ paid**2) * each.sum(axis=-1) / (each @ paid) ** 2 - 1
        return np.asarray(np.log1p(np.maximum(chi, 0.0) / n))

    value = float(bound(weights, np.ones((1, len(weights))))[0])
    low = float(np.quantile(bound(weights, shares[:, :-1]), 0.025))
    # the unseen weight is three times the largest among few samples, and twice among more
    high = float(np.quantile(bound(np.append(weights, 3.0 if len(weights) < 64 else 2.0), shares), 0.975))
    return Estimate(value, min(low, value), max(high, value)), told.remarks


def reward_bound(law: PromptLaw) -> float:
    """An upper bound on the log reward of any text (nats): the sum of what each automaton pays at most.

    +inf where an automaton pays without end, or where a residual or scorers exist, which nothing is known of.
    """
    if law.residual is not None or law.scorers:
        return inf
    return sum(most_paid(group) for group in law.groups)


def most_paid(valued: Valued) -> float:
    """The largest value of any text under an automaton; +inf where a cycle pays, −inf where no text is legal."""
    best = np.array(valued.final)
    targets, increments = np.array(valued.delta), np.array(valued.increments)
    alive = np.isfinite(best)
    for _ in range(valued.size + 1):
        following = np.maximum(best, (increments + best[targets]).max(axis=1))
        if np.array_equal(following, best):
            return float(best[valued.start])
        best = following
    # paths longer than the automaton has states still gain: a cycle pays; does the start reach it?
    gaining = np.maximum(best, (increments + best[targets]).max(axis=1)) > best + 1e-12
    reached, waiting = {valued.start}, [valued.start]
    while waiting:
        for state in map(int, targets[waiting.pop()]):
            if state not in reached:
                reached.add(state)
                waiting.append(state)
    return inf if alive.any() and gaining[list(reached)].any() else float(best[valued.start])


# ------------------------------------------------------------------------------------------------ over-optimisation
@dataclass(frozen=True)
class OfK:
    """Best of `k`: the chance that one of k samples is legal, and the mean value of the chosen one, given that."""

    k: int
    legal: float
    value: Estimate | None


def over_optimisation(
    log_rewards: Sequence[float], values: Sequence[float] | None = None, seed: int = 0
) -> tuple[OfK, ...]:
    """What best-of-k chooses, for every k up to n, from the same n samples.

    `log_rewards` [n]: what is maximised, −inf for illegal ones; `values` [n]: what is wanted (default: the reward
    itself), so that a judge is seen to be over-optimised where the curve falls. Averages over all subsets of size k by
    order statistics: unbiased for P(legal) and for E[value; legal], whose ratio the value is. Ties share their chances.
    Intervals (95 %) are from 200 bootstrap samples and too short where k is near n. Raises DecodeError for no samples.
    """
    rewards = np.array(log_rewards, dtype=np.float64)
    wanted = rewards if values is None else np.array(values, dtype=np.float64)
    if len(rewards) == 0 or len(wanted) != len(rewards) or np.isnan(rewards).any() or (rewards == inf).any():
        raise DecodeError("the curve needs one reward and one value for each of at least one sample")
    rng = np.random.default_rng(seed)
    n = len(rewards)
    chances = subset_chances(n)
    legal, paid = _curve(rewards, wanted, chances)
    draws = [_curve(rewards[rows], wanted[rows], chances) for rows in rng.integers(0, n, size=(200, n))]
    found = []
    for k in range(n):
        if legal[k] == 0:
            found.append(OfK(k + 1, 0.0, None))
            continue
        value = float(paid[k] / legal[k])
        ratios = [more[k] / some[k] for some, more in draws if some[k] > 0]
        low, high = np.quantile(ratios, [0.025, 0.975]) if ratios else (value, value)
        found.append(OfK(k + 1, float(legal[k]), Estimate(value, min(float(low), value), max(float(high), value))))
    return tuple(found)


def subset_chances(n: int) -> FloatArray:
    """[n, n]: row k − 1, column i: the chance that the i-th smallest of n is the largest of a random subset of k."""
    chances = np.zeros((n, n))
    chances[0] = 1 / n
    for k in range(2, n + 1):
        # C(i, k−1)/C(n, k) for rank i from 0, by the ratio of neighbours in k
        ranks = np.arange(n)
        chances[k - 1] = chances[k - 2] * np.maximum(ranks - k + 2, 0) / (k - 1) * k / (n - k + 1)
    return chances


def _curve(rewards: FloatArray, values: FloatArray, chances: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(P(legal), E[value; legal]) for every k."""
    order = np.argsort(rewards, kind="stable")
    ordered, wanted = rewards[order], values[order]
    legal = ordered > -inf
    _, groups, sizes = np.unique(ordered, return_inverse=True, return_counts=True)
    # among equals each is as likely to be chosen
    mean = (np.bincount(groups, weights=np.where(legal, wanted, 0.0)) / sizes)[groups]
    return chances[:, legal].sum(axis=1), chances[:, legal] @ mean[legal]


# ------------------------------------------------------------------------------------------------- texts from anywhere
@dataclass(frozen=True)
class PickedText:
    """A text of a source that gives texts only; `diagnostics` as for the decoder, without passes."""

    text: str | None
    log_reward: float
    samples: int
    legal: int
    diagnostics: Diagnostics


def best_of_texts(texts: Sequence[str], law: PromptLaw, decoder: BestOfN, seed: int) -> PickedText:
    """What `decoder` picks among texts that are i.i.d. draws of a base model, as an endpoint gives them.

    Leave out texts that were cut, or let the law judge them as they are. Raises DecodeError.
    """
    task = DecodeTask((), law, ())
    bound = decoder._bound(task)
    drawn = Drawn([], [], len(texts))
    for text in texts:
        reward = law.log_reward(text)
        # the base model's probability is not known, and no weight needs it
        (drawn.samples if reward > -inf else drawn.refused).append(RegulatedSample((), text, 0.0, 0.0, reward))
    uniforms = row_uniforms(seed, RESAMPLING_STREAM, [(0, 0)], len(texts) + 1)[0]
    rewards = np.array([sample.log_reward for sample in drawn.samples])
    picked = pick(rewards, 1, decoder.pick, uniforms, bound)
    resampled = len(picked) == 0 and len(rewards) > 0
    if resampled:
        picked = pick(rewards, 1, "soft", uniforms, bound)
    told = replace(decoder, n=max(len(texts), 1), responses=1)._told(task, drawn, bound, int(resampled))
    if not len(picked):
        return PickedText(None, -inf, len(texts), 0, told)
    chosen = drawn.samples[int(picked[0])]
    return PickedText(chosen.text, chosen.log_reward, len(texts), len(rewards), told)
