"""The bytes of tokens: small tokenizers of each family, trained here, against their own decoding."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bylaw.compiler.automata.build import language
from bylaw.compiler.automata.tokens import TokenAutomaton
from bylaw.runtime.models import ModelError, Vocabulary
from bylaw.runtime.models.tokenbytes import SELF_TEST, read_vocabulary, verify_vocabulary
from bylaw.spec.pattern import parse_pattern

tokenizers = pytest.importorskip("tokenizers")
decoders, models, pre, trainers = (
    tokenizers.decoders,
    tokenizers.models,
    tokenizers.pre_tokenizers,
    tokenizers.trainers,
)

SENTENCES = (
    "The ferry to Alderquay leaves the north pier at nine, and the next one at noon.",
    "Two  spaces, three   spaces; a tab\tand a line\nend.",
    "Is the café open? Über naïve rules: “quotes” – €5!",
    "the brown fox of 12 and 345 jumps quickly over a crate of herring",
    *SELF_TEST[:1],
)


def trained(tokenizer: Any, trainer: Any) -> Any:
    tokenizer.train_from_iterator(SENTENCES * 4, trainer)
    return tokenizer


def byte_level(size: int = 340) -> Any:
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre.ByteLevel.alphabet()
    return trained(
        tokenizer,
        trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, special_tokens=["<end>"], show_progress=False),
    )


TRIED = 3  # tokens in the test of damaged ones; each is a whole verification
FALLBACK = [f"<0x{byte:02X}>" for byte in range(256)]


def with_fallback(tokenizer: Any) -> Any:
    """The byte tokens, by editing the description: the trainers know of none."""
    description = json.loads(tokenizer.to_str())
    model = description["model"]
    model["byte_fallback"] = True
    if isinstance(model["vocab"], dict):
        start = len(model["vocab"])
        model["vocab"] |= {name: start + number for number, name in enumerate(FALLBACK)}
    else:
        model["vocab"] += [[name, -20.0] for name in FALLBACK]
    steps = [
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
        {"type": "Strip", "content": " ", "start": 1, "stop": 0},
    ]
    description["decoder"] = {"type": "Sequence", "decoders": steps}
    return tokenizers.Tokenizer.from_str(json.dumps(description))


def sentencepiece(kind: str, fallback: bool) -> Any:
    unknown = ["<unk>", "</s>"]
    if kind == "BPE":
        tokenizer = tokenizers.Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
        trainer = trainers.BpeTrainer(vocab_size=200, special_tokens=unknown, show_progress=False)
    else:
        tokenizer = tokenizers.Tokenizer(models.Unigram())
        trainer = trainers.UnigramTrainer(
            vocab_size=120, unk_token="<unk>", special_tokens=unknown, show_progress=False
        )
    tokenizer.pre_tokenizer = pre.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trained(tokenizer, trainer)
    return with_fallback(tokenizer) if fallback else tokenizer


def wordpiece() -> Any:
    tokenizer = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()  # its clean-up is on
    return trained(
        tokenizer, trainers.WordPieceTrainer(vocab_size=150, special_tokens=["[UNK]", "[SEP]"], show_progress=False)
    )


FAMILIES: dict[str, Callable[[], Any]] = {
    "byte-level": byte_level,
    "BPE with fallback": lambda: sentencepiece("BPE", True),
    "BPE": lambda: sentencepiece("BPE", False),
    "Unigram with fallback": lambda: sentencepiece("Unigram", True),
    "Unigram": lambda: sentencepiece("Unigram", False),
    "WordPiece": wordpiece,
}


def read(tokenizer: Any, extra: int = 0) -> tuple[Vocabulary, dict[str, Any]]:
    description = json.loads(tokenizer.to_str())
    return read_vocabulary(description, tokenizer.get_vocab_size() + extra, frozenset({0})), description


def encoder(tokenizer: Any) -> Callable[[str], list[int]]:
    return lambda text: list(tokenizer.encode(text, add_special_tokens=False).ids)


@pytest.mark.parametrize("family", FAMILIES)
def test_token_bytes_are_the_tokenizers_own_decoding(family: str) -> None:
    tokenizer = FAMILIES[family]()
    vocabulary, description = read(tokenizer, extra=5)
    verify_vocabulary(vocabulary, encoder(tokenizer), description)
    assert vocabulary.token_bytes[-5:] == (None,) * 5
    assert vocabulary.drops_leading_space == (family != "byte-level")
    maker = random.Random(0)
    tokenizer.decoder = decoders.WordPiece(cleanup=False) if family == "WordPiece" else tokenizer.decoder
    words = [*" ".join(SENTENCES).split(), "é", "crate", "  ", "\n", "x"]
    compared = 0
    for _ in range(300):
        text = " ".join(maker.choices(words, k=maker.randint(1, 6)))
        ids = encoder(tokenizer)(text)
        if any(vocabulary.token_bytes[i] is None for i in ids):
            continue
        shown = vocabulary.text(ids)
        assert shown == tokenizer.decode(ids, skip_special_tokens=False)
        if family == "WordPiece":  # lower case, no accents, punctuation set apart
            assert shown.replace(" ", "") == "".join(text.split()).lower().replace("é", "e").replace("ü", "u").replace(
                "ï", "i"
            )
        else:
            assert shown == text.removeprefix(" " if vocabulary.drops_leading_space else "")
        compared += 1
    assert compared > (150 if "fallback" in family or family in ("byte-level", "WordPiece") else 30)


@pytest.mark.parametrize("family", FAMILIES)
def test_any_wrong_byte_is_found_when_a_model_is_loaded(family: str) -> None:
    tokenizer = FAMILIES[family]()
    vocabulary, description = read(tokenizer)
    known = [i for i, piece in enumerate(vocabulary.token_bytes) if piece is not None]
    never = (b"\xc0", b"\xc1", *(bytes([byte]) for byte in range(0xF5, 0x100)))
    for token in random.Random(1).sample(known, TRIED):
        pieces = list(vocabulary.token_bytes)
        piece = pieces[token] or b""
        for wrong in (piece + b" ", b" " + piece, piece[:-1] + bytes([piece[-1] ^ 1]), b"\xff"):
            pieces[token] = wrong
            if piece in never and wrong in never:
                continue  # no text holds the one or the other
            damaged = Vocabulary(tuple(pieces), vocabulary.eos_ids, vocabulary.drops_leading_space)
            with pytest.raises(ModelError, match="own decoding of"):
                verify_vocabulary(damaged, encoder(tokenizer), description)
    other = Vocabulary(vocabulary.token_bytes, vocabulary.eos_ids, not vocabulary.drops_leading_space)
    with pytest.raises(ModelError, match="own decoding of"):
        verify_vocabulary(other, encoder(tokenizer), description)


def test_ill_formed_bytes_in_any_order_decode_as_the_tokenizer_decodes_them() -> None:
    """The check compares replacement characters too, so both decoders must agree on where they go."""
    tokenizer = byte_level(300)
    vocabulary, _ = read(tokenizer)
    maker = random.Random(2)
    edges = b"a\x80\x8f\x90\x9f\xa0\xbf\xc0\xc2\xe0\xe1\xed\xef\xf0\xf1\xf4\xf5\xff"
    of_byte = {piece: i for i, piece in enumerate(vocabulary.token_bytes) if piece and len(piece) == 1}
    for _ in range(2000):
        ids = [of_byte[bytes([byte])] for byte in maker.choices(edges, k=maker.randint(1, 9))]
        assert vocabulary.text(ids, errors="replace") == tokenizer.decode(ids)


def test_unknown_tokens_have_no_bytes_and_such_characters_cannot_be_written() -> None:
    for family, unknown in (("BPE", "<unk>"), ("Unigram", "<unk>"), ("WordPiece", "[UNK]")):
        tokenizer = FAMILIES[family]()
        description = json.loads(tokenizer.to_str())
        description["added_tokens"] = []  # the model's own unknown token is enough
        vocabulary = read_vocabulary(description, tokenizer.get_vocab_size(), frozenset({1}))
        assert vocabulary.token_bytes[tokenizer.token_to_id(unknown)] is None
        ids = tokenizer.encode("漢").ids
        assert any(vocabulary.token_bytes[i] is None for i in ids)
        automaton = TokenAutomaton(
            language(parse_pattern("漢"), "search"), vocabulary.token_bytes, vocabulary.drops_leading_space
        )
        # the end cannot be reached from the start, whatever is written
        reached, seen = [automaton.start], {automaton.start}
        while reached:
            following, _ = automaton.rows(np.array(reached, dtype=np.int32))
            reached = [int(s) for s in np.unique(following) if s >= 0 and int(s) not in seen]
            seen.update(reached)
        assert not np.isfinite(automaton.final(np.array(sorted(seen), dtype=np.int32))).any()
    whole = read(FAMILIES["Unigram with fallback"]())[0]
    assert {piece for piece in whole.token_bytes if piece and len(piece) == 1} >= {bytes([b]) for b in range(256)}


def test_added_tokens() -> None:
    tokenizer = byte_level()
    tokenizer.add_tokens([tokenizers.AddedToken("    ", normalized=False)])
    tokenizer.add_tokens(["<tool>"])
    tokenizer.add_special_tokens(["<pad>"])
    vocabulary, description = read(tokenizer)
    spelt = {name: vocabulary.token_bytes[tokenizer.token_to_id(name)] for name in ("    ", "<tool>", "<pad>", "<end>")}
    assert spelt == {"    ": b"    ", "<tool>": None, "<pad>": None, "<end>": None}
    verify_vocabulary(vocabulary, encoder(tokenizer), description)


def described(kind: str, decoder: dict[str, Any], **model: Any) -> dict[str, Any]:
    return {"model": {"type": kind, "vocab": {"a": 0, "b": 1}, "unk_token": None, **model}, "decoder": decoder}


STRIP = {"type": "Strip", "content": " ", "start": 0, "stop": 1}
MARK = {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}


@pytest.mark.parametrize(
    ("description", "message"),
    [
        (
            described("BPE", {"type": "BPEDecoder", "suffix": "</w>"}, end_of_word_suffix="</w>"),
            "ends of words .`</w>`",
        ),
        (described("BPE", {"type": "ByteLevel"}, end_of_word_suffix="</w>"), "ends of words .`</w>`"),
        (described("BPE", {"type": "BPEDecoder", "suffix": "</w>"}), "kind `BPE`"),
        (described("BPE", {"type": "ByteLevel"}, continuing_subword_prefix="##"), "kind `BPE`"),
        (described("WordLevel", {"type": "WordPiece", "prefix": "##"}), "kind `WordLevel`"),
        (described("WordPiece", {"type": "Metaspace"}), "kind `WordPiece`"),
        (described("BPE", {"type": "Sequence", "decoders": [MARK, STRIP]}), "step `Strip`"),
        (described("BPE", {"type": "Sequence", "decoders": [MARK, {"type": "CTC"}]}), "step `CTC`"),
        (described("BPE", {"type": "Sequence", "decoders": [{"type": "ByteLevel"}, STRIP]}), "step `Strip`"),
        (described("BPE", MARK, byte_fallback=True), "falls back to bytes"),
    ],
)
def test_what_cannot_be_known_is_refused(description: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        read_vocabulary(description, 2, frozenset())


def test_a_tokenizer_that_cannot_spell_plain_text_is_refused() -> None:
    tokenizer = byte_level()
    vocabulary, description = read(tokenizer)
    pieces = list(vocabulary.token_bytes)
    pieces[encoder(tokenizer)(SELF_TEST[0])[0]] = None
    with pytest.raises(ModelError, match="cannot spell the text"):
        verify_vocabulary(Vocabulary(tuple(pieces), frozenset({0})), encoder(tokenizer), description)
