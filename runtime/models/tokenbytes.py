"""From a fast tokenizer's own description to the bytes of each token. Pure Python: no torch, no transformers.

Three families are understood; what a token adds to the text is, in each of them, the same wherever it stands.

* Byte-level BPE spells bytes with the printable characters of GPT-2's table (`bytes_to_unicode` in the GPT-2 release).
* Sentencepiece-style BPE and Unigram write a mark, U+2581, for a space and, with byte fallback, `<0xNN>` for single
  bytes. Without byte fallback a character that has no token becomes the unknown token, which has no bytes: such
  characters cannot be written.
* WordPiece: a token that begins with its prefix (`##`) adds the rest of its characters; any other token begins a word
  and adds a space and its characters, punctuation too. That is the tokenizer's own decoding with clean-up off.

Where the tokenizer writes a space before the first word, that one space is dropped from a finished response
(`Vocabulary.drops_leading_space`). At the very beginning of a text two decoders do more than that, which we do not
follow: WordPiece shows the prefix of a continuing token, and a `Metaspace` decoder drops all marks of the first token.

Everything else is refused, because wrong bytes would make every rule silently wrong. `verify_vocabulary` compares the
bytes of every token with what the tokenizer's own decoder makes of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, product
from typing import Any

from bylaw.runtime.models.interface import ModelError, Vocabulary

Reader = Callable[[str], bytes | None]

_SPACE_MARK = "\u2581"
_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_BATCH = 256
# Bytes around a token that has a part of a character: one pair at least makes well-formed text of it, if that can be.
_BEFORE = tuple(map(bytes.fromhex, ("", "c3", "e1", "f1", "e180", "f180", "f18080")))
_AFTER = tuple(map(bytes.fromhex, ("", "80", "8080", "808080", "a0", "a080", "9080", "908080")))

SELF_TEST = (
    "The quick brown fox, 12 of 345!",
    "one  two   three",
    "line one\nline two\tend",
    "naïve café – “quoted” €5",
    "emoji 🙂 and 漢字",
)
"""Texts that are tokenised when a model is loaded; the first must work with every tokenizer."""


@dataclass(frozen=True)
class _Family:
    """`read` gives the bytes of a token; `drops` says that one leading space is no part of the text."""

    read: Reader
    drops: bool


def read_vocabulary(description: Mapping[str, Any], size: int, eos_ids: frozenset[int]) -> Vocabulary:
    """The byte vocabulary of a tokenizer.

    `description`: the parsed `tokenizer.json`. `size`: columns of the model's output, V; ids the tokenizer does not
    define have no bytes. Raises `ModelError` for a tokenizer of another family.
    """
    model = description["model"]
    family = _family(model, _steps(description.get("decoder")))
    pieces: list[bytes | None] = [None] * size
    for token, index in _entries(model):
        if index < size:
            pieces[index] = family.read(token) or None
    for added in description.get("added_tokens", ()):
        # Added tokens are matched as whole strings before the model runs; but for white space none of them is text
        # that a rule should see.
        if added["id"] < size:
            content = "" if added.get("special", True) else str(added["content"])
            pieces[added["id"]] = content.encode() if content.isspace() and content.isascii() else None
    unknown = _unknown(model)
    if unknown is not None and unknown < size:
        pieces[unknown] = None
    return Vocabulary(tuple(pieces), eos_ids, family.drops)


def verify_vocabulary(
    vocabulary: Vocabulary, encode: Callable[[str], Sequence[int]], description: Mapping[str, Any]
) -> None:
    """Check the bytes of tokens. Raises `ModelError` on any difference.

    Every token is decoded by the tokenizer's own decoder, with clean-up off, and must give its bytes; so must the
    tokens of the self-test texts together. `description`: the parsed `tokenizer.json`.

    A text with a character the tokenizer cannot spell (it has no byte fallback) is skipped, the first text never is.
    """
    decoder = _OwnDecoder(description)
    decoder.verify(vocabulary)
    for number, text in enumerate(SELF_TEST):
        ids = encode(text)
        pieces = [vocabulary.token_bytes[i] if i < len(vocabulary) else None for i in ids]
        if any(piece is None for piece in pieces):
            if number == 0:
                raise ModelError(f"the tokenizer cannot spell the text {text!r}: it needs tokens without bytes")
            continue
        data = b"".join(piece or b"" for piece in pieces)
        if _finished(data, vocabulary) != decoder.text(ids):
            raise ModelError(f"the tokenizer does not give back the bytes of the text {text!r} (it gives {data!r})")


def _finished(data: bytes, vocabulary: Vocabulary) -> str:
    """The text of a response of these bytes, ill-formed ones replaced."""
    return data.removeprefix(b" " if vocabulary.drops_leading_space else b"").decode(errors="replace")


class _OwnDecoder:
    """The decoder of a tokenizer, with clean-up off, as the `tokenizers` library runs it."""

    def __init__(self, description: Mapping[str, Any]) -> None:
        try:
            from tokenizers import Tokenizer
        except ImportError as error:
            raise ModelError(
                "a local model needs the extra `bylaw[models]`, and `tokenizers` is not installed"
            ) from error
        empty = {"type": "WordLevel", "vocab": {"?": 0}, "unk_token": "?"}
        whole = {
            "version": "1.0",
            "added_tokens": [],
            "decoder": _without_clean_up(description["decoder"]),
            "model": empty,
        }
        self._decoder = Tokenizer.from_str(json.dumps(whole)).decoder
        self._names = {index: token for token, index in _entries(description["model"])}
        self._names |= {added["id"]: added["content"] for added in description.get("added_tokens", ())}
        self._fallback = any(step["type"] == "ByteFallback" for step in _steps(description["decoder"]))

    def text(self, ids: Sequence[int]) -> str:
        """What the tokens spell as a text of their own."""
        return str(self._decoder.decode([self._names[i] for i in ids]))

    def verify(self, vocabulary: Vocabulary) -> None:
        """Compares every token that has bytes, after a token that begins a word. Raises `ModelError`.

        Ill-formed bytes are shown alike by a decoder, so tokens that hold part of a character are put between bytes
        that complete it; those that no bytes complete must be ill-formed between all of them.
        """
        known = {i: data for i, data in enumerate(vocabulary.token_bytes) if data is not None}
        anchor = next((i for i, data in known.items() if re.fullmatch(rb" [A-Za-z]+", data)), None)
        before = [] if anchor is None else [anchor]
        whole = [i for i, data in known.items() if _well_formed(data) and not self._is_byte(i)]
        for start in range(0, len(whole), _BATCH):
            batch = whole[start : start + _BATCH]
            if not self._agrees(vocabulary, before, batch):
                wrong = next((i for i in batch if not self._agrees(vocabulary, before, [i])), batch[0])
                self._refuse(vocabulary, wrong)
        single = {data: i for i, data in known.items() if len(data) == 1}
        for token in known.keys() - set(whole):
            contexts = self._contexts(known, single, token)
            # one call for all of them where a word stands between, which no bytes join
            runs = [[i for ids in contexts for i in (*ids, *before)]] if before else contexts
            if not all(self._agrees(vocabulary, before, ids) for ids in runs):
                self._refuse(vocabulary, token)

    def _is_byte(self, token: int) -> bool:
        """Whether the decoder joins this token with its neighbours to characters, or replaces all of them."""
        return self._fallback and _BYTE_TOKEN.fullmatch(self._names[token]) is not None

    def _contexts(self, known: Mapping[int, bytes], single: Mapping[bytes, int], token: int) -> list[list[int]]:
        """The token between single bytes: where it is well-formed, if it is longer than a byte; else all ways."""
        found = []
        for first, last in product(_BEFORE, _AFTER):
            parts = [single.get(bytes([byte])) for byte in first], [single.get(bytes([byte])) for byte in last]
            ids = [i for i in (*parts[0], token, *parts[1]) if i is not None]
            if len(ids) == len(first) + 1 + len(last):
                if len(known[token]) > 1 and _well_formed(first + known[token] + last):
                    return [ids]
                found.append(ids)
        return found

    def _agrees(self, vocabulary: Vocabulary, before: list[int], ids: list[int]) -> bool:
        expected = _finished(vocabulary.data(before), vocabulary)
        for joined, run in groupby(ids, self._is_byte):
            data = vocabulary.data(list(run))
            if joined and not _well_formed(data):
                # byte fallback shows each byte of an ill-formed run as one replacement character
                expected += "\ufffd" * len(data)
            else:
                expected += data.decode(errors="replace")
        return self.text(before + ids) == expected

    def _refuse(self, vocabulary: Vocabulary, token: int) -> None:
        raise ModelError(
            f"the tokenizer's own decoding of the token `{self._names[token]}` is not the bytes "
            f"{vocabulary.data([token])!r}, so the rules would read another text"
        )


def _well_formed(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _without_clean_up(decoder: Mapping[str, Any]) -> dict[str, Any]:
    if "decoders" in decoder:
        return {**decoder, "decoders": [_without_clean_up(step) for step in decoder["decoders"]]}
    return {**decoder, "cleanup": False} if "cleanup" in decoder else dict(decoder)


def _entries(model: Mapping[str, Any]) -> list[tuple[str, int]]:
    """(token, id) of a tokenizer's model; Unigram lists its tokens with their scores."""
    vocabulary = model["vocab"]
    if isinstance(vocabulary, Mapping):
        return list(vocabulary.items())
    return [(entry[0], index) for index, entry in enumerate(vocabulary)]


