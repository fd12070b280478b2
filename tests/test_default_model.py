"""The default model and the dialogues it was trained on."""

from __future__ import annotations

import importlib
import json
import math
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bylaw.runtime.default_model import default_model_path
from bylaw.runtime.default_model.dialogues import (
    FLAW_MARKERS,
    FLAWS,
    MAX_WORDS,
    Dialogue,
    Message,
    copy_drill,
    dialogue,
    dialogues,
    find_flaws,
    is_held_out,
    marker_found,
    word_count,
)
from bylaw.runtime.default_model.grammar import possible_sentences, split_sentences
from bylaw.runtime.default_model.prompts import EXAMPLE_COUNT, example_prompts, prompt_lines

FOLDER = default_model_path().parent
EXAMPLES = Path(__file__).resolve().parents[1] / "examples" / "support" / "prompts.jsonl"
FALSE_ALARM = 1e-9  # per flaw; the seed is fixed, so this only says how unlucky a change of the seed may be


@pytest.fixture(scope="module")
def sample() -> list[Dialogue]:
    return [*dialogues(7, 3000), *dialogues(7, 1000, "held-out")]


@pytest.fixture(scope="module")
def loaded() -> Iterator[tuple[Any, Any]]:
    torch = pytest.importorskip("torch", reason="the default model needs torch")
    transformers = pytest.importorskip("transformers", reason="the default model needs transformers")
    path = default_model_path()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # several threads only wait for each other with a model as small as this
    yield (
        transformers.AutoModelForCausalLM.from_pretrained(path).eval(),
        transformers.AutoTokenizer.from_pretrained(path),
    )
    torch.set_num_threads(threads)


def binomial_tail(hits: int, total: int, rate: float) -> float:
    """The chance of a count at least as far from its mean on the same side, computed term by term."""
    logs = [
        math.lgamma(total + 1)
        - math.lgamma(k + 1)
        - math.lgamma(total - k + 1)
        + k * math.log(rate)
        + (total - k) * math.log1p(-rate)
        for k in (range(hits, total + 1) if hits > total * rate else range(hits + 1))
    ]
    return math.fsum(math.exp(value) for value in logs)


def test_dialogues_depend_on_seed_index_and_split_alone() -> None:
    assert list(dialogues(3, 40)) == list(dialogues(3, 40))
    assert dialogue(3, 17) == list(dialogues(3, 5, start=15))[2]
    assert list(dialogues(3, 40)) != list(dialogues(4, 40))
    assert copy_drill(3, 5) == copy_drill(3, 5)


def test_every_planted_flaw_is_found_and_nothing_else(sample: list[Dialogue]) -> None:
    for item in sample:
        assert find_flaws(item.reply, item.order) == item.flaws, item.reply


def test_flaws_occur_only_under_their_condition(sample: list[Dialogue]) -> None:
    for item in sample:
        assert all(FLAWS[flaw].condition in item.conditions for flaw in item.flaws)


@pytest.mark.parametrize("flaw", FLAWS)
def test_planted_rates_lie_within_exact_binomial_bounds(flaw: str, sample: list[Dialogue]) -> None:
    rows = [flaw in item.flaws for item in sample if FLAWS[flaw].condition in item.conditions]
    assert len(rows) > 300
    assert binomial_tail(sum(rows), len(rows), FLAWS[flaw].rate) > FALSE_ALARM / 2


def test_careful_replies_contain_no_marker_and_are_short(sample: list[Dialogue]) -> None:
    careful = [item for item in sample if not item.flaws]
    assert len(careful) > 1000
    for item in careful:
        assert not any(marker_found(flaw, item.reply) for flaw in FLAW_MARKERS)
        assert word_count(item.reply) <= MAX_WORDS
        assert item.order is None or item.order in item.reply
        assert item.card is None or item.card not in item.reply


def test_the_splits_share_no_combination(sample: list[Dialogue]) -> None:
    keys = [(item.product, item.problem, item.name) for item in sample]
    train, held_out = set(keys[:3000]), set(keys[3000:])
    assert not train & held_out
    assert not any(is_held_out(*key) for key in train)
    assert all(is_held_out(*key) for key in held_out)


def test_the_grammar_recognises_its_own_sentences(sample: list[Dialogue]) -> None:
    for item in sample[::8]:
        assert set(split_sentences(item.reply)) <= possible_sentences(item)


def test_every_condition_occurs_among_the_held_out_examples() -> None:
    examples = example_prompts()
    counts = Counter(condition for item in examples for condition in item.conditions)
    assert all(counts[flaw.condition] >= 5 for flaw in FLAWS.values())
    assert all(is_held_out(item.product, item.problem, item.name) for item in examples)


