"""Suffix Metropolis-Hastings with a mask proposal (Gonzalez et al. 2025), its law after k steps in closed form.

A step draws a place i in 0 … |y|, keeps y[:i], draws the rest under the mask, and accepts with the usual probability.
With m(z | h) the masked law of the rest, and target π(y) = p0·e^R on legal y:

    T(y → z) = Σ_i 1/(|y| + 1) · m(z[i:] | h_i) · min(1, r),
    r = π(z)·m(y[i:] | h_i)·(|y| + 1) / (π(y)·m(z[i:] | h_i)·(|z| + 1)),

over the common beginnings h_i of y and z. Prefixes are cached: a step costs those that none before it has asked for.
"""

from __future__ import annotations

import numpy as np
from decoding.models import FloatArray, Tokens
from decoding.truth import Truth


class SuffixChain:
    """The chain on the legal responses; `law` [Y] is the masked law that it starts from."""

    def __init__(self, truth: Truth) -> None:
        self.truth = truth
        self.start = truth.local(truth.mask)
        self.legal = np.flatnonzero(truth.target > 0)
        self.tails = [self._tails(truth.responses[row]) for row in self.legal]
        self.transition = self._transition()

    def _tails(self, tokens: Tokens) -> FloatArray:
        """[|y| + 1] m(y[i:] | y[:i])."""
        model, steps, node = self.truth.model, [], 0
        for position, token in enumerate((*tokens, model.end)):
            if position < model.cap:
                weights = np.exp(model.row(node)) * self.truth.mask[node]
                steps.append(weights[token] / weights.sum())
            node = node if token == model.end else model.child(node, token)
        padded = np.ones(len(tokens) + 2)
        padded[: len(steps)] = steps
        return np.cumprod(padded[::-1])[::-1][: len(tokens) + 1]

    def _transition(self) -> FloatArray:
        """[L, L] over the legal responses, by groups with a common beginning."""
        truth, count = self.truth, len(self.legal)
        target = truth.target[self.legal]
        sizes = np.array([len(truth.responses[row]) + 1.0 for row in self.legal])
        matrix = np.zeros((count, count))
        beginnings: dict[Tokens, list[int]] = {}
        for at, row in enumerate(self.legal):
            tokens = truth.responses[row]
            for size in range(len(tokens) + 1):
                beginnings.setdefault(tokens[:size], []).append(at)
        for beginning, members in beginnings.items():
            own = np.array(members)
            tail = np.array([self.tails[at][len(beginning)] for at in members])
            weight = target[own] / (tail * sizes[own])
            accept = np.minimum(1.0, weight[None, :] / weight[:, None])
            matrix[np.ix_(own, own)] += tail[None, :] * accept / sizes[own][:, None]
        matrix[np.arange(count), np.arange(count)] += 1.0 - matrix.sum(axis=1)
        return matrix

    def laws(self, steps: list[int]) -> list[FloatArray]:
        """[Y] after each of the numbers of steps (ascending)."""
        found, law, done = [], self.start[self.legal], 0
        for wanted in steps:
            for _ in range(wanted - done):
                law = law @ self.transition
            done = wanted
            whole = np.zeros(len(self.truth.responses))
            whole[self.legal] = law
            found.append(whole)
        return found

    def passes(self, steps: list[int], runs: int, seed: int) -> list[float]:
        """Mean unique prefixes of a run of each number of steps, proposals that were rejected included."""
        rng = np.random.default_rng(seed)
        totals = np.zeros(len(steps))
        for _ in range(runs):
            asked: set[int] = set()
            tokens = self._rest((), asked, rng)
            done = 0
            for place, wanted in enumerate(steps):
                for _ in range(wanted - done):
                    tokens = self._step(tokens, asked, rng)
                done = wanted
                totals[place] += len(asked)
        return [float(total) for total in totals / max(runs, 1)]

    def _step(self, tokens: Tokens, asked: set[int], rng: np.random.Generator) -> Tokens:
        place = int(rng.integers(len(tokens) + 1))
        fresh = self._rest(tokens[:place], asked, rng)
        truth = self.truth
        here, there = truth.index[tokens], truth.index[fresh]
        mine, its = self._tails(tokens)[place], self._tails(fresh)[place]
        ratio = truth.target[there] * mine * (len(tokens) + 1) / (truth.target[here] * its * (len(fresh) + 1))
        return fresh if rng.random() < ratio else tokens

    def _rest(self, tokens: Tokens, asked: set[int], rng: np.random.Generator) -> Tokens:
        model = self.truth.model
        node = model.node(tokens)
        while len(tokens) < model.cap:
            asked.add(node)
            weights = np.exp(model.row(node)) * self.truth.mask[node]
            token = int(rng.choice(len(weights), p=weights / weights.sum()))
            if token == model.end:
                break
            tokens, node = (*tokens, token), model.child(node, token)
        return tokens
