"""Measure a trained default model: flaw rates, copying, perplexity and clean sentences, all on its saved weights."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from .dialogues import CONDITIONS, FLAWS, Dialogue, dialogue, dialogues, find_flaws
from .grammar import possible_sentences, split_sentences
from .model import PAD, encode, render

HELD_OUT_SEED = 1001  # the measuring stream; neither training nor the example prompts use it
Z95 = 1.959963984540054
BATCH = 64
MAX_NEW_TOKENS = 256
BOOTSTRAP_ROUNDS = 2000


@dataclass(frozen=True)
class Proportion:
    """A count out of a number, with its Wilson 95 % interval; there is no share of nothing."""

    hits: int
    total: int
    share: float | None
    low: float
    high: float


@dataclass(frozen=True)
class Interval:
    """An estimate with a bootstrap 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Sample:
    """A reply that the model wrote to the prompt of a dialogue."""

    dialogue: Dialogue
    reply: str
    tokens: int
    ended: bool


def wilson(hits: int, total: int) -> Proportion:
    """The Wilson score interval at 95 %."""
    if total == 0:
        return Proportion(0, 0, None, 0.0, 1.0)
    share = hits / total
    scale = 1 + Z95**2 / total
    middle = (share + Z95**2 / (2 * total)) / scale
    half = Z95 / scale * math.sqrt(share * (1 - share) / total + Z95**2 / (4 * total**2))
    return Proportion(hits, total, share, max(0.0, middle - half), min(1.0, middle + half))


def load(weights: Path) -> tuple[Any, Any]:
    """The saved model and tokenizer, ready to run on the processor."""
    return AutoModelForCausalLM.from_pretrained(weights).eval(), AutoTokenizer.from_pretrained(weights)


def balanced_prompts(per_condition: int) -> list[Dialogue]:
    """Held-out dialogues until every condition holds in at least ``per_condition`` of them.

    A dialogue is kept for its conditions alone, never for its flaws, so that rates under a condition stay unbiased.
    """
    held = dict.fromkeys(CONDITIONS, 0)
    kept = []
    for index in count():
        candidate = dialogue(HELD_OUT_SEED, index, "held-out")
        if any(held[condition] < per_condition for condition in candidate.conditions):
            kept.append(candidate)
            for condition in candidate.conditions:
                held[condition] += 1
        if min(held.values()) >= per_condition:
            return kept
    raise AssertionError("the stream of dialogues has no end")


def sample_replies(
    model: Any, tokenizer: Any, prompts: Sequence[Dialogue], seed: int, greedy: bool = False
) -> list[Sample]:
    """One reply to each prompt, at temperature 1 or greedily, in the order of the prompts."""
    torch.manual_seed(seed)
    samples: dict[int, Sample] = {}
    order = sorted(range(len(prompts)), key=lambda k: len(render(prompts[k].prompt)))
    for start in range(0, len(order), BATCH):
        chosen = order[start : start + BATCH]
        texts = [render(prompts[k].prompt) for k in chosen]
        batch = tokenizer(texts, return_tensors="pt", padding=True, padding_side="left", add_special_tokens=False)
        options = {"do_sample": False} if greedy else {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0}
        with torch.no_grad():
            output = model.generate(
                input_ids=batch["input_ids"],
                attention_mask=batch["attention_mask"],
                max_new_tokens=MAX_NEW_TOKENS,
                **options,
            )
        for k, row in zip(chosen, output[:, batch["input_ids"].shape[1] :].tolist(), strict=True):
            ended = tokenizer.eos_token_id in row
            ids = row[: row.index(tokenizer.eos_token_id)] if ended else row
            samples[k] = Sample(prompts[k], tokenizer.decode(ids), len(ids) + int(ended), ended)
    return [samples[k] for k in range(len(prompts))]


def flaw_rates(samples: Sequence[Sample]) -> dict[str, dict[str, Any]]:
    """For every flaw its planted rate, and its measured rate where its condition holds and where it does not."""
    found = [find_flaws(sample.reply, sample.dialogue.order) for sample in samples]
    rates: dict[str, dict[str, Any]] = {}
    for flaw in FLAWS.values():
        inside = [
            flaw.name in f for s, f in zip(samples, found, strict=True) if flaw.condition in s.dialogue.conditions
        ]
        outside = [
            flaw.name in f for s, f in zip(samples, found, strict=True) if flaw.condition not in s.dialogue.conditions
        ]
        rates[flaw.name] = {
            "condition": flaw.condition,
            "planted": flaw.rate,
            "measured": asdict(wilson(sum(inside), len(inside))),
            "elsewhere": asdict(wilson(sum(outside), len(outside))) if outside else None,
        }
    return rates


def copy_accuracy(samples: Sequence[Sample]) -> dict[str, Proportion]:
    """Among the numbers and names that the replies repeat, how many are repeated without a slip."""

    def judge(pattern: str, wanted: Callable[[Dialogue], str | None]) -> Proportion:
        verdicts = [
            found == wanted(sample.dialogue)
            for sample in samples
            if wanted(sample.dialogue) is not None
            for found in re.findall(pattern, sample.reply)
        ]
        return wilson(sum(verdicts), len(verdicts))

    return {
        "order_number": judge(r"\border ([0-9]+)", lambda d: d.order),
        "card_number": judge(r"\b[0-9]{4}(?: [0-9]{4})+\b", lambda d: d.card),
        "first_name": judge(r"^(?:Dear|Hello|Hi) (\w+)", lambda d: d.name.split()[0] if d.name else None),
        "note_code": judge(r"\bcode ([A-Z][0-9])", lambda d: d.note[-2:] if d.note else None),
    }


