"""A prefix trie of one prompt with exact soft backups over the whole vocabulary.

    V(h) = Σ_w p0(w | h) e^{r(w)} [V(hw) where hw was visited, else the look-ahead's V̂(hw)],      end of text included.

A node keeps what it needs to be drawn from again: for its `kept` tokens of the largest score their log p0, their score
and what has been learned of them, and the log mass of all others together. That is 28 bytes for each kept token (7 KiB
at 256 of them), however large the vocabulary is; the two full rows of a vocabulary of 32k would be 512 KiB. A draw that
falls into the tail evaluates the node again, which keeps the law exact. Masses are summed, never subtracted, so that
what has been used up is −inf and not rounding. All logarithms are natural.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bylaw.runtime.models.interface import FloatArray

Tokens = tuple[int, ...]
TAIL = -1
"""What stands for the tokens that a node does not keep."""
NODE_BYTES = 600
"""What a node takes besides its arrays, about: the object, its dictionaries and four array headers."""


@dataclass(eq=False, slots=True)
class Node:
    """A beginning whose next-token law is known.

    `paid`: nats of reward for its tokens; `final`: for ending here. `tokens` [K] ascending, with `law` [K] log p0,
    `scores` [K] log p0 + look-ahead, and `known` [K]: log mass p0·e^r·V(hw) of visited tokens, NaN for others. `tail`:
    log of the summed scores of the tokens that are not kept. `total`: log V of the node. `children`: node by token.
    """

    parent: int
    token: int
    depth: int
    paid: float
    final: float
    tokens: NDArray[np.int32]
    law: FloatArray
    scores: FloatArray
    known: FloatArray
    tail: float
    total: float
    children: dict[int, int] = field(default_factory=dict)
    visits: dict[int, int] = field(default_factory=dict)

    def slot(self, token: int) -> int:
        """Where a kept token stands."""
        return int(np.searchsorted(self.tokens, token))


@dataclass(frozen=True, slots=True)
class Leaf:
    """A finished response: its text, None where it is none, and its whole log reward, −inf where it is forbidden."""

    text: str | None
    reward: float


class Trie:
    """The nodes of one prompt; node 0 is the empty response. Children have larger numbers than their parents.

    `shift` is added to the scores of what was not visited, so that look-aheads that are right but for a constant (those
    that are learned, and rewards that no automaton expresses) are on the scale of what was found: it is the log mean
    ratio of the true mass of a response to the look-ahead's claim.
    """

    def __init__(self, kept: int) -> None:
        self.nodes: list[Node] = []
        self.leaves: dict[Tokens, Leaf] = {}
        self.shift = 0.0
        self.kept = kept
        self._found = 0
        self._ratio = -np.inf
        self._due = 1

    @property
    def bytes(self) -> int:
        """Memory of the nodes, about."""
        return sum(28 * len(node.tokens) + NODE_BYTES for node in self.nodes)

    @property
    def exhausted(self) -> bool:
        """Whether no mass is left to draw from."""
        return bool(self.nodes) and self.nodes[0].total == -np.inf

    @property
    def log_value(self) -> float:
        """log V of the empty response: Z itself once everything was visited."""
        return self.nodes[0].total if self.nodes else 0.0

    # ------------------------------------------------------------------------------------------------------ reading
    def masses(self, node: Node) -> FloatArray:
        """[K + 1]: log mass of each kept token as known now, and of the tail; their log-sum is `total`."""
        found = np.empty(len(node.tokens) + 1)
        np.add(node.scores, self.shift, out=found[:-1])
        np.copyto(found[:-1], node.known, where=~np.isnan(node.known))
        found[-1] = node.tail + self.shift
        return found

    def child(self, parent: int, token: int) -> int | None:
        """The node behind a token of a node; the root behind `parent` −1."""
        if parent < 0:
            return 0 if self.nodes else None
        return self.nodes[parent].children.get(token)

    # ------------------------------------------------------------------------------------------------------ growing
    def put(
        self,
        parent: int,
        token: int,
        paid: float,
        final: float,
        law: FloatArray,
        scores: FloatArray,
        needed: Iterable[int],
        more: int = 0,
    ) -> int:
        """The node behind `token` of `parent`, made from its rows `law` and `scores` [V] where it is new.

        `needed` tokens are kept whatever their score, and `more` of the tail too. Values above it are backed up by
        `refresh` only, so that draws of one round see one law.
        """
        known = self.child(parent, token)
        if known is not None:
            self._keep(self.nodes[known], law, scores, needed, more)
            return known
        number = len(self.nodes)
        depth = 0 if parent < 0 else self.nodes[parent].depth + 1
        nothing = np.empty(0)
        empty = np.empty(0, dtype=np.int32)
        node = Node(parent, token, depth, paid, final, empty, nothing, nothing, nothing, -np.inf, -np.inf)
        self._keep(node, law, scores, needed, self.kept)
        self.nodes.append(node)
        if parent >= 0:
            self.nodes[parent].children[token] = number
        node.total = log_sum(self.masses(node))
        return number

    def _keep(self, node: Node, law: FloatArray, scores: FloatArray, needed: Iterable[int], more: int) -> None:
        """Keep `needed` tokens and the `more` best ones of the tail; both rows are [V]."""
        others = scores.copy()
        others[node.tokens] = -np.inf
        wanted = {token for token in needed if others[token] > -np.inf}
        if more > 0:
            best = np.argpartition(-others, more)[:more] if more < len(others) else np.arange(len(others))
            wanted.update(int(token) for token in best if others[token] > -np.inf)
        if not wanted:
            # nothing of this node was seen before: its tail is nothing too
            return
        added = np.array(sorted(wanted), dtype=np.int32)
        tokens = np.concatenate([node.tokens, added])
        order = np.argsort(tokens)
        node.tokens = tokens[order]
        node.law = np.concatenate([node.law, law[added]])[order]
        node.scores = np.concatenate([node.scores, scores[added]])[order]
        node.known = np.concatenate([node.known, np.full(len(added), np.nan)])[order]
        others[added] = -np.inf
        node.tail = log_sum(others)

    def settle(self, number: int, token: int, mass: float, *, removed: bool = False) -> None:
        """The log mass of a token that ends a response, or leads nowhere, is known; with `removed` it is used up."""
        node = self.nodes[number]
        slot = node.slot(token)
        if np.isnan(node.known[slot]):
            self._found += 1
            self._ratio = float(np.logaddexp(self._ratio, mass - node.scores[slot]))
        node.known[slot] = -np.inf if removed else mass

    def refresh(self, numbers: Iterable[int]) -> None:
        """Back up the values of these nodes to the root."""
        waiting = [-number for number in set(numbers)]
        heapq.heapify(waiting)
        last = 1
        while waiting:
            number = heapq.heappop(waiting)
            if number == last:
                continue
            last = number
            node = self.nodes[-number]
            node.total = log_sum(self.masses(node))
            if node.parent >= 0:
                parent = self.nodes[node.parent]
                slot = parent.slot(node.token)
                parent.known[slot] = parent.law[slot] + node.paid - parent.paid + node.total
                heapq.heappush(waiting, -node.parent)

    def calibrate(self) -> None:
        """Estimate `shift` anew, each time that twice as many responses were found; then all values change."""
        if self._found < self._due or self._ratio == -np.inf:
            return
        self._due = 2 * self._found
        shift = self._ratio - float(np.log(self._found))
        # a look-ahead that is a compiled one claims the truth of every response: what is left is rounding
        if abs(shift - self.shift) > 1e-9:
            self.shift = shift
            self.refresh(range(len(self.nodes)))


def log_sum(values: FloatArray) -> float:
    """log Σ exp of the values [N]; −inf for none."""
    peak = values.max(initial=-np.inf)
    if peak == -np.inf:
        return -np.inf
    return float(peak + np.log(np.exp(values - peak).sum()))
