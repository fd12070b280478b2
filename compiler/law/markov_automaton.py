"""Weighted automata over tokens: what the rules pay for a response, token by token, in arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bylaw.compiler.law.numerics import FloatArray, IntArray

if TYPE_CHECKING:
    from bylaw.compiler.automata.counts import Valued

STATE_LIMIT = 20_000


class TooManyStates(ValueError):
    """A product of automata has more states than are worth listing."""


@dataclass(frozen=True, eq=False)
class TokenAutomaton:
    """A deterministic automaton with Q states over V tokens that pays rewards and counts J features.

    Attributes:
        delta: [Q, V] the next state. start: the state before the first token.
        reward: [Q, V] nats paid for reading a token; −inf forbids it.
        end_reward: [Q] nats paid when the response ends there; −inf forbids that.
        features: [Q, V, J] what a token adds to each feature, finite.
        end_features: [Q, J] what the end adds.

    Raises:
        ValueError: shapes disagree, a state does not exist, a reward is +inf or NaN, a feature is not finite.
    """

    delta: IntArray
    start: int
    reward: FloatArray
    end_reward: FloatArray
    features: FloatArray
    end_features: FloatArray

    def __post_init__(self) -> None:
        object.__setattr__(self, "delta", np.array(self.delta, dtype=np.int64))
        for name in ("reward", "end_reward", "features", "end_features"):
            object.__setattr__(self, name, np.array(getattr(self, name), dtype=np.float64))
        for name in ("delta", "reward", "end_reward", "features", "end_features"):
            getattr(self, name).setflags(write=False)
        if self.delta.ndim != 2 or self.features.ndim != 3:
            raise ValueError(
                f"expected delta [Q, V] and features [Q, V, J], got {self.delta.shape}, {self.features.shape}"
            )
        states, tokens = self.delta.shape
        shapes = (self.reward.shape, self.end_reward.shape, self.features.shape[:2], self.end_features.shape)
        if shapes != ((states, tokens), (states,), (states, tokens), (states, self.features.shape[2])):
            raise ValueError(
                f"shapes disagree with {states} states and {tokens} tokens: reward {self.reward.shape}, end_reward "
                f"{self.end_reward.shape}, features {self.features.shape}, end_features {self.end_features.shape}"
            )
        if not 0 <= self.start < states or (self.delta < 0).any() or (self.delta >= states).any():
            raise ValueError(f"a step or the start leads out of the {states} states")
        for name, values in (("reward", self.reward), ("end_reward", self.end_reward)):
            if np.isnan(values).any() or np.isposinf(values).any():
                raise ValueError(f"{name} must be below +inf and not NaN")
        if not (np.isfinite(self.features).all() and np.isfinite(self.end_features).all()):
            raise ValueError("features must be finite: what is forbidden belongs into the reward as −inf")

    @property
    def size(self) -> int:
        """Q, the number of states."""
        return int(self.delta.shape[0])

    @property
    def vocabulary(self) -> int:
        """V, the number of tokens."""
        return int(self.delta.shape[1])

    @property
    def budgets(self) -> int:
        """J, the number of features."""
        return int(self.features.shape[2])

    def totals(self, tokens: Sequence[int]) -> tuple[float, FloatArray]:
        """(R(y) in nats, f(y) [J]) of a whole response."""
        state, reward, features = self.start, 0.0, np.zeros(self.budgets)
        for token in tokens:
            reward += float(self.reward[state, token])
            features += self.features[state, token]
            state = int(self.delta[state, token])
        return reward + float(self.end_reward[state]), features + self.end_features[state]


def from_transitions(
    reward: npt.ArrayLike,
    end_reward: npt.ArrayLike,
    features: npt.ArrayLike | None = None,
    end_features: npt.ArrayLike | None = None,
) -> TokenAutomaton:
    """The automaton whose state is the last token, for rewards and features of pairs of neighbouring tokens.

    Args:
        reward: [V+1, V] nats for a token after another; the last row is for the first token of a response.
        end_reward: [V+1] nats for ending after a token, or (last) for the empty response.
        features: [V+1, V, J] and end_features: [V+1, J] likewise; none means J = 0.

    Raises:
        ValueError: as for ``TokenAutomaton``.
    """
    pairs = np.asarray(reward, dtype=np.float64)
    if pairs.ndim != 2 or pairs.shape[0] != pairs.shape[1] + 1:
        raise ValueError(f"expected rewards [V+1, V], got {pairs.shape}")
    rows, tokens = pairs.shape
    return TokenAutomaton(
        delta=np.tile(np.arange(tokens), (rows, 1)),
        start=tokens,
        reward=pairs,
        end_reward=np.asarray(end_reward, dtype=np.float64),
        features=np.zeros((rows, tokens, 0)) if features is None else np.asarray(features, dtype=np.float64),
        end_features=np.zeros((rows, 0)) if end_features is None else np.asarray(end_features, dtype=np.float64),
    )


def from_valued(
    spellings: Sequence[str], rewards: Sequence[Valued] = (), features: Sequence[Valued] = ()
) -> TokenAutomaton:
    """The automaton of compiled terms over texts, reading whole tokens.

    Args:
        spellings: V texts, one a token.
        rewards: terms that pay nats; a final of −inf is a hard rule.
        features: J budget features.

    Raises:
        ValueError: a feature is −inf on some text, or there is half of a surrogate pair in a spelling.
        TooManyStates: together they have more than ``STATE_LIMIT`` states.
    """
    result = _nothing(len(spellings))
    for is_feature, valued in [*((False, each) for each in rewards), *((True, each) for each in features)]:
        result = product(result, _one(spellings, valued, is_feature))
    return result


def product(left: TokenAutomaton, right: TokenAutomaton, limit: int = STATE_LIMIT) -> TokenAutomaton:
    """Both at once: rewards are added, features stand side by side (``left`` first); only states that tokens reach.

    Raises:
        ValueError: they read different numbers of tokens.
        TooManyStates: there are more than ``limit`` states.
    """
    if left.vocabulary != right.vocabulary:
        raise ValueError(f"the automata read {left.vocabulary} and {right.vocabulary} tokens")
    numbers = {(left.start, right.start): 0}
    order = [(left.start, right.start)]
    delta: list[list[int]] = []
    for one, other in order:
        row = []
        for pair in zip(left.delta[one].tolist(), right.delta[other].tolist(), strict=True):
            if pair not in numbers:
                if len(order) == limit:
                    raise TooManyStates(f"the rules together have more than {limit} states")
                numbers[pair] = len(order)
                order.append(pair)
            row.append(numbers[pair])
        delta.append(row)
    ones, others = np.array(order, dtype=np.int64).T
    return TokenAutomaton(
        delta=np.array(delta, dtype=np.int64).reshape(len(order), left.vocabulary),
        start=0,
        reward=left.reward[ones] + right.reward[others],
        end_reward=left.end_reward[ones] + right.end_reward[others],
        features=np.concatenate([left.features[ones], right.features[others]], axis=2),
        end_features=np.concatenate([left.end_features[ones], right.end_features[others]], axis=1),
    )


def _nothing(tokens: int) -> TokenAutomaton:
    zeros = np.zeros((1, tokens))
    return TokenAutomaton(
        np.zeros((1, tokens), np.int64), 0, zeros, np.zeros(1), zeros[:, :, None][:, :, :0], np.zeros((1, 0))
    )


def _one(spellings: Sequence[str], valued: Valued, is_feature: bool) -> TokenAutomaton:
    labels = [valued.alphabet.indices(text) for text in spellings]
    delta = np.zeros((valued.size, len(spellings)), dtype=np.int64)
    paid = np.zeros((valued.size, len(spellings)))
    for origin in range(valued.size):
        for token, path in enumerate(labels):
            state = origin
            for label in path:
                paid[origin, token] += valued.increments[state][label]
                state = valued.delta[state][label]
            delta[origin, token] = state
    final = np.array(valued.final)
    if not is_feature:
        nothing = np.zeros((valued.size, len(spellings), 0))
        return TokenAutomaton(delta, valued.start, paid, final, nothing, np.zeros((valued.size, 0)))
    if not np.isfinite(final).all():
        raise ValueError("a feature must have a value for every text: its automaton forbids some")
    return TokenAutomaton(
        delta, valued.start, np.zeros_like(paid), np.zeros_like(final), paid[:, :, None], final[:, None]
    )
