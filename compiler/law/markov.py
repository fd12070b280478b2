"""The exact law of a Markov model under a weighted automaton, without enumerating responses, LAW.md §3.

The base model draws the next token from the last one; the automaton reads tokens, pays rewards and counts features.
On the joint states n = (last token, automaton state) with l tokens left, Bellman's equation is a finite recursion:

    V_l(n) = p0(end|n) e^{g(n)} + Σ_w p0(w|n) e^{r(n,w) − μ·f(n,w)} V_{l−1}(nw),     V_0(n) = e^{g(n)},

and p*(w|h) = p0(w|h) e^{…} V(hw)/V(h). Means and covariances of additive features follow by the laws of total
expectation and covariance down the same recursion, so nothing cancels and cost is tokens × states × vocabulary.
A response ends by the end token or, without any factor for it, at ``max_tokens``. Everything is in nats and float64.
Sources: Bellman 1957; Baum and Welch's forward recursion (Rabiner 1989); Li and Eisner 2009 for second moments.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from bylaw.compiler.law.markov_automaton import TokenAutomaton
from bylaw.compiler.law.numerics import EmptySupport, FloatArray, IntArray, as_matrix, as_vector

_NORMALISED_WITHIN = 1e-8

Tokens = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class MarkovChain:
    """A base model of order 1 over V tokens; column V is the end of the response.

    Attributes:
        log_start: [V+1] log p0 of the first token, in nats.
        log_next: [V, V+1] log p0 of the token after each token.
        max_tokens: the most tokens of a response, end not counted; there the response just ends.

    Raises:
        ValueError: shapes disagree, a row is not normalised, or ``max_tokens`` is negative.
    """

    log_start: FloatArray
    log_next: FloatArray
    max_tokens: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "log_start", as_vector(self.log_start, "log_start"))
        object.__setattr__(self, "log_next", as_matrix(self.log_next, "log_next"))
        size = self.log_next.shape[0]
        if self.log_start.shape != (size + 1,) or self.log_next.shape != (size, size + 1):
            raise ValueError(
                f"expected log_start [V+1] and log_next [V, V+1], got {self.log_start.shape} and {self.log_next.shape}"
            )
        mass = np.exp(self.rows).sum(axis=1)
        if not (np.abs(mass - 1.0) <= _NORMALISED_WITHIN).all():
            worst = int(np.argmax(np.abs(mass - 1.0)))
            place = "log_start" if worst == size else f"row {worst} of log_next"
            raise ValueError(f"{place} is not normalised: its probabilities add up to {mass[worst]!r}")
        if self.max_tokens < 0:
            raise ValueError(f"max_tokens must be 0 or more, got {self.max_tokens}")

    @property
    def vocabulary(self) -> int:
        """V, the number of tokens without the end."""
        return int(self.log_next.shape[0])

    @cached_property
    def rows(self) -> FloatArray:
        """[V+1, V+1] log p0 by last token; the last row is the beginning."""
        return np.concatenate([self.log_next, self.log_start[None, :]])


@dataclass(frozen=True, eq=False)
class RegulatedChain:
    """A base model and the automaton of its rules: what stays the same for all multipliers.

    Raises:
        ValueError: the automaton reads another number of tokens than the model has.
        EmptySupport: no response is allowed and possible.
    """

    chain: MarkovChain
    automaton: TokenAutomaton

    def __post_init__(self) -> None:
        if self.automaton.vocabulary != self.chain.vocabulary:
            raise ValueError(
                f"the model has {self.chain.vocabulary} tokens and the automaton reads {self.automaton.vocabulary}"
            )
        if not np.isfinite(self.law().log_z):
            raise EmptySupport("the hard rules leave no response with positive base probability")

    def law(self, mu: npt.ArrayLike | None = None) -> MarkovLaw:
        """The law at multipliers μ [J] in nats per unit of feature; none means zero."""
        return MarkovLaw(self, np.zeros(self.automaton.budgets) if mu is None else np.asarray(mu, dtype=np.float64))

    def base(self) -> MarkovLaw:
        """p0 itself, with the same features: for base rates."""
        free = replace(
            self.automaton,
            reward=np.zeros_like(self.automaton.reward),
            end_reward=np.zeros_like(self.automaton.end_reward),
        )
        return RegulatedChain(self.chain, free).law()

    @cached_property
    def graph(self) -> JointGraph:
        """The joint states that p0 can reach; state 0 is the beginning."""
        return _explore(self.chain, self.automaton)


@dataclass(frozen=True, eq=False)
class JointGraph:
    """N joint states. ``context`` and ``state`` [N]: last token (V: none) and automaton state; ``target`` [N, V];
    ``log_p`` [N, V+1] with the end last; ``reward`` and ``features`` [N, V+1] and [N, V+1, J] likewise."""

    context: IntArray
    state: IntArray
    target: IntArray
    log_p: FloatArray
    reward: FloatArray
    features: FloatArray

    @property
    def size(self) -> int:
        """N, the number of joint states."""
        return int(self.context.size)


@dataclass(frozen=True, eq=False)
class MarkovLaw:
    """p*(y) ∝ p0(y) · exp(R(y) − μ·f(y)) on all responses of a regulated chain, −inf rewards being hard rules.

    Raises:
        ValueError: μ is not J finite numbers.
    """

    space: RegulatedChain
    mu: FloatArray

    def __post_init__(self) -> None:
        object.__setattr__(self, "mu", as_vector(self.mu, "mu"))
        if self.mu.shape != (self.space.automaton.budgets,) or not np.isfinite(self.mu).all():
            raise ValueError(f"mu must be {self.space.automaton.budgets} finite numbers")

    @cached_property
    def _factor(self) -> FloatArray:
        """[N, V+1] log factor of every step, end last."""
        graph = self.space.graph
        return graph.reward - graph.features @ self.mu

    @cached_property
    def log_values(self) -> FloatArray:
        """[T+1, N] log V in nats by tokens left and joint state; −inf where no allowed ending is left."""
        graph, longest = self.space.graph, self.space.chain.max_tokens
        terms = graph.log_p + self._factor
        values = np.empty((longest + 1, graph.size))
        values[0] = self._factor[:, -1]
        ahead = terms.copy()
        for left in range(1, longest + 1):
            np.add(terms[:, :-1], values[left - 1][graph.target], out=ahead[:, :-1])
            peak = np.maximum(ahead.max(axis=1), -1e300)
            with np.errstate(divide="ignore"):  # a state from which nothing is allowed has V = 0
                values[left] = peak + np.log(np.exp(ahead - peak[:, None]).sum(axis=1))
        return values

    @property
    def log_z(self) -> float:
        """log Z in nats."""
        return float(self.log_values[-1, 0])

    def expectation(self) -> FloatArray:
        """E_{p*} f [J]."""
        return self._moments(self.space.graph.features, second=False)[0]

    def moments(self) -> tuple[FloatArray, FloatArray]:
        """(E_{p*} f [J], Cov_{p*} f [J, J]): minus the gradient and the Hessian of log Z in μ."""
        return self._moments(self.space.graph.features, second=True)

    def expectation_of(self, step_values: npt.ArrayLike, end_values: npt.ArrayLike) -> FloatArray:
        """E_{p*} of additive values [K]: ``step_values`` [Q, V, K] per token read, ``end_values`` [Q, K] at the end.

        Raises:
            ValueError: shapes do not fit the automaton, or a value is not finite.
        """
        probe = replace(
            self.space.automaton,
            features=np.asarray(step_values, dtype=np.float64),
            end_features=np.asarray(end_values, dtype=np.float64),
        )
        graph = self.space.graph
        chosen = np.concatenate([probe.features, probe.end_features[:, None, :]], axis=1)[graph.state]
        return self._moments(chosen, second=False)[0]

    def end_states(self) -> FloatArray:
        """[Q] the law of the automaton's state at the end of a response: rates of the events that states stand for."""
        size = self.space.automaton.size
        step = np.zeros((size, self.space.automaton.vocabulary, size))
        return self.expectation_of(step, np.eye(size))

    def lengths(self) -> FloatArray:
        """[T+1] P(a response has l tokens)."""
        graph, longest = self.space.graph, self.space.chain.max_tokens
        result = np.zeros(longest + 1)
        mass = np.zeros(graph.size)
        mass[0] = 1.0
        for length in range(longest):
            moved = np.exp(self._conditional(longest - length)) * mass[:, None]
            result[length] = moved[:, -1].sum()
            going: FloatArray = moved[:, :-1].ravel()
            mass = np.asarray(np.bincount(graph.target.ravel(), going, minlength=graph.size), dtype=np.float64)
        result[longest] = mass.sum()
        return result

    def kl_to_base(self) -> float:
        """KL(p*‖p0) in nats, as the sum over tokens of E_{p*} KL(p*(·|h)‖p0(·|h))."""
        graph = self.space.graph
        total = np.zeros(graph.size)
        for left in range(1, self.space.chain.max_tokens + 1):
            log_star = self._conditional(left)
            star = np.exp(log_star)
            ratio = np.where(star > 0.0, log_star - np.where(star > 0.0, graph.log_p, 0.0), 0.0)
            total = (star * ratio).sum(axis=1) + (star[:, :-1] * total[graph.target]).sum(axis=1)
        return float(total[0])

    def log_prob(self, tokens: Sequence[int]) -> float:
        """log p*(y) of a whole response, without its end token; −inf where it is forbidden or impossible."""
        graph, node, total = self.space.graph, 0, 0.0
        for token in tokens:
            total += float(graph.log_p[node, token] + self._factor[node, token])
            node = int(graph.target[node, token])
            if total == -np.inf:
                return -np.inf
        ended = graph.log_p[node, -1] if len(tokens) < self.space.chain.max_tokens else 0.0
        return total + float(ended + self._factor[node, -1]) - self.log_z

    def next_log_probs(self, prefix: Sequence[int]) -> FloatArray:
        """[V+1] log p*(w|prefix), the end last.

        Raises:
            ValueError: the prefix has ``max_tokens`` tokens already, or p* never begins like this.
        """
        left = self.space.chain.max_tokens - len(prefix)
        if left < 1:
            raise ValueError(f"a prefix has at most {self.space.chain.max_tokens - 1} tokens, got {len(prefix)}")
        graph, node = self.space.graph, 0
        for place, token in enumerate(prefix):
            if self._conditional(left + len(prefix) - place)[node, token] == -np.inf:
                raise ValueError(f"the law never begins with {tuple(prefix[: place + 1])}")
            node = int(graph.target[node, token])
        result: FloatArray = self._conditional(left)[node]
        return result

    def sample(self, count: int, rng: np.random.Generator) -> list[Tokens]:
        """``count`` independent responses of p* itself, without the end token."""
        graph, longest = self.space.graph, self.space.chain.max_tokens
        drawn: list[list[int]] = [[] for _ in range(count)]
        active: IntArray = np.arange(count)
        node: IntArray = np.zeros(count, dtype=np.int64)
        for left in range(longest, 0, -1):
            if not active.size:
                break
            cumulative = np.exp(self._conditional(left)).cumsum(axis=1)[node]
            # The last column of positive probability closes the row: rounding must not draw a forbidden token.
            token = (rng.random((active.size, 1)) * cumulative[:, -1:] >= cumulative).sum(axis=1)
            going = token < graph.target.shape[1]
            active, token, node = active[going], token[going], node[going]
            for index, each in zip(active, token, strict=True):
                drawn[index].append(int(each))
            node = graph.target[node, token]
        return [tuple(each) for each in drawn]

    def _conditional(self, left: int) -> FloatArray:
        """[N, V+1] log p*(w|n) with ``left`` ≥ 1 tokens left; rows of −inf where V = 0."""
        graph, values = self.space.graph, self.log_values
        terms = graph.log_p + self._factor
        terms[:, :-1] += values[left - 1][graph.target]
        reachable = values[left] > -np.inf
        return np.where(reachable[:, None], terms - np.where(reachable, values[left], 0.0)[:, None], -np.inf)

    def _moments(self, values: FloatArray, second: bool) -> tuple[FloatArray, FloatArray]:
        """(mean [K], covariance [K, K] or zeros) of additive ``values`` [N, V+1, K], the end's last."""
        graph, width = self.space.graph, values.shape[2]
        mean = values[:, -1, :].copy()
        spread = np.zeros((graph.size, width, width))
        for left in range(1, self.space.chain.max_tokens + 1):
            star = np.exp(self._conditional(left))
            total = values.copy()
            total[:, :-1, :] += mean[graph.target]
            mean = np.einsum("nv,nvk->nk", star, total)
            if second:
                total -= mean[:, None, :]
                within = (total * star[:, :, None]).transpose(0, 2, 1) @ total
                spread = within + np.einsum("nv,nvij->nij", star[:, :-1], spread[graph.target])
        return mean[0], spread[0]


def _explore(chain: MarkovChain, automaton: TokenAutomaton) -> JointGraph:
    size = chain.vocabulary
    possible = chain.rows[:, :size] > -np.inf
    numbers = {(size, automaton.start): 0}
    order = [(size, automaton.start)]
    target: list[list[int]] = []
    for context, state in order:
        row = []
        for token in range(size):
            reached = (token, int(automaton.delta[state, token]))
            if possible[context, token] and reached not in numbers:
                numbers[reached] = len(order)
                order.append(reached)
            row.append(numbers.get(reached, 0))  # an impossible step leads anywhere: its log p0 is −inf
        target.append(row)
    contexts, states = np.array(order, dtype=np.int64).T
    return JointGraph(
        context=contexts,
        state=states,
        target=np.array(target, dtype=np.int64).reshape(len(order), size),
        log_p=chain.rows[contexts],
        reward=np.concatenate([automaton.reward, automaton.end_reward[:, None]], axis=1)[states],
        features=np.concatenate([automaton.features, automaton.end_features[:, None, :]], axis=1)[states],
    )
