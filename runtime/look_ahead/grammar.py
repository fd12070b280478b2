"""A grammar as a hard rule: JSON schema, Lark-style grammars and regular expressions, read by the engine llguidance.

The engine is optional (extra `bylaw[grammar]`) and imported when a grammar is made. It sees the bytes of our vocabulary
and nothing else, so both sides read the same text. The factor is 0 for a token that leaves a text of the grammar
possible, and −inf for others; it knows nothing about the tokens left, so a path may reach the cap in the middle of a
text, and has weight zero then. A grammar and an automaton that are possible one by one may be impossible together: such
paths end in a row without any token (a dead end, weight zero). `require_start` looks at the first token beforehand.

Three habits of the engine would change the law, and are dealt with here:

* It forces the tokenisation that it takes for canonical, and forbids every other one. We switch that off
  (`no_forcing`), since p0 gives mass to all tokenisations.
* A complement (`~`) admits ill-formed bytes, and so leads into texts that cannot be finished, unless it is intersected
  with `/(?s:.*)/`: others are refused. Every mask is intersected with the tokens that keep the text well-formed, too.
* A grammar that is too complex (a complement with a long counted repeat) fails and then allows only the end of text.
  Every answer is checked, and `DecodeError` raised. Enforce lengths by rules of the policy instead.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bylaw.compiler.automata.build import language
from bylaw.compiler.automata.tokens import TokenAutomaton
from bylaw.runtime.decoders.interface import DecodeError
from bylaw.runtime.look_ahead.interface import LookAhead, Tokens
from bylaw.runtime.models.interface import FloatArray, IntArray, Vocabulary
from bylaw.spec.pattern import parse_pattern

BoolArray = NDArray[np.bool_]

# Later settings win, so this stands at the end.
_SETTINGS = '\n%llguidance {"no_forcing": true}\n'
# What a `~` means nothing in: comments, strings and regular expressions.
_LITERAL = re.compile(r"""//[^\n]*|"(?:[^"\\\n]|\\.)*"|/(?:[^/\\\n]|\\.)+/""")
# Not the repetition `x ~ 2..3`.
_COMPLEMENT = re.compile(r"~\s*[^\s\d]")
# Every byte of well-formed UTF-8.
_BYTES = bytes(range(0xF5))


@dataclass(frozen=True, eq=False)
class Grammar:
    """A grammar over the tokens of one vocabulary; make it with `from_json_schema`, `from_lark` or `from_regex`.

    As a `LookAhead` it guides the proposal; `log_reward` is the same rule on a finished text, for the residual of a
    `PromptLaw`. `warnings`: what the engine remarks about the grammar.
    """

    vocabulary: Vocabulary
    name: str
    warnings: tuple[str, ...]
    _pieces: _Pieces = field(repr=False)
    _start: Any = field(repr=False)
    _texts: TokenAutomaton = field(repr=False)
    _well_formed: BoolArray = field(repr=False)

    @staticmethod
    def from_json_schema(schema: Mapping[str, Any] | str, vocabulary: Vocabulary, name: str = "JSON schema") -> Grammar:
        """JSON texts that a schema accepts. Keywords that the engine does not know are refused.

        Raises `DecodeError`, as do the other makers: llguidance is not installed; the grammar is not valid, has no text
        or is too complex; the vocabulary cannot begin a text of it.
        """
        try:
            text = json.dumps(json.loads(schema) if isinstance(schema, str) else schema)
        except (ValueError, TypeError) as error:
            raise DecodeError(f"the {name} is not JSON: {error}") from error
        return _make(f"start: %json {text}", vocabulary, name)

    @staticmethod
    def from_lark(grammar: str, vocabulary: Vocabulary, name: str = "grammar") -> Grammar:
        """The language of a grammar in llguidance's dialect of Lark (https://github.com/guidance-ai/llguidance).

        A complement must be intersected with something, as in `T: /(?s:.*)/ & ~/(?s:.*)casino(?s:.*)/`. What counts
        tokens (`max_tokens`) or names them (`<…>`) is refused: a law is about text.
        """
        for number, line in enumerate(_LITERAL.sub("x", grammar).splitlines(), 1):
            if any(_is_bare(alternative) for alternative in line.split("|")):
                raise DecodeError(
                    f"the {name} has a complement `~` on its own in line {number}, which admits text that is not "
                    "well-formed; write `/(?s:.*)/ & ~…`"
                )
            if "max_tokens" in line or "<" in line:
                raise DecodeError(f"the {name} counts or names tokens in line {number}, but only text can be ruled")
        return _make(grammar, vocabulary, name)

    @staticmethod
    def from_regex(pattern: str, vocabulary: Vocabulary, name: str = "pattern") -> Grammar:
        """Texts that a regular expression in the syntax of Rust's `regex` matches from end to end."""
        return _make(f"start: /{_engine().regex_to_lark(pattern, '')}/", vocabulary, name)

    def begin(self, prompts: Sequence[Tokens], begun: Sequence[Tokens]) -> GrammarState:
        """Rows at the place that their tokens lead to; the prompt is no part of what the grammar sees."""
        state = GrammarState(self, [_Row(self._start)] * len(begun), np.full(len(begun), self._texts.start, np.int32))
        for step in range(max(map(len, begun), default=0)):
            state.read([tokens[step] if len(tokens) > step else None for tokens in begun])
        return state

    def log_reward(self, text: str) -> float:
        """0 for a text of the grammar, −inf for others (nats). Raises `DecodeError` where the engine gives up."""
        matcher = self._start.deep_copy()
        ids = self._pieces.spell(text.encode())
        read = matcher.try_consume_tokens(ids) == len(ids)
        self._check(matcher)
        return 0.0 if read and matcher.is_accepting() else -np.inf

    def _check(self, matcher: Any) -> None:
        """Raises `DecodeError` when the engine has failed: from then on it would reject everything."""
        if matcher.is_error():
            raise DecodeError(
                f"the {self.name} is too complex for its engine ({_first_line(matcher.get_error())}); make it simpler, "
                "and limit lengths by rules of the policy"
            )


