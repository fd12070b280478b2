"""Models as the runtime sees them: bytes of tokens, batches, ancestral sampling, and errors that need no traceback."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bylaw.runtime.models import ModelError, Vocabulary, load_model, sample_base
from bylaw.runtime.models.interface import collapse_end, draw, row_uniforms
from bylaw.runtime.models.tokenbytes import SELF_TEST, read_vocabulary, verify_vocabulary

DATA = Path(__file__).parents[1].parent / "shared" / "data" / "models"
STORIES = DATA / "stories260K"
needs_stories = pytest.mark.skipif(not STORIES.is_dir(), reason="the shared model stories260K is not there")


def test_importing_the_package_does_not_import_torch() -> None:
    code = "import sys, bylaw.runtime.models, bylaw.runtime.decoders.sir, bylaw.runtime.decoders.mask; "
    code += "sys.exit(any(name in sys.modules for name in ('torch', 'transformers')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_vocabulary_text() -> None:
    vocabulary = Vocabulary((b" a", b"\xc3", b"\xa9", None, None), frozenset({3}), drops_leading_space=True)
    assert vocabulary.text((0, 0, 1, 2)) == "a aé"
    assert vocabulary.text((0, 1), errors="replace") == "a\ufffd"
    assert vocabulary.regular.tolist() == [True, True, True, False, False]
    with pytest.raises(UnicodeDecodeError):
        vocabulary.text((0, 1))
    with pytest.raises(ModelError, match="special token"):
        vocabulary.text((4,))
    with pytest.raises(ModelError, match="outside the vocabulary"):
        Vocabulary((b"a",), frozenset({1}))


def test_draw_follows_the_weights_and_never_takes_a_forbidden_token() -> None:
    weights = np.array([-np.inf, math.log(0.5), -np.inf, math.log(1.5), -np.inf])
    uniforms = np.concatenate([[0.0, np.nextafter(1.0, 0.0)], np.random.default_rng(0).random(10_000)])
    chosen, total = draw(np.tile(weights, (len(uniforms), 1)), uniforms)
    assert (chosen[0], chosen[1]) == (1, 3)
    assert set(chosen) == {1, 3}
    assert total == pytest.approx(np.full(len(uniforms), math.log(2.0)))
    # 4 standard errors: a false alarm in 6e-5 of seeds
    assert (chosen == 1).mean() == pytest.approx(0.25, abs=4 * math.sqrt(0.1875 / 10_000))


def test_end_tokens_are_one_event() -> None:
    law = np.log(np.array([[0.1, 0.2, 0.3, 0.4]]))
    collapse_end(law, Vocabulary((b"a", None, b"b", None), frozenset({1, 3})))
    assert np.exp(law) == pytest.approx(np.array([[0.1, 0.6, 0.3, 0.0]]))


def test_random_numbers_belong_to_the_row() -> None:
    both = row_uniforms(3, 0, [(0, 0), (0, 1)], 5)
    assert np.array_equal(row_uniforms(3, 0, [(0, 1)], 3)[0], both[1, :3])
    assert not np.array_equal(both[0], both[1])
    assert not np.array_equal(row_uniforms(3, 1, [(0, 0)], 5)[0], both[0])
    with pytest.raises(ModelError, match="negative"):
        row_uniforms(-1, 0, [(0, 0)], 1)


def byte_level_tokenizer() -> Any:
    tokenizers = pytest.importorskip("tokenizers")
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, special_tokens=["<end>"])
    tokenizer.train_from_iterator(SELF_TEST * 4, trainer)
    return tokenizer


def test_byte_level_tokens() -> None:
    tokenizer = byte_level_tokenizer()
    description = json.loads(tokenizer.to_str())
    vocabulary = read_vocabulary(description, 310, frozenset({0}))
    verify_vocabulary(vocabulary, lambda text: tokenizer.encode(text).ids, description)
    assert len(vocabulary) == 310
    assert vocabulary.token_bytes[0] is None
    assert {piece for piece in vocabulary.token_bytes if piece and len(piece) == 1} == {bytes([b]) for b in range(256)}
    wrong = list(vocabulary.token_bytes)
    wrong[tokenizer.encode(SELF_TEST[0]).ids[0]] = b"?"
    with pytest.raises(ModelError, match="own decoding of the token"):
        verify_vocabulary(Vocabulary(tuple(wrong), frozenset()), lambda text: tokenizer.encode(text).ids, description)


def test_other_tokenizers_are_refused() -> None:
    description = {"model": {"type": "WordLevel", "vocab": {"a": 0}}, "decoder": {"type": "WordPiece"}}
    with pytest.raises(ModelError, match="WordLevel"):
        read_vocabulary(description, 1, frozenset())


@pytest.mark.parametrize("kind", ["gpt2", "mistral"])
def test_padding_and_caches_of_other_architectures(kind: str, tmp_path: Path) -> None:
    """Absolute positions (GPT-2), a sliding window (Mistral); a byte-level tokenizer, two end tokens."""
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 304, "eos_token_id": 7}
    extra = {"intermediate_size": 48, "num_key_value_heads": 1, "sliding_window": 6} if kind == "mistral" else {}
    config = transformers.AutoConfig.for_model(kind, **sizes, **extra, bos_token_id=0, max_position_embeddings=64)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=byte_level_tokenizer(), eos_token="<end>")
    fast.save_pretrained(tmp_path)
    model = load_model(tmp_path)
    assert model.vocabulary.eos_ids == {0, 7}
    with pytest.raises(ModelError, match="no beginning-of-text"):
        model.encode_chat(())
    rows = [[*range(10, 10 + length)] for length in (3, 9, 14)]
    session = model.session([tuple(row) for row in rows])
    for step in range(8):
        tokens = np.array([30 + step, 50 + step, 70 + step])
        session.advance(tokens)
        rows = [[*row, int(token)] for row, token in zip(rows, tokens, strict=True)]
        if step == 3:
            session.select(np.array([1, 1, 0]))
            rows = [rows[1], rows[1], rows[0]]
    alone = np.concatenate([model.session([tuple(row)]).log_probs() for row in rows])
    possible = np.isfinite(alone)
    assert session.log_probs()[possible] == pytest.approx(alone[possible], abs=1e-4)


@needs_stories
def test_golden_next_tokens_and_greedy_text() -> None:
    model = load_model(STORIES)
    assert model.vocabulary.drops_leading_space
    assert model.vocabulary.eos_ids == {1, 2}
    for case in json.loads((STORIES / "golden_greedy.json").read_text()):
        prompt = model.encode_chat([{"role": "user", "content": case["prompt"]}])
        assert list(prompt) == case["input_ids"]
        session = model.session([prompt])
        law = session.log_probs()[0]
        for token, expected in case["next_top5"]:
            data = token.replace("▁", " ").encode()
            # a single space has two tokens, of which the byte <0x20> is never seen in training
            found = max(law[i] for i, piece in enumerate(model.vocabulary.token_bytes) if piece == data)
            assert found == pytest.approx(expected, abs=2e-4)
        ids = list(prompt)
        while len(ids) < len(case["greedy_ids"]):
            ids.append(int(session.log_probs()[0].argmax()))
            session.advance(np.array(ids[-1:]))
        assert ids == case["greedy_ids"]


@needs_stories
def test_batches_select_and_temperature() -> None:
    model = load_model(STORIES)
    prompts = [model.encode_chat([{"role": "user", "content": text}]) for text in ("Once", "The big red dog ran", "A")]
    session = model.session([*prompts, prompts[1]])
    session.advance(np.array([300, 301, 302, 303]))
    session.select(np.array([3, 0, 1, 1]))
    session.advance(np.array([310, 311, 312, 313]))
    expected = [(1, 303, 310), (0, 300, 311), (1, 301, 312), (1, 301, 313)]
    batch = session.log_probs()
    assert np.exp(batch).sum(axis=1) == pytest.approx(np.ones(4), abs=1e-12)
    for row, (prompt, *tokens) in enumerate(expected):
        alone = model.session([(*prompts[prompt], *tokens)]).log_probs()[0]
        finite = np.isfinite(alone)
        assert batch[row][finite] == pytest.approx(alone[finite], abs=1e-4)
        assert not np.isfinite(batch[row][~finite]).any()
    assert np.flatnonzero(~finite).tolist() == [0]  # <unk>; <s> and </s> end the text
    cold = load_model(STORIES, temperature=0.5).session([prompts[0]]).log_probs()[0, 3:]
    warm = model.session([prompts[0]]).log_probs()[0, 3:]
    assert np.ptp(cold - 2 * warm) < 1e-5


@needs_stories
def test_chat_prompts() -> None:
    plain, chat = load_model(STORIES), load_model(DATA / "stories260K-chat")
    messages = [{"role": "system", "content": "One day"}, {"role": "user", "content": "a cat"}]
    assert plain.encode_chat(()) == (1,)
    assert plain.vocabulary.text(plain.encode_chat(messages)[1:]) == "One day\na cat"
    assert chat.encode_chat(messages[1:]) == plain.encode_chat(messages[1:])
    with pytest.raises(ModelError, match="needs a role and a content"):
        chat.encode_chat([{"role": "user"}])
    assert plain.digest != chat.digest
    assert len(plain.digest) == 64


@needs_stories
def test_base_samples() -> None:
    model = load_model(STORIES)
    prompts = [model.encode_chat([{"role": "user", "content": text}]) for text in ("The end", "Once upon")]
    seen: list[tuple[int, int]] = []
    samples = sample_base(
        model, prompts, 6, 24, seed=5, batch_size=5, progress=lambda done, all_: seen.append((done, all_))
    )
    assert seen == [(5, 12), (10, 12), (12, 12)]
    assert samples == sample_base(model, prompts, 6, 24, seed=5, batch_size=5)
    other = sample_base(model, prompts, 6, 24, seed=5, batch_size=12)
    assert [s.tokens for row in samples for s in row] == [s.tokens for row in other for s in row]
    for prompt, row in zip(prompts, samples, strict=True):
        for sample in row:
            assert sample.ended == (len(sample.tokens) < 24)
            session, total = model.session([prompt]), 0.0
            for token in sample.tokens:
                total += session.log_probs()[0, token]
                session.advance(np.array([token]))
            if sample.ended:
                total += np.logaddexp.reduce(session.log_probs()[0, [1, 2]])
            assert sample.log_p0 == pytest.approx(total, abs=1e-3)
    with pytest.raises(ModelError, match="at least one sample"):
        sample_base(model, prompts, 0, 24, seed=5)


def damaged(tmp_path: Path, name: str) -> Path:
    target = tmp_path / name
    shutil.copytree(STORIES, target)
    for file in (target, *target.iterdir()):
        file.chmod(0o755)
    return target


@needs_stories
def test_broken_directories_are_model_errors(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model directory"):
        load_model(tmp_path / "nothing")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ModelError, match=r"no config\.json"):
        load_model(empty)
    for name, file, content, message in (
        ("json", "config.json", "{", "not valid JSON"),
        ("weights", "model.safetensors", None, "no weights in safetensors"),
        ("bits", "model.safetensors", "garbage", "not a usable causal language model"),
        ("kind", "config.json", '{"model_type": "vit"}', "not a usable causal language model"),
        ("tokens", "tokenizer.json", "{}", "tokenizer"),
        ("ends", "generation_config.json", "[", "generation_config"),
    ):
        broken = damaged(tmp_path, name)
        (broken / file).unlink()
        if content is not None:
            (broken / file).write_text(content)
        with pytest.raises(ModelError, match=message):
            load_model(broken)
    masked = damaged(tmp_path, "masked")
    config = json.loads((masked / "config.json").read_text())
    (masked / "config.json").write_text(json.dumps(config | {"architectures": ["RobertaForMaskedLM"]}))
    with pytest.raises(ModelError, match="`RobertaForMaskedLM`, which is not a causal language model"):
        load_model(masked)
    with pytest.raises(ModelError, match="the device `nowhere` cannot be used"):
        load_model(STORIES, device="nowhere")
    with pytest.raises(ModelError, match="temperature"):
        load_model(STORIES, temperature=0.0)


@needs_stories
def test_missing_tensors_and_long_prompts_are_model_errors(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.numpy")
    broken = damaged(tmp_path, "partial")
    tensors = safetensors.load_file(broken / "model.safetensors")
    del tensors["model.norm.weight"]
    safetensors.save_file(tensors, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lack 1 tensors, `model\.norm\.weight` first"):
        load_model(broken)
    model = load_model(STORIES)
    with pytest.raises(ModelError, match="context of 512 tokens"):
        model.session([(300,) * 513])
    session = model.session([(300,) * 512])
    with pytest.raises(ModelError, match="context of 512 tokens"):
        session.advance(np.array([300]))
    with pytest.raises(ModelError, match="one token at least"):
        model.session([()])


def test_the_default_model_loads() -> None:
    """The package's own model: a chat template, a byte-level tokenizer, an end of text."""
    module = pytest.importorskip("bylaw.runtime.default_model")
    path = Path(module.default_model_path())
    if not any(path.glob("*.safetensors")):
        pytest.skip("the default model has no weights yet")
    model = load_model(path)
    prompt = model.encode_chat([{"role": "user", "content": "Hello, where is my order?"}])
    [samples] = sample_base(model, [prompt], 4, 16, seed=0)
    assert all(sample.text == model.vocabulary.text(sample.tokens, errors="replace") for sample in samples)
