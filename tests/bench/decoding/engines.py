"""Masks of llguidance and xgrammar on the same rules, prefix by prefix, and the law that drawing under them has.

Both get the hard rules and the cap: llguidance as the intersection of two regular expressions, xgrammar (whose
expressions know no intersection) as a right-linear grammar of the automaton with the cap unrolled, dead ends removed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from decoding.models import FloatArray, TableModel
from decoding.rules import Rules, TokenMachine
from decoding.truth import Truth
from numpy.typing import NDArray


def _bits(mask: object, size: int) -> NDArray[np.bool_]:
    """[size] of a bit mask as both engines fill it."""
    words = np.asarray(mask).reshape(-1).view(np.uint32)
    return (words[np.arange(size) // 32] >> (np.arange(size) % 32).astype(np.uint32) & 1).astype(np.bool_)


@dataclass(frozen=True)
class _Tokenizer:
    """What llguidance asks of a tokenizer."""

    tokens: tuple[bytes, ...]
    eos_token_id: int
    bos_token_id: int | None = None

    def __call__(self, text: bytes | str) -> list[int]:
        data = text.encode() if isinstance(text, str) else text
        return [self.tokens.index(bytes([byte])) for byte in data if bytes([byte]) in self.tokens]


class Llguidance:
    """Masks of llguidance; `lark` is its grammar."""

    name = "llguidance"

    def __init__(self, model: TableModel, rules: Rules) -> None:
        import llguidance

        wrapped = llguidance.TokenizerWrapper(_Tokenizer((*model.pieces, b"<|end|>"), model.end))
        self.size = model.end + 1
        self.tokenizer = llguidance.LLTokenizer(wrapped, slices=[])
        letters = "".join(piece.decode() for piece in model.pieces)
        lark = f"start: RULES\nRULES: /{rules.pattern}/ & /[{letters}]{{0,{model.cap}}}/\n"
        self.lark = llguidance.grammar_from("lark", lark)

    def mask(self, tokens: tuple[int, ...]) -> NDArray[np.bool_]:
        """[V + 1] after `tokens`; nothing where they cannot be read."""
        import llguidance
        import llguidance.numpy as kernels

        matcher = llguidance.LLMatcher(self.tokenizer, self.lark)
        assert not matcher.is_error(), matcher.get_error()
        if tokens and not matcher.consume_tokens(list(tokens)):
            return np.zeros(self.size, dtype=np.bool_)
        space = kernels.allocate_token_bitmask(1, self.size)
        kernels.fill_next_token_bitmask(matcher, space, 0)
        return _bits(space, self.size)


class Xgrammar:
    """Masks of xgrammar; `grammar` is its EBNF."""

    name = "xgrammar"

    def __init__(self, model: TableModel, machine: TokenMachine) -> None:
        import xgrammar

        self.size = model.end + 1
        info = xgrammar.TokenizerInfo([*model.pieces, b""], vocab_size=self.size, stop_token_ids=[model.end])
        self.compiled = xgrammar.GrammarCompiler(info).compile_grammar(right_linear(machine))

    def mask(self, tokens: tuple[int, ...]) -> NDArray[np.bool_]:
        """[V + 1] after `tokens`; nothing where they cannot be read."""
        import xgrammar

        matcher = xgrammar.GrammarMatcher(self.compiled)
        if not all(matcher.accept_token(token) for token in tokens):
            return np.zeros(self.size, dtype=np.bool_)
        space = xgrammar.allocate_token_bitmask(1, self.size)
        if not matcher.fill_next_token_bitmask(space):
            return np.ones(self.size, dtype=np.bool_)
        return _bits(space, self.size)


def right_linear(machine: TokenMachine) -> str:
    """EBNF of the hard rules with the cap, one nonterminal for each state and length that a legal text passes."""
    lines, waiting, seen = [], [(0, 0)], {(0, 0)}
    while waiting:
        state, length = waiting.pop()
        allowed = machine.allowed(state, length)
        ways = ['""'] if allowed[-1] else []
        if length < machine.model.cap:
            for token in np.flatnonzero(allowed[:-1]):
                following = (int(machine.next[state, token]), length + 1)
                ways.append(f'"{machine.model.pieces[token].decode()}" s{following[0]}_{following[1]}')
                if following not in seen:
                    seen.add(following)
                    waiting.append(following)
        lines.append(f"s{state}_{length} ::= {' | '.join(ways)}")
    return "root ::= s0_0\n" + "\n".join(lines)


def masks(engine: Llguidance | Xgrammar, truth: Truth) -> tuple[FloatArray, int]:
    """([nodes, V + 1] the engine's masks on all prefixes that it lets come about, how many differ from the exact)."""
    mask, different = np.zeros_like(truth.mask), 0
    waiting: list[tuple[int, ...]] = [()]
    while waiting:
        tokens = waiting.pop()
        node = truth.model.node(tokens)
        found = engine.mask(tokens)
        mask[node] = found
        different += not np.array_equal(found, truth.mask[node] > 0)
        if len(tokens) < truth.model.cap:
            waiting += [(*tokens, int(token)) for token in np.flatnonzero(found[:-1])]
    return mask, different
