"""Everything about model A by enumeration: p*, and the laws and costs that are known in closed form.

A law is an array over the enumerated responses; what is missing to one is the chance of no response at all, and laws
are compared given that there is one. Costs are expected numbers of unique prefixes of one run.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from decoding.models import FloatArray, TableModel, Tokens
from decoding.rules import Rules, TokenMachine
from numpy.typing import NDArray


@dataclass(eq=False)
class Truth:
    """`responses` [Y]; `log_p0`, `log_reward` [Y] nats."""

    model: TableModel
    rules: Rules

    @cached_property
    def machine(self) -> TokenMachine:
        return TokenMachine(self.rules, self.model)

    @cached_property
    def responses(self) -> list[Tokens]:
        letters, cap = range(len(self.model.pieces)), self.model.cap
        found = [tokens for size in range(cap + 1) for tokens in itertools.product(letters, repeat=size)]
        for tokens in found:
            self.model.node(tokens)  # numbers every prefix, so that arrays over prefixes have their full size
        return found

    @cached_property
    def index(self) -> dict[Tokens, int]:
        return {tokens: row for row, tokens in enumerate(self.responses)}

    @cached_property
    def log_p0(self) -> FloatArray:
        return np.array([self.model.log_p0(tokens) for tokens in self.responses])

    @cached_property
    def log_reward(self) -> FloatArray:
        return np.array([self.rules.log_reward(self.model.text(tokens)) for tokens in self.responses])

    @cached_property
    def log_z(self) -> float:
        return float(np.logaddexp.reduce(self.log_p0 + self.log_reward))

    @cached_property
    def target(self) -> FloatArray:
        """[Y] p*."""
        return np.exp(self.log_p0 + self.log_reward - self.log_z)

    @cached_property
    def visits(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(response, prefix) pairs: prefix number of every prefix whose law a response asks for."""
        rows, nodes = [], []
        for row, tokens in enumerate(self.responses):
            for size in range(min(len(tokens) + 1, self.model.cap)):
                rows.append(row)
                nodes.append(self.model.node(tokens[:size]))
        return np.array(rows), np.array(nodes)

    def tv(self, law: FloatArray) -> float:
        """Total variation to p* given that there is a response."""
        total = law.sum()
        return float(0.5 * np.abs(law / total - self.target).sum()) if total > 0 else 1.0

    def kl(self, law: FloatArray) -> float:
        """KL(p* ‖ law), nats; inf where the law misses something possible."""
        legal = self.target > 0
        with np.errstate(divide="ignore"):
            return float(self.target[legal] @ (np.log(self.target[legal]) - np.log(law[legal] / law.sum())))

    def floor(self, draws: int) -> float:
        """Expected TV of the empirical law of that many exact draws (normal approximation for each response)."""
        spread = np.sqrt(self.target * (1 - self.target) / draws)
        return float(0.5 * np.minimum(np.sqrt(2 / np.pi) * spread, 2 * self.target).sum())

    # ------------------------------------------------------------------------------------------- laws of one proposal
    def local(self, mask: FloatArray, exponent: FloatArray | None = None) -> FloatArray:
        """[Y] law of drawing token by token from p0 · mask (· e^exponent) renormalised; both [nodes, V + 1]."""
        law = np.zeros(len(self.responses))
        for row, tokens in enumerate(self.responses):
            node, total = 0, 1.0
            for position, token in enumerate((*tokens, self.model.end)):
                if position < self.model.cap:
                    weights = np.exp(self.model.row(node)) * mask[node]
                    if exponent is not None:
                        weights = weights * np.exp(exponent[node])
                    total *= weights[token] / weights.sum() if weights[token] > 0 else 0.0
                elif not mask[node][token]:
                    total = 0.0
                if total == 0.0 or token == self.model.end:
                    break
                node = self.model.child(node, token)
            law[row] = total
        return law

    @cached_property
    def mask(self) -> FloatArray:
        """[nodes, V + 1] 1 where a legal end is still in reach: the exact mask, by the hand-written machine."""
        responses, seen = self.responses, set()
        mask = np.zeros((len(self.model.context_of), self.model.end + 1))
        for tokens in responses:
            state, node = 0, 0
            for size in range(len(tokens) + 1):
                if node not in seen:
                    seen.add(node)
                    mask[node] = self.machine.allowed(state, size) if state >= 0 else 0.0
                if size < len(tokens):
                    node = self.model.child(node, tokens[size])
                    state = self.machine.next[state, tokens[size]] if state >= 0 else -1
        return mask

    @cached_property
    def soft(self) -> FloatArray:
        """[nodes, V + 1] what each next token is paid by the soft terms, nats."""
        mask, machine = self.mask, self.machine
        paid = np.zeros_like(mask)
        for tokens in self.responses:
            state, node = 0, 0
            for token in tokens:
                if state < 0:
                    break
                paid[node, :-1] = np.where(machine.next[state] >= 0, machine.paid[state], 0.0)
                node, state = self.model.child(node, token), int(machine.next[state, token])
        return paid

    # -------------------------------------------------------------------------------------------- laws of n proposals
    def log_weight(self, law: FloatArray) -> FloatArray:
        """[Y] log p0 e^R / q; −inf where the rules forbid or q is 0."""
        with np.errstate(divide="ignore", invalid="ignore"):
            found = self.log_p0 + self.log_reward - np.log(law)
        return np.where((law > 0) & np.isfinite(self.log_reward), found, -np.inf)

    def resampled(self, law: FloatArray, count: int) -> FloatArray:
        """[Y] law of one response resampled from `count` weighted draws of `law` (the rest of `law` has weight 0).

        N q(y) w(y) E 1/(w(y) + S), S the weight of N − 1 others, and 1/x = ∫ e^{−tx} dt, on a grid in log t.
        """
        weight = np.exp(self.log_weight(law) - self.log_z)
        alive = weight > 0
        w, q = weight[alive], law[alive]
        dead = 1.0 - q.sum()
        log_t = np.linspace(-25.0, 25.0, 4001) - np.log(w.mean())
        t = np.exp(log_t)
        log_transform = np.log(np.clip(dead + np.exp(-t[:, None] * w[None, :]) @ q, 1e-300, None))
        inner = np.exp((count - 1) * log_transform[:, None] - t[:, None] * w[None, :] + log_t[:, None])
        result = np.zeros(len(law))
        result[alive] = count * q * w * np.trapezoid(inner, log_t, axis=0)
        return result

    def best(self, law: FloatArray, count: int) -> FloatArray:
        """[Y] law of the draw of highest reward among `count` (the first of equals); −inf ones are no response."""
        legal = np.isfinite(self.log_reward) & (law > 0)
        result = np.zeros(len(law))
        below = 1.0 - law[legal].sum()
        for value in np.unique(self.log_reward[legal]):
            own = legal & (self.log_reward == value)
            mass = law[own].sum()
            result[own] = law[own] / mass * ((below + mass) ** count - below**count)
            below += mass
        return result

    def rejected(self, law: FloatArray, log_bound: float) -> tuple[FloatArray, float]:
        """([Y] law of quasi-rejection with acceptance min(1, w / e^bound), its acceptance rate)."""
        accepted = law * np.minimum(1.0, np.exp(self.log_weight(law) - log_bound))
        return accepted / accepted.sum(), float(accepted.sum())

    # ------------------------------------------------------------------------------------------------------- expenses
    def visited(self, law: FloatArray) -> FloatArray:
        """[nodes] the chance that one draw of `law` asks for each prefix (mass that `law` lacks asks for nothing)."""
        rows, nodes = self.visits
        return np.bincount(nodes, weights=law[rows], minlength=len(self.model.context_of))

    def passes(self, law: FloatArray, count: int) -> float:
        """Expected unique prefixes of `count` draws."""
        return float((1.0 - (1.0 - np.minimum(self.visited(law), 1.0)) ** count).sum())

    def rejection_passes(self, law: FloatArray, log_bound: float) -> float:
        """Expected unique prefixes of drawing one by one until quasi-rejection accepts."""
        accepted = law * np.minimum(1.0, np.exp(self.log_weight(law) - log_bound))
        through, through_accepted = self.visited(law), self.visited(accepted)
        elsewhere = accepted.sum() - through_accepted
        met = through > 0
        return float((through[met] / (through[met] + elsewhere[met])).sum())