def _unknown(model: Mapping[str, Any]) -> int | None:
    """The id of the unknown token: Unigram gives it by number, the others by name."""
    if model.get("unk_id") is not None:
        return int(model["unk_id"])
    vocabulary = model["vocab"]
    found = vocabulary.get(model.get("unk_token")) if isinstance(vocabulary, Mapping) else None
    return None if found is None else int(found)


def _steps(decoder: Any) -> list[Mapping[str, Any]]:
    """The steps of a decoder, sequences laid out flat."""
    if not isinstance(decoder, Mapping):
        return []
    if decoder.get("type") == "Sequence":
        return [step for member in decoder["decoders"] for step in _steps(member)]
    return [decoder]


def _family(model: Mapping[str, Any], steps: Sequence[Mapping[str, Any]]) -> _Family:
    kind, types = str(model["type"]), [str(step.get("type")) for step in steps]
    if model.get("end_of_word_suffix"):
        raise ModelError(
            f"tokenizers that mark the ends of words (`{model['end_of_word_suffix']}`) are not supported: what a token "
            "adds depends on whether another one follows"
        )
    if "ByteLevel" in types and not model.get("continuing_subword_prefix"):
        _only(steps, {"ByteLevel", "Fuse", "ByteFallback"})
        return _Family(_byte_level_reader(), False)
    marks = [step for step in steps if step.get("type") == "Metaspace" or _replaces_mark(step)]
    if kind in {"BPE", "Unigram"} and marks and not model.get("continuing_subword_prefix"):
        _only([step for step in steps if step not in marks], {"ByteFallback", "Fuse", "Strip"})
        fallback = "ByteFallback" in types
        if model.get("byte_fallback") and not fallback:
            raise ModelError("the tokenizer falls back to bytes but its decoder does not know of them")
        mark = str(marks[0].get("replacement", _SPACE_MARK))
        return _Family(_sentencepiece_reader(mark, fallback), _drops_leading_space(steps))
    if kind == "WordPiece" and types == ["WordPiece"]:
        return _Family(_wordpiece_reader(str(steps[0].get("prefix", "##"))), True)
    raise ModelError(f"tokenizers of the kind `{kind}` are not supported: the bytes of their tokens cannot be known")