@dataclass(eq=False)
class _Row:
    """One place in a grammar, never changed, so that rows can share it. `mask` [ids]: what may follow, when asked."""

    matcher: Any
    mask: BoolArray | None = None


@dataclass(eq=False)
class GrammarState:
    """See `LookAheadState`. A row is None once it has left the grammar; `places` [N]: states of the UTF-8 automaton."""

    grammar: Grammar
    rows: list[_Row | None]
    places: NDArray[np.int32]

    @property
    def paid(self) -> FloatArray:
        return np.array([-np.inf if row is None else 0.0 for row in self.rows])

    def look_ahead(self, left: IntArray) -> FloatArray:
        result = np.full((len(self.rows), len(self.grammar.vocabulary)), -np.inf)
        for number, row in enumerate(self.rows):
            if row is not None:
                result[number, self._allowed(row, int(self.places[number]))] = 0.0
        ends = self.grammar.vocabulary.end_ids
        result[:, ends] = -np.inf
        if len(ends):
            result[:, ends[0]] = self.final()
        return result

    def value(self, left: IntArray) -> FloatArray:
        return self.paid

    def final(self) -> FloatArray:
        whole = self.grammar._texts.final(self.places)
        accepts = [row is not None and row.matcher.is_accepting() for row in self.rows]
        return np.where(accepts, whole, -np.inf)

    def advance(self, tokens: IntArray) -> None:
        self.read([int(token) for token in tokens])

    def select(self, indices: IntArray) -> None:
        self.rows = [self.rows[i] for i in indices]
        self.places = self.places[indices]

    def read(self, tokens: Sequence[int | None]) -> None:
        """Append a token to each row; None leaves the row as it is."""
        seen: dict[tuple[int, int, int], _Row | None] = {}
        rows = list(self.rows)
        for number, (row, token) in enumerate(zip(self.rows, tokens, strict=True)):
            place = int(self.places[number])
            if token is None or row is None:
                continue
            key = (id(row), place, token)
            if key not in seen:
                seen[key] = self._after(row, place, token)
            rows[number] = seen[key]
        going = np.array([token is not None for token in tokens], dtype=np.bool_)
        read = np.array([token or 0 for token in tokens], dtype=np.int32)
        following, _ = self.grammar._texts.step(self.places, read)
        self.rows, self.places = rows, np.where(going, following, self.places)

    def _after(self, row: _Row, place: int, token: int) -> _Row | None:
        piece = self.grammar._pieces.id_of(token, at_start=self._at_start(place))
        if piece is None:
            return row  # the one space that is no part of the text
        matcher = row.matcher.deep_copy()
        read = matcher.try_consume_tokens([piece])
        self.grammar._check(matcher)
        return _Row(matcher) if read == 1 else None

    def _at_start(self, place: int) -> bool:
        """Whether a leading space would be dropped here."""
        return self.grammar.vocabulary.drops_leading_space and place == self.grammar._texts.start

    def _allowed(self, row: _Row, place: int) -> BoolArray:
        """[V]: the tokens that leave a well-formed text of the grammar possible."""
        if row.mask is None:
            row.mask = self.grammar._pieces.mask(row.matcher)
            self.grammar._check(row.matcher)
        following = self.grammar._pieces.by_token(row.mask, self._at_start(place))
        allowed: BoolArray = self.grammar._well_formed[place] & following
        return allowed


