"""The models of the comparison, with the next-token laws known exactly, and a counter of what decoders ask of them.

A (`gpt2_model`): a two-layer GPT-2 with random weights over four letters, evaluated once on each of its 1,365 prefixes.
B (`markov_model`): a position-free order-2 Markov law over four letters. C (`zipf_model`): an order-1 Markov law over
300 tokens of one to four letters with Zipf marginals. All are deterministic tables, so that every decoder of every
library sees the same numbers, and a prefix that is asked for twice costs nothing the second time.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bylaw.runtime.models.interface import Vocabulary

FloatArray = NDArray[np.float64]
Tokens = tuple[int, ...]


@dataclass(eq=False)
class TableModel:
    """A law whose next-token row depends on a context number: `rows` [contexts, V + 1], nats, the end in the last
    column.

    `follow(context, token)` is the next context. The response ends by the last column, or at `cap` tokens, where the
    law has no factor for the end.
    """

    name: str
    pieces: tuple[bytes, ...]
    cap: int
    rows: FloatArray
    start: int
    follow: Callable[[int, int], int]
    nodes: dict[tuple[int, int], int] = field(default_factory=dict, repr=False)
    context_of: list[int] = field(default_factory=list, repr=False)
    length_of: list[int] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        self.context_of.append(self.start)
        self.length_of.append(0)

    @property
    def end(self) -> int:
        return len(self.pieces)

    def child(self, node: int, token: int) -> int:
        """The number of the prefix that one more token makes; prefixes are numbered as they are met."""
        key = (node, token)
        found = self.nodes.get(key)
        if found is None:
            found = self.nodes[key] = len(self.context_of)
            self.context_of.append(self.follow(self.context_of[node], token))
            self.length_of.append(self.length_of[node] + 1)
        return found

    def node(self, tokens: Sequence[int]) -> int:
        found = 0
        for token in tokens:
            found = self.child(found, token)
        return found

    def row(self, node: int) -> FloatArray:
        """[V + 1] nats."""
        return np.asarray(self.rows[self.context_of[node]])

    def text(self, tokens: Sequence[int]) -> str:
        return b"".join(self.pieces[token] for token in tokens).decode()

    def log_p0(self, tokens: Sequence[int]) -> float:
        """Nats, with the end event below the cap."""
        node, total = 0, 0.0
        for token in tokens:
            total += self.rows[self.context_of[node], token]
            node = self.child(node, token)
        return float(total if len(tokens) == self.cap else total + self.rows[self.context_of[node], self.end])

    def sample(self, count: int, rng: np.random.Generator) -> list[Tokens]:
        """Independent draws from p0."""
        cumulative = np.exp(self.rows).cumsum(axis=1)
        drawn = []
        for _ in range(count):
            context, tokens = self.start, []
            while len(tokens) < self.cap:
                law = cumulative[context]
                token = int(np.searchsorted(law, rng.random() * law[-1], side="right"))
                if token >= self.end:
                    break
                tokens.append(token)
                context = self.follow(context, token)
            drawn.append(tuple(tokens))
        return drawn


class Counter:
    """Remembers each (run, prefix) whose next-token law was asked for: unique prefix evaluations, run by run."""

    def __init__(self) -> None:
        self.asked: dict[tuple[int, ...], set[int]] = {}

    def add(self, run: tuple[int, ...], node: int) -> None:
        self.asked.setdefault(run, set()).add(node)

    def passes(self, run: tuple[int, ...]) -> int:
        return len(self.asked.get(run, ()))

    @property
    def total(self) -> int:
        return sum(map(len, self.asked.values()))


class CountedModel:
    """A `TableModel` as a `LanguageModel`. The prompt is the name of the run and does not change the law."""

    digest = "bench"
    context = None

    def __init__(self, table: TableModel, counter: Counter) -> None:
        self.table = table
        self.counter = counter
        self.name = table.name
        self.vocabulary = Vocabulary((*table.pieces, None), frozenset({table.end}))

    def encode_chat(self, messages: object) -> Tokens:
        return (0,)

    def session(self, prompts: Sequence[Tokens]) -> CountedSession:
        return CountedSession(self.table, self.counter, prompts)


class CountedSession:
    """A session over node numbers: prompts hold the run's name in their first place, further tokens are response."""

    def __init__(self, table: TableModel, counter: Counter, prompts: Sequence[Tokens]) -> None:
        self.table = table
        self.counter = counter
        self.runs = [prompt[:1] for prompt in prompts]
        self.at = [table.node(prompt[1:]) for prompt in prompts]

    def log_probs(self) -> FloatArray:
        for run, node in zip(self.runs, self.at, strict=True):
            self.counter.add(run, node)
        return self.table.rows[[self.table.context_of[node] for node in self.at]].copy()

    def advance(self, tokens: NDArray[np.int64]) -> None:
        self.at = [self.table.child(node, int(token)) for node, token in zip(self.at, tokens, strict=True)]

    def select(self, indices: NDArray[np.int64]) -> None:
        self.runs = [self.runs[int(index)] for index in indices]
        self.at = [self.at[int(index)] for index in indices]


