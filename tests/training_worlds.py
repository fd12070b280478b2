"""Models that can be trained and enumerated: a tiny Llama over single letters, and a network that is a table.

Both answer every conversation from one prompt token for each user message's first letter, so that prompts differ.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from bylaw.compiler.pipeline import Compiled, compile_source
from bylaw.runtime.models.huggingface import HuggingFaceModel
from bylaw.runtime.models.interface import FloatArray, Vocabulary
from bylaw.spec.source import Source
from bylaw.spec.trace import Message, Trace

LETTERS = "abcd"
END, SPECIAL, FIRST_PROMPT = 4, 5, 6
CAP = 2
POLICY = """
policy letters version "1" edition 1
rule no_ab at user { must not contain /ab/ }
rule few_c at user { should not contain /c/ weight 1.2 }
"""


class LetterTokenizer:
    """Letters as tokens; a conversation is the one token that its last message begins with (`x` or `y`)."""

    chat_template = None
    eos_token_id, bos_token_id, is_fast = END, FIRST_PROMPT, True

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        if add_special_tokens:
            return [FIRST_PROMPT + "xy".index(text[0])]
        return [LETTERS.index(letter) for letter in text]

    def save_pretrained(self, folder: str) -> None:
        (Path(folder) / "tokenizer.json").write_text(json.dumps({"letters": LETTERS}), encoding="utf-8")


def letters() -> Vocabulary:
    pieces = [letter.encode() for letter in LETTERS]
    return Vocabulary((*pieces, *[None] * (FIRST_PROMPT + 2 - len(pieces))), frozenset({END}))


def llama(
    seed: int = 0, scale: float = 0.5, temperature: float = 1.0, ends: frozenset[int] | None = None
) -> HuggingFaceModel:
    """A Llama of eight tokens: four letters, the end, two prompts, and one that is never said."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=8, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=32, initializer_range=scale, tie_word_embeddings=False,
        bos_token_id=FIRST_PROMPT, eos_token_id=END, pad_token_id=None,
    )  # fmt: skip
    network = LlamaForCausalLM(config).eval()
    vocabulary = letters()
    if ends is not None:
        vocabulary = Vocabulary(vocabulary.token_bytes, ends)
    return HuggingFaceModel(network, LetterTokenizer(), vocabulary, "tiny", f"tiny-{seed}-{scale}", temperature)


class TableNetwork(torch.nn.Module):
    """Next-token logits from a table by (place, last token): what a network says exactly."""

    def __init__(self, places: int, seed: int = 0) -> None:
        super().__init__()
        made = torch.Generator().manual_seed(seed)
        self.table = torch.nn.Parameter(torch.randn(places, 8, 8, generator=made))
        self.config = SimpleNamespace(max_position_embeddings=places)

    def forward(self, input_ids: Any, logits_to_keep: int = 0, **_: Any) -> Any:
        places = torch.arange(input_ids.shape[1]).expand_as(input_ids)
        return SimpleNamespace(logits=self.table[places, input_ids][:, -logits_to_keep:])


def compiled(text: str = POLICY) -> Compiled:
    found = compile_source(Source.of("letters.bylaw", text))
    assert found.ok, found.diagnostics
    return found


def prompts(names: str = "xy") -> list[Trace]:
    return [Trace((Message("user", name),), id=name) for name in names]


def responses(cap: int = CAP) -> list[tuple[int, ...]]:
    return [tokens for length in range(cap + 1) for tokens in itertools.product(range(len(LETTERS)), repeat=length)]


def log_law(model: HuggingFaceModel, prompt: int, cap: int = CAP) -> FloatArray:
    """[Y] log probability of every response, from the sessions of the model."""
    found = []
    for tokens in responses(cap):
        session, total = model.session([(prompt,)]), 0.0
        for token in tokens:
            total += float(session.log_probs()[0, token])
            session.advance(np.array([token]))
        if len(tokens) < cap:
            law = session.log_probs()[0]
            total += float(np.logaddexp.reduce(law[sorted(model.vocabulary.eos_ids)]))
        found.append(total)
    return np.array(found)


def log_target(model: HuggingFaceModel, prompt: int, cap: int = CAP) -> FloatArray:
    """[Y] log p* of every response under `POLICY`, by its definition."""
    texts = ["".join(LETTERS[token] for token in tokens) for tokens in responses(cap)]
    reward = np.array([-np.inf if "ab" in text else -1.2 * ("c" in text) for text in texts])
    unnormalised = log_law(model, prompt, cap) + reward
    return unnormalised - np.logaddexp.reduce(unnormalised)


class Quiet:
    """Stages that nobody looks at."""

    def stage(self, name: str, total: int) -> None: ...
    def progress(self, done: int, total: int) -> None: ...