def _only(steps: Sequence[Mapping[str, Any]], allowed: set[str]) -> None:
    """Raises `ModelError` for a step of another kind: it might change text between tokens, or at the end."""
    for step in steps:
        strips_other = step.get("type") == "Strip" and (
            step.get("content") != " " or step.get("start", 0) > 1 or step.get("stop", 0) > 0
        )
        if step.get("type") not in allowed or strips_other:
            raise ModelError(
                f"the tokenizer's decoder has a step `{step.get('type')}` that is not supported: {dict(step)}"
            )


def _replaces_mark(step: Mapping[str, Any]) -> bool:
    return (
        step.get("type") == "Replace"
        and step.get("pattern", {}).get("String") == _SPACE_MARK
        and step.get("content") == " "
    )


def _drops_leading_space(steps: Sequence[Mapping[str, Any]]) -> bool:
    for step in steps:
        if step.get("type") == "Strip" and step.get("content") == " " and step.get("start", 0) == 1:
            return True
        if step.get("type") == "Metaspace":
            always = "never" if step.get("add_prefix_space") is False else "always"
            return bool(step.get("prepend_scheme", always) != "never")
    return False


def _byte_level_reader() -> Reader:
    """GPT-2's table: printable Latin-1 bytes stand for themselves, the other 68 are U+0100, U+0101, … in order."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(256) if byte not in printable]
    table = {chr(byte): byte for byte in printable} | {chr(0x100 + k): byte for k, byte in enumerate(others)}

    def read(token: str) -> bytes | None:
        values = [table.get(character) for character in token]
        return None if None in values else bytes(value for value in values if value is not None)

    return read


def _sentencepiece_reader(mark: str, fallback: bool) -> Reader:
    def read(token: str) -> bytes | None:
        match = _BYTE_TOKEN.fullmatch(token) if fallback else None
        if match:
            return bytes([int(match.group(1), 16)])
        return token.replace(mark, " ").encode("utf-8", errors="strict")

    return read


def _wordpiece_reader(prefix: str) -> Reader:
    def read(token: str) -> bytes | None:
        return token[len(prefix) :].encode() if token.startswith(prefix) else b" " + token.encode()

    return read
