"""A batch of growing responses under the twisted proposal.

    q(w | h) ∝ p0(w | h) · Π_factors e^{look_ahead(w | h)},      end of text included.

Rows (particles) that have the same prompt and the same tokens are one node: the model and the factors see each node
once, so that particles share what they have in common. Decoders see rows only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bylaw.runtime.look_ahead.interface import LookAhead
from bylaw.runtime.models.interface import FloatArray, IntArray, LanguageModel, collapse_end, require_numbers

Tokens = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Look:
    """What may follow each of U nodes.

    `law` [U, V]: log p0 with all end tokens collapsed into the first. `scores` [U, V]: log of the proposal, not
    normalised. `total` [U]: log Σ exp(scores), −inf where nothing may follow. `cumulative` [U, V]: running sums of
    exp(scores − peak).
    """

    law: FloatArray
    scores: FloatArray
    total: FloatArray
    cumulative: FloatArray


class Frontier:
    """N rows that have not ended. Log arrays are by row, in nats.

    `begun` (tokens of each row, default none) are taken as given: `log_p0` and `log_q` count from there, while
    `log_reward` is that of the whole row. With `masked` the factors are replaced by the indicator that all of them are
    finite: plain masking. A row may not begin at the cap. Raises ModelError, OutOfMemory, and
    OutOfBudget where the model is metered.
    """

    def __init__(
        self,
        model: LanguageModel,
        factors: Sequence[LookAhead],
        prompts: Sequence[Tokens],
        cap: int,
        *,
        begun: Sequence[Tokens] | None = None,
        masked: bool = False,
    ) -> None:
        starts = [()] * len(prompts) if begun is None else list(begun)
        pairs = list(zip(prompts, starts, strict=True))
        nodes = list(dict.fromkeys(pairs))
        number = {pair: index for index, pair in enumerate(nodes)}
        self.vocabulary = model.vocabulary
        self.cap = cap
        self.masked = masked
        self._node: IntArray = np.array([number[pair] for pair in pairs], dtype=np.int64)
        self._session = model.session([prompt + tokens for prompt, tokens in nodes])
        heads, bodies = [prompt for prompt, _ in nodes], [tokens for _, tokens in nodes]
        self._states = [factor.begin(heads, bodies) for factor in factors]
        self._tokens = np.zeros((len(nodes), cap), dtype=np.int64)
        for row, tokens in enumerate(bodies):
            self._tokens[row, : len(tokens)] = tokens
        self._lengths = np.array([len(tokens) for tokens in bodies], dtype=np.int64)
        self._open = np.ones(len(nodes), dtype=np.bool_)
        self._log_p0 = np.zeros(len(nodes))
        self._log_q = np.zeros(len(nodes))
        self._look: Look | None = None

    def __len__(self) -> int:
        return len(self._node)

    # ------------------------------------------------------------------------------------------------ what rows are
    @property
    def nodes(self) -> IntArray:
        """[N]: equal numbers mean equal prompts and tokens."""
        return self._node

    @property
    def lengths(self) -> IntArray:
        """[N] tokens."""
        return self._lengths[self._node]

    @property
    def tokens(self) -> IntArray:
        """[N, cap]: the first `lengths` of each row count."""
        return self._tokens[self._node]

    def response(self, row: int) -> Tokens:
        """The tokens of one row."""
        node = self._node[row]
        return tuple(int(token) for token in self._tokens[node, : self._lengths[node]])

    @property
    def log_p0(self) -> FloatArray:
        return self._log_p0[self._node]

    @property
    def log_q(self) -> FloatArray:
        return self._log_q[self._node]

    @property
    def log_reward(self) -> FloatArray:
        """[N]: what the factors have paid for the tokens so far."""
        return self._paid()[self._node]

    @property
    def log_value(self) -> FloatArray:
        """[N]: log V̂ of the rows, the product over factors; 0 where no factor looks ahead."""
        left = self.cap - self._lengths
        total = np.zeros(len(left))
        for state in self._states:
            total += state.value(left)
        return total[self._node]

    @property
    def final(self) -> FloatArray:
        """[N]: what ending here pays; −inf where a hard rule is broken."""
        total = np.zeros(len(self._lengths))
        for state in self._states:
            total += state.final()
        return total[self._node]

    def _paid(self) -> FloatArray:
        total = np.zeros(len(self._lengths))
        for state in self._states:
            total += state.paid
        return total

    @property
    def complete(self) -> NDArray[np.bool_]:
        """[N]: whether a row ends where it is, at the cap or with a stop string; it must not be advanced further."""
        return ~self._open[self._node]

    # --------------------------------------------------------------------------------------------------- what follows
    def look(self) -> Look:
        """The next-token laws of the nodes; computed once for each step. Index its rows with `nodes`."""
        if self._look is None:
            law = self._law()
            scores = self._scores(law)
            peak = scores.max(axis=1, keepdims=True)
            peak = np.where(np.isfinite(peak), peak, 0.0)
            cumulative = np.exp(scores - peak)
            np.cumsum(cumulative, axis=1, out=cumulative)
            with np.errstate(divide="ignore"):
                self._look = Look(law, scores, peak[:, 0] + np.log(cumulative[:, -1]), cumulative)
        return self._look

    def _law(self) -> FloatArray:
        """[U, V]; all −inf for complete nodes, which the session does not hold."""
        law = self._session.log_probs()
        require_numbers(law, self._lengths[self._open])
        collapse_end(law, self.vocabulary)
        if self._open.all():
            return law
        whole = np.full((len(self._open), law.shape[1]), -np.inf)
        whole[self._open] = law
        return whole

    def _scores(self, law: FloatArray) -> FloatArray:
        if not self._states:
            return law
        left = np.maximum(self.cap - self._lengths - 1, 0)
        factors = self._states[0].look_ahead(left)
        for state in self._states[1:]:
            factors += state.look_ahead(left)
        if self.masked:
            return np.where(np.isfinite(factors), law, -np.inf)
        factors += law
        return factors

    @property
    def possible(self) -> NDArray[np.bool_]:
        """[N]: whether anything may follow a row."""
        return np.isfinite(self.look().total)[self._node]

    def draw(self, uniforms: FloatArray) -> IntArray:
        """[N] the next tokens (the first end token for the end of text) by inverse CDF; −1 where nothing may follow."""
        look = self.look()
        chosen = np.full(len(self._node), -1, dtype=np.int64)
        total = look.cumulative[:, -1][self._node]
        # u·total can round up to total itself; one step below keeps the choice on a column with positive mass
        target = np.minimum(uniforms * total, np.nextafter(total, 0.0))
        for row in np.flatnonzero(total > 0):
            chosen[row] = look.cumulative[self._node[row]].searchsorted(target[row], side="right")
        return chosen

    def is_end(self, tokens: IntArray) -> NDArray[np.bool_]:
        """[N]: whether the choice is the end of text."""
        return np.isin(tokens, self.vocabulary.end_ids[:1])

    # ------------------------------------------------------------------------------------------------------- to go on
    def ended(self, rows: IntArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """(log p0, log q, log reward) [n] of rows that end by the end of text here, that event included."""
        look, nodes = self.look(), self._node[rows]
        end = self.vocabulary.end_ids[0]
        log_q = self._log_q[nodes] + look.scores[nodes, end] - look.total[nodes]
        return self._log_p0[nodes] + look.law[nodes, end], log_q, self.log_reward[rows] + self.final[rows]

    def advance(self, rows: IntArray, tokens: IntArray) -> None:
        """The batch becomes `[rows[i] + tokens[i]]`: rows may be dropped, repeated and put in another order.

        `tokens` [n] are regular. The model is evaluated for the rows that are not `complete` then.
        """
        look = self.look()
        pairs = self._node[rows] * len(self.vocabulary) + tokens
        distinct, self._node = np.unique(pairs, return_inverse=True)
        parents, following = np.divmod(distinct, len(self.vocabulary))
        self._log_p0 = self._log_p0[parents] + look.law[parents, following]
        with np.errstate(invalid="ignore"):
            self._log_q = self._log_q[parents] + look.scores[parents, following] - look.total[parents]
        self._tokens, self._lengths = self._tokens[parents], self._lengths[parents]
        self._tokens[np.arange(len(parents)), self._lengths] = following
        self._lengths = self._lengths + 1
        same = np.array_equal(parents, np.arange(len(look.total)))
        for state in self._states:
            if not same:
                state.select(parents)
            state.advance(following)
        self._look = None
        held = np.flatnonzero(self._open)  # node of each sequence of the session
        self._open = self._unfinished()
        if self._open.any():
            sources = np.searchsorted(held, parents[self._open])
            if not np.array_equal(sources, np.arange(len(held))):
                self._session.select(sources)
            self._session.advance(following[self._open])

    def _unfinished(self) -> NDArray[np.bool_]:
        """[U]: nodes after which another token may come."""
        room = self._lengths < self.cap
        if self.vocabulary.stops:
            for node in np.flatnonzero(room):
                tokens = self._tokens[node, : self._lengths[node]]
                room[node] = not self.vocabulary.stopped([int(token) for token in tokens])
        return room

    def select(self, rows: IntArray) -> None:
        """The batch becomes `[old[i] for i in rows]`; costs nothing until the next `advance`."""
        self._node = self._node[rows]
