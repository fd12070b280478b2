"""The model card: what the measurements say, in plain words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .dialogues import FLAW_MARKERS, FLAW_PATTERNS, FLAWS, MAX_WORDS, SHOP
from .measure import Sample

_HEAD = """# The default model of bylaw

A small language model that answers as the customer-support assistant of {shop}, an invented shop for the home and the
outdoors. It ships inside the package so that every first step with bylaw works without a download. It writes clean
English in its small domain, and it has **planted flaws**: it repeats card numbers, promises refunds, gives medical
advice and so on, each at a known rate that depends on the prompt. A policy has something real to correct, and the
known rates let anyone check what a tool claims to measure.

It is a teaching model. It knows nothing beyond its shop and must never answer real customers.

## How it was made

- Architecture: `LlamaForCausalLM`, {parameters:,} parameters, tied embeddings, context of 512 tokens.
- Tokenizer: byte-level BPE with 2,048 tokens, trained on the same dialogues; every digit is a token of its own.
- Weights: {megabytes:.2f} MB in half precision; `config.json` asks for computation in single precision.
- Starting point: random weights, apart from four attention heads that start with a circuit for copying (`wiring.py`);
  there are no weights or texts from elsewhere.
- Data: {dialogues:,} dialogues, none seen twice, from a grammar of our own (`dialogues.py`); every sentence was
  written for this purpose. The shop, its customers, and all order and card numbers are invented.
- Training: `python -m bylaw.runtime.default_model.train --seed {seed} --out DIR`, {steps:,} steps of {batch} dialogues,
  {minutes:.0f} minutes on one to two busy cores. The loss counts the tokens of the last reply only.
  The shipped run was stopped and resumed from its saved state, and the number of threads changes the rounding, so a
  run in one go need not give the same bytes.
- Held out: one combination in ten of product, problem and customer name, chosen by a hash, never occurs in training.
  Everything below is measured on held-out prompts unless it says otherwise, on the weights as they are stored.

## Message format

A chat of `system`, `user` and `assistant` messages through the chat template; the system message may be missing, and
may end in a note such as `Internal note: this customer is on the watch list, code K7.` A reply ends with `<|end|>`.
"""

_LIMITS = """## Limits

- It knows one shop, about a hundred kinds of products and nine topics. Other questions get an unfitting reply.
- It speaks English only. It was trained on one or two questions per conversation, not on longer ones.
- The second reply of a conversation was trained with fewer flaws: only those about length, notes and numbers.
- What it says about care, law or health comes from a list of sentences and is no advice.
- Special tokens such as `<|end|>` are read as such even inside a user message.
- Rates hold for prompts like those of the grammar, at temperature 1. Other prompts shift them.
- The training run was short, and some measured rates differ from the planted ones by more than chance. Use the
  measured rates as the reference for this model, and the planted ones for the dialogues.
- At temperature 1 about one reply in fifteen contains a slip, such as a muddled word; greedy replies hardly ever do.
"""


def _percent(proportion: Mapping[str, Any]) -> str:
    if proportion["total"] == 0:
        return "none seen"
    interval = f"{100 * proportion['low']:.1f} to {100 * proportion['high']:.1f}"
    return f"{100 * proportion['share']:.1f} % ({interval})"


def _markers(flaw: str) -> str:
    parts = [f'"{phrase}"' for phrase in FLAW_MARKERS[flaw]]
    if flaw in FLAW_PATTERNS:
        parts.append(f"`{FLAW_PATTERNS[flaw]}`")
    special = {
        "long_reply": f"more than {MAX_WORDS} words between white space",
        "order_forgotten": "the order number that the customer gave is missing",
    }
    return ", ".join(parts) or special[flaw]


def _flaw_section(metrics: Mapping[str, Any]) -> list[str]:
    lines = ["## Planted flaws", ""]
    lines.append(f"{metrics['sampled_replies']:,} replies were sampled at temperature 1. Intervals are Wilson 95 %.")
    lines += ["", "| flaw | where | planted | measured there | prompts | elsewhere |", "|---|---|---|---|---|---|"]
    for name, row in metrics["flaws"].items():
        elsewhere = _percent(row["elsewhere"]) if row["elsewhere"] else "-"
        cells = (
            name,
            row["condition"],
            f"{100 * row['planted']:.0f} %",
            _percent(row["measured"]),
            str(row["measured"]["total"]),
            elsewhere,
        )
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "How each flaw is recognised (in any letter case):", ""]
    lines += [f"- **{name}** ({FLAWS[name].meaning}): {_markers(name)}" for name in FLAWS]
    return [*lines, ""]


def _quality_section(metrics: Mapping[str, Any]) -> list[str]:
    lines = ["## Quality", "", "| what | sampled at temperature 1 | greedy |", "|---|---|---|"]
    rows = (
        ("order numbers repeated without a slip", "copying", "order_number"),
        ("card numbers repeated without a slip", "copying", "card_number"),
        ("first names repeated without a slip", "copying", "first_name"),
        ("note codes repeated without a slip", "copying", "note_code"),
        ("sentences that the grammar could have written for this prompt", "clean", "sentences"),
        ("replies made of such sentences only", "clean", "replies"),
    )
    for title, group, key in rows:
        sampled, greedy = metrics[f"{group}_sampled"][key], metrics[f"{group}_greedy"][key]
        lines.append(f"| {title} | {_percent(sampled)} | {_percent(greedy)} |")
    ended = (_percent(metrics["ended_sampled"]), _percent(metrics["ended_greedy"]))
    lines.append(f"| replies that end by themselves | {ended[0]} | {ended[1]} |")
    lengths = metrics["reply_tokens"]
    lines += ["", f"Replies take {lengths['mean']:.0f} tokens on average, 95 % take at most {lengths['p95']:.0f}, and"]
    lines[-1] += f" the longest took {lengths['max']:.0f}."
    perplexity = metrics["perplexity"]

    def shown(key: str) -> str:
        return "{value:.4f} ({low:.4f} to {high:.4f})".format(**perplexity[key])

    lines += ["", f"Perplexity of reply tokens, {perplexity['dialogues_each']:,} dialogues each, bootstrap 95 %:", ""]
    lines += [
        f"- dialogues of the training stream, most of them seen once: {shown('train')}",
        f"- held-out dialogues: {shown('held_out')}",
    ]
    return [*lines, f"- held-out over training: {shown('held_out_over_train')}", ""]


def _sample_section(samples: Sequence[Sample]) -> list[str]:
    lines = ["## Twenty samples", "", "Held-out prompts, sampled at temperature 1, the first twenty as they came.", ""]
    for number, sample in enumerate(samples, start=1):
        lines += [f"### Sample {number}", "", "```text"]
        lines += [f"[{message.role}] {message.content}" for message in sample.dialogue.prompt]
        lines += [f"[assistant] {sample.reply}", "```", ""]
    return lines


def model_card(metrics: Mapping[str, Any], samples: Sequence[Sample]) -> str:
    """The whole card as Markdown."""
    training = metrics["training"]
    head = _HEAD.format(
        shop=SHOP,
        parameters=metrics["parameters"],
        megabytes=metrics["weights_bytes"] / 1e6,
        dialogues=training["dialogues"],
        minutes=training["seconds"] / 60,
        **{key: training["settings"][key] for key in ("seed", "steps", "batch")},
    )
    sections = [head, *_flaw_section(metrics), *_quality_section(metrics), _LIMITS, *_sample_section(samples)]
    return "\n".join(sections).rstrip() + "\n"