def test_the_example_file_is_what_the_generator_writes() -> None:
    if not EXAMPLES.exists():
        pytest.skip("the examples are not installed next to the tests")
    text = EXAMPLES.read_text(encoding="utf-8")
    assert text == prompt_lines()
    records = [json.loads(line) for line in text.splitlines()]
    assert len({record["id"] for record in records}) == len(records) == EXAMPLE_COUNT
    for record in records:
        assert [message["role"] for message in record["messages"]] == ["system", "user"]
        assert all(isinstance(value, str) for value in record["meta"].values())


def test_asking_for_the_path_imports_no_torch() -> None:
    code = "import sys; from bylaw.runtime.default_model import default_model_path; default_model_path()"
    subprocess.run([sys.executable, "-c", f"{code}; assert 'torch' not in sys.modules"], check=True)


def test_the_weights_are_at_most_eight_megabytes() -> None:
    assert (default_model_path() / "model.safetensors").stat().st_size <= 8_000_000
    names = {path.name for path in default_model_path().iterdir()}
    assert {"config.json", "generation_config.json", "tokenizer.json", "chat_template.jinja"} <= names


def test_the_measured_numbers_hold_what_the_card_promises() -> None:
    metrics = json.loads((FOLDER / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["perplexity"]["held_out_over_train"]["high"] <= 1.10
    assert metrics["copying_sampled"]["order_number"]["share"] >= 0.95
    assert metrics["ended_sampled"]["share"] >= 0.99
    for row in metrics["flaws"].values():
        assert row["measured"]["total"] >= 200
    assert (FOLDER / "MODEL_CARD.md").read_text(encoding="utf-8").count("### Sample") == 20


def test_the_tokenizer_round_trips_and_splits_digits(loaded: tuple[Any, Any], sample: list[Dialogue]) -> None:
    _, tokenizer = loaded
    texts = [message.content for item in sample[:100] for message in item.messages]
    for text in [*texts, "Grüße, 你好 — 50 % off\n\n- one\t two  three "]:
        assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text
    assert len(tokenizer("48213", add_special_tokens=False)["input_ids"]) == 5


def test_the_template_says_what_training_saw(loaded: tuple[Any, Any], sample: list[Dialogue]) -> None:
    model_module = importlib.import_module("bylaw.runtime.default_model.model")
    _, tokenizer = loaded
    for item in sample[:50]:
        rows = [{"role": m.role, "content": m.content} for m in item.prompt]
        text = tokenizer.apply_chat_template(rows, tokenize=False, add_generation_prompt=True)
        assert text == model_module.render(item.prompt)


def test_a_drill_repeats_what_it_asks_for() -> None:
    question, answer = copy_drill(1, 2)
    assert question == Message("user", f"Repeat exactly: {answer.content}")


def test_greedy_replies_end_and_copy_the_order(loaded: tuple[Any, Any]) -> None:
    torch = importlib.import_module("torch")
    model, tokenizer = loaded
    assert model.dtype == torch.float32
    items = example_prompts()[:4]
    chats = [[{"role": m.role, "content": m.content} for m in item.prompt] for item in items]
    inputs = tokenizer.apply_chat_template(
        chats, add_generation_prompt=True, padding=True, return_tensors="pt", return_dict=True
    )
    start = inputs["input_ids"].shape[1]
    with torch.no_grad():
        output = model.generate(**inputs, do_sample=False, max_new_tokens=256)[:, start:].tolist()
    for item, row in zip(items, output, strict=True):
        assert tokenizer.eos_token_id in row
        reply = tokenizer.decode(row[: row.index(tokenizer.eos_token_id)])
        assert word_count(reply) >= 10
        # A forgotten order number is a planted flaw, so a number may be missing, but never a wrong one.
        assert all(number == item.order for number in re.findall(r"order ([0-9]+)", reply))


def test_training_repeats_by_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two steps at one thread: the same bytes from one seed, others from another, even with the same tokens."""
    pytest.importorskip("torch", reason="training needs the extra `models`")
    from bylaw.runtime.default_model import train

    def trained(name: str, seed: int) -> tuple[bytes, object]:
        _, tokenizer, _ = train.train(train.Settings(seed=seed, steps=2), tmp_path / name)
        return (tmp_path / name / "model.safetensors").read_bytes(), tokenizer

    first, tokenizer = trained("one", 0)
    assert first == trained("two", 0)[0]
    monkeypatch.setattr(train, "build_tokenizer", lambda corpus: tokenizer)
    assert first != trained("other", 1)[0]
