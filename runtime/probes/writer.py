"""A model that writes prompts: from a rule to situations, from a situation to prompts, from a prompt to paraphrases.

The way from behaviour to situations to prompts is that of SpecEval and of automated behavioural evaluations. What the
model writes is text that nobody vouches for: it becomes the user's message of a probe and nothing else, and the check
decides whether it is one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bylaw.runtime.judges.exchange import Ask, exchange
from bylaw.runtime.judges.interface import Asker, JudgeMessage, JudgeParameters, JudgeRequest
from bylaw.runtime.judges.verdict import Problem
from bylaw.runtime.probes.probe import HARDEST, LONGEST, Lean
from bylaw.runtime.probes.templates import render_own
from bylaw.runtime.scorers.interface import Cost

PARSER = "probe-texts-1"
_MOST_ANSWER = 200_000
_MOST_OBJECTS = 200
_SHOWN = 400  # characters of an earlier prompt


@dataclass(frozen=True, slots=True)
class Task:
    """What prompts are asked for. `words`: the rule as it is written, `other` that of a second one (empty: none).
    `meeting` are prompts that meet the condition, `failed` some that do not; `broke` and `kept` were tried. The same
    task in another `epoch` gets other prompts."""

    words: str
    scenario: str
    difficulty: int = 1
    other: str = ""
    lean: Lean = "break"
    meeting: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    broke: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    epoch: int = 0


@dataclass(frozen=True, slots=True)
class Written:
    """The texts for one question, in the order of the answer; none, and `problem`, where it was not answered."""

    texts: tuple[str, ...]
    problem: str = ""


@dataclass(slots=True)
class Writer:
    """Asks a model for texts. `cost` adds up what it took; The seed
    of `parameters` is sent with each request, plus its epoch."""

    asker: Asker
    parameters: JudgeParameters
    cost: Cost = field(default_factory=Cost)

    def scenarios(self, rules: Sequence[tuple[str, str]], count: int, known: Sequence[str] = ()) -> tuple[Written, ...]:
        """Situations for each rule (its words, and those of a second rule or nothing)."""
        texts = [
            render_own("write_scenarios.jinja", words=words, other=other, count=count, known=list(known))
            for words, other in rules
        ]
        return self._ask(texts, "scenarios", count)

    def prompts(self, tasks: Sequence[Task], count: int) -> tuple[Written, ...]:
        """`count` prompts for each task."""
        texts = []
        for task in tasks:
            shown = {name: [each[:_SHOWN] for each in getattr(task, name)] for name in _LISTS}
            plain = {name: getattr(task, name) for name in ("words", "scenario", "difficulty", "other", "lean")}
            texts.append(render_own("write_prompts.jinja", count=count, hardest=HARDEST, **plain, **shown))
        return self._ask(texts, "prompts", count, [task.epoch for task in tasks])

    def paraphrases(self, texts: Sequence[str], count: int) -> tuple[Written, ...]:
        """`count` paraphrases of each text."""
        asked = [render_own("write_paraphrases.jinja", text=text, count=count) for text in texts]
        return self._ask(asked, "paraphrases", count)

    def _ask(self, texts: Sequence[str], key: str, most: int, epochs: Sequence[int] = ()) -> tuple[Written, ...]:
        def read(text: str) -> tuple[str, ...] | Problem:
            return read_texts(text, key, most)

        asks = [
            Ask(
                JudgeRequest((JudgeMessage("user", text),), self._seeded(epoch), _form(key), epoch, PARSER),
                read,
                f'{{"{key}": ["...", "..."]}}',
            )
            for text, epoch in zip(texts, epochs or [0] * len(texts), strict=True)
        ]
        found = exchange(self.asker, asks)
        for answer in found:
            self.cost += answer.cost
        return tuple(
            Written((), answer.reason or "no answer") if answer.value is None else Written(answer.value)
            for answer in found
        )

    def _seeded(self, epoch: int) -> JudgeParameters:
        seed = self.parameters.seed
        return self.parameters if seed is None else replace(self.parameters, seed=seed + epoch)


_LISTS = ("meeting", "failed", "broke", "kept")


def read_texts(text: str, key: str, most: int) -> tuple[str, ...] | Problem:
    """The texts under `key` in the last JSON object of an answer that has them: up to `most`, each once, without
    spaces at their ends. A Problem where there is no such object, or a part of it is no text."""
    found: Any = None
    decoder = json.JSONDecoder()
    place, tries, whole = 0, 0, text[:_MOST_ANSWER]
    while (place := whole.find("{", place)) >= 0 and tries < _MOST_OBJECTS:
        tries += 1
        try:
            value, place = decoder.raw_decode(whole, place)
        except (ValueError, RecursionError):
            place += 1
            continue
        if isinstance(value, dict) and key in value:
            found = value[key]
    if not isinstance(found, list):
        return Problem(f'there is no JSON object with a list "{key}" in it')
    if not all(isinstance(each, str) for each in found):
        return Problem(f'the list "{key}" holds something else than texts')
    texts = tuple(dict.fromkeys(each.strip() for each in found if each.strip() and len(each) <= LONGEST))
    return texts[:most] if texts else Problem(f'the list "{key}" is empty')


def _form(key: str) -> Mapping[str, Any]:
    properties = {key: {"type": "array", "items": {"type": "string"}}}
    schema = {"type": "object", "properties": properties, "required": [key], "additionalProperties": False}
    return {"type": "json_schema", "json_schema": {"name": key, "strict": True, "schema": schema}}
