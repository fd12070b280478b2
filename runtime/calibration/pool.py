"""All draws of a calibration as one weighted sample, and rates of the law on it.

Draws of the base model and of every round are pooled by the balance heuristic (Veach and Guibas 1995): a draw stands
for p0/m, m being the mixture of all laws that were drawn from. The base model is one of them, so no weight exceeds the
share of its draws, inverted, however badly a round was aimed; and draws in which an event happens, which the law makes
rare, come from the rounds before it did. Errors are Monte-Carlo errors, prompts being a fixed suite.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bylaw.compiler.law.samples import Population, PromptSamples
from bylaw.compiler.program import RewardProgram
from bylaw.runtime.calibration.draws import Draw, Proposal, Sampler, base_name
from bylaw.runtime.enforcement import ScoredSamples, score_samples
from bylaw.runtime.prices.scored import Origin, ScoredPrompt, ScoredSuite

FloatArray = NDArray[np.float64]


@dataclass
class Pool:
    """What has been drawn so far. `add` draws from one more law; `suite` is everything under the terms of the program.

    `draws[k]` [X][N] are those of law k, `log_q[k]` [X] their log probability [laws, N] under every law, in nats.
    """

    sampler: Sampler
    base_draws: int
    proposals: list[Proposal] = field(default_factory=list)
    draws: list[list[list[Draw]]] = field(default_factory=list)
    log_q: list[list[FloatArray]] = field(default_factory=list)
    _scored: list[list[ScoredSamples]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._append(self.sampler.base(self.base_draws))
        self.log_q.append([np.array([[draw.log_p0 for draw in own]]) for own in self.draws[0]])

    @property
    def base(self) -> list[list[Draw]]:
        return self.draws[0]

    def name(self, number: int) -> str:
        """What the store calls law `number`; 0 is the base model."""
        return base_name(self.base_draws) if number == 0 else self.sampler.name(self.proposals[number - 1], self.base)

    def add(self, proposal: Proposal) -> None:
        """Draws from one more law, and weighs its draws and the earlier ones under all laws."""
        drawn = self.sampler.law(proposal, self.base)
        for number, earlier in enumerate(self.draws):
            log_q = self.sampler.cross(self.name(number), earlier, proposal, self.base)
            self.log_q[number] = [np.vstack([known, new]) for known, new in zip(self.log_q[number], log_q, strict=True)]
        self.proposals.append(proposal)
        rows = [[np.array([draw.log_p0 for draw in own]) for own in drawn]]
        for older in self.proposals[:-1]:
            rows.append(self.sampler.cross(self.name(len(self.proposals)), drawn, older, self.base))
        rows.append([np.array([draw.log_q for draw in own]) for own in drawn])
        self.log_q.append([np.vstack(own) for own in zip(*rows, strict=True)])
        self._append(drawn)

    def scored(self, number: int) -> list[ScoredSamples]:
        """[X] the scores of the draws of law `number`; a draw without a text scores 0 and counts for nothing."""
        return self._scored[number]

    def suite(self, origin: Origin) -> ScoredSuite:
        """All draws with their weights p0/m and their scores."""
        program = self.sampler.program
        prompts = tuple(self._prompt(index) for index in range(len(self.sampler.plans)))
        return ScoredSuite(origin, tuple(term.id for term in program.terms), prompts)

    def _prompt(self, index: int) -> ScoredPrompt:
        log_p0 = np.array([draw.log_p0 for law in self.draws for draw in law[index]])
        has_text = np.array([draw.text is not None for law in self.draws for draw in law[index]])
        sizes = np.array([len(law[index]) for law in self.draws])
        log_q = np.concatenate([law[index] for law in self.log_q], axis=1)
        ratio = np.full(len(log_p0), -np.inf)
        mixture = np.logaddexp.reduce(log_q[:, has_text] + np.log(sizes / sizes.sum())[:, None], axis=0)
        ratio[has_text] = log_p0[has_text] - mixture
        scored = [law[index] for law in self._scored]
        return ScoredPrompt(
            self.sampler.plans[index].trace.id,
            ratio,
            np.concatenate([each.values for each in scored]),
            np.concatenate([each.counts for each in scored]),
            np.concatenate([each.violated for each in scored]),
        )

    def _append(self, drawn: list[list[Draw]]) -> None:
        stages, plans, program = self.sampler.stages, self.sampler.plans, self.sampler.program
        stages.stage("scoring", len(plans))
        scored = []
        for plan, own in zip(plans, drawn, strict=True):
            scored.append(_with_gaps(score_samples(program, plan, [d.text for d in own if d.text is not None]), own))
            stages.progress(len(scored), len(plans))
        self.draws.append(drawn)
        self._scored.append(scored)


def _with_gaps(scored: ScoredSamples, draws: Sequence[Draw]) -> ScoredSamples:
    """Scores of the draws that have a text, spread over all draws."""
    at = np.flatnonzero([draw.text is not None for draw in draws])
    shape = (len(draws), scored.values.shape[1])
    values, factors = np.zeros(shape), np.zeros(shape)
    violated, counts = np.zeros(shape, dtype=np.bool_), np.zeros(shape, dtype=np.bool_)
    values[at], factors[at], violated[at], counts[at] = scored.values, scored.factors, scored.violated, scored.counts
    return ScoredSamples(values, factors, violated, counts)


def free_log_weight(program: RewardProgram, prompt: ScoredPrompt) -> FloatArray:
    """[N] log p0/m plus what all terms but the budgets weigh, in nats; −inf where a hard rule is broken."""
    total = prompt.log_ratio.copy()
    for column, term in enumerate(program.terms):
        if term.kind == "hard":
            total[prompt.values[:, column] < 0] = -np.inf
        elif term.kind != "budget":
            total += (term.weight or 0.0) * prompt.values[:, column]
    return total


@dataclass(frozen=True, eq=False)
class Ratios:
    """K estimates of E[a]/E[c] under one law (X prompts, uniform).

    Attributes:
        value: [K] bias-corrected to first order; NaN where E[c] is 0.
        error: [K] Monte-Carlo standard error.
        prompt_value: [X, K] of each prompt, bias-corrected likewise; NaN where it has none.
        prompt_error: [X, K] its standard error by the delta method.
        freedom: effective samples, as in ``Moments``.
        prompt_ess: [X] of each prompt.
    """

    value: FloatArray
    error: FloatArray
    prompt_value: FloatArray
    prompt_error: FloatArray
    freedom: float
    prompt_ess: FloatArray


def stratified(log_weight: FloatArray, values: FloatArray, sizes: Sequence[int]) -> FloatArray:
    """[K, K] covariance of the self-normalised means of `values` [N, K] for one prompt whose draws come from several
    laws, `sizes` from each in turn.

    How many draws each law has is no accident, so what differs between laws is no error: only the spread within each
    counts (stratified sampling; for mixtures Owen and Zhou 2000).
    """
    weight = np.exp(log_weight - log_weight.max())
    weight /= weight.sum()
    alive = weight > 0
    parts = np.zeros(values.shape)
    parts[alive] = weight[alive, None] * (values[alive] - weight[alive] @ values[alive])
    found = np.zeros((values.shape[1], values.shape[1]))
    for part in np.split(parts, np.cumsum(sizes)[:-1]):
        left = part - part.mean(axis=0)
        found += left.T @ left
    count = len(weight)
    freedom = max(1.0 - float(np.square(weight).sum()), 1e-12) * max(count - len(sizes), 1) / max(count - 1, 1)
    return found / freedom


def ratios(
    log_weight: Sequence[FloatArray],
    amounts: Sequence[FloatArray],
    counts: Sequence[FloatArray],
    sizes: Sequence[Sequence[int]] | None = None,
) -> Ratios:
    """E[a]/E[c] under the law with weights exp(log_weight) [X][N], for amounts and counts [X][N, K].

    `sizes` [X] are the numbers of draws from each law, in their order, as `stratified` wants them. A mean is the
    case c = 1, a mean over some prompts c = 1 there, a mean among some responses c = 1 on these. Raises
    EmptySupport when a prompt has no positive weight.
    """
    size = amounts[0].shape[1]
    prompts = [
        PromptSamples(weight, np.hstack([amount, count]))
        for weight, amount, count in zip(log_weight, amounts, counts, strict=True)
    ]
    moments = Population(prompts).moments(np.zeros(2 * size))
    top, bottom = np.arange(size), np.arange(size, 2 * size)
    corrected = moments.mean - moments.bias
    spread = moments.mean_variance
    if sizes is not None:
        each = (stratified(p.log_weight, p.features, n) for p, n in zip(prompts, sizes, strict=True))
        spread = np.asarray(sum(each)) / len(prompts) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        value = np.where(moments.mean[bottom] > 0, corrected[top] / corrected[bottom], np.nan)
        variance = spread[top, top] - 2 * value * spread[top, bottom] + value**2 * spread[bottom, bottom]
        error = np.sqrt(np.maximum(variance, 0.0)) / moments.mean[bottom]
        own = moments.prompt_mean[:, top] / moments.prompt_mean[:, bottom]
    errors, biases = zip(*(_prompt_errors(p, mean, size) for p, mean in zip(prompts, own, strict=True)), strict=True)
    return Ratios(value, error, own - np.array(biases), np.array(errors), moments.freedom, moments.prompt_ess)


def _prompt_errors(prompt: PromptSamples, mean: FloatArray, size: int) -> tuple[FloatArray, FloatArray]:
    """([K], [K]): standard errors and biases of the ratios of one prompt."""
    weight = np.exp(prompt.log_weight - prompt.log_weight.max())
    weight /= weight.sum()
    alive = weight > 0
    amount, count = prompt.features[alive, :size], prompt.features[alive, size:]
    weight = weight[alive]
    with np.errstate(divide="ignore", invalid="ignore"):
        left = amount - np.nan_to_num(mean) * count
        scale = np.sqrt(max(1.0 - float(np.square(weight).sum()), 1e-12)) * (weight @ count)
        errors: FloatArray = np.sqrt(np.square(weight[:, None] * left).sum(axis=0)) / scale
        return errors, -(np.square(weight) @ left) / (weight @ count)