class _Pieces:
    """The vocabulary as the engine's: V tokens, then tokens without their leading space, single bytes, and an end.

    The engine wants a way to tokenise (`__call__`), for the forcing that is switched off; bytes are good enough.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        regular = vocabulary.regular
        tokens = [data if ok and data else b"" for data, ok in zip(vocabulary.token_bytes, regular, strict=True)]
        size = len(tokens)
        # at the start of a text that drops a space: the id of each token there, -1 where nothing of it is left
        self._start_ids = np.arange(size)
        if vocabulary.drops_leading_space:
            for token in range(size):
                if tokens[token].startswith(b" "):
                    self._start_ids[token] = -1 if tokens[token] == b" " else len(tokens)
                    if tokens[token] != b" ":
                        tokens.append(tokens[token][1:])
        self._first_byte = len(tokens)
        tokens += [bytes([byte]) for byte in _BYTES]
        self.eos_token_id = len(tokens)
        self.bos_token_id = None
        self.tokens = [*tokens, b"<end of text>"]
        self.special_token_ids = [*np.flatnonzero(~regular).tolist(), self.eos_token_id]
        engine = _engine()
        self.tokenizer = engine.LLTokenizer(engine.TokenizerWrapper(self))
        self._words = (len(self.tokens) + 31) // 32

    def __call__(self, data: bytes | str) -> list[int]:
        return self.spell(data if isinstance(data, bytes) else data.encode())

    def spell(self, data: bytes) -> list[int]:
        """Ids of well-formed bytes, one each."""
        return [self._first_byte + byte for byte in data]

    def id_of(self, token: int, *, at_start: bool) -> int | None:
        """The engine's id of a token; None where nothing of the token is text."""
        found = int(self._start_ids[token]) if at_start else token
        return None if found < 0 else found

    def mask(self, matcher: Any) -> BoolArray:
        """[ids]: what may follow."""
        bits = np.zeros(self._words, dtype=np.int32)
        matcher.unsafe_compute_mask_ptr(bits.ctypes.data, bits.nbytes)
        return np.unpackbits(bits.view(np.uint8), bitorder="little")[: len(self.tokens)].astype(np.bool_)

    def by_token(self, mask: BoolArray, at_start: bool) -> BoolArray:
        """[V]: the mask of the tokens."""
        if not at_start:
            return mask[: len(self.vocabulary)]
        allowed: BoolArray = (self._start_ids < 0) | mask[self._start_ids]
        return allowed


def require_start(grammar: Grammar, others: Sequence[LookAhead], max_tokens: int) -> None:
    """Tells before the first token that a grammar and the other factors of a task leave no token to begin with.

    It looks one token ahead in the grammar, and as far as the others do in theirs; what is impossible only further on
    shows in dead ends. Raises `DecodeError`.
    """
    left = np.array([max_tokens - 1], dtype=np.int64)
    scores = grammar.begin([()], [()]).look_ahead(left)
    for factor in others:
        if not np.isfinite(factor.begin([()], [()]).look_ahead(left)).any():
            raise DecodeError(f"no response of at most {max_tokens} tokens obeys the factor `{factor.name}` alone")
        scores += factor.begin([()], [()]).look_ahead(left)
        if not np.isfinite(scores).any():
            name = "the hard rules of the policy" if factor.name == "rules" else factor.name
            raise DecodeError(
                f"no response can begin: each first token that the {grammar.name} allows is forbidden by {name}; "
                "change the one or the other"
            )


def _make(text: str, vocabulary: Vocabulary, name: str) -> Grammar:
    if vocabulary.stops:
        raise DecodeError(
            f"stop strings cannot be combined with a {name}: it would read them; it has an end of its own"
        )
    matcher_of: Any = _engine().LLMatcher
    source = matcher_of.grammar_from_lark(text + _SETTINGS)
    pieces = _Pieces(vocabulary)
    failed, remarks = matcher_of.validate_grammar_with_warnings(source, pieces.tokenizer)
    if failed:
        raise DecodeError(f"the {name} is not valid: {_first_line(remarks[0])}")
    everything = language(parse_pattern("(?s:.*)"), "full")
    texts = TokenAutomaton(everything, vocabulary.token_bytes, vocabulary.drops_leading_space)
    start = matcher_of(pieces.tokenizer, source, log_level=0)
    following, _ = texts.rows(np.arange(texts.state_count, dtype=np.int32))
    grammar = Grammar(vocabulary, name, tuple(remarks), pieces, start, texts, following >= 0)
    grammar._check(start)
    first = grammar.begin([()], [()])
    allowed = first._allowed(first.rows[0] or _Row(start), int(first.places[0]))
    if not (allowed & vocabulary.regular).any() and not np.isfinite(first.final()[0]):
        raise DecodeError(f"no token of this vocabulary can begin a text of the {name}")
    return grammar


def _is_bare(alternative: str) -> bool:
    """Whether an alternative of a terminal has a complement and no other part that limits it."""
    parts = [_COMPLEMENT.search(part) is not None for part in alternative.split("&")]
    return any(parts) and all(parts)


def _first_line(message: str) -> str:
    return (message.strip() or "no reason given").splitlines()[0]


def _engine() -> ModuleType:
    """llguidance, imported when it is first needed. Raises `DecodeError` when it is not installed."""
    try:
        import llguidance
    except ImportError as error:
        raise DecodeError(
            "grammars need the extra `grammar` (llguidance is missing): install bylaw with it, as in "
            "pip install '.[grammar]'"
        ) from error
    engine: ModuleType = llguidance
    return engine