def clean_sentences(samples: Sequence[Sample]) -> dict[str, Proportion]:
    """How many sentences, and how many whole replies, the grammar itself could have written for their prompts."""
    verdicts = []
    for sample in samples:
        possible = possible_sentences(sample.dialogue)
        verdicts.append([sentence in possible for sentence in split_sentences(sample.reply)])
    flat = [verdict for group in verdicts for verdict in group]
    return {
        "sentences": wilson(sum(flat), len(flat)),
        "replies": wilson(sum(all(group) for group in verdicts), len(verdicts)),
    }


def reply_losses(model: Any, tokenizer: Any, items: Sequence[Dialogue]) -> list[tuple[float, int]]:
    """For every dialogue the summed loss of its last reply, and the number of its tokens."""
    rows = encode(tokenizer, [d.messages for d in items])
    pad = tokenizer.convert_tokens_to_ids(PAD)
    result: dict[int, tuple[float, int]] = {}
    order = sorted(range(len(rows)), key=lambda k: len(rows[k][0]))
    for start in range(0, len(order), BATCH):
        chosen = order[start : start + BATCH]
        width = max(len(rows[k][0]) for k in chosen)
        tokens = torch.tensor([[*rows[k][0], *[pad] * (width - len(rows[k][0]))] for k in chosen])
        with torch.no_grad():
            logits = model(input_ids=tokens, use_cache=False).logits[:, :-1].float()
        losses = torch.nn.functional.cross_entropy(logits.transpose(1, 2), tokens[:, 1:], reduction="none")
        for line, k in zip(losses.tolist(), chosen, strict=True):
            ids, reply_start = rows[k]
            result[k] = (math.fsum(line[reply_start - 1 : len(ids) - 1]), len(ids) - reply_start)
    return [result[k] for k in range(len(rows))]


def perplexities(model: Any, tokenizer: Any, train_seed: int, seen: int, number: int) -> dict[str, Any]:
    """Reply perplexity on the training stream and on held-out dialogues, and their ratio, with intervals.

    Drills take the place of some dialogues of the stream, so a few of those picked were never shown.
    """
    picked = random.Random(f"{train_seed}/perplexity").sample(range(seen), number)
    groups = {
        "train": [dialogue(train_seed, k) for k in picked],
        "held_out": list(dialogues(HELD_OUT_SEED, number, "held-out")),
    }
    losses = {name: reply_losses(model, tokenizer, items) for name, items in groups.items()}
    rng = random.Random(f"{train_seed}/bootstrap")

    def perplexity(rows: Sequence[tuple[float, int]]) -> float:
        return math.exp(math.fsum(loss for loss, _ in rows) / sum(tokens for _, tokens in rows))

    rounds = [
        {name: perplexity(rng.choices(rows, k=len(rows))) for name, rows in losses.items()}
        for _ in range(BOOTSTRAP_ROUNDS)
    ]
    values = {name: perplexity(rows) for name, rows in losses.items()}
    ratio = _interval(values["held_out"] / values["train"], [r["held_out"] / r["train"] for r in rounds])
    return {
        "dialogues_each": number,
        **{name: asdict(_interval(values[name], [r[name] for r in rounds])) for name in losses},
        "held_out_over_train": asdict(ratio),
    }


def _interval(value: float, rounds: Sequence[float]) -> Interval:
    ordered = sorted(rounds)
    cut = len(ordered) // 40
    return Interval(value, ordered[cut], ordered[-1 - cut])


def reply_lengths(samples: Sequence[Sample]) -> dict[str, float]:
    """Mean, 95th percentile and maximum of the reply lengths in tokens, the end token included."""
    lengths = sorted(sample.tokens for sample in samples)
    return {
        "mean": sum(lengths) / len(lengths),
        "p95": float(lengths[math.ceil(0.95 * len(lengths)) - 1]),
        "max": float(lengths[-1]),
    }


def measure(weights: Path, train_seed: int, seen: int, per_condition: int = 400) -> tuple[dict[str, Any], list[Sample]]:
    """All measurements of the model in ``weights``, and twenty samples to look at."""
    model, tokenizer = load(weights)
    samples = sample_replies(model, tokenizer, balanced_prompts(per_condition), seed=train_seed)
    fresh = list(islice(dialogues(HELD_OUT_SEED + 1, 500, "held-out"), 500))
    greedy = sample_replies(model, tokenizer, fresh, seed=train_seed, greedy=True)
    shown = sample_replies(model, tokenizer, fresh[:20], seed=train_seed + 1)
    parameters = sum(p.numel() for p in model.parameters())
    metrics = {
        "parameters": parameters,
        "weights_bytes": (weights / "model.safetensors").stat().st_size,
        "sampled_replies": len(samples),
        "flaws": flaw_rates(samples),
        "copying_sampled": {name: asdict(p) for name, p in copy_accuracy(samples).items()},
        "copying_greedy": {name: asdict(p) for name, p in copy_accuracy(greedy).items()},
        "clean_sampled": {name: asdict(p) for name, p in clean_sentences(samples).items()},
        "clean_greedy": {name: asdict(p) for name, p in clean_sentences(greedy).items()},
        "ended_sampled": asdict(wilson(sum(s.ended for s in samples), len(samples))),
        "ended_greedy": asdict(wilson(sum(s.ended for s in greedy), len(greedy))),
        "reply_tokens": reply_lengths(samples),
        "perplexity": perplexities(model, tokenizer, train_seed, seen, number=2000),
    }
    return metrics, shown