def gpt2_model(seed: int = 0, spread: float = 0.15, cap: int = 6) -> TableModel:
    """(A) Random weights with the standard deviation `spread`; 0.02, GPT-2's own, is nearly a uniform law."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=5, n_layer=2, n_embd=32, n_head=2, n_positions=cap + 2, initializer_range=spread,
        bos_token_id=4, eos_token_id=4,
    )  # fmt: skip
    network = GPT2LMHeadModel(config).eval().double()
    prefixes: list[Tokens] = [p for size in range(cap) for p in itertools.product(range(4), repeat=size)]
    rows = np.full((len(prefixes) + 1, 5), -np.inf)
    number = {prefix: index for index, prefix in enumerate(prefixes)}
    with torch.inference_mode():
        for size in range(cap):
            own = [prefix for prefix in prefixes if len(prefix) == size]
            logits = network(torch.tensor([[4, *prefix] for prefix in own])).logits[:, -1]
            rows[[number[prefix] for prefix in own]] = torch.log_softmax(logits, -1).numpy()
    rows[-1, -1] = 0.0  # at the cap nothing is asked any more
    children = {(number[p[:-1]], p[-1]): number[p] for p in prefixes if p}
    return TableModel(
        f"A: GPT-2, seed {seed}", (b"a", b"b", b"c", b"d"), cap, rows, 0,
        lambda context, token: children.get((context, token), len(prefixes)),
    )  # fmt: skip


def markov_model(seed: int = 0, cap: int = 80) -> TableModel:
    """(B) Order 2 over `a b c d`, about one in thirty tokens ends the response."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(25, 5))
    logits[:, 4] -= 2.5
    return TableModel(
        f"B: order-2 Markov, seed {seed}, cap {cap}", (b"a", b"b", b"c", b"d"), cap, _normalised(logits), 24,
        lambda context, token: (context % 5) * 5 + token,
    )  # fmt: skip


def zipf_model(seed: int = 0, cap: int = 24, size: int = 300) -> TableModel:
    """(C) Order 1: log p(next | last) is Zipf's law plus normal noise of one nat for each pair.

    The space, the full stop and the comma are the most frequent tokens, single letters follow.
    """
    rng = np.random.default_rng(seed)
    letters = "etaoinsrh .,"
    pieces: list[str] = list(letters)
    while len(pieces) < size:
        piece = "".join(rng.choice(list(letters[:9]), size=int(rng.integers(2, 5))))
        if rng.random() < 0.4:
            piece = " " + piece[:3]
        if piece not in pieces:
            pieces.append(piece)
    rank = np.concatenate([rng.permutation(9) * 5 + 5, [1, 2, 3], rng.permutation(size - 12) + 10])
    logits = -np.log(rank)[None, :] + rng.normal(size=(size + 1, size))
    rows = _normalised(np.column_stack([_normalised(logits) + np.log(0.95), np.full(size + 1, np.log(0.05))]))
    return TableModel(
        f"C: Zipf vocabulary of {size}, seed {seed}, cap {cap}", tuple(piece.encode() for piece in pieces), cap, rows,
        size, lambda context, token: token,
    )  # fmt: skip


def _normalised(logits: FloatArray) -> FloatArray:
    peak = logits.max(axis=-1, keepdims=True)
    return np.asarray(logits - peak - np.log(np.exp(logits - peak).sum(axis=-1, keepdims=True)))
