"""From a fast tokenizer's own description to the bytes of each token. Pure Python: no torch, no transformers.

Two families are understood. Byte-level BPE spells bytes with the printable characters of GPT-2's table
(`bytes_to_unicode` in the GPT-2 release). Sentencepiece-style tokenizers write U+2581 for a space and, with byte
fallback, `<0xNN>` for single bytes. Everything else is refused, because wrong bytes would make every rule silently
wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bylaw.runtime.models.interface import ModelError, Vocabulary

_SPACE_MARK = "\u2581"
_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")

SELF_TEST = (
    "The quick brown fox, 12 of 345!",
    "one  two   three",
    "line one\nline two\tend",
    "naïve café – “quoted” €5",
    "emoji 🙂 and 漢字",
)
"""Texts that are tokenised when a model is loaded; the first must work with every tokenizer."""


def read_vocabulary(description: Mapping[str, Any], size: int, eos_ids: frozenset[int]) -> Vocabulary:
    """The byte vocabulary of a tokenizer.

    `description`: the parsed `tokenizer.json`. `size`: columns of the model's output, V; ids the tokenizer does not
    define have no bytes. Raises `ModelError` for a tokenizer of another family.
    """
    model = description["model"]
    decoder_types = _types(description.get("decoder"))
    if "ByteLevel" in decoder_types:
        to_bytes: Callable[[str], bytes | None] = _byte_level_reader()
        drops = False
    elif model["type"] in {"BPE", "Unigram"} and ("Metaspace" in decoder_types or _replaces_mark(description)):
        to_bytes = _sentencepiece_bytes
        drops = _drops_leading_space(description.get("decoder"))
    else:
        kind = model["type"]
        raise ModelError(
            f"tokenizers of the kind `{kind}` are not supported: the bytes of their tokens cannot be known"
        )
    pieces: list[bytes | None] = [None] * size
    vocabulary = model["vocab"]
    entries = (
        vocabulary.items()
        if isinstance(vocabulary, Mapping)
        else ((entry[0], index) for index, entry in enumerate(vocabulary))
    )
    for token, index in entries:
        if index < size:
            pieces[index] = to_bytes(token) or None
    for added in description.get("added_tokens", ()):
        # added tokens are matched as whole strings before the model runs; none of them is text a rule should see
        if added["id"] < size:
            pieces[added["id"]] = None
    unknown = model.get("unk_token")
    if isinstance(vocabulary, Mapping) and unknown in vocabulary and vocabulary[unknown] < size:
        pieces[vocabulary[unknown]] = None
    return Vocabulary(tuple(pieces), eos_ids, drops)


def verify_vocabulary(vocabulary: Vocabulary, encode: Callable[[str], Sequence[int]]) -> None:
    """Tokenise the self-test texts and compare the bytes with the texts. Raises `ModelError` on any difference.

    A text with a character the tokenizer cannot spell (it has no byte fallback) is skipped, the first text never is.
    One space in front is the tokenizer's own and no difference.
    """
    for number, text in enumerate(SELF_TEST):
        ids = encode(text)
        pieces = [vocabulary.token_bytes[i] if i < len(vocabulary) else None for i in ids]
        if number > 0 and any(piece is None for piece in pieces):
            continue
        data = b"".join(piece or b"" for piece in pieces)
        if data not in (text.encode(), b" " + text.encode()):
            raise ModelError(f"the tokenizer does not give back the bytes of the text {text!r} (it gives {data!r})")


def _types(part: Any) -> set[str]:
    """The `type` fields of a component and, for a sequence, of its members."""
    if not isinstance(part, Mapping):
        return set()
    members = part.get("decoders") or part.get("pretokenizers") or part.get("normalizers") or ()
    return {str(part.get("type"))}.union(*(_types(member) for member in members))


def _members(decoder: Any) -> list[Mapping[str, Any]]:
    if not isinstance(decoder, Mapping):
        return []
    return list(decoder.get("decoders", [decoder]))


def _replaces_mark(description: Mapping[str, Any]) -> bool:
    return any(
        step.get("type") == "Replace"
        and step.get("pattern", {}).get("String") == _SPACE_MARK
        and step.get("content") == " "
        for step in _members(description.get("decoder"))
    )


def _drops_leading_space(decoder: Any) -> bool:
    for step in _members(decoder):
        if step.get("type") == "Strip" and step.get("content") == " " and step.get("start", 0) == 1:
            return True
        if step.get("type") == "Metaspace":
            return bool(step.get("prepend_scheme", "always") != "never")
    return False


def _byte_level_reader() -> Callable[[str], bytes | None]:
    """GPT-2's table: printable Latin-1 bytes stand for themselves, the other 68 are U+0100, U+0101, … in order."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(256) if byte not in printable]
    table = {chr(byte): byte for byte in printable} | {chr(0x100 + k): byte for k, byte in enumerate(others)}

    def read(token: str) -> bytes | None:
        values = [table.get(character) for character in token]
        return None if None in values else bytes(value for value in values if value is not None)

    return read


def _sentencepiece_bytes(token: str) -> bytes | None:
    match = _BYTE_TOKEN.fullmatch(token)
    if match:
        return bytes([int(match.group(1), 16)])
    return token.replace(_SPACE_MARK, " ").encode("utf-8", errors="strict")
