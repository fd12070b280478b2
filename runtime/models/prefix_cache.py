"""A model that remembers the next-token laws of the beginnings that it was asked for.

What walks over the same beginnings again (Metropolis–Hastings steps, trees, rounds of rejection, several calls for one
prompt, a reference model that is the base model) then costs no pass. Sessions are lazy: nothing is evaluated before its
law is asked for. Rows that leave what is known are prefilled once, prompt and response in one forward evaluation, and
grow in a session of the wrapped model from there, until they come back to what is known.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bylaw.runtime.models.interface import FloatArray, IntArray, LanguageModel, Message, ModelError, Session, Vocabulary
from bylaw.runtime.models.metering import Meter

Tokens = tuple[int, ...]
INNER_SESSIONS = 4
"""So many sessions of the wrapped model are kept for one batch; with more, rows are prefilled together again."""


class Store:
    """Rows [V] by tokens, the ones used last within `most_bytes`; 8 bytes for each token of the vocabulary, and of the
    beginning.

    `hits` and `misses` count the distinct rows that were asked for together.
    """

    def __init__(self, most_bytes: int) -> None:
        self.bytes = 0
        self.hits = 0
        self.misses = 0
        self._most = most_bytes
        self._rows: OrderedDict[Tokens, FloatArray] = OrderedDict()

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, key: Tokens) -> FloatArray | None:
        """The row of a beginning, which must not be changed; it counts as used."""
        row = self._rows.get(key)
        if row is not None:
            self._rows.move_to_end(key)
        return row

    def put(self, key: Tokens, row: FloatArray) -> None:
        """Remember a row, and forget those that were not used for longest where it does not fit beside them."""
        size = _size(key, row)
        if key in self._rows or size > self._most:
            return
        self._rows[key] = row
        self.bytes += size
        while self.bytes > self._most:
            self.bytes -= _size(*self._rows.popitem(last=False))


def _size(key: Tokens, row: FloatArray) -> int:
    return 8 * len(key) + row.nbytes


class PrefixCache:
    """A `LanguageModel` with the laws of another one, remembered in at most `most_bytes` of memory.

    Its rows equal those of `model` up to the rounding of a prefill against single steps. Count passes inside, with
    `PrefixCache(meter.watch(model))` or `cache.metered_by(meter)`: a counter around it counts rows that cost nothing.
    Raises ModelError for a negative size.
    """

    def __init__(self, model: LanguageModel, most_bytes: int = 1 << 28, *, store: Store | None = None) -> None:
        if most_bytes < 0:
            raise ModelError(f"a prefix cache of {most_bytes} bytes is not possible")
        self.model = model
        self.store = Store(most_bytes) if store is None else store

    @property
    def name(self) -> str:
        return self.model.name

    @property
    def digest(self) -> str:
        return self.model.digest

    @property
    def vocabulary(self) -> Vocabulary:
        return self.model.vocabulary

    @property
    def context(self) -> int | None:
        """The most tokens of prompt and response together, or None where the model states no limit."""
        found: int | None = getattr(self.model, "context", None)
        return found

    def encode_chat(self, messages: Sequence[Message]) -> Tokens:
        return self.model.encode_chat(messages)

    def metered_by(self, meter: Meter) -> PrefixCache:
        """The same memory, whose evaluations of the model are counted by `meter`."""
        return PrefixCache(meter.watch(self.model), store=self.store)

    def session(self, prompts: Sequence[Tokens]) -> CachedSession:
        """See `LanguageModel`. What the model has to say against a prompt it says when the first law is asked for."""
        if not prompts or any(not prompt for prompt in prompts):
            raise ModelError("a session needs one prompt at least, and every prompt needs one token at least")
        return CachedSession(self.model, self.store, prompts)


@dataclass(eq=False)
class _Inner:
    """A session of the wrapped model and the beginnings that its rows stand at."""

    session: Session
    rows: dict[Tokens, int]

    def move(self, wanted: Sequence[Tokens]) -> FloatArray:
        """Go on to `wanted` [n], each one token behind a row of this session; their laws [n, V]."""
        self.session.select(np.array([self.rows[tokens[:-1]] for tokens in wanted], dtype=np.int64))
        self.rows = {}
        self.session.advance(np.array([tokens[-1] for tokens in wanted], dtype=np.int64))
        self.rows = {tokens: at for at, tokens in enumerate(wanted)}
        return self.session.log_probs()


class CachedSession:
    """A batch of beginnings, evaluated where their law is asked for and not known; see `Session`."""

    def __init__(self, model: LanguageModel, store: Store, prompts: Sequence[Tokens]) -> None:
        self._model = model
        self._store = store
        self._rows = [tuple(prompt) for prompt in prompts]
        self._inner: list[_Inner] = []

    def log_probs(self) -> FloatArray:
        """Raises what the model raises: ModelError past its context, OutOfMemory, OutOfBudget where it is metered."""
        found: dict[Tokens, FloatArray] = {}
        missing: list[Tokens] = []
        for tokens in dict.fromkeys(self._rows):
            row = self._store.get(tokens)
            if row is None:
                missing.append(tokens)
            else:
                found[tokens] = row
        self._store.hits += len(found)
        self._store.misses += len(missing)
        found.update(self._evaluate(missing))
        live = set(self._rows)
        self._inner = [inner for inner in self._inner if not live.isdisjoint(inner.rows)]
        return np.stack([found[tokens] for tokens in self._rows])

    def advance(self, tokens: IntArray) -> None:
        """Append `tokens` [N]; nothing is evaluated yet."""
        self._rows = [(*row, int(token)) for row, token in zip(self._rows, tokens, strict=True)]

    def select(self, indices: IntArray) -> None:
        self._rows = [self._rows[int(at)] for at in indices]

    def _evaluate(self, missing: Sequence[Tokens]) -> dict[Tokens, FloatArray]:
        """The laws of distinct beginnings that are not remembered."""
        if len(self._inner) >= INNER_SESSIONS:
            self._inner = []
        found: dict[Tokens, FloatArray] = {}
        waiting = list(missing)
        for inner in self._inner:
            here = [tokens for tokens in waiting if tokens[:-1] in inner.rows]
            if here:
                waiting = [tokens for tokens in waiting if tokens[:-1] not in inner.rows]
                self._keep(found, here, inner.move(here))
        if waiting:
            session = self._model.session(waiting)
            self._inner.append(_Inner(session, {tokens: at for at, tokens in enumerate(waiting)}))
            self._keep(found, waiting, session.log_probs())
        return found

    def _keep(self, found: dict[Tokens, FloatArray], keys: Sequence[Tokens], laws: FloatArray) -> None:
        for tokens, law in zip(keys, laws, strict=True):
            # a row of its own, so that forgetting it frees it; and nobody may write to what others will read
            found[tokens] = law.copy()
            found[tokens].flags.writeable = False
            self._store.put(tokens, found[tokens])
