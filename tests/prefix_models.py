"""Laws by tables of all beginnings: models, exact look-aheads, and the law that a prefix trie draws from next."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import product

import numpy as np
from decoding_models import CAP, Exact, Tiny, reward

from bylaw.runtime.decoders._trie import Trie
from bylaw.runtime.decoders.engine import factors_of
from bylaw.runtime.decoders.frontier import Frontier
from bylaw.runtime.decoders.interface import DecodeTask
from bylaw.runtime.models.interface import FloatArray, IntArray, LanguageModel, OutOfMemory, Vocabulary
from tinymodels import Tokens, enumerate_model

LETTERS = 5
Rows = Sequence[FloatArray]
"""By depth d < CAP: [LETTERS**d, LETTERS + 1], one row for each beginning of d tokens in order, the end last."""


def place(tokens: Tokens) -> int:
    """Which of the beginnings of its length it is."""
    return int(sum(token * LETTERS**at for at, token in enumerate(reversed(tokens))))


def beginnings(depth: int) -> list[Tokens]:
    """In the order of `place`."""
    return list(product(range(LETTERS), repeat=depth))


def by_depth(values: FloatArray) -> list[FloatArray]:
    """Values [Y] of all responses in the order of `enumerate_model`, split by their lengths 0 … CAP."""
    sizes = np.cumsum([LETTERS**depth for depth in range(CAP)])
    return list(np.split(values, sizes))


def backed_up(log_mass: FloatArray, reduce: Callable[..., FloatArray] = np.logaddexp.reduce) -> list[FloatArray]:
    """By depth 0 … CAP: log of the summed (by `np.max`: of the largest) mass of the responses with each beginning."""
    ended = by_depth(log_mass)
    total = [ended[CAP]]
    for depth in range(CAP - 1, -1, -1):
        rows = np.concatenate([total[0].reshape(-1, LETTERS), ended[depth][:, None]], axis=1)
        total.insert(0, reduce(rows, axis=1))
    return total


def conditionals(log_mass: FloatArray) -> list[FloatArray]:
    """The next-token laws of a law over responses [Y] (log, not normalised); uniform where a beginning has no mass."""
    ended, total = by_depth(log_mass), backed_up(log_mass)
    found = []
    for depth in range(CAP):
        rows = np.concatenate([total[depth + 1].reshape(-1, LETTERS), ended[depth][:, None]], axis=1)
        with np.errstate(invalid="ignore"):
            rows = rows - total[depth][:, None]
        rows[total[depth] == -np.inf] = -np.log(LETTERS + 1)
        found.append(rows)
    return found


def law_of(rows: Rows) -> FloatArray:
    """[Y] the law of responses with these next-token laws, logs."""
    found, reached = [], np.zeros(1)
    for depth in range(CAP):
        found.append(reached + rows[depth][:, LETTERS])
        reached = (reached[:, None] + rows[depth][:, :LETTERS]).ravel()
    return np.concatenate([*found, reached])


@dataclass(eq=False)
class TableSession:
    """Prompts of one token, and what follows them in plain lists; `asked` hears of each beginning once per forward."""

    model: TableModel
    prefixes: list[Tokens]

    def __post_init__(self) -> None:
        self._hear(list(dict.fromkeys(self.prefixes)))

    def _hear(self, evaluated: list[Tokens]) -> None:
        if self.model.room is not None and len(evaluated) > self.model.room:
            raise OutOfMemory(f"{len(evaluated)} rows do not fit")
        self.model.asked.extend(evaluated)

    def log_probs(self) -> FloatArray:
        rows = [self.model.rows[len(prefix)][place(prefix)] for prefix in self.prefixes]
        return np.array(rows, dtype=np.float64)

    def advance(self, tokens: IntArray) -> None:
        longer = [(*prefix, int(token)) for prefix, token in zip(self.prefixes, tokens, strict=True)]
        self._hear(longer)
        self.prefixes = longer

    def select(self, indices: IntArray) -> None:
        self.prefixes = [self.prefixes[int(at)] for at in indices]


@dataclass(eq=False)
class TableModel:
    """A `LanguageModel` from next-token laws; unlike `Tiny` it may be asked to begin anywhere.

    `asked`: every beginning that was evaluated. With `room` larger batches do not fit into memory.
    """

    rows: Rows
    vocabulary: Vocabulary
    room: int | None = None
    name: str = "table"
    digest: str = "table"

    def __post_init__(self) -> None:
        self.asked: list[Tokens] = []

    def encode_chat(self, messages: object) -> tuple[int, ...]:
        return (LETTERS,)

    def session(self, prompts: Sequence[tuple[int, ...]]) -> TableSession:
        return TableSession(self, [prompt[1:] for prompt in prompts])


@lru_cache(maxsize=4)
def base_rows(tiny: Tiny) -> list[FloatArray]:
    """The next-token laws of the tabular model."""
    return [tiny.model.next_log_probs(beginnings(depth)) for depth in range(CAP)]


def shorter(exact: Exact, cap: int = CAP - 1) -> tuple[list[Tokens], list[str], FloatArray]:
    """(responses, their texts, log p0·e^R [Y]) of the policy with a smaller cap on tokens."""
    responses, log_p0 = enumerate_model(exact.tiny.model, cap)
    texts = [exact.tiny.vocabulary.text(tokens) for tokens in responses]
    return responses, texts, log_p0 + [reward(text) for text in texts]


def table(exact: Exact, room: int | None = None) -> TableModel:
    """The model of the enumerated policy."""
    return TableModel(base_rows(exact.tiny), exact.tiny.vocabulary, room)


@dataclass(frozen=True, eq=False)
class ExactLookAhead:
    """log of the mass behind a beginning, over that of the beginning: pays nothing, and claims the whole reward.

    `values`: by depth 0 … CAP, `ends`: by depth, of responses that end there.
    """

    values: list[FloatArray]
    ends: list[FloatArray]
    name: str = "exact"

    @staticmethod
    def of(exact: Exact, reduce: Callable[..., FloatArray] = np.logaddexp.reduce) -> ExactLookAhead:
        """For the policy: log Σ (or, by `np.max`, the largest) p0·e^R behind a beginning, less its log p0."""
        reached, p0 = [np.zeros(1)], base_rows(exact.tiny)
        for rows in p0:
            reached.append((reached[-1][:, None] + rows[:, :LETTERS]).ravel())
        values = [
            best - own for best, own in zip(backed_up(exact.log_p0 + exact.log_reward, reduce), reached, strict=True)
        ]
        return ExactLookAhead(values, by_depth(exact.log_reward))

    def begin(self, prompts: Sequence[Tokens], begun: Sequence[Tokens]) -> ExactState:
        return ExactState(self, list(begun))


@dataclass(eq=False)
class ExactState:
    """See `LookAheadState`."""

    factor: ExactLookAhead
    rows: list[Tokens]

    @property
    def paid(self) -> FloatArray:
        return np.zeros(len(self.rows))

    def look_ahead(self, left: IntArray) -> FloatArray:
        found = np.empty((len(self.rows), LETTERS + 1))
        for row, tokens in enumerate(self.rows):
            at = place(tokens)
            following = self.factor.values[len(tokens) + 1] if len(tokens) < CAP else np.zeros(LETTERS * (at + 1))
            found[row, :LETTERS] = following[LETTERS * at : LETTERS * (at + 1)]
            found[row, LETTERS] = self.factor.ends[len(tokens)][at]
        return found

    def value(self, left: IntArray) -> FloatArray:
        return np.array([self.factor.values[len(tokens)][place(tokens)] for tokens in self.rows])

    def final(self) -> FloatArray:
        return np.zeros(len(self.rows))

    def advance(self, tokens: IntArray) -> None:
        self.rows = [(*row, int(token)) for row, token in zip(self.rows, tokens, strict=True)]

    def select(self, indices: IntArray) -> None:
        self.rows = [self.rows[int(at)] for at in indices]


@dataclass(eq=False)
class NextDraw:
    """The law of the next draw of a trie, in closed form; what lies beyond the trie follows the proposal of `task`."""

    model: LanguageModel
    task: DecodeTask

    @cached_property
    def scores(self) -> list[FloatArray]:
        """log p0 + look-ahead of the next tokens of all beginnings; not normalised."""
        found = []
        for depth in range(CAP):
            rows = beginnings(depth)
            factors = factors_of(self.task, self.model.vocabulary)
            frontier = Frontier(self.model, factors, [self.task.prompt] * len(rows), CAP, begun=rows)
            found.append(frontier.look().scores[frontier.nodes])
        return found

    @cached_property
    def proposal(self) -> list[FloatArray]:
        """The next-token laws of the static proposal; all −inf at dead ends."""
        found = []
        for rows in self.scores:
            total = np.logaddexp.reduce(rows, axis=1, keepdims=True)
            found.append(np.where(np.isfinite(total), rows - np.where(np.isfinite(total), total, 0.0), -np.inf))
        return found

    def law(self, trie: Trie) -> FloatArray:
        """[Y] log probability of each response; what is missing to one leads to dead ends."""
        rows = [row.copy() for row in self.proposal]
        prefixes: list[Tokens] = []
        for node in trie.nodes:
            prefix: Tokens = () if node.parent < 0 else (*prefixes[node.parent], node.token)
            prefixes.append(prefix)
            at = rows[len(prefix)][place(prefix)]
            at[:] = -np.inf
            if node.total > -np.inf:
                # what a node does not keep has its static score
                at[:] = self.scores[len(prefix)][place(prefix)] + trie.shift - node.total
                at[node.tokens] = trie.masses(node)[:-1] - node.total
        return law_of(rows)


def distance(law: FloatArray, target: FloatArray) -> float:
    """TV between a law [Y] (log), with what it lacks to one elsewhere, and a target [Y]."""
    mass = np.exp(law)
    return float(0.5 * np.abs(mass - target).sum() + 0.5 * max(0.0, 1.0 - mass.sum()))
