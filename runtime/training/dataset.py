"""Rows from a file (JSON Lines), in the forms that data sets for fine-tuning have.

One line is one of

    {"prompt": P, "completion": C}                              for `sft`; also {"messages": [... , the answer]}
    {"prompt": P, "chosen": C, "rejected": C}                   for `dpo`; also `preference` (0 to 1), `margin` (nats)
    {"prompt": P, "completion": C, "label": true}               for `kto`, `d2o`

where P is a text or a list of messages, and C a text or a list with one message of the assistant. Other keys are left
alone: they say which rules applied, for people.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bylaw.compiler.program import RewardProgram
from bylaw.runtime.enforcement import PromptPlan, plan_prompts
from bylaw.runtime.models.huggingface import HuggingFaceModel
from bylaw.runtime.training.errors import NothingToLearn, TrainingError
from bylaw.runtime.training.experience import Experience, scored_rows
from bylaw.spec.trace import Message, Trace


@dataclass(frozen=True, slots=True)
class Example:
    """One line: a conversation and its answers; of a pair the first is the chosen one."""

    trace: Trace
    answers: tuple[str, ...]
    preference: float = 1.0
    margin: float = 0.0
    desirable: bool | None = None


def read_examples(path: str | Path) -> tuple[Example, ...]:
    """The lines of a data set. Raises TrainingError, which names the line, for one that cannot be read."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        told = getattr(error, "strerror", None) or str(error)
        raise TrainingError(f"the data set `{path}` cannot be read: {told.lower()}") from None
    found = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                found.append(_example(json.loads(line), str(number)))
            except (ValueError, TypeError, KeyError, RecursionError) as error:
                raise TrainingError(f"`{path}`, line {number}: {error}; see `bylaw train --help`") from None
    if not found:
        raise NothingToLearn(f"the data set `{path}` has no lines")
    kinds = {(len(example.answers), example.desirable is None) for example in found}
    if len(kinds) > 1:
        raise TrainingError(f"`{path}` mixes pairs, labelled answers and plain answers; give one kind")
    return tuple(found)


def from_examples(
    examples: Sequence[Example], program: RewardProgram, model: HuggingFaceModel, max_tokens: int
) -> tuple[tuple[PromptPlan, ...], Experience]:
    """(the prompts, each once; the rows). An answer longer than `max_tokens` tokens is left out with its line.

    Raises TrainingError for an answer that the model's tokens cannot write, NothingToLearn where nothing is left.
    """
    places: dict[str, int] = {}
    traces: list[Trace] = []
    prompt: list[int] = []
    tokens: list[tuple[int, ...]] = []
    pairs: list[tuple[int, int]] = []
    kept: list[Example] = []
    for example in examples:
        coded = [_tokens(answer, example.trace, model) for answer in example.answers]
        if any(len(each) > max_tokens for each in coded):
            continue
        key = json.dumps([[message.role, message.content] for message in example.trace.messages])
        if key not in places:
            places[key] = len(traces)
            traces.append(example.trace)
        if len(coded) == 2:
            pairs.append((len(tokens), len(tokens) + 1))
        tokens += coded
        prompt += [places[key]] * len(coded)
        kept.append(example)
    if not kept:
        raise NothingToLearn(f"every answer of the data set is longer than {max_tokens} tokens; raise --max-tokens")
    plans = plan_prompts(program, traces, model, max_tokens)
    texts = [answer for example in kept for answer in example.answers]
    rows = scored_rows(program, plans, "data", prompt, tokens, [len(each) < max_tokens for each in tokens], texts)
    left = len(examples) - len(kept)
    if left:
        rows = replace(rows, remarks=(f"{left} lines of the data set are longer than {max_tokens} tokens; left out",))
    if pairs:
        return plans, replace(
            rows,
            pairs=np.array(pairs, dtype=np.int64),
            preference=np.array([example.preference for example in kept]),
            margin=np.array([example.margin for example in kept]),
        )
    if kept[0].desirable is not None:
        rows = replace(rows, desirable=tuple(bool(example.desirable) for example in kept))
    return plans, rows


def _tokens(answer: str, trace: Trace, model: HuggingFaceModel) -> tuple[int, ...]:
    found = tuple(int(token) for token in model.tokenizer.encode(answer, add_special_tokens=False))
    vocabulary = model.vocabulary
    if not all(vocabulary.regular[token] for token in found) or vocabulary.text(found, errors="replace") != answer:
        raise TrainingError(f"line {trace.id}: the model's tokens cannot write this answer: {answer[:60]!r}")
    return found


def _example(data: Any, number: str) -> Example:
    if not isinstance(data, Mapping):
        raise ValueError("this is no object")
    if "messages" in data and "prompt" not in data:
        messages = _messages(data["messages"])
        if len(messages) < 2 or messages[-1].role != "assistant":
            raise ValueError("the messages must end with an answer of the assistant")
        return Example(Trace(messages[:-1], id=number), (messages[-1].content,))
    prompt = data.get("prompt")
    trace = Trace((Message("user", prompt),) if isinstance(prompt, str) else _messages(prompt), id=number)
    if "chosen" in data or "rejected" in data:
        both = (_answer(data.get("chosen"), "chosen"), _answer(data.get("rejected"), "rejected"))
        preference, margin = float(data.get("preference", 1.0)), float(data.get("margin") or 0.0)
        if not 0 <= preference <= 1 or not np.isfinite(margin):
            raise ValueError("a preference lies from 0 to 1, and a margin is a number")
        return Example(trace, both, preference, margin)
    name = next((each for each in ("completion", "response") if each in data), None)
    if name is None:
        raise ValueError("there is neither `completion` nor `chosen` and `rejected`")
    label = data.get("label", data.get("desirable"))
    if label is not None and not isinstance(label, bool):
        raise ValueError("`label` must be true or false")
    return Example(trace, (_answer(data[name], name),), desirable=label)


def _messages(value: Any) -> tuple[Message, ...]:
    if not isinstance(value, list) or not value:
        raise ValueError("a prompt is a text or a list of messages")
    for each in value:
        if not (
            isinstance(each, Mapping) and isinstance(each.get("role"), str) and isinstance(each.get("content"), str)
        ):
            raise ValueError("a message needs a `role` and a `content`, both texts")
    return tuple(Message(each["role"], each["content"]) for each in value)


def _answer(value: Any, name: str) -> str:
    if isinstance(value, str):
        return value
    messages = _messages(value)
    if len(messages) != 1 or messages[0].role != "assistant":
        raise ValueError(f"`{name}` is a text or one message of the assistant")
    return messages[0].content
